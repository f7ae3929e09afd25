"""A run goes on as itself or not at all: the codec it began with, its processes, its steps, its folder."""

from __future__ import annotations

import shutil

import pytest
import torch
from small_run import CODEC, config, told, write_sound

from snac_tok import SNAC
from snac_tok.errors import TrainingError
from snac_tok.training import Trainer
from snac_tok.training.checkpoint_file import write_state
from snac_tok.training.continuation import check_start, start_of
from snac_tok.training.run_folder import RunFolder

VOCOS = {"hops": 2, "dim": 8, "intermediate_dim": 16, "num_layers": 1, "lookahead": 1}
KINDS = pytest.mark.parametrize("decoder", [None, VOCOS], ids=["its own decoder", "another decoder"])


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Prepared clips."""
    return write_sound(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def start(tmp_path):
    """A codec to start from."""
    save(tmp_path / "start", seed=0)
    return tmp_path / "start"


def save(folder, *, seed, **changes):
    """Write a codec of random weights."""
    torch.manual_seed(seed)
    SNAC.from_config(CODEC | changes).save_pretrained(folder)


def run_of(sound, start, **changes):
    """A run that trains a decoder for a codec."""
    values = {
        "codec": {},
        "start_from": start and str(start),
        "trainable": "decoder",
        "discriminators": None,
        "checkpoint_every": 2,
    }
    return config(sound, **(values | changes))


def finished(*arguments, **options):
    """Train to the end."""
    trainer = Trainer(*arguments, **options)
    for _ in trainer.run():
        pass
    return trainer


def content(folder):
    """Every path in a folder, with its bytes."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def edit(run, change):
    """Change the newest checkpoint, as another version would have written it."""
    path = max((run / "checkpoints").iterdir())
    state = torch.load(path, weights_only=True)
    del state["parts"], state["format_version"]
    change(state)
    with path.open("wb") as file:
        write_state(state, file)


OTHERS = {
    "weights": {"seed": 1},
    "strides": {"seed": 0, "vq_strides": [1, 1]},
    "width": {"seed": 0, "decoder_dim": 8},
}


@KINDS
@pytest.mark.parametrize("other", OTHERS)
def test_a_decoder_is_not_trained_on_beside_another_codec(sound, start, decoder, other, caplog):
    """It would be used beside one that it is not for; and nothing changes."""
    run, changes = start.with_name("run"), OTHERS[other]
    finished(run_of(sound, start, decoder=decoder, steps=2), run)
    save(start, **changes)
    before = content(run)
    caplog.clear()
    with pytest.raises(TrainingError) as refused:
        Trainer(run_of(sound, start, decoder=decoder, steps=4), run, resume=True)
    goes_on = "" if decoder else f" (start_from: {run / 'codec'} goes on from the codec)"
    assert str(refused.value) == (
        f"{run} trains a decoder for the codes that {start} had when the run began, and {start} is another codec now; "
        f"put the codec of before back there, or train in another folder{goes_on}."
    )
    assert content(run) == before
    assert not caplog.records
    save(start, seed=0)
    assert finished(run_of(sound, start, decoder=decoder, steps=4), run, resume=True).step == 4


@KINDS
@pytest.mark.parametrize("other", OTHERS)
def test_a_run_that_trains_codes_goes_on_exactly_where_its_start_went_on(
    sound, start, tmp_path, *, decoder, other, caplog
):
    """Its checkpoint has all weights, and nothing of what it makes is used beside the codec that it began with."""

    def of(steps):
        return run_of(sound, start, trainable="all", decoder=decoder, steps=steps)

    finished(of(4), tmp_path / "whole")
    finished(of(2), tmp_path / "cut")
    save(start, **OTHERS[other])
    (tmp_path / "cut" / "checkpoints" / "step-00000003.pt").write_bytes(b"damaged")
    caplog.clear()
    finished(of(4), tmp_path / "cut", resume=True)
    said = [record.getMessage() for record in caplog.records if str(start) in record.getMessage()]
    went_on = "the run goes on from its checkpoint, as it was."
    assert said == [f"{start} is another codec now than when {tmp_path / 'cut'} began; {went_on}"]
    assert told(tmp_path / "whole") == told(tmp_path / "cut")
    for folder in ("codec", "decoder") if decoder else ("codec",):
        for name in ("model.safetensors", "config.json"):
            one, two = (tmp_path / run / folder / name for run in ("whole", "cut"))
            assert one.read_bytes() == two.read_bytes()


