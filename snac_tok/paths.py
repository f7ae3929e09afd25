"""What a public call takes as a path: a text or path object that names something; it looks at no disk.

Python's own error for anything else speaks of `os.PathLike` and not of the argument; and an empty text would silently
mean the current folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snac_tok.wording import what_came

if TYPE_CHECKING:
    from snac_tok.errors import SnacTokError


def checked_path(value: Any, *, name: str, needed: str, error: type[SnacTokError]) -> Path:
    """Return an argument as a path.

    Args:
        value: what was given.
        name: the argument's.
        needed: what it should be, with an article.
        error: the class of every refusal.

    Raises:
        SnacTokError: as `error`: it is no path, or an empty one.

    Example:
        >>> from snac_tok.errors import ShardError
        >>> checked_path("", name="folder", needed="the path of a folder", error=ShardError)
        Traceback (most recent call last):
        snac_tok.errors.ShardError: folder is empty; the path of a folder is needed.
    """
    return Path(checked_name(value, name=name, needed=needed, error=error))


def checked_name(value: Any, *, name: str, needed: str, error: type[SnacTokError]) -> str:
    """Return an argument that names something as text; arguments and errors are those of `checked_path`.

    Example:
        >>> from snac_tok.errors import ConfigError
        >>> checked_name(3, name="repo_id", needed="a codec's name", error=ConfigError)
        Traceback (most recent call last):
        snac_tok.errors.ConfigError: repo_id is 3; a codec's name is needed.
    """
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if text == "":
        raise error(f"{name} is empty; {needed} is needed.")
    if not isinstance(text, str):
        raise error(f"{name} is {what_came(value)}; {needed} is needed.")
    return text
