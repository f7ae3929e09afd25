"""What a run is made of, from its config: the codec it starts with, its adversary, its crops and their sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snac_tok.codec.model import SNAC
from snac_tok.codec.vocos import VocosDecoder
from snac_tok.errors import ConfigError, TrainingError
from snac_tok.training.adversary import Adversary
from snac_tok.training.clip_store import ClipStore
from snac_tok.training.crops import CropSampler
from snac_tok.training.discriminators import Discriminators

if TYPE_CHECKING:
    from snac_tok.training.config import TrainingConfig
    from snac_tok.training.process import TrainingProcess
    from snac_tok.training.recipe import DecoderConfig


def starting_codec(config: TrainingConfig) -> SNAC:
    """Load what a run starts from, or draw weights by its seed.

    Raises:
        ConfigError: a decoder of another kind would learn codes that are random for good.
    """
    if config.start_from is None and config.decoder is not None and not config.trains_codes:
        raise ConfigError(
            'decoder is described and trainable is "decoder": it would learn the codes of a codec with random weights; '
            "name a codec in start_from, or train all."
        )
    if config.start_from is not None:
        return SNAC.from_pretrained(config.start_from)
    # Initial values come from torch's global generator, which is left as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return SNAC.from_config(config.codec)


def drawn_decoder(shape: DecoderConfig, codec: SNAC, *, seed: int) -> VocosDecoder:
    """Draw the weights of a decoder of another kind for a codec."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VocosDecoder(shape.for_codec(codec.config))


def adversary_of(
    config: TrainingConfig, process: TrainingProcess, *, decoder_dim: int, before: Adversary | None = None
) -> Adversary | None:
    """Draw discriminators by the run's seed, or go on with those of the stage before; None where there are none.

    Args:
        config: of the stage.
        process: of this process.
        decoder_dim: of the codec, which decides the width where the config does not.
        before: of the stage before; its weights are taken over where the shape is the same.
    """
    if config.discriminators is None:
        return None
    shape = config.discriminators.for_codec(decoder_dim)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed + 1)
        discriminators = Discriminators(shape)
    made = Adversary(discriminators.to(process.device), config, process)
    if before and before.has_learned and before.discriminators.config == shape:
        made.take_over(before)
    return made


def crops_of(config: TrainingConfig, sampling_rate: int) -> CropSampler:
    """Open the prepared folders.

    Raises:
        TrainingError: one cannot be read or has another sampling rate.
    """
    data = config.data
    stores = [(ClipStore.open(source.folder), source.weight) for source in data.train]
    for store, _ in stores:
        if store.sampling_rate != sampling_rate:
            raise TrainingError(
                f"{store.folder} was prepared at {store.sampling_rate} Hz; the codec needs {sampling_rate} Hz: "
                f"prepare it with --sampling-rate {sampling_rate}."
            )
    return CropSampler(
        stores,
        crop_samples=data.crop_samples,
        batch_size=config.batch_size,
        seed=config.seed,
        silence_db=data.silence_db,
        augmentation=data.augmentation,
    )
