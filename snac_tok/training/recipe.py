"""What a part of the codec learns by: optimizers and codebooks, and the checks of a setting's bounds and words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snac_tok.codec.config import PRESETS, CodecConfig
from snac_tok.codec.vocos_config import VocosConfig
from snac_tok.errors import ConfigError
from snac_tok.training.field_types import check_types

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_word(name: str, value: object, words: Sequence[str]) -> None:
    """Refuse a word that a setting does not have.

    Raises:
        ConfigError: with the setting's name, what it is and what it may be.
    """
    if value not in words:
        raise ConfigError(f"{name} is {value!r}; it must be one of {list(words)}.")


def check(
    name: str,
    value: float,
    *,
    low: float,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    """Refuse a value out of its bounds, or one that is not finite.

    Raises:
        ConfigError: with the setting's name, what it is and what it must be.
    """
    above = value > low if open_low else value >= low
    below = value < high if open_high else value <= high
    if not (above and below and math.isfinite(value)):
        bounds = f"{'above' if open_low else 'at least'} {low:g}"
        if high < math.inf:
            shown = f"{high:,}" if isinstance(high, int) else f"{high:g}"
            bounds += f" and {'below' if open_high else 'at most'} {shown}"
        raise ConfigError(f"{name} is {value!r}; it must be {bounds}.")


@dataclass(frozen=True, kw_only=True)
class QuantizerConfig:
    """How the codebooks are trained.

    Args:
        level_dropout: share of clips of which only the first n levels, n drawn evenly, are decoded.
        restart_after: a code that no step has used for so many steps starts anew at a latent of the current batch;
            0 leaves unused codes as they are.
        restart_every: how often, in steps, unused codes are looked for.
    """

    level_dropout: float = 0.5
    restart_after: int = 500
    restart_every: int = 50

    def __post_init__(self) -> None:
        check_types(self)
        check("level_dropout", self.level_dropout, low=0.0, high=1.0)
        check("restart_after", self.restart_after, low=0)
        check("restart_every", self.restart_every, low=1)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW and its schedule; the defaults are SNAC's.

    Args:
        learning_rate: at the start, after the warm-up.
        betas: AdamW's.
        weight_decay: AdamW's.
        decay_per_step: factor on the learning rate, each step.
        warmup_steps: steps over which the rate rises from zero.
        cooldown_steps: steps at the end over which the rate falls to zero; 0 for none.
        clip_norm: the gradient's norm is cut to this.
    """

    learning_rate: float = 6e-4
    betas: tuple[float, float] = (0.8, 0.99)
    weight_decay: float = 0.01
    decay_per_step: float = 0.999994
    warmup_steps: int = 0
    cooldown_steps: int = 0
    clip_norm: float = 1e3

    def __post_init__(self) -> None:
        check_types(self)
        check("learning_rate", self.learning_rate, low=0.0, open_low=True)
        for beta in self.betas:
            check("each of betas", beta, low=0.0, high=1.0, open_high=True)
        check("weight_decay", self.weight_decay, low=0.0)
        check("decay_per_step", self.decay_per_step, low=0.0, high=1.0, open_low=True)
        check("warmup_steps", self.warmup_steps, low=0)
        check("cooldown_steps", self.cooldown_steps, low=0)
        check("clip_norm", self.clip_norm, low=0.0, open_low=True)

    def rate_at(self, step: int, *, steps: int) -> float:
        """Return the learning rate of step 0 … steps - 1, a function of the step alone."""
        rate = self.learning_rate * self.decay_per_step**step
        if step < self.warmup_steps:
            rate *= (step + 1) / self.warmup_steps
        return rate * min(1.0, (steps - step) / self.cooldown_steps) if self.cooldown_steps else rate


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """A decoder of Vocos' kind, trained in the place of a codec's own; its rate and width follow from the codec.

    Args:
        hops: length of a frame of its inverse transform, in hops of the codec.
        dim, intermediate_dim, num_layers, lookahead: as of `VocosConfig`.
    """

    hops: int = 4
    dim: int = 512
    intermediate_dim: int = 1536
    num_layers: int = 8
    lookahead: int = 3

    def __post_init__(self) -> None:
        check_types(self)
        self.for_codec(PRESETS["snac_24khz"])

    def for_codec(self, codec: CodecConfig) -> VocosConfig:
        """Return the shape of the decoder for a codec's latents."""
        assert codec.latent_dim is not None
        return VocosConfig(
            sampling_rate=codec.sampling_rate,
            input_channels=codec.latent_dim,
            hop_length=codec.hop_length,
            n_fft=self.hops * codec.hop_length,
            dim=self.dim,
            intermediate_dim=self.intermediate_dim,
            num_layers=self.num_layers,
            lookahead=self.lookahead,
        )
