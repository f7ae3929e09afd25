"""The Auto classes know SNAC after an import, and nobody is pushed aside."""

import subprocess
import sys

import pytest

ALREADY_THERE = """
from transformers import AutoConfig, PretrainedConfig

class TheirConfig(PretrainedConfig):
    model_type = "snac"

AutoConfig.register("snac", TheirConfig)
import snac_tok.hf
assert type(AutoConfig.for_model("snac")) is TheirConfig
assert snac_tok.hf.SnacModel.from_pretrained("tiny").config.sampling_rate == 24_000
"""

NOT_THERE = """
import sys
import snac_tok
assert "transformers" not in sys.modules and "datasets" not in sys.modules
import snac_tok.hf
from transformers import AutoConfig
assert type(AutoConfig.for_model("snac")) is snac_tok.hf.SnacConfig
"""


@pytest.mark.parametrize("program", [ALREADY_THERE, NOT_THERE])
def test_a_snac_that_transformers_has_stays_its_own(program):
    """Once transformers brings its own, ours can still be used by its name."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
