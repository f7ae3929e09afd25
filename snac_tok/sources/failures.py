"""A recording that cannot be used is noted and the work goes on; where the machine fails, the work stops."""

from __future__ import annotations

from dataclasses import dataclass

from snac_tok.files import shown_path


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A recording that could not be used, and the reason.

    Attributes:
        source: its name: a path relative to its folder, a row of a dataset.
        reason: one sentence for people.
    """

    source: str
    reason: str


def failure_of(name: str, error: Exception) -> Failure:
    """Return the failure to note; raise the error again if the machine failed and not the recording.

    >>> failure_of("a.wav", ValueError("a.wav: empty."))
    Failure(source='a.wav', reason='a.wav: empty.')
    """
    # Here and not above: shards note failures without loading anything that reads sound.
    from snac_tok.audio.machine_faults import is_machine_fault, reason_of

    if is_machine_fault(error):
        raise error
    return Failure(source=shown_path(name), reason=reason_of(error))
