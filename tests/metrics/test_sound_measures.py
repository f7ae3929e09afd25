"""PESQ, STOI, ViSQOL, SI-SDR and the STFT distance: known extremes, and a reason where there is no figure."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import torch

from snac_tok.audio import Waveform, optional
from snac_tok.errors import MissingDependencyError, SamplingRateError, WaveformError
from snac_tok.metrics import perceptual
from snac_tok.metrics.distances import si_sdr, stft_distance
from snac_tok.metrics.mel import mel_distance
from snac_tok.metrics.perceptual import extended_stoi, pesq_wideband, stoi, visqol, visqol_audio
from snac_tok.metrics.voicing import f0_error, voiced_share, voicing

CLIP = Path(__file__).parents[1] / "speech" / "LJ001-0008.flac"
# measure, what identical sound gets, what it gets at most or at least in noise as loud as the speech
EXTREMES = [
    (pesq_wideband, 4.64, 1.2),
    (stoi, 1.0, 0.8),
    (extended_stoi, 1.0, 0.6),
    (visqol, 5.0, 2.5),
    (si_sdr, 180.0, 1.0),
]
ALL = [pesq_wideband, stoi, extended_stoi, visqol, visqol_audio, si_sdr, stft_distance]


@pytest.fixture(scope="module")
def speech():
    """Real speech and its rate."""
    return sf.read(CLIP, dtype="float32")


def noise_like(samples):
    """Noise of the same power."""
    return np.random.default_rng(0).normal(0, samples.std(), len(samples)).astype(np.float32)


@pytest.mark.parametrize(("measure", "best", "noisy"), EXTREMES)
def test_identical_sound_is_perfect_and_noise_is_not(speech, measure, best, noisy):
    """Identical speech has the best figure there is, speech under noise of its own power a low one."""
    samples, rate = speech
    assert measure(samples, samples, sampling_rate=rate) == pytest.approx(best, rel=0.06)
    assert measure(samples, samples + noise_like(samples), sampling_rate=rate) < noisy


@pytest.mark.usefixtures("one_thread")
def test_torch_keeps_its_threads(speech, monkeypatch):
    """Where numba was imported before, ViSQOL's loops set OpenMP's number of threads, which is torch's."""

    def loops(*_arguments):
        torch.set_num_threads(2)
        return SimpleNamespace(moslqo=3.0)

    monkeypatch.setattr(perceptual, "_visqol_api", lambda _mode: SimpleNamespace(measure_from_arrays=loops))
    samples, rate = speech
    assert visqol(samples, samples, sampling_rate=rate) == 3.0
    assert torch.get_num_threads() == 1


def test_the_distance_grows_with_noise(speech):
    """0 for identical sounds; more noise, more distance."""
    samples, rate = speech
    noise = noise_like(samples)
    found = [stft_distance(samples, samples + share * noise, sampling_rate=rate) for share in (0.0, 0.1, 1.0)]
    assert found[0] == 0 < found[1] < found[2]


@pytest.mark.parametrize("measure", ALL)
@pytest.mark.parametrize("length", [1, 100, 2000])
def test_too_short_a_clip_has_a_reason(speech, measure, length):
    """A clip of one sample, or of less than a measure needs, is an error of ours and no figure."""
    samples, rate = speech
    part = samples[9000 : 9000 + length]
    if measure is si_sdr or (measure is stft_distance and length == 2000):
        assert np.isfinite(measure(part, part, sampling_rate=rate))
    else:
        with pytest.raises(WaveformError, match="at least"):
            measure(part, part, sampling_rate=rate)


@pytest.mark.parametrize("measure", ALL)
def test_silence_has_a_reason(measure, speech):
    """Nothing can be compared with silence; silence as the result is judged where a measure can."""
    samples, rate = speech
    silence = np.zeros_like(samples)
    with pytest.raises(WaveformError, match="silent"):
        measure(silence, samples, sampling_rate=rate)
    if measure in (stoi, extended_stoi, stft_distance):
        assert np.isfinite(measure(samples, silence, sampling_rate=rate))
    else:
        with pytest.raises(WaveformError, match="silent"):
            measure(samples, silence, sampling_rate=rate)


@pytest.mark.parametrize("measure", ALL)
def test_sounds_that_do_not_fit_are_refused(measure, speech):
    """Other lengths, several channels and NaN."""
    samples, rate = speech
    for other in (samples[:-1], np.stack([samples, samples]), np.full_like(samples, np.nan)):
        with pytest.raises(WaveformError):
            measure(samples, other, sampling_rate=rate)


def test_a_click_in_silence_has_a_reason():
    """It is too little for STOI, which pystoi would have called 0.00001."""
    click = np.zeros(32_000, np.float32)
    click[16_000:16_100] = 0.5
    with pytest.raises(WaveformError, match="STOI"):
        stoi(click, click, sampling_rate=16_000)


def test_long_speech_does_not_end_the_process():
    """The package writes behind its table of 50 utterances, which ended the process; stretches never have so many."""
    rate, seconds = 16_000, 60
    noise = np.random.default_rng(0).normal(0, 0.1, rate * seconds)
    bursts = noise * (np.arange(rate * seconds) / rate % 0.45 < 0.225)
    assert pesq_wideband(bursts, bursts, sampling_rate=rate) == pytest.approx(4.64, abs=0.01)


