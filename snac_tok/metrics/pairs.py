"""What every comparison of two sounds asks of them, checked in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.errors import WaveformError
from snac_tok.masked import refuse_masked

if TYPE_CHECKING:
    import numpy.typing as npt

    Samples = npt.NDArray[np.floating[Any]]


def checked_pair(
    reference: Any, estimate: Any, *, sampling_rate: int, least_seconds: float = 0.0
) -> tuple[Samples, Samples]:
    """Return two sounds that can be compared, as `as_samples` does, with something to compare with.

    Args:
        reference: (T,) samples of the original.
        estimate: (T,) samples of what became of it.
        sampling_rate: of both, in Hz.
        least_seconds: what the measure needs.

    Raises:
        WaveformError: as `as_samples`; other shapes, lengths that differ, NaN, too short a sound, or a silent
            reference.
        SamplingRateError: no possible rate.

    >>> checked_pair(np.zeros(100), np.ones(100), sampling_rate=16_000)
    Traceback (most recent call last):
    snac_tok.errors.WaveformError: the reference is silent; nothing can be compared with it.
    """
    # Training measures pitch where libraries of sound files, which `audio` imports, may not be.
    from snac_tok.audio import check_sampling_rate

    reference, estimate = as_samples(reference, what="reference"), as_samples(estimate, what="estimate")
    rate = check_sampling_rate(sampling_rate)
    if reference.ndim != 1 or reference.shape != estimate.shape:
        raise WaveformError(
            f"two sounds (T,) of one length are compared, got shapes {reference.shape} and {estimate.shape}."
        )
    if reference.size == 0 or reference.size < least_seconds * rate:
        raise WaveformError(
            f"the sound lasts {reference.size / rate:.3f} s; at least {least_seconds:g} s are needed."
        )
    if not (np.isfinite(reference).all() and np.isfinite(estimate).all()):
        raise WaveformError("a sound with NaN or infinite samples cannot be compared.")
    if not reference.any():
        raise WaveformError("the reference is silent; nothing can be compared with it.")
    return reference, estimate


def as_samples(sound: Any, *, what: str) -> Samples:
    """Return samples as float32 or float64 in the machine's own byte order, one after the other in memory.

    Args:
        sound: a numpy array of floats, or a torch tensor of floats on a CPU.
        what: the error calls it.

    Raises:
        WaveformError: anything else, or an array with masked samples.

    >>> as_samples(np.ones(4, ">f4")[::-1], what="reference").dtype
    dtype('float32')
    """
    refuse_masked(sound, what=f"samples of the {what}", error=WaveformError)
    array = _of_tensor(sound, what) if hasattr(sound, "detach") else sound
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        found = f"an array of {array.dtype}" if isinstance(array, np.ndarray) else f"a {type(sound).__name__}"
        raise WaveformError(
            f"the {what} is {found}; an array (T,) of floats is needed: numpy.asarray(x, dtype=float) makes one of a "
            "list, as_waveform(x).samples[0] one of 16-bit samples, and a Waveform has it as samples[0]."
        )
    return np.ascontiguousarray(array, dtype=np.float32 if array.dtype.itemsize <= 4 else np.float64)  # noqa: PLR2004


def _of_tensor(tensor: Any, what: str) -> Any:
    if tensor.device.type != "cpu":
        raise WaveformError(f"the {what} is on {tensor.device}; move it to the CPU: x.cpu().")
    # numpy has no bfloat16.
    return (tensor.float() if tensor.is_floating_point() and tensor.itemsize < 4 else tensor).detach().numpy()  # noqa: PLR2004


def check_tensors(**sounds: Any) -> None:
    """See that sounds are torch tensors, for measures that training uses; they are called as the arguments are.

    Raises:
        WaveformError: one is something else.
    """
    for name, sound in sounds.items():
        if not hasattr(sound, "detach"):
            raise WaveformError(
                f"{name} is a {type(sound).__name__}; a torch tensor is needed: torch.as_tensor(x) makes one."
            )


def check_audible(estimate: Samples) -> None:
    """See that something came out at all; some measures have no value for silence.

    Raises:
        WaveformError: nothing but zeros.

    >>> check_audible(np.array([0.0, 0.1]))
    """
    if not estimate.any():
        raise WaveformError("the estimate is silent; this measure has no value for silence.")
