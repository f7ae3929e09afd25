"""Writes docs/codec.md: what each codec shape is, every figure computed from its config.

Usage: python scripts/make_codec_docs.py [--check]
"""

from __future__ import annotations

from pathlib import Path

import torch

from generated_page import write_or_check
from snac_tok.codec import PRESETS, SNAC, CodecConfig, latent_dependence, latent_influence
from snac_tok.codec.checkpoint import EMBEDDED

PAGE = Path(__file__).parents[1] / "docs" / "codec.md"

INTRO = """\
# The codec

<!-- Written by scripts/make_codec_docs.py from the configs themselves; scripts/fix renews it. -->

SNAC turns mono sound into a few integers per step and back. An encoder of strided convolutions makes one
**latent** every *hop* samples. A residual quantizer with one codebook per **level** turns latents into
**codes**: level k averages the residual over its *stride* of latents, takes the nearest codebook entry, and passes the
rest to the next level. One step of the coarsest level with all finer codes of its time is a **frame**. The decoder
mirrors the encoder; its noise blocks add noise whose size depends on the signal.

```
sound     ······················································  sampling_rate
latents   |     |     |     |     |     |     |     |             one per hop
level 0   A                       A'                              stride 4
level 1   B           B           B'          B'                  stride 2
level 2   C     C     C     C     C'    C'    C'    C'            stride 1
          └─────── frame ───────┘ └─────── frame ───────┘         7 tokens each
```

## Shapes

`snac_24khz` is the released speech model, `snac_32khz` and `snac_44khz` the released music models, `default` what
`SNAC()` builds without arguments (no released model has that shape), and `tiny` the codec that ships with this
package for trials and tests.
"""

TRAPS = """\

The last two ranges are the receptive field of the convolutions, counted from the start of the latent's own hop. In a
codec with attention a latent also depends on all latents of its window (`attn_window_size`).

## What to know before using it

- **Padding.** Keep the number of samples of each clip, as shards and the tokenizer do. `encode` pads a clip at its end
  with zeros to the multiple above, `decode` returns the padded length, and codes do not tell how long the clip was.
- **Whose ids.** Use the codec that the language model was trained with: each codec's codes have their own meaning. The
  codes of `tiny` have the shape of the released speech codec's, so its ids look like Orpheus's but mean nothing to any
  published model. Where such ids are made, a `TrialCodecWarning` says so. Models that you train yourself may use
  `tiny`.
- **Narrow integers.** Widen codes before you compute with them: `codes.astype(np.int64)`. Shards and mapped datasets
  store raw codes as uint16, and in numpy `codes + 65000` and `np.diff(codes)` overflow silently. Ids from shards are
  wide enough already.
- **Edges.** Do not pad clips yourself; use `encode_batch`, which encodes each clip as if alone. The network pads with
  zeros at every layer, so silence around a clip, or padding to the longest clip of a batch, changes the codes at its
  edges.
- **Noise.** Give a seed for repeatable sound: `decode(codes, noise=7)` draws the same noise every time and everywhere.
  `noise="off"` adds no noise. By default decoding is random, as upstream. Encoding is deterministic.
- **Fewer levels.** `decode(codes[:3])` leaves out the finer levels. That is how a 4-level codec is used with 7-token
  frames.
- **Attention windows** are absolute. If the number of latents is not a multiple of the window, the last window is
  shorter (upstream crashes there, or silently widens every window).
- **Weights.** `model.safetensors` is preferred; a `pytorch_model.bin` is read as pure tensors only. Names, shapes,
  types and values are checked against the config before use, and a config may describe at most 537 million parameters.
  `save_pretrained(folder, safe_serialization=False)` writes a `pytorch_model.bin` that the package `snac` loads.
- **Changing weights.** Write to weights in place (`with torch.no_grad(): weight.mul_(0.99)`), by an optimizer or with
  `load_state_dict`: the next call uses the new ones. Writes through `.data`, as some snippets for averages and weight
  decay have them, cannot be seen. Call `codec.unfold_weight_norm()` after them; until then an eval-mode codec mixes old
  and new weights. `train()`, `eval()`, `to()`, `save_pretrained` and `weights_sha256()`, which is recorded before
  shards are written, do it by themselves: from then on the codec encodes with the weights that were saved or recorded.
- **The hub.** `from_pretrained` takes the arguments of `hf_hub_download`. If the hub cannot be reached, files that
  were downloaded before are used, with one warning. If the hub refuses (401, 403, 404, no such revision), that is an
  error.
- **In place of `snac`.** `model.decoder(model.quantizer.from_codes(codes))` makes noise as upstream's does, takes
  `noise=`, and runs as fast as `decode`. Hooks, wrappers and replaced layers work: `encode`, `decode` and the batch
  calls run a changed network as a whole, at upstream's speed; streams and blocks refuse it. `torch.export`,
  `torch.compile` and `torch.jit.trace` record the plain network. `import snac_tok.compat as snac` has upstream's
  modules (`snac.layers`, `snac.vq`, `snac.attention`). Two things differ: weight norm cannot be removed (weights are
  folded in eval mode, and `remove_parametrizations` says so), and `torch.jit.script` is not supported.
- **Equality.** On the same weights our codes are identical to those of the PyPI package `snac` 1.2.1. Our audio is
  within 1e-6 of its audio at 24 kHz, and within 1.25e-6 for the other shapes (`tests/codec/test_upstream.py`).
  Programs that use a model get the same results with both packages (`tests/clients`).
"""


def rows(config: CodecConfig) -> dict[str, str]:
    """One shape's figures, under the names that the table shows."""
    with torch.device("meta"):
        parameters = SNAC.from_config(config).num_parameters
    decoder, encoder = latent_influence(config), latent_dependence(config)
    return {
        "`sampling_rate` (Hz)": f"{config.sampling_rate:,}",
        "`encoder_dim`, `encoder_rates`": f"{config.encoder_dim}, {list(config.encoder_rates)}",
        "`decoder_dim`, `decoder_rates`": f"{config.decoder_dim}, {list(config.decoder_rates)}",
        "`attn_window_size` (latents)": str(config.attn_window_size or "none"),
        "`codebook_size`, `codebook_dim`": f"{config.codebook_size}, {config.codebook_dim}",
        "`vq_strides`": str(list(config.vq_strides)),
        "hop (samples)": f"{config.hop_length}",
        "frame (samples)": f"{config.frame_length:,}",
        "codes per level in a frame": str(list(config.codes_per_frame)),
        "tokens per frame": f"{config.tokens_per_frame}",
        "frames per second": f"{config.frames_per_second:.3f}",
        "tokens per second": f"{config.tokens_per_second:.2f}",
        "kilobits per second": f"{config.bits_per_second / 1000:.3f}",
        "`encode` pads to a multiple of (samples)": f"{config.padding_multiple:,}",
        "one latent changes output samples": f"{decoder.first} … +{decoder.last}",
        "one latent depends on input samples": f"{encoder.first} … +{encoder.last}",
        "parameters": f"{parameters:,}",
    }


def page() -> str:
    """The whole page."""
    shapes = {**PRESETS, "tiny": CodecConfig.from_json(EMBEDDED["tiny"] / "config.json")}
    columns = {name: rows(config) for name, config in shapes.items()}
    lines = ["| | " + " | ".join(f"`{name}`" for name in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    names = next(iter(columns.values()))
    lines += [
        f"| {name} | " + " | ".join(column[name] for column in columns.values()) + " |" for name in names
    ]
    return INTRO + "\n" + "\n".join(lines) + "\n" + TRAPS


if __name__ == "__main__":
    write_or_check(PAGE, page(), description=__doc__)
