"""Shards made by the machines of a Ray cluster: who makes which shard, and nothing else.

    this process ── one shard at a time ──> worker: an actor with CPUs and a share of a GPU ──> OUT/train-….parquet
                 <── batches, then what stands in the published file ──

The published files are the truth. When a worker, its process or its whole machine dies, another worker gets the
shard; it adopts the file if the dead one had published it. A shard that is made twice gets the same bytes and one name.
What is wrong with a recording stays in the shard, as everywhere. An error of ours (a disk, codes that do not fit) stops
the run; any other error, that of a device for one, is the end of that worker alone.

Workers and this process must see SOURCE and OUT under the same paths; that is checked.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from snac_tok.corpus.ray_cluster import connected
from snac_tok.corpus.ray_worker import ANSWERED, ASKED, Failed, Made, Worker, comes
from snac_tok.corpus.worker import BatchDone
from snac_tok.errors import ShardError, SnacTokError, first_line
from snac_tok.files import HiddenFile
from snac_tok.shards.publish import write_errors_named

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from snac_tok.corpus.plan import ShardSpec
    from snac_tok.corpus.progress import ProgressCounter
    from snac_tok.corpus.work import ShardWork
    from snac_tok.shards import CheckedShard

_log = logging.getLogger(__name__)

# A shard that ends so many workers stops the run; so do so many in a row that end before they are ready.
_MOST_DEATHS = 3
# Of waiting for any worker, before the log says so; of one call of `ray.wait`.
_PATIENCE_SECONDS, _WAIT_SECONDS = 60.0, 10.0
_START = "its start"


@dataclass(frozen=True, kw_only=True)
class RayEngine:
    """Makes shards on a Ray cluster; an argument of `shard_folder`.

    Attributes:
        address: of the cluster, as `ray.init` takes it: "HOST:PORT", "auto" for the one that this machine belongs to,
            "local" for one that is started on this machine and ends with the run. A program that is connected already
            stays with its cluster.
        workers: how many; None takes as many as the cluster's machines have room for at the start.
        cpus_per_worker: CPUs of each.
        gpus_per_worker: GPUs of each, also a part of one, 0.25; with more than 0 it encodes there.

    Raises:
        ShardError: numbers that make no sense.

    >>> RayEngine(address="10.0.0.1:6379", gpus_per_worker=0.5).workers is None
    True
    """

    address: str = "auto"
    workers: int | None = None
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ShardError(f"workers is {self.workers}; at least 1 is needed.")
        for name in ("cpus_per_worker", "gpus_per_worker"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ShardError(f"{name} is {getattr(self, name)}; a number from 0 on is needed.")

    def make_shards(
        self, work: ShardWork, specs: Sequence[ShardSpec], counter: ProgressCounter
    ) -> Generator[tuple[int, CheckedShard], None, None]:
        """Make shards in any order; yield the number of each and what stands in its file.

        Raises:
            MissingDependencyError: Ray is not installed.
            ShardError: no cluster, no room in it, folders that are not shared, or as in `encode_shard`.
            SystemExit: SIGTERM came; the workers have been ended.
        """
        if not specs:
            return
        with connected(self.address) as ray:
            num_workers = self.workers or self._room(ray)
            # A worker's current folder is another one. Links stay: on another machine they may lead elsewhere.
            work = replace(work, out=work.out.absolute(), source=work.source.absolute())
            with _Workers(ray, self, work, specs, counter) as workers:
                yield from workers.make_shards(num_workers)

    def _room(self, ray: Any) -> int:
        """Return how many workers the cluster's machines have room for."""
        needed = {"CPU": self.cpus_per_worker, "GPU": self.gpus_per_worker}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        room = sum(
            min((int(has.get(name, 0) / of + 1e-6) for name, of in needed.items() if of), default=1)
            for has in nodes
        )
        if not room:
            raise ShardError(
                f"no machine of the cluster has {self.cpus_per_worker:g} CPUs and {self.gpus_per_worker:g} GPUs for a "
                f"worker ({len(nodes)} are there); ask for less a worker, or say how many workers to wait for."
            )
        return room


@dataclass(kw_only=True)
class _Place:
    """A worker, and what it does: it gets ready (no shard) or makes one."""

    actor: Any
    probe: HiddenFile
    spec: ShardSpec | None = None
    batches: list[BatchDone] = field(default_factory=list)


