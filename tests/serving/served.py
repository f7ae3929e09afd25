"""A server in a thread, and how its sound is compared."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import httpx2
import numpy as np
import pytest

from snac_tok.serving import Limits
from snac_tok.serving.server import listening_socket, server_of

# A machine that does other work may stand still for a second.
PATIENT = Limits(idle_seconds=10.0, total_seconds=30.0, grace_seconds=1.0)
# For tests of what stands still, which are soon over then.
QUICK = Limits(idle_seconds=0.4, total_seconds=20.0, grace_seconds=1.0)


class Running:
    """A server that runs, and a client of it."""

    def __init__(self, app, server, port):
        self.app, self.server = app, server
        self.url, self.socket_url = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}/stream"
        self.port = port
        self.client = httpx2.Client(base_url=self.url, timeout=30.0, trust_env=False)

    def speak(self, text, **fields):
        """Ask for speech."""
        return self.client.post("/v1/audio/speech", json={"model": "m", "input": text, **fields})

    def cut_off(self, text, *, code="cut_off", **fields):
        """Ask for speech; return the bytes of an answer that breaks off, where the model reached its limit or else."""
        body = {"model": "m", "input": text, "response_format": "pcm"} | fields
        parts: list[bytes] = []
        with self.client.stream("POST", "/v1/audio/speech", json=body) as answer:
            assert answer.status_code == 200
            with pytest.raises(httpx2.RemoteProtocolError):
                parts.extend(answer.iter_bytes())
        eventually(lambda: self.metric(f'snac_tok_errors_total{{reason="{code}"}}') > 0, wanted=True)
        return b"".join(parts)

    def error(self, response):
        """Status, code and sentence of an answer that is an error: one sentence, in OpenAI's shape."""
        body = response.json()
        assert set(body) == {"error"}
        assert set(body["error"]) == {"message", "type", "code"}
        assert "Traceback" not in response.text
        return response.status_code, body["error"]["code"], body["error"]["message"]

    def metric(self, line):
        """The value of a line of /metrics, 0 where it is not there."""
        lines = (found.rpartition(" ") for found in self.client.get("/metrics").text.splitlines())
        return next((float(value) for name, _, value in lines if name == line), 0.0)


@contextmanager
def running(app):
    """Serve an application until the block ends."""
    listener = listening_socket("127.0.0.1", 0)
    started = threading.Event()
    server = server_of(app, listener, on_start=started.set)
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    thread.start()
    assert started.wait(20)
    found = Running(app, server, listener.getsockname()[1])
    try:
        yield found
    finally:
        found.client.close()
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def as_integers(samples):
    """Samples of ±1 as the 16-bit integers that are sent."""
    return np.clip(np.round(samples * 32768.0), -32768, 32767).astype(np.int64)


def heard(data):
    """Bytes of 16-bit PCM as integers."""
    return np.frombuffer(data, "<i2").astype(np.int64)


def same(found, wanted):
    """Compare 16-bit sound: a batch may round the last bit otherwise."""
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max(initial=0) <= 1


def eventually(found, wanted, seconds=5.0):
    """Wait until a function returns a value: what a server does after its last byte."""
    deadline = time.monotonic() + seconds
    while (last := found()) != wanted and time.monotonic() < deadline:
        time.sleep(0.01)
    assert last == wanted
