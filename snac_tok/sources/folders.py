"""The audio files of a folder as recordings, in an order that does not depend on the machine.

Names are relative paths, with `/` between parts, sorted by code point. No file is opened here; texts come from
`texts.py`.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from snac_tok.errors import SourceError
from snac_tok.files import shown_path
from snac_tok.sources.metadata import Row
from snac_tok.sources.recording import Recording
from snac_tok.sources.texts import find_rows
from snac_tok.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

_log = logging.getLogger(__name__)

AUDIO_EXTENSIONS = frozenset(
    # The last line needs torchcodec or the program ffmpeg; without them such a file is reported as failed.
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64", ".rf64"}
    | {".wave", ".bwf", ".aifc", ".snd", ".sph", ".nist", ".voc", ".mp2", ".mpga"}
    | {".m4a", ".m4b", ".aac", ".wma", ".webm", ".mka", ".amr", ".spx", ".wv", ".tta", ".ac3"}
)
# Often another copy of what lies beside it as sound.
_VIDEO_EXTENSIONS = (".mp4", ".mov", ".mkv", ".3gp", ".avi")


def list_folder(
    folder: Path, *, extensions: Collection[str] = AUDIO_EXTENSIONS, keep: Sequence[str] = ()
) -> list[Recording]:
    """Return every audio file below `folder` with its text, sorted by path.

    Linked folders are followed, each real folder once. Hidden files and folders are skipped. A broken or
    circular link is listed: it fails when it is read, and is reported like any other unreadable file.

    Args:
        folder: where to look.
        extensions: file endings that count as audio, with the dot, in lower case.
        keep: columns of metadata that are kept beside speaker and language.

    Raises:
        SourceError: no such folder, no audio in it, a folder that cannot be listed, or metadata that
            contradicts itself.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "b.WAV").write_bytes(b"1234")
        ...     [(recording.name, recording.num_bytes) for recording in list_folder(Path(folder))]
        [('b.WAV', 4)]
    """
    if not folder.is_dir():
        raise SourceError(f"{folder} is not a folder; give the one that holds the audio files.")
    endings = tuple(extensions)
    found = dict(_walk(folder))
    sizes = {path: size for path, size in found.items() if path.lower().endswith(endings)}
    if videos := sum(path.lower().endswith(_VIDEO_EXTENSIONS) for path in found.keys() - sizes.keys()):
        _log.warning(
            "%s: %s left out; name them in a list of recordings to take their sound.",
            shown_path(folder),
            counted(videos, "video"),
        )
    if not sizes:
        raise SourceError(
            f"{folder} has no audio file ({' '.join(sorted(extensions))}); give another folder."
        )
    paths = sorted(sizes)
    rows, nothing = find_rows(folder, paths, keep=keep), Row(line=0, name="", text="")
    return [_recording(folder, path, sizes[path], rows.get(path, nothing)) for path in paths]


def _recording(folder: Path, path: str, num_bytes: int, row: Row) -> Recording:
    return Recording(
        name=path,
        sound=folder / path,
        num_bytes=num_bytes,
        text=row.text if row.text.strip() else None,
        columns=row.columns,
    )


def _walk(root: Path) -> Iterator[tuple[str, int]]:
    """Relative path and size of every visible file.

    Real folders come before links to folders, so a folder that is reached both ways is named by its real
    path; among links the first in sorted order wins. Loops end because every folder is entered once.
    """
    seen: set[tuple[int, int]] = set()
    folders, links = [("", root)], list[tuple[str, Path]]()
    while folders or links:
        if not folders:
            links.sort(key=lambda link: link[0], reverse=True)
            folders.append(links.pop())
        prefix, folder = folders.pop()
        if _identity(folder) in seen:
            continue
        seen.add(_identity(folder))
        for entry in _visible_entries(folder):
            name = f"{prefix}{entry.name}"
            if entry.is_symlink() and not Path(entry.path).exists():
                yield name, 0
            elif entry.is_dir():
                (links if entry.is_symlink() else folders).append((f"{name}/", Path(entry.path)))
            elif entry.is_file():
                yield name, entry.stat().st_size  # pipes and devices are left out


def _visible_entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise SourceError(
            f"{folder} cannot be listed: {error.strerror}; allow it or move it away."
        ) from error


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
