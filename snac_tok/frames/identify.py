"""Whose ids these are: the published families that ids, a text, special ids or a text tokenizer look like.

It compares with tables of families, those of other codecs included, and knows no family that is not in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snac_tok.errors import TokenError
from snac_tok.frames.arrays import integers, to_numpy
from snac_tok.frames.presets import RELEASED_CODEBOOK_SIZE, preset

# Ids follow each other slot by slot; one in five may be damaged.
LEAST_SHARE = 0.8
_ROWS_NDIM = 2
_SNAC = "SNAC"


@dataclass(frozen=True, kw_only=True)
class Identification:
    """What something looks like.

    Attributes:
        families: models, the likeliest first; several where nothing tells them apart.
        presets: the presets that read their ids.
        codec: what their codes are of.
        reason: what was recognised.

    Example:
        >>> print(identify("<|s_12><|s_3421|><|s_9|>"))
        tokens like <|s_3421|> are those of LLaSA: X-codec2, not SNAC
    """

    families: tuple[str, ...]
    presets: tuple[str, ...] = ()
    codec: str = _SNAC
    reason: str

    def __str__(self) -> str:
        names = " or ".join(self.families)
        if self.codec != _SNAC:
            return f"{self.reason} are those of {names}: {self.codec}, not SNAC"
        return f"{self.reason} are those of {names}"


@dataclass(frozen=True, kw_only=True)
class _Family:
    """A family by its ids; the first two edges start and end speech."""

    name: str
    base: int
    edges: tuple[int, ...]
    block: int = RELEASED_CODEBOOK_SIZE
    slots: int = 7
    codec: str = _SNAC
    is_preset: bool = True

    @property
    def said(self) -> str:
        kind = "the preset " if self.is_preset else ""
        return f"{kind}{self.name} ({self.slots} slots from {self.base})"


@dataclass(frozen=True, kw_only=True)
class _Spelling:
    """A family by how its tokens are spelled."""

    pattern: str
    families: tuple[str, ...]
    presets: tuple[str, ...] = ()
    codec: str = _SNAC


def _published(name: str) -> _Family:
    table = preset(name)
    names = ("start_of_speech", "end_of_speech", "start_of_human", "end_of_human", "start_of_ai", "end_of_ai")
    return _Family(name=name, base=table.base, edges=tuple(table.specials[each] for each in names))


_FAMILIES = (
    _published("orpheus"),
    _published("vyvo-qwen3"),
    _published("vyvo-lfm2"),
    _Family(name="Archa-TTS", base=151675, edges=tuple(range(151668, 151673)), is_preset=False),
    # The special ids of vyvo-lfm2, and its first audio id, too.
    _Family(
        name="Kani-TTS",
        base=64410,
        edges=tuple(range(64401, 64407)),
        block=4032,
        slots=4,
        codec="NanoCodec",
        is_preset=False,
    ),
)

_SPELLINGS = (
    _Spelling(
        pattern=r"<custom_token_\d{1,10}>",
        families=("the preset orpheus, and vyvo-qwen3 and vyvo-lfm2, which spell them alike",),
        presets=("orpheus", "vyvo-qwen3", "vyvo-lfm2"),
    ),
    _Spelling(
        pattern=r"<\|snac_\d{1,10}\|>",
        families=("indic-speak (Orpheus's ids)",),
    ),
    _Spelling(
        pattern=r"<snac_l\d{1,10}_c\d{1,10}>",
        families=("Sido and Quipus (SNAC's codes per level)",),
    ),
    _Spelling(
        pattern=r"<snac_\d{1,10}>",
        families=(
            "FineVideo-VLA and MixtureVitae (the number is an Orpheus id in one, an index within a level in the other)",
        ),
    ),
    _Spelling(pattern=r"<\|s_\d{1,10}\|>", families=("LLaSA",), codec="X-codec2"),
    _Spelling(pattern=r"<\|speech_\d{1,10}\|>", families=("NeuTTS",), codec="NeuCodec"),
    _Spelling(pattern=r"<\|c[12]_\d{1,10}\|>", families=("OuteTTS 1.0",), codec="DAC"),
    _Spelling(
        pattern=r"<\|bicodec_(?:semantic|global)_\d{1,10}\|>", families=("Spark-TTS",), codec="BiCodec"
    ),
)
_AUDIO = r"<\|audio_([0-9]{1,10})\|>"


def identify(source: Any) -> Identification | None:
    """Say whose ids, tokens or special ids these are; None where no family in the tables has such.

    Args:
        source: ids (n,), or parallel rows (7, steps); a text with tokens; special ids by their names; or a text
            tokenizer of transformers.

    Raises:
        TokenError: ids that are no integers.

    Example:
        >>> print(identify([128257, 128266, 132363, 136461, 140558, 144652, 148751, 152848]))
        ids with 7 slots from 128266 are those of the preset orpheus
        >>> print(identify({"start_of_speech": 64401}))
        special ids 64401 are those of the preset vyvo-lfm2 (7 slots from 64410) or Kani-TTS (NanoCodec, not SNAC)
    """
    if isinstance(source, str):
        return _of_text(source)
    if hasattr(source, "get_vocab"):
        return _of_tokens(source.get_vocab())
    if isinstance(source, Mapping):
        return _of_specials(
            to_numpy(integers(list(source.values()), what="the special ids", error=TokenError))
        )
    ids = np.asarray(to_numpy(integers(source, what="the ids", error=TokenError)))
    if ids.ndim == _ROWS_NDIM and _fits_rows(ids):
        return Identification(
            families=("the presets mini-omni and lucy, which differ in the order of the levels alone",),
            presets=("mini-omni", "lucy"),
            reason="7 parallel rows of ids from 152000",
        )
    return _of_ids(ids.reshape(-1)) or _of_specials(ids.reshape(-1))


def _of_ids(ids: Any) -> Identification | None:
    shares = {family: _share_in_order(ids, family) for family in _FAMILIES}
    best = max(shares.values())
    if best < LEAST_SHARE:
        return None
    # One more right pair than another's is no evidence: codes at the ends of blocks are rare.
    likely = [family for family in _FAMILIES if shares[family] > best - 0.05]
    seen = [_marks_around(ids, family) for family in likely]
    likely = [family for family, number in zip(likely, seen, strict=True) if number == max(seen)]
    first = likely[0]
    return Identification(
        families=tuple(("the preset " if family.is_preset else "") + family.name for family in likely),
        presets=tuple(family.name for family in likely if family.is_preset),
        codec=first.codec,
        reason=f"ids with {first.slots} slots from {first.base}",
    )


def _marks_around(ids: Any, family: _Family) -> int:
    """Return how often a start of speech stands right before a family's codes, and an end right behind."""
    inside = (ids >= family.base) & (ids < family.base + family.slots * family.block)
    start, end = family.edges[:2]
    return int(((ids[:-1] == start) & inside[1:]).sum() + ((ids[1:] == end) & inside[:-1]).sum())


