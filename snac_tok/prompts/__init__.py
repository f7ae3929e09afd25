"""Where a language model's special ids go: around text and speech in training, before speech in generation.

Ids only: knows no text tokenizer, no sound and no network.
"""

from __future__ import annotations

from snac_tok.prompts.prompt_format import PromptFormat, TrainingSequence, prompt_format, with_voice
from snac_tok.prompts.speech import speech_ids

__all__ = ["PromptFormat", "TrainingSequence", "prompt_format", "speech_ids", "with_voice"]
