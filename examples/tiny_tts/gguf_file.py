"""Writes GGUF, the file that llama.cpp reads: a dictionary and named arrays, no package needed.

    "GGUF" version | number of arrays, of values | key value … | name shape kind offset … | padding | array padding …

The format is described in ggml's docs/gguf.md.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]

Value: TypeAlias = "bool | int | float | str | Sequence[int] | Sequence[str]"

VERSION, ALIGNMENT = 3, 32
# Kinds of values. Arrays of numbers are written as int32.
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
# The kind of an array of float32.
F32 = 0


def write_gguf(path: Path, values: Mapping[str, Value], arrays: Mapping[str, Floats]) -> None:
    """Write one file.

    Args:
        path: of the file.
        values: by their keys; an int is written as uint32, a float as float32.
        arrays: float32, by their names; the shape is written last size first, as ggml counts them.
    """
    head = struct.pack("<4sIQQ", b"GGUF", VERSION, len(arrays), len(values))
    head += b"".join(_string(key) + _value(value) for key, value in values.items())
    offset = 0
    for name, array in arrays.items():
        sizes = array.shape[::-1]
        head += _string(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, F32, offset)
        offset += array.nbytes + _padding(array.nbytes)
    with path.open("wb") as file:
        file.write(head + bytes(_padding(len(head))))
        for array in arrays.values():
            file.write(array.astype("<f4", copy=False).tobytes() + bytes(_padding(array.nbytes)))


def _padding(size: int) -> int:
    return -size % ALIGNMENT


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Value) -> bytes:
    # bool is an int to Python, so it comes first.
    if isinstance(value, bool):
        return struct.pack("<I?", BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", FLOAT32, value)
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _string(value)
    # Lists of texts may be empty, such as the merges of a tokenizer of bytes.
    kind = INT32 if value and isinstance(value[0], int) else STRING
    items = [_string(each) if isinstance(each, str) else struct.pack("<i", each) for each in value]
    return struct.pack("<IIQ", ARRAY, kind, len(value)) + b"".join(items)
