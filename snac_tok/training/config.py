"""What a training run is: a tree of frozen dataclasses, read from YAML or JSON, every loss weight by name."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from snac_tok.codec.config import PRESETS, CodecConfig
from snac_tok.errors import ConfigError, MissingDependencyError
from snac_tok.metrics.mel import DAC_SCALES
from snac_tok.training.augmentation import Augmentation
from snac_tok.training.discriminators import DiscriminatorConfig
from snac_tok.training.losses import LossWeights
from snac_tok.training.settings import from_plain, to_plain

# What may change between a run and its continuation: how long it goes on and what it tells.
CHANGEABLE = ("steps", "log_every", "validate_every", "checkpoint_every", "keep_checkpoints", "sound_clips")

# torch's generators take no larger ones; the discriminators' is one more.
_LARGEST_SEED = 10**18


@dataclass(frozen=True, kw_only=True)
class Source:
    """One prepared folder of training sound, and how often it is drawn from.

    Args:
        folder: what `snac-tok prepare` made.
        weight: share of the crops, relative to the other sources' weights.
    """

    folder: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check("weight", self.weight, low=0.0, open_low=True)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where sound comes from and how it is cut.

    Args:
        train: prepared folders.
        validation: a prepared folder of clips that training never sees, or None.
        crop_samples: samples in a crop; a multiple of the codec's padding.
        silence_db: crops whose level is below this are drawn again, in dB relative to full scale.
        augmentation: what is done to crops.
    """

    train: tuple[Source, ...]
    validation: str | None = None
    crop_samples: int = 16_384
    silence_db: float = -60.0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if not self.train:
            raise ConfigError(
                "data.train names no folder; prepare one with snac-tok prepare and name it there."
            )
        _check("crop_samples", self.crop_samples, low=1)
        _check("silence_db", self.silence_db, low=-200.0, high=0.0)


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
        _check("level_dropout", self.level_dropout, low=0.0, high=1.0)
        _check("restart_after", self.restart_after, low=0)
        _check("restart_every", self.restart_every, low=1)


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
        _check("learning_rate", self.learning_rate, low=0.0, open_low=True)
        for beta in self.betas:
            _check("each of betas", beta, low=0.0, high=1.0, open_high=True)
        _check("weight_decay", self.weight_decay, low=0.0)
        _check("decay_per_step", self.decay_per_step, low=0.0, high=1.0, open_low=True)
        _check("warmup_steps", self.warmup_steps, low=0)
        _check("cooldown_steps", self.cooldown_steps, low=0)
        _check("clip_norm", self.clip_norm, low=0.0, open_low=True)

    def rate_at(self, step: int, *, steps: int) -> float:
        """Return the learning rate of step 0 … steps - 1, a function of the step alone."""
        rate = self.learning_rate * self.decay_per_step**step
        if step < self.warmup_steps:
            rate *= (step + 1) / self.warmup_steps
        return rate * min(1.0, (steps - step) / self.cooldown_steps) if self.cooldown_steps else rate


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """A whole training run.

    Args:
        data: sound.
        codec: the network's shape, the released 24 kHz one unless told; ignored where `start_from` names one.
        start_from: a codec to go on from ("tiny", a folder, a hub repository), or None for random weights.
        trainable: "all", or "decoder" to leave encoder and codebooks, and so the codes, as they are.
        losses: weights by name.
        discriminators: their shape, or None for training without an adversary.
        adversarial_from_step: the discriminators start here; before, the codec learns from the other losses.
        quantizer: dropout of levels and restart of unused codes.
        optimizer: of the codec.
        discriminator_optimizer: of the discriminators.
        mel_sizes: window lengths of the mel loss, of DAC's seven; empty for all.
        steps: length of the run.
        batch_size: crops a step, on each device.
        accumulate: steps of that size whose gradients are added before the weights change.
        seed: decides crops, augmentation, noise, dropout and initial weights.
        precision: "bf16" runs the convolutions under autocast.
        compile: run the codec through torch.compile.
        ema_decay: of the moving average of the codec's weights, which is what is validated and exported; 0 for none.
        log_every, validate_every, checkpoint_every: in steps.
        keep_checkpoints: older ones are removed.
        sound_clips: how many decoded validation clips go to TensorBoard.
    """

    data: DataConfig
    codec: CodecConfig = PRESETS["snac_24khz"]
    start_from: str | None = None
    trainable: Literal["all", "decoder"] = "all"
    losses: LossWeights = field(default_factory=LossWeights)
    discriminators: DiscriminatorConfig | None = field(default_factory=DiscriminatorConfig)
    adversarial_from_step: int = 0
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    discriminator_optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(clip_norm=10.0))
    mel_sizes: tuple[int, ...] = ()
    steps: int = 800_000
    batch_size: int = 16
    accumulate: int = 1
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    ema_decay: float = 0.999
    log_every: int = 10
    validate_every: int = 5000
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    sound_clips: int = 4

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "log_every", "validate_every", "checkpoint_every"):
            _check(name, getattr(self, name), low=1)
        _check("keep_checkpoints", self.keep_checkpoints, low=1)
        _check("adversarial_from_step", self.adversarial_from_step, low=0)
        _check("sound_clips", self.sound_clips, low=0)
        _check("ema_decay", self.ema_decay, low=0.0, high=1.0)
        _check("seed", self.seed, low=0, high=_LARGEST_SEED)
        self._check_that_sound_is_judged()
        known = [scale.window_length for scale in DAC_SCALES]
        unknown = [size for size in self.mel_sizes if size not in known]
        if unknown:
            raise ConfigError(f"mel_sizes has {unknown}; there are {known}.")

    def _check_that_sound_is_judged(self) -> None:
        losses = self.losses
        judged_at_first = self.discriminators is not None and not self.adversarial_from_step
        adversary = losses.adversarial + losses.feature_matching if judged_at_first else 0.0
        if not losses.mel + losses.waveform + adversary:
            raise ConfigError(
                "losses has no weight above 0 for what the decoder makes from the first step on: "
                "give mel or waveform one, or have discriminators from step 0."
            )

    def check_crop(self, codec: CodecConfig) -> None:
        """Refuse crops that the codec would pad: it would learn silence at their ends.

        Raises:
            ConfigError: the crop is no multiple of the codec's padding.
        """
        multiple = codec.padding_multiple
        if self.data.crop_samples % multiple:
            raise ConfigError(
                f"data.crop_samples is {self.data.crop_samples}; this codec needs a multiple of {multiple}, "
                f"for example {max(1, round(self.data.crop_samples / multiple)) * multiple}."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the tree as plain values."""
        values: dict[str, Any] = to_plain(self)
        return values

    @classmethod
    def from_dict(cls, values: Any) -> TrainingConfig:
        """Build from plain values.

        Raises:
            ConfigError: a setting is unknown, missing or impossible; the message gives its path.
        """
        return from_plain(cls, values)

    @classmethod
    def from_file(cls, path: str | Path) -> TrainingConfig:
        """Read a .yaml, .yml or .json file; every refusal names it.

        Raises:
            ConfigError: the file cannot be read or a setting is wrong.
            MissingDependencyError: a YAML file without PyYAML.
        """
        try:
            return cls.from_dict(_parse(Path(path)))
        except OSError as error:
            raise ConfigError(f"the training config {path} cannot be read: {error.strerror}.") from error
        except RecursionError as error:
            raise ConfigError(f"{path}: it is nested too deeply to be a training config.") from error
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error


def _parse(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except ValueError as error:
        raise ConfigError(f"it holds no UTF-8 text ({error}).") from error
    if path.suffix.lower() == ".json":
        try:
            return json.loads(text)
        except ValueError as error:
            raise ConfigError(f"not valid JSON: {error}.") from error
    try:
        import yaml
    except ImportError as error:
        raise MissingDependencyError(
            f"reading {path.name} needs PyYAML: pip install snac-tok[train], or write the config as JSON."
        ) from error
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # the latter for dates that no calendar has
        raise ConfigError(f"not valid YAML: {' '.join(str(error).split())}.") from error


def _check(
    name: str,
    value: float,
    *,
    low: float,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    above = value > low if open_low else value >= low
    below = value < high if open_high else value <= high
    if not (above and below and math.isfinite(value)):
        bounds = f"{'above' if open_low else 'at least'} {low:g}"
        if high < math.inf:
            bounds += f" and {'below' if open_high else 'at most'} {high:g}"
        raise ConfigError(f"{name} is {value!r}; it must be {bounds}.")
