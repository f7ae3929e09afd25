"""The curves of a run, and a disk that does not take them."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from full_disk import no_file_larger_than
from prepared_sound import RATE, tone, write_store
from small_run import config, told, write_sound
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from snac_tok.codec import SNAC
from snac_tok.training import Trainer
from snac_tok.training.curves import Curves
from snac_tok.training.validation import Sound, Validation

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


def test_the_shortest_sound_is_drawn(tmp_path):
    """One sample used to end the run at every validation; what is beyond full scale or no number is drawn, too."""
    curves = Curves(tmp_path, sampling_rate=24_000, first_step=0)
    odd = [torch.tensor([0.5]), torch.full((300,), 2.0), torch.full((300,), float("nan"))]
    sounds = [Sound(clip_id=f"{k}", reference=each, decoded=each) for k, each in enumerate(odd)]
    curves.validation(1, {"mel": 1.0}, sounds)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert len(events.Tags()["audio"]) == len(events.Tags()["images"]) == 6


def test_a_sound_that_cannot_be_drawn_ends_nothing(tmp_path, caplog, monkeypatch):
    """Whatever is wrong; it is told once, and the curves go on."""

    def fail(*_arguments, **_options):
        raise ImportError("no pillow")

    monkeypatch.setattr("torch.utils.tensorboard.summary.image", fail)
    curves = Curves(tmp_path, sampling_rate=24_000, first_step=0)
    for step in (1, 2):
        curves.validation(step, {"mel": 1.0}, [SOUND])
    (record,) = caplog.records
    assert record.getMessage() == "a.wav/recording: cannot be drawn (no pillow); training goes on without it."
    assert [event.step for event in EventAccumulator(str(tmp_path)).Reload().Scalars("validation/mel")] == [
        1,
        2,
    ]


def test_two_clips_of_one_name_are_told_apart(tmp_path):
    """Two folders may have a file of one name each."""
    curves = Curves(tmp_path, sampling_rate=24_000, first_step=0)
    curves.validation(1, {"mel": 1.0}, [SOUND, SOUND])
    tags = EventAccumulator(str(tmp_path)).Reload().Tags()["audio"]
    assert sorted(tags) == [
        "a.wav (2)/decoded",
        "a.wav (2)/recording",
        "a.wav/decoded",
        "a.wav/recording",
    ]


def test_a_clip_of_one_sample_spoils_no_validation(tmp_path):
    """The mean is that of the clips that can be measured; where there are none, all of them are all the same."""
    clips = {"a": tone(RATE), "b": np.full(1, 0.5), "c": tone(500)}
    codec = SNAC.from_pretrained("tiny")
    found = {}
    for name in ("a", "ab", "b", "c", "bc"):
        store = write_store(tmp_path / name, {each: clips[each] for each in name})
        found[name] = Validation(store, sound_clips=2).run(codec).figures["mel"]
    assert found["ab"] == found["a"]
    assert found["b"] > 0
    assert found["bc"] == pytest.approx((found["b"] + found["c"]) / 2)
