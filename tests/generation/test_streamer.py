"""SnacStreamer: what `generate` writes, heard while it writes, is what decoding the whole gives."""

from __future__ import annotations

import asyncio
import re
import threading
import warnings

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from snac_tok import SNAC, SnacTokenizer, preset
from snac_tok.errors import GenerationStoppedError, LostSpeechWarning, TokenError
from snac_tok.frames import preset_names
from snac_tok.generation import FrameGrammarProcessor, SnacStreamer
from snac_tok.prompts import speech_ids

# Names of what starts and what ends speech, with the place behind a table that has neither.
EDGES = ((0, ("start_of_speech", "bos")), (1, ("end_of_speech", "eos")))


@pytest.fixture
def edges(tok):
    """Start and end of speech, pad."""
    return [tok.vocabulary.special_id(name) for name in ("bos", "eos", "pad")]


def _generate(model, tok, prompts, streamer, *, frames=(2, 12), **options):
    """Call generate with the grammar on, the prompts padded on the left."""
    pad, end = tok.vocabulary.special_id("pad"), tok.vocabulary.special_id("eos")
    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(line)) + line for line in prompts])
    torch.manual_seed(0)
    return model.generate(
        ids,
        attention_mask=(ids != pad).long(),
        streamer=streamer,
        max_new_tokens=7 * 20,
        logits_processor=[FrameGrammarProcessor(tok, min_frames=frames[0], max_frames=frames[1])],
        eos_token_id=end,
        pad_token_id=pad,
        **{"do_sample": True, **options},
    )


def _frame(tok, seed=5):
    generator = np.random.default_rng(seed)
    return tok.vocabulary.encode([generator.integers(16, size=n) for n in (1, 2, 4)]).tolist()


def _offline(tok, row):
    return tok.decode(speech_ids(row, tok.vocabulary)).samples[0]


def _close(found, wanted):
    np.testing.assert_allclose(np.concatenate(found), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"do_sample": False}, {"top_k": 5}])
def test_one_row_is_the_whole_decoded(model, tok, edges, options):
    """Prompt that starts speech; exact, every sample once."""
    found, streamer = [], SnacStreamer(tok)
    streamer.start(lambda: _generate(model, tok, [[5, 6, edges[0]]], streamer, **options))
    found.extend(streamer)
    _close(found, _offline(tok, streamer.generated[0]))
    assert streamer.timing.audio_seconds == pytest.approx(sum(map(len, found)) / 8_000)
    assert 0 < streamer.timing.first_audio_seconds <= streamer.timing.elapsed_seconds


@pytest.mark.parametrize("read", [list, lambda streamer: list(streamer.rows())], ids=["row", "rows"])
def test_what_generate_returns_is_there_when_the_sound_is_at_its_end(tok, read):
    """Also where it returns long after it told of its end; the sound waits for nothing."""
    streamer, returns, heard = SnacStreamer(tok), threading.Event(), []

    def generate():
        streamer.put(np.array([[5]]))
        for ids in _frame(tok):
            streamer.put(np.array([ids]))
        streamer.end()
        returns.wait(60)
        return "all ids"

    streamer.start(generate)
    listener = threading.Thread(
        target=lambda: heard.extend(read(streamer)) or heard.append(streamer.generated)
    )
    listener.start()
    listener.join(0.2)
    assert listener.is_alive()
    returns.set()
    listener.join()
    assert heard[-1] == "all ids"
    assert len(heard) > 1


@pytest.mark.parametrize("num_return_sequences", [1, 2])
def test_rows_of_a_batch_are_each_the_whole_decoded(model, tok, edges, num_return_sequences):
    """Prompts of several lengths, one of which goes on inside a frame; rows end at different times."""
    prompts = [
        [5, 6, edges[0]],
        [7, edges[0], *_frame(tok)[:3]],
        [edges[0], *_frame(tok), edges[1], 5, edges[0]],
    ]
    streamer, kept = SnacStreamer(tok), []

    def run():
        kept.append(_generate(model, tok, prompts, streamer, num_return_sequences=num_return_sequences))

    found = {}
    for row, sound in streamer.start(run).rows():
        found.setdefault(row, []).append(sound)
    assert sorted(found) == list(range(3 * num_return_sequences))
    for row, parts in found.items():
        _close(parts, _offline(tok, kept[0][row]))


def _layouts():
    """Every preset of one line, at 7 slots and, where it has room for them, 15."""
    for name in preset_names():
        if not preset(name).is_parallel:
            yield pytest.param(name, (4, 2, 1), id=f"{name}-7")
            if name != "orpheus":
                yield pytest.param(name, (8, 4, 2, 1), id=f"{name}-15")


