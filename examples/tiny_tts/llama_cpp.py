"""The trained model as a GGUF file, and a real llama.cpp that speaks with it."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

import numpy as np

from clips import IDS_PER_FRAME
from gguf_file import write_gguf
from snac_tok import Waveform
from snac_tok.generation import SpeechStream, response_tokens, stream_audio
from snac_tok.prompts import speech_ids
from speaking import Speech

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from transformers import LlamaForCausalLM

    from snac_tok.hf import SnacProcessor

    Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]

# Kinds of tokens: bytes of text, those that end generation, and those that stand for themselves.
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
BYTES = 256
SECONDS_TO_ANSWER = 120

# Names of a layer's weights, transformers' and GGUF's.
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def export(path: Path, model: LlamaForCausalLM, processor: SnacProcessor) -> None:
    """Write a model with its tokens as one GGUF file."""
    write_gguf(path, _sizes(model) | _tokens(processor), _weights(model))


def _sizes(model: LlamaForCausalLM) -> dict[str, Any]:
    config: Any = model.config
    sizes = {
        "vocab_size": config.vocab_size,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "rope.dimension_count": config.head_dim,
        "rope.freq_base": float(config.rope_parameters["rope_theta"]),
    }
    return {"general.architecture": "llama", **{f"llama.{name}": size for name, size in sizes.items()}}


def _tokens(processor: SnacProcessor) -> dict[str, Any]:
    tokenizer, prompts = processor.tokenizer, processor.prompts
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    kinds = [NORMAL] * BYTES + [USER_DEFINED] * (len(tokens) - BYTES)
    for end in prompts.after_speech:
        kinds[end] = CONTROL
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [],
        "tokenizer.ggml.bos_token_id": processor.audio_vocabulary.special_id("start_of_text"),
        "tokenizer.ggml.eos_token_id": prompts.end_of_speech,
        "tokenizer.ggml.eot_token_id": prompts.after_speech[-1],
        "tokenizer.ggml.add_bos_token": False,
    }


def _weights(model: LlamaForCausalLM) -> dict[str, Floats]:
    named = {
        "token_embd": model.model.embed_tokens,
        "output_norm": model.model.norm,
        "output": model.lm_head,
    }
    for number, layer in enumerate(model.model.layers):
        named |= {f"blk.{number}.{name}": layer.get_submodule(theirs) for theirs, name in LAYER.items()}
    weights = {f"{name}.weight": module.weight.detach().numpy() for name, module in named.items()}
    config: Any = model.config
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    return {
        name: _turned(weight, heads[kind]) if (kind := name.split(".")[-2]) in heads else weight
        for name, weight in weights.items()
    }


def _turned(weight: Floats, num_heads: int) -> Floats:
    """Put a head's rows in llama.cpp's order: it turns neighbours into each other, transformers a row of each half."""
    halves = weight.reshape(num_heads, 2, -1, weight.shape[-1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


def speak(address: str, processor: SnacProcessor, text: str, *, grammar: str, max_frames: int) -> Speech:
    """Say a text by a server's `/completion`, heard while it writes.

    Args:
        address: of the server.
        processor: whose prompt and ids they are.
        text: to say.
        grammar: what the server holds the model to.
        max_frames: where it stops a model that does not end its speech.
    """
    tok = processor.audio_tokenizer
    asked = {
        "prompt": processor(text=text)["input_ids"][0],
        "n_predict": max_frames * IDS_PER_FRAME + 1,
        "temperature": 0,
        "grammar": grammar,
        "stream": True,
        "return_tokens": True,
    }
    request = urllib.request.Request(f"{address}/completion", json.dumps(asked).encode())
    stream, ids = SpeechStream(tok), list[int]()
    with urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER) as response:
        sound = np.concatenate(list(stream_audio(_noted(response_tokens(response), ids), stream)))
    return Speech(
        ids=speech_ids(ids, tok.vocabulary),
        sound=Waveform(samples=sound[None], sampling_rate=stream.sampling_rate),
        timing=stream.timing,
    )


def _noted(pieces: Iterable[Any], ids: list[int]) -> Iterator[Any]:
    """Hand pieces of ids on and keep the ids."""
    for piece in pieces:
        ids.extend(piece)
        yield piece
