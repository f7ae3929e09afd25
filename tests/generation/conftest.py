"""A random codec and a random language model, both as small as they can be."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from snac_tok import SNAC, SnacTokenizer, preset

# Room for a text tokenizer's ids in front of the codes.
BASE = 16


@pytest.fixture(scope="session")
def tok():
    """Three levels, 16 codes each, hop 6; ids behind 16 ids of text."""
    torch.manual_seed(0)
    codec = SNAC(8_000, 8, (3, 2), None, 32, (2, 3), None, 16, 8, (4, 2, 1)).eval()
    return SnacTokenizer(codec, preset("plain", codebook_size=16, base=BASE))


@pytest.fixture(scope="session")
def model(tok):
    """One layer, with a row for each id."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vocab_size = tok.vocabulary.size
    config = LlamaConfig(vocab_size=vocab_size, num_key_value_heads=2, max_position_embeddings=256, **shape)
    return LlamaForCausalLM(config).eval()
