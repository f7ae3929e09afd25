"""Time flattening and unflattening one hour of codes, beside the per-token loop that notebooks paste.

The loop is written here the way notebooks write it, over torch tensors with one `.item()` a token, and once
more, the kindest reading, over plain Python lists. All sides get the same codes and must give the same
result; ours checks every value's range, the loops check nothing.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmark.timing import machine, median_seconds
from snac_tok.frames import FrameLayout, preset

if TYPE_CHECKING:
    from collections.abc import Callable

# The released speech codec: 24 kHz, 2048 samples a frame, strides (4, 2, 1).
FRAMES_PER_SECOND = 24000 / 2048
CODES_PER_FRAME = (1, 2, 4)
CODEBOOK_SIZE = 4096
ORPHEUS_BASE = 128266


def loop_encode(codes: list[list[int]], base: int, block: int) -> list[int]:
    """Interleave lists token by token."""
    ids = []
    for i in range(len(codes[0])):
        ids.append(codes[0][i] + base)
        ids.append(codes[1][2 * i] + base + block)
        ids.append(codes[2][4 * i] + base + 2 * block)
        ids.append(codes[2][4 * i + 1] + base + 3 * block)
        ids.append(codes[1][2 * i + 1] + base + 4 * block)
        ids.append(codes[2][4 * i + 2] + base + 5 * block)
        ids.append(codes[2][4 * i + 3] + base + 6 * block)
    return ids


def loop_decode(ids: list[int], base: int, block: int) -> list[list[int]]:
    """Take a list apart token by token."""
    levels: list[list[int]] = [[], [], []]
    for i in range(len(ids) // 7):
        levels[0].append(ids[7 * i] - base)
        levels[1].append(ids[7 * i + 1] - base - block)
        levels[2].append(ids[7 * i + 2] - base - 2 * block)
        levels[2].append(ids[7 * i + 3] - base - 3 * block)
        levels[1].append(ids[7 * i + 4] - base - 4 * block)
        levels[2].append(ids[7 * i + 5] - base - 5 * block)
        levels[2].append(ids[7 * i + 6] - base - 6 * block)
    return levels


def item_encode(codes: list[torch.Tensor], base: int, block: int) -> list[int]:
    """Interleave tensors (1, T_k) token by token, as the codec hands them out."""
    ids = []
    for i in range(codes[0].shape[1]):
        ids.append(codes[0][0][i].item() + base)
        ids.append(codes[1][0][2 * i].item() + base + block)
        ids.append(codes[2][0][4 * i].item() + base + 2 * block)
        ids.append(codes[2][0][4 * i + 1].item() + base + 3 * block)
        ids.append(codes[1][0][2 * i + 1].item() + base + 4 * block)
        ids.append(codes[2][0][4 * i + 2].item() + base + 5 * block)
        ids.append(codes[2][0][4 * i + 3].item() + base + 6 * block)
    return ids


def item_decode(ids: torch.Tensor, base: int, block: int) -> list[list[int]]:
    """Take a tensor (1, N) apart token by token."""
    return loop_decode([token.item() for token in ids[0]], base, block)


def random_codes(seconds: float) -> list[np.ndarray]:
    """Return one array of codes a level, for that long."""
    generator = np.random.default_rng(0)
    num_frames = math.ceil(seconds * FRAMES_PER_SECOND)
    return [generator.integers(0, CODEBOOK_SIZE, num_frames * count) for count in CODES_PER_FRAME]


def loops(codes: list[np.ndarray], base: int, block: int) -> dict[str, Callable[[], Any]]:
    """Return the four loops, ready to call."""
    lists, tensors = [level.tolist() for level in codes], [torch.from_numpy(level)[None] for level in codes]
    ids = loop_encode(lists, base, block)
    line = torch.tensor(ids)[None]
    return {
        "forth, tensors": lambda: item_encode(tensors, base, block),
        "back, tensors": lambda: item_decode(line, base, block),
        "forth, lists": lambda: loop_encode(lists, base, block),
        "back, lists": lambda: loop_decode(ids, base, block),
    }


def report(
    name: str, forth: Callable[[], Any], back: Callable[[], Any], peers: dict[str, float], runs: int
) -> None:
    """Time one pair of ours and print its two lines."""
    for way, function in (("forth", forth), ("back", back)):
        ours = median_seconds(function, runs=runs)
        items, lists = peers[f"{way}, tensors"], peers[f"{way}, lists"]
        times = f"{ours * 1e3:8.3f} {items * 1e3:12.1f} {lists * 1e3:12.1f}"
        print(f"{name:<28} {way:<5} {times} {items / ours:10.0f} x {lists / ours:8.0f} x")


def check_equal(codes: list[np.ndarray]) -> None:
    """Stop unless both sides agree, so that no time is taken of a wrong answer."""
    vocabulary = preset("orpheus")
    ids = loop_encode([level.tolist() for level in codes], ORPHEUS_BASE, CODEBOOK_SIZE)
    if vocabulary.encode(codes).tolist() != ids:
        raise SystemExit("the loop and Vocabulary.encode disagree")
    if [level.tolist() for level in vocabulary.decode(np.array(ids))] != loop_decode(
        ids, ORPHEUS_BASE, CODEBOOK_SIZE
    ):
        raise SystemExit("the loop and Vocabulary.decode disagree")


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--seconds", type=float, default=3600.0, help="length of the sound (default: one hour)"
    )
    parser.add_argument("--runs", type=int, default=21, help="runs of ours, of which the median counts")
    parser.add_argument(
        "--loop-runs", type=int, default=5, help="runs of each loop, of which the median counts"
    )
    arguments = parser.parse_args()

    codes = random_codes(arguments.seconds)
    check_equal([level[: 8 * count] for level, count in zip(codes, CODES_PER_FRAME, strict=True)])
    layout, vocabulary = FrameLayout(strides=(4, 2, 1)), preset("orpheus")
    print(machine())
    print(f"{sum(len(level) for level in codes)} tokens; ms a call, medians; ratio = loop / ours\n")
    print(f"{'':<28} {'':<5} {'ours':>8} {'tensor loop':>12} {'list loop':>12} {'tensors':>12} {'lists':>10}")
    plain = {n: median_seconds(f, runs=arguments.loop_runs) for n, f in loops(codes, 0, 0).items()}
    offset = {
        n: median_seconds(f, runs=arguments.loop_runs)
        for n, f in loops(codes, ORPHEUS_BASE, CODEBOOK_SIZE).items()
    }
    for kind, levels in (("numpy", codes), ("torch", [torch.from_numpy(level)[None] for level in codes])):
        flat, ids = layout.flatten(levels), vocabulary.encode(levels)
        forth, back = partial(layout.flatten, levels), partial(layout.unflatten, flat)
        report(f"FrameLayout, {kind}", forth, back, plain, arguments.runs)
        forth, back = partial(vocabulary.encode, levels), partial(vocabulary.decode, ids)
        report(f"Vocabulary, {kind}", forth, back, offset, arguments.runs)


if __name__ == "__main__":
    main()
