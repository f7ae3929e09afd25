"""Under which names the sounds of records go into a folder: one rule, on every system the same.

A sound is named like its record, with the ending behind it unless the name ends so already:

    a.mp3 → a.mp3.wav      a.wav → a.wav      talks/b.flac#1 → talks/b.flac#1.wav

So a name follows from its record alone, and a.mp3 and a.wav stay apart. Where a file system would still take two
names for one (A.wav and a.wav; talk and talk.wav), the later record in the shards' order gets a number: A~2.wav.
A name that another system would read as another place or a device is refused everywhere.
"""

from __future__ import annotations

import errno
import os
import re
import unicodedata
from typing import TYPE_CHECKING

from snac_tok.errors import ShardError
from snac_tok.wording import shortened

if TYPE_CHECKING:
    from pathlib import Path

    from snac_tok.shards import Record

# Common file systems allow so many for each part of a path.
_MAX_PART_BYTES = 255
# Nobody's recordings lie deeper; making folders calls itself for each of them.
_MAX_PARTS = 100
_DEVICE = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³]) *(?:\.|$)", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")
# Of these a name may hold any elsewhere, times of day for example; on Windows a colon leads to another file.
_REFUSED_BY_WINDOWS = re.compile(r'[<>:"|?*]')
# What the operating system says of a name, not of the disk.
NAME_REFUSALS = {
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EILSEQ,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ELOOP,
}


class SoundNames:
    """Gives every record of a collection a path in one folder.

    Attributes:
        folder: where the sounds go.

    Args:
        folder: see there.
        ending: ".wav" or ".flac".
    """

    def __init__(self, folder: Path, *, ending: str) -> None:
        self.folder = folder
        self._ending = ending
        # What a file system takes for one name, and how many of it there are.
        self._taken: dict[str, int] = {}

    def path_of(self, record: Record) -> Path:
        """Return the path for the next record of the collection, in its order.

        Raises:
            ShardError: no file can, or may, have this record's name; says why.
        """
        stem, ending = self._split(record.id)
        name = f"{stem}{ending}"
        if (fault := fault_of(record.id) or fault_of(name)) is not None:
            raise ShardError(fault)
        while (seen := seen_as(name)) in self._taken:
            self._taken[seen] += 1
            name = f"{stem}~{self._taken[seen]}{ending}"
        self._taken[seen] = 1
        return self.folder / name

    def _split(self, name: str) -> tuple[str, str]:
        """Return a record's name without the ending, and the ending; a name that is nothing else keeps it."""
        cut = len(name) - len(self._ending)
        if name[cut:].lower() == self._ending and name[:cut].rpartition("/")[2]:
            return name[:cut], name[cut:]
        return name, self._ending


def fault_of(name: str, *, windows: bool = os.name == "nt") -> str | None:
    """Return why no file may have this name, with / between folders; None if it may.

    >>> fault_of("../a.wav")
    'its name leads out of the folder, or nowhere'
    >>> fault_of("talks/10:30.wav", windows=False)
    """
    parts = name.split("/")
    if not {"", ".", ".."}.isdisjoint(parts):
        return "its name leads out of the folder, or nowhere"
    if "\\" in name or _DRIVE.match(name):
        return "its name leads out of the folder on Windows"
    if len(parts) > _MAX_PARTS:
        return f"its name is too long: it lies {len(parts)} folders deep, and {_MAX_PARTS} are possible"
    if any(unicodedata.category(sign) in ("Cc", "Cs") for sign in name):
        return "its name holds a sign that no file's name has"
    if windows and _REFUSED_BY_WINDOWS.search(name):
        return "its name holds a sign that no file's name has on Windows"
    return next(filter(None, map(_fault_of_part, parts)), None)


def _fault_of_part(part: str) -> str | None:
    if _DEVICE.match(part):
        return f"{shortened(part)} is a device on Windows, not a file"
    if part.endswith((".", " ")):
        return f"{shortened(part)} ends in a dot or a space, which Windows leaves out"
    if (size := len(part.encode())) > _MAX_PART_BYTES:
        return f"its name is too long: a part of it has {size} bytes, and {_MAX_PART_BYTES} are possible"
    return None


def seen_as(name: str) -> str:
    """Return what is equal for names that some file system takes for one: other case, other forms of an accent."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
