"""Ragged batches, of clips of several lengths: each clip gets what it gets alone.

For devices other than a CPU, where clips run one after the other (`inference`). Clips of similar length share a call,
padded at the end; behind each clip's own end a mask keeps every layer's input at zero, as it is for the clip alone.
So a clip's result does not depend on its neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from snac_tok.codec import inference
from snac_tok.codec.chunked import run_chunk
from snac_tok.codec.precision import full_precision
from snac_tok.codec.state import StreamState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from snac_tok.codec.network import Network
    from snac_tok.codec.noise import Noise

# A call's rows may be padded by this share of the longest.
_MAX_PADDING = 0.25


def encode_padded(codec: Network, clips: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Encode checked clips (1, 1, T_i) to codes [[(1, T_ik)]], those of similar length together."""
    config = codec.config
    lengths = [config.padded_num_samples(clip.shape[-1]) for clip in clips]
    results: list[list[torch.Tensor]] = [[] for _ in clips]
    for group in similar(lengths, limit=inference.encode_chunk_samples(codec)):
        longest = lengths[group[-1]]
        rows = torch.cat([F.pad(clips[at], (0, longest - clips[at].shape[-1])) for at in group])
        if len(group) == 1:
            results[group[0]] = inference.encode_clips(codec, [clips[group[0]]])[0]
            continue
        valid = row_ends([lengths[at] for at in group])
        with full_precision(rows):
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
    """Decode checked codes [[(1, T_ik)]] of one number of levels to audio [(1, 1, T_i)], likewise."""
    config = codec.config
    lengths = [codes[0].shape[-1] for codes in clips]
    results: list[torch.Tensor] = [codes[0] for codes in clips]
    limit = inference.decode_chunk_frames(codec)
    # A shorter last attention window attends to itself, which a padded row has no place for.
    per_window = config.latents_multiple // config.latents_per_frame
    for group in similar(lengths, limit=limit, alone=lambda at: lengths[at] % per_window > 0):
        if len(group) == 1:
            rows_alone = inference.with_noise(codec, clips[group[0]], noise)
            (results[group[0]],) = inference.decode_clips(codec, rows_alone)
            continue
        longest = lengths[group[-1]]
        levels = [
            torch.cat([F.pad(clips[at][k], (0, (longest - lengths[at]) * count)) for at in group])
            for k, count in zip(range(len(clips[0])), config.codes_per_frame, strict=False)
        ]
        with full_precision(next(codec.parameters())):
            latents = codec.quantizer.from_codes(levels)
        source = inference.whole_clip_noise(codec, noise, len(group), latents.shape[-1])
        valid = row_ends([lengths[at] * config.latents_per_frame for at in group])
        audio = run_chunk(codec.decoder, latents, StreamState(), last=True, noise=source, valid=valid)
        for row, at in enumerate(group):
            results[at] = audio[row : row + 1, :, : lengths[at] * config.frame_length]
    return results


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
