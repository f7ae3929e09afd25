"""Finds the audio files of a folder, in an order that does not depend on the machine.

Paths are relative, with `/` between parts, sorted by code point. What a file holds is not looked at here;
texts come from `texts.py`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snac_tok.corpus.texts import find_texts
from snac_tok.errors import ShardError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

AUDIO_EXTENSIONS = frozenset(
    # The last line needs torchcodec or the program ffmpeg; without them such a file is reported as failed.
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64", ".rf64"}
    | {".m4a", ".m4b", ".aac", ".wma", ".webm", ".mka", ".amr"}
)


@dataclass(frozen=True, kw_only=True)
class SourceItem:
    """One audio file to encode.

    Attributes:
        path: relative to the source folder, with `/` between its parts.
        num_bytes: of the file; tells a changed file, and how much work is left.
        text: what is said, where the folder's metadata tells it.
    """

    path: str
    num_bytes: int
    text: str | None = None


def list_sources(folder: Path, *, extensions: Collection[str] = AUDIO_EXTENSIONS) -> list[SourceItem]:
    """Every audio file below `folder` with its text, sorted by path.

    Linked folders are followed, each real folder once. Hidden files and folders are skipped. A link to
    nowhere, or round in a circle, is listed: it fails when read, and is reported like any other file that cannot be.

    Args:
        folder: where to look.
        extensions: file endings that count as audio, with the dot, in lower case.

    Raises:
        ShardError: no such folder, no audio in it, a folder that cannot be listed, or metadata that
            contradicts itself.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "b.WAV").write_bytes(b"1234")
        ...     list_sources(Path(folder))
        [SourceItem(path='b.WAV', num_bytes=4, text=None)]
    """
    if not folder.is_dir():
        raise ShardError(f"{folder} is no folder; give the one that holds the audio files.")
    sizes = {path: size for path, size in _walk(folder) if Path(path).suffix.lower() in extensions}
    if not sizes:
        raise ShardError(
            f"{folder} holds no audio file ({' '.join(sorted(extensions))}); give another folder."
        )
    paths = sorted(sizes)
    texts = find_texts(folder, paths)
    return [SourceItem(path=path, num_bytes=sizes[path], text=texts.get(path)) for path in paths]


def _walk(root: Path) -> Iterator[tuple[str, int]]:
    """Relative path and size of every visible file.

    Real folders come before links to folders, so that a folder reached both ways goes by its real path;
    among links the first in sorted order wins. Loops end because every folder is entered once.
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
        raise ShardError(f"{folder} cannot be listed: {error.strerror}; allow it or move it away.") from error


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
