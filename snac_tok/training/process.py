"""Where a run's processes stand: one alone, or several that accelerate has started.

Alone, only torch is needed. Several are started by `accelerate launch` or `torchrun` (which on CPUs is the only one of
the two that starts several); accelerate then places the networks and averages gradients, and what is here lets them
share what they have seen.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from snac_tok.codec.placement import check_device
from snac_tok.errors import ConfigError, MissingDependencyError, TrainingError, first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

Network = TypeVar("Network", bound=torch.nn.Module)


class TrainingProcess:
    """One process of a run.

    Args:
        device: where to train; None for a GPU where there is one. Of several processes each gets a GPU of its own,
            unless this says "cpu" or there is none.

    Raises:
        ConfigError: torch has no such device here, or nothing can be computed on it.
        MissingDependencyError: several processes were started and accelerate is not installed.
        TrainingError: several processes were started and do not find each other.
    """

    def __init__(self, device: str | torch.device | None = None) -> None:
        wanted = _usable(("cuda" if torch.cuda.is_available() else "cpu") if device is None else device)
        num_started = _num_started()
        self._accelerator = _accelerator(num_started, cpu=wanted.type == "cpu") if num_started > 1 else None
        if self._accelerator is None:
            self.rank, self.num_ranks = 0, 1
            self.device = wanted
        else:
            self.rank, self.num_ranks = self._accelerator.process_index, self._accelerator.num_processes
            self.device = self._accelerator.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def wrapped(self, network: Network) -> Network:
        """Return the network as it is called for gradients: itself, or one that adds them up over processes."""
        if self._accelerator is None:
            return network
        wrapped: Network = self._accelerator.prepare_model(network)
        return wrapped

    def backward(self, loss: torch.Tensor) -> None:
        """Collect gradients."""
        if self._accelerator is None:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            self._accelerator.backward(loss)

    def gathered(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return each tensor (B, …) with every process's rows, in the order of ranks."""
        if self._accelerator is None:
            return list(tensors)
        return [self._accelerator.gather(tensor.contiguous()) for tensor in tensors]

    def mean(self, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the mean of each value, a scalar on the device, over all processes."""
        if self._accelerator is None:
            return values
        row = torch.stack(list(values.values())).double()[None]
        return dict(zip(values, self.gathered([row])[0].mean(0), strict=True))

    def any_says(self, yes: bool) -> bool:  # noqa: FBT001 - a question
        """Return whether any process says yes; several wait for each other."""
        if self._accelerator is None:
            return yes
        return bool(self.gathered([torch.tensor([yes], device=self.device)])[0].any())

    def wait_for_all(self) -> None:
        """Return when every process has come here."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()


def _usable(device: str | torch.device) -> torch.device:
    """Return the device, which has to give back what was computed on it: torch's "meta" holds no values."""
    check_device(device)
    found = torch.empty(0, device=device).device
    if found.type == "meta":
        raise ConfigError(
            f'the device "{found}" holds no values, so nothing can be trained on it; name "cpu" or a GPU.'
        )
    return torch.device(device)


def _num_started() -> int:
    """Return how many processes the launcher says that it has started; one where it says nothing."""
    said = os.environ.get("WORLD_SIZE", "").strip()
    if said and not (said.isascii() and said.isdigit() and int(said)):
        raise TrainingError(
            f"the environment variable WORLD_SIZE is {said!r}; it says how many processes train together, 1 or more: "
            f"unset it to train in one, or start several with accelerate launch or torchrun, which set it."
        )
    return int(said or 1)


def _accelerator(num_started: int, *, cpu: bool) -> Any:
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise MissingDependencyError(
            "several processes were started (WORLD_SIZE is set), which needs accelerate: pip install accelerate."
        ) from error
    # The run's config says what precision it has, not whatever `accelerate config` was once asked for.
    try:
        accelerator = Accelerator(cpu=cpu, mixed_precision="no")
    except (ValueError, RuntimeError, LookupError, OSError) as error:
        raise TrainingError(
            f"{num_started} processes were started (WORLD_SIZE), and this one cannot find the others "
            f"({first_line(error).rstrip('.')}); start them with accelerate launch or torchrun, or unset WORLD_SIZE to "
            "train in one."
        ) from error
    if accelerator.num_processes != num_started:
        # Each alone would train a run of its own, all of them into one folder.
        raise TrainingError(
            f"{num_started} processes were started (WORLD_SIZE) and {accelerator.num_processes} found each other; "
            f"start them with accelerate launch or torchrun, one a GPU, or all of them with --device cpu."
        )
    return accelerator
