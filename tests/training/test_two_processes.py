"""A run of two processes, started as users start them, on a CPU: torchrun, accelerate, gloo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_run import ADVERSARIAL, CODEC, settings, told, write_sound

from snac_tok.errors import MissingDependencyError, TrainingError
from snac_tok.training import Trainer, TrainingConfig
from snac_tok.training.process import TrainingProcess

pytestmark = pytest.mark.slow  # starting them takes longer than what they do

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("two_processes.py")


def launched(*arguments, **variables):
    """Start two processes and wait for them."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        **variables,
    }
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    return subprocess.run(
        [*launcher, *map(str, arguments)], capture_output=True, text=True, env=environment, check=False
    )


def plain(sound, **changes):
    """A run in which all that is drawn is drawn per row: one process with twice the batch does the same."""
    data = {
        "train": [{"folder": str(sound.folder)}],
        "crop_samples": 1024,
        "augmentation": {"level_db": None, "flip_polarity": 0.0, "rotate_phase": 0.0},
    }
    options = {
        "data": data,
        "codec": CODEC | {"noise": False},
        "discriminators": None,
        "quantizer": {"level_dropout": 0.0, "restart_after": 0},
        "steps": 3,
    }
    return settings(sound, **(options | changes))


def still_codebooks(sound):
    """A run in which no loss draws the codebooks, and whose idle codes are moved after its third step."""
    return settings(
        sound, steps=3, losses={"codebook": 0.0}, quantizer={"restart_after": 1, "restart_every": 2}
    )


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Prepared clips."""
    return write_sound(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def runs(sound, tmp_path_factory):
    """Every run of this module, by two processes that are started once: that is what takes time."""
    folder = tmp_path_factory.mktemp("runs")
    everything = settings(sound, steps=4, validate_every=2, checkpoint_every=2)
    stages = [
        {"name": "warm-up", "steps": 1, "codebooks": "bypassed"},
        {"name": "joint", "steps": 1, "start_codebooks": "k-means"},
        {
            "name": "decoder",
            "steps": 2,
            "trainable": "decoder",
            "adversarial": True,
            "discriminators_alone": 1,
        },
    ]
    staged = settings(sound, steps=4, validate_every=2, checkpoint_every=2, stages=stages)
    plan = [
        {"out": "plain", "config": plain(sound)},
        {"out": "whole", "config": everything},
        {"out": "cut", "config": everything, "break_after": 3},
        {"out": "cut", "config": everything, "resume": True},
        {"out": "stopped", "config": everything, "stop_after": 2},
        {"out": "stopped", "config": everything, "resume": True},
        {"out": "staged", "config": staged},
        {"out": "cut stages", "config": staged, "break_after": 3},
        {"out": "cut stages", "config": staged, "resume": True},
        {"out": "still codebooks", "config": still_codebooks(sound)},
        {
            "out": "decoder",
            "config": settings(
                sound, steps=2, accumulate=2, validate_every=2, trainable="decoder", adversarial_from_step=1
            ),
        },
    ]
    entries = [entry | {"out": str(folder / entry["out"])} for entry in plan]
    (folder / "plan.json").write_text(json.dumps(entries))
    (folder / "again.json").write_text(json.dumps(plain(sound)))
    # Last of all the command line is asked for a run that is there; it refuses, so both end with 1.
    result = launched(WORKER, folder / "plan.json", "train", folder / "again.json", "-o", folder / "plain")
    assert sorted(path.name for path in (folder / "decoder").glob("weights-*")) == [
        "weights-0.pt",
        "weights-1.pt",
    ], result.stderr
    (folder / "refusal.json").write_text(json.dumps([result.returncode, result.stderr]))
    return folder


def reached(run, rank):
    """Return what a process held in the end."""
    return torch.load(run / f"weights-{rank}.pt", weights_only=True)


def assert_equal(first, second):
    """To the last bit."""
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize(
    "name", ["plain", "whole", "cut", "stopped", "staged", "cut stages", "still codebooks", "decoder"]
)
def test_both_processes_hold_the_same_codec(runs, name):
    """Codec, average and discriminators, whatever is trained; figures are written by one of them."""
    run = runs / name
    assert_equal(reached(run, 0), reached(run, 1))
    config = json.loads((run / "config.json").read_text())
    assert [line["step"] for line in told(run)] == list(range(1, config["steps"] + 1))
    assert (run / "codec" / "model.safetensors").is_file()
    if config["data"]["validation"]:
        every = config["validate_every"]
        validated = [line["step"] for line in told(run, "validation.jsonl")]
        assert validated == list(range(every, config["steps"] + 1, every))


def test_two_processes_are_one_with_twice_the_batch(runs, sound, tmp_path):
    """The same crops, the mean of the gradients: the same steps up to rounding."""
    alone = Trainer(TrainingConfig.from_dict(plain(sound, batch_size=4)), tmp_path / "alone")
    start = {name: value.detach().clone() for name, value in alone.codec.named_parameters()}
    losses = [report.losses for report in alone.run()]
    for step, (one, two) in enumerate(zip(losses, told(runs / "plain"), strict=True)):
        del two["step"]
        assert two == pytest.approx(one, rel=2e-3 if step else 1e-5)
    both = reached(runs / "plain", 0)
    # AdamW's first steps are signs of gradients: those near zero may differ, all the others do not.
    apart, moved = 0.0, 0.0
    for name, value in alone.codec.named_parameters():
        apart += float((value - both[name]).abs().sum().detach())
        moved += float((value - start[name]).abs().sum().detach())
    assert apart < 0.02 * moved


def test_processes_see_different_crops(runs, sound, tmp_path):
    """Two with the same batch are no copy of one."""
    alone = Trainer(TrainingConfig.from_dict(plain(sound, steps=1)), tmp_path / "alone")
    first = next(iter(alone.run())).losses["mel"]
    assert abs(first - told(runs / "plain")[0]["mel"]) > 1e-3


@pytest.mark.parametrize("name", ["cut", "stopped"])
def test_a_resumed_run_is_the_uninterrupted_one(runs, name):
    """Killed between checkpoints, or stopped by one of the two: the same to the last bit."""
    for rank in (0, 1):
        assert_equal(reached(runs / "whole", rank), reached(runs / name, rank))
    assert told(runs / "whole") == told(runs / name)
    assert told(runs / name)[0].keys() >= ADVERSARIAL


def test_stages_of_two_processes_resume_exactly(runs):
    """Cut after a border, with codebooks set by k-means and discriminators that learned alone before."""
    for rank in (0, 1):
        assert_equal(reached(runs / "staged", rank), reached(runs / "cut stages", rank))
    assert told(runs / "staged") == told(runs / "cut stages")


def test_a_run_of_two_does_not_go_on_with_one(runs, sound):
    """It would have half the batch."""
    run = TrainingConfig.from_dict(settings(sound, steps=6, validate_every=2, checkpoint_every=2))
    with pytest.raises(TrainingError, match="was trained by 2 processes and would go on with 1"):
        Trainer(run, runs / "whole", resume=True)


def test_codebooks_that_no_loss_draws_stay(runs, sound, tmp_path):
    """Their gradients would be waited for without end; idle entries are moved all the same, no others."""
    start = Trainer(TrainingConfig.from_dict(still_codebooks(sound)), tmp_path / "run").codec.state_dict()
    end = reached(runs / "still codebooks", 0)
    for name in (name for name in start if "codebook" in name):
        moved = (start[name] != end[name]).any(1)  # (entries,)
        assert 0 < moved.sum() < len(moved)


def test_a_refusal_ends_both_processes(runs):
    """The one that does not look into the folder is not left waiting."""
    returncode, stderr = json.loads((runs / "refusal.json").read_text())
    assert returncode == 1
    assert "snac-tok: " in stderr
    assert "holds a run of 3 steps; go on with --resume" in stderr


def test_processes_that_do_not_find_each_other_are_refused(monkeypatch):
    """Each would otherwise train alone, into the same folder."""

    class Alone:
        num_processes = 1

        def __init__(self, **_options):
            """Find nobody."""

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("accelerate.Accelerator", Alone)
    with pytest.raises(TrainingError, match=r"2 processes were started .* 1 found each other; start them"):
        TrainingProcess("cpu")


def test_several_processes_need_accelerate(monkeypatch):
    """And say so."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingDependencyError, match=r"WORLD_SIZE is set.*pip install accelerate"):
        TrainingProcess("cpu")
