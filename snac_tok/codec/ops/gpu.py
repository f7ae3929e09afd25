"""The operations for GPUs: Triton kernels where one pass over memory replaces many, products for the dense layers.

Tensors keep their shape (B, C, T), but channels are neighbours in memory (strides of (B, T, C)), as in `cpu`. What the
layers keep between chunks is what the other backends keep, so the next chunk of a clip may take another backend.

A kernel is used for a device, dtype and width only after it has given, there, what plain torch gives on a small input;
otherwise a warning says so once, and plain torch runs. float32 products are cuBLAS's, in full float32: Triton's own
take no tensor core and are slower than all the passes that they save. TF32 must be asked for (`precision`).
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
import triton.language as tl

from snac_tok.codec.ops import kernels, reference
from snac_tok.codec.ops.cpu import channels_last
from snac_tok.codec.ops.reference import Kept, UnitWeights
from snac_tok.codec.ops.weight_cache import prepacked

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from snac_tok.codec.ops.weight_cache import Matrices

    # How float32 products are made: in full, from three TF32 products (nearly as good), or from one (10 bits).
    Precision = Literal["ieee", "tf32x3", "tf32"]
    Trial = Callable[[torch.device, torch.dtype, int, int], tuple[torch.Tensor, torch.Tensor]]

_log = logging.getLogger(__name__)

# The wide convolution of a residual unit and the last one.
_TAPS = 7
_MIN_WIDTH, _MAX_WIDTH = (
    16,
    1024,
)  # what a tensor core multiplies at least, what a program's registers hold at most
_TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 8e-2}


def takes_unit(x: torch.Tensor, dilation: int) -> bool:
    """Say whether `residual_unit` can be used for inputs like x (B, C, T)."""
    return _usable(_try_unit, x, dilation)


def takes_noise(x: torch.Tensor) -> bool:
    """Say whether `noise_block` can be used; float32's product is cuBLAS's, and what is left is one kernel anyway."""
    return x.dtype is not torch.float32 and _usable(_try_noise, x)


def takes_last(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Say whether `last_layers` can be used: for one channel of sound."""
    return weight.shape[0] == 1 and weight.shape[-1] == _TAPS and _usable(_try_last, x)


