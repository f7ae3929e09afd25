"""Law 5: streams, under any partition, equal the whole; every sample and every id comes out exactly once."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snac_tok import (
    SNAC,
    BatchStreamDecoder,
    FrameLayout,
    SnacTokenizer,
    StreamDecoder,
    StreamEncoder,
    Vocabulary,
    preset,
)
from snac_tok.codec import inference
from snac_tok.codec.chunked import run_chunk
from snac_tok.codec.ops import onednn
from snac_tok.codec.weight_norm import WeightNorm
from snac_tok.errors import CodesError, LayoutError, SnacTokError, TokenError, WaveformError
from snac_tok.generation import SpeechStream
from snac_tok.streaming.frame_buffer import FrameBuffer

RATE = 24_000
PROPERTY = settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


TABLES = (
    preset("orpheus"),
    Vocabulary(FrameLayout((4, 2, 1)), offsets="none"),
    Vocabulary(
        FrameLayout((4, 2, 1), order="breadth-first"),
        offsets="level",
        base=9,
        specials={"sep": 8},
        separator="sep",
    ),
)


@pytest.fixture(scope="module")
def tok():
    """The embedded codec."""
    return SnacTokenizer.from_pretrained("tiny", preset="orpheus")


@pytest.fixture(scope="module")
def attentive():
    """A four-level codec with attention, whose latents come in windows of 16."""
    torch.manual_seed(0)
    codec = SNAC(8_000, 16, (3, 2), None, 64, (2, 3), 16, 16, 2, (8, 4, 2, 1)).eval()
    return SnacTokenizer(codec, preset("plain", strides=(8, 4, 2, 1), codebook_size=16))


@pytest.fixture(scope="module", params=["tiny", "attention"])
def any_tok(request):
    """Both in turn."""
    return request.getfixturevalue("tok" if request.param == "tiny" else "attentive")


def random_ids(tok, frames, seed=0):
    """Ids of random codes."""
    generator = np.random.default_rng(seed)
    counts = tok.layout.codes_per_frame
    return tok.vocabulary.encode(
        [generator.integers(tok.codec.codebook_size, size=frames * n) for n in counts]
    )


def parts_of(ids, cuts):
    """Cut ids in pieces."""
    return np.split(np.asarray(ids), sorted(cuts))


@pytest.mark.law(5)
@PROPERTY
@given(data=st.data())
def test_any_partition_of_ids_sounds_like_the_whole(any_tok, data):
    """Frames may be cut anywhere, pushes may be empty; noise is seeded, off, or another seed."""
    frames = data.draw(st.integers(1, 12))
    ids = random_ids(any_tok, frames, seed=frames)
    cuts = data.draw(st.lists(st.integers(0, len(ids)), max_size=8))
    noise = data.draw(st.sampled_from([0, 7, "off"]))
    stream = StreamDecoder(any_tok.codec, any_tok.vocabulary, noise=noise)
    pieces = [stream.push(part) for part in parts_of(ids, cuts)] + [stream.flush()]
    assert all(piece.dtype == np.float32 and piece.ndim == 1 for piece in pieces)
    wanted = any_tok.decode(ids, noise=noise).samples[0]
    np.testing.assert_allclose(np.concatenate(pieces), wanted, rtol=0, atol=1e-5)


def test_first_sound_comes_after_21_tokens_and_the_lag_is_the_receptive_field(tok):
    """Three frames of seven ids, then the sound keeps 198 ms behind the codes."""
    ids = random_ids(tok, 10)
    stream = StreamDecoder(tok.codec, tok.vocabulary)
    sizes = [stream.push(ids[start : start + 7]).size for start in range(0, 70, 7)]
    assert sizes == [0, 0, 3 * 2048 - 4757] + [2048] * 7
    assert stream.lag_samples == 4757
    assert stream.flush().size == 4757


def test_the_lag_is_never_more_than_stated_and_is_reached(any_tok):
    """Frame by frame, sound is at most lag_samples behind, with attention, too, and at some frame exactly so."""
    stream = StreamDecoder(any_tok.codec, any_tok.vocabulary)
    slots, frame = any_tok.layout.slots_per_frame, any_tok.codec.config.frame_length
    ids = random_ids(any_tok, 30)
    heard, lags = 0, []
    for count in range(1, 31):
        heard += stream.push(ids[(count - 1) * slots : count * slots]).size
        lags.append(count * frame - heard)
    assert max(lags[8:]) == stream.lag_samples


@pytest.mark.parametrize(("lookahead", "first_tokens"), [(0, 7), (4, 14), (9, 21), (50, 21)])
def test_lookahead_brings_sound_sooner(tok, lookahead, first_tokens):
    """Fewer latents of future: earlier, and only the newest stretch of each push is a guess."""
    ids = random_ids(tok, 12)
    stream = StreamDecoder(tok.codec, tok.vocabulary, lookahead=lookahead)
    pieces = [stream.push(ids[start : start + 7]) for start in range(0, len(ids), 7)]
    heard = next(at for at, piece in enumerate(pieces) if piece.size)
    assert (heard + 1) * 7 == first_tokens
    sound = np.concatenate([*pieces, stream.flush()])
    wanted = tok.decode(ids).samples[0]
    assert sound.shape == wanted.shape
    error = np.abs(sound - wanted)
    # At nine of 9.3 latents what is missing has next to no weight; at ten nothing is missing.
    assert (error.max() < 1e-5) == (lookahead >= 9)
    assert stream.lag_samples == min(4757, lookahead * 512)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, torch.tensor])
def test_lookahead_is_any_whole_number(tok, kind):
    """Those of numpy included, as in every other place."""
    stream = StreamDecoder(tok, lookahead=kind(3))
    assert type(stream.lookahead) is int
    assert stream.lag_samples == 3 * 512


def test_more_lookahead_is_closer_to_exact(tok):
    """The error falls with every latent waited for."""
    ids = tok.encode(0.3 * np.sin(np.arange(RATE) * 0.05), sampling_rate=RATE)
    wanted = tok.decode(ids).samples[0]
    errors = []
    for lookahead in (0, 4, 8, 10):
        stream = StreamDecoder(tok.codec, tok.vocabulary, lookahead=lookahead)
        pieces = [stream.push(ids[start : start + 7]) for start in range(0, len(ids), 7)]
        errors.append(float(np.square(np.concatenate([*pieces, stream.flush()]) - wanted).mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-9 < errors[0]


def test_codes_stream_as_ids_do(tok):
    """Push takes codes per level, and a bare layout takes raw codes in its order."""
    ids = random_ids(tok, 6)
    codes = tok.vocabulary.decode(ids)
    wanted = tok.decode(ids).samples[0]
    stream = StreamDecoder(tok.codec, tok.layout)
    by_levels = [stream.push([level[: 3 * n] for level, n in zip(codes, (1, 2, 4), strict=True)])]
    by_levels += [
        stream.push([torch.from_numpy(level[3 * n :]) for level, n in zip(codes, (1, 2, 4), strict=True)])
    ]
    np.testing.assert_allclose(np.concatenate([*by_levels, stream.flush()]), wanted, rtol=0, atol=1e-5)
    stream.reset()
    flat = tok.layout.flatten(codes)
    np.testing.assert_allclose(np.concatenate([stream.push(flat), stream.flush()]), wanted, rtol=0, atol=1e-5)


def test_the_first_levels_stream_too(attentive):
    """Seven-slot frames of a four-level codec."""
    tok = SnacTokenizer(attentive.codec, preset("plain", strides=(8, 4, 2, 1), levels=3, codebook_size=16))
    ids = tok.encode(np.zeros(500), sampling_rate=8_000)
    stream = StreamDecoder(tok.codec, tok.vocabulary)
    sound = np.concatenate([stream.push(ids[:11]), stream.push(ids[11:]), stream.flush()])
    np.testing.assert_allclose(sound, tok.decode(ids).samples[0], rtol=0, atol=1e-5)


def test_special_ids_stand_around_the_codes(tok):
    """Start and end of speech pass; a code after the end, or a special between codes, is refused."""
    ids = random_ids(tok, 4)
    stream = StreamDecoder(tok.codec, tok.vocabulary)
    sound = [
        stream.push([128_261, 128_257]),
        stream.push([*ids, 128_258]),
        stream.push([128_262]),
        stream.flush(),
    ]
    np.testing.assert_allclose(np.concatenate(sound), tok.decode(ids).samples[0], rtol=0, atol=1e-5)
    stream.reset()
    stream.push([*ids[:7], 128_258])
    with pytest.raises(TokenError, match="after the special id 128258, which ended the speech"):
        stream.push(ids[7:])
    stream.reset()
    stream.push(ids[:3])
    with pytest.raises(TokenError, match="after the special id 128257, which ended the speech"):
        stream.push([128_257, *ids[3:]])
    stream.reset()
    stream.push([*ids, 128_258])
    with pytest.raises(TokenError, match="codes came after the special id 128258, which ended the speech"):
        stream.push(tok.vocabulary.decode(ids))


def test_an_unfinished_or_ended_stream_advises_what_every_door_has(tok):
    """Only a StreamDecoder has reset() and flush(drop_partial=True): the sentences hold for many streams, too."""
    streams, said = BatchStreamDecoder(tok.codec, tok.vocabulary), []
    ids = random_ids(tok, 1).tolist()
    streams.open("a")
    streams.push("a", ids[:1])
    with pytest.raises(TokenError, match="push the rest, or drop them with drop_partial=True") as caught:
        streams.end("a")
    said.append(str(caught.value))
    for late in ([ids[0]], tok.vocabulary.decode(ids)):
        streams.abort("a")
        streams.open("a")
        streams.push("a", [*ids, 128_258])
        with pytest.raises(TokenError, match="begin another stream for") as caught:
            streams.push("a", late)
        said.append(str(caught.value))
    assert not any("reset()" in sentence or "flush" in sentence for sentence in said)


@pytest.mark.parametrize("door", [StreamDecoder, SpeechStream])
def test_a_number_beyond_int64_is_named_as_it_came(tok, door):
    """It does not turn into a negative one; ids of that dtype which fit are taken."""
    stream = door(tok.codec, tok.vocabulary)
    ids = random_ids(tok, 6)
    with pytest.raises(TokenError, match="id 9223372036854775808 is in no vocabulary"):
        stream.push([2**63])
    sound = np.concatenate([stream.push(ids.astype(np.uint64)), stream.flush()])
    np.testing.assert_allclose(sound, tok.decode(ids).samples[0], rtol=0, atol=1e-5)


@pytest.mark.law(5)
def test_a_long_push_is_decoded_in_chunks(tok, monkeypatch):
    """As a whole clip is: memory does not grow with what is pushed at once, alone or beside other streams."""
    frames = inference.decode_chunk_frames(tok.codec)
    ids = random_ids(tok, 2 * frames + 3)
    longest = []
    step = tok.codec.decoder.step

    def seen(x, context):
        longest.append(x.shape[-1])
        return step(x, context)

    whole = tok.decode(ids).samples[0]
    monkeypatch.setattr(tok.codec.decoder, "step", seen)
    stream = StreamDecoder(tok.codec, tok.vocabulary)
    found = np.concatenate([stream.push(ids), stream.flush()])
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-5)
    many = BatchStreamDecoder(tok.codec, tok.vocabulary)
    many.open("a")
    many.push("a", ids)
    many.end("a")
    np.testing.assert_allclose(many.step()["a"], whole, rtol=0, atol=1e-5)
    assert max(longest) <= frames * tok.codec.config.latents_per_frame


def test_a_refused_push_leaves_the_stream_as_it_was(tok):
    """After an error the right ids can follow, and not a sample is lost."""
    ids = random_ids(tok, 5)
    stream = StreamDecoder(tok.codec, tok.vocabulary)
    sound = [stream.push(ids[:10])]
    for bad in (
        [ids[9]],
        [*ids[10:14], 5],
        [10**15],
        [-1],
        [1.5],
        [[1, 2], [3, 4]],
        "ids",
        [np.zeros(1, np.int64)],
    ):
        with pytest.raises(SnacTokError):
            stream.push(bad)
    sound += [stream.push(ids[10:]), stream.flush()]
    np.testing.assert_allclose(np.concatenate(sound), tok.decode(ids).samples[0], rtol=0, atol=1e-5)


@PROPERTY
@given(data=st.data())
def test_a_wrong_id_is_refused_with_its_place_under_any_partition(tok, data):
    """In a table with separators, with one block of ids, or with one for each slot; the right one can follow."""
    table = data.draw(st.sampled_from(TABLES))
    ids = table.encode([np.arange(3 * n) for n in (1, 2, 4)])
    wrong = data.draw(st.integers(0, len(ids) - 1))
    value = data.draw(st.sampled_from([-(2**63), -1, 5, 4096, 10**15]))
    broken = ids.copy()
    broken[wrong] = value
    faults = table.validate(broken)
    buffer = FrameBuffer(table, tok.codec.config)
    codes = []
    cuts = sorted(data.draw(st.lists(st.integers(0, len(ids)), max_size=6)))
    for start, end in pairwise([0, *cuts, len(ids)]):
        if start <= wrong < end and faults:
            frame = buffer.num_frames
            sentence = table.validate(broken[frame * table.ids_per_frame : end])[0]
            with pytest.raises(TokenError) as refused:
                buffer.push(broken[start:end])
            assert str(refused.value) == f"counted from frame {frame} of the stream, {sentence}"
        codes.append(buffer.push(ids[start:end]))
    found = [torch.cat(level, dim=-1)[0] for level in zip(*filter(None, codes), strict=True)]
    assert [level.tolist() for level in found] == [list(range(3 * n)) for n in (1, 2, 4)]


def test_a_stream_that_ends_inside_a_frame(tok):
    """Refused with the count, or the partial frame is dropped on request; then the stream is over until reset."""
    ids = random_ids(tok, 3)
    stream = StreamDecoder(tok.codec, tok.vocabulary)
    sound = [stream.push(ids[:-2])]
    with pytest.raises(TokenError, match="after 5 of 7 ids"):
        stream.flush()
    sound.append(stream.flush(drop_partial=True))
    np.testing.assert_allclose(np.concatenate(sound), tok.decode(ids[:14]).samples[0], rtol=0, atol=1e-5)
    for call in (stream.flush, lambda: stream.push(ids)):
        with pytest.raises(TokenError, match="has been flushed"):
            call()
    stream.reset()
    assert stream.push(ids).size == 3 * 2048 - 4757


def test_another_stream_begins_without_preparing_the_weights_again(any_tok, monkeypatch):
    """What a new stream's first push needs of the weights is there since the first stream of all."""
    tok, ids = any_tok, random_ids(any_tok, 12)
    first = StreamDecoder(tok.codec, tok.vocabulary).push(ids)

    def refused(*_):
        pytest.fail("a weight was folded or arranged again")

    monkeypatch.setattr(onednn, "prepack", refused)
    monkeypatch.setattr(WeightNorm, "forward", refused)
    np.testing.assert_array_equal(StreamDecoder(tok.codec, tok.vocabulary).push(ids), first)
    streams = BatchStreamDecoder(tok.codec, tok.vocabulary)
    streams.open("another")
    streams.push("another", ids)
    np.testing.assert_array_equal(streams.step()["another"], first)


