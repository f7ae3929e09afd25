"""The discriminators: the shape of every map, what each looks at, and gradients that stay finite."""

import copy
import math

import pytest
import torch

from snac_tok.errors import ConfigError
from snac_tok.training.discriminators import (
    DiscriminatorConfig,
    Discriminators,
    PeriodDiscriminator,
    SpectrumDiscriminator,
)

TINY = DiscriminatorConfig(periods=(2, 3), fft_sizes=(64, 32), width=2)


def _noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.1


def _built(config: DiscriminatorConfig = TINY) -> Discriminators:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Discriminators(config)


@pytest.mark.parametrize("num_samples", [1, 2, 37, 640, 1000])
@pytest.mark.parametrize("period", [1, 2, 11])
def test_shapes_of_a_period_discriminators_maps(period, num_samples):
    """As its docstring says, at any length."""
    maps = PeriodDiscriminator(period, width=2)(_noise(3, 1, num_samples))
    rows = math.ceil(num_samples / period)
    shapes = [
        (3, 2 * share, math.ceil(rows / divisor), period)
        for share, divisor in zip((1, 4, 16, 32, 32), (3, 9, 27, 81, 81), strict=True)
    ]
    assert [tuple(each.shape) for each in maps] == [*shapes, (3, 1, math.ceil(rows / 81), period)]


