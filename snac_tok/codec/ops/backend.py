"""Which operations a chunk takes: compiled kernels (on a GPU or a CPU), CPU-optimised ones, or torch's own.

Inference only: gradients are not recorded. All tensors have the shape (B, C, T), whatever a backend's memory layout is.
"""

from __future__ import annotations

import importlib
import logging
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch

from snac_tok.codec.ops import cpu, reference
from snac_tok.codec.tracing import is_traced

if TYPE_CHECKING:
    from snac_tok.codec.ops.reference import Kept, Precision, UnitWeights

_log = logging.getLogger(__name__)

# SNAC_TOK_KERNELS: "auto" takes Triton kernels for tensors on a GPU and numba's loops for those on a CPU, where they
# are installed; "off" takes neither; "on" takes Triton kernels on a CPU, which needs its interpreter
# (TRITON_INTERPRET=1) and is for tests.
kernel_mode = os.environ.get("SNAC_TOK_KERNELS", "auto")


class Backend(Protocol):
    """The operations; `reference` says what each computes."""

    def extend(
        self,
        x: torch.Tensor,
        alpha: torch.Tensor | None = None,
        before: torch.Tensor | int = 0,
        after: int = 0,
    ) -> torch.Tensor:
        """Activate x and put it between what was kept and zeros."""

    def conv1d(
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> torch.Tensor:
        """Convolve without padding."""

    def upsample(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Convolve transposed, without the ends."""

    def linear(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """Multiply (B, T, C_in) with (C_out, C_in), plus a bias (C_out,)."""


class Kernels(Backend, Protocol):
    """Operations of which some take the place of several layers; `gpu` and `compiled` say what each computes.

    A module has what its `takes_…` ever says yes to.
    """

    def takes_unit(self, x: torch.Tensor, dilation: int) -> bool:
        """Say whether `residual_unit` can be used for inputs like x."""

    def residual_unit(
        self,
        x: torch.Tensor,
        weights: UnitWeights,
        *,
        dilation: int,
        kept: Kept,
        last: bool,
        ends: torch.Tensor | None,
    ) -> tuple[torch.Tensor, Kept]:
        """Refine the next (B, C, n) of a clip."""

    def takes_noise(self, x: torch.Tensor, weight: torch.Tensor) -> bool:
        """Say whether `noise_block` can be used for inputs like x."""

    def noise_block(
        self, x: torch.Tensor, weight: torch.Tensor, noise: torch.Tensor, *, ends: torch.Tensor | None
    ) -> torch.Tensor:
        """Return x + (x times a matrix) · noise."""

    def takes_normal(self, x: torch.Tensor) -> bool:
        """Say whether `normal_rows` can be used for noise like x."""

    def normal_rows(
        self, seeds_and_starts: torch.Tensor, layer_key: int, length: int, dtype: torch.dtype
    ) -> torch.Tensor:
        """Return seeded noise (rows, length), as `codec.noise.normal_at` gives it."""

    def takes_last(self, x: torch.Tensor, weight: torch.Tensor) -> bool:
        """Say whether `last_layers` can be used for inputs like x."""

    def last_layers(
        self,
        x: torch.Tensor,
        alpha: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        *,
        kept: torch.Tensor | None,
        last: bool,
        ends: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the sound of the next (B, C, n) of a clip."""


def no_tf32(x: torch.Tensor) -> str:
    """Return why tensors like x are never multiplied in TF32, as the end of a sentence; "" where they can be."""
    if x.device.type != "cuda" and kernel_mode != "on":
        return f"the codec is on {x.device}, and only GPUs of CUDA have it; move it there first"
    if x.dtype is not torch.float32:
        return f"the weights are {x.dtype}, and TF32 is for float32"
    if kernel_mode == "off" or _load("gpu") is None:
        return (
            "it is Triton's kernels that multiply in it, and they are off (SNAC_TOK_KERNELS) or not installed"
        )
    return ""


def kernels_for(x: torch.Tensor, precision: Precision = "fp32") -> Kernels | None:
    """Return the kernels for a chunk like x; None where there are none, or where they cannot be used.

    They record no gradients, and neither compiled graphs nor autocast see through them.

    Args:
        x: the chunk.
        precision: of its products on a GPU, if it is float32; a CPU makes them in full.
    """
    on_gpu = x.device.type == "cuda" or kernel_mode == "on"
    usable = (
        kernel_mode != "off"
        and (on_gpu or x.device.type == "cpu")
        and x.dtype in (torch.float32, torch.float16, torch.bfloat16)
        and not torch.is_grad_enabled()
        and not is_traced()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and not torch.is_autocast_enabled(x.device.type)
    )
    kernels = _load("gpu" if on_gpu else "compiled") if usable else None
    if kernels is None or not on_gpu or precision == "fp32" or x.dtype is not torch.float32:
        return kernels
    return cast("Kernels", cast("Any", kernels).in_precision(precision))


@lru_cache(maxsize=2)
def _load(module: str) -> Kernels | None:
    # By name and not as a statement: code that is exported to run without us leaves these modules out, because whoever
    # loads it would be asked for Triton and numba.
    name = f"{__name__.rpartition('.')[0]}.{module}"
    try:
        return cast("Kernels", importlib.import_module(name))
    except Exception as caught:  # noqa: BLE001 - whatever a compiler raises that does not suit the other packages
        # Triton comes with torch for CUDA alone, and numba is an extra; exported code has neither module.
        missing = caught.name if isinstance(caught, ModuleNotFoundError) else None
        if missing in ("triton", "numba") or (missing and name.startswith(missing)):
            return None
        _log.warning(
            "The kernels in ops/%s.py cannot be used (%s: %s); torch's operations run instead, which takes longer.",
            module,
            type(caught).__name__,
            str(caught).partition("\n")[0],
        )
        return None


def backend_for(x: torch.Tensor) -> Backend:
    """Return the operations for a chunk like x: CPU-optimised ones, or torch's own.

    Other devices and dtypes, compiled and traced graphs and autocast use torch's.
    """
    optimised = (
        x.dtype in (torch.float32, torch.bfloat16, torch.float16)
        and x.device.type == "cpu"
        and not is_traced()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and not torch.is_autocast_enabled("cpu")
    )
    return cpu if optimised else reference
