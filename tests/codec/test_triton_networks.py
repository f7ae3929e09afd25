"""Whole networks through GPU kernels give what the plain path gives. Triton's interpreter runs them on the CPU."""

import copy
import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_codec import SMALL

import snac_tok
from snac_tok.codec import SNAC
from snac_tok.codec.chunked import run_chunk
from snac_tok.codec.context import StepContext
from snac_tok.codec.noise import SeededNoise
from snac_tok.codec.ops import backend, cpu, reference
from snac_tok.codec.state import StreamState
from snac_tok.codec.state_tables import StateRow, StateTables
from snac_tok.errors import ConfigError, NetworkError

# Widths that kernels take, an odd stride, and a decoder with noise.
CONFIG = dataclasses.replace(SMALL, encoder_dim=16, latent_dim=None, decoder_dim=64)
LATENTS = 16


class Pair:
    """One network twice: on the plain path, and through kernels (a weight is prepacked in one form only)."""

    def __init__(self, network, x, *, noise=None):
        self.plain, self.fused = network, copy.deepcopy(network)
        self.x, self.noise = x, noise

    def run(self, monkeypatch, parts, *, fused=True, state=None, last=True, valid=None):
        """Run the parts of the clip, each through kernels or not."""
        monkeypatch.setattr(backend, "kernel_mode", "on" if fused else "off")
        state, outputs = state or StreamState(), []
        for at, part in enumerate(parts):
            end = last and at == len(parts) - 1
            network = self.fused if fused else self.plain
            outputs.append(run_chunk(network, part, state, last=end, noise=self.noise, valid=valid))
        return torch.cat(outputs, dim=-1)

    def whole(self, monkeypatch, x):
        """What the plain path gives."""
        return self.run(monkeypatch, [x], fused=False)


pytestmark = pytest.mark.usefixtures("poisoned")


@pytest.fixture(autouse=True)
def no_gradients():
    """Kernels record none."""
    with torch.no_grad():
        yield


def build(name, dtype=torch.float32):
    """The encoder or the decoder of a seeded codec with Snakes of all kinds, and what it takes, two rows of it."""
    torch.manual_seed(0)
    codec = SNAC.from_config(CONFIG).eval()
    for weight_name, weight in codec.named_parameters():
        if weight_name.endswith("alpha"):
            weight.uniform_(0.3, 2.0)
    codec = codec.to(dtype)
    if name == "encoder":
        return Pair(codec.encoder, torch.randn(2, 1, LATENTS * codec.hop_length).to(dtype))
    x = torch.randn(2, codec.latent_dim, LATENTS).to(dtype)
    return Pair(codec.decoder, x, noise=SeededNoise(seed=3))


@pytest.fixture(params=["encoder", "decoder"])
def pair(request):
    """Each network in turn."""
    return build(request.param)


def cut(x, *places):
    """Split x at shares of its length."""
    ends = [0, *(int(place * x.shape[-1]) for place in places), x.shape[-1]]
    return [x[..., start:end] for start, end in itertools.pairwise(ends)]


