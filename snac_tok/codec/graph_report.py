"""What CUDA graphs have done, in figures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class GraphReport:
    """What graphs have done so far.

    Attributes:
        graphs: how many there are.
        capture_seconds: how long capturing took, with the runs before it.
        replayed_chunks: how many chunks ran as a graph.
        other_chunks: how many did not: starts, ends, first of their shape, too large, beyond the limit.
        frozen: whether no more are captured (`SNAC.freeze_cuda_graphs`).
    """

    graphs: int
    capture_seconds: float
    replayed_chunks: int
    other_chunks: int
    frozen: bool = False

    def __str__(self) -> str:
        """Return it for people."""
        return (
            f"{self.graphs} captured in {self.capture_seconds:.1f} s; {self.replayed_chunks:,} chunks ran as graphs, "
            f"{self.other_chunks:,} without{'; no more are captured' if self.frozen else ''}"
        )

    def __add__(self, other: GraphReport) -> GraphReport:
        """Return the report of both networks of a codec."""
        return GraphReport(
            graphs=self.graphs + other.graphs,
            capture_seconds=self.capture_seconds + other.capture_seconds,
            replayed_chunks=self.replayed_chunks + other.replayed_chunks,
            other_chunks=self.other_chunks + other.other_chunks,
            frozen=self.frozen and other.frozen,
        )
