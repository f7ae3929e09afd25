"""The bar: when it is shown, and that messages do not run into it."""

import io
import sys

import pytest

from snac_tok.cli.messages import say
from snac_tok.cli.progress import LongProgress, ProgressBar, is_wanted
from snac_tok.corpus import Progress


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self):
        """Say so."""
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that makes stderr a terminal; pytest puts its own there after the fixtures."""

    def make():
        monkeypatch.setattr(sys, "stderr", Terminal())
        return sys.stderr

    return make


def test_a_terminal_has_a_bar_for_several_things(terminal):
    """One is no work to wait for; --progress and --no-progress have the last word."""
    terminal()
    assert is_wanted(None, things=2)
    assert not is_wanted(None, things=1)
    assert not is_wanted(False, things=2)
    assert is_wanted(True, things=1)


def test_elsewhere_there_is_none_unless_asked(monkeypatch):
    """A log file needs no bar."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not is_wanted(None, things=2)
    assert is_wanted(True, things=2)


def test_messages_do_not_run_into_the_bar(terminal):
    """The bar is wiped before a line and drawn again after it."""
    stderr = terminal()
    with ProgressBar("encoding", unit="B", shown=True, total=2000) as bar:
        bar.advance(1000)
        say("a.wav: done")
        bar.advance(1000)
    before, after = stderr.getvalue().split("snac-tok: a.wav: done\n")
    assert before.endswith("\r")
    assert before.rstrip("\r").rsplit("\r", 1)[-1].strip() == ""
    assert "2.00k/2.00k" in after


def test_a_place_of_a_total_with_a_note(terminal):
    """For work that counts itself."""
    stderr = terminal()
    with ProgressBar("encoding", unit="B", shown=True) as bar:
        bar.show(done=50, total=200, note="1/4 clips")
        bar.show(done=200, total=200, note="4/4 clips")
    assert "100%" in stderr.getvalue()
    assert "4/4 clips" in stderr.getvalue()


def test_a_hidden_bar_writes_nothing(terminal):
    """Not even an empty line."""
    stderr = terminal()
    with ProgressBar("decoding", unit="record", shown=False, total=2) as bar:
        bar.advance(2)
    assert stderr.getvalue() == ""


def test_a_log_file_gets_a_line_now_and_then(monkeypatch):
    """Files, failures, hours, speed and the remaining time; nothing where there is a bar, or lines are not wanted."""
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    state = Progress(
        done_files=30,
        total_files=40,
        done_bytes=300,
        total_bytes=400,
        num_failures=2,
        duration_seconds=7200.0,
    )
    with LongProgress("encoding", bar=False, line_seconds=0) as shown:
        shown.show(state)
    (line,) = stderr.getvalue().splitlines()
    assert line.startswith("snac-tok: encoding: 30/40 clips, 2 failed, 2 h 00 min of sound, ")
    assert "times real time" in line
    assert line.endswith(" left")
    for options in ({"line_seconds": 60}, {"line_seconds": 0, "lines": False}):
        with LongProgress("encoding", bar=False, **options) as shown:
            shown.show(state)
    assert len(stderr.getvalue().splitlines()) == 1
