"""What a Ray cluster's machine runs: an actor that makes one shard after another, and the answers that it gives."""

from __future__ import annotations

import contextlib
import itertools
import pickle
import platform
import queue
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from snac_tok.corpus.planning import collection_of
from snac_tok.corpus.work import loaded_shards, shard_maker
from snac_tok.errors import ShardError, causes_of, first_line
from snac_tok.shards.publish import write_errors_named
from snac_tok.sources.read_ahead import ReadingPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from snac_tok.corpus.plan import ShardSpec
    from snac_tok.corpus.work import ShardWork
    from snac_tok.shards import CheckedShard

# A network filesystem shows another machine's writes within seconds.
_SHARED_SECONDS = 10.0
# What the driver writes into its probe, and a worker in its place.
ASKED, ANSWERED = b"asked", b"answered"


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A worker has read what the driver wrote into OUT, and answered there."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A shard is published."""

    index: int
    shard: CheckedShard
    was_there: bool


@dataclass(frozen=True, kw_only=True)
class Failed:
    """What a worker's call raised, and the causes of it: pickling an exception loses them."""

    links: tuple[Exception, ...]

    @classmethod
    def of(cls, error: BaseException | None) -> Failed:
        """Take an exception apart."""
        exceptions = (link for link in causes_of(error) if isinstance(link, Exception))
        return cls(links=tuple(map(_picklable, exceptions)))

    def error(self) -> Exception:
        """Return the exception, with its causes."""
        for link, cause in itertools.pairwise(self.links):
            link.__cause__ = cause
        return self.links[0]


def _picklable(error: Exception) -> Exception:
    try:
        same: Exception = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - exceptions of other libraries do what they like
        return RuntimeError(f"{type(error).__name__}: {first_line(error)}")
    return same


class Worker:
    """An actor: makes one shard after another, and tells of each batch as it is done."""

    def prepare(
        self, work: ShardWork, probe: Path, recording: Path | None, device: str | None
    ) -> Iterator[Any]:
        """See that this machine has what the driver has, and get the encoder ready."""
        try:
            if device:  # which may decide about precision
                work.encoder.codec.to(device)  # type: ignore[attr-defined] # of `SnacTokenizer`
            self._work = _checked(work, probe, recording)
            self._pool = ReadingPool(work.processes) if work.processes.jobs else None
            yield Ready()
        except Exception as error:  # noqa: BLE001 - raised where the driver is
            yield Failed.of(error)

    def make(self, spec: ShardSpec) -> Iterator[Any]:
        """Yield each batch, then the shard or what went wrong."""
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._make, args=(spec, answers), daemon=True).start()
        while True:
            answer = answers.get()
            yield answer
            if isinstance(answer, (Made, Failed)):
                return

    def _make(self, spec: ShardSpec, answers: queue.SimpleQueue[Any]) -> None:
        try:
            make = shard_maker(self._work, answers.put)
            for _, files, late in loaded_shards(self._work, [spec], self._pool):
                shard = late or make(spec, files=files)
            answers.put(Made(index=spec.info.index, shard=shard, was_there=late is not None))
        except Exception as error:  # noqa: BLE001 - raised where the driver is
            answers.put(Failed.of(error))


def _checked(work: ShardWork, probe: Path, recording: Path | None) -> ShardWork:
    """Return the work if this machine sees the same folders and would make the same codes.

    Raises:
        ShardError: it does not.
    """
    here = platform.node()
    if not comes(lambda: probe.read_bytes() == ASKED):
        raise ShardError(
            f"{work.out} is not shared: the worker on {here} does not see what this machine writes there; choose a "
            "folder on a filesystem that every machine of the cluster mounts at the same path."
        )
    if recording and not comes(recording.exists):
        raise ShardError(
            f"{work.source} is not shared: the worker on {here} finds no {recording.name} there; put the recordings on "
            "a filesystem that every machine of the cluster mounts at the same path."
        )
    found = replace(collection_of(work.encoder, None), channels=work.collection.channels)
    if names := work.collection.differences(found):
        raise ShardError(
            f"the worker on {here} would make other codes ({', '.join(names)}); install the same packages on every "
            "machine of the cluster."
        )
    with write_errors_named(probe):
        probe.write_bytes(ANSWERED)
    return work


def comes(happens: Callable[[], bool]) -> bool:
    """Wait for what another machine has written."""
    until = time.monotonic() + _SHARED_SECONDS
    while True:
        with contextlib.suppress(OSError):
            if happens():
                return True
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
