"""Puts whole files under their final names, or nothing: a reader never meets half a file.

    temp file in the same folder → write → flush, fsync → size check → explicit close
      → os.link to the final name (create if absent) → fsync of the folder → temp removed

A full disk often shows only on flush or close, hence the explicit steps before the name appears. With link,
of several attempts racing for a name exactly one wins; with replace the last would overwrite what another
has already counted. Nothing here knows what the files hold.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from typing import IO, TYPE_CHECKING

from snac_tok.errors import ShardError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What filesystems without hard links answer; some answer EPERM.
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


class PendingFile:
    """A file being written that gets its name only on `commit`.

    Args:
        path: the final name; its folder must exist.

    Raises:
        ShardError: the folder refuses the temporary file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temp = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        with naming(path):
            self.handle: IO[bytes] = self._temp.open("xb")

    def commit(self, *, replace: bool = False) -> bool:
        """Publish what was written; True when this attempt gave the file its name.

        False when the name was already taken: the file that stands there is left as it is.

        Raises:
            ShardError: the disk refused, or holds fewer bytes than were written.
        """
        try:
            with naming(self.path):
                self._finish_writing()
                won = self._take_name(replace=replace)
                _sync_folder(self.path.parent)
        finally:
            self.discard()
        remove_leftovers(self.path)
        return won

    def discard(self) -> None:
        """Close and remove the temporary file; nothing appears under the final name."""
        # Closing flushes, and on a full disk that fails again: the first failure is the one to tell.
        with contextlib.suppress(OSError):
            self.handle.close()
        with contextlib.suppress(OSError):
            self._temp.unlink(missing_ok=True)

    def _finish_writing(self) -> None:
        self.handle.flush()
        expected = self.handle.tell()
        os.fsync(self.handle.fileno())
        # Of the handle, not the name: an attempt that was faster may just have removed the name.
        found = os.fstat(self.handle.fileno()).st_size
        self.handle.close()
        if found != expected:
            raise OSError(errno.EIO, f"{found} of {expected} bytes reached the disk")

    def _take_name(self, *, replace: bool) -> bool:
        try:
            if replace:
                self._temp.replace(self.path)
            else:
                os.link(self._temp, self.path)
        except FileExistsError:
            return False
        except FileNotFoundError:
            # The attempt that won removes all temporary files of this name.
            if self.path.exists():
                return False
            raise
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return self._take_name_by_rename()
        return True

    def _take_name_by_rename(self) -> bool:
        if self.path.exists():
            return False
        self._temp.rename(self.path)
        return True


def publish_bytes(path: Path, data: bytes, *, replace: bool = False) -> None:
    """Publish a small file; without `replace` a file of the same bytes may already stand there.

    Raises:
        ShardError: the disk refused, or other bytes stand under that name.
    """
    pending = PendingFile(path)
    try:
        with naming(path):
            pending.handle.write(data)
        won = pending.commit(replace=replace)
    finally:
        pending.discard()
    with naming(path):
        if not won and path.read_bytes() != data:
            raise ShardError(f"{path} was already published with other contents; choose another folder.")


def remove_leftovers(path: Path) -> None:
    """Remove temporary files of attempts at `path`: once the name is taken, they can win nothing."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        with contextlib.suppress(OSError):
            leftover.unlink()


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses inside into a `ShardError` that names `path`."""
    try:
        yield
    except OSError as error:
        raise ShardError(
            f"cannot write {path}: {error.strerror or error}; make room there or choose another folder, "
            "then run again."
        ) from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
