"""`snac-tok decode --on-error`: damaged ids to sound, and one line on stderr that says what was lost."""

import json

import numpy as np
import pytest

from snac_tok import read_audio


@pytest.fixture
def damaged(work, tokenizer):
    """A file of ids without the eleventh, and how many frames there were."""
    ids = tokenizer.encode("b.flac")
    (work / "ids.json").write_text(json.dumps(np.delete(ids, 10).tolist()), encoding="utf-8")
    return len(ids) // 7


@pytest.mark.parametrize(("word", "lost"), [("resync", 1), ("conceal", 0)])
def test_damaged_ids_are_repaired(run, damaged, word, lost):
    """The frame is left out, or kept in time."""
    result = run("decode", "ids.json", "-o", "back.wav", "--preset", "orpheus", "--on-error", word)
    assert result.exit_code == 0, result.stderr
    assert "1 fault among the ids" in result.stderr
    assert "position 10, frame 1: 1 id missing" in result.stderr
    assert read_audio("back.wav").num_samples == (damaged - lost) * 2048


def test_it_is_for_ids_and_refuses_other_words(refused, damaged):
    """And what it does already need not be asked for."""
    assert damaged
    strict = refused("decode", "ids.json", "-o", "back.wav", "--preset", "orpheus")
    assert "position 10" in strict
    ask = ("decode", "ids.json", "-o", "back.wav", "--preset", "orpheus", "--on-error")
    assert "'fix' is not one of" in refused(*ask, "fix")
    assert "leave --drop-partial out" in refused(*ask, "resync", "--drop-partial")
    assert "--on-error is for a file of ids" in refused(
        "decode", ".", "-o", "back.wav", "--on-error", "resync"
    )