@KINDS
@pytest.mark.parametrize("change", ["decoder", "half precision"])
def test_a_decoder_is_trained_on_beside_a_codec_of_the_same_codes(
    sound, start, tmp_path, *, decoder, change, caplog
):
    """Its own decoder may have gone on; what is made fits beside it."""
    run = tmp_path / "run"
    finished(run_of(sound, start, decoder=decoder, steps=2), run)
    codec = SNAC.from_pretrained(start)
    if change == "decoder":
        with torch.no_grad():
            next(codec.decoder.parameters()).add_(1.0)
    (codec.half() if change == "half precision" else codec).save_pretrained(start)
    caplog.clear()
    finished(run_of(sound, start, decoder=decoder, steps=4), run, resume=True)
    assert sum("is another codec now" in record.getMessage() for record in caplog.records) == 1
    SNAC.from_pretrained(start, decoder=run / ("decoder" if decoder else "codec"))


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("tiny", "install the version of snac_tok that the run began with"),
        ("owner/codec", "download its revision of before into a folder owner/codec where you train"),
    ],
)
def test_what_is_advised_for_a_codec_that_is_no_folder_can_be_done(
    start, tmp_path, monkeypatch, name, advice
):
    """Nobody can put weights into a package or onto the hub."""
    before = start_of(SNAC.from_pretrained(start))
    save(start, seed=1)
    other = SNAC.from_pretrained(start)
    monkeypatch.setattr(SNAC, "from_pretrained", lambda *_, **__: other)
    run = RunFolder(tmp_path / "run")
    assert check_start(name, before=before, run=run, trains_codes=True).startswith(
        f"{name} is another codec now"
    )
    with pytest.raises(TrainingError) as refused:
        check_start(name, before=before, run=run, trains_codes=False)
    assert f"; {advice}, or train in another folder." in str(refused.value)


@KINDS
def test_without_the_codec_it_began_with_a_run_goes_on_exactly(sound, start, tmp_path, decoder):
    """Checkpoints have all weights: moved, damaged or out of reach, it is not needed any more."""
    whole = finished(run_of(sound, start, decoder=decoder, steps=6), tmp_path / "whole")
    finished(run_of(sound, start, decoder=decoder, steps=2), tmp_path / "cut")
    start.rename(tmp_path / "elsewhere")
    finished(run_of(sound, start, decoder=decoder, steps=4), tmp_path / "cut", resume=True)
    start.mkdir()
    (start / "config.json").write_text("{")
    cut = finished(run_of(sound, start, decoder=decoder, steps=6), tmp_path / "cut", resume=True)
    first, second = whole.codec.state_dict(), cut.codec.state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert told(tmp_path / "whole") == told(tmp_path / "cut")
    folder = "decoder" if decoder else "codec"
    for name in ("model.safetensors", "config.json"):
        one, two = (tmp_path / run / folder / name for run in ("whole", "cut"))
        assert one.read_bytes() == two.read_bytes()


def test_a_repository_that_is_not_in_the_cache_is_not_fetched(start, tmp_path, monkeypatch):
    """A cluster's nodes may be offline; where it is online, nothing is downloaded only to be compared."""
    asked = []
    whole = SNAC.from_pretrained

    def from_pretrained(name, **options):
        asked.append(options)
        return whole(name, **options)

    monkeypatch.setattr(SNAC, "from_pretrained", from_pretrained)
    before = start_of(whole(start))
    assert not check_start(
        "nobody/nothing", before=before, run=RunFolder(tmp_path / "run"), trains_codes=False
    )
    assert asked == [{"local_files_only": True}]


def test_a_checkpoint_that_does_not_tell_how_it_began_is_gone_on_from(sound, start, tmp_path):
    """One of an earlier version; what it goes on with is kept from then on."""
    run = tmp_path / "run"
    finished(run_of(sound, start, steps=2), run)
    edit(run, lambda state: [state.pop(name) for name in ("start", "num_ranks")])
    assert finished(run_of(sound, start, steps=4), run, resume=True).step == 4
    save(start, seed=1)
    with pytest.raises(TrainingError, match="is another codec now"):
        Trainer(run_of(sound, start, steps=6), run, resume=True)


