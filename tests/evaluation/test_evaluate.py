"""The loop, its figures, the report and the pictures."""

import dataclasses
import json

import numpy as np
import pytest
from sounds import CLIP, Broken, Late, noise, speech

from snac_tok.audio import Waveform, optional
from snac_tok.codec import SNAC
from snac_tok.errors import EvaluationError
from snac_tok.evaluation import (
    MEASURES,
    ClipResult,
    CodecResult,
    Identity,
    SnacRoundTrip,
    draw_portrait,
    draw_quality,
    draw_spectrograms,
    evaluate,
    evaluation_from_json,
    evaluation_to_json,
)
from snac_tok.sources.recording import Recording

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def report():
    """Two clips through three codecs."""
    tiny = SnacRoundTrip(SNAC.from_pretrained("tiny"), name="tiny", num_seeds=2)
    clips = [Recording(name="speech", sound=CLIP), Recording(name="noise", sound=noise(1.2))]
    return evaluate(
        clips, [tiny, Identity(), Late(seconds=0.03)], measures=["mel", "si_sdr", "pesq", "stoi"], num_seeds=2
    )


def test_perfect_sound_is_perfect(report):
    """The identity has the best figures there are; a codec that is only late has them as well, being aligned."""
    for codec in report.codecs[1:]:
        assert codec.summary("mel").mean == pytest.approx(0, abs=2e-2)
        assert codec.summary("pesq").mean == pytest.approx(4.64, abs=0.01)
        assert codec.summary("stoi").mean == pytest.approx(1, abs=1e-3)
        assert codec.summary("si_sdr").mean > 30
    assert [clip.delay_samples for clip in report.codecs[2].clips] == pytest.approx([720, 720], abs=1)
    assert all(clip.delay_samples == 0 for codec in report.codecs[:2] for clip in codec.clips)


def test_a_real_codec_has_all_figures(report):
    """Figures for both seeds, usage of three levels, entropy below the bits really spent, speed."""
    codec = report.codecs[0]
    assert [len(clip.values["pesq"]) for clip in codec.clips] == [2, 2]
    assert codec.summary("pesq").noise_std > 0
    assert codec.summary("pesq").interval > 0
    assert 1 < codec.summary("pesq").mean < report.codecs[1].summary("pesq").mean
    assert [level.level for level in codec.usage] == [0, 1, 2]
    assert 0 < codec.entropy_bits_per_second < codec.bits_per_second
    assert codec.bits_per_second == pytest.approx(codec.nominal_bits_per_second, rel=0.1)
    assert codec.encode_speed > 0 < codec.decode_speed
    assert report.codecs[1].entropy_bits_per_second is None
    assert report.codecs[1].encode_speed is None


def test_without_alignment_a_delay_costs_everything():
    """What a codec does not admit is not repaired."""
    found = evaluate(
        [Recording(name="n", sound=noise())], [Late(seconds=0.03, delays=False)], measures=["si_sdr"]
    ).codecs[0]
    assert found.summary("si_sdr").mean < 0


@pytest.mark.parametrize(
    ("waveform", "without"),
    [
        (
            Waveform(samples=np.zeros((1, 24_000), np.float32), sampling_rate=24_000),
            {"stft", "si_sdr", "pesq", "stoi"},
        ),
        (Waveform(samples=np.ones((1, 1), np.float32), sampling_rate=24_000), {"stft", "pesq", "stoi"}),
    ],
)
def test_clips_without_figures_are_counted(waveform, without):
    """Silence and a single sample have reasons where others have figures, and are in no mean."""
    measures = ["mel", "stft", "si_sdr", "pesq", "stoi"]
    clips = [Recording(name="good", sound=speech()), Recording(name="odd", sound=waveform)]
    codec = evaluate(clips, [Identity()], measures=measures).codecs[0]
    assert set(codec.clips[1].left_out) == without
    assert set(codec.clips[1].values) == set(measures) - without
    for name in without:
        summary = codec.summary(name)
        assert (summary.num_clips, summary.num_left_out, summary.std, summary.interval) == (1, 1, None, None)
        assert codec.left_out(name) == {codec.clips[1].left_out[name]: ["odd"]}


def test_any_rate_and_any_number_of_channels():
    """Stereo is mixed, 8 kHz and 48 kHz are resampled; sound files that cannot be read are noted, not fatal."""
    clips = [
        Recording(name="stereo", sound=noise(0.6, channels=2)),
        Recording(name="8k", sound=noise(0.6, rate=8000)),
        Recording(name="48k", sound=noise(0.6, rate=48_000)),
        Recording(name="missing", sound="nowhere.wav"),
        Recording(name="empty", sound=Waveform(samples=np.zeros((1, 0), np.float32), sampling_rate=8000)),
    ]
    tiny = SnacRoundTrip(SNAC.from_pretrained("tiny"), name="tiny")
    found = evaluate(clips, [tiny], measures=["mel", "stoi"])
    assert [clip.clip for clip in found.codecs[0].clips] == ["stereo", "8k", "48k"]
    assert [failure.source for failure in found.failures] == ["missing", "empty"]


