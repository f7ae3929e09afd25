"""transformers' own common tests, run on our classes by scripts/test_transformers; pytest does not collect this file.

TRANSFORMERS_TESTS names the `tests` folder of transformers' source distribution. That folder lacks three modules that
the common tests import: they hold tests of exporters, of generation and of config arguments, none of which a codec
takes part in, and are replaced by empty ones.
"""

import os
import sys
import types
import unittest
from pathlib import Path

import numpy as np
import torch

from snac_tok.hf import SnacConfig, SnacFeatureExtractor, SnacModel


def _load(name, **names):
    """Make a module of the source distribution's test folder."""
    module = types.ModuleType(f"transformers_tests.{name}" if name else "transformers_tests")
    module.__path__ = [str(Path(os.environ["TRANSFORMERS_TESTS"], *name.split(".")))]
    vars(module).update(names)
    sys.modules[module.__name__] = module


_load("")
_load("exporters")
_load("exporters.test_export", ExportTesterMixin=type("ExportTesterMixin", (), {}))
_load("generation")
_load("generation.test_utils", GenerationTesterMixin=type("GenerationTesterMixin", (), {}))
_load("utils")
_load(
    "utils.test_configuration_utils", config_common_kwargs={"return_dict": False, "is_encoder_decoder": True}
)

from transformers_tests.test_configuration_common import ConfigTester  # noqa: E402 - made above
from transformers_tests.test_modeling_common import ModelTesterMixin  # noqa: E402 - made above
from transformers_tests.test_sequence_feature_extraction_common import (  # noqa: E402 - made above
    SequenceFeatureExtractionTestMixin,
)

# As small as it goes with attention. Without noise, because the suite compares two runs.
SMALL = {
    "sampling_rate": 8_000,
    "encoder_dim": 16,
    "encoder_rates": [2, 3],
    "decoder_dim": 64,
    "decoder_rates": [3, 2],
    "attn_window_size": 8,
    "codebook_size": 16,
    "codebook_dim": 2,
    "vq_strides": [4, 2, 1],
    "noise": False,
}


class ModelTester:
    """Makes configs and inputs, as the common tests ask for them."""

    def __init__(self, parent):
        self.parent = parent
        self.batch_size, self.num_channels, self.seq_length = 4, 1, 96
        self.is_training = False

    def get_config(self):
        """Smallest config."""
        return SnacConfig(**SMALL)

    def prepare_config_and_inputs(self):
        """Config, and four clips of random sound."""
        generator = torch.Generator().manual_seed(0)
        shape = (self.batch_size, self.num_channels, self.seq_length)
        return self.get_config(), {"input_values": torch.randn(shape, generator=generator) * 0.3}

    def prepare_config_and_inputs_for_common(self):
        """The same."""
        return self.prepare_config_and_inputs()


# What the common tests ask of models, and why a codec has none of it.
NOT_OURS = {
    "test_hidden_states_output": "a codec has no hidden states to show: it runs in chunks",
    "test_retain_grad_hidden_states_attentions": "as above",
    "test_model_outputs_equivalence": "asks for hidden states; tuples are compared in test_hf_model.py",
    "test_model_get_set_embeddings": "a codec has no input embeddings",
    "test_model_weights_reload_no_missing_tied_weights": "loads an empty file; we refuse what leaves weights random",
    "test_cannot_load_with_meta_device_context_manager": "ours loads there, too",
}
# What is missing still.
NOT_YET = {
    "test_from_pretrained_no_checkpoint": "from_pretrained(None, state_dict=...) is not supported",
    "test_init_weights_can_init_buffers": "weights that a loader left on the meta device are not initialised",
}


class SnacModelTest(ModelTesterMixin, unittest.TestCase):
    """The model's common tests; SnacOutput has no loss, so those of training have nothing to run."""

    all_model_classes = (SnacModel,)
    is_encoder_decoder = True
    test_resize_embeddings = False
    has_attentions = False

    def setUp(self):
        """Skip what is listed above."""
        reason = {**NOT_OURS, **NOT_YET}.get(self._testMethodName)
        if reason is not None:
            self.skipTest(reason)
        self.model_tester = ModelTester(self)
        self.config_tester = ConfigTester(
            self,
            config_class=SnacConfig,
            has_text_modality=False,
            common_properties=["sampling_rate", "hop_length", "codebook_size"],
            **SMALL,
        )

    def test_config(self):
        """The common tests of configs."""
        self.config_tester.run_common_tests()


class FeatureExtractionTester:
    """Makes clips, as the common tests ask for them."""

    batch_size, feature_size, sampling_rate, padding_value = 7, 1, 8_000, 0.0
    min_seq_length, max_seq_length, seq_length_diff = 400, 2_000, 266

    def __init__(self, parent):
        self.parent = parent

    def prepare_feat_extract_dict(self):
        """Constructor arguments."""
        return {name: getattr(self, name) for name in ("feature_size", "padding_value", "sampling_rate")}

    def prepare_inputs_for_common(self, *, equal_length=False, numpify=False):
        """Tones of growing or equal length."""
        stop = self.min_seq_length + self.batch_size * self.seq_length_diff
        lengths = range(self.min_seq_length, stop, self.seq_length_diff)
        clips = [np.sin(np.arange(self.max_seq_length if equal_length else length) / 9) for length in lengths]
        return clips if numpify else [clip.tolist() for clip in clips]


class SnacFeatureExtractionTest(SequenceFeatureExtractionTestMixin, unittest.TestCase):
    """The feature extractor's common tests."""

    feature_extraction_class = SnacFeatureExtractor

    def setUp(self):
        """Tell the common tests about clips."""
        self.feat_extract_tester = FeatureExtractionTester(self)
