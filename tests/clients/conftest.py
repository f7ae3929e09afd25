"""Package `snac` and ours, by upstream's names, each with a model on the same weights."""

import contextlib
import types

import pytest
import snac
import torch

import snac_tok.compat

# The speech model's rates and levels, so that clients' constants hold, with few channels.
SPEECH = {
    "sampling_rate": 24_000,
    "encoder_dim": 4,
    "encoder_rates": [2, 4, 8, 8],
    "decoder_dim": 32,
    "decoder_rates": [8, 8, 4, 2],
    "attn_window_size": None,
    "codebook_size": 4096,
    "codebook_dim": 8,
    "vq_strides": [4, 2, 1],
}
# Four levels and attention, as the models for music have them.
MUSIC = {
    "sampling_rate": 8_000,
    "encoder_dim": 16,
    "encoder_rates": [2, 3],
    "decoder_dim": 64,
    "decoder_rates": [3, 2],
    "attn_window_size": 8,
    "codebook_size": 32,
    "codebook_dim": 4,
    "vq_strides": [8, 4, 2, 1],
    "depthwise": False,
}
# As small as it gets, for what takes seconds a layer: graphs.
TINY = MUSIC | {
    "encoder_rates": [6],
    "decoder_rates": [6],
    "attn_window_size": None,
    "vq_strides": [4, 2, 1],
    "depthwise": True,
}


def pair_of(values):
    """Upstream's package and model, and ours."""
    torch.manual_seed(0)
    theirs = snac.SNAC(**values).eval()
    with torch.no_grad():  # speech is not loud; random weights would be, and the differences with it
        theirs.decoder.model[-2].parametrizations.weight.original0.mul_(0.3)
    ours = snac_tok.compat.SNAC(**values).eval()
    ours.load_state_dict(theirs.state_dict())
    return [
        types.SimpleNamespace(snac=package, model=model, values=values)
        for package, model in ((snac, theirs), (snac_tok.compat, ours))
    ]


@pytest.fixture
def speech():
    """The pair in the shape of the speech model."""
    return pair_of(SPEECH)


@pytest.fixture
def tiny():
    """The pair with two blocks and three levels."""
    return pair_of(TINY)


@pytest.fixture(params=[SPEECH, MUSIC], ids=["speech", "music"])
def pair(request):
    """The pair in either shape."""
    return pair_of(request.param)


@pytest.fixture
def both():
    """Run a recipe with both packages from the same seed and compare all that it returns."""

    def run(recipe, packages, *, atol=1e-6, grad=False):
        results = []
        for package in packages:
            torch.manual_seed(5)
            with contextlib.nullcontext() if grad else torch.inference_mode():
                results.append(recipe(package))
        assert_alike(*results, atol=atol)
        return results

    return run


def assert_alike(wanted, found, *, atol):
    """Integers equal, floats equal but for rounding, through lists, tuples and dicts."""
    if isinstance(wanted, torch.Tensor):
        wanted, found = wanted.detach(), found.detach()
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        if wanted.is_floating_point():
            assert (found - wanted).abs().max() <= atol * max(1.0, float(wanted.abs().max()))
        else:
            assert torch.equal(found, wanted)
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted)
        assert_alike(list(wanted.values()), list(found.values()), atol=atol)
    elif isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted)
        for one, other in zip(wanted, found, strict=True):
            assert_alike(one, other, atol=atol)
    else:
        assert found == wanted
