"""Products of matrices give what torch's dense layers give, but for the order of the sums."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from snac_tok.codec import dense

LENGTHS = [1, 2, 5, 33, 1_000]


@pytest.fixture(autouse=True, params=[True, False], ids=["onednn", "without onednn"])
def onednn(request, monkeypatch):
    """Both ways of multiplying; weights arranged for one mean nothing to the other."""
    if request.param and not dense._HAS_ONEDNN:
        pytest.skip("this build of torch has no oneDNN")
    monkeypatch.setattr(dense, "_HAS_ONEDNN", request.param)
    monkeypatch.setattr(dense, "_arranged", type(dense._arranged)())


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
            assert_close(dense.pointwise(x, weight, given), F.conv1d(x, weight, given))


@torch.no_grad()
@pytest.mark.parametrize("shape", [(48, 32), (72, 1536)], ids=["short sums", "long sums"])
@pytest.mark.parametrize("length", LENGTHS)
def test_linear_layers_are_products(length, shape):
    """Of times whose channels are neighbours already; sums longer than 1,024 are cut."""
    generator = torch.Generator().manual_seed(length)
    x = torch.randn(2, length, shape[1], generator=generator)
    weight = torch.randn(shape, generator=generator) * 0.05
    assert_close(dense.linear(x, weight), F.linear(x, weight))


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("stride", [2, 3, 4, 7, 8])
@pytest.mark.parametrize("outputs", [1, 2, 35, 300])
def test_strided_convolutions_are_two_products(outputs, stride, batch):
    """Samples behind the last whole kernel change nothing."""
    for behind in (0, stride - 1):
        x, weight, bias = case((outputs + 1) * stride + behind, batch=batch, shape=(48, 32, 2 * stride))
        found = dense.convolve(x, weight, bias, stride=stride, dilation=1)
        assert_close(found, F.conv1d(x, weight, bias, stride))


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("dilation", [1, 3, 9])
@pytest.mark.parametrize("channels", [1, 16])
def test_dense_kernels_without_stride(channels, dilation, batch):
    """The first layer, and residual units that are not depthwise."""
    x, weight, bias = case(200, batch=batch, shape=(48, channels, 7))
    found = dense.convolve(x, weight, bias, stride=1, dilation=dilation)
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
            found = dense.convolve(x, weight, given, stride=1, dilation=dilation)
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
        assert_close(dense.upsample(x, weight, given), wanted)


@torch.no_grad()
def test_a_row_has_the_same_bits_whatever_else_is_in_the_call():
    """Chunks of other lengths and batches with others sum in the same order."""
    x, weight, bias = case(300, batch=3, shape=(96, 64, 1))
    whole = dense.pointwise(x, weight, bias)
    assert torch.equal(dense.pointwise(x[1:2, :, 40:77], weight, bias), whole[1:2, :, 40:77])


@torch.no_grad()
def test_every_weight_is_arranged_once_and_forgotten_with_its_tensor():
    """The cache holds nothing alive: a codec that is deleted takes its arranged weights along."""
    call = case(40, shape=(48, 32, 1))
    first, second = dense.pointwise(*call), dense.pointwise(*call)
    assert torch.equal(first, second)
    assert len(dense._arranged) == 1
    del call
    assert not len(dense._arranged)


@torch.no_grad()
def test_a_weight_that_was_written_to_is_arranged_again():
    """An optimizer, a loaded checkpoint and a move all write to the weight or give it other memory."""
    x, weight, bias = case(40, shape=(48, 32, 1))
    before = dense.pointwise(x, weight, bias)
    weight.mul_(2.0)
    assert_close(dense.pointwise(x, weight, bias), F.conv1d(x, weight, bias))
    weight.data = weight.clone() / 2.0
    assert_close(dense.pointwise(x, weight, bias), before)
    assert len(dense._arranged) == 1


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_take_torchs_way(dtype):
    """Only float32 is arranged."""
    x, weight, bias = (each.to(dtype) for each in upsampling_case(20))
    assert torch.equal(dense.upsample(x, weight, bias), F.conv_transpose1d(x, weight, bias, 8)[..., 8:-8])
    x, weight, bias = (each.to(dtype) for each in case(40))
    assert torch.equal(dense.convolve(x, weight, bias, stride=4, dilation=1), F.conv1d(x, weight, bias, 4))


@torch.no_grad()
def test_autocast_still_casts():
    """Under autocast the output is in the lower precision, as torch's would be."""
    x, weight, bias = case(20, shape=(48, 32, 1))
    with torch.autocast("cpu", torch.bfloat16):
        assert dense.pointwise(x, weight, bias).dtype == torch.bfloat16
