"""Reads an .npz of plain arrays that somebody else may have made: every size is checked before it is allocated.

An .npz is a zip of .npy files. The zip says how long each of them is unpacked, and the .npy's own header says which
shape and type the array has; a file of two megabytes can claim ten gigabytes in both places. So

    the zip's directory → sizes in all → each array's header: type and shape make exactly that size → the values

No pickle is read, and of the values only arrays of the types that were asked for.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy

from snac_tok.errors import CodesError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

_ENDING = ".npy"
# Unpacked, all arrays together may have so many bytes, or so many times the file's: two hours of speech are 1.2 MB,
# and codes hardly get smaller by packing. Packed zeros get smaller a thousand times.
_MAX_BYTES = 16_000_000
_MAX_RATIO = 8
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Besides the levels there are three arrays, and no codec has more than 16 levels.
_MAX_ARRAYS = 32
# What numpy reads of a header; one of ours has 118 bytes and a shape.
_MAX_HEADER_BYTES = 10_000


def read_arrays(file: IO[bytes], kinds: Mapping[str, str]) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of an .npz.

    Args:
        file: open, and able to seek.
        kinds: by the beginnings of names, of which kind the arrays are: numpy's letters, "u" for unsigned integers.

    Returns:
        the arrays by name; one that no beginning fits is an error.

    Raises:
        CodesError: sizes that do not fit each other or are out of all proportion, or an array of another kind.
        zipfile.BadZipFile, zlib.error, OSError, EOFError: no zip, or a damaged one.
        ValueError, OverflowError: no .npy.
    """
    size = file.seek(0, 2)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        _check_directory(entries, size)
        return {entry.filename.removesuffix(_ENDING): _read(archive, entry, kinds) for entry in entries}


def _check_directory(entries: list[zipfile.ZipInfo], size: int) -> None:
    names = [entry.filename for entry in entries]
    if len(names) > _MAX_ARRAYS or len(set(names)) < len(names):
        raise CodesError(
            f"it holds {len(names)} arrays, some twice or more than the {_MAX_ARRAYS} that there can be."
        )
    if any(entry.compress_type not in _PACKINGS or entry.flag_bits & 1 for entry in entries):
        raise CodesError("its arrays are packed in another way than numpy's, or encrypted.")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > max(_MAX_BYTES, _MAX_RATIO * size):
        raise CodesError(
            f"its {size:,} bytes would become {unpacked:,} when unpacked, out of all proportion."
        )


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, kinds: Mapping[str, str]) -> npt.NDArray[Any]:
    name = entry.filename.removesuffix(_ENDING)
    with archive.open(entry) as file:
        shape, dtype = _header(file)
        kind = next((kind for begin, kind in kinds.items() if name.startswith(begin)), None)
        if kind is None or dtype.kind not in kind:
            raise CodesError(
                f"{name!r} is an array of {dtype}; files of codes have none of this name and type."
            )
        num_bytes = math.prod(shape) * dtype.itemsize
        if num_bytes != entry.file_size - file.tell():
            raise CodesError(
                f"{name!r} says that it has {num_bytes:,} bytes of {dtype}, and has {entry.file_size - file.tell():,}."
            )
        content = file.read(num_bytes)
    if len(content) != num_bytes:
        raise EOFError("it ends too early")
    return np.frombuffer(content, dtype=dtype).reshape(shape)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(npy.read_magic(file))
    if read is None:
        raise CodesError("an array is of an unknown version.")
    try:
        shape, column_major, dtype = read(file, max_header_size=_MAX_HEADER_BYTES)
    except (SyntaxError, tokenize.TokenError, RecursionError, MemoryError) as error:
        raise CodesError("an array's header cannot be read.") from error  # it is parsed like Python
    if column_major and len(shape) > 1:
        raise CodesError("an array is stored by columns.")
    return shape, dtype
