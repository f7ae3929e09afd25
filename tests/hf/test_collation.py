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
    with pytest.raises(TokenError, match="context_length is '512'; a whole number from 1"):
        pack_sequences([], "512")
    with pytest.raises(TokenError, match="too_long is 'drp'"):
        pack_sequences([], 4, too_long="drp")
    with pytest.raises(TokenError, match="2 labels and 1 ids"):
        AudioTextCollator(pad_token_id=0)([{"input_ids": [1], "labels": [1, 2]}])


@pytest.mark.parametrize("multiple", [0, -8, 2.5, "8", True])
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


@pytest.mark.parametrize("pad", [-5, "0", 0.5, [0], True])
def test_what_is_no_id_pads_nothing(pad):
    """Refused when the collator is made, not by a model's embedding."""
    with pytest.raises(TokenError, match=r"pad_token_id is .*; a whole number from 0"):
        AudioTextCollator(pad_token_id=pad)


def test_a_tokenizer_without_a_pad_token_is_told_where_to_get_one():
    """None was taken for a sign of our own, and padding counted 0, 1, 2."""
    with pytest.raises(TokenError, match=r"pad_token_id is None: .*vocabulary.special_id\('pad'\)"):
        AudioTextCollator(pad_token_id=None)
    assert AudioTextCollator(pad_token_id=np.int64(3))([{"input_ids": [1]}])["input_ids"].tolist() == [[1]]


@pytest.mark.parametrize("side", ["Right", "rigth", None])
def test_a_side_is_right_or_left(side):
    """Anything else padded on the left."""
    with pytest.raises(TokenError, match=r"padding_side is .*; it must be 'right' or 'left'"):
        AudioTextCollator(pad_token_id=0, padding_side=side)


@pytest.mark.parametrize("mask", [[0, 1, 1, 0, 0], [False, True, True, False, False]])
@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_padding_that_rows_have_already_is_cut_off(mask, kind):
    """By their mask: it is no speech and has no label."""
    row = {"input_ids": kind([9, 5, 6, 9, 9]), "attention_mask": kind(mask)}
    batch = AudioTextCollator(pad_token_id=0)([row, {"input_ids": [1, 2, 3]}])
    assert batch["input_ids"].tolist() == [[5, 6, 0], [1, 2, 3]]
    assert batch["labels"].tolist() == [[5, 6, -100], [1, 2, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    (line,) = pack_sequences([{**row, "labels": [-100, -100, 6, -100, -100]}, {"input_ids": [1]}], 3)
    assert line["input_ids"].tolist() == [5, 6, 1]
    assert line["labels"].tolist() == [-100, 6, -100]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([1, 0, 1], "row 1 has padding among its ids"),
        ([0, 0, 0], "row 1 is all padding"),
        ([1, 1], "row 1 has 2 numbers in its attention_mask and 3 ids"),
        ([[1, 1, 1]], "no line of 0 and 1"),
        ("111", "no line of 0 and 1"),
    ],
)
def test_other_masks_are_refused(mask, message):
    """Whatever they mean, it would be lost."""
    rows = [{"input_ids": [1]}, {"input_ids": [1, 2, 3], "attention_mask": mask}]
    for call in (AudioTextCollator(pad_token_id=0), lambda rows: pack_sequences(rows, 8)):
        with pytest.raises(TokenError, match=message):
            call(rows)


@pytest.mark.parametrize("others", [{}, {"position_ids": None}])
def test_beside_packed_lines_a_row_is_one_document(others):
    """A row without positions took them from the whole batch, and documents saw each other."""
    (line,) = pack_sequences([{"input_ids": [1, 2]}, {"input_ids": [3, 4]}], 4)
    batch = AudioTextCollator(pad_token_id=0)([line, {"input_ids": [5, 6, 7], **others}])
    assert "attention_mask" not in batch
    assert batch["position_ids"].tolist() == [[0, 1, 0, 1], [0, 1, 2, 0]]


def test_positions_fit_their_ids_and_are_made_once():
    """Too few would be filled up from 0; packed again, the documents would be one."""
    with pytest.raises(TokenError, match="row 0 has 1 position_ids and 2 ids"):
        AudioTextCollator(pad_token_id=0)([{"input_ids": [1, 2], "position_ids": [0]}])
    lines = pack_sequences([{"input_ids": [1, 2]}, {"input_ids": [3]}], 8)
    with pytest.raises(TokenError, match="row 0 has position_ids: it is packed already"):
        pack_sequences(lines, 8)


@pytest.mark.parametrize("rows", [{"input_ids": [[1, 2], [3]]}, None, "abc", 5])
def test_what_is_no_list_of_rows_is_refused(rows):
    """Such as a table of columns."""
    for call in (AudioTextCollator(pad_token_id=0), lambda rows: pack_sequences(rows, 8)):
        with pytest.raises(TokenError, match=r"rows is .*; a list of rows is needed"):
            call(rows)
        with pytest.raises(TokenError, match="row 0 is 'abc'; a row has ids"):
            call(["abc"])


@pytest.mark.parametrize("ids", [[[1], [2, 3]], np.array([2**63], np.uint64), [2**70], None])
def test_what_is_no_line_of_ids_is_refused(ids):
    """Ids that 64 bits do not hold would turn negative."""
    with pytest.raises(TokenError, match="row 0 has no line of integers 'input_ids'"):
        AudioTextCollator(pad_token_id=0)([{"input_ids": ids}])
