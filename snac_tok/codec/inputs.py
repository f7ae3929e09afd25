"""What may enter the network: audio and codes checked once, at the door, with sentences that help.

Nothing inside the network checks again.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import torch

from snac_tok.codec import audio_advice
from snac_tok.codec.forks import use_one_thread
from snac_tok.codec.placement import DTYPE_NAMES
from snac_tok.codec.transfers import to_device
from snac_tok.errors import MAX_LEVEL, CodesError, WaveformError, wrong_scale

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from snac_tok.codec.config import CodecConfig

_INTEGERS = {
    *(torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
}
_CLIP = "a floating point torch.Tensor (T,) or (1, T)"


def checked_audio(audio: torch.Tensor, *, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Return (B, 1, T) audio on the network's device, in its dtype.

    Raises:
        WaveformError: the shape, type or length is wrong, or a sample is NaN, infinite or no float at full scale ±1.
    """
    use_one_thread()
    _check_kind(audio, "a floating point torch.Tensor (B, 1, T)")
    if audio.ndim != 3 or audio.shape[1] != 1 or 0 in audio.shape:  # noqa: PLR2004 - (B, 1, T)
        raise WaveformError(
            f"the audio has shape {tuple(audio.shape)}; (batch, 1, samples) is needed, mono and not empty"
            f"{audio_advice.of_shape(tuple(audio.shape), is_batch=True)}."
        )
    # NaN wins both comparisons. Where the audio comes from: asking a GPU would wait for all that it still has to do.
    if _has_values():
        _check_values(audio)
    return to_device(audio.to(dtype), device)


def blocks_of(blocks: Any) -> Iterator[Any]:
    """Return blocks of audio to iterate over.

    Raises:
        WaveformError: they are one recording or its path.
    """
    found = None if _is_one_sound(blocks) or _is_row_of_numbers(blocks) else iterated(blocks)
    if found is None:
        raise WaveformError(
            f"the blocks are {_kind(blocks)}; blocks of audio (B, 1, n) are needed"
            f"{audio_advice.of_blocks(blocks)}."
        )
    return found


def _is_one_sound(given: Any) -> bool:
    """Say whether this is one recording or its path, which is not to be gone through piece by piece."""
    is_text = isinstance(given, (str, bytes, os.PathLike))
    return is_text or audio_advice.is_waveform(given) or audio_advice.is_pair(given)


def _is_row_of_numbers(given: Any) -> bool:
    """Say whether this is an array or tensor of at most (B, 1, T); with a dimension in front it is equal blocks."""
    kind = getattr(getattr(given, "dtype", None), "kind", "")
    return (isinstance(given, torch.Tensor) or kind in tuple("biufc")) and given.ndim <= 3  # noqa: PLR2004


def iterated(values: Any) -> Iterator[Any] | None:
    """Return an iterator, of a data set with places and no iteration of its own, too; None where there is none."""
    try:
        found: Iterator[Any] = iter(values)
    except TypeError:
        return None
    return found


def clips_of(clips: Any) -> list[torch.Tensor]:
    """Return the clips (T,) or (1, T) of a batch as (1, 1, T) each.

    Raises:
        WaveformError: they are no list, or one is not mono audio; it is named.
    """
    if _is_one_sound(clips):  # a text would be read letter by letter
        cure = audio_advice.of_kind(clips, is_batch=False)
        raise WaveformError(f"the clips are {_kind(clips)}; a list of clips, {_CLIP} each, is needed{cure}.")
    return [_one_row(at, clip) for at, clip in enumerate(_listed(clips, _CLIP, WaveformError))]


def _one_row(at: int, clip: Any) -> torch.Tensor:
    _check_kind(clip, _CLIP, subject=f"clip {at}: the audio")
    if not 1 <= clip.ndim <= 2 or 0 in clip.shape or clip[..., 0].numel() != 1:  # noqa: PLR2004 - (1, T)
        raise WaveformError(
            f"clip {at}: the audio has shape {tuple(clip.shape)}; (samples,) or (1, samples) is needed, mono and not "
            f"empty{audio_advice.of_shape(tuple(clip.shape), is_batch=False)}."
        )
    row: torch.Tensor = clip.reshape(1, 1, -1)
    return row


def code_clips_of(clips: Any) -> list[list[torch.Tensor]]:
    """Return the codes [(T_k,)] of each clip of a batch as [(1, T_k)].

    Raises:
        CodesError: they are no list of such lists; the clip is named.
    """
    needed = "one integer torch.Tensor (T_k,) per level"
    return [
        [_one_level(at, level, codes) for level, codes in enumerate(_listed(clip, needed, CodesError, at))]
        for at, clip in enumerate(_listed(clips, needed, CodesError))
    ]


def _one_level(at: int, level: int, codes: Any) -> torch.Tensor:
    subject = f"clip {at}: level {level}"
    _check_integers(codes, f"(T_{level},)", subject=subject)
    if codes.ndim != 1 or not len(codes):
        raise CodesError(f"{subject} has shape {tuple(codes.shape)}; (steps,) is needed, not empty.")
    row: torch.Tensor = codes[None]
    return row


