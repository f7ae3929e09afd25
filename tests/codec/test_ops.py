"""What a chunk's layers compute on a CPU is what torch's own layers compute, but for rounding, in any memory layout."""

import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from snac_tok import SNAC, StreamDecoder
from snac_tok.codec.layers import Snake
from snac_tok.codec.ops import cpu, onednn, reference
from snac_tok.codec.ops.backend import backend_for
from snac_tok.codec.ops.weight_cache import prepacked

LENGTHS = [1, 2, 5, 33, 1_000]


@pytest.fixture(autouse=True, params=[True, False], ids=["onednn", "without onednn"])
def operators(request, monkeypatch):
    """Both ways of multiplying: oneDNN's private operators, and torch's public ones where they are missing."""
    if not request.param:
        monkeypatch.setattr(onednn, "products", onednn.plain_products)
    elif onednn.products().linear is not torch.ops.mkldnn._linear_pointwise.default:
        pytest.skip("this build of torch has no oneDNN, or another version of its operators")


def case(length, *, batch=1, shape=(48, 32, 8), laid_out=False):
    """Random (x, weight, bias); x has the weight's second dimension of channels."""
    generator = torch.Generator().manual_seed(length)
    x = torch.randn(batch, length, shape[1], generator=generator).transpose(1, 2)
    weight = torch.randn(shape, generator=generator) * 0.05
    return x if laid_out else x.contiguous(), weight, torch.randn(shape[0], generator=generator)


def upsampling_case(length, *, stride=8, batch=1):
    """The same for a transposed convolution, whose weight has its input first."""
    x, weight, bias = case(length, batch=batch, shape=(24, 40, 2 * stride))
    return x, weight.transpose(0, 1).contiguous(), bias


def assert_close(found, wanted):
    """Equal but for rounding."""
    torch.testing.assert_close(found, wanted, rtol=2e-6, atol=5e-6)


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("length", LENGTHS)
def test_pointwise_is_a_1x1_convolution(length, batch):
    """Whether times or channels are neighbours in memory, with bias and without."""
    for laid_out in (True, False):
        x, weight, bias = case(length, batch=batch, shape=(48, 32, 1), laid_out=laid_out)
        for given in (bias, None):
            assert_close(cpu.conv1d(x, weight, given), F.conv1d(x, weight, given))


@torch.no_grad()
@pytest.mark.parametrize("shape", [(48, 32), (72, 1536)], ids=["short sums", "long sums"])
@pytest.mark.parametrize("length", LENGTHS)
def test_linear_layers_are_products(length, shape):
    """Of times whose channels are neighbours already; sums longer than 1,024 are cut."""
    generator = torch.Generator().manual_seed(length)
    x = torch.randn(2, length, shape[1], generator=generator)
    weight = torch.randn(shape, generator=generator) * 0.05
    assert_close(cpu.linear(x, weight), F.linear(x, weight))


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("stride", [2, 3, 4, 7, 8])
@pytest.mark.parametrize("outputs", [1, 2, 35, 300])
def test_strided_convolutions_are_two_products(outputs, stride, batch):
    """Samples behind the last whole kernel change nothing."""
    for behind in (0, stride - 1):
        x, weight, bias = case((outputs + 1) * stride + behind, batch=batch, shape=(48, 32, 2 * stride))
        found = cpu.conv1d(x, weight, bias, stride=stride, dilation=1)
        assert_close(found, F.conv1d(x, weight, bias, stride))


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("dilation", [1, 3, 9])
@pytest.mark.parametrize("channels", [1, 16])
def test_dense_kernels_without_stride(channels, dilation, batch):
    """The first layer, and residual units that are not depthwise."""
    x, weight, bias = case(200, batch=batch, shape=(48, channels, 7))
    found = cpu.conv1d(x, weight, bias, stride=1, dilation=dilation)
    assert_close(found, F.conv1d(x, weight, bias, dilation=dilation))


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("dilation", [1, 9])
@pytest.mark.parametrize("channels", [1, 24])
def test_the_last_layer_makes_one_channel(channels, dilation, batch):
    """Also of one channel, as in residual units of the smallest codecs."""
    for length in (6 * dilation + 1, 500):
        x, weight, bias = case(length, batch=batch, shape=(1, channels, 7))
        for given in (bias, None):
            found = cpu.conv1d(x, weight, given, stride=1, dilation=dilation)
            assert_close(found, F.conv1d(x, weight, given, dilation=dilation))


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("stride", [2, 3, 7, 8])
@pytest.mark.parametrize("length", [2, 5, 33, 500])
def test_upsampling_is_a_transposed_convolution_without_its_ends(length, stride, batch):
    """Of all that torch computes, what two inputs make together."""
    x, weight, bias = upsampling_case(length, stride=stride, batch=batch)
    for given in (bias, None):
        wanted = F.conv_transpose1d(x, weight, given, stride)[..., stride:-stride]
        assert_close(cpu.upsample(x, weight, given), wanted)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(96, 64, 1), (256, 160, 1), (128, 1536, 1)])
