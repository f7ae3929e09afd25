"""What decides a mapper's results: its options, and the codec they name. All of it is hashed."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    ParamSpec,
    Self,
    TypeAlias,
    TypeVar,
    Unpack,
    cast,
    get_args,
)

from snac_tok.audio import Resampler, check_sampling_rate
from snac_tok.audio.resampling import check_resampler
from snac_tok.codec.hub_options import HubOptions
from snac_tok.errors import ConfigError
from snac_tok.frames import vocabulary_to_json
from snac_tok.prompts import PromptFormat
from snac_tok.tokenizer import SnacTokenizer
from snac_tok.tokenizer.required import name_of_codec

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from snac_tok.audio import MonoPolicy
    from snac_tok.frames import Vocabulary
    from snac_tok.prompts.array_types import OutputDtype
    from snac_tok.prompts.prompt_format import Prompt

P = ParamSpec("P")
R = TypeVar("R")

OnError: TypeAlias = Literal["raise", "column"]


class MappingOptions(HubOptions, total=False):
    """The `**options` of `SnacMapper` and `tokenize_dataset`; `SnacMapper` documents each."""

    sampling_rate: int | None
    sampling_rate_column: str | None
    resample: bool
    channels: MonoPolicy | None
    resampler: Resampler | None
    text_column: str | None
    voice_column: str | None
    prompt: Prompt | None
    mask_prompt: bool
    on_error: OnError
    allow_truncated: bool
    output_dtype: OutputDtype | None


_HUB_OPTIONS = frozenset(HubOptions.__annotations__)


def hub_options_of(options: MappingOptions) -> HubOptions:
    """Return the options for fetching the codec's files."""
    return cast("HubOptions", {name: value for name, value in options.items() if name in _HUB_OPTIONS})


@dataclass(frozen=True, kw_only=True)
class MapperOptions:
    """The options of `SnacMapper` that decide its results, as plain values, with their defaults.

    Raises:
        ConfigError: options that are unknown or contradict each other.
    """

    codec: str
    audio_column: str
    sampling_rate: int | None = None
    sampling_rate_column: str | None = None
    resample: bool = True
    channels: MonoPolicy | None = None
    resampler: list[str] | None = None
    text_column: str | None = None
    voice_column: str | None = None
    prompt: Any = None
    mask_prompt: bool = False
    on_error: OnError = "raise"
    allow_truncated: bool = False
    dtype: OutputDtype | None = None
    revision: str | None = None

    @classmethod
    def of(
        cls, codec: str | os.PathLike[str], *, audio_column: str, **options: Unpack[MappingOptions]
    ) -> Self:
        """Return the options as plain values.

        Raises:
            ConfigError: the codec is no name, or as for the attributes.
            AudioError: the resampler is none.
        """
        plain: dict[str, Any] = {name: value for name, value in options.items() if name not in _HUB_OPTIONS}
        plain |= {"dtype": plain.pop("output_dtype", None), "revision": options.get("revision")}
        if (resampler := options.get("resampler")) is not None:
            check_resampler(resampler)
            plain["resampler"] = [resampler.backend, resampler.quality]
        if isinstance(prompt := options.get("prompt"), PromptFormat):
            plain["prompt"] = prompt.to_dict()
        return cls(codec=name_of_codec(codec), audio_column=audio_column, **plain)

    def __post_init__(self) -> None:
        if self.on_error not in get_args(OnError):
            raise ConfigError(f'on_error is {self.on_error!r}; it must be "raise" or "column".')
        if self.sampling_rate is not None:
            object.__setattr__(self, "sampling_rate", check_sampling_rate(self.sampling_rate))
            if self.sampling_rate_column is not None:
                raise ConfigError("sampling_rate and sampling_rate_column say the same thing; leave one out.")
        for name in ("mask_prompt", "prompt"):
            if getattr(self, name) and self.text_column is None:
                raise ConfigError(
                    f"{name} is about sequences with text; name a text_column, or leave it out."
                )

    def load_encoder(
        self,
        *,
        preset: str | os.PathLike[str] | Vocabulary | None,
        levels: int | None,
        device: str,
        hub_options: HubOptions,
    ) -> SnacTokenizer:
        """Load the codec with its preprocessing; for raw codes the vocabulary does not matter.

        Raises:
            CheckpointError: the codec cannot be loaded.
            LayoutError: the preset does not fit it.
        """
        files: HubOptions = {**hub_options, "revision": self.revision}
        given: dict[str, Any] = {"resample": self.resample, "allow_truncated": self.allow_truncated}
        if self.channels is not None:
            given["channels"] = self.channels
        if self.resampler is not None:
            backend, quality = self.resampler
            given["resampler"] = Resampler(backend=backend, quality=quality)  # type: ignore[arg-type]
        return SnacTokenizer.from_pretrained(
            self.codec,
            preset=preset,
            levels=levels if preset is not None else None,
            device=device,
            **given,
            **files,
        )

    def describe(self, encoder: SnacTokenizer, *, ids: bool, levels: int | None) -> dict[str, Any]:
        """Return the settings of a codec and a vocabulary, as JSON values.

        Raises:
            ConfigError: `levels` is not from 1 to the codec's number of levels.
        """
        found = encoder.describe()
        # Without the package's version: a new release gives the same codes, or the format's version changes.
        del found["package_version"]
        most = encoder.codec.config.num_levels
        if levels is not None and (isinstance(levels, bool) or levels not in range(1, most + 1)):
            raise ConfigError(f"levels is {levels!r}; the codec has 1 to {most}.")
        table = vocabulary_to_json(encoder.vocabulary) if ids else None
        return found | {"vocabulary": table, "num_levels": levels or most}


def with_mapping_options(door: Callable[P, R]) -> Callable[P, R]:
    """Show a function's `**options` in its signature, and refuse unknown names as Python does."""
    own = inspect.signature(door)
    named = [given for given in own.parameters.values() if given.kind is not inspect.Parameter.VAR_KEYWORD]
    fields = {field.name: field.default for field in dataclasses.fields(MapperOptions)} | {
        "output_dtype": None
    }
    hidden = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=fields[name])
        for name in MappingOptions.__annotations__
        if name not in _HUB_OPTIONS
    ]
    rest = inspect.Parameter("hub_options", inspect.Parameter.VAR_KEYWORD)
    signature = own.replace(parameters=[*named, *hidden, rest])

    @functools.wraps(door)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            signature.bind_partial(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{door.__qualname__}() {error}") from None
        return door(*args, **kwargs)

    checked.__signature__ = signature  # type: ignore[attr-defined]
    return checked
