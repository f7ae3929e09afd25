"""Which of a server's answers a piece belongs to: counted over its choices, and over responses one behind the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snac_tok.generation.response_fields import Ending


class AnswerNumbers:
    """Counts answers from 0 while a server's events come.

    A response begins with a first event, behind the mark that ends a stream, under another id, or with tokens for an
    answer that has ended, unless a stream goes on under the id that it had.

    Attributes:
        unfinished: those of which a server said that more comes, and then neither more nor an end.

    Example:
        >>> numbers = AnswerNumbers()
        >>> [numbers.take(0, has_tokens=True, ending=ending) for ending in ("no", "yes", "no")]
        [0, 0, 1]
    """

    def __init__(self) -> None:
        self._first = 0  # of the response that is being read
        self._next = 0  # of the next one
        self._response_id: str | int | None = None
        self._ended_id: str | int | None = None
        # Answers of the response that is being read.
        self._running: set[int] = set()
        self._ended: set[int] = set()
        self.unfinished: set[int] = set()

    def begin_event(self, response_id: str | int | None, *, is_stream: bool) -> None:
        """Take an event's id: events of a stream share their response, other JSON may hold several."""
        if not is_stream and self._response_id is not None and response_id != self._response_id:
            self.end_response()
        self._response_id = response_id

    def is_running(self, index: int) -> bool:
        """Say whether an answer of the response has begun and not ended."""
        return self._first + index in self._running

    def take(
        self,
        index: int,
        *,
        has_tokens: bool,
        ending: Ending,
        is_stream: bool = False,
        more_comes: bool = False,
    ) -> int:
        """Return the number of the answer that a part of an event goes on with.

        Args:
            index: of the part among those of its response.
            has_tokens: whether it brings any: behind an end there may be counts and times.
            ending: whether the part is its answer's last.
            is_stream: whether events come one by one: some servers mark every one of them as the last. There a mark
                ends an answer that had parts without it.
            more_comes: whether the server said that the part is not the last.
        """
        goes_on = is_stream and self._ended_id is not None and self._ended_id == self._response_id
        if has_tokens and self._first + index in self._ended and not self._running and not goes_on:
            self._begin_response()
        answer = self._first + index
        self._next = max(self._next, answer + 1)
        if ending == "yes" or (ending == "perhaps" and (answer in self._running or not is_stream)):
            self._running.discard(answer)
            self._ended.add(answer)
            self._ended_id = self._response_id
        elif has_tokens and ending == "no":
            self._running.add(answer)
        if ending != "no":
            self.unfinished.discard(answer)
        elif has_tokens and more_comes:
            self.unfinished.add(answer)
        return answer

    def end_running(self) -> None:
        """End the answers that are being written: an event said so, and named none."""
        self._ended |= self._running
        self._running.clear()
        self.unfinished.clear()

    def end_response(self) -> None:
        """Begin the next response with the next event."""
        self._begin_response()
        self.unfinished.clear()
        self._response_id = None

    def _begin_response(self) -> None:
        self._first = self._next
        self._running.clear()
        self._ended.clear()