def test_a_row_has_the_same_bits_whatever_else_is_in_the_call(shape, dtype, monkeypatch):
    """Chunks of other lengths and batches with others sum in the same order, in products of bfloat16, too."""
    monkeypatch.setattr(onednn, "multiplies_bfloat16", lambda: True)
    x, weight, bias = case(300, batch=3, shape=shape)
    weight, bias = weight.to(dtype), bias.to(dtype)
    whole = cpu.conv1d(x, weight, bias)
    for start, end in ((40, 77), (3, 19), (44, 300)):
        assert torch.equal(cpu.conv1d(x[1:2, :, start:end], weight, bias), whole[1:2, :, start:end])


@torch.no_grad()
def test_every_weight_is_prepacked_once(monkeypatch):
    """Until it is written to or forgotten; a new weight, even in the place of an old one, is another."""
    packed, prepack = [], onednn.prepack
    monkeypatch.setattr(onednn, "prepack", lambda matrix: packed.append(matrix.shape) or prepack(matrix))
    x, weight, bias = case(40, shape=(48, 32, 1))
    for _ in range(3):
        cpu.conv1d(x, weight, bias)
    assert len(packed) == 1
    weight.mul_(2.0)
    cpu.conv1d(x, weight, bias)
    assert len(packed) == 2
    for _ in range(3):
        x, weight, bias = case(40, shape=(48, 32, 1))
        assert_close(cpu.conv1d(x, weight, bias), F.conv1d(x, weight, bias))
    assert len(packed) == 5


@torch.no_grad()
def test_prepacked_weights_go_with_their_weight():
    """A codec that is deleted takes them along."""
    held = []
    for _ in range(3):
        x, weight, bias = case(4, shape=(512, 512, 1))
        cpu.conv1d(x, weight, bias)
        held.append(weakref.ref(prepacked(weight, None)[0][0]))
        del x, weight, bias
    assert [ref() for ref in held] == [None] * 3


@torch.no_grad()
def test_a_weight_that_was_written_to_is_prepacked_again():
    """An optimizer, a loaded checkpoint and a move all write to the weight or give it other memory."""
    x, weight, bias = case(40, shape=(48, 32, 1))
    before = cpu.conv1d(x, weight, bias)
    weight.mul_(2.0)
    assert_close(cpu.conv1d(x, weight, bias), F.conv1d(x, weight, bias))
    weight.data = weight.clone() / 2.0
    assert_close(cpu.conv1d(x, weight, bias), before)


@torch.no_grad()
def test_float64_takes_torchs_way():
    """Only float32 and fewer bits are prepacked."""
    x, weight, bias = (each.double() for each in upsampling_case(20))
    ops = backend_for(x)
    assert torch.equal(ops.upsample(x, weight, bias), F.conv_transpose1d(x, weight, bias, 8)[..., 8:-8])
    x, weight, bias = (each.double() for each in case(40))
    assert torch.equal(ops.conv1d(x, weight, bias, stride=4), F.conv1d(x, weight, bias, 4))


WIDE = (256, 160, 1)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("tiles", [False, True])
def test_weights_of_16_bits(dtype, tiles, monkeypatch):
    """Results are float32's for the rounded weights; where the CPU multiplies bfloat16, inputs are rounded, too."""
    if tiles and not onednn.multiplies_bfloat16():
        pytest.skip("this CPU does not multiply bfloat16")
    monkeypatch.setattr(onednn, "multiplies_bfloat16", lambda: tiles)
    for shape, stride in (((48, 32, 8), 4), (WIDE, 1), ((1, 160, 7), 1)):
        x, weight, bias = (each.to(dtype) for each in case(40, shape=shape))
        found = backend_for(x).conv1d(x.float(), weight, bias, stride=stride)
        wanted = F.conv1d(x.double(), weight.double(), bias.double(), stride)
        assert found.dtype == torch.float32
        rounded = tiles and dtype is torch.bfloat16 and shape == WIDE
        assert (found - wanted).norm() < (4e-3 if rounded else 1e-6) * wanted.norm()
    x, weight, bias = (each.to(dtype) for each in upsampling_case(20))
    found = backend_for(x).upsample(x.float(), weight, bias)
    wanted = F.conv_transpose1d(x.double(), weight.double(), bias.double(), 8)[..., 8:-8]
    assert (found - wanted).norm() < 1e-6 * wanted.norm()


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_decoder_of_16_bits_is_nearer_to_float32_than_torchs(dtype):
    """Sound of a codec in 16 bits, whole and in pieces, beside the plain forward in the same 16 bits."""
    codec = SNAC.from_pretrained("tiny")
    codes = codec.encode(torch.randn(1, 1, 24_000, generator=torch.Generator().manual_seed(0)) * 0.1)
    wanted = codec.decode(codes, noise="off")
    codec.to(dtype)
    found = codec.decode(codes, noise="off")
    plain = codec.decoder.model(codec.quantizer.from_codes(codes), None)
    errors = [float((sound.float() - wanted).norm() / wanted.norm()) for sound in (found, plain)]
    assert found.dtype == dtype
    assert errors[0] < min(errors[1], 0.02)
    stream = StreamDecoder(codec, None)
    frames = [level[0].reshape(codes[0].shape[-1], -1) for level in codes]  # [(frames, 1 or 2 or 4)]
    parts = [[level[start : start + 5].flatten() for level in frames] for start in (0, 5, 10)]
    pieces = [stream.push(part) for part in parts] + [stream.flush()]
    whole = codec.decode(codes, noise=0).float()[0, 0].numpy()
    np.testing.assert_allclose(np.concatenate(pieces), whole, rtol=0, atol=2e-2 * abs(whole).max())


