"""Whole files under their final names, or nothing: the one way in which this package writes a file.

    hidden file in the same folder → write → flush → fsync → close
      → rename over the final name → fsync of the folder

Until the rename the old file stays as it was; after a failure the hidden file is gone, and what the operating
system refused is one sentence of the caller's own error class. A process that is killed leaves at most a hidden
file; the next process that writes into the folder removes it. It knows by a lock: a writer holds one on its hidden
file until the file has its final name, and the system takes it away from a writer that dies.

Nothing here knows what the files hold, and racing for a name that must be taken once is not done here
(`shards.publish` does that, with the same hidden files).
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import platform
import re
import secrets
import stat
import time
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snac_tok.errors import SnacTokError

# Windows has no fcntl, and removes no file that somebody has open: there that is the lock.
fcntl: Any = importlib.import_module("fcntl") if importlib.util.find_spec("fcntl") else None
# A file's name may have 255 bytes on common filesystems; the hidden one adds less than the 55 left over.
_MAX_NAME_BYTES = 200
_NO_FOLDER = {errno.ENOENT, errno.ENOTDIR}
# The machine is in the name because a lock on a network filesystem may be known to one machine alone.
_HOST = f"{zlib.crc32(os.fsencode(platform.node())):08x}"
_HIDDEN_NAME = re.compile(r"\..+\.(?P<host>[0-9a-f]{8})-\d+-[0-9a-f]{8}\.tmp", re.DOTALL)
# Of another machine's files: nobody writes for a week without touching the file.
_WEEK_SECONDS = 7 * 24 * 3600
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
_swept: set[Path] = set()
# Some network filesystems cannot sync a folder, and a folder may be writable without being readable.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES, errno.EPERM, errno.EBADF}


class HiddenFile:
    """A file being written next to `path` under a name of its own.

    Whoever made it gives it the final name, and discards it in the end: until then its lock is held.

    Args:
        path: the final name; its folder must exist.

    Raises:
        OSError: the folder refuses, or no file can have such a name; so do the methods.

    >>> hidden = HiddenFile(Path("codes.bin"))
    >>> hidden.handle.write(b"abc")
    3
    >>> hidden.complete()
    >>> hidden.path.rename("codes.bin").read_bytes()
    b'abc'
    >>> hidden.discard()
    """

    def __init__(self, path: Path) -> None:
        try:
            _sweep_once(path.parent)
            self._open(path)
            while not self._lock():
                self.discard()
                self._open(path)
        except ValueError as error:  # an empty name, a NUL in it, half a surrogate pair
            raise OSError(errno.EINVAL, f"no file can have this name: {error}") from error

    def _open(self, path: Path) -> None:
        label = path.name if len(os.fsencode(path.name)) <= _MAX_NAME_BYTES else "long-name"
        self.path = path.with_name(f".{label}.{_HOST}-{os.getpid()}-{secrets.token_hex(4)}.tmp")
        # Opened like any file, so the umask decides who may read it; mkstemp would make it private.
        self.handle: IO[bytes] = self.path.open("xb")
        self._lock_handle: int | None = None

    def _lock(self) -> bool:
        """Lock the file; False where somebody was faster, took it for a leftover and removes it."""
        if fcntl is None:
            return True
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True  # a filesystem without locks: nobody removes what he cannot lock
        # A second handle to the same lock: the first is closed before the file has its final name.
        self._lock_handle = os.dup(self.handle.fileno())
        return os.fstat(self._lock_handle).st_nlink > 0

    def complete(self, *, num_bytes: int | None = None) -> None:
        """Bring everything to the disk and close; with `num_bytes`, check that so many are there."""
        self.handle.flush()
        os.fsync(self.handle.fileno())
        # Of the handle, not the name: an attempt that was faster may just have removed the name.
        found = os.fstat(self.handle.fileno()).st_size
        # Explicitly, because a full disk may show only now.
        self.handle.close()
        if num_bytes not in (None, found):
            raise OSError(errno.EIO, f"{found} of {num_bytes} bytes reached the disk")

    def discard(self) -> None:
        """Close and remove the hidden file; harmless once it has its final name."""
        # Closing flushes, and on a full disk that fails again: the first failure is the one to tell.
        with contextlib.suppress(OSError):
            self.handle.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        if self._lock_handle is not None:
            os.close(self._lock_handle)
            self._lock_handle = None


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, error: type[SnacTokError]) -> Iterator[IO[bytes]]:
    """Lend a binary file that becomes `path` if nothing goes wrong inside, and vanishes if something does.

    A symbolic link is replaced, not followed: what it points to may belong to somebody's cache. The file can
    seek and is not readable.

    Args:
        path: the final name; its folder must exist. A file that stands there is replaced.
        error: the class that names the file when the operating system refuses, inside the block too; every
            other exception passes unchanged.

    Raises:
        SnacTokError: as `error`.

    >>> from snac_tok.errors import ShardError
    >>> with replacing("note.txt", error=ShardError) as file:
    ...     file.write(b"hello")
    5
    >>> Path("note.txt").read_bytes()
    b'hello'
    """
    target = Path(path)
    with naming_refusals(target, error=error):
        _refuse_what_is_no_file(target)
        hidden = HiddenFile(target)
        try:
            yield hidden.handle
            hidden.complete()
            hidden.path.replace(target)
            sync_folder(target.parent)
        finally:
            hidden.discard()


def write_bytes_atomically(
    path: str | os.PathLike[str], content: bytes, *, error: type[SnacTokError]
) -> None:
    """Write a file that stands in memory whole, complete or not at all; as `replacing`.

    Raises:
        SnacTokError: as `error`: the folder or the disk refuses; what was there before stays.

    >>> from snac_tok.errors import TokenError
    >>> write_bytes_atomically("ids.txt", b"1 2 3", error=TokenError)
    """
    with replacing(path, error=error) as file:
        file.write(content)


@contextlib.contextmanager
def naming_refusals(path: Path, *, error: type[SnacTokError]) -> Iterator[None]:
    """Turn what the operating system refuses inside into one sentence of `error` that names `path`.

    >>> from snac_tok.errors import ShardError
    >>> with naming_refusals(Path("a.bin"), error=ShardError):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    snac_tok.errors.ShardError: a.bin: cannot be written (No space left on device); make room or choose ...
    """
    try:
        yield
    except OSError as refusal:
        raise error(
            f"{shown_path(path)}: cannot be written ({refusal.strerror or refusal}); {_remedy(path, refusal)}."
        ) from refusal


def _remedy(path: Path, refusal: OSError) -> str:
    if refusal.errno in _NO_FOLDER and not path.parent.is_dir():
        return f"there is no folder {shown_path(path.parent)}: make it first, or choose another place"
    if refusal.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "make room or choose another place"
    if refusal.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return "choose another place, or one that may be written to"
    return "choose another name or place"


def shown_path(path: object) -> str:
    r"""Return a path as text that can be printed and stored: bytes that are not UTF-8 become ``\xNN``.

    >>> print(shown_path("caf\udce9.wav"))
    caf\xe9.wav
    """
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else repr(path)
    # Python keeps such a byte as a lone surrogate.
    escaped = _ESCAPED_BYTE.sub(lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", text)
    return escaped.encode("utf-8", "backslashreplace").decode()


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk, where the filesystem lets us.

    Raises:
        OSError: the disk failed.

    >>> sync_folder(Path("."))
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as refusal:
        if refusal.errno not in _NO_FOLDER_SYNC:
            raise


def sweep_folder(folder: Path) -> None:
    """Remove the hidden files that killed writers left in a folder; those of living ones, and all others, stay.

    >>> sweep_folder(Path("."))
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _HIDDEN_NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                _remove_if_left(Path(entry.path))


