"""What may enter the network: audio and codes checked once, at the door, with sentences that help.

Nothing inside the network checks again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from snac_tok.codec.forks import use_one_thread
from snac_tok.codec.transfers import to_device
from snac_tok.errors import MAX_LEVEL, CodesError, WaveformError, wrong_scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.codec.config import CodecConfig


def checked_audio(audio: torch.Tensor, *, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Return (B, 1, T) audio on the network's device, in its dtype.

    Raises:
        WaveformError: the shape, type or length is wrong, or a sample is NaN, infinite or no float at full scale ±1.
    """
    use_one_thread()
    if not isinstance(audio, torch.Tensor) or not audio.is_floating_point():
        raise WaveformError(
            f"the audio is {_kind(audio)}; a floating point torch.Tensor (B, 1, T) is needed."
        )
    if audio.ndim != 3 or audio.shape[1] != 1 or 0 in audio.shape:  # noqa: PLR2004 - (B, 1, T)
        raise WaveformError(
            f"the audio has shape {tuple(audio.shape)}; (batch, 1, samples) is needed, mono and not empty."
        )
    # NaN wins both comparisons. Where the audio comes from: asking a GPU would wait for all that it still has to do.
    if _has_values():
        _check_values(audio)
    return to_device(audio.to(dtype), device)


def _check_values(audio: torch.Tensor) -> None:
    low, high = _extremes(audio)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise WaveformError("the audio has NaN or infinite samples; replace or drop them before encoding.")
    if max(-low, high) > MAX_LEVEL:
        raise wrong_scale(max(-low, high), subject="the audio's samples")


def checked_codes(
    codes: Sequence[torch.Tensor], *, config: CodecConfig, device: torch.device
) -> list[torch.Tensor]:
    """Return codes [(B, T_k)] as int64 on the network's device.

    Raises:
        CodesError: levels are missing or of lengths that do not fit each other, or a code is out of range.
    """
    use_one_thread()
    if not isinstance(codes, (list, tuple)) or not 1 <= len(codes) <= config.num_levels:
        found = f"{len(codes)} levels" if isinstance(codes, (list, tuple)) else _kind(codes)
        raise CodesError(f"the codes are {found}; a list of 1 to {config.num_levels} levels is needed.")
    for level, values in enumerate(codes):
        _check_level(level, values, codes[0], config)
    return [to_device(values.to(torch.int64), device) for values in codes]


def _check_level(level: int, codes: torch.Tensor, coarsest: torch.Tensor, config: CodecConfig) -> None:
    if not isinstance(codes, torch.Tensor) or codes.is_floating_point() or codes.dtype == torch.bool:
        raise CodesError(
            f"level {level} is {_kind(codes)}; an integer torch.Tensor (B, T_{level}) is needed."
        )
    if codes.ndim != 2 or 0 in codes.shape:  # noqa: PLR2004 - (B, T)
        raise CodesError(
            f"level {level} has shape {tuple(codes.shape)}; (batch, steps) is needed, not empty."
        )
    needed = (coarsest.shape[0], coarsest.shape[1] * config.codes_per_frame[level])
    if tuple(codes.shape) != needed:
        raise CodesError(
            f"level {level} has shape {tuple(codes.shape)}, but level 0 has {tuple(coarsest.shape)}, "
            f"so level {level} must have {needed}."
        )
    # Checked before the lookup: on a GPU an index out of range ends the whole process.
    # int64 first, because torch has no minimum of unsigned tensors.
    low, high = _extremes(codes.to(torch.int64)) if _has_values() else (0, 0)
    if low < 0 or high >= config.codebook_size:
        raise CodesError(
            f"level {level} has codes from {low} to {high}; they must lie in 0 to {config.codebook_size - 1}."
        )


def _has_values() -> bool:
    """Say whether tensors have values that can be looked at: not while a graph is exported or traced."""
    return not (torch.compiler.is_exporting() or torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def _extremes(values: torch.Tensor) -> list[Any]:
    """Return the lowest and the highest value; a tenth of the time of asking each value whether it is finite."""
    found: list[Any] = torch.stack(torch.aminmax(values)).tolist()
    return found


def _kind(value: object) -> str:
    return f"a tensor of {value.dtype}" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"
