"""What a call of the tokenizer returns, and how rows of unequal length become one array."""

from __future__ import annotations

import reprlib
from collections import UserDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
import torch

from snac_tok.errors import TokenError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

ReturnTensors: TypeAlias = Literal["np", "pt"]
Padding: TypeAlias = bool | Literal["longest", "max_length"]


class AudioTokens(UserDict[str, Any]):
    """`input_ids` and `attention_mask`, as keys and as attributes.

    Attributes:
        num_samples: samples of each clip at the codec's rate, before padding: what decoding trims to. It is an
            attribute and not a key, so that `model(**batch)` works.
    """

    def __init__(self, data: Mapping[str, Any], *, num_samples: list[int] | None = None) -> None:
        super().__init__(data)
        self.num_samples = num_samples or []

    def __getattr__(self, name: str) -> Any:
        # Only reached where no attribute exists; `data` itself is missing while unpickling.
        if name == "data" or name not in self.data:
            raise AttributeError(name)
        return self.data[name]

    def __or__(self, other: Any) -> Any:
        joined = super().__or__(other)
        if isinstance(joined, AudioTokens):
            joined.num_samples = self.num_samples
        return joined

    def to(self, device: str | torch.device) -> Self:
        """Move tensors to a device; anything else stays."""
        for name, value in self.data.items():
            if isinstance(value, torch.Tensor):
                self.data[name] = value.to(device)
        return self


def assembled(
    rows: list[npt.NDArray[np.int64]],
    padding: Padding,
    max_length: int | None,
    *,
    pad_values: npt.NDArray[np.int64] | None,
    side: Literal["right", "left"],
    kind: ReturnTensors | None,
) -> tuple[Any, Any]:
    """Return rows of ids and their attention masks, filled up and in the form that the caller asked for.

    Raises:
        TokenError: as `target_length` and `as_returned`.
    """
    masks = [np.ones(row.shape[-1], dtype=np.int64) for row in rows]
    if pad_values is not None:
        length = target_length(rows, padding, max_length)
        rows = pad_rows(rows, length, values=pad_values, side=side)
        masks = pad_rows(masks, length, values=np.zeros((), np.int64), side=side)
    return as_returned(rows, kind), as_returned(masks, kind)


def unpadded_rows(batch: Mapping[str, Any], *, parallel: bool) -> list[Any]:
    """Return a batch's rows of ids without padding, by its attention mask; a recording by itself is one row.

    Raises:
        TokenError: no `input_ids`; or masks of another number or length than the rows, or with padding among the ids.
    """
    if "input_ids" not in batch:
        raise TokenError(
            f"there are {', '.join(map(repr, batch)) or 'no keys'} and no 'input_ids'; those are decoded."
        )
    ids, masks = batch["input_ids"], batch.get("attention_mask")
    if 0 < _num_dimensions(ids) <= (2 if parallel else 1) and len(ids):
        ids, masks = [ids], None if masks is None else [masks]
    rows = rows_of(ids, name="input_ids")
    if masks is None:
        return rows
    masks = rows_of(masks, name="attention_mask")
    if len(masks) != len(rows):
        raise TokenError(
            f"the attention_mask has {len(masks)} rows for {len(rows)} rows of ids; each needs one."
        )
    return [_unpadded(at, *pair) for at, pair in enumerate(zip(rows, masks, strict=True))]


def rows_of(values: Any, *, name: str) -> list[Any]:
    """Return the rows of an argument in a list.

    Raises:
        TokenError: naming the argument, which has none.
    """
    try:
        return list(values)
    except TypeError as error:
        raise TokenError(
            f"{name} is {reprlib.repr(values)}; rows, one for each recording, are needed."
        ) from error


def _unpadded(at: int, row: Any, mask: Any) -> Any:
    """Return row number `at` (…, N) without the padding in front of it and behind it, by its mask (N,)."""
    # Lists are cut as arrays: only those have a last dimension.
    row = row if hasattr(row, "ndim") else np.asarray(row)
    kept = np.asarray(mask.cpu() if hasattr(mask, "cpu") else mask) != 0
    if kept.shape != row.shape[-1:]:
        raise TokenError(
            f"row {at}: the attention_mask has shape {kept.shape} for ids of shape {tuple(row.shape)}; it needs one "
            "number for each step."
        )
    places = np.flatnonzero(kept)
    span = slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0)
    if not kept[span].all():
        raise TokenError(
            f"row {at}: the attention_mask has padding among the ids, at position {span.start + kept[span].argmin()}; "
            "it may stand in front of them and behind them only: cut out what is not to be heard."
        )
    return row[..., span]


