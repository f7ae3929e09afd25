"""Every compiled loop gives what plain torch gives in float64, wherever a value stands and however a clip is cut."""

import dataclasses
import itertools
import logging
import random
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snac_tok.codec import SNAC, noise
from snac_tok.codec.config import PRESETS
from snac_tok.codec.context import StepContext
from snac_tok.codec.ops import backend, cpu, onednn, reference
from snac_tok.codec.ops.reference import Kept, UnitWeights
from snac_tok.codec.state import StreamState

numba = pytest.importorskip("numba", reason="numba is an extra")

from snac_tok.codec.ops import compiled, loops  # noqa: E402 - it imports numba


@pytest.fixture(autouse=True)
def no_gradients(monkeypatch):
    """Kernels record none."""
    monkeypatch.setattr(backend, "kernel_mode", "auto")
    with torch.no_grad():
        yield


def draw(seed):
    """A function of a shape that gives random values."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(shape, generator=generator)


def unit_of(channels, *, seed=0):
    """Random weights of a residual unit, of a size that keeps values near 1."""
    values = draw(seed)
    return UnitWeights(
        values(1, channels, 1).abs() + 0.1,
        values(channels, 1, 7) * 0.3,
        values(channels) * 0.1,
        values(1, channels, 1).abs() + 0.1,
        values(channels, channels, 1) * channels**-0.5,
        values(channels) * 0.1,
    )


def assert_close(found, wanted, *, tolerance=1e-6):
    """Equal but for rounding, relative to the largest value."""
    assert found.shape == wanted.shape
    assert not found.isnan().any()
    error = (
        float((found.double() - wanted).abs().max() / wanted.abs().max().clamp(1e-9)) if wanted.numel() else 0
    )
    assert error <= tolerance, error


def run_unit(x, weights, cuts, **options):
    """The unit's output for a clip in chunks."""
    kept, parts = Kept(), []
    for at, (start, end) in enumerate(itertools.pairwise(cuts), 2):
        last = at == len(cuts)
        out, kept = compiled.residual_unit(x[..., start:end], weights, kept=kept, last=last, **options)
        parts.append(out)
    return torch.cat(parts, dim=-1)


@settings(max_examples=25, deadline=None)
@given(
    channels=st.sampled_from([1, 3, 16, 48, 64, 100, 513, 1024]),
    length=st.integers(0, 150),
    batch=st.integers(1, 3),
    dilation=st.sampled_from([1, 3, 9]),
    seed=st.integers(0, 1000),
)
def test_a_residual_unit_is_what_torch_computes_in_float64(channels, length, batch, dilation, seed):
    """Of any width and length; and in chunks of any sizes, empty ones among them, bit for bit the same."""
    weights, x = unit_of(channels, seed=seed), draw(seed + 1)(batch, channels, length) * 3
    whole = run_unit(x, weights, [0, length], dilation=dilation)
    wanted = x.double()
    if length:
        wanted = reference.residual_unit(
            wanted, UnitWeights(*(w.double() for w in weights)), dilation=dilation
        )
    assert_close(whole, wanted)
    cuts = [0, *sorted(random.Random(seed).choices(range(length + 1), k=4)), length]
    middle = loops.TAPS // 2 * dilation
    joined = run_unit(x, weights, cuts, dilation=dilation)
    assert_close(joined, wanted)
    # Of one row's products the bits may depend on how many rows there are; what the loops give never does.
    first = compiled.residual_unit(x, weights, dilation=dilation, last=False)[1].conv
    assert torch.equal(first, kept_in_chunks(x, weights, cuts, dilation)[..., -2 * middle :])


def kept_in_chunks(x, weights, cuts, dilation):
    """What a unit keeps at the end of a clip that came in chunks."""
    kept = Kept()
    for start, end in itertools.pairwise(cuts):
        kept = compiled.residual_unit(x[..., start:end], weights, dilation=dilation, kept=kept)[1]
    return kept.conv


@pytest.mark.parametrize("dilation", [1, 9])
def test_rows_end_where_they_say(dilation):
    """Each row of a padded batch is the clip alone, whatever stands behind its end."""
    weights, x = unit_of(16), draw(3)(3, 16, 90)
    ends = torch.tensor([90, 41, 7], dtype=torch.int32)
    together = compiled.residual_unit(x, weights, dilation=dilation, last=True, ends=ends)[0]
    for row, end in enumerate(ends.tolist()):
        alone = run_unit(x[row : row + 1, :, :end], weights, [0, end], dilation=dilation)
        assert_close(together[row : row + 1, :, :end], alone.double())