@pytest.mark.parametrize("num_samples", [1, 37, 640, 1000])
@pytest.mark.parametrize(
    ("fft_size", "bins"), [(32, (1, 3, 4, 4, 5)), (64, (3, 5, 8, 8, 9)), (2048, (102, 154, 256, 256, 257))]
)
def test_shapes_of_a_spectrum_discriminators_maps(fft_size, bins, num_samples):
    """Five maps a band, then scores over the bands side by side."""
    maps = SpectrumDiscriminator(fft_size, width=2)(_noise(3, 1, num_samples))
    frames = math.ceil(num_samples / (fft_size // 4))
    shapes = [(3, 2, frames, math.ceil(width / divisor)) for width in bins for divisor in (1, 2, 4, 8, 8)]
    together = sum(math.ceil(width / 8) for width in bins)
    assert [tuple(each.shape) for each in maps] == [*shapes, (3, 1, frames, together)]


def test_the_defaults_are_dacs():
    """Five periods, three spectra, and as many parameters as DAC's and SNAC's discriminators."""
    config = DiscriminatorConfig()
    assert (config.periods, config.fft_sizes) == ((2, 3, 5, 7, 11), (2048, 1024, 512))
    with torch.device("meta"):
        network = Discriminators(config)
    assert len(network.discriminators) == 8
    # By DAC's layers: weights, then a length and an offset for each output channel.
    period = (
        5 * (32 + 32 * 128 + 128 * 512 + 512 * 1024 + 1024 * 1024)
        + 3 * 1024
        + 2 * (32 + 128 + 512 + 2048 + 1)
    )
    spectrum = 5 * (27 * (2 * 32 + 3 * 32 * 32) + 9 * 32 * 32 + 2 * 5 * 32) + 9 * 32 + 2
    assert sum(each.numel() for each in network.parameters()) == 5 * period + 3 * spectrum


def test_width_scales_everything():
    """A quarter of the width is about a sixteenth of the parameters."""
    sizes = [
        sum(p.numel() for p in _built(DiscriminatorConfig(width=width)).parameters()) for width in (2, 8)
    ]
    assert 12 < sizes[1] / sizes[0] < 16


def test_phases_do_not_see_each_other():
    """What happens at samples 1, 4, 7 … changes column 1 of a period of 3 alone."""
    network, sound = PeriodDiscriminator(3, width=2), _noise(1, 1, 300)
    changed = sound.clone()
    changed[..., 1::3] += 0.5
    for before, after in zip(network(sound), network(changed), strict=True):
        assert [bool((before[..., phase] != after[..., phase]).any()) for phase in range(3)] == [
            False,
            True,
            False,
        ]


def test_bands_hear_their_share():
    """A tone at a fifth of the spectrum is loudest in the second band's first maps."""
    network = SpectrumDiscriminator(512, width=2)
    for layers in network.band_layers:
        layers[0] = torch.nn.Identity()
        for place in range(1, 5):
            layers[place] = torch.nn.Conv2d(2, 2, 1)
    tone = torch.sin(torch.arange(4096) * math.pi * 0.2)[None, None]
    levels = [float(each.abs().max()) for each in network(tone)[:25:5]]
    assert max(range(5), key=levels.__getitem__) == 1


def test_level_and_offset_do_not_matter():
    """Loudness gives no fake away."""
    network, sound = _built(), _noise(2, 1, 500)
    maps, louder = network(sound), network(sound * 3 + 0.25)
    for stack, other in zip(maps, louder, strict=True):
        for before, after in zip(stack, other, strict=True):
            torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-4)


def test_rows_do_not_see_each_other():
    """A row of a batch scores as it does alone."""
    network, sound = _built(), _noise(3, 1, 400)
    for together, alone in zip(network(sound), network(sound[1:2]), strict=True):
        torch.testing.assert_close(together[-1][1:2], alone[-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("level", [0.0, 1e-12, 1e-4, 1.0])
def test_gradients_are_finite_at_every_level(level):
    """Evening out the level of silence divides by no zero."""
    network, sound = _built(), (_noise(2, 1, 700) * level).requires_grad_()
    sum(stack[-1].square().sum() for stack in network(sound)).backward()
    assert torch.isfinite(sound.grad).all()
    assert sound.grad.any()
    assert all(torch.isfinite(each.grad).all() for each in network.parameters())


def test_every_parameter_learns():
    """No part is left without a gradient."""
    network = _built()
    sum(stack[-1].sum() for stack in network(_noise(2, 1, 700))).backward()
    assert all(each.grad is not None for each in network.parameters())


@pytest.mark.parametrize(("periods", "fft_sizes"), [((), (32,)), ((2,), ())])
def test_one_kind_alone_will_do(periods, fft_sizes):
    """A tuple may be empty."""
    network = _built(DiscriminatorConfig(periods=periods, fft_sizes=fft_sizes, width=2))
    assert len(network(_noise(1, 1, 100))) == 1


def test_autocast_changes_little():
    """Spectra stay in float32; convolutions may round."""
    network, sound = _built(), _noise(2, 1, 700)
    plain = network(sound)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(sound)
    for exact, near in zip(plain, rounded, strict=True):
        assert near[0].dtype == torch.bfloat16
        torch.testing.assert_close(near[-1].float(), exact[-1], rtol=0.05, atol=0.02)


def test_weights_come_back():
    """A state dict holds all there is, and a copy is a copy."""
    network, other = _built(), Discriminators(TINY)
    other.load_state_dict(network.state_dict())
    twin = copy.deepcopy(network)
    sound = _noise(1, 1, 300)
    for first, second, third in zip(network(sound), other(sound), twin(sound), strict=True):
        assert torch.equal(first[-1], second[-1])
        assert torch.equal(first[-1], third[-1])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"periods": (), "fft_sizes": ()}, "both empty"),
        ({"width": 0}, "width is 0"),
        ({"periods": (2, 0)}, "periods has 0"),
        ({"fft_sizes": (16,)}, "fft_sizes has 16"),
        ({"fft_sizes": (514,)}, "fft_sizes has 514"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, words):
    """At construction, by name."""
    with pytest.raises(ConfigError, match=words):
        DiscriminatorConfig(**settings)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_agrees():
    """The same scores there."""
    network, sound = _built(), _noise(2, 1, 700)
    there = copy.deepcopy(network).cuda()(sound.cuda())
    for near, exact in zip(there, network(sound), strict=True):
        torch.testing.assert_close(near[-1].cpu(), exact[-1], rtol=1e-2, atol=1e-3)


def test_gradients_in_bfloat16_are_near_those_in_float32():
    """Also in bands that come down to a single bin, whose innermost-channels gradients torch gets wrong."""
    torch.manual_seed(0)
    discriminators = Discriminators(DiscriminatorConfig(periods=(2,), fft_sizes=(64, 128), width=4))
    audio = torch.randn(4, 1, 1024)
    gradients = []
    for on in (False, True):
        discriminators.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=on):
            scores = [maps[-1] for maps in discriminators(audio)]
        sum((score.float() - 1).square().mean() for score in scores).backward()
        gradients.append({name: value.grad.clone() for name, value in discriminators.named_parameters()})
    for name, exact in gradients[0].items():
        assert (exact - gradients[1][name]).norm() <= 0.2 * exact.norm() + 1e-3, name


def test_no_score_or_gradient_in_bfloat16_reads_memory_that_nobody_wrote():
    """On CPUs with AMX a strided kernel over one or two bins did: freed memory full of NaN shows it, at every width."""
    torch.manual_seed(0)
    for fft_size in (32, 64, 96, 128, 256):
        network = Discriminators(DiscriminatorConfig(periods=(), fft_sizes=(fft_size,), width=4))
        for num_samples in (1, 40, 1024):
            sound = torch.randn(2, 1, num_samples, requires_grad=True)
            with torch.autocast("cpu", torch.bfloat16):
                _poison_freed_memory()
                maps = network(sound)[0]
            _poison_freed_memory()
            sum(each.float().square().sum() for each in maps).backward()
            assert all(torch.isfinite(each).all() for each in maps), fft_size
            assert torch.isfinite(sound.grad).all(), fft_size
            assert all(torch.isfinite(each.grad).all() for each in network.parameters()), fft_size
            network.zero_grad()


def _poison_freed_memory():
    """Leave NaN in the memory that the next small tensors get."""
    for exponent in range(8, 20, 2):
        blocks = [torch.full((2**exponent,), torch.nan) for _ in range(12)]
        del blocks
