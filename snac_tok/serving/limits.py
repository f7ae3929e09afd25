"""How much a client may ask for, and how long it may take."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from snac_tok.errors import ServingError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one server gives its clients.

    Attributes:
        clients: requests and streams that are worked on at once; more are told to come again.
        body_bytes: the largest sound file.
        json_bytes: the largest body of JSON, and the largest message over a WebSocket.
        text_characters: the longest text to speak.
        audio_seconds: the longest recording to encode.
        stream_tokens: the most ids of one stream or request.
        idle_seconds: how long a stream may stand still: a source that sends nothing, a client that takes nothing.
        total_seconds: how long a request may take, its body included.
        grace_seconds: how long streams may go on after the server was told to stop.

    Raises:
        ServingError: one that is no number above 0; `grace_seconds` may be 0.

    Example:
        >>> Limits(clients=8).clients
        8
    """

    clients: int = 32
    body_bytes: int = 32 << 20
    json_bytes: int = 1 << 20
    text_characters: int = 4_096
    audio_seconds: float = 300.0
    stream_tokens: int = 50_000
    idle_seconds: float = 30.0
    total_seconds: float = 900.0
    grace_seconds: float = 10.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            kinds = (int,) if each.type == "int" else (int, float)
            is_number = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
            if not is_number or value < 0 or (value == 0 and each.name != "grace_seconds"):
                kind = "a whole number" if each.type == "int" else "a number"
                raise ServingError(f"{each.name} is {value!r}; {kind} above 0 is needed.")
