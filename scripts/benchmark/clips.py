"""Rows about clips: one, short ones, many of one length, many of mixed lengths."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

import torch

from benchmark.networks import speech_like
from benchmark.session import speed_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmark.session import Bench, Cells

    Codes = list[torch.Tensor]


def codes_note(wanted: Sequence[Codes], found: Sequence[Codes]) -> str:
    """Count the codes that differ."""
    pairs = [
        pair for clip, other in zip(wanted, found, strict=True) for pair in zip(clip, other, strict=True)
    ]
    differ = sum(int((one.flatten() != other.flatten()).sum()) for one, other in pairs)
    return f"{differ} of {sum(one.numel() for one, _ in pairs)} codes differ"


def encode_cells(bench: Bench, audio: torch.Tensor, what: str) -> Cells:
    """Encode audio (B, 1, T) with both."""
    seconds = audio.shape[0] * audio.shape[-1] / bench.pair.config.sampling_rate
    peer, ours = bench.turns(partial(bench.pair.peer_encode, audio), partial(bench.pair.ours.encode, audio))
    return speed_cells(what, seconds, peer.seconds, ours.seconds, codes_note([peer.result], [ours.result]))


def decode_lines(bench: Bench, codes: Codes, what: str) -> Iterator[Cells]:
    """Decode codes [(B, T_k)] with both, ours with each kind of noise."""
    config, decode = bench.pair.config, bench.pair.ours.decode
    seconds = codes[0].numel() * config.frame_length / config.sampling_rate

    def seeded(function: Callable[[Codes], torch.Tensor]) -> torch.Tensor:
        torch.manual_seed(1)
        return function(codes)

    peer, equal, fixed, off = bench.turns(
        partial(seeded, bench.pair.peer_decode),
        partial(seeded, decode),
        partial(decode, codes, noise=0),
        partial(decode, codes, noise="off"),
    )
    difference = float((peer.result - equal.result).abs().max())
    note = f"largest difference {difference:.1e}"
    yield speed_cells(f"{what}, snac's noise", seconds, peer.seconds, equal.seconds, note)
    yield speed_cells(f"{what}, noise=0", seconds, peer.seconds, fixed.seconds)
    yield speed_cells(f'{what}, noise="off"', seconds, peer.seconds, off.seconds)


def encode_row(bench: Bench) -> Iterator[Cells]:
    """One clip."""
    seconds = bench.options.seconds
    yield encode_cells(bench, speech_like(bench.pair.ours, seconds), f"encode {seconds:g} s")


def decode_row(bench: Bench) -> Iterator[Cells]:
    """The same clip back."""
    seconds = bench.options.seconds
    codes = bench.pair.ours.encode(speech_like(bench.pair.ours, seconds))
    yield from decode_lines(bench, codes, f"decode {seconds:g} s")


def short_row(bench: Bench) -> Iterator[Cells]:
    """Short clips and the few frames that a sliding window decodes, where fixed costs show."""
    for seconds in bench.options.short:
        yield encode_cells(bench, speech_like(bench.pair.ours, seconds), f"encode {seconds:g} s")
    codec = bench.pair.ours
    for frames in map(int, bench.options.short_frames):
        audio = speech_like(codec, frames * codec.config.frame_length / codec.sampling_rate)
        yield from decode_lines(bench, codec.encode(audio), f"decode {frames} frame{'s' * (frames > 1)}")


def batch_row(bench: Bench) -> Iterator[Cells]:
    """Equally long clips in one call, and the peak of the GPU's memory."""
    batch, seconds = bench.options.batch, bench.options.seconds
    audio = speech_like(bench.pair.ours, seconds, batch=batch)
    yield encode_cells(bench, audio, f"encode {batch} x {seconds:g} s at once")
    yield from decode_lines(bench, bench.pair.ours.encode(audio), f"decode {batch} x {seconds:g} s at once")
    if bench.pair.ours.device.type == "cuda":
        for side, call in (("snac", bench.pair.peer_encode), ("ours", bench.pair.ours.encode)):
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            call(audio)
            peak = f"{(torch.cuda.max_memory_allocated() - before) / 1e6:.0f} MB"
            cells = (peak, "") if side == "snac" else ("", peak)
            yield f"peak memory of encoding these, {side}", *cells, "", ""


def some_clips(bench: Bench) -> tuple[list[torch.Tensor], float]:
    """Return clips (T_i,) of 1 to 15 s and their length together in seconds."""
    lengths = random.Random(5)  # noqa: S311 - a seeded choice of lengths, no secret
    seconds = [lengths.uniform(1.0, bench.options.longest) for _ in range(bench.options.clips)]
    sound = speech_like(bench.pair.ours, bench.options.longest)[0, 0]
    clips = [sound[: int(length * bench.pair.config.sampling_rate)].clone() for length in seconds]
    return clips, sum(map(len, clips)) / bench.pair.config.sampling_rate


def clips_encode_row(bench: Bench) -> Iterator[Cells]:
    """Clips of mixed lengths: one by one with `snac`, which has no other way, in one call with ours.

    A whole turn to warm up would take minutes, so one clip does.
    """
    clips, seconds = some_clips(bench)
    bench.pair.peer_encode(clips[0][None, None])
    bench.pair.ours.encode_batch(clips[:1])
    peer, ours = bench.turns(
        lambda: [[level[0] for level in bench.pair.peer_encode(clip[None, None])] for clip in clips],
        partial(bench.pair.ours.encode_batch, clips),
        warm_up=False,
    )
    what = f"encode {len(clips)} clips of 1 to {bench.options.longest:g} s"
    yield speed_cells(what, seconds, peer.seconds, ours.seconds, codes_note(peer.result, ours.result))


def clips_decode_row(bench: Bench) -> Iterator[Cells]:
    """The same clips back."""
    clips, seconds = some_clips(bench)
    codes = bench.pair.ours.encode_batch(clips)
    decode = partial(bench.pair.ours.decode_batch, codes)
    bench.pair.peer_decode([level[None] for level in codes[0]])
    bench.pair.ours.decode_batch(codes[:1])
    peer, fixed, off = bench.turns(
        lambda: [bench.pair.peer_decode([level[None] for level in levels]) for levels in codes],
        partial(decode, noise=0),
        partial(decode, noise="off"),
        warm_up=False,
    )
    what = f"decode {len(clips)} clips of 1 to {bench.options.longest:g} s"
    yield speed_cells(f"{what}, noise=0", seconds, peer.seconds, fixed.seconds)
    yield speed_cells(f'{what}, noise="off"', seconds, peer.seconds, off.seconds)
