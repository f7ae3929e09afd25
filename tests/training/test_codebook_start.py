"""The codebooks' start and the way around them: projections alone, then k-means on what they give."""

from __future__ import annotations

import pytest
import torch

from snac_tok.codec.quantizer import ResidualQuantizer
from snac_tok.training.bypass import bypassed, expanded, projected_latents
from snac_tok.training.codebook_start import start_codebooks
from snac_tok.training.quantization import quantize


def quantizer(size=32, strides=(2, 1)):
    """A small one with random weights."""
    torch.manual_seed(0)
    return ResidualQuantizer(12, size, 4, strides)


def latents(batch=8, times=64):
    """Latents around a dozen places, (B, 12, T)."""
    generator = torch.Generator().manual_seed(1)
    centres = torch.randn((12, 12), generator=generator)
    which = torch.randint(12, (batch, times), generator=generator)
    return (centres[which] + 0.1 * torch.randn((batch, times, 12), generator=generator)).transpose(1, 2)


def error(made, values):
    """Mean square of what quantizing leaves over."""
    levels = torch.full((len(values),), len(made.quantizers))
    with torch.no_grad():
        return float((quantize(made, values, levels=levels).latents - values).square().mean())


def test_the_bypass_is_what_an_endless_codebook_would_give():
    """With an entry for every projected latent, quantizing is the bypass; a row of fewer levels stops there."""
    made, values = quantizer(size=512, strides=(1,)), latents()
    with torch.no_grad():
        columns = projected_latents(made.quantizers[0], values).transpose(1, 2).flatten(0, 1)
        made.quantizers[0].codebook.weight.copy_(columns)
        through = bypassed(made, values)
        quantized = quantize(made, values, levels=torch.ones(8)).latents
    assert torch.allclose(through, quantized, atol=1e-5)
    two = quantizer()
    with torch.no_grad():
        first = expanded(two.quantizers[0], projected_latents(two.quantizers[0], values))
        some = bypassed(two, values, levels=torch.tensor([1, 2] * 4))
        both = bypassed(two, values)
    assert torch.equal(some[0], first[0])
    assert torch.equal(some[1], both[1])


def test_the_bypass_has_gradients_for_projections_and_none_for_codebooks():
    """Encoder side, in_proj and out_proj of every level learn."""
    made, values = quantizer(), latents().requires_grad_()
    bypassed(made, values).square().mean().backward()
    assert values.grad.abs().sum() > 0
    for name, parameter in made.named_parameters():
        assert (parameter.grad is None) == name.endswith("codebook.weight"), name


def test_k_means_uses_every_entry_and_leaves_less_over():
    """All entries are used, and less is left over than by random ones."""
    made, values = quantizer(), latents()
    before = error(made, values)
    shares = start_codebooks(made, values, generator=torch.Generator().manual_seed(0))
    assert min(shares) > 0.9
    assert error(made, values) < 0.8 * before


def test_k_means_beats_entries_drawn_from_latents():
    """The rounds are worth it: latents themselves as entries leave more over."""
    drawn, made = quantizer(strides=(1,)), quantizer(strides=(1,))
    values = latents(batch=16)
    with torch.no_grad():
        columns = projected_latents(drawn.quantizers[0], values).transpose(1, 2).flatten(0, 1)
        drawn.quantizers[0].codebook.weight.copy_(columns[:32])
    start_codebooks(made, values, generator=torch.Generator().manual_seed(0))

    def distance(which):
        with torch.no_grad():
            projected = projected_latents(which.quantizers[0], values)
            entries = which.quantizers[0].codebook(which.quantizers[0].search(projected)).transpose(1, 2)
            return float((projected - entries).square().mean())

    assert distance(made) < distance(drawn)


@pytest.mark.parametrize("times", [2, 6])
def test_fewer_latents_than_entries(times):
    """Entries then lie around the same latents, and are numbers all the same."""
    made = quantizer()
    start_codebooks(made, latents(batch=1, times=times), generator=torch.Generator().manual_seed(0))
    for level in made.quantizers:
        assert level.codebook.weight.isfinite().all()


def test_the_generator_decides():
    """The same seed gives the same entries to the last bit, another one others."""
    found = []
    for seed in (0, 0, 1):
        made = quantizer()
        start_codebooks(made, latents(), generator=torch.Generator().manual_seed(seed))
        found.append(made.quantizers[1].codebook.weight.detach())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
