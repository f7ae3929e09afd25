"""Raw codes to sound without ids in between: the same as by way of ids, whole and in pieces."""

import numpy as np
import pytest

from snac_tok import SnacTokenizer, Waveform
from snac_tok.errors import CodesError, WaveformError


@pytest.fixture(scope="module")
def tok():
    """The embedded codec, with ids of raw codes."""
    return SnacTokenizer.from_pretrained("tiny", preset="plain")


@pytest.fixture(scope="module")
def codes(tok):
    """Those of two seconds of noise, a little more than whole frames."""
    noise = np.random.default_rng(0).standard_normal((1, 48_123)).astype(np.float32) * 0.1
    return tok.encode_codes([Waveform(samples=noise, sampling_rate=24_000)])[0]


@pytest.mark.parametrize("noise", [0, 7, "off"])
def test_codes_sound_as_their_ids_do(tok, codes, noise):
    """In one piece and in several, at the length of the recording."""
    wanted = tok.decode(tok.vocabulary.encode(codes), num_samples=48_123, noise=noise).samples
    assert np.array_equal(tok.decode_codes(codes, num_samples=48_123, noise=noise).samples, wanted)
    pieces = list(tok.decode_code_blocks(codes, num_samples=48_123, noise=noise))
    assert np.abs(np.concatenate([piece.samples for piece in pieces], axis=1) - wanted).max() < 1e-6


def test_fewer_levels_sound_coarser(tok, codes):
    """As long, and another sound; a table with fewer levels leaves the others out."""
    coarse, whole = tok.decode_codes(codes[:2]), tok.decode_codes(codes)
    assert coarse.num_samples == whole.num_samples
    assert not np.array_equal(coarse.samples, whole.samples)
    two = SnacTokenizer.from_pretrained("tiny", preset="plain", levels=2)
    assert np.array_equal(two.decode_codes(codes).samples, coarse.samples)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([], "the codes have the shapes"),
        (3, "the codes are int; a list of whole numbers"),
        (["a"], "the codes are list"),
        ([[[1]], [[2, 3]]], "the codes have the shapes"),
        ([[0.5], [1.0, 2.0]], "an integer torch.Tensor"),
        ([[1], [2]], "level 1 must have"),
        ([[9_999_999]], "must lie in 0 to"),
        ([np.zeros(0, np.int64)], "not empty"),
        ([[1], [2, 3], [4, 5, 6, 7], [0] * 8], None),
    ],
    ids=["none", "number", "words", "batch", "fractions", "lengths", "range", "empty", "one more level"],
)
def test_wrong_codes_are_refused(tok, wrong, words):
    """In one sentence; a level that the table does not have is left out, as everywhere."""
    if words is None:
        assert tok.decode_codes(wrong).num_samples == tok.codec.config.frame_length
        return
    with pytest.raises(CodesError, match=words):
        tok.decode_codes(wrong)
    with pytest.raises(CodesError, match=words):
        list(tok.decode_code_blocks(wrong))


def test_more_samples_than_the_codes_hold_are_refused(tok, codes):
    """The sentence speaks of codes."""
    with pytest.raises(WaveformError, match="the codes hold 1 to 49152 samples"):
        tok.decode_codes(codes, num_samples=49_153)


@pytest.mark.parametrize("wrong", ["a.wav", np.zeros(24_000), None])
def test_what_is_no_waveform_is_refused(tok, wrong):
    """`encode` takes more."""
    with pytest.raises(WaveformError, match=r"^clip 1 is .*; a Waveform is needed, as read_audio"):
        tok.encode_codes([Waveform(samples=np.zeros((1, 100), np.float32), sampling_rate=24_000), wrong])
