"""How sound that the network cannot take becomes a tensor that it can: the ends of messages, no checks."""

from __future__ import annotations

import os
from typing import Any

import torch

# What makes (B, 1, T) of an array, by its number of dimensions.
_TO_BATCH = {1: "[None, None]", 2: "[:, None]"}
_ENCODER = "SnacTokenizer(codec, None).encode_codes"


def of_kind(audio: Any, *, is_batch: bool) -> str:
    """Return what to do with something that is no tensor of floats, "" where nothing is known.

    Args:
        audio: what was given.
        is_batch: whether (B, 1, T) is needed, not one clip (T,) or (1, T).
    """
    name = "audio" if is_batch else "clip"
    if isinstance(audio, (str, os.PathLike)):
        return f": {_ENCODER}([read_audio({os.fspath(audio)!r})]) encodes a file"
    if hasattr(audio, "samples") and hasattr(audio, "sampling_rate"):
        tensor = f"torch.from_numpy({name}.samples)" + ("[None]" if is_batch else "")
        return f": {tensor} at the codec's rate, or {_ENCODER}([{name}]) from any"
    is_pair = isinstance(audio, (list, tuple)) and len(audio) == 2 and hasattr(audio[0], "ndim")  # noqa: PLR2004
    if is_pair and not getattr(audio[1], "shape", ()):
        return f": samples, rate = pair, then {_ENCODER}([as_waveform(samples, sampling_rate=rate)])"
    return _of_numbers(audio, name, is_batch=is_batch)


def _of_numbers(audio: Any, name: str, *, is_batch: bool) -> str:
    is_tensor = isinstance(audio, torch.Tensor)
    is_list = isinstance(audio, (list, tuple)) and len(audio) > 0 and isinstance(audio[0], float)
    if not (is_tensor or is_list or hasattr(audio, "__array__")):
        return ""
    made = name if is_tensor else f"torch.tensor({name})"
    dimensions = 1 if is_list else audio.ndim
    made += _TO_BATCH.get(dimensions, "") if is_batch else ""
    kind = "" if is_list else str(audio.dtype).removeprefix("torch.")
    return f": {made}{' / 32768' if kind == 'int16' else ''}" if not is_tensor or kind == "int16" else ""


def of_shape(shape: tuple[int, ...]) -> str:
    """Return what to do with a tensor of floats that is not (B, 1, T), "" where nothing is known."""
    if 0 in shape:
        return ""
    if len(shape) in _TO_BATCH:
        return f": audio{_TO_BATCH[len(shape)]} is {'one clip' if len(shape) == 1 else 'a clip for each row'}"
    if len(shape) == 3 and shape[1] > 1:  # noqa: PLR2004 - (B, C, T)
        is_turned = shape[2] < shape[1]
        return f": {'audio.transpose(1, 2)' if is_turned else 'audio'}.mean(1, keepdim=True) mixes channels"
    return ""
