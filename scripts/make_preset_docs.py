"""Writes docs/presets.md: every preset with a sentence, its ids and an example, and how to write one of one's own.

Usage: python scripts/make_preset_docs.py [--check]
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generated_page import write_or_check
from snac_tok.errors import LayoutError
from snac_tok.frames import identify, preset, preset_names, vocabulary_from_json

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[1] / "docs" / "presets.md"

INTRO = """\
# Presets: which id means which code

<!-- Written by scripts/make_preset_docs.py from the tables themselves; scripts/fix renews it. -->

A codec's codes are the same for every language model; the ids that a model has for them are not. A preset is the table
of one family of models: `SnacTokenizer.from_pretrained(codec, preset="orpheus")`, `preset("orpheus")`,
`snac-tok … --preset orpheus`. `snac-tok inspect --preset orpheus` prints a whole table.

What a prompt looks like is another matter: families that share ids put them in other orders
([docs/finetuning.md](finetuning.md), "Other families").

"""

ABOUT = {
    "plain": "For a new model: codes from `base` on, slot by slot, and three special ids right behind them.",
    "vita-audio": "VITA-Audio, which publishes the tokens' text and no ids: those are its tokenizer's, from `base` on.",
    "per-level": "For a new model that shares the ids of a level between its slots: only the place tells the slot.",
    "per-level-breadth": "The same, all codes of a level next to each other.",
    "per-level-separated": "`per-level` with a separator in front of each frame, which shows where frames begin.",
    "per-level-breadth-separated": "`per-level-breadth` with the separator.",
    "orpheus": "Orpheus and all that share its ids: unsloth, Maya1, Veena, svara, Orpheus-FastAPI, indic-speak (whose "
    "tokens are spelled otherwise).",
    "vyvo-qwen3": "VyvoTTS on Qwen3.",
    "vyvo-lfm2": "VyvoTTS on LFM2. Kani-TTS has the same special ids and another codec (NanoCodec).",
    "mini-omni": "Mini-Omni: seven parallel rows, row r delayed by r + 1 steps, each with special ids of its own.",
    "lucy": "LUCY: the rows of `mini-omni` with the levels in breadth-first order.",
}

IDENTIFY = """\
## Whose ids are these?

`identify` (`snac_tok.frames`) compares ids, a text with tokens, special ids by their names, or a text tokenizer with
the families it knows, those of other codecs included, and returns None where it knows none. On the command line:
`snac-tok inspect --identify FILE`, where FILE holds ids, what a server answered, or a `tokenizer.json`.

"""

OWN = """\
## A preset of one's own

