"""Reads the fields that are asked for from Thrift's compact protocol, in which Parquet describes itself.

    struct | field | field | … | 0        list | size and type | element | …
             └ step to its id, type, value

pyarrow shows no page headers, and ends the process on some damaged footers; so shards' are read here. Damage is one
`ShardError`, in time and memory that follow the bytes' number.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from snac_tok.errors import ShardError

# What is wanted of a struct, by field id: INTEGER, another struct's fields, or what is wanted of a list's elements.
INTEGER = "integer"
Wanted: TypeAlias = "str | dict[int, Wanted] | tuple[Wanted]"

# Kinds of values.
_STOP, _TRUE, _FALSE, _BYTE = 0, 1, 2, 3
_I16, _I64, _DOUBLE, _BINARY = 4, 6, 7, 8
_LIST, _SET, _STRUCT = 9, 10, 12
# What says that a value of this type is wanted.
_WANTED_BY = {dict: dict, list: tuple, int: str}
_LONG_LIST = 15
_MAX_DEPTH = 8
_MAX_SHIFT = 63


def read_struct(data: bytes, place: int, wanted: dict[int, Wanted]) -> tuple[dict[int, Any], int]:
    """Return a struct's wanted fields by id, those that it has, and the offset behind it.

    Raises:
        ShardError: the bytes end before it does, or are no struct.

    Example:
        >>> read_struct(bytes([0x15, 14, 0x28, 1, 65, 0]), 0, {1: INTEGER})
        ({1: 7}, 6)
    """
    try:
        return _struct(data, place, wanted, depth=0)
    except IndexError:
        raise ShardError("damaged: a description in it has no end") from None


def _struct(data: bytes, place: int, wanted: dict[int, Wanted], *, depth: int) -> tuple[dict[int, Any], int]:
    if depth > _MAX_DEPTH:
        raise ShardError("damaged: a description in it is nested too deep")
    fields: dict[int, Any] = {}
    number = 0
    while True:
        step, kind = divmod(data[place], 16)
        place += 1
        if kind == _STOP:
            return fields, place
        if step:
            number += step
        else:
            number, place = _integer(data, place)
        value, place = _value(data, place, kind, wanted.get(number), depth=depth)
        if value is not None:
            fields[number] = value


def _value(data: bytes, place: int, kind: int, wanted: Wanted | None, *, depth: int) -> tuple[Any, int]:
    """Return a value, None where nothing of its type is wanted, and the offset behind it."""
    found: Any
    if kind == _STRUCT:
        fields = wanted if isinstance(wanted, dict) else {}
        found, place = _struct(data, place, fields, depth=depth + 1)
    elif kind in (_LIST, _SET):
        found, place = _list(data, place, wanted[0] if isinstance(wanted, tuple) else None, depth=depth + 1)
    elif _I16 <= kind <= _I64:
        found, place = _integer(data, place)
    else:
        return None, _skipped(data, place, kind)
    return (found if isinstance(wanted, _WANTED_BY[type(found)]) else None), place


def _list(data: bytes, place: int, wanted: Wanted | None, *, depth: int) -> tuple[list[Any], int]:
    if depth > _MAX_DEPTH:
        raise ShardError("damaged: a description in it is nested too deep")
    size, kind = divmod(data[place], 16)
    place += 1
    if size == _LONG_LIST:
        size, place = _varint(data, place)
    # In a list, a truth value takes a byte.
    kind = _BYTE if kind in (_TRUE, _FALSE) else kind
    found = []
    for _ in range(size):
        value, place = _value(data, place, kind, wanted, depth=depth)
        if wanted is not None:
            found.append(value)
    return found, place


def _skipped(data: bytes, place: int, kind: int) -> int:
    """Return the offset behind a value that nobody wants; nothing that Parquet describes holds a map."""
    if kind in (_TRUE, _FALSE):
        return place
    if kind == _BYTE:
        end = place + 1
    elif kind == _DOUBLE:
        end = place + 8
    elif kind == _BINARY:
        length, place = _varint(data, place)
        end = place + length
    else:
        raise ShardError(f"damaged: a description in it holds a value of type {kind}")
    if end > len(data):
        raise IndexError
    return end


def _integer(data: bytes, place: int) -> tuple[int, int]:
    value, place = _varint(data, place)
    return (value >> 1) ^ -(value & 1), place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    # Nearly all numbers are small.
    if data[place] < 0x80:  # noqa: PLR2004 - the highest bit says that more follows
        return data[place], place + 1
    value = shift = 0
    while shift <= _MAX_SHIFT:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the highest bit says that more follows
            return value, place
        shift += 7
    raise ShardError("damaged: a number in it has no end")
