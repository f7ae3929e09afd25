"""Codebook usage: literal values, and sums over parts equal to the whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snac_tok.errors import CodesError
from snac_tok.metrics import CodebookUsage, LevelUsage

clips = st.lists(
    st.tuples(st.lists(st.integers(0, 15), max_size=9), st.lists(st.integers(0, 15), max_size=9)), max_size=6
)


def usage_of(codes, *, codebook_size):
    """The usage of each level's codebook by codes that are counted at once."""
    usage = CodebookUsage(num_levels=len(codes), codebook_size=codebook_size)
    usage.update(codes)
    return usage.levels()


def test_figures_worked_out_by_hand():
    """Shares ½, ¼, ¼ have 1.5 bits."""
    (level,) = usage_of([np.array([[3, 3], [0, 7]])], codebook_size=8)
    assert level == LevelUsage(
        level=0, total=4, used=3, share=3 / 8, entropy_bits=1.5, perplexity=pytest.approx(2**1.5)
    )


def test_an_even_codebook_has_all_its_bits_and_a_dead_one_none():
    """The two extremes."""
    even, dead = usage_of([np.arange(4096), np.full(4096, 9)], codebook_size=4096)
    assert (even.share, even.entropy_bits, even.perplexity) == (1.0, 12.0, 4096.0)
    assert (dead.used, dead.entropy_bits, dead.perplexity) == (1, 0.0, 1.0)
    assert math.copysign(1, dead.entropy_bits) == 1


def test_nothing_counted_is_nothing_used():
    """No division by zero."""
    (level,) = usage_of([[]], codebook_size=8)
    assert (level.total, level.used, level.share, level.entropy_bits) == (0, 0, 0.0, 0.0)


@given(clips=clips, cut=st.integers(0, 6))
def test_parts_add_up_to_the_whole(clips, cut):
    """Counting clip by clip in two counters and adding them == counting everything at once."""
    parts = [CodebookUsage(num_levels=2, codebook_size=16) for _ in range(2)]
    for index, clip in enumerate(clips):
        parts[index < cut].update(clip)
    joined = [[code for clip in clips for code in clip[level]] for level in range(2)]
    assert (parts[0] + parts[1]).levels() == usage_of(joined, codebook_size=16)


@given(codes=st.lists(st.integers(0, 15), min_size=1, max_size=50))
def test_figures_stay_in_their_ranges(codes):
    """Perplexity lies between 1 and the entries used."""
    (level,) = usage_of([codes], codebook_size=16)
    assert level.used == len(set(codes))
    assert 0 <= level.entropy_bits <= math.log2(level.used) + 1e-9
    assert 1 <= level.perplexity <= level.used + 1e-9


@pytest.mark.parametrize("bad", [[[16]], [[-1]], [[0.5]], [[0], [0]]])
def test_what_is_no_code_is_refused_and_not_counted(bad):
    """A refused clip leaves the counts alone."""
    usage = CodebookUsage(num_levels=1, codebook_size=16)
    with pytest.raises(CodesError):
        usage.update(bad)
    assert usage.counts.sum() == 0


def test_counters_of_two_codecs_do_not_add():
    """Their levels are not each other's."""
    with pytest.raises(CodesError, match="one codec"):
        CodebookUsage(num_levels=3, codebook_size=16) + CodebookUsage(num_levels=4, codebook_size=16)
