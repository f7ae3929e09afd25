"""Whether a Triton kernel works here: each gives, on a small input, what plain torch gives, or it is not used.

Compilers and cards differ. A trial is made once for a device, dtype, width and dilation; where it fails, one warning
says so, and plain torch runs. Each trial returns what the kernel gives, and what torch gives in float64.
"""

from __future__ import annotations

import logging
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from snac_tok.codec.ops import reference
from snac_tok.codec.ops.launches import TAPS, extended, last_layers, noise_block, residual_unit
from snac_tok.codec.ops.normal import normal_rows
from snac_tok.codec.ops.products import products
from snac_tok.codec.ops.reference import UnitWeights

if TYPE_CHECKING:
    from collections.abc import Callable

    from snac_tok.codec.ops.reference import Precision

    Trial = Callable[[torch.device, torch.dtype, int, int, Precision], tuple[torch.Tensor, torch.Tensor]]

_log = logging.getLogger(__name__)

_TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 8e-2, "tf32": 1e-2}


@cache
def works(  # noqa: PLR0917 - a cache's key
    trial: Trial,
    device: torch.device,
    dtype: torch.dtype,
    channels: int,
    dilation: int = 1,
    precision: Precision = "fp32",
) -> bool:
    """Say whether a kernel gives what plain torch gives, on a small input; compilers and cards differ."""
    try:
        with torch.no_grad():
            found, wanted = trial(device, dtype, channels, dilation, precision)
            error = float((found.double() - wanted).abs().max() / wanted.abs().max())
        tolerance = _TOLERANCE["tf32" if precision == "tf32" else dtype]
        problem = "" if error <= tolerance else f"its result is wrong by {error:.2g}"
    except torch.OutOfMemoryError:  # says nothing of the kernel, and is not remembered
        raise
    except Exception as caught:  # noqa: BLE001 - whatever Triton and its compilers raise
        problem = f"{type(caught).__name__}: {str(caught).partition(chr(10))[0]}"
    if problem:
        _log.warning(
            "The Triton kernel of %d channels in %s cannot be used on %s (%s); torch's operations run instead.",
            channels,
            dtype if precision == "fp32" else precision,
            device,
            problem,
        )
    return not problem


def trial_weights(draw: Callable[..., torch.Tensor], channels: int) -> UnitWeights:
    """Return random weights of a unit, of a size that keeps values near 1."""
    return UnitWeights(
        draw(1, channels, 1).abs() + 0.5,
        draw(channels, 1, TAPS) * 0.3,
        draw(channels) * 0.1,
        draw(1, channels, 1).abs() + 0.5,
        draw(channels, channels, 1) * channels**-0.5,
        draw(channels) * 0.1,
    )


def try_unit(
    device: torch.device, dtype: torch.dtype, channels: int, dilation: int, precision: Precision
) -> tuple[torch.Tensor, torch.Tensor]:
    """Try a unit, in two chunks."""
    draw = _draw(device, dtype)
    x, weights = draw(2, channels, 100), trial_weights(draw, channels)
    begin, kept = residual_unit(x[..., :70], weights, dilation=dilation, precision=precision)
    rest, _ = residual_unit(
        x[..., 70:], weights, dilation=dilation, kept=kept, last=True, precision=precision
    )
    wide = UnitWeights(*(each.double() for each in weights))
    return torch.cat((begin, rest), dim=-1), reference.residual_unit(x.double(), wide, dilation=dilation)


def try_products(
    device: torch.device, dtype: torch.dtype, channels: int, _dilation: int, precision: Precision
) -> tuple[torch.Tensor, torch.Tensor]:
    """Try products with two matrices."""
    draw = _draw(device, dtype)
    rows, first, second, bias = (
        draw(2, 100, channels),
        *(draw(channels, 2 * channels) * channels**-0.5 for _ in range(2)),
        draw(2 * channels),
    )

    def plain(
        rows: torch.Tensor, first: torch.Tensor, second: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        return rows[:, :-1] @ first + rows[:, 1:] @ second + bias

    found = products(rows, (first, second), bias, precision=precision)
    return found, _in_float64(plain, rows, first, second, bias)


def try_noise(
    device: torch.device, dtype: torch.dtype, channels: int, _dilation: int, precision: Precision
) -> tuple[torch.Tensor, torch.Tensor]:
    """Try a noise block."""
    draw = _draw(device, dtype)
    x, weight, noise = draw(2, channels, 100), draw(channels, channels, 1) * channels**-0.5, draw(2, 1, 100)

    def plain(x: torch.Tensor, weight: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return x + F.conv1d(x, weight) * noise

    return noise_block(x, weight, noise, precision=precision), _in_float64(plain, x, weight, noise)


def try_last(
    device: torch.device, dtype: torch.dtype, channels: int, _dilation: int, _precision: Precision
) -> tuple[torch.Tensor, torch.Tensor]:
    """Try the last layers."""
    draw = _draw(device, dtype)
    x, alpha, weight = (
        draw(2, channels, 100),
        draw(1, channels, 1).abs() + 0.5,
        draw(1, channels, TAPS) * 0.1,
    )

    def plain(x: torch.Tensor, alpha: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return F.conv1d(reference.snake(x, alpha), weight, bias, padding=TAPS // 2).tanh()

    bias = draw(1)
    return last_layers(x, alpha, weight, bias, last=True)[0], _in_float64(plain, x, alpha, weight, bias)


def try_snake(
    device: torch.device, dtype: torch.dtype, channels: int, _dilation: int, _precision: Precision
) -> tuple[torch.Tensor, torch.Tensor]:
    """Try a Snake between what was kept and zeros."""
    draw = _draw(device, dtype)
    x, alpha = draw(2, channels, 100), draw(1, channels, 1).abs() + 0.5
    return extended(x, alpha, 2, 3), _in_float64(partial(reference.extend, before=2, after=3), x, alpha)


def try_normal(
    device: torch.device, dtype: torch.dtype, _channels: int, _dilation: int, _precision: Precision
) -> tuple[torch.Tensor, torch.Tensor]:
    """Try seeded noise, for a seed and a start with all their bits."""
    from snac_tok.codec.noise import layer_key, normal_at

    seed, start, length = -(2**62) + 12_345, 2**33 + 7, 2_000
    found = normal_rows(torch.tensor([[seed, start]], device=device), layer_key(2), length, dtype)
    positions = torch.arange(start, start + length, device=device)
    return found[0], normal_at(positions, seed=seed, layer=2)


def _draw(device: torch.device, dtype: torch.dtype) -> Callable[..., torch.Tensor]:
    generator = torch.Generator("cpu").manual_seed(0)
    return lambda *shape: torch.randn(shape, generator=generator, device="cpu").to(device=device, dtype=dtype)


def _in_float64(
    operation: Callable[..., torch.Tensor], *tensors: torch.Tensor, **options: Any
) -> torch.Tensor:
    return operation(*(each.double() for each in tensors), **options)
