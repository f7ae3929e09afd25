"""The answer that speaks: sound as it comes, or one sentence where none came."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from snac_tok.serving.problems import CutOffError, RefusedError, client_left, client_stalled, refusal_of
from snac_tok.serving.sources import checked_tokens, prompt_of, tokens_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Receive, Scope, Send

    from snac_tok.serving.decoding import Samples
    from snac_tok.serving.live_speech import LiveSpeech
    from snac_tok.serving.service import Service
    from snac_tok.serving.sound_formats import SoundFormat
    from snac_tok.serving.sources import SpeechRequest, TokenSource


class SpeechResponse(Response):
    """Asks the source for tokens and sends their sound.

    The status is decided with the first sound: whatever goes wrong before it is an answer of its own. Later the
    connection is closed without the end that HTTP needs, so no client takes half a speech for a whole one; in a stream
    of events the error is the last event.

    Args:
        service: what the server is made of.
        source: where the tokens come from.
        request: what is spoken.
        sound: writes the samples.
        as_events: whether the sound goes out as server-sent events.
    """

    def __init__(
        self,
        service: Service,
        source: TokenSource,
        request: SpeechRequest,
        sound: SoundFormat,
        *,
        as_events: bool,
    ) -> None:
        super().__init__(media_type="text/event-stream" if as_events else sound.content_type)
        self._service, self._source, self._request = service, source, request
        self._sound, self._as_events = sound, as_events
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak, and close the source when the listener has all, or an answer why not: it may take its time."""
        async with AsyncExitStack() as closing:
            try:
                await self._speak(scope, receive, send, closing)
            except RefusedError as refusal:
                scope["state"]["record"].fail(refusal.code, refusal)
                await scope["state"]["answer"].refuse(refusal, scope, receive)

    async def _speak(self, scope: Scope, receive: Receive, send: Send, closing: AsyncExitStack) -> None:
        visit = scope["state"]["visit"]
        stalled = client_stalled(visit.limits.idle_seconds)
        has_begun = False

        async def sent(data: bytes, *, more: bool = True) -> None:
            nonlocal has_begun
            if not has_begun:
                has_begun = True
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            body = {"type": "http.response.body", "body": data, "more_body": more}
            await visit.moving(send(body), stalled)

        leaving = asyncio.create_task(_left(receive))
        leaving.add_done_callback(lambda task: task.cancelled() or visit.stop(client_left()))
        try:
            async with visit.within(), aclosing(self._parts(scope, closing)) as parts:
                async for part in parts:
                    await sent(part)
            await sent(b"", more=False)
        except Exception as error:
            refusal = refusal_of(error, of_source=True)
            if not has_begun:
                raise refusal from error
            scope["state"]["record"].fail(refusal.code, error)
            if self._as_events and refusal.code not in ("client_left", "client_stalled"):
                await sent(_event(refusal.body), more=False)
        finally:
            leaving.cancel()

    async def _parts(self, scope: Scope, closing: AsyncExitStack) -> AsyncGenerator[bytes, None]:
        record, service, sound = scope["state"]["record"], self._service, self._sound
        async with service.listening(record, prompt=prompt_of(self._source)) as speech:
            async with aclosing(self._sounds(speech, scope, closing)) as sounds:
                async for samples in sounds:
                    data = await asyncio.to_thread(sound.push, samples)
                    if data:
                        yield self._framed(data)
            if rest := await asyncio.to_thread(sound.flush):
                yield self._framed(rest)
            if self._as_events:
                count = speech.num_tokens
                usage = {"input_tokens": 0, "output_tokens": count, "total_tokens": count}
                yield _event({"type": "speech.audio.done", "usage": usage})

    async def _sounds(
        self, speech: LiveSpeech, scope: Scope, closing: AsyncExitStack
    ) -> AsyncGenerator[Samples, None]:
        visit = scope["state"]["visit"]
        silent = RefusedError(
            f"the language model wrote nothing for {visit.limits.idle_seconds:g} seconds.",
            status=504,
            code="source_silent",
        )
        cut_off: CutOffError | None = None
        tokens = tokens_of(self._source, self._request, closing_seconds=visit.limits.idle_seconds)
        pieces = await closing.enter_async_context(tokens)
        while not speech.ended:
            try:
                piece = await visit.moving(anext(pieces), silent)
            except StopAsyncIteration:
                break
            except CutOffError as error:
                cut_off = error
                break
            async for samples in speech.push(checked_tokens(piece)):
                yield samples
            # A source that never waits, and makes no sound, would keep the event loop for itself.
            await asyncio.sleep(0)
        async for samples in speech.finish():
            yield samples
        if cut_off:
            raise cut_off

    def _framed(self, data: bytes) -> bytes:
        if not self._as_events:
            return data
        return _event({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})


def _event(value: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode("utf-8", errors="replace")


async def _left(receive: Receive) -> None:
    """Wait until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
