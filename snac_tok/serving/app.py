"""The application: its routes, and what they share.

POST /v1/audio/speech   a text to sound, in OpenAI's shape
WS   /stream            tokens to sound
POST /encode, /decode   a sound file to ids, and back
GET  /health, /ready    whether it runs; whether it can serve
GET  /metrics           figures for Prometheus
"""

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse

from snac_tok import __version__
from snac_tok.errors import ServingError, did_you_mean
from snac_tok.serving.bodies import DecodeBody, EncodeQuery, NoQuery, SpeechBody, faults_of, read_json
from snac_tok.serving.guard import LOOPBACK_ORIGINS, Guard, as_origins
from snac_tok.serving.limits import Limits
from snac_tok.serving.problems import RefusedError, not_found, refusal_of, shutting_down
from snac_tok.serving.request_log import PATHS, SOCKET_PATH, path_of
from snac_tok.serving.service import Service
from snac_tok.serving.sound_formats import sound_format
from snac_tok.serving.sources import SpeechRequest, TokenSource, check_ready
from snac_tok.serving.speech_response import SpeechResponse
from snac_tok.serving.stream_route import stream
from snac_tok.serving.whole import decoded, encoded
from snac_tok.streaming.repair_report import OnError
from snac_tok.tokenizer import SnacTokenizer
from snac_tok.wording import counted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence


def create_app(
    tokenizer: SnacTokenizer,
    *,
    source: TokenSource | None = None,
    limits: Limits | None = None,
    on_error: OnError = "strict",
    api_key: str | None = None,
    allow_origins: "Sequence[str]" = (),
) -> FastAPI:
    """Return the server as an ASGI application, for `run_server` or any other ASGI server.

    Args:
        tokenizer: the codec, and the id table of the language model.
        source: where tokens come from; None serves all but /v1/audio/speech.
        limits: what clients may ask for; None is `Limits()`.
        on_error: what happens to ids that are out of place in streams, as in `StreamDecoder`.
        api_key: what clients must send as a bearer token, except for /health and /ready; None lets all in.
        allow_origins: web pages whose scripts may ask, such as "https://example.org"; those of this machine may.

    Raises:
        TokenError: the vocabulary has parallel rows, which are no stream.
        ServingError: an API key that is empty, or "*" among the pages.

    Example:
        >>> app = create_app(SnacTokenizer.from_pretrained("tiny", preset="orpheus"))
        >>> app.title
        'snac-tok serve'
    """
    if api_key is not None and not api_key.strip():
        raise ServingError("the API key is empty; give one, or none at all.")
    service = Service(tokenizer, source, limits or Limits(), on_error=on_error)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> "AsyncIterator[None]":
        await service.start()
        yield
        await service.stop()

    origins = as_origins(allow_origins)
    cors = Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_origin_regex=LOOPBACK_ORIGINS,
        allow_methods=["*"],
        allow_headers=["*"],
    )
    guard = Middleware(
        Guard, gate=service.gate, metrics=service.metrics, api_key=api_key, allow_origins=origins
    )
    app = FastAPI(
        title="snac-tok serve",
        version=__version__,
        lifespan=lifespan,
        middleware=[cors, guard],
        docs_url=None,  # its page fetches scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    app.router.route_class = _Route
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _not_served)
    app.add_exception_handler(RefusedError, _refused)
    _add_speaking(app, service)
    _add_whole(app, service)
    _add_status(app, service)
    return app


class _Request(Request):
    async def json(self) -> Any:
        return read_json(await self.body())


class _Route(APIRoute):
    """A route whose body is read by our strict reader."""

    def get_route_handler(self) -> "Callable[[Request], Coroutine[Any, Any, Response]]":
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(_Request(request.scope, request.receive))

        return strictly


def _add_speaking(app: FastAPI, service: Service) -> None:
    @app.post("/v1/audio/speech", response_class=Response)
    async def speech(body: SpeechBody, _: Annotated[NoQuery, Query()]) -> Response:
        """Speak a text."""
        if service.source is None:
            raise _no_source()
        request = _checked(body, service.limits)
        sound = sound_format(body.response_format, service.decoder.sampling_rate)
        return SpeechResponse(service, service.source, request, sound, as_events=body.stream_format == "sse")

    @app.websocket(SOCKET_PATH)
    async def stream_tokens(socket: WebSocket) -> None:
        """Decode the tokens that a client sends."""
        await stream(service, socket)


