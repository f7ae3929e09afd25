"""The SNAC network and the ways to run it. Torch and einops only; knows no files of sound and no tokens."""

from snac_tok.codec.chunked import AudioDecoder
from snac_tok.codec.config import PRESETS, CodecConfig
from snac_tok.codec.geometry import Reach, latent_dependence, latent_influence
from snac_tok.codec.model import SNAC
from snac_tok.codec.noise import Noise
from snac_tok.codec.vocos import VocosDecoder
from snac_tok.codec.vocos_config import VocosConfig

__all__ = [
    "PRESETS",
    "SNAC",
    "AudioDecoder",
    "CodecConfig",
    "Noise",
    "Reach",
    "VocosConfig",
    "VocosDecoder",
    "latent_dependence",
    "latent_influence",
]
