"""Rows of ids to batches for a language model: padded, or packed to a context length."""

from __future__ import annotations

import bisect
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch

from snac_tok.errors import TokenError
from snac_tok.frames.arrays import whole_number
from snac_tok.masked import refuse_masked
from snac_tok.prompts.prompt_format import IGNORED

Row = Mapping[str, Any]
Integers = np.ndarray[Any, Any]
# What to do about a row that is longer than the context.
TooLong = Literal["raise", "drop", "cut"]

_ROW = 'a row has ids under their name: {"input_ids": [5, 6, 7]}.'
_WORDS = {"attention_mask": "numbers in its attention_mask"}
_LARGEST = np.iinfo(np.int64).max


@dataclass(frozen=True)
class _Line:
    """A row's numbers, one of each for every id; no positions where it is not packed."""

    ids: Integers
    labels: Integers
    positions: Integers | None


@dataclass(frozen=True, kw_only=True)
class AudioTextCollator:
    """Pads rows of `input_ids` and `labels` to one length: the `data_collator` of a `Trainer`.

    Attributes:
        pad_token_id: what fills `input_ids`.
        pad_to_multiple_of: round the length up to a multiple, such as 8 for tensor cores; None for none.
        padding_side: "right" for training, "left" for prompts, where generation goes on.

    Raises:
        TokenError: no pad id, or an option that makes no sense.

    Example:
        >>> batch = AudioTextCollator(pad_token_id=0)([{"input_ids": [5, 6, 7]}, {"input_ids": [8]}])
        >>> batch["input_ids"].tolist(), batch["labels"].tolist()[1]
        ([[5, 6, 7], [8, 0, 0]], [8, -100, -100])
    """

    pad_token_id: int
    pad_to_multiple_of: int | None = None
    padding_side: Literal["right", "left"] = "right"

    def __post_init__(self) -> None:
        if self.pad_token_id is None:
            raise TokenError(
                "pad_token_id is None: the text tokenizer has no pad token; set its pad_token, or take "
                "vocabulary.special_id('pad')."
            )
        _check_number(self.pad_token_id, name="pad_token_id", least=0)
        if self.pad_to_multiple_of is not None:
            _check_number(self.pad_to_multiple_of, name="pad_to_multiple_of", least=1)
        if self.padding_side not in ("right", "left"):
            raise TokenError(f"padding_side is {self.padding_side!r}; it must be 'right' or 'left'.")

    def __call__(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """Return `input_ids`, `labels` and `attention_mask` or, where rows have them, `position_ids`: all (B, T) int64.

        Rows without `labels` are their own. Padding that a row has already, by its `attention_mask`, is cut off first.
        Other columns are left out. Packed rows come without a mask, because transformers tells documents apart by their
        positions only where there is none (and no cache: train with `use_cache=False`); a row beside them that is not
        packed is one document.

        Raises:
            TokenError: no rows, a row without ids, or labels, positions or a mask that do not fit the ids.
        """
        lines = [_line(row, at) for at, row in enumerate(_checked_rows(rows))]
        if not lines:
            raise TokenError("there are no rows to collate; a batch needs at least one.")
        length = max(line.ids.size for line in lines)
        if self.pad_to_multiple_of is not None:
            length += -length % self.pad_to_multiple_of
        missing = [length - line.ids.size for line in lines]
        batch = {
            "input_ids": self._padded(
                [line.ids for line in lines], [np.full(n, self.pad_token_id) for n in missing]
            ),
            "labels": self._padded([line.labels for line in lines], [np.full(n, IGNORED) for n in missing]),
        }
        if any(line.positions is not None for line in lines):
            positions = [
                np.arange(line.ids.size) if line.positions is None else line.positions for line in lines
            ]
            # Padding counts from 0 like a document of its own, so that it joins none.
            batch["position_ids"] = self._padded(positions, [np.arange(n) for n in missing])
        else:
            ones = [np.ones(line.ids.size) for line in lines]
            batch["attention_mask"] = self._padded(ones, [np.zeros(n) for n in missing])
        return batch

    def _padded(self, rows: Sequence[Integers], fills: Sequence[Integers]) -> torch.Tensor:
        is_right = self.padding_side == "right"
        lines = [
            np.concatenate((row, fill) if is_right else (fill, row))
            for row, fill in zip(rows, fills, strict=True)
        ]
        return torch.from_numpy(np.stack(lines).astype(np.int64))


def pack_sequences(
    rows: Iterable[Row], context_length: int, *, too_long: TooLong = "raise"
) -> list[dict[str, Integers]]:
    """Put whole rows together into few lines of at most `context_length` ids: each where it fits tightest.

    Position ids begin at 0 in every row, which is how transformers' flash and flex attention know where one
    document ends; the first label of each row is -100, since no document predicts the next one's beginning.

    Args:
        rows: with `input_ids` and, where they differ, `labels`; padding by their `attention_mask` is cut off first.
        context_length: of the model.
        too_long: a longer row is refused, left out, or cut at the end.

    Returns:
        lines of `input_ids`, `labels`, `position_ids` (n,) int64; and `document_lengths`, one for each row in it.

    Raises:
        TokenError: a row without ids, longer than the context or packed already, or no possible context.

    Example:
        >>> [line["input_ids"].tolist() for line in pack_sequences([{"input_ids": [1, 2, 3]}, {"input_ids": [4, 5]},
        ...     {"input_ids": [6]}], context_length=4)]
        [[1, 2, 3, 6], [4, 5]]
    """
    _check_number(context_length, name="context_length", least=1)
    if too_long not in get_args(TooLong):
        raise TokenError(f"too_long is {too_long!r}; it must be one of {', '.join(get_args(TooLong))}.")
    lines: list[list[tuple[Any, Any]]] = []
    room: list[tuple[int, int]] = []  # what is free in each line, and its number; the smallest first
    for at, row in enumerate(_checked_rows(rows)):
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
    line = _line(row, at)
    # Some tokenizers count the positions of a plain row.
    if line.positions is not None and not np.array_equal(line.positions, np.arange(line.ids.size)):
        raise TokenError(
            f"row {at} has position_ids: it is packed already; pack the rows that it was made of."
        )
    ids, labels = line.ids, line.labels
    if ids.size > context_length and too_long == "raise":
        raise TokenError(
            f'row {at} has {ids.size} ids, the context {context_length}; leave it out with too_long="drop", '
            'or cut it with too_long="cut".'
        )
    if ids.size > context_length and too_long == "drop":
        return None
    return ids[:context_length], labels[:context_length]


def _joined(documents: Sequence[tuple[Any, Any]]) -> dict[str, Integers]:
    lengths = [ids.size for ids, _ in documents]
    labels = np.concatenate([labels for _, labels in documents])
    labels[np.cumsum([0, *lengths[:-1]])] = IGNORED
    return {
        "input_ids": np.concatenate([ids for ids, _ in documents]),
        "labels": labels,
        "position_ids": np.concatenate([np.arange(length) for length in lengths]),
        "document_lengths": np.array(lengths),
    }


def _line(row: Any, at: int) -> _Line:
    """Return what a row holds, without its padding."""
    if not isinstance(row, Mapping):
        raise TokenError(f"row {at} is {reprlib.repr(row)}; {_ROW}")
    ids = _integers(row, "input_ids", at)
    labels = ids if row.get("labels") is None else _beside(ids, row, "labels", at)
    positions = None if row.get("position_ids") is None else _beside(ids, row, "position_ids", at)
    kept = slice(None) if row.get("attention_mask") is None else _unpadded(ids, row, at)
    return _Line(ids[kept], labels[kept], None if positions is None else positions[kept])


def _unpadded(ids: Integers, row: Row, at: int) -> slice:
    """Return where a row's own ids stand, by its mask."""
    places = np.flatnonzero(_beside(ids, row, "attention_mask", at))
    if not places.size:
        raise TokenError(f"row {at} is all padding, by its attention_mask; filter such rows out first.")
    kept = slice(int(places[0]), int(places[-1]) + 1)
    if places.size != kept.stop - kept.start:
        raise TokenError(
            f"row {at} has padding among its ids, by its attention_mask; it may stand in front of them and behind them "
            "only. Where ids are to make no loss, give them the label -100 instead."
        )
    return kept


def _beside(ids: Integers, row: Row, name: str, at: int) -> Integers:
    """Return a column that has one number for each id."""
    found = _integers(row, name, at)
    if found.size != ids.size:
        word = _WORDS.get(name, name)
        raise TokenError(f"row {at} has {found.size} {word} and {ids.size} ids; there must be one for each.")
    return found


def _integers(row: Row, name: str, at: int) -> Integers:
    given = row.get(name, ())
    refuse_masked(given, what=f"row {at}: {name}", error=TokenError)
    try:
        found = np.asarray(given.cpu() if isinstance(given, torch.Tensor) else given)
    except (ValueError, TypeError):  # rows of unequal length, types that numpy does not have
        found = np.empty(0)
    if (
        name == "attention_mask"
        and found.ndim == 1
        and found.dtype.kind in "biuf"
        and np.isin(found, (0, 1)).all()
    ):
        return found.astype(np.int64)
    if name == "attention_mask":
        raise TokenError(
            f"row {at} has an attention_mask that is no line of 0 and 1; mend it, or leave the column out."
        )
    if found.ndim != 1 or not found.size or found.dtype.kind not in "iu" or found.max() > _LARGEST:
        raise TokenError(f"row {at} has no line of integers {name!r}; filter such rows out first.")
    return found.astype(np.int64)


def _checked_rows(rows: Any) -> Iterable[Any]:
    """Return the rows, which may come one after the other and be more than memory holds."""
    if isinstance(rows, (Mapping, str, bytes)) or not isinstance(rows, Iterable):
        raise TokenError(f"rows is {reprlib.repr(rows)}; a list of rows is needed, and {_ROW}")
    return rows


def _check_number(value: Any, *, name: str, least: int) -> None:
    try:
        whole_number(value, what=name, error=TokenError, least=least)
    except TokenError:
        raise TokenError(f"{name} is {reprlib.repr(value)}; a whole number from {least} is needed.") from None
