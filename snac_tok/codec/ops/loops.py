"""Loops over arrays that numba compiles: one pass over memory where torch's operators make four or five.

Arrays are float32, contiguous, with channels as the last dimension: (B, T, C). A loop over few channels is short, and a
processor's wide registers want a long one; so a row (T, C) is read as T * C values, and what belongs to a channel (an
alpha, a tap) is repeated until it is about 512 values long.

Each value is computed the same way wherever it stands in an array, so that chunks of any length join without a seam.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

# Of the wide convolution of a residual unit.
TAPS = 7

# Contracting x * y + z to one rounding changes no value by more than that rounding; nothing else is reordered.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}

_MIN_PERIOD = 512
# Values of activated input that wait for the convolution: with as many in front of them they stay in a core's cache.
_TILE = 16_384

_INVERSE_PI = np.float32(1 / math.pi)
# Pi in two parts, so that k * pi can be subtracted with the precision of twice the digits.
_PI = np.float32(math.pi)
_PI_REST = np.float32(math.pi - float(np.float32(math.pi)))
# Adding and subtracting this rounds to a whole number: from here on float32 has no digits behind the point.
_ROUND = np.float32(1.5 * 2**23)
# From here on, neighbouring float32 are farther apart than a sine can tell; x + sin² / alpha is x then.
_LARGEST = np.float32(2**22)
# sin²(r) / r² for r in [-pi/2, pi/2] as a polynomial of r², fitted by least squares at Chebyshev's points; its error is
# 2.3e-10 before the coefficients are rounded, and 9e-8 after.
_C0, _C1, _C2, _C3, _C4, _C5, _C6 = (
    np.float32(each)
    for each in (1.0, -0.33333333, 0.044444420, -0.00317454344, 1.41023833e-4, -4.2336833e-6, 8.13357513e-8)
)
_ONE, _ZERO, _EPSILON = np.float32(1.0), np.float32(0.0), np.float32(1e-9)

_GOLDEN = np.uint32(0x9E3779B9)
_FIRST_FACTOR, _SECOND_FACTOR = np.uint32(0x7FEB352D), np.uint32(0x846CA68B)
_RADIUS, _ANGLE = np.uint32(0x2545F491), np.uint32(0x6C078965)
_16, _15 = np.uint32(16), np.uint32(15)
_BELOW_HALF, _ODD = np.uint32(0x7FFF), np.uint32(1)
_NOT_A_NUMBER = np.uint16(0x7FC0)


def compiled(signature: str):
    """Compile a function for one signature, from the cache on disk where there is one that can be written."""

    def decorate(function):
        try:
            return njit(signature, cache=True, **_OPTIONS)(function)
        except Exception:  # noqa: BLE001 - no folder for the cache, a full disk, a cache that was cut short
            return njit(signature, **_OPTIONS)(function)

    return decorate


@njit(inline="always", **_OPTIONS)
def _sin_squared(u):
    # sin² has the period pi, so a sign is lost without harm.
    k = (u * _INVERSE_PI + _ROUND) - _ROUND
    r = (u - k * _PI) - k * _PI_REST
    r = r if abs(u) < _LARGEST else u * _ZERO  # not a number where u is none
    z = r * r
    p = _C6
    p = p * z + _C5
    p = p * z + _C4
    p = p * z + _C3
    p = p * z + _C2
    p = p * z + _C1
    p = p * z + _C0
    return p * z


@njit(**_OPTIONS)
def _period(channels):
    """Return how many values what belongs to channels is repeated to."""
    return channels * max(1, _MIN_PERIOD // channels)


@njit(**_OPTIONS)
def _copy(values, out):
    for i in range(len(out)):
        out[i] = values[i]


@njit(**_OPTIONS)
def _clear(out):
    for i in range(len(out)):
        out[i] = _ZERO


@njit(**_OPTIONS)
def _repeat(values, out):
    for start in range(0, len(out), len(values)):
        for i in range(len(values)):
            out[start + i] = values[i]


@njit(**_OPTIONS)
def _repeat_alpha(alpha, out, inverse):
    _repeat(alpha, out)
    for i in range(len(out)):
        inverse[i] = _ONE / (out[i] + _EPSILON)


@njit(**_OPTIONS)
def _snake(x, alpha, inverse, out):
    """Activate the values of a row; `alpha` and `inverse` have a period's length."""
    period, count = len(alpha), len(x)
    for start in range(0, count, period):
        length = min(period, count - start)
        values, results = x[start : start + length], out[start : start + length]
        for i in range(length):
            v = values[i]
            results[i] = v + _sin_squared(alpha[i] * v) * inverse[i]


