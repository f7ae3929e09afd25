"""A run's folder: what may go on in it, and what of it survives accidents."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from full_disk import no_file_larger_than

from snac_tok import files
from snac_tok.errors import ConfigError, TrainingError
from snac_tok.training import TrainingConfig
from snac_tok.training.run_folder import LOSSES_FILE, RunFolder


def config(**changes):
    """A run; nothing of it is looked for here."""
    return TrainingConfig.from_dict({"data": {"train": [{"folder": "ready"}]}, **changes})


def begun(path, *, steps=(), keep=9):
    """A run's folder with checkpoints."""
    folder = RunFolder(path)
    assert folder.begin(config(), resume=False) is None
    for step in steps:
        folder.save({"step": step, "weights": torch.full((100,), float(step))}, keep=keep)
    return folder


def damage(folder, step):
    """Cut a checkpoint short."""
    path = folder.path / "checkpoints" / f"step-{step:08}.pt"
    path.write_bytes(path.read_bytes()[:100])


def test_the_newest_checkpoints_stay(tmp_path):
    """As many as are wanted; the newest is gone on from."""
    folder = begun(tmp_path, steps=(3, 10, 200), keep=2)
    assert folder.steps() == [10, 200]
    state = RunFolder(tmp_path).begin(config(), resume=True)
    assert state["step"] == 200
    assert torch.equal(state["weights"], torch.full((100,), 200.0))


def test_another_recipe_is_refused_even_before_the_first_checkpoint(tmp_path):
    """One sentence with the settings' paths; nothing in the folder changes; begun anew without --resume it may be."""
    begun(tmp_path)
    (tmp_path / LOSSES_FILE).write_text('{"step": 1}\n')
    before = (tmp_path / "config.json").read_bytes()
    other = config(seed=3, losses={"mel": 1.0}, discriminators=None, steps=7)
    with pytest.raises(TrainingError) as refused:
        RunFolder(tmp_path).begin(other, resume=True)
    assert str(refused.value) == (
        f"{tmp_path} was begun with other values of discriminators, losses.mel, seed; resume with the config it was "
        f"begun with ({tmp_path / 'config.json'}), or choose another folder."
    )
    assert (tmp_path / "config.json").read_bytes() == before
    assert (tmp_path / LOSSES_FILE).read_text() == '{"step": 1}\n'
    assert RunFolder(tmp_path).begin(other, resume=False) is None
    assert json.loads((tmp_path / "config.json").read_bytes())["seed"] == 3
    assert (tmp_path / LOSSES_FILE).read_text() == ""


def test_what_does_not_decide_results_may_change(tmp_path):
    """And is noted."""
    begun(tmp_path, steps=(5,))
    longer = config(steps=7, log_every=1, keep_checkpoints=1)
    assert RunFolder(tmp_path).begin(longer, resume=True)["step"] == 5
    assert TrainingConfig.from_file(tmp_path / "config.json") == longer


@pytest.mark.parametrize("content", [None, ""], ids=["missing", "empty"])
def test_checkpoints_are_not_overwritten_where_the_config_is_lost(tmp_path, content):
    """They are what a run is; resuming takes the config that is given."""
    begun(tmp_path, steps=(5,))
    path = tmp_path / "config.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(TrainingError, match=r"holds a run of 5 steps; go on with --resume"):
        RunFolder(tmp_path).begin(config(), resume=False)
    assert RunFolder(tmp_path).begin(config(), resume=True)["step"] == 5


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[]", "config.json: the config is []; a mapping of"),
        ('{"data": ', "config.json is not valid JSON"),
        ('{"attn_window_size": 32}', "config.json: the config has an unknown entry 'attn_window_size'"),
    ],
)
@pytest.mark.parametrize("resume", [False, True])
def test_a_config_that_is_none_of_a_run_is_not_overwritten(tmp_path, content, sentence, resume):
    """It may be a codec's: the folder is named in the refusal."""
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ConfigError) as refused:
        RunFolder(tmp_path).begin(config(), resume=resume)
    assert f"{tmp_path}/{sentence}" in str(refused.value)
    assert (tmp_path / "config.json").read_text() == content


def test_a_damaged_checkpoint_pushes_none_out(tmp_path):
    """Going on before it, what is saved stays until something later is saved."""
    folder = begun(tmp_path, steps=(10, 20, 30))
    damage(folder, 20)
    damage(folder, 30)
    state = RunFolder(tmp_path).begin(config(), resume=True)
    assert state["step"] == 10
    folder.save({"step": 15}, keep=1)
    assert RunFolder(tmp_path).begin(config(), resume=True)["step"] == 15
    folder.save({"step": 30}, keep=1)
    assert folder.steps() == [30]


