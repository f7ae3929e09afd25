"""The id tables of published models by name, and neutral ones for new models.

Only tables: where a model's prompt puts its special ids is not known here. Tables of one's own come from
`vocabulary_from_json`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from snac_tok.errors import LayoutError, did_you_mean
from snac_tok.frames.arrays import whole_number
from snac_tok.frames.layout import FrameLayout, Order
from snac_tok.frames.text import TextForm
from snac_tok.frames.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snac_tok.frames.id_table import Offsets

DEFAULT_PRESET = "plain"

# The released speech codec: 24 kHz, one code per 4, 2 and 1 latents.
SPEECH_STRIDES = (4, 2, 1)
RELEASED_CODEBOOK_SIZE = 4096


@dataclass(frozen=True, kw_only=True)
class _Published:
    """A table whose numbers a published model fixed; fields are named as in `IdTable`."""

    base: int
    specials: Mapping[str, int]
    order: Order = "depth-first"
    block_size: int = RELEASED_CODEBOOK_SIZE
    delayed: bool = False
    template: str = "<|audio_{}|>"
    first_text_id: int | None = None
    literals: Mapping[str, int] = field(default_factory=dict)

    def vocabulary(
        self, name: str, layout: FrameLayout, *, codebook_size: int, base: int | None
    ) -> Vocabulary:
        if base is not None:
            raise LayoutError(f"its base is published as {self.base}; leave base out or take 'plain'.")
        num_slots = layout.slots_per_frame
        first = self.base if self.first_text_id is None else self.first_text_id
        num_ids = self.base - first + num_slots * self.block_size
        vocabulary = Vocabulary(
            layout=layout,
            name=name,
            codebook_size=codebook_size,
            base=self.base,
            block_size=self.block_size,
            specials=self.specials,
            # Row s is delayed s + 1 steps: the text leads by one step.
            delays=tuple(range(1, num_slots + 1)) if self.delayed else None,
        )
        # Last, so that ids which collide are told as ids and not as spellings.
        text = TextForm(template=self.template, first_id=first, num_ids=num_ids, literals=self.literals)
        return replace(vocabulary, text=text)


@dataclass(frozen=True, kw_only=True)
class _Movable:
    """A table that begins wherever the caller's text ids end, its specials right after the codes."""

    order: Order = "depth-first"
    offsets: Offsets = "slot"
    specials: Sequence[str] = ("pad", "bos", "eos")
    separator: str | None = None
    block_size: int | None = None

    def vocabulary(
        self, name: str, layout: FrameLayout, *, codebook_size: int, base: int | None
    ) -> Vocabulary:
        first = whole_number(0 if base is None else base, what="base", error=LayoutError)
        codebook_size = whole_number(codebook_size, what="codebook_size", error=LayoutError)
        block_size = self.block_size or codebook_size
        num_ids = block_size * (layout.num_levels if self.offsets == "level" else layout.slots_per_frame)
        specials = {special: first + num_ids + place for place, special in enumerate(self.specials)}
        literals = {f"<|{special}|>": number for special, number in specials.items()}
        return Vocabulary(
            layout=layout,
            name=name,
            codebook_size=codebook_size,
            base=first,
            offsets=self.offsets,
            block_size=block_size,
            specials=specials,
            separator=self.separator,
            text=TextForm(template="<|audio_{}|>", first_id=first, num_ids=num_ids, literals=literals),
        )


def _speech_specials(start_of_speech: int, *, start_of_text: int, end_of_text: int) -> dict[str, int]:
    """Return the seven neighbours that the vyvo models share, in their published order."""
    names = (
        "start_of_speech",
        "end_of_speech",
        "start_of_human",
        "end_of_human",
        "start_of_ai",
        "end_of_ai",
        "pad",
    )
    neighbours = {name: start_of_speech + place for place, name in enumerate(names)}
    return {**neighbours, "start_of_text": start_of_text, "end_of_text": end_of_text}


def _rows(order: Order, third: str) -> _Published:
    """Return the delayed rows that mini-omni and lucy share but for their order and one special's name."""
    # 152000 is the padded text vocabulary; a row is 4096 codes padded to 4160 by its own specials.
    specials = {"end": 4096, "pad": 4097, third: 4098, "answer": 4099}
    return _Published(base=152000, block_size=4160, order=order, delayed=True, specials=specials)


