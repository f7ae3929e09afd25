"""Gradients with a mask, configs with more in them, and what an extractor refuses."""

import numpy as np
import pytest
import torch
from transformers import AutoModel

from snac_tok.errors import ConfigError, WaveformError
from snac_tok.hf import SnacConfig, SnacFeatureExtractor, SnacModel


@pytest.mark.parametrize("lengths", [[4_096, 4_096], [4_096, 2_000]])
def test_training_with_a_padding_mask_reaches_the_encoder(lengths):
    """Whole batches and padded ones: each clip's sound and gradients are those it has alone."""
    model = SnacModel.from_pretrained("tiny").train()
    audio = torch.randn(2, 1, 4_096, generator=torch.Generator().manual_seed(0)) * 0.1
    mask = (torch.arange(4_096) < torch.tensor(lengths)[:, None]).int()
    found = model(audio, mask, noise=0)
    assert found.audio_values.shape == audio.shape
    alone = model.codec(audio[1:, :, : lengths[1]], noise=0)[0]
    assert torch.allclose(found.audio_values[1:, :, : lengths[1]], alone, atol=1e-6)
    assert not found.audio_values[1, 0, lengths[1] :].any()
    found.audio_values.square().mean().backward()
    assert model.encoder.block[0].parametrizations["weight"].original1.grad.abs().max() > 0


def test_what_a_config_says_beside_the_network_is_kept(tmp_path):
    """return_dict and the like are saved by transformers and loaded again."""
    model = SnacModel.from_pretrained("tiny")
    model.config.return_dict = False
    model.save_pretrained(tmp_path)
    for loaded in (SnacModel.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)):
        assert isinstance(loaded.encode(torch.zeros(1, 1, 100)), tuple)


def test_a_config_of_another_network_is_refused():
    """It would be ignored otherwise."""
    with pytest.raises(ConfigError, match="another network"):
        SnacModel.from_pretrained("tiny", config=SnacConfig())


@pytest.mark.parametrize(
    ("clip", "options", "sentence"),
    [
        (np.array([16_384], np.int16), {}, "is int16; floats"),
        (np.ones((2, 9)), {}, "mono samples"),
        (np.ones(9), {"padding": "most"}, "padding is 'most'"),
        (np.ones(9), {"truncation": True}, "needs max_length"),
        ([np.ones(9), np.ones(8)], {"padding": False, "return_tensors": "np"}, "ask for padding=True"),
    ],
)
def test_what_would_go_wrong_in_silence_is_refused(clip, options, sentence):
    """Integers of unknown scale, channels taken for clips, options without effect."""
    with pytest.raises(WaveformError, match=sentence):
        SnacFeatureExtractor()(clip, sampling_rate=24_000, **options)


def test_tensors_of_any_float_type_are_read():
    """bfloat16 and half, which numpy does not have or the model would not keep."""
    for dtype in (torch.bfloat16, torch.float16):
        batch = SnacFeatureExtractor()(
            torch.full((3,), 0.5, dtype=dtype), sampling_rate=24_000, return_tensors="np"
        )
        assert batch["input_values"].tolist() == [[[0.5, 0.5, 0.5]]]
