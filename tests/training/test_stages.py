"""A run in stages: each begins where the one before ended, does what it says, and can be cut anywhere."""

from __future__ import annotations

import json
import math
import os

import pytest
import torch
from small_run import ADVERSARIAL, DISCRIMINATORS, config, told, write_sound

from snac_tok.codec import SNAC
from snac_tok.errors import ConfigError, TrainingError
from snac_tok.training import Trainer, TrainingConfig
from snac_tok.training.crops import CropSampler
from snac_tok.training.dead_codes import CodeUse

WARM_UP = {"name": "warm-up", "steps": 3, "codebooks": "bypassed", "crop_samples": 2048}
JOINT = {"name": "joint", "steps": 3, "start_codebooks": "k-means", "batch_size": 3}
DECODER = {
    "name": "decoder",
    "steps": 4,
    "trainable": "decoder",
    "adversarial": True,
    "discriminators_alone": 2,
    "optimizer": {"learning_rate": 1e-4},
    "losses": {"log_stft": 1.0, "mel": 5.0},
}
STAGES = [WARM_UP, JOINT, DECODER]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Prepared clips."""
    return write_sound(tmp_path_factory.mktemp("sound"))


def staged(sound, stages=STAGES, **changes):
    """Return the config of a run in stages."""
    values = {"checkpoint_every": 1, "validate_every": 2, "steps": sum(stage["steps"] for stage in stages)}
    return config(sound, stages=stages, **(values | changes))


def weights(trainer):
    """Every number that a run has reached."""
    found = dict(trainer.codec.state_dict()) | {f"average.{k}": v for k, v in trainer.average.values.items()}
    if trainer.adversary:
        found |= {f"d.{k}": v for k, v in trainer.adversary.discriminators.state_dict().items()}
    return {name: value.clone() for name, value in found.items()}


def changed(before, after):
    """Return the first words of the parameters that differ."""
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


@pytest.fixture(scope="module")
def whole(sound, tmp_path_factory):
    """An uninterrupted run: its folder, its weights after every step, its reports."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    trainer = Trainer(staged(sound, keep_checkpoints=20), folder)
    reached, reports = [weights(trainer)], []
    for report in trainer.run():
        reports.append(report)
        reached.append(weights(trainer))
    return folder, reached, reports


def test_stages_follow_each_other(whole):
    """Each step says whose it is; losses are those of its stage."""
    _, _, reports = whole
    assert [report.stage for report in reports] == ["warm-up"] * 3 + ["joint"] * 3 + ["decoder"] * 4
    for report in reports:
        names = report.losses.keys()
        assert ("codebook" in names) == (report.stage == "joint")
        assert bool(ADVERSARIAL & names) == (report.stage == "decoder")
        assert ("log_stft" in names) == (report.step > 8)
        assert all(math.isfinite(value) for value in report.losses.values())


def test_each_stage_trains_what_it_says(whole):
    """Warm-up leaves codebooks alone; joint moves all; discriminators alone move nothing; then the decoder alone."""
    _, reached, _ = whole
    codebooks = [name for name in reached[0] if name.endswith("codebook.weight")]
    assert all(torch.equal(reached[0][name], reached[3][name]) for name in codebooks)
    assert {"encoder", "quantizer", "decoder"} <= changed(reached[0], reached[3])
    assert all(not torch.equal(reached[3][name], reached[4][name]) for name in codebooks)
    assert {"encoder", "quantizer", "decoder"} <= changed(reached[4], reached[6])
    codec = {name: value for name, value in reached[8].items() if not name.startswith("d.")}
    assert changed(codec, reached[7]) == set()
    assert changed(reached[7], reached[8]) == {"d"}
    assert changed(codec, reached[10]) == {"decoder", "average"}
    frozen = [name for name in codec if name.startswith(("average.encoder", "average.quantizer"))]
    assert frozen
    assert all(torch.equal(reached[8][name], reached[10][name]) for name in frozen)


def test_a_stage_begins_with_the_averaged_weights(whole):
    """As a run that starts from the codec of the stage before would: what is frozen then is the average."""
    _, reached, _ = whole
    for name, value in reached[7].items():
        if name.startswith(("encoder", "quantizer")):
            assert torch.equal(value, reached[6].get(f"average.{name}", value)), name