def test_an_empty_stream_is_silent(tok):
    """Nothing in, nothing out."""
    stream = StreamDecoder(tok.codec, tok.vocabulary)
    assert stream.push([]).size == 0
    assert stream.flush().size == 0


def test_options_that_make_no_sense_are_refused(tok):
    """One sentence each."""
    for lookahead in (-1, 1.5, True):
        with pytest.raises(TokenError, match="lookahead is"):
            StreamDecoder(tok.codec, tok.vocabulary, lookahead=lookahead)
    with pytest.raises(CodesError, match="noise is"):
        StreamDecoder(tok.codec, tok.vocabulary, noise="loud")
    with pytest.raises(TokenError, match="parallel rows"):
        StreamDecoder(tok.codec, preset("mini-omni"))
    with pytest.raises(TokenError, match="parallel rows"):
        StreamEncoder(tok.codec, preset("lucy"))
    for stream in (StreamDecoder, StreamEncoder, BatchStreamDecoder):
        with pytest.raises(LayoutError, match="strides"):
            stream(tok.codec, FrameLayout((8, 4, 2, 1)))
        with pytest.raises(LayoutError, match="codebooks of 16"):
            stream(tok, Vocabulary(tok.layout, codebook_size=16))
        with pytest.raises(LayoutError, match="a codec alone has no vocabulary; name the preset"):
            stream(tok.codec)
        with pytest.raises(LayoutError, match="'tiny' is no codec; load one by that name, or a tokenizer"):
            stream("tiny", "orpheus")


