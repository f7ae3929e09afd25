"""The Auto classes know SNAC after an import, and nobody is pushed aside."""

import subprocess
import sys

from transformers import AutoConfig

import snac_tok.hf

ALREADY_THERE = """
from transformers import AutoConfig, PretrainedConfig

class TheirConfig(PretrainedConfig):
    model_type = "snac"

AutoConfig.register("snac", TheirConfig)
import snac_tok.hf
assert type(AutoConfig.for_model("snac")) is TheirConfig
assert snac_tok.hf.SnacModel.from_pretrained("tiny").config.sampling_rate == 24_000
"""


def test_an_import_makes_snac_known():
    """That `import snac_tok` alone loads no transformers is tests/test_package.py's."""
    assert type(AutoConfig.for_model("snac")) is snac_tok.hf.SnacConfig


def test_a_snac_that_transformers_has_stays_its_own():
    """Once transformers brings its own, ours can still be used by its name."""
    done = subprocess.run([sys.executable, "-c", ALREADY_THERE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
