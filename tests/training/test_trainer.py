"""A run learns, can be cut anywhere, and leaves alone what it is told to."""

from __future__ import annotations

import dataclasses
import functools
import math
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from prepared_sound import tone, write_store
from small_run import ADVERSARIAL, CODEC, NUM_SAMPLES, config, told, write_sound

from snac_tok.codec import SNAC
from snac_tok.codec.config import PRESETS
from snac_tok.errors import CheckpointError, ConfigError, TrainingError
from snac_tok.training import Trainer, TrainingConfig
from snac_tok.training.clip_store import ClipStore
from snac_tok.training.crops import CropSampler
from snac_tok.training.effort import cpu_days


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Prepared clips."""
    return write_sound(tmp_path_factory.mktemp("sound"))


def weights(trainer):
    """Every number that a run has reached."""
    found = dict(trainer.codec.state_dict()) | {
        f"average.{name}": value for name, value in trainer.average.values.items()
    }
    if trainer.adversary:
        found |= {f"d.{name}": value for name, value in trainer.adversary.discriminators.state_dict().items()}
    return {name: value.clone() for name, value in found.items()}


def equal(first, second):
    """Whether two runs hold the same numbers."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def finished(trainer):
    """Run to the end and return the reports."""
    return list(trainer.run())


@pytest.fixture(scope="module")
def whole(sound, tmp_path_factory):
    """A finished run of six steps, to be compared with or copied: its folder, weights and reports."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    trainer = Trainer(config(sound), folder)
    reports = finished(trainer)
    return SimpleNamespace(folder=folder, weights=weights(trainer), reports=reports)


def test_every_loss_falls_on_one_batch(sound, tmp_path, monkeypatch):
    """Thirty steps on the same two crops: the codec's losses fall, and the discriminators' own."""
    one = CropSampler.batch
    monkeypatch.setattr(CropSampler, "batch", lambda self, _step, **place: one(self, 0, **place))
    run = config(
        sound,
        steps=30,
        losses={"waveform": 1.0},
        optimizer={"learning_rate": 3e-3},
        quantizer={"level_dropout": 0.0, "restart_after": 0},
        # The discriminators would win against so small a codec; their own loss is looked at before they do.
        discriminator_optimizer={"learning_rate": 1e-4},
        validate_every=100,
        checkpoint_every=100,
    )
    reports = finished(Trainer(run, tmp_path / "run"))
    for name in ("mel", "waveform", "codebook", "commitment", "feature_matching", "discriminator", "total"):
        first, last = (
            sum(report.losses[name] for report in part) / 5 for part in (reports[:5], reports[-5:])
        )
        assert last < first, name
    assert all(math.isfinite(value) for report in reports for value in report.losses.values())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"discriminators": None},
        {"accumulate": 2, "adversarial_from_step": 2},
        {"precision": "bf16", "ema_decay": 0.0},
    ],
    ids=["all", "no adversary", "accumulated, late adversary", "bf16"],
)
def test_a_resumed_run_is_the_uninterrupted_one(sound, tmp_path, changes):
    """Cut after any step that was saved: the same losses to the last bit, the same weights."""
    whole = Trainer(config(sound, **changes), tmp_path / "whole")
    finished(whole)
    cut = Trainer(config(sound, **changes), tmp_path / "cut")
    for report in cut.run():
        if report.step == 5:  # two steps beyond the checkpoint are lost, and done again
            break
    torch.manual_seed(99)
    resumed = Trainer(config(sound, **changes), tmp_path / "cut", resume=True)
    assert resumed.step == 3
    finished(resumed)
    assert equal(weights(whole), weights(resumed))
    for name in ("losses.jsonl", "validation.jsonl"):
        assert told(tmp_path / "whole", name) == told(tmp_path / "cut", name)


VOCOS = {"hops": 2, "dim": 8, "intermediate_dim": 16, "num_layers": 1, "lookahead": 1}


def exported(folder):
    """Return the bytes of every codec and decoder that a run wrote, by their paths."""
    files = (path for name in ("codec", "decoder") for path in (folder / name).glob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("changes", [{}, {"decoder": VOCOS}], ids=["its own decoder", "another decoder"])
def test_a_resumed_run_writes_the_codec_of_its_checkpoint(sound, tmp_path, changes):
    """Its writer died between the two: stale, empty or half there, the codec gets the bytes of an undisturbed run."""
    options = {"checkpoint_every": 2, "discriminators": None, **changes}
    run = tmp_path / "run"
    finished(Trainer(config(sound, steps=2, **options), run))
    stale = exported(run)
    finished(Trainer(config(sound, steps=4, **options), run, resume=True))
    whole = exported(run)
    assert whole.keys() == stale.keys()
    assert whole != stale
    for path, content in stale.items():
        (run / path).write_bytes(content)
    assert finished(Trainer(config(sound, steps=4, **options), run, resume=True)) == []
    assert exported(run) == whole
    for path in stale:
        (run / path).unlink()
    next(iter(Trainer(config(sound, steps=6, **options), run, resume=True).run()))
    assert exported(run) == whole


def test_a_finished_run_goes_on_when_told_to(sound, whole, tmp_path):
    """More steps are no other run; without a cooldown the schedule does not depend on the end."""
    finished(Trainer(config(sound, steps=4), tmp_path / "run"))
    longer = Trainer(config(sound, steps=6), tmp_path / "run", resume=True)
    assert [report.step for report in longer.run()] == [5, 6]
    assert equal(whole.weights, weights(longer))


def test_training_leaves_the_global_generator_alone(sound, tmp_path):
    """Whatever else draws from torch's generator is not moved by a run, nor moves it."""
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = Trainer(config(sound, steps=2), tmp_path / "first")
    finished(first)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(8)
    second = Trainer(config(sound, steps=2), tmp_path / "second")
    finished(second)
    assert equal(weights(first), weights(second))
    other = Trainer(config(sound, steps=2, seed=1), tmp_path / "other")
    assert not equal(weights(second), weights(other))