def test_a_tokenizer_brings_its_codec_and_its_vocabulary(tok):
    """And another table beside it is the stream's own."""
    ids, samples = random_ids(tok, 4), np.zeros(5_000, np.float32)
    pairs = {"tokenizer": (tok,), "both": (tok.codec, tok.vocabulary), "name": (tok, "orpheus")}
    sounds, written, side_by_side = {}, {}, {}
    for name, pair in pairs.items():
        decoder, encoder, many = StreamDecoder(*pair), StreamEncoder(*pair), BatchStreamDecoder(*pair)
        sounds[name] = decoder.push(ids)
        written[name] = [*encoder.push(samples), *encoder.flush()]
        many.open("a")
        many.push("a", ids)
        side_by_side[name] = many.step()["a"]
    for found in (*sounds.values(), *side_by_side.values()):
        np.testing.assert_array_equal(found, sounds["both"])
    assert set(map(tuple, written.values())) == {tuple(tok.encode(samples, sampling_rate=RATE))}
    raw = StreamEncoder(tok, None)
    assert [*raw.push(samples), *raw.flush()] == tok.layout.flatten(
        tok.vocabulary.decode(written["both"])
    ).tolist()


@pytest.mark.law(5)
@PROPERTY
@given(data=st.data())
def test_any_partition_of_sound_gives_the_same_ids(any_tok, data):
    """Blocks of any size give the ids of the whole recording."""
    rate = any_tok.sampling_rate
    length = data.draw(st.integers(1, rate))
    samples = np.random.default_rng(length).normal(0, 0.2, length).astype(np.float32)
    cuts = data.draw(st.lists(st.integers(0, length), max_size=6))
    stream = StreamEncoder(any_tok.codec, any_tok.vocabulary)
    pieces = [stream.push(part) for part in np.split(samples, sorted(cuts))] + [stream.flush()]
    assert np.concatenate(pieces).tolist() == any_tok.encode(samples, sampling_rate=rate)


