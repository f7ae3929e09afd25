"""Compiles the kernels of `scripts/gpu_check` before its rows need them, on all cores; Triton keeps them on the disk.

One process compiles one kernel after the other: half of the minutes that a card is there for would go by with it idle.
"""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from benchmark.gpu import Check, call_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from snac_tok.codec import CodecConfig

# A process that takes longer is ended: what it has not compiled is compiled by the rows.
_SECONDS = 90.0
# Each holds a batch in the card's memory.
_MOST_AT_ONCE = 8


def parts(check: Check) -> list[tuple[CodecConfig, str, str]]:
    """Return what one process each compiles for: a codec's shape, how it computes, and one way through it."""
    own = [(check.config, dtype) for dtype in check.precisions("fp16")]
    others = [(config, dtype) for config in check.others for dtype in check.precisions()]
    return [(config, dtype, way) for config, dtype in (*own, *others) for way in ("encode", "decode")]


def compile_part(check: Check, part: int) -> None:
    """Run once what the rows time, so that its kernels are on the disk."""
    config, dtype, wanted = parts(check)[part]
    codec = check.codec(dtype, config)
    for way, rows, length in check.jobs:
        if way == wanted:
            call_of(codec, way, rows, length)()
    check.wait()


def kernel_rows(check: Check, command: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Compile all parts at once, each in a process.

    Args:
        check: what is measured.
        command: of a process, without the number of its part.
    """
    what = "kernels compiled ahead"
    if check.device.type == "cpu":
        yield {"what": what, "note": "none, for a CPU"}
    else:
        yield {"what": what} | compile_all(len(parts(check)), command)


def compile_all(count: int, command: Sequence[str]) -> dict[str, Any]:
    """Run a command once for each part, as many at once as there are cores but one; return figures for a row."""
    start = time.perf_counter()
    at_once = max(1, min(count, _MOST_AT_ONCE, (os.cpu_count() or 2) - 1))
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        failed = sum(pool.map(lambda part: _is_failure([*command, str(part)], start), range(count)))
    note = f"{count} processes" + (f", {failed} of them failed" if failed else "")
    return {"value": time.perf_counter() - start, "unit": "s", "note": note}


def _is_failure(command: Sequence[str], start: float) -> bool:
    """Run a process; what goes wrong in it goes wrong in a row, too, which says why."""
    left = max(1.0, start + _SECONDS - time.perf_counter())
    try:
        done = subprocess.run(command, check=False, capture_output=True, timeout=left)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0
