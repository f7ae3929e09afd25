"""Settings that would do nothing: refused where a run begins; a run of before, which ignored them, goes on."""

from __future__ import annotations

import json

import pytest
from small_run import DISCRIMINATORS, config, settings, told, write_sound

from snac_tok.errors import ConfigError
from snac_tok.training import Trainer, TrainingConfig

A, B = {"name": "a", "steps": 2}, {"name": "b", "steps": 4}
STAGES = {"stages": [A, B], "steps": 6}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Prepared clips."""
    return write_sound(tmp_path_factory.mktemp("sound"))


def refusal(sound, tmp_path, **changes):
    """Return the sentence with which a new run is refused; nothing is written."""
    made = TrainingConfig.from_dict(settings(sound, **changes))
    with pytest.raises(ConfigError) as refused:
        Trainer(made, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    return str(refused.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"codebooks": "bypassed"}, "codebooks"),
        ({"start_codebooks": "k-means"}, "start_codebooks"),
        (
            {"adversarial_from_step": 1, "discriminators_alone": 2},
            "adversarial_from_step, discriminators_alone",
        ),
    ],
)
def test_what_stages_do_not_take_from_the_run_is_refused_there(sound, tmp_path, changes, named):
    """It used to be ignored; in the stage it counts."""
    stage = {**B, "adversarial": True}
    assert refusal(sound, tmp_path, **STAGES | changes | {"stages": [A, stage]}).startswith(
        f"{named} is set beside stages, which do not take it from the run;"
    )
    assert Trainer(config(sound, steps=6, stages=[A, stage | changes]), tmp_path / "run")


def test_a_stage_with_an_adversary_has_discriminators(sound, tmp_path):
    """Its own, or the run's; and so has one that says when they begin."""
    stage = {**B, "adversarial": True}
    assert refusal(sound, tmp_path, steps=6, stages=[A, stage], discriminators=None).startswith(
        "stages[1] (b): adversarial is true and there are no discriminators; describe some in the stage or in the run"
    )
    own = [A, {**stage, "discriminators": DISCRIMINATORS}]
    assert Trainer(config(sound, steps=6, stages=own, discriminators=None), tmp_path / "own")
    ending = "adversarial_from_step is set and there are no discriminators."
    assert refusal(sound, tmp_path, adversarial_from_step=1, discriminators=None) == ending
    stages = [{**A, "adversarial_from_step": 1}, B]
    assert refusal(sound, tmp_path, steps=6, stages=stages) == f"the stage a: {ending}"


@pytest.mark.parametrize(
    "changes",
    [
        {"adversarial_from_step": 6},
        {"discriminators_alone": 6},
        {"adversarial_from_step": 3, "discriminators_alone": 3},
    ],
)
def test_the_codec_learns_against_discriminators_before_the_end(sound, tmp_path, changes):
    """Of a run and of each stage; with one step more it does."""
    assert refusal(sound, tmp_path, **changes).startswith(
        "the run has 6 steps, and before the codec learns against discriminators there are 6 ("
    )
    assert Trainer(config(sound, steps=7, **changes), tmp_path / "longer")
    stages = [A, {"name": "b", "steps": 6, "adversarial": True, **changes}]
    assert refusal(sound, tmp_path, steps=8, stages=stages).startswith("the stage b has 6 steps, and before")


def test_discriminators_may_have_a_stage_to_themselves(sound, tmp_path):
    """Where the next one goes on with what they have learned: not others, not with a stage between, not at the end."""
    look = {"name": "look", "steps": 2, "adversarial": True, "discriminators_alone": 2}
    learn = {"name": "learn", "steps": 2, "adversarial": True}
    stages = [A, look, {**look, "name": "again"}, learn]
    reports = list(Trainer(config(sound, steps=8, stages=stages), tmp_path / "looks").run())
    assert ["mel" in report.values for report in reports] == [True] * 2 + [False] * 4 + [True] * 2
    for after in (
        [{**learn, "discriminators": {**DISCRIMINATORS, "width": 5}}],
        [A, learn],
        [],
    ):
        steps = 2 + 2 * len(after)
        assert refusal(sound, tmp_path, steps=steps, stages=[look, *after]).endswith(
            "fewer than its steps, or the discriminators learn in it and the next stage goes on with them."
        )
    late = {"name": "late", "steps": 2, "adversarial": True, "adversarial_from_step": 2}
    assert "the stage late has 2 steps" in refusal(sound, tmp_path, steps=4, stages=[late, learn])


@pytest.mark.parametrize(
    ("changes", "ignored"),
    [
        (STAGES, {"codebooks": "bypassed"}),
        (STAGES, {"start_codebooks": "k-means"}),
        (STAGES, {"adversarial_from_step": 3, "discriminators_alone": 1}),
        (
            STAGES | {"discriminators": None},
            {"stages": [A | {"adversarial_from_step": 1}, B | {"adversarial": True}]},
        ),
        ({"discriminators": None}, {"adversarial_from_step": 3}),
        ({"adversarial_from_step": 5}, {"adversarial_from_step": 100}),
    ],
)
def test_a_run_that_ignored_a_setting_goes_on(sound, tmp_path, changes, ignored):
    """As an earlier version began it: with its own config.json it ends as it would have."""
    values = settings(sound, checkpoint_every=1, **changes)
    trainer = Trainer(TrainingConfig.from_dict(values), tmp_path / "run")
    for report in trainer.run():
        if report.step == 2:
            trainer.stop()
    path = tmp_path / "run" / "config.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | ignored))
    resumed = Trainer(TrainingConfig.from_file(path), tmp_path / "run", resume=True)
    list(resumed.run())
    if "adversarial_from_step" not in changes:
        list(Trainer(TrainingConfig.from_dict(values), tmp_path / "whole").run())
        assert told(tmp_path / "run") == told(tmp_path / "whole")
    assert len(told(tmp_path / "run")) == 6