def test_accumulated_gradients_are_those_of_the_larger_batch(sound, tmp_path, monkeypatch):
    """Two batches of two give the gradient of one of four, up to rounding."""
    rows = CropSampler([(ClipStore.open(sound.folder), 1.0)], crop_samples=1024, batch_size=4, seed=0).batch(
        0
    )
    options = {
        "discriminators": None,
        "codec": CODEC | {"noise": False},
        "quantizer": {"level_dropout": 0.0, "restart_after": 0},
    }
    batches = {2: lambda step: rows[2 * step : 2 * step + 2], 4: lambda _: rows}
    monkeypatch.setattr(CropSampler, "batch", lambda self, step, **_: batches[self.batch_size](step))
    small = Trainer(config(sound, steps=1, batch_size=2, accumulate=2, **options), tmp_path / "small")
    large = Trainer(config(sound, steps=1, batch_size=4, accumulate=1, **options), tmp_path / "large")
    reports = [finished(trainer)[0].losses for trainer in (small, large)]
    assert reports[0] == pytest.approx(reports[1], rel=1e-3)


def test_decoder_only_leaves_the_codes_as_they_are(sound, tmp_path):
    """Encoder and codebooks keep every bit; the decoder does not."""
    start = SNAC.from_config(SNAC.from_pretrained("tiny").config)
    start.save_pretrained(tmp_path / "start")
    run = config(
        sound,
        steps=2,
        start_from=str(tmp_path / "start"),
        trainable="decoder",
        data={"train": [{"folder": str(sound.folder)}], "crop_samples": 2048},
    )
    trainer = Trainer(run, tmp_path / "run")
    losses = finished(trainer)[-1].losses
    assert "codebook" not in losses
    after = SNAC.from_pretrained(tmp_path / "run" / "codec").state_dict()
    for name, value in start.state_dict().items():
        moved = not torch.equal(value, after[name])
        assert moved == name.startswith("decoder."), name


