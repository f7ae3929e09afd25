"""Whose fault it is that sound cannot be read: the file's, or the machine's."""

from __future__ import annotations

import errno

# Reading failed because of the machine, not the file: going on would count out every file that follows.
_MACHINE_ERRNOS = {
    errno.EIO,
    errno.ENOSPC,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.EHOSTDOWN,
}


def is_machine_fault(error: BaseException) -> bool:
    """Tell whether reading failed for a reason that says nothing about the file."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or getattr(cause, "errno", None) in _MACHINE_ERRNOS:
            return True
        cause = cause.__cause__
    return False