def test_a_microphone_at_another_rate(tok):
    """Resampling inside the stream equals resampling the whole."""
    other = SnacTokenizer(tok.codec, tok.vocabulary)
    samples = np.sin(np.arange(20_000) * 0.03).astype(np.float32) * 0.3
    stream = StreamEncoder(tok.codec, tok.vocabulary, sampling_rate=44_100)
    pieces = [stream.push(samples[start : start + 777]) for start in range(0, 20_000, 777)] + [stream.flush()]
    assert np.concatenate(pieces).tolist() == other.encode(samples, sampling_rate=44_100)


def test_ids_come_while_sound_is_being_recorded(tok):
    """A frame's ids are there as soon as the samples they depend on are."""
    stream = StreamEncoder(tok.codec, tok.vocabulary)
    sizes = [stream.push(np.zeros(2048)).size for _ in range(6)]
    assert sizes == [0, 0, 0, 7, 7, 7]
    assert stream.flush().size == 21
    with pytest.raises(WaveformError, match="has been flushed"):
        stream.push(np.zeros(10))
    stream.reset()
    assert stream.flush().size == 0


@pytest.mark.parametrize(
    "block", [np.zeros(4, np.int16), np.zeros((2, 4)), np.array([np.nan]), np.array([np.inf]), "noise", None]
)
def test_unusable_blocks_are_refused(tok, block):
    """The stream goes on as if the block had not been."""
    stream = StreamEncoder(tok.codec, tok.vocabulary)
    stream.push(np.zeros(3000))
    with pytest.raises(WaveformError):
        stream.push(block)
    assert np.concatenate([stream.push(np.zeros(1000)), stream.flush()]).tolist() == tok.encode(
        np.zeros(4000), sampling_rate=RATE
    )


