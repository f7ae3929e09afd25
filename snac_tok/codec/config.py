"""What a codec is: a frozen config, every size that follows from it, and the released shapes.

Nothing here touches torch: a config can be read, checked and described without loading the network.
The receptive field is derived in `geometry`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snac_tok.codec.parameter_count import num_parameters
from snac_tok.errors import ConfigError
from snac_tok.plain_values import parse_json, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# One attention head is 64 channels wide in every SNAC (upstream LocalMHA, dim_head).
HEAD_DIM = 64

# Kernel width of every convolution that does not change the rate (upstream layers.py).
KERNEL_SIZE = 7

# Dilations of the three residual units in every encoder and decoder block (upstream layers.py).
RESIDUAL_DILATIONS = (1, 3, 9)

# Bounds that no real codec comes near; they keep a hostile config.json from asking for terabytes.
_BOUNDS = {
    "sampling_rate": (1, 768_000),
    "encoder_dim": (1, 1024),
    "decoder_dim": (2, 8192),
    "attn_window_size": (1, 4096),
    "codebook_size": (2, 65_536),
    "codebook_dim": (1, 1024),
}
_MAX_BLOCKS = 8
_MAX_LEVELS = 16
_MAX_RATE = 64
_MAX_LATENT_DIM = 8192
_MAX_PAD_SAMPLES = 1 << 24
# Ten times the largest released codec; two GiB as float32.
MAX_PARAMETERS = 1 << 29


@dataclass(frozen=True, kw_only=True)
class CodecConfig:
    """The arguments of a SNAC network, checked, with every derived size as a property.

    Field names, order and defaults are those of upstream's constructor, so its config.json files load.
    The class default is the 50.3 M parameter network; the released models are in `PRESETS`.

    Args:
        sampling_rate: samples per second of the audio, in Hz.
        encoder_dim: channels after the first encoder convolution; doubled by every encoder block.
        encoder_rates: downsampling factor of each encoder block (2 to 64).
        latent_dim: channels of a latent; follows from the encoder, so None or exactly that value.
        decoder_dim: channels of the first decoder block's input; halved by every decoder block.
        decoder_rates: upsampling factor of each decoder block; their product must equal the encoder's.
        attn_window_size: latents in one local attention window; None for no attention.
        codebook_size: entries of each codebook.
        codebook_dim: dimensions of a codebook entry.
        vq_strides: latents that one code of each level spans, coarsest first.
        noise: whether decoder blocks have noise blocks.
        depthwise: whether the residual units' wide convolutions are depthwise.

    Raises:
        ConfigError: a value is of the wrong type, out of bounds, or contradicts another.

    Example:
        >>> from snac_tok.codec.config import PRESETS
        >>> config = PRESETS["snac_24khz"]
        >>> config.hop_length, config.frame_length, config.tokens_per_frame
        (512, 2048, 7)
        >>> round(config.tokens_per_second, 2), round(config.bits_per_second)
        (82.03, 984)
    """

    sampling_rate: int = 44_100
    encoder_dim: int = 64
    encoder_rates: tuple[int, ...] = (3, 3, 7, 7)
    latent_dim: int | None = None
    decoder_dim: int = 1536
    decoder_rates: tuple[int, ...] = (7, 7, 3, 3)
    attn_window_size: int | None = 32
    codebook_size: int = 4096
    codebook_dim: int = 8
    vq_strides: tuple[int, ...] = (8, 4, 2, 1)
    noise: bool = True
    depthwise: bool = True

    def __post_init__(self) -> None:
        for name in ("encoder_rates", "decoder_rates", "vq_strides"):
            object.__setattr__(self, name, _int_tuple(name, getattr(self, name)))
        for name, (low, high) in _BOUNDS.items():
            value = getattr(self, name)
            if name != "attn_window_size" or value is not None:
                object.__setattr__(self, name, checked_int(name, value, low, high))
        for name in ("noise", "depthwise"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it must be true or false.")
        self._check_rates()
        self._check_levels()
        self._check_channels()
        if self.num_parameters > MAX_PARAMETERS:
            raise ConfigError(
                f"the codec would have {self.num_parameters:,} parameters; at most {MAX_PARAMETERS:,} are supported: "
                "lower encoder_dim, decoder_dim or the codebooks."
            )

    def _check_rates(self) -> None:
        for name in ("encoder_rates", "decoder_rates"):
            rates = getattr(self, name)
            if not 1 <= len(rates) <= _MAX_BLOCKS:
                raise ConfigError(f"{name} has {len(rates)} entries; 1 to {_MAX_BLOCKS} are possible.")
            for rate in rates:
                # A factor of 1 would change the length by one sample: kernel 2, padding 1.
                checked_int(f"each of {name}", rate, 2, _MAX_RATE)
        if math.prod(self.encoder_rates) != math.prod(self.decoder_rates):
            raise ConfigError(
                f"encoder_rates {list(self.encoder_rates)} and decoder_rates {list(self.decoder_rates)} multiply "
                f"to {math.prod(self.encoder_rates)} and {math.prod(self.decoder_rates)}; they must be equal."
            )

    def _check_levels(self) -> None:
        strides = self.vq_strides
        if not 1 <= len(strides) <= _MAX_LEVELS:
            raise ConfigError(f"vq_strides has {len(strides)} entries; 1 to {_MAX_LEVELS} are possible.")
        for stride in strides:
            checked_int("each of vq_strides", stride, 1, 4096)
        for coarse, fine in itertools.pairwise(strides):
            if coarse % fine:
                raise ConfigError(
                    f"vq_strides {list(strides)}: {coarse} is not a multiple of {fine}; "
                    "order the levels coarsest first, each a multiple of the next."
                )
        if self.padding_multiple > _MAX_PAD_SAMPLES:
            raise ConfigError(
                f"clips would be padded to a multiple of {self.padding_multiple:,} samples; "
                f"at most {_MAX_PAD_SAMPLES:,} is supported: lower the rates, the strides or the attention window."
            )

    def _check_channels(self) -> None:
        derived = self.encoder_dim << len(self.encoder_rates)
        if derived > _MAX_LATENT_DIM:
            raise ConfigError(
                f"the encoder ends in {derived} channels; at most {_MAX_LATENT_DIM} are supported."
            )
        if self.latent_dim is not None and self.latent_dim != derived:
            raise ConfigError(
                f"latent_dim is {self.latent_dim!r}, but encoder_dim {self.encoder_dim} doubled over "
                f"{len(self.encoder_rates)} blocks gives {derived}; leave latent_dim out."
            )
        object.__setattr__(self, "latent_dim", derived)
        if self.decoder_dim >> len(self.decoder_rates) < 1:
            raise ConfigError(
                f"decoder_dim {self.decoder_dim} halved over {len(self.decoder_rates)} blocks leaves no channel; "
                f"at least {1 << len(self.decoder_rates)} is needed."
            )
        if self.attn_window_size is not None:
            for name, width in (("latent_dim", derived), ("decoder_dim", self.decoder_dim)):
                if width % HEAD_DIM:
                    raise ConfigError(
                        f"{name} is {width}; with attention it must be a multiple of {HEAD_DIM}, one head's width."
                    )

    @property
    def hop_length(self) -> int:
        """Samples per latent (one step of the finest level when its stride is 1)."""
        return math.prod(self.encoder_rates)

    @property
    def num_levels(self) -> int:
        """Number of codebooks."""
        return len(self.vq_strides)

    @property
    def num_parameters(self) -> int:
        """Number of weights, known before any is made."""
        return num_parameters(
            encoder_dim=self.encoder_dim,
            encoder_rates=self.encoder_rates,
            decoder_dim=self.decoder_dim,
            decoder_rates=self.decoder_rates,
            attention=self.attn_window_size is not None,
            codebook_size=self.codebook_size,
            codebook_dim=self.codebook_dim,
            num_levels=self.num_levels,
            noise=self.noise,
            depthwise=self.depthwise,
            kernel_size=KERNEL_SIZE,
            units=len(RESIDUAL_DILATIONS),
        )

    @property
    def latents_per_frame(self) -> int:
        """Latents that one coarse step spans."""
        return self.vq_strides[0]

    @property
    def frame_length(self) -> int:
        """Samples that one frame (a coarse step with all its codes) spans."""
        return self.hop_length * self.latents_per_frame

    @property
    def latents_multiple(self) -> int:
        """A padded clip has a multiple of this many latents: whole frames and whole attention windows."""
        return math.lcm(self.latents_per_frame, self.attn_window_size or 1)

    @property
    def padding_multiple(self) -> int:
        """Encoding pads a clip with zeros, at its end, to a multiple of this many samples."""
        return self.hop_length * self.latents_multiple

    @property
    def codes_per_frame(self) -> tuple[int, ...]:
        """Codes of each level in one frame, coarsest first."""
        return tuple(self.latents_per_frame // stride for stride in self.vq_strides)

    @property
    def tokens_per_frame(self) -> int:
        """Codes of all levels in one frame."""
        return sum(self.codes_per_frame)

    @property
    def frames_per_second(self) -> float:
        """Frames in one second of audio."""
        return self.sampling_rate / self.frame_length

    @property
    def tokens_per_second(self) -> float:
        """Codes of all levels in one second of audio."""
        return self.frames_per_second * self.tokens_per_frame

    @property
    def bits_per_second(self) -> float:
        """Bitrate of the codes without entropy coding."""
        return self.tokens_per_second * math.log2(self.codebook_size)

    def padded_num_samples(self, num_samples: int) -> int:
        """Samples of a clip of `num_samples` after encoding's padding."""
        return math.ceil(num_samples / self.padding_multiple) * self.padding_multiple

    def num_frames(self, num_samples: int) -> int:
        """Frames that a clip of `num_samples` is encoded to."""
        return self.padded_num_samples(num_samples) // self.frame_length

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values, as written to config.json."""
        values = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CodecConfig:
        """Build from a config.json's content; unknown names are an error that lists the known ones."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        # Hugging Face's save_pretrained adds entries of its own, which say nothing of the network.
        if unknown and "model_type" not in values:
            raise ConfigError(
                f"the codec config has unknown entries {unknown}; the known ones are {sorted(known)}."
            )
        return cls(**{name: value for name, value in values.items() if name in known})

    @classmethod
    def from_json(cls, path: str | Path) -> CodecConfig:
        """Read a config.json; every refusal names the file."""
        values = read_config(path)
        try:
            return cls.from_dict(values)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error


