"""Every GPU kernel gives what plain torch gives in float64. Triton's interpreter runs them on the CPU."""

import itertools
import logging
import random

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from snac_tok.codec import noise
from snac_tok.codec.ops import reference
from snac_tok.codec.ops.reference import Kept, UnitWeights

CPU = torch.device("cpu")
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# Of the largest value: roundings of the output, and of what is rounded on the way there.
TOLERANCE = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 1.5e-2}

pytestmark = pytest.mark.usefixtures("no_gradients")


@pytest.fixture
def no_gradients():
    """Kernels record none."""
    with torch.no_grad():
        yield


@pytest.fixture(params=DTYPES)
def dtype(request):
    """Each dtype in turn."""
    return DTYPES[request.param]


def draw(seed, dtype):
    """A function of a shape that gives random values which are exact in the dtype."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(shape, generator=generator).to(dtype)


def assert_close(found, wanted, dtype):
    """Equal but for rounding; NaN, the poison, is never."""
    assert found.shape == wanted.shape
    assert found.dtype is dtype
    error = float((found.double() - wanted).abs().max() / wanted.abs().max().clamp(1e-9))
    assert error <= TOLERANCE[dtype], error


def in_double(weights):
    """The same weights in float64."""
    return UnitWeights(*(each.double() for each in weights))


def run_unit(gpu, x, weights, cuts, **options):
    """The unit's output for a clip in chunks."""
    kept, parts = Kept(), []
    for start, end in itertools.pairwise(cuts):
        out, kept = gpu.residual_unit(x[..., start:end], weights, kept=kept, last=end == cuts[-1], **options)
        parts.append(out)
    assert kept == Kept()
    return torch.cat(parts, dim=-1)


@pytest.mark.parametrize(
    ("shape", "dilation", "cuts"),
    [
        ((3, 16, 1), 1, ()),
        ((1, 16, 71), 9, (1, 3, 30)),
        ((2, 32, 67), 3, (40,)),
        ((1, 48, 90), 9, (65,)),
        ((1, 64, 20), 1, (7, 8)),
    ],
)
def test_a_unit_in_chunks(poisoned, dtype, shape, dilation, cuts):
    """Chunks shorter than the kernel's reach, odd ends, widths that are no power of two."""
    values = draw(shape[-1], dtype)
    x, weights = values(*shape), poisoned.trials.trial_weights(values, shape[1])
    found = run_unit(poisoned, x, weights, (0, *cuts, shape[-1]), dilation=dilation)
    assert_close(found, reference.residual_unit(x.double(), in_double(weights), dilation=dilation), dtype)


@pytest.mark.parametrize("seed", range(4))
def test_a_unit_of_random_shapes(poisoned, seed):
    """Any length, any cuts, empty chunks among them, and either memory layout."""
    choice, values = random.Random(seed), draw(seed, torch.float32)
    channels, dilation = choice.choice((16, 32, 48)), choice.choice((1, 3, 9))
    length = choice.randint(1, 100)
    cuts = sorted(choice.choices(range(length + 1), k=choice.randint(0, 3)))
    x, weights = (
        values(choice.randint(1, 2), channels, length),
        poisoned.trials.trial_weights(values, channels),
    )
    if seed % 2:
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
    # The last chunk must not be mistaken for one that ends there already.
    cuts = [cut for cut in cuts if cut < length]
    found = run_unit(poisoned, x, weights, (0, *cuts, length), dilation=dilation)
    wanted = reference.residual_unit(x.double(), in_double(weights), dilation=dilation)
    assert_close(found, wanted, torch.float32)


# What float32 loses where tensor cores multiply it, of the largest value.
PRECISIONS = {"tf32x3": (0.0, 2e-6), "tf32": (1e-5, 3e-3)}


@pytest.fixture(params=PRECISIONS)
def precision(request, tensor_cores):
    """Each way of asking for tensor cores, with what they would round."""
    yield request.param
    assert tensor_cores == {request.param}


def assert_rounded(found, wanted, precision):
    """As near as this precision is, and no nearer."""
    error = float((found.double() - wanted).abs().max() / wanted.abs().max())
    least, most = PRECISIONS[precision]
    assert least <= error <= most, error


