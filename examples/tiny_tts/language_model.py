"""A language model small enough to learn a few sentences by heart in a minute, and its text tokenizer.

    ids   0 … 255       256 257         258 … 267     268 … 28939
          bytes of      begin and end   control       7 slots of 4096 codes
          the text      of the text     tokens

From 258 on that is Orpheus' table, which begins at 128,256 behind Llama 3's text. Here the text is bytes, so the table
lies lower (vocabulary.json); special ids, prompts, grammars and spellings are those of Orpheus.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from snac_tok.hf import SnacFeatureExtractor, SnacProcessor, add_audio_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clips import Clip

VOCABULARY = Path(__file__).with_name("vocabulary.json")
# Clips that are learned at once: the scores of one of five seconds are 430 rows of 28,940 numbers.
BATCH = 4
# Enough for some ten clips; wider layers take more time a pass, and few passes less.
WIDTH = 64
IGNORED = -100


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far training has come.

    Attributes:
        step: passes over all clips so far.
        loss: the mean over the ids of the answers: 10.3 knows nothing, ln(28,940).
        known: the share of ids that got more than half of the probability: nothing else can be written then.
        says_all: whether the model said all clips back, id by id.
    """

    step: int
    loss: float
    known: float
    says_all: bool


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Return a text tokenizer whose ids are the bytes of the text: nothing to train, nothing unknown."""
    signs = {sign: byte for byte, sign in bytes_to_unicode().items()}  # ids are the bytes themselves
    spelling = Tokenizer(models.BPE(vocab=signs, merges=[]))
    spelling.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    spelling.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=spelling)


def new_model(codec: str, *, seed: int) -> tuple[LlamaForCausalLM, SnacProcessor]:
    """Return a Llama of two layers with random weights, and the processor that makes its ids.

    Args:
        codec: whose ids it will write: "tiny", a folder, or a repository of the hub.
        seed: of its weights.
    """
    tokenizer = byte_tokenizer()
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=8192,
            bos_token_id=None,  # Llama's own defaults, 1 and 2, are bytes here
            eos_token_id=None,
        )
    )
    vocabulary = add_audio_tokens(tokenizer, VOCABULARY, model=model)
    processor = SnacProcessor(SnacFeatureExtractor(), tokenizer, codec, vocabulary)
    # Saved with the model, so that nobody who loads it has to know where its speech ends.
    settings = model.generation_config
    settings.eos_token_id = list(processor.prompts.after_speech)
    settings.pad_token_id = vocabulary.special_id("pad")
    settings.do_sample = False
    return model, processor


def learn(
    model: LlamaForCausalLM,
    processor: SnacProcessor,
    clips: Sequence[Clip],
    *,
    learning_rate: float,
    max_steps: int,
) -> Iterator[Progress]:
    """Train until the model says its clips back id by id, or for `max_steps` passes over them.

    Args:
        model: changed in place.
        processor: makes a clip's prompt and speech.
        clips: to learn.
        learning_rate: of AdamW.
        max_steps: the most passes.

    Yields:
        how far it is, after each pass.
    """
    groups = [clips[start : start + BATCH] for start in range(0, len(clips), BATCH)]
    batches = [_batch(processor, group) for group in groups]
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=10)
    for step in range(1, max_steps + 1):
        losses = torch.cat([_learn_batch(model, batch, optimizer, warm_up) for batch in batches])
        known = float((losses < math.log(2)).float().mean())
        # Weights moved while the pass went on, so what it found is tried before it is believed.
        says_all = known == 1 and all(says_back(model, processor, group) for group in groups)
        yield Progress(step=step, loss=float(losses.mean()), known=known, says_all=says_all)
        if says_all:
            return


def says_back(model: Any, processor: SnacProcessor, clips: Sequence[Clip]) -> bool:
    """Whether the model, given the texts of clips, writes exactly the ids of their recordings and then the end."""
    prompts = processor(text=[clip.text for clip in clips], return_tensors="pt")
    # One id more than the longest: its end.
    written = model.generate(**prompts, max_new_tokens=max(clip.ids.size for clip in clips) + 1)
    answers = written[:, prompts["input_ids"].shape[1] :].numpy()
    ends = processor.prompts.after_speech
    return all(
        np.array_equal(answer[: clip.ids.size], clip.ids) and answer[clip.ids.size] in ends
        for answer, clip in zip(answers, clips, strict=True)
    )


def _batch(processor: SnacProcessor, clips: Sequence[Clip]) -> Any:
    texts, sounds = [clip.text for clip in clips], [clip.sound for clip in clips]
    return processor(text=texts, audio=sounds, mask_prompt=True, return_tensors="pt")


def _learn_batch(
    model: LlamaForCausalLM, batch: Any, optimizer: torch.optim.Optimizer, schedule: Any
) -> torch.Tensor:
    """Make one step of training and return the loss of each id of the answers (n,)."""
    wanted = batch["labels"][:, 1:]
    is_wanted = wanted != IGNORED
    read = model.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
    # Scores of the answers alone: those of prompts and padding would take as long, and count for nothing.
    scores = model.lm_head(read.last_hidden_state[:, :-1][is_wanted])
    losses = cross_entropy(scores, wanted[is_wanted], reduction="none")
    optimizer.zero_grad()
    losses.mean().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    return losses.detach()