def read_config(path: str | Path) -> dict[str, Any]:
    """Read what a config.json says; every refusal names the file."""
    text = read_text(path, what="the codec config", error=ConfigError)
    values = parse_json(text, what=f"the codec config {path}", error=ConfigError)
    if not isinstance(values, dict):
        raise ConfigError(f"the codec config {path} holds a {type(values).__name__}; it must hold an object.")
    return values


def checked_int(name: str, value: Any, low: int, high: int) -> int:
    """Return a whole number of any type, numpy's included, as an int.

    Raises:
        ConfigError: it is none, or out of bounds.
    """
    number = _whole(value)
    if type(number) is not int or not low <= number <= high:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number from {low} to {high}.")
    return number


def _whole(value: Any) -> Any:
    """Return a whole number as an int, and anything else as it is."""
    try:
        return value if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return value


def _int_tuple(name: str, value: Any) -> tuple[int, ...]:
    values = value.tolist() if hasattr(value, "tolist") else value  # numpy and torch
    if not isinstance(values, (list, tuple)):
        raise ConfigError(f"{name} is {value!r}; it must be a list of whole numbers.")
    return tuple(map(_whole, values))


_MUSIC = {
    "encoder_dim": 64,
    "encoder_rates": (2, 3, 8, 8),
    "decoder_dim": 1536,
    "decoder_rates": (8, 8, 3, 2),
}

# The released checkpoints' config.json files, which differ from the class defaults.
PRESETS: dict[str, CodecConfig] = {
    "snac_24khz": CodecConfig(
        sampling_rate=24_000,
        encoder_dim=48,
        encoder_rates=(2, 4, 8, 8),
        decoder_dim=1024,
        decoder_rates=(8, 8, 4, 2),
        attn_window_size=None,
        vq_strides=(4, 2, 1),
    ),
    "snac_32khz": CodecConfig(sampling_rate=32_000, **_MUSIC),  # type: ignore[arg-type]
    "snac_44khz": CodecConfig(sampling_rate=44_100, **_MUSIC),  # type: ignore[arg-type]
    "default": CodecConfig(),
}
