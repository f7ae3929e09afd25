"""Waveform, channel policies, and everything `as_waveform` takes or refuses."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from snac_tok.audio import (
    MAX_CHANNELS,
    Waveform,
    as_waveform,
    check_sampling_rate,
    select_channels,
    to_mono,
)
from snac_tok.audio.waveform import check_count
from snac_tok.errors import AudioError, AudioFileError, SamplingRateError, WaveformError

SPEECH = Path(__file__).parents[1] / "speech" / "LJ001-0002.flac"
RATE = 24000


def make(samples) -> Waveform:
    """A waveform at 24 kHz."""
    return Waveform(samples=np.asarray(samples, np.float32), sampling_rate=RATE)


def test_a_waveform_knows_its_sizes():
    """Channels, samples and seconds follow from the array and the rate."""
    waveform = make(np.zeros((2, 36000)))
    assert (waveform.num_channels, waveform.num_samples, waveform.duration_seconds) == (2, 36000, 1.5)
    assert repr(waveform) == "Waveform(2 channels, 36000 samples, 24000 Hz, 1.500 s, silent)"
    half = make([[0.1, -0.5]])
    assert repr(half) == "Waveform(1 channel, 2 samples, 24000 Hz, 0.000 s, peak -6.0 dBFS)"
    assert repr(make(np.zeros((1, 0)))).endswith("0.000 s, silent)")


def embedded_sound(page):
    """The sound that a player holds."""
    encoded = page.split("base64,")[1].split('"')[0]
    return sf.read(io.BytesIO(base64.b64decode(encoded)), always_2d=True)


def test_a_notebook_shows_a_player():
    """It holds the sound itself, and the words of repr."""
    samples = np.random.default_rng(0).normal(0, 0.2, (2, 2400)).clip(-0.9, 0.9)
    page = make(samples)._repr_html_()
    assert "<audio controls" in page
    assert "2 channels, 2400 samples" in page
    sound, rate = embedded_sound(page)
    assert rate == RATE
    np.testing.assert_allclose(sound.T, samples, atol=1 / 32768)


def test_a_player_of_what_does_not_fit():
    """A long recording is cut with a word, loud values are clipped, surplus channels are left out."""
    page = make(np.zeros((1, 121 * RATE)))._repr_html_()
    assert "the player has the first 120 s" in page
    assert len(embedded_sound(page)[0]) == 120 * RATE
    assert embedded_sound(make([[3.0, -3.0]])._repr_html_())[0].min() == -1
    assert embedded_sound(make(np.zeros((12, 10)))._repr_html_())[0].shape == (10, 8)
    assert "<audio" not in make(np.zeros((1, 0)))._repr_html_()


def test_a_waveform_may_be_empty():
    """Zero samples are a fact, not an error: who cannot use them says so."""
    assert make(np.zeros((1, 0))).num_samples == 0


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(5, np.float32),
        np.zeros((1, 1, 5), np.float32),
        np.zeros((1, 5), np.float64),
        np.zeros((0, 5), np.float32),
        np.zeros((MAX_CHANNELS + 1, 5), np.float32),
        np.zeros((5, 2), np.float32).T,
        [[0.0]],
    ],
)
def test_a_waveform_is_strict_about_its_array(samples):
    """Only (C, T) contiguous float32 of 1 to 32 channels is held."""
    with pytest.raises(WaveformError):
        Waveform(samples=samples, sampling_rate=RATE)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_with_number_and_place(bad):
    """The message names how many, and the first channel and sample."""
    samples = np.zeros((2, 10), np.float32)
    samples[1, 4] = samples[0, 7] = bad
    with pytest.raises(WaveformError, match=r"2 of 20 samples .* channel 1 at sample 4"):
        make(samples)


@pytest.mark.parametrize(
    "rate", [0, -1, 999, 768_001, True, 24000.5, 1e300, float("inf"), "24000", float("nan"), 2**40]
)
def test_impossible_rates_are_refused(rate):
    """A rate is a whole number of Hz in a range that exists."""
    with pytest.raises(SamplingRateError, match="whole number of Hz"):
        check_sampling_rate(rate)


@pytest.mark.parametrize(
    "rate", [np.int64(8000), 8000.0, np.float32(8000), np.float64(8000), torch.tensor(8000)]
)
def test_a_whole_number_of_any_type_becomes_an_int(rate):
    """Rates of data frames, floats too as soon as a row lacks its own, are welcome and do not leak."""
    found = as_waveform(np.zeros(4, np.float32), sampling_rate=rate).sampling_rate
    assert (type(found), found) == (int, 8000)


def test_a_waveform_is_an_array_with_a_length():
    """Numpy takes it as its samples, (C, T), without a copy unless asked; len counts samples in time."""
    waveform = make([[0.5, 0.25, 0.0], [1.0, 0.0, 0.0]])
    assert np.array_equal(np.asarray(waveform), waveform.samples)
    assert np.shares_memory(np.asarray(waveform), waveform.samples)
    assert not np.shares_memory(np.array(waveform), waveform.samples)
    assert np.asarray(waveform, np.float64).dtype == np.float64
    assert len(waveform) == waveform.num_samples == 3
    assert np.abs(waveform).max() == 1.0


def test_a_list_of_waveforms_is_no_recording():
    """Stacked by numpy they would be channels, and their rates lost."""
    with pytest.raises(WaveformError, match="several recordings: pass them one by one"):
        as_waveform([make([[0.0]]), make([[0.0]])], sampling_rate=RATE)


@pytest.mark.parametrize("count", [True, False, 1.0, "1", None, -1, 0, 33, np.True_])
def test_counts_that_are_none_are_refused(count):
    """What it is, what is allowed and what came are in one sentence."""
    with pytest.raises(AudioError, match="num_channels must be a whole number from 1 to 32, got"):
        check_count(count, what="num_channels", least=1, most=MAX_CHANNELS)


def test_channel_policies():
    """Mean, left, right and each mean what they say."""
    stereo = make([[1.0, 0.0, -1.0], [0.0, 0.5, -0.5]])
    assert to_mono(stereo).samples.tolist() == [[0.5, 0.25, -0.75]]
    assert to_mono(stereo, channels="left").samples.tolist() == [[1.0, 0.0, -1.0]]
    assert to_mono(stereo, channels="right").samples.tolist() == [[0.0, 0.5, -0.5]]
    assert [one.samples.tolist() for one in select_channels(stereo, "each")] == [
        [[1.0, 0.0, -1.0]],
        [[0.0, 0.5, -0.5]],
    ]


@pytest.mark.parametrize("policy", ["mean", "left", "right", "each"])
def test_mono_passes_every_policy_untouched(policy):
    """One channel is one channel: no copy, no rounding."""
    mono = make([[0.1, 0.2]])
    (selected,) = select_channels(mono, policy)
    assert selected is mono


def test_unknown_policies_are_refused():
    """A misspelt policy lists the real ones; to_mono cannot return two."""
    with pytest.raises(WaveformError, match="'each' or a channel's number from 0 to 31, got 'both'"):
        select_channels(make([[0.0]]), "both")
    with pytest.raises(WaveformError, match="got 'each'"):
        to_mono(make([[0.0], [0.0]]), channels="each")


@given(
    npst.arrays(
        np.float32, st.tuples(st.integers(1, 4), st.integers(0, 50)), elements=st.floats(-2, 2, width=32)
    )
)
def test_every_policy_gives_mono_of_the_same_length(samples):
    """Law: policies change the number of channels and nothing else."""
    for policy in ("mean", "left", "right", "each"):
        try:
            chosen = select_channels(make(samples), policy)
        except WaveformError:  # a mean of nothing is refused
            assert policy == "mean"
            assert np.abs(samples.mean(axis=0)).max() < 0.2
            continue
        assert {one.samples.shape for one in chosen} == {(1, samples.shape[1])}


@given(npst.arrays(np.int16, st.integers(0, 64)))
def test_int16_scaling_is_exact(pcm):
    """Law: k becomes k / 32768, without rounding."""
    assert np.array_equal(as_waveform(pcm, sampling_rate=RATE).samples[0].astype(np.float64) * 32768, pcm)


@pytest.mark.parametrize(
    ("dtype", "lowest", "middle", "highest"),
    [
        (np.uint8, 0, 128, 127 / 128),
        (np.int8, -128, 0, 127 / 128),
        (np.int16, -32768, 0, 1 - 2**-15),
        (np.int32, -(2**31), 0, 1.0),
    ],
)
def test_integer_pcm_spans_full_scale(dtype, lowest, middle, highest):
    """The lowest value is -1, silence 0, the highest just below 1 (float32 rounds int32's to 1)."""
    pcm = np.array([lowest, middle, np.iinfo(dtype).max], dtype)
    assert as_waveform(pcm, sampling_rate=RATE).samples[0].tolist() == [-1.0, 0.0, highest]


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.uint32, bool, np.complex64, object, "U3"])
def test_types_without_a_known_full_scale_are_refused(dtype):
    """int64, bool and the like: nobody knows what 1.0 would be."""
    with pytest.raises(WaveformError, match="no known full scale"):
        as_waveform(np.zeros(3, dtype), sampling_rate=RATE)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4,), (1, 4), (2, 4)])
