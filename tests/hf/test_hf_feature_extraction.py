"""Recordings to batches: padded behind, checked, otherwise untouched."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoFeatureExtractor

from snac_tok.errors import SamplingRateError, WaveformError
from snac_tok.hf import SnacFeatureExtractor

RATE = 24_000


@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=4))
def test_every_sample_is_where_it_was(lengths):
    """The mask says which are the clip's; behind stand zeros."""
    clips = [np.random.default_rng(n).standard_normal(n).astype(np.float32) for n in lengths]
    batch = SnacFeatureExtractor()(clips, sampling_rate=RATE, return_tensors="pt")
    assert batch["input_values"].shape == (len(clips), 1, max(lengths))
    for row, clip in enumerate(clips):
        mask = batch["padding_mask"][row].bool()
        assert np.array_equal(batch["input_values"][row, 0][mask].numpy(), clip)
        assert not batch["input_values"][row, 0][~mask].any()


@pytest.mark.parametrize("clip", [[0.5, -0.5], np.array([0.5, -0.5]), torch.tensor([[0.5, -0.5]])])
def test_one_clip_of_any_kind_is_a_batch_of_one(clip):
    """Lists, arrays, tensors with a channel."""
    batch = SnacFeatureExtractor()(clip, sampling_rate=RATE, return_tensors="np")
    assert batch["input_values"].tolist() == [[[0.5, -0.5]]]
    assert batch["input_values"].dtype == np.float32


def test_lengths_are_as_asked_for():
    """Padded to a length, cut to it, or left alone."""
    extractor = SnacFeatureExtractor()
    clips = [np.ones(5), np.ones(2)]
    long = extractor(clips, sampling_rate=RATE, padding="max_length", max_length=8, return_tensors="np")
    assert long["input_values"].shape == (2, 1, 8)
    cut = extractor(clips, sampling_rate=RATE, max_length=3, truncation=True, return_tensors="np")
    assert cut["padding_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    alone = extractor(clips, sampling_rate=RATE, padding=False)
    assert [len(values[0]) for values in alone["input_values"]] == [5, 2]


@pytest.mark.parametrize("rate", [None, 8_000, 48_000])
def test_another_rate_or_none_is_refused(rate):
    """A ValueError, as transformers' own extractors raise."""
    with pytest.raises(ValueError, match="sampling_rate") as caught:
        SnacFeatureExtractor()(np.ones(5), sampling_rate=rate)
    assert isinstance(caught.value, SamplingRateError)


@pytest.mark.parametrize("bad", [[], [np.ones(0)], [np.ones((2, 9))], [[np.nan]], [np.array([1.0, np.inf])]])
def test_unusable_clips_are_refused(bad):
    """No clips, empty, stereo, NaN, infinite."""
    with pytest.raises(WaveformError):
        SnacFeatureExtractor()(bad, sampling_rate=RATE)


def test_it_is_saved_and_found_again(tmp_path):
    """By AutoFeatureExtractor, with its rate."""
    SnacFeatureExtractor(sampling_rate=8_000).save_pretrained(tmp_path)
    found = AutoFeatureExtractor.from_pretrained(tmp_path)
    assert isinstance(found, SnacFeatureExtractor)
    assert found.sampling_rate == 8_000


@pytest.mark.parametrize("length", [-5, 0, "100", 2.5, True])
@pytest.mark.parametrize("options", [{"truncation": True}, {"padding": "max_length"}])
def test_a_length_is_a_whole_number_from_1(length, options):
    """-5 cut five samples off the end."""
    with pytest.raises(WaveformError, match=r"max_length is .*; a whole number of samples from 1"):
        SnacFeatureExtractor()(np.ones(9), sampling_rate=RATE, max_length=length, **options)
