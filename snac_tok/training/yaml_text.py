"""YAML to plain values: what version 1.2 says, by ruamel.yaml; it refuses a key that stands twice."""

from __future__ import annotations

from typing import Any

from snac_tok.errors import MissingDependencyError, SnacTokError

# What ruamel.yaml lets through: of unknown versions, of `!!bool x` and `!!int ""`, of numbers of thousands of digits.
_RAW = (AssertionError, KeyError, IndexError, TypeError, ValueError)


def parse_yaml(text: str, *, what: str, error: type[SnacTokError]) -> Any:
    """Return the value that YAML text holds.

    Args:
        text: YAML 1.2: `010` is ten, and `on`, `yes` and dates are text.
        what: the text is, for messages.
        error: the class of every refusal of it.

    Raises:
        SnacTokError: as `error`: the text is not YAML, or has a key twice.
        MissingDependencyError: ruamel.yaml is not installed.

    Example:
        >>> from snac_tok.errors import ConfigError
        >>> parse_yaml("{steps: 010, name: on, day: 2020-01-01}", what="the config", error=ConfigError)
        {'steps': 10, 'name': 'on', 'day': '2020-01-01'}
        >>> parse_yaml("{a: 1, a: 2}", what="the config", error=ConfigError)
        Traceback (most recent call last):
        snac_tok.errors.ConfigError: the config is not valid YAML: line 1 has the key "a" a second time.
    """
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.constructor import SafeConstructor
        from ruamel.yaml.error import YAMLError
    except ImportError as reason:
        raise MissingDependencyError(
            f"reading {what} needs ruamel.yaml: pip install ruamel.yaml, or write it as JSON."
        ) from reason

    class Constructor(SafeConstructor):  # made here, because what is added to a class stays
        """Leaves dates as they are written."""

    Constructor.add_constructor("tag:yaml.org,2002:timestamp", Constructor.construct_scalar)
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = Constructor
    try:
        return yaml.load(text)
    except (YAMLError, RecursionError, *_RAW) as reason:
        raise error(f"{what} is not valid YAML: {_reason(reason)}.") from reason


def _reason(error: BaseException) -> str:
    from ruamel.yaml.constructor import DuplicateKeyError

    if isinstance(error, DuplicateKeyError):
        found = error.problem.removeprefix("found duplicate ").removeprefix("merge ").removeprefix("key ")
        key = found.partition(" with value ")[0]
        way_on = "; write `<<: [*s, *t]` for two merges" if key == '"<<"' else ""
        return f"line {error.problem_mark.line + 1} has the key {key} a second time{way_on}"
    if isinstance(error, AssertionError) and "version" in str(error):
        return "its %YAML line names a version that is neither 1.1 nor 1.2"
    if isinstance(error, (AssertionError, LookupError, TypeError)):
        return "a value in it is not of the kind that is written in front of it with !!"
    return " ".join(str(error).split()).rstrip(".")