def lengths_in(batch: Mapping[str, Any]) -> list[Any] | None:
    """Return the samples of each row: what a call noted, or the column of a data set; None where neither is there."""
    found = getattr(batch, "num_samples", None)
    if found is None or not len(found):
        found = batch.get("num_samples")
    if found is None:
        return None
    return list(found) if np.ndim(found) else [found]


def _num_dimensions(ids: Any) -> int:
    if hasattr(ids, "ndim"):
        return int(ids.ndim)
    if not hasattr(ids, "__len__"):
        return 0
    return 1 + (_num_dimensions(ids[0]) if len(ids) else 0)


def one_row(ids: Any, *, parallel: bool) -> Any:
    """Return the ids of one recording without a batch dimension of one.

    Raises:
        TokenError: several recordings.
    """
    if isinstance(ids, Mapping):
        rows = unpadded_rows(ids, parallel=parallel)
        if len(rows) != 1:
            raise TokenError(f"decode takes one recording, these are {len(rows)}; use batch_decode.")
        ids = rows[0]
    try:
        array = ids if hasattr(ids, "ndim") else np.asarray(ids)
    except ValueError as error:
        raise TokenError(
            "lists of unequal length are several recordings; decode takes one, batch_decode many."
        ) from error
    most, needed = (2, "(slots, steps) or (1, slots, steps)") if parallel else (1, "(N,) or (1, N)")
    if array.ndim == most + 1 and array.shape[0] == 1:
        return array[0]
    if array.ndim > most:
        raise TokenError(
            f"decode takes one recording, {needed}, got ids of shape {tuple(array.shape)}; use batch_decode."
        )
    return ids


def target_length(rows: Sequence[npt.NDArray[np.int64]], padding: Padding, max_length: int | None) -> int:
    """Return the length that `padding` asks rows (…, N) to be filled up to.

    Raises:
        TokenError: no or an unknown kind of padding, no max_length where it is needed, or a row that is longer.
    """
    longest = max((row.shape[-1] for row in rows), default=0)
    if padding in (True, "longest"):
        return longest
    if padding != "max_length" or max_length is None:
        raise TokenError(
            f'padding is {padding!r} and max_length {max_length!r}; True, "longest", or "max_length" with a '
            "number of ids is possible."
        )
    if longest > max_length:
        raise TokenError(
            f"a clip has {longest} ids, max_length is {max_length}; split the clip or allow more."
        )
    return max_length


def pad_rows(
    rows: Sequence[npt.NDArray[np.int64]],
    length: int,
    *,
    values: npt.NDArray[np.int64],
    side: Literal["right", "left"],
) -> list[npt.NDArray[np.int64]]:
    """Fill rows (…, N) with `values` (…) to (…, length)."""
    padded = []
    for row in rows:
        filling = np.broadcast_to(values[..., None], (*row.shape[:-1], length - row.shape[-1]))
        parts = (row, filling) if side == "right" else (filling, row)
        padded.append(np.concatenate(parts, axis=-1))
    return padded


def as_returned(rows: Sequence[npt.NDArray[np.int64]], kind: ReturnTensors | None) -> Any:
    """Return rows as lists, one numpy array or one tensor.

    Raises:
        TokenError: an unknown kind, or rows of unequal length for one array.
    """
    if kind is None:
        return [row.tolist() for row in rows]
    if kind not in ("np", "pt"):
        raise TokenError(f'return_tensors is {kind!r}; it must be "np", "pt" or None.')
    lengths = {row.shape[-1] for row in rows}
    if len(lengths) > 1:
        raise TokenError(f"the clips have {sorted(lengths)} ids; ask for padding=True or for lists.")
    stacked = np.stack(rows) if rows else np.zeros((0, 0), np.int64)
    return stacked if kind == "np" else torch.from_numpy(stacked)