def test_all_checkpoints_damaged_is_no_new_beginning(tmp_path):
    """Each is named, and nothing in the folder changes: begun anew, the run would overwrite its own figures."""
    folder = begun(tmp_path, steps=(10, 20))
    folder.append(LOSSES_FILE, {"step": 20, "mel": 1.0})
    for step in (10, 20):
        damage(folder, step)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    with pytest.raises(TrainingError) as refused:
        RunFolder(tmp_path).begin(config(steps=30), resume=True)
    sentence = str(refused.value)
    assert sentence.startswith(f"no checkpoint in {tmp_path / 'checkpoints'} is whole: step-00000020.pt (")
    assert "step-00000010.pt (" in sentence
    assert sentence.endswith("; copy one back, or begin anew in another folder.")
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}


STATE = {
    "codec": {"w": torch.zeros(2, 3), "b": torch.zeros(3)},
    "optimizer": {"state": {0: {"step": torch.tensor(5.0)}}, "param_groups": [{"betas": (0.8, 0.9)}]},
    "discriminators": None,
}


def lacking(*path):
    """Remove something from a checkpoint."""

    def change(state):
        place = state
        for name in path[:-1]:
            place = place[name]
        del place[path[-1]]

    return change


def having(**values):
    """Put something else into a checkpoint."""
    return lambda state: state.update(values)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lacking("codec"), "/codec: dict is missing"),
        (lacking("optimizer", "state", 0, "step"), "/optimizer/state/0/step: torch.float32 () is missing"),
        (lacking("optimizer", "param_groups", 0), "/optimizer/param_groups/0"),
        (lacking("discriminators"), "/discriminators: NoneType is missing"),
        (lacking("step"), "/step: int is missing"),
        (lacking("parts"), "it lacks 'parts'"),
        (lacking("format_version"), "it lacks 'format_version'"),
        (having(codec={"w": torch.zeros(2, 2), "b": torch.zeros(3)}), "/codec/w: torch.float32"),
        (having(codec=None), "/codec"),
        (having(optimizer={}), "/optimizer"),
        (having(step=-10), "it says step -10"),
        (having(step=19), "it says step 19"),
        (having(step="20"), "/step: "),
        (having(surprise=1), "/surprise: int is none of its parts"),
        (having(parts=5), "int"),
    ],
)
def test_a_checkpoint_that_loads_but_is_not_whole_is_passed_over(tmp_path, caplog, change, reason):
    """Like a damaged one, and one warning says what is wrong with it."""
    folder = begun(tmp_path)
    for step in (10, 20):
        folder.save({"step": step, **STATE}, keep=9)
    path = tmp_path / "checkpoints" / "step-00000020.pt"
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)
    assert RunFolder(tmp_path).begin(config(), resume=True)["step"] == 10
    (record,) = caplog.records
    assert "step-00000020.pt is damaged (" in record.getMessage()
    assert reason in record.getMessage()


def test_no_changed_bit_of_a_checkpoint_is_taken_up(tmp_path):
    """One in each byte: the run goes on from what was saved, or from the checkpoint before."""
    folder = begun(tmp_path, steps=(10,))
    saved = {"step": 20, "weights": torch.arange(50.0)}
    folder.save(saved, keep=9)
    path = tmp_path / "checkpoints" / "step-00000020.pt"
    data, passed_over = path.read_bytes(), 0
    for place in range(0, len(data), 3):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
        state = folder.newest()
        if state["step"] == 10:
            passed_over += 1
        else:
            assert state["step"] == 20
            assert torch.equal(state["weights"], saved["weights"])
    assert passed_over > len(data) // 9


def test_a_checkpoint_that_the_run_cannot_take_up_is_passed_over(tmp_path, caplog):
    """Whatever its networks say of it; but a machine that is out of memory says nothing of the checkpoint."""
    begun(tmp_path, steps=(10, 20))
    taken = []

    def take_up(state):
        taken.append(state["step"])
        if state["step"] == 20:
            raise RuntimeError("size mismatch for codec.w")

    assert RunFolder(tmp_path).begin(config(), resume=True, take_up=take_up)["step"] == 10
    assert taken == [20, 10]
    assert "size mismatch for codec.w" in caplog.text

    def fail(_state):
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        RunFolder(tmp_path).begin(config(), resume=True, take_up=fail)


