"""A language model of transformers in this process: its ids go to the shared decoder as it writes them.

`SnacStreamer` decodes for itself; here the ids of all streams go through one decoder, so this streamer hands on ids.
"""

from __future__ import annotations

import asyncio
import copy
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from transformers.generation.streamers import BaseStreamer

from snac_tok.audio.optional import import_optional
from snac_tok.errors import GenerationStoppedError, ServingError, SnacTokError, first_line
from snac_tok.generation import FrameGrammarProcessor
from snac_tok.prompts import prompt_format
from snac_tok.serving.problems import CutOffError, RefusedError
from snac_tok.serving.sources import load_text_tokenizer, prompt_ids

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from snac_tok.frames import Vocabulary
    from snac_tok.prompts.prompt_format import Prompt
    from snac_tok.serving.sources import SpeechRequest, Tokens

MAX_TOKENS = 4_096
# On a CPU more at once are no faster, but nobody waits for a long text of somebody else.
_AT_ONCE = 4


class LocalModelSource:
    """Lets a language model write the tokens of each request, held to whole frames.

    Args:
        model: a causal language model of transformers.
        text_ids: turns a text into the model's ids without special ones.
        vocabulary: whose ids the model writes.
        prompt: as in `prompt_format`; None is the vocabulary's own.
        max_tokens: the most tokens of one answer; fewer where the model's context ends before.
        sampling: options of `generate`, such as {"do_sample": True, "temperature": 0.6}; the rest is as the model's
            generation_config.json says.
        at_once: how many texts are spoken at once; others wait for their turn.

    Attributes:
        prompt: the `PromptFormat`; its ids around speech hold the model, and end its speech.

    Raises:
        LayoutError: the vocabulary has no prompt of this name, or no grammar.

    Example:
        >>> source = LocalModelSource.from_folder("tiny_tts", tok.vocabulary)                        # doctest: +SKIP
    """

    def __init__(
        self,
        model: Any,
        text_ids: Callable[[str], list[int]],
        vocabulary: Vocabulary,
        *,
        prompt: Prompt | None = None,
        max_tokens: int = MAX_TOKENS,
        sampling: Mapping[str, Any] | None = None,
        at_once: int = _AT_ONCE,
    ) -> None:
        self._model, self._text_ids = model, text_ids
        self.prompt = prompt_format(vocabulary, prompt)
        self._held = FrameGrammarProcessor(
            vocabulary, before_speech=self.prompt.before_speech, after_speech=self.prompt.after_speech
        )
        self._max_tokens, self._sampling = max_tokens, dict(sampling or {})
        self._turns = asyncio.Semaphore(at_once)

    @classmethod
    def from_folder(
        cls,
        folder: str,
        vocabulary: Vocabulary,
        *,
        text_tokenizer: str | None = None,
        device: str = "cpu",
        prompt: Prompt | None = None,
        max_tokens: int = MAX_TOKENS,
        sampling: Mapping[str, Any] | None = None,
        at_once: int = _AT_ONCE,
    ) -> Self:
        """Load a model and its text tokenizer.

        Args:
            folder: of the model, or its name on the hub.
            vocabulary: as in the constructor.
            text_tokenizer: another folder for the text tokenizer.
            device: where the model runs.
            prompt: as in the constructor.
            max_tokens: see there.
            sampling: see there.
            at_once: see there.

        Raises:
            ServingError: one of them cannot be loaded.
            LayoutError: as in the constructor.
        """
        transformers = import_optional("transformers", extra="hf", purpose="a local language model")
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(folder).to(device).eval()
        except Exception as error:
            raise ServingError(
                f"no language model can be loaded from {folder}: {first_line(error)} Name a folder that "
                "save_pretrained wrote, or the address of a server."
            ) from error
        return cls(
            model,
            load_text_tokenizer(text_tokenizer or folder),
            vocabulary,
            prompt=prompt,
            max_tokens=max_tokens,
            sampling=sampling,
            at_once=at_once,
        )

    async def __call__(self, request: SpeechRequest) -> AsyncIterator[Tokens]:
        """Yield the ids of a request's speech while the model writes them.

        Raises:
            RefusedError: the text leaves no room in the model's context, the model failed, or it had not ended its
                speech at the limit of tokens.
        """
        ids = prompt_ids(self.prompt, self._text_ids(self.prompt.with_voice(request.text, request.voice)))
        room = self._room(ids)
        async with self._turns:
            streamer = _IdStreamer(asyncio.get_running_loop())
            threading.Thread(
                target=self._generate, args=(ids, room, streamer), name="generate", daemon=True
            ).start()
            try:
                while (piece := await streamer.queue.get()) is not None:
                    if isinstance(piece, Exception):
                        raise _failure(piece)
                    yield piece
            finally:
                streamer.is_closed = True

    def _room(self, ids: list[int]) -> int:
        context = getattr(self._model.config, "max_position_embeddings", None)
        room = self._max_tokens if context is None else min(self._max_tokens, context - len(ids))
        if room <= 0:
            raise RefusedError(
                f"the text has {len(ids)} tokens with its prompt, and the language model takes {context}; send a "
                "shorter one.",
                status=400,
                code="unusable_text",
            )
        return room

    def _generate(self, ids: list[int], room: int, streamer: _IdStreamer) -> None:
        import torch

        try:
            prompt = torch.tensor([ids], device=self._model.device)
            options = {
                "eos_token_id": self._held.end_ids,
                "pad_token_id": self._held.end_ids[0],
            } | self._sampling
            self._model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=room,
                # On a GPU it keeps masks, which are one call's.
                logits_processor=[copy.copy(self._held)],
                streamer=streamer,
                **options,
            )
            # Who heard the end of speech asks for no more.
            streamer.hand_over(CutOffError() if streamer.num_ids >= room else None)
        except GenerationStoppedError:
            streamer.hand_over(None)
        except Exception as error:  # noqa: BLE001 - it is the listener's
            streamer.hand_over(error)


class _IdStreamer(BaseStreamer):
    """Hands the ids of one `generate` to an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.queue: asyncio.Queue[list[int] | Exception | None] = asyncio.Queue()
        self.is_closed = False
        self.num_ids = 0
        self._loop = loop
        self._is_prompt = True

    def put(self, value: Any) -> None:
        """Take the prompt, then the ids of each step."""
        if self.is_closed:
            raise GenerationStoppedError("nobody listens any more.")
        if self._is_prompt:
            self._is_prompt = False
        else:
            ids = value.reshape(-1).tolist()
            self.num_ids += len(ids)
            self.hand_over(ids)

    def end(self) -> None:
        """Do nothing: whether it was the model that ended is known behind `generate`."""

    def hand_over(self, piece: list[int] | Exception | None) -> None:
        """Put a piece where the listener waits."""
        # The loop is closed where the server went down meanwhile.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.queue.put_nowait, piece)


def _failure(error: Exception) -> RefusedError:
    if isinstance(error, CutOffError):
        return error
    reason = str(error) if isinstance(error, SnacTokError) else f"{type(error).__name__}: {first_line(error)}"
    return RefusedError(f"the language model failed: {reason}", status=500, code="source_error")
