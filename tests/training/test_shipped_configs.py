"""The configs that ship are configs, and of the codecs they say."""

from pathlib import Path

import pytest
import yaml

from snac_tok.codec import SNAC
from snac_tok.training import TrainingConfig

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    "name", ["snac_24khz", "staged_24khz", "tiny_24khz", "finetune_decoder", "vocos_decoder", "first_steps"]
)
def test_it_is_a_run_with_whole_frames(name):
    """It reads, and its crops are whole frames of a 24 kHz codec."""
    config = TrainingConfig.from_file(CONFIGS / f"{name}.yaml")
    config.check_crop(SNAC.from_pretrained("tiny").config)
    assert TrainingConfig.from_dict(config.to_dict()) == config


def test_experiments_spend_equal_bits():
    """Variants differ in one thing; all have the base's bits and tokens a second."""
    plan = yaml.safe_load((CONFIGS / "experiments.yaml").read_text())
    data = {"data": {"train": [{"folder": "ready"}], "crop_samples": 8192}}
    base = TrainingConfig.from_dict(plan["base"] | data)
    for changes in plan["variants"].values():
        codec = plan["base"]["codec"] | changes.get("codec", {})
        variant = TrainingConfig.from_dict(plan["base"] | data | {"codec": codec})
        variant.check_crop(variant.codec)
        assert variant.codec.bits_per_second == base.codec.bits_per_second
        assert variant.codec.tokens_per_second == base.codec.tokens_per_second
