"""The recordings to evaluate with, found in files, folders and manifests; each is read when its turn comes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from snac_tok.sources.find import find_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.sources.recording import Recording


def find_clips(inputs: Sequence[str | Path], *, limit: int | None = None) -> list[Recording]:
    """Return the recordings that are named, and those in folders that are named.

    Args:
        inputs: recordings, and folders that are searched for them.
        limit: how many at the most, evenly chosen: folders are often sorted by speaker or book.

    Raises:
        SourceError: an input is not there.
    """
    found = [
        dataclasses.replace(recording, name=_name(recording, Path(named), is_only=len(inputs) == 1))
        for named in inputs
        for recording in find_source(named).recordings
    ]
    if limit is None or len(found) <= limit:
        return found
    return [found[place * len(found) // limit] for place in range(limit)]


def _name(recording: Recording, named: Path, *, is_only: bool) -> str:
    """Return what the report calls a recording: with several folders, the same name may occur in each."""
    if recording.sound == named:
        return str(named)
    return recording.name if is_only else str(named / recording.name)
