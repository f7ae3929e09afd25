"""The arguments of doors that load a codec: what decides a result must be named, and unknown names are refused.

Python's own error says that an argument is missing, and not what could be written there; and of a door that hands the
hub's options on it cannot say that a name is unknown.
"""

from __future__ import annotations

import functools
import inspect
import os
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from snac_tok.codec.hub_options import HubOptions
from snac_tok.codec.pretrained import checked_codec_name
from snac_tok.codec.trial import RELEASED_SPEECH_CODEC, TRIAL_CODEC
from snac_tok.errors import ConfigError, MissingArgumentError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

NO_CODEC = (
    f'name the codec: "{RELEASED_SPEECH_CODEC}" made the tokens of the published speech models; a folder or another '
    f'repository is possible, too, and "{TRIAL_CODEC}" for trials.'
)


def requires(**sentences: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a call that leaves one of these parameters out, or None, fail with its sentence.

    A door that ends in `**hub_options` takes the names of `HubOptions` and no others.

    Example:
        >>> @requires(codec=NO_CODEC)
        ... def door(dataset, codec):
        ...     return codec
        >>> door([])
        Traceback (most recent call last):
        snac_tok.errors.MissingArgumentError: door: name the codec: "hubertsiuzdak/snac_24khz" made the tokens of ...
    """

    def decorated(door: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(door)
        known = [*signature.parameters, *HubOptions.__annotations__]
        name_of_door = door.__qualname__.removesuffix(".__init__")

        @functools.wraps(door)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                given = signature.bind_partial(*args, **kwargs).arguments
            except TypeError:
                return door(*args, **kwargs)  # which is refused with its own name
            for name in kwargs.keys() - known:
                raise TypeError(
                    f"{name_of_door}() got an unexpected keyword argument {name!r}.{did_you_mean(name, known)}"
                )
            for name, sentence in sentences.items():
                required(given.get(name), sentence, door=name_of_door)
            return door(*args, **kwargs)

        return checked

    return decorated


def name_of_codec(codec: Any) -> str:
    """Return a codec's name, folder or repository as text, for doors that load it later, in other processes too.

    Raises:
        ConfigError: it is a loaded one, an empty name, or something else.
    """
    if not isinstance(codec, (str, os.PathLike)):
        raise ConfigError(
            f"codec is a {type(codec).__name__}; its name, folder or repository is needed, because it is loaded where "
            "it works: save_pretrained writes a folder of a loaded one."
        )
    return checked_codec_name(codec, argument="codec")


def required(value: Any, sentence: str, *, door: str) -> Any:
    """Return what was given.

    Raises:
        MissingArgumentError: with the door's name and the sentence, where nothing was.
    """
    if value is None:
        raise MissingArgumentError(f"{door}: {sentence}")
    return value