@pytest.mark.parametrize("channels", [32, 48, 528], ids=["inside", "of no power of two", "behind the kernel"])
def test_a_unit_on_tensor_cores(poisoned, precision, channels):
    """The product is inside the kernel, but where that would hold more than registers do."""
    values = draw(0, torch.float32)
    x, weights = values(1, channels, 70), poisoned.trials.trial_weights(values, channels)
    found = run_unit(poisoned, x, weights, (0, 33, 70), dilation=3, precision=precision)
    wanted = reference.residual_unit(x.double(), in_double(weights), dilation=3)
    assert_rounded(found, wanted, precision)
    ends = torch.tensor([9], dtype=torch.int32)
    found, _ = poisoned.residual_unit(x, weights, dilation=3, last=True, ends=ends, precision=precision)
    wanted = reference.residual_unit(x[..., :9].double(), in_double(weights), dilation=3)
    assert_rounded(found[..., :9], wanted, precision)


@pytest.mark.parametrize("seed", range(4))
def test_products_on_tensor_cores(poisoned, precision, seed):
    """With one matrix and with two, a bias and none, any widths, rows with gaps between them."""
    choice, values = random.Random(seed), draw(seed, torch.float32)
    batch, width, out_width = (choice.randint(1, most) for most in (3, 90, 150))
    length = choice.choice((2, 129, 300))
    rows = values(batch, length + seed % 2, width)[:, :length]
    bias = values(out_width) if seed > 1 else None
    for steps in (1, 2):
        matrices = [values(width, out_width) for _ in range(steps)]
        parts = [
            rows[:, at : length - steps + 1 + at].double() @ each.double() for at, each in enumerate(matrices)
        ]
        wanted = sum(parts) + (0.0 if bias is None else bias.double())
        found = poisoned.products(rows, matrices, bias, precision=precision)
        assert found.shape == wanted.shape
        assert_rounded(found, wanted, precision)


def test_layers_on_tensor_cores(poisoned, precision):
    """A noise block, a 1x1 convolution, strided ones and a linear layer."""
    layers, values = poisoned.in_precision(precision), draw(3, torch.float32)
    x, noise, bias = values(2, 48, 60), values(2, 1, 60), values(32)
    point, down, up = values(32, 48, 1) / 7, values(32, 48, 4) / 14, values(48, 32, 4) / 14
    wide = x.double()
    assert layers.takes_noise(x, point)
    square = values(48, 48, 1) / 7
    wanted = wide + F.conv1d(wide, square.double()) * noise.double()
    assert_rounded(layers.noise_block(x, square, noise), wanted, precision)
    wanted = F.conv1d(wide, point.double(), bias.double())
    assert_rounded(layers.conv1d(x, point, bias), wanted, precision)
    wanted = F.conv1d(wide, down.double(), None, 2)
    assert_rounded(layers.conv1d(x, down, None, stride=2), wanted, precision)
    wanted = F.conv_transpose1d(wide, up.double(), bias.double(), 2)[..., 2:-2]
    assert_rounded(layers.upsample(x, up, bias), wanted, precision)
    wanted = F.linear(wide.transpose(1, 2), point[:, :, 0].double())
    assert_rounded(layers.linear(x.transpose(1, 2), point[:, :, 0].contiguous()), wanted, precision)


@pytest.mark.parametrize("name", ["fp32", "fp16"])
def test_rows_of_a_unit_end_where_their_clips_end(poisoned, name):
    """What stands behind a row's end is not read, be it NaN, and programs that lie behind it write nothing."""
    dtype, channels, ends = DTYPES[name], 16, (150, 1, 64, 0)
    values = draw(1, dtype)
    x, weights = values(len(ends), channels, ends[0]), poisoned.trials.trial_weights(values, channels)
    clean = x.clone()
    for row, end in enumerate(ends):
        x[row, :, end:] = float("nan")
    lengths = torch.tensor(ends, dtype=torch.int32)
    found, _ = poisoned.residual_unit(x, weights, dilation=9, last=True, ends=lengths)
    for row, end in enumerate(ends[:3]):
        alone = clean[row : row + 1, :, :end]
        wanted = reference.residual_unit(alone.double(), in_double(weights), dilation=9)
        assert_close(found[row : row + 1, :, :end], wanted, dtype)
    assert bool(found[1, :, 64:].isnan().all())
    assert bool(found[3].isnan().all())


