"""The one way files are written: whole under their names, or not there, whatever happens on the way."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snac_tok import files
from snac_tok.errors import CheckpointError, ShardError, TokenError
from snac_tok.files import (
    HiddenFile,
    living_writers,
    replacing,
    sweep_folder,
    sync_folder,
    write_bytes_atomically,
)

SOURCES = sorted(Path(files.__file__).parent.rglob("*.py"))


def contents(folder):
    """Every file's name and bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refusing(code):
    """A call that the operating system refuses with `code`."""

    def refuse(*_args, **_options):
        raise OSError(code, os.strerror(code))

    return refuse


def test_no_other_module_makes_hidden_files():
    """One mechanism: nobody else names or makes temporary files."""
    makers = [
        path.name
        for path in SOURCES
        if any(w in path.read_text() for w in ("mkstemp", "token_hex", "umask("))
    ]
    assert makers == ["files.py"]


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20)
def test_the_last_complete_write_is_what_stands_there(tmp_path, writes):
    """Law: after any writes the folder holds exactly the last one's bytes."""
    for content in writes:
        write_bytes_atomically(tmp_path / "x.bin", content, error=TokenError)
    assert contents(tmp_path) == {"x.bin": writes[-1]}


def test_the_file_is_not_there_before_it_is_complete(tmp_path):
    """A reader meets the old file until the block is left, then the new one; seeking back is allowed."""
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with replacing(path, error=ShardError) as file:
        file.write(b"....body")
        file.seek(0)
        file.write(b"head")
        assert path.read_bytes() == b"old"
    assert contents(tmp_path) == {"x.bin": b"headbody"}


def test_a_relative_text_path_is_enough(tmp_path, monkeypatch):
    """A str without a folder is written where the process stands."""
    monkeypatch.chdir(tmp_path)
    write_bytes_atomically("x.bin", b"1", error=TokenError)
    assert contents(tmp_path) == {"x.bin": b"1"}


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_the_umask_decides_and_is_never_touched(tmp_path, monkeypatch, mask):
    """It belongs to the whole process: setting it for a moment would open other threads' files to the world."""
    before = os.umask(mask)
    try:
        monkeypatch.setattr("os.umask", refusing(errno.EPERM))
        write_bytes_atomically(tmp_path / "x.bin", b"1", error=TokenError)
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o666 & ~mask}


@pytest.mark.parametrize("error", [KeyError("mine"), KeyboardInterrupt(), ShardError("mine.")])
def test_an_exception_inside_passes_unchanged_and_leaves_the_old_file(tmp_path, error):
    """Whatever the caller raises is the caller's."""
    (tmp_path / "x.bin").write_bytes(b"old")

    def write_and_stop():
        with replacing(tmp_path / "x.bin", error=TokenError) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)) as caught:
        write_and_stop()
    assert caught.value is error
    assert contents(tmp_path) == {"x.bin": b"old"}


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "make room or choose another place"),
        (errno.EIO, "choose another name or place"),
        (errno.EACCES, "choose another place, or one that may be written to"),
    ],
)
def test_a_disk_that_refuses_keeps_the_old_file(tmp_path, monkeypatch, call, code, remedy):
    """One sentence of the caller's class, with file and reason, and no rubbish."""
    (tmp_path / "x.bin").write_bytes(b"old")
    monkeypatch.setattr(call, refusing(code))
    with pytest.raises(TokenError) as caught:
        write_bytes_atomically(tmp_path / "x.bin", b"new", error=TokenError)
    reason = os.strerror(code)
    assert str(caught.value) == f"{tmp_path / 'x.bin'}: cannot be written ({reason}); {remedy}."
    assert contents(tmp_path) == {"x.bin": b"old"}


def test_a_folder_that_is_not_there_is_named(tmp_path):
    """The caller's class says it, the hidden file underneath as the system does."""
    with pytest.raises(CheckpointError, match=r"there is no folder .*absent: make it first, or choose"):
        write_bytes_atomically(tmp_path / "absent" / "x.bin", b"", error=CheckpointError)
    with pytest.raises(FileNotFoundError):
        HiddenFile(tmp_path / "absent" / "x.bin")