class _Workers:
    """The workers of one run; a context manager that ends them."""

    def __init__(
        self,
        ray: Any,
        engine: RayEngine,
        work: ShardWork,
        specs: Sequence[ShardSpec],
        counter: ProgressCounter,
    ) -> None:
        self._ray, self._work, self._counter = ray, work, counter
        self._todo, self._num_open = deque(specs), len(specs)
        self._sent = ray.put(work)  # once, however many workers take it
        self._recording = _known_recording(work, specs)
        self._device = "cuda" if engine.gpus_per_worker else None
        self._actor = ray.remote(
            num_cpus=engine.cpus_per_worker,
            num_gpus=engine.gpus_per_worker,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        )(Worker)
        # By the stream of answers that each worker is giving.
        self._places: dict[Any, _Place] = {}
        self._deaths: Counter[str] = Counter()
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for place in self._places.values():
            self._end(place)

    def make_shards(self, num_workers: int) -> Iterator[tuple[int, CheckedShard]]:
        """Give shards to whoever is ready, until all are made."""
        while self._num_open:
            while len(self._places) < min(num_workers, self._num_open):
                self._start_worker()
            ready, _ = self._ray.wait(list(self._places), timeout=_WAIT_SECONDS)
            self._tell_of_waiting()
            for stream in ready:
                place, answer = self._places[stream], self._answer(stream)
                if isinstance(answer, BatchDone):
                    place.batches.append(answer)
                    self._counter.batch_done(answer)
                    continue
                del self._places[stream]
                if isinstance(answer, Exception):
                    self._lose(place, answer)
                    continue
                if isinstance(answer, Made):
                    self._num_open -= 1
                    if answer.was_there and place.spec:
                        self._counter.shard_adopted(place.spec, answer.shard)
                    # Ray's arrays cannot be written to.
                    yield answer.index, copy.deepcopy(answer.shard)
                self._give(place)

    def _start_worker(self) -> None:
        with write_errors_named(self._work.out):
            probe = HiddenFile(self._work.out / "_probe")
            probe.path.write_bytes(ASKED)
        place = _Place(actor=self._actor.remote(), probe=probe)
        arguments = (self._sent, probe.path, self._recording, self._device)
        self._places[place.actor.prepare.options(num_returns="streaming").remote(*arguments)] = place

    def _give(self, place: _Place) -> None:
        """Give a worker a shard, or end it where there is none; if one is needed later, a new one is started."""
        if place.spec is None and not comes(lambda: place.probe.path.read_bytes() == ANSWERED):
            self._end(place)
            raise ShardError(
                f"{self._work.out} is not shared: this machine does not see what a worker writes there; choose a "
                "folder on a filesystem that every machine of the cluster mounts at the same path."
            )
        place.probe.discard()
        self._deaths.pop(_START, None)
        if not self._todo:
            self._end(place)
            return
        place.spec, place.batches = self._todo.popleft(), []
        self._places[place.actor.make.options(num_returns="streaming").remote(place.spec)] = place

    def _answer(self, stream: Any) -> Any:
        """Return the next of a worker's answers, or what ended it."""
        try:
            answer = self._ray.get(next(stream))
        except (self._ray.exceptions.RayError, StopIteration) as error:
            return error
        return answer.error() if isinstance(answer, Failed) else answer

    def _lose(self, place: _Place, error: Exception) -> None:
        """Put what a worker was doing back on the list; raise where another worker would do no better.

        Raises:
            Exception: `error`, if it is ours, or has ended several workers.
        """
        self._end(place)
        self._counter.take_back(place.batches)
        if isinstance(error, SnacTokError):
            raise error
        task = place.spec.info.name if place.spec else _START
        self._deaths[task] += 1
        if self._deaths[task] >= _MOST_DEATHS:
            if not isinstance(error, (self._ray.exceptions.RayError, StopIteration)):
                raise error
            raise ShardError(
                f"{task} ended {_MOST_DEATHS} workers ({_reason(error)}); finished shards are kept: see what the "
                "cluster's logs say, and run the same command again."
            ) from error
        if place.spec:
            self._todo.appendleft(place.spec)
        _log.warning("a worker has ended (%s); another one goes on with %s.", _reason(error), task)

    def _end(self, place: _Place) -> None:
        place.probe.discard()
        with contextlib.suppress(Exception):  # it is dead already, or the cluster is
            self._ray.kill(place.actor)

    def _tell_of_waiting(self) -> None:
        now = time.monotonic()
        if any(place.spec for place in self._places.values()):
            self._told = now
        elif now - self._told > _PATIENCE_SECONDS:
            self._told = now
            _log.warning("no worker is ready yet: they are starting, or the cluster has no room for one now.")


def _known_recording(work: ShardWork, specs: Sequence[ShardSpec]) -> Path | None:
    """Return a recording that is there, so that workers can look for it, too."""
    for item in specs[0].items:
        path = work.source / (item.file or item.path)
        if path.exists():
            return path
    return None


def _reason(error: Exception) -> str:
    """Return the line that says why, of all that Ray says."""
    lines = [line.strip() for line in str(error).splitlines()]
    found = next((line for line in lines if " because " in line), None)
    return found.partition(". ")[0].rstrip(".") if found else first_line(error)