def test_a_codec_that_fails_is_noted():
    """The others go on."""
    found = evaluate(
        [Recording(name="n", sound=noise())], [Broken(name="broken"), Identity()], measures=["mel"]
    )
    assert found.codecs[0].failures[0].reason == "it refuses 24000 samples."
    assert found.codecs[0].summary("mel") is None
    assert found.codecs[0].bits_per_second is None
    assert found.codecs[1].summary("mel").mean == 0
    assert evaluation_from_json(evaluation_to_json(found)) == found


def test_wrong_questions_are_refused():
    """No codec, two of one name, an unknown measure."""
    for codecs in ([], [Identity(), Identity()]):
        with pytest.raises(EvaluationError, match="a name of its own"):
            evaluate([], codecs)
    with pytest.raises(EvaluationError, match="no measure 'mos'; there are mel, stft"):
        evaluate([], [Identity()], measures=["mos"])


def test_measures_that_are_not_installed_are_left_out(monkeypatch):
    """With the reason; the others are taken."""
    real = optional.importlib.import_module

    def without_pesq(name):
        if name == "pesq":
            raise ModuleNotFoundError("No module named 'pesq'")
        return real(name)

    monkeypatch.setattr(optional.importlib, "import_module", without_pesq)
    found = evaluate([Recording(name="n", sound=noise())], [Identity()], measures=["mel", "pesq"])
    assert found.measures == ("mel",)
    assert "snac_tok's extra 'eval'" in found.left_out["pesq"]


def test_a_figure_that_is_not_finite_is_none(monkeypatch):
    """It becomes a reason."""
    odd = dataclasses.replace(MEASURES["mel"], function=lambda *_, **__: float("nan"))
    monkeypatch.setitem(MEASURES, "mel", odd)
    codec = evaluate([Recording(name="n", sound=noise())], [Identity()], measures=["mel"]).codecs[0]
    assert codec.clips[0].left_out == {"mel": "the figure came out as nan."}
    assert codec.summary("mel") is None


def test_summaries_worked_out_by_hand():
    """1, 2, 3: mean 2, deviation 1, and Student's t with two degrees of freedom: 4.303 / √3."""
    clips = tuple(
        ClipResult(
            clip=name,
            duration_seconds=2.0,
            num_bits=100,
            delay_samples=0,
            values={"mel": (value,)},
            left_out={},
        )
        for name, value in (("a", 1.0), ("b", 3.0), ("c", 2.0))
    )
    codec = CodecResult(
        name="x", nominal_bits_per_second=None, encode_seconds=3, decode_seconds=0, clips=clips
    )
    found = codec.summary("mel")
    assert (found.mean, found.std, found.noise_std) == (2, 1, None)
    assert found.interval == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert codec.worst("mel", better="lower", count=2) == [("b", 3.0), ("c", 2.0)]
    assert codec.worst("mel", better="higher", count=1) == [("a", 1.0)]
    assert (codec.bits_per_second, codec.encode_speed, codec.decode_speed) == (50, 2, None)


def test_the_report_survives_json(report):
    """Everything comes back equal; the summaries in it are for readers."""
    text = evaluation_to_json(report)
    assert evaluation_from_json(text) == report
    values = json.loads(text)
    assert (values["format"], values["version"]) == ("snac_tok.evaluation", 1)
    summary = values["codecs"][0]["summary"]
    assert summary["measures"]["pesq"]["mean"] == report.codecs[0].summary("pesq").mean
    assert values["versions"]["snac_tok"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "{}",
        '{"format": "snac_tok.evaluation", "version": 99}',
        '{"format": "snac_tok.evaluation", "version": 1, "codecs": [{}]}',
    ],
)
def test_what_is_no_report_is_refused(text):
    """Each with a sentence."""
    with pytest.raises(EvaluationError, match="report"):
        evaluation_from_json(text)


def test_pictures(report):
    """PNG files, also of silence and of one clip; nothing to draw is refused."""
    assert draw_quality(report).startswith(PNG)
    assert draw_quality(report) == draw_quality(report)
    silence = Waveform(samples=np.zeros((1, 10), np.float32), sampling_rate=8000)
    assert draw_spectrograms({"a": speech(), "silence": silence}).startswith(PNG)
    assert draw_spectrograms({"silence": silence}).startswith(PNG)
    with pytest.raises(EvaluationError, match="no sound"):
        draw_spectrograms({})
    codes = [np.zeros(1, int), np.arange(2), np.arange(4)]
    name = "a$b$ \\ 日本 \x1b" + "x" * 999
    assert draw_portrait({name: silence}, codes, codebook_size=4, frame_seconds=0.002).startswith(PNG)
    for sounds, levels in (({}, codes), ({"a": silence}, []), ({"a": silence}, [np.zeros(0)])):
        with pytest.raises(EvaluationError, match="no sound"):
            draw_portrait(sounds, levels, codebook_size=4, frame_seconds=1)
    with pytest.raises(EvaluationError, match="no figure"):
        draw_quality(evaluate([], [Identity()], measures=["mel"]))
