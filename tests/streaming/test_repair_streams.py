"""Streams that repair: they sound as the repaired ids do, whatever the pushes, and say once what was lost."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snac_tok import BatchStreamDecoder, FrameLayout, SnacTokenizer, StreamDecoder, Vocabulary
from snac_tok.errors import LostSpeechWarning, TokenError
from snac_tok.streaming import repair_ids

SAMPLES_PER_FRAME = 2048


@pytest.fixture(scope="module")
def tok():
    """The embedded codec."""
    return SnacTokenizer.from_pretrained("tiny", preset="orpheus")


@pytest.fixture(scope="module")
def ids(tok):
    """Eight frames of random codes."""
    generator = np.random.default_rng(3)
    return tok.vocabulary.encode([generator.integers(4096, size=8 * n) for n in (1, 2, 4)])


def heard(stream, ids, size, **end):
    """Push ids in pieces of one size; return the sound and the report."""
    pieces = [stream.push(ids[at : at + size]) for at in range(0, len(ids), size)] + [stream.flush(**end)]
    return np.concatenate(pieces), stream.report


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.filterwarnings("ignore::snac_tok.errors.LostSpeechWarning")
def test_a_stream_sounds_as_the_repaired_ids_do(tok, ids, data):
    """For any partition, alone and beside others, exact and with lookahead."""
    on_error = data.draw(st.sampled_from(["resync", "conceal"]))
    damaged = np.delete(ids, data.draw(st.lists(st.integers(0, len(ids) - 1), max_size=4)))
    damaged = np.insert(
        damaged, data.draw(st.integers(0, len(damaged))), data.draw(st.sampled_from([7, 128258]))
    )
    whole = repair_ids(damaged, tok.vocabulary, on_error=on_error)
    wanted = tok.decode(whole.ids).samples[0]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(damaged)), max_size=5)))
    stream = StreamDecoder(tok, on_error=on_error)
    many = BatchStreamDecoder(tok, on_error=on_error)
    many.open("a")
    many.open("b")
    pieces, beside = [], []
    for part in np.split(damaged, cuts):
        pieces.append(stream.push(part))
        many.push("a", part)
        many.push("b", ids[:7])
        beside.append(many.step().get("a", np.zeros(0, np.float32)))
    pieces.append(stream.flush())
    many.end("a")
    assert stream.report == many.report("a") == whole.report
    beside.append(many.step()["a"])
    np.testing.assert_allclose(np.concatenate(pieces), wanted, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.concatenate(beside), wanted, rtol=0, atol=1e-5)
    early = StreamDecoder(tok, on_error=on_error, lookahead=2)
    with_lookahead = [early.push(part) for part in np.split(damaged, cuts)] + [early.flush()]
    assert np.concatenate(with_lookahead).shape == wanted.shape


def test_one_warning_a_stream_says_what_was_lost(tok, ids):
    """When it ends; a stream without faults says nothing."""
    stream = StreamDecoder(tok, on_error="conceal")
    with pytest.warns(LostSpeechWarning) as told:
        sound, report = heard(stream, np.delete(ids, [10, 40]), 5)
    assert [str(one.message) for one in told] == [f"{report}."]
    assert (sound.size, report.concealed) == (8 * SAMPLES_PER_FRAME, (1, 5))
    many = BatchStreamDecoder(tok, on_error="resync")
    many.open("caller 7")
    many.push("caller 7", np.delete(ids, 10))
    with pytest.warns(LostSpeechWarning, match="^stream 'caller 7': 1 fault among the ids: 1 frame lost; "):
        many.end("caller 7")
    assert many.step()["caller 7"].size == 7 * SAMPLES_PER_FRAME
    with pytest.raises(TokenError, match="no open stream"):
        many.report("caller 7")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream.reset()
        assert heard(stream, ids, 7)[1].num_frames == 8
        strict = StreamDecoder(tok)
        assert heard(strict, ids, 7)[1].num_frames == 8


def test_a_last_frame_can_be_dropped(tok, ids):
    """As in a strict stream."""
    with pytest.warns(LostSpeechWarning, match="1 frame lost"):
        sound, _ = heard(StreamDecoder(tok, on_error="conceal"), ids[:-3], 7, drop_partial=True)
    np.testing.assert_allclose(sound, tok.decode(ids[:-7]).samples[0], rtol=0, atol=1e-5)


def test_codes_by_level_may_be_pushed_between_frames(tok, ids):
    """They count as frames of the stream."""
    stream = StreamDecoder(tok, on_error="conceal")
    levels = tok.vocabulary.decode(ids[7:])
    stream.push(ids[:3])
    with pytest.raises(TokenError, match="unfinished frame"):
        stream.push(levels)
    pieces = [stream.push(ids[3:7]), stream.push(levels), stream.flush()]
    np.testing.assert_allclose(np.concatenate(pieces), tok.decode(ids).samples[0], rtol=0, atol=1e-5)
    assert stream.report.num_frames == 8


@pytest.mark.filterwarnings("ignore::snac_tok.errors.LostSpeechWarning")
def test_a_failed_push_can_be_repeated(tok, ids, monkeypatch):
    """What the repair holds is as it was, too."""
    stream = StreamDecoder(tok, on_error="resync")
    damaged = np.delete(ids, 16)
    sounds = [stream.push(damaged[:18])]
    with monkeypatch.context() as broken:
        broken.setattr("snac_tok.codec.incremental.decode_chunk", None)
        with pytest.raises(TypeError):
            stream.push(damaged[18:])
    sounds += [stream.push(damaged[18:]), stream.flush()]
    wanted = tok.decode(np.delete(ids, range(14, 21))).samples[0]
    np.testing.assert_allclose(np.concatenate(sounds), wanted, rtol=0, atol=1e-5)


def test_layouts_without_slots_say_that_they_cannot_know(tok):
    """Once a stream, even where nothing seems wrong."""
    table = Vocabulary(FrameLayout((4, 2, 1)), offsets="none")
    stream = StreamDecoder(tok.codec, table, on_error="conceal")
    with pytest.warns(LostSpeechWarning, match="do not tell their slots"):
        heard(stream, np.arange(14), 7)


@pytest.mark.parametrize("size", [1, 5, 7, 60])
def test_a_strict_stream_refuses_codes_behind_a_special_id_alike_however_it_was_cut(tok, ids, size):
    """The sentence is the same, and the refused push leaves the stream as it was: the codes in front can be pushed."""
    stream = StreamDecoder(tok)
    line = np.insert(ids, 17, [128263, 128262])
    at = 19 - 19 % size
    for start in range(0, at, size):
        stream.push(line[start : start + size])
    with pytest.raises(TokenError, match=f"^id {ids[17]} came after the special id 128263, which ended"):
        stream.push(line[at : at + size])
    stream.push(line[at:19])
    assert stream.report.num_frames == 2


def test_other_words_and_parallel_rows_are_refused_at_once(tok):
    """When the stream is made."""
    for door in (StreamDecoder, BatchStreamDecoder):
        with pytest.raises(TokenError, match="on_error is 'ignore'"):
            door(tok, on_error="ignore")
