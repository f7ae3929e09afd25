"""Copies of streams go on by themselves, and never at the cost of the stream that they were made of."""

import copy
import pickle

import numpy as np
import pytest
import torch

from snac_tok import (
    SNAC,
    BatchStreamDecoder,
    BatchStreamEncoder,
    SnacTokenizer,
    StreamDecoder,
    StreamEncoder,
    preset,
)
from snac_tok.audio import StreamResampler
from snac_tok.errors import AudioError, SnacTokError
from snac_tok.generation import SpeechStream

COPIES = [copy.copy, copy.deepcopy]


def pickled(stream):
    """Return what comes out of a pickle."""
    return pickle.loads(pickle.dumps(stream))


@pytest.fixture(scope="module")
def tok():
    """A small codec of three levels."""
    torch.manual_seed(0)
    codec = SNAC(8_000, 4, (2, 3), None, 16, (3, 2), None, 32, 4, (4, 2, 1)).eval()
    return SnacTokenizer(codec, preset("plain", strides=(4, 2, 1), codebook_size=32))


def noise(num_samples, seed=0):
    """Return samples (n,)."""
    return np.random.default_rng(seed).normal(0, 0.2, num_samples).astype(np.float32)


def ids_of(tok, frames, seed=0):
    """Return the ids of random codes."""
    generator = np.random.default_rng(seed)
    return tok.vocabulary.encode([generator.integers(32, size=frames * n) for n in (1, 2, 4)]).tolist()


def rest_of(stream, pieces):
    """Return what a stream gives for its last pieces, joined."""
    return np.concatenate([*(stream.push(piece) for piece in pieces), stream.flush()])


def whole_of(make, pieces):
    """Return what a new stream gives for all pieces, joined."""
    return rest_of(make(), pieces)


@pytest.mark.parametrize("how", COPIES)
def test_a_copied_encoder_goes_on_by_itself(tok, how):
    """In mid-clip, a frame cut in two; the codec is shared."""
    start, one, other = noise(100), noise(300, 1), noise(250, 2)
    first = StreamEncoder(tok)
    begun = first.push(start)
    second = how(first)
    assert second.codec is tok.codec
    for stream, rest in ((second, other), (first, one)):
        found = np.concatenate([begun, rest_of(stream, [rest])])
        assert found.tolist() == whole_of(lambda: StreamEncoder(tok), [start, rest]).tolist()


@pytest.mark.parametrize("how", COPIES)
def test_a_copied_speech_stream_goes_on_by_itself(tok, how):
    """Its filter, its text, its sound and its clock."""
    start, one, other = (ids_of(tok, 6, seed) for seed in range(3))
    end = tok.vocabulary.special_id("eos")
    first = SpeechStream(tok)
    begun = first.push(start[:-2])
    clock = vars(first.timing).copy()
    second = how(first)
    heard = np.concatenate([begun, rest_of(second, [[*start[-2:], *other, end]])])
    np.testing.assert_allclose(heard, tok.decode([*start, *other]).samples[0], rtol=0, atol=1e-5)
    assert vars(first.timing) == clock
    assert (second.ended, first.ended) == (True, False)
    heard = np.concatenate([begun, rest_of(first, [[*start[-2:], *one, end]])])
    np.testing.assert_allclose(heard, tok.decode([*start, *one]).samples[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("how", [*COPIES, pickled])
def test_an_encoder_that_resamples_can_be_copied_before_its_first_push_and_not_later(tok, how):
    """A refused copy costs the stream nothing."""

    def make():
        return StreamEncoder(tok, sampling_rate=11_025)

    parts = [noise(700), noise(900, 1)]
    wanted = whole_of(make, parts).tolist()
    first = make()
    second = how(first)
    assert whole_of(lambda: second, parts).tolist() == wanted
    found = [first.push(parts[0])]
    with pytest.raises(AudioError, match=r"cannot be .*pickled"):
        how(first)
    assert np.concatenate([*found, rest_of(first, parts[1:])]).tolist() == wanted


@pytest.mark.parametrize("how", [*COPIES, pickled])
def test_a_resampler_can_be_copied_before_the_first_block_and_not_in_the_middle(how):
    """Two that shared soxr's state would mix their sound."""
    stream = StreamResampler(from_rate=11_025, to_rate=8_000)
    sound = noise(5_000)[None]
    other = how(stream)
    parts = [stream.push(sound[:, :2_000])]
    with pytest.raises(AudioError, match="push sound that is at 8000 Hz already"):
        how(stream)
    parts += [stream.push(sound[:, 2_000:]), stream.flush()]
    np.testing.assert_array_equal(
        np.concatenate(parts, 1), np.concatenate([other.push(sound), other.flush()], 1)
    )
    how(stream)


@pytest.mark.parametrize("how", [*COPIES, pickled])
def test_a_resampler_without_sound_can_be_copied_at_any_time(how):
    """Empty blocks begin nothing."""
    stream = StreamResampler(from_rate=11_025, to_rate=8_000)
    assert stream.push(noise(0)[None]).shape == (1, 0)
    assert how(stream).flush().shape == (1, 0)
    stream.flush()
    how(stream)


@pytest.mark.parametrize("kind", [StreamDecoder, StreamEncoder, SpeechStream])
def test_a_stream_that_has_begun_says_that_it_has_no_pickle(tok, kind):
    """At the pickling, not at a later push; a new one has one, and the refused one goes on."""
    pieces = [noise(300), noise(200)] if kind is StreamEncoder else [ids_of(tok, 6), ids_of(tok, 2)]
    wanted = whole_of(lambda: kind(tok), pieces)
    stream = kind(tok)
    np.testing.assert_array_equal(whole_of(lambda: pickled(stream), pieces), wanted)
    begun = stream.push(pieces[0])
    with pytest.raises(SnacTokError, match=f"a {kind.__name__} that has begun cannot be pickled"):
        pickled(stream)
    np.testing.assert_array_equal(np.concatenate([begun, rest_of(stream, pieces[1:])]), wanted)


@pytest.mark.parametrize("how", [*COPIES, pickled])
@pytest.mark.parametrize("kind", [BatchStreamDecoder, BatchStreamEncoder])
def test_many_streams_are_copied_only_while_none_is_open(tok, kind, how):
    """Copies and originals then open theirs apart from each other, under the same names."""
    pieces = (
        [noise(300), noise(300, 1)] if kind is BatchStreamEncoder else [ids_of(tok, 6), ids_of(tok, 6, 1)]
    )
    first = kind(tok)
    second = how(first)
    for streams, piece in zip((first, second), pieces, strict=True):
        streams.open("a")
        streams.push("a", piece)
    begun = [streams.step()["a"] for streams in (first, second)]
    with pytest.raises(
        SnacTokError, match=f"a {kind.__name__} with open streams cannot be copied or pickled"
    ):
        how(first)
    for streams, start, piece in zip((first, second), begun, pieces, strict=True):
        streams.end("a")
        found = np.concatenate([start, streams.step()["a"]])
        if kind is BatchStreamEncoder:
            assert found.tolist() == tok.encode(piece, sampling_rate=8_000)
        else:
            np.testing.assert_allclose(found, tok.decode(piece).samples[0], rtol=0, atol=1e-5)
    assert len(how(first)) == 0
