"""States of many streams of one network, a row a stream in one tensor a layer: any of them advance in one call.

Streams whose layers hold equally much, in one dtype and on one device, share a table. A stream changes tables during
its first few frames and, where there is attention, within a window; then it stays.

    table of one signature    layer 1 (rows, C, n)   layer 2 (rows, C', n')   …
        row 0  stream a       |aaaaaaa|              |aaa|
        row 1  stream b       |bbbbbbb|              |bbb|
        row 2  free

When all streams of a table advance, what the layers keep then becomes the table, and nothing is copied. When some do,
their rows are copied out, and back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from snac_tok.codec.state import StreamState, rows_like
from snac_tok.codec.transfers import to_device

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence


@dataclass(eq=False)
class StateRow:
    """One stream's place.

    Attributes:
        table: where its state is; None before its first chunk.
        index: of its row there.
        positions: per noise block, the absolute position of its next output.
    """

    table: _Table | None = None
    index: int = 0
    positions: list[int] = field(default_factory=list)


@dataclass(eq=False)
class _Table:
    """The states of streams of one signature.

    Attributes:
        layers: per stateful layer (rows, C, n); None where nothing is kept.
        rows: the streams' rows by index.
    """

    layers: list[torch.Tensor | None]
    rows: dict[int, StateRow] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        return next((len(layer) for layer in self.layers if layer is not None), 0)

    def read(self, indices: Sequence[int]) -> list[torch.Tensor | None]:
        """Return the state of some rows, without a copy if they follow each other."""
        first, count = indices[0], len(indices)
        if list(indices) == list(range(first, first + count)):
            return [None if layer is None else layer[first : first + count] for layer in self.layers]
        index = self._index(indices)
        return [None if layer is None else layer.index_select(0, index) for layer in self.layers]

    def write(self, indices: Sequence[int], kept: Sequence[torch.Tensor | None]) -> None:
        """Write the state of some rows; the table grows if they lie behind its end."""
        if max(indices) >= self.num_rows:
            self.layers = [_grown(layer, max(indices) + 1) for layer in self.layers]
        index = self._index(indices)
        for layer, new in zip(self.layers, kept, strict=True):
            if layer is not None and new is not None:
                layer.index_copy_(0, index, new)

    def _index(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the indices where the layers are, sent once and not waited for."""
        device = next((layer.device for layer in self.layers if layer is not None), torch.device("cpu"))
        return to_device(torch.tensor(indices, device="cpu"), device)

    def apart(self, kept: Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
        """Return what layers keep, with copies of what still lies in this table, where others may write to it."""
        return [
            new.clone() if new is not None and layer is not None and _share_memory(new, layer) else new
            for new, layer in zip(kept, self.layers, strict=True)
        ]

    def free_indices(self, count: int) -> list[int]:
        """Return the first `count` indices that no stream has."""
        indices = range(len(self.rows) + count)
        return [index for index in indices if index not in self.rows][:count]


class StateTables:
    """The states of the streams of one network."""

    def __init__(self) -> None:
        self._tables: dict[Hashable, _Table] = {}

    @property
    def num_values(self) -> int:
        """How many values all tables hold, free rows included."""
        tables = self._tables.values()
        return sum(layer.numel() for table in tables for layer in table.layers if layer is not None)

    def read(self, rows: Sequence[StateRow]) -> StreamState:
        """Return the states of streams of one table as that of a batch, whose positions count from here.

        It shares memory with the table: a chunk may be run through it, because layers replace what they keep.
        """
        table = rows[0].table
        if table is None:
            return StreamState()
        return StreamState(
            kept=table.read([row.index for row in rows]), positions=[0] * len(rows[0].positions)
        )

    def write(self, rows: Sequence[StateRow], batch: StreamState) -> None:
        """Keep the states of streams after a chunk was run through what `read` returned for them."""
        key = _kind_of(batch)
        table, before = self._tables.get(key), rows[0].table
        kept = batch.kept if before is None else before.apart(batch.kept)
        if table is None or (table is before and len(rows) == len(table.rows)):
            table, indices = _Table(layers=list(kept)), list(range(len(rows)))
        else:
            indices = [row.index for row in rows] if table is before else table.free_indices(len(rows))
            table.write(indices, kept)
        self._tables[key] = table
        for row, index in zip(rows, indices, strict=True):
            self._place(row, table, index)
            state = StreamState(positions=row.positions)
            state.advance_all(batch.positions)
            row.positions = state.positions

    def free(self, row: StateRow) -> None:
        """Forget a stream's state."""
        self._place(row, None, 0)

    def _place(self, row: StateRow, table: _Table | None, index: int) -> None:
        before = row.table
        if before is table and row.index == index:
            return
        if before is not None:
            del before.rows[row.index]
            if not before.rows:
                self._tables = {key: each for key, each in self._tables.items() if each is not before}
        row.table, row.index = table, index
        if table is not None:
            table.rows[index] = row


def _kind_of(state: StreamState) -> Hashable:
    """Return what states of one table have in common: a codec that was moved keeps the same lengths elsewhere."""
    first = next((kept for kept in state.kept if kept is not None), None)
    return state.signature(), first is not None and (first.dtype, first.device)


def _share_memory(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(a.untyped_storage()._cdata == b.untyped_storage()._cdata)  # noqa: SLF001 - tensors without values have it, too


def _grown(layer: torch.Tensor | None, num_rows: int) -> torch.Tensor | None:
    """Return a layer's table with room for as many rows, twice as many as before at least."""
    if layer is None:
        return None
    grown = rows_like(layer, max(num_rows, 2 * len(layer)))
    grown[: len(layer)] = layer
    return grown
