"""A codec and its id table: which arguments stand for them, whether they fit, and the trial codec's warning.

In every public call `None` means raw codes, and a name is a preset's.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from weakref import WeakSet

from snac_tok.codec import SNAC
from snac_tok.codec.trial import TRIAL_CODEC, is_trial, warn_of_trial_ids
from snac_tok.errors import LayoutError, TokenError
from snac_tok.frames import FrameLayout, Vocabulary, published_name, vocabulary_for
from snac_tok.wording import shortened, what_came

if TYPE_CHECKING:
    from collections.abc import Iterator

    # A preset's name, the path of a vocabulary's .json file, a table, or raw codes in a layout's order; None is raw
    # codes in the canonical one.
    VocabularyLike: TypeAlias = str | os.PathLike[str] | Vocabulary | FrameLayout | None

_warned: WeakSet[Any] = WeakSet()
_is_quiet: ContextVar[bool] = ContextVar("is_quiet", default=False)


class CodecWithVocabulary(Protocol):
    """Has a codec and its id table, as `SnacTokenizer` does."""

    @property
    def codec(self) -> SNAC: ...  # noqa: D102

    @property
    def vocabulary(self) -> Vocabulary: ...  # noqa: D102


def paired(codec: SNAC | CodecWithVocabulary, vocabulary: VocabularyLike) -> tuple[SNAC, Vocabulary]:
    """Return a codec and its id table, checked to fit each other.

    Args:
        codec: the codec, or a tokenizer, which has both.
        vocabulary: the table; "auto" is the tokenizer's.

    Raises:
        LayoutError: no such preset or file, a table for another codec, or "auto" without a tokenizer.
    """
    own: Vocabulary | None = None
    if not isinstance(codec, SNAC):
        own, codec = _own_vocabulary(codec), _codec_of(codec)
    if isinstance(vocabulary, str) and vocabulary == "auto":
        if own is None:
            raise LayoutError(
                "a codec alone has no vocabulary; name the preset that the language model was trained with, or pass "
                "a SnacTokenizer instead of the codec."
            )
        vocabulary = own
    table = vocabulary_of(vocabulary, codec)
    check_fits(table, codec)
    warn_of_trial_codec(codec, table)
    return codec, table


def _codec_of(holder: Any) -> SNAC:
    """Return the codec of a tokenizer or model."""
    codec = getattr(holder, "codec", None)
    if isinstance(codec, SNAC):
        return codec
    if isinstance(holder, (str, os.PathLike)):
        raise LayoutError(
            f"{shortened(os.fspath(holder))} is no codec; load one by that name, or a tokenizer, which brings its ids "
            "along, with SnacTokenizer.from_pretrained."
        )
    raise LayoutError(
        f"codec is {what_came(holder)}; a loaded codec or tokenizer is needed, as SnacTokenizer.from_pretrained gives "
        "it."
    )


def _own_vocabulary(holder: Any) -> Vocabulary | None:
    found = getattr(holder, "vocabulary", None)
    return found if isinstance(found, Vocabulary) else None


def paired_for_streams(
    codec: SNAC | CodecWithVocabulary, vocabulary: VocabularyLike
) -> tuple[SNAC, Vocabulary]:
    """Return the same for streams, with the codec's weights folded.

    Raises:
        LayoutError: as in `paired`.
        TokenError: the vocabulary has parallel rows.
    """
    codec, table = paired(codec, vocabulary)
    if table.is_parallel:
        raise TokenError(
            f"the ids of {table.name!r} are parallel rows, which cannot be streamed; encode or decode the whole "
            "recording, or take a vocabulary with one line of ids."
        )
    return codec.fold_weight_norm(), table


def vocabulary_of(wanted: VocabularyLike, codec: SNAC, *, levels: int | None = None) -> Vocabulary:
    """Return the id table that an argument stands for.

    Raises:
        LayoutError: no such preset or file, or another number of levels than the table has.

    Example:
        >>> from snac_tok.codec import SNAC
        >>> raw = vocabulary_of(None, SNAC.from_pretrained("tiny"))
        >>> raw.encode([[5], [6, 7], [1, 2, 3, 4]])
        array([5, 6, 1, 2, 7, 3, 4])
    """
    strides, codebook_size = codec.config.vq_strides, codec.config.codebook_size
    if wanted is None:
        wanted = FrameLayout(strides, levels=levels)
    if not isinstance(wanted, FrameLayout):
        return vocabulary_for(wanted, strides=strides, codebook_size=codebook_size, levels=levels)
    return Vocabulary(wanted, name="raw codes", codebook_size=codebook_size, offsets="none")


def check_fits(vocabulary: Vocabulary, codec: SNAC) -> None:
    """Refuse an id table for another codec.

    Raises:
        LayoutError: other strides, or codebooks of another size.
    """
    found = (vocabulary.layout.strides, vocabulary.codebook_size)
    needed = (codec.config.vq_strides, codec.config.codebook_size)
    if found != needed:
        raise LayoutError(
            f"vocabulary {vocabulary.name!r} is for strides {found[0]} and codebooks of {found[1]}; this codec has "
            f"{needed[0]} and {needed[1]}."
        )


def warn_of_trial_codec(codec: SNAC, vocabulary: Vocabulary) -> None:
    """Warn, once for each loaded codec, that ids of the trial codec look like those of a published model."""
    if _is_quiet.get() or codec in _warned:
        return
    name = published_name(vocabulary)
    if name is not None and is_trial(codec):
        _warned.add(codec)
        warn_of_trial_ids(name)


def warn_of_trial_name(codec: str, vocabulary: Vocabulary) -> None:
    """Warn likewise for a codec that is known by name and not loaded yet."""
    name = published_name(vocabulary)
    if name is not None and codec == TRIAL_CODEC:
        warn_of_trial_ids(name)


@contextmanager
def without_trial_warning() -> Iterator[None]:
    """Load a codec without the warning, for a caller that has already shown it."""
    before = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(before)
