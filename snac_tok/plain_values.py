"""Plain values (what JSON and YAML hold) to frozen dataclasses and back: the one reader of files about things.

    file ── read_text ── text ── parse_json ── plain values ── from_plain ── dataclasses, nested as deep as they are
                                                   └───────────── to_plain ───────────┘

Reading is strict: a name that is unknown, missing or given twice, or a value of another type, is one sentence of the
caller's own error class. It names the value by its path ("losses.mel"), and quotes a damaged one only in part.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import reprlib
import types
import typing
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin

from snac_tok.errors import SnacTokError, did_you_mean
from snac_tok.files import shown_path

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

Kind = TypeVar("Kind")

# Metadata of a dataclass's field that is not written while it has its default, as before there was such a field.
UNWRITTEN_DEFAULT = types.MappingProxyType({"unwritten default": True})
# A name in a damaged file may have a million characters; a message shows as many.
_LONGEST_NAME = 80


def read_text(
    path: str | os.PathLike[str], *, what: str, error: type[SnacTokError], max_bytes: int | None = None
) -> str:
    """Return the text of a UTF-8 file; a byte-order mark, as some editors write it, is left out.

    Args:
        path: of the file.
        what: the file holds, for messages: "the codec config".
        error: the class of every refusal.
        max_bytes: of the file; a larger one is refused before it is read.

    Raises:
        SnacTokError: as `error`: the file cannot be read, is larger, or is not UTF-8 text.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(-1 if max_bytes is None else max_bytes + 1)
    except (OSError, TypeError, ValueError) as reason:
        why = getattr(reason, "strerror", None) or reason
        raise error(f"{what} {shown_path(path)} cannot be read: {why}.") from reason
    if max_bytes is not None and len(content) > max_bytes:
        raise error(f"{shown_path(path)} has more than {max_bytes} bytes; {what} is smaller.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        raise error(f"{what} {shown_path(path)} is not UTF-8 text: {reason}.") from reason


def parse_json(text: str | bytes, *, what: str, error: type[SnacTokError]) -> Any:
    """Return the value that JSON text holds.

    Args:
        text: JSON.
        what: the text is, for messages.
        error: the class of every refusal.

    Raises:
        SnacTokError: as `error`: the text is not JSON, or has a key twice, of which JSON would keep the last.

    Example:
        >>> from snac_tok.errors import ShardError
        >>> parse_json('{"a": 1, "a": 2}', what="the plan", error=ShardError)
        Traceback (most recent call last):
        snac_tok.errors.ShardError: the plan is not valid JSON: it has keys twice: ['a'].
    """
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError as reason:
        raise error(f"{what} is not valid JSON: it is nested too deeply.") from reason
    except (json.JSONDecodeError, UnicodeDecodeError, _KeysTwiceError) as reason:
        raise error(f"{what} is not valid JSON: {reason}.") from reason
    except ValueError as reason:  # Python reads no more digits than some thousands
        raise error(
            f"{what} has a number that is too long to be read; no number here needs 20 digits."
        ) from reason


def from_plain(
    kind: type[Kind],
    values: Any,
    *,
    error: type[SnacTokError],
    what: str = "the config",
    complete: bool = False,
) -> Kind:
    """Build the dataclass `kind`, and those inside it, from mappings, lists and scalars.

    Args:
        kind: a dataclass whose fields are scalars, tuples, mappings from text, literals, dataclasses, any of these or
            None, or `Any` for what is taken as it is.
        values: a mapping of its fields; those left out keep their defaults.
        error: the class of every refusal, those of the dataclasses' own checks included.
        what: the whole is called in messages.
        complete: refuse a mapping that leaves a field out, even one with a default, unless it is `UNWRITTEN_DEFAULT`.

    Raises:
        SnacTokError: as `error`: a name is unknown or missing, or a value has the wrong type or is out of bounds.

    Example:
        >>> from snac_tok.sources.failures import Failure
        >>> from snac_tok.errors import ShardError
        >>> from_plain(Failure, {"source": "a.wav", "reason": 3}, error=ShardError)
        Traceback (most recent call last):
        snac_tok.errors.ShardError: reason is 3; a value of type str is needed.
    """
    read: Kind = _Reader(error=error, what=what, complete=complete).built(kind, values, at="")
    return read


def to_plain(value: Any) -> Any:
    """Return a tree of dataclasses as dicts, lists and scalars; `from_plain` reads them back.

    A field with the metadata `UNWRITTEN_DEFAULT` is left out where it has its default.
    """
    if dataclasses.is_dataclass(value):
        fields = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return {
            field.name: to_plain(inner)
            for field, inner in fields
            if not (field.metadata == UNWRITTEN_DEFAULT and inner == field.default)
        }
    if isinstance(value, Mapping):
        return {name: to_plain(inner) for name, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(inner) for inner in value]
    return value


def differences(before: Mapping[str, Any], now: Mapping[str, Any], *, at: str = "") -> list[str]:
    """Return the paths of the plain values in which two trees differ."""
    found = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, at=_path(at, name))
        elif isinstance(old, list) and isinstance(new, list) and _are_alike(old, new):
            for place, (one, other) in enumerate(zip(old, new, strict=True)):
                found += differences(one, other, at=f"{_path(at, name)}[{place}]")
        elif old != new:
            found.append(_path(at, name))
    return found