@pytest.mark.parametrize("cuts", [range(1, 10, 2), range(2, 10, 2)], ids=["odd steps", "even steps"])
def test_a_run_cut_anywhere_is_the_uninterrupted_one(sound, whole, tmp_path, cuts):
    """In the middle of each stage, at each border, while discriminators are alone: equal to the last bit."""
    folder, reached, _ = whole
    trainer = Trainer(staged(sound, keep_checkpoints=20), tmp_path / "run")
    for cut in cuts:
        for report in trainer.run():
            if report.step == cut:
                break
        torch.manual_seed(99)
        trainer = Trainer(staged(sound, keep_checkpoints=20), tmp_path / "run", resume=True)
        assert trainer.step == cut
        found = weights(trainer)
        assert all(torch.equal(found[name], value) for name, value in reached[cut].items() if name in found)
    list(trainer.run())
    last = weights(trainer)
    assert last.keys() == reached[-1].keys()
    assert all(torch.equal(last[name], value) for name, value in reached[-1].items())
    for name in ("losses.jsonl", "validation.jsonl"):
        assert told(folder, name) == told(tmp_path / "run", name)


def test_validation_hears_the_pitch_and_knows_when_codes_mean_nothing(whole):
    """Voicing beside mel in every line; shares of codebooks once they are used."""
    folder, _, _ = whole
    lines = told(folder, "validation.jsonl")
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10]
    assert all({"mel", "voiced", "voiced_recording"} <= line.keys() for line in lines)
    assert ["used_0" in line for line in lines] == [False, True, True, True, True]
    assert 0.5 < lines[0]["voiced_recording"] <= 1


def test_checkpoints_hold_discriminators_once_they_have_learned(whole):
    """What the seed draws anew is not kept; the codec's part is all there is before."""
    folder, _, _ = whole
    sizes = {int(path.stem[5:]): path.stat().st_size for path in (folder / "checkpoints").iterdir()}
    states = {
        step: torch.load(folder / "checkpoints" / f"step-{step:08}.pt", weights_only=True) for step in (6, 7)
    }
    assert states[6]["discriminators"] is None
    assert states[7]["discriminators"]
    assert sizes[6] < sizes[7]


def test_codes_do_not_grow_idle_while_discriminators_learn_alone(sound, tmp_path, monkeypatch):
    """Entries are idle by the codec's own steps, of which there are none meanwhile."""
    moved = []
    restart = CodeUse.restart

    def counted(self, *args, **options):
        moved.append(restart(self, *args, **options))
        return moved[-1]

    monkeypatch.setattr(CodeUse, "restart", counted)
    run = staged(
        sound,
        [{"name": "a", "steps": 16, "adversarial": True, "discriminators_alone": 12}],
        quantizer={"level_dropout": 0.0, "restart_after": 4, "restart_every": 1},
    )
    list(Trainer(run, tmp_path / "run").run())
    assert len(moved) == 4
    assert all(count == 0 for counts in moved for count in counts)


def test_a_staged_run_learns_on_one_batch(sound, tmp_path, monkeypatch):
    """On the same crops again and again the distance falls in every stage, and k-means fits the codebooks at once.

    The codebook losses of later steps say nothing: the latents move faster than codebooks follow.
    """
    one = CropSampler.batch
    monkeypatch.setattr(CropSampler, "batch", lambda self, _step, **place: one(self, 0, **place))
    quiet = {"level_dropout": 0.0, "restart_after": 0}
    stages = [
        {"name": "warm-up", "steps": 40, "codebooks": "bypassed"},
        {"name": "joint", "steps": 40, "start_codebooks": "k-means"},
        {
            "name": "decoder",
            "steps": 20,
            "trainable": "decoder",
            "adversarial": True,
            "discriminators_alone": 5,
        },
    ]
    run = staged(
        sound,
        stages,
        quantizer=quiet,
        optimizer={"learning_rate": 3e-3},
        discriminator_optimizer={"learning_rate": 1e-4},
        validate_every=200,
        checkpoint_every=200,
    )
    reports = list(Trainer(run, tmp_path / "run").run())
    by_stage = {
        name: [report.losses for report in reports if report.stage == name]
        for name in ("warm-up", "joint", "decoder")
    }
    for name, losses in by_stage.items():
        mel = [each["mel"] for each in losses if "mel" in each]
        assert sum(mel[-5:]) < sum(mel[:5]), name
    for name in ("codebook", "commitment"):
        values = [each[name] for each in by_stage["joint"]]
        assert values[0] < sum(values) / len(values) / 10, name
    first, last = (by_stage["decoder"][at]["discriminator"] for at in (0, 4))
    assert last < first
    assert "mel" not in by_stage["decoder"][4]


