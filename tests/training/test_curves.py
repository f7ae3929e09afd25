"""The curves of a run, and a disk that does not take them."""

from __future__ import annotations

import threading

import pytest
import torch
from full_disk import no_file_larger_than
from small_run import config, told, write_sound
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from snac_tok.training import Trainer
from snac_tok.training.curves import Curves
from snac_tok.training.validation import Sound

SOUND = Sound(clip_id="a.wav", reference=torch.rand(2000) - 0.5, decoded=torch.rand(2000) - 0.5)


def drawn(folder, *, first_step, steps):
    """Draw a point a step and a sound at the last one."""
    curves = Curves(folder, sampling_rate=24_000, first_step=first_step)
    for step in steps:
        curves.losses(step, {"mel": 1.0 / step, "total": float(step)})
    curves.validation(steps[-1], {"mel": 2.0}, [SOUND])
    return curves


def test_a_resumed_runs_curves_take_the_place_of_what_was_lost(tmp_path):
    """Steps beyond the checkpoint were drawn and are done again: each has one point, and sounds have theirs."""
    drawn(tmp_path, first_step=0, steps=[1, 2, 3])
    drawn(tmp_path, first_step=1, steps=[2, 3, 4])
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("train/total")] == [1, 2, 3, 4]
    assert [event.value for event in events.Scalars("train/total")] == [1.0, 2.0, 3.0, 4.0]
    assert [event.step for event in events.Scalars("validation/mel")] == [4]
    assert (
        sorted(events.Tags()["audio"])
        == sorted(events.Tags()["images"])
        == ["a.wav/decoded", "a.wav/recording"]
    )
    assert events.Audio("a.wav/decoded")[0].sample_rate == 24_000


@pytest.mark.parametrize("limit", [0, 30, 300, 3000])
def test_a_full_disk_is_told_once(tmp_path, caplog, limit):
    """Wherever it is met; the folder and the remedy are named, and what was drawn before can be read."""
    with no_file_larger_than(limit):
        curves = drawn(tmp_path, first_step=0, steps=[1, 2, 3])
    curves.losses(4, {"mel": 1.0})
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{tmp_path}: cannot be written (File too large); training goes on without curves: make room there, and they "
        "go on when the run is resumed."
    )
    EventAccumulator(str(tmp_path)).Reload()


def test_training_does_not_end_over_its_curves(tmp_path, caplog):
    """Nor does another thread print a traceback of its own; resumed with room again, they are drawn."""
    sound, run = write_sound(tmp_path), tmp_path / "run"
    run.mkdir()
    (run / "tensorboard").write_bytes(b"")
    threads = threading.active_count()
    reports = list(Trainer(config(sound, discriminators=None), run).run())
    assert len(reports) == len(told(run)) == 6
    assert threading.active_count() == threads
    assert caplog.text.count("cannot be written") == 1
    (run / "tensorboard").unlink()
    list(Trainer(config(sound, discriminators=None, steps=7), run, resume=True).run())
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train/mel")] == [7]
