"""What clients send as JSON, or in an address, checked; whatever is wrong with it becomes one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from snac_tok.errors import ServingError
from snac_tok.plain_values import parse_json
from snac_tok.serving.problems import RefusedError
from snac_tok.wording import shortened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Ids are numbers of 64 bits, of which far fewer are anybody's.
_Id: TypeAlias = Annotated[int, Field(ge=-(2**63), lt=2**63)]
_BOUNDS = ("greater_than_equal", "less_than")
# How many of a body's faults, and of its fields, a sentence names.
_NAMED = 3


def _shape(ids: Any) -> str:
    return "rows" if isinstance(ids, list) and ids and isinstance(ids[0], list) else "line"


# One line, or the rows of parallel presets. The shape is told first, so that a fault is one of this shape alone.
_Ids: TypeAlias = Annotated[
    Annotated[list[int], Tag("line")] | Annotated[list[list[int]], Tag("rows")], Discriminator(_shape)
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NoQuery(BaseModel):
    """The query of a route that takes none: a misspelled or misplaced field is refused, not passed over."""

    model_config = ConfigDict(extra="forbid")


class EncodeQuery(NoQuery):
    """What /encode takes besides the sound."""

    preset: str | None = Field(default=None, description="Whose ids are wanted, if not the server's own.")
    codes: bool = Field(default=False, description="The codes of each level, not ids.")
    allow_truncated: bool = Field(default=False, description="Take what is there of a file that is cut off.")


class SpeechBody(_Body):
    """What OpenAI's clients ask for; `speed` and `instructions` are there to be refused with a reason."""

    input: str = Field(description="The text to speak.")
    model: str = Field(default="", description="Handed on to the language model's server.")
    voice: str | None = Field(default=None, description="A speaker's name, as the model's prompts have it.")
    response_format: str = Field(default="wav", description="wav, pcm, opus or flac.")
    speed: float = Field(default=1.0, description="Nothing but 1.")
    stream_format: Literal["audio", "sse"] = "audio"
    instructions: str | None = Field(default=None, description="Nothing.")


class DecodeBody(_Body):
    """Ids of one recording, as /encode gives them, or the codes of each level."""

    ids: _Ids | None = None
    codes: list[list[int]] | None = None
    preset: str | None = Field(default=None, description="Whose ids they are, if not the server's own.")
    response_format: str = Field(default="wav", description="wav or flac.")


class StreamMessage(_Body):
    """One message of a client of /stream."""

    ids: list[_Id] | None = None
    text: str | None = None
    end: bool = False


def read_json(text: str | bytes, *, what: Literal["body", "message"] = "body") -> Any:
    """Return the value of a request's body, or of a message of a WebSocket.

    Raises:
        RefusedError: it is not JSON, or has a key twice, of which most readers keep the last alone.
    """
    try:
        return parse_json(text, what=f"the {what}", error=ServingError)
    except ServingError as error:
        sentence = str(error).replace("is not valid JSON", "is not JSON")
        raise RefusedError(sentence, status=400, code="invalid_json") from error


def faults_of(
    errors: Sequence[Mapping[str, Any]], *, what: Literal["body", "message"] = "body"
) -> RefusedError:
    """Return what pydantic found in a request's body, or in a message of a WebSocket, as one sentence."""
    said = "; ".join(_said(error, what) for error in errors[:_NAMED])
    are_ids = all(error["type"] in _BOUNDS for error in errors)
    return RefusedError(f"{said}.", status=400, code="invalid_ids" if are_ids else "invalid_request")


def _said(error: Mapping[str, Any], what: str) -> str:
    place = ".".join(str(part) for part in error["loc"] if part not in ("body", "query", "line", "rows"))
    name = shortened(place) if place else f"the {what}"
    if error["type"] == "missing":
        return f"{name} is missing" if place else f"the {what} is empty; send JSON"
    if error["type"] == "extra_forbidden":
        return f"{name} is no field of this request"
    if error["type"] in ("model_attributes_type", "model_type"):
        # A message has no headers.
        header = ", or lacks the header `Content-Type: application/json`" if what == "body" else ""
        return f"the {what} is no JSON object{header}"
    if error["type"] in _BOUNDS:
        return f"{name} is {shortened(str(error.get('input')))}: an id is an integer of at most 64 bits"
    return f"{name} is {shortened(str(error.get('input')))}: {error['msg'][:1].lower()}{error['msg'][1:]}"
