"""32 clients at once, some of whom stall, vanish or want everything: nobody is starved, mixed up or remembered."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import random
import statistics
import time

import httpx2
import pytest
import torch
from served import eventually, heard, same
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from snac_tok.serving import Limits
from snac_tok.serving.problems import RefusedError

CLIENTS = 32
LENGTHS = (2, 3, 4, 6)
LIMITS = Limits(clients=CLIENTS, idle_seconds=20, grace_seconds=0.3)


class Client:
    """One of them, with a seed of its own; it notes what it heard."""

    def __init__(self, server, number, speech):
        self.server, self.speech = server, speech
        self.random = random.Random(number)
        self.seed, self.frames = number % 8, self.random.choice(LENGTHS)
        self.is_killed = self.random.random() < 0.25
        self.sound, self.first, self.code = b"", None, None

    async def run(self):
        """Speak over a WebSocket, or ask for speech."""
        begin = time.monotonic()
        with_socket = self.random.random() < 0.7
        sounds = self.stream() if with_socket else self.ask()
        try:
            async for sound in sounds:
                self.first = self.first or time.monotonic() - begin
                self.sound += sound
                if self.is_killed and self.random.random() < 0.5:
                    return
                await self.stall()
        finally:
            await sounds.aclose()

    async def stall(self):
        """Do nothing, now and then."""
        if self.random.random() < 0.2:
            await asyncio.sleep(self.random.uniform(0, 0.1))

    async def ask(self):
        """Sound over HTTP."""
        body = {"input": f"{self.seed} {self.frames}", "response_format": "pcm"}
        async with (
            httpx2.AsyncClient(timeout=60, trust_env=False) as client,
            client.stream("POST", f"{self.server.url}/v1/audio/speech", json=body) as answer,
        ):
            self.code = answer.status_code
            async for part in answer.aiter_bytes():
                yield part

    async def stream(self):
        """Sound over a WebSocket, sending and receiving side by side."""
        async with connect(self.server.socket_url, proxy=None, close_timeout=0.5) as socket:
            sending = asyncio.create_task(self.send(socket))
            try:
                async for message in socket:
                    if isinstance(message, bytes):
                        yield message
                self.code = 200 if socket.close_code == 1000 else socket.close_code
            except ConnectionClosed as closed:
                self.code = closed.rcvd.code if closed.rcvd else None
            finally:
                sending.cancel()

    async def send(self, socket):
        """Ids in pieces of any size."""
        ids = self.speech(self.seed, self.frames)
        at = 0
        while at < len(ids):
            size = self.random.choice((1, 5, 7, 30))
            await socket.send(json.dumps({"ids": ids[at : at + size]}))
            at += size
            await self.stall()
        await socket.send('{"end": true}')


async def _wave(server, speech, number):
    clients = [Client(server, CLIENTS * number + each, speech) for each in range(CLIENTS)]
    async with asyncio.timeout(60):
        await asyncio.gather(*(client.run() for client in clients))
    return clients


def _num_tensors():
    """How many tensors there are: the streams' states, and what belongs to the codec."""
    gc.collect()
    # Some objects warn when they are asked for their class.
    return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())


async def _has_all_its_room(gate):
    """Whether so many could come as if nobody had been there."""
    with contextlib.ExitStack() as visits, contextlib.suppress(RefusedError):
        for _ in range(gate.limits.clients):
            visits.enter_context(gate.admitted())
        return True
    return False


@pytest.mark.slow
def test_32_clients_some_of_whom_stall_and_vanish(serve, talking, speech, whole):
    """Each hears its own speech, soon; after them nothing is left, and the next wave needs no more memory."""
    server = serve(talking, limits=LIMITS)
    service = server.app.state.service
    tensors, num_killed = [], 0
    for number in range(2):
        clients = asyncio.run(_wave(server, speech, number))
        for client in clients:
            wanted = whole(client.seed, client.frames)
            found = heard(client.sound[: len(client.sound) // 2 * 2])
            if client.is_killed:
                num_killed += found.size < wanted.size
                wanted = wanted[: found.size]
            else:
                assert client.code == 200
            same(found, wanted)
        waits = [client.first for client in clients if client.first is not None]
        assert max(waits) < 5 + 10 * statistics.median(waits)
        eventually(
            lambda: (asyncio.run(_has_all_its_room(service.gate)), len(service.decoder._streams)), (True, 0)
        )
        tensors.append(_num_tensors())
    assert num_killed >= 5
    assert len(set(tensors)) == 1
    assert server.metric("snac_tok_streams_open") == 0
    # Steps were shared: fewer than one for each frame of each stream.
    assert server.metric("snac_tok_step_streams_sum") > 1.5 * server.metric("snac_tok_step_streams_count")


@pytest.mark.slow
def test_one_who_wants_everything_does_not_keep_the_others_waiting(serve, speech, whole):
    """A whole speech in one message takes turns with those who talk in frames."""
    server = serve(limits=Limits())

    async def greedy():
        async with connect(server.socket_url, proxy=None, close_timeout=0.5) as socket:
            await socket.send(json.dumps({"ids": speech(9, 200), "end": True}))
            sound = b"".join([message async for message in socket if isinstance(message, bytes)])
        return sound, time.monotonic()

    async def modest(seed):
        client = Client(server, seed, speech)
        client.is_killed = False
        async for sound in client.stream():
            client.sound += sound
        same(heard(client.sound), whole(client.seed, client.frames))
        return time.monotonic()

    async def all_of_them():
        first = asyncio.create_task(greedy())
        await asyncio.sleep(0.1)
        ends = await asyncio.gather(*(modest(seed) for seed in range(4)))
        sound, end = await first
        assert max(ends) < end
        return sound

    same(heard(asyncio.run(all_of_them())), whole(9, 200))


@pytest.mark.slow
def test_it_stops_under_load(serve, talking, speech):
    """Everybody hears the rest, or why not; nobody waits longer than the grace time and a moment."""
    server = serve(talking, limits=LIMITS)

    async def load():
        clients = [Client(server, each, speech) for each in range(CLIENTS)]
        for client in clients:
            client.is_killed, client.frames = False, 60
        tasks = [asyncio.create_task(client.run()) for client in clients]
        while not any(client.sound for client in clients):  # noqa: ASYNC110 - tasks of its own fill it
            await asyncio.sleep(0.01)
        server.server.should_exit = True
        begin = time.monotonic()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
        return time.monotonic() - begin, [client.code for client in clients]

    seconds, codes = asyncio.run(load())
    assert seconds < 6
    # Done; told over a WebSocket; or an answer over HTTP that was cut, or refused.
    assert {1001, None, 200, 503, 1013} >= set(codes)
    assert 1001 in codes
    assert asyncio.run(server.app.state.service.gate.emptied()) == 0  # nobody is left who would be sent away
