"""The frame grammar for transformers' `generate`: a logits processor that looks at the ids already there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import LogitsProcessor

from snac_tok.errors import TokenError
from snac_tok.generation.frame_states import BEGIN, BORDER, FULL, frame_states

if TYPE_CHECKING:
    import os

    import numpy.typing as npt

    from snac_tok.frames import Vocabulary
    from snac_tok.frames.grammar import EdgeIds
    from snac_tok.streaming.pairing import CodecWithVocabulary

_NO_ID = float("-inf")


class FrameGrammarProcessor(LogitsProcessor):
    """Lets a language model write whole frames of the right ids, once speech has begun, and text as it likes before.

    It remembers nothing: what may come next follows from the ids in front, so rows of a batch, left padding, beams and
    prompts that end inside speech need no care.

    Args:
        vocabulary: the id table, a preset's name, a .json file, or a `SnacTokenizer`.
        min_frames: the fewest frames of speech.
        max_frames: the most; None is any number. A count needs the ids of the whole row, which continuous batching does
            not hand over: bound the length by `max_new_tokens` there.
        before_speech: names of specials, or ids, whose last one starts speech; None as in `Vocabulary.grammar`.
        after_speech: those that may end it; None as there. Behind each of them text may follow, so generation must stop
            at them: `eos_token_id=held.end_ids`.
        in_place: whether the scores are written over, which `generate` made for this step and which is fastest; False
            leaves them as they are, for those who ask `generate` for `output_logits`.

    Attributes:
        end_ids: the ids that may end speech.

    Raises:
        LayoutError: as `Vocabulary.grammar`, or no id that ends speech.

    Example:
        >>> held = FrameGrammarProcessor("orpheus")
        >>> scores = held(torch.tensor([[128257, 128266]]), torch.zeros(1, 156_940))
        >>> scores[0].isfinite().nonzero()[[0, -1], 0].tolist()
        [132362, 136457]
        >>> model.generate(**prompt, logits_processor=[held], eos_token_id=held.end_ids)      # doctest: +SKIP
    """

    # With ids of its own for each slot, the last id of each row is all that is needed.
    supports_continuous_batching = True

    def __init__(
        self,
        vocabulary: Vocabulary | str | os.PathLike[str] | CodecWithVocabulary,
        *,
        min_frames: int = 1,
        max_frames: int | None = None,
        before_speech: EdgeIds | None = None,
        after_speech: EdgeIds | None = None,
        in_place: bool = True,
    ) -> None:
        self.states = frame_states(
            vocabulary,
            min_frames=min_frames,
            max_frames=max_frames,
            before_speech=before_speech,
            after_speech=after_speech,
        )
        self.in_place = in_place
        self.end_ids = [ids.start for ids in self.states.allowed[FULL]]
        self._gaps = [_gaps(runs) for runs in self.states.allowed]
        self._largest_id = self.states.largest_id
        self._needs_run = self.states.counts_frames or not self.states.tells_place
        # A list is read faster than a tensor, one id at a time.
        self._after = self.states.after.tolist()
        self._after_on_device = torch.from_numpy(self.states.after)
        self._banned: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores (B, V) with -inf for every id that may not come next.

        Args:
            input_ids: (B, L), or (B,) as continuous batching hands over the last ids.
            scores: (B, V).

        Raises:
            TokenError: the model has fewer ids than the vocabulary, or last ids alone do not tell what may come next.
        """
        if scores.shape[-1] <= self._largest_id:
            raise TokenError(
                f"the model scores {scores.shape[-1]} ids, and speech needs ids up to {self._largest_id}; give it rows "
                "for them (add_audio_tokens), or take the preset it was trained with."
            )
        if not input_ids.numel():
            # A prompt of embeddings alone.
            return scores
        held = scores if self.in_place else scores.clone()
        last = input_ids if input_ids.ndim == 1 else input_ids[:, -1]
        if held.device.type == "cpu":
            self._fill(self._states_on_cpu(input_ids, last), held)
        else:
            self._mask(self._states_on_device(input_ids, last), held)
        return held

    def _states_on_cpu(self, input_ids: torch.Tensor, last: torch.Tensor) -> list[int]:
        known = len(self._after) - 1
        states = [self._after[min(number, known)] for number in last.tolist()]
        if self._needs_run and BORDER in states:
            lines = self._rows_of(input_ids).numpy()
            states = [
                self._counted(line) if state == BORDER else state
                for line, state in zip(lines, states, strict=True)
            ]
        return states

    def _counted(self, line: npt.NDArray[np.int64]) -> int:
        """Return the state behind a row (L,) from how many ids of speech it ends with."""
        after = self.states.after
        others = np.flatnonzero(after[np.minimum(line, after.size - 1)] < BORDER)
        run = line.size - (int(others[-1]) + 1 if others.size else 0)
        frames, place = divmod(run, self.states.ids_per_frame)
        if place and not self.states.tells_place:
            return FULL + place
        if self.states.max_frames is not None and frames >= self.states.max_frames:
            return FULL
        # One frame more is what BEGIN asks for.
        return BEGIN if frames < self.states.min_frames else BORDER

    def _states_on_device(self, input_ids: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Return the states (B,) without waiting for the device."""
        self._after_on_device = self._after_on_device.to(last.device)
        states = self._after_on_device[last.clamp(max=len(self._after) - 1)]
        if not self._needs_run:
            return states
        lines = self._rows_of(input_ids)
        is_text = self._after_on_device[lines.clamp(max=len(self._after) - 1)] < BORDER
        places = torch.arange(1, lines.shape[1] + 1, device=lines.device)
        run = lines.shape[1] - (is_text * places).amax(dim=1)
        frames, place = run // self.states.ids_per_frame, run % self.states.ids_per_frame
        at_border = states == BORDER
        if not self.states.tells_place:
            states = torch.where(at_border & (place > 0), place + FULL, states)
            at_border &= place == 0
        if self.states.max_frames is not None:
            states = torch.where(at_border & (frames >= self.states.max_frames), FULL, states)
        return torch.where(at_border & (frames < self.states.min_frames), BEGIN, states)

    def _rows_of(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return ids (B, L).

        Raises:
            TokenError: there are last ids only.
        """
        if input_ids.ndim == 1:
            raise TokenError(
                "continuous batching hands over the last id of each row, from which neither a number of frames nor, "
                "without ids of its own for each slot, the place in a frame can be told; leave min_frames and "
                "max_frames out, and take a vocabulary with offsets='slot'."
            )
        return input_ids

    def _fill(self, rows: list[int], scores: torch.Tensor) -> None:
        """Fill what lies between the runs of ids that each row may go on with: few runs, so few and long fills."""
        # A call of numpy costs a tenth of one of torch; it knows neither bfloat16 nor gradients.
        lines: Any = scores
        if scores.dtype != torch.bfloat16 and not scores.requires_grad:
            lines = scores.numpy()
        for row, state in enumerate(rows):
            for gap in self._gaps[state]:
                lines[row, gap] = _NO_ID

    def _mask(self, states: torch.Tensor, scores: torch.Tensor) -> None:
        """Do the same with a table of masks, which needs no number from the device."""
        size, device = scores.shape[-1], scores.device
        if self._banned is None or self._banned.shape[1] != size or self._banned.device != device:
            self._banned = torch.from_numpy(self.states.banned(size)).to(device)
        scores.masked_fill_(self._banned[states], _NO_ID)


def _gaps(runs: tuple[range, ...]) -> tuple[slice, ...]:
    """Return the stretches between sorted runs of ids, the one in front and the one behind included."""
    edges = [0, *(edge for ids in runs for edge in (ids.start, ids.stop)), None]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return tuple(slice(start, stop) for start, stop in pairs if start != stop) if runs else ()
