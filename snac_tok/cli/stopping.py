"""Why a long run stopped before its end: an exit code a kind, and what to do.

A job array reads the exit code: 4 and 5 are worth another try elsewhere, 3 is not.
"""

from __future__ import annotations

import errno
import signal

import click

from snac_tok.errors import TooManyFailuresError, causes_of, first_line

TOO_MANY_FAILURES = 3
DISK_FAILED = 4
NO_MEMORY = 5
DEVICE_FAILED = 6
TERMINATED = 128 + signal.SIGTERM  # what a shell says of a process that it ended

_DISK_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE}
_FILE_LIMIT = {errno.EMFILE, errno.ENFILE}
_KEPT = "Finished shards are kept:"
# torch's names, which are not imported here: nothing of torch runs where there is no torch.
_DEVICE_ERRORS = {"AcceleratorError", "DeferredCudaCallError"}
_DEVICE_WORDS = ("CUDA error", "device-side assert", "cuDNN error", "HIP error", "NCCL error")


class StoppedError(click.ClickException):
    """A run that stopped, with an exit code of its own."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def stopped_by(error: BaseException) -> StoppedError | None:
    """Return what to tell where the machine failed, too many recordings did, or SIGTERM came; None for any other error.

    >>> stopped_by(MemoryError()).status
    5
    >>> stopped_by(ValueError("wrong"))
    """
    if isinstance(error, SystemExit):
        return StoppedError(f"ended by SIGTERM. {_KEPT} run the same command again.", TERMINATED)
    if isinstance(error, TooManyFailuresError):
        return StoppedError(str(error), TOO_MANY_FAILURES)
    links = list(causes_of(error))
    kinds = {type(link).__name__ for link in links}
    if any(isinstance(link, MemoryError) for link in links) or "OutOfMemoryError" in kinds:
        return StoppedError(
            f"there is not enough memory ({first_line(error)}). {_KEPT} lower --batch-seconds or --jobs, or close "
            "other programs, and run the same command again.",
            NO_MEMORY,
        )
    if refused := _refused(error, {link.errno for link in links if isinstance(link, OSError)}):
        return refused
    if kinds & _DEVICE_ERRORS or any(word in str(link) for link in links for word in _DEVICE_WORDS):
        return StoppedError(
            f"the device failed ({first_line(error)}). {_KEPT} run the same command again, on another device if it "
            "fails again.",
            DEVICE_FAILED,
        )
    return None


def _refused(error: BaseException, numbers: set[int | None]) -> StoppedError | None:
    """Return what to do where the operating system refused with one of these numbers; None if none is the machine's."""
    remedies = (
        ({errno.ENOMEM}, "free memory and", NO_MEMORY),
        (_FILE_LIMIT, "allow more open files (ulimit -n) or lower --jobs, and", DISK_FAILED),
        (_DISK_ERRNOS, "when the disk has room and works,", DISK_FAILED),
    )
    for known, remedy, status in remedies:
        if numbers & known:
            what = str(error).rstrip(".")
            return StoppedError(f"{what}. {_KEPT} {remedy} run the same command again.", status)
    return None
