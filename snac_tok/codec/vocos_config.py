"""The shape of a decoder of Vocos' kind, checked, as it is written to its config.json."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snac_tok.codec.config import MAX_PARAMETERS, checked_int
from snac_tok.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

# What a config.json of a decoder says of its kind; a codec's has no such entry.
_KIND = "decoder_type"
_VOCOS = "vocos"

# Of every convolution, as in the paper's code.
KERNEL_SIZE = 7

_BOUNDS = {
    "sampling_rate": (1, 768_000),
    "input_channels": (1, 8192),
    "hop_length": (1, 65_536),
    "n_fft": (2, 1 << 18),
    "dim": (1, 8192),
    "intermediate_dim": (1, 32_768),
    "num_layers": (1, 64),
    "lookahead": (0, KERNEL_SIZE - 1),
}
_HOPS = (2, 16)


@dataclass(frozen=True, kw_only=True)
class VocosConfig:
    """The arguments of a Vocos-type decoder.

    Args:
        sampling_rate: samples per second of the audio, in Hz; the codec's.
        input_channels: channels of a latent; the codec's `latent_dim`.
        hop_length: samples of a latent; the codec's.
        n_fft: length of a frame of the inverse transform, 2 to 16 hops.
        dim: channels between the blocks.
        intermediate_dim: channels inside of a block.
        num_layers: how many blocks.
        lookahead: latents that each convolution sees ahead: 3 as in the paper, 0 for none. What sound lags behind in a
            stream grows with it.
        codes_sha256: digests of the codebooks that it was trained for, one for each precision that a codec's files may
            have (`decoders.codes_sha256`); empty where nobody knows.

    Raises:
        ConfigError: a value is of the wrong type or out of bounds.

    Example:
        >>> VocosConfig(sampling_rate=24_000, input_channels=768, hop_length=512, n_fft=2048).num_parameters
        16451074
    """

    sampling_rate: int
    input_channels: int
    hop_length: int
    n_fft: int
    dim: int = 512
    intermediate_dim: int = 1536
    num_layers: int = 8
    lookahead: int = KERNEL_SIZE // 2
    codes_sha256: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        digests: Any = self.codes_sha256  # from a file it is what stands there
        if not isinstance(digests, (list, tuple)) or not all(isinstance(each, str) for each in digests):
            raise ConfigError("codes_sha256 is no list of digests; leave it out where they are not known.")
        object.__setattr__(self, "codes_sha256", tuple(digests))
        for name, (low, high) in _BOUNDS.items():
            object.__setattr__(self, name, checked_int(name, getattr(self, name), low, high))
        if self.n_fft % self.hop_length or not _HOPS[0] <= self.n_fft // self.hop_length <= _HOPS[1]:
            raise ConfigError(
                f"n_fft is {self.n_fft} and hop_length {self.hop_length}; n_fft must be {_HOPS[0]} to {_HOPS[1]} hops."
            )

        if self.num_parameters > MAX_PARAMETERS:
            raise ConfigError(
                f"the decoder would have {self.num_parameters:,} parameters; at most {MAX_PARAMETERS:,} are supported: "
                "lower dim, intermediate_dim or num_layers."
            )

    @property
    def num_parameters(self) -> int:
        """Number of weights, known before any is made."""
        dim, wide = self.dim, self.intermediate_dim
        block = dim * KERNEL_SIZE + dim + 2 * dim + dim * wide + wide + wide * dim + dim + dim
        embed = self.input_channels * dim * KERNEL_SIZE + dim + 2 * dim
        return embed + self.num_layers * block + 2 * dim + (dim + 1) * (self.n_fft + 2)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values, as written to config.json, and the decoder's kind."""
        values = {_KIND: _VOCOS, **dataclasses.asdict(self), "codes_sha256": list(self.codes_sha256)}
        if not self.codes_sha256:  # as versions before wrote it, and read it
            del values["codes_sha256"]
        return values

    @staticmethod
    def describes(values: Mapping[str, Any]) -> bool:
        """Say whether a config.json is one of a decoder: it says of what kind."""
        return _KIND in values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VocosConfig:
        """Build from a config.json's content.

        Raises:
            ConfigError: it is another kind's, or a name is unknown or missing.
        """
        if values[_KIND] != _VOCOS:
            raise ConfigError(f"{_KIND} is {values[_KIND]!r}; {_VOCOS!r} is the kind that there is.")
        known = {field.name: field.default is dataclasses.MISSING for field in dataclasses.fields(cls)}
        given = {name: value for name, value in values.items() if name != _KIND}
        unknown = sorted(set(given) - set(known))
        missing = sorted(name for name, needed in known.items() if needed and name not in given)
        if unknown or missing:
            raise ConfigError(
                f"the decoder's config lacks {missing} and has unknown entries {unknown}; the known ones are "
                f"{sorted(known)}."
            )
        return cls(**given)
