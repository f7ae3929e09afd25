"""Damage: what disks, networks, wrong programs and hostile people do to a file. Every change follows a seed."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

# Lengths, counts and rates that headers claim.
_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    [],
    {},
    "",
    "x" * 500,
    "\x00",
    "../../evil",
    -1,
    0,
    0.5,
    10**30,
    1e308,
    float("nan"),
    [[]],
    {"a": {"b": 1}},
)
_DEPTH = 3000
_LONGEST_PIECE = 400
_HEADER = 100
# Where a format describes itself: in front, or behind (Parquet, zip).
_DESCRIBED = 4000


def damaged(content: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """Return a file with one to four things wrong."""
    if random.randrange(2):
        shaped = _structured(content, random, others)
        if shaped is not None:
            return shaped
    for _ in range(random.randint(1, 4)):
        content = random.choice(_CHANGES)(content, random, others)
    return content


def flipped(whole: Sequence[bytes], number: int) -> tuple[int, bytes] | None:
    """Return which file, and that file with a bit flipped; `number` counts all files' bits, None is behind the last."""
    for index, content in enumerate(whole):
        count = min(len(content), 2 * _DESCRIBED)
        if number < 8 * count:
            place, bit = divmod(number, 8)
            place += 0 if place < _DESCRIBED else len(content) - count
            return index, content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]
        number -= 8 * count
    return None


def _structured(content: bytes, random: Random, others: Sequence[bytes]) -> bytes | None:
    """Change a JSON file's values, or what is packed in a zip, so that the outer format stays whole."""
    if content[:1] in {b"{", b"["}:
        try:
            return _changed_json(content, random)
        except ValueError:
            return None
    if content[:2] == b"PK":
        return _changed_zip(content, random, others)
    return None


def _changed_json(content: bytes, random: Random) -> bytes:
    tree = json.loads(content)
    places = list(_places(tree))
    for _ in range(random.randint(1, 2)):
        holder, key = random.choice(places)
        kind = random.choice(("remove", "add", "move", "set", "set"))
        if kind == "remove" and isinstance(holder, dict):
            holder.pop(key, None)
        elif kind == "add" and isinstance(holder, dict):
            holder[random.choice(("extra", "", "__class__", str(key) + "s"))] = random.choice(_VALUES)
        elif kind == "move":
            other, name = random.choice(places)
            holder[key] = other.get(name) if isinstance(other, dict) else None
        else:
            holder[key] = random.choice(_VALUES)
    text = json.dumps(tree)
    if not random.randrange(20):
        text = text.replace(":", ":" + "[" * _DEPTH + "1" + "]" * _DEPTH + ',"x":', 1)
    return text.encode()


def _places(tree: Any) -> Any:
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in list(children):
        yield tree, key
        yield from _places(child)


def _changed_zip(content: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        names = source.namelist()
        victim = random.choice(names)
        for name in names:
            inner = source.read(name)
            if name == victim:
                inner = random.choice(_CHANGES)(inner, random, others)
            target.writestr(name, inner)
    return packed.getvalue()


def _flip(content: bytes, random: Random, _others: Sequence[bytes]) -> bytes:
    if not content:
        return b"\x00"
    place = _place(content, random)
    return content[:place] + bytes([content[place] ^ (1 << random.randrange(8))]) + content[place + 1 :]


def _number(content: bytes, random: Random, _others: Sequence[bytes]) -> bytes:
    size = random.choice((1, 2, 4, 8))
    value = random.choice(_NUMBERS) % 256**size
    place = _place(content, random)
    return content[:place] + value.to_bytes(size, random.choice(("little", "big"))) + content[place + size :]


def _cut(content: bytes, random: Random, _others: Sequence[bytes]) -> bytes:
    return content[: random.randint(0, len(content))]


def _remove(content: bytes, random: Random, _others: Sequence[bytes]) -> bytes:
    place = _place(content, random)
    return content[:place] + content[place + random.randint(1, _LONGEST_PIECE) :]


def _repeat(content: bytes, random: Random, _others: Sequence[bytes]) -> bytes:
    place, size = _place(content, random), random.randint(1, _LONGEST_PIECE)
    return content[: place + size] + content[place:]


def _zeros(content: bytes, random: Random, _others: Sequence[bytes]) -> bytes:
    place = _place(content, random)
    piece = content[place : place + random.randint(1, _LONGEST_PIECE)]
    return content[:place] + bytes(len(piece)) + content[place + len(piece) :]


def _noise(content: bytes, random: Random, _others: Sequence[bytes]) -> bytes:
    place = _place(content, random)
    return content[:place] + random.randbytes(random.randint(1, 40)) + content[place:]


def _splice(content: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    other = random.choice(others)
    return content[: _place(content, random)] + other[_place(other, random) :]


def _place(content: bytes, random: Random) -> int:
    """Return a place, in the first hundred bytes as often as anywhere else: headers stand there."""
    end = len(content) if random.randrange(2) else min(len(content), _HEADER)
    return random.randrange(end) if end else 0


_CHANGES: tuple[Callable[[bytes, Random, Sequence[bytes]], bytes], ...] = (
    _flip,
    _number,
    _cut,
    _remove,
    _repeat,
    _zeros,
    _noise,
    _splice,
)
