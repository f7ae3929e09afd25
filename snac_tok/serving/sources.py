"""Where a server's tokens come from: anything that turns a request into a stream of them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from snac_tok.errors import ServingError, TokenError, first_line
from snac_tok.prompts import PromptFormat
from snac_tok.serving.problems import RefusedError
from snac_tok.serving.request_log import SERVER, place_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import numpy.typing as npt

    # Ids, one or several, or a piece of text.
    Tokens: TypeAlias = "int | str | list[int] | npt.NDArray[np.integer[Any]]"

# How long a source may take to close when the server stops.
_LAST_CLOSE_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class SpeechRequest:
    """What a client wants to hear.

    Attributes:
        text: what is spoken.
        voice: a speaker's name or a description, as the model's prompts have it; None for none.
        model: the name that the client gave, "" for none.
    """

    text: str
    voice: str | None = None
    model: str = ""


class TokenSource(Protocol):
    """Tokens for a request: an asynchronous generator function, or an object that is called like one.

    It is closed (`aclose`) when its tokens are not needed any more, within the `idle_seconds` of `Limits`; a request
    keeps its place until then. What it raises reaches the client if it is one of our exceptions; what it raises while
    it is closed is logged. It may have two methods more: `async def ready()`, which raises where it cannot serve, and
    `async def aclose()`, called when the server stops and given five seconds. It may have an attribute `prompt`, a
    `PromptFormat` whose ids stand around the speech; else they are those that the families use.

    Example:
        >>> from snac_tok import SnacTokenizer
        >>> from snac_tok.serving import create_app
        >>> async def source(request):
        ...     async for ids in my_model.speak(request.text, request.voice):
        ...         yield ids
        >>> app = create_app(SnacTokenizer.from_pretrained("tiny", preset="orpheus"), source=source)
    """

    def __call__(self, request: SpeechRequest, /) -> AsyncIterator[Tokens]:
        """Yield ids, one or several at a time, or text, cut anywhere; text around the speech is left out."""


@asynccontextmanager
async def tokens_of(
    source: TokenSource, request: SpeechRequest, *, closing_seconds: float
) -> AsyncIterator[AsyncIterator[Tokens]]:
    """Open a source for a request, and close it whatever happens, within some seconds."""
    tokens = source(request)
    try:
        yield aiter(tokens)
    finally:
        # An iterator that is no generator need not have it.
        if hasattr(tokens, "aclose"):
            await _closed(tokens.aclose, "the tokens of a request", closing_seconds)


def checked_tokens(piece: Any) -> str | npt.NDArray[np.integer[Any]]:
    """Return what a source yielded: text as it is, ids as an array (n,).

    Raises:
        RefusedError: it is neither.
    """
    if isinstance(piece, str):
        return piece
    try:
        ids = np.atleast_1d(np.asarray(piece.cpu() if hasattr(piece, "cpu") else piece))
        are_ids = ids.ndim == 1 and (ids.dtype.kind in "iu" or not len(ids))
    except (ValueError, TypeError, RuntimeError):  # lists of unequal lengths; a tensor that has a gradient
        are_ids = False
    if not are_ids:
        raise RefusedError(
            f"the source yielded what is neither ids nor text ({type(piece).__name__}); it must yield integer ids, one "
            "or a line of them, or str.",
            status=502,
            code="bad_speech",
        )
    return ids


async def check_ready(source: TokenSource | None, *, seconds: float) -> None:
    """Ask a source whether it can serve, if it can be asked.

    Raises:
        RefusedError: it does not say so within these seconds.
    """
    ask = getattr(source, "ready", None)
    if ask is None:
        return
    try:
        async with asyncio.timeout(seconds) as clock:
            await ask()
    except TimeoutError as error:
        if not clock.expired():
            raise
        raise RefusedError(
            f"the language model did not say within {seconds:g} seconds whether it is ready.",
            status=504,
            code="source_silent",
        ) from error


async def close_source(source: TokenSource | None) -> None:
    """Close a source at the server's end, which it may neither prevent nor delay for long."""
    close = getattr(source, "aclose", None)
    if close is not None:
        await _closed(close, "the source", _LAST_CLOSE_SECONDS)


async def _closed(close: Callable[[], Awaitable[Any]], what: str, seconds: float) -> None:
    """Close something of a source's; a failure is its own, and one line of the log."""
    try:
        # The second is for what hangs once more when it is cancelled.
        async with asyncio.timeout(2 * seconds), asyncio.timeout(seconds) as clock:
            await close()
    except Exception as error:  # noqa: BLE001 - it is somebody else's code, and nobody waits for its answer
        reason = f"it took longer than {seconds:g} seconds" if clock.expired() else place_of(error)
        SERVER.warning("%s could not be closed: %s", what, reason)


def prompt_of(source: TokenSource) -> PromptFormat | None:
    """Return the format whose ids stand around a source's speech; None if it does not say."""
    prompt = getattr(source, "prompt", None)
    return prompt if isinstance(prompt, PromptFormat) else None


def prompt_ids(prompt: PromptFormat, text_ids: list[int]) -> list[int]:
    """Return what a model is given to speak a text.

    Raises:
        RefusedError: the text has tokens of speech in it.
    """
    try:
        ids: list[int] = prompt.inference(text_ids).tolist()
    except TokenError as error:
        raise RefusedError(str(error), status=400, code="unusable_text") from error
    return ids


def load_text_tokenizer(folder: str) -> Callable[[str], list[int]]:
    """Return how the text tokenizer in a folder, or of a hub's repository, turns text into ids, specials left out.

    Raises:
        ServingError: there is none.
    """
    from snac_tok.audio.optional import import_optional

    transformers = import_optional("transformers", extra="hf", purpose="a text tokenizer")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    except Exception as error:
        raise ServingError(
            f"no text tokenizer can be loaded from {folder}: {first_line(error)} Name the folder of the language model "
            "with its tokenizer's files."
        ) from error

    def ids_of(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    return ids_of
