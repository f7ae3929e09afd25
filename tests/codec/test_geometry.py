"""The derived receptive field is the one that the network really has."""

import dataclasses

import pytest
import torch

from snac_tok.codec import PRESETS, SNAC, latent_dependence, latent_influence

# Attention mixes whole windows on top of the convolutions' field, and noise would hide a small change.
PLAIN = {"attn_window_size": None, "noise": False}


def test_published_receptive_fields():
    """The convolutional fields measured for the released shapes."""
    assert (latent_influence(PRESETS["snac_24khz"]).first, latent_influence(PRESETS["snac_24khz"]).last) == (
        -4757,
        5268,
    )
    assert (latent_influence(PRESETS["snac_32khz"]).first, latent_influence(PRESETS["snac_32khz"]).last) == (
        -3599,
        3980,
    )


@pytest.fixture
def plain_codec(small_config):
    """A float64 network, so that no difference is rounded away."""
    torch.manual_seed(0)
    return SNAC.from_config(dataclasses.replace(small_config, **PLAIN)).double().eval()


def changed(before, after):
    """First and last position at which two (1, 1, T) signals differ."""
    positions = (before != after).any(dim=1).nonzero()[:, 1]
    return int(positions.min()), int(positions.max())


@torch.no_grad()
def test_one_latent_changes_exactly_the_derived_samples(plain_codec):
    """Nudge one latent: the first and the last sample that move are those of latent_influence."""
    hop, reach = plain_codec.hop_length, latent_influence(plain_codec.config)
    at = 2 - reach.first // hop
    latents = torch.randn(1, plain_codec.latent_dim, 2 * at + 9, dtype=torch.float64)
    nudged = latents.clone()
    nudged[..., at] += 1.0
    first, last = changed(plain_codec.decoder.model(latents, None), plain_codec.decoder.model(nudged, None))
    assert (first - at * hop, last - at * hop) == (reach.first, reach.last)


@torch.no_grad()
def test_one_sample_changes_exactly_the_derived_latents(plain_codec):
    """Nudge each sample of a hop: the latents that move are those whose derived dependence holds the sample."""
    hop, reach = plain_codec.hop_length, latent_dependence(plain_codec.config)
    count = 2 * (2 - reach.first // hop) + 9
    audio = torch.randn(1, 1, count * hop, dtype=torch.float64)
    before = plain_codec.encoder.block(audio)
    for sample in range(count // 2 * hop, count // 2 * hop + hop):
        nudged = audio.clone()
        nudged[..., sample] += 1.0
        wanted = [at for at in range(count) if reach.first <= sample - at * hop <= reach.last]
        assert changed(before, plain_codec.encoder.block(nudged)) == (wanted[0], wanted[-1])