def test_the_adversary_begins_when_told_to(sound, tmp_path):
    """Before, nothing of it shows; a run without one never has any."""
    reports = finished(Trainer(config(sound, adversarial_from_step=2, steps=4), tmp_path / "late"))
    assert [report.losses.keys() >= ADVERSARIAL for report in reports] == [False] * 2 + [True] * 2
    assert not any(ADVERSARIAL & report.losses.keys() for report in reports[:2])
    reports = finished(Trainer(config(sound, discriminators=None, steps=2), tmp_path / "none"))
    assert not any(ADVERSARIAL & report.losses.keys() for report in reports)


def test_what_a_run_leaves_behind(sound, tmp_path):
    """Figures, the two newest checkpoints, curves, and a codec with averaged weights that loads."""
    trainer = Trainer(config(sound, checkpoint_every=2), tmp_path / "run")
    finished(trainer)
    run = tmp_path / "run"
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [
        "step-00000004.pt",
        "step-00000006.pt",
    ]
    assert [line["step"] for line in told(run)] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in told(run, "validation.jsonl")] == [3, 6]
    assert {"mel", "used_0", "used_1"} <= told(run, "validation.jsonl")[0].keys()
    assert list((run / "tensorboard").iterdir())
    codec = SNAC.from_pretrained(run / "codec")
    for name, value in codec.named_parameters():
        assert torch.equal(value, trainer.average.values[name]), name


