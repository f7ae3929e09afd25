"""The discriminators' side of the GAN: their own step, and what they say to the codec."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snac_tok.training.losses import adversarial_loss, discriminator_loss, feature_matching_loss
from snac_tok.training.optimization import Optimization

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from snac_tok.training.config import TrainingConfig
    from snac_tok.training.discriminators import Discriminators
    from snac_tok.training.process import TrainingProcess


class Adversary:
    """Discriminators and their optimizer.

    Args:
        discriminators: on the run's device.
        config: the run's.
        process: of this process.
    """

    def __init__(
        self, discriminators: Discriminators, config: TrainingConfig, process: TrainingProcess
    ) -> None:
        self.discriminators = discriminators
        self.process = process
        # Until then they are what the seed drew, and need no room in a checkpoint.
        self.has_learned = False
        self.bf16 = config.precision == "bf16"
        # Gradients are added over processes only where the discriminators learn; for the codec they are a loss.
        self._learning: Callable[[torch.Tensor], Any] = process.wrapped(discriminators)
        self.optimization = Optimization(
            discriminators.parameters(),
            config.discriminator_optimizer,
            first_step=config.adversarial_from_step,
            steps=config.steps,
        )

    def learn(self, real: torch.Tensor, fake: torch.Tensor, *, share: float) -> torch.Tensor:
        """Collect the discriminators' gradients for (B, 1, T) of each; `share` scales them. Returns the loss."""
        self.discriminators.requires_grad_(requires_grad=True)
        self.has_learned = True
        maps = self._run(self._learning, torch.cat((real, fake.detach())))
        scores = [stack[-1].chunk(2) for stack in maps]
        loss = discriminator_loss([real for real, _ in scores], [fake for _, fake in scores])
        self.process.backward(loss * share)
        return loss.detach()

    def judge(self, real: torch.Tensor, fake: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the codec's losses for (B, 1, T) of each, with gradients to `fake` alone."""
        self.discriminators.requires_grad_(requires_grad=False)
        with torch.no_grad():
            real_maps = self._run(self.discriminators, real)
        fake_maps = self._run(self.discriminators, fake)
        return {
            "adversarial": adversarial_loss([maps[-1] for maps in fake_maps]),
            "feature_matching": feature_matching_loss(real_maps, fake_maps),
        }

    def take_over(self, before: Adversary) -> None:
        """Go on with the weights of the stage before; its optimizer ends with it."""
        self.discriminators.load_state_dict(before.discriminators.state_dict())
        self.has_learned = True

    def restore(self, weights: dict[str, Any], optimizer: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.discriminators.load_state_dict(weights)
        self.optimization.adamw.load_state_dict(optimizer)
        self.has_learned = True

    def _run(
        self, discriminators: Callable[[torch.Tensor], Any], audio: torch.Tensor
    ) -> list[list[torch.Tensor]]:
        with torch.autocast(audio.device.type, torch.bfloat16, enabled=self.bf16):
            maps: list[list[torch.Tensor]] = discriminators(audio)
        return [[each.float() for each in stack] for stack in maps]
