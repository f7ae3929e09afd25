"""Recordings in WebDataset's .tar files: one sample a name, its files side by side.

    speech-000.tar      a.flac  a.json  a.txt  b.flac  b.json

What .txt and .json say is read when the tar is listed, the sound when it is needed. Compressed tars have no places to
go to, and are refused.
"""

from __future__ import annotations

import tarfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from snac_tok.errors import SourceError
from snac_tok.sources.folders import AUDIO_EXTENSIONS
from snac_tok.sources.rows import Table
from snac_tok.sources.stored import StoredSound
from snac_tok.sources.tables import json_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from snac_tok.sources.recording import Recording

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.zst")
_TOLD_BY = {"txt": "text", "text": "text", "lang": "language", "spk": "speaker"}
_MAX_TOLD_BYTES = 1 << 24
_SCAN_BYTES = 1 << 20


def list_tar(path: Path, *, keep: Sequence[str] = ()) -> list[Recording]:
    """Return the recordings in a .tar, in their order; they are called after the tar and the member.

    Raises:
        SourceError: it is damaged, cut off, compressed, or has no sound in it; what a member tells is not valid, or a
            sample has two recordings.
    """
    sounds: dict[str, tuple[str, StoredSound]] = {}
    told: dict[str, list[tuple[str, Any]]] = {}
    with whole_tar(path) as archive:
        for member in archive:
            if member.isfile() and not _is_hidden(member.name):
                _take(archive, member, path, sounds, told)
    if not sounds:
        raise SourceError(f"{path} has no sound in it ({' '.join(sorted(AUDIO_EXTENSIONS))}).")
    table = Table(path, keep=keep)
    return [
        table.recording(
            _row_of(told.get(key, ()), path),
            name=f"{path.name}/{name}",
            sound=sound,
            num_bytes=sound.num_bytes,
        )
        for key, (name, sound) in sounds.items()
    ]


@contextmanager
def whole_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar whose members are all listed inside the `with` block; behind them its end mark is looked for.

    Python's reader takes a damaged, zeroed or short header for the end of the tar, and all that follows would be lost.

    Raises:
        SourceError: it is damaged, cut off, compressed or not readable.
    """
    archive = None
    try:
        with tarfile.open(path, "r:") as archive:
            yield archive
            if fault := _fault_at_end(archive):
                raise _damaged(path, archive, fault)
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error}.") from error
    except (tarfile.TarError, ValueError) as error:
        if archive is None:
            raise SourceError(
                f"{path} cannot be read as a tar ({error}); tars without compression are needed."
            ) from error
        raise _damaged(path, archive, str(error)) from error


def _fault_at_end(archive: tarfile.TarFile) -> str | None:
    """Return what is wrong behind the last member: blocks of zeros are needed, at least one, and nothing else."""
    file: Any = archive.fileobj
    file.seek(archive.offset)
    first = file.read(tarfile.BLOCKSIZE)
    if first.strip(b"\0"):
        return "no valid header stands there"
    if len(first) < tarfile.BLOCKSIZE:
        return "the mark of its end is missing"
    while block := file.read(_SCAN_BYTES):
        if block.strip(b"\0"):
            return "an end mark stands there, and more data behind it, as where tars were joined"
    return None


def _damaged(path: Path, archive: Any, fault: str) -> SourceError:
    size, at = path.stat().st_size, archive.offset
    last = f"member {archive.members[-1].name}" if archive.members else "its beginning"
    place = (
        f"cut off in {last}, at byte {size}"
        if at > size
        else f"damaged or cut off behind {last}, at byte {at}"
    )
    return SourceError(
        f"{path} is {place} ({fault}): recordings may be missing; fetch the tar again, or write it anew."
    )


def _take(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    path: Path,
    sounds: dict[str, tuple[str, StoredSound]],
    told: dict[str, list[tuple[str, Any]]],
) -> None:
    """Take a member for sound, or for what is told of one."""
    name = member.name.removeprefix("./")
    folder, slash, file = name.rpartition("/")
    # WebDataset's rule: the name of a sample ends at the first dot.
    stem, _, ending = file.partition(".")
    key = f"{folder}{slash}{stem}"
    if f".{ending.rpartition('.')[2].lower()}" in AUDIO_EXTENSIONS:
        sound = StoredSound(path=path, at=member.offset_data, num_bytes=member.size)
        if key in sounds:
            raise SourceError(f"{path}, member {member.name}: two recordings are called {key!r}; rename one.")
        sounds[key] = (name, sound)
    elif (ending == "json" or ending in _TOLD_BY) and member.size <= _MAX_TOLD_BYTES:
        told.setdefault(key, []).append((member.name, _told_in(archive, member, path, ending)))


def _told_in(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path, ending: str) -> Any:
    """Return what a member tells: a row, unless its JSON is something else."""
    content = archive.extractfile(member)
    try:
        text = content.read().decode("utf-8-sig").strip() if content else ""
        return json_value(text) if ending == "json" else {_TOLD_BY[ending]: text}
    except (ValueError, RecursionError) as error:
        kind = "UTF-8 text" if isinstance(error, UnicodeError) else "JSON"
        raise SourceError(
            f"{path}, member {member.name}: not valid {kind} ({error}); mend or remove the member."
        ) from error


def _row_of(told: Iterable[tuple[str, Any]], path: Path) -> dict[str, Any]:
    """Return what the members beside a sound tell, in one row."""
    row: dict[str, Any] = {}
    for member, fields in told:
        if not isinstance(fields, dict):
            raise SourceError(f"{path}, member {member}: needs a JSON object; mend or remove the member.")
        row |= fields
    return row


def _is_hidden(name: str) -> bool:
    """Return whether a file or one of its folders is hidden, as the ._a.wav beside a.wav in a Mac's tar is."""
    return any(part.startswith(".") and part.strip(".") for part in name.split("/"))
