"""Makes transformers' Auto classes know "snac"."""

from __future__ import annotations

import transformers
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoProcessor
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from snac_tok.hf.configuration import SnacConfig
from snac_tok.hf.feature_extraction import SnacFeatureExtractor
from snac_tok.hf.modeling import SnacModel
from snac_tok.hf.processor import SnacProcessor


class _SpeakingLanguageModel:
    """The key under which the processor is registered: language models with audio tokens have configs of many classes.

    AutoProcessor finds a saved processor's class by its name among those registered. If it were registered under
    `SnacConfig`, AutoProcessor would take a folder with a codec alone for a processor's.
    """


def register() -> None:
    """Register config, model and feature extractor, unless transformers has a "snac" of its own, and the processor."""
    AutoProcessor.register(_SpeakingLanguageModel, SnacProcessor)
    if "snac" in CONFIG_MAPPING:
        return
    AutoConfig.register("snac", SnacConfig)
    AutoModel.register(SnacConfig, SnacModel)
    AutoFeatureExtractor.register(SnacConfig, SnacFeatureExtractor)
    # Younger than transformers 5.0.
    if (tokenization := getattr(transformers, "AutoModelForAudioTokenization", None)) is not None:
        tokenization.register(SnacConfig, SnacModel)
