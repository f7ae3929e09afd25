"""Ragged batches, of clips of several lengths: each clip gets what it gets alone.

For devices other than a CPU, where clips run one after the other (`inference`). Clips of similar length share a call,
padded at the end; behind each clip's own end a mask keeps every layer's input at zero, as it is for the clip alone.
So a clip's result does not depend on its neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snac_tok.codec import inference
from snac_tok.codec.chunked import run_chunk
from snac_tok.codec.precision import in_full_precision
from snac_tok.codec.state import StreamState
from snac_tok.codec.transfers import to_device

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from snac_tok.codec.network import Network
    from snac_tok.codec.noise import Noise

# A call's rows may be padded by this share of the longest.
_MAX_PADDING = 0.25


def encode_padded(codec: Network, clips: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Encode checked clips (1, 1, T_i), on the host or the device, to codes [[(1, T_ik)]] there.

    Those of similar length run together. They are sent call by call, so that the device begins with the first; nobody
    waits for it.
    """
    config = codec.config
    lengths = [config.padded_num_samples(clip.shape[-1]) for clip in clips]
    results: list[list[torch.Tensor]] = [[] for _ in clips]
    for group in similar(lengths, limit=inference.encode_chunk_samples(codec)):
        longest = lengths[group[-1]]
        if len(group) == 1:
            alone = to_device(clips[group[0]], codec.device)
            results[group[0]] = inference.encode_clips(codec, [alone])[0]
            continue
        rows = _rows([clips[at] for at in group], longest, codec.device)
        valid = row_ends([lengths[at] for at in group])
        for attempt in in_full_precision(rows):
            with attempt:
                latents = run_chunk(codec.encoder, rows, StreamState(), last=True, valid=valid)
                codes = codec.quantizer(latents)[1]
        for row, at in enumerate(group):
            frames = lengths[at] // config.frame_length
            results[at] = [
                level[row : row + 1, : frames * count]
                for level, count in zip(codes, config.codes_per_frame, strict=True)
            ]
    return results


def decode_padded(
    codec: Network, clips: Sequence[Sequence[torch.Tensor]], noise: Noise
) -> list[torch.Tensor]:
    """Decode checked codes [[(1, T_ik)]] of one number of levels to audio [(1, 1, T_i)], as `encode_padded` encodes."""
    config = codec.config
    lengths = [codes[0].shape[-1] for codes in clips]
    results: list[torch.Tensor] = [codes[0] for codes in clips]
    limit = inference.decode_chunk_frames(codec)
    # A shorter last attention window attends to itself, which a padded row has no place for.
    per_window = config.latents_multiple // config.latents_per_frame
    for group in similar(lengths, limit=limit, alone=lambda at: lengths[at] % per_window > 0):
        if len(group) == 1:
            alone = [to_device(level, codec.device) for level in clips[group[0]]]
            (results[group[0]],) = inference.decode_clips(codec, inference.with_noise(codec, alone, noise))
            continue
        longest = lengths[group[-1]]
        levels = [
            _rows([clips[at][k] for at in group], longest * count, codec.device)
            for k, count in zip(range(len(clips[0])), config.codes_per_frame, strict=False)
        ]
        for attempt in in_full_precision(next(codec.parameters())):
            with attempt:
                latents = codec.quantizer.from_codes(levels)
        source = inference.whole_clip_noise(codec, noise, len(group), latents.shape[-1])
        valid = row_ends([lengths[at] * config.latents_per_frame for at in group])
        audio = run_chunk(codec.decoder, latents, StreamState(), last=True, noise=source, valid=valid)
        for row, at in enumerate(group):
            results[at] = audio[row : row + 1, :, : lengths[at] * config.frame_length]
    return results


def _rows(clips: Sequence[torch.Tensor], length: int, device: torch.device) -> torch.Tensor:
    """Return clips (1, …, T_i) as rows (B, …, length); those of the host are put together there and sent at once."""
    if any(clip.device.type != "cpu" for clip in clips):
        clips = [to_device(clip, device) for clip in clips]
    rows = clips[0].new_zeros((len(clips), *clips[0].shape[1:-1], length))
    for row, clip in enumerate(clips):
        rows[row, ..., : clip.shape[-1]] = clip[0]
    return to_device(rows, device)


def row_ends(lengths: list[int]) -> list[int] | None:
    """Return where rows end; None where all end together, which needs no care and can be a graph."""
    return None if min(lengths) == max(lengths) else lengths


def similar(
    lengths: Sequence[int], *, limit: int, alone: Callable[[int], bool] = lambda _: False
) -> list[list[int]]:
    """Group clips of similar length, shortest first, so that a group's rows times its longest stay within `limit`.

    Example:
        >>> similar([10, 100, 9, 90], limit=1000)
        [[2, 0], [3, 1]]
    """
    groups: list[list[int]] = []
    for at in sorted(range(len(lengths)), key=lambda at: lengths[at]):
        group = groups[-1] if groups else []
        fits = group and lengths[group[0]] >= (1 - _MAX_PADDING) * lengths[at]
        if fits and (len(group) + 1) * lengths[at] <= limit and not alone(at) and not alone(group[0]):
            group.append(at)
        else:
            groups.append([at])
    return groups
