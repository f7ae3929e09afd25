"""Publishes complete files under their final names, or nothing: a reader never sees half a file.

    hidden file (`snac_tok.files`) → write → flush, fsync → size check → explicit close
      → os.link to the final name (create if absent) → fsync of the folder → hidden file removed

With link, exactly one of several attempts that race for a name wins; with replace, the last one would overwrite a
file that another process has already counted. Nothing here knows what the files hold.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from snac_tok.errors import ShardError
from snac_tok.files import HiddenFile, naming_refusals, sync_folder

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

# Errors of filesystems without hard links; some use EPERM.
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
        with write_errors_named(path):
            self._hidden = HiddenFile(path)
        self.handle = self._hidden.handle

    def commit(self, *, replace: bool = False) -> bool:
        """Publish what was written; True when this attempt gave the file its name.

        False if the name was already taken: the existing file stays as it is.

        Raises:
            ShardError: the disk refused, or holds fewer bytes than were written.
        """
        try:
            with write_errors_named(self.path):
                self._hidden.complete(num_bytes=self.handle.tell())
                won = self._take_name(replace=replace)
                sync_folder(self.path.parent)
        finally:
            self.discard()
        remove_leftovers(self.path)
        return won

    def discard(self) -> None:
        """Close and remove the hidden file; nothing appears under the final name."""
        self._hidden.discard()

    def _take_name(self, *, replace: bool) -> bool:
        try:
            if replace:
                self._hidden.path.replace(self.path)
            else:
                os.link(self._hidden.path, self.path)
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
        self._hidden.path.rename(self.path)
        return True


def publish_bytes(path: Path, data: bytes, *, replace: bool = False) -> None:
    """Publish a small file; without `replace`, a file of the same bytes may already exist.

    Raises:
        ShardError: the disk refused, or a file of other bytes has the name.
    """
    pending = PendingFile(path)
    try:
        with write_errors_named(path):
            pending.handle.write(data)
        won = pending.commit(replace=replace)
    finally:
        pending.discard()
    with write_errors_named(path):
        if not won and path.read_bytes() != data:
            raise ShardError(f"{path} was already published with other contents; choose another folder.")


def remove_leftovers(path: Path) -> None:
    """Remove temporary files of other attempts at `path`, which cannot win once the name is taken."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def write_errors_named(path: Path) -> AbstractContextManager[None]:
    """Turn an operating system's error inside into a `ShardError` that names `path`."""
    return naming_refusals(path, error=ShardError)