@compiled("void(f4[:, :, ::1], f4[::1], f4[:, :, ::1], f4[:, :, ::1])")
def extend(x, alpha, before, out):
    """Write to out (B, T', C) what was kept (B, H, C), then x (B, T, C) activated, then zeros."""
    batch, length, channels = x.shape
    period = _period(channels)
    table = np.empty((2, period), np.float32)
    _repeat_alpha(alpha, table[0], table[1])
    start = before.shape[1] * channels
    end = start + length * channels
    for row in range(batch):
        target = out[row].ravel()
        _copy(before[row].ravel(), target[:start])
        _snake(x[row].ravel(), table[0], table[1], target[start:end])
        _clear(target[end:])


@njit(**_OPTIONS)
def _round_to_bfloat16(values, out):
    """Write float32 values to out as the 16 bits of the nearest bfloat16, of two as near the even one."""
    bits = values.view(np.uint32)
    for i in range(len(out)):
        odd = np.uint32(np.uint32(bits[i] >> _16) & _ODD)
        rounded = np.uint32(np.uint32(bits[i] + _BELOW_HALF) + odd)
        out[i] = np.uint16(rounded >> _16) if values[i] == values[i] else _NOT_A_NUMBER


@njit(inline="always", **_OPTIONS)
def _widen(bits):
    return np.uint32(np.uint32(bits) << _16).view(np.float32)


@njit(**_OPTIONS)
def _convolve(x0, x1, x2, x3, x4, x5, x6, table, out):
    """Convolve with seven taps and activate; every argument as long as out, but for the table (12, a period)."""
    w0, w1, w2, w3, w4, w5, w6 = table[3], table[4], table[5], table[6], table[7], table[8], table[9]
    bias, alpha, inverse = table[2], table[10], table[11]
    for i in range(len(out)):
        v = bias[i] + w0[i] * x0[i] + w1[i] * x1[i] + w2[i] * x2[i] + w3[i] * x3[i]
        v = v + w4[i] * x4[i] + w5[i] * x5[i] + w6[i] * x6[i]
        out[i] = v + _sin_squared(alpha[i] * v) * inverse[i]


@njit(**_OPTIONS)
def _convolve_row(x, step, table, line, out, out16):
    """Convolve a row whose taps lie `step` values apart, a period at a time, and write it to one of the two."""
    period, count = table.shape[1], max(len(out), len(out16))
    for start in range(0, count, period):
        length = min(period, count - start)
        results = out[start : start + length] if len(out) else line[:length]
        _convolve(
            x[start : start + length],
            x[start + step : start + step + length],
            x[start + 2 * step : start + 2 * step + length],
            x[start + 3 * step : start + 3 * step + length],
            x[start + 4 * step : start + 4 * step + length],
            x[start + 5 * step : start + 5 * step + length],
            x[start + 6 * step : start + 6 * step + length],
            table,
            results,
        )
        if len(out16):
            _round_to_bfloat16(results, out16[start : start + length])


@njit(**_OPTIONS)
def _unit_table(first_alpha, taps, bias, second_alpha):
    """Return what belongs to the channels of a unit, each repeated to a period."""
    period = _period(len(bias))
    table = np.empty((12, period), np.float32)
    _repeat_alpha(first_alpha, table[0], table[1])
    _repeat(bias, table[2])
    for tap in range(TAPS):
        _repeat(taps[:, tap], table[3 + tap])
    _repeat_alpha(second_alpha, table[10], table[11])
    return table


@njit(**_OPTIONS)
def _fill(out, start, kept, x, table):
    """Write to out what stands from position `start` on in kept, then x activated, then zeros (values of a row)."""
    at, end = 0, len(out)
    if start < len(kept):
        at = min(end, len(kept) - start)
        _copy(kept[start : start + at], out[:at])
    first = start + at - len(kept)
    count = min(end - at, len(x) - first)
    if count > 0:
        _snake(x[first : first + count], table[0], table[1], out[at : at + count])
        at += count
    _clear(out[at:])


