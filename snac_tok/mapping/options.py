"""What decides a mapper's results: its options, and the codec they name. All of it is hashed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from snac_tok.audio import Resampler, check_sampling_rate
from snac_tok.errors import ConfigError
from snac_tok.frames import vocabulary_to_json
from snac_tok.tokenizer import SnacTokenizer

if TYPE_CHECKING:
    import os

    from snac_tok.audio import MonoPolicy
    from snac_tok.codec.hub_options import HubOptions
    from snac_tok.frames import Vocabulary

OnError: TypeAlias = Literal["raise", "column"]


@dataclass(frozen=True, kw_only=True)
class MapperOptions:
    """The options of `SnacMapper` as plain values; see there.

    Raises:
        ConfigError: options that are unknown or contradict each other.
    """

    codec: str
    revision: str | None
    audio_column: str
    sampling_rate: int | None
    sampling_rate_column: str | None
    resample: bool
    channels: MonoPolicy | None
    resampler: list[str] | None
    text_column: str | None
    voice_column: str | None
    prompt: Any
    mask_prompt: bool
    on_error: OnError
    dtype: Any
    allow_truncated: bool = False

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
        """Load the codec with its preparation; where raw codes are wanted, its vocabulary is of no account.

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
        """Return what a codec and a vocabulary decide, as JSON values.

        Raises:
            ConfigError: `levels` is no number of the codec's levels.
        """
        found = encoder.describe()
        # A new release gives the same codes; where it does not, the format's version says so.
        del found["package_version"]
        most = encoder.codec.config.num_levels
        if levels is not None and (isinstance(levels, bool) or levels not in range(1, most + 1)):
            raise ConfigError(f"levels is {levels!r}; the codec has 1 to {most}.")
        table = vocabulary_to_json(encoder.vocabulary) if ids else None
        return found | {"vocabulary": table, "num_levels": levels or most}
