"""What a run cannot use, or cannot go on with, is one sentence with a way on."""

from __future__ import annotations

import math

import pytest
import torch
from small_run import config, write_sound

from snac_tok.errors import ConfigError, TrainingError
from snac_tok.training import StepReport, Trainer
from snac_tok.training.divergence import refuse_divergence
from snac_tok.training.process import TrainingProcess
from snac_tok.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Prepared clips."""
    return write_sound(tmp_path_factory.mktemp("sound"))


def finished(trainer):
    """Run to the end and return the reports."""
    return list(trainer.run())


def test_a_rate_that_is_too_high_is_told_before_there_is_a_checkpoint(sound, tmp_path):
    """There is no codec to go on from then; with a lower rate the run ends."""
    high = config(
        sound, optimizer={"learning_rate": 1e30}, discriminators=None, quantizer={"restart_after": 0}
    )
    with pytest.raises(
        TrainingError, match=r"begin anew in another folder with .* clip_norm of optimizer\.$"
    ):
        finished(Trainer(high, tmp_path / "run"))
    assert len(finished(Trainer(config(sound, discriminators=None), tmp_path / "other"))) == 6


def test_discriminators_that_diverge_have_an_optimizer_of_their_own(tmp_path):
    """It is named, and so are the stages that are done."""
    folder = RunFolder(tmp_path / "run")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "step-00000003.pt").touch()
    (tmp_path / "run" / "codec").mkdir()
    values = {"discriminator": torch.tensor(math.nan), "mel": torch.tensor(1.0)}
    report = StepReport(step=4, values=values, seconds=0.0, training_seconds=0.0)
    with pytest.raises(
        TrainingError,
        match=r"discriminator is not .* clip_norm of discriminator_optimizer; .*stages before b\.$",
    ):
        refuse_divergence(report, folder, stage="b")


def test_what_is_no_config_or_device_is_refused_before_anything(sound, tmp_path):
    """In one sentence each, and nothing is written."""
    for wrong in ("run.yaml", {"data": {}}, None):
        with pytest.raises(
            ConfigError, match=r"^config is .*; a TrainingConfig is needed: TrainingConfig\.from_file"
        ):
            Trainer(wrong, tmp_path / "run")
    with pytest.raises(ConfigError, match="the device 'nope' cannot be used"):
        Trainer(config(sound), tmp_path / "run", device="nope")
    with pytest.raises(ConfigError, match='the device "meta" holds no values'):
        Trainer(config(sound), tmp_path / "run", device="meta")
    with pytest.raises(ConfigError, match="the run has 6 steps, and before"):
        Trainer(config(sound, adversarial_from_step=6), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_whose_adversary_never_began_is_made_longer(sound, tmp_path):
    """One of before, when that was no error; and any that ended, with its adversary, goes on."""
    finished(Trainer(config(sound, steps=3, adversarial_from_step=2), tmp_path / "run"))
    assert (
        len(finished(Trainer(config(sound, steps=5, adversarial_from_step=2), tmp_path / "run", resume=True)))
        == 2
    )
    finished(Trainer(config(sound, steps=2, adversarial_from_step=1), tmp_path / "old"))
    path = tmp_path / "old" / "config.json"
    path.write_text(path.read_text().replace('"adversarial_from_step": 1', '"adversarial_from_step": 3'))
    longer = Trainer(config(sound, steps=5, adversarial_from_step=3), tmp_path / "old", resume=True)
    assert len(finished(longer)) == 3


@pytest.mark.parametrize(
    ("said", "found"), [("", None), (" ", None), ("1", None), ("abc", "'abc'"), ("0", "'0'"), ("-2", "'-2'")]
)
def test_how_many_processes_there_are(monkeypatch, said, found):
    """An empty WORLD_SIZE says nothing; what is no number from 1 on is refused."""
    monkeypatch.setenv("WORLD_SIZE", said)
    if found is None:
        assert TrainingProcess("cpu").num_ranks == 1
        return
    with pytest.raises(
        TrainingError, match=f"WORLD_SIZE is {found}; it says how many processes train together"
    ):
        TrainingProcess("cpu")


def test_processes_that_nobody_introduced(monkeypatch):
    """Accelerate's reason is quoted, and both ways out."""
    state = pytest.importorskip("accelerate.state").AcceleratorState
    state._reset_state(reset_partial_state=True)  # it is the process's, and other tests have run in it
    for name in ("MASTER_ADDR", "MASTER_PORT", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match=r"2 processes were started .*MASTER_ADDR.*or unset WORLD_SIZE"):
        TrainingProcess("cpu")


def test_a_compiler_that_is_missing_is_one_sentence(sound, tmp_path, monkeypatch):
    """Whatever of torch's compiling failed; other errors of a network stay as they are."""

    def failing(_network, error):
        def run(*_arguments):
            raise error

        return run

    kind = type("InductorError", (RuntimeError,), {"__module__": "torch._inductor.exc"})
    missing = kind("No working C++ compiler found")
    monkeypatch.setattr("torch.compile", lambda network, **_: failing(network, missing))
    trainer = Trainer(config(sound, compile=True), tmp_path / "run")
    with pytest.raises(TrainingError, match=r"compile is true, .*No working C\+\+ compiler.* compile: false"):
        finished(trainer)
    monkeypatch.setattr("torch.compile", lambda network, **_: failing(network, RuntimeError("another")))
    with pytest.raises(RuntimeError, match=r"^another$"):
        finished(Trainer(config(sound, compile=True), tmp_path / "other"))
