"""Configs and audio that the codec's tests share."""

import numpy as np
import pytest
import torch
from small_codec import SMALL as THREE_LEVELS

from snac_tok.codec import SNAC, CodecConfig

# Small enough to run in milliseconds, odd strides included, with every option once on and once off.
SMALL = {
    "three levels": THREE_LEVELS,
    "four levels, attention, full convolutions": CodecConfig(
        sampling_rate=8_000,
        encoder_dim=16,
        encoder_rates=(3, 2),
        decoder_dim=64,
        decoder_rates=(2, 3),
        attn_window_size=16,
        codebook_size=16,
        codebook_dim=2,
        vq_strides=(8, 4, 2, 1),
        noise=False,
        depthwise=False,
    ),
}


@pytest.fixture(params=SMALL, scope="session")
def small_config(request):
    """Each small config in turn."""
    return SMALL[request.param]


@pytest.fixture
def small_codec(small_config):
    """A seeded network of each small config, in eval mode."""
    torch.manual_seed(0)
    return SNAC.from_config(small_config).eval()


@pytest.fixture(scope="session")
def interpreted():
    """The module `ops.gpu` with kernels that Triton's interpreter runs on CPU tensors."""
    pytest.importorskip("triton")
    with pytest.MonkeyPatch.context() as patch:
        # Read when a kernel is defined. Only these tests load the kernels where there is no GPU.
        patch.setenv("TRITON_INTERPRET", "1")
        from snac_tok.codec.ops import gpu, kernels
    if type(kernels.snake).__name__ != "InterpretedFunction":
        pytest.skip("the kernels were loaded for a GPU before")
    return gpu


@pytest.fixture
def tensor_cores(interpreted, monkeypatch):  # noqa: ARG001 - the interpreter
    """Round factors as tensor cores do, which the interpreter leaves out; returns the precisions asked for."""
    from triton.runtime.interpreter import TensorHandle, interpreter_builder

    asked = set()

    def cut(values):
        """Leave 10 bits behind the point."""
        return (values.view(np.uint32) & 0xFFFFE000).view(np.float32)

    def dot(a, b, d, precision, _limit):
        name = str(precision).rpartition(".")[2].lower()
        asked.add(name)
        left, right, total = a.data, b.data, d.data
        if name == "ieee":
            return TensorHandle(left @ right + total, d.dtype.scalar)
        big, other_big = cut(left), cut(right)
        if name == "tf32x3":
            small, other_small = cut(left - big), cut(right - other_big)
            total = total + small @ other_big + big @ other_small
        return TensorHandle(total + big @ other_big, d.dtype.scalar)

    monkeypatch.setattr(interpreter_builder, "create_dot", dot)
    return asked


@pytest.fixture
def poisoned(interpreted, monkeypatch):
    """The same, with outputs that are NaN until a kernel writes to them."""

    def empty(rows, length, width=None):
        return rows.new_full((rows.shape[0], length, width or rows.shape[2]), float("nan"))

    monkeypatch.setattr("snac_tok.codec.ops.launch.new_rows", empty)
    return interpreted
