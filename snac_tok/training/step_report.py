"""What one step of a run came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What one step came to.

    Attributes:
        step: counted from 1.
        values: the losses on the device, scalars.
        seconds: that the step took, with its validation and checkpoint; on a GPU, until all of it was asked for.
        training_seconds: those without validation and checkpoint.
        validation: figures by name where this step was validated.
        stage: the name of the stage it belongs to; "" in a run without stages.
    """

    step: int
    values: Mapping[str, torch.Tensor] = field(repr=False)
    seconds: float
    training_seconds: float
    validation: dict[str, float] | None = None
    stage: str = ""

    @cached_property
    def losses(self) -> dict[str, float]:
        """By name, unweighted; "total" is the weighted sum, "discriminator" the discriminators' own.

        Reading them waits for the device to end the step.
        """
        return dict(zip(self.values, torch.stack(list(self.values.values())).tolist(), strict=True))
