"""The blocks of docs/cookbook.md run as they stand: "now" gives what "before" gave."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from datasets import load_dataset

from snac_tok import SNAC, read_audio
from snac_tok.cli.program import program

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "cookbook.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
CURATOR = next(block for block in PROGRAMS if "nemo_curator" in block)
# What needs a cluster runs in tests/corpus/test_corpus_ray.py.
BLOCKS = [block for block in PROGRAMS if "RayEngine" not in block and block != CURATOR]
SCRIPTS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
PUBLISHED = '"hubertsiuzdak/snac_24khz"'


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty folder with the speech, and a codec there in the files that upstream publishes."""
    shutil.copytree(ROOT / "tests" / "speech", tmp_path / "tests" / "speech")
    tiny = SNAC.from_pretrained("tiny")
    tiny.save_pretrained(tmp_path / "codec")
    torch.save(tiny.state_dict(), tmp_path / "codec" / "pytorch_model.bin")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_now_gives_what_before_gave(workplace):
    """Codes, ids and sound are the same; the tokenizer's way and the manifest's rows are whole."""
    names = {"__name__": "cookbook"}
    for number, block in enumerate(BLOCKS, start=1):
        code = block.replace(PUBLISHED, '"codec"')
        exec(compile(code, f"docs/cookbook.md, block {number}", "exec"), names)
    for codes, same in zip(names["codes"], names["same_codes"], strict=True):
        assert torch.equal(codes, same)
    assert names["sound"].shape == names["same_sound"].shape
    torch.testing.assert_close(*sounds_with_equal_noise(names), atol=1e-6, rtol=0)
    assert names["flat"] == names["same_flat"].tolist() == names["ids"]
    assert names["levels"] == [level.tolist() for level in names["same_levels"]]
    np.testing.assert_array_equal(names["spoken"].samples, names["tok"].decode(names["flat"]).samples)
    assert read_audio("heard.wav").num_samples == len(names["ids"]) // 7 * 2048
    rows = load_dataset("parquet", data_files="train.parquet", split="train", cache_dir=workplace / "cache")
    assert [len(row["input_ids"]) for row in rows] == [161, 147]
    assert {"text", "num_samples"} <= set(rows.column_names)


@pytest.mark.usefixtures("workplace")
def test_a_job_array_makes_what_one_run_makes(monkeypatch):
    """Each task runs the page's script; the merge follows, and the same command has nothing left to do."""
    tasks, merge, _ = SCRIPTS
    assert tasks.startswith("#!/bin/bash\n#SBATCH --array=0-15 ")
    assert merge.startswith("sbatch --wait corpus.sh\n")
    recordings = "".join(f'{{"audio": "{path}"}}\n' for path in sorted(Path("tests/speech").glob("*.flac")))
    Path("corpus.jsonl").write_text(recordings, encoding="utf-8")
    monkeypatch.setenv("SNAC_TOK_MODEL", "tiny")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    for task in "01":
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
        assert "when all tasks are done" in printed_by(tasks)
    assert "_plan.json" in {path.name for path in Path("shards").iterdir()}
    assert "failures  0" in printed_by(merge)
    assert "nothing was left to do" in printed_by("snac-tok shard corpus.jsonl shards")


def printed_by(script):
    """What the program's lines of a script print, without a GPU."""
    lines = script.replace("\\\n", " ").replace("--device cuda", "").splitlines()
    commands = [line for line in lines if line.startswith("snac-tok ")]
    assert len(commands) == 1
    arguments = shlex.split(os.path.expandvars(commands[0]), comments=True)[1:]
    result = CliRunner().invoke(program, arguments, prog_name="snac-tok")
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.usefixtures("workplace")
def test_curators_stage_adds_codes_or_the_reason(monkeypatch):
    """With stand-ins for its classes: the package needs others that are not installed for these tests."""
    for name, member, stand_in in (
        (
            "stages.base",
            "ProcessingStage",
            type("ProcessingStage", (), {"__class_getitem__": lambda *_: object}),
        ),
        ("stages.resources", "Resources", SimpleNamespace),
        ("tasks", "AudioTask", SimpleNamespace),
    ):
        monkeypatch.setitem(sys.modules, f"nemo_curator.{name}", SimpleNamespace(**{member: stand_in}))
    names = {"__name__": "cookbook"}
    exec(CURATOR, names)
    Path("broken.wav").write_bytes(b"RIFF")
    stage = names["SnacCodes"]("tiny")
    stage.setup()
    paths = ["broken.wav", "tests/speech/LJ001-0002.flac", "tests/speech/LJ001-0008.flac"]
    tasks = [SimpleNamespace(data={"audio_filepath": path}) for path in paths]
    broken, *good = [task.data for task in stage.process_batch(tasks)]
    assert broken["codes"] is None
    assert broken["error"].startswith("broken.wav")
    for data in good:
        wanted = stage.tok.encode_codes([read_audio(data["audio_filepath"])])[0]
        assert data["codes"] == stage.tok.layout.flatten(wanted).tolist()
        assert data["error"] is None
    assert stage.process(tasks[1]).data == good[0]


def sounds_with_equal_noise(names):
    """What both decode the codes to if the global generator, where their noise comes from, begins alike."""
    for codec in (names["model"], names["codec"]):
        torch.manual_seed(0)
        with torch.inference_mode():
            yield codec.decode(names["codes"])


def test_every_block_is_one_that_runs():
    """A slip in a fence would leave a block out unseen; the name in them is the published codec's."""
    kinds = re.findall(r"^```(.*)$", PAGE, re.MULTILINE)
    assert set(kinds[::2]) == {"python", "console", "sh", "bash"}
    assert set(kinds[1::2]) == {""}
    assert PUBLISHED in BLOCKS[0]
