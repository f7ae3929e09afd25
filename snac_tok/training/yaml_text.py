"""YAML as people mean it: no key twice, and a plain word or number is what YAML 1.2 says, not what 1.1 made of it.

written           PyYAML (1.1)     here
steps: 010        8                10
steps: 1:30       90               the text "1:30", which is no number
name: on          True             the text "on"
name: 2020-01-01  a date           the text
compile: yes      True             True: a switch is due there
"""

from __future__ import annotations

import functools
import re
from typing import Any

from snac_tok.errors import MissingDependencyError, SnacTokError

# The settings of a run that are true or false; under all other names `yes` and `on` are words.
SWITCHES = frozenset({"adversarial", "compile", "depthwise", "noise"})
_SWITCHED = {"yes": True, "on": True, "no": False, "off": False}

# YAML 1.2's, with 1.1's underscores between digits; the first characters say where PyYAML looks for them.
_RULES = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+|0o[0-7]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("merge", r"<<", "<"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
)


def parse_yaml(text: str, *, what: str, error: type[SnacTokError]) -> Any:
    """Return the value that YAML text holds.

    Args:
        text: YAML.
        what: the text is, for messages.
        error: the class of every refusal of it.

    Raises:
        SnacTokError: as `error`: the text is not YAML, or has a key twice, of which YAML would keep the last.
        MissingDependencyError: PyYAML is not installed.

    Example:
        >>> from snac_tok.errors import ConfigError
        >>> parse_yaml("{steps: 010, name: on, compile: on}", what="the config", error=ConfigError)
        {'steps': 10, 'name': 'on', 'compile': True}
        >>> parse_yaml("{a: 1, a: 2}", what="the config", error=ConfigError)
        Traceback (most recent call last):
        snac_tok.errors.ConfigError: the config is not valid YAML: line 1 has the key 'a' a second time.
    """
    try:
        import yaml
    except ImportError as reason:
        raise MissingDependencyError(
            f"reading {what} needs PyYAML: pip install pyyaml, or write it as JSON."
        ) from reason
    try:
        return yaml.load(text, Loader=_loader())  # noqa: S506 - a SafeLoader
    except (
        yaml.YAMLError,
        ValueError,
        RecursionError,
    ) as reason:  # ValueError for numbers of thousands of digits
        raise error(f"{what} is not valid YAML: {' '.join(str(reason).split()).rstrip('.')}.") from reason


@functools.cache
def _loader() -> Any:
    """Return PyYAML's safe loader with our rules; PyYAML is imported only where there is YAML."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc] # PyYAML tells no types
        """Resolves plain words by `_RULES`."""

        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - filled below, as PyYAML does

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
            _refuse_twice(node)
            for key, value in node.value:
                _switch(key.value, value)
            mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
            return mapping

    for kind, pattern, firsts in _RULES:
        regexp = re.compile(rf"(?:{pattern})\Z")
        Loader.add_implicit_resolver(
            f"tag:yaml.org,2002:{kind}", regexp, ["" if first == "\0" else first for first in firsts]
        )
    Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)
    return Loader


def _refuse_twice(node: Any) -> None:
    """Refuse a mapping that names a plain key twice, before what it merges in is added."""
    seen = set()
    for key, _ in node.value:
        name = (key.tag, str(key.value))
        if name in seen:
            raise ValueError(f"line {key.start_mark.line + 1} has the key {key.value!r} a second time")
        seen.add(name)


def _switch(name: Any, value: Any) -> None:
    """Make a plain `yes` or `off` true or false where the setting is a switch."""
    if name in SWITCHES and getattr(value, "style", "'") is None and value.value.lower() in _SWITCHED:
        value.tag = "tag:yaml.org,2002:bool"


def _whole_number(_loader: Any, node: Any) -> int:
    text = node.value.replace("_", "")
    return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
