"""The quantizer in training: what rows keep, where gradients go, and that codes are the codec's own."""

from __future__ import annotations

import pytest
import torch
from small_run import CODEC

from snac_tok.codec import SNAC
from snac_tok.codec.quantizer import ResidualQuantizer
from snac_tok.training.quantization import drawn_levels, quantize

STRIDES = (4, 2, 1)
NUM_LATENTS = 16


@pytest.fixture
def quantizer():
    """Three levels over eight channels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return ResidualQuantizer(8, 16, 4, STRIDES)


@pytest.fixture
def latents():
    """Six rows that want gradients."""
    drawn = torch.randn((6, 8, NUM_LATENTS), generator=torch.Generator().manual_seed(4))
    return drawn.requires_grad_()


def by_hand(quantizer, row, *, kept):
    """Quantize one row (1, C, T) level by level: its latents and both losses, of the first `kept` levels."""
    total, residual, codebook, commitment = torch.zeros_like(row), row, 0.0, 0.0
    for place, level in enumerate(quantizer.quantizers):
        quantized, _, projected, entries = level.quantize(residual)
        residual = residual - quantized
        if place < kept:
            total = total + quantized
            codebook += float((entries - projected).square().mean())
            commitment += float((projected - entries).square().mean())
    return total, codebook, commitment


@torch.no_grad()
def test_each_row_keeps_its_own_levels(quantizer, latents):
    """A batch of mixed numbers of levels is its rows, each by itself; losses are means over all rows."""
    levels = [3, 1, 2, 3, 2, 1]
    batch = quantize(quantizer, latents, levels=torch.tensor(levels))
    rows = [by_hand(quantizer, latents[k : k + 1], kept=kept) for k, kept in enumerate(levels)]
    assert torch.allclose(batch.latents, torch.cat([row[0] for row in rows]), atol=1e-6)
    assert float(batch.codebook) == pytest.approx(sum(row[1] for row in rows) / 6, rel=1e-5)
    assert float(batch.commitment) == pytest.approx(sum(row[2] for row in rows) / 6, rel=1e-5)


@torch.no_grad()
def test_codes_are_complete_whatever_is_kept(quantizer, latents):
    """Codes and what was looked up are of all levels; dropping some changes neither."""
    every = quantize(quantizer, latents, levels=torch.full((6,), 3))
    some = quantize(quantizer, latents, levels=torch.tensor([1, 1, 2, 2, 3, 3]))
    total, codes = quantizer(latents)
    assert torch.equal(every.latents, total)
    for found in (every, some):
        assert [level.shape for level in found.codes] == [(6, NUM_LATENTS // stride) for stride in STRIDES]
        assert all(map(torch.equal, found.codes, codes))
        assert [level.shape for level in found.projected] == [(6, 4, NUM_LATENTS // s) for s in STRIDES]
    assert all(map(torch.equal, every.projected, some.projected))


def test_codes_are_the_codecs_own():
    """What training sees is what `encode` gives in eval mode, of a fresh codec and of a trained one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = SNAC(**CODEC)
    for codec in (SNAC.from_pretrained("tiny"), fresh):
        shape = (2, 1, 4 * codec.config.padding_multiple)
        audio = 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(1))
        levels = torch.full((2,), codec.config.num_levels)
        with torch.no_grad():
            found = quantize(codec.quantizer, codec.train().encoder(audio), levels=levels)
            expected = codec.eval().encode(audio)
        assert all(map(torch.equal, found.codes, expected))


def test_gradients_go_straight_through(quantizer, latents):
    """A level's output passes its gradient to what was looked up as if nothing had been quantized."""
    level = quantizer.quantizers[0]
    found = quantize(quantizer, latents, levels=torch.ones(6, dtype=torch.int64))
    upward = torch.randn(found.latents.shape, generator=torch.Generator().manual_seed(5))
    (got,) = torch.autograd.grad(found.latents, latents, upward)
    pooled = torch.nn.functional.avg_pool1d(latents, STRIDES[0])
    unquantized = level.out_proj(level.in_proj(pooled)).repeat_interleave(STRIDES[0], dim=-1)
    (expected,) = torch.autograd.grad(unquantized, latents, upward)
    assert torch.allclose(got, expected, atol=1e-6)


def test_the_codebook_loss_moves_entries_and_the_commitment_loss_latents(quantizer, latents):
    """Each of the two pulls one side only; what is decoded does not pull entries at all."""
    found = quantize(quantizer, latents, levels=torch.full((6,), 3))
    wanted = [latents, quantizer.quantizers[0].codebook.weight]
    for loss, moves_latents, moves_entries in [
        (found.codebook, False, True),
        (found.commitment, True, False),
        (found.latents.square().sum(), True, False),
    ]:
        to_latents, to_entries = torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True)
        assert is_something(to_entries) == moves_entries
        if moves_latents:
            assert is_something(to_latents)
    # Only the first level's own loss reaches no latents; the residual of later levels carries gradient back.
    alone = quantize(quantizer, latents, levels=torch.ones(6, dtype=torch.int64))
    (to_latents,) = torch.autograd.grad(alone.codebook, [latents], allow_unused=True)
    assert not is_something(to_latents)


def is_something(gradient):
    """Whether there is one that is not zero all over."""
    return gradient is not None and bool(gradient.any())


def test_rows_that_leave_a_level_out_do_not_teach_it(quantizer, latents):
    """With one level kept everywhere, the others have gradients, of zero: no process waits for them."""
    found = quantize(quantizer, latents, levels=torch.ones(6, dtype=torch.int64))
    (found.latents.square().mean() + found.codebook + found.commitment).backward()
    for place, level in enumerate(quantizer.quantizers):
        for name, parameter in level.named_parameters():
            assert parameter.grad is not None, name
            assert is_something(parameter.grad) == (place == 0), (place, name)


def test_dropout_draws_numbers_of_levels_evenly():
    """All of them with probability 1 - dropout, else 1 … all, evenly."""
    drawn = drawn_levels(40_000, num_levels=4, dropout=0.5, generator=torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn, minlength=5) / len(drawn)
    assert (drawn.dtype, drawn.shape) == (torch.int64, (40_000,))
    assert shares.tolist() == pytest.approx([0.0, 0.125, 0.125, 0.125, 0.625], abs=0.01)


@pytest.mark.parametrize(("dropout", "possible"), [(0.0, [3]), (1.0, [1, 2, 3])])
def test_no_dropout_and_nothing_but(dropout, possible):
    """The ends of its range."""
    drawn = drawn_levels(3000, num_levels=3, dropout=dropout, generator=torch.Generator().manual_seed(0))
    assert drawn.unique().tolist() == possible
    assert (torch.bincount(drawn)[possible] / 3000).tolist() == pytest.approx(
        [1 / len(possible)] * len(possible), abs=0.04
    )


def test_draws_are_the_generators():
    """The same again with the same seed, and as much drawn whatever the dropout is."""
    generators = [torch.Generator().manual_seed(7) for _ in range(3)]
    draws = [
        drawn_levels(50, num_levels=3, dropout=dropout, generator=generator)
        for dropout, generator in zip((0.5, 0.5, 0.0), generators, strict=True)
    ]
    assert torch.equal(draws[0], draws[1])
    states = [generator.get_state() for generator in generators]
    assert torch.equal(states[0], states[2])
    assert drawn_levels(5, num_levels=1, dropout=1.0, generator=generators[0]).tolist() == [1] * 5
