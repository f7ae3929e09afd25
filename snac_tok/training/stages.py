"""What a stage of a run may set for itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from snac_tok.errors import ConfigError
from snac_tok.training.discriminators import DiscriminatorConfig  # noqa: TC001 - read while it runs
from snac_tok.training.field_types import check_types
from snac_tok.training.losses import LossWeights  # noqa: TC001 - read while it runs
from snac_tok.training.recipe import DecoderConfig, OptimizerConfig, QuantizerConfig, check, check_word

Trainable = Literal["all", "decoder"]
CodebookUse = Literal["searched", "bypassed"]
Start = Literal["kept", "k-means"]

# What a stage has whatever the run has: its own, or these defaults.
OWN = ("codebooks", "start_codebooks", "adversarial_from_step", "discriminators_alone")
# What is as in the run where a stage does not say; the rest is put together by `TrainingConfig.of_stage`.
_INHERITED = (
    "trainable",
    "decoder",
    "losses",
    "quantizer",
    "optimizer",
    "discriminator_optimizer",
    "mel_sizes",
    "batch_size",
)


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One stage of a run; what is None here is as the run has it.

    Args:
        name: what the stage is called where a run tells of itself.
        steps: its length; schedules of rates begin and end with it.
        trainable, decoder, losses, quantizer, optimizer, discriminator_optimizer, mel_sizes, batch_size: as of a run.
        crop_samples: as `data.crop_samples`.
        codebooks: "searched", or "bypassed" to train encoder, projections and decoder without looking anything up.
        start_codebooks: "kept", or "k-means" to set them on the latents that the encoder gives at the stage's start.
        adversarial: whether discriminators take part.
        discriminators: their shape, where it is not the run's.
        adversarial_from_step, discriminators_alone: as of a run, counted from the stage's first step.

    Raises:
        ConfigError: a value is out of its bounds, or discriminators are described and not used.

    Example:
        >>> StageConfig(name="warm-up", steps=100, codebooks="bypassed").adversarial
        False
    """

    name: str
    steps: int
    trainable: Trainable | None = None
    decoder: DecoderConfig | None = None
    codebooks: CodebookUse = "searched"
    start_codebooks: Start = "kept"
    losses: LossWeights | None = None
    adversarial: bool = False
    discriminators: DiscriminatorConfig | None = None
    adversarial_from_step: int = 0
    discriminators_alone: int = 0
    quantizer: QuantizerConfig | None = None
    optimizer: OptimizerConfig | None = None
    discriminator_optimizer: OptimizerConfig | None = None
    mel_sizes: tuple[int, ...] | None = None
    batch_size: int | None = None
    crop_samples: int | None = None

    def __post_init__(self) -> None:
        check_types(self)
        if not self.name:
            raise ConfigError("name is empty; call the stage something.")
        check("steps", self.steps, low=1)
        if self.trainable is not None:
            check_word("trainable", self.trainable, get_args(Trainable))
        check_word("codebooks", self.codebooks, get_args(CodebookUse))
        check_word("start_codebooks", self.start_codebooks, get_args(Start))
        if self.discriminators is not None and not self.adversarial:
            raise ConfigError("discriminators are described and adversarial is false; set it to true.")

    def changes(self) -> dict[str, Any]:
        """Return the run's settings that this stage sets, by name."""
        own = {name: getattr(self, name) for name in OWN}
        return own | {name: value for name in _INHERITED if (value := getattr(self, name)) is not None}
