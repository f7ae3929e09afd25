"""A language model of one layer with random weights as a GGUF file: what a real llama.cpp loads in a moment."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from snac_tok import Vocabulary

_ALIGNMENT = 32
_UINT32, _FLOAT32, _BOOL, _STRING, _ARRAY, _INT32 = 4, 6, 7, 8, 9, 5
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
    _write(path, meta, _weights(len(tokens)))


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


def _write(path: Path, meta: dict[str, Any], weights: dict[str, np.ndarray]) -> None:
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(weights), len(meta))
    head += b"".join(_string(key) + _value(value) for key, value in meta.items())
    offset = 0
    for name, value in weights.items():
        shape = value.shape[::-1]
        head += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)
        offset += value.nbytes + -value.nbytes % _ALIGNMENT
    body = b"".join(value.tobytes() + bytes(-value.nbytes % _ALIGNMENT) for value in weights.values())
    path.write_bytes(head + bytes(-len(head) % _ALIGNMENT) + body)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", _UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", _FLOAT32, value)
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    kind = _STRING if isinstance(value[0], str) else _INT32
    items = [_string(each) if kind == _STRING else struct.pack("<i", each) for each in value]
    return struct.pack("<IIQ", _ARRAY, kind, len(value)) + b"".join(items)
