"""What decoding and encoding many streams at once have in common: streams by name, and steps that lose nothing."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from snac_tok.codec.chunked import chunk_latents, num_threads
from snac_tok.codec.state_tables import StateRow, StateTables
from snac_tok.codec.threads import run_in_order
from snac_tok.errors import TokenError
from snac_tok.streaming.copies import CopyableStream

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from snac_tok.codec.chunked import ChunkedNetwork
    from snac_tok.codec.unchanged import Version

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One stream. It is replaced as a whole when it advances, and its row then written to: a failed call leaves both.

    Attributes:
        version: of the weights that it began with.
        row: where the network's state is.
        ending: whether its last piece has been pushed.
        ended: whether all of it has been through the network.
        finished: what has come out of the network and is not returned yet.
    """

    version: Version | None = None
    row: StateRow = field(default_factory=StateRow)
    ending: bool = False
    ended: bool = False
    finished: tuple[Any, ...] = ()

    @property
    def is_ready(self) -> bool:
        """Whether a step would advance it."""
        raise NotImplementedError


S = TypeVar("S", bound=Stream)


class StreamsByName(CopyableStream, Generic[S]):
    """Open streams by name."""

    def __init__(self) -> None:
        self._streams: dict[Hashable, S] = {}
        self._states = StateTables()

    def __len__(self) -> int:
        return len(self._streams)

    def __contains__(self, name: Hashable) -> bool:
        try:
            return name in self._streams
        except TypeError as error:
            raise TokenError(
                f"a stream's name must be hashable, such as a string, a number or a tuple of them; got {name!r}."
            ) from error

    def abort(self, name: Hashable) -> None:
        """Forget a stream at once.

        Raises:
            TokenError: there is no such stream.
        """
        self._states.free(self._known(name).row)
        del self._streams[name]

    def _own_parts(self) -> dict[str, Any]:
        self._check_pickling()
        return {"_streams": {}, "_states": StateTables()}

    def _check_pickling(self) -> None:
        if self._streams:
            raise TokenError(
                f"a {type(self).__name__} with open streams cannot be copied or pickled; end or abort them and step() "
                "first, or make another one."
            )

    def _check_free(self, name: Hashable) -> None:
        if name in self:
            raise TokenError(f"a stream {name!r} is open; end it, or take another name.")

    def _known(self, name: Hashable) -> S:
        if name not in self:
            raise TokenError(f"there is no open stream {name!r}.")
        return self._streams[name]

    def _open_stream(self, name: Hashable) -> S:
        stream = self._known(name)
        if stream.ending:
            raise TokenError(f"the stream {name!r} was ended; step() gives the rest of it.")
        return stream

    def _ready(self) -> list[Hashable]:
        return [name for name, stream in self._streams.items() if stream.is_ready]

    def _take_finished(self) -> dict[Hashable, tuple[Any, ...]]:
        """Return what has come out of the network since the last step, and forget the streams that have ended."""
        found = {name: stream.finished for name, stream in self._streams.items() if stream.finished}
        self._streams = {
            name: replace(stream, finished=()) if stream.finished else stream
            for name, stream in self._streams.items()
            if not stream.ended
        }
        return found

    def _groups(self, names: Sequence[Hashable], alike: Callable[[S], Any]) -> list[list[Hashable]]:
        """Group streams of one table of states that are alike otherwise, too.

        Each group has the order of its rows: rows that follow each other are read without a copy.
        """
        groups: dict[Any, list[Hashable]] = {}
        for name in names:
            stream = self._streams[name]
            groups.setdefault((id(stream.row.table), alike(stream)), []).append(name)
        return [sorted(group, key=lambda name: self._streams[name].row.index) for group in groups.values()]


def in_parts(
    network: ChunkedNetwork, count: int, *, latents: int, run: Callable[[slice], T]
) -> list[tuple[slice, T]]:
    """Run a group of streams through a network, as many at once as suit the device, and a part a thread.

    Args:
        network: an encoder or a decoder.
        count: how many streams.
        latents: how many each adds.
        run: takes a part of them.

    Returns:
        the parts and what `run` gave for each, once all are done.
    """
    most = max(1, chunk_latents(network, multiple=latents) // latents)
    parts = max(-(-count // most), min(num_threads(network), count // 2), 1)
    cuts = [count * at // parts for at in range(parts + 1)]
    slices = [slice(start, end) for start, end in itertools.pairwise(cuts)]
    jobs = ((lambda part=part: run(part)) for part in slices)
    return list(zip(slices, run_in_order(jobs, threads=num_threads(network)), strict=True))


def note_failure(error: BaseException, names: Sequence[Hashable]) -> None:
    """Say with an error which streams were under way, and that it cost them nothing."""
    error.add_note(f"while streams {list(names)!r} advanced; nothing of any stream is lost.")