def test_what_is_no_file_is_not_replaced(tmp_path):
    """A folder, a pipe or a device keeps its name: a superuser would otherwise lose /dev/null."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(TokenError, match=rf"{name}: cannot be written \(a directory, device or pipe"):
            write_bytes_atomically(tmp_path / name, b"x", error=TokenError)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_a_link_is_replaced_not_followed(tmp_path):
    """What it points to may be shared by others."""
    (tmp_path / "shared").write_bytes(b"theirs")
    (tmp_path / "x.bin").symlink_to("shared")
    write_bytes_atomically(tmp_path / "x.bin", b"ours", error=TokenError)
    assert contents(tmp_path) == {"shared": b"theirs", "x.bin": b"ours"}
    assert not (tmp_path / "x.bin").is_symlink()


@pytest.mark.parametrize("name", ["é" * 127, "x" * 255])
def test_the_longest_names_have_room_for_a_hidden_one(tmp_path, name):
    """The hidden name must not be the one that is too long."""
    write_bytes_atomically(tmp_path / name, b"x", error=TokenError)
    assert contents(tmp_path) == {name: b"x"}


@pytest.mark.parametrize("path", ["a\0b", "", "\ud800.bin", "x" * 256])
def test_names_that_cannot_be_are_one_sentence(tmp_path, monkeypatch, path):
    """No ValueError from deep inside, and a message that any terminal can print."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TokenError, match=r"cannot be written \(.*\); choose another name") as caught:
        write_bytes_atomically(path, b"x", error=TokenError)
    str(caught.value).encode("utf-8")
    assert contents(tmp_path) == {}


def test_a_name_that_is_no_utf8_is_written_and_its_refusal_printable(tmp_path, monkeypatch):
    """Such names exist on disks; only messages have to spell them another way."""
    path = tmp_path / os.fsdecode(b"caf\xe9.bin")
    write_bytes_atomically(path, b"x", error=TokenError)
    assert path.read_bytes() == b"x"
    monkeypatch.setattr("os.fsync", refusing(errno.ENOSPC))
    with pytest.raises(TokenError) as caught:
        write_bytes_atomically(path, b"y", error=TokenError)
    assert r"caf\xe9.bin" in str(caught.value)
    str(caught.value).encode("utf-8")


@pytest.mark.parametrize(("code", "kept"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)])
def test_a_folder_that_cannot_be_synced_is_no_failure_but_a_failing_disk_is(
    tmp_path, monkeypatch, code, kept
):
    """Some network filesystems know no such call; EIO is told."""
    monkeypatch.setattr("os.fsync", refusing(code))
    if kept:
        sync_folder(tmp_path)
        return
    with pytest.raises(OSError, match=os.strerror(code)):
        sync_folder(tmp_path)


def test_a_file_that_shrank_is_noticed(tmp_path):
    """Bytes that did not arrive are counted where the writer knows how many there are."""
    hidden = HiddenFile(tmp_path / "x.bin")
    hidden.handle.write(b"123")
    with pytest.raises(OSError, match="3 of 5 bytes reached the disk"):
        hidden.complete(num_bytes=5)
    hidden.discard()
    hidden.discard()
    assert contents(tmp_path) == {}


