"""What `torch.set_default_device` says is for the program's own tensors: ours are where the codec is."""

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
)

SOUND = (0.3 * np.sin(np.arange(20_000) * 0.05)).astype(np.float32)
DOORS = {
    "ids": lambda tok, _ids: tok.encode(SOUND, sampling_rate=24_000),
    "sound": lambda tok, ids: tok.decode(ids).samples,
    "repaired sound": lambda tok, ids: tok.decode(ids, on_error="resync").samples,
    "sounds": lambda tok, ids: [sound.samples for sound in tok.batch_decode([ids, ids[:70]])],
    "codes to sound": lambda tok, ids: tok.decode_codes(tok.vocabulary.decode(ids)).samples,
    "listed codes to sound": lambda tok, ids: tok.decode_codes(lists(tok.vocabulary.decode(ids))).samples,
    "blocks": lambda tok, ids: [sound.samples for sound in tok.decode_blocks(ids)],
    "stream": lambda tok, ids: streamed(StreamDecoder(tok), ids),
    "stream of codes": lambda tok, ids: StreamDecoder(tok).push(tok.vocabulary.decode(ids)),
    "encoder": lambda tok, _ids: streamed(StreamEncoder(tok), SOUND),
    "streams": lambda tok, ids: batch_streamed(BatchStreamDecoder(tok), ids),
    "encoders": lambda tok, _ids: batch_streamed(BatchStreamEncoder(tok), SOUND),
    "digest": lambda tok, _ids: tok.codec.weights_sha256(),
    "a new codec": lambda _tok, _ids: SNAC.from_pretrained("tiny").weights_sha256(),
}


def lists(levels):
    """Codes as JSON holds them."""
    return [level.tolist() for level in levels]


def streamed(stream, values):
    """Push in two pieces and end."""
    return [stream.push(values[:1_001]), stream.push(values[1_001:]), stream.flush()]


def batch_streamed(streams, values):
    """Push to two streams of different lengths."""
    for name, part in (("a", values), ("b", values[:7_700])):
        streams.open(name)
        streams.push(name, part)
    return streams.step()


@pytest.fixture(scope="module")
def tok():
    """A tokenizer that was loaded before."""
    return SnacTokenizer.from_pretrained("tiny", preset="orpheus")


@pytest.fixture(scope="module")
def found_without(tok):
    """What each door gives while nothing is set, and the ids that it was given."""
    ids = tok.encode(SOUND, sampling_rate=24_000)
    return ids, {name: door(tok, ids) for name, door in DOORS.items()}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_works_whatever_the_default_device_is(found_without, tok, door):
    """And gives what it gives without one, to a program that builds a large model without memory for it."""
    ids, wanted = found_without
    torch.set_default_device("meta")
    try:
        found = DOORS[door](tok, ids)
    finally:
        torch.set_default_device(None)
    np.testing.assert_equal(found, wanted[door])