class Client:
    """One stream's life: it joins, pushes pieces of its ids and leaves, one step at a time."""

    def __init__(self, name, ids, noise):
        self.name, self.ids, self.left, self.noise = name, ids, list(ids), noise
        self.stage, self.heard = "new", [np.zeros(0, np.float32)]

    def act(self, streams, count):
        """Do the next thing; `count` says how many ids a push takes."""
        if self.stage == "new":
            streams.open(self.name, noise=self.noise)
            self.stage = "open"
        elif self.left:
            streams.push(self.name, self.left[:count])
            self.left = self.left[count:]
        elif self.stage == "open":
            streams.end(self.name)
            self.stage = "ended"


@pytest.mark.law(5)
@PROPERTY
@given(data=st.data())
def test_streams_side_by_side_sound_as_each_alone(any_tok, data):
    """Streams join, stall, push odd pieces and leave at any time; each gets exactly its own sound."""
    streams = BatchStreamDecoder(any_tok.codec, any_tok.vocabulary)
    clients = [
        Client(at, random_ids(any_tok, data.draw(st.integers(0, 8)), seed=at).tolist(), noise)
        for at, noise in enumerate(
            data.draw(st.lists(st.sampled_from([0, 5, "off"]), min_size=1, max_size=4))
        )
    ]
    while any(client.stage != "ended" for client in clients):
        busy = [client for client in clients if client.stage != "ended"]
        data.draw(st.sampled_from(busy)).act(streams, data.draw(st.integers(1, 40)))
        if data.draw(st.booleans()):
            for name, sound in streams.step().items():
                clients[name].heard.append(sound)
    for name, sound in streams.step().items():
        clients[name].heard.append(sound)
    assert len(streams) == 0
    for client in clients:
        found = np.concatenate(client.heard)
        wanted = any_tok.decode(client.ids, noise=client.noise).samples[0] if client.ids else found[:0]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("one_thread")  # each of several takes some of the rows, in a call of its own
