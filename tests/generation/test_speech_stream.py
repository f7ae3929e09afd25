"""SpeechStream, stream_audio, astream_audio: the speech in tokens of any kind, equal to decoding it whole."""

from __future__ import annotations

import asyncio
import io
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snac_tok import SnacTokenizer, preset, read_audio
from snac_tok.errors import LayoutError, LostSpeechWarning, TokenError
from snac_tok.frames import preset_names
from snac_tok.frames.grammar import speech_edges
from snac_tok.generation import SpeechStream, astream_audio, pcm16, stream_audio, wav_header
from snac_tok.generation.speech_filter import SpeechFilter
from snac_tok.generation.token_text import TokenText
from snac_tok.prompts import speech_ids

PROPERTY = settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _speech(tok, frames=6, seed=0):
    generator = np.random.default_rng(seed)
    counts = tok.vocabulary.layout.codes_per_frame
    codes = [generator.integers(tok.codec.codebook_size, size=frames * n) for n in counts]
    return tok.vocabulary.encode(codes)


def _answer(tok, frames=6):
    """What a model writes: text, the start, codes, the end, text again."""
    start, end, pad = (tok.vocabulary.special_id(name) for name in ("bos", "eos", "pad"))
    return [3, 4, start, *_speech(tok, frames).tolist(), end, pad, 5]


def _whole(tok, frames=6):
    return tok.decode(_speech(tok, frames)).samples[0]


def _close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


@PROPERTY
@given(data=st.data())
def test_ids_in_any_pieces_sound_like_the_speech_decoded_whole(tok, data):
    """Text in front and behind is left out; one id at a time or several."""
    frames = data.draw(st.integers(1, 8))
    answer = _answer(tok, frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=9)))
    pieces = [part.tolist() for part in np.split(np.array(answer), cuts)]
    _close(np.concatenate(list(stream_audio(pieces, tok))), _whole(tok, frames))


def test_ids_one_by_one_and_from_arrays(tok):
    """Ints, numpy integers, arrays, tensors."""
    answer = _answer(tok)
    for tokens in (
        answer,
        np.array(answer),
        [np.array(answer)],
        torch.tensor(answer),
        [torch.tensor(answer)],
    ):
        _close(np.concatenate(list(stream_audio(tokens, tok))), _whole(tok))


