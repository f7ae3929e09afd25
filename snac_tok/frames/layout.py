"""Which code stands where in a frame: `FrameLayout` joins the codes of all levels into one line and back.

A frame is one step of the coarsest level with every finer code that falls into its time. With strides
(4, 2, 1) a frame has 1 + 2 + 4 = 7 slots; depth-first follows time, breadth-first goes level by level:

    time            0     1     2     3
    level 0         A ─────────────────────
    level 1         B1 ────────  B2 ───────
    level 2         C1 ── C2 ──  C3 ── C4 ─

    depth-first     A B1 C1 C2 B2 C3 C4
    breadth-first   A B1 B2 C1 C2 C3 C4

Codes stay codes here: offsets, special ids and value ranges are the vocabulary's business.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from snac_tok.errors import CodesError, LayoutError
from snac_tok.frames.arrays import Array, integers, new_like, place_of, store_sum, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Order: TypeAlias = Literal["depth-first", "breadth-first"]
ORDERS = ("depth-first", "breadth-first")

# No codec comes near; the bound keeps a damaged config from asking for gigabytes of slots.
MAX_SLOTS = 4096


@dataclass(frozen=True, kw_only=True)
class FrameLayout:
    """The order of codes in a frame, from any strides.

    Args:
        strides: Latents per code of each level, coarsest first, each dividing the one before it; may be given
            by position.
        order: "depth-first" (time order, the order of the released speech models) or "breadth-first".
        levels: Keep only the first `levels` levels; None keeps all. Strides (8, 4, 2, 1) with levels=3
            give frames of 7 slots.

    Raises:
        LayoutError: Strides that do not nest, an unknown order, or more levels than there are.

    Example:
        >>> layout = FrameLayout((4, 2, 1))
        >>> layout.flatten([[0, 1], [10, 11, 12, 13], [20, 21, 22, 23, 24, 25, 26, 27]])
        array([ 0, 10, 20, 21, 11, 22, 23,  1, 12, 24, 25, 13, 26, 27])
    """

    strides: tuple[int, ...] = field(kw_only=False)
    order: Order = "depth-first"
    levels: int | None = None

    def __post_init__(self) -> None:
        strides = _whole_numbers(self.strides)
        for coarse, fine in pairwise(strides):
            if coarse % fine:
                raise LayoutError(
                    f"strides {strides}: {fine} does not divide {coarse}; each must divide the last."
                )
        if self.order not in ORDERS:
            raise LayoutError(f"order must be one of {ORDERS}, got {self.order!r}.")
        object.__setattr__(self, "strides", strides)
        object.__setattr__(self, "levels", _kept_levels(self.levels, len(strides)))
        if self.slots_per_frame > MAX_SLOTS:
            raise LayoutError(
                f"strides {strides} give {self.slots_per_frame} slots a frame; at most {MAX_SLOTS}."
            )

    @property
    def num_levels(self) -> int:
        """How many levels a frame holds."""
        return self.levels or len(self.strides)

    @property
    def codes_per_frame(self) -> tuple[int, ...]:
        """Codes of each kept level in one frame: (1, 2, 4) for strides (4, 2, 1)."""
        return tuple(self.strides[0] // stride for stride in self.strides[: self.num_levels])

    @property
    def slots_per_frame(self) -> int:
        """Codes of all kept levels in one frame."""
        return sum(self.codes_per_frame)

    @property
    def latents_per_frame(self) -> int:
        """Steps of the codec's latent in one frame, kept or not: the coarsest stride."""
        return self.strides[0]

    @property
    def slots(self) -> tuple[tuple[int, int], ...]:
        """Per slot, the (level, step) it holds; step counts that level's codes inside the frame.

        >>> FrameLayout((2, 1)).slots
        ((0, 0), (1, 0), (1, 1))
        """
        return _slot_table(self.codes_per_frame, self.order)

    @property
    def slot_levels(self) -> tuple[int, ...]:
        """The level of each slot."""
        return tuple(level for level, _ in self.slots)

    def flatten(self, codes: Iterable[Any]) -> Array:
        """Join the codes of all levels into one line of frames.

        Args:
            codes: One integer array (…, T_k) per level, numpy, torch or lists, leading dimensions equal.
                Levels finer than `levels` may be there and are left out.

        Returns:
            int64 (…, frames · slots_per_frame), numpy, or torch on the device of the codes.

        Raises:
            CodesError: No integers, a wrong number of levels, or lengths that are not the same frames.

        Example:
            >>> FrameLayout((2, 1), order="breadth-first").flatten([[5, 6], [1, 2, 3, 4]])
            array([5, 1, 2, 6, 3, 4])
        """
        levels = self.check_codes(codes)
        num_slots = self.slots_per_frame
        flat = new_like(levels[0], (*levels[0].shape[:-1], levels[0].shape[-1] * num_slots))
        write_slots(self, levels, [flat[..., slot::num_slots] for slot in range(num_slots)], (0,) * num_slots)
        return flat

    def unflatten(self, flat: Any) -> list[Array]:
        """Take one line of frames apart again: the exact inverse of `flatten`.

        Args:
            flat: Integers (…, frames · slots_per_frame).

        Returns:
            One int64 array (…, T_k) per kept level, coarsest first.

        Raises:
            CodesError: No integers, or no whole number of frames.

        Example:
            >>> FrameLayout((2, 1)).unflatten([5, 1, 2, 6, 3, 4])
            [array([5, 6]), array([1, 2, 3, 4])]
        """
        flat = integers(flat, what="flat codes", error=CodesError)
        num_slots = self.slots_per_frame
        if flat.shape[-1] % num_slots:
            raise CodesError(f"{flat.shape[-1]} codes are no whole number of frames of {num_slots} slots.")
        return read_slots(self, [flat[..., slot::num_slots] for slot in range(num_slots)], (0,) * num_slots)

    def check_codes(self, codes: Iterable[Any]) -> list[Array]:
        """Return the kept levels as int64 arrays (…, T_k) after checking that they are the same frames.

        Raises:
            CodesError: As `flatten` says.

        Example:
            >>> [level.shape for level in FrameLayout((2, 1)).check_codes([[7], [8, 9]])]
            [(1,), (2,)]
        """
        levels = self._as_levels(codes)
        self._check_lengths(levels)
        if len({tuple(level.shape[:-1]) for level in levels}) > 1:
            shapes = [tuple(level.shape) for level in levels]
            raise CodesError(f"levels must agree in all dimensions but the last, got shapes {shapes}.")
        if len({place_of(level) for level in levels}) > 1:
            raise CodesError(f"levels must live in one place, got {[place_of(level) for level in levels]}.")
        return levels[: self.num_levels]

    def _as_levels(self, codes: Iterable[Any]) -> list[Array]:
        try:
            given = list(codes)
        except TypeError as reason:
            raise CodesError(
                f"codes must be a list with one array per level, got {type(codes).__name__}."
            ) from reason
        if not self.num_levels <= len(given) <= len(self.strides):
            allowed = " to ".join(str(n) for n in sorted({self.num_levels, len(self.strides)}))
            raise CodesError(f"got {len(given)} levels of codes; strides {self.strides} need {allowed}.")
        return [
            integers(level, what=f"codes of level {k}", error=CodesError) for k, level in enumerate(given)
        ]

    def _check_lengths(self, levels: Sequence[Array]) -> None:
        num_frames = levels[0].shape[-1]
        for k, level in enumerate(levels):
            needed = num_frames * (self.strides[0] // self.strides[k])
            if level.shape[-1] != needed:
                raise CodesError(
                    f"level {k} has {level.shape[-1]} codes and needs {needed}: level 0 has {num_frames} "
                    f"(one a frame) and the strides are {self.strides}."
                )


def write_slots(
    layout: FrameLayout, levels: Sequence[Array], targets: Sequence[Array], offsets: Sequence[int]
) -> None:
    """Write each slot's codes, plus its offset, into its target view (…, frames)."""
    counts = layout.codes_per_frame
    for slot, (level, step) in enumerate(layout.slots):
        store_sum(targets[slot], levels[level][..., step :: counts[level]], offsets[slot])


def read_slots(layout: FrameLayout, sources: Sequence[Array], offsets: Sequence[int]) -> list[Array]:
    """Read each slot's view (…, frames), less its offset, back into levels: mirrors `write_slots`."""
    counts, batch, num_frames = layout.codes_per_frame, sources[0].shape[:-1], sources[0].shape[-1]
    levels = [new_like(sources[0], (*batch, num_frames * count)) for count in counts]
    for slot, (level, step) in enumerate(layout.slots):
        store_sum(levels[level][..., step :: counts[level]], sources[slot], -offsets[slot])
    return levels


def _whole_numbers(strides: Any) -> tuple[int, ...]:
    try:
        numbers = tuple(operator.index(stride) for stride in strides)
    except TypeError as reason:
        raise LayoutError(
            f"strides must be whole numbers, coarsest first, such as (4, 2, 1); got {strides!r}."
        ) from reason
    if not numbers or min(numbers) < 1 or any(isinstance(stride, bool) for stride in strides):
        raise LayoutError(f"strides must be one or more whole numbers from 1 up, got {strides!r}.")
    return numbers


def _kept_levels(levels: Any, available: int) -> int | None:
    """Return how many levels are kept, None for all: one spelling, so that equal layouts compare equal."""
    if levels is None:
        return None
    number = whole_number(levels, what="levels", error=LayoutError, least=1, size=available + 1)
    return None if number == available else number


@lru_cache(maxsize=256)
def _slot_table(codes_per_frame: tuple[int, ...], order: Order) -> tuple[tuple[int, int], ...]:
    slots = [(level, step) for level, count in enumerate(codes_per_frame) for step in range(count)]
    if order == "depth-first":
        # Walking the tree parent first is sorting by (start, level): a parent starts with its first child.
        slots.sort(key=lambda slot: (slot[1] * (codes_per_frame[-1] // codes_per_frame[slot[0]]), slot[0]))
    return tuple(slots)