@pytest.mark.parametrize(("name", "strides"), list(_layouts()))
def test_every_layout_is_the_whole_decoded(name, strides):
    """Random models, random codecs, two rows, the grammar on: what is heard is what their ids are, decoded at once."""
    torch.manual_seed(0)
    tok = SnacTokenizer(
        SNAC(8_000, 8, (3, 2), None, 32, (2, 3), None, 16, 8, strides).eval(),
        preset(name, strides=strides, codebook_size=16),
    )
    table = tok.vocabulary
    # Where a table has no edges of its own, the language model's: ids behind all others.
    start, end = (
        table.specials.get(names[0], table.specials.get(names[1], table.size + at)) for at, names in EDGES
    )
    around = {"before_speech": [start], "after_speech": [end]}
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=table.size + 2, num_key_value_heads=1, **shape)).eval()
    streamer = SnacStreamer(tok, **around)
    held = FrameGrammarProcessor(table, min_frames=2, max_frames=4, **around)
    options = {"logits_processor": [held], "eos_token_id": end, "pad_token_id": end, "do_sample": True}
    prompts = torch.tensor([[start]] * 2)
    found = {0: [], 1: []}
    for row, sound in streamer.start(
        lambda: model.generate(
            prompts, streamer=streamer, max_new_tokens=4 * table.ids_per_frame + 1, **options
        )
    ).rows():
        found[row].append(sound)
    for row, parts in found.items():
        written = streamer.generated[row].tolist()[1:]
        ids = written[: written.index(end)]
        assert table.validate(ids) == []
        assert 2 <= len(ids) // table.ids_per_frame <= 4
        _close(parts, tok.decode(ids).samples[0])


def test_a_model_that_writes_the_start_of_speech_itself(tok, edges):
    """Text and the start among what is generated; the streamer is fed as generate does it."""
    streamer, frame = SnacStreamer(tok), _frame(tok)
    streamer.put(torch.tensor([[5, 6], [5, 6]]))
    for first, second in zip(
        [7, edges[0], *frame, edges[1], 8], [edges[0], *frame, edges[1], 5, 5], strict=True
    ):
        streamer.put(torch.tensor([first, second]))
    streamer.end()
    found = {}
    for row, sound in streamer.rows():
        found.setdefault(row, []).append(sound)
    for row in (0, 1):
        _close(found[row], tok.decode(frame).samples[0])


def test_sound_comes_while_the_model_still_writes(tok, edges):
    """The listener has sound before the end; several ids a step, as assisted decoding gives them, are taken, too."""
    streamer, frame = SnacStreamer(tok), _frame(tok)
    streamer.put(torch.tensor([[edges[0]]]))
    for _ in range(15):
        streamer.put(torch.tensor([frame]))
    sounds = iter(streamer)
    first = next(sounds)
    assert first.size
    streamer.put(torch.tensor([frame]))
    streamer.end()
    _close([first, *sounds], tok.decode(frame * 16).samples[0])


def test_an_error_of_generate_reaches_the_listener_after_the_sound(model, tok, edges):
    """It never calls end() then: the error is handed on all the same."""

    class Breaks(FrameGrammarProcessor):
        def __call__(self, input_ids, scores):
            if input_ids.shape[1] > 7 * 15:
                raise ArithmeticError("the model broke")
            return super().__call__(input_ids, scores)

    streamer, heard = SnacStreamer(tok), []
    end, pad = edges[1:]
    options = {"max_new_tokens": 200, "eos_token_id": end, "pad_token_id": pad, "do_sample": False}
    held = [Breaks(tok, min_frames=30)]
    streamer.start(
        lambda: model.generate(
            torch.tensor([[edges[0]]]), streamer=streamer, logits_processor=held, **options
        )
    )
    with pytest.raises(ArithmeticError, match="the model broke"):
        heard.extend(streamer)
    assert heard


def test_with_streamer_hands_on_an_error_from_a_thread_of_ones_own(tok, edges):
    """For those who start the thread themselves."""
    streamer, caught = SnacStreamer(tok), []

    def run():
        try:
            with streamer:
                streamer.put(torch.tensor([[edges[0]]]))
                int("no number")
        except ValueError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    with pytest.raises(ValueError, match="invalid literal"):
        list(streamer)
    thread.join()
    assert caught


def test_a_thread_that_dies_without_a_word_is_noticed(tok, edges):
    """No listener waits for ever."""
    streamer = SnacStreamer(tok)
    thread = threading.Thread(target=lambda: streamer.put(torch.tensor([[edges[0]]])))
    thread.start()
    thread.join()
    with pytest.raises(GenerationStoppedError, match=re.escape("ended without end()")):
        list(streamer)


@pytest.mark.parametrize(
    ("do_sample", "error", "sentence"),
    [
        (False, ValueError, "beam search"),
        (True, TokenError, "with beams it streams nothing: set num_beams=1"),
    ],
)
def test_beams_are_no_stream_and_the_listener_hears_of_it(model, tok, do_sample, error, sentence):
    """Transformers refuses beam search with a streamer, and forgets the streamer where beams are sampled."""
    streamer = SnacStreamer(tok)
    prompt = [tok.vocabulary.special_id("bos")]
    streamer.start(lambda: _generate(model, tok, [prompt], streamer, num_beams=2, do_sample=do_sample))
    with pytest.raises(error, match=sentence):
        list(streamer.rows())


