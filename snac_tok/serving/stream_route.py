"""`/stream`: tokens in, sound out, over a WebSocket.

    client                               server
            <-- {"sampling_rate": 24000, "encoding": "pcm16", "channels": 1, "preset": "orpheus"}
    {"ids": [128257, 128266, …]} -->
            <-- bytes: 16-bit samples, as soon as they are final
    {"text": "<custom_token_10>…"} -->
    {"end": true} -->
            <-- bytes, {"done": true, "seconds": 1.02, "left_out": null}, close 1000

What goes wrong is {"error": …} and a close code: 1007 for what the client sent, 1008 for standing still, 1009 for too
much, 1001 where the server stops, 1013 where it is full, 1011 for the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from snac_tok.generation import pcm16
from snac_tok.serving.bodies import StreamMessage, faults_of, read_json
from snac_tok.serving.problems import RefusedError, client_left, client_stalled, refusal_of
from snac_tok.wording import shortened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Message

    from snac_tok.serving.decoding import Samples
    from snac_tok.serving.gate import Visit
    from snac_tok.serving.live_speech import LiveSpeech
    from snac_tok.serving.service import Service

_NORMAL = 1000


async def stream(service: Service, socket: WebSocket) -> None:
    """Serve one WebSocket to its end."""
    visit: Visit = socket.state.visit
    await socket.accept()
    try:
        _check_query(socket)
        async with visit.within(), service.listening(socket.state.record) as speech:
            await socket.send_json(
                {
                    "sampling_rate": service.decoder.sampling_rate,
                    "encoding": "pcm16",
                    "channels": 1,
                    "preset": service.decoder.vocabulary.name,
                }
            )
            async for sound in _sounds(socket, speech, visit):
                await visit.moving(socket.send_bytes(pcm16(sound)), client_stalled(visit.limits.idle_seconds))
            seconds = round(speech.timing.audio_seconds, 4)
            await socket.send_json({"done": True, "seconds": seconds, "left_out": speech.left_out})
        await socket.close(_NORMAL)
    except WebSocketDisconnect as error:
        socket.state.record.fail(client_left().code, error)
    except Exception as error:  # noqa: BLE001 - the client is told
        refusal = refusal_of(error)
        socket.state.record.fail(refusal.code, error)
        await _say(socket, refusal, visit)


def _check_query(socket: WebSocket) -> None:
    if socket.query_params:
        name = shortened(next(iter(socket.query_params)))
        raise RefusedError(
            f"{name} is no field of this request; /stream takes none, its preset is the server's.",
            status=400,
            code="invalid_request",
        )


async def _sounds(socket: WebSocket, speech: LiveSpeech, visit: Visit) -> AsyncIterator[Samples]:
    while not speech.ended:
        message = _message(await visit.moving(socket.receive(), _silent(visit)), visit)
        for piece in (message.ids, message.text):
            if piece:
                async for sound in speech.push(piece):
                    yield sound
        if message.end:
            break
    async for sound in speech.finish():
        yield sound


def _message(received: Message, visit: Visit) -> StreamMessage:
    if received["type"] == "websocket.disconnect":
        raise client_left()
    text = received.get("text")
    if text is None:
        raise RefusedError("a message of bytes came; send JSON as text.", status=400, code="invalid_request")
    if len(text) > visit.limits.json_bytes:
        raise RefusedError(
            f"a message has more than {visit.limits.json_bytes:,} bytes; send less at once.",
            status=413,
            code="body_too_large",
        )
    try:
        message = StreamMessage.model_validate(read_json(text, what="message"))
    except ValidationError as error:
        raise faults_of(error.errors(), what="message") from error
    if message.ids is None and message.text is None and not message.end:
        raise RefusedError(
            'a message is {"ids": […]}, {"text": "…"} or {"end": true}.', status=400, code="invalid_request"
        )
    return message


async def _say(socket: WebSocket, refusal: RefusedError, visit: Visit) -> None:
    """Send the last word, to a client that may not read it."""
    if refusal.code == "client_stalled" or socket.application_state is not WebSocketState.CONNECTED:
        return
    try:
        await visit.moving(socket.send_json(refusal.body), refusal)
        await visit.moving(socket.close(refusal.close_code), refusal)
    except (RefusedError, WebSocketDisconnect, RuntimeError):
        return


def _silent(visit: Visit) -> RefusedError:
    return RefusedError(
        f"the client sent nothing for {visit.limits.idle_seconds:g} seconds.", status=408, code="idle"
    )