A .json file takes a preset's place everywhere: `--preset mine.json`, `preset="mine.json"`. `snac-tok inspect --preset
orpheus --json > mine.json` is a beginning. Only `layout` is required.

"""

FIELDS = {
    "layout": (
        (
            '`strides` of the codec, coarsest first; `levels` to keep the first ones; `order`: `"depth-first"` (codes '
            'in the order of time) or `"breadth-first"` (level by level)'
        ),
        "all levels, depth-first",
    ),
    "name": ("what messages call it", '`"custom"`'),
    "codebook_size": ("codes per level", "4096"),
    "base": ("the id of code 0 in slot 0", "0"),
    "offsets": (
        (
            '`"slot"`: a block of ids per slot, so that an id tells its slot; `"level"`: a block per level; `"none"`: '
            "one block for all"
        ),
        '`"slot"`',
    ),
    "block_size": ("from the first id of a block to that of the next", "`codebook_size`"),
    "specials": (
        (
            "ids that are no codes, by name. `start_of_speech` and `end_of_speech`, or `bos` and `eos`, tell streams, "
            "grammars and prompts where speech begins and ends; `pad` is left out at the ends of rows"
        ),
        "none",
    ),
    "separator": ("the name of the special in front of each frame", "none"),
    "delays": (
        (
            "parallel rows: by how many steps each begins late; `specials` are then numbers within each row and need "
            "`pad` and `end`"
        ),
        "one line",
    ),
    "text": (
        (
            "how ids are spelled: `template` with one `{}`, which is the id minus `first_id`; `num_ids`, from there; "
            "`literals`, single tokens with their ids; text without gaps must be read back as the same ids, or the "
            "form is refused"
        ),
        "not spelled",
    ),
}

EXAMPLE = """\
{
  "name": "mine",
  "layout": {"strides": [4, 2, 1]},
  "base": 50010,
  "specials": {"start_of_speech": 50000, "end_of_speech": 50001},
  "text": {"template": "<sound_{}>", "first_id": 50000, "num_ids": 28682}
}
"""

WRONG: tuple[tuple[str, dict[str, Any]], ...] = (
    ("a field that there is not", {"layout": {"strides": [4, 2, 1]}, "offset": 5}),
    ("no layout", {"base": 5}),
    ("a special that is a code", {"layout": {"strides": [4, 2, 1]}, "specials": {"pad": 7}}),
    (
        "two specials with one id",
        {"layout": {"strides": [4, 2, 1]}, "base": 9, "specials": {"pad": 1, "eos": 1}},
    ),
    ("rows without an end", {"layout": {"strides": [2, 1]}, "delays": [1, 2, 3], "block_size": 4160}),
    (
        "a spelling without a number",
        {"layout": {"strides": [1]}, "text": {"template": "<audio>", "first_id": 0, "num_ids": 4096}},
    ),
)


def page() -> str:
    """Return the whole page."""
    parts = [
        INTRO,
        *overview(),
        "\n",
        *(section(name) for name in preset_names()),
        IDENTIFY,
        *identified(),
        "\n",
        OWN,
    ]
    table = vocabulary_from_json(EXAMPLE)
    ids = table.encode([[0], [0, 0], [0, 0, 0, 0]])
    lines = "\n".join([" ".join(map(str, ids.tolist())), table.ids_to_text(ids)])
    shown = f"\nA frame of codes 0 is then\n\n```text\n{lines}\n```\n"
    return "".join([*parts, f"```json\n{EXAMPLE}```\n", shown, *fields(), *refusals()])


def overview() -> Iterator[str]:
    """Yield the table of all presets."""
    yield "| preset | order | ids of codes | an id tells its slot | one line | spelled |\n|---|---|---|---|---|---|\n"
    for name in preset_names():
        table = preset(name)
        last = table.base + (table.num_blocks - 1) * table.block + table.codebook_size - 1
        ids = f"{table.base} … {last}" if has_fixed_base(name) else f"`base` … `base` + {last}"
        spelled = in_a_table(table.text.template.replace("{}", "N")) if table.text else "no"
        tells = "yes" if table.offsets == "slot" else "no"
        line = "no, rows" if table.is_parallel else "yes"
        yield f"| [`{name}`](#{name}) | {table.layout.order} | {ids} | {tells} | {line} | {spelled} |\n"


def section(name: str) -> str:
    """Return what there is to say of one preset."""
    table = preset(name)
    specials = ", ".join(f"{each} {number}" for each, number in table.specials.items()) or "none"
    kind = "Specials, numbers within each row" if table.is_parallel else "Specials"
    codes = "c0 [1], c1 [2, 3], c2 [4, 5, 6, 7]"
    lines = [
        f"### {name}\n",
        ABOUT[name],
        "",
        f"{kind}: {specials}.",
        "",
        f"One frame, {codes}:",
        "",
        "```text",
    ]
    ids = table.encode([[1], [2, 3], [4, 5, 6, 7]])
    rows = ids.tolist() if table.is_parallel else [ids.tolist()]
    lines += [" ".join(map(str, row)) for row in rows]
    if table.text is not None and not table.is_parallel:
        lines.append(table.ids_to_text(ids))
    return "\n".join([*lines, "```", "", ""])


def identified() -> Iterator[str]:
    """Yield examples of `identify`."""
    yield "```text\n"
    for source in (
        preset("orpheus").encode([[1], [2, 3], [4, 5, 6, 7]]).tolist(),
        {"start_of_speech": 64401, "end_of_speech": 64402},
        "<custom_token_10>",
        "<|speech_12|>",
    ):
        yield f"{json.dumps(source)}\n    {identify(source)}\n"
    yield "```\n"


def fields() -> Iterator[str]:
    """Yield the table of a .json file's fields."""
    yield "\n| field | means | where it is left out |\n|---|---|---|\n"
    for name, (meaning, default) in FIELDS.items():
        yield f"| `{name}` | {meaning} | {default} |\n"
    yield "\nA file is checked before it is used:\n\n"


def refusals() -> Iterator[str]:
    """Yield what the reader says of tables that make no sense."""
    yield "| a file with | is refused with |\n|---|---|\n"
    for what, values in WRONG:
        try:
            vocabulary_from_json(values)
        except LayoutError as error:
            yield f"| {what} | {error} |\n"
        else:
            raise AssertionError(what)


def wrapped(text: str) -> str:
    """Return a paragraph as wide as the pages are."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def in_a_table(code: str) -> str:
    """Return code for a cell of a table, where a bar would end the cell."""
    return "`" + code.replace("|", r"\|") + "`"


def has_fixed_base(name: str) -> bool:
    """Say whether a preset's ids are published."""
    try:
        preset(name, base=1)
    except LayoutError:
        return True
    return False


if __name__ == "__main__":
    write_or_check(PAGE, page(), description=__doc__)
