"""What numba's loops give on a CPU, and 16 bits: fp32 and bf16, with the loops and without, in turns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmark.networks import DTYPES, kernels, load_ours, speech_like

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmark.session import Bench, Cells


def compiled_row(bench: Bench) -> Iterator[Cells]:
    """Encode and decode one clip in four ways; the ratio is to fp32 without the loops."""
    options, seconds = bench.options, bench.options.seconds
    codecs = {name: load_ours(options.config, dtype=DTYPES[name]) for name in ("fp32", "bf16")}
    audio = speech_like(codecs["fp32"], seconds)
    codes = codecs["fp32"].encode(audio)
    tasks: dict[str, Callable[[str], Callable[[], object]]] = {
        "encode": lambda name: partial(codecs[name].encode, audio.to(codecs[name].dtype)),
        "decode": lambda name: partial(codecs[name].decode, codes, noise=0),
    }
    ways = [(name, loops) for name in codecs for loops in (False, True)]
    for what, task in tasks.items():
        timed = bench.turns(*(partial(run_with, task(name), loops=loops) for name, loops in ways))
        for (name, loops), one in zip(ways, timed, strict=True):
            operations = "numba's loops" if loops else "torch's operators"
            speed, ratio = seconds / one.seconds, timed[0].seconds / one.seconds
            yield f"{what} {seconds:g} s, {name}, {operations}", "", f"{speed:.1f} x", f"{ratio:.2f}", ""


def run_with(function: Callable[[], object], *, loops: bool) -> object:
    """Call a function with the loops or without."""
    with kernels("auto" if loops else "off"):
        return function()
