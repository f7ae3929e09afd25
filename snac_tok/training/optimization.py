"""How weights move: AdamW with its schedule and clipping, and the moving average of what it reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from snac_tok.training.recipe import OptimizerConfig


class Optimization:
    """AdamW on the parameters that want gradients, at a rate that is a function of the step.

    Args:
        parameters: of one network.
        config: rates, betas, clipping.
        first_step, steps: where this network's schedule begins and the run ends.
    """

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        config: OptimizerConfig,
        *,
        first_step: int,
        steps: int,
    ) -> None:
        self.config, self.first_step, self.steps = config, first_step, steps
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.adamw = torch.optim.AdamW(
            self.parameters,
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            # One kernel in place of some dozen; on a CPU torch's default is as fast.
            fused=True if all(parameter.is_cuda for parameter in self.parameters) else None,
        )

    def apply(self, step: int) -> torch.Tensor:
        """Move the weights along the gradients collected, forget them, and return the norm they had, a scalar."""
        rate = self.config.rate_at(step - self.first_step, steps=self.steps - self.first_step)
        for group in self.adamw.param_groups:
            group["lr"] = rate
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        return norm


class WeightAverage:
    """The exponential moving average of a network's parameters, kept in float32.

    Args:
        network: whose parameters are followed.
        decay: share of the old average that stays; early steps use less, so that the start is soon forgotten.
    """

    def __init__(self, network: torch.nn.Module, *, decay: float) -> None:
        self.network, self.decay = network, decay
        self.values = {name: value.detach().clone() for name, value in network.named_parameters()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters as they are after `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        current = [parameter.detach() for _, parameter in self.network.named_parameters()]
        torch._foreach_lerp_(list(self.values.values()), current, 1 - decay)

    def load(self, values: Mapping[str, torch.Tensor]) -> None:
        """Go on from a saved average."""
        for name, value in self.values.items():
            value.copy_(values[name])

    def state_dict(self) -> dict[str, Any]:
        """Return a whole state dict of the network with its parameters averaged."""
        return {name: self.values.get(name, value) for name, value in self.network.state_dict().items()}