@pytest.mark.parametrize("seconds", [14, 24])
def test_speech_that_is_lost_counts(speech, seconds):
    """A stretch of silence in the place of speech has the lowest score there is, in short and in long sound."""
    samples, rate = speech
    reference = np.resize(samples, seconds * rate)
    lost = reference.copy()
    lost[len(lost) // 2 - rate // 10 :] = 0
    assert pesq_wideband(reference, lost, sampling_rate=rate) < 3


def test_stretches_without_speech_do_not_count():
    """The mean is over stretches in which there is something."""
    rate = 16_000
    noise = np.random.default_rng(0).normal(0, 0.1, rate * 15)
    sound = np.concatenate([noise, np.zeros(rate * 15)])
    assert pesq_wideband(sound, sound, sampling_rate=rate) == pytest.approx(4.64, abs=0.01)


def test_numpys_generator_is_left_alone(speech):
    """STOI takes a speck of noise from it; figures are repeatable, and the caller's numbers go on as they would."""
    samples, rate = speech
    noisy = samples + noise_like(samples)
    np.random.seed(1)
    first = extended_stoi(samples, noisy, sampling_rate=rate)
    after = np.random.standard_normal()
    assert extended_stoi(samples, noisy, sampling_rate=rate) == first
    np.random.seed(1)
    assert np.random.standard_normal() == after


@pytest.mark.parametrize("measure", [pesq_wideband, stoi, si_sdr])
def test_a_missing_package_is_named(measure, speech, monkeypatch):
    """The sentence says which package, for what, and which extra has it."""

    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(optional.importlib, "import_module", missing)
    samples, rate = speech
    with pytest.raises(MissingDependencyError, match="extra 'eval'"):
        measure(samples, samples, sampling_rate=rate)


@pytest.mark.parametrize("measure", [*ALL, voiced_share, f0_error])
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda x: x.tolist(), "the reference is a list; an array .T,. of floats is needed"),
        (lambda x: (x * 32767).astype(np.int16), "the reference is an array of int16"),
        (lambda x: x > 0, "the reference is an array of bool"),
        (lambda x: x.astype(complex), "the reference is an array of complex128"),
        (lambda x: Waveform(samples=x[None], sampling_rate=22_050), "the reference is a Waveform"),
        (lambda _x: None, "the reference is a NoneType"),
        (
            lambda x: np.ma.masked_array(x, mask=x > 0.1),
            "samples of the reference must have no masked values",
        ),
        (lambda x: torch.from_numpy(x).to("meta"), "the reference is on meta; move it to the CPU"),
        (lambda _x: torch.zeros(9, dtype=torch.int16), "the reference is an array of int16"),
    ],
)
def test_what_is_no_array_of_floats_is_refused(speech, measure, wrong, sentence):
    """One sentence for all measures."""
    samples, rate = speech
    with pytest.raises(WaveformError, match=sentence):
        measure(wrong(samples), samples, sampling_rate=rate)
    with pytest.raises(WaveformError, match=sentence.replace("reference", "estimate")):
        measure(samples, wrong(samples), sampling_rate=rate)


@pytest.mark.parametrize("measure", [pesq_wideband, stoi, si_sdr, stft_distance, voiced_share, f0_error])
@pytest.mark.parametrize(
    "same",
    [
        lambda x: x[::-1].copy()[::-1],
        lambda x: x.astype(">f4"),
        lambda x: x.astype(np.longdouble),
        lambda x: np.repeat(x, 2)[::2],
        lambda x: torch.from_numpy(x).requires_grad_(),
        np.ma.masked_array,
        lambda x: np.frombuffer(x.tobytes(), np.float32),
    ],
)
@pytest.mark.filterwarnings("error:The given NumPy array is not writable")
def test_floats_in_any_order_are_the_same_sound(speech, measure, same):
    """Backwards in memory, of another machine, with gaps, read-only, with a gradient."""
    samples, rate = speech
    noisy = samples + 0.1 * noise_like(samples)
    wanted = measure(samples, noisy, sampling_rate=rate)
    assert measure(same(samples), same(noisy), sampling_rate=rate) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("kind", [np.float16, torch.bfloat16])
def test_half_precision_is_widened(speech, kind):
    """To float32, which every measure takes."""
    samples, rate = speech
    half = samples.astype(kind) if kind is np.float16 else torch.from_numpy(samples).to(kind)
    assert si_sdr(half, half, sampling_rate=rate) > 100


@pytest.mark.parametrize("rate", [0, -1, "16000", None, float("nan")])
def test_rates_are_rates(speech, rate):
    """0 divided, and a text was compared with a number."""
    samples, _ = speech
    for measure in (*ALL, voiced_share):
        with pytest.raises(SamplingRateError):
            measure(samples, samples, sampling_rate=rate)


@pytest.mark.parametrize("measure", [mel_distance, voicing])
def test_measures_of_training_want_tensors(speech, measure):
    """An array has no gradient and no device."""
    samples, rate = speech
    tensor = torch.from_numpy(samples)
    with pytest.raises(
        WaveformError, match=r"reference is a ndarray; a torch tensor is needed: torch.as_tensor"
    ):
        measure(samples, tensor, sampling_rate=rate)
    with pytest.raises(WaveformError, match="estimate is a list; a torch tensor"):
        measure(tensor, samples.tolist(), sampling_rate=rate)
