"""Rows about streams: one beside decoding at once, several at once."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from benchmark.networks import random_codes
from benchmark.session import speed_cells
from snac_tok import BatchStreamDecoder, FrameLayout, StreamDecoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from benchmark.session import Bench, Cells

    Codes = list[torch.Tensor]

NUM_STREAMS = 4


def id_pushes(bench: Bench, codes: Codes, frames: int) -> tuple[FrameLayout, list[npt.NDArray[Any]]]:
    """Return a layout and the ids of codes [(1, T_k)] in pushes of some frames."""
    layout = FrameLayout(strides=bench.pair.config.vq_strides)
    ids = layout.flatten([level[0].cpu().numpy() for level in codes])
    size = frames * bench.pair.config.tokens_per_frame
    return layout, [ids[start : start + size] for start in range(0, len(ids), size)]


def stream(bench: Bench, codes: Codes, frames: int) -> float:
    """Decode codes as one stream and return the seconds of work until its first sound."""
    layout, pushes = id_pushes(bench, codes, frames)
    start, first = time.perf_counter(), None
    decoder = StreamDecoder(bench.pair.ours, layout, noise=0)
    for ids in pushes:
        if decoder.push(ids).size and first is None:
            first = time.perf_counter() - start
    decoder.flush()
    return first or time.perf_counter() - start


def stream_row(bench: Bench) -> Iterator[Cells]:
    """One stream, beside decoding the same codes at once, on one thread and on all."""
    seconds = bench.options.stream_seconds
    codes = random_codes(bench.pair.ours, seconds)
    for threads in sorted({1, bench.options.threads}):
        torch.set_num_threads(threads)
        whole, *streams = bench.turns(
            partial(bench.pair.ours.decode, codes, noise=0),
            *(partial(stream, bench, codes, n) for n in (1, 4)),
        )
        where = f"{threads} thread{'s' * (threads > 1)}"
        yield speed_cells(f"decode {seconds:g} s at once, {where}", seconds, None, whole.seconds)
        for frames, timed in zip((1, 4), streams, strict=True):
            note = f"{timed.seconds / whole.seconds:.2f} times the time of decoding at once"
            note += f"; {timed.result * 1e3:.0f} ms of work until the first sound"
            what = f"stream {seconds:g} s, {frames} frame{'s' * (frames > 1)} a push, {where}"
            yield speed_cells(what, seconds, None, timed.seconds, note)
    torch.set_num_threads(bench.options.threads)


def side_by_side(bench: Bench, codes: Codes) -> list[float]:
    """Decode the same codes as several streams at once and return the time of each step in seconds."""
    layout, pushes = id_pushes(bench, codes, 1)
    decoder = BatchStreamDecoder(bench.pair.ours, layout)
    for name in range(NUM_STREAMS):
        decoder.open(name, noise=name)
    times = []
    for ids in pushes:
        start = time.perf_counter()
        for name in range(NUM_STREAMS):
            decoder.push(name, ids)
        decoder.step()
        times.append(time.perf_counter() - start)
    return times


def streams_row(bench: Bench) -> Iterator[Cells]:
    """Several streams at once on one thread, one frame a push."""
    seconds = bench.options.stream_seconds
    torch.set_num_threads(1)
    [timed] = bench.turns(partial(side_by_side, bench, random_codes(bench.pair.ours, seconds)))
    torch.set_num_threads(bench.options.threads)
    steps = sorted(1e3 * step for step in timed.result)
    frame = 1e3 / bench.pair.config.frames_per_second
    note = f"each of them; 99 % of steps within {steps[int(0.99 * len(steps))]:.0f} ms, the slowest "
    note += f"{steps[-1]:.0f} ms; a frame lasts {frame:.0f} ms"
    yield speed_cells(f"{NUM_STREAMS} streams of {seconds:g} s, 1 thread", seconds, None, timed.seconds, note)