def residual_unit(
    x: torch.Tensor,
    weights: UnitWeights,
    *,
    dilation: int,
    kept: Kept = Kept(),  # noqa: B008 - immutable
    last: bool = False,
    ends: torch.Tensor | None = None,
    precision: Precision = "ieee",
) -> tuple[torch.Tensor, Kept]:
    """Refine the next (B, C, n) of a clip: Snake, depthwise convolution, Snake, 1x1 convolution, plus x.

    Args:
        x: the clip's next values; n may be 0.
        weights: of the unit.
        dilation: of the depthwise convolution.
        kept: what the chunk before left; nothing at the clip's start.
        last: whether the clip ends here.
        ends: (B,) int32, where whole clips of several lengths are rows: behind its end a row counts as zero, and its
            output there is left unwritten.
        precision: of float32 products.

    Returns:
        what is final, (B, C, m), and what is kept; nothing if the clip ends.
    """
    rows, (batch, channels, length) = channels_last(x), x.shape
    before, added = (None if each is None else channels_last(each) for each in kept)
    padding = dilation * (_TAPS // 2)
    kept_length = padding if before is None else before.shape[1]
    held_length = 0 if added is None else added.shape[1]
    count = max(0, kept_length + length + (padding if last else 0) - 2 * padding)
    kept_count = 0 if last else kept_length + length - count
    held_count = 0 if last else held_length + length - count
    out, kept_out, held_out = (_empty(rows, size) for size in (count, kept_count, held_count))
    multiplies = x.dtype is not torch.float32 or precision != "ieee"
    middle = out if multiplies else _empty(rows, count)
    block = _block(channels)
    tiles = -(-count // block["BLOCK_T"])
    programs = tiles + -(-kept_count // block["BLOCK_T"])
    ((taps,),), ((matrix,),) = prepacked(weights.taps, _taps_first), prepacked(weights.matrix, _input_first)
    _launch(
        kernels.residual_unit,
        (batch * programs,),
        out,
        middle,
        kept_out,
        held_out,
        rows,
        rows if before is None else before,
        rows if added is None else added,
        rows if ends is None else ends,
        weights.first_alpha,
        taps,
        weights.taps_bias,
        weights.second_alpha,
        matrix,
        weights.matrix_bias,
        length,
        kept_length,
        held_length,
        count,
        kept_count,
        held_count,
        tiles,
        programs,
        dilation,
        C=channels,
        TAPS=_TAPS,
        HAS_KEPT=before is not None,
        HAS_ENDS=ends is not None,
        MULTIPLIES=multiplies,
        PRODUCT=_product_type(x),
        PRECISION=precision,
        APPROXIMATE=_approximate(x),
        **block,
    )
    if not multiplies and count:
        out.view(-1, channels).addmm_(middle.view(-1, channels), matrix)
    left = Kept() if last else Kept(kept_out.transpose(1, 2), held_out.transpose(1, 2))
    return out.transpose(1, 2), left


def noise_block(
    x: torch.Tensor,
    weight: torch.Tensor,
    noise: torch.Tensor,
    *,
    ends: torch.Tensor | None = None,
    precision: Precision = "ieee",
) -> torch.Tensor:
    """Return x + (x times a matrix) · noise.

    Args:
        x: (B, C, T).
        weight: (C, C, 1), of the 1x1 convolution.
        noise: (B, 1, T) or (1, 1, T).
        ends: as of `residual_unit`.
        precision: of float32 products.
    """
    rows, (batch, channels, length) = channels_last(x), x.shape
    out, block = _empty(rows, length), _block(channels)
    ((matrix,),) = prepacked(weight, _input_first)
    tiles = -(-length // block["BLOCK_T"])
    _launch(
        kernels.noise_block,
        (batch * tiles,),
        out,
        rows,
        matrix,
        noise.contiguous(),
        rows if ends is None else ends,
        length,
        0 if noise.shape[0] == 1 else length,
        tiles,
        C=channels,
        HAS_ENDS=ends is not None,
        PRODUCT=_product_type(x),
        PRECISION=precision,
        **block,
    )
    return out.transpose(1, 2)


def last_layers(
    x: torch.Tensor,
    alpha: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    *,
    kept: torch.Tensor | None = None,
    last: bool = False,
    ends: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the sound (B, 1, m) of the next (B, C, n): Snake, convolution to one channel, tanh; and what is kept.

    Args:
        x: the clip's next values; n may be 0.
        alpha: (1, C, 1).
        weight: (1, C, 7).
        bias: (1,).
        kept: what the chunk before left, activated; None at the clip's start.
        last: whether the clip ends here.
        ends: as of `residual_unit`.
    """
    rows, (batch, channels, length) = channels_last(x), x.shape
    before = None if kept is None else channels_last(kept)
    padding = _TAPS // 2
    kept_length = padding if before is None else before.shape[1]
    count = max(0, kept_length + length + (padding if last else 0) - 2 * padding)
    kept_count = 0 if last else kept_length + length - count
    out, kept_out = _empty(rows[..., :1], count), _empty(rows, kept_count)
    ((taps,),) = prepacked(weight, _one_output)
    block_t, block_c = 64, max(16, 1 << (channels - 1).bit_length())
    tiles = -(-count // block_t)
    programs = tiles + -(-kept_count // block_t)
    _launch(
        kernels.last_layers,
        (batch * programs,),
        out,
        kept_out,
        rows,
        rows if before is None else before,
        rows if ends is None else ends,
        alpha,
        taps,
        bias,
        length,
        kept_length,
        count,
        kept_count,
        tiles,
        programs,
        C=channels,
        TAPS=_TAPS,
        BLOCK_T=block_t,
        BLOCK_C=block_c,
        HAS_KEPT=before is not None,
        HAS_ENDS=ends is not None,
        APPROXIMATE=_approximate(x),
        num_warps=4 if block_c <= block_t else 8,
    )
    return out.transpose(1, 2), None if last else kept_out.transpose(1, 2)


def extend(
    x: torch.Tensor, alpha: torch.Tensor | None = None, before: torch.Tensor | int = 0, after: int = 0
) -> torch.Tensor:
    """Activate x and put it between what was kept and zeros, in one pass."""
    if alpha is None or not x.shape[0] or not _usable(_try_snake, x):
        return reference.extend(x, alpha, before, after)
    return _extend(x, alpha, before, after)


def _extend(x: torch.Tensor, alpha: torch.Tensor, before: torch.Tensor | int, after: int) -> torch.Tensor:
    rows, (batch, channels, length) = channels_last(x), x.shape
    kept = None if isinstance(before, int) else channels_last(before)
    kept_length = before if isinstance(before, int) else before.shape[-1]
    out = _empty(rows, kept_length + length + after)
    block_t, block_c = 32, min(64, max(16, 1 << (channels - 1).bit_length()))
    tiles = -(-out.shape[1] // block_t)
    _launch(
        kernels.extended,
        (batch * tiles, -(-channels // block_c)),
        out,
        rows,
        rows if kept is None else kept,
        alpha,
        length,
        kept_length,
        out.shape[1],
        tiles,
        C=channels,
        BLOCK_T=block_t,
        BLOCK_C=block_c,
        HAS_KEPT=kept is not None,
        APPROXIMATE=_approximate(x),
    )
    return out.transpose(1, 2)


def conv1d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> torch.Tensor:
    """Convolve without padding: a 1x1 convolution as a product, a strided one as two, others as torch does."""
    kernel_size = weight.shape[-1]
    if groups == 1 and kernel_size == 1:
        return F.linear(channels_last(x), weight[:, :, 0], bias).transpose(1, 2)
    if groups > 1 or kernel_size != 2 * stride:
        return reference.conv1d(x, weight, bias, stride=stride, dilation=dilation, groups=groups)
    rows = channels_last(x)
    count = x.shape[-1] // stride
    steps = rows[:, : count * stride].reshape(len(rows), count, stride * x.shape[1])
    return _two_products(steps, prepacked(weight, _steps), bias).transpose(1, 2)


def upsample(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Convolve transposed, without the ends, as two products."""
    repeated = None if bias is None else bias.repeat(weight.shape[-1] // 2)
    out = _two_products(channels_last(x), prepacked(weight, _upsampling_steps), repeated)
    return out.reshape(len(x), -1, weight.shape[1]).transpose(1, 2)


def linear(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Multiply (B, T, C_in) with (C_out, C_in)."""
    return F.linear(x, weight)


def _two_products(steps: torch.Tensor, matrices: Matrices, bias: torch.Tensor | None) -> torch.Tensor:
    """Multiply every two neighbouring rows of (B, n, width) with a matrix (width, width') each and add up."""
    (first,), (second,) = matrices
    batch = len(steps)
    start = steps.new_zeros(()) if bias is None else bias
    out = torch.baddbmm(start, steps[:, :-1], first.expand(batch, -1, -1), beta=0.0 if bias is None else 1.0)
    return out.baddbmm_(steps[:, 1:], second.expand(batch, -1, -1))


def _taps_first(weight: torch.Tensor) -> Matrices:
    return ((weight.detach()[:, 0].t().contiguous(),),)


def _one_output(weight: torch.Tensor) -> Matrices:
    return ((weight.detach()[0].t().contiguous(),),)


def _input_first(weight: torch.Tensor) -> Matrices:
    return ((weight.detach()[:, :, 0].t().contiguous(),),)


def _steps(weight: torch.Tensor) -> Matrices:
    """Return (stride * C_in, C_out) for the kernel's first half and its second."""
    halves = torch.split(weight.detach(), weight.shape[-1] // 2, dim=-1)
    return tuple((half.permute(2, 1, 0).flatten(0, 1).contiguous(),) for half in halves)


def _upsampling_steps(weight: torch.Tensor) -> Matrices:
    """Return (C_in, stride * C_out) for the kernel's second half, then its first."""
    halves = reversed(torch.split(weight.detach(), weight.shape[-1] // 2, dim=-1))
    return tuple((half.transpose(1, 2).flatten(1).contiguous(),) for half in halves)


def _empty(rows: torch.Tensor, length: int) -> torch.Tensor:
    """Return a new (B, length, C) for any values."""
    return rows.new_empty((rows.shape[0], length, rows.shape[2]))


def _block(channels: int) -> dict[str, int]:
    """Return the tile of a program that multiplies, measured where it is 64 x 64 with 4 warps."""
    block_n = 1 << (channels - 1).bit_length()
    block_t = max(16, min(64, 16_384 // block_n))
    block_k = min(32, channels & -channels)
    warps = 4 if block_t * block_n <= 4_096 else 8  # noqa: PLR2004 - values in 64 x 64
    return {
        "BLOCK_T": block_t,
        "BLOCK_K": block_k,
        "BLOCK_N": block_n,
        "num_warps": warps,
        "num_stages": 2,
    }


def _approximate(x: torch.Tensor) -> bool:
    return x.is_cuda and x.dtype is not torch.float32 and torch.version.hip is None


def _product_type(x: torch.Tensor) -> Any:
    """Return what a product's factors are cast to: the weights' dtype, but Triton's interpreter knows no bfloat16."""
    if x.dtype is torch.bfloat16 and not x.is_cuda:
        return tl.float32
    return {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}[x.dtype]


def _launch(kernel: Any, grid: tuple[int, ...], *values: Any, **constants: Any) -> None:
    """Run a kernel on its tensors' device, which need not be the current one."""
    if not grid[0]:
        return
    device = values[0].device
    place: AbstractContextManager[object] = (
        torch.cuda.device(device) if device.type == "cuda" else nullcontext()
    )
    with place:
        kernel[grid](*values, **constants)


def _usable(trial: Trial, x: torch.Tensor, dilation: int = 1) -> bool:
    channels = x.shape[1]
    if channels % _MIN_WIDTH or channels > _MAX_WIDTH:
        return False
    # In the interpreter, on a CPU, the tests are the trial.
    return not x.is_cuda or _works(trial, x.device, x.dtype, channels, dilation)


@cache
def _works(trial: Trial, device: torch.device, dtype: torch.dtype, channels: int, dilation: int) -> bool:
    """Say whether a kernel gives what plain torch gives, on a small input; compilers and cards differ."""
    try:
        with torch.no_grad():
            found, wanted = trial(device, dtype, channels, dilation)
            error = float((found.double() - wanted).abs().max() / wanted.abs().max())
        problem = "" if error <= _TOLERANCE[dtype] else f"its result is wrong by {error:.2g}"
    except Exception as caught:  # noqa: BLE001 - whatever Triton and its compilers raise
        problem = f"{type(caught).__name__}: {str(caught).partition(chr(10))[0]}"
    if problem:
        _log.warning(
            "The Triton kernel of %d channels in %s cannot be used on %s (%s); torch's operations run instead.",
            channels,
            dtype,
            device,
            problem,
        )
    return not problem


def _draw(device: torch.device, dtype: torch.dtype) -> Callable[..., torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(shape, generator=generator).to(device=device, dtype=dtype)


def _in_float64(
    operation: Callable[..., torch.Tensor], *tensors: torch.Tensor, **options: Any
) -> torch.Tensor:
    return operation(*(each.double() for each in tensors), **options)


def trial_weights(draw: Callable[..., torch.Tensor], channels: int) -> UnitWeights:
    """Return random weights of a unit, of a size that keeps values near 1."""
    return UnitWeights(
        draw(1, channels, 1).abs() + 0.5,
        draw(channels, 1, _TAPS) * 0.3,
        draw(channels) * 0.1,
        draw(1, channels, 1).abs() + 0.5,
        draw(channels, channels, 1) * channels**-0.5,
        draw(channels) * 0.1,
    )


def _try_unit(
    device: torch.device, dtype: torch.dtype, channels: int, dilation: int
) -> tuple[torch.Tensor, torch.Tensor]:
    draw = _draw(device, dtype)
    x, weights = draw(2, channels, 100), trial_weights(draw, channels)
    begin, kept = residual_unit(x[..., :70], weights, dilation=dilation)
    rest, _ = residual_unit(x[..., 70:], weights, dilation=dilation, kept=kept, last=True)
    wide = UnitWeights(*(each.double() for each in weights))
    return torch.cat((begin, rest), dim=-1), reference.residual_unit(x.double(), wide, dilation=dilation)


def _try_noise(
    device: torch.device, dtype: torch.dtype, channels: int, _dilation: int
) -> tuple[torch.Tensor, torch.Tensor]:
    draw = _draw(device, dtype)
    x, weight, noise = draw(2, channels, 100), draw(channels, channels, 1) * channels**-0.5, draw(2, 1, 100)

    def plain(x: torch.Tensor, weight: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return x + F.conv1d(x, weight) * noise

    return noise_block(x, weight, noise), _in_float64(plain, x, weight, noise)


def _try_last(
    device: torch.device, dtype: torch.dtype, channels: int, _dilation: int
) -> tuple[torch.Tensor, torch.Tensor]:
    draw = _draw(device, dtype)
    x, alpha, weight = (
        draw(2, channels, 100),
        draw(1, channels, 1).abs() + 0.5,
        draw(1, channels, _TAPS) * 0.1,
    )

    def plain(x: torch.Tensor, alpha: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return F.conv1d(reference.snake(x, alpha), weight, bias, padding=_TAPS // 2).tanh()

    bias = draw(1)
    return last_layers(x, alpha, weight, bias, last=True)[0], _in_float64(plain, x, alpha, weight, bias)


def _try_snake(
    device: torch.device, dtype: torch.dtype, channels: int, _dilation: int
) -> tuple[torch.Tensor, torch.Tensor]:
    draw = _draw(device, dtype)
    x, alpha = draw(2, channels, 100), draw(1, channels, 1).abs() + 0.5
    return _extend(x, alpha, 2, 3), _in_float64(partial(reference.extend, before=2, after=3), x, alpha)
