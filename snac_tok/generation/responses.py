"""What a language model's server answers, as it arrives, to the tokens in it: ids where it sends them, and text.

Read are server-sent events (`data: {…}`), JSON lines, and whole JSON, cut anywhere, of

    OpenAI-compatible servers   choices[].text, choices[].delta.content, choices[].message.content
    vLLM                        the same, and ids in choices[].token_ids (asked for by return_token_ids)
    SGLang                      the same, and ids in choices[].response_token_ids; /generate: text and output_ids,
                                in a stream all of them so far, unless it was started with incremental output
    llama.cpp                   /completion: content, and ids in tokens (asked for by return_tokens)
    Ollama, TGI                 response, message.content; token.id, token.text, generated_text

An answer ends with what says so: a reason (finish_reason, stop_type, done_reason), stop, done, generated_text, a whole
message, [DONE], or another id in JSON lines. Tokens behind it are another answer's. An answer that says in its events
that more comes, and ends without any of these, broke off.

It knows no vocabulary: `SpeechStream` and `read_generated` find the speech in the tokens.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from snac_tok.errors import LostSpeechWarning, TokenError
from snac_tok.generation.answer_numbers import AnswerNumbers
from snac_tok.generation.growth import Growth
from snac_tok.generation.response_fields import (
    as_shown,
    endings_in,
    error_in,
    ids_in,
    is_bookkeeping,
    is_chunk,
    is_list_of_mappings,
    parts_of,
    reached_limit_in,
    response_id_in,
    says_more_comes,
    text_in,
    was_aborted_in,
)
from snac_tok.generation.response_lines import BYTE_ORDER_MARK, ResponseLines
from snac_tok.wording import counted, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from snac_tok.generation.response_fields import Ending

    # Ids, or a piece of text: what `stream_audio` takes.
    Tokens: TypeAlias = list[int] | str

# Fields of server-sent events other than `data`, and a comment.
_OTHER_FIELDS = ("event:", "id:", "retry:", ":")
_EMPTY_FIELDS = ("data", "event", "id", "retry")
EVENT_STARTS = ("data:", "error:", *_OTHER_FIELDS)
_DONE = "[DONE]"
# How many keys a message shows.
_SHOWN = 5
_UNPARSED = (str, bytes, bytearray, memoryview)
# Of an answer in `ResponseReader.unfinished`.
BROKE_OFF = (
    "the server's answer broke off: more was to come, and neither that nor an end came; what came is heard."
)
_SOMETHING = re.compile(r"\S")


@dataclass(frozen=True, kw_only=True)
class ResponsePiece:
    """What one event says of one answer.

    Attributes:
        answer: which of the answers, counted from 0: a request may ask for several.
        ids: the token ids, None where the server sends none.
        text: the text.
    """

    answer: int = 0
    ids: list[int] | None = None
    text: str = ""


class ResponseReader:
    r"""Reads one answer of a server, or several on end, from bytes or text cut anywhere.

    Args:
        cumulative: whether each event repeats the text and the ids of those before it; None knows it of SGLang, and
            takes the events of others for what is new.

    Attributes:
        left_out: sentences about what was passed over.
        reached_limit: whether a server said that an answer ended at its limit of tokens.

    Example:
        >>> reader = ResponseReader()
        >>> [piece.text for piece in reader.push(b'data: {"choices": [{"text": "<custom_tok')]
        []
        >>> [piece.text for piece in reader.push(b'en_1>"}]}\n\ndata: [DONE]\n\n')]
        ['<custom_token_1>']
    """

    def __init__(self, *, cumulative: bool | None = None) -> None:
        self.left_out: list[str] = []
        self.reached_limit = False
        self._cumulative = cumulative
        self._lines = ResponseLines()
        self._waiting: list[str] = []  # lines of JSON that is not whole
        self._is_events: bool | None = None
        self._growths: dict[int, tuple[Growth[str], Growth[list[int]]]] = {}
        self._numbers = AnswerNumbers()
        self._aborted: set[int] = set()
        self._failure: TokenError | None = None

    @property
    def unfinished(self) -> set[int]:
        r"""The answers that are not at their end: the server said that more comes, or gave them up.

        At the end of a response they are those that broke off; of servers that mark no end there are none.

        Example:
            >>> reader = ResponseReader()
            >>> _ = reader.push('data: {"content": "a", "stop": false}\n\n')
            >>> reader.unfinished, reader.push('data: {"content": "", "stop": true}\n\n'), reader.unfinished
            ({0}, [], set())
        """
        return self._numbers.unfinished | self._aborted

    def push(self, data: bytes | str) -> list[ResponsePiece]:
        """Take the next bytes or characters and return what they complete.

        Raises:
            TokenError: neither bytes nor text; the server answered with an error, or with something that is no event
                and no JSON, after what came in front of it was returned.
        """
        if not isinstance(data, _UNPARSED):
            raise TokenError(
                f"a server's answer comes in bytes or text, got {type(data).__name__}; an event that a client has "
                "parsed goes to ResponseReader.event."
            )
        return self._read(self._of_line, self._lines.push(data))

    def flush(self) -> list[ResponsePiece]:
        """End the response and return what only its end completes.

        Raises:
            TokenError: as `push`.
        """
        pieces = self._read(self._of_line, [*self._lines.flush(), ""])
        rest, self._waiting = "\n".join(self._waiting), []
        return pieces + self._read(self._joined, [rest] if rest.strip() else [], behind=pieces)

    def event(self, event: Any) -> list[ResponsePiece]:
        """Do the same with an event that a client has parsed: a dictionary, or an object of the package openai.

        Raises:
            TokenError: as `push`; bytes or text, which go there.
        """
        if isinstance(event, _UNPARSED):
            raise TokenError(
                f"an event that a client has parsed is a dictionary, got {type(event).__name__}; what a server sends "
                "goes to ResponseReader.push as it is."
            )
        return self._of_value(event)

    def _read(
        self,
        read: Callable[[str], list[ResponsePiece]],
        texts: list[str],
        *,
        behind: Sequence[ResponsePiece] = (),
    ) -> list[ResponsePiece]:
        """Read texts; a failure is raised when nothing is left in front of it, in a later call else."""
        pieces: list[ResponsePiece] = []
        for text in texts if self._failure is None else ():
            try:
                pieces += read(text)
            except TokenError as error:
                self._failure = error
                break
        if self._failure is not None and not pieces and not behind:
            raise self._failure
        return pieces

    def _of_line(self, line: str) -> list[ResponsePiece]:
        if self._is_events is None:
            line = line.lstrip(BYTE_ORDER_MARK)
            if not line.strip():
                return []
            self._is_events = line.startswith(EVENT_STARTS)
            if not self._is_events and not line.lstrip().startswith(("{", "[")):
                raise TokenError(
                    f"the server answered neither events nor JSON but {shortened(line.strip())}; ask it for either."
                )
        return self._of_event_line(line) if self._is_events else self._of_json_line(line)

    def _of_event_line(self, line: str) -> list[ResponsePiece]:
        if not line.strip():
            pieces = self._parsed("\n".join(self._waiting))
            self._leave_out("an event that is cut")
            return pieces
        if line.startswith("data:"):
            data = line.removeprefix("data:").strip()
            if data == _DONE:
                self._numbers.end_response()
                return []
            self._waiting.append(data)
            # An event of several lines is read at the empty line behind it.
            return self._parsed(data) if len(self._waiting) == 1 else []
        if line.startswith("error:"):
            raise _refused(line.removeprefix("error:").strip())
        if not line.startswith(_OTHER_FIELDS) and line not in _EMPTY_FIELDS:
            self.left_out.append(f"left out a line among the events: {shortened(line)}.")
        return []

    def _of_json_line(self, line: str) -> list[ResponsePiece]:
        if self._waiting and line.startswith("{") and _is_whole(line):
            self._leave_out("JSON that is cut")
        self._waiting.append(line)
        # JSON over several lines ends with a bracket that is not indented.
        if len(self._waiting) == 1 or line.rstrip() in ("}", "]"):
            return self._parsed("\n".join(self._waiting))
        return []

    def _leave_out(self, what: str) -> None:
        cut, self._waiting = "\n".join(self._waiting).strip(), []
        if cut:
            self.left_out.append(f"left out {what}, {counted(len(cut), 'character')}: {shortened(cut)}.")

    def _parsed(self, text: str) -> list[ResponsePiece]:
        try:
            value = json.loads(text) if text.strip() else None
        except RecursionError as error:
            raise TokenError("the server's JSON is nested too deep to be an answer.") from error
        except ValueError:
            return []
        self._waiting = []
        return [] if value is None else self._of_value(value)

    def _joined(self, text: str) -> list[ResponsePiece]:
        """Read values of JSON one behind the other, each of any number of lines."""
        pieces: list[ResponsePiece] = []
        decoder, place = json.JSONDecoder(), 0
        while found := _SOMETHING.search(text, place):
            try:
                value, place = decoder.raw_decode(text, found.start())
            except (ValueError, RecursionError):
                self._waiting = [text[found.start() :]]
                self._leave_out("JSON that is cut")
                break
            pieces += self._of_value(value)
        return pieces

    def _of_value(self, value: Any) -> list[ResponsePiece]:
        if hasattr(value, "model_dump"):  # an object of the package openai
            value = value.model_dump()
        if isinstance(value, list) and all(
            isinstance(each, Mapping) or is_list_of_mappings(each) for each in value
        ):
            # Answers to a list of prompts, each of them a list where several were asked for.
            pieces = []
            for each in value:
                pieces += self._of_value(each)
                self._numbers.end_response()
            return pieces
        if not isinstance(value, Mapping):
            raise TokenError(
                f"the server answered {shortened(as_shown(value))}, which has no text and no ids."
            )
        return self._of_event(value)

    def _of_event(self, event: Mapping[str, Any]) -> list[ResponsePiece]:
        if (reason := error_in(event)) is not None:
            raise _refused(reason)
        self.reached_limit |= reached_limit_in(event)
        is_stream = bool(self._is_events) or is_chunk(event)
        self._numbers.begin_event(response_id_in(event), is_stream=is_stream)
        parts, endings = parts_of(event), endings_in(event)
        found = [
            self._piece(event, part, ending, is_stream=is_stream)
            for part, ending in zip(parts, endings, strict=False)
        ]
        if not found and "yes" in endings:
            self._numbers.end_running()
        elif not found and "perhaps" in endings:
            self._numbers.unfinished.clear()
        if not found and "choices" not in event and not is_bookkeeping(event):
            keys = ", ".join(shortened(str(key)) for key in list(event)[:_SHOWN])
            self.left_out.append(f"left out an event without text or ids, with the keys {keys or 'none'}.")
        return [piece for piece in found if piece.text or piece.ids]

    def _piece(
        self, event: Mapping[str, Any], part: Mapping[str, Any], ending: Ending, *, is_stream: bool
    ) -> ResponsePiece:
        # TGI counts tokens where others count answers.
        index = 0 if "token" in event else part.get("index", event.get("index", 0))
        index = index if isinstance(index, int) and index >= 0 else 0
        ids, text = ids_in(part), text_in(part)
        # A second part of an answer shows that it comes in parts, where the event alone doesn't.
        in_parts = is_stream or self._numbers.is_running(index)
        answer = self._numbers.take(
            index,
            has_tokens=bool(ids or text),
            ending=ending,
            is_stream=is_stream,
            more_comes=says_more_comes(part, is_stream=in_parts),
        )
        if was_aborted_in(part):
            self._aborted.add(answer)
        meta: Any = event.get("meta_info") if isinstance(event.get("meta_info"), Mapping) else {}
        if self._cumulative or (meta and self._cumulative is None):
            texts, lines = self._growths.setdefault(
                answer, (Growth(is_cumulative=self._cumulative), Growth(is_cumulative=self._cumulative))
            )
            text = texts.new(text)
            ids = None if ids is None else lines.new(ids, total=meta.get("completion_tokens"))
        return ResponsePiece(answer=answer, ids=ids, text=text)


def response_tokens(
    chunks: bytes | str | Iterable[bytes | str], *, answer: int = 0, cumulative: bool | None = None
) -> Iterator[Tokens]:
    r"""Yield the tokens of a server's answer as it arrives, for `stream_audio`: ids where there are any, else text.

    Args:
        chunks: bytes or text of the answer, cut anywhere: lines with or without their ends, what a socket gave, or all
            of it at once.
        answer: which one, where several were asked for.
        cumulative: as in `ResponseReader`.

    Raises:
        TokenError: the server answered with an error, after what came in front of it; or no bytes and no text; or lines
            without their ends, of which one is cut.

    Warns:
        LostSpeechWarning: the answer broke off: in the middle of an event, or between two where the server said that
            more comes.

    Example:
        >>> list(response_tokens(['data: {"content": "", "tok', 'ens": [128266]}\n\n', "data: [DONE]\n\n"]))
        [[128266]]
    """
    has_ids, reader = False, ResponseReader(cumulative=cumulative)
    for piece in _pieces_of(chunks, reader):
        if piece.answer == answer:
            has_ids |= bool(piece.ids)
            # Where a server sends ids, its text says the same again.
            yield (piece.ids or []) if has_ids else piece.text
    if answer in reader.unfinished:
        warnings.warn(BROKE_OFF, LostSpeechWarning, stacklevel=2)


def _pieces_of(
    chunks: bytes | str | Iterable[bytes | str], reader: ResponseReader
) -> Iterator[ResponsePiece]:
    if isinstance(chunks, (str, bytes)):
        chunks = [chunks]
    if not isinstance(chunks, Iterable):
        raise TokenError(
            f"a server's answer is bytes, text, or an iterable of them, got {type(chunks).__name__}; read an "
            "asynchronous one with `async for` and ResponseReader."
        )
    for chunk in chunks:
        yield from reader.push(chunk)
    known = len(reader.left_out)
    yield from reader.flush()
    # The connection died in the middle of an event: what it held is not heard.
    for sentence in reader.left_out[known:]:
        warnings.warn(sentence, LostSpeechWarning, stacklevel=2)


def _is_whole(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _refused(reason: str) -> TokenError:
    return TokenError(
        f"the server answered with an error, {shortened(reason)}; mend the request and ask again."
    )
