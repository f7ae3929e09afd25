"""`snac-tok train`."""

import json
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from snac_tok.cli import train
from snac_tok.codec import SNAC
from snac_tok.training import StepReport
from snac_tok.training.phase import Phase

pytestmark = pytest.mark.usefixtures("ready")


def summary(result):
    """Return the lines of a summary by their names."""
    assert result.exit_code == 0, result.stderr
    return dict(line.split(maxsplit=1) for line in result.stdout.replace("try it", "try-it").splitlines())


def told(folder):
    """Return the figures that a run wrote."""
    return [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]


def test_a_run_from_yaml(run, work, config):
    """The summary names what was made and what to do next; the codec loads; the curves are on the disk."""
    result = run("train", config(), "-o", "new/run")
    lines = summary(result)
    codec = SNAC.from_pretrained(work / "new" / "run" / "codec")
    assert lines["steps"].startswith("3 now, 3 in all, ")
    assert lines["codec"] == f"new/run/codec ({codec.num_parameters:,} parameters)"
    assert lines["curves"] == "tensorboard --logdir new/run/tensorboard"
    assert lines["try-it"] == "snac-tok eval FOLDER --model new/run/codec"
    assert len(result.stderr.splitlines()) == 4
    assert [line["step"] for line in told(work / "new" / "run")] == [1, 2, 3]
    events = EventAccumulator(str(work / "new" / "run" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train/mel")] == [1, 2, 3]
    assert [event.step for event in events.Scalars("validation/mel")] == [3]
    assert sorted(events.Tags()["audio"]) == ["a.wav/decoded", "a.wav/recording"]
    assert run("eval", "a.wav", "--model", "new/run/codec", "--metrics", "mel").exit_code == 0


def test_a_run_of_the_decoder_says_how_earlier_tokens_are_decoded(run, work, config):
    """With the codec that made them and the decoder that was trained; the command is one that works."""
    assert run("encode", "a.wav", "-o", "a.npz", "--model", "tiny").exit_code == 0
    data = {"train": [{"folder": "ready"}], "crop_samples": 2048}
    settings = {
        "data": data,
        "codec": {},
        "start_from": "tiny",
        "trainable": "decoder",
        "discriminators": None,
    }
    result = run("train", config(steps=1, **settings), "-o", "run")
    assert result.exit_code == 0, result.stderr
    said = dict(re.split(" {2,}", line, maxsplit=1) for line in result.stdout.splitlines())
    assert said["try it"] == "snac-tok eval FOLDER --model tiny --decoder run/codec"
    assert said["earlier tokens"] == "snac-tok decode TOKENS -o SOUND.wav --model tiny --decoder run/codec"
    assert run("decode", "a.npz", *said["earlier tokens"].split()[3:]).exit_code == 0
    assert (work / "SOUND.wav").stat().st_size > 44


def test_a_run_goes_on(run, work, config):
    """A second time only with --resume, and then as if there had been no pause; JSON serves as well."""
    whole = config(steps=4, checkpoint_every=2)
    assert summary(run("train", whole, "-o", "whole"))["steps"].startswith("4 now, 4 in all")
    assert summary(run("train", config(steps=2, checkpoint_every=2), "-o", "run"))["steps"].startswith(
        "2 now"
    )
    again = run("train", config(steps=4, checkpoint_every=2), "-o", "run")
    assert again.exit_code == 2
    assert again.stderr == (
        "snac-tok: run holds a run of 2 steps; go on with --resume, or choose another folder.\n"
    )
    (work / "config.json").write_bytes(
        (work / "run" / "config.json").read_bytes().replace(b'"steps": 2', b'"steps": 4')
    )
    lines = summary(run("train", "config.json", "-o", "run", "--resume"))
    assert lines["steps"].startswith("2 now, 4 in all")
    assert told(work / "run") == told(work / "whole")
    assert summary(run("train", "config.json", "-o", "run", "--resume"))["steps"].startswith(
        "0 now, 4 in all"
    )


@pytest.fixture
def control_c():
    """Python's own answer to Control-C: in a shell script's background job, as here perhaps, it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupting(monkeypatch, *, at, times=1):
    """Press Control-C in the middle of a step: the discriminators have moved, counters have not."""
    whole = Phase._keep_codes_alive

    def press(phase, passes, step):
        if step == at - 1:
            for _ in range(times):
                signal.raise_signal(
                    signal.SIGINT
                )  # handled before it returns: two of them are never taken for one
        whole(phase, passes, step)

    monkeypatch.setattr(Phase, "_keep_codes_alive", press)


@pytest.mark.usefixtures("control_c")
def test_control_c_ends_after_the_step(run, work, config, monkeypatch):
    """Exit code 130, the step is whole and saved, and resumed the run is the uninterrupted one."""
    before = signal.getsignal(signal.SIGINT)
    path = config(steps=4, validate_every=2)
    assert run("train", path, "-o", "whole").exit_code == 0
    interrupting(monkeypatch, at=2)
    result = run("train", path, "-o", "run")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.splitlines()[-3:] == [
        "snac-tok: step 2 is saved; go on with --resume.",
        "",
        "snac-tok: interrupted",
    ]
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    monkeypatch.chdir(work)
    monkeypatch.setenv("SNAC_TOK_MODEL", "tiny")
    assert summary(run("train", path, "-o", "run", "--resume"))["steps"].startswith("2 now, 4 in all")
    assert told(work / "run") == told(work / "whole")
    ends = [SNAC.from_pretrained(work / name / "codec").state_dict() for name in ("run", "whole")]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


@pytest.mark.usefixtures("control_c")
def test_a_second_control_c_ends_at_once(run, work, config, monkeypatch):
    """Nothing is saved of the half step; the checkpoint before stands."""
    interrupting(monkeypatch, at=3, times=2)
    result = run("train", config(steps=4, checkpoint_every=2), "-o", "run")
    assert result.exit_code == 130
    assert "saved" not in result.stderr
    assert [path.name for path in (work / "run" / "checkpoints").iterdir()] == ["step-00000002.pt"]


def test_a_background_job_goes_on_ignoring_control_c(run, config, monkeypatch):
    """`snac-tok train … &` in a script: the Control-C that ends the script is not meant for it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        interrupting(monkeypatch, at=2)
        assert run("train", config(steps=3), "-o", "run").exit_code == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_progress_is_for_terminals(run, config):
    """Elsewhere only when asked: the step, and the losses that there are, on stderr alone."""
    shown = run("train", config(), "-o", "shown", "--progress")
    assert "3/3" in shown.stderr
    for name in ("mel ", "adv ", "fm ", "disc ", "vq "):
        assert name in shown.stderr
    assert "3/3" not in shown.stdout
    without = run("train", config(discriminators=None), "-o", "without", "--progress")
    assert "mel " in without.stderr
    assert "adv " not in without.stderr


def test_without_a_terminal_there_are_lines(run, config):
    """What begins, on what, and then the first step, every few, the validated ones and the last, with their losses."""
    first, *lines = run(
        "train", config(steps=7, log_every=3, validate_every=5), "-o", "run"
    ).stderr.splitlines()
    assert first.startswith("snac-tok: training ")
    for words in ("parameters on cpu (", " in fp32: steps 1 to 7 of 2 crops of 0.04 s; ", "run/losses.jsonl"):
        assert words in first
    assert [line.split(":")[1] for line in lines] == [f" step {step}/7" for step in (1, 3, 5, 6, 7)]
    for line in lines:
        assert all(f"{name} " in line for name in ("mel", "adv", "fm", "disc", "vq"))
        assert " a step" in line
    assert ["validated: mel " in line for line in lines] == [False, False, True, False, True]
    assert [line.endswith(" left.") for line in lines] == [False, True, True, True, False]


def test_one_slow_step_hardly_moves_the_time_left(capsys):
    """A step with a validation of 60 s counts as one of all steps but the first, and not as a step's length."""
    config = SimpleNamespace(steps=1000, log_every=50)
    values = {"mel": torch.tensor(1.0)}
    lines = train._Lines(SimpleNamespace(step=0, config=config), shown=True)
    for step in range(1, 121):
        validation = {"mel": 1.0} if step == 101 else None
        slow = {1: 500.0, 101: 61.0}.get(step, 1.0)
        trained = slow if validation is None else 1.0
        lines.show(
            StepReport(
                step=step, values=values, seconds=slow, training_seconds=trained, validation=validation
            )
        )
    said = {line.split("/")[0].split()[-1]: line for line in capsys.readouterr().err.splitlines()}
    assert said["50"].endswith("15 min 50 s left.")
    assert "1.00 s a step" in said["101"]
    assert said["101"].endswith("23 min 58 s left.")


@pytest.mark.usefixtures(
    "control_c"
)  # what is ignored here would be ignored in the process that is started, too
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_lines_appear_while_the_run_goes_on(work, config, number, code):
    """Each is flushed: a log that is followed shows them at once. Either signal ends it after a step that is saved."""
    process = subprocess.Popen(
        [sys.executable, "-m", "snac_tok.cli", "train", config(steps=100_000), "-o", "run"],
        cwd=work,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        while "step 2/100000: mel" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(number)
        rest = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == code
    (said,) = re.findall(r"step (\d+) is saved; go on with --resume\.", rest)
    assert (work / "run" / "checkpoints" / f"step-{int(said):08}.pt").exists()


def test_a_resumed_run_says_where_it_goes_on(run, config):
    """Also where there is nothing to go on from, or nothing left to do."""
    path = config(steps=2)
    begun = run("train", path, "-o", "run", "--resume").stderr.splitlines()
    assert begun[0] == "snac-tok: run holds no checkpoint yet; the run begins at step 1."
    assert ": steps 3 to 4 of" in run("train", config(steps=4), "-o", "run", "--resume").stderr
    assert run("train", config(steps=4), "-o", "run", "--resume").stderr == (
        "snac-tok: all 4 steps of run are done.\n"
    )


def test_no_progress_is_quiet(run, config):
    """Neither bar nor lines."""
    result = run("train", config(steps=2), "-o", "run", "--no-progress")
    assert (result.exit_code, result.stderr) == (0, "")


def test_compiling_is_said(run, config, monkeypatch):
    """Before the first step, which takes long."""
    monkeypatch.setattr("torch.compile", lambda network, **_: network)
    result = run("train", config(compile=True, discriminators=None), "-o", "run")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines()[1].startswith("snac-tok: compiling: the first step takes minutes")


def test_damaged_checkpoints_are_no_new_beginning(run, work, config):
    """Exit code 2, and the figures stay."""
    assert run("train", config(checkpoint_every=1), "-o", "run").exit_code == 0
    before = (work / "run" / "losses.jsonl").read_bytes()
    for path in (work / "run" / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    result = run("train", "config.yaml", "-o", "run", "--resume")
    assert result.exit_code == 2
    assert "snac-tok: no checkpoint in run/checkpoints is whole: step-00000003.pt (" in result.stderr
    assert (work / "run" / "losses.jsonl").read_bytes() == before


def test_a_terminal_has_a_bar(run, config, monkeypatch):
    """Of a resumed run it starts where that goes on, and its pace is that of the steps done now."""
    assert run("train", config(steps=2), "-o", "run").exit_code == 0
    monkeypatch.setattr(train, "is_wanted", lambda progress, **_: progress is None)  # a terminal
    result = run("train", config(), "-o", "run", "--resume")
    assert result.exit_code == 0
    assert "2/3 [" in result.stderr
    assert "3/3 [" in result.stderr


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "config.yaml: the config is empty; a mapping of"),
        ("- a\n", "config.yaml: the config is ['a']; a mapping of"),
        ("data: [\n", "config.yaml is not valid YAML"),
        ("steps: 3\n", "config.yaml: the config lacks ['data']."),
        ("data: {train: [{folder: ready}]}\nstep: 3\n", "unknown entry 'step'"),
        (
            "data: {train: [{folder: nowhere}], crop_samples: 2048}\n",
            "nowhere is not a folder of prepared sound",
        ),
        ("data: {train: [{folder: clips}], crop_samples: 2048}\n", "clips is not a folder of prepared sound"),
        ("data: {train: [{folder: ready}], crop_samples: 1000}\n", "data.crop_samples is 1000"),
        ("data: {train: [{folder: ready}]}\nstart_from: ./nothing\n", "nothing"),
    ],
)
def test_bad_configs_are_one_sentence(refused, work, content, named):
    """Exit code 2, and no run is begun."""
    (work / "config.yaml").write_text(content, encoding="utf-8")
    assert named in refused("train", "config.yaml", "-o", "run")
    assert not (work / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["missing.yaml", "-o", "run"], "missing.yaml cannot be read: No such file or directory."),
        (["clips", "-o", "run"], "clips cannot be read: Is a directory."),
        (["a.wav", "-o", "run"], "a.wav is not UTF-8 text"),
        (["config.yaml"], "--out"),
        (["-o", "run"], "CONFIG"),
    ],
)
def test_wrong_usage_is_one_sentence(refused, work, arguments, named):
    """Nothing is written."""
    assert named in refused("train", *arguments)
    assert not (work / "run").exists()


def test_impossible_folders_and_devices_are_one_sentence(refused, config):
    """A file where the run is to be; a device that there is not."""
    path = config()
    assert refused("train", path, "-o", "a.wav").startswith("snac-tok: a.wav: cannot be written")
    sentence = refused("train", path, "-o", "run", "--device", "abacus")
    assert "abacus" in sentence
    assert "unexpected" not in sentence