def test_float_arrays_of_any_width(dtype, shape):
    """1-D, (1, T) and (C, T) floats are taken as they are."""
    waveform = as_waveform(np.full(shape, 0.25, dtype), sampling_rate=RATE)
    assert waveform.samples.shape == (shape[0] if len(shape) > 1 else 1, 4)
    assert (waveform.samples == 0.25).all()


def test_float32_is_shared_not_copied():
    """A long recording is not doubled on the way in."""
    array = np.zeros(10, np.float32)
    assert np.shares_memory(as_waveform(array, sampling_rate=RATE).samples, array)


def test_float64_beyond_float32_is_refused_without_a_warning():
    """1e300 is named as what it is, not as the infinity that float32 would make of it."""
    with pytest.raises(WaveformError, match=r"reach ±1e\+300, .* no recording is that loud"):
        as_waveform(np.array([0.0, 1e300]), sampling_rate=RATE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_torch_tensors(dtype):
    """Any float tensor, with a gradient too; int16 tensors are PCM."""
    tensor = torch.full((2, 3), 0.5, dtype=dtype, requires_grad=True)
    assert as_waveform(tensor, sampling_rate=RATE).samples.tolist() == [[0.5] * 3] * 2
    pcm = torch.tensor([16384], dtype=torch.int16)
    assert as_waveform(pcm, sampling_rate=RATE).samples.tolist() == [[0.5]]


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i2", ">i4", "<i2"])
def test_the_order_of_bytes_changes_nothing(dtype):
    """What a file of another machine was read into is the same sound."""
    values = np.array([0, 1, -1]) * (2**30 if dtype.endswith("i4") else 2**14 if "i" in dtype else 0.5)
    expected = as_waveform(values.astype(np.dtype(dtype).newbyteorder("=")), sampling_rate=RATE)
    assert np.array_equal(as_waveform(values.astype(dtype), sampling_rate=RATE).samples, expected.samples)


def test_arrays_that_do_not_lie_in_a_row():
    """Every second sample, a transposed or a reversed array: copied, the same values."""
    array = np.arange(12, dtype=np.float32).reshape(6, 2) / 12
    assert np.array_equal(as_waveform(array.T, sampling_rate=RATE).samples, array.T)
    assert np.array_equal(as_waveform(array[::-2, 0], sampling_rate=RATE).samples[0], array[::-2, 0])


@pytest.mark.parametrize("make_array", [np.zeros, torch.zeros])
@pytest.mark.parametrize("shape", [(3, 100), (4, 24000), (32, 10), (5, 2)])
def test_more_than_two_rows_may_be_a_batch(make_array, shape):
    """Averaged, four clips would be one; a keyword, a batch of one or a dict says that rows are channels."""
    array = make_array(shape)
    with pytest.raises(WaveformError, match=rf"may be {shape[0]} clips or {shape[0]} channels of one"):
        as_waveform(array, sampling_rate=RATE)
    for told in (
        as_waveform(array, sampling_rate=RATE, rows_are_channels=True),
        as_waveform(array[None], sampling_rate=RATE),
        as_waveform({"array": array, "sampling_rate": RATE}),
    ):
        assert told.samples.shape == shape


@pytest.mark.parametrize("shape", [(0, 5), (33, 5)])
def test_no_channels_and_too_many_are_refused_however_told(shape):
    """Being told does not make them possible."""
    with pytest.raises(WaveformError, match="32"):
        as_waveform(np.zeros(shape), sampling_rate=RATE, rows_are_channels=True)


def test_lists_of_floats():
    """A list is one recording; integers in it have no scale, ragged rows no length."""
    assert as_waveform([0.0, 0.5], sampling_rate=RATE).samples.tolist() == [[0.0, 0.5]]
    assert as_waveform([[0.0, 0.5], [1.0, 1.0]], sampling_rate=RATE).num_channels == 2
    with pytest.raises(WaveformError, match="int64"):
        as_waveform([0, 1], sampling_rate=RATE)
    with pytest.raises(WaveformError, match="different lengths"):
        as_waveform([[0.0], [0.0, 1.0]], sampling_rate=RATE)


def test_transposed_arrays_are_refused_with_the_cure():
    """(T, C) is not taken for T channels."""
    with pytest.raises(WaveformError, match="transpose"):
        as_waveform(np.zeros((24000, 2)), sampling_rate=RATE)


@pytest.mark.parametrize(("shape", "channels"), [((1, 1, 5), 1), ((1, 2, 5), 2), ((1, 1, 0), 1)])
@pytest.mark.parametrize("make", [np.zeros, torch.zeros])
def test_a_batch_of_one_is_one_recording(make, shape, channels):
    """What codecs decode, (1, 1, T), needs no squeezing."""
    waveform = as_waveform(make(shape), sampling_rate=RATE)
    assert waveform.samples.shape == (channels, shape[-1])


def test_a_batch_of_one_is_shared_not_copied():
    """The float32 array behind it is the same memory."""
    array = np.zeros((1, 1, 10), np.float32)
    assert np.shares_memory(as_waveform(array, sampling_rate=RATE).samples, array)


@pytest.mark.parametrize("shape", [(), (2, 1, 5), (0, 1, 5), (1, 1, 1, 5)])
def test_other_dimensions_are_refused(shape):
    """A scalar is no recording, a batch is several."""
    with pytest.raises(WaveformError, match="one by one" if shape else "a single number is not sound"):
        as_waveform(np.zeros(shape), sampling_rate=RATE)


@pytest.mark.parametrize("thing", [None, 3, object(), {1.0, 2.0}])
def test_what_is_no_sound_is_refused(thing):
    """The message lists what is sound."""
    with pytest.raises(WaveformError, match=f"got {type(thing).__name__}"):
        as_waveform(thing, sampling_rate=RATE)


def test_bare_samples_need_a_rate():
    """No default rate exists: silence about it is an error."""
    with pytest.raises(SamplingRateError, match="sampling_rate="):
        as_waveform(np.zeros(3, np.float32))


def sources():
    """One clip in every form that knows its own rate."""
    data = SPEECH.read_bytes()
    samples, rate = sf.read(SPEECH, dtype="float32")
    decoded = SimpleNamespace(data=torch.from_numpy(samples)[None], sample_rate=rate)
    return {
        "str": str(SPEECH),
        "Path": SPEECH,
        "bytes": data,
        "bytearray": bytearray(data),
        "file": io.BytesIO(data),
        "dict of array": {"array": samples.astype(np.float64), "sampling_rate": rate, "path": "gone.wav"},
        "dict of bytes": {"bytes": data, "path": "gone.wav"},
        "dict of path": {"bytes": None, "path": str(SPEECH)},
        "decoder": SimpleNamespace(get_all_samples=lambda: decoded),
        "decoded": decoded,
        "waveform": Waveform(samples=samples[None], sampling_rate=rate),
    }


@pytest.mark.parametrize("kind", sources())
def test_everything_that_knows_its_rate_gives_the_same_waveform(kind):
    """One clip handed in eleven ways; the agreeing rate is fine, another never silently accepted."""
    expected, rate = sf.read(SPEECH, dtype="float32")
    waveform = as_waveform(sources()[kind])
    assert waveform.sampling_rate == rate
    assert np.array_equal(waveform.samples[0], expected)
    assert as_waveform(sources()[kind], sampling_rate=rate).num_samples == len(expected)
    with pytest.raises(SamplingRateError, match="22050 Hz, sampling_rate=24000"):
        as_waveform(sources()[kind], sampling_rate=24000)


def test_dicts_with_nothing_in_them():
    """A dict without sound says what it had; one without a rate asks for it."""
    with pytest.raises(WaveformError, match="this one has: text"):
        as_waveform({"text": "hello"})
    with pytest.raises(SamplingRateError, match="no sampling rate"):
        as_waveform({"array": [0.0]})
    assert as_waveform({"array": [0.0]}, sampling_rate=RATE).sampling_rate == RATE


def test_damaged_bytes_in_a_dict_are_named_by_their_path():
    """A row of a data set is found again by its path."""
    with pytest.raises(AudioFileError, match=r"clip7\.wav"):
        as_waveform({"bytes": b"no sound at all", "path": "clip7.wav"})


def test_a_decoder_that_fails_is_an_audio_file_error():
    """Torchcodec's RuntimeError for damaged sound becomes ours."""

    def fail():
        raise RuntimeError("Invalid data found\nwith a long tail")

    with pytest.raises(AudioFileError, match=r"cannot decode it \(Invalid data found\)"):
        as_waveform(SimpleNamespace(get_all_samples=fail))
