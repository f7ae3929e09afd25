"""Products with a prepacked matrix: oneDNN's, or torch's public ones where oneDNN's cannot be used.

oneDNN is fastest with prepacked weights; torch would repack them on every call, which takes 5 to 40 ms for the widest
layers of the speech model, as long as a whole frame. torch's operators for that are private: another version may
change them. So they are tried once, on a small product, and used only if they give what `torch.nn.functional.linear`
gives.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

# How many rows oneDNN chooses an order for; it is as fast with fewer and with more.
_PREPACKED_ROWS = 256
# Tiles (Intel Xeon from 2023 on), and pairs of bfloat16 in a vector (AMD from Zen 4 on, Intel's Cooper Lake).
_BFLOAT16_PRODUCTS = ("amx_bf16", "avx512_bf16")


class _Linear(Protocol):
    # What follows the bias is what oneDNN does to the result: nothing.
    def __call__(
        self, x: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None, *post: Any
    ) -> torch.Tensor: ...


class _LinearAdd(Protocol):
    def __call__(
        self, x: torch.Tensor, onto: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None, *post: Any
    ) -> torch.Tensor: ...


class _Prepack(Protocol):
    def __call__(self, matrix: torch.Tensor, rows: int, /) -> torch.Tensor: ...


class Products(NamedTuple):
    """How matrices (C_out, C_in) are prepacked and rows (…, C_in) multiplied with them.

    Attributes:
        prepack: returns the matrix in the form that the others take, for a number of rows.
        linear: returns rows times the matrix, plus a bias.
        linear_add: the same, added to a tensor.
    """

    prepack: _Prepack
    linear: _Linear
    linear_add: _LinearAdd


def plain_products() -> Products:
    """Return torch's public operators."""

    def linear(x: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None, *_post: Any) -> torch.Tensor:
        return F.linear(x, matrix, bias)

    def linear_add(
        x: torch.Tensor, onto: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None, *_post: Any
    ) -> torch.Tensor:
        return F.linear(x, matrix, bias).add_(onto)

    # A view would keep its weight alive, and the weight the view.
    return Products(lambda matrix, _rows: matrix.clone(), linear, linear_add)


@lru_cache(maxsize=1)
def products() -> Products:
    """Return what `find_products` found the first time."""
    return find_products()


@lru_cache(maxsize=1)
def multiplies_bfloat16() -> bool:
    """Return whether this CPU multiplies bfloat16 faster than float32, and oneDNN's operators do it rightly."""
    # torch 2.10 does not tell what a CPU can.
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if not any(capabilities.get(name) for name in _BFLOAT16_PRODUCTS):
        return False
    try:
        return _are_right(products(), dtype=torch.bfloat16)
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return False


def find_products() -> Products:
    """Return oneDNN's operators if this torch has them as we know them, else torch's public ones."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return plain_products()
    try:
        private = torch.ops.mkldnn
        # The operators themselves, not functions around them: these calls are the hottest.
        found = Products(
            private._reorder_linear_weight.default,  # noqa: SLF001 - none of these has a public name
            private._linear_pointwise.default,  # noqa: SLF001
            private._linear_pointwise.binary,  # noqa: SLF001
        )
        return found if _are_right(found) else plain_products()
    except (AttributeError, RuntimeError, TypeError, ValueError, NotImplementedError):
        return plain_products()


@torch.no_grad()
def _are_right(found: Products, *, dtype: torch.dtype = torch.float32) -> bool:
    """Say whether operators give what torch's public ones give, on a small product of small whole numbers."""
    like: dict[str, Any] = {"dtype": dtype, "device": "cpu"}
    x, matrix = torch.arange(6.0, **like).view(1, 2, 3), torch.arange(12.0, **like).view(4, 3)
    bias, onto = torch.arange(4.0, **like), torch.arange(8.0, **like).view(1, 2, 4)
    packed = found.prepack(matrix, _PREPACKED_ROWS)
    plain = F.linear(x, matrix)
    return torch.allclose(found.linear(x, packed, bias, "none", [], ""), plain + bias) and torch.allclose(
        found.linear_add(x, onto, packed, None, "add"), plain + onto
    )


def prepack(matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix as `products` takes it."""
    return products().prepack(matrix.contiguous(), _PREPACKED_ROWS)
