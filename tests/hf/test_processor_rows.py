"""Many rows of a language model to sound in one go: what each gives alone, on whichever device the codec is."""

import numpy as np
import pytest
import torch
from device_queue import DeviceQueue
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from snac_tok.codec import transfers
from snac_tok.hf import SnacFeatureExtractor, SnacProcessor, add_audio_tokens


@pytest.fixture(scope="module")
def processor():
    """The embedded codec, and a text tokenizer of one word."""
    inner = Tokenizer(models.WordLevel({"hello": 0}, unk_token="hello"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="hello")
    return SnacProcessor(SnacFeatureExtractor(), tokenizer, "tiny", add_audio_tokens(tokenizer))


@pytest.fixture(scope="module")
def rows(processor):
    """Prompts with speech of several lengths, and two without any."""
    table, generator = processor.audio_vocabulary, np.random.default_rng(0)
    start, end = (table.specials[name] for name in ("bos", "eos"))

    def row(frames):
        codes = [generator.integers(4096, size=frames * n) for n in table.layout.codes_per_frame]
        return [0, start, *table.encode(codes).tolist(), end]

    return [row(3), [0, start, end], row(1), row(4), [0, start]]


@pytest.mark.parametrize("noise", [0, "off", "random"])
def test_each_row_gets_what_it_gets_alone(processor, rows, noise):
    """To the last bit on a CPU, also where noise is drawn row by row."""
    torch.manual_seed(5)
    alone = [processor.decode(row, noise=noise) for row in rows]
    torch.manual_seed(5)
    together = processor.batch_decode(rows, noise=noise)
    assert [sound.numel() > 0 for sound in alone] == [True, False, True, True, False]
    assert all(map(torch.equal, together, alone))


def test_rows_share_a_call_on_a_device_of_its_own(processor, rows, monkeypatch):
    """Where they waited for the device row by row before."""
    wanted = processor.batch_decode(rows)
    queue = DeviceQueue()
    monkeypatch.setattr(transfers, "copies_for", lambda _: queue)
    assert all(map(torch.equal, processor.batch_decode(rows), wanted))
    assert queue.events.count("wait") == 1


def test_the_codec_moves_and_nothing_of_it_is_saved(processor, rows):
    """Weights of another dtype; sound stays float32 on the host."""
    before = processor.to_dict()
    assert processor.to("cpu", dtype=torch.float64) is processor
    codec = processor.audio_tokenizer.codec
    assert (codec.dtype, codec.device.type) == (torch.float64, "cpu")
    assert {sound.dtype for sound in processor.batch_decode(rows)} == {torch.float32}
    assert processor.to_dict() == before
    processor.to(dtype=torch.float32)
    assert codec.dtype == torch.float32
