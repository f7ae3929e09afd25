"""The codec's config as transformers knows configs; `CodecConfig` says what each entry means."""

from __future__ import annotations

import dataclasses
from typing import Any

from transformers import PretrainedConfig

from snac_tok.codec import CodecConfig

_FIELDS = tuple(field.name for field in dataclasses.fields(CodecConfig))


class SnacConfig(PretrainedConfig):
    """Shape of a SNAC codec, with the entries of upstream's config.json.

    Raises:
        ConfigError: the entries describe no possible network.

    Example:
        >>> SnacConfig().hop_length
        441
    """

    model_type = "snac"

    sampling_rate: int = 44_100
    encoder_dim: int = 64
    encoder_rates: list[int] | tuple[int, ...] = (3, 3, 7, 7)
    latent_dim: int | None = None
    decoder_dim: int = 1536
    decoder_rates: list[int] | tuple[int, ...] = (7, 7, 3, 3)
    attn_window_size: int | None = 32
    codebook_size: int = 4096
    codebook_dim: int = 8
    vq_strides: list[int] | tuple[int, ...] = (8, 4, 2, 1)
    noise: bool = True
    depthwise: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        """Check the entries, then take what every config takes."""
        self.latent_dim = self.codec_config.latent_dim
        super().__post_init__(**kwargs)

    @property
    def codec_config(self) -> CodecConfig:
        """The same shape as `snac_tok.codec` knows it, with every derived size."""
        return CodecConfig.from_dict({name: getattr(self, name) for name in _FIELDS})

    @property
    def hop_length(self) -> int:
        """Samples of one latent."""
        return self.codec_config.hop_length

    @classmethod
    def of(cls, config: CodecConfig) -> SnacConfig:
        """Return the config of a codec."""
        return cls(**config.to_dict())