def _share_in_order(ids: Any, family: _Family) -> float:
    return share_in_order(ids, base=family.base, block=family.block, slots=family.slots)


def share_in_order(ids: Any, *, base: int, block: int, slots: int) -> float:
    """Return how often an id of a table is followed by one of the next slot; 0 where less than a frame is.

    >>> share_in_order(np.array([0, 10, 20, 0, 10, 20]), base=0, block=10, slots=3)
    1.0
    """
    own = (ids - base) // block
    inside = (own >= 0) & (own < slots)
    follows = inside[:-1] & inside[1:] & (own[1:] == (own[:-1] + 1) % slots)
    is_enough = int(follows.sum()) >= slots - 1
    return float(follows.sum() / max(int(inside.sum()) - 1, 1)) if is_enough else 0.0


def _of_specials(ids: Any) -> Identification | None:
    # Ids of text, which any model has, say nothing.
    known = {family: sorted({*family.edges} & {*ids.tolist()}) for family in _FAMILIES}
    most = max(map(len, known.values()))
    if most == 0:
        return None
    likely = [family for family in _FAMILIES if len(known[family]) == most]
    only = {family.codec for family in likely}
    others = [
        family.said if family.codec == _SNAC else f"{family.name} ({family.codec}, not SNAC)"
        for family in likely
    ]
    return Identification(
        families=tuple(others),
        presets=tuple(family.name for family in likely if family.is_preset),
        codec=_SNAC if _SNAC in only else only.pop(),
        reason=f"special ids {', '.join(map(str, known[likely[0]]))}",
    )


def _of_text(text: str) -> Identification | None:
    numbers = [int(number) for number in re.findall(_AUDIO, text)]
    if numbers:
        return _of_audio_numbers(np.array(numbers, dtype=np.int64))
    for spelling in _SPELLINGS:
        if found := re.search(spelling.pattern, text):
            return Identification(
                families=spelling.families,
                presets=spelling.presets,
                codec=spelling.codec,
                reason=f"tokens like {found[0]}",
            )
    return None


def _of_audio_numbers(numbers: Any) -> Identification:
    in_order = _Family(name="", base=0, edges=())
    if _share_in_order(numbers, in_order) < LEAST_SHARE and len(numbers) >= in_order.slots:
        return Identification(
            families=("GLM-4-Voice",), codec="its own tokenizer", reason=f"tokens like <|audio_{numbers[0]}|>"
        )
    return Identification(
        families=("the presets vita-audio and plain, which differ in the order of the levels",),
        presets=("vita-audio", "plain"),
        reason=f"tokens like <|audio_{numbers[0]}|>",
    )


def _of_tokens(vocab: Mapping[str, int]) -> Identification | None:
    """Return the families whose first audio token has the id that it has here."""
    first = vocab.get("<custom_token_10>")
    likely = [family for family in _FAMILIES if family.base == first]
    if likely:
        return Identification(
            families=tuple(
                family.said if family.codec == _SNAC else f"{family.name} ({family.codec}, not SNAC)"
                for family in likely
            ),
            presets=tuple(family.name for family in likely if family.is_preset),
            reason=f"a tokenizer whose <custom_token_10> is id {first}, and its ids,",
        )
    if (base := vocab.get("<|audio_0|>")) is not None:
        return Identification(
            families=(f"vita-audio or plain with base {base}",),
            presets=("vita-audio", "plain"),
            reason=f"a tokenizer whose <|audio_0|> is id {base}, and its ids,",
        )
    return _of_text(
        " ".join(token for token in vocab if token.startswith("<") and any(map(str.isdigit, token)))
    )


def _fits_rows(ids: Any) -> bool:
    table = preset("mini-omni")
    if ids.shape[0] != table.layout.slots_per_frame or not ids.size:
        return False
    inner = ids - np.array(table.slot_bases)[:, None]
    return bool(((inner >= 0) & (inner < table.block)).all())
