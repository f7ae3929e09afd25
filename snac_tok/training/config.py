"""What a training run is: a tree of frozen dataclasses, read from YAML or JSON, every loss weight by name."""

from __future__ import annotations

import dataclasses
import reprlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from snac_tok.codec.config import PRESETS, CodecConfig
from snac_tok.errors import ConfigError
from snac_tok.metrics.mel import DAC_SCALES
from snac_tok.plain_values import from_plain, parse_json, read_text, to_plain
from snac_tok.training.data_config import DataConfig  # noqa: TC001 - read while it runs
from snac_tok.training.discriminators import DiscriminatorConfig
from snac_tok.training.field_types import check_types
from snac_tok.training.losses import LossWeights
from snac_tok.training.recipe import DecoderConfig, OptimizerConfig, QuantizerConfig, check, check_word
from snac_tok.training.stages import (  # `from_plain` reads the fields' types while it runs
    CodebookUse,
    StageConfig,
    Start,
    Trainable,
)
from snac_tok.training.yaml_text import parse_yaml

Precision: TypeAlias = Literal["fp32", "bf16"]
# The settings that are a word, with their words.
_WORDS = {
    "trainable": get_args(Trainable),
    "codebooks": get_args(CodebookUse),
    "start_codebooks": get_args(Start),
    "precision": get_args(Precision),
}

# What may change between a run and its continuation: how long it goes on and what it tells.
CHANGEABLE = (
    "steps",
    "workers",
    "log_every",
    "validate_every",
    "checkpoint_every",
    "keep_checkpoints",
    "sound_clips",
)

# SNAC's paper's.
_STEPS = 800_000

# torch's generators take no larger ones; the discriminators' is one more.
_LARGEST_SEED = 10**18