def test_threads_that_write_one_name_leave_one_whole_file(tmp_path):
    """Every hidden file has a name of its own; the last rename wins whole."""
    writes = [bytes([index]) * 50_000 for index in range(8)]
    threads = [
        threading.Thread(
            target=write_bytes_atomically, args=(tmp_path / "x", w), kwargs={"error": TokenError}
        )
        for w in writes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(contents(tmp_path)) == ["x"]
    assert contents(tmp_path)["x"] in writes


# Writes half a file, says so, and waits for whatever comes.
WRITER = """
import sys
from snac_tok.errors import TokenError
from snac_tok.files import replacing
with replacing(sys.argv[1], error=TokenError) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path):
    """Another process in the middle of writing x.bin."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "x.bin")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"writing\n"
    yield process
    process.kill()
    process.communicate()


def hidden(folder):
    """The names of the hidden files."""
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_what_a_killed_writer_left_is_removed_by_the_next_process_that_writes_there(tmp_path, writer):
    """Under whatever name it writes; the process that was killed has no say."""
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(hidden(tmp_path)) == 1
    write_bytes_atomically(tmp_path / "y.bin", b"1", error=TokenError)
    assert contents(tmp_path) == {"y.bin": b"1"}


def test_a_living_writers_file_is_left_alone_and_becomes_whole(tmp_path, writer):
    """Not by its age or its process number: by the lock that it holds."""
    write_bytes_atomically(tmp_path / "x.bin", b"first", error=TokenError)
    sweep_folder(tmp_path)
    assert [path.name for path in living_writers(tmp_path / "x.bin")] == hidden(tmp_path)
    assert writer.communicate(b"")[0] == b""
    assert writer.returncode == 0
    assert contents(tmp_path) == {"x.bin": b"half"}
    assert living_writers(tmp_path / "x.bin") == set()


def test_sweeping_and_writing_at_once_lose_no_file(tmp_path):
    """A sweep between a file's beginning, its lock and its name costs the writer nothing."""
    done = threading.Event()

    def sweep():
        while not done.is_set():
            sweep_folder(tmp_path)

    sweepers = [threading.Thread(target=sweep) for _ in range(2)]
    for sweeper in sweepers:
        sweeper.start()
    try:
        for number in range(300):
            write_bytes_atomically(tmp_path / f"{number % 7}", b"%d" % number, error=TokenError)
    finally:
        done.set()
        for sweeper in sweepers:
            sweeper.join()
    assert contents(tmp_path) == {f"{number % 7}": b"%d" % number for number in range(293, 300)}


@pytest.mark.parametrize("taken", [1, 3])
def test_a_writer_whose_new_file_is_taken_for_a_leftover_begins_another(tmp_path, monkeypatch, taken):
    """Whoever has the lock first removes the file."""
    real, left = files.fcntl.flock, [taken]

    def flock(handle, how):
        left[0] -= 1
        if left[0] >= 0:
            raise BlockingIOError
        real(handle, how)

    monkeypatch.setattr(files.fcntl, "flock", flock)
    write_bytes_atomically(tmp_path / "x", b"1", error=TokenError)
    assert contents(tmp_path) == {"x": b"1"}


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_files_are_written_and_none_is_swept(tmp_path, monkeypatch, writer, code):
    """Some network filesystems have none: nobody can tell there who is dead."""
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    monkeypatch.setattr(files.fcntl, "flock", refusing(code))
    write_bytes_atomically(tmp_path / "y", b"1", error=TokenError)
    assert len(hidden(tmp_path)) == 1
    assert contents(tmp_path)["y"] == b"1"


def test_another_machines_file_stays_for_a_week(tmp_path):
    """A lock on a network filesystem may not be seen from here."""
    name = f".x.bin.{'0' * 8}-17-{'a' * 8}.tmp"
    (tmp_path / name).write_bytes(b"half")
    sweep_folder(tmp_path)
    assert hidden(tmp_path) == [name]
    old = time.time() - 8 * 24 * 3600
    os.utime(tmp_path / name, (old, old))
    sweep_folder(tmp_path)
    assert hidden(tmp_path) == []


def test_a_sweep_takes_nothing_else(tmp_path):
    """Other programs' hidden files, folders and links stay, whatever they are called."""
    ours = f".x.bin.{files._HOST}-17-{'a' * 8}.tmp"
    (tmp_path / ".y.bin.17-abc.tmp").write_bytes(b"theirs")
    (tmp_path / ours[1:]).write_bytes(b"no hidden file")
    (tmp_path / f".link{ours}").symlink_to(ours[1:])
    (tmp_path / f".folder{ours}").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    (tmp_path / ours).write_bytes(b"half")
    sweep_folder(tmp_path)
    sweep_folder(tmp_path / "absent")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
