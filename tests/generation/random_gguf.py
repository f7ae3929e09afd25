"""A language model of one layer with random weights as a GGUF file: what a real llama.cpp loads in a moment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

# The writer, and the server that reads what it wrote, are the example's.
sys.path.append(str(Path(__file__).parents[2] / "examples" / "tiny_tts"))
from gguf_file import write_gguf
from llama_server import serve

if TYPE_CHECKING:
    from snac_tok import Vocabulary

__all__ = ["serve", "write_random_gguf"]

# Kinds of tokens: text, and those that stand for themselves.
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_WIDTH = 32


def write_random_gguf(path: Path, vocabulary: Vocabulary, *, end_of_text: int, end_of_speech: int) -> None:
    """Write a model whose text tokens are bytes and whose other tokens are the vocabulary's.

    Args:
        path: of the file.
        vocabulary: its ids begin behind the 257 of the text.
        end_of_text: the id at which generation stops.
        end_of_speech: a control token, at which it stops, too.
    """
    tokens, kinds = _tokens(vocabulary)
    for special in (end_of_text, end_of_speech):
        kinds[special] = _CONTROL
    sizes = {
        "context_length": 512,
        "embedding_length": _WIDTH,
        "block_count": 1,
        "feed_forward_length": _WIDTH,
    }
    heads = {"attention.head_count": 2, "attention.head_count_kv": 2, "rope.dimension_count": _WIDTH // 2}
    meta: dict[str, Any] = {"general.architecture": "llama", "llama.attention.layer_norm_rms_epsilon": 1e-5}
    meta |= {f"llama.{name}": size for name, size in (sizes | heads).items()}
    meta |= {
        "llama.vocab_size": len(tokens),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.bos_token_id": end_of_text,
        "tokenizer.ggml.eos_token_id": end_of_text,
        "tokenizer.ggml.eot_token_id": end_of_speech,
        "tokenizer.ggml.add_bos_token": False,
    }
    write_gguf(path, meta, _weights(len(tokens)))


def _tokens(vocabulary: Vocabulary) -> tuple[list[str], list[int]]:
    tokens = [*_byte_names(), "ab"]
    kinds = [_NORMAL] * len(tokens)
    assert vocabulary.text is not None
    for number in range(len(tokens), vocabulary.size):
        tokens.append(vocabulary.text.token_of(number))
        kinds.append(_USER_DEFINED)
    return tokens, kinds


def _byte_names() -> list[str]:
    """Return the 256 characters by which byte-level tokenizers name bytes: printable ones as they are."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def _weights(size: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (generator.standard_normal((rows, columns)) / 4).astype(np.float32)

    square = {name: matrix(_WIDTH, _WIDTH) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
    square |= {name: matrix(_WIDTH, _WIDTH) for name in ("ffn_gate", "ffn_up", "ffn_down")}
    norms = {name: np.ones(_WIDTH, np.float32) for name in ("attn_norm", "ffn_norm")}
    layer = {f"blk.0.{name}.weight": value for name, value in (square | norms).items()}
    ends = {"token_embd.weight": matrix(size, _WIDTH), "output.weight": matrix(size, _WIDTH)}
    return ends | {"output_norm.weight": np.ones(_WIDTH, np.float32)} | layer
