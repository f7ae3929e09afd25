"""Noise: a seed gives the same sound every time, and the values are standard normal."""

import pytest
import torch

from snac_tok.codec import SNAC
from snac_tok.codec.noise import normal_at
from snac_tok.errors import CodesError


@pytest.fixture(scope="module")
def tiny():
    """The embedded codec."""
    return SNAC.from_pretrained("tiny")


@pytest.fixture(scope="module")
def codes(tiny):
    """Codes of a second of noise, two rows."""
    return tiny.encode(torch.randn(2, 1, 24_000, generator=torch.Generator().manual_seed(0)) * 0.2)


def test_a_seed_gives_the_same_sound_and_another_seed_another(tiny, codes):
    """Decode is a function of codes and seed, whatever the global generator did."""
    first = tiny.decode(codes, noise=5)
    torch.rand(17)
    assert torch.equal(first, tiny.decode(codes, noise=5))
    assert not torch.equal(first, tiny.decode(codes, noise=6))


def test_seeded_noise_leaves_the_global_generator_alone(tiny, codes):
    """A seeded or silent decode draws nothing."""
    before = torch.random.get_rng_state()
    tiny.decode(codes, noise=5)
    tiny.decode(codes, noise="off")
    assert torch.equal(before, torch.random.get_rng_state())


def test_seeded_noise_is_the_same_for_every_row(tiny, codes):
    """A row of a batch sounds like the clip alone."""
    row = [level[1:] for level in codes]
    torch.testing.assert_close(tiny.decode(codes, noise=3)[1:], tiny.decode(row, noise=3), rtol=0, atol=1e-6)


def test_noise_off_is_a_function_of_the_codes(tiny, codes):
    """With noise off decoding is a function of the codes, and noise does make a difference."""
    assert torch.equal(tiny.decode(codes, noise="off"), tiny.decode(codes, noise="off"))
    assert not torch.equal(tiny.decode(codes, noise="off"), tiny.decode(codes, noise=1))


def test_random_noise_follows_torchs_seed(tiny, codes):
    """As upstream: fresh every time, repeatable through torch.manual_seed."""
    torch.manual_seed(2)
    first = tiny.decode(codes)
    assert not torch.equal(first, tiny.decode(codes))
    torch.manual_seed(2)
    assert torch.equal(first, tiny.decode(codes))


@pytest.mark.parametrize("noise", ["loud", 1.5, None, True])
def test_other_noise_is_refused(tiny, codes, noise):
    """The refusal lists what is possible."""
    with pytest.raises(CodesError, match='"random", "off" or an int seed'):
        tiny.decode(codes, noise=noise)


def test_positional_noise_is_standard_normal_and_uncorrelated():
    """Moments and neighbour correlation of half a million values lie where a normal sample's would."""
    count = 1 << 19
    values = normal_at(torch.arange(count), seed=1, layer=0)
    bound = 5 / count**0.5  # five standard errors of the mean
    assert abs(values.mean()) < bound
    assert abs(values.var() - 1) < bound * 2**0.5
    assert abs((values**3).mean()) < bound * 15**0.5
    assert abs((values**4).mean() - 3) < bound * 96**0.5
    for lag in (1, 2, 7, 512):
        assert abs((values[lag:] * values[:-lag]).mean()) < bound
    for other in (
        normal_at(torch.arange(count), seed=2, layer=0),
        normal_at(torch.arange(count), seed=1, layer=1),
    ):
        assert abs((values * other).mean()) < bound


def test_positional_noise_depends_on_the_position_alone():
    """Any slice of positions, in any shape, gets the values that the whole gets; days of audio do not repeat."""
    whole = normal_at(torch.arange(1000), seed=9, layer=2)
    assert torch.equal(normal_at(torch.arange(137, 611), seed=9, layer=2).float(), whole[137:611].float())
    assert torch.equal(
        normal_at(torch.tensor([[5], [900]]), seed=9, layer=2)[:, 0].float(), whole[[5, 900]].float()
    )
    assert not torch.equal(normal_at(torch.arange(1000) + 2**32, seed=9, layer=2), whole)
    assert not torch.equal(normal_at(torch.arange(1000), seed=9 + 2**32, layer=2), whole)
