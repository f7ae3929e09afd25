"""What stands beside the shards: checksums, statistics and a dataset card, which no reader takes for data."""

from __future__ import annotations

import json
import shutil
import subprocess

import pandas as pd
import pyarrow.dataset
import pytest
import yaml
from toy_encoder import ToyEncoder, files_of, write_speechlike_folder

from snac_tok.corpus import shard_folder
from snac_tok.shards import open_shards


@pytest.fixture
def out(tmp_path):
    """A finished collection with a failure."""
    write_speechlike_folder(tmp_path / "source")
    (tmp_path / "source" / "broken.wav").write_bytes(b"RIFF")
    shard_folder(tmp_path / "source", tmp_path / "out", ToyEncoder(), clips_per_shard=4)
    return tmp_path / "out"


def test_other_readers_see_the_shards_alone(out):
    """Names begin with `_`; a README.md or SHA256SUMS would be read as Parquet and refused."""
    assert all(name.startswith(("_", "train-")) for name in files_of(out))
    assert len(pd.read_parquet(out)) == 9
    assert pyarrow.dataset.dataset(out).to_table().num_rows == 9
    (out / "README.md").write_text("# no Parquet")
    with pytest.raises(pyarrow.ArrowInvalid):
        pd.read_parquet(out)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum")
def test_the_checksums_are_those_of_sha256sum(out):
    """All files but the manifest, which says so of the shards itself."""
    done = subprocess.run(
        ["sha256sum", "-c", "_SHA256SUMS"], cwd=out, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    listed = {line.split()[1] for line in (out / "_SHA256SUMS").read_text().splitlines()}
    assert listed == files_of(out).keys() - {"_manifest.json", "_SHA256SUMS"}


def test_the_statistics_are_those_of_the_records(out):
    """As JSON, beside what `open_shards` computes."""
    stored = json.loads((out / "_stats.json").read_text())
    assert stored == open_shards(out).statistics().to_dict()
    assert stored["num_records"] == 9


def test_the_card_is_one_that_the_hub_reads(out):
    """Front matter, and a line that loads the records."""
    text = (out / "_README.md").read_text()
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["configs"] == [{"config_name": "default", "data_files": "train-*.parquet"}]
    assert yaml.safe_load(head)["size_categories"] == ["n<1K"]
    assert "9 records" in body
    assert 'load_dataset("parquet"' in body
    assert "| `codes` | list<element: uint16>" in body or "| `codes` | list<item: uint16>" in body