def _are_alike(old: list[Any], new: list[Any]) -> bool:
    """Whether two lists are of as many mappings, which can be compared one by one."""
    return len(old) == len(new) and all(isinstance(value, dict) for value in (*old, *new))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Reader:
    """How one tree is read; `at` is the path to a value in it, "" for the whole."""

    error: type[SnacTokError]
    what: str
    complete: bool

    def built(self, kind: Any, values: Any, *, at: str) -> Any:
        fields = _fields(kind)
        if not isinstance(values, Mapping):
            found = "empty" if values is None else reprlib.repr(values)
            raise self.error(f"{at or self.what} is {found}; a mapping of {sorted(fields)} is needed.")
        for name in values:
            if name not in fields:
                near = did_you_mean(str(name)[:_LONGEST_NAME], fields)
                found = reprlib.repr(name)
                raise self.error(
                    f"{at or self.what} has an unknown entry {found}; known are {sorted(fields)}.{near}"
                )
        optional = {field.name for field in dataclasses.fields(kind) if field.metadata == UNWRITTEN_DEFAULT}
        needed = [
            name
            for name, (_, has_default) in fields.items()
            if not has_default or (self.complete and name not in optional)
        ]
        if missing := [name for name in needed if name not in values]:
            raise self.error(f"{at or self.what} lacks {missing}.")
        taken = {name: self._value(fields[name][0], values[name], at=_path(at, name)) for name in values}
        try:
            return kind(**taken)
        except SnacTokError as error:
            raise self.error(f"{at}: {error}" if at else str(error)) from error

    def _value(self, hint: Any, value: Any, *, at: str) -> Any:
        origin, inner = get_origin(hint), get_args(hint)
        if origin in (Union, types.UnionType):
            return self._optional(inner, value, at=at)
        if origin is Literal:
            if value not in inner:
                raise self.error(f"{at} is {reprlib.repr(value)}; it must be one of {list(inner)}.")
            return value
        if origin is tuple:
            return self._tuple(inner, value, at=at)
        if origin in (dict, Mapping):
            return self._mapping(inner[1], value, at=at)
        read = self.built if dataclasses.is_dataclass(hint) else self._scalar
        return read(hint, value, at=at)

    def _optional(self, inner: Sequence[Any], value: Any, *, at: str) -> Any:
        if value is None and type(None) in inner:
            return None
        kinds = [kind for kind in inner if kind is not type(None)]
        return self._value(kinds[0], value, at=at)

    def _tuple(self, inner: Sequence[Any], value: Any, *, at: str) -> Any:
        if not isinstance(value, (list, tuple)):
            raise self.error(f"{at} is {reprlib.repr(value)}; a list is needed.")
        repeated = len(inner) == 2 and inner[1] is Ellipsis  # noqa: PLR2004 - tuple[X, ...]
        kinds = [inner[0]] * len(value) if repeated else list(inner)
        if len(kinds) != len(value):
            raise self.error(f"{at} has {len(value)} entries; {len(kinds)} are needed.")
        pairs = enumerate(zip(kinds, value, strict=True))
        return tuple(self._value(kind, entry, at=f"{at}[{place}]") for place, (kind, entry) in pairs)

    def _mapping(self, kind: Any, value: Any, *, at: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise self.error(f"{at} is {reprlib.repr(value)}; a mapping is needed.")
        names = [self._scalar(str, name, at=f"a name in {at}") for name in value]
        return {name: self._value(kind, value[name], at=_path(at, name)) for name in names}

    def _scalar(self, kind: Any, value: Any, *, at: str) -> Any:
        # Whole numbers are numbers, too, and YAML reads 3e-4 as text.
        if kind is float and not isinstance(value, bool) and isinstance(value, (int, float, str)):
            try:
                return float(value)
            except (ValueError, OverflowError):
                pass
        elif kind is Any or type(value) is kind:
            return value
        # YAML 1.1 read yes and off as switches.
        way_on = ": write true or false" if kind is bool and isinstance(value, str) else ""
        raise self.error(f"{at} is {reprlib.repr(value)}; a value of type {kind.__name__} is needed{way_on}.")


@functools.cache
def _fields(kind: type[Any]) -> dict[str, tuple[Any, bool]]:
    """Each field's type, and whether it has a default."""
    hints, empty = typing.get_type_hints(kind), dataclasses.MISSING
    return {
        field.name: (
            hints[field.name],
            field.default is not empty or field.default_factory is not empty,
        )
        for field in dataclasses.fields(kind)
    }


class _KeysTwiceError(ValueError):
    """A mapping has a key twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = sorted(name for name, count in counts.items() if count > 1)
        raise _KeysTwiceError(f"it has keys twice: {reprlib.repr(twice)}")
    return values


def _path(at: str, name: Any) -> str:
    text = str(name)
    shown = text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}…"
    return f"{at}.{shown}" if at else shown
