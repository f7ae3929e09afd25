"""The names that upstream's modules, classes and objects have: ours have them, too, and they mean the same."""

import inspect

import pytest
import snac
import torch
from torch import nn

import snac_tok.compat

# Upstream's own classes, how each is built, and what goes in.
LAYERS = [
    (
        "layers.Encoder",
        {"d_model": 8, "strides": [2, 3], "depthwise": True, "attn_window_size": None},
        (2, 1, 36),
    ),
    ("layers.Encoder", {"d_model": 16, "strides": [2, 2], "attn_window_size": 3}, (2, 1, 36)),
    (
        "layers.Decoder",
        {"input_channel": 8, "channels": 16, "rates": [3, 2], "attn_window_size": None},
        (2, 8, 9),
    ),
    (
        "layers.Decoder",
        {
            "input_channel": 8,
            "channels": 64,
            "rates": [3, 2],
            "noise": True,
            "d_out": 2,
            "attn_window_size": 3,
        },
        (2, 8, 9),
    ),
    ("layers.EncoderBlock", {"output_dim": 8, "stride": 3, "groups": 4}, (2, 4, 36)),
    ("layers.DecoderBlock", {"input_dim": 8, "output_dim": 4, "stride": 3, "noise": True}, (2, 8, 9)),
    ("layers.ResidualUnit", {"dim": 8, "dilation": 3, "kernel": 5, "groups": 8}, (2, 8, 30)),
    ("layers.NoiseBlock", {"dim": 8}, (2, 8, 30)),
    ("layers.Snake1d", {"channels": 8}, (2, 8, 30)),
    ("layers.WNConv1d", {"in_channels": 8, "out_channels": 4, "kernel_size": 7, "padding": 3}, (2, 8, 30)),
    (
        "layers.WNConvTranspose1d",
        {"in_channels": 8, "out_channels": 4, "kernel_size": 4, "stride": 2, "padding": 1},
        (2, 8, 30),
    ),
    ("attention.LocalMHA", {"dim": 128, "window_size": 5}, (2, 128, 15)),
    ("attention.SinusoidalEmbeddings", {"dim": 16}, (2, 5, 16)),
    ("vq.VectorQuantize", {"input_dim": 8, "codebook_size": 16, "codebook_dim": 4, "stride": 2}, (2, 8, 30)),
    (
        "vq.ResidualVectorQuantize",
        {"input_dim": 8, "codebook_size": 16, "codebook_dim": 4, "vq_strides": [2, 1]},
        (2, 8, 30),
    ),
]
# What only torch's parametrizations have.
OF_PARAMETRIZATIONS = {"parametrizations"}


def found_in(package, path):
    """A class by module and name."""
    module, name = path.split(".")
    return getattr(getattr(package, module), name)


def own_names(thing, *bases):
    """Public names that are not torch's."""
    return {name for name in dir(thing) if not name.startswith("_")} - {
        name for base in bases for name in dir(base)
    }


@pytest.mark.parametrize(("path", "options", "shape"), LAYERS)
@torch.no_grad()
def test_layers_are_built_called_and_asked_as_upstreams(path, options, shape):
    """Same arguments, weights, outputs and attributes."""
    built = []
    for package in (snac, snac_tok.compat):
        torch.manual_seed(0)
        built.append(found_in(package, path)(**options).eval())
    theirs, ours = built
    wanted, found = theirs.state_dict(), ours.state_dict()
    assert list(found) == list(wanted)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    x = torch.randn(shape) * 0.3
    torch.manual_seed(1)
    expected = theirs(x)
    torch.manual_seed(1)
    results = ours(x)
    if isinstance(expected, torch.Tensor):
        expected, results = [expected], [results]
    for one, other in zip(results, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert own_names(theirs, nn.Module) - own_names(ours) <= {"scale", "use_xpos", "scale_base"}


def test_modules_and_classes_have_upstreams_names():
    """Each module has each class and function of upstream's; each method takes upstream's arguments by their names."""
    for module in ("snac", "layers", "vq", "attention"):
        theirs, ours = getattr(snac, module), getattr(snac_tok.compat, module)
        own = {
            name: thing
            for name, thing in vars(theirs).items()
            if getattr(thing, "__module__", "") == theirs.__name__
        }
        own |= {"snake": None} if module == "layers" else {}
        assert set(own) <= set(ours.__all__)
        for name, thing in own.items():
            if inspect.isclass(thing):
                assert_takes_the_same(thing, getattr(ours, name))


def assert_takes_the_same(theirs, ours):
    """Every argument of every method of upstream's is one of ours."""
    for name, method in vars(theirs).items():
        if inspect.isfunction(method) and (name == "forward" or not name.startswith("_")):
            wanted = list(inspect.signature(method).parameters)
            found = list(inspect.signature(getattr(ours, name)).parameters)
            assert found[: len(wanted)] == wanted, (theirs, name)


def test_objects_have_upstreams_attributes(pair):
    """Model, networks, levels and convolutions: every public attribute, those with plain values with equal ones."""
    theirs, ours = (client.model for client in pair)
    found = dict(ours.named_modules())
    for name, one in theirs.named_modules():
        if "parametrizations" in name:
            continue
        other = found[name]
        missing = own_names(one, nn.Module) - own_names(other)
        assert missing <= {"scale", "use_xpos", "scale_base"}, name
        for attribute in own_names(one, nn.Module) - {"hop_length"} - missing:
            value = getattr(one, attribute)
            if isinstance(value, (int, float, str, tuple, list, type(None))) and "forward" not in attribute:
                assert getattr(other, attribute) == value, (name, attribute)
        assert isinstance(other, nn.Conv1d) == isinstance(one, nn.Conv1d)
        assert isinstance(other, nn.ConvTranspose1d) == isinstance(one, nn.ConvTranspose1d)


def test_rotary_positions_are_upstreams():
    """The two functions that attention is made of."""
    q, k = torch.randn(2, 3, 5, 16), torch.randn(2, 3, 5, 16)
    freqs, scale = snac.attention.SinusoidalEmbeddings(16)(k)
    wanted = snac.attention.apply_rotary_pos_emb(q, k, freqs, scale)
    torch.testing.assert_close(snac_tok.compat.attention.apply_rotary_pos_emb(q, k, freqs, scale), wanted)
    torch.testing.assert_close(snac_tok.compat.attention.rotate_half(q), snac.attention.rotate_half(q))


@torch.no_grad()
def test_a_convolutions_weight_is_read_and_set(pair):
    """`conv.weight` is the weight itself, and assigning to it is kept as length and direction."""
    weights = []
    for client in pair:
        conv = client.model.decoder.model[0]
        conv.weight = torch.ones_like(conv.weight) * 0.5
        weights.append((conv.weight.clone(), client.model.state_dict()))
    torch.testing.assert_close(weights[1][0], weights[0][0])
    for name, value in weights[0][1].items():
        torch.testing.assert_close(weights[1][1][name], value)
