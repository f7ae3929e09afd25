"""A language model behind an HTTP server: vLLM, SGLang, llama.cpp, or any with OpenAI's completions.

                vLLM                  SGLang              llama.cpp                 openai
    path        /v1/completions       /v1/completions     /completion               /v1/completions
    prompt      ids                   ids                 ids                       ids
    grammar     structured_outputs    ebnf                grammar (over the text)   none
    answer      ids                   ids                 text, ids without grammar what comes

A prompt is always ids: a server that is given text puts a second start of text in front of it.
"""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import httpx2

from snac_tok.errors import ServingError, TokenError, first_line
from snac_tok.generation import ResponseReader
from snac_tok.generation.response_fields import error_in
from snac_tok.prompts import prompt_format
from snac_tok.serving.problems import CutOffError, RefusedError
from snac_tok.serving.sources import prompt_ids
from snac_tok.wording import shortened

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

    from snac_tok.frames import Vocabulary
    from snac_tok.frames.grammar import GrammarForm
    from snac_tok.prompts import PromptFormat
    from snac_tok.prompts.prompt_format import Prompt
    from snac_tok.serving.sources import SpeechRequest, Tokens

Engine: TypeAlias = Literal["vllm", "sglang", "llama.cpp", "openai"]
# A minute of Orpheus has about 5,000 tokens.
MAX_TOKENS = 4_096
_CONNECT_SECONDS = 10.0
_FIRST_ERROR = 400
# How much of an answer that is an error is read.
_LONGEST_ERROR = 1 << 16


class CompletionsSource:
    """Asks a server for the tokens of each request.

    Args:
        url: of the server, such as "http://127.0.0.1:8080".
        vocabulary: whose ids the model writes.
        engine: which server it is; "openai" asks for nothing but what all have.
        model: the model's name there; None hands on the name that the client gave.
        prompt: as in `prompt_format`; None is the vocabulary's own.
        text_ids: turns a text into the model's ids without special ones; None asks the server (`/tokenize`).
        max_tokens: the most tokens of one answer.
        sampling: more fields of the request, such as {"temperature": 0.6}; they go before ours.
        use_grammar: whether the server holds the model to whole frames.
        api_key: sent as a bearer token.
        transport: how requests are sent; for tests.

    Attributes:
        prompt: the `PromptFormat`; its ids around speech are in the grammar, and end the answer.

    Raises:
        ServingError: no such engine, or an address that is none.
        LayoutError: the vocabulary has no prompt of this name, or no grammar.

    Example:
        >>> from snac_tok import preset
        >>> source = CompletionsSource("http://127.0.0.1:8080", preset("orpheus"), engine="llama.cpp")
    """

    def __init__(
        self,
        url: str,
        vocabulary: Vocabulary,
        *,
        engine: Engine = "openai",
        model: str | None = None,
        prompt: Prompt | None = None,
        text_ids: Callable[[str], list[int]] | None = None,
        max_tokens: int = MAX_TOKENS,
        sampling: Mapping[str, Any] | None = None,
        use_grammar: bool = True,
        api_key: str | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        if engine not in get_args(Engine):
            raise ServingError(f"engine is {engine!r}; there are {', '.join(get_args(Engine))}.")
        if not url.startswith(("http://", "https://")):
            raise ServingError(f"{url!r} is no address of a server; it begins with http:// or https://.")
        self.url = url.rstrip("/").removesuffix("/v1")
        self._engine, self._model = engine, model
        self.prompt = prompt_format(vocabulary, prompt)
        self._text_ids = text_ids
        self._fixed = _fields(self.prompt, engine, use_grammar=use_grammar, max_tokens=max_tokens) | dict(
            sampling or {}
        )
        # Spelled letter by letter, a token is one in the text alone: there the grammar holds the text.
        self._reads_text = engine == "llama.cpp" and use_grammar
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            limits=httpx2.Limits(max_connections=None),
            transport=transport,
        )

    async def __call__(self, request: SpeechRequest) -> AsyncIterator[Tokens]:
        """Yield the tokens of a request's speech.

        Raises:
            RefusedError: the server cannot be reached, answers with an error, breaks off, or ends the answer at its
                limit of tokens.
        """
        text = self.prompt.with_voice(request.text, request.voice)
        ids = self._text_ids(text) if self._text_ids else await self._tokenized(text, request)
        body = self._named(request) | {"prompt": prompt_ids(self.prompt, ids), "stream": True} | self._fixed
        path = "/completion" if self._engine == "llama.cpp" else "/v1/completions"
        try:
            async with self._client.stream("POST", self.url + path, json=body) as response:
                await self._check(response)
                async with aclosing(self._tokens(response)) as tokens:
                    async for piece in tokens:
                        yield piece
        except httpx2.ConnectError as error:
            raise self._unreachable(error) from error
        except httpx2.HTTPError as error:
            raise _broken(f"it broke off ({first_line(error)})") from error

    async def ready(self) -> None:
        """Ask whether the server is there.

        Raises:
            RefusedError: it is not.
        """
        try:
            response = await self._client.get(f"{self.url}/health", timeout=2.0)
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from error
        # 404: not every server has the path.
        if response.status_code >= 500:  # noqa: PLR2004
            raise _broken(f"it answers {response.status_code} at /health")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _named(self, request: SpeechRequest) -> dict[str, Any]:
        name = self._model or request.model
        return {"model": name} if name else {}

    async def _tokenized(self, text: str, request: SpeechRequest) -> list[int]:
        # vLLM and SGLang read `prompt`, llama.cpp `content`.
        body = {"prompt": text, "content": text, "add_special_tokens": False, "add_special": False}
        try:
            response = await self._client.post(f"{self.url}/tokenize", json=self._named(request) | body)
            await self._check(response)
            found = response.json()
        except httpx2.ConnectError as error:
            raise self._unreachable(error) from error
        except (httpx2.HTTPError, ValueError) as error:
            raise _broken(f"it cannot tokenize ({first_line(error)})") from error
        ids = found.get("tokens") if isinstance(found, dict) else None
        if not isinstance(ids, list) or not all(type(number) is int for number in ids):
            raise _broken("its /tokenize answers without tokens; name a text tokenizer's folder")
        return ids

    async def _check(self, response: httpx2.Response) -> None:
        if response.status_code < _FIRST_ERROR:
            return
        raw = b""
        async for chunk in response.aiter_bytes():
            raw += chunk
            if len(raw) > _LONGEST_ERROR:
                break
        text = raw.decode(errors="replace")
        try:
            reason = error_in(json.loads(text)) or text
        except (ValueError, AttributeError, RecursionError):
            reason = text
        raise _broken(f"it answers {response.status_code}, {shortened(' '.join(reason.split()))}")

    async def _tokens(self, response: httpx2.Response) -> AsyncGenerator[Tokens, None]:
        reader = ResponseReader()
        has_ids = False
        try:
            async for chunk in response.aiter_bytes():
                for piece in reader.push(chunk):
                    has_ids |= bool(piece.ids) and not self._reads_text
                    yield (piece.ids or []) if has_ids else piece.text
            known = len(reader.left_out)
            for piece in reader.flush():
                yield (piece.ids or []) if has_ids else piece.text
        except TokenError as error:
            raise RefusedError(str(error), status=502, code="source_error") from error
        if reader.left_out[known:]:
            raise _broken("it broke off in the middle of an event")
        if reader.unfinished:
            raise _broken("it broke off before the end of its answer")
        if reader.reached_limit:
            raise CutOffError

    def _unreachable(self, error: Exception) -> RefusedError:
        return RefusedError(
            f"the language model's server at {self.url} cannot be reached ({first_line(error)}); start it, or name "
            "another address.",
            status=502,
            code="source_unreachable",
        )


