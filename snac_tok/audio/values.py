"""Checks and scales sample values: floats at full scale ±1, and integer PCM.

    float16 … float64   as they are; beyond ±10 (`MAX_LEVEL`) refused
    uint8, int8, int16  PCM, divided by full scale
    int32               the same, unless it holds int16 values: refused
    other types         full scale is not known: refused

Nothing here knows shapes, channels or rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

from snac_tok.errors import MAX_LEVEL, AudioFileError, WaveformError, wrong_scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Integer PCM: the value of silence, and the scale to ±1. 8 bits are unsigned in WAV.
_PCM = {
    np.dtype(np.uint8): (128, 2.0**-7),
    np.dtype(np.int8): (0, 2.0**-7),
    np.dtype(np.int16): (0, 2.0**-15),
    np.dtype(np.int32): (0, 2.0**-31),
}

# 32-bit values that all fit into 16 bits are a very quiet recording, or unscaled 16-bit sound. As 32-bit sound their
# peak is below -96 dB of full scale: less than the noise of any microphone and converter. Two cases are valid:
#   - 24-bit sound in 32 bits, a silent track of a recorder for example: its values are multiples of 256;
#   - values of up to ±32, which are silence whichever way they are read (-60 dB as 16-bit sound).
# All others are refused. At worst this refuses a recording of silence, which is accepted as floats (x / 2**31);
# accepting them would silently turn speech into the ids of silence.
_INT16_PEAK = 1 << 15
_SILENT_PEAK = 32
_STEP_OF_24_BITS = 1 << 8
_INT32_FULL_SCALE = 1 << 31

_Rest = ParamSpec("_Rest")
Blocks = Iterator["NDArray[np.float32]"]


def scaled(array: NDArray[Any]) -> NDArray[np.float32]:
    """Return floats as they are, integer PCM as ±1; float32 is shared, not copied.

    Raises:
        WaveformError: a type without a known full scale, int16 values kept as int32, or floats beyond float32.

    >>> scaled(np.array([0, 16384], np.int16)).tolist()
    [0.0, 0.5]
    """
    if array.dtype.kind == "f":
        return as_float32(array)
    kind = array.dtype.newbyteorder("=")
    if kind not in _PCM:
        raise WaveformError(
            f"samples of type {array.dtype} have no known full scale: pass floats in ±1, or int16, int32, "
            "uint8 or int8 PCM (16-bit values in another type: convert them to int16)."
        )
    if kind == np.int32:
        _refuse_int16_values(array)
    silence, step = _PCM[kind]
    samples = array.astype(np.float32)
    samples -= np.float32(silence)
    samples *= np.float32(step)
    return samples


def as_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """Return floats of any width as float32.

    Raises:
        WaveformError: a value beyond float32's range.

    >>> as_float32(np.array([0.5], np.float16)).dtype
    dtype('float32')
    """
    try:
        with np.errstate(over="raise"):
            return array.astype(np.float32, copy=False)
    except FloatingPointError as error:
        raise wrong_scale(float(np.abs(array[np.isfinite(array)]).max())) from error


def check_values(samples: NDArray[np.float32]) -> None:
    """Refuse NaN, infinity and values that cannot be sound at full scale ±1; (C, T) or (T,).

    Raises:
        WaveformError: with the first position of NaN or infinity, or the peak.

    >>> check_values(np.array([0.5, -2.0], np.float32))
    """
    if samples.size == 0:
        return
    # min and max propagate NaN and need no mask of the recording's size.
    low, high = float(samples.min()), float(samples.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise WaveformError(_not_finite(np.atleast_2d(samples)))
    if max(-low, high) > MAX_LEVEL:
        raise wrong_scale(max(-low, high))


def _not_finite(samples: NDArray[np.float32]) -> str:
    bad = ~np.isfinite(samples)
    position = int(bad.any(axis=0).argmax())
    channel = int(bad[:, position].argmax())
    return (
        f"{int(bad.sum())} of {samples.size} samples are NaN or infinite, the first in channel {channel} at "
        f"sample {position}: repair or drop the recording."
    )


def _refuse_int16_values(array: NDArray[Any]) -> None:
    # Without abs, which overflows for the lowest int32.
    peak = max(-int(array.min()), int(array.max())) if array.size else 0
    if _SILENT_PEAK < peak <= _INT16_PEAK and (array % _STEP_OF_24_BITS).any():
        raise WaveformError(
            f"the int32 samples reach only ±{peak}, which is silence in 32 bits: they look like int16 values; "
            "convert them with .astype(numpy.int16), or, if they are that quiet, pass floats: x / 2**31."
        )


def refusing_int16_in_32_bits(
    decode: Callable[_Rest, Blocks],
) -> Callable[_Rest, Blocks]:
    """Make a decoder of files refuse, at its end, 32-bit files with only 16-bit values.

    The decoder's first arguments are a soundfile reader and the file's name; it yields blocks of floats.
    """

    @wraps(decode)
    def watched(*args: _Rest.args, **options: _Rest.kwargs) -> Blocks:
        reader, name = args[:2]
        blocks = decode(*args, **options)
        return _watched(blocks, str(name)) if getattr(reader, "subtype", None) == "PCM_32" else blocks

    return watched


def may_be_int16_in_32_bits(samples: NDArray[np.float32]) -> bool:
    """Return whether a stretch of a 32-bit file looks like 16-bit values; the rest of the file may be louder.

    >>> may_be_int16_in_32_bits(np.array([9001 / 2**31, 0.0], np.float32))
    True
    """
    reach = _Reach()
    reach.take(samples)
    return reach.is_that_of_int16()


class _Reach:
    """How far the samples of a 32-bit file reach that have been taken, and whether they are finer than 24 bits."""

    def __init__(self) -> None:
        self._peak, self._is_finer = 0.0, False

    def take(self, block: NDArray[np.float32]) -> None:
        self._peak = max(self._peak, -float(block.min()), float(block.max()))
        if self._peak * _INT32_FULL_SCALE <= _INT16_PEAK:
            # Exact in float32: values of at most 16 bits times powers of two.
            steps = block * (_INT32_FULL_SCALE / _STEP_OF_24_BITS)
            self._is_finer = self._is_finer or bool(np.any(steps % 1))

    def is_that_of_int16(self) -> bool:
        return _SILENT_PEAK < self.peak <= _INT16_PEAK and self._is_finer

    @property
    def peak(self) -> int:
        return round(self._peak * _INT32_FULL_SCALE)


def _watched(blocks: Blocks, name: str) -> Blocks:
    reach = _Reach()
    for block in blocks:
        yield block
        reach.take(block)
    if reach.is_that_of_int16():
        raise AudioFileError(
            f"{name}: its 32-bit samples reach only ±{reach.peak}, which is silence in 32 bits: they look like 16-bit "
            "values that were never scaled; write the file again with 16-bit samples."
        )
