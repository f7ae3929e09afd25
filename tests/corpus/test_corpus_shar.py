"""Lhotse Shar, as its own writer makes it."""

import json

import numpy as np
import pytest
import soundfile
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.shar import SharWriter
from toy_encoder import ToyEncoder

from snac_tok import open_shards, shard_folder
from snac_tok.sources.find import find_source


@pytest.fixture
def shar(tmp_path):
    """Three parts of a recording in two shards; names with dots."""
    path = tmp_path / "long.wav"
    samples = np.linspace(0.1, 0.9, 32000, dtype=np.float32)
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    recording = Recording.from_file(path, recording_id="long")
    told = {"recording_id": "long", "text": "Good day.", "speaker": "ann", "language": "en", "gender": "f"}
    (folder := tmp_path / "shar").mkdir()
    with SharWriter(str(folder), fields={"recording": "wav"}, shard_size=2) as writer:
        for number in range(3):
            start = number / 2
            said = SupervisionSegment(id=f"s{number}", start=0, duration=0.5, **told)
            writer.write(
                MonoCut(
                    id=f"cut-{start:.1f}",
                    start=start,
                    duration=0.5,
                    channel=0,
                    recording=recording,
                    supervisions=[said],
                )
            )
    return folder


def test_a_cut_is_a_recording(shar):
    """With its own samples alone, and what its supervision tells."""
    found = list(find_source(shar, keep=["gender"]).recordings)
    assert [each.name for each in found] == ["cut-0.0", "cut-0.5", "cut-1.0"]
    assert {each.text for each in found} == {"Good day."}
    assert dict(found[2].columns) == {"speaker": "ann", "language": "en", "gender": "f"}
    waveform = found[2].read()
    assert (waveform.num_samples, waveform.sampling_rate) == (8000, 16000)
    assert waveform.samples[0, 0] == pytest.approx(0.5, abs=1e-3)


def test_it_becomes_shards(shar, tmp_path):
    """A cut whose sound is missing is listed."""
    (shar / "recording.000001.tar").unlink()
    result = shard_folder(shar, tmp_path / "out", ToyEncoder(), jobs=1)
    records = list(open_shards(tmp_path / "out"))
    assert [record.id for record in records] == ["cut-0.0", "cut-0.5"]
    assert records[0].columns == {"speaker": "ann", "language": "en"}
    assert result.num_failures == 1
    assert json.loads((tmp_path / "out" / "_failed.jsonl").read_text())["code"] == "missing"
