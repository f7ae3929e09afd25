"""numpy's masked arrays, at every door that takes arrays: what is masked is never read as if it were not."""

import numpy as np
import pytest

from snac_tok import FrameLayout, SnacTokenizer, StreamDecoder, StreamEncoder, Waveform, preset, write_audio
from snac_tok.audio import as_waveform
from snac_tok.errors import SnacTokError
from snac_tok.generation import SpeechStream, pcm16, read_generated
from snac_tok.hf import SnacFeatureExtractor
from snac_tok.hf.collation import AudioTextCollator
from snac_tok.metrics import CodebookUsage
from snac_tok.prompts import prompt_format, speech_ids
from snac_tok.shards import Record
from snac_tok.shards.record import raw_codes
from snac_tok.streaming import repair_ids

TABLE = preset("orpheus")
CODES = [np.array([1]), np.array([2, 3]), np.array([4, 5, 6, 7])]
FRAME = np.asarray(TABLE.encode(CODES))
TONE = (np.sin(np.arange(3000) / 7) / 2).astype(np.float32)
RATE = 24_000


def hidden(values, *, count=1):
    """The values with the last ones masked."""
    return np.ma.masked_array(values, mask=np.arange(len(values)) >= len(values) - count)


@pytest.fixture(scope="module")
def tok():
    """The trial codec with a published table."""
    return SnacTokenizer.from_pretrained("tiny", preset="orpheus")


IDS = {
    "Vocabulary.decode": lambda _tok, ids: TABLE.decode(ids),
    "Vocabulary.decode of rows": lambda _tok, ids: TABLE.decode([ids, FRAME]),
    "ids_to_text": lambda _tok, ids: TABLE.ids_to_text(ids),
    "speech_ids": lambda _tok, ids: speech_ids(ids, TABLE),
    "repair_ids": lambda _tok, ids: repair_ids(ids, TABLE),
    "training": lambda _tok, ids: prompt_format(TABLE).training([5], ids),
    "inference": lambda _tok, _ids: prompt_format(TABLE).inference(hidden([5, 6])),
    "read_generated": lambda _tok, ids: read_generated(ids, TABLE),
    "decode": lambda tok, ids: tok.decode(ids),
    "batch_decode": lambda tok, ids: tok.batch_decode([FRAME, ids]),
    "StreamDecoder": lambda tok, ids: StreamDecoder(tok).push(ids),
    "SpeechStream": lambda tok, ids: SpeechStream(tok).push(ids),
    "collator": lambda _tok, ids: AudioTextCollator(pad_token_id=0)([{"input_ids": ids}]),
    "unflatten": lambda _tok, ids: FrameLayout((4, 2, 1)).unflatten(ids),
    "raw_codes": lambda _tok, ids: raw_codes(ids, codebook_size=65_536),
}
CODE_DOORS = {
    "Vocabulary.encode": lambda _tok, codes: TABLE.encode(codes),
    "flatten": lambda _tok, codes: FrameLayout((4, 2, 1)).flatten(codes),
    "decode_codes": lambda tok, codes: tok.decode_codes(codes),
    "usage": lambda _tok, codes: CodebookUsage(num_levels=3, codebook_size=8).update(codes),
    "Record": lambda _tok, _codes: Record(
        id="a", source="a", num_samples=1, source_sampling_rate=1, codes=hidden(np.zeros(7, np.uint16))
    ),
}
SOUND = {
    "as_waveform": lambda _tok, sound: as_waveform(sound, sampling_rate=RATE),
    "as_waveform of rows": lambda _tok, sound: as_waveform([sound, TONE], sampling_rate=RATE),
    "Waveform": lambda _tok, sound: Waveform(samples=sound[None], sampling_rate=RATE),
    "write_audio": lambda _tok, sound: write_audio("never.wav", sound, sampling_rate=RATE),
    "tokenizer": lambda tok, sound: tok(sound, sampling_rate=RATE),
    "audio dict": lambda tok, sound: tok({"array": sound, "sampling_rate": RATE}),
    "StreamEncoder": lambda tok, sound: StreamEncoder(tok).push(sound),
    "extractor": lambda _tok, sound: SnacFeatureExtractor()([TONE, sound], sampling_rate=RATE),
    "pcm16": lambda _tok, sound: pcm16(sound),
}


@pytest.mark.parametrize("door", IDS)
def test_masked_ids_are_refused(tok, door):
    """The seventh id of a frame was decoded although it is masked."""
    with pytest.raises(SnacTokError, match=r"got 1 of \d masked: leave them out with \.compressed\(\)"):
        IDS[door](tok, hidden(FRAME))


@pytest.mark.parametrize("door", CODE_DOORS)
def test_masked_codes_are_refused(tok, door):
    """In any level."""
    with pytest.raises(SnacTokError, match=r"got 1 of \d masked"):
        CODE_DOORS[door](tok, [*CODES[:2], hidden(CODES[2])])


@pytest.mark.parametrize("door", SOUND)
def test_masked_samples_are_refused(tok, door):
    """What somebody masks is not to be heard."""
    with pytest.raises(SnacTokError, match=r"got 10 of 3000 masked"):
        SOUND[door](tok, hidden(TONE, count=10))


def test_where_nothing_is_masked_it_is_an_array(tok):
    """Ids, codes and sound: as without the mask."""
    assert tok.decode(np.ma.masked_array(FRAME)).samples.tolist() == tok.decode(FRAME).samples.tolist()
    assert TABLE.encode([np.ma.masked_array(level) for level in CODES]).tolist() == FRAME.tolist()
    assert tok.encode(np.ma.masked_array(TONE, mask=False), sampling_rate=RATE) == tok.encode(
        TONE, sampling_rate=RATE
    )


def test_the_validator_lists_it_as_the_one_fault():
    """`validate` raises nothing."""
    (fault,) = TABLE.validate(hidden(FRAME))
    assert "got 1 of 7 masked" in str(fault)
