"""What a lower precision changes: the codes that flip, and how close a choice those were in fp32.

A flipped code changes what the finer levels have left to code, so a finer level's flips count as close choices only
where its coarser codes agree.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, get_args

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from benchmark.networks import speech_like
from benchmark.tensor_cores import on_tensor_cores
from snac_tok.codec.ops.reference import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmark.session import Cells
    from snac_tok.codec import SNAC


def precision_cells(exact: SNAC, rounded: SNAC, seconds: float) -> Iterator[Cells]:
    """Compare an fp32 codec and the same one in a lower precision: codes, one row a level, and sound."""
    audio = speech_like(exact, seconds)
    wanted, found = exact.encode(audio), rounded.encode(audio.to(rounded.dtype))
    yield from _codes_cells(exact, audio, wanted, found)
    yield _sound_cells(exact.decode(wanted, noise=0), rounded.decode(wanted, noise=0))


def tensor_core_cells(codec: SNAC, seconds: float) -> Iterator[Cells]:
    """Compare fp32 with what tensor cores make of it, computed on a CPU."""
    audio = speech_like(codec, seconds)
    codes = codec.encode(audio)
    sound = codec.decode(codes, noise=0)
    for precision in get_args(Precision)[1:]:
        with on_tensor_cores(precision):
            found, decoded = codec.encode(audio), codec.decode(codes, noise=0)
        for name, *cells in (*_codes_cells(codec, audio, codes, found), _sound_cells(sound, decoded)):
            yield f"{precision}, {name}", *cells


def _sound_cells(wanted: torch.Tensor, found: torch.Tensor) -> Cells:
    noise = found.double() - wanted.double()
    ratio = 20 * math.log10(float(wanted.double().norm() / noise.norm().clamp(1e-30)))
    return "sound of equal codes beside fp32's", "", f"{ratio:.0f} dB", "", "SNR"


def _codes_cells(
    exact: SNAC, audio: torch.Tensor, wanted: list[torch.Tensor], found: list[torch.Tensor]
) -> Iterator[Cells]:
    agree = [one == other for one, other in zip(wanted, found, strict=True)]
    finest = agree[-1].shape[-1]
    coarser_agree = torch.ones_like(agree[-1])
    for level, (same, margin) in enumerate(zip(agree, margins(exact, audio), strict=True)):
        here = coarser_agree[:, :: finest // same.shape[-1]]
        flips = margin[here & ~same]
        share = f"{100 * float(same.float().mean()):.2f} %"
        yield f"level {level}: codes equal to fp32", "", share, "", margin_note(flips, margin)
        coarser_agree = coarser_agree & same.repeat_interleave(finest // same.shape[-1], dim=-1)


def margin_note(flips: torch.Tensor, margin: torch.Tensor) -> str:
    """Say how close the choices were, in fp32: those that flipped, and all."""
    everywhere = f"all margins: median {float(margin.median()):.1e}"
    if not flips.numel():
        return f"no flips of its own; {everywhere}"
    return f"{flips.numel()} flips: median {float(flips.median()):.1e}, max {float(flips.max()):.1e}; {everywhere}"


@torch.no_grad()
def margins(codec: SNAC, audio: torch.Tensor) -> list[torch.Tensor]:
    """Return, per level (B, T_k), by how much the second nearest entry was further away than the nearest one."""
    residual = codec.encoder(codec.preprocess(audio))
    found = []
    for quantizer in codec.quantizer.quantizers:
        projected = quantizer.in_proj(F.avg_pool1d(residual, quantizer.stride))  # (B, D, T_k)
        entries = F.normalize(quantizer.codebook.weight)
        # Both are unit vectors, whose squared distance is 2 - 2 cos.
        nearest = (2 * F.normalize(projected).transpose(1, 2) @ entries.t()).topk(2, dim=-1).values
        found.append(nearest[..., 0] - nearest[..., 1])
        residual = residual - quantizer(residual)[0]
    return found