def test_another_number_of_processes_is_refused(sound, start, tmp_path):
    """Each step would have another batch than the run's."""
    run = tmp_path / "run"
    finished(run_of(sound, start, steps=2), run)
    edit(run, lambda state: state.update(num_ranks=2))
    before = content(run)
    with pytest.raises(TrainingError) as refused:
        Trainer(run_of(sound, start, steps=4), run, resume=True)
    assert str(refused.value) == (
        f"{run} was trained by 2 processes and would go on with 1, and so with another batch; start 2 again, or train "
        f"in another folder (start_from: {run / 'codec'} goes on from the codec)."
    )
    assert content(run) == before


@pytest.mark.parametrize("staged", [False, True])
def test_fewer_steps_than_are_done_are_refused(sound, start, tmp_path, staged):
    """In place of calling them done, and of writing them down."""

    def of(steps):
        stages = [{"name": "first", "steps": 1}, {"name": "last", "steps": steps - 1}]
        return run_of(sound, start, steps=steps, **({"stages": stages} if staged else {}))

    run = tmp_path / "run"
    finished(of(4), run)
    before = content(run)
    with pytest.raises(
        TrainingError, match=r"has done 4 steps and the config has 3; set steps .* to 4 or more"
    ):
        Trainer(of(3), run, resume=True)
    assert content(run) == before
    assert Trainer(of(4), run, resume=True).step == 4


def of_something_else(folder, kind, sound, start):
    """Make a folder that is none of a run's, and return what of it a refusal names."""
    if kind == "a codec":
        shutil.copytree(start, folder)
        return "model.safetensors"
    if kind == "prepared sound":
        shutil.copytree(sound.folder, folder)
        return "clips.json, samples.s16"
    if kind in ("codec", "decoder"):
        shutil.copytree(start, folder / kind)
        return f"{kind}/config.json, {kind}/model.safetensors"
    if kind == "files":
        folder.mkdir()
        for name in ("_progress.jsonl", "_samples.part", "decoder", "pytorch_model.bin"):
            (folder / name).write_bytes(b"mine")
        return "_progress.jsonl, _samples.part, decoder, …"
    (folder / "checkpoints").mkdir(parents=True)
    for name in "abcd":
        (folder / "checkpoints" / f"{name}.pt").write_bytes(b"mine")
    return r"checkpoints/a.pt, checkpoints/b.pt, checkpoints/c.pt, …"


@pytest.mark.parametrize("kind", ["a codec", "prepared sound", "codec", "decoder", "files", "checkpoints"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_something_else_is_left_as_it_is(sound, start, tmp_path, kind, resume):
    """Nothing is mixed into it, and no empty folder stays in it."""
    folder = tmp_path / "folder"
    names = of_something_else(folder, kind, sound, start)
    before = content(folder)
    with pytest.raises(TrainingError) as refused:
        Trainer(run_of(sound, start), folder, resume=resume)
    assert str(refused.value) == (
        f"{folder} holds {names} and no checkpoint of a run; a run begins where no codec, prepared sound or other run "
        "is: choose another folder."
    )
    assert content(folder) == before


@pytest.mark.parametrize("resume", [False, True])
def test_what_is_none_of_a_runs_lies_beside_it_untouched(sound, start, tmp_path, resume):
    """A log that was piped there, the config that it is trained by, a cluster's files, a disk's own folder."""
    run = tmp_path / "run"
    for name in (
        "wandb/latest/log",
        "lost+found/x",
        "log.txt",
        "README.md",
        "config.yaml",
        "slurm-1.out",
        "codecs/a",
    ):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("mine")
    for name in ("codec", "checkpoints"):
        (run / name).mkdir()
    before = content(run)
    finished(run_of(sound, start, steps=2), run, resume=resume)
    finished(run_of(sound, start, steps=4), run, resume=True)
    assert {path: now for path, now in content(run).items() if path in before} == before


def test_a_run_begins_in_an_empty_folder_and_where_one_was_killed_early(sound, start, tmp_path):
    """Hidden files of others do not count; a run's own before its first checkpoint are written anew."""
    run = tmp_path / "run"
    run.mkdir()
    (run / ".gitignore").write_text("*")
    next(iter(Trainer(run_of(sound, start), run).run()))
    assert {path.name for path in run.iterdir()} >= {"config.json", "losses.jsonl", "tensorboard"}
    assert Trainer(run_of(sound, start, seed=1), run).step == 0
    assert (run / ".gitignore").read_text() == "*"
