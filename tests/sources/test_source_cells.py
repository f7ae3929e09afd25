"""Cells of tables and datasets as text: what is said, and the columns that are kept."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from snac_tok.errors import SourceError
from snac_tok.sources.cells import kept_text
from snac_tok.sources.find import find_source


def rows_with(tmp_path, kind, fields):
    """One recording in a table or a dataset, and more of it."""
    place = tmp_path / "a.wav"
    soundfile.write(place, np.zeros(800), 8000)
    if kind in {"path", "sound"}:
        sound = {"path": str(place)} if kind == "path" else {"audio": place.read_bytes()}
        pq.write_table(pa.Table.from_pylist([sound | fields]), tmp_path / "t.parquet")
        return tmp_path / "t.parquet"
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset(pa.Table.from_pylist([{"audio": place.read_bytes()} | fields]))
    if kind == "streamed":
        return rows.to_iterable_dataset()
    rows.save_to_disk(tmp_path / "rows")
    return tmp_path / "rows"


def recordings(tmp_path, kind, fields, **options):
    """What is found in it; a saved dataset is listed as for shards."""
    named = rows_with(tmp_path, kind, fields)
    return list(find_source(named, is_stored=kind == "rows", **options).recordings)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (1.5, "1.5"),
        (Decimal("2.50"), "2.50"),
        (b"Good day.", "Good day."),
        (float("nan"), None),
        (" ", None),
        (None, None),
    ],
)
@pytest.mark.parametrize("kind", ["path", "sound", "rows", "streamed"])
def test_a_text_that_is_no_string_is_kept(tmp_path, kind, value, text):
    """Numbers as they are spelled, bytes as UTF-8, in every door that has such values."""
    (found,) = recordings(tmp_path, kind, {"text": value})
    assert found.text == text


@pytest.mark.parametrize("value", [True, ["Good", "day."], {"en": "Good day."}, b"caf\xe9"])
@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("path", "t.parquet, line 1: "),
        ("sound", "t.parquet, recording t.parquet/00000000: "),
        ("rows", "recording 00000000: "),
        ("streamed", "row 0: "),
    ],
)
def test_a_text_that_is_none_is_refused(tmp_path, kind, place, value):
    """Its row is named: dropped without a word, it would be missed after training."""
    with pytest.raises(SourceError, match=f"{place}.* is not (a text; a string is needed|UTF-8 text)"):
        recordings(tmp_path, kind, {"text": value})


@pytest.mark.parametrize("kind", ["path", "sound", "rows"])
def test_kept_columns_that_are_no_strings(tmp_path, kind):
    """Objects, lists, true and false as JSON; dates as they are written; bytes as UTF-8."""
    fields = {
        "a": {"b": [1, None]},
        "c": [True],
        "d": False,
        "e": date(2024, 5, 1),
        "f": "é".encode(),
        "g": 1.5,
    }
    (found,) = recordings(tmp_path, kind, fields, keep=list(fields))
    assert found.columns == {
        "a": '{"b": [1, null]}',
        "c": "[true]",
        "d": "false",
        "e": "2024-05-01",
        "f": "é",
        "g": "1.5",
    }


def test_lists_that_are_too_deep_are_not_kept():
    """As an error of the row's, not of Python's."""
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(SourceError, match=r"line 7: .* cannot be kept as JSON"):
        kept_text(deep, place="line 7")
