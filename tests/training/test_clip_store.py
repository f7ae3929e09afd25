"""Prepared folders are read as they were written, or refused with the reason."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from prepared_sound import RATE, change_list, constant, tone, write_store

from snac_tok.errors import TrainingError
from snac_tok.training.clip_store import ClipStore


@pytest.fixture
def folder(tmp_path):
    """Two clips."""
    write_store(tmp_path / "ready", {"a.wav": tone(1000), "b.wav": constant(500, -0.25)})
    return tmp_path / "ready"


def test_clips_are_what_was_written(folder):
    """Names, lengths and samples, as float32 in ±1."""
    store = ClipStore.open(folder)
    assert (store.folder, store.sampling_rate, store.num_clips) == (folder, RATE, 2)
    assert store.clip_ids == ["a.wav", "b.wav"]
    assert store.clip(0).dtype == torch.float32
    assert store.clip(0).numpy() == pytest.approx(tone(1000), abs=1e-4)
    assert store.clip(1).tolist() == pytest.approx([-0.25] * 500, abs=1e-4)
    assert store.duration_seconds == pytest.approx(1500 / RATE)


def test_a_store_travels_as_its_folder(folder):
    """To processes that are not forked, as Python 3.14 and macOS start them."""
    store = ClipStore.open(folder)
    packed = bytes(ForkingPickler.dumps(store))
    assert len(packed) < 1000
    assert torch.equal(pickle.loads(packed).clip(1), store.clip(1))


@pytest.mark.parametrize(
    ("start", "num_samples"), [(-10, 20), (490, 30), (-5, 600), (600, 5), (-9, 4), (3, 4)]
)
def test_a_stretch_is_zero_outside_its_clip(folder, start, num_samples):
    """No neighbour's sample gets in, on either side."""
    stretch = ClipStore.open(folder).stretch(1, start=start, num_samples=num_samples)
    expected = [-0.25 if 0 <= start + k < 500 else 0.0 for k in range(num_samples)]
    assert stretch.tolist() == pytest.approx(expected, abs=1e-4)


def test_writing_into_the_samples_never_reaches_the_file(folder):
    """The map is private."""
    before = (folder / "samples.s16").read_bytes()
    store = ClipStore.open(folder)
    store.samples[:10] = 7
    store.clip(0)[:] = 1.0
    assert (folder / "samples.s16").read_bytes() == before


def test_reading_needs_torch_alone(folder):
    """Where a GPU is, soundfile, soxr and pyarrow may not be."""
    code = (
        "import sys\n"
        "for name in ('soundfile', 'soxr', 'pyarrow', 'datasets'): sys.modules[name] = None\n"
        "from snac_tok.training.clip_store import ClipStore\n"
        "from snac_tok.training.crops import CropSampler\n"
        f"store = ClipStore.open({str(folder)!r})\n"
        "print(CropSampler([(store, 1.0)], crop_samples=64, batch_size=2, seed=0).batch(0).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "[2, 1, 64]" in done.stdout, done.stderr


@pytest.mark.parametrize("name", ["clips.json", "samples.s16"])
def test_half_a_folder_is_refused(folder, name):
    """Each file alone is none."""
    (folder / name).unlink()
    with pytest.raises(TrainingError, match="snac-tok prepare"):
        ClipStore.open(folder)


@pytest.mark.parametrize("change", [-2, -1, 1, 2])
def test_sizes_that_do_not_agree_are_refused(folder, change):
    """Cut off or grown, by a sample or half a one."""
    path = folder / "samples.s16"
    os.truncate(path, path.stat().st_size + change)
    with pytest.raises(TrainingError, match=r"samples\.s16 holds \d+ bytes, clips\.json tells of 3000"):
        ClipStore.open(folder)


CUT = """
import os, sys
from snac_tok.errors import TrainingError
from snac_tok.training.clip_store import ClipStore
store = ClipStore.open(sys.argv[1])
os.truncate(store.folder / "samples.s16", int(sys.argv[2]))
for read in (lambda: store.clip(1), lambda: store.stretch(1, start=400, num_samples=50)):
    try:
        read()
    except TrainingError as error:
        print(error)
"""


@pytest.mark.parametrize("num_bytes", [0, 2998])
def test_samples_that_are_cut_while_they_are_read_are_one_sentence(folder, num_bytes):
    """Touching what is gone of a mapped file would kill the process (SIGBUS)."""
    command = [sys.executable, "-c", CUT, str(folder), str(num_bytes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    sentence = (
        f"{folder / 'samples.s16'} was cut while it was in use: it holds {num_bytes} of its 3000 bytes; prepare it "
        "again with snac-tok prepare."
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, [sentence] * 2), done.stderr


def test_samples_that_are_replaced_while_they_are_read_stay_those_of_before(folder):
    """`prepare --force` beside a run gives the name to another file."""
    store = ClipStore.open(folder)
    before = store.clip(0)
    write_store(folder, {"other.wav": tone(10)})
    assert torch.equal(store.clip(0), before)
    assert ClipStore.open(folder).num_clips == 1


def entry(**changes):
    """Return a clip of the whole samples, changed."""
    return {"id": "a", "start": 0, "num_samples": 1500, "level_db": -3.0} | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"format_version": 2},
        {"format_version": None},
        {"sampling_rate": 0},
        {"sampling_rate": "24000"},
        {"sampling_rate": True},
        {"clips": []},
        {"clips": {}},
        {"clips": [3]},
        {"clips": [{"id": "a"}]},
        {"clips": [entry(num_samples=0)]},
        {"clips": [entry(num_samples=-5)]},
        {"clips": [entry(num_samples=1500.0)]},
        {"clips": [entry(start=1)]},
        {"clips": [entry(start=False)]},
        {"clips": [entry(start=0.0)]},
        {"clips": [entry(level_db=True)]},
        {"clips": [entry(level_db=10**400)]},
        {"clips": [entry(id=None)]},
        {"clips": [entry(level_db="loud")]},
        {"clips": [entry(level_db=float("nan"))]},
        {"clips": [entry(more=1)]},
        {"clips": [entry(num_samples=1000), entry(start=900, num_samples=600)]},
        {"clips": [entry(num_samples=1000), entry(start=1100, num_samples=400)]},
    ],
)
def test_a_list_that_makes_no_sense_is_refused(folder, changes):
    """Wrong versions, types, gaps and overlaps: one sentence that names the file, nothing else."""
    change_list(folder, **changes)
    with pytest.raises(TrainingError, match=r"clips\.json"):
        ClipStore.open(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_a_list_that_is_damaged_is_refused(folder, content):
    """No JSON, no object, or nested without end."""
    (folder / "clips.json").write_bytes(content)
    with pytest.raises(TrainingError, match=r"clips\.json is damaged"):
        ClipStore.open(folder)


def test_the_list_is_readable_for_people(folder):
    """It names each clip and its level."""
    described = json.loads((folder / "clips.json").read_text())
    assert described["clips"][1]["id"] == "b.wav"
    assert described["clips"][1]["level_db"] == pytest.approx(20 * np.log10(0.25), abs=0.01)