@PROPERTY
@given(data=st.data())
def test_text_cut_anywhere_sounds_like_its_ids(tok, data):
    """Tokens arrive in pieces of any size, with other text around and between them."""
    ids = _answer(tok)[2:-2]
    text = "Sure! " + " ".join(tok.vocabulary.ids_to_text([number]) for number in ids) + "</s>"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=60)))
    pieces = [text[first:last] for first, last in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    _close(np.concatenate(list(stream_audio(pieces, tok))), _whole(tok))


@pytest.mark.parametrize("name", [name for name in preset_names() if not preset(name).is_parallel])
def test_every_text_form_is_read_back_in_pieces_of_any_size(name):
    """`<custom_token_N>`, `<|audio_N|>` and the specials' own names."""
    table = preset(name)
    generator = np.random.default_rng(1)
    edges = [number for line in speech_edges(table, before_speech=None, after_speech=None) for number in line]
    ids = [*edges, *(int(generator.choice(table.id_range(slot))) for slot in range(7)), *edges]
    text = table.ids_to_text(ids)
    for size in (1, 3, 16, 1000):
        reader = TokenText(table)
        found = [reader.push(text[at : at + size]) for at in range(0, len(text), size)]
        assert np.concatenate([*found, reader.flush()]).tolist() == ids


def test_sound_comes_as_soon_as_it_is_final_and_the_end_of_speech_brings_the_rest(tok):
    """Nothing waits for an id that is not needed; pulling sound pulls no more ids than it takes."""
    taken = []

    def source():
        for number in _answer(tok, 24):
            taken.append(number)
            yield number

    sounds = stream_audio(source(), tok)
    next(sounds)
    first = len(taken)
    assert first < len(_answer(tok, 24)) // 2
    # Back pressure: nobody takes sound, so nobody reads ids.
    assert len(taken) == first
    rest = list(sounds)
    assert rest
    # What stands behind the end of speech is not waited for.
    assert taken[-1] == tok.vocabulary.special_id("eos")


def test_bytes_are_pcm_and_a_wav_that_anything_reads(tok):
    """16-bit integers, scaled as files are; one header, whose length nobody knows yet."""
    answer, wanted = _answer(tok), _whole(tok)
    parts = list(stream_audio(answer, tok, encoding="pcm16"))
    assert all(isinstance(part, bytes) and part for part in parts)
    found = np.frombuffer(b"".join(parts), "<i2")
    np.testing.assert_allclose(found / 32_768, wanted.clip(-1, 1), atol=1e-4)
    file = list(stream_audio(answer, tok, encoding="wav"))
    assert file[0] == wav_header(8_000)
    assert file[1:] == parts
    read = read_audio(io.BytesIO(b"".join(file)))
    assert read.sampling_rate == 8_000
    np.testing.assert_array_equal(read.samples[0] * 32_768, found)


def test_loud_samples_are_clipped():
    """±1 and beyond stay in 16 bits."""
    assert np.frombuffer(pcm16(np.array([2.0, 1.0, -1.0, -3.0])), "<i2").tolist() == [
        32767,
        32767,
        -32768,
        -32768,
    ]


def test_timing_counts_from_the_beginning(tok):
    """First sound, all sound, and seconds taken for a second of sound."""
    stream = SpeechStream(tok)
    assert stream.timing.first_audio_seconds is None
    assert stream.timing.real_time_factor is None
    sound = np.concatenate(list(stream_audio(_answer(tok), stream)))
    timing = stream.timing
    assert timing.audio_seconds == pytest.approx(sound.size / 8_000)
    assert 0 < timing.first_audio_seconds <= timing.elapsed_seconds
    assert timing.real_time_factor == timing.elapsed_seconds / timing.audio_seconds


def test_a_frame_that_was_being_written_makes_no_sound(tok):
    """Generation stopped at its limit: whole frames, no fault. The model's own end inside a frame is told."""
    ids = _speech(tok, 6)
    _close(np.concatenate(list(stream_audio(ids[:-2], tok))), _whole_of(tok, ids[:35]))
    end = tok.vocabulary.special_id("eos")
    with pytest.warns(LostSpeechWarning, match="the model ended its speech inside a frame"):
        sound = np.concatenate(list(stream_audio([*ids[:-2], end], tok)))
    _close(sound, _whole_of(tok, ids[:35]))


def _whole_of(tok, ids):
    return tok.decode(ids).samples[0]


def test_the_filter_keeps_what_speech_ids_keeps(tok):
    """Id by id the same as cutting the speech out of the whole, a voice in the prompt included."""
    table = tok.vocabulary
    start, end = table.special_id("bos"), table.special_id("eos")
    voice, answer = _speech(tok, 1, seed=3).tolist(), _speech(tok, 2).tolist()
    for prompt in (
        [5, start],
        [5],
        [5, start, *answer[:4]],
        [start, *voice, end, 5, start],
        [start, *voice, end, 5],
    ):
        rest = answer[4:] if prompt[-1] == answer[3] else answer
        written = [start, *rest, end, 5] if prompt[-1] == 5 else [*rest, end, 5]
        speech = SpeechFilter(table)
        found = [speech.take_prompt(prompt), *(speech.take(number) for number in written)]
        assert np.concatenate(found).tolist() == speech_ids([*prompt, *written], table).tolist()


@PROPERTY
@given(data=st.data())
def test_which_speech_is_heard_does_not_depend_on_how_ids_are_cut(tok, data):
    """Two starts in a line, ends and text between them or not: any pieces give one result, or one error."""
    start, end, pad = (tok.vocabulary.special_id(name) for name in ("bos", "eos", "pad"))
    first, second = (_speech(tok, 2, seed=seed).tolist() for seed in (1, 2))
    between = data.draw(st.lists(st.sampled_from([start, end, pad, 5]), max_size=3))
    in_front = data.draw(st.lists(st.sampled_from([start, pad, 5]), max_size=3))
    line = [*in_front, *data.draw(st.sampled_from([first, []])), *between, start, *second, end]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(line)), max_size=9)))
    pieces = [part.tolist() for part in np.split(np.array(line), cuts)]
    one_by_one = _heard([[number] for number in line], tok)
    for pushes in (pieces, [line]):
        found = _heard(pushes, tok)
        assert type(found) is type(one_by_one)
        if isinstance(found, str):
            assert found == one_by_one
        else:
            _close(found, one_by_one)
            filtered = SpeechFilter(tok.vocabulary)
            kept = np.concatenate([filtered.take(piece) for piece in pushes])
            assert kept.tolist() == SpeechFilter(tok.vocabulary).take(line).tolist()