CLAIMING = """
import sys
from pathlib import Path
from snac_tok.training.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).claimed():
    print("claimed", flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_train_into_one_folder(tmp_path):
    """The second is refused before it writes anything; the first being killed, it goes on; nothing hidden stays."""
    begun(tmp_path, steps=(10,))
    first = subprocess.Popen(
        [sys.executable, "-c", CLAIMING, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert first.stdout.readline() == b"claimed\n"
        with pytest.raises(TrainingError, match="another process is training into"):
            RunFolder(tmp_path).begin(config(steps=30), resume=True)
        with pytest.raises(TrainingError, match="another process"), RunFolder(tmp_path).claimed():
            pass
    finally:
        first.kill()
        first.communicate()
    with RunFolder(tmp_path).claimed(), RunFolder(tmp_path).claimed():
        assert RunFolder(tmp_path).begin(config(), resume=True)["step"] == 10
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_a_killed_run_left_hidden_is_removed_by_the_next(tmp_path):
    """Beside the checkpoints as well as beside the codec."""
    begun(tmp_path, steps=(10,))
    (tmp_path / "codec").mkdir()
    name = f".step-00000020.pt.{files._HOST}-1-{'a' * 8}.tmp"
    left = [tmp_path / name, tmp_path / "checkpoints" / name, tmp_path / "codec" / name]
    for path in left:
        path.write_bytes(b"half")
    RunFolder(tmp_path).begin(config(), resume=True)
    assert not any(path.exists() for path in left)


def test_a_checkpoint_of_another_version_is_refused(tmp_path):
    """It is whole, so passing over it would lose what it holds."""
    folder = begun(tmp_path, steps=(10,))
    torch.save({"format_version": 99, "step": 20}, tmp_path / "checkpoints" / "step-00000020.pt")
    with pytest.raises(TrainingError, match=r"step-00000020\.pt has format 99; this version reads 2"):
        folder.begin(config(), resume=True)
    torch.save([1, 2], tmp_path / "checkpoints" / "step-00000020.pt")
    assert folder.begin(config(), resume=True)["step"] == 10


def test_figures_after_the_checkpoint_are_dropped(tmp_path):
    """They are written again; of a killed writer's last line nothing stays."""
    folder = begun(tmp_path, steps=(2,))
    for step in (1, 2, 3):
        folder.append(LOSSES_FILE, {"step": step, "mel": step / 2})
    with (tmp_path / LOSSES_FILE).open("a") as file:
        file.write('{"step": 4, "me')
    folder.begin(config(), resume=True)
    lines = [json.loads(line) for line in (tmp_path / LOSSES_FILE).read_text().splitlines()]
    assert lines == [{"step": 1, "mel": 0.5}, {"step": 2, "mel": 1.0}]


@pytest.mark.parametrize(
    "damage",
    [b"\xff\xfe", b'{"step": 1, "mel": "\xe9"}\n', b"\0" * 40, b"[" * 99_999, b"7\n"],
    ids=["no UTF-8", "no UTF-8 in a line", "zeros", "nested", "no object"],
)
@pytest.mark.parametrize("is_last", [True, False])
def test_damage_among_figures_costs_the_lines_that_it_hit(tmp_path, damage, is_last):
    """At the end or in between; resuming does not end over it, and what can be read stays."""
    folder = begun(tmp_path, steps=(3,))
    folder.append(LOSSES_FILE, {"step": 1, "mel": 0.5})
    with (tmp_path / LOSSES_FILE).open("ab") as file:
        file.write(damage + (b"" if is_last else b"\n"))
    if not is_last:
        folder.append(LOSSES_FILE, {"step": 3, "mel": 1.5})
    assert folder.begin(config(), resume=True)["step"] == 3
    kept = [json.loads(line)["step"] for line in (tmp_path / LOSSES_FILE).read_bytes().splitlines()]
    assert kept == ([1] if is_last else [1, 3])


@pytest.mark.parametrize("limit", [0, 1000, 200_000, 400_500])
def test_a_disk_that_takes_no_checkpoint_is_one_sentence(tmp_path, limit):
    """A real refusal of the kernel at the beginning, in the middle and at the end of it; the one before stays."""
    folder = begun(tmp_path, steps=(2,))
    with no_file_larger_than(limit), pytest.raises(TrainingError) as refused:
        folder.save({"step": 3, "weights": torch.zeros(100_000)}, keep=1)
    path = tmp_path / "checkpoints" / "step-00000003.pt"
    assert str(refused.value) == f"{path}: cannot be written (File too large); choose another name or place."
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002.pt"]


def test_other_files_among_checkpoints_are_left_alone(tmp_path):
    """Whatever somebody keeps there."""
    folder = begun(tmp_path, steps=(2,))
    (tmp_path / "checkpoints" / "step-best.pt").write_bytes(b"mine")
    folder.save({"step": 3}, keep=1)
    assert folder.steps() == [3]
    assert (tmp_path / "checkpoints" / "step-best.pt").exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    """One sentence that names it."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(
        TrainingError, match=r"file: cannot be written \(Not a directory\)|file: cannot be written"
    ):
        RunFolder(tmp_path / "file").begin(config(), resume=False)
