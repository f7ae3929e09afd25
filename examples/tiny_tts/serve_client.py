"""`snac-tok serve` with the trained model, and a client that asks it to speak as OpenAI's clients do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from snac_tok import Waveform
from snac_tok.errors import GenerationStoppedError
from snac_tok.generation import StreamTiming
from speaking import Speech

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS_TO_ANSWER = 120
BYTES_A_READ = 4096


@contextmanager
def serve(folder: Path, *, codec: str, vocabulary: Path) -> Iterator[str]:
    """Run `snac-tok serve` for a model's folder, and yield its address.

    Args:
        folder: of the language model and its text tokenizer.
        codec: of the ids.
        vocabulary: the file with the ids.

    Raises:
        GenerationStoppedError: the server did not start; what it said.
    """
    command = [sys.executable, "-m", "snac_tok", "serve", "--source", str(folder)]
    command += ["--model", codec, "--preset", str(vocabulary), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        try:
            yield _address(server)
        finally:
            server.terminate()


def _address(server: subprocess.Popen[str]) -> str:
    """Read what a server says until it says where it listens."""
    assert server.stderr is not None
    said = ""
    for said in server.stderr:
        if found := re.search(r"http://\S+:\d+", said):
            return found[0]
    raise GenerationStoppedError(f"the server did not start; it said: {said.strip()}")


def speak(address: str, text: str, *, sampling_rate: int) -> Speech:
    """Say a text by a server's `/v1/audio/speech`, heard while it writes; its ids stay with the server."""
    asked = {"model": "tiny-tts", "input": text, "response_format": "pcm"}
    request = urllib.request.Request(
        f"{address}/v1/audio/speech", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    timing, heard = StreamTiming(), b""
    with urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER) as response:
        while part := response.read1(BYTES_A_READ):
            timing.note(len(part) // 2, sampling_rate=sampling_rate)
            heard += part
    samples = (np.frombuffer(heard, "<i2") / 32_768).astype(np.float32)
    return Speech(ids=None, sound=Waveform(samples=samples[None], sampling_rate=sampling_rate), timing=timing)
