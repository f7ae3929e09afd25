"""Configs: derived sizes against the published figures, and hostile values refused before anything is built."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snac_tok.codec import PRESETS, SNAC, CodecConfig
from snac_tok.codec.vocos_config import VocosConfig
from snac_tok.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "hop", "frame", "tokens", "tokens_per_second", "kbps", "padding", "parameters"),
    [
        ("snac_24khz", 512, 2048, 7, 82.03, 0.984, 2048, 19_842_914),
        ("snac_32khz", 384, 3072, 15, 156.25, 1.875, 12_288, 54_546_338),
        ("snac_44khz", 384, 3072, 15, 215.33, 2.584, 12_288, 54_546_338),
        ("default", 441, 3528, 15, 187.50, 2.250, 14_112, 50_339_746),
    ],
)
def test_derived_sizes_are_the_published_ones(  # noqa: PLR0917
    name, hop, frame, tokens, tokens_per_second, kbps, padding, parameters
):
    """Every published figure follows from the config."""
    config = PRESETS[name]
    assert (config.hop_length, config.frame_length, config.tokens_per_frame) == (hop, frame, tokens)
    assert config.padding_multiple == padding
    assert round(config.tokens_per_second, 2) == tokens_per_second
    assert round(config.bits_per_second / 1000, 3) == kbps
    with torch.device("meta"):
        assert SNAC.from_config(config).num_parameters == parameters


@given(num_samples=st.integers(1, 10**7), name=st.sampled_from(sorted(PRESETS)))
def test_padding_reaches_the_next_whole_window(num_samples, name):
    """A padded clip is the shortest whole number of windows that holds the clip."""
    config = PRESETS[name]
    padded = config.padded_num_samples(num_samples)
    assert padded % config.padding_multiple == 0
    assert num_samples <= padded < num_samples + config.padding_multiple
    assert config.num_frames(num_samples) * config.frame_length == padded


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sampling_rate": 0}, "sampling_rate is 0"),
        ({"sampling_rate": "24000"}, "sampling_rate is '24000'"),
        ({"encoder_dim": 10**12}, "encoder_dim is 1000000000000"),
        ({"encoder_dim": True}, "encoder_dim is True"),
        ({"encoder_dim": 1024}, "the encoder ends in 16384 channels"),
        ({"encoder_rates": []}, "encoder_rates has 0 entries"),
        ({"encoder_rates": [2] * 40}, "encoder_rates has 40 entries"),
        ({"encoder_rates": 512}, "encoder_rates is 512"),
        ({"encoder_rates": [1, 512]}, "each of encoder_rates is 1"),
        ({"encoder_rates": [2, 2]}, "must be equal"),
        ({"latent_dim": 7}, "latent_dim is 7"),
        ({"decoder_dim": 8}, "leaves no channel"),
        ({"attn_window_size": 0}, "attn_window_size is 0"),
        ({"attn_window_size": 32, "encoder_dim": 3}, "multiple of 64"),
        ({"codebook_size": 1}, "codebook_size is 1"),
        ({"codebook_size": 2**40}, "codebook_size is"),
        ({"codebook_dim": None}, "codebook_dim is None"),
        ({"vq_strides": []}, "vq_strides has 0 entries"),
        ({"vq_strides": [1, 2, 4]}, "1 is not a multiple of 2"),
        ({"vq_strides": [4, -2, 1]}, "each of vq_strides is -2"),
        ({"noise": 1}, "noise is 1"),
        ({"vq_strides": [4096], "attn_window_size": 4095, "encoder_dim": 64}, "padded to a multiple"),
    ],
)
def test_impossible_values_are_refused(change, says):
    """Each refusal says what it found."""
    values = PRESETS["snac_24khz"].to_dict() | {"latent_dim": None} | change
    with pytest.raises(ConfigError, match=says.replace("[", r"\[")):
        CodecConfig.from_dict(values)


def test_a_config_survives_json(tmp_path, small_config):
    """to_dict and from_json are inverse; fields that Hugging Face adds are passed over."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(small_config.to_dict() | {"model_type": "snac", "transformers_version": "5"}))
    assert CodecConfig.from_json(path) == small_config
    assert dataclasses.replace(small_config, noise=True).noise


@pytest.mark.parametrize(
    ("content", "says"),
    [("", "not valid JSON"), ("[1]", "holds a list"), ('{"dim": 3}', r"unknown entries \['dim'\]")],
)
def test_a_damaged_config_file_is_named(tmp_path, content, says):
    """An unreadable config names its file."""
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=says) as caught:
        CodecConfig.from_json(path)
    assert str(path) in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        CodecConfig.from_json(tmp_path / "absent.json")


@pytest.mark.parametrize("kind", [np.int64, np.uint16, np.int32])
def test_whole_numbers_of_numpys_are_whole_numbers(kind):
    """In every place, and kept as Python's, so that the config can be written; floats and truths are none."""
    values = PRESETS["snac_32khz"].to_dict()
    whole = {name: value for name, value in values.items() if type(value) is int and value < 2**15}
    given = {name: kind(value) for name, value in whole.items()}
    given |= {
        name: [kind(each) for each in value] for name, value in values.items() if isinstance(value, list)
    }
    found = CodecConfig.from_dict(values | given)
    assert found == PRESETS["snac_32khz"]
    assert json.dumps(found.to_dict()) == json.dumps(values)
    assert {"encoder_dim", "latent_dim", "vq_strides", "attn_window_size"} <= set(given)
    for wrong in (np.float64(64), np.True_, True, 64.0, "64"):
        with pytest.raises(ConfigError, match=r"encoder_dim is .* whole number"):
            CodecConfig(encoder_dim=wrong)
        with pytest.raises(ConfigError, match=r"vq_strides is .* whole number"):
            CodecConfig(vq_strides=(wrong,))


def test_a_vocos_decoders_config_takes_numpys_whole_numbers():
    """As a codec's does."""
    numbers = {"sampling_rate": 24_000, "input_channels": 768, "hop_length": 512, "n_fft": 2048}
    found = VocosConfig(**{name: np.int64(value) for name, value in numbers.items()})
    assert found == VocosConfig(**numbers)
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()
