"""Statistics of records: counted in any order and by shards, the figures are those of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from shard_samples import make_record, shard_info

from snac_tok.metrics import CodebookUsage
from snac_tok.shards.statistics import CollectionStatistics

INFO = shard_info().collection


@pytest.fixture
def records():
    """Thirty records of one to fifty frames."""
    lengths = np.random.default_rng(5).integers(1, 50, 30)
    return [make_record(str(at), num_frames=int(length), seed=at) for at, length in enumerate(lengths)]


def test_the_figures_are_those_of_the_records(records):
    """Lengths to a step of 0.1 s, usage as of all codes together."""
    statistics = CollectionStatistics(INFO)
    for record in records:
        statistics.add(record)
    figures = statistics.to_dict()
    seconds = sorted(record.num_samples / INFO.sampling_rate for record in records)
    found = figures["duration_seconds"]
    assert (found["shortest"], found["longest"]) == (seconds[0], seconds[-1])
    assert found["total"] == pytest.approx(sum(seconds))
    assert found["percentiles"]["50"] == pytest.approx(np.median(seconds), abs=0.2)
    assert sum(found["histogram"]["counts"]) == 30
    levels = INFO.frame_layout().unflatten(np.concatenate([record.codes for record in records]))
    usage = CodebookUsage(num_levels=len(levels), codebook_size=INFO.codebook_size)
    usage.update(levels)
    expected = usage.levels()
    assert [level["used"] for level in figures["codebook_usage"]] == [level.used for level in expected]
    perplexities = [level["perplexity"] for level in figures["codebook_usage"]]
    assert perplexities == pytest.approx([level.perplexity for level in expected])


@pytest.mark.law(7)
def test_counted_in_parts_and_in_any_order(records):
    """Shards are counted by whoever makes them, and added up in the order in which they come."""
    whole, joined = CollectionStatistics(INFO), CollectionStatistics(INFO)
    for record in records:
        whole.add(record)
    for start in (20, 0, 10):
        part = CollectionStatistics(INFO)
        for record in records[start : start + 10]:
            part.add(record)
        joined.merge(part)
    joined.merge(CollectionStatistics(INFO))
    assert joined.to_dict() == whole.to_dict()


def test_no_records_are_no_lengths():
    """Nothing is divided by their number."""
    figures = CollectionStatistics(INFO).to_dict()
    assert figures["duration_seconds"]["shortest"] is None
    assert figures["duration_seconds"]["percentiles"] == {}
