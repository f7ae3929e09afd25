"""What only a fresh process can tell: how long a network's very first call takes, and how far its memory rises.

`fresh` starts this module as a script, which makes one call and prints what it cost as JSON. Imports, loading and
making the sound are done before; what is reported is the call alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from benchmark.networks import CONFIGS, DTYPES, load_ours, load_peer, random_codes, speech_like, use_device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from snac_tok.codec import SNAC

TASKS = ("encode", "decode", "encode-blocks", "decode-blocks")
# Blocks of sound come at this length, as from a file reader.
_BLOCK_SECONDS = 1.0


class Cost(NamedTuple):
    """What one call in a fresh process cost; the peak counts from what was in use before."""

    seconds: float
    peak_bytes: int


def fresh(
    task: str, *, side: str, seconds: float, config: str, device: str, dtype: str, threads: int
) -> Cost:
    """Run one task in a process of its own.

    Args:
        task: one of `TASKS`.
        side: "ours" or "peer"; the peer has no blocks.
        seconds: how much sound.
        config: one of `benchmark.networks.CONFIGS`.
        device: as torch names it.
        dtype: one of `benchmark.networks.DTYPES`.
        threads: torch's.
    """
    arguments = [task, side, str(seconds), config, device, dtype, str(threads)]
    command = [sys.executable, "-m", "benchmark.fresh", *arguments]
    # It must find what we found, wherever we were started.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return Cost(*json.loads(done.stdout))


def work(task: str, side: str, codec: SNAC, seconds: float) -> Callable[[], object]:
    """Return one call, everything that it needs made beforehand."""
    if task == "encode-blocks":
        return lambda: deque(codec.encode_blocks(_blocks(codec, seconds)), maxlen=0)
    if task == "encode":
        audio = speech_like(codec, seconds)
        peer = load_peer(codec).encode if side == "peer" else codec.encode
        return lambda: peer(audio)
    codes = random_codes(codec, seconds)
    if task == "decode-blocks":
        return lambda: deque(codec.decode_blocks(codes, noise=0), maxlen=0)
    decode = load_peer(codec).decode if side == "peer" else codec.decode
    return lambda: decode(codes)


def _blocks(codec: SNAC, seconds: float) -> Iterator[torch.Tensor]:
    block = speech_like(codec, _BLOCK_SECONDS)
    return itertools.repeat(block, max(1, round(seconds / _BLOCK_SECONDS)))


def measure(call: Callable[[], object], device: torch.device) -> Cost:
    """Make one call and return its time, and the peak of memory above what was in use before: the GPU's, or RSS."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    else:
        _reset_peak()
        before = _status_bytes("VmRSS")
    start = time.perf_counter()
    with torch.inference_mode():
        call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else _status_bytes("VmHWM")
    return Cost(seconds, peak - before)


def _reset_peak() -> None:
    """Forget how much memory loading took; the kernel offers it for one's own process."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5", encoding="ascii")


def _status_bytes(name: str) -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        # Elsewhere than on Linux only the peak of the whole life is known.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    line = next(line for line in status.read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Run the task that the command line names and print its cost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("side", choices=("ours", "peer"))
    parser.add_argument("seconds", type=float)
    parser.add_argument("config", choices=CONFIGS)
    parser.add_argument("device")
    parser.add_argument("dtype", choices=DTYPES)
    parser.add_argument("threads", type=int)
    arguments = parser.parse_args()
    use_device(arguments.device, threads=arguments.threads)
    codec = load_ours(arguments.config, device=arguments.device, dtype=DTYPES[arguments.dtype])
    call = work(arguments.task, arguments.side, codec, arguments.seconds)
    print(json.dumps(measure(call, codec.device)))


if __name__ == "__main__":
    main()
