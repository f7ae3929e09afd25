"""`scripts/gpu_check` prints and writes every row, on a machine with hardly anything installed, whatever fails."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import snac
import torch

ROOT = Path(__file__).parents[1]

BARE = """
import sys
for name in ("soundfile", "soxr", "safetensors", "huggingface_hub", "transformers", "datasets", "pyarrow", "yaml"):
    sys.modules[name] = None
"""


def run_check(*arguments, paths=(), **environment):
    """Run the command as a user does, from somewhere else."""
    environment |= {"PYTHON": sys.executable, "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [str(ROOT / "scripts" / "gpu_check"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=environment)


@pytest.fixture
def wheel_folder(tmp_path):
    """A folder with a wheel of `snac`."""
    package = Path(snac.__file__).parent
    with zipfile.ZipFile(tmp_path / "snac-1.2.1-py3-none-any.whl", "w") as wheel:
        for path in package.glob("*.py"):
            wheel.write(path, f"snac/{path.name}")
    return tmp_path


@pytest.mark.slow
def test_every_row_comes_on_a_bare_machine(wheel_folder, tmp_path):
    """Without packages that read files or ask the hub, beside `snac` from a wheel."""
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "sitecustomize.py").write_text(BARE)
    given = ("--device", "cpu", "--tiny", "--snac-wheel", str(wheel_folder))
    done = run_check(*given, paths=[bare], OUT=str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "gpu_check.json").read_text())
    rows = {row["what"]: row for row in report["rows"]}
    assert not [row for row in report["rows"] if "error" in row]
    assert all(what in done.stdout for what in rows)
    assert "soundfile" in rows["not installed, not needed"]["note"]
    assert rows["codes like the CPU's, 8000 Hz"]["value"] == 0
    assert rows["rows of a mixed batch, like each alone"]["value"] == 0
    for what in ("encode 2 x 0.3 s, fp32", "decode 1 x 0.2 s, fp32"):
        assert min(rows[what][name] for name in ("value", "plain", "snac")) > 0
    assert {"step of 1 streams, fp32", "step of 2 streams, fp32", "training, fp32", "copy"} <= set(rows)
    files = {what: row for what, row in rows.items() if what.startswith("3 files to ids, ")}
    assert len(files) == 3
    assert all(row["value"] > 0 and row["note"].endswith("the same ids") for row in files.values())
    assert rows["3 rows of ids to sound"]["value"] > 0
    assert sum(what.startswith("profile: ") for what in rows) == 10


@pytest.fixture
def script(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import gpu_check

    return gpu_check


def test_a_subject_that_fails_is_reported_and_the_others_go_on(script):
    """What it had yielded before stays."""

    def fails():
        yield {"what": "before", "value": 1, "unit": "ms"}
        raise RuntimeError("out of memory")

    subjects = {"first": fails, "second": lambda: iter([{"what": "after"}])}
    found = list(script.run(subjects, limit=60.0))
    rows = [value for kind, value in found if kind == "row"]
    assert [row["what"] for row in rows] == ["before", "first", "after"]
    assert "FAILED at test_gpu_check.py" in rows[1]["error"]
    assert "out of memory" in rows[1]["error"]
    lost = list(script.run(subjects, limit=60.0, usable=lambda: False))
    assert lost == [*found[:3], ("lost", "first")]


def test_no_subject_is_begun_when_the_time_is_over(script):
    """So that the command ends."""
    subjects = {"late": lambda: iter([{"what": "never"}])}
    rows = [value for kind, value in script.run(subjects, limit=-1.0) if kind == "row"]
    assert [row["what"] for row in rows] == ["late"]


CHILD = """
import json, os, sys, time
names = sys.argv[sys.argv.index("--rows") + 1].split(",")
for name in names:
    print(json.dumps(["begin", name]), flush=True)
    if name == "laws":
        os.kill(os.getpid(), 9)
    if name == "speed":
        time.sleep(60)
    if name == "files":
        print(json.dumps(["row", {"what": name, "error": "FAILED at x.py:1: illegal memory access"}]), flush=True)
        sys.exit(3)
    print(json.dumps(["row", {"what": name, "value": os.getpid(), "unit": "pid"}]), flush=True)
"""


def test_what_ends_a_process_does_not_end_the_check(script, tmp_path, monkeypatch, capsys):
    """Killed, hanging, or without the card's context: what follows is measured by another process."""
    child = tmp_path / "child.py"
    child.write_text(CHILD)
    monkeypatch.setattr(script, "__file__", str(child))
    given = ["--device", "cpu", "--out", str(tmp_path), "--patience", "2"]
    monkeypatch.setattr(
        sys, "argv", ["gpu_check", *given, "--rows", "machine,laws,speed,streams,files,units"]
    )
    assert script.main() == 1
    rows = {row["what"]: row for row in json.loads((tmp_path / "gpu_check.json").read_text())["rows"]}
    assert list(rows) == ["machine", "laws", "speed", "streams", "files", "units"]
    assert rows["laws"]["error"] == "FAILED: its process ended with -9"
    assert rows["speed"]["error"] == "FAILED: no row for long; its process was ended"
    assert len({rows[name]["value"] for name in ("machine", "streams", "units")}) == 3
    assert "illegal memory access" in capsys.readouterr().out


def test_a_code_that_differs_is_a_failure(script):
    """As a row that failed is; one that was left out is not."""
    assert script.is_wrong({"what": "codes", "value": 1, "unit": "differ"})
    assert not script.is_wrong({"what": "codes", "value": 0, "unit": "differ"})
    assert not script.is_wrong({"what": "speed", "error": "left out: 210 s are over"})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_sentence_says_so():
    """And names what can be tried."""
    done = run_check()
    assert done.returncode == 2
    assert "--device cpu --tiny" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("part", [0, 1])
def test_a_process_that_compiles_ahead_runs_its_part(part):
    """Encoding, and decoding."""
    done = run_check("--device", "cpu", "--tiny", "--compile-part", str(part))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.usefixtures("script")
def test_what_is_compiled_ahead_is_what_the_rows_need(monkeypatch, tmp_path):
    """Both ways, each precision of the codec's shape; a process that fails is counted, and stops none."""
    from benchmark import compile_ahead, gpu

    check = gpu_check_of_cpu()
    monkeypatch.setattr(gpu.Check, "precisions", lambda _self, *others: ("fp32", "tf32", *others))
    found = [(dtype, way) for _, dtype, way in compile_ahead.parts(check)]
    assert found == [(dtype, way) for dtype in ("fp32", "tf32", "fp16") for way in ("encode", "decode")]
    made = f"import sys, pathlib; pathlib.Path({str(tmp_path)!r}, sys.argv[1]).touch(); sys.exit(sys.argv[1] == '1')"
    row = compile_ahead.compile_all(3, [sys.executable, "-c", made])
    assert row["note"] == "3 processes, 1 of them failed"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]


def gpu_check_of_cpu():
    """What the script measures with --device cpu --tiny."""
    import argparse

    import gpu_check

    return gpu_check.check_of(argparse.Namespace(device="cpu", tiny=True))
