"""When a capture may be tried."""

from types import SimpleNamespace

import pytest

from snac_tok.codec import capture_attempts
from snac_tok.codec.capture_attempts import MOST_REFUSED, CaptureAttempts


@pytest.fixture
def clock(monkeypatch):
    """A time that goes on when a test says so."""
    clock = SimpleNamespace(now=500.0)
    monkeypatch.setattr(capture_attempts, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_up_to_the_limit_and_while_something_works():
    """Neither more graphs than asked for, nor tries without end."""
    attempts = CaptureAttempts(limit=2)
    assert attempts.may_capture(graphs=1, refused=MOST_REFUSED - 1)
    assert not attempts.may_capture(graphs=2, refused=0)
    assert not attempts.may_capture(graphs=0, refused=MOST_REFUSED)
    assert not CaptureAttempts(limit=0).may_capture(graphs=0, refused=0)


def test_waits_for_memory_get_longer_and_end(clock):
    """One, two, four and eight minutes; then never again, unless graphs were freed."""
    attempts = CaptureAttempts(limit=2)
    for minutes in (1, 2, 4, 8):
        attempts.lacked_memory()
        clock.now += 60 * minutes - 1
        assert not attempts.may_capture(graphs=0, refused=0)
        clock.now += 1
        assert attempts.may_capture(graphs=0, refused=0)
    attempts.lacked_memory()
    clock.now += 1e9
    assert not attempts.may_capture(graphs=0, refused=0)
    attempts.begin_anew()
    assert attempts.may_capture(graphs=0, refused=0)


def test_frozen_lasts():
    """Whatever else happens."""
    attempts = CaptureAttempts(limit=2)
    attempts.frozen = True
    attempts.begin_anew()
    assert not attempts.may_capture(graphs=0, refused=0)
