"""Where a language model's special ids go: around text and speech in training, before speech in generation.

Ids only: knows no text tokenizer, no sound and no network.
"""

from __future__ import annotations

from snac_tok.prompts.prompt_format import PromptFormat, TrainingSequence, prompt_format
from snac_tok.prompts.speech import speech_ids
from snac_tok.prompts.templates import prompt_names

__all__ = ["PromptFormat", "TrainingSequence", "prompt_format", "prompt_names", "speech_ids"]