@compiled(
    "void(f4[:, :, ::1], f4[:, :, ::1], i8[::1], f4[::1], f4[:, ::1], f4[::1], f4[::1], i8, f4[:, :, ::1],"
    " u2[:, :, ::1], f4[:, :, ::1])"
)
def snake_taps_snake(x, before, ends, first_alpha, taps, bias, second_alpha, dilation, out, out16, kept):
    """Activate x, convolve it depthwise, activate the result; keep the end of the activated input.

    Args:
        x: (B, T, C), of which row b counts up to ends[b], as zeros behind that.
        before: (B, H, C), activated, in front of x.
        ends: (B,).
        first_alpha: (C,).
        taps: (C, 7).
        bias: (C,).
        second_alpha: (C,).
        dilation: of the taps.
        out: (B, n, C) is written, or nothing if it is (B, 0, C).
        out16: the same as the bits of bfloat16: one of the two is empty.
        kept: (B, K, C) is written: all of the activated input from position n on. Where out and `kept` are longer
            together than what goes in, zeros follow x.
    """
    channels = x.shape[2]
    table = _unit_table(first_alpha, taps, bias, second_alpha)
    step = dilation * channels
    span = (TAPS - 1) * step
    tile = max(span, _TILE - _TILE % channels)
    buffer, line = np.empty(span + tile, np.float32), np.empty(table.shape[1], np.float32)
    for row in range(len(x)):
        values, start_values = x[row].ravel()[: ends[row] * channels], before[row].ravel()
        results, results16, left = out[row].ravel(), out16[row].ravel(), kept[row].ravel()
        held = done = 0
        wanted = max(len(results), len(results16))
        total = wanted + len(left)
        while done + held < total:
            # The buffer holds `held` values from position `done` on, which is where the next output begins.
            count = min(len(buffer), total - done) - held
            _fill(buffer[held : held + count], done + held, start_values, values, table)
            held += count
            ready = min(wanted - done, max(0, held - span))
            end = done + ready
            _convolve_row(buffer, step, table, line, results[done:end], results16[done:end])
            _copy(buffer[ready:held], buffer[: held - ready])
            held -= ready
            done += ready
        _copy(buffer, left)


@njit(**_OPTIONS)
def _add_widened(bits, x, out):
    for i in range(len(bits)):
        out[i] = _widen(bits[i]) + x[i]


@compiled("void(u2[:, :, ::1], f4[:, :, ::1], f4[:, :, ::1], f4[:, :, ::1])")
def add_delayed(products, held, x, out):
    """Write to out (B, n, C) products of bfloat16 plus the first n values of `held` (B, H, C) continued with x."""
    channels = x.shape[2]
    for row in range(len(out)):
        bits, results = products[row].ravel(), out[row].ravel()
        middle = min(held.shape[1] * channels, len(results))
        _add_widened(bits[:middle], held[row].ravel(), results[:middle])
        _add_widened(bits[middle:], x[row].ravel(), results[middle:])


@compiled("void(u2[:, :, ::1], u2[:, :, ::1], f4[:, :, ::1])")
def add_products(first, second, out):
    """Write to out (B, n, C) the sum of two products of bfloat16."""
    for row in range(len(out)):
        for at in range(out.shape[1]):
            one, other, results = first[row, at], second[row, at], out[row, at]
            for i in range(len(results)):
                results[i] = _widen(one[i]) + _widen(other[i])


@compiled("void(f4[:, :, ::1], u2[:, :, ::1], f4[:, ::1], f4[:, :, ::1])")
def add_scaled_noise(x, scale, noise, out):
    """Write to out (B, T, C) x plus noise (B or 1, T) times its scale, a product of bfloat16."""
    for row in range(len(x)):
        values = noise[row if len(noise) > 1 else 0]
        for at in range(x.shape[1]):
            inputs, scales, results, value = x[row, at], scale[row, at], out[row, at], values[at]
            for i in range(len(results)):
                results[i] = inputs[i] + _widen(scales[i]) * value


@njit(inline="always", **_OPTIONS)
def _mix(x):
    # Sums and products of 32 bits are 64 wide here.
    x = np.uint32((x ^ (x >> _16)) * _FIRST_FACTOR)
    x = np.uint32((x ^ (x >> _15)) * _SECOND_FACTOR)
    return np.uint32(x ^ (x >> _16))


@njit(inline="always", **_OPTIONS)
def _uniform(bits):
    return (np.float64(bits) + 0.5) / 4294967296.0


@compiled("void(i8[:, ::1], i8, f8[:, ::1], f8[:, ::1])")
def uniform_pairs(seeds_and_starts, layer_key, first, second):
    """Write to (rows, T) the two uniform values that the noise of each row's seed is made from, from its start on."""
    for row in range(len(first)):
        seed, start = seeds_and_starts[row]
        key = np.uint32(_mix(np.uint32(seed)) ^ _mix(np.uint32(seed >> 32)) ^ np.uint32(layer_key))
        key = _mix(key)
        for i in range(first.shape[1]):
            position = start + i
            bits = _mix(np.uint32(np.uint32(position) ^ key))
            bits = _mix(np.uint32(bits ^ np.uint32(position >> 32) ^ _GOLDEN))
            first[row, i] = _uniform(_mix(np.uint32(bits ^ _RADIUS)))
            second[row, i] = _uniform(_mix(np.uint32(bits ^ _ANGLE)))
