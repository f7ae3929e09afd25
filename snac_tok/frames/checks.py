"""What must hold of a vocabulary and of the codes it is given; every refusal says how to repair it."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.errors import CodesError, LayoutError
from snac_tok.frames.arrays import MAX_SIZE, Array, all_below, to_numpy, whole_number
from snac_tok.frames.layout import FrameLayout
from snac_tok.frames.text import TextForm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.frames.id_table import IdTable

# Rows are padded by the longest delay: the bound keeps a damaged file from asking for gigabytes of pad.
MAX_DELAY = 4096

OFFSETS = ("slot", "level", "none")


def check_code_range(levels: Sequence[Array], codebook_size: int) -> None:
    """Refuse codes outside 0 … codebook_size−1, naming the first one."""
    for k, level in enumerate(levels):
        if not all_below(level, codebook_size):
            codes = to_numpy(level)
            index = tuple(int(i) for i in np.argwhere((codes < 0) | (codes >= codebook_size))[0])
            raise CodesError(
                f"level {k} has code {codes[index]} at index {index}; codes must be 0..{codebook_size - 1}."
            )


def checked_delays(delays: Any) -> tuple[int, ...]:
    """Return delays as a tuple of Python ints."""
    try:
        return tuple(
            whole_number(delay, what="every delay", error=LayoutError, size=MAX_DELAY) for delay in delays
        )
    except TypeError as reason:
        raise LayoutError(f"delays must be numbers, one a slot, got {delays!r}.") from reason


def check_vocabulary(table: IdTable) -> None:
    """Refuse a vocabulary that makes no sense or whose ids would mean two things."""
    _check_types(table)
    _check_numbers(table)
    if table.delays is None:
        _check_line(table)
    else:
        _check_rows(table)
    if table.size > MAX_SIZE:
        raise LayoutError(
            f"{table.name!r} needs ids up to {table.size - 1}; the largest allowed is {MAX_SIZE - 1}."
        )


def _check_types(table: IdTable) -> None:
    if not isinstance(table.layout, FrameLayout):
        raise LayoutError(
            f"layout must be a FrameLayout, such as FrameLayout((4, 2, 1)), got {reprlib.repr(table.layout)}; "
            "preset(name) makes the published tables."
        )
    if not isinstance(table.name, str) or not table.name:
        raise LayoutError(f"name must be a text, got {table.name!r}.")
    if table.offsets not in OFFSETS:
        raise LayoutError(f"offsets must be one of {OFFSETS}, got {table.offsets!r}.")
    if not all(isinstance(name, str) and name for name in table.specials):
        raise LayoutError(f"specials must have names, got {[*table.specials]}.")
    if table.separator is not None and not isinstance(table.separator, str):
        raise LayoutError(f"separator must be the name of a special, got {table.separator!r}.")
    if table.text is not None and not isinstance(table.text, TextForm):
        raise LayoutError(f"text must be a TextForm or None, got {type(table.text).__name__}.")


def _check_numbers(table: IdTable) -> None:
    if not 0 < table.codebook_size <= table.block:
        sizes = f"{table.codebook_size} and {table.block}"
        raise LayoutError(f"codebook_size must be at least 1 and at most block_size, got {sizes}.")
    names: dict[int, str] = {}
    for name, number in table.specials.items():
        other = names.setdefault(number, name)
        if other != name:
            raise LayoutError(f"specials {other!r} and {name!r} are both id {number}; each needs its own.")


def _check_line(table: IdTable) -> None:
    for name, number in table.specials.items():
        slots = table.slots_of(number)
        if slots:
            raise LayoutError(
                f"special {name!r} is id {number}, a code of slot {slots[0]}; move one of them."
            )
    if table.separator is not None and table.separator not in table.specials:
        raise LayoutError(f"separator {table.separator!r} is no special; specials are {[*table.specials]}.")


def _check_rows(table: IdTable) -> None:
    num_slots = table.layout.slots_per_frame
    if table.delays is None or len(table.delays) != num_slots:
        raise LayoutError(f"delays must be {num_slots} numbers, one a slot, got {table.delays!r}.")
    if table.separator is not None:
        raise LayoutError("parallel rows have no separator; use delays or separator, not both.")
    if not {"pad", "end"} <= set(table.specials):
        raise LayoutError(f"parallel rows need specials 'pad' and 'end', got {[*table.specials]}.")
    for name, number in table.specials.items():
        if not table.codebook_size <= number < table.block:
            allowed = f"{table.codebook_size}..{table.block - 1}"
            raise LayoutError(
                f"special {name!r} is {number}; after the codes of a row it must be in {allowed}."
            )