_PUBLISHED: Mapping[str, _Published] = MappingProxyType(
    {
        # Orpheus and its family. 128256 is the length of the Llama 3 tokenizer; `<custom_token_N>` is id
        # 128256 + N, N below 10 is control, so code 0 of slot 0 is 128266.
        "orpheus": _Published(
            base=128266,
            specials={
                "start_of_text": 128000,
                "end_of_text": 128009,
                "start_of_speech": 128257,
                "end_of_speech": 128258,
                "start_of_human": 128259,
                "end_of_human": 128260,
                "start_of_ai": 128261,
                "end_of_ai": 128262,
                "pad": 128263,
                "start_of_system": 128264,
                "end_of_system": 128265,
                "audio": 156939,
            },
            template="<custom_token_{}>",
            first_text_id=128256,
            # The two of the text tokenizer are spelled as Llama 3 spells them.
            literals={"<|begin_of_text|>": 128000, "<|eot_id|>": 128009, "<|audio|>": 156939},
        ),
        # VyvoTTS on Qwen3: tokenizer length 151669, laid out like orpheus from there. Its ids are published;
        # the spelling is orpheus's, counted from the tokenizer's length, and not confirmed by a source. The two
        # of the text tokenizer are spelled as Qwen3's own tokenizer_config.json spells them.
        "vyvo-qwen3": _Published(
            base=151679,
            specials=_speech_specials(151670, start_of_text=151643, end_of_text=151645),
            template="<custom_token_{}>",
            first_text_id=151669,
            literals={"<|endoftext|>": 151643, "<|im_end|>": 151645},
        ),
        # VyvoTTS on LFM2: tokenizer length 64400; the two of the text tokenizer are LFM2's own.
        "vyvo-lfm2": _Published(
            base=64410,
            specials=_speech_specials(64401, start_of_text=1, end_of_text=7),
            template="<custom_token_{}>",
            first_text_id=64400,
            literals={"<|startoftext|>": 1, "<|im_end|>": 7},
        ),
        "mini-omni": _rows("depth-first", "input"),
        "lucy": _rows("breadth-first", "begin"),
    }
)

_MOVABLE: Mapping[str, _Movable] = MappingProxyType(
    {
        "plain": _Movable(),
        # VITA-Audio publishes text: `<|audio_i|>`, i = slot · 4096 + code; ids depend on the tokenizer.
        "vita-audio": _Movable(order="breadth-first", specials=(), block_size=RELEASED_CODEBOOK_SIZE),
        "per-level": _Movable(offsets="level"),
        "per-level-breadth": _Movable(offsets="level", order="breadth-first"),
        "per-level-separated": _Movable(
            offsets="level", specials=("pad", "bos", "eos", "separator"), separator="separator"
        ),
        "per-level-breadth-separated": _Movable(
            offsets="level",
            order="breadth-first",
            specials=("pad", "bos", "eos", "separator"),
            separator="separator",
        ),
    }
)

# Published by its tokens' texts; where their ids begin is up to the tokenizer.
_PUBLISHED_AS_TEXT = ("vita-audio",)

_TABLES: Mapping[str, _Movable | _Published] = MappingProxyType({**_MOVABLE, **_PUBLISHED})


def preset_names() -> tuple[str, ...]:
    """Return the names `preset` takes, the default first.

    >>> preset_names()[:2]
    ('plain', 'vita-audio')
    """
    return tuple(_TABLES)


def published_name(vocabulary: Vocabulary) -> str | None:
    """Return the preset of the published models that read a vocabulary's ids, None for ids of no published model.

    A table under another name counts, too, where its codes begin at a published id.

    >>> published_name(Vocabulary(FrameLayout((4, 2, 1)), base=128266)), published_name(preset("plain"))
    ('orpheus', None)
    """
    if vocabulary.name in (*_PUBLISHED, *_PUBLISHED_AS_TEXT):
        return vocabulary.name
    is_delayed = vocabulary.delays is not None
    return next(
        (
            name
            for name, table in _PUBLISHED.items()
            if (table.base, table.order, table.delayed)
            == (vocabulary.base, vocabulary.layout.order, is_delayed)
        ),
        None,
    )


def preset(
    name: str = DEFAULT_PRESET,
    *,
    strides: tuple[int, ...] = SPEECH_STRIDES,
    levels: int | None = None,
    codebook_size: int = RELEASED_CODEBOOK_SIZE,
    base: int | None = None,
) -> Vocabulary:
    """Return the vocabulary of a name for a codec's strides.

    Published tables keep their published numbers: other strides fill fewer or more slots of them, and are
    refused where that would run into another id. "plain", "vita-audio" and the "per-level" ones begin at
    `base` and put their specials right after the codes.

    Args:
        name: One of `preset_names()`.
        strides: The codec's strides, coarsest first.
        levels: Keep only the first levels; None keeps all.
        codebook_size: The codec's codes per level.
        base: The id of code 0 in slot 0, for the tables that may begin anywhere; None is 0.

    Raises:
        LayoutError: An unknown name, a base for a table that has its own, or ids that collide.

    Example:
        >>> preset("orpheus").encode([[0], [1, 2], [3, 4, 5, 6]])
        array([128266, 132363, 136461, 140558, 144652, 148751, 152848])
    """
    if not isinstance(name, str) or name not in _TABLES:
        hint = did_you_mean(name, preset_names()) if isinstance(name, str) else ""
        raise LayoutError(f"no preset {name!r}; there are {', '.join(preset_names())}.{hint}")
    try:
        layout = FrameLayout(strides, levels=levels, order=_TABLES[name].order)
        return _TABLES[name].vocabulary(name, layout, codebook_size=codebook_size, base=base)
    except LayoutError as reason:
        hint = " Fewer levels may fit, and 'plain' takes any strides." if name in _PUBLISHED else ""
        kept = "all levels" if levels is None else f"levels {levels}"
        asked = f"strides {strides!r}, {kept} and codebooks of {codebook_size!r}"
        raise LayoutError(f"preset {name!r} for {asked}: {reason}{hint}") from reason
