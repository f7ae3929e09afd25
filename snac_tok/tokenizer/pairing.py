"""Where a codec and an id table meet: what a door may be given for the table, and the one warning about both.

`None` is raw codes at every door, a name is a preset's. Tables that do not fit the codec are refused by those who
use them.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakSet

from snac_tok.codec.trial import TRIAL_CODEC, is_trial, warn_of_trial_ids
from snac_tok.frames import FrameLayout, Vocabulary, published_name, vocabulary_for

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from snac_tok.codec import SNAC

    # A preset's name, the path of a vocabulary's .json file, a table, or raw codes in a layout's order; None is raw
    # codes in the canonical one.
    Ids: TypeAlias = str | os.PathLike[str] | Vocabulary | FrameLayout | None

_told: WeakSet[Any] = WeakSet()
_is_quiet: ContextVar[bool] = ContextVar("is_quiet", default=False)


def vocabulary_of(wanted: Ids, codec: SNAC, *, levels: int | None = None) -> Vocabulary:
    """Return the id table that a door was given for a codec.

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


def warn_of_trial_codec(codec: SNAC, vocabulary: Vocabulary) -> None:
    """Say once for each codec that was loaded when the trial codec makes ids that a published model's look like."""
    if _is_quiet.get() or codec in _told:
        return
    name = published_name(vocabulary)
    if name is not None and is_trial(codec):
        _told.add(codec)
        warn_of_trial_ids(name)


def warn_of_trial_name(codec: str, vocabulary: Vocabulary) -> None:
    """Say the same of a codec that is known by its name and not loaded yet."""
    name = published_name(vocabulary)
    if name is not None and codec == TRIAL_CODEC:
        warn_of_trial_ids(name)


@contextmanager
def told_before() -> Iterator[None]:
    """Keep quiet where a codec is loaded for a door that has said it already."""
    before = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(before)
