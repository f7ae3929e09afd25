"""`on_error` at every door that decodes: the same frames, one warning, and strict as it was."""

import warnings

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from snac_tok import SnacTokenizer
from snac_tok.errors import LostSpeechWarning, TokenError, WaveformError
from snac_tok.generation import SnacStreamer, SpeechStream, stream_audio
from snac_tok.hf import SnacFeatureExtractor, SnacProcessor, add_audio_tokens

RATE = 24_000
LENGTH = 20_000
FRAME = 2048
START, END = 128_257, 128_258


@pytest.fixture(scope="module")
def tok():
    """The embedded codec."""
    return SnacTokenizer.from_pretrained("tiny", preset="orpheus")


@pytest.fixture(scope="module")
def ids(tok):
    """Ten frames of a tone."""
    samples = np.sin(np.arange(LENGTH) * 0.05).astype(np.float32) * 0.3
    return np.array(tok.encode(samples, sampling_rate=RATE))


@pytest.fixture(scope="module")
def wanted(tok, ids):
    """Of the ids without their eleventh: the sound without the second frame, and with it concealed."""
    filled = np.concatenate((ids[:10], ids[3:4], ids[11:]))
    return {
        "resync": tok.decode(np.delete(ids, range(7, 14))).samples[0],
        "conceal": tok.decode(filled).samples[0],
    }


MODES = pytest.mark.parametrize("on_error", ["resync", "conceal"])


@MODES
def test_a_tokenizer_decodes_damaged_ids(tok, ids, wanted, on_error):
    """Whole, piece by piece, and in a batch, where one warning names the rows."""
    damaged = np.delete(ids, 10)
    with pytest.warns(
        LostSpeechWarning, match="^1 fault among the ids: .*position 10, frame 1: 1 id missing"
    ) as told:
        sound = tok.decode(damaged, on_error=on_error).samples[0]
    assert len(told) == 1
    np.testing.assert_array_equal(sound, wanted[on_error])
    with pytest.warns(LostSpeechWarning) as told:
        blocks = [block.samples[0] for block in tok.decode_blocks([END, *damaged, END], on_error=on_error)]
    assert len(told) == 1
    np.testing.assert_allclose(np.concatenate(blocks), wanted[on_error], rtol=0, atol=1e-5)
    with pytest.warns(LostSpeechWarning, match=r"^row 1: 1 fault .*\. row 2: 1 fault ") as told:
        rows = tok.batch_decode([ids, damaged, torch.from_numpy(damaged)], on_error=on_error)
    assert len(told) == 1
    for row in rows[1:]:
        np.testing.assert_array_equal(row.samples[0], wanted[on_error])


def test_a_length_of_the_recording_is_a_bound_where_frames_were_lost(tok, ids):
    """A repaired recording may be shorter than it was; whole ids still have to fit."""
    damaged = np.delete(ids, 10)
    with pytest.warns(LostSpeechWarning):
        assert tok.decode(damaged, num_samples=LENGTH, on_error="resync").num_samples == 9 * FRAME
    with pytest.warns(LostSpeechWarning):
        assert tok.decode(damaged, num_samples=LENGTH, on_error="conceal").num_samples == LENGTH
    with pytest.raises(WaveformError, match="num_samples"):
        tok.decode(ids, num_samples=LENGTH * 9, on_error="resync")


def test_strict_stays_the_default_and_whole_ids_say_nothing(tok, ids):
    """Nothing is repaired unasked."""
    for refused in (
        tok.decode,
        lambda row: tok.batch_decode([row]),
        lambda row: list(tok.decode_blocks(row)),
    ):
        with pytest.raises(TokenError, match="position 10"):
            refused(np.delete(ids, 10))
    with pytest.raises(TokenError, match='"strict", "resync" or "conceal"'):
        tok.decode(ids, on_error="repair")
    with pytest.raises(TokenError, match=r"hold no frame .*1 frame lost"):
        tok.decode(ids[:4], on_error="conceal")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = tok.decode([START, *ids, END], on_error="conceal")
    np.testing.assert_array_equal(whole.samples, tok.decode(ids).samples)


@MODES
def test_a_processor_decodes_what_a_model_wrote(ids, wanted, on_error):
    """Prompt, damaged speech, its end and padding: the strict door stops at the fault, these go on."""
    inner = Tokenizer(models.WordLevel({"?": 0, "hello": 1}, unk_token="?"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    text = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="?", pad_token="?")
    table = add_audio_tokens(text)
    processor = SnacProcessor(SnacFeatureExtractor(), text, "tiny", table)
    shift = table.base - 128_266
    marks = processor.prompts.start_of_speech, processor.prompts.end_of_speech
    damaged = np.delete(ids, 10) + shift
    row = [1, marks[0], *damaged, marks[1], 0, 0]
    with pytest.warns(LostSpeechWarning, match="^kept 7 of 69 ids"):
        assert processor.decode(row).numel() == FRAME
    with pytest.warns(LostSpeechWarning, match="^sequence 0: 1 fault among the ids"):
        np.testing.assert_array_equal(processor.decode(row, on_error=on_error), wanted[on_error])
    whole = [1, marks[0], *(ids + shift), marks[1]]
    with pytest.warns(LostSpeechWarning, match="^sequence 1: 1 fault among the ids") as told:
        sounds = processor.batch_decode([whole, row], on_error=on_error)
    assert len(told) == 1
    np.testing.assert_array_equal(sounds[1], wanted[on_error])


@MODES
@pytest.mark.parametrize("size", [1, 5, 100])
def test_sound_while_a_model_writes(tok, ids, wanted, on_error, size):
    """A stream of speech, one of ids or of text, and generate's streamer."""
    line = np.array([5, START, *np.delete(ids, 10), END, 7])
    pieces = [line[at : at + size].tolist() for at in range(0, len(line), size)]
    stream = SpeechStream(tok, on_error=on_error)
    with pytest.warns(LostSpeechWarning, match="^1 fault among the ids"):
        sound = np.concatenate(list(stream_audio(pieces, stream)))
    np.testing.assert_allclose(sound, wanted[on_error], rtol=0, atol=1e-5)
    assert stream.decoder.report.faults[0].position == 10
    streamer = SnacStreamer(tok, on_error=on_error)
    for piece in ([[9]], *pieces):
        streamer.put(np.array(piece))
    streamer.end()
    with pytest.warns(LostSpeechWarning, match="^stream 0: 1 fault among the ids"):
        sound = np.concatenate(list(streamer))
    np.testing.assert_allclose(sound, wanted[on_error], rtol=0, atol=1e-5)
    assert streamer.reports[0] == stream.decoder.report


def test_a_frame_that_was_being_written_makes_no_sound(tok, ids):
    """Where generation was stopped; where the model ended its speech inside a frame, that frame is concealed."""
    stream = SpeechStream(tok, on_error="conceal")
    with pytest.warns(LostSpeechWarning, match="1 frame lost"):
        sound = np.concatenate(list(stream_audio([ids[:-3]], stream)))
    assert sound.size == (len(ids) // 7 - 1) * FRAME
    stream = SpeechStream(tok, on_error="conceal")
    with pytest.warns(LostSpeechWarning, match="1 of 10 frames concealed"):
        sound = np.concatenate(list(stream_audio([ids[:-3], [END]], stream)))
    assert sound.size == len(ids) // 7 * FRAME
