"""The configs that ship are configs, and of the codecs they say."""

from pathlib import Path
from types import SimpleNamespace

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
    for changes in plan["questions"]["paper"].values():
        codec = plan["base"]["codec"] | changes.get("codec", {})
        variant = TrainingConfig.from_dict(plan["base"] | data | {"codec": codec})
        variant.check_crop(variant.codec)
        assert variant.codec.bits_per_second == base.codec.bits_per_second
        assert variant.codec.tokens_per_second == base.codec.tokens_per_second


@pytest.mark.parametrize("steps", [7, 200])
def test_experiments_in_stages_have_the_length_that_was_asked_for(steps, monkeypatch):
    """Shares of the run become steps, of which none is lost or added."""
    monkeypatch.syspath_prepend(str(CONFIGS.parent / "scripts"))
    import experiments

    plan = yaml.safe_load((CONFIGS / "experiments.yaml").read_text())
    options = SimpleNamespace(steps=steps, train=["ready"])
    data = experiments._run_of(options, 0)
    for changes in plan["questions"]["codebooks"].values():
        settings = experiments.merged(experiments.merged(plan["base"], changes), data)
        config = TrainingConfig.from_dict(experiments.in_stages(settings))
        assert sum(stage.steps for stage in config.stages) == steps
    assert experiments.in_stages(data) == data
