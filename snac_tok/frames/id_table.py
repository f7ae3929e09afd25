"""The meaning of single ids: `IdTable` says which id is which (slot, code), and which is a special.

It knows nothing of arrays: `Vocabulary` adds those. Where an id alone cannot tell its slot (offsets per
level, or none) the answer is an error that says so, never a guess.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping  # noqa: TC003 - `from_plain` reads the fields' types while it runs
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from snac_tok.errors import CodesError, LayoutError, TokenError
from snac_tok.frames.arrays import MAX_SIZE, any_integer, whole_number
from snac_tok.frames.frozen import FrozenMapping
from snac_tok.frames.layout import FrameLayout
from snac_tok.frames.text import TextForm

Offsets: TypeAlias = Literal["slot", "level", "none"]

# Rows are padded by the longest delay: the bound keeps a damaged file from asking for gigabytes of pad.
_MAX_DELAY = 4096
# What a 64-bit index can hold.
MAX_LENGTH = 2**63


@dataclass(frozen=True, kw_only=True)
class IdTable:
    """One id table: where the codes of each slot begin, and which ids mean something else.

    Args:
        layout: Which code fills which slot; may be given by position.
        name: What errors and `describe` call it.
        codebook_size: Codes per level.
        base: The id of code 0 in slot 0.
        offsets: "slot": a block of ids per slot, so an id alone tells its slot. "level": a block per level.
            "none": one block for all; only the position tells the slot.
        block_size: Distance between the first ids of two blocks; None is `codebook_size`.
        specials: Names of ids that are no codes. In parallel rows they are numbers inside every block.
        separator: The name of the special put before each frame; None puts none.
        delays: None for one line of ids. Otherwise one row a slot, row s beginning `delays[s]` steps late;
            then `specials` needs "pad" and "end". Every row is pad until its delay, its codes, one end,
            and pad to the common length frames + max(delays) + 1: the length at which models with delayed
            rows stop, when the end of the last row appears, so nothing has to be guessed to go back.
        text: How ids are spelled; None when they are not.

    Raises:
        LayoutError: Values that make no sense, or ids that would mean two things.

    Example:
        >>> from snac_tok.frames import FrameLayout
        >>> IdTable(FrameLayout((2, 1)), codebook_size=8, base=100).slot_bases
        (100, 108, 116)
    """

    layout: FrameLayout = field(kw_only=False)
    name: str = "custom"
    codebook_size: int = 4096
    base: int = 0
    offsets: Offsets = "slot"
    block_size: int | None = None
    specials: Mapping[str, int] = field(default_factory=dict)
    separator: str | None = None
    delays: tuple[int, ...] | None = None
    text: TextForm | None = None

    def __post_init__(self) -> None:
        if self.block_size is None:
            object.__setattr__(self, "block_size", self.codebook_size)
        for what in ("base", "codebook_size", "block_size"):
            object.__setattr__(self, what, _number(getattr(self, what), what=what))
        specials = {
            name: _number(i, what=f"special {name!r}") for name, i in FrozenMapping(self.specials).items()
        }
        object.__setattr__(self, "specials", FrozenMapping(specials))
        if self.delays is not None:
            object.__setattr__(self, "delays", _checked_delays(self.delays))
        _check(self)

    @property
    def is_parallel(self) -> bool:
        """Whether ids are parallel rows (…, slots, steps) instead of one line."""
        return self.delays is not None

    @property
    def slot_blocks(self) -> tuple[int, ...]:
        """Per slot, the number of its block of ids."""
        if self.offsets == "slot":
            return tuple(range(self.layout.slots_per_frame))
        return self.layout.slot_levels if self.offsets == "level" else (0,) * self.layout.slots_per_frame

    @property
    def slot_bases(self) -> tuple[int, ...]:
        """Per slot, the id of code 0."""
        return tuple(self.base + block * self.block for block in self.slot_blocks)

    @property
    def num_blocks(self) -> int:
        """How many blocks of ids there are: one a slot, one a level, or one."""
        return max(self.slot_blocks) + 1

    @property
    def num_code_ids(self) -> int:
        """How many different ids stand for codes: 28,672 for 7 slots of 4096."""
        return self.num_blocks * self.codebook_size

    @property
    def ids_per_frame(self) -> int:
        """Ids in one frame, the separator counted."""
        return self.layout.slots_per_frame + (self.separator is not None)

    @property
    def code_ids(self) -> range:
        """From the first id of a code to the last; there may be others between, and between blocks there are gaps."""
        return range(self.base, self.base + (self.num_blocks - 1) * self.block + self.codebook_size)

    @property
    def size(self) -> int:
        """The largest id plus one, specials counted: the fewest rows an embedding can have."""
        blocks = self.base + (self.num_blocks - 1) * self.block
        last = self.block if self.is_parallel else self.codebook_size
        return max([blocks + last, *(0 if self.is_parallel else i + 1 for i in self.specials.values())])

    @property
    def block(self) -> int:
        """`block_size`, which is a number after construction."""
        assert self.block_size is not None
        return self.block_size

    def length_of(self, num_frames: int) -> int:
        """Return how long `num_frames` frames are: ids in one line, or steps in parallel rows.

        Raises:
            CodesError: No number of frames.

        >>> from snac_tok.frames import FrameLayout
        >>> IdTable(FrameLayout((4, 2, 1))).length_of(10)
        70
        """
        num_frames = whole_number(num_frames, what="num_frames", error=CodesError, size=MAX_LENGTH)
        if self.delays is None:
            return num_frames * self.ids_per_frame
        return num_frames + max(self.delays) + 1

    def frames_in(self, length: int) -> int | None:
        """Return how many frames make this length, None when no whole number of frames does.

        Raises:
            TokenError: No length.

        >>> from snac_tok.frames import FrameLayout
        >>> IdTable(FrameLayout((4, 2, 1))).frames_in(70)
        10
        """
        length = whole_number(length, what="length", error=TokenError, size=MAX_LENGTH)
        if self.delays is None:
            frames, rest = divmod(length, self.ids_per_frame)
            return None if rest else frames
        frames = length - max(self.delays) - 1
        return frames if frames >= 0 else None

    def id_range(self, slot: int) -> range:
        """Return the ids that are codes of a slot.

        Raises:
            LayoutError: No such slot.

        >>> from snac_tok.frames import FrameLayout
        >>> IdTable(FrameLayout((4, 2, 1)), base=128266).id_range(6)
        range(152842, 156938)
        """
        first = self.slot_bases[_number(slot, what="slot", size=self.layout.slots_per_frame)]
        return range(first, first + self.codebook_size)

    def slots_of(self, token_id: int) -> tuple[int, ...]:
        """Return every slot an id can stand in: one with offsets per slot, more otherwise, none for no code.

        >>> from snac_tok.frames import FrameLayout
        >>> IdTable(FrameLayout((4, 2, 1)), offsets="level").slots_of(4096)
        (1, 4)
        """
        token_id = any_integer(token_id, what="an id", error=TokenError)
        block, code = divmod(token_id - self.base, self.block)
        if code >= self.codebook_size:
            return ()
        return tuple(slot for slot, own in enumerate(self.slot_blocks) if own == block)

    def code_of(self, token_id: int) -> int:
        """Return the code an id stands for; known whatever the offsets are.

        Raises:
            TokenError: The id is not a code.

        >>> from snac_tok.frames import FrameLayout
        >>> IdTable(FrameLayout((4, 2, 1)), base=128266).code_of(132363)
        1
        """
        if not self.slots_of(token_id):
            raise TokenError(self._no_code(token_id))
        return (int(token_id) - self.base) % self.block

    def id_of(self, slot: int, code: int) -> int:
        """Return the id of a code in a slot.

        Raises:
            LayoutError: No such slot.
            CodesError: No such code.

        >>> from snac_tok.frames import FrameLayout
        >>> IdTable(FrameLayout((4, 2, 1)), base=128266).id_of(1, 1)
        132363
        """
        ids = self.id_range(slot)
        return ids[whole_number(code, what="code", error=CodesError, size=self.codebook_size)]

    def special_id(self, name: str, *, slot: int | None = None) -> int:
        """Return the id of a special; in parallel rows every row has its own, so the slot must be given.

        Raises:
            LayoutError: No such special, or a slot where none belongs or none where one does.

        >>> from snac_tok.frames import FrameLayout
        >>> IdTable(FrameLayout((2, 1)), specials={"pad": 12288}).special_id("pad")
        12288
        """
        if name not in self.specials:
            raise LayoutError(f"{self.name!r} has no special {name!r}; it has {[*self.specials]}.")
        if self.is_parallel != (slot is not None):
            need = "a special id in every row: give slot=" if self.is_parallel else "one row: leave slot out"
            raise LayoutError(f"{self.name!r} has {need}.")
        return self.specials[name] + (0 if slot is None else self.id_range(slot).start)

    def special_of(self, token_id: int) -> str | None:
        """Return the name of a special id, None for any other id.

        >>> from snac_tok.frames import FrameLayout
        >>> IdTable(FrameLayout((2, 1)), specials={"pad": 12288}).special_of(12288)
        'pad'
        """
        token_id = any_integer(token_id, what="an id", error=TokenError)
        if self.is_parallel:
            block, token_id = divmod(token_id - self.base, self.block)
            if not 0 <= block < self.num_blocks:
                return None
        return next((name for name, number in self.specials.items() if number == token_id), None)

    def marks(self, num_frames: int) -> list[tuple[Any, int]]:
        """Return every place that holds a special id, as (index, id)."""
        if self.separator is not None:
            return [((..., slice(0, None, self.ids_per_frame)), self.specials[self.separator])]
        marks: list[tuple[Any, int]] = []
        for slot, (delay, first) in enumerate(zip(self.delays or (), self.slot_bases, strict=False)):
            end, pad_id = delay + num_frames, first + self.specials["pad"]
            marks.append(((..., slot, slice(0, delay)), pad_id))
            marks.append(((..., slot, slice(end, end + 1)), first + self.specials["end"]))
            marks.append(((..., slot, slice(end + 1, None)), pad_id))
        return marks

    def _no_code(self, token_id: int) -> str:
        name = self.special_of(token_id)
        what = f"the special {name!r}" if name else "no id of a code"
        codes = self.code_ids
        return f"id {token_id} is {what} in {self.name!r}; codes are ids {codes[0]}..{codes[-1]}."


def _number(value: object, *, what: str, size: int = MAX_SIZE) -> int:
    return whole_number(value, what=what, error=LayoutError, size=size)


def _checked_delays(delays: Any) -> tuple[int, ...]:
    """Return delays as a tuple of Python ints."""
    try:
        return tuple(
            whole_number(delay, what="every delay", error=LayoutError, size=_MAX_DELAY) for delay in delays
        )
    except TypeError as reason:
        raise LayoutError(f"delays must be numbers, one a slot, got {delays!r}.") from reason


def _check(table: IdTable) -> None:
    """Refuse a vocabulary that makes no sense or whose ids would mean two things."""
    _check_types(table)
    _check_numbers(table)
    if table.delays is None:
        _check_line(table)
    else:
        _check_rows(table)
    if table.size > MAX_SIZE:
        raise LayoutError(
            f"{table.name!r} needs ids up to {table.size - 1}; the largest allowed is {MAX_SIZE - 1}."
        )


def _check_types(table: IdTable) -> None:
    if not isinstance(table.layout, FrameLayout):
        raise LayoutError(
            f"layout must be a FrameLayout, such as FrameLayout((4, 2, 1)), got {reprlib.repr(table.layout)}; "
            "preset(name) makes the published tables."
        )
    if not isinstance(table.name, str) or not table.name:
        raise LayoutError(f"name must be a text, got {table.name!r}.")
    if table.offsets not in get_args(Offsets):
        raise LayoutError(f"offsets must be one of {get_args(Offsets)}, got {table.offsets!r}.")
    if not all(isinstance(name, str) and name for name in table.specials):
        raise LayoutError(f"specials must have names, got {[*table.specials]}.")
    if table.separator is not None and not isinstance(table.separator, str):
        raise LayoutError(f"separator must be the name of a special, got {table.separator!r}.")
    if table.text is not None and not isinstance(table.text, TextForm):
        raise LayoutError(f"text must be a TextForm or None, got {type(table.text).__name__}.")


def _check_numbers(table: IdTable) -> None:
    if not 0 < table.codebook_size <= table.block:
        sizes = f"{table.codebook_size} and {table.block}"
        raise LayoutError(f"codebook_size must be at least 1 and at most block_size, got {sizes}.")
    names: dict[int, str] = {}
    for name, number in table.specials.items():
        other = names.setdefault(number, name)
        if other != name:
            raise LayoutError(f"specials {other!r} and {name!r} are both id {number}; each needs its own.")


def _check_line(table: IdTable) -> None:
    for name, number in table.specials.items():
        slots = table.slots_of(number)
        if slots:
            raise LayoutError(
                f"special {name!r} is id {number}, a code of slot {slots[0]}; move one of them."
            )
    if table.separator is not None and table.separator not in table.specials:
        raise LayoutError(
            f"separator {table.separator!r} is not a special; specials are {[*table.specials]}."
        )


def _check_rows(table: IdTable) -> None:
    num_slots = table.layout.slots_per_frame
    if table.delays is None or len(table.delays) != num_slots:
        raise LayoutError(f"delays must be {num_slots} numbers, one a slot, got {table.delays!r}.")
    if table.separator is not None:
        raise LayoutError("parallel rows have no separator; use delays or separator, not both.")
    if not {"pad", "end"} <= set(table.specials):
        raise LayoutError(f"parallel rows need specials 'pad' and 'end', got {[*table.specials]}.")
    for name, number in table.specials.items():
        if not table.codebook_size <= number < table.block:
            allowed = f"{table.codebook_size}..{table.block - 1}"
            raise LayoutError(
                f"special {name!r} is {number}; after the codes of a row it must be in {allowed}."
            )