def test_one_call_of_the_network_serves_streams_that_are_alike(tok, monkeypatch):
    """Sixteen streams past their start advance in one call."""
    streams = BatchStreamDecoder(tok.codec, tok.vocabulary)
    ids = random_ids(tok, 6)
    for name in range(16):
        streams.open(name)
        streams.push(name, ids[: 7 * (3 + name % 2)])
    streams.step()
    calls = []

    def counted(*args, **options):
        calls.append(args)
        return run_chunk(*args, **options)

    monkeypatch.setattr("snac_tok.streaming.batch_decoder.run_chunk", counted)
    for name in range(16):
        start = 7 * (3 + name % 2)
        streams.push(name, ids[start : start + 7])
    assert {sound.size for sound in streams.step().values()} == {2048}
    assert len(calls) == 1


def test_a_bad_stream_disturbs_no_other(tok):
    """An error names its stream's fault; the others' sound is as if it had not been there."""
    ids = random_ids(tok, 6)
    streams = BatchStreamDecoder(tok.codec, tok.vocabulary)
    streams.open("good")
    streams.open("bad")
    streams.push("good", ids)
    with pytest.raises(TokenError, match="id 3 is not an id"):
        streams.push("bad", [3])
    streams.push("bad", ids[:5])
    with pytest.raises(TokenError, match="after 5 of 7 ids"):
        streams.end("bad")
    streams.abort("bad")
    streams.end("good")
    np.testing.assert_allclose(streams.step()["good"], tok.decode(ids).samples[0], rtol=0, atol=1e-5)
    assert streams.step() == {}


@pytest.mark.filterwarnings("ignore::snac_tok.errors.LostSpeechWarning")
@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("on_error", ["strict", "conceal"])
def test_a_copy_in_the_middle_of_a_clip_goes_on_by_itself(tok, how, on_error):
    """Two ends of one beginning: each the whole that it is the end of; the codec is shared."""
    start, one, other = (random_ids(tok, 6, seed=seed).tolist() for seed in range(3))
    wrong = [] if on_error == "strict" else [3]
    first = StreamDecoder(tok, on_error=on_error)
    begun = first.push([*start, *wrong, *one[:3]])
    second = how(first)
    assert second.codec is tok.codec
    for stream, rest in ((first, one[3:]), (second, [*one[3:7], *other])):
        sound = np.concatenate((begun, stream.push(rest), stream.flush()))
        whole = StreamDecoder(tok, on_error=on_error)
        wanted = np.concatenate((whole.push([*start, *wrong, *one[:3], *rest]), whole.flush()))
        np.testing.assert_allclose(sound, wanted, rtol=0, atol=1e-5)
        assert stream.report == whole.report


def test_names_are_checked(tok):
    """Taken, unknown and ended names."""
    streams = BatchStreamDecoder(tok.codec, tok.vocabulary)
    streams.open("a")
    assert "a" in streams
    with pytest.raises(TokenError, match="'a' is open"):
        streams.open("a")
    for call in (lambda: streams.push("b", []), lambda: streams.end("b"), lambda: streams.abort("b")):
        with pytest.raises(TokenError, match="no open stream 'b'"):
            call()
    for call in (streams.open, streams.abort, streams.end, streams.report, streams.__contains__):
        with pytest.raises(TokenError, match=r"a stream's name must be hashable.*got \['a'\]"):
            call(["a"])
    streams.end("a")
    with pytest.raises(TokenError, match="'a' was ended"):
        streams.push("a", [])
    assert streams.step()["a"].size == 0
    assert "a" not in streams