@pytest.mark.parametrize("channels", [1, 7, 64, 513])
@pytest.mark.parametrize("length", [0, 1, 5, 333])
def test_a_snake_between_what_was_kept_and_zeros(channels, length):
    """In one pass, for what was kept, and for zeros."""
    x, alpha, kept = draw(1)(2, channels, length), draw(2)(1, channels, 1).abs(), draw(3)(2, channels, 4)
    for before in (kept, 3, 0):
        found = compiled.extend(x, alpha, before, 2)
        start = before.double() if isinstance(before, torch.Tensor) else before
        assert_close(found, reference.extend(x.double(), alpha.double(), start, 2))
        assert_close(compiled.extend(x, None, before, 2), reference.extend(x, None, before, 2).double())


@pytest.mark.parametrize("size", [1e-30, 1e-3, 1.0, 1e2, 1e4, 1e6])
def test_a_snake_of_any_size(size):
    """As near to float64 as float32's own rounding of alpha times x lets it be."""
    x, alpha = draw(4)(1, 64, 500) * size, draw(5)(1, 64, 1).abs() + 0.5
    found = compiled.extend(x, alpha).double()
    rounded = (alpha * x).double()  # as every backend rounds it
    wanted = x.double() + rounded.sin() ** 2 / (alpha.double() + 1e-9)
    torch.testing.assert_close(found, wanted, rtol=2.5e-7, atol=2.5e-7 if size > 1e-3 else 0.0)


