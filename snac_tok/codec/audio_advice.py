"""How sound that the network cannot take becomes a tensor that it can: the ends of messages, no checks.

Every expression works when it is written as it stands here, and keeps the whole sound. Where there is none that does,
there is no advice.
"""

from __future__ import annotations

import numbers
import os
from typing import Any

import numpy as np
import torch

_ENCODER = "SnacTokenizer(codec, None).encode_codes"
# How values of a type become floats at full scale ±1. Other integers have no known full scale.
_SCALED = {
    **dict.fromkeys(("float16", "bfloat16", "float32", "float64"), "{}"),
    "int8": "{} / 128",
    "int16": "{} / 32768",
    "int32": "{} / 2**31",
    "uint8": "({}.float() - 128) / 128",
}
# What 32-bit samples reach that may be 16-bit ones that nobody scaled; below it they are silence either way.
_QUIET, _INT16_PEAK = 32, 1 << 15


def of_kind(audio: Any, *, is_batch: bool) -> str:
    """Return what to do with something that is no tensor of floats, "" where nothing is known.

    Args:
        audio: what was given.
        is_batch: whether (B, 1, T) is needed, not one clip (T,) or (1, T).
    """
    name = "audio" if is_batch else "clip"
    if isinstance(audio, (str, os.PathLike)):
        return f": {_ENCODER}([read_audio({os.fspath(audio)!r})]) encodes a file"
    if is_waveform(audio):
        mixed = ".mean(0, keepdim=True)" if len(audio.samples) > 1 else ""
        tensor = f"torch.from_numpy({name}.samples){mixed}" + ("[None]" if is_batch else "")
        return f": {tensor} at the codec's rate, or {_ENCODER}([{name}]) from any"
    if is_pair(audio):
        turned = ".T" if _is_turned(tuple(audio[0].shape)) else ""
        return f": samples, rate = pair, then {_ENCODER}([as_waveform(samples{turned}, sampling_rate=rate)])"
    return _of_numbers(audio, name, is_batch=is_batch)


def is_waveform(audio: Any) -> bool:
    """Say whether this is samples that know their rate."""
    return hasattr(audio, "samples") and hasattr(audio, "sampling_rate")


def is_pair(audio: Any) -> bool:
    """Say whether this is an array or tensor of samples with their rate behind it."""
    is_two = isinstance(audio, (list, tuple)) and len(audio) == 2  # noqa: PLR2004
    return is_two and getattr(audio[0], "ndim", 0) > 0 and isinstance(audio[1], numbers.Real)


def of_shape(shape: tuple[int, ...], *, is_batch: bool) -> str:
    """Return what to do with a tensor of floats of a wrong shape, "" where nothing is known."""
    name = "audio" if is_batch else "clip"
    return _of_shape(name, name, shape, is_batch=is_batch)


def of_blocks(blocks: Any) -> str:
    """Return what to do with one recording where blocks are needed, "" where nothing is known."""
    made, shape = _as_floats(blocks, "audio"), _shape(blocks)
    if not made:
        return of_kind(blocks, is_batch=True)
    shaped = "" if 0 in shape else _shaped(made, shape, is_batch=True)
    return f": [{shaped}] is one block{_doubt(blocks, shape)}" if shaped else ""


def _of_numbers(audio: Any, name: str, *, is_batch: bool) -> str:
    shape = _shape(audio)
    if made := _as_floats(audio, name):
        cure = _of_shape(made, name, shape, is_batch=is_batch)
        return cure and cure + _doubt(audio, shape)
    if isinstance(audio, np.ndarray) and _is_for_as_waveform(audio.dtype) and 0 not in shape:
        turned = ".T" if _is_turned(shape) else ""
        if len(shape) == 1 or (len(shape) == 2 and min(shape) <= 2):  # noqa: PLR2004 - (T,), (C, T) of one or two
            return f": {_ENCODER}([as_waveform({name}{turned}, sampling_rate=rate)])"
    return ""


