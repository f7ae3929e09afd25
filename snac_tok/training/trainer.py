"""The training loop: one step after another, each a function of the weights before it and of (seed, step)."""

from __future__ import annotations

import copy
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from snac_tok.codec.noise import DrawnNoise
from snac_tok.errors import TrainingError
from snac_tok.metrics.mel import DAC_SCALES, mel_distance
from snac_tok.training.curves import Curves
from snac_tok.training.dead_codes import CodeUse
from snac_tok.training.generator import Generator, Reconstruction
from snac_tok.training.losses import waveform_loss, weighted_total
from snac_tok.training.optimization import Optimization, WeightAverage
from snac_tok.training.parts import adversary_of, crops_of, starting_codec
from snac_tok.training.placement import Placement
from snac_tok.training.quantization import drawn_levels
from snac_tok.training.randomness import generator_for
from snac_tok.training.run_folder import LOSSES_FILE, VALIDATION_FILE, RunFolder
from snac_tok.training.validation import Validation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snac_tok.codec.model import SNAC
    from snac_tok.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What one step came to.

    Attributes:
        step: counted from 1.
        losses: by name, unweighted; "total" is the weighted sum, "discriminator" the discriminators' own.
        seconds: that the step took.
        validation: figures by name where this step was validated.
    """

    step: int
    losses: dict[str, float]
    seconds: float
    validation: dict[str, float] | None = None


class Trainer:
    """One run of training.

    Args:
        config: what is trained on what.
        folder: of the run; see `run_folder`.
        resume: go on from the newest checkpoint there.
        device: None for a GPU where there is one.

    Raises:
        ConfigError, CheckpointError, TrainingError: config, codec to start from, data or folder cannot be used.

    Example:
        >>> from snac_tok.training import Trainer, TrainingConfig
        >>> Trainer(TrainingConfig.from_dict({"data": {"train": [{"folder": "nowhere"}]}}), "run")
        Traceback (most recent call last):
        snac_tok.errors.TrainingError: nowhere ...
    """

    def __init__(
        self,
        config: TrainingConfig,
        folder: str | Path,
        *,
        resume: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        self.config = config
        self.placement = Placement(device)
        self.codec = starting_codec(config).train().to(self.placement.device)
        shape = self.codec.config
        config.check_crop(shape)
        self.crops = crops_of(config, shape.sampling_rate)
        self.validation = Validation.of(config, shape.sampling_rate)
        self.generator = Generator(
            self.codec,
            decoder_only=config.trainable == "decoder",
            codebooks_learn=config.losses.codebook > 0,
            bf16=config.precision == "bf16",
            compiled=config.compile,
        )
        self._forward = self.placement.wrapped(self.generator)
        self.optimization = Optimization(
            self.codec.parameters(), config.optimizer, first_step=0, steps=config.steps
        )
        self.average = WeightAverage(self.codec, decay=config.ema_decay)
        self.adversary = adversary_of(config, self.placement)
        self.code_use = CodeUse(num_levels=shape.num_levels, codebook_size=shape.codebook_size)
        self.step = 0
        self._asked_to_stop = self._stopping = False
        self.folder = RunFolder(Path(folder))
        self._begin(resume=resume)
        self.curves = self._curves()

    def run(self) -> Iterator[StepReport]:
        """Train to the end of the run, yielding each step; checkpoints and figures are written on the way.

        Raises:
            TrainingError: a loss is no number any more, another process trains into the folder, or the disk refuses.
        """
        try:
            with self.folder.claimed() if self.placement.is_first else nullcontext():
                while self.step < self.config.steps and not self._stopping:
                    yield self._advance()
        finally:
            if self.curves:
                self.curves.close()

    def stop(self) -> None:
        """Let `run` end, with a checkpoint, after the step that it is in; may be called from a signal's handler."""
        self._asked_to_stop = True

    def save(self) -> None:
        """Write a checkpoint, and the codec as it is now."""
        if self.placement.is_first:
            self.folder.save(self._state(), keep=self.config.keep_checkpoints)
            self.folder.export(self.averaged_codec())
        self.placement.wait_for_all()

    def averaged_codec(self) -> SNAC:
        """Return a copy of the codec with averaged weights, in eval mode on the CPU."""
        averaged = copy.deepcopy(self.codec).cpu()
        averaged.load_state_dict(self.average.state_dict())
        return averaged.eval()

    def _advance(self) -> StepReport:
        config, began = self.config, time.perf_counter()
        # Processes that are told to stop at different moments agree on one step.
        shared = self.placement.mean(self._train_step() | {"stop": float(self._asked_to_stop)})
        self._stopping = shared.pop("stop") > 0
        losses, validation = shared, None
        self.step += 1
        self._check(losses)
        ended = self.step == config.steps
        if self.step % config.log_every == 0 or ended:
            self._write(LOSSES_FILE, losses)
            if self.curves:
                self.curves.losses(self.step, losses)
        if self.validation and (self.step % config.validate_every == 0 or ended):
            validation = self._validate()
        if self.step % config.checkpoint_every == 0 or ended or self._stopping:
            self.save()
        seconds = time.perf_counter() - began
        return StepReport(step=self.step, losses=losses, seconds=seconds, validation=validation)

    def _train_step(self) -> dict[str, float]:
        totals: dict[str, float] = {}
        passes = []
        for turn in range(self.config.accumulate):
            losses, reconstruction = self._collect(self.step * self.config.accumulate + turn)
            passes.append(reconstruction)
            for name, value in losses.items():
                totals[name] = totals.get(name, 0.0) + value / self.config.accumulate
        totals["gradient_norm"] = self.optimization.apply(self.step)
        if self._adversarial and self.adversary:
            totals["discriminator_gradient_norm"] = self.adversary.optimization.apply(self.step)
        self.average.update(self.step)
        if self.config.trainable == "all":
            self._keep_codes_alive(passes)
        return totals

    def _collect(self, micro_step: int) -> tuple[dict[str, float], Reconstruction]:
        """Add the gradients of one batch to those collected."""
        rank, num_ranks, share = self.placement.rank, self.placement.num_ranks, 1 / self.config.accumulate
        audio = self.crops.batch(micro_step, rank=rank, num_ranks=num_ranks).to(self.placement.device)
        reconstruction: Reconstruction = self._forward(
            audio, self._noise(audio, micro_step), self._levels(micro_step)
        )
        told: dict[str, float] = {}
        if self._adversarial and self.adversary:
            told["discriminator"] = self.adversary.learn(audio, reconstruction.audio, share=share)
        losses = self._losses(audio, reconstruction)
        total = weighted_total(losses, self.config.losses)
        self.placement.backward(total * share)
        told |= {name: float(loss.detach()) for name, loss in losses.items()} | {
            "total": float(total.detach())
        }
        return told, reconstruction

    def _losses(self, audio: torch.Tensor, made: Reconstruction) -> dict[str, torch.Tensor]:
        sizes = self.config.mel_sizes
        scales = [scale for scale in DAC_SCALES if not sizes or scale.window_length in sizes]
        losses = {
            "mel": mel_distance(audio, made.audio, sampling_rate=self.codec.sampling_rate, scales=scales),
            "waveform": waveform_loss(audio, made.audio),
        }
        if self.config.trainable == "all":
            losses |= {"codebook": made.codebook, "commitment": made.commitment}
        if self._adversarial and self.adversary:
            losses |= self.adversary.judge(audio, made.audio)
        return losses

    @property
    def _adversarial(self) -> bool:
        return self.adversary is not None and self.step >= self.config.adversarial_from_step

    def _noise(self, audio: torch.Tensor, micro_step: int) -> tuple[torch.Tensor, ...]:
        if not self.codec.config.noise:
            return ()
        generator = generator_for(self.config.seed, "noise", micro_step, self.placement.rank)
        latents = torch.empty((len(audio), 0, audio.shape[-1] // self.codec.hop_length))
        drawn = DrawnNoise.from_generator(latents, self.codec.config.decoder_rates, generator)
        return tuple(layer.to(audio.device) for layer in drawn.layers)

    def _levels(self, micro_step: int) -> torch.Tensor:
        config, num_levels = self.config, self.codec.config.num_levels
        generator = generator_for(config.seed, "levels", micro_step, self.placement.rank)
        # With frozen codes the decoder hears all levels: nothing before it could learn from fewer.
        dropout = config.quantizer.level_dropout if config.trainable == "all" else 0.0
        return drawn_levels(
            config.batch_size, num_levels=num_levels, dropout=dropout, generator=generator
        ).to(self.placement.device)

    def _keep_codes_alive(self, passes: list[Reconstruction]) -> None:
        config = self.config.quantizer
        for made in passes:
            self.code_use.observe(self.placement.gathered(made.codes), step=self.step)
        if not config.restart_after or self.step % config.restart_every:
            return
        # Every process moves the same entries to the same places: generator and gathered latents are equal.
        self.code_use.restart(
            self.codec.quantizer,
            self.placement.gathered(passes[-1].projected),
            step=self.step,
            after=config.restart_after,
            generator=generator_for(self.config.seed, "restart", self.step),
        )

    def _check(self, losses: dict[str, float]) -> None:
        bad = sorted(name for name, value in losses.items() if not math.isfinite(value))
        if bad:
            raise TrainingError(
                f"step {self.step}: {', '.join(bad)} is no finite number any more; resume from the last checkpoint "
                f"({self.folder.path}) with a lower learning rate or clip_norm, in a copy of the folder."
            )

    def _validate(self) -> dict[str, float]:
        assert self.validation is not None
        figures: dict[str, float] = {}
        if self.placement.is_first:
            result = self.validation.run(self.averaged_codec())
            figures = result.figures
            self._write(VALIDATION_FILE, figures)
            if self.curves:
                self.curves.validation(self.step, figures, result.sounds)
        self.placement.wait_for_all()
        return figures

    def _write(self, name: str, figures: dict[str, float]) -> None:
        if self.placement.is_first:
            self.folder.append(name, {"step": self.step, **figures})

    def _curves(self) -> Curves | None:
        if not self.placement.is_first:
            return None
        folder = self.folder.path / "tensorboard"
        return Curves(folder, sampling_rate=self.codec.sampling_rate, first_step=self.step)

    def _begin(self, *, resume: bool) -> None:
        if self.placement.is_first:
            self.folder.begin(self.config, resume=resume, take_up=self._restore)
        self.placement.wait_for_all()
        if resume and not self.placement.is_first:
            self.folder.newest(self._restore)

    def _state(self) -> dict[str, Any]:
        adversary = self.adversary
        return {
            "step": self.step,
            "codec": self.codec.state_dict(),
            "average": self.average.values,
            "optimizer": self.optimization.adamw.state_dict(),
            "code_use": self.code_use.last_used,
            "discriminators": adversary and adversary.discriminators.state_dict(),
            "discriminator_optimizer": adversary and adversary.optimization.adamw.state_dict(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.codec.load_state_dict(state["codec"])
        self.average.load(state["average"])
        self.optimization.adamw.load_state_dict(state["optimizer"])
        self.code_use.last_used = state["code_use"]
        if self.adversary:
            self.adversary.discriminators.load_state_dict(state["discriminators"])
            self.adversary.optimization.adamw.load_state_dict(state["discriminator_optimizer"])
