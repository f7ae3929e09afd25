"""The demo page's parts without a browser: what is read, refused and repaired, and what is said without gradio."""

import io
import re
import subprocess
import sys
import threading
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from snac_tok import SnacTokenizer, Waveform, write_audio
from snac_tok.cli.program import program
from snac_tok.demo import listening, markup
from snac_tok.demo.handlers import Handlers
from snac_tok.demo.listening import (
    fitting_presets,
    record,
    seeds_in,
    sounds_to_compare,
    written,
)
from snac_tok.demo.speech import KeptSpeech, speech_in
from snac_tok.errors import TokenError, WaveformError

FRAME = 2048


@pytest.fixture(scope="module")
def tok():
    """The embedded codec with orpheus ids."""
    return SnacTokenizer.from_pretrained("tiny", preset="orpheus")


@pytest.fixture(scope="module")
def ids(tok):
    """Ten frames of noise."""
    noise = np.random.default_rng(0).standard_normal(10 * FRAME).astype(np.float32) * 0.1
    return tok.encode(noise, sampling_rate=24_000)


def test_the_wav_of_speech_is_what_decoding_makes(tok, ids):
    """Its header tells the length before any frame is decoded, and the sound is the whole's."""
    speech = speech_in(
        f"Sure! {tok.vocabulary.ids_to_text(np.array(ids))}", tok, on_error="strict", max_seconds=30
    )
    assert "Sure!" in speech.remarks[0]
    content = b"".join(speech.wav())
    assert len(content) == speech.num_bytes
    with wave.open(io.BytesIO(content)) as sound:
        assert (sound.getnframes(), sound.getframerate()) == (10 * FRAME, 24_000)
        heard = np.frombuffer(sound.readframes(10 * FRAME), "<i2") / 32768
    np.testing.assert_allclose(heard, tok.decode(ids).samples[0], atol=2 / 32768)


def test_wrong_ids_are_refused_or_repaired(tok, ids):
    """Strictly with their position; otherwise with a word about what was done."""
    wrong = " ".join(map(str, [*ids[:9], 5, *ids[10:]]))
    with pytest.raises(TokenError, match="position 9"):
        speech_in(wrong, tok, on_error="strict", max_seconds=30)
    for way, frames in (("resync", 9), ("conceal", 10)):
        speech = speech_in(wrong, tok, on_error=way, max_seconds=30)
        assert speech.num_samples == frames * FRAME
        assert "1 fault" in speech.remarks[-1]


def test_what_is_too_long_is_refused(tok, ids, tmp_path):
    """Sound by its samples, whatever its header says, and ids by their frames."""
    with pytest.raises(TokenError, match=r"the limit of this page is 0\.5 s"):
        speech_in(" ".join(map(str, ids)), tok, on_error="strict", max_seconds=0.5)
    write_audio(tmp_path / "a.wav", np.full(24_000, 0.1, np.float32), 24_000)
    with pytest.raises(WaveformError, match=r"longer than 0\.5 s, the limit of this page"):
        record(str(tmp_path / "a.wav"), tok, max_seconds=0.5)
    assert record(str(tmp_path / "a.wav"), tok, max_seconds=1).sound.num_samples == 24_000


def test_kept_speech_makes_room(tok, ids):
    """A key finds its speech until newer ones have taken its place."""
    kept = KeptSpeech()
    made = [speech_in(" ".join(map(str, ids)), tok, on_error="strict", max_seconds=30) for _ in range(70)]
    for each in made:
        assert kept.keep(each) == f"speech/{each.key}.wav"
    assert kept.find(made[-1].key) is made[-1]
    assert kept.find(made[0].key) is None


def test_ids_are_written_in_every_preset_that_fits(tok, ids):
    """As text where they are spelled, as rows where rows are parallel; four levels fit fewer tables."""
    codes = tok.vocabulary.decode(np.array(ids))
    tables = fitting_presets(tok)
    assert next(iter(tables)) == "orpheus"
    assert written(codes, tables["orpheus"]) == tok.vocabulary.ids_to_text(np.array(ids))
    assert written(codes, tables["mini-omni"]).startswith("[[")
    assert len(tables) > 5