def _heard(pushes, tok):
    stream = SpeechStream(tok)
    try:
        return np.concatenate([*(stream.push(piece) for piece in pushes), stream.flush()])
    except TokenError as error:
        # Positions count from a frame that was whole before the push.
        return re.sub(r"frame \d+ of the stream, position \d+", "…", str(error))


def test_starts_in_a_row_are_one(tok):
    """Also where the prompt held the first, and where the start is an id of the language model's own."""
    speech = _speech(tok, 1).tolist()
    own = SpeechFilter(tok.vocabulary, before_speech=[7])
    assert [*own.take([7]), *own.take([7, 7, *speech])] == speech
    held = SpeechFilter(tok.vocabulary, before_speech=[7])
    assert [*held.take_prompt([5, 7]), *held.take([7]), *held.take(speech)] == speech


@pytest.mark.parametrize(
    ("tokens", "sentence"),
    [
        (
            [3, 4, 5],
            "there is no whole frame of 'plain' speech among 3 ids; its codes are ids from 16 to 127",
        ),
        ([], "no whole frame of 'plain' speech among 0 ids"),
        (["text of another model"], "no whole frame of 'plain' speech among 0 ids"),
        ([129, 16, 40, 50], "no whole frame of 'plain' speech among 4 ids"),
        ([129, 16, 17], "counted from frame 0 of the stream, position 1: id 17 is code 1 of slot 0"),
        ([129, 16, 7], "id 7 is not an id of this vocabulary"),
        ([1.5], "speech is read from integer ids (n,), got float64"),
        (["<|audio_999|>"], "'<|audio_999|>' is out of range"),
    ],
)
def test_what_is_no_speech_is_one_sentence(tok, tokens, sentence):
    """The wrong preset, no start, less than a frame, text of another model: said, never silence."""
    with pytest.raises(TokenError, match=re.escape(sentence)):
        list(stream_audio(tokens, tok))


async def _asynchronous():
    yield 5


def _not_called():
    return [5]


OF_BYTES = "got bytes: a server's answer goes through response_tokens, other bytes through .decode()"
OF_EVENTS = "an event of a server that a client has parsed goes to ResponseReader.event"
NO_SOURCES = [
    (None, "got NoneType"),
    (5, "got int"),
    (np.float32(3), "got float32"),
    (np.array(5), "got ndarray"),
    (_not_called, "got function: call it, and hand over what it returns"),
    (_asynchronous, "got function: call it"),
    (b"5", OF_BYTES),
    ([b"<|audio_1|>"], OF_BYTES),
    ({"choices": []}, f"got dict: {OF_EVENTS}"),
    ([{"choices": []}], f"got dict: {OF_EVENTS}"),
    ({"input_ids": [5]}, 'got dict: hand over one row of what is in its "input_ids"'),
    ([{"input_ids": [5]}], 'got dict: hand over one row of what is in its "input_ids"'),
    ([[[1], [2, 3]]], "got lists of unequal lengths; hand over one line of ids"),
    ([torch.zeros(3, device="meta", dtype=torch.int64)], "got a Tensor without values"),
    ([["<|audio_1|>"]], "got text: push_text takes a piece of it"),
    ([None], "got NoneType"),
    ([[None]], "got a list of NoneType"),
    ([2**64], "got a number of more than 64 bits"),
]


