"""A vocabulary's whole id table as text for a terminal; it formats and decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snac_tok.wording import aligned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.frames.id_table import IdTable


def describe(vocabulary: IdTable) -> str:
    """Return the summary, the table of slots and the table of specials, one below the other.

    Example:
        >>> from snac_tok.frames import preset
        >>> describe(preset("orpheus")).splitlines()[0]
        'orpheus: 7 slots a frame, depth-first, strides (4, 2, 1), all levels'
    """
    parts = ["\n".join(_summary(vocabulary)), _columns(_slot_rows(vocabulary))]
    if vocabulary.specials:
        parts.append(_columns(_special_rows(vocabulary)))
    return "\n\n".join(parts)


def _summary(vocabulary: IdTable) -> list[str]:
    layout = vocabulary.layout
    kept = (
        "all levels"
        if layout.levels is None
        else f"the first {layout.levels} of {len(layout.strides)} levels"
    )
    size = f"{layout.slots_per_frame} slots a frame, {layout.order}, strides {layout.strides}, {kept}"
    scheme = f"offsets: {vocabulary.offsets}, codebook size {vocabulary.codebook_size}"
    lines = [
        f"{vocabulary.name}: {size}",
        f"ids for codes: {vocabulary.num_code_ids} ({scheme}), vocabulary size: {vocabulary.size}",
    ]
    if vocabulary.separator is not None:
        lines.append(f"separator before each frame: {vocabulary.separator}")
    if vocabulary.delays is not None:
        lines.append(
            f"parallel rows, one a slot; specials stand in each block of {vocabulary.block_size} ids"
        )
    return lines


def _slot_rows(vocabulary: IdTable) -> list[Sequence[str]]:
    spelled, delayed = vocabulary.text is not None, vocabulary.delays is not None
    head = ["slot", "level", "step", "first id", "last id"]
    rows: list[Sequence[str]] = [[*head, *["delay"] * delayed, *["first text"] * spelled]]
    for slot, (level, step) in enumerate(vocabulary.layout.slots):
        ids = vocabulary.id_range(slot)
        row = [str(number) for number in (slot, level, step, ids[0], ids[-1])]
        row += [str(vocabulary.delays[slot])] if vocabulary.delays is not None else []
        row += [vocabulary.text.token_of(ids[0])] if vocabulary.text is not None else []
        rows.append(row)
    return rows


def _special_rows(vocabulary: IdTable) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [["special", "number in row" if vocabulary.is_parallel else "id"]]
    return rows + [[name, str(number)] for name, number in vocabulary.specials.items()]


def _columns(rows: list[Sequence[str]]) -> str:
    """Return columns of numbers aligned to the right, of words to the left."""
    numeric = [all(cell.isdigit() for cell in column[1:]) for column in zip(*rows, strict=True)]
    return aligned(rows, to_the_right=numeric)
