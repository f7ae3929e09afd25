"""What clients send to `snac-tok serve`: a body each of its routes, a message of its socket."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from fuzzing.code_files import some_ids
from fuzzing.seeds import Kind, Seed, clip
from snac_tok import SnacTokenizer
from snac_tok.errors import SnacTokError
from snac_tok.frames import preset

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_ROUTES = {"speech.json": "/v1/audio/speech", "decode.json": "/decode", "codes.json": "/decode"}
_SERVERS_FAULT = 500
_CLIENTS_FAULT = 400


@cache
def _client() -> Any:
    """Start a server in this process, with a source that speaks whatever it is told."""
    from starlette.testclient import TestClient

    from snac_tok.serving import create_app

    async def source(_request: Any) -> AsyncIterator[int]:
        for number in some_ids():
            yield number

    tokenizer = SnacTokenizer.from_pretrained("tiny", preset="orpheus")
    client = TestClient(create_app(tokenizer, source=source), raise_server_exceptions=False)
    client.__enter__()  # it stays open as long as the process, which is killed
    return client


def _seeds(_folder: Path) -> list[Seed]:
    ids = some_ids()
    text = preset("orpheus").ids_to_text(np.array(ids[9:]))
    bodies = {
        "speech.json": {
            "input": "Good day.",
            "voice": "a",
            "response_format": "wav",
            "stream_format": "audio",
        },
        "decode.json": {"ids": ids, "response_format": "flac"},
        "codes.json": {"codes": [[1, 2], [3, 4, 5, 6], list(range(8))], "response_format": "wav"},
    }
    messages = [{"ids": ids[:9]}, {"text": text[:50]}, {"text": text[50:]}, {"end": True}]
    socket = "\n".join(map(json.dumps, messages)).encode()
    return [
        *(Seed(name=name, content=json.dumps(body).encode()) for name, body in bodies.items()),
        Seed(name="sound.wav", content=clip()),
        Seed(name="socket.jsonl", content=socket),
    ]


def _send(path: Path) -> None:
    content = path.read_bytes()
    if path.suffix == ".jsonl":
        _speak(content.decode(errors="replace").split("\n"))
        return
    route = _ROUTES.get(path.name, "/encode")
    answer = _client().post(route, content=content, headers={"Content-Type": "application/json"})
    if answer.status_code >= _SERVERS_FAULT:
        raise AssertionError(f"{route} answered {answer.status_code}: {answer.text[:300]}")
    if answer.status_code >= _CLIENTS_FAULT:
        raise SnacTokError(answer.json()["error"]["message"])


def _speak(messages: list[str]) -> None:
    """Send messages to the socket; the last word is the server's."""
    with _client().websocket_connect("/stream") as socket:
        for message in messages:
            socket.send_text(message)
        socket.send_text('{"end": true}')
        while True:
            received = socket.receive()
            if received["type"] == "websocket.close":
                raise AssertionError(f"the socket closed with {received} and without a last word")
            word = json.loads(received.get("text") or "{}")
            if word.get("done"):
                return
            if error := word.get("error"):
                if error["code"] == "internal_error":
                    raise AssertionError(f"/stream answered {error}")
                raise SnacTokError(error["message"])


KINDS = {"requests": Kind(seeds=_seeds, read=_send)}
