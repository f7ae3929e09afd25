"""Whose fault it is that sound cannot be read: the file's, or the machine's."""

from __future__ import annotations

import errno

# How to take what a damaged file holds, in Python's words; the command line has its own for it.
ALLOW_TRUNCATED = "allow_truncated=True takes what there is"

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


def reason_of(error: BaseException) -> str:
    """Return what is wrong with a file, for a list that is read by users of Python and of the command line alike.

    >>> reason_of(ValueError(f"a.wav: it is cut off; {ALLOW_TRUNCATED}."))
    'a.wav: it is cut off; allowing truncated files takes what there is.'
    """
    return str(error).replace(ALLOW_TRUNCATED, "allowing truncated files takes what there is")


def is_machine_fault(error: BaseException) -> bool:
    """Tell whether reading failed for a reason that says nothing about the file."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or getattr(cause, "errno", None) in _MACHINE_ERRNOS:
            return True
        cause = cause.__cause__
    return False
