"""Whether sound cannot be read because of the file or because of the machine."""

from __future__ import annotations

import errno

from snac_tok.errors import causes_of

# How to read a damaged file, in Python's words; the command line replaces it with its option.
ALLOW_TRUNCATED = "allow_truncated=True takes what there is"

# Errors of the machine, not of the file: if the work went on, every following file would fail, too.
_MACHINE_NAMES = (
    *("EIO", "EREMOTEIO", "ENOSPC", "EDQUOT", "ENOMEM", "EMFILE", "ENFILE"),
    *("ESTALE", "ENOTCONN", "EHOSTDOWN", "EHOSTUNREACH", "ETIMEDOUT"),
)
# Not every system has all of them.
_MACHINE_ERRNOS = {getattr(errno, name) for name in _MACHINE_NAMES if hasattr(errno, name)}


def reason_of(error: BaseException) -> str:
    """Return what is wrong with a file, worded for users of both Python and the command line.

    >>> reason_of(ValueError(f"a.wav: it is cut off; {ALLOW_TRUNCATED}."))
    'a.wav: it is cut off; allowing truncated files takes what there is.'
    """
    return str(error).replace(ALLOW_TRUNCATED, "allowing truncated files takes what there is")


def is_machine_fault(error: BaseException) -> bool:
    """Return whether reading failed because of the machine and not of the file."""
    return any(
        isinstance(link, MemoryError) or getattr(link, "errno", None) in _MACHINE_ERRNOS
        for link in causes_of(error)
    )
