"""What a chunk's layers compute on a CPU is what torch's own layers compute, in any layout."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from snac_tok.codec import kernels
from snac_tok.codec.layers import Snake
from snac_tok.codec.layout import by_time, empty_by_time


def sound(batch, channels, length, *, laid_out=False):
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
    x, kept, snake = sound(batch, 24, 100, laid_out=laid_out), sound(batch, 24, 6), snake_of(24)
    found = kernels.extended(snake, x, kept, end=3)
    wanted = torch.cat((kept, snake(x), torch.zeros(batch, 24, 3)), dim=-1)
    torch.testing.assert_close(found, wanted, rtol=3e-7, atol=1e-6)
    assert torch.equal(kernels.extended(None, x, 2, end=0), F.pad(x, (2, 0)))
    assert kernels.extended(None, x, 0, end=0) is x


@torch.no_grad()
@pytest.mark.parametrize("size", [1.0, 100.0, 1e5])
def test_numpys_sine_is_nearly_as_good_as_torchs(size):
    """Within 2 units in the last place, for small and for huge arguments."""
    x, snake = sound(1, 24, 4_000) * size, snake_of(24)
    torch.testing.assert_close(kernels.extended(snake, x, 0, end=0), snake(x), rtol=3e-7, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("dilation", [1, 3, 9])
def test_depthwise(dilation, batch):
    """As torch's, but for rounding; one clip's bits do not depend on the layout."""
    weight, bias = torch.randn(24, 1, 7), torch.randn(24)
    for given in (bias, None):
        x = sound(batch, 24, 200)
        found = kernels.depthwise(x, weight, given, dilation)
        wanted = F.conv1d(x, weight, given, dilation=dilation, groups=24)
        torch.testing.assert_close(found, wanted, rtol=2e-6, atol=5e-6)
        assert torch.equal(
            found, kernels.depthwise(sound(batch, 24, 200, laid_out=True), weight, given, dilation)
        )


def test_values_are_copied_only_where_values_lie_otherwise():
    """What the layers hand on needs no copy, and has the shape that every caller knows."""
    times = empty_by_time(torch.empty(2, 24, 9), length=50)
    assert times.shape == (2, 24, 50)
    assert by_time(times).data_ptr() == times.data_ptr()
    plain = sound(2, 24, 50)
    assert torch.equal(by_time(plain), plain.transpose(1, 2))
