"""Runs that stop before their end: one sentence that says what to do, and an exit code a kind."""

import errno
import os

import pytest
import torch

from snac_tok.errors import ShardError
from snac_tok.tokenizer import SnacTokenizer


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError("8 GiB"), 5, "lower --batch-seconds"),
        (torch.OutOfMemoryError("CUDA out of memory"), 5, "lower --batch-seconds"),
        (torch.AcceleratorError("CUDA error: device-side assert", 1), 6, "another device"),
        (RuntimeError("CUDA error: an illegal memory access"), 6, "another device"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), 4, "Finished shards are kept"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), 4, "ulimit -n"),
        (OSError(errno.ENFILE, os.strerror(errno.ENFILE)), 4, "lower --jobs"),
        (RuntimeError("a fault of ours"), 2, "unexpected RuntimeError"),
        (ShardError("wrong."), 2, "wrong."),
        (SystemExit(143), 143, "ended by SIGTERM. Finished shards are kept"),
    ],
)
def test_memory_and_devices(run, monkeypatch, error, code, words):
    """Raised by the encoder."""

    def fail(*_args, **_options):
        raise error

    monkeypatch.setattr(SnacTokenizer, "encode_codes", fail)
    result = run("shard", "clips", "shards")
    assert result.exit_code == code
    (line,) = result.stderr.splitlines()
    assert words in line
    monkeypatch.undo()


def test_a_full_disk(run, work, monkeypatch):
    """With room again the same command goes on where it was."""
    real, left = os.fsync, [4]

    def fsync(handle):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        result = run("shard", "clips", "shards", "--clips-per-shard", "1")
    assert result.exit_code == 4
    assert "No space left on device" in result.stderr
    assert "run the same command again" in result.stderr
    assert len(list((work / "shards").glob("*.parquet"))) == 1
    result = run("shard", "clips", "shards", "--clips-per-shard", "1")
    assert result.exit_code == 0
    assert "1 of them from before" in result.stdout


def test_too_many_failures(run, work):
    """The reasons are counted; a higher rate lets the run end."""
    for name in ("x.wav", "y.wav"):
        (work / "clips" / name).write_bytes(b"no sound")
    result = run("shard", "clips", "shards", "--max-error-rate", "0.25")
    assert result.exit_code == 3
    assert "2 not-sound" in result.stderr
    assert run("shard", "clips", "shards").exit_code == 1


def test_limits_jobs_and_trying_again(run, work):
    """The options reach the run: what is left out is told, and is no failure."""
    (work / "clips" / "x.wav").write_bytes(b"no sound")
    options = ("--jobs", "1", "--min-duration", "0.4", "--decode-timeout", "30", "--decode-memory", "4000")
    result = run("shard", "clips", "shards", *options, "--max-file-size", "9", "--batch-seconds", "5")
    assert result.exit_code == 1
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert (lines["clips"], lines["failures"], lines["left"]) == ("1", "1", "out  1")
    (work / "clips" / "x.wav").write_bytes((work / "clips" / "a.wav").read_bytes())
    again = run("shard", "clips", "shards", *options, "--max-file-size", "9", "--rerun-errors")
    assert again.exit_code == 0
    assert "clips     2" in again.stdout
