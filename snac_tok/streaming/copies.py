"""Copies of streams: what two of them share, and what cannot be copied or pickled."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Self

from snac_tok.errors import SnacTokError, TokenError


class CopyableStream:
    """A stream whose copies, shallow or deep, go on by themselves from here with the same codec, which is not copied.

    What a stream holds is replaced by each call and not written to, so that two may share it; `_own_parts` names the
    exceptions. Once begun, a stream has no pickle: it goes on only with the weights in memory that it began with.
    """

    _refusal: ClassVar[type[SnacTokError]] = TokenError

    def __copy__(self) -> Self:
        other = object.__new__(type(self))
        vars(other).update(vars(self) | self._own_parts())
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy.copy(self)

    def __getstate__(self) -> dict[str, Any]:
        self._check_pickling()
        return vars(self)

    @property
    def _has_begun(self) -> bool:
        """Whether anything has gone through the network."""
        raise NotImplementedError

    def _own_parts(self) -> dict[str, Any]:
        """Return copies of the attributes that calls change in place."""
        return {}

    def _check_pickling(self) -> None:
        if self._has_begun:
            raise self._refusal(
                f"a {type(self).__name__} that has begun cannot be pickled: it goes on only with the codec that it "
                "began with, in this process; pickle a new one instead."
            )
