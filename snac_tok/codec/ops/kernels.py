"""Triton kernels for GPUs: a residual unit, a Snake, a noise block and the last layers, one kernel each.

They compute in float32 and read and write the dtype of the network. Activations are (B, T, C), contiguous, so a tile of
positions with all their channels is one stretch of memory. A unit's program makes BLOCK_T positions:

    input       kept (activated) | x                       continued by zeros
                  |7 shifted loads, Snake, times a tap each
    z           sum of the taps, Snake                     BLOCK_K channels at a time
                  |product with BLOCK_K rows of the matrix
    output      sum of the products, plus bias, plus x     all channels

The sine is computed again for each tap: neighbours are in the cache, and a sine costs less than a pass over memory.
Lengths do not specialise a kernel: else Triton would compile it again for lengths of 1 and for multiples of 16.
`gpu` calls these and says what the arguments are. Its tests run them on a CPU, in Triton's interpreter. It cannot
call what in `tl` is itself a kernel (`zeros`, `sum`) if Triton was loaded before; so none of that is used.
"""

import triton
import triton.language as tl


@triton.jit
def snake(x, alpha, APPROXIMATE: tl.constexpr):
    """Return x + sin²(αx) / α. The approximate sine is good to 2^-20 near zero: for 16-bit values only."""
    if APPROXIMATE:
        sine = tl.inline_asm_elementwise(
            "sin.approx.f32 $0, $1;", "=f,f", [alpha * x], dtype=tl.float32, is_pure=True, pack=1
        )
        squared = sine * sine
    else:
        squared = sin_squared(alpha * x)
    return x + squared * (1.0 / (alpha + 1e-9))


@triton.jit
def sin_squared(u):
    """Return sin²(u), to 2e-7: what `loops` does on a CPU.

    `tl.sin` has a path for huge arguments, which each of the unrolled taps would repeat: it makes a kernel of 60 kB one
    of 220, whose registers spill.
    """
    # Adding and subtracting 1.5 * 2^23 rounds to a whole number; pi is subtracted in two parts.
    k = (u * 0.3183098861837907 + 12582912.0) - 12582912.0
    r = tl.fma(k, 8.742277657347586e-08, tl.fma(k, -3.1415927410125732, u))
    # From 2^22 on, neighbouring float32 are farther apart than a sine can tell. Not a number where u is none.
    r = tl.where(tl.abs(u) < 4194304.0, r, u * 0.0)  # noqa: PLR2004 - Triton reads no names of modules
    z = r * r
    p = tl.fma(z, 8.13357513e-8, -4.2336833e-6)
    p = tl.fma(z, p, 1.41023833e-4)
    p = tl.fma(z, p, -0.00317454344)
    p = tl.fma(z, p, 0.044444420)
    p = tl.fma(z, p, -0.33333333)
    return tl.fma(z, p, 1.0) * z


@triton.jit
def plus(left, right):
    """Return the sum of two."""
    return left + right


@triton.jit
def activated(
    x,
    kept,
    at,
    first,
    channels,
    inside,
    alpha,
    kept_length,
    end,
    C: tl.constexpr,
    HAS_KEPT: tl.constexpr,
    APPROXIMATE: tl.constexpr,
):
    """Load positions `at` (the smallest is `first`) of: what was kept, then x activated up to `end`, then zeros.

    What was kept is activated and rounded already, so activated x is rounded, too: chunks then join without a seam.
    """
    in_x = at - kept_length
    mask = (in_x >= 0) & (in_x < end)
    values = tl.load(x + in_x[:, None] * C + channels, mask=mask[:, None] & inside, other=0.0).to(tl.float32)
    values = snake(values, alpha, APPROXIMATE).to(x.dtype.element_ty).to(tl.float32)
    if HAS_KEPT:
        if first < kept_length:
            mask = at < kept_length
            values += tl.load(kept + at[:, None] * C + channels, mask=mask[:, None] & inside, other=0.0).to(
                tl.float32
            )
    return values


@triton.jit
def continued(
    x,
    held,
    at,
    first,
    channels,
    inside,
    held_length,
    length,
    C: tl.constexpr,
    HAS_HELD: tl.constexpr,
):
    """Load positions `at` of: what was held, then x."""
    in_x = at - held_length
    mask = (in_x >= 0) & (in_x < length)
    values = tl.load(x + in_x[:, None] * C + channels, mask=mask[:, None] & inside, other=0.0).to(tl.float32)
    if HAS_HELD:
        if first < held_length:
            mask = at < held_length
            values += tl.load(held + at[:, None] * C + channels, mask=mask[:, None] & inside, other=0.0).to(
                tl.float32
            )
    return values