@pytest.mark.parametrize(("tokens", "sentence"), NO_SOURCES)
def test_what_tokens_cannot_be_taken_from_is_one_sentence(tok, tokens, sentence):
    """Neither what Python says of it nor a word about ids that nobody gave; in an event loop, too."""
    with pytest.raises(TokenError, match=re.escape(sentence)):
        list(stream_audio(tokens, tok))

    async def listen():
        return [part async for part in astream_audio(tokens, tok)]

    with pytest.raises(TokenError, match=re.escape(sentence)):
        asyncio.run(listen())


def test_what_a_tokenizer_returned_is_no_source(tok):
    """Its keys are no text of a model."""
    with pytest.raises(TokenError, match=r'got AudioTokens: hand over one row of what is in its "input_ids"'):
        list(stream_audio(tok(np.zeros(800, np.float32), sampling_rate=8_000), tok))


def test_asynchronous_sources_go_where_they_can_be_read(tok):
    """`stream_audio` names the other one; a coroutine is for neither."""
    with pytest.raises(TokenError, match="got async_generator: an asynchronous source goes to astream_audio"):
        list(stream_audio(_asynchronous(), tok))

    async def ask():
        return [5]

    async def listen(waiting):
        return [part async for part in astream_audio(waiting, tok)]

    for listening in (
        lambda waiting: list(stream_audio(waiting, tok)),
        lambda waiting: asyncio.run(listen(waiting)),
    ):
        waiting = ask()
        with pytest.raises(TokenError, match="got coroutine: await it first, and hand over what it returns"):
            listening(waiting)
        waiting.close()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"5", OF_BYTES),
        (5, "got int: ids go to SpeechStream.push"),
        (["a"], "got list"),
        (None, "got NoneType"),
    ],
)
def test_what_is_no_text_is_one_sentence(tok, text, sentence):
    """And leaves the stream as it was."""
    stream = SpeechStream(tok)
    with pytest.raises(TokenError, match=re.escape(sentence)):
        stream.push_text(text)
    stream.push(_answer(tok))
    assert stream.ended


def test_bad_options_are_one_sentence(tok):
    """An encoding, a vocabulary without text, parallel rows."""
    with pytest.raises(TokenError, match="encoding is 'mp3'"):
        list(stream_audio([1], tok, encoding="mp3"))
    with pytest.raises(LayoutError, match="has no text form; hand over ids"):
        list(stream_audio(["<|audio_1|>"], tok.codec, None))
    with pytest.raises(TokenError, match="parallel rows"):
        SpeechStream(SnacTokenizer.from_pretrained("tiny"), "lucy")


async def _from(tokens, *, closed=None):
    try:
        for token in tokens:
            await asyncio.sleep(0)
            yield token
    finally:
        if closed is not None:
            closed.append(True)


@pytest.mark.parametrize("kind", ["async", "list", "generator"])
def test_in_an_event_loop_it_is_the_same(tok, kind):
    """From an asynchronous source or another, as bytes."""
    answer = _answer(tok)
    source = {"async": _from(answer), "list": answer, "generator": (number for number in answer)}[kind]

    async def collect():
        return [part async for part in astream_audio(source, tok, encoding="pcm16")]

    assert asyncio.run(collect()) == list(stream_audio(answer, tok, encoding="pcm16"))


