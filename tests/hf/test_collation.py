"""Padding and packing: every id where it was, nothing lost, documents kept apart."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from snac_tok.errors import TokenError
from snac_tok.hf.collation import AudioTextCollator, pack_sequences

rows_of_ids = st.lists(st.lists(st.integers(0, 200_000), min_size=1, max_size=12), min_size=1, max_size=10)


@given(rows=rows_of_ids, multiple=st.sampled_from([None, 1, 8]))
def test_padding_adds_behind_and_changes_nothing(rows, multiple):
    """Where the mask is 1 stand the ids and their labels; behind, pad ids and -100."""
    collator = AudioTextCollator(pad_token_id=7, pad_to_multiple_of=multiple)
    batch = collator([{"input_ids": row, "text": "left out"} for row in rows])
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
    assert batch["input_ids"].shape[1] % (multiple or 1) == 0
    assert batch["input_ids"].shape[1] - max(map(len, rows)) < (multiple or 1)
    for at, row in enumerate(rows):
        mask = batch["attention_mask"][at].bool()
        assert mask.tolist() == [True] * len(row) + [False] * (mask.numel() - len(row))
        assert batch["input_ids"][at][mask].tolist() == batch["labels"][at][mask].tolist() == row
        assert set(batch["input_ids"][at][~mask].tolist()) <= {7}
        assert set(batch["labels"][at][~mask].tolist()) <= {-100}
    assert all(tensor.dtype == torch.int64 for tensor in batch.values())


def test_labels_of_ones_own_are_kept():
    """A masked prompt stays masked."""
    batch = AudioTextCollator(pad_token_id=0)(
        [{"input_ids": [1, 2], "labels": [-100, 2]}, {"input_ids": [3]}]
    )
    assert batch["labels"].tolist() == [[-100, 2], [3, -100]]


@given(rows=rows_of_ids, context=st.integers(12, 40))
def test_packed_rows_come_back_whole(rows, context):
    """Every row once, in one piece; lines within the context; positions and labels by document."""
    lines = pack_sequences([{"input_ids": row} for row in rows], context)
    found = []
    for line in lines:
        assert line["input_ids"].size <= context
        ends = np.cumsum(line["document_lengths"])
        for start, end in zip(ends - line["document_lengths"], ends, strict=True):
            found.append(line["input_ids"][start:end].tolist())
            assert line["position_ids"][start:end].tolist() == list(range(end - start))
            assert line["labels"][start] == -100
            assert line["labels"][start + 1 : end].tolist() == found[-1][1:]
    assert sorted(found) == sorted(rows)
    assert sum(line["input_ids"].size for line in lines) == sum(map(len, rows))


def test_packing_is_dense():
    """A later short row fills the room that an earlier line left."""
    lines = pack_sequences([{"input_ids": [1] * n} for n in (6, 5, 4, 5)], 10)
    assert [line["document_lengths"].tolist() for line in lines] == [[6, 4], [5, 5]]


@pytest.mark.parametrize(("too_long", "kept"), [("drop", [[9]]), ("cut", [[1, 2], [9]])])
def test_a_row_longer_than_the_context_is_treated_as_told(too_long, kept):
    """Refused unless the caller says what to do."""
    rows = [{"input_ids": [1, 2, 3]}, {"input_ids": [9]}]
    found = [line["input_ids"].tolist() for line in pack_sequences(rows, 2, too_long=too_long)]
    assert found == kept
    with pytest.raises(TokenError, match="row 0 has 3 ids, the context 2"):
        pack_sequences(rows, 2)


def test_packed_lines_are_collated_with_their_positions():
    """Padding counts from 0 again, so that it belongs to no document."""
    lines = pack_sequences([{"input_ids": [1, 2, 3]}, {"input_ids": [4, 5]}], 3)
    batch = AudioTextCollator(pad_token_id=0)(lines)
    assert "attention_mask" not in batch
    assert batch["position_ids"].tolist() == [[0, 1, 2], [0, 1, 0]]
    assert batch["labels"].tolist() == [[-100, 2, 3], [-100, 5, -100]]


@pytest.mark.parametrize("row", [{}, {"input_ids": []}, {"input_ids": [[1]]}, {"input_ids": [0.5]}])
def test_rows_without_ids_are_named(row):
    """An empty row would train on padding alone."""
    for call in (AudioTextCollator(pad_token_id=0), lambda rows: pack_sequences(rows, 8)):
        with pytest.raises(TokenError, match="row 1 has no line of integers 'input_ids'"):
            call([{"input_ids": [1]}, row])


def test_impossible_calls_are_refused():
    """No rows, no context, labels that do not fit."""
    with pytest.raises(TokenError, match="no rows"):
        AudioTextCollator(pad_token_id=0)([])
    with pytest.raises(TokenError, match="context_length is 0"):
        pack_sequences([], 0)
    with pytest.raises(TokenError, match="too_long is 'drp'"):
        pack_sequences([], 4, too_long="drp")
    with pytest.raises(TokenError, match="2 labels and 1 ids"):
        AudioTextCollator(pad_token_id=0)([{"input_ids": [1], "labels": [1, 2]}])


@pytest.mark.parametrize("multiple", [0, -8, 2.5, "8"])
def test_a_length_is_rounded_to_whole_numbers_from_1(multiple):
    """Refused when the collator is made, not by a division in the first step of a training."""
    with pytest.raises(TokenError, match="pad_to_multiple_of is"):
        AudioTextCollator(pad_token_id=0, pad_to_multiple_of=multiple)


@torch.no_grad()
def test_packed_documents_do_not_see_each_other():
    """A language model gives the second document of a line the logits that it has alone."""
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=50, **shape)).eval()
    rows = [{"input_ids": [5, 6, 7, 8]}, {"input_ids": [9, 10, 11]}]
    batch = AudioTextCollator(pad_token_id=0)(pack_sequences(rows, 8))
    packed = model(**batch, use_cache=False).logits[0]
    alone = model(torch.tensor([[9, 10, 11]])).logits[0]
    torch.testing.assert_close(packed[4:7], alone, rtol=0, atol=1e-5)


def test_prompts_are_padded_on_the_left():
    """Generation goes on at the right end."""
    batch = AudioTextCollator(pad_token_id=0, padding_side="left")(
        [{"input_ids": [1]}, {"input_ids": [2, 3]}]
    )
    assert batch["input_ids"].tolist() == [[0, 1], [2, 3]]
    assert batch["attention_mask"].tolist() == [[0, 1], [1, 1]]