def living_writers(path: Path) -> set[Path]:
    """The hidden files for `path` that somebody is writing, this process included; where locks fail, none.

    >>> living_writers(Path("codes.bin"))
    set()
    """
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        found = [path.with_name(entry.name) for entry in entries if entry.name.startswith(f".{path.name}.")]
        return {name for name in found if _HIDDEN_NAME.fullmatch(name.name) and _is_held(name)}
    return set()


def _sweep_once(folder: Path) -> None:
    """Sweep a folder before this process's first write into it: only other processes leave anything."""
    place = Path(os.path.abspath(folder))  # noqa: PTH100 - no look at the disk: this runs for every file
    if place not in _swept:
        _swept.add(place)
        sweep_folder(folder)


def _remove_if_left(path: Path) -> None:
    """Remove a hidden file unless its writer may live."""
    # Refused: somebody holds the lock, the filesystem has no locks, or the file is gone.
    with contextlib.suppress(OSError):
        if not _may_be_alive_elsewhere(path):
            with _locked(path):
                path.unlink(missing_ok=True)


def _is_held(path: Path) -> bool:
    try:
        with _locked(path):
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def _may_be_alive_elsewhere(path: Path) -> bool:
    name = _HIDDEN_NAME.fullmatch(path.name)
    is_of_here = name is not None and name["host"] == _HOST
    return not is_of_here and time.time() - path.stat().st_mtime < _WEEK_SECONDS


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file's lock; removed under it, the file cannot be one whose writer is just about to lock it."""
    if fcntl is None:
        yield
        return
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _refuse_what_is_no_file(path: Path) -> None:
    """Keep a device or pipe from being replaced by a file: a superuser's /dev/null would be gone."""
    try:
        mode = path.lstat().st_mode
    except (OSError, ValueError):
        return  # nothing there, or nothing that can be: opening says why
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise OSError(errno.EEXIST, "a directory, device or pipe has this name")
