"""Frozen dataclass trees from and to plain values, as YAML and JSON files hold them.

Every refusal names the setting by its path ("losses.mel"), what was found and what is possible.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin

from snac_tok.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

Settings = TypeVar("Settings")

_LONGEST_VALUE = 200


def from_plain(kind: type[Settings], values: Any, *, at: str = "") -> Settings:
    """Build the dataclass `kind`, and those inside it, from dicts, lists and scalars.

    Args:
        kind: a dataclass whose fields are scalars, tuples, literals, dataclasses, or any of these or None.
        values: a mapping of its fields; those left out keep their defaults.
        at: the path of this mapping inside a larger one, for messages.

    Raises:
        ConfigError: a name is unknown or a value is of the wrong type or out of its bounds.

    Example:
        >>> from snac_tok.training.recipe import OptimizerConfig
        >>> from_plain(OptimizerConfig, {"learning_rate": "3e-4"}).learning_rate  # YAML reads 3e-4 as text
        0.0003
    """
    fields = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if not isinstance(values, dict):
        found = "empty" if values is None else repr(values)
        raise ConfigError(f"{at or 'the config'} is {found}; a mapping of {sorted(fields)} is needed.")
    for name in values:
        if name not in fields:
            raise ConfigError(
                f"{_path(at, name)} is no setting{_closest(name, fields)}; known: {sorted(fields)}."
            )
    hints = typing.get_type_hints(kind)
    taken = {name: _value(hints[name], value, at=_path(at, name)) for name, value in values.items()}
    try:
        return kind(**taken)
    except ConfigError as error:
        raise ConfigError(f"{at}: {error}" if at else str(error)) from error
    except TypeError as error:
        missing = sorted(name for name in _required(kind) if name not in values)
        raise ConfigError(f"{at or 'the config'} lacks {missing}.") from error


def to_plain(settings: Any) -> Any:
    """Return a dataclass tree as dicts, lists and scalars; `from_plain` reads them back."""
    if dataclasses.is_dataclass(settings):
        return {field.name: to_plain(getattr(settings, field.name)) for field in dataclasses.fields(settings)}
    if isinstance(settings, (tuple, list)):
        return [to_plain(value) for value in settings]
    return settings


def differences(before: Mapping[str, Any], now: Mapping[str, Any], *, at: str = "") -> list[str]:
    """Return the paths of the plain settings in which two configs differ."""
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


def _value(hint: Any, value: Any, *, at: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _optional(inner, value, at=at)
    if origin is Literal:
        if value not in inner:
            raise ConfigError(f"{at} is {_shown(value)}; it must be one of {list(inner)}.")
        return value
    if origin is tuple:
        return _tuple(inner, value, at=at)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_plain(hint, value, at=at)
    return _scalar(hint, value, at=at)


def _optional(inner: tuple[Any, ...], value: Any, *, at: str) -> Any:
    if value is None and type(None) in inner:
        return None
    kinds = [kind for kind in inner if kind is not type(None)]
    return _value(kinds[0], value, at=at)


def _tuple(inner: tuple[Any, ...], value: Any, *, at: str) -> Any:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{at} is {_shown(value)}; a list is needed.")
    repeated = len(inner) == 2 and inner[1] is Ellipsis  # noqa: PLR2004 - tuple[X, ...]
    kinds = [inner[0]] * len(value) if repeated else list(inner)
    if len(kinds) != len(value):
        raise ConfigError(f"{at} has {len(value)} entries; {len(kinds)} are needed.")
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(_value(kind, entry, at=f"{at}[{place}]") for place, (kind, entry) in pairs)


def _scalar(kind: type, value: Any, *, at: str) -> Any:
    if kind is float and not isinstance(value, bool) and isinstance(value, (int, float, str)):
        try:
            return float(value)
        except ValueError:
            pass
    elif type(value) is kind:
        return value
    raise ConfigError(f"{at} is {_shown(value)}; a value of type {kind.__name__} is needed.")


def _required(kind: Any) -> list[str]:
    empty = dataclasses.MISSING
    return [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is empty and field.default_factory is empty
    ]


def _path(at: str, name: str) -> str:
    return f"{at}.{name}" if at else str(name)


def _closest(name: Any, known: set[str]) -> str:
    near = difflib.get_close_matches(str(name), known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _shown(value: Any) -> str:
    """Write a value as it stands, as much of it as a sentence can quote: it may be a whole tree."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
