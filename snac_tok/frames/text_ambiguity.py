"""Which spelling of a text form would not be read back from text without gaps.

Text is read from the left: literals first, the longest before the others, then the template with as many digits as
there are. So ids come back if and only if nothing is preferred to the token that stands there:

    <a3>!<a7>      with the literals "!" and "<a3>!"
    |==|           the id's own token
    |===|          the literal that is preferred to it, if what is left over, "!", begins other tokens
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True)
class Spellings:
    """The tokens of a text form: a template around a number below `num_ids`, and literals.

    Example:
        >>> Spellings(template="<a{}>", num_ids=5, literals=("<a3>!", "!")).unreadable()
        '<a3>!'
        >>> Spellings(template="<a{}>", num_ids=5, literals=("<a3>!", "?")).unreadable() is None
        True
    """

    template: str
    num_ids: int
    literals: tuple[str, ...]

    def unreadable(self) -> str | None:
        """Return the first literal that is read where other tokens stand, None if there is none."""
        return next((token for token in self.literals if self._hides_others(token)), None)

    def runs_together(self) -> bool:
        """Whether the number of one token may go on into the next token.

        A template that ends with digits of its own is told only from its end, so such a form is refused even where
        its digits would happen to be told apart.
        """
        ends_with_digits = not self._after.strip("0123456789")
        begins = (*self.literals, self.template.replace("{}", "0"))
        return self.num_ids > 1 and ends_with_digits and any(token[0] in "0123456789" for token in begins)

    @cached_property
    def _before(self) -> str:
        return self.template.split("{}")[0]

    @cached_property
    def _after(self) -> str:
        return self.template.split("{}")[1]

    def _hides_others(self, token: str) -> bool:
        if self._begins_template(token):
            return True
        # What is left of the literal behind a shorter token, and behind each one that can follow.
        rests, seen = [rest for rest in self._rests(token) if rest], set[str]()
        while rests:
            rest = rests.pop()
            if not rest or self._begins_token(rest):
                return True
            if rest not in seen:
                seen.add(rest)
                rests += self._rests(rest)
        return False

    def _rests(self, text: str) -> Iterator[str]:
        """Yield what a text is behind each token that it begins with."""
        for token in self.literals:
            if text.startswith(token):
                yield text[len(token) :]
        for rest in self._behind_numbers(text):
            if rest.startswith(self._after):
                yield rest[len(self._after) :]

    def _begins_token(self, text: str) -> bool:
        return self._begins_template(text) or any(token.startswith(text) for token in self.literals)

    def _begins_template(self, text: str) -> bool:
        if self.num_ids and self._before.startswith(text):
            return True
        return any(self._after.startswith(rest) for rest in self._behind_numbers(text))

    def _behind_numbers(self, text: str) -> Iterator[str]:
        """Yield what a text is behind the template's beginning and each number of ids that may follow it."""
        if not text.startswith(self._before):
            return
        rest = text[len(self._before) :]
        for size in range(1, len(str(self.num_ids)) + 1):
            number = rest[:size]
            is_number = len(number) == size and number.isascii() and number.isdecimal()
            if is_number and str(int(number)) == number and int(number) < self.num_ids:
                yield rest[size:]