def test_a_damaged_checkpoint_is_passed_over(sound, whole, tmp_path, caplog):
    """The one before is taken, and said so; nothing is lost but the steps between."""
    shutil.copytree(whole.folder, tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "step-00000006.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    trainer = Trainer(config(sound), tmp_path / "run", resume=True)
    assert trainer.step == 3
    assert "step-00000006.pt is damaged" in caplog.text


@pytest.fixture(scope="module")
def two_steps(sound, tmp_path_factory):
    """A run of two steps with a checkpoint after each, to be copied."""
    folder = tmp_path_factory.mktemp("two") / "run"
    finished(Trainer(config(sound, steps=2, checkpoint_every=1), folder))
    return folder


@pytest.mark.parametrize(
    "part",
    [
        "codec",
        "average",
        "optimizer",
        "code_use",
        "discriminators",
        "discriminator_optimizer",
        "optimizer.state.0.exp_avg",
        "optimizer.param_groups.0.betas",
    ],
)
def test_a_checkpoint_without_one_of_its_parts_is_passed_over(sound, two_steps, tmp_path, caplog, part):
    """Whichever it is; the run goes on from the one before, and from none it is not begun anew."""
    shutil.copytree(two_steps, tmp_path / "run")
    *places, name = [int(name) if name.isdigit() else name for name in part.split(".")]

    def cut(step):
        path = tmp_path / "run" / "checkpoints" / f"step-{step:08}.pt"
        state = torch.load(path, weights_only=True)
        del functools.reduce(lambda place, key: place[key], places, state)[name]
        torch.save(state, path)

    cut(2)
    assert Trainer(config(sound, steps=2), tmp_path / "run", resume=True).step == 1
    assert f"/{part.replace('.', '/')}" in caplog.text
    cut(1)
    before = (tmp_path / "run" / "losses.jsonl").read_bytes()
    with pytest.raises(TrainingError, match=r"no checkpoint in .* is whole"):
        Trainer(config(sound, steps=2), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "losses.jsonl").read_bytes() == before


def test_a_checkpoint_of_other_networks_is_passed_over(sound, two_steps, tmp_path, caplog):
    """It is whole, and of another run."""
    shutil.copytree(two_steps, tmp_path / "run")
    finished(Trainer(config(sound, steps=2, codec=CODEC | {"decoder_dim": 8}), tmp_path / "other"))
    name = "step-00000002.pt"
    (tmp_path / "other" / "checkpoints" / name).replace(tmp_path / "run" / "checkpoints" / name)
    assert Trainer(config(sound, steps=2), tmp_path / "run", resume=True).step == 1
    assert f"{name} is damaged" in caplog.text


def test_resuming_where_nothing_was_saved_begins_anew(sound, tmp_path):
    """A run that was killed before its first checkpoint."""
    first = Trainer(config(sound), tmp_path / "run")
    next(iter(first.run()))
    assert Trainer(config(sound), tmp_path / "run", resume=True).step == 0


def test_a_run_is_not_overwritten_and_not_mixed_up(sound, whole, tmp_path):
    """A second run into the same folder, or a resumed one with another recipe, is refused."""
    shutil.copytree(whole.folder, tmp_path / "run")
    with pytest.raises(TrainingError, match=r"holds a run of 6 steps; go on with --resume"):
        Trainer(config(sound), tmp_path / "run")
    with pytest.raises(TrainingError, match=r"other values of losses\.mel, seed; resume with"):
        Trainer(config(sound, seed=3, losses={"mel": 1.0}), tmp_path / "run", resume=True)


def test_a_run_does_not_go_on_with_other_sound(tmp_path):
    """The folder's name is the same and its clips are others: refused, and nothing changes; the same ones are none."""
    sound, run = write_sound(tmp_path), tmp_path / "run"
    finished(Trainer(config(sound, steps=3, discriminators=None), run))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    write_store(sound.folder, {f"clip-{k}": tone(NUM_SAMPLES, hertz=300.0, level=0.3) for k in range(3)})
    with pytest.raises(TrainingError) as refused:
        Trainer(config(sound, discriminators=None), run, resume=True)
    assert str(refused.value) == (
        f"{run} was trained on other sound than {sound.folder} holds now; prepare the recordings of before there, or "
        f"train in another folder (start_from: {run / 'codec'} goes on from the codec)."
    )
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    write_sound(tmp_path)
    assert len(finished(Trainer(config(sound, discriminators=None), run, resume=True))) == 3


def test_other_sound_of_equal_lengths_and_levels_is_other_sound(sound):
    """As from `prepare --level-db`."""
    store = ClipStore.open(sound.folder)
    other = dataclasses.replace(store, samples=store.samples.clone().neg_(), mapping=None)
    assert other.digest != store.digest == ClipStore.open(sound.folder).digest


def test_a_checkpoint_that_does_not_tell_its_sound_is_gone_on_from(sound, two_steps, tmp_path):
    """One of an earlier version."""
    shutil.copytree(two_steps, tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "step-00000002.pt"
    state = torch.load(path, weights_only=True)
    del state["sound"]
    state["parts"] = [part for part in state["parts"] if not part.startswith("/sound")]
    torch.save(state, path)
    assert Trainer(config(sound, steps=2), tmp_path / "run", resume=True).step == 2


def test_a_run_that_cannot_end_on_a_cpu_says_so(sound, tmp_path, caplog):
    """The paper's length on a CPU is warned of with days and a way out; a short run says nothing."""
    Trainer(config(sound), tmp_path / "short")
    assert not caplog.records
    Trainer(config(sound, steps=10**14), tmp_path / "long")
    assert "days on this machine's CPU" in caplog.text
    assert "configs/tiny_24khz.yaml" in caplog.text


@pytest.mark.parametrize(("name", "warned"), [("snac_24khz", True), ("tiny_24khz", False)])
def test_the_papers_config_is_one_for_gpus(name, warned):
    """On sixteen cores it would take weeks; the small codec's config ends in hours."""
    run = TrainingConfig.from_file(Path(__file__).parents[2] / "configs" / f"{name}.yaml")
    shape = PRESETS["snac_24khz"] if warned else SNAC.from_pretrained("tiny").config
    parameters = SNAC.from_config(shape).num_parameters
    assert (cpu_days(run, num_parameters=parameters, sampling_rate=24_000, cores=16) > 14) == warned


def test_numbers_that_are_none_stop_the_run(sound, tmp_path, monkeypatch):
    """One sentence that names the loss; the checkpoint before stays, and what is advised works."""
    run = Trainer(config(sound, checkpoint_every=1), tmp_path / "run")
    reports = run.run()
    next(reports)
    with monkeypatch.context() as broken:
        broken.setattr("snac_tok.training.sound_losses.waveform_loss", lambda a, _: a.sum() * math.nan)
        with pytest.raises(TrainingError) as refused:
            next(reports)
    codec = tmp_path / "run" / "codec"
    assert str(refused.value) == (
        "step 2: waveform is not a finite number any more; begin anew in another folder with a lower learning_rate or "
        f"clip_norm of optimizer; if {tmp_path / 'run' / 'losses.jsonl'} was still good at step 1, start_from: {codec} "
        "there goes on from the codec of that step, with the steps that are left."
    )
    assert Trainer(config(sound, checkpoint_every=1), tmp_path / "run", resume=True).step == 1
    lower = config(sound, start_from=str(codec), steps=5, optimizer={"learning_rate": 1e-5})
    assert len(finished(Trainer(lower, tmp_path / "other"))) == 5


def test_a_steps_own_time_is_told_without_its_validation_and_checkpoint(sound, tmp_path, monkeypatch):
    """The time of a step would otherwise seem to grow where it is validated or saved."""
    run = Trainer(config(sound, steps=2, validate_every=2, checkpoint_every=2), tmp_path / "run")

    def wait_and(call):
        def waiting():
            time.sleep(0.2)
            return call()

        return waiting

    monkeypatch.setattr(run, "_validate", wait_and(run._validate))
    monkeypatch.setattr(run, "save", wait_and(run.save))
    without, both = run.run()
    assert without.seconds - without.training_seconds < 0.2
    assert both.seconds - both.training_seconds >= 0.4


def test_a_full_disk_loses_no_checkpoint(sound, tmp_path, monkeypatch):
    """Saving fails with a sentence; what was there can be resumed."""
    run = Trainer(config(sound, steps=2, checkpoint_every=1), tmp_path / "run")
    finished(run)

    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", refuse)
    with pytest.raises(TrainingError, match="No space left on device"):
        run.save()
    monkeypatch.undo()
    assert Trainer(config(sound, steps=2, checkpoint_every=1), tmp_path / "run", resume=True).step == 2


def test_the_codec_must_fit_sound_and_crops(sound, tmp_path):
    """Other rates and crops that would be padded are refused before anything is written."""
    with pytest.raises(TrainingError, match=r"prepared at 24000 Hz; the codec needs 16000 Hz"):
        Trainer(config(sound, codec=CODEC | {"sampling_rate": 16_000}), tmp_path / "run")
    crops = {"train": [{"folder": str(sound.folder)}], "crop_samples": 1000}
    with pytest.raises(ConfigError, match=r"crop_samples is 1000; .* a multiple of 16, for example 992"):
        Trainer(config(sound, data=crops), tmp_path / "run")
    with pytest.raises(CheckpointError):
        Trainer(config(sound, start_from=str(tmp_path / "nothing")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch.compile asks for it
def test_a_compiled_run_gives_the_losses_of_an_eager_one(sound, tmp_path, monkeypatch):
    """Tracing changes rounding at most; the C++ that torch makes of the trace is torch's, and takes a minute."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    # Of one level: it is the layers that take time to trace.
    codec = CODEC | {"vq_strides": [2]}
    options = {"steps": 1, "discriminators": None, "validate_every": 9, "codec": codec}
    reports = [
        finished(Trainer(config(sound, compile=on, **options), tmp_path / str(on)))[0] for on in (False, True)
    ]
    assert reports[0].losses == pytest.approx(reports[1].losses, rel=1e-2)