def test_what_a_unit_keeps_is_what_plain_layers_keep(poisoned):
    """So the next chunk of a clip may take either way: activated input of the convolution, and x not added yet."""
    values = draw(2, torch.float32)
    x, weights = values(2, 16, 40), poisoned.trials.trial_weights(values, 16)
    _, kept = poisoned.residual_unit(x, weights, dilation=3)
    torch.testing.assert_close(kept.conv, reference.snake(x, weights.first_alpha)[..., -18:])
    assert torch.equal(kept.added, x[..., -9:])


def test_a_chunk_of_half_precision_joins_without_a_seam(poisoned):
    """Bit for bit: what is kept is rounded, and so is what is not."""
    values = draw(3, torch.float16)
    x, weights = values(1, 16, 60), poisoned.trials.trial_weights(values, 16)
    whole = run_unit(poisoned, x, weights, (0, 60), dilation=3)
    assert torch.equal(run_unit(poisoned, x, weights, (0, 31, 60), dilation=3), whole)


@pytest.mark.parametrize(
    ("channels", "length", "around"), [(16, 33, (2, 0)), (48, 1, (0, 5)), (96, 40, (7, 3)), (16, 2, (4, 1))]
)
def test_snake(poisoned, dtype, channels, length, around):
    """Kept, activated, zeros: one pass."""
    before, after = around
    values = draw(length, dtype)
    x, alpha = values(2, channels, length), values(1, channels, 1).abs() + 0.2
    for start in (before, values(2, channels, before)):
        found = poisoned.extend(x, alpha, start, after)
        wide = start if isinstance(start, int) else start.double()
        assert_close(found, reference.extend(x.double(), alpha.double(), wide, after), dtype)


@pytest.mark.parametrize("rows_of_noise", [1, 3])
def test_noise_block(poisoned, dtype, rows_of_noise):
    """The same noise in every row, or each its own; rows end where they end."""
    values = draw(4, dtype)
    x, weight, noise = values(3, 48, 70), values(48, 48, 1) / 7, values(rows_of_noise, 1, 70)
    wanted = x.double() + F.conv1d(x.double(), weight.double()) * noise.double()
    assert_close(poisoned.noise_block(x, weight, noise), wanted, dtype)
    ends = torch.tensor([70, 3, 0], dtype=torch.int32)
    found = poisoned.noise_block(x, weight, noise, ends=ends)
    assert_close(found[0], wanted[0], dtype)
    assert_close(found[1, :, :3], wanted[1, :, :3], dtype)
    assert bool(found[2].isnan().all())


@pytest.mark.parametrize(("channels", "length", "cuts"), [(16, 1, ()), (48, 20, (3,)), (16, 90, (1, 2, 66))])
def test_last_layers(poisoned, dtype, channels, length, cuts):
    """Snake, convolution to one channel and tanh, in chunks, from quiet to loud."""
    values = draw(length, dtype)
    x, alpha = values(2, channels, length), values(1, channels, 1).abs() + 0.2
    for loudness in (1.0, 0.01):
        size = loudness * (7 * channels) ** -0.5
        weight, bias = values(1, channels, 7) * size, values(1) * size
        kept, parts = None, []
        for start, end in itertools.pairwise((0, *cuts, length)):
            piece = x[..., start:end]
            out, kept = poisoned.last_layers(piece, alpha, weight, bias, kept=kept, last=end == length)
            parts.append(out)
        active = reference.snake(x.double(), alpha.double())
        wanted = F.conv1d(active, weight.double(), bias.double(), padding=3).tanh()
        assert_close(torch.cat(parts, dim=-1), wanted, dtype)


def test_last_layers_end_where_rows_end(poisoned):
    """What stands behind is not read."""
    values = draw(5, torch.float32)
    x, alpha, weight, bias = values(2, 16, 80), values(1, 16, 1).abs() + 0.2, values(1, 16, 7), values(1)
    alone, _ = poisoned.last_layers(x[1:, :, :9], alpha, weight, bias, last=True)
    x[1, :, 9:] = float("nan")
    ends = torch.tensor([80, 9], dtype=torch.int32)
    found, _ = poisoned.last_layers(x, alpha, weight, bias, last=True, ends=ends)
    assert torch.equal(found[1:, :, :9], alone)
    assert not bool(found[0].isnan().any())


