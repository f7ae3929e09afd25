"""Publishing: the whole file under its final name, or nothing, whatever happens on the way."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from shard_samples import fields, make_record, shard_info

from snac_tok.errors import ShardError
from snac_tok.shards import ShardFile, ShardWriter, publish, write_shard
from snac_tok.shards.publish import PendingFile, publish_bytes


def contents(folder):
    """Every file's name and bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def failing_os(name, code):
    """A function of `os` that fails with `code`."""

    def fail(*_args, **_options):
        raise OSError(code, os.strerror(code))

    return name, fail


@pytest.mark.parametrize(
    ("name", "code"),
    [("fsync", errno.ENOSPC), ("fsync", errno.EIO), ("link", errno.ENOSPC), ("link", errno.EACCES)],
)
def test_a_disk_that_refuses_leaves_nothing_and_is_named(tmp_path, monkeypatch, name, code):
    """Neither a final name nor a temporary file is left; the error names file and reason."""
    monkeypatch.setattr(publish.os, *failing_os(name, code))
    with pytest.raises(ShardError, match="train-00000-of-00001") as caught:
        write_shard(tmp_path, [make_record("a")], info=shard_info())
    assert os.strerror(code) in str(caught.value)
    assert contents(tmp_path) == {}


def test_an_error_of_the_caller_inside_the_writer_publishes_nothing(tmp_path):
    """The caller's own error comes through unchanged."""

    def write_and_stop():
        with ShardWriter(tmp_path, info=shard_info()) as shard:
            shard.add(make_record("a"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_stop()
    assert contents(tmp_path) == {}


def test_fewer_bytes_on_disk_than_written_are_noticed(tmp_path, monkeypatch):
    """A file that shrank between flush and publishing gets no name."""
    real = os.fsync

    def truncating(handle):
        real(handle)
        os.ftruncate(handle, 3)

    monkeypatch.setattr(publish.os, "fsync", truncating)
    with pytest.raises(ShardError, match="3 of 5 bytes"):
        publish_bytes(tmp_path / "x.json", b"12345")
    assert contents(tmp_path) == {}


FULL_DISK = """
import contextlib, os, resource, signal, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from shard_samples import make_record, shard_info
from snac_tok.errors import ShardError
from snac_tok.shards import write_shard
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with contextlib.suppress(ImportError):
    import pandas  # pyarrow loads it for its first file, and every child would load it anew
records = [make_record(str(index), num_frames=2000, seed=index) for index in range(8)]
# In children: each meets the limit first when it writes its own shard.
for limit in (0, 1000, 60_000):
    if os.fork() == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            write_shard(Path({folder!r}), records, info=shard_info())
        except ShardError as error:
            print(error, flush=True)
            sys.exit(7)
        sys.exit(1)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 7, limit
"""


def test_a_write_the_kernel_cuts_short_leaves_nothing_and_stays_quiet(tmp_path):
    """A real refusal in the first, a middle and a late write: one sentence, no traceback, no file."""
    script = FULL_DISK.format(here=str(Path(__file__).parent), folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [line.count("train-00000-of-00001.parquet") for line in done.stdout.splitlines()] == [1, 1, 1]
    assert done.stderr == ""
    assert contents(tmp_path) == {}


def test_of_two_attempts_the_first_stands_and_the_second_is_told(tmp_path):
    """The second attempt's file vanishes, the first one's is not touched."""
    first, second = PendingFile(tmp_path / "x"), PendingFile(tmp_path / "x")
    first.handle.write(b"one")
    second.handle.write(b"two")
    assert first.commit() is True
    assert second.commit() is False
    assert contents(tmp_path) == {"x": b"one"}


def test_many_racing_attempts_publish_one_whole_shard(tmp_path):
    """Eight threads, twenty rounds: always one file, always readable."""
    records = [make_record(str(index), seed=index) for index in range(5)]
    for round_number in range(20):
        info = shard_info(round_number, 20)
        attempts = [
            threading.Thread(target=write_shard, args=(tmp_path, records), kwargs={"info": info})
            for _ in range(8)
        ]
        for attempt in attempts:
            attempt.start()
        for attempt in attempts:
            attempt.join()
        with ShardFile(tmp_path / info.name) as shard:
            assert [fields(row) for row in shard] == [fields(row) for row in records]
    assert len(contents(tmp_path)) == 20


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_filesystems_without_hard_links_still_get_whole_files(tmp_path, monkeypatch, code):
    """There the file is renamed, and a name that is taken is still respected."""
    monkeypatch.setattr(publish.os, *failing_os("link", code))
    publish_bytes(tmp_path / "x", b"one")
    with pytest.raises(ShardError, match="other contents"):
        publish_bytes(tmp_path / "x", b"two")
    assert contents(tmp_path) == {"x": b"one"}


def test_publishing_the_same_bytes_again_is_no_error_and_replacing_is_explicit(tmp_path):
    """Equal bytes are accepted, others only with replace."""
    publish_bytes(tmp_path / "x", b"one")
    publish_bytes(tmp_path / "x", b"one")
    publish_bytes(tmp_path / "x", b"two", replace=True)
    assert contents(tmp_path) == {"x": b"two"}


def test_publishing_clears_what_killed_attempts_at_that_name_left(tmp_path):
    """Temporary files of other names stay: their attempts may be alive."""
    (tmp_path / ".x.999-dead.tmp").write_bytes(b"half")
    (tmp_path / ".y.999-live.tmp").write_bytes(b"half")
    publish_bytes(tmp_path / "x", b"one")
    assert contents(tmp_path) == {"x": b"one", ".y.999-live.tmp": b"half"}


def test_a_folder_that_is_not_there_is_named(tmp_path):
    """The sentence names the file that could not be begun."""
    with pytest.raises(ShardError, match="absent"):
        write_shard(tmp_path / "absent", [], info=shard_info())
