"""The text form of ids: how a text tokenizer spells them, `<custom_token_10>` or `<|audio_0|>`, both ways.

Strict both ways: an id without a spelling, or text between two tokens, is an error with its position. It
knows numbers and strings only; which slot an id belongs to is the vocabulary's business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 - `from_plain` reads the fields' types while it runs
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.errors import LayoutError, TokenError
from snac_tok.frames.arrays import any_integer, integers, to_numpy, whole_number
from snac_tok.frames.frozen import FrozenMapping
from snac_tok.frames.text_ambiguity import Spellings

if TYPE_CHECKING:
    from collections.abc import Iterator

# What an error shows of a text it cannot read.
SHOWN_CHARACTERS = 24


@dataclass(frozen=True, kw_only=True)
class TextForm:
    """How ids are spelled: a numbered template for a run of ids and literal names for single ones.

    Args:
        template: Text with one "{}", which stands for id − first_id.
        first_id: The id that is number 0.
        num_ids: How many ids the template spells.
        literals: Whole tokens with a spelling of their own, e.g. {"<|audio|>": 156939}.

    Raises:
        LayoutError: A template without exactly one "{}", negative numbers, two spellings for one id, or
            spellings that are not told apart where they stand without gaps.

    Example:
        >>> form = TextForm(template="<custom_token_{}>", first_id=128256, num_ids=28682)
        >>> form.to_text([128257, 128266])
        '<custom_token_1><custom_token_10>'
    """

    template: str
    first_id: int
    num_ids: int
    literals: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (
            not isinstance(self.template, str)
            or self.template.count("{}") != 1
            or len(self.template) == len("{}")
        ):
            raise LayoutError(f"a text template is text around exactly one '{{}}', got {self.template!r}.")
        for what in ("first_id", "num_ids"):
            object.__setattr__(self, what, _number(getattr(self, what), what=what))
        literals = {
            token: _number(number, what=token) for token, number in FrozenMapping(self.literals).items()
        }
        object.__setattr__(self, "literals", FrozenMapping(literals))
        self._check_literals()

    def _check_literals(self) -> None:
        taken: dict[int, str] = {}
        pattern = re.compile(_number_pattern(self.template))
        for token, number in self.literals.items():
            other = taken.setdefault(number, token)
            if not isinstance(token, str):
                raise LayoutError(f"text form: literals are spelled as text, got {token!r} for id {number}.")
            if not token or other != token or number in self.ids or pattern.fullmatch(token):
                raise LayoutError(f"text form: {token!r} for id {number} clashes with another spelling.")
        self._check_that_text_reads_back()

    def _check_that_text_reads_back(self) -> None:
        spellings = Spellings(template=self.template, num_ids=self.num_ids, literals=tuple(self.literals))
        token = spellings.unreadable()
        if token is not None:
            raise LayoutError(
                f"text form: {token!r} for id {self.literals[token]} clashes with other tokens on end, which are "
                "spelled alike: those ids would not come back from their text; spell it differently."
            )
        if spellings.runs_together():
            raise LayoutError(
                f"text form: a token of {self.template!r} may end with a digit and another begin with one, so that two "
                "on end clash; put a sign that is no digit behind the number."
            )

    @property
    def ids(self) -> range:
        """The ids the template spells."""
        return range(self.first_id, self.first_id + self.num_ids)

    def token_of(self, token_id: int) -> str:
        """Spell one id.

        Raises:
            TokenError: The id has no spelling here.

        Example:
            >>> TextForm(template="<|audio_{}|>", first_id=100, num_ids=8).token_of(103)
            '<|audio_3|>'
        """
        token_id = any_integer(token_id, what="an id", error=TokenError)
        if token_id in self.ids:
            return self.template.replace("{}", str(token_id - self.first_id))
        for token, number in self.literals.items():
            if number == token_id:
                return token
        raise TokenError(f"id {token_id} has no text form; {self._spelled()}.")

    def id_of(self, token: str) -> int:
        """Read one token; the mirror of `token_of`.

        Raises:
            TokenError: Not one whole token of this form.

        Example:
            >>> TextForm(template="<|audio_{}|>", first_id=100, num_ids=8).id_of("<|audio_3|>")
            103
        """
        ids = self.to_ids(token)
        if len(ids) != 1:
            raise TokenError(f"{token[:SHOWN_CHARACTERS]!r} is {len(ids)} tokens, not one.")
        return int(ids[0])

    def to_text(self, ids: Any) -> str:
        """Spell a line of ids as one string without gaps.

        Raises:
            TokenError: Not one-dimensional integers, or an id without a spelling, with its position.

        Example:
            >>> TextForm(template="<|audio_{}|>", first_id=0, num_ids=8).to_text([0, 7])
            '<|audio_0|><|audio_7|>'
        """
        line = to_numpy(integers(ids, what="ids", error=TokenError))
        if line.ndim != 1:
            raise TokenError(
                f"text is made from one line of ids, got shape {line.shape}; pass one row at a time."
            )
        return "".join(self._spell_at(position, number) for position, number in enumerate(line.tolist()))

    def _spell_at(self, position: int, token_id: int) -> str:
        try:
            return self.token_of(token_id)
        except TokenError as reason:
            raise TokenError(f"position {position}: {reason}") from reason

    def to_ids(self, text: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Read a string of tokens without gaps as int64 ids: the exact inverse of `to_text`.

        Raises:
            TokenError: what is not a token of this form, or a number outside it, with the character
                position where it starts.

        Example:
            >>> TextForm(template="<|audio_{}|>", first_id=0, num_ids=8).to_ids("<|audio_0|><|audio_7|>")
            array([0, 7])
        """
        if not isinstance(text, str):
            raise TokenError(f"expected text, got {type(text).__name__}.")
        ids: list[int] = []
        position, scanner = 0, _token_pattern(self.template, tuple(self.literals))
        while position < len(text):
            match = scanner.match(text, position)
            if match is None:
                shown = text[position : position + SHOWN_CHARACTERS]
                raise TokenError(
                    f"character {position}: {shown!r} does not begin with a token; {self._spelled()}."
                )
            ids.append(self._read_at(position, match))
            position = match.end()
        return np.array(ids, dtype=np.int64)

    def tokens_in(self, text: str) -> Iterator[tuple[range, int]]:
        """Find the tokens in a text that may hold other things, too: what a language model's server returned.

        Yields:
            where each token stands in the text, and its id; what no token covers is not of this form.

        Raises:
            TokenError: A number outside the form, with its character position.

        Example:
            >>> form = TextForm(template="<|audio_{}|>", first_id=100, num_ids=8)
            >>> list(form.tokens_in("hm <|audio_3|></s>"))
            [(range(3, 14), 103)]
        """
        for match in _token_pattern(self.template, tuple(self.literals)).finditer(text):
            yield range(*match.span()), self._read_at(match.start(), match)

    def _read_at(self, position: int, match: re.Match[str]) -> int:
        number = match.group("number")
        if number is None:
            return self.literals[match.group()]
        if int(number) >= self.num_ids:
            raise TokenError(f"character {position}: {match.group()!r} is out of range; {self._spelled()}.")
        return self.first_id + int(number)

    def _spelled(self) -> str:
        last = self.template.replace("{}", str(self.num_ids - 1))
        first = self.template.replace("{}", "0")
        return (
            f"tokens are {first} … {last} (ids {self.first_id}..{self.ids.stop - 1}) and {[*self.literals]}"
        )


def _number(value: object, *, what: str) -> int:
    return whole_number(value, what=f"text form: {what}", error=LayoutError)


def _number_pattern(template: str) -> str:
    before, after = template.split("{}")
    # Written as we write it: no leading zeros, no other script's digits, no number of a million digits.
    return f"{re.escape(before)}(?P<number>0|[1-9][0-9]{{0,9}}){re.escape(after)}"


@lru_cache(maxsize=64)
def _token_pattern(template: str, literals: tuple[str, ...]) -> re.Pattern[str]:
    # Longest literal first: one may begin like another.
    names = [re.escape(name) for name in sorted(literals, key=len, reverse=True)]
    return re.compile("|".join([*names, _number_pattern(template)]))
