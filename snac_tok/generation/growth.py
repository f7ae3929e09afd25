"""Texts, or ids, of which each repeats the one before it and goes on: what is new in each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from snac_tok.errors import TokenError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Line = TypeVar("Line", str, list[int])


class Growth(Generic[Line]):
    """What is new in each of a row of texts or lists of ids.

    Args:
        is_cumulative: whether each repeats those before it; None finds out from the first two that are not empty.

    Example:
        >>> growth: Growth[str] = Growth()
        >>> growth.new("<audio"), growth.new("<audio_1>"), growth.new("<audio_1>")
        ('<audio', '_1>', '')
    """

    def __init__(self, *, is_cumulative: bool | None = None) -> None:
        self._is_cumulative = is_cumulative
        self._seen: Line | None = None

    def new(self, line: Line, *, total: int | None = None) -> Line:
        """Return what the lines before it did not hold.

        Args:
            line: the next one.
            total: how much there is by now, where it is known: a shorter line repeats nothing.

        Raises:
            TokenError: the lines repeated each other so far, and this one does not.
        """
        seen = self._seen
        if self._is_cumulative is None and isinstance(total, int) and len(line) < total:
            self._is_cumulative = False
        if self._is_cumulative is False or not seen:
            self._seen = line
            return line
        if line[: len(seen)] == seen:
            self._is_cumulative = True
            self._seen = line
            return line[len(seen) :]
        if self._is_cumulative:
            raise TokenError(
                "each text so far repeated the one before it, and one does not; ask the server for what is new alone."
            )
        self._is_cumulative = False
        return line


def new_parts(texts: Iterable[str]) -> Iterator[str]:
    """Yield what is new in each of a row of cumulative texts: for `stream_audio`, which takes new text alone.

    Raises:
        TokenError: a text that does not repeat the one before it.

    Example:
        >>> list(new_parts(["Hm.", "Hm. <custom_to", "Hm. <custom_token_1>"]))
        ['Hm.', ' <custom_to', 'ken_1>']
    """
    growth: Growth[str] = Growth(is_cumulative=True)
    for text in texts:
        yield growth.new(text)