def test_discriminators_go_on_from_stage_to_stage(sound, tmp_path):
    """Of one shape they keep what they have learned; of another they begin anew."""
    first = {"name": "a", "steps": 1, "adversarial": True}
    same, other = (
        {**first, "name": "b"},
        {**first, "name": "c", "discriminators": DISCRIMINATORS | {"width": 5}},
    )
    optimizer = {"learning_rate": 1e-12, "weight_decay": 0.0}
    found = {}
    for second in (same, other):
        folder = tmp_path / second["name"]
        run = staged(sound, [first, second], discriminator_optimizer=optimizer)
        trainer = Trainer(run, folder)
        seen = [weights(trainer) for _ in trainer.run()]
        found[second["name"]] = [
            {name: value for name, value in each.items() if name.startswith("d.")} for each in seen
        ]
    before, after = found["b"]
    assert all(torch.allclose(before[name], value) for name, value in after.items())
    before, after = found["c"]
    assert any(before[name].shape != value.shape for name, value in after.items())


def test_the_last_stage_may_be_lengthened(sound, tmp_path):
    """As a run without stages; any other change of a stage is refused by its path."""
    short = [WARM_UP, {**JOINT, "steps": 1}]
    list(Trainer(staged(sound, short), tmp_path / "run").run())
    longer = Trainer(staged(sound, [WARM_UP, {**JOINT, "steps": 2}]), tmp_path / "run", resume=True)
    assert [report.step for report in longer.run()] == [5]
    other = [{**WARM_UP, "steps": 2}, {**JOINT, "steps": 3}]
    with pytest.raises(TrainingError, match=r"other values of stages\[0\]\.steps; resume"):
        Trainer(staged(sound, other), tmp_path / "run", resume=True)


def test_the_exported_codec_is_the_averaged_one(whole):
    """As without stages."""
    folder, reached, _ = whole
    for name, value in SNAC.from_pretrained(folder / "codec").named_parameters():
        assert torch.equal(value, reached[-1][f"average.{name}"]), name


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        ([{"name": "a"}], r"stages\[0\] lacks \['steps'\]"),
        ([{"name": "", "steps": 1}], r"stages\[0\]: name is empty"),
        ([{"name": "a", "steps": 0}], r"stages\[0\]: steps is 0; it must be at least 1"),
        ([{"name": "a", "steps": 1}, {"name": "a", "steps": 1}], r"called \['a', 'a'\]; each needs a name"),
        (
            [{"name": "a", "steps": 1, "stepz": 1}],
            r"stages\[0\] has an unknown entry 'stepz'.* Did you mean 'steps'",
        ),
        (
            [{"name": "a", "steps": 1, "codebooks": "off"}],
            r"stages\[0\]\.codebooks is 'off'; it must be one of",
        ),
        (
            [{"name": "a", "steps": 1, "codebooks": "bypassed", "trainable": "decoder"}],
            r"stages\[0\] \(a\): codebooks is \"bypassed\" and trainable is \"decoder\"",
        ),
        (
            [{"name": "a", "steps": 1, "codebooks": "bypassed", "start_codebooks": "k-means"}],
            r"stages\[0\] \(a\): start_codebooks is \"k-means\", which needs",
        ),
        (
            [{"name": "a", "steps": 1, "losses": {"mel": 0}}],
            r"stages\[0\] \(a\): losses has no weight above 0 for what the decoder makes",
        ),
        ([{"name": "a", "steps": 1, "batch_size": 0}], r"stages\[0\] \(a\): batch_size is 0"),
        ([{"name": "a", "steps": 1, "mel_sizes": [65]}], r"stages\[0\] \(a\): mel_sizes has \[65\]"),
        (
            [{"name": "a", "steps": 1, "discriminators": DISCRIMINATORS}],
            r"described and adversarial is false",
        ),
        (
            [{"name": "a", "steps": 1, "discriminators_alone": 1}],
            r"discriminators_alone is set and there are no",
        ),
    ],
)
def test_impossible_stages_are_refused(sound, stages, sentence):
    """With the stage's place and what to do."""
    with pytest.raises(ConfigError, match=sentence):
        config(sound, stages=stages, steps=800_000)


def test_steps_are_the_stages_together(sound):
    """They need not be named; another number is refused; plain values and back is the same config."""
    whole = staged(sound)
    assert whole.steps == 10
    assert TrainingConfig.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole
    with pytest.raises(ConfigError, match=r"steps is 7, the stages' together 10; leave steps out"):
        staged(sound, steps=7)


def test_a_stages_crops_must_be_whole_frames(sound, tmp_path):
    """The stage is named, before anything is written."""
    with pytest.raises(ConfigError, match=r"the stage warm-up's crop_samples is 1000; .* for example 992"):
        Trainer(staged(sound, [{**WARM_UP, "crop_samples": 1000}]), tmp_path / "run")
    assert not os.path.lexists(tmp_path / "run")