@triton.jit(
    do_not_specialize=[
        "length",
        "kept_length",
        "held_length",
        "count",
        "kept_count",
        "held_count",
        "tiles",
        "programs",
        "dilation",
    ]
)
def residual_unit(
    out,
    middle,
    kept_out,
    held_out,
    x,
    kept,
    held,
    ends,
    first_alpha,
    taps,
    taps_bias,
    second_alpha,
    matrix,
    matrix_bias,
    length,
    kept_length,
    held_length,
    count,
    kept_count,
    held_count,
    tiles,
    programs,
    dilation,
    C: tl.constexpr,
    TAPS: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_N: tl.constexpr,
    HAS_KEPT: tl.constexpr,
    HAS_ENDS: tl.constexpr,
    MULTIPLIES: tl.constexpr,
    PRODUCT: tl.constexpr,
    PRECISION: tl.constexpr,
    APPROXIMATE: tl.constexpr,
):
    """Compute a tile of the unit's output or, in the last programs of a row, of what it keeps.

    Without MULTIPLIES the product is left to others: its rows go to `middle`, and all that is added to it to `out`.
    """
    row = (tl.program_id(0) // programs).to(tl.int64)
    tile = tl.program_id(0) % programs
    x += row * length * C
    kept += row * kept_length * C
    held += row * held_length * C
    end = length
    if HAS_ENDS:
        end = tl.load(ends + row)
    if tile < tiles:
        start = tile * BLOCK_T
        stop = count
        if HAS_ENDS:
            stop = tl.minimum(count, end)
        if start < stop:
            at = start + tl.arange(0, BLOCK_T)
            written = (at < count)[:, None]
            out_channels = tl.arange(0, BLOCK_N)[None, :]
            inside_out = out_channels < C
            total = tl.full((BLOCK_T, BLOCK_N), 0.0, tl.float32)
            for begin in range(0, C, BLOCK_K):
                column = begin + tl.arange(0, BLOCK_K)
                channels = column[None, :]
                inside = channels < C
                alpha = tl.load(first_alpha + channels).to(tl.float32)
                z = tl.full((BLOCK_T, BLOCK_K), 0.0, tl.float32) + tl.load(taps_bias + channels).to(
                    tl.float32
                )
                for tap in tl.static_range(TAPS):
                    shift = tap * dilation
                    values = activated(
                        x,
                        kept,
                        at + shift,
                        start + shift,
                        channels,
                        inside,
                        alpha,
                        kept_length,
                        end,
                        C,
                        HAS_KEPT,
                        APPROXIMATE,
                    )
                    z += values * tl.load(taps + tap * C + channels).to(tl.float32)
                z = snake(z, tl.load(second_alpha + channels).to(tl.float32), APPROXIMATE)
                if MULTIPLIES:
                    weights = tl.load(matrix + column[:, None] * C + out_channels, mask=inside_out, other=0.0)
                    z = z.to(weights.dtype).to(PRODUCT)
                    total = tl.dot(z, weights.to(PRODUCT), total, input_precision=PRECISION)
                else:
                    rows = middle + row * count * C + at[:, None] * C
                    tl.store(rows + channels, z.to(middle.dtype.element_ty), mask=written)
            total += tl.load(matrix_bias + out_channels, mask=inside_out, other=0.0).to(tl.float32)
            total += continued(x, held, at, start, out_channels, inside_out, held_length, length, C, HAS_KEPT)
            rows = out + row * count * C + at[:, None] * C
            tl.store(rows + out_channels, total.to(out.dtype.element_ty), mask=written & inside_out)
    else:
        start = (tile - tiles) * BLOCK_T
        at = start + tl.arange(0, BLOCK_T)
        for begin in range(0, C, BLOCK_K):
            channels = begin + tl.arange(0, BLOCK_K)[None, :]
            inside = channels < C
            alpha = tl.load(first_alpha + channels).to(tl.float32)
            values = activated(
                x,
                kept,
                count + at,
                count + start,
                channels,
                inside,
                alpha,
                kept_length,
                end,
                C,
                HAS_KEPT,
                APPROXIMATE,
            )
            rows = kept_out + row * kept_count * C + at[:, None] * C
            tl.store(rows + channels, values.to(x.dtype.element_ty), mask=(at < kept_count)[:, None])
            values = continued(
                x, held, count + at, count + start, channels, inside, held_length, length, C, HAS_KEPT
            )
            rows = held_out + row * held_count * C + at[:, None] * C
            tl.store(rows + channels, values.to(x.dtype.element_ty), mask=(at < held_count)[:, None])


@triton.jit(do_not_specialize=["length", "kept_length", "total_length", "tiles"])
def extended(
    out,
    x,
    kept,
    alpha,
    length,
    kept_length,
    total_length,
    tiles,
    C: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_C: tl.constexpr,
    HAS_KEPT: tl.constexpr,
    APPROXIMATE: tl.constexpr,
):
    """Write a tile of: what was kept, x activated, zeros."""
    row = (tl.program_id(0) // tiles).to(tl.int64)
    start = (tl.program_id(0) % tiles) * BLOCK_T
    at = start + tl.arange(0, BLOCK_T)
    channels = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    inside = channels < C
    values = activated(
        x + row * length * C,
        kept + row * kept_length * C,
        at,
        start,
        channels,
        inside,
        tl.load(alpha + channels, mask=inside, other=1.0).to(tl.float32),
        kept_length,
        length,
        C,
        HAS_KEPT,
        APPROXIMATE,
    )
    rows = out + row * total_length * C + at[:, None] * C
    tl.store(rows + channels, values.to(out.dtype.element_ty), mask=(at < total_length)[:, None] & inside)


@triton.jit(do_not_specialize=["length", "noise_stride", "tiles"])
def noise_block(
    out,
    x,
    matrix,
    noise,
    ends,
    length,
    noise_stride,
    tiles,
    C: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_N: tl.constexpr,
    HAS_ENDS: tl.constexpr,
    PRODUCT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Write a tile of x + (x times a matrix) · noise, one value of noise a position."""
    row = (tl.program_id(0) // tiles).to(tl.int64)
    start = (tl.program_id(0) % tiles) * BLOCK_T
    end = length
    if HAS_ENDS:
        end = tl.load(ends + row)
    if start < end:
        at = start + tl.arange(0, BLOCK_T)
        mask = (at < length)[:, None]
        out_channels = tl.arange(0, BLOCK_N)[None, :]
        inside = out_channels < C
        rows = x + row * length * C + at[:, None] * C
        scale = tl.full((BLOCK_T, BLOCK_N), 0.0, tl.float32)
        for begin in range(0, C, BLOCK_K):
            column = begin + tl.arange(0, BLOCK_K)
            part = tl.load(rows + column[None, :], mask=mask, other=0.0)
            weights = tl.load(matrix + column[:, None] * C + out_channels, mask=inside, other=0.0)
            scale = tl.dot(part.to(PRODUCT), weights.to(PRODUCT), scale, input_precision=PRECISION)
        drawn = tl.load(noise + row * noise_stride + at, mask=at < length, other=0.0).to(tl.float32)
        values = tl.load(rows + out_channels, mask=mask & inside, other=0.0).to(tl.float32)
        values += scale * drawn[:, None]
        to = out + row * length * C + at[:, None] * C
        tl.store(to + out_channels, values.to(out.dtype.element_ty), mask=mask & inside)


@triton.jit(do_not_specialize=["length", "kept_length", "count", "kept_count", "tiles", "programs"])
def last_layers(
    out,
    kept_out,
    x,
    kept,
    ends,
    alpha,
    taps,
    bias,
    length,
    kept_length,
    count,
    kept_count,
    tiles,
    programs,
    C: tl.constexpr,
    TAPS: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_C: tl.constexpr,
    HAS_KEPT: tl.constexpr,
    HAS_ENDS: tl.constexpr,
    APPROXIMATE: tl.constexpr,
):
    """Write a tile of tanh(convolution of the activated x, to one channel) or of what the convolution keeps."""
    row = (tl.program_id(0) // programs).to(tl.int64)
    tile = tl.program_id(0) % programs
    x += row * length * C
    kept += row * kept_length * C
    end = length
    if HAS_ENDS:
        end = tl.load(ends + row)
    channels = tl.arange(0, BLOCK_C)[None, :]
    inside = channels < C
    alphas = tl.load(alpha + channels, mask=inside, other=1.0).to(tl.float32)
    if tile < tiles:
        start = tile * BLOCK_T
        stop = count
        if HAS_ENDS:
            stop = tl.minimum(count, end)
        if start < stop:
            at = start + tl.arange(0, BLOCK_T)
            total = tl.full((BLOCK_T, BLOCK_C), 0.0, tl.float32)
            for tap in tl.static_range(TAPS):
                values = activated(
                    x,
                    kept,
                    at + tap,
                    start + tap,
                    channels,
                    inside,
                    alphas,
                    kept_length,
                    end,
                    C,
                    HAS_KEPT,
                    APPROXIMATE,
                )
                total += values * tl.load(taps + tap * C + channels, mask=inside, other=0.0).to(tl.float32)
            loud = tl.reduce(total, 1, plus) + tl.load(bias).to(tl.float32)
            # tanh without overflow; near zero, where 1 - e^-2x loses digits, its series.
            size = tl.abs(loud)
            decayed = tl.exp(-2.0 * size)
            square = size * size
            series = size * (
                1.0
                - square
                * (1.0 / 3.0 - square * (2.0 / 15.0 - square * (17.0 / 315.0 - square * 62.0 / 2835.0)))
            )
            size = tl.where(size < 1 / 4, series, (1.0 - decayed) / (1.0 + decayed))
            loud = tl.where(loud < 0.0, -size, size)
            tl.store(out + row * count + at, loud.to(out.dtype.element_ty), mask=at < count)
    else:
        start = (tile - tiles) * BLOCK_T
        at = start + tl.arange(0, BLOCK_T)
        values = activated(
            x,
            kept,
            count + at,
            count + start,
            channels,
            inside,
            alphas,
            kept_length,
            end,
            C,
            HAS_KEPT,
            APPROXIMATE,
        )
        rows = kept_out + row * kept_count * C + at[:, None] * C
        tl.store(rows + channels, values.to(x.dtype.element_ty), mask=(at < kept_count)[:, None] & inside)
