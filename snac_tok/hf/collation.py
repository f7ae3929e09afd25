"""Rows of ids to batches for a language model: padded, or packed to a context length."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch

from snac_tok.errors import TokenError
from snac_tok.prompts.prompt_format import IGNORED

Row = Mapping[str, Any]
# What to do about a row that is longer than the context.
TooLong = Literal["raise", "drop", "cut"]


@dataclass(frozen=True, kw_only=True)
class AudioTextCollator:
    """Pads rows of `input_ids` and `labels` to one length: the `data_collator` of a `Trainer`.

    Attributes:
        pad_token_id: what fills `input_ids`.
        pad_to_multiple_of: round the length up to a multiple, such as 8 for tensor cores; None for none.
        padding_side: "right" for training, "left" for prompts, where generation goes on.

    Raises:
        TokenError: `pad_to_multiple_of` is no whole number from 1.

    Example:
        >>> batch = AudioTextCollator(pad_token_id=0)([{"input_ids": [5, 6, 7]}, {"input_ids": [8]}])
        >>> batch["input_ids"].tolist(), batch["labels"].tolist()[1]
        ([[5, 6, 7], [8, 0, 0]], [8, -100, -100])
    """

    pad_token_id: int
    pad_to_multiple_of: int | None = None
    padding_side: Literal["right", "left"] = "right"

    def __post_init__(self) -> None:
        multiple = self.pad_to_multiple_of
        if multiple is not None and (not isinstance(multiple, (int, np.integer)) or multiple < 1):
            raise TokenError(
                f"pad_to_multiple_of is {multiple!r}; a whole number from 1 is needed, or None for no rounding."
            )

    def __call__(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """Return `input_ids`, `labels` and `attention_mask` or, where rows have them, `position_ids`: all (B, T) int64.

        Rows without `labels` are their own. Other columns are left out. Packed rows come without a mask, because
        transformers tells documents apart by their positions only where there is none (and no cache: train with
        `use_cache=False`).

        Raises:
            TokenError: no rows, a row without ids, or labels of another length than the ids.
        """
        if not rows:
            raise TokenError("there are no rows to collate; a batch needs at least one.")
        ids = [_line(row, "input_ids", at) for at, row in enumerate(rows)]
        labels = [_labels(row, line, at) for at, (row, line) in enumerate(zip(rows, ids, strict=True))]
        length = max(line.size for line in ids)
        if self.pad_to_multiple_of is not None:
            length += -length % self.pad_to_multiple_of
        batch = {
            "input_ids": self._padded(ids, length, self.pad_token_id),
            "labels": self._padded(labels, length, IGNORED),
        }
        if all("position_ids" in row for row in rows):
            positions = [_line(row, "position_ids", at) for at, row in enumerate(rows)]
            # Padding counts from 0 like a document of its own, so that it joins none.
            batch["position_ids"] = self._padded(positions, length, None)
        else:
            batch["attention_mask"] = self._padded([np.ones(line.size, np.int64) for line in ids], length, 0)
        return batch

    def _padded(self, rows: Sequence[np.ndarray[Any, Any]], length: int, value: int | None) -> torch.Tensor:
        lines = []
        for row in rows:
            missing = length - row.size
            fill = np.arange(missing) if value is None else np.full(missing, value)
            lines.append(np.concatenate((row, fill) if self.padding_side == "right" else (fill, row)))
        return torch.from_numpy(np.stack(lines).astype(np.int64))


def pack_sequences(
    rows: Iterable[Row], context_length: int, *, too_long: TooLong = "raise"
) -> list[dict[str, np.ndarray[Any, Any]]]:
    """Put whole rows together into few lines of at most `context_length` ids: each where it fits tightest.

    Position ids begin at 0 in every row, which is how transformers' flash and flex attention know where one
    document ends; the first label of each row is -100, since no document predicts the next one's beginning.

    Args:
        rows: with `input_ids` and, where they differ, `labels`.
        context_length: of the model.
        too_long: a longer row is refused, left out, or cut at the end.

    Returns:
        lines of `input_ids`, `labels`, `position_ids` (n,) int64; and `document_lengths`, one for each row in it.

    Raises:
        TokenError: a row without ids or longer than the context, or no possible context.

    Example:
        >>> [line["input_ids"].tolist() for line in pack_sequences([{"input_ids": [1, 2, 3]}, {"input_ids": [4, 5]},
        ...     {"input_ids": [6]}], context_length=4)]
        [[1, 2, 3, 6], [4, 5]]
    """
    if context_length < 1:
        raise TokenError(f"context_length is {context_length}; it must be 1 or more.")
    if too_long not in get_args(TooLong):
        raise TokenError(f"too_long is {too_long!r}; it must be one of {', '.join(get_args(TooLong))}.")
    lines: list[list[tuple[Any, Any]]] = []
    room: list[tuple[int, int]] = []  # what is free in each line, and its number; the smallest first
    for at, row in enumerate(rows):
        fitted = _fitted(row, at, context_length, too_long)
        if fitted is None:
            continue
        size = fitted[0].size
        tightest = bisect.bisect_left(room, (size, 0))
        free, place = room.pop(tightest) if tightest < len(room) else (context_length, len(lines))
        if place == len(lines):
            lines.append([])
        lines[place].append(fitted)
        bisect.insort(room, (free - size, place))
    return [_joined(line) for line in lines]


def _fitted(row: Row, at: int, context_length: int, too_long: TooLong) -> tuple[Any, Any] | None:
    ids = _line(row, "input_ids", at)
    labels = _labels(row, ids, at)
    if ids.size > context_length and too_long == "raise":
        raise TokenError(
            f'row {at} has {ids.size} ids, the context {context_length}; leave it out with too_long="drop", '
            'or cut it with too_long="cut".'
        )
    if ids.size > context_length and too_long == "drop":
        return None
    return ids[:context_length], labels[:context_length]


def _joined(documents: Sequence[tuple[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    lengths = [ids.size for ids, _ in documents]
    labels = np.concatenate([labels for _, labels in documents])
    labels[np.cumsum([0, *lengths[:-1]])] = IGNORED
    return {
        "input_ids": np.concatenate([ids for ids, _ in documents]),
        "labels": labels,
        "position_ids": np.concatenate([np.arange(length) for length in lengths]),
        "document_lengths": np.array(lengths),
    }


def _line(row: Row, name: str, at: int) -> np.ndarray[Any, Any]:
    ids = np.asarray(row.get(name, ()))
    if ids.ndim != 1 or not ids.size or ids.dtype.kind not in "iu":
        raise TokenError(f"row {at} has no line of integers {name!r}; filter such rows out first.")
    return ids.astype(np.int64)


def _labels(row: Row, ids: np.ndarray[Any, Any], at: int) -> np.ndarray[Any, Any]:
    if row.get("labels") is None:
        return ids.copy()
    labels = _line(row, "labels", at)
    if labels.size != ids.size:
        raise TokenError(f"row {at} has {labels.size} labels and {ids.size} ids; there must be one for each.")
    return labels
