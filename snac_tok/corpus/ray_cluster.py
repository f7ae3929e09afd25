"""Connects to a Ray cluster, or says in one sentence why there is none."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from snac_tok.errors import MissingDependencyError, ShardError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_CONNECT_SECONDS = 10.0
_LONGEST_REASON = 300
_REMEDY = "start one (ray start --head), or name its HOST:PORT."
# How a client of gRPC greets, with empty settings, and the kind of frame that every server answers with.
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_HTTP2_SETTINGS = b"\x04"


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """Lend the module `ray`, connected to a cluster; a program that was connected before stays so.

    SIGTERM ends what is done meanwhile like Control-C, and then the process with exit code 143; a program that has a
    handler of its own keeps it.

    Raises:
        MissingDependencyError: Ray is not installed.
        ShardError: there is no cluster.
        SystemExit: SIGTERM came.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError(
            "the engine ray needs Ray, which is not installed: install snac_tok's extra 'ray'."
        ) from error
    if ray.is_initialized():
        yield ray
        return
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or _latest_here()
    if address not in ("auto", "local"):
        _check_reachable(address)
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise ShardError(f"{_no_cluster(address)} ({first_line(error)}); {_REMEDY}") from error
    except (ValueError, RuntimeError) as error:  # other versions of Ray or Python there, for one
        reason = shorten(str(error), _LONGEST_REASON, placeholder="…").rstrip(".")
        raise ShardError(f"cannot work with the Ray cluster at {address}: {reason}.") from error
    with _sigterm_handled(before):
        try:
            yield ray
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _sigterm_handled(before: Any) -> Iterator[None]:
    """Replace the handler of `ray.init`, which prints a stack dump and ends the process in the middle of Ray's calls.

    Args:
        before: what handled SIGTERM before `ray.init`.

    Raises:
        SystemExit: SIGTERM came.
    """
    if threading.current_thread() is not threading.main_thread():  # no other can have handlers
        yield
        return
    asked: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        if len(asked) == 1:
            raise KeyboardInterrupt  # Ray's calls let it through, but make an error of theirs of SystemExit

    signal.signal(signal.SIGTERM, stop if before in (None, signal.SIG_DFL) else before)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
        if asked:
            raise SystemExit(128 + signal.SIGTERM)


def _latest_here() -> str:
    """Return the address of the cluster that was last started on this machine; it may have ended since."""
    note = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")  # noqa: S108 - Ray's own choice
    with contextlib.suppress(OSError):
        return note.read_text(encoding="utf-8").strip() or "auto"
    return "auto"


def _no_cluster(address: str) -> str:
    return (
        "no Ray cluster runs on this machine" if address == "auto" else f"no Ray cluster answers at {address}"
    )


def _check_reachable(address: str) -> None:
    """See that a gRPC server answers, because Ray waits for minutes where none does, and then ends the process.

    Raises:
        ShardError: none does.
    """
    if address.startswith("ray://"):
        raise ShardError(
            f"{address} is for Ray's client, which cannot be used here; run the command on a machine of the cluster, "
            "by itself or as `ray job submit`."
        )
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        raise ShardError(f"{address!r} is no address of a Ray cluster; {_REMEDY}")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS) as connection:
            connection.sendall(_HTTP2_PREFACE)
            connection.settimeout(_CONNECT_SECONDS)
            if connection.recv(4)[3:] != _HTTP2_SETTINGS:
                raise ShardError(f"what answers at {address} is no Ray cluster; {_REMEDY}")
    except (OSError, OverflowError) as error:
        raise ShardError(f"{_no_cluster(address)} ({first_line(error)}); {_REMEDY}") from error