def _add_whole(app: FastAPI, service: Service) -> None:
    @app.post("/encode")
    async def encode(request: Request, query: Annotated[EncodeQuery, Query()]) -> JSONResponse:
        """Turn a sound file, the body, into ids, or into the codes of each level."""
        sound = await request.body()
        async with request.state.visit.within():
            work = partial(encoded, as_codes=query.codes, allow_truncated=query.allow_truncated)
            found = await service.whole(work, service.tokenizer, service.limits, sound, query.preset)
        return JSONResponse(found)

    @app.post("/decode", response_class=Response)
    async def decode(request: Request, body: DecodeBody, _: Annotated[NoQuery, Query()]) -> Response:
        """Turn ids, or codes, into a sound file."""
        async with request.state.visit.within():
            sound = await service.whole(decoded, service.tokenizer, service.limits, body)
        return Response(sound, media_type=f"audio/{body.response_format}")


def _add_status(app: FastAPI, service: Service) -> None:
    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Say that the process answers."""
        return {"status": "ok", "version": __version__}

    @app.get("/ready")
    async def ready() -> dict[str, Any]:
        """Say whether new requests are served."""
        if service.gate.is_closed:
            raise shutting_down()
        if not service.decoder.is_running:
            raise RefusedError("the decoder does not run.", status=503, code="internal_error")
        await check_ready(service.source, seconds=service.limits.idle_seconds)
        return {
            "status": "ready",
            "preset": service.decoder.vocabulary.name,
            "sampling_rate": service.decoder.sampling_rate,
        }

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Return figures for Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _no_source() -> RefusedError:
    return RefusedError(
        "this server was started without a language model; name one with --source, or send tokens to /stream.",
        status=501,
        code="no_source",
    )


def _checked(body: SpeechBody, limits: Limits) -> SpeechRequest:
    """Return what is spoken.

    Raises:
        RefusedError: nothing, too much, or what no SNAC model can be asked for.
    """
    text = body.input.strip()
    faults = (
        (
            not _is_unicode(f"{text}{body.voice}{body.model}"),
            "half a surrogate pair is no text; send whole characters.",
        ),
        (not text, "input is empty; send the text to speak."),
        (
            len(text) > limits.text_characters,
            f"input has {counted(len(text), 'character')}; {limits.text_characters:,} at most are spoken at once.",
        ),
        (
            body.speed != 1,
            f"speed is {body.speed:g}; these models speak at their own: leave it out, or send 1.",
        ),
        (bool(body.instructions), "instructions are not understood by these models; leave them out."),
    )
    for is_wrong, sentence in faults:
        if is_wrong:
            raise RefusedError(sentence, status=400, code="invalid_request")
    return SpeechRequest(text=text, voice=body.voice or None, model=body.model)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


async def _refused(request: Request, error: Exception) -> Response:
    refusal = refusal_of(error)
    request.state.record.fail(refusal.code, error)
    return _response(refusal)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await _refused(request, faults_of(error.errors()))


async def _not_served(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = path_of(request.scope)
    if error.status_code == 404:  # noqa: PLR2004
        return await _refused(request, _nothing_at(path))
    if error.status_code == 405:  # noqa: PLR2004
        sentence = f"{path} does not take {request.method}; see /openapi.json."
        return await _refused(request, RefusedError(sentence, status=405, code="method_not_allowed"))
    # FastAPI's answer to any error while a body is read has the error as its cause.
    return await _refused(request, error.__cause__ if isinstance(error.__cause__, Exception) else error)


def _nothing_at(path: str) -> RefusedError:
    if path == SOCKET_PATH:
        return not_found(f"{path} is a WebSocket; connect with ws://, and let a proxy pass `Upgrade` on.")
    return not_found(f"nothing is served at {path[:80]!r}.{did_you_mean(path, PATHS)}")


def _response(refusal: RefusedError) -> Response:
    headers = {name.decode(): value.decode() for name, value in refusal.headers}
    return Response(refusal.content, status_code=refusal.status, headers=headers)