def assert_equal(found, wanted):
    """Equal within law 1's tolerance."""
    torch.testing.assert_close(found, wanted, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("places", [(), (0.0, 0.04, 0.5)], ids=["whole", "in chunks"])
def test_a_clip(pair, monkeypatch, places):
    """In one piece and in chunks, an empty one and a very short one among them."""
    assert_equal(pair.run(monkeypatch, cut(pair.x, *places)), pair.whole(monkeypatch, pair.x))


def test_the_way_may_change_in_the_middle_of_a_clip(pair, monkeypatch):
    """Both ways keep the same, so a graph, say, can go on where kernels began."""
    first, second, third = cut(pair.x, 0.3, 0.6)
    state, outputs = StreamState(), []
    for at, (part, fused) in enumerate(((first, True), (second, False), (third, True))):
        outputs.append(pair.run(monkeypatch, [part], fused=fused, state=state, last=at == 2))
    assert_equal(torch.cat(outputs, dim=-1), pair.whole(monkeypatch, pair.x))


def test_rows_of_several_lengths(pair, monkeypatch):
    """A row is what its clip is alone, though outputs behind its end are never written."""
    valid = [pair.x.shape[-1], pair.x.shape[-1] // 3]
    found = pair.run(monkeypatch, [pair.x], valid=valid)
    for row, end in enumerate(valid):
        alone = pair.whole(monkeypatch, pair.x[row : row + 1, :, :end])
        assert_equal(found[row : row + 1, :, : alone.shape[-1]], alone)


def test_streams_join_and_part(pair, monkeypatch):
    """States become rows of one table, and each goes on from there."""
    first, second = cut(pair.x, 0.5)
    states = [StreamState(), StreamState()]
    starts = [pair.run(monkeypatch, [first[row : row + 1]], state=states[row], last=False) for row in (0, 1)]
    if pair.noise is None:  # seeded noise needs the stream's own position
        tables, rows = StateTables(), [StateRow(), StateRow()]
        for own, state in zip(rows, states, strict=True):
            tables.write([own], state.fork())
        ends = pair.run(monkeypatch, [second], state=tables.read(rows))
        assert_equal(torch.cat((torch.cat(starts), ends), dim=-1), pair.whole(monkeypatch, pair.x))
    for row, (state, start) in enumerate(zip(states, starts, strict=True)):
        end = pair.run(monkeypatch, [second[row : row + 1]], state=state)
        wanted = pair.whole(monkeypatch, pair.x[row : row + 1])
        assert_equal(torch.cat((start, end), dim=-1), wanted)


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_half_precision(name, monkeypatch):
    """float16 is near to float32, noise block included; the CPU's own path, with float32 activations, is nearer."""
    exact = build(name)
    wanted = exact.whole(monkeypatch, exact.x)
    half = build(name, torch.float16)
    errors = [
        float((half.run(monkeypatch, cut(half.x, 0.4), fused=fused).float() - wanted).norm())
        for fused in (True, False)
    ]
    assert errors[1] < errors[0] < 0.01 * float(wanted.norm())


def test_a_codec_through_kernels(monkeypatch):
    """`SNAC.encode` and `decode`: the same codes, the same sound."""
    torch.manual_seed(0)
    plain = SNAC.from_config(CONFIG).eval()
    fused, audio = copy.deepcopy(plain), torch.randn(1, 1, 300)
    codes = plain.encode(audio)
    sound = plain.decode(codes, noise=1)
    monkeypatch.setattr(backend, "kernel_mode", "on")
    assert all(torch.equal(*levels) for levels in zip(fused.encode(audio), codes, strict=True))
    assert_equal(fused.decode(codes, noise=1), sound)


@pytest.mark.parametrize("places", [(), (0.0, 0.04, 0.5)], ids=["whole", "in chunks"])
@pytest.mark.parametrize("precision", ["tf32x3", "tf32"])
def test_a_clip_on_tensor_cores(pair, monkeypatch, tensor_cores, precision, places):
    """All products of both networks; three of TF32 are nearly float32, and one is not."""
    wanted = pair.whole(monkeypatch, pair.x)
    assert not tensor_cores
    pair.fused.precision = precision
    monkeypatch.setattr(torch.nn.functional, "linear", lambda *_: pytest.fail("a product of cuBLAS"))
    monkeypatch.setattr(torch, "baddbmm", lambda *_args, **_options: pytest.fail("a product of cuBLAS"))
    found = pair.run(monkeypatch, cut(pair.x, *places))
    assert tensor_cores == {precision}
    error = float((found - wanted).abs().max() / wanted.abs().max())
    assert error < 3e-6 if precision == "tf32x3" else 1e-5 < error < 1e-2


def test_codes_of_each_precision(monkeypatch, tensor_cores):
    """float32 gives those of a CPU, even after another precision was asked for, and torch's settings stay."""
    torch.manual_seed(0)
    plain = SNAC.from_config(dataclasses.replace(CONFIG, codebook_size=16_384)).eval()
    codec, audio = copy.deepcopy(plain), torch.randn(1, 1, 500)
    wanted = torch.cat(plain.encode(audio), dim=-1)
    monkeypatch.setattr(backend, "kernel_mode", "on")
    torch.set_float32_matmul_precision("high")
    try:
        changed = []
        for precision in ("tf32x3", "tf32", "fp32"):
            assert codec.use_precision(precision) is codec
            assert codec.precision == precision
            codes = torch.cat(codec.encode(audio), dim=-1)
            changed.append(int((codes != wanted).sum()))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    thrice, once, full = changed
    assert full == 0
    assert thrice <= once
    assert once > 0
    assert tensor_cores == {"tf32x3", "tf32"}


def test_where_there_is_no_tf32(interpreted, monkeypatch):
    """It is refused, and a codec that goes there is in float32, or in its own half precision."""
    codec = SNAC.from_config(CONFIG).eval()
    with pytest.raises(
        NetworkError, match=r"'tf32' asks for TF32: the codec is on cpu, .*; move it there first"
    ):
        codec.use_precision("tf32")
    with pytest.raises(ConfigError, match="must be one of 'fp32', 'tf32x3', 'tf32', got 'bf16'"):
        codec.use_precision("bf16")
    assert codec.use_precision("fp32").precision == "fp32"
    monkeypatch.setattr(backend, "kernel_mode", "on")
    assert codec.use_precision("tf32").precision == "tf32"
    assert copy.deepcopy(codec).precision == "tf32"
    other = SNAC.from_config(CONFIG).eval().decoder
    assert codec.exchange_decoder(other).decoder.precision == "tf32"
    assert codec.train().precision == "fp32"
    hook = codec.eval().encoder.register_forward_hook(lambda *_: None)
    assert codec.precision == "fp32"
    hook.remove()
    assert codec.precision == "tf32"
    codec = codec.half()
    assert codec.precision == "fp16"
    with torch.no_grad():
        assert kernels_of(torch.zeros(1, 16, 4).half(), "tf32") is interpreted
    with pytest.raises(NetworkError, match=r"the weights are torch.float16, and TF32 is for float32"):
        codec.use_precision("tf32x3")
    monkeypatch.setattr(backend, "_load", lambda _: None)
    with pytest.raises(NetworkError, match="not installed"):
        codec.float().use_precision("tf32x3")


def kernels_of(x, precision="fp32"):
    """What a chunk takes."""
    return StepContext(x, StreamState(), last=False, precision=precision).kernels


def test_when_kernels_are_taken(interpreted, monkeypatch):
    """On a GPU, or where they are asked for; never where a gradient, a graph or autocast would miss them."""
    x = torch.zeros(1, 16, 4)
    monkeypatch.setattr(backend, "kernel_mode", "off")
    assert kernels_of(x) is None
    assert StepContext(x, StreamState(), last=False).ops is cpu
    monkeypatch.setattr(backend, "kernel_mode", "on")
    context = StepContext(x, StreamState(), last=False)
    assert context.ops is context.kernels is interpreted
    assert kernels_of(x.double()) is None
    assert StepContext(x.double(), StreamState(), last=False).ops is reference
    with torch.enable_grad():
        assert kernels_of(x) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert kernels_of(x) is None
    with monkeypatch.context() as patch:
        for name in ("is_compiling", "is_dynamo_compiling"):  # as in what is compiled
            patch.setattr(torch.compiler, name, lambda: True)
        assert kernels_of(x) is None
    with monkeypatch.context() as patch:
        backend._load.cache_clear()
        patch.setitem(sys.modules, "triton", None)
        for name in ("gpu", "kernels", "launches", "normal", "products", "trials"):
            patch.delitem(sys.modules, f"snac_tok.codec.ops.{name}")
            patch.delattr(f"snac_tok.codec.ops.{name}")
        assert kernels_of(x) is None
    backend._load.cache_clear()


def test_a_gpu_is_asked_for_kernels_unless_they_are_off(monkeypatch):
    """By the environment variable SNAC_TOK_KERNELS."""

    class OnGpu:
        device, dtype = torch.device("cuda"), torch.float32

    monkeypatch.setattr(backend, "kernel_mode", "auto")
    assert backend.kernels_for(OnGpu()) is not None
    monkeypatch.setattr(backend, "kernel_mode", "off")
    assert backend.kernels_for(OnGpu()) is None


def test_on_a_cpu_nothing_loads_the_kernels():
    """Neither importing nor encoding nor decoding does; these modules are all of ours that load Triton."""
    program = """
import sys, torch
from snac_tok import SNAC
codec = SNAC.from_pretrained("tiny")
codec.decode(codec.encode(torch.zeros(1, 1, 4000)), noise=0)
names = ("gpu", "kernels", "launches", "normal", "products", "trials")
assert not {f"snac_tok.codec.ops.{name}" for name in names} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)
    package = Path(snac_tok.__file__).parent
    users = [path.name for path in package.rglob("*.py") if "import triton" in path.read_text("utf-8")]
    assert sorted(users) == ["kernels.py", "launches.py", "normal.py", "products.py"]
