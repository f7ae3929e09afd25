"""What the property tests of frames draw: layouts, vocabularies and codes that fit them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from hypothesis import strategies as st

from snac_tok.frames import FrameLayout, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable

ORDERS = ("depth-first", "breadth-first")
NUMPY_DTYPES = ("int64", "int32", "uint16", "int16", ">i4")


@st.composite
def layouts(draw: Callable[..., Any]) -> FrameLayout:
    """Draw nested strides (equal neighbours and a last stride above 1 included), an order, kept levels."""
    ratios = draw(st.lists(st.integers(1, 3), min_size=0, max_size=3))
    fine = draw(st.integers(1, 3))
    strides = tuple(reversed(list(itertools.accumulate([fine, *ratios], lambda a, b: a * b))))
    levels = draw(st.none() | st.integers(1, len(strides)))
    return FrameLayout(strides=strides, order=draw(st.sampled_from(ORDERS)), levels=levels)


@st.composite
def vocabularies(draw: Callable[..., Any]) -> Vocabulary:
    """Draw offsets, base, gaps between blocks, and a separator, delayed rows or neither."""
    layout = draw(layouts())
    codebook_size = draw(st.integers(1, 40))
    options: dict[str, Any] = {
        "layout": layout,
        "codebook_size": codebook_size,
        "base": draw(st.integers(0, 2**20)),
        "offsets": draw(st.sampled_from(("slot", "level", "none"))),
    }
    shape = draw(st.sampled_from(("line", "separated", "rows")))
    if shape == "rows":
        slots = layout.slots_per_frame
        options["delays"] = tuple(draw(st.lists(st.integers(0, 5), min_size=slots, max_size=slots)))
        options["specials"] = {"end": codebook_size, "pad": codebook_size + 1}
        options["block_size"] = codebook_size + 2 + draw(st.integers(0, 3))
        return Vocabulary(**options)
    options["block_size"] = codebook_size + draw(st.integers(0, 3))
    options["specials"] = {"mark": options["base"] + 10**6}
    return Vocabulary(**options, separator="mark" if shape == "separated" else None)


@st.composite
def codes_for(draw: Callable[..., Any], layout: FrameLayout, codebook_size: int) -> list[Any]:
    """Draw codes of any batch shape, 0 frames included, as numpy of some integer type or torch."""
    batch = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    num_frames = draw(st.integers(0, 6))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    shapes = [(*batch, num_frames * count) for count in layout.codes_per_frame]
    codes = [generator.integers(0, codebook_size, shape) for shape in shapes]
    if draw(st.booleans()):
        dtype = draw(st.sampled_from((torch.int64, torch.int32, torch.int16)))
        return [torch.from_numpy(level).to(dtype) for level in codes]
    dtype = draw(st.sampled_from(NUMPY_DTYPES))
    return [level.astype(dtype) for level in codes]


def same(one: list[Any], other: list[Any]) -> bool:
    """Tell whether two lists of levels hold the same numbers in the same shapes."""
    pairs = zip(one, other, strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)