def _fields(prompt: PromptFormat, engine: Engine, *, use_grammar: bool, max_tokens: int) -> dict[str, Any]:
    """Return what a kind of server is asked for besides the prompt."""
    vocabulary = prompt.vocabulary
    if engine == "llama.cpp":
        stops = [vocabulary.ids_to_text([end]) for end in _spelled(prompt.after_speech, vocabulary)[:1]]
        form = {"grammar": _grammar(prompt, "gbnf")} if use_grammar else {"return_tokens": True}
        return {"n_predict": max_tokens, "stop": stops, **form}
    fields: dict[str, Any] = {"max_tokens": max_tokens}
    if engine == "openai":
        return fields
    fields |= {
        "return_token_ids": True,
        "stop_token_ids": list(prompt.after_speech),
        "skip_special_tokens": False,
    }
    if use_grammar and engine == "vllm":
        fields["structured_outputs"] = {"grammar": _grammar(prompt, "lark")}
    elif use_grammar:
        fields["ebnf"] = _grammar(prompt, "ebnf")
    return fields


def _grammar(prompt: PromptFormat, form: GrammarForm) -> str:
    before, after = prompt.before_speech, prompt.after_speech
    if form == "gbnf":
        # Ids around speech are optional in a grammar, and the model's own end may stand where the grammar ends.
        before, after = (_spelled(ids, prompt.vocabulary) for ids in (before, after))
    return prompt.vocabulary.grammar(form, before_speech=before, after_speech=after)


def _spelled(ids: tuple[int, ...], vocabulary: Vocabulary) -> tuple[int, ...]:
    """Return those of some ids that have a text form."""
    text = vocabulary.text
    return () if text is None else tuple(number for number in ids if number in text.ids)


def _broken(what: str) -> RefusedError:
    return RefusedError(f"the language model's server failed: {what}.", status=502, code="source_error")