@torch.no_grad()
def test_autocast_still_casts():
    """Under autocast the output is in the lower precision, as torch's would be."""
    x, weight, bias = case(20, shape=(48, 32, 1))
    with torch.autocast("cpu", torch.bfloat16):
        assert backend_for(x).conv1d(x, weight, bias).dtype == torch.bfloat16
    assert backend_for(x) is cpu


def test_operators_that_another_torch_has_changed_are_not_used(monkeypatch):
    """Missing, of another signature, or with another meaning: torch's public ones do the work."""
    real = torch.ops.mkldnn

    class Changed:
        _reorder_linear_weight = real._reorder_linear_weight
        _linear_pointwise = real._linear_pointwise

    plain, probe = onednn.plain_products().linear.__code__, onednn.find_products
    monkeypatch.setattr(torch.ops, "mkldnn", Changed)
    for name, change in (
        ("_reorder_linear_weight", None),
        ("_linear_pointwise", SimpleNamespace(default=lambda x: x, binary=None)),
        ("_reorder_linear_weight", SimpleNamespace(default=lambda matrix, _: matrix * 2)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(Changed, name, change)
            assert probe().linear.__code__ is plain
    assert probe().linear is real._linear_pointwise.default


def activations(batch, channels, length, *, laid_out=False):
    """Random (B, C, T), with channels as neighbours in memory or times."""
    x = torch.randn(batch, length, channels, generator=torch.Generator().manual_seed(1)).transpose(1, 2)
    return x if laid_out else x.contiguous()


def snake_of(channels):
    """A Snake whose α is not 1."""
    snake = Snake(channels)
    snake.alpha.data.uniform_(0.2, 3.0, generator=torch.Generator().manual_seed(0))
    return snake


@torch.no_grad()
@pytest.mark.parametrize("laid_out", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_extended_is_activated_and_continues_what_was_kept(batch, laid_out):
    """Kept, then x, then zeros; kept values are activated already."""
    x, kept, snake = activations(batch, 24, 100, laid_out=laid_out), activations(batch, 24, 6), snake_of(24)
    found = cpu.extend(x, snake.alpha, kept, 3)
    wanted = torch.cat((kept, snake(x), torch.zeros(batch, 24, 3)), dim=-1)
    torch.testing.assert_close(found, wanted, rtol=3e-7, atol=1e-6)
    assert torch.equal(reference.extend(x, snake.alpha, kept, 3), wanted)
    assert torch.equal(cpu.extend(x, None, 2), F.pad(x, (2, 0)))
    assert cpu.extend(x) is x


@torch.no_grad()
@pytest.mark.parametrize("size", [1.0, 100.0, 1e5])
def test_numpys_sine_is_nearly_as_good_as_torchs(size):
    """Within 2 units in the last place, for small and for huge arguments."""
    x, snake = activations(1, 24, 4_000) * size, snake_of(24)
    torch.testing.assert_close(cpu.extend(x, snake.alpha), snake(x), rtol=3e-7, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("dilation", [1, 3, 9])
def test_depthwise(dilation, batch):
    """As torch's, but for rounding; one clip's bits do not depend on the layout."""
    weight, bias = torch.randn(24, 1, 7), torch.randn(24)
    for given in (bias, None):
        x = activations(batch, 24, 200)
        found = cpu.conv1d(x, weight, given, dilation=dilation, groups=24)
        wanted = F.conv1d(x, weight, given, dilation=dilation, groups=24)
        torch.testing.assert_close(found, wanted, rtol=2e-6, atol=5e-6)
        assert torch.equal(
            found,
            cpu.conv1d(
                activations(batch, 24, 200, laid_out=True), weight, given, dilation=dilation, groups=24
            ),
        )


def test_values_are_copied_only_where_they_have_another_layout():
    """What the layers hand on needs no copy, and has the shape that every caller knows."""
    x = cpu.empty_channels_last(torch.empty(2, 24, 9), length=50)
    assert x.shape == (2, 24, 50)
    cpu.channels_last(x).fill_(3.0)
    assert bool((x == 3.0).all())
    plain = activations(2, 24, 50)
    assert torch.equal(cpu.channels_last(plain), plain.transpose(1, 2))
