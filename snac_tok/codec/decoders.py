"""Decoders in the place of a codec's own: where they come from, and whether they fit.

Two kinds can be loaded: the decoder of another SNAC checkpoint of the same shape (trained further, with encoder and
codebooks frozen), and a decoder of Vocos' kind, whose folder has a config.json of `VocosConfig`'s fields.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

from snac_tok.codec import checkpoint
from snac_tok.codec.config import CodecConfig, read_config
from snac_tok.codec.folding import weights_sha256
from snac_tok.codec.network import Network
from snac_tok.codec.vocos import VocosDecoder
from snac_tok.codec.vocos_config import VocosConfig
from snac_tok.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snac_tok.codec.checkpoint import CheckpointFiles
    from snac_tok.codec.chunked import AudioDecoder

# What the shape of a SNAC decoder follows from.
DECODER_SHAPE = (
    "sampling_rate",
    "latent_dim",
    "decoder_dim",
    "decoder_rates",
    "attn_window_size",
    "noise",
    "depthwise",
)
_PREFIX = "decoder."
# Of a codec's files: in each, codes mean the same.
_SAVED_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def read_decoder(files: CheckpointFiles, codec: Network) -> AudioDecoder:
    """Read a decoder for a codec.

    Args:
        files: of a SNAC checkpoint, or of a decoder of Vocos' kind.
        codec: what the decoder must fit, with its weights as its files have them.

    Raises:
        ConfigError: the config describes no possible decoder, or one for another codec.
        CheckpointError: the weights are damaged, unsafe or do not fit the config.
    """
    values = read_config(files.config)
    read = _read_vocos if VocosConfig.describes(values) else _read_snac
    try:
        decoder = read(files, values, codec.config)
        _check_codes(decoder, codec)
    except ConfigError as error:
        raise ConfigError(f"{files.config}: {error}") from error
    return decoder


def check_fit(decoder: AudioDecoder, codec: CodecConfig) -> None:
    """Refuse a decoder that takes other latents than a codec has, or makes sound of another rate of them.

    Raises:
        ConfigError: it does.
    """
    if isinstance(decoder, VocosDecoder):
        own = decoder.config
        found = (own.sampling_rate, own.input_channels, own.hop_length)
        needed = (codec.sampling_rate, codec.latent_dim, codec.hop_length)
        if found != needed:
            raise ConfigError(_misfit(("sampling_rate", "input_channels", "hop_length"), found, needed))


def codes_sha256(codec: Network) -> tuple[str, ...]:
    """Return digests of what makes latents of codes, one for each precision that a codec's files may have."""
    found = []
    for dtype in _SAVED_DTYPES:
        rounded = copy.deepcopy(codec.quantizer).cpu().to(dtype).float()
        strides = "-".join(map(str, codec.config.vq_strides))
        found.append(f"{strides}:{weights_sha256(rounded)}")
    return tuple(found)


def _read_vocos(files: CheckpointFiles, values: Mapping[str, Any], codec: CodecConfig) -> AudioDecoder:
    config = VocosConfig.from_dict(values)
    # On the meta device nothing is allocated before the file has been compared with what the config asks for.
    with torch.device("meta"):
        decoder = VocosDecoder(config)
    check_fit(decoder, codec)
    weights = checkpoint.read_weights(files.weights, expected=decoder.state_dict())
    decoder.load_state_dict(weights, assign=True)
    return decoder


def _read_snac(files: CheckpointFiles, values: Mapping[str, Any], codec: CodecConfig) -> AudioDecoder:
    config = CodecConfig.from_dict(values)
    found, needed = ([getattr(each, name) for name in DECODER_SHAPE] for each in (config, codec))
    if found != needed:
        raise ConfigError(_misfit(DECODER_SHAPE, found, needed))
    with torch.device("meta"):
        network = Network(**config.to_dict())
    weights = checkpoint.read_weights(files.weights, expected=network.state_dict())
    decoder = network.decoder
    decoder.load_state_dict(
        {name.removeprefix(_PREFIX): tensor for name, tensor in weights.items() if name.startswith(_PREFIX)},
        assign=True,
    )
    return decoder


def _check_codes(decoder: AudioDecoder, codec: Network) -> None:
    """Refuse a decoder that says it was trained for other codes than those of a codec whose shape it fits."""
    trained_for = decoder.config.codes_sha256 if isinstance(decoder, VocosDecoder) else ()
    if trained_for and not set(trained_for) & set(codes_sha256(codec)):
        raise ConfigError(
            "this decoder was trained for the codes of another codec of the same shape; name that codec, or take a "
            "decoder that was trained for this one."
        )


def _misfit(names: tuple[str, ...], found: Any, needed: Any) -> str:
    odd = [
        f"{name} is {mine} and the codec needs {its}"
        for name, mine, its in zip(names, found, needed, strict=True)
        if mine != its
    ]
    return f"this decoder is for another codec: {', '.join(odd)}; take one that was trained on this codec's codes."