@pytest.mark.parametrize("stride", [2, 3, 8])
def test_strided_convolutions_are_two_products(interpreted, stride):
    """Down and up, with a batch and without, samples behind the last whole kernel included."""
    values = draw(stride, torch.float32)
    for batch, behind in itertools.product((1, 3), (0, stride - 1)):
        x = values(batch, 24, 5 * stride + behind)
        down, up, bias = values(40, 24, 2 * stride), values(24, 40, 2 * stride), values(40)
        for given in (bias, None):
            found = interpreted.conv1d(x, down, given, stride=stride)
            torch.testing.assert_close(found, F.conv1d(x, down, given, stride), rtol=2e-6, atol=1e-4)
            wanted = F.conv_transpose1d(x, up, given, stride)[..., stride:-stride]
            torch.testing.assert_close(interpreted.upsample(x, up, given), wanted, rtol=2e-6, atol=1e-4)


def test_a_kernel_that_a_card_cannot_run_is_not_used(interpreted, caplog):
    """The first use is a trial beside plain torch. Errors and wrong results are told once."""
    trials, arguments = interpreted.trials, (CPU, torch.float32, 16, 1, "fp32")

    def fails(*_arguments):
        raise RuntimeError("out of shared memory\nand more")

    def is_wrong(*arguments):
        found, wanted = trials.try_snake(*arguments)
        return found * 1.01, wanted

    trials.works.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert trials.works(trials.try_snake, *arguments)
        assert not caplog.records
        for _ in range(2):
            assert not trials.works(fails, *arguments)
            assert not trials.works(is_wrong, *arguments)
    assert len(caplog.records) == 2
    assert "RuntimeError: out of shared memory);" in caplog.text
    for trial in (trials.try_unit, trials.try_noise, trials.try_last, trials.try_products):
        for precision in ("fp32", "tf32x3", "tf32"):
            assert trials.works(trial, *arguments[:-1], precision)
    trials.works.cache_clear()


def test_widths_that_no_kernel_takes(interpreted):
    """Tensor cores multiply 16 at least, and a program has room for 1,024; the last layers take fewer."""
    for channels, taken in ((16, True), (48, True), (768, True), (8, False), (24, False), (2_048, False)):
        x = torch.zeros(1, channels, 1)
        assert interpreted.takes_unit(x, 1) is taken
    for channels, taken in ((64, True), (96, True), (128, True), (144, False), (768, False)):
        assert interpreted.takes_last(torch.zeros(1, channels, 1), torch.zeros(1, channels, 7)) is taken
    weight = torch.zeros(16, 16, 1)
    assert not interpreted.takes_noise(torch.zeros(1, 16, 1), weight)
    assert interpreted.takes_noise(torch.zeros(1, 16, 1, dtype=torch.float16), weight.half())


@pytest.mark.parametrize("layer", [0, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_seeded_noise_is_what_plain_torch_draws(interpreted, layer, dtype):
    """For every bit of seeds and positions, and rows that end in the middle of a block."""
    rows = [(0, 0), (-1, 5), (2**63 - 1, 2**32 - 100), (-(2**63), 2**40 + 3)]
    found = interpreted.normal_rows(torch.tensor(rows), noise.layer_key(layer), 1_500, dtype)
    for row, (seed, start) in zip(found, rows, strict=True):
        wanted = noise.normal_at(torch.arange(start, start + 1_500), seed=seed, layer=layer)
        assert row.dtype is dtype
        torch.testing.assert_close(
            row.double(), wanted, rtol=3e-7 if dtype is torch.float32 else 1e-13, atol=1e-9
        )
    assert interpreted.normal_rows(torch.tensor(rows)[:0], 1, 10, dtype).shape == (0, 10)
    assert interpreted.normal_rows(torch.tensor(rows), 1, 0, dtype).shape == (4, 0)
    trial, wanted = interpreted.trials.try_normal(CPU, dtype, 1, 1, "fp32")
    torch.testing.assert_close(trial.double(), wanted, rtol=1e-5, atol=1e-6)
