"""The class for vLLM's Model Runner V2, against a stand-in of the documented interface: vLLM itself is not installed.

The stand-in has what docs.vllm.ai (0.32, 0.33) names: the base class with its five methods, the request state with
`device`, `max_num_reqs` and `vocab_size`, and the step's context with one row a drafted id.
"""

from __future__ import annotations

import importlib
import re
import sys
from importlib.metadata import entry_points
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from snac_tok import preset
from snac_tok.errors import LayoutError
from snac_tok.frames import vocabulary_to_json
from snac_tok.generation import FrameGrammarProcessor

ORPHEUS = preset("orpheus")
TINY = preset("plain", codebook_size=8, base=16)
START, END = TINY.special_id("bos"), TINY.special_id("eos")
HOME = "vllm.v1.worker.gpu.sample.logits_processor"
NAME = "snac_tok.generation.vllm"


class LogitsProcessor:
    """The base class as documented."""

    def __init__(self, vllm_config, req_states):
        self.made_with = vllm_config, req_states

    @classmethod
    def validate_params(cls, sampling_params):
        """Raise ValueError for a request that cannot be served."""

    def add_request(self, req_idx, sampling_params):
        """Return whether the processor has to do with the request."""

    def apply_staged_writes(self):
        """Bring what add_request noted to the device."""

    def apply(self, logits, ctx):
        """Change logits."""


@pytest.fixture
def vllm(monkeypatch):
    """Our module, imported while vLLM's stands in."""
    parts = HOME.split(".")
    for count in range(1, len(parts) + 1):
        monkeypatch.setitem(sys.modules, ".".join(parts[:count]), ModuleType(".".join(parts[:count])))
    sys.modules[HOME].LogitsProcessor = LogitsProcessor
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    yield importlib.import_module(NAME)
    sys.modules.pop(NAME, None)


def _asking(wanted):
    return SimpleNamespace(extra_args=None if wanted is None else {"snac_vocabulary": wanted})


def _processor(vllm, size=TINY.size, slots=6):
    states = SimpleNamespace(device=torch.device("cpu"), max_num_reqs=slots, vocab_size=size)
    return vllm.FrameLogitsProcessor(None, states)


def _step(processor, slots, ids, size):
    """One step: rows of requests in any order, several rows for one request where ids were drafted."""
    processor.apply_staged_writes()
    requests = list(dict.fromkeys(slots))
    context = SimpleNamespace(
        input_ids=torch.tensor(ids, dtype=torch.int32),
        expanded_idx_mapping=torch.tensor(slots, dtype=torch.int32),
        idx_mapping_np=np.array(requests),
    )
    logits = torch.zeros(len(slots), size)
    assert processor.apply(logits, context) is logits
    return logits.isfinite()


def test_each_row_is_held_by_its_own_last_id(vllm):
    """The same masks as transformers' processor gives, rows in any order, drafted ids row by row."""
    processor = _processor(vllm)
    wanted = vocabulary_to_json(TINY)
    assert processor.add_request(4, _asking(wanted)) is True
    assert processor.add_request(1, _asking(wanted)) is True
    assert processor.add_request(2, _asking(None)) is False
    ids = [START, TINY.id_of(0, 3), TINY.id_of(6, 7), TINY.id_of(2, 0), 5]
    found = _step(processor, [4, 1, 1, 2, 4], ids, TINY.size)
    held = FrameGrammarProcessor(TINY)(torch.tensor(ids), torch.zeros(5, TINY.size)).isfinite()
    held[3] = True
    assert torch.equal(found, held)


def test_slots_are_used_again_and_vocabularies_stand_side_by_side(vllm):
    """What a slot's last request asked for is forgotten; two requests may name two tables."""
    processor = _processor(vllm, ORPHEUS.size)
    processor.add_request(0, _asking("orpheus"))
    processor.add_request(1, _asking(vocabulary_to_json(TINY)))
    found = _step(processor, [0, 1], [128257, START], ORPHEUS.size)
    assert found.sum(dim=1).tolist() == [4096, 8]
    assert found[1].nonzero()[:, 0].tolist() == list(TINY.id_range(0))
    processor.add_request(0, _asking(None))
    assert _step(processor, [0], [128257], ORPHEUS.size).all()


def test_tables_of_finished_requests_do_not_pile_up(vllm):
    """Clients that each send a table of their own cost memory only while they are served."""
    processor = _processor(vllm, 200)
    for base in range(16, 56):
        processor.add_request(0, _asking(vocabulary_to_json(preset("plain", codebook_size=8, base=base))))
        assert _step(processor, [0], [base + 57], 200).sum() == 8
    assert len(processor._tables) <= 17


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("orfeus", "Did you mean 'orpheus'?"),
        ("/etc/table.json", "no file's path"),
        (7, "is a preset's name or JSON text, got int"),
        ("lucy", "has parallel rows"),
        ("per-level", "has no ids of its own for each slot"),
    ],
)
def test_a_request_that_cannot_be_served_is_refused_when_it_comes(vllm, wanted, sentence):
    """validate_params raises a ValueError with one sentence; nothing reaches the model."""
    with pytest.raises(ValueError, match=re.escape(sentence)):
        vllm.FrameLogitsProcessor.validate_params(_asking(wanted))
    vllm.FrameLogitsProcessor.validate_params(_asking("orpheus"))
    vllm.FrameLogitsProcessor.validate_params(_asking(None))


def test_a_model_without_rows_for_the_ids_is_named(vllm):
    """A vocabulary of another model."""
    processor = _processor(vllm)
    processor.add_request(0, _asking("orpheus"))
    with pytest.raises(LayoutError, match="the model scores 75 ids, and 'orpheus' needs ids up to 156937"):
        _step(processor, [0], [5], TINY.size)


def test_installing_registers_nothing():
    """An entry point would be loaded by every vLLM on the machine."""
    ours = [point for point in entry_points(group="vllm.logits_processors") if "snac" in point.value]
    assert ours == []
