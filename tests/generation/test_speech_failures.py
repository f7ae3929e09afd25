"""A call of a SpeechStream that fails leaves the stream as it was: nothing said is lost, and nothing is said twice."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from snac_tok.codec.incremental import ChunkDecoder
from snac_tok.errors import LostSpeechWarning, TokenError
from snac_tok.generation import SpeechStream

FRAMES = 6


@pytest.fixture(scope="module")
def answer(tok):
    """Text, the start of speech, six frames, the end, text."""
    generator = np.random.default_rng(0)
    counts = tok.vocabulary.layout.codes_per_frame
    speech = tok.vocabulary.encode([generator.integers(16, size=FRAMES * n) for n in counts])
    start, end = (tok.vocabulary.special_id(name) for name in ("bos", "eos"))
    return [3, start, *speech.tolist(), end, 5]


@pytest.fixture
def fail_once(monkeypatch):
    """Make the next call of a method of the network's decoder fail, and later ones not."""

    def prepare(method):
        plain = getattr(ChunkDecoder, method)

        def failing(*_args, **_options):
            monkeypatch.setattr(ChunkDecoder, method, plain)
            raise torch.OutOfMemoryError

        monkeypatch.setattr(ChunkDecoder, method, failing)

    return prepare


def whole(tok, answer):
    """Return the sound of the six frames."""
    return tok.decode(answer[2:-2]).samples[0]


def assert_equal(parts, wanted):
    """Check that the parts, joined, are the wanted sound."""
    np.testing.assert_allclose(np.concatenate(parts), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cut", [0, 1, 2, 20])
def test_a_refused_push_can_be_corrected(tok, answer, cut):
    """Also where the refused piece holds the start of speech, its end, or both."""
    stream = SpeechStream(tok)
    bad = answer[cut:]
    bad[25 - cut] = 7
    parts = [stream.push(answer[:cut])]
    with pytest.raises(TokenError, match="id 7"):
        stream.push(bad)
    assert not stream.ended
    assert_equal([*parts, stream.push(answer[cut:]), stream.flush()], whole(tok, answer))


def test_a_refused_text_can_be_corrected(tok, answer):
    """The beginning of a token that waits for its rest is not lost with the refused piece."""
    spell = tok.vocabulary.ids_to_text
    text = spell(answer[1:-1])
    cut = len(spell(answer[1:20])) + 3
    stream = SpeechStream(tok)
    parts = [stream.push_text(text[:cut])]
    with pytest.raises(TokenError):
        stream.push_text(text[cut:] + "<|audio_999|>")
    with pytest.raises(TokenError):
        stream.push_text(text[cut : cut + 60] + spell([answer[5]]) * 2 + spell(answer[-2:-1]))
    assert_equal([*parts, stream.push_text(text[cut:]), stream.flush()], whole(tok, answer))


@pytest.mark.parametrize("method", ["push", "rest"])
def test_a_push_at_whose_end_of_speech_the_codec_failed_can_be_repeated(tok, answer, fail_once, method):
    """Whether the frames failed or the rest of the sound: neither lost nor decoded twice."""
    stream = SpeechStream(tok)
    parts = [stream.push(answer[:20])]
    fail_once(method)
    with pytest.raises(torch.OutOfMemoryError):
        stream.push(answer[20:])
    assert not stream.is_flushed
    assert_equal([*parts, stream.push(answer[20:]), stream.flush()], whole(tok, answer))


def test_a_flush_that_failed_can_be_repeated(tok, answer, fail_once):
    """The rest of the sound comes with the second."""
    stream = SpeechStream(tok)
    parts = [stream.push(answer[:-2])]
    fail_once("rest")
    with pytest.raises(torch.OutOfMemoryError):
        stream.flush()
    assert_equal([*parts, stream.flush()], whole(tok, answer))


def test_a_flush_with_an_unfinished_token_of_text_can_be_repeated(tok, answer, fail_once):
    """What only the end of the text makes whole is not lost: another digit might have followed."""
    table = replace(tok.vocabulary, text=replace(tok.vocabulary.text, template=" a{}"))
    stream = SpeechStream(tok.codec, table)
    parts = [stream.push_text(table.ids_to_text(answer[1:-2]))]
    fail_once("rest")
    with pytest.raises(torch.OutOfMemoryError):
        stream.flush()
    assert_equal([*parts, stream.flush()], whole(tok, answer))


def test_a_flush_without_a_frame_is_refused_and_the_stream_goes_on(tok, answer):
    """It was asked too early."""
    stream = SpeechStream(tok)
    stream.push(answer[:4])
    with pytest.raises(TokenError, match="no whole frame"):
        stream.flush()
    assert_equal([stream.push(answer[4:]), stream.flush()], whole(tok, answer))


def test_a_warning_that_is_an_error_loses_no_sound(tok, answer):
    """Of a frame that the model left unfinished, and of ids that were repaired."""
    for on_error in ("strict", "resync"):
        stream = SpeechStream(tok, on_error=on_error)
        parts = [stream.push(answer[:-6])]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(LostSpeechWarning):
                stream.push(answer[-2:])
        with pytest.warns(LostSpeechWarning):
            parts += [stream.push(answer[-2:]), stream.flush()]
        assert_equal(parts, tok.decode(answer[2:-9]).samples[0])


def test_a_warning_stands_at_the_callers_line(tok, answer):
    """Not at one of this package's."""
    stream = SpeechStream(tok)
    with pytest.warns(LostSpeechWarning) as caught:
        stream.push([*answer[:-4], answer[-2]])
    assert caught[0].filename == __file__


def test_speech_after_a_flush_is_refused_in_its_own_words(tok, answer):
    """A SpeechStream has no reset(); text after it makes no sound."""
    stream = SpeechStream(tok)
    stream.push(answer[:-2])
    stream.flush()
    with pytest.raises(TokenError, match="this SpeechStream has come to its end"):
        stream.push(answer[2])
    assert stream.push(answer[-2:]).size == 0
    assert stream.flush().size == 0
