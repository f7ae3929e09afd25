"""Where a run's processes stand: one alone, or several that accelerate has started.

Alone, only torch is needed. Several are started by `accelerate launch`; accelerate then places the networks and adds
gradients up, and what is here lets them share what they have seen.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from snac_tok.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Sequence

Network = TypeVar("Network", bound=torch.nn.Module)


class Placement:
    """One process of a run.

    Args:
        device: where to train; None for a GPU where there is one. Ignored where accelerate decides.

    Raises:
        MissingDependencyError: several processes were started and accelerate is not installed.
    """

    def __init__(self, device: str | torch.device | None = None) -> None:
        self._accelerator = _accelerator() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else None
        if self._accelerator is None:
            self.rank, self.num_ranks = 0, 1
            self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
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

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Return the mean of each value over all processes."""
        if self._accelerator is None:
            return values
        row = torch.tensor([list(values.values())], dtype=torch.float64, device=self.device)
        return dict(zip(values, self.gathered([row])[0].mean(0).tolist(), strict=True))

    def wait_for_all(self) -> None:
        """Return when every process has come here."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()


def _accelerator() -> Any:
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise MissingDependencyError(
            "several processes were started (WORLD_SIZE is set), which needs accelerate: pip install snac-tok[train]."
        ) from error
    return Accelerator()
