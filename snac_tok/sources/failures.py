"""A recording that cannot be used is noted and the work goes on; where the machine fails, the work stops."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from snac_tok.errors import AudioError, AudioFileError, SamplingRateError, WaveformError, first_line
from snac_tok.files import shown_path

# Why a recording gives no record, for programs. The words are part of the format of `_failed.jsonl`: docs/shards.md.
REASON_CODES = {
    "missing": "there is no such file, or it may not be read",
    "not-sound": "it is not sound, or sound that no decoder here reads",
    "truncated": "it is cut off or damaged",
    "changed": "it changed while the run went on",
    "rate": "its sampling rate cannot be used",
    "samples": "its samples cannot be used: none, NaN, far too loud, or channels that cancel each other",
    "too-large": "its file is larger than was asked for",
    "too-short": "it is shorter than was asked for",
    "too-long": "it is longer than was asked for",
    "duplicate": "another recording has the same sound",
    "crashed": "its decoder was killed twice",
    "timeout": "its decoder gave nothing for too long, twice",
    "memory": "its decoder needed more memory than it may have, twice",
    "unknown": "another reason, or one that was written before reasons had codes",
}
# Left out on purpose: no failure of the run.
LEFT_OUT_CODES = frozenset({"too-large", "too-short", "too-long", "duplicate"})
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A recording that could not be used, and the reason.

    Attributes:
        source: its name: a path relative to its folder, a row of a dataset.
        reason: one sentence for people.
        code: one of `REASON_CODES`, for programs.
    """

    source: str
    reason: str
    code: str = "unknown"

    @property
    def is_left_out(self) -> bool:
        """Whether the recording was left out as asked for: by its length or size, or as a duplicate."""
        return self.code in LEFT_OUT_CODES


def failure_of(name: str, error: Exception) -> Failure:
    """Return the failure to note; raise the error again if the machine failed and not the recording.

    >>> failure_of("a.wav", AudioFileError("a.wav: empty."))
    Failure(source='a.wav', reason='a.wav: empty.', code='not-sound')
    """
    # Here and not above: shards note failures without loading anything that reads sound.
    from snac_tok.audio.machine_faults import is_machine_fault, reason_of

    if is_machine_fault(error):
        raise error
    return Failure(source=shown_path(name), reason=reason_of(error), code=code_of(error))


def unexpected(error: Exception) -> Exception:
    """Return what a decoder of another library raised as an error of a file; the machine's errors stay as they are.

    >>> unexpected(RuntimeError("bad packet"))
    AudioFileError('its decoder failed (RuntimeError: bad packet).')
    """
    from snac_tok.audio.machine_faults import is_machine_fault

    if is_machine_fault(error):
        return error
    failed = AudioFileError(f"its decoder failed ({type(error).__name__}: {first_line(error)}).")
    failed.__cause__ = error
    return failed


def code_of(error: BaseException) -> str:
    """Return the code of `REASON_CODES` for what reading or encoding a recording raised.

    >>> code_of(WaveformError("it holds no samples."))
    'samples'
    """
    from snac_tok.audio.machine_faults import ALLOW_TRUNCATED

    if isinstance(code := getattr(error, "code", None), str):
        return code
    # A file whose samples cannot be used is an error of the file that has this as its cause.
    links = [error, error.__cause__]
    known = {
        "missing": getattr(error.__cause__, "errno", None) in _NOT_THERE,
        "truncated": ALLOW_TRUNCATED in str(error),
        "rate": any(isinstance(link, SamplingRateError) for link in links),
        "samples": any(isinstance(link, WaveformError) for link in links),
        "not-sound": isinstance(error, AudioError),
    }
    return next((code for code, is_it in known.items() if is_it), "unknown")
