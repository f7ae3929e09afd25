"""The frame grammar as a logits processor for vLLM's Model Runner V2: a look-up by the last id of each row.

    vllm serve MODEL --logits-processors snac_tok.generation.vllm:FrameLogitsProcessor
    LLM(MODEL, logits_processors=["snac_tok.generation.vllm:FrameLogitsProcessor"])

and in each request that writes speech, `extra_args={"snac_vocabulary": "orpheus"}` ("vllm_xargs" over HTTP): a preset's
name, or a vocabulary as JSON text. Requests without it are left alone.

Installing snac_tok registers nothing: vLLM loads every class under its entry point "vllm.logits_processors", whether
asked for or not. vLLM's older runner (VLLM_USE_V2_MODEL_RUNNER=0) has another interface and refuses this class. Where
frames must be counted, and under either runner, `StructuredOutputsParams(grammar=vocabulary.grammar())` does it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor

from snac_tok.errors import LayoutError
from snac_tok.frames import vocabulary_from_json
from snac_tok.generation.frame_states import FREE, FrameStates, frame_states

_ARGUMENT = "snac_vocabulary"
# Clients may send tables of their own; those of finished requests are dropped beyond so many.
_MAX_TABLES = 16


class _Tables(NamedTuple):
    """One vocabulary's states on the device: after an id (n + 1,), and what each bans (states, V)."""

    after: torch.Tensor
    banned: torch.Tensor


class FrameLogitsProcessor(LogitsProcessor):
    """Lets each request that names a vocabulary write whole frames of it, once speech has begun.

    It remembers only which vocabulary a request asked for: ids that are drafted, accepted late or computed again after
    a preemption make no difference.
    """

    def __init__(self, vllm_config: Any, req_states: Any) -> None:
        super().__init__(vllm_config, req_states)
        self._device = req_states.device
        # Each vocabulary that was asked for has a number from 1 on; 0 is none.
        self._numbers: dict[str, int] = {}
        self._next_number = 1
        self._tables: dict[int, _Tables] = {}
        self._asked = np.zeros(req_states.max_num_reqs, dtype=np.int64)
        self._asked_on_device = torch.zeros(req_states.max_num_reqs, dtype=torch.int64, device=self._device)

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuse a request for a vocabulary that cannot be had, before it reaches the model.

        Raises:
            LayoutError: a ValueError, as vLLM wants it.
        """
        wanted = _wanted(sampling_params)
        if wanted is not None:
            _states(wanted)

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        """Note what the request in a slot asks for, and return whether it asks for anything."""
        wanted = _wanted(sampling_params)
        self._asked[req_idx] = 0 if wanted is None else self._number_of(wanted)
        return wanted is not None

    def apply_staged_writes(self) -> None:
        """Bring the notes to the device."""
        self._asked_on_device.copy_(torch.from_numpy(self._asked))

    def apply(self, logits: torch.Tensor, ctx: Any) -> torch.Tensor:
        """Write -inf over what may not come next, in place.

        Args:
            logits: (rows, V); a request has a row, or one for each drafted id.
            ctx: the batch of this step: `input_ids` (rows,), `expanded_idx_mapping` (rows,) to the requests' slots, and
                `idx_mapping_np` (requests,) on the host.
        """
        here = set(self._asked[ctx.idx_mapping_np].tolist()) - {0}
        for wanted, number in self._numbers.items():
            if number in here:
                tables = self._tables_of(wanted, logits.shape[-1])
                states = tables.after[ctx.input_ids.long().clamp(max=tables.after.shape[0] - 1)]
                own = self._asked_on_device[ctx.expanded_idx_mapping.long()] == number
                logits.masked_fill_(tables.banned[torch.where(own, states, FREE)], float("-inf"))
        return logits

    def _number_of(self, wanted: str) -> int:
        if wanted not in self._numbers:
            if len(self._numbers) >= _MAX_TABLES:
                used = set(self._asked.tolist())
                self._numbers = {name: number for name, number in self._numbers.items() if number in used}
                self._tables = {number: tables for number, tables in self._tables.items() if number in used}
            self._numbers[wanted] = self._next_number
            self._next_number += 1
        return self._numbers[wanted]

    def _tables_of(self, wanted: str, size: int) -> _Tables:
        number = self._numbers[wanted]
        if number not in self._tables:
            states = _states(wanted)
            if states.largest_id >= size:
                raise LayoutError(
                    f"the model scores {size} ids, and {wanted[:40]!r} needs ids up to {states.largest_id}; name the "
                    "vocabulary that it was trained with."
                )
            self._tables[number] = _Tables(
                after=torch.from_numpy(states.after).to(self._device),
                banned=torch.from_numpy(states.banned(size)).to(self._device),
            )
        return self._tables[number]


def _wanted(sampling_params: Any) -> str | None:
    wanted = (sampling_params.extra_args or {}).get(_ARGUMENT)
    if wanted is not None and not isinstance(wanted, str):
        raise LayoutError(f"{_ARGUMENT} is a preset's name or JSON text, got {type(wanted).__name__}.")
    return wanted


@lru_cache(maxsize=_MAX_TABLES)
def _states(wanted: str) -> FrameStates:
    if wanted.endswith(".json"):
        # What a client sends must not open files of the server.
        raise LayoutError(
            f"{_ARGUMENT} is a preset's name or the vocabulary itself as JSON text, no file's path."
        )
    vocabulary = vocabulary_from_json(wanted) if wanted.lstrip().startswith("{") else wanted
    states = frame_states(vocabulary)
    if not states.tells_place:
        raise LayoutError(
            f"{wanted[:40]!r} has no ids of its own for each slot, so the last id does not tell the place in a frame; "
            "use StructuredOutputsParams(grammar=vocabulary.grammar())."
        )
    return states