def test_decoding_does_not_hold_up_the_event_loop(tok):
    """The network runs in another thread than the loop."""
    threads = set()
    stream = SpeechStream(tok)
    push = stream.decoder.push
    stream.decoder.push = lambda ids: (threads.add(threading.get_ident()), push(ids))[1]

    async def collect():
        return [part async for part in astream_audio(_from(_answer(tok)), stream)]

    asyncio.run(collect())
    assert threads
    assert threading.get_ident() not in threads


def _slow(tokens, closed, *, seconds):
    """An ordinary generator that takes its time for each token."""
    try:
        for each in tokens:
            time.sleep(seconds)
            yield each
    finally:
        closed.set()


@pytest.mark.parametrize("how", ["timed out", "cancelled"])
def test_a_listener_who_leaves_while_an_ordinary_source_writes_does_not_wait_for_it(tok, how):
    """The timeout is punctual, and the source is closed as soon as it has written: never in the middle."""
    closed, left_after = threading.Event(), []

    async def listened():
        async for _part in astream_audio(_slow(_answer(tok), closed, seconds=1), tok):
            pass

    async def leave():
        task = asyncio.create_task(listened())
        await asyncio.sleep(0.3)
        start = time.monotonic()
        if how == "cancelled":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(task, 0)
        left_after.append(time.monotonic() - start)
        assert await asyncio.to_thread(closed.wait, 5)

    asyncio.run(leave())
    assert left_after[0] < 0.5


def test_a_listener_who_leaves_between_two_pieces_finds_an_ordinary_source_closed(tok):
    """`aclose` returns when the source is closed."""
    closed = threading.Event()

    async def leave():
        parts = astream_audio(_slow(_answer(tok, 24), closed, seconds=0), tok)
        await anext(parts)
        await parts.aclose()
        return closed.is_set()

    assert asyncio.run(leave())


def test_a_source_with_an_end_is_closed_at_it(tok):
    """Such as a response that holds a connection: an iterator of its own with `close`."""
    closed = []

    class Response:
        def __init__(self):
            self._ids = iter(_speech(tok, 2).tolist())

        def __iter__(self):
            return self

        def __next__(self):
            return next(self._ids)

        def close(self):
            closed.append(True)

    async def collect():
        return [part async for part in astream_audio(Response(), tok)]

    _close(np.concatenate(asyncio.run(collect())), _whole(tok, 2))
    assert closed == [True]


@pytest.mark.parametrize("how", ["closed", "cancelled"])
def test_a_listener_who_leaves_closes_the_source(tok, how):
    """Closed in the middle, or its task cancelled: the source learns of it at once."""
    closed = []

    async def leave():
        parts = astream_audio(_from(_answer(tok, 24), closed=closed), tok)
        await anext(parts)
        if how == "closed":
            await parts.aclose()
            return
        task = asyncio.create_task(_drain(parts))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    assert closed == [True]


async def _drain(parts):
    async for _ in parts:
        await asyncio.sleep(0)


def test_an_error_of_the_source_comes_after_the_sound_in_front_of_it(tok):
    """A server that breaks off."""

    def broken():
        yield from _speech(tok, 20).tolist()
        raise ConnectionResetError("the server is gone")

    heard = []
    with pytest.raises(ConnectionResetError, match="the server is gone"):
        heard.extend(stream_audio(broken(), tok))
    assert heard


def test_streams_need_no_transformers():
    """Serving from another server's tokens does not import it."""
    code = "import sys; from snac_tok.generation import stream_audio; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_stream_that_has_ended_is_not_taken_again(tok):
    """A second speech would make no sound, without a word."""
    ids = tok.encode(np.zeros(960), sampling_rate=8_000, add_special_tokens=True)
    for written in (ids, ids[:-1]):
        stream = SpeechStream(tok)
        assert sum(map(len, stream_audio(written, stream)))
        with pytest.raises(TokenError, match="has come to its end; make another one"):
            next(stream_audio(written, stream, encoding="wav"))