def test_a_listener_who_leaves_stops_generate(model, tok, edges):
    """The model does not go on writing for nobody."""
    streamer, ended = SnacStreamer(tok), threading.Event()
    written = []

    def run():
        try:
            written.append(_generate(model, tok, [[edges[0]]], streamer, frames=(20, 20)))
        finally:
            ended.set()

    for _ in streamer.start(run):
        break
    assert ended.wait(20)
    with pytest.raises(GenerationStoppedError, match="nobody listens"):
        streamer.put(torch.tensor([5]))


def test_in_an_event_loop_it_is_the_same(model, tok, edges):
    """`async for`, of one row and of several; the loop goes on meanwhile."""

    async def collect(streamer, prompts):
        kept, ticks = [], []

        async def tick():
            while True:
                ticks.append(1)
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        streamer.start(lambda: kept.append(_generate(model, tok, prompts, streamer)))
        if len(prompts) == 1:
            found = {0: [sound async for sound in streamer]}
        else:
            found = {}
            async for row, sound in streamer.arows():
                found.setdefault(row, []).append(sound)
        ticking.cancel()
        return found, kept[0], ticks

    for prompts in ([[5, edges[0]]], [[5, edges[0]], [edges[0]]]):
        found, written, ticks = asyncio.run(collect(SnacStreamer(tok), prompts))
        assert len(ticks) > 1
        for row, parts in found.items():
            _close(parts, _offline(tok, written[row]))


def test_a_cancelled_listener_lets_its_thread_go(tok, edges):
    """The worker thread that waits for ids ends; so does the next put."""
    streamer = SnacStreamer(tok)
    streamer.put(torch.tensor([[edges[0]]]))

    async def leave():
        task = asyncio.create_task(anext(aiter(streamer)))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(leave(), 20))
    with pytest.raises(GenerationStoppedError):
        streamer.put(torch.tensor([5]))


def _fed(tok, steps, **options):
    streamer = SnacStreamer(tok, **options)
    for step in steps:
        streamer.put(torch.tensor(step))
    streamer.end()
    return streamer


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ([], "no id came: hand this streamer to generate(), streamer=streamer."),
        ([[[5, 6]], [7], [8]], "no whole frame of 'plain' speech among 4 ids"),
        ([[[5, 6], [5, 6]]], "generate() writes 2 rows; read them with streamer.rows(), or set num_beams=1"),
        ([[[129]], [16], [16]], "counted from frame 0 of the stream, position 1: id 16 is code 0 of slot 0"),
    ],
)
def test_what_makes_no_sound_is_one_sentence(tok, steps, sentence):
    """Nothing given, text only, more rows than asked for, an id out of place."""
    with pytest.raises(TokenError, match=re.escape(sentence)):
        list(_fed(tok, steps))


def test_one_row_without_speech_is_told_after_the_sound_of_the_others(tok, edges):
    """The others are heard to their end."""
    steps = [[[edges[0]], [5]], *([number, 5] for number in [*_frame(tok), edges[1]])]
    heard = []
    with pytest.raises(TokenError, match="no whole frame") as caught:
        heard.extend(_fed(tok, steps).rows())
    assert caught.value.__notes__ == ["row 1 of 2."]
    _close([sound for _, sound in heard], tok.decode(_frame(tok)).samples[0])


def test_speech_that_ends_inside_a_frame_is_told(tok, edges):
    """By a warning; what was cut off by the limit of generation is none."""
    frame = _frame(tok)
    with pytest.warns(LostSpeechWarning, match="inside a frame"):
        sound = list(_fed(tok, [[[edges[0]]], *([n] for n in [*frame, *frame[:3], edges[1]])]))
    _close(sound, tok.decode(frame).samples[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sound = list(_fed(tok, [[[edges[0]]], *([n] for n in [*frame, *frame[:3]])]))
    _close(sound, tok.decode(frame).samples[0])


def test_a_streamer_serves_once(tok, edges):
    """A second generate or a second reader is refused."""
    streamer = _fed(tok, [[[edges[0]]], *([n] for n in [*_frame(tok), edges[1]])])
    with pytest.raises(GenerationStoppedError, match="has served a generate"):
        streamer.put(torch.tensor([[5]]))
    list(streamer)
    with pytest.raises(TokenError, match="this streamer has been read"):
        list(streamer)


def test_a_listener_may_wait_for_so_long_only(tok):
    """timeout=: seconds without an id."""
    with pytest.raises(GenerationStoppedError, match=re.escape("no id came within 0.05 seconds")):
        list(SnacStreamer(tok, timeout=0.05))
