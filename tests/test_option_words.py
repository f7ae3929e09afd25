"""Options that are one of a few words, at every door that has one: another word is one sentence."""

import numpy as np
import pytest
import torch

from snac_tok import (
    BatchStreamDecoder,
    FrameLayout,
    Resampler,
    SnacMapper,
    SnacTokenizer,
    StreamDecoder,
    Vocabulary,
    Waveform,
    preset,
    read_audio,
    write_audio,
)
from snac_tok.errors import LostSpeechWarning, SnacTokError, TokenError
from snac_tok.evaluation import Identity, LocalCodec, evaluate
from snac_tok.evaluation.programs import Codec2RoundTrip
from snac_tok.generation import SnacStreamer, SpeechStream, stream_audio
from snac_tok.hf.collation import AudioTextCollator, pack_sequences
from snac_tok.prompts import speech_ids
from snac_tok.streaming import repair_ids
from snac_tok.training.config import DataConfig, TrainingConfig
from snac_tok.training.data_config import Source
from snac_tok.training.stages import StageConfig

TABLE = preset("orpheus")
FRAME = [TABLE.id_range(slot)[0] for slot in range(7)]
CLIP = Waveform(samples=np.full((1, 3000), 0.1, np.float32), sampling_rate=24_000)
DATA = DataConfig(train=(Source(folder="clips"),))


@pytest.fixture(scope="module")
def tok():
    """The trial codec with a published table."""
    return SnacTokenizer.from_pretrained("tiny", preset="orpheus")


# What is called with a wrong word; the message names the option or the word.
DOORS = {
    "speech_ids(on_fault)": lambda _tok, word: speech_ids(FRAME, TABLE, on_fault=word),
    "StreamDecoder(on_error)": lambda tok, word: StreamDecoder(tok, on_error=word),
    "StreamDecoder(noise)": lambda tok, word: StreamDecoder(tok, noise=word),
    "BatchStreamDecoder(on_error)": lambda tok, word: BatchStreamDecoder(tok, on_error=word),
    "BatchStreamDecoder.open(noise)": lambda tok, word: BatchStreamDecoder(tok).open("a", noise=word),
    "SpeechStream(on_error)": lambda tok, word: SpeechStream(tok, on_error=word),
    "SpeechStream(noise)": lambda tok, word: SpeechStream(tok, noise=word),
    "SnacStreamer(on_error)": lambda tok, word: SnacStreamer(tok, on_error=word),
    "SnacStreamer(noise)": lambda tok, word: SnacStreamer(tok, noise=word),
    "repair_ids(on_error)": lambda _tok, word: repair_ids(FRAME, TABLE, on_error=word),
    "stream_audio(encoding)": lambda tok, word: list(stream_audio(FRAME, tok, encoding=word)),
    "evaluate(measures)": lambda _tok, word: evaluate([], [Identity()], measures=word),
    "evaluate(channels)": lambda _tok, word: evaluate([], [Identity()], channels=word),
    "LocalCodec(kind)": lambda _tok, word: LocalCodec(word, "nowhere"),
    "Codec2RoundTrip(mode)": lambda _tok, word: Codec2RoundTrip(mode=word),
    "FrameLayout(order)": lambda _tok, word: FrameLayout((4, 2, 1), order=word),
    "Vocabulary(offsets)": lambda _tok, word: Vocabulary(FrameLayout((4, 2, 1)), offsets=word),
    "grammar(form)": lambda _tok, word: TABLE.grammar(word),
    "tokenizer(padding)": lambda tok, word: tok(CLIP, padding=word),
    "tokenizer(return_tensors)": lambda tok, word: tok(CLIP, return_tensors=word),
    "SnacTokenizer(padding_side)": lambda tok, word: SnacTokenizer(
        tok.codec, vocabulary=TABLE, padding_side=word
    ),
    "decode(noise)": lambda tok, word: tok.decode(FRAME, noise=word),
    "use_precision": lambda tok, word: tok.codec.use_precision(word),
    "read_audio(backend)": lambda _tok, word: read_audio("tests/speech/LJ001-0008.flac", backend=word),
    "Resampler(backend)": lambda _tok, word: Resampler(backend=word),
    "Resampler(quality)": lambda _tok, word: Resampler(quality=word),
    "write_audio(subtype)": lambda _tok, word: write_audio("never.wav", CLIP, subtype=word),
    "SnacMapper(on_error)": lambda _tok, word: SnacMapper("tiny", preset="orpheus", on_error=word),
    "SnacMapper(output_dtype)": lambda _tok, word: SnacMapper("tiny", preset="orpheus", output_dtype=word),
    "AudioTextCollator(padding_side)": lambda _tok, word: AudioTextCollator(
        pad_token_id=0, padding_side=word
    ),
    "pack_sequences(too_long)": lambda _tok, word: pack_sequences([], context_length=4, too_long=word),
    "TrainingConfig(precision)": lambda _tok, word: TrainingConfig(data=DATA, precision=word),
    "TrainingConfig(trainable)": lambda _tok, word: TrainingConfig(data=DATA, trainable=word),
    "TrainingConfig(codebooks)": lambda _tok, word: TrainingConfig(data=DATA, codebooks=word),
    "TrainingConfig(start_codebooks)": lambda _tok, word: TrainingConfig(data=DATA, start_codebooks=word),
    "StageConfig(trainable)": lambda _tok, word: StageConfig(name="a", steps=1, trainable=word),
    "StageConfig(codebooks)": lambda _tok, word: StageConfig(name="a", steps=1, codebooks=word),
    "StageConfig(start_codebooks)": lambda _tok, word: StageConfig(name="a", steps=1, start_codebooks=word),
}


@pytest.mark.parametrize("word", ["Wrong", ["wrong"], 3.5])
@pytest.mark.parametrize("door", DOORS)
def test_another_word_is_refused_at_once(tok, door, word):
    """Also what is no text, and what cannot be looked up in a dict."""
    if door == "evaluate(measures)" and word == ["wrong"]:
        word = "mel"  # a list is what is wanted there
    with pytest.raises(SnacTokError) as refusal:
        DOORS[door](tok, word)
    assert repr(word) in str(refusal.value)


def test_speech_is_not_lost_by_a_capital_letter():
    """It was taken for "stop", which keeps what is in front of the fault."""
    damaged = np.array([*FRAME, 17, *FRAME[1:]])
    with pytest.raises(TokenError, match=r'on_fault is .Raise.; it must be "stop", "raise" or "keep"'):
        speech_ids(damaged, TABLE, on_fault="Raise")
    with pytest.warns(LostSpeechWarning, match="kept 7 of 14"):
        assert speech_ids(torch.from_numpy(damaged), TABLE, on_fault="stop").tolist() == FRAME
