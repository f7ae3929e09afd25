"""The recordings to evaluate with, found in files, folders and manifests; each is read when its turn comes."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from snac_tok.sources.find import find_source
from snac_tok.sources.huggingface import HUB_MARK
from snac_tok.sources.stored import StoredSound

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from snac_tok.sources.recording import Recording

T = TypeVar("T")
_log = logging.getLogger(__name__)


def find_clips(inputs: Sequence[str | Path], *, limit: int | None = None) -> list[Recording]:
    """Return the recordings that are named, and those in folders that are named.

    A recording that is named several times, or lies in a folder that is named as well, is there once, under its first
    name, and a warning says so: twice the same clip would make a mean look surer than it is.

    Args:
        inputs: recordings, and folders that are searched for them.
        limit: how many at the most, evenly chosen: folders are often sorted by speaker or book.

    Raises:
        SourceError: an input is not there, or its name is empty.
    """
    found = _each_once(inputs)
    if limit is None or len(found) <= limit:
        return found
    return [found[place * len(found) // limit] for place in range(limit)]


def _each_once(inputs: Sequence[str | Path]) -> list[Recording]:
    """Return the recordings of some inputs, each under its first name; warn where one is named again."""
    different, again = _first_ones(inputs, key=_place_of)
    named = [
        (recording, _name(recording, Path(each), is_only=len(different) == 1))
        for each in different
        for recording in find_source(each).recordings
    ]
    kept, repeated = _first_ones(named, key=lambda pair: _key_of(pair[0]))
    if names := [*map(str, again), *(name for _, name in repeated)]:
        others = f", and so do {len(names) - 1:,} more" if len(names) > 1 else ""
        _log.warning("%s is named more than once and counts once%s.", names[0], others)
    return [dataclasses.replace(recording, name=name) for recording, name in kept]


def _first_ones(things: Iterable[T], *, key: Callable[[T], Hashable]) -> tuple[list[T], list[T]]:
    """Return the first thing of each key, and those of them that have others of their key behind them."""
    firsts: dict[Hashable, T] = {}
    again: dict[Hashable, T] = {}
    for thing in things:
        if (found := key(thing)) in firsts:
            again[found] = firsts[found]
        else:
            firsts[found] = thing
    return list(firsts.values()), list(again.values())


def _place_of(named: str | Path) -> str:
    """Return what is equal for two names of one input."""
    return str(named) if str(named).startswith(HUB_MARK) or not str(named) else os.path.realpath(named)


def _key_of(recording: Recording) -> Hashable:
    """Return what is equal for two recordings of the same sound; what is not a file is like nothing else."""
    sound: Any = recording.sound
    if isinstance(sound, StoredSound):
        place: Any = (os.path.realpath(sound.path), sound.at)
    elif isinstance(sound, str | Path):
        place = sound if "://" in str(sound) else os.path.realpath(sound)
    else:
        place = object()
    return place, recording.part, recording.channel


def _name(recording: Recording, named: Path, *, is_only: bool) -> str:
    """Return what the report calls a recording: with several folders, the same name may occur in each."""
    if recording.sound == named:
        return str(named)
    return recording.name if is_only else str(named / recording.name)
