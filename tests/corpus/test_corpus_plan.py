"""A plan depends on the files and options alone, and says when two plans differ in what."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_encoder import ToyEncoder

from snac_tok.corpus import Plan, PlannedFile, PlanOptions
from snac_tok.corpus import make_plan as make
from snac_tok.errors import ShardError
from snac_tok.shards import CollectionInfo


def make_plan(items, collection, *, clips_per_shard):
    """A plan with one option."""
    return make(items, collection, PlanOptions(clips_per_shard=clips_per_shard))


COLLECTION = CollectionInfo(**ToyEncoder().describe())
ITEMS = [PlannedFile(path=f"{index}.wav", num_bytes=index, text=f"t{index}") for index in range(7)]

# File names are bytes: those that are no UTF-8 reach Python as lone surrogates.
paths = st.text(st.characters(exclude_characters="\0/"), min_size=1, max_size=12)
items = st.lists(
    st.builds(PlannedFile, path=paths, num_bytes=st.integers(0, 2**40), text=st.none() | paths),
    min_size=1,
    max_size=12,
    unique_by=lambda item: item.path,
)


@given(items=items, clips_per_shard=st.integers(1, 5), order=st.randoms())
def test_the_order_of_the_files_leaves_no_trace(items, clips_per_shard, order):
    """Any order gives the same plan, bytes and fingerprint; JSON gives the plan back."""
    plan = make_plan(items, COLLECTION, clips_per_shard=clips_per_shard)
    shuffled = order.sample(items, len(items))
    again = make_plan(shuffled, COLLECTION, clips_per_shard=clips_per_shard)
    assert again.to_json() == plan.to_json()
    assert Plan.from_json(plan.to_json()) == plan
    assert plan.differences(again) == []


@given(items=items, clips_per_shard=st.integers(1, 5))
def test_every_file_is_in_exactly_one_shard_in_order(items, clips_per_shard):
    """Shards are full but for the last, and know their place."""
    plan = make_plan(items, COLLECTION, clips_per_shard=clips_per_shard)
    specs = [plan.shard(index) for index in range(plan.num_shards)]
    assert [item for spec in specs for item in spec.items] == sorted(items, key=lambda item: item.path)
    assert all(len(spec.items) == clips_per_shard for spec in specs[:-1])
    assert [spec.info.index for spec in specs] == list(range(plan.num_shards))
    assert {spec.info.plan_fingerprint for spec in specs} == {plan.fingerprint}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"collection": dataclasses.replace(COLLECTION, weights_sha256="11" * 32)}, "weights_sha256"),
        ({"collection": dataclasses.replace(COLLECTION, resampler={"name": "soxr"})}, "resampler"),
        ({"clips_per_shard": 4}, "clips_per_shard"),
        ({"items": ITEMS[:-1]}, "source files"),
        ({"items": [*ITEMS[:-1], dataclasses.replace(ITEMS[-1], text="other")]}, "source files"),
        ({"items": [*ITEMS[:-1], dataclasses.replace(ITEMS[-1], num_bytes=99)]}, "source files"),
    ],
)
def test_whatever_the_records_depend_on_changes_the_fingerprint_and_is_named(change, named):
    """Another codec, another division, another file, another text."""
    options = {"items": ITEMS, "collection": COLLECTION, "clips_per_shard": 3}
    one, two = make_plan(**options), make_plan(**{**options, **change})
    assert one.fingerprint != two.fingerprint
    assert named in " ".join(one.differences(two))


@pytest.mark.parametrize(
    ("items", "clips_per_shard", "words"),
    [
        ([], 3, "at least one"),
        (ITEMS, 0, "clips_per_shard"),
        ([*ITEMS, ITEMS[0]], 3, "two recordings are called"),
    ],
)
def test_an_impossible_plan_is_refused(items, clips_per_shard, words):
    """Nothing to do, no room, or one file twice."""
    with pytest.raises(ShardError, match=words):
        make_plan(items, COLLECTION, clips_per_shard=clips_per_shard)


def test_a_stored_plan_that_was_cut_off_or_changed_is_refused():
    """Its own fingerprint tells."""
    good = make_plan(ITEMS, COLLECTION, clips_per_shard=1000).to_json()
    changed = json.loads(good)
    changed["items"][0]["text"] = "changed"
    newer = {**json.loads(good), "plan_version": 99}
    odd = {**json.loads(good), "items": [{"path": "a"}]}
    for data in (good[:-20], json.dumps(changed), json.dumps(newer), json.dumps(odd), "[]"):
        with pytest.raises(ShardError, match=r"plan|JSON"):
            Plan.from_json(data)