def _as_floats(audio: Any, name: str) -> str:
    """Return what makes a tensor of floats at full scale ±1, of the same shape; "" where nothing does."""
    if isinstance(audio, torch.Tensor):
        return _SCALED.get(str(audio.dtype).removeprefix("torch."), "").format(name)
    if isinstance(audio, (list, tuple)):
        return f"torch.tensor({name})" if len(audio) and all(isinstance(at, float) for at in audio) else ""
    # torch takes no other order of bytes and no array that runs backwards.
    is_plain = isinstance(audio, np.ndarray) and audio.dtype.isnative and min(audio.strides, default=0) >= 0
    return _SCALED.get(str(audio.dtype), "").format(f"torch.tensor({name})") if is_plain else ""


def _is_for_as_waveform(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or str(dtype.newbyteorder("=")) in _SCALED


def _doubt(audio: Any, shape: tuple[int, ...]) -> str:
    """Say that 32-bit samples may be 16-bit ones: as the former they would be silence."""
    if isinstance(audio, (list, tuple)) or not str(audio.dtype).endswith("int32"):
        return ""
    if not shape or 0 in shape or getattr(audio, "is_meta", False):
        return ""
    peak = max(-int(audio.min()), int(audio.max()))
    is_doubtful = _QUIET < peak <= _INT16_PEAK
    return f" (they reach only ±{peak}: 16-bit values are divided by 32768)" if is_doubtful else ""


def _shape(audio: Any) -> tuple[int, ...]:
    return (len(audio),) if isinstance(audio, (list, tuple)) else tuple(getattr(audio, "shape", ()))


def _of_shape(made: str, name: str, shape: tuple[int, ...], *, is_batch: bool) -> str:
    """Return the end of a message: what makes sound of this shape one clip, and what else it may be."""
    if 0 in shape:
        return ""
    shaped = _shaped(made, shape, is_batch=is_batch)
    if not shaped or shaped == name:
        return ""
    channels = _channels(shape)
    if channels < 2:  # noqa: PLR2004
        return f": {shaped}"
    if len(shape) != 2 or _is_turned(shape):  # noqa: PLR2004
        return f": {shaped} mixes channels"
    rows = f"{_bracketed(made)}[:, None]" if is_batch else f"list({made})"
    return f": {shaped} mixes channels, {rows} is a clip for each row"


def _shaped(made: str, shape: tuple[int, ...], *, is_batch: bool) -> str:
    """Return what makes (B, 1, T), or a clip (T,) or (1, T), of an expression of this shape; "" where nothing does."""
    is_many = len(shape) == 3 and shape[0] > 1 and not is_batch  # noqa: PLR2004
    if is_many or not 1 <= len(shape) <= 3:  # noqa: PLR2004
        return ""
    operation = _operation(shape, is_batch=is_batch)
    return f"{_bracketed(made)}{operation}" if operation else made


def _operation(shape: tuple[int, ...], *, is_batch: bool) -> str:
    many = _channels(shape) > 1
    if len(shape) == 1:
        return "[None, None]" if is_batch else ""
    if len(shape) == 2:  # noqa: PLR2004 - (C, T), or (T, C) as soundfile has it
        if _is_turned(shape):
            return ".mean(1)[None, None]" if is_batch else ".mean(1)"
        if is_batch:
            return ".mean(0)[None, None]" if many else "[:, None]"
        return ".mean(0, keepdim=True)" if many else ""
    turned = ".transpose(1, 2)" if _is_turned(shape[1:]) else ""
    mixed = f"{turned}.mean(1, keepdim=True)" if turned or many else ""
    return mixed if is_batch else f"{mixed}[0]"


def _channels(shape: tuple[int, ...]) -> int:
    return min(shape[-2:]) if _is_turned(shape[-2:]) else (shape[-2] if len(shape) > 1 else 1)


def _is_turned(shape: tuple[int, ...]) -> bool:
    """Say whether channels come last, as soundfile puts them: sound has more samples than channels."""
    return len(shape) == 2 and shape[0] > shape[1]  # noqa: PLR2004


def _bracketed(made: str) -> str:
    return f"({made})" if " / " in made else made
