"""A shard folder opens as a folder in other readers, and docs/shards.md says how."""

from __future__ import annotations

import re
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow.dataset
import pyarrow.parquet
import pytest
from shard_samples import make_record, write_collection

from snac_tok.corpus import FAILED_NAME, PLAN_NAME
from snac_tok.files import HiddenFile
from snac_tok.shards import MANIFEST_NAME, SCHEMA, Failure, read_shards

PAGE = (Path(__file__).parents[2] / "docs" / "shards.md").read_text(encoding="utf-8")
RECORDS = [[make_record("a", text="one"), make_record("b", seed=1)], [], [make_record("c", seed=2)]]


@pytest.fixture(params=["shards", "test", "val-clean/dev"])
def folder(request, tmp_path, monkeypatch):
    """A collection with everything that a run leaves, a hidden file too, in folders named as splits are, too."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    path = tmp_path / request.param
    path.mkdir(parents=True)
    write_collection(path, RECORDS, failures=[Failure(source="d.wav", reason="it is empty")])
    (path / PLAN_NAME).write_text("{}")
    (path / FAILED_NAME).write_text('{"source": "d.wav", "reason": "it is empty"}\n')
    hidden = HiddenFile(path / "train-00000-of-00003.parquet")
    hidden.handle.write(b"half")
    yield path
    hidden.discard()


def of_pandas(folder):
    """As pandas reads it."""
    return pd.read_parquet(folder).to_dict("records")


def of_pyarrow(folder):
    """As pyarrow.parquet reads it."""
    return pyarrow.parquet.read_table(folder).to_pylist()


def of_a_pyarrow_dataset(folder):
    """As pyarrow.dataset reads it."""
    return pyarrow.dataset.dataset(folder).to_table().to_pylist()


def of_datasets(folder):
    """As datasets stores it; its one split is `train`."""
    splits = datasets.load_dataset("parquet", data_dir=str(folder))
    assert list(splits) == ["train"]
    assert splits["train"].features["codes"].feature.dtype == "uint16"
    return list(splits["train"])


def of_streamed_datasets(folder):
    """As datasets streams it; its one split is `train`."""
    splits = datasets.load_dataset("parquet", data_dir=str(folder), streaming=True)
    assert list(splits) == ["train"]
    return list(splits["train"])


def of_datasets_without_a_format(folder):
    """As datasets reads a folder of which it is told nothing."""
    return list(datasets.load_dataset(str(folder), split="train"))


def of_polars(folder):
    """As polars reads it when told what to pass over; by itself it passes over nothing."""
    polars = pytest.importorskip("polars")
    rows = polars.read_parquet(folder / "*.parquet")
    assert polars.scan_parquet(folder, hidden_file_prefix=["_", "."]).collect().equals(rows)
    return rows.to_dicts()


@pytest.mark.parametrize(
    "read",
    [
        of_pandas,
        of_pyarrow,
        of_a_pyarrow_dataset,
        of_datasets,
        of_streamed_datasets,
        of_datasets_without_a_format,
        of_polars,
    ],
)
def test_other_readers_find_the_records_and_nothing_else(folder, read):
    """Manifest, plan, failures and hidden files are no data to them."""
    rows, records = read(folder), list(read_shards(folder))
    assert [row["id"] for row in rows] == ["a", "b", "c"] == [record.id for record in records]
    for row, record in zip(rows, records, strict=True):
        assert np.asarray(row["codes"]).tolist() == record.codes.tolist()
        assert (None if pd.isna(row["text"]) else row["text"]) == record.text
        assert row["num_samples"] == record.num_samples


def test_the_pages_blocks_run(tmp_path, monkeypatch):
    """As they stand; the sum that it warns of is wrong, the other is right."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shards").mkdir()
    write_collection(tmp_path / "shards", RECORDS)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/shards.md", "exec"), names)
    assert names["shards"].verify() == []
    assert names["ids"].dtype.itemsize >= 4
    assert (
        len(list(names["batches"]))
        == sum(1 for _ in names["DataLoader"](names["Speech"](), num_workers=2))
        == 3
    )
    assert len(names["frame"]) == names["table"].num_rows == len(names["rows"]) == 3
    assert names["wrong"].dtype == np.uint16
    assert (names["wrong"] != names["right"]).any()
    assert (names["right"] - 64_410 == names["codes"]).all()


def test_the_page_names_the_files():
    """And all columns."""
    assert all(
        name in PAGE for name in (MANIFEST_NAME, PLAN_NAME, FAILED_NAME, "train-00000-of-00003.parquet")
    )
    assert all(f"| `{name}` | " in PAGE for name in SCHEMA.names)