@pytest.mark.parametrize("value", [1e7, 1e20, 3e38, -1e12])
def test_beyond_all_sines_a_snake_gives_its_input(value):
    """There neighbouring float32 are farther apart than the sine is large."""
    x = torch.full((1, 3, 40), value)
    found = compiled.extend(x, torch.ones(1, 3, 1))
    torch.testing.assert_close(found, x, rtol=2e-7, atol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_stays_none(value):
    """As with plain torch: a fault in weights or sound does not become silence. Other channels stay as they are."""
    x, weights = torch.zeros(1, 16, 30), unit_of(16)
    clean = run_unit(x, weights, [0, 30], dilation=1)
    x[0, 2, 10] = value
    assert compiled.extend(x, weights.first_alpha)[0, 2, 10].isnan()
    assert run_unit(x, weights, [0, 30], dilation=1)[0, :, 10].isnan().all()
    assert torch.equal(run_unit(x, weights, [0, 30], dilation=1)[..., :7], clean[..., :7])


@pytest.mark.parametrize("seed", [0, 1, -5, 2**31, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("start", [0, 7, 2**32 - 3, 2**40])
def test_seeded_noise_is_the_same_bit_for_bit(seed, start):
    """What is heard depends on the seed alone, not on whether numba is installed."""
    pairs = torch.tensor([[seed, start], [seed, start + 1], [3, 0]])
    for layer in (0, 3):
        found = compiled.normal_rows(pairs, noise.layer_key(layer), 50, torch.float32)
        for row, (own, begin) in enumerate(pairs.tolist()):
            positions = torch.arange(begin, begin + 50)
            wanted = noise.normal_at(positions, seed=own, layer=layer).float()
            assert torch.equal(found[row], wanted)


class TestBfloat16:
    """Weights of 16 bits on a CPU that multiplies them: here with products that are rounded as there."""

    @pytest.fixture(autouse=True)
    def products_of_bfloat16(self, monkeypatch):
        """Multiply bfloat16 whatever this CPU can, and however narrow."""
        monkeypatch.setattr(onednn, "multiplies_bfloat16", lambda: True)
        monkeypatch.setattr(cpu, "_WIDE", 1)

    @pytest.mark.parametrize("cuts", [[0, 70], [0, 1, 2, 30, 30, 70]])
    @pytest.mark.parametrize("dilation", [1, 9])
    def test_a_residual_unit(self, dilation, cuts):
        """Rounded three times: what is multiplied, the weights and the product."""
        weights = UnitWeights(*(each.bfloat16() for each in unit_of(48)))
        x = draw(6)(2, 48, 70)
        wanted = reference.residual_unit(
            x.double(), UnitWeights(*(w.double() for w in weights)), dilation=dilation
        )
        found = run_unit(x, weights, cuts, dilation=dilation)
        assert found.dtype is torch.float32
        assert_close(found, wanted, tolerance=1e-2)
        assert torch.equal(found, run_unit(x, weights, [0, 70], dilation=dilation))

    @pytest.mark.parametrize("stride", [2, 8])
    def test_a_transposed_convolution(self, stride):
        """Two products of which the sum is float32's."""
        x, weight, bias = draw(7)(2, 48, 9), draw(8)(48, 24, 2 * stride) * 0.1, draw(9)(24)
        weight, bias = weight.bfloat16(), bias.bfloat16()
        wanted = reference.upsample(x.double(), weight.double(), bias.double())
        assert_close(compiled.upsample(x, weight, bias), wanted, tolerance=1e-2)

    @pytest.mark.parametrize("rows", [1, 3])
    def test_a_noise_block(self, rows):
        """With noise of each row, and with the same for all."""
        x, weight, drawn = draw(1)(3, 48, 20), (draw(2)(48, 48, 1) * 0.1).bfloat16(), draw(3)(rows, 1, 20)
        wanted = x.double() + reference.conv1d(x.double(), weight.double(), None) * drawn.double()
        assert_close(compiled.noise_block(x, weight, drawn, ends=None), wanted, tolerance=1e-2)

    def test_rounding_is_torchs(self):
        """To the nearest bfloat16, of two as near the even one; what is no number stays none."""
        bits = np.random.default_rng(0).integers(0, 2**32, 20_000, dtype=np.uint32)
        values = torch.from_numpy(np.append(bits, [0x7FFFFFFF, 0xFF800001, 0x3F808000]).astype(np.uint32))
        values = values.view(torch.float32)
        found = np.empty(len(values), np.uint16)
        loops._round_to_bfloat16(values.numpy(), found)
        found, wanted = torch.from_numpy(found.view(np.int16)).view(torch.bfloat16), values.bfloat16()
        assert torch.equal(found.isnan(), wanted.isnan())
        assert torch.equal(found.nan_to_num(), wanted.nan_to_num())


@pytest.mark.law(1)
@pytest.mark.parametrize("name", ["snac_24khz", "snac_32khz"])
def test_codes_and_sound_are_those_without_numba(name, monkeypatch):
    """On a network of the released shape, an eighth as wide."""
    config = dataclasses.replace(PRESETS[name], encoder_dim=8, decoder_dim=128, latent_dim=128)
    torch.manual_seed(0)
    codec = SNAC.from_config(config).eval()
    audio = draw(2)(1, 1, 3 * config.sampling_rate // 2) * 0.3
    found = {}
    for mode in ("off", "auto"):
        monkeypatch.setattr(backend, "kernel_mode", mode)
        codes = codec.encode(audio)
        found[mode] = codes, codec.decode(codes, noise=1)
    for ours, theirs in zip(found["auto"][0], found["off"][0], strict=True):
        assert torch.equal(ours, theirs)
    torch.testing.assert_close(found["auto"][1], found["off"][1], rtol=0, atol=1e-6)


def test_when_compiled_loops_are_taken(monkeypatch):
    """On a CPU; never where a gradient, a graph or autocast would miss them."""
    x = torch.zeros(1, 16, 4)
    assert StepContext(x, StreamState(), last=False).ops is compiled
    assert StepContext(x.double(), StreamState(), last=False).ops is reference
    with torch.enable_grad():
        assert backend.kernels_for(x) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert backend.kernels_for(x) is None
    monkeypatch.setattr(backend, "kernel_mode", "off")
    assert StepContext(x, StreamState(), last=False).ops is cpu


@pytest.fixture
def loaded_anew(monkeypatch):
    """The modules of the loops, forgotten before and after."""
    backend._load.cache_clear()
    for name in ("compiled", "loops"):
        monkeypatch.delitem(sys.modules, f"snac_tok.codec.ops.{name}")
        monkeypatch.delattr(f"snac_tok.codec.ops.{name}")
    yield
    backend._load.cache_clear()


@pytest.mark.usefixtures("loaded_anew")
def test_without_numba_torchs_operations_run(monkeypatch, caplog):
    """It is an extra: nothing is said."""
    monkeypatch.setitem(sys.modules, "numba", None)
    assert StepContext(torch.zeros(1, 16, 4), StreamState(), last=False).ops is cpu
    assert not caplog.records


@pytest.mark.usefixtures("loaded_anew")
@pytest.mark.parametrize(
    "error",
    [
        ImportError("Numba needs NumPy 2.0 or less"),
        ModuleNotFoundError("No module named 'llvmlite'", name="llvmlite"),
    ],
)
def test_a_numba_that_does_not_work_is_named_once(monkeypatch, caplog, error):
    """One that is too old for this numpy, or lacks a part, raises when it is imported."""

    class Refuses:
        def find_spec(self, name, *_):
            if name == "numba":
                raise error

    monkeypatch.delitem(sys.modules, "numba")
    monkeypatch.setattr(sys, "meta_path", [Refuses(), *sys.meta_path])
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert StepContext(torch.zeros(1, 16, 4), StreamState(), last=False).ops is cpu
    (record,) = caplog.records
    assert str(error) in record.getMessage()


@pytest.mark.parametrize("fault", [RuntimeError("no locator"), OSError(28, "No space left on device")])
def test_where_nothing_can_be_written_loops_are_compiled_all_the_same(monkeypatch, fault):
    """A read-only container has no folder for what is compiled, a full disk no place."""

    def refuse(*_, **__):
        raise fault

    monkeypatch.setattr("numba.core.caching.CompileResultCacheImpl.__init__", refuse)
    add = loops.compiled("f4(f4)")(lambda x: x + np.float32(1))
    assert add(np.float32(2)) == 3.0