def test_seeds(tok):
    """Numbers and "off", a few of them; each sounds different, and another codec comes last."""
    assert seeds_in("off, 3") == ["off", 3]
    for text in ("", "a", "-1", "0 1 2 3 4 5 6", "7" * 5000):
        with pytest.raises(TokenError, match="write 1 to 6 whole numbers"):
            seeds_in(text)
    sound = Waveform(samples=np.full((1, 24_000), 0.1, np.float32), sampling_rate=24_000)
    (codes,) = tok.encode_codes([sound])
    recording = listening.Recording(sound=sound, codes=codes)
    found = list(sounds_to_compare(recording, {"a": tok, "b": tok}, ["off", 3]))
    assert [name for name, _, _ in found] == ["Without noise", "Seed 3", "b"]
    assert found[0][2].samples.tobytes() != found[1][2].samples.tobytes()
    np.testing.assert_array_equal(found[0][2].samples, found[2][2].samples)


def test_the_picture_has_a_block_for_every_code(tok, ids):
    """With its id, whatever the codec's levels; names of files and models are text in HTML."""
    codes = tok.vocabulary.decode(np.array(ids))
    picture = markup.code_map(codes, tok.vocabulary, frame_seconds=FRAME / 24_000)
    assert all(f"id {number}</title>" in picture for number in ids)
    assert "&lt;b&gt;" in markup.problem("<b>")


def test_advice_is_what_a_visitor_can_follow(tok, tmp_path):
    """The page has no arguments, and shows no names of the server's files."""
    visitor = Handlers({"tiny": tok}, KeptSpeech(), max_seconds=9, say_error=str)
    tone = 0.3 * np.sin(np.arange(8000, dtype=np.float32))

    def taken(samples, *, length=None):
        write_audio(tmp_path / "a.wav", samples, 8000)
        (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:length])
        return visitor.take(str(tmp_path / "a.wav"))[1]

    said = [taken(np.stack([tone, -tone])), taken(tone, length=9000), taken(tone, length=44)]
    assert "wrong way round); give one of them alone." in said[0]
    assert said[1].endswith("; give a whole one.</p>")
    assert said[2].startswith('<p class="problem" role="alert">The recording: ')
    assert not any(
        word in each for each in said for word in ("channels=", "allow_truncated", "bytes of audio")
    )
    assert "2 answers of a model are there; paste one of them." in visitor.speak(
        "[[1,2],[3]]", "orpheus", "tiny", "strict"
    )


def test_errors_become_sentences(tok, tmp_path, monkeypatch, caplog):
    """Ours in the caller's words; a surprise is told to whoever runs the page, not to its visitors."""
    visitor = Handlers({"tiny": tok}, KeptSpeech(), max_seconds=1, say_error=str.upper)
    assert "NO SPEECH OF" in visitor.speak("hello", "orpheus", "tiny", "strict")
    monkeypatch.setattr("snac_tok.demo.handlers.record", lambda *_, **__: 1 / 0)
    nothing, why = visitor.take(str(tmp_path / "a.wav"))
    assert nothing is None
    assert "whoever runs this page" in why
    assert "ZeroDivisionError" in caplog.text


def test_visitors_take_turns(tok, monkeypatch):
    """Each sound takes all cores: two at once would be slower for both, and need the memory of both."""
    at_once, most = threading.Semaphore(1), []

    def encode(*_, **__):
        most.append(at_once.acquire(blocking=False))
        time.sleep(0.05)
        at_once.release()

    monkeypatch.setattr("snac_tok.demo.handlers.record", encode)
    visitor = Handlers({"tiny": tok}, KeptSpeech(), max_seconds=1, say_error=str)
    with ThreadPoolExecutor(3) as visitors:
        list(visitors.map(visitor.take, "abc"))
    assert most == [True] * 3


def test_without_gradio_one_sentence_names_the_extra(monkeypatch):
    """Before any model is loaded."""
    monkeypatch.setitem(sys.modules, "gradio", None)
    result = CliRunner().invoke(program, ["demo", "--model", "no-such-model"])
    assert result.exit_code == 2
    assert result.stderr.startswith("snac-tok: the page needs gradio, which is not installed")
    assert "extra 'demo'" in result.stderr


@pytest.mark.slow
def test_the_docs_block_makes_the_application():
    """The Python of docs/demo.md runs as it stands; in a process of its own, where gradio may leave a loop open."""
    page = (Path(__file__).parents[2] / "docs" / "demo.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    command = [sys.executable, "-W", "ignore", "-c", f"{block}\nprint(app.title)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "snac-tok demo\n"
