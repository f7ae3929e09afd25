"""Whether settings have the types of their fields, for configs built in Python; `from_plain` checks those of files."""

from __future__ import annotations

import reprlib
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from snac_tok.errors import ConfigError


def check_types(value: Any) -> None:
    """Refuse a dataclass that was made with a value of another type than its field's; lists may stand for tuples.

    What `from_plain` makes always passes; this is for whoever calls the class. Words are checked where they are known.

    Raises:
        ConfigError: with the first such field, and what is needed.

    Example:
        >>> from snac_tok.training import OptimizerConfig
        >>> OptimizerConfig(clip_norm="1")
        Traceback (most recent call last):
        snac_tok.errors.ConfigError: clip_norm is '1'; a value of type float is needed.
    """
    for name, hint in typing.get_type_hints(type(value)).items():
        found = getattr(value, name)
        if not _fits(hint, found):
            needed = " or ".join(_type_names(hint))
            raise ConfigError(f"{name} is {reprlib.repr(found)}; a value of type {needed} is needed.")


def _fits(hint: Any, value: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(each, value) for each in inner)
    if origin is tuple:
        repeated = inner[-1] is Ellipsis
        if not isinstance(value, (tuple, list)) or not (repeated or len(value) == len(inner)):
            return False
        kinds = [inner[0]] * len(value) if repeated else inner
        return all(_fits(kind, each) for kind, each in zip(kinds, value, strict=True))
    if hint is Any or origin in (Literal, dict, Mapping):
        return True
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _type_names(hint: Any) -> list[str]:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return [name for each in inner for name in _type_names(each)]
    if origin is tuple:
        return [f"tuple of {' or '.join(_type_names(inner[0]))}"]
    return ["None"] if hint is type(None) else [getattr(hint, "__name__", str(hint))]
