"""How soon and how fast `snac-tok serve` speaks to many clients at once, over loopback.

The server runs in a process of its own, with a source that writes random frames: as fast as they are taken, or at a
pace (`--pace 1` is a language model that writes as fast as its speech plays). The clients ask for speech over HTTP.

    first sound          from sending a request to its first bytes of sound
    seconds a second     taken for a second of sound by the slowest client: below 1 everybody's player never waits
    sound a second       seconds of sound that all clients together got in a second
    memory               of the server, after this row: the row above it shows what is added

Usage: python scripts/bench_serve.py [--clients 1,8,32] [--frames 60] [--rounds 2] [--pace 1]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx2
import numpy as np

from benchmark.timing import machine
from snac_tok.wording import table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from multiprocessing.connection import Connection

    from snac_tok.serving import SpeechRequest

BYTES_A_SAMPLE = 2


class Heard(NamedTuple):
    """What one client measured, in seconds."""

    first_sound: float
    whole: float
    sound: float


def serve(connection: Connection, model: str, pace: float) -> None:
    """Serve in this process until it is ended."""
    from snac_tok import SnacTokenizer
    from snac_tok.serving import Limits, create_app
    from snac_tok.serving.server import listening_socket, server_of
    from snac_tok.streaming.pairing import without_trial_warning

    with without_trial_warning():
        tokenizer = SnacTokenizer.from_pretrained(model, preset="orpheus")
        codec, vocabulary = tokenizer.codec, tokenizer.vocabulary
        rate = codec.sampling_rate
        frame_seconds = codec.config.frame_length / rate

        async def source(request: SpeechRequest) -> AsyncIterator[list[int]]:
            seed, frames = map(int, request.text.split())
            generator = np.random.default_rng(seed)
            counts = vocabulary.layout.codes_per_frame
            begin = time.monotonic()
            for number in range(frames):
                codes = [generator.integers(codec.codebook_size, size=count) for count in counts]
                ids = vocabulary.encode(codes).tolist()
                await asyncio.sleep(max(0.0, begin + pace * frame_seconds * (number + 1) - time.monotonic()))
                for at in ids:
                    yield [at]

        app = create_app(tokenizer, source=source, limits=Limits(clients=256))
    listener = listening_socket("127.0.0.1", 0)
    started = (listener.getsockname()[1], rate)
    server_of(app, listener, on_start=lambda: connection.send(started)).run(sockets=[listener])


async def ask(client: httpx2.AsyncClient, number: int, *, frames: int, rate: int) -> Heard:
    """Ask for speech and listen to its end."""
    body = {"input": f"{number} {frames}", "response_format": "pcm"}
    begin, first, size = time.monotonic(), 0.0, 0
    async with client.stream("POST", "/v1/audio/speech", json=body) as answer:
        answer.raise_for_status()
        async for part in answer.aiter_bytes():
            first = first or time.monotonic() - begin
            size += len(part)
    return Heard(first, time.monotonic() - begin, size / BYTES_A_SAMPLE / rate)


async def measured(port: int, rate: int, *, clients: int, frames: int, rounds: int) -> list[str]:
    """Return a row: so many clients, each asking again as soon as it has heard all."""
    limits = httpx2.Limits(max_connections=None)
    found: list[Heard] = []

    async def run(client: httpx2.AsyncClient, number: int) -> None:
        for turn in range(rounds):
            heard = await ask(client, number * rounds + turn, frames=frames, rate=rate)
            found.append(heard)

    async with httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", timeout=300, limits=limits, trust_env=False
    ) as client:
        begin = time.monotonic()
        await asyncio.gather(*(run(client, number) for number in range(clients)))
        seconds = time.monotonic() - begin
    firsts = [each.first_sound for each in found]
    return [
        str(clients),
        f"{1000 * statistics.median(firsts):.0f} ms",
        f"{1000 * float(np.quantile(firsts, 0.99)):.0f} ms",
        f"{max(each.whole / each.sound for each in found):.3f}",
        f"{sum(each.sound for each in found) / seconds:.1f}",
    ]


def memory_of(process: int) -> str:
    """Return how much a process holds, where the system says so."""
    path = Path(f"/proc/{process}/statm")
    if not path.exists():
        return "-"
    return f"{int(path.read_text(encoding='ascii').split()[1]) * 4096 / 1e6:.0f} MB"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--clients", default="1,8,32")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--pace", type=float, default=0.0, help="seconds for a second of sound; 0 is at once")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=serve, args=(there, options.model, options.pace), daemon=True)
    server.start()
    port, rate = here.recv()
    assert server.pid is not None
    rows = []
    try:
        # The first request prepares what all share.
        asyncio.run(measured(port, rate, clients=1, frames=4, rounds=1))
        for clients in map(int, options.clients.split(",")):
            row = asyncio.run(
                measured(port, rate, clients=clients, frames=options.frames, rounds=options.rounds)
            )
            rows.append([*row, memory_of(server.pid)])
    finally:
        server.terminate()
        server.join(20)
    print(machine())
    head = ("clients", "first sound, median", "p99", "seconds a second", "sound a second", "memory")
    print(table(head, rows))


if __name__ == "__main__":
    main()
