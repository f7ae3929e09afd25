"""Files that were cut off, and files that need ffmpeg, at every command that reads sound."""

import json
import shutil
import sys
from pathlib import Path

import pytest

COMMANDS = {
    "encode": ("encode", "cut.wav", "-o", "cut.npz"),
    "shard": ("shard", "cut", "shards"),
    "prepare": ("prepare", "cut", "-o", "ready", "--sampling-rate", "24000"),
    "eval": ("eval", "cut", "--model", "tiny", "--metrics", "mel"),
}
M4A = b"\0\0\0\x1cftypM4A \0\0\2\0M4A isomiso2" + bytes(200)


@pytest.fixture
def cut(work):
    """cut.wav, which lacks its second half, also as the only file of the folder cut/."""
    content = (work / "a.wav").read_bytes()
    (work / "cut.wav").write_bytes(content[: len(content) // 2])
    (work / "cut").mkdir()
    shutil.copy(work / "cut.wav", work / "cut")
    return work


def told(result) -> str:
    """Everything a user gets to read: messages, tables, and the lists of what failed."""
    lists = [path.read_text() for name in ("shards", "ready") for path in Path(name).glob("*failed.jsonl")]
    return " ".join([result.stdout, result.stderr, *lists])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_cut_file_fails_and_the_option_takes_what_is_left(cut, run, command):
    """No message speaks of Python's argument; nothing is lost without a word when it is allowed."""
    assert cut.is_dir()
    refused = run(*COMMANDS[command])
    assert refused.exit_code in (1, 2)
    assert "cut off" in told(refused)
    assert "allow_truncated" not in told(refused)
    if command == "encode":
        assert "--allow-truncated takes what there is" in refused.stderr
    force = () if command == "eval" else ("--force",)
    allowed = run(*COMMANDS[command], "--allow-truncated", *force)
    assert allowed.exit_code == 0, allowed.stderr
    assert "the header promises" in allowed.stderr


def test_what_was_listed_as_failed_is_done_by_a_run_of_its_own(cut, run):
    """A collection says whether cut files are in it: a run with the option does not take up one without."""
    assert run(*COMMANDS["shard"]).exit_code == 1
    plan = json.loads((cut / "shards" / "_plan.json").read_text())
    (cut / "shards" / "_manifest.json").unlink()
    assert plan["options"]["allow_truncated"] is False
    mixed = run(*COMMANDS["shard"], "--allow-truncated")
    assert mixed.exit_code == 2
    assert "other options (truncated files (allowed or not))" in mixed.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_without_ffmpeg_a_phones_recording_is_told_what_it_needs(cut, run, monkeypatch, command):
    """Found in folders, too, and refused with the two ways; no Python in the sentence."""
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    monkeypatch.setenv("PATH", str(cut))
    (cut / "cut" / "cut.wav").unlink()
    (cut / "cut" / "phone.m4a").write_bytes(M4A)
    arguments = [argument.replace("cut.wav", "cut/phone.m4a") for argument in COMMANDS[command]]
    result = run(*arguments)
    assert result.exit_code in (1, 2)
    assert "phone.m4a" in told(result)
    assert "install the program ffmpeg (Debian: apt-get install ffmpeg) or the package torchcodec" in told(
        result
    )
    assert "backend" not in told(result)
