"""What a GPU's tensor cores would make of float32 products, computed on a CPU: factors cut to TF32, 10 bits.

It stands in for a card when codes are counted that would change; it takes longer than plain float32.
"""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from benchmark.networks import kernels
from snac_tok.codec import context
from snac_tok.codec.ops import reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from snac_tok.codec.ops.reference import Precision

    Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_TF32_BITS = ~0x1FFF  # of float32's 32: sign, exponent and 10 of 23 bits behind the point


@contextmanager
def on_tensor_cores(precision: Precision) -> Iterator[None]:
    """Run networks on a CPU as `SNAC.use_precision` has them run on a GPU: slowly, with the same rounding."""
    layers: Any = SimpleNamespace(
        extend=reference.extend,
        conv1d=_conv1d(precision),
        upsample=_upsample(precision),
        linear=_linear(precision),
    )
    before = context.backend_for
    context.backend_for = lambda _: layers
    try:
        with kernels("off"):
            yield
    finally:
        context.backend_for = before


def product(precision: Precision, multiply: Product, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Multiply what is linear in both as tensor cores do.

    Example:
        >>> x = torch.tensor([1 + 2**-11])
        >>> [float(product(name, torch.mul, x, x)) for name in ("tf32", "tf32x3", "fp32")]
        [1.0, 1.0009765625, 1.000976800918579]
    """
    if precision == "fp32":
        return multiply(x, weight)
    big, other_big = _cut(x), _cut(weight)
    if precision == "tf32":
        return multiply(big, other_big)
    small, other_small = _cut(x - big), _cut(weight - other_big)
    return multiply(small, other_big) + multiply(big, other_small) + multiply(big, other_big)


def _cut(x: torch.Tensor) -> torch.Tensor:
    return (x.contiguous().view(torch.int32) & _TF32_BITS).view(torch.float32)


def _with_bias(out: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return out if bias is None else out + bias[:, None]


def _conv1d(precision: Precision) -> Callable[..., torch.Tensor]:
    def conv1d(
        x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *, stride: int = 1, **shape: int
    ) -> torch.Tensor:
        # Those that a GPU makes as products; the others are cuDNN's, in full.
        is_product = shape.get("groups", 1) == 1 and weight.shape[-1] in (1, 2 * stride)
        out = product(
            precision if is_product else "fp32",
            lambda x, weight: reference.conv1d(x, weight, None, stride=stride, **shape),
            x,
            weight,
        )
        return _with_bias(out, bias)

    return conv1d


def _upsample(precision: Precision) -> Callable[..., torch.Tensor]:
    def upsample(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        out = product(precision, lambda x, weight: reference.upsample(x, weight, None), x, weight)
        return _with_bias(out, bias)

    return upsample


def _linear(precision: Precision) -> Callable[..., torch.Tensor]:
    def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        out = product(precision, torch.nn.functional.linear, x, weight)
        return out if bias is None else out + bias

    return linear
