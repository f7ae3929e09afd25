"""One stage of a run at work: its crops, its networks in training, its optimizers, and what a step of it does.

A stage begins as a run that starts from the codec of the stage before would: with averaged weights and new optimizers.
What it needs to go on in the middle is its state; everything else follows from its config.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

import torch

from snac_tok.errors import TrainingError, first_line
from snac_tok.training.codebook_start import LATENTS_PER_ENTRY, start_codebooks
from snac_tok.training.dead_codes import CodeUse
from snac_tok.training.generator import Generator, Reconstruction
from snac_tok.training.losses import SOUND_LOSSES, weighted_total
from snac_tok.training.optimization import Optimization, WeightAverage
from snac_tok.training.parts import adversary_of, crops_of
from snac_tok.training.randomness import generator_for
from snac_tok.training.sound_losses import sound_losses
from snac_tok.training.step_inputs import InputFeed, InputMaker, workers_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snac_tok.codec.model import SNAC
    from snac_tok.codec.quantizer import VectorQuantize
    from snac_tok.training.adversary import Adversary
    from snac_tok.training.config import TrainingConfig
    from snac_tok.training.process import TrainingProcess

# Told in every run, whether they count or not: they cost next to nothing.
_ALWAYS_TOLD = ("mel", "waveform")


class Phase:
    """A stage's parts, and its steps.

    Args:
        config: of the stage, `TrainingConfig.of_stage`.
        first_step: how many steps of the run came before it.
        codec: trained in place.
        process: of this process.
        before: the discriminators of the stage before, which go on learning where their shape is the same.
    """

    def __init__(
        self,
        config: TrainingConfig,
        *,
        first_step: int,
        codec: SNAC,
        process: TrainingProcess,
        before: Adversary | None = None,
    ) -> None:
        self.config, self.first_step, self.codec, self.process = config, first_step, codec, process
        shape = codec.config
        self.crops = crops_of(config, shape.sampling_rate)
        maker = InputMaker(self.crops, config, shape, rank=process.rank, num_ranks=process.num_ranks)
        self._feed = InputFeed(
            maker,
            end=(first_step + config.steps) * config.accumulate,
            workers=workers_for(config, process.device),
            pinned=process.device.type == "cuda",
        )
        self.generator = Generator(
            codec,
            decoder_only=config.trainable == "decoder",
            codebooks_learn=config.losses.codebook > 0,
            bf16=config.precision == "bf16",
            compiled=config.compile,
            bypass=config.codebooks == "bypassed",
        )
        self._forward = process.wrapped(self.generator)
        self.adversary = adversary_of(config, process, decoder_dim=shape.decoder_dim, before=before)
        alone = config.discriminators_alone if self.adversary else 0
        self._alone = range(config.adversarial_from_step, config.adversarial_from_step + alone)
        self.optimization = Optimization(
            codec.parameters(), config.optimizer, first_step=0, steps=max(1, config.steps - alone)
        )
        self.average = WeightAverage(codec, decay=config.ema_decay)
        self.code_use = CodeUse(
            num_levels=shape.num_levels, codebook_size=shape.codebook_size, device=process.device
        )
        sounds = {name for name in SOUND_LOSSES if getattr(config.losses, name) > 0}
        self._sound_losses = [name for name in SOUND_LOSSES if name in sounds.union(_ALWAYS_TOLD)]

    @property
    def end(self) -> int:
        """The step of the run at which this stage is over."""
        return self.first_step + self.config.steps

    @property
    def bypassed(self) -> bool:
        """Whether codebooks are left out, so that codes mean nothing yet."""
        return self.generator.bypass

    def begin(self) -> None:
        """Do what a stage does before its first step; a resumed one must not."""
        if self.config.start_codebooks == "k-means":
            self._start_codebooks()
            self.average = WeightAverage(self.codec, decay=self.config.ema_decay)

    def train_step(self, step: int) -> dict[str, torch.Tensor]:
        """Take one step, counted over the whole run from 0, and return the losses (scalars) by name.

        They stay on the device: reading one waits for all that was asked of it.
        """
        at = step - self.first_step
        totals: dict[str, torch.Tensor] = {}
        passes = []
        for turn in range(self.config.accumulate):
            losses, reconstruction = self._collect(at, step * self.config.accumulate + turn)
            passes.append(reconstruction)
            for name, value in losses.items():
                totals[name] = value / self.config.accumulate + totals.get(name, 0.0)
        if self.adversary and self._adversarial(at):
            totals["discriminator_gradient_norm"] = self.adversary.optimization.apply(at)
        if at in self._alone:
            return totals
        own_step = at - len(self._alone) if at >= self._alone.stop else at
        totals["gradient_norm"] = self.optimization.apply(own_step)
        self.average.update(own_step)
        if self.config.trainable == "all" and not self.bypassed:
            self._keep_codes_alive(passes, own_step)
        return totals

    def state(self) -> dict[str, Any]:
        """Return what the next step depends on besides the codec's weights; discriminators once they have learned."""
        adversary = self.adversary if self.adversary and self.adversary.has_learned else None
        return {
            "average": self.average.values,
            "optimizer": self.optimization.adamw.state_dict(),
            "code_use": self.code_use.last_used,
            "discriminators": adversary and adversary.discriminators.state_dict(),
            "discriminator_optimizer": adversary and adversary.optimization.adamw.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.average.load(state["average"])
        self.optimization.adamw.load_state_dict(state["optimizer"])
        self.code_use.last_used.copy_(state["code_use"])
        if self.adversary and state["discriminators"] is not None:
            self.adversary.restore(state["discriminators"], state["discriminator_optimizer"])

    def close(self) -> None:
        """End what works ahead of the steps."""
        self._feed.close()

    def _collect(self, at: int, micro_step: int) -> tuple[dict[str, torch.Tensor], Reconstruction]:
        """Add the gradients of one batch to those collected."""
        share = 1 / self.config.accumulate
        audio, noise, levels = self._feed.take(micro_step).to(self.process.device)
        alone = at in self._alone
        with torch.set_grad_enabled(not alone):
            run = self.generator if alone else self._forward
            with _naming_compilers(self.config):
                reconstruction: Reconstruction = run(audio, noise, levels)
        values: dict[str, torch.Tensor] = {}
        if self.adversary and self._adversarial(at):
            values["discriminator"] = self.adversary.learn(audio, reconstruction.audio, share=share)
        if alone:
            return values, reconstruction
        losses = self._losses(audio, reconstruction, at)
        total = weighted_total(losses, self.config.losses)
        with _naming_compilers(self.config):
            self.process.backward(total * share)
        values |= {name: loss.detach() for name, loss in losses.items()}
        return values | {"total": total.detach()}, reconstruction

    def _losses(self, audio: torch.Tensor, made: Reconstruction, at: int) -> dict[str, torch.Tensor]:
        losses = sound_losses(
            audio,
            made.audio,
            names=self._sound_losses,
            sampling_rate=self.codec.sampling_rate,
            mel_sizes=self.config.mel_sizes,
        )
        if self.config.trainable == "all" and not self.bypassed:
            losses |= {"codebook": made.codebook, "commitment": made.commitment}
        if self.adversary and self._adversarial(at):
            losses |= self.adversary.judge(audio, made.audio)
        return losses

    def _adversarial(self, at: int) -> bool:
        return at >= self.config.adversarial_from_step

    def _keep_codes_alive(self, passes: list[Reconstruction], at: int) -> None:
        """Note what was used, by the codec's own steps: while discriminators learn alone no entry becomes idle."""
        config = self.config.quantizer
        for made in passes:
            self.code_use.observe(self.process.gathered(made.codes), step=at)
        if not config.restart_after or at % config.restart_every:
            return
        # Every process moves the same entries to the same places: generator and gathered latents are equal.
        self.code_use.restart(
            self.codec.quantizer,
            self.process.gathered(passes[-1].projected),
            step=at,
            after=config.restart_after,
            generator=generator_for(self.config.seed, "restart", self.first_step + at),
        )

    @torch.no_grad()
    def _start_codebooks(self) -> None:
        """Set the codebooks on latents of the crops that come next; every process comes to the same ones."""
        shape, process = self.codec.config, self.process
        wanted = LATENTS_PER_ENTRY * shape.codebook_size * max(shape.vq_strides)
        config = self.config
        a_batch = config.batch_size * process.num_ranks * config.data.crop_samples // shape.hop_length
        batches = -(-wanted // a_batch)
        first = self.first_step * config.accumulate  # batches are numbered by micro-steps
        latents = torch.cat([self._latents(first + turn) for turn in range(batches)])
        generator = generator_for(config.seed, "codebook start", self.first_step)
        start_codebooks(self.codec.quantizer, latents, generator=generator)
        for level in self.codec.quantizer.quantizers:
            # Sums on a GPU differ in the last bit from process to process: the first one's count.
            codebook = cast("VectorQuantize", level).codebook.weight
            codebook.copy_(process.gathered([codebook[None]])[0][0])

    def _latents(self, micro_step: int) -> torch.Tensor:
        rank, num_ranks = self.process.rank, self.process.num_ranks
        audio = self.crops.batch(micro_step, rank=rank, num_ranks=num_ranks).to(self.process.device)
        latents: torch.Tensor = self.process.gathered([self.codec.encoder(audio)])[0]
        return latents


@contextlib.contextmanager
def _naming_compilers(config: TrainingConfig) -> Iterator[None]:
    """Say in one sentence what keeps torch.compile from working; the traceback of a compiler helps nobody.

    Raises:
        TrainingError: torch cannot compile here.
    """
    try:
        yield
    except Exception as error:
        if not config.compile or not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        raise TrainingError(
            f"compile is true, and torch.compile does not work here ({first_line(error).rstrip('.')}); install what it "
            "needs (a C++ compiler such as g++ for a CPU, Triton for a GPU), or begin the run with compile: false."
        ) from error
