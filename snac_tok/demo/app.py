"""The application: the page, and the address that pasted tokens are heard at. Nothing is loaded from elsewhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from snac_tok.audio.optional import import_optional
from snac_tok.demo.handlers import Handlers
from snac_tok.demo.page import build_page
from snac_tok.demo.speech import KeptSpeech
from snac_tok.demo.style import CSS, FONTS, FONTS_OF_IDS
from snac_tok.demo.uploads import UploadsAlone
from snac_tok.errors import ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from snac_tok.tokenizer import SnacTokenizer

# Sound of a minute at 192 kHz and two channels.
_MOST_BYTES = 50_000_000
# What a browser may load: this server's files, and what the page holds itself.
_OWN_ALONE = b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"


def create_demo(
    tokenizers: Mapping[str, SnacTokenizer],
    *,
    max_seconds: float = 30,
    say_error: Callable[[str], str] = str,
) -> FastAPI:
    """Return the page as an ASGI application, for any ASGI server. It needs the extra `demo`.

    Args:
        tokenizers: codecs by name; the first makes the tokens, and the others are compared with it.
        max_seconds: the longest recording, and the longest speech of pasted tokens.
        say_error: turns the sentence of an error of the library into what a visitor reads.

    Raises:
        ServingError: no tokenizer.
        MissingDependencyError: gradio is not installed.

    Example:
        >>> from snac_tok import SnacTokenizer
        >>> app = create_demo({"tiny": SnacTokenizer.from_pretrained("tiny")})
        >>> app.title
        'snac-tok demo'
    """
    if not tokenizers:
        raise ServingError("there is no codec to show; name one at least.")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # gradio reads it when it is imported
    gradio = import_optional("gradio", extra="demo", purpose="the page")
    from fastapi import FastAPI

    kept = KeptSpeech()
    app = FastAPI(title="snac-tok demo", openapi_url=None)
    _add_speech(app, kept)
    handlers = Handlers(tokenizers, kept, max_seconds=max_seconds, say_error=say_error)
    page = build_page(gradio, handlers)
    # What gradio's own launch() does: until then it takes any file of this machine for an uploaded one.
    page.has_launched = True
    gradio.mount_gradio_app(
        app,
        page,
        path="/",
        theme=gradio.themes.Base(
            primary_hue="blue", neutral_hue="gray", font=list(FONTS), font_mono=list(FONTS_OF_IDS)
        ),
        css=CSS,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        show_error=False,
        max_file_size=_MOST_BYTES,
    )
    app.add_middleware(UploadsAlone, folder=gradio.utils.get_upload_folder(), most_bytes=_MOST_BYTES)
    app.add_middleware(_OwnAlone)
    return app


def _add_speech(app: FastAPI, kept: KeptSpeech) -> None:
    """Serve the speech that is kept, each under its key."""
    from fastapi import Response
    from fastapi.responses import StreamingResponse

    def speech(key: str) -> Response:
        found = kept.find(key)
        if found is None:
            return Response("This speech is not kept any more; play it again on the page.", status_code=404)
        headers = {"Content-Length": str(found.num_bytes), "Cache-Control": "no-store"}
        return StreamingResponse(found.wav(), media_type="audio/wav", headers=headers)

    # Not a decorator: FastAPI would look for the return type's name in this module.
    app.add_api_route("/speech/{key}.wav", speech, response_model=None)


class _OwnAlone:
    """Has browsers load nothing from other servers, whatever gradio's page asks for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: list[Any] = list(message.get("headers", []))
                message["headers"] = [*headers, (b"content-security-policy", _OWN_ALONE)]
            await send(message)

        await self._app(scope, receive, guarded)