def _listed(
    values: Any, needed: str, error: type[WaveformError | CodesError], at: int | None = None
) -> Iterator[Any]:
    """Return a batch, or the levels of its clip `at`, if it holds several things."""
    found = iterated(values)
    if found is None:
        subject, each = (
            ("the clips are", "for each clip ") if at is None else (f"clip {at}: the codes are", "")
        )
        what = "a single number" if isinstance(values, torch.Tensor) else _kind(values)
        raise error(f"{subject} {what}; {each}{needed} is needed.")
    return found


def _check_kind(audio: Any, needed: str, *, subject: str = "the audio") -> None:
    """Refuse what is no tensor of floats that the network can read."""
    if not isinstance(audio, torch.Tensor) or not audio.is_floating_point():
        cure = audio_advice.of_kind(audio, is_batch=needed != _CLIP)
        raise WaveformError(f"{subject} is {_kind(audio)}; {needed} is needed{cure}.")
    if unread := _unread(audio):
        raise WaveformError(f"{subject} is {unread}.")
    if audio.dtype not in DTYPE_NAMES:
        raise WaveformError(
            f"{subject} is {_kind(audio)}; {needed} of 16, 32 or 64 bits is needed: convert it with .float()."
        )


def _unread(values: torch.Tensor) -> str:
    """Say what a tensor is that has no plain values to read, and what to do; "" for all others."""
    if values.is_nested:
        return "a nested tensor; give its rows as a list, encode_batch and decode_batch take clips of any lengths"
    if values.layout is not torch.strided:
        return "a sparse tensor; a dense one is needed: convert it with .to_dense()"
    if values.is_meta and _has_values():
        return 'a tensor on the device "meta", which holds no values; make it on a device that does, such as "cpu"'
    return ""


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
        raise CodesError(
            f"the codes are {_not_levels(codes)}; a list of 1 to {config.num_levels} levels is needed."
        )
    for level, values in enumerate(codes):
        _check_level(level, values, codes[0], config)
    return [to_device(values.to(torch.int64), device) for values in codes]


def _not_levels(codes: Any) -> str:
    """Say what came in the place of a list of levels; a row of whole numbers looks like ids."""
    is_list = isinstance(codes, (list, tuple))
    is_row = is_list and codes and all(isinstance(code, int) for code in codes)
    if is_row or getattr(codes, "ndim", 0) == 1:
        return f"one row of {len(codes)} numbers, as ids are, which a SnacTokenizer's decode takes"
    return f"{len(codes)} levels" if is_list else _kind(codes)


def _check_level(level: int, codes: torch.Tensor, coarsest: torch.Tensor, config: CodecConfig) -> None:
    _check_integers(codes, f"(B, T_{level})", subject=f"level {level}")
    if codes.ndim != 2 or 0 in codes.shape:  # noqa: PLR2004 - (B, T)
        cure = (
            ": [level[None] for level in codes] has a batch of one" if codes.ndim == 1 and len(codes) else ""
        )
        raise CodesError(
            f"level {level} has shape {tuple(codes.shape)}; (batch, steps) is needed, not empty{cure}."
        )
    needed = (coarsest.shape[0], coarsest.shape[1] * config.codes_per_frame[level])
    if tuple(codes.shape) != needed:
        raise CodesError(
            f"level {level} has shape {tuple(codes.shape)}, but level 0 has {tuple(coarsest.shape)}, "
            f"so level {level} must have {needed}."
        )
    # Checked before the lookup: on a GPU an index out of range ends the whole process.
    low, high = _code_range(codes) if _has_values() else (0, 0)
    if low < 0 or high >= config.codebook_size:
        raise CodesError(
            f"level {level} has codes from {low} to {high}; they must lie in 0 to {config.codebook_size - 1}."
        )


def _check_integers(codes: Any, shape: str, *, subject: str) -> None:
    if not isinstance(codes, torch.Tensor) or codes.dtype not in _INTEGERS:
        is_array = (
            not isinstance(codes, torch.Tensor)
            and bool(getattr(codes, "ndim", 0))
            and codes.dtype.kind in "iu"
        )
        cure = ": torch.tensor makes one of an array" if is_array or isinstance(codes, list) else ""
        raise CodesError(f"{subject} is {_kind(codes)}; an integer torch.Tensor {shape} is needed{cure}.")
    if unread := _unread(codes):
        raise CodesError(f"{subject} is {unread}.")


def _code_range(codes: torch.Tensor) -> tuple[int, int]:
    """Return the lowest and the highest code."""
    if codes.dtype is torch.uint64:  # int64 would make the largest negative
        values = codes.cpu().numpy()
        return int(values.min()), int(values.max())
    # int64 first, because torch has no minimum of unsigned tensors.
    low, high = _extremes(codes.to(torch.int64))
    return low, high


def _has_values() -> bool:
    """Say whether tensors have values that can be looked at: not while a graph is exported or traced."""
    return not (torch.compiler.is_exporting() or torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def _extremes(values: torch.Tensor) -> list[Any]:
    """Return the lowest and the highest value; a tenth of the time of asking each value whether it is finite."""
    found: list[Any] = torch.stack(torch.aminmax(values)).tolist()
    return found


def _kind(value: object) -> str:
    """Name what was given, as a sentence names it."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of {value.dtype}"
    name = "None" if value is None else type(value).__name__
    return name if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
