"""Weights arranged once give what torch's own transposed convolution gives."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from snac_tok.codec import packed


def case(length, *, batch=1, channels=(64, 32), stride=8, seed=0):
    """Random (x, weight, bias, stride) of one call."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, channels[0], length, generator=generator)
    weight = torch.randn(*channels, 2 * stride, generator=generator) * 0.05
    return x, weight, torch.randn(channels[1], generator=generator), stride


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("stride", [2, 3, 7, 8])
def test_long_inputs_give_the_same_bits(batch, stride):
    """Where torch takes oneDNN's kernel by itself, ours is the same one."""
    call = case(1_000, batch=batch, stride=stride)
    found = packed.conv_transpose1d(*call)
    assert torch.equal(found, F.conv_transpose1d(*call))
    assert found.is_contiguous()


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 2, 5, 33])
def test_short_inputs_differ_by_rounding_alone(length):
    """Torch sums those in another order."""
    call = case(length)
    torch.testing.assert_close(packed.conv_transpose1d(*call), F.conv_transpose1d(*call), rtol=0, atol=5e-6)


@torch.no_grad()
def test_every_weight_is_arranged_once_and_forgotten_with_its_tensor():
    """The cache holds nothing alive: a codec that is deleted takes its arranged weights along."""
    held = len(packed._packed)
    call = case(40)
    first, second = packed.conv_transpose1d(*call), packed.conv_transpose1d(*call)
    assert torch.equal(first, second)
    assert len(packed._packed) == held + 1
    del call
    assert len(packed._packed) == held


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_take_torchs_way(dtype):
    """Only float32 is arranged."""
    x, weight, bias, stride = case(20)
    call = x.to(dtype), weight.to(dtype), bias.to(dtype), stride
    assert torch.equal(packed.conv_transpose1d(*call), F.conv_transpose1d(*call))


@torch.no_grad()
def test_autocast_still_casts():
    """Under autocast the output is in the lower precision, as torch's would be."""
    call = case(20)
    with torch.autocast("cpu", torch.bfloat16):
        assert packed.conv_transpose1d(*call).dtype == F.conv_transpose1d(*call).dtype


@torch.no_grad()
@pytest.mark.parametrize("outputs", [1, 35, 64, 65, 300])
@pytest.mark.parametrize("batch", [1, 2])
def test_large_strided_weights_are_arranged_for_few_outputs(outputs, batch):
    """The sums are in another order then; longer inputs take torch's way, to the same bits."""
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn(512, 256, 8, generator=generator) * 0.02
    bias = torch.randn(512, generator=generator)
    x = torch.randn(batch, 256, (outputs - 1) * 4 + 8, generator=generator)
    held = len(packed._packed)
    found, wanted = packed.conv1d(x, weight, bias, 4), F.conv1d(x, weight, bias, 4)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert len(packed._packed) == held + (outputs <= 64)
    assert found.is_contiguous()
