"""A read-only mapping that can be hashed, copied and pickled: `types.MappingProxyType` cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from snac_tok.errors import LayoutError

Value = TypeVar("Value")


class FrozenMapping(Mapping[str, Value]):
    """Names to values, fixed at construction, so that a frozen dataclass holding it really is frozen.

    Example:
        >>> FrozenMapping({"pad": 3}) == {"pad": 3}
        True
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Value]) -> None:
        if not isinstance(items, Mapping):
            raise LayoutError(f"expected a mapping of names, got {type(items).__name__}.")
        self._items = dict(items)

    def __getitem__(self, name: str) -> Value:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)
