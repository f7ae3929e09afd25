"""A tokenizer of a codec that is being trained: ids and sound as in eval mode, and no part changes its mode."""

import copy

import numpy as np
import pytest
import torch

from snac_tok import SNAC, SnacTokenizer, preset
from snac_tok.audio import Waveform
from snac_tok.errors import WaveformError

RATE = 8_000
TABLE = preset("plain", strides=(4, 2, 1), codebook_size=32)


@pytest.fixture
def codec():
    """A codec in training whose quantizer its user keeps in eval mode."""
    torch.manual_seed(0)
    codec = SNAC(RATE, 4, (2, 3), None, 16, (3, 2), None, 32, 4, (4, 2, 1)).train()
    codec.quantizer.eval()
    return codec


def modes(codec):
    """The mode of every part."""
    return [module.training for module in codec.modules()]


def test_ids_and_sound_are_those_of_eval_mode_and_training_goes_on(codec):
    """Encoding and decoding of one clip, many, and blocks, bit for bit; gradients reach the weights afterwards."""
    before = modes(codec)
    tok, wanted = SnacTokenizer(codec, TABLE), SnacTokenizer(copy.deepcopy(codec).eval(), TABLE)
    clips = [np.random.default_rng(at).normal(0, 0.2, 700 + 90 * at).astype(np.float32) for at in range(3)]
    for one in (tok, wanted):
        one.rows = one(clips, sampling_rate=RATE)["input_ids"]
        one.blocks, _ = one.encode_blocks([Waveform(samples=clips[0][None], sampling_rate=RATE)])
        one.sounds = [one.decode(one.rows[0]), *one.batch_decode(one.rows), *one.decode_blocks(one.rows[1])]
    assert tok.rows == wanted.rows
    assert [level.tolist() for level in tok.blocks] == [level.tolist() for level in wanted.blocks]
    for found, sound in zip(tok.sounds, wanted.sounds, strict=True):
        np.testing.assert_array_equal(found.samples, sound.samples)
    assert modes(codec) == before
    codec(torch.zeros(1, 1, 300))[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in codec.decoder.parameters())


def test_weights_of_the_next_training_step_are_used(codec):
    """Nothing derived from the weights outlives a call."""
    tok, clip = SnacTokenizer(codec, TABLE), np.full(600, 0.3, np.float32)
    ids = tok.encode(clip, sampling_rate=RATE)
    tok.decode(ids)
    for parameter in codec.parameters():
        parameter.data.mul_(1.5)
    fresh = SnacTokenizer(copy.deepcopy(codec).eval(), TABLE)
    np.testing.assert_array_equal(tok.decode(ids).samples, fresh.decode(ids).samples)
    assert tok.encode(clip, sampling_rate=RATE) == fresh.encode(clip, sampling_rate=RATE)


def test_a_call_that_fails_leaves_the_modes_too(codec, monkeypatch):
    """Whatever it fails of, also before anything is run."""
    tok, before = SnacTokenizer(codec, TABLE), modes(codec)
    with pytest.raises(WaveformError, match="NaN"):
        tok.encode(np.array([np.nan]), sampling_rate=RATE)

    def fails(*_, **__):
        raise MemoryError

    ids = tok.encode(np.zeros(600, np.float32), sampling_rate=RATE)
    for name in ("encode_batch", "encode_blocks", "decode", "decode_batch"):
        monkeypatch.setattr(SNAC, name, fails)
    calls = (
        lambda: tok.encode(np.zeros(600, np.float32), sampling_rate=RATE),
        lambda: tok.encode_blocks([Waveform(samples=np.zeros((1, 9), np.float32), sampling_rate=RATE)]),
        lambda: tok.decode(ids),
        lambda: tok.batch_decode([ids]),
    )
    for call in calls:
        with pytest.raises(MemoryError):
            call()
    assert modes(codec) == before
