"""Round trips: bits counted, sound of the right length, and clear words where a codec cannot be had."""

import shutil

import numpy as np
import pytest
import torch
from sounds import noise, speech

from snac_tok.audio import Waveform
from snac_tok.codec import SNAC
from snac_tok.errors import EvaluationError, MissingDependencyError
from snac_tok.evaluation import (
    CODEC2_MODES,
    Codec2RoundTrip,
    OpusRoundTrip,
    SnacRoundTrip,
    find_delay,
    fitted,
    round_trip_from_spec,
    round_trips_from_specs,
)
from snac_tok.evaluation.ogg_bits import packet_sizes
from snac_tok.metrics.perceptual import stoi

needs_opus = pytest.mark.skipif(shutil.which("opusenc") is None, reason="opus-tools are not installed")
needs_codec2 = pytest.mark.skipif(shutil.which("c2enc") is None, reason="codec2 is not installed")


@pytest.fixture(scope="module")
def tiny():
    """The embedded codec."""
    return SNAC.from_pretrained("tiny")


def intelligibility(waveform, trip):
    """STOI after alignment at the output's rate."""
    from snac_tok.audio import resample

    sound = trip.sounds[0]
    reference = resample(waveform, sound.sampling_rate).samples[0]
    delay = find_delay(reference, sound.samples[0], sampling_rate=sound.sampling_rate)
    return stoi(
        reference, fitted(sound.samples[0], len(reference), delay=delay), sampling_rate=sound.sampling_rate
    )


def test_snac_is_the_codec_itself(tiny):
    """The sound is what the codec's own decode gives for each seed; bits are codes times 12."""
    waveform = noise(1.0)
    trip = SnacRoundTrip(tiny, name="tiny", num_seeds=2).run(waveform)
    audio = torch.from_numpy(waveform.samples)[None]
    codes = tiny.encode(audio)
    for seed, sound in enumerate(trip.sounds):
        assert np.array_equal(sound.samples, tiny.decode(codes, noise=seed)[0, :, :24_000].numpy())
    assert not np.array_equal(trip.sounds[0].samples, trip.sounds[1].samples)
    assert trip.num_bits == 84 * 12
    assert [level.tolist() for level in trip.codes] == [level[0].tolist() for level in codes]
    assert trip.encode_seconds > 0 < trip.decode_seconds


def test_snac_with_fewer_levels(tiny):
    """The first level alone has a seventh of the bits, and a name that says so."""
    first = SnacRoundTrip(tiny, name="tiny", num_levels=1)
    assert (first.name, first.run(noise(1.0)).num_bits) == ("tiny 1/3", 12 * 12)
    assert first.nominal_bits_per_second == pytest.approx(tiny.config.bits_per_second / 7)
    for wrong in (0, 4):
        with pytest.raises(EvaluationError, match="levels 1 to 3"):
            SnacRoundTrip(tiny, name="tiny", num_levels=wrong)
    with pytest.raises(EvaluationError, match="at least once"):
        SnacRoundTrip(tiny, name="tiny", num_seeds=0)


@needs_opus
def test_opus():
    """Speech stays intelligible, comes in time, and costs about what was asked for."""
    waveform = speech()
    trip = OpusRoundTrip(kbps=8).run(waveform)
    assert intelligibility(waveform, trip) > 0.9
    assert trip.num_bits / waveform.duration_seconds == pytest.approx(8000, rel=0.2)
    assert trip.sounds[0].duration_seconds == pytest.approx(waveform.duration_seconds, abs=1e-3)


@needs_codec2
@pytest.mark.parametrize("mode", CODEC2_MODES)
def test_codec2(mode):
    """Each mode costs its nominal bits, whatever whole bytes its files hold; speech stays intelligible."""
    waveform = speech()
    round_trip = Codec2RoundTrip(mode=mode)
    trip = round_trip.run(waveform)
    assert trip.num_bits / waveform.duration_seconds == pytest.approx(
        round_trip.nominal_bits_per_second, rel=0.06
    )
    assert intelligibility(waveform, trip) > (0.65 if mode in ("450", "700C") else 0.8)
    assert trip.sounds[0].duration_seconds >= waveform.duration_seconds


@pytest.mark.parametrize(
    "spec", [pytest.param("opus", marks=needs_opus), pytest.param("codec2", marks=needs_codec2)]
)
@pytest.mark.parametrize("samples", [np.zeros((1, 1)), np.zeros((1, 24_000)), np.full((1, 24_000), 1.5)])
def test_programs_take_any_sound(spec, samples):
    """One sample, silence and sound beyond full scale."""
    waveform = Waveform(samples=samples.astype(np.float32), sampling_rate=24_000)
    trip = round_trip_from_spec(spec).run(waveform)
    assert np.isfinite(trip.sounds[0].samples).all()
    assert trip.num_bits > 0


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("mp3", "no codec 'mp3'"),
        ("opus:high", "'high'"),
        ("opus:2", "6 to 256"),
        ("opus:nan", "6 to 256"),
        ("codec2:701", "3200, 2400"),
        ("encodec", "encodec:FOLDER"),
        ("dac:@2", "dac:FOLDER"),
        ("encodec:nowhere", "config.json"),
        ("identity:1", "no codec"),
    ],
)
def test_what_cannot_be_compared_is_said(spec, words):
    """One sentence that names what there is."""
    with pytest.raises(EvaluationError, match=words):
        round_trip_from_spec(spec)


