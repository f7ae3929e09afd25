"""Lhotse Shar: a folder of cuts.000000.jsonl.gz beside recording.000000.tar, whose members are called after the cuts.

Text, speaker and language are those of a cut's first supervision. Other fields of the folder (features, codes) are not
read. A cut without its sound fails when it is read, like any missing file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snac_tok.errors import SourceError
from snac_tok.sources.folders import AUDIO_EXTENSIONS
from snac_tok.sources.rows import Table, told_of_cut
from snac_tok.sources.stored import StoredSound
from snac_tok.sources.tables import json_objects
from snac_tok.sources.tars import whole_tar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from snac_tok.sources.recording import Recording


def is_shar(folder: Path) -> bool:
    """Return whether a folder is one that Lhotse's SharWriter has written recordings into."""
    return any(folder.glob("cuts.*.jsonl*")) and any(folder.glob("recording.*.tar"))


def list_shar(folder: Path, *, keep: Sequence[str] = ()) -> list[Recording]:
    """Return the recordings of all cuts, in their order; they are called after the cuts.

    Raises:
        SourceError: a damaged file, or none with cuts.
    """
    return [
        recording
        for cuts in sorted(folder.glob("cuts.*.jsonl*"))
        for recording in _of_shard(cuts, folder / f"recording.{cuts.name.split('.')[1]}.tar", keep)
    ]


def _of_shard(cuts: Path, tar: Path, keep: Sequence[str]) -> Iterator[Recording]:
    table, sounds = Table(cuts, keep=keep), _members(tar)
    for line, cut in json_objects(cuts):
        try:
            name, told = str(cut["id"]), told_of_cut(cut)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise SourceError(
                f"{cuts}, line {line}: it is no cut of Lhotse's ({error!r}); mend it."
            ) from error
        sound = sounds.get(name)
        num_bytes = sound.num_bytes if sound else 0
        yield table.recording(told, name=name, sound=sound or tar / name, num_bytes=num_bytes)


def _members(tar: Path) -> dict[str, StoredSound]:
    """Return the sounds in a tar by the names of their cuts."""
    if not tar.exists():
        return {}
    with whole_tar(tar) as archive:
        return {
            stem: StoredSound(path=tar, at=member.offset_data, num_bytes=member.size)
            for member in archive
            for stem, _, ending in [member.name.rpartition(".")]
            if f".{ending.lower()}" in AUDIO_EXTENSIONS
        }
