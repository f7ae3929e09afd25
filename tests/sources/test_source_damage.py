"""Damaged tables of recordings: one sentence that names the table, never pyarrow's errors or the end of the process."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from snac_tok.errors import AudioFileError, SourceError, WaveformError
from snac_tok.sources.find import find_source

RATE = 8_000


def clip(seconds=0.1):
    """A WAV's bytes."""
    buffer = io.BytesIO()
    samples = np.random.default_rng(5).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)
    soundfile.write(buffer, samples, RATE, format="WAV")
    return buffer.getvalue()


def rows(count=2):
    """As many rows of sound and text."""
    return [{"audio": {"bytes": clip(), "path": f"{row}.wav"}, "text": f"said {row}"} for row in range(count)]


def write_table(path, content):
    """A .parquet without compression: its bytes are the values'."""
    pq.write_table(pa.Table.from_pylist(content), path, compression="none", use_dictionary=False)


@pytest.fixture
def saved(tmp_path):
    """What `save_to_disk` writes."""
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list(rows()).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def damage(path, old, new):
    """Replace the one place of some bytes by as many others."""
    data = path.read_bytes()
    assert (data.count(old), len(new)) == (1, len(old))
    path.write_bytes(data.replace(old, new))


def listed(path, *, is_stored=False):
    """The recordings, as a list."""
    return list(find_source(path, is_stored=is_stored).recordings)


def test_text_of_a_parquet_that_is_not_utf8(tmp_path):
    """In a cell."""
    write_table(
        tmp_path / "t.parquet", [{"path": "a.wav", "said": "x"}, {"path": "quite_long.wav", "said": "y"}]
    )
    data = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(data.replace(b"quite_long", b"qu\xff\xfee_long"))
    with pytest.raises(
        SourceError, match=r"t\.parquet cannot be read: it is no Parquet file, or a damaged one: 'utf"
    ):
        find_source(tmp_path / "t.parquet")


def test_a_name_of_a_column_that_is_not_utf8(tmp_path):
    """Found where the file is opened."""
    write_table(tmp_path / "t.parquet", [{"path": "a.wav", "quite_long": "x"}])
    data = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(data.replace(b"quite_long", b"qu\xff\xfee_long"))
    with pytest.raises(SourceError, match=r"t\.parquet cannot be read: "):
        find_source(tmp_path / "t.parquet")


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_pages_of_a_parquet_that_were_overwritten(tmp_path, compression):
    """The footer is whole."""
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pylist(rows()), path, compression=compression)
    data = path.read_bytes()
    border = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    path.write_bytes(b"PAR1" + b"\xa5" * (border - 4) + data[border:])
    with pytest.raises(
        SourceError, match=r"t\.parquet cannot be read: it is no Parquet file, or a damaged one: "
    ):
        find_source(path)


def test_a_parquet_that_changed_after_it_was_listed(tmp_path):
    """It got shorter, lost its sound, was overwritten: each a failure of that recording."""
    path = tmp_path / "t.parquet"
    write_table(path, rows(3))
    *_, last = listed(path)
    assert last.read().num_samples == RATE // 10
    for content in (rows(1), [{"text": "x"}] * 3):
        write_table(path, content)
        with pytest.raises(AudioFileError) as refused:
            last.read()
        assert str(path) in str(refused.value)
    path.write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(AudioFileError, match=r"t\.parquet: cannot be read \(it is no Parquet file"):
        last.read()


def test_a_saved_dataset_that_got_shorter_after_it_was_listed(saved, tmp_path):
    """As a .parquet."""
    import datasets

    *_, last = listed(saved, is_stored=True)
    assert last.read().num_samples == RATE // 10
    datasets.Dataset.from_list(rows(1)).save_to_disk(tmp_path / "other")
    name = "data-00000-of-00001.arrow"
    (tmp_path / "other" / name).replace(saved / name)
    with pytest.raises(AudioFileError, match="it changed while the run went on"):
        last.read()


@pytest.mark.parametrize("is_stored", [True, False])
def test_places_behind_the_end_of_a_saved_dataset(saved, is_stored):
    """The offsets of the texts are not checked by what maps them."""
    offsets = np.array([0, 6, 12], np.int32).tobytes()
    damage(saved / "data-00000-of-00001.arrow", offsets, np.array([0, 6, 1 << 30], np.int32).tobytes())
    with pytest.raises(
        SourceError, match="saved cannot be read as a dataset, one of its files may be damaged: "
    ):
        listed(saved, is_stored=is_stored)


@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize("name", ["state.json", "dataset_info.json"])
def test_descriptions_of_a_saved_dataset_that_lack_what_is_needed(saved, name, is_stored):
    """The library `datasets` looks for it without a check."""
    told = json.loads((saved / name).read_text())
    told.pop("_split", None)
    for feature in told.get("features", {}).values():
        feature.clear()
        feature["_type"] = "Value"
    (saved / name).write_text(json.dumps(told))
    with pytest.raises(
        SourceError, match="saved cannot be read as a dataset, one of its files may be damaged: "
    ):
        listed(saved, is_stored=is_stored)


def test_parts_without_an_end_and_parts_that_never_begin(tmp_path):
    """An endless end is the recording's; an endless start is a mistake, as is one behind the recording."""
    (tmp_path / "a.wav").write_bytes(clip(1.0))

    def part(start, end):
        (tmp_path / "l.csv").write_text(f"path,start,end\na.wav,{start},{end}\n")
        (found,) = find_source(tmp_path / "l.csv").recordings
        return found.read()

    assert part("0.5", "inf").num_samples == RATE // 2
    assert part("0.5", "nan").num_samples == RATE // 2
    assert part("0.5", "1e308").num_samples == RATE // 2
    with pytest.raises(SourceError, match="a part from inf s"):
        part("inf", "")
    with pytest.raises(WaveformError, match=r"it ends before 1e\+300 s"):
        part("1e300", "")


def test_seconds_with_more_digits_than_a_float_holds(tmp_path):
    """As endless ones."""
    (tmp_path / "l.jsonl").write_text(f'{{"path": "a.wav", "start": 1{"0" * 400}}}')
    with pytest.raises(SourceError, match=r"l\.jsonl, line 1: a part from inf s"):
        find_source(tmp_path / "l.jsonl")