@pytest.mark.parametrize(("spec", "package"), [("opus:6", "opus-tools"), ("codec2:1300", "codec2")])
def test_a_missing_program_is_named(spec, package, monkeypatch):
    """With the Debian package that has it."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingDependencyError, match=f"apt-get install {package}"):
        round_trip_from_spec(spec)


def test_what_is_no_ogg_is_refused():
    """Another file, and one that breaks off inside a page's header."""
    for content in (b"RIFF" + bytes(100), b"OggS"):
        with pytest.raises(EvaluationError, match="byte 0"):
            packet_sizes(content)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders with tiny EnCodec and DAC networks of random weights, in transformers' form."""
    from transformers import DacConfig, DacModel, EncodecConfig, EncodecModel

    root = tmp_path_factory.mktemp("codecs")
    torch.manual_seed(0)
    encodec = EncodecConfig(
        num_filters=2, hidden_size=8, num_lstm_layers=1, codebook_size=64, target_bandwidths=[0.9, 1.8]
    )
    EncodecModel(encodec).save_pretrained(root / "encodec")
    dac = DacConfig(
        encoder_hidden_size=4,
        downsampling_ratios=[4, 8],
        decoder_hidden_size=16,
        n_codebooks=3,
        codebook_size=32,
    )
    DacModel(dac).save_pretrained(root / "dac")
    return root


def test_codecs_in_folders(folders):
    """Their codes are counted: two codebooks of 6 bits at 75 Hz, three of 5 bits at 500 Hz."""
    for kind, amount, bits, levels in (
        ("encodec", "@0.9", 900, 2),
        ("encodec", "@1.8", 1800, 4),
        ("dac", "", 7500, 3),
    ):
        round_trip = round_trip_from_spec(f"{kind}:{folders / kind}{amount}")
        trip = round_trip.run(noise(1.0, rate=16_000))
        assert (len(trip.codes), trip.num_bits) == (levels, bits)
        assert round_trip.nominal_bits_per_second == bits
        assert trip.sounds[0].duration_seconds == pytest.approx(1.0, abs=0.05)
        assert round_trip.name.startswith(f"{kind}:{kind}@")


def test_codecs_in_folders_that_do_not_fit(folders, tmp_path):
    """Another amount, another codec's folder, damaged weights: each a sentence."""
    with pytest.raises(EvaluationError, match=r"0\.9, 1\.8"):
        round_trip_from_spec(f"encodec:{folders / 'encodec'}@3")
    with pytest.raises(EvaluationError, match="1, 2, 3"):
        round_trip_from_spec(f"dac:{folders / 'dac'}@4")
    with pytest.raises(EvaluationError, match="model type 'encodec'"):
        round_trip_from_spec(f"dac:{folders / 'encodec'}")
    shutil.copytree(folders / "dac", tmp_path / "dac")
    (tmp_path / "dac" / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(EvaluationError, match="cannot be loaded"):
        round_trip_from_spec(f"dac:{tmp_path / 'dac'}")


def test_codecs_in_folders_of_one_name_are_told_apart(folders, tmp_path, monkeypatch):
    """By as many parents as it takes, whatever way they are named; the amount alone would not say which is which."""
    for place in ("a/x", "b/x", "c"):
        shutil.copytree(folders / "dac", tmp_path / place / "m")
    monkeypatch.chdir(tmp_path / "c" / "m")

    def names(*specs):
        return [trip.name for trip in round_trips_from_specs([f"dac:{spec}" for spec in specs])]

    assert names("../../a/x/m", "../../b/x/m", ".") == ["dac:a/x/m@3", "dac:b/x/m@3", "dac:c/m@3"]
    assert names("../../a/x/m@1", "../m@2") == ["dac:x/m@1", "dac:c/m@2"]
    assert names(".", tmp_path / "c/m@1") == ["dac:m@3", "dac:m@1"]


def test_equal_codecs_are_one(folders, tmp_path):
    """The default amount named, a link to the folder, another way to write a number."""
    (tmp_path / "link").symlink_to(folders / "dac")
    dac = f"dac:{folders / 'dac'}"
    found = round_trips_from_specs([dac, f"{dac}@3", f"{dac}/@3.0", f"dac:{tmp_path / 'link'}", f"{dac}@1"])
    assert [trip.name for trip in found] == ["dac:dac@3", "dac:dac@1"]
    encodec = f"encodec:{folders / 'encodec'}"
    assert len(round_trips_from_specs([encodec, f"{encodec}@0.9", "identity", "identity"])) == 2


def test_all_codecs_are_known_before_one_is_loaded(folders, monkeypatch):
    """What is wrong with the last one is said before the weights of the first are read."""
    monkeypatch.setattr("snac_tok.evaluation.local_codecs._load", lambda *_: pytest.fail("loaded"))
    for wrong in ("dac:nowhere", f"dac:{folders / 'dac'}@4", "mp3"):
        with pytest.raises(EvaluationError):
            round_trips_from_specs([f"dac:{folders / 'dac'}", wrong])