# Each is a process with torch in it: thousands would bring the machine down before a batch is made.
_MOST_WORKERS = 256


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """A whole training run.

    Args:
        data: sound.
        codec: the network's shape, by default the released 24 kHz one; ignored where `start_from` names one.
        start_from: a codec to go on from ("tiny", a folder, a hub repository), or None for random weights.
        decoder: a decoder of another kind that is trained in the place of the codec's own, from random weights.
        trainable: "all", or "decoder" to leave encoder and codebooks, and so the codes, as they are.
        codebooks: "searched", or "bypassed" to train encoder, projections and decoder without looking anything up.
        start_codebooks: "kept", or "k-means" to set them on the latents that the encoder gives at the start.
        losses: weights by name.
        discriminators: their shape, or None for training without an adversary.
        adversarial_from_step: the discriminators start here; before, the codec learns from the other losses.
        discriminators_alone: so many steps from there on the discriminators learn alone and the codec stands still.
        quantizer: dropout of levels and restart of unused codes.
        optimizer: of the codec.
        discriminator_optimizer: of the discriminators.
        mel_sizes: window lengths of the mel loss, of DAC's seven; empty for all.
        steps: length of the run; with stages, their sum.
        stages: what differs from the settings here, stage after stage; empty for a run of one.
        batch_size: crops a step, on each device.
        accumulate: steps of that size whose gradients are added before the weights change.
        seed: decides crops, augmentation, noise, dropout and initial weights.
        precision: "bf16" runs the convolutions under autocast.
        compile: run the codec through torch.compile.
        workers: processes that make crops and noise ahead of the steps; None for none on a CPU, up to 4 on a GPU.
        ema_decay: of the moving average of the codec's weights, which is what is validated and exported; 0 for none.
        log_every, validate_every, checkpoint_every: in steps.
        keep_checkpoints: older ones are removed.
        sound_clips: how many decoded validation clips go to TensorBoard.
    """

    data: DataConfig
    codec: CodecConfig = PRESETS["snac_24khz"]
    start_from: str | None = None
    decoder: DecoderConfig | None = None
    trainable: Trainable = "all"
    codebooks: CodebookUse = "searched"
    start_codebooks: Start = "kept"
    losses: LossWeights = field(default_factory=LossWeights)
    discriminators: DiscriminatorConfig | None = field(default_factory=DiscriminatorConfig)
    adversarial_from_step: int = 0
    discriminators_alone: int = 0
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    discriminator_optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(clip_norm=10.0))
    mel_sizes: tuple[int, ...] = ()
    steps: int = _STEPS
    stages: tuple[StageConfig, ...] = ()
    batch_size: int = 16
    accumulate: int = 1
    seed: int = 0
    precision: Precision = "fp32"
    compile: bool = False
    workers: int | None = None
    ema_decay: float = 0.999
    log_every: int = 10
    validate_every: int = 5000
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    sound_clips: int = 4

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("steps", "batch_size", "accumulate", "log_every", "validate_every", "checkpoint_every"):
            check(name, getattr(self, name), low=1)
        check("keep_checkpoints", self.keep_checkpoints, low=1)
        check("adversarial_from_step", self.adversarial_from_step, low=0)
        check("discriminators_alone", self.discriminators_alone, low=0)
        check("sound_clips", self.sound_clips, low=0)
        if self.workers is not None:
            check("workers", self.workers, low=0, high=_MOST_WORKERS)
        for name, words in _WORDS.items():
            check_word(name, getattr(self, name), words)
        check("ema_decay", self.ema_decay, low=0.0, high=1.0)
        check("seed", self.seed, low=0, high=_LARGEST_SEED)
        known = [scale.window_length for scale in DAC_SCALES]
        unknown = [size for size in self.mel_sizes if size not in known]
        if unknown:
            raise ConfigError(f"mel_sizes has {unknown}; there are {known}.")
        if self.stages:
            self._check_stages()
        else:
            self._check_that_parts_fit()

    def _check_stages(self) -> None:
        together = sum(stage.steps for stage in self.stages)
        if self.steps not in {_STEPS, together}:
            raise ConfigError(f"steps is {self.steps}, the stages' together {together}; leave steps out.")
        object.__setattr__(self, "steps", together)  # frozen for everybody else
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ConfigError(f"the stages are called {names}; each needs a name of its own.")
        for place, stage in enumerate(self.stages):
            try:
                self.of_stage(stage)
            except ConfigError as error:
                raise ConfigError(f"stages[{place}] ({stage.name}): {error}") from error

    def _check_that_parts_fit(self) -> None:
        losses = self.losses
        judged_at_first = self.discriminators is not None and not self.adversarial_from_step
        adversary = losses.adversarial + losses.feature_matching if judged_at_first else 0.0
        if not losses.judges_sound and not adversary:
            raise ConfigError(
                "losses has no weight above 0 for what the decoder makes from the first step on: "
                "give mel, log_stft or waveform one, or have discriminators from step 0."
            )
        if self.codebooks == "bypassed" and self.trainable == "decoder":
            raise ConfigError(
                'codebooks is "bypassed" and trainable is "decoder": the decoder would learn latents that no codes '
                "give; train all, or search the codebooks."
            )
        if self.start_codebooks == "k-means" and (self.trainable, self.codebooks) != ("all", "searched"):
            raise ConfigError(
                'start_codebooks is "k-means", which needs trainable "all" and codebooks "searched"; '
                "name it in the stage that begins to use the codebooks."
            )
        if self.discriminators_alone and self.discriminators is None:
            raise ConfigError("discriminators_alone is set and there are no discriminators.")

    def of_stage(self, stage: StageConfig) -> TrainingConfig:
        """Return the run that a stage is: these settings with the stage's over them, and no stages."""
        changes: dict[str, Any] = {"stages": (), "steps": stage.steps} | stage.changes()
        changes["discriminators"] = (
            (stage.discriminators or self.discriminators) if stage.adversarial else None
        )
        if stage.crop_samples is not None:
            changes["data"] = dataclasses.replace(self.data, crop_samples=stage.crop_samples)
        return dataclasses.replace(self, **changes)

    def stage_runs(self) -> list[tuple[str, TrainingConfig]]:
        """Return each stage's name and the run that it is; a run without stages is one, with an empty name."""
        return [(stage.name, self.of_stage(stage)) for stage in self.stages] or [("", self)]

    @property
    def trains_codes(self) -> bool:
        """Whether any stage moves what decides codes."""
        return any(run.trainable == "all" for _, run in self.stage_runs())

    def may_change(self, setting: str) -> bool:
        """Whether a run may be resumed with another value of this setting, by its path."""
        return setting in CHANGEABLE or setting == f"stages[{len(self.stages) - 1}].steps"

    def check_crop(self, codec: CodecConfig) -> None:
        """Refuse crops, of any stage, that the codec would pad: it would learn silence at their ends.

        Raises:
            ConfigError: the crop is not a multiple of the codec's padding.
        """
        multiple = codec.padding_multiple
        for name, run in self.stage_runs():
            crop = run.data.crop_samples
            if crop % multiple:
                place = f"the stage {name}'s crop_samples" if name else "data.crop_samples"
                raise ConfigError(
                    f"{place} is {crop}; this codec needs a multiple of {multiple}, "
                    f"for example {max(1, round(crop / multiple)) * multiple}."
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
        return from_plain(cls, values, error=ConfigError)

    @classmethod
    def from_file(cls, path: str | Path) -> TrainingConfig:
        """Read a .yaml, .yml or .json file; every refusal names it.

        Raises:
            ConfigError: the file cannot be read or a setting is wrong.
            MissingDependencyError: a YAML file without ruamel.yaml.
        """
        values = _parse(Path(path))
        try:
            return cls.from_dict(values)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error


def _parse(path: Path) -> Any:
    text = read_text(path, what="the training config", error=ConfigError)
    parse = parse_json if path.suffix.lower() == ".json" else parse_yaml
    return parse(text, what=f"the training config {path}", error=ConfigError)


def check_config(config: object) -> None:
    """Refuse what is no config where one is needed.

    Raises:
        ConfigError: it is a file's name, plain values or something else.
    """
    if not isinstance(config, TrainingConfig):
        raise ConfigError(
            f"config is {reprlib.repr(config)}; a TrainingConfig is needed: TrainingConfig.from_file reads a file, "
            "TrainingConfig.from_dict takes plain values."
        )
