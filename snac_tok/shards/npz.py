"""Reads an .npz of plain arrays from an untrusted source: every size is checked before memory is allocated.

An .npz is a zip of .npy files. The zip states the unpacked length of each, and the .npy's header the array's shape
and type; a file of two megabytes can claim ten gigabytes in both places. So they are checked in this order:

    the zip's directory → total size → each array's header: type and shape make exactly that size → the values

Pickles are never read; only arrays of the requested types are.
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
# Limits of the unpacked size of all arrays: in bytes, and relative to the file. Two hours of speech are 1.2 MB, and
# codes hardly compress; zeros compress a thousand times.
_MAX_BYTES = 16_000_000
_MAX_RATIO = 8
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Besides the levels there are three arrays, and no codec has more than 16 levels.
_MAX_ARRAYS = 32
# The longest header that numpy reads; ours have 118 bytes and a shape.
_MAX_HEADER_BYTES = 10_000


def read_arrays(file: IO[bytes], kinds: Mapping[str, str]) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of an .npz.

    Args:
        file: open, and able to seek.
        kinds: numpy's kind letter ("u" for unsigned integers) by the prefix of the arrays' names.

    Returns:
        the arrays by name; a name without a known prefix is an error.

    Raises:
        CodesError: sizes that contradict each other or are too large, or an array of another kind.
        zipfile.BadZipFile, zlib.error, OSError, EOFError: not a zip, or a damaged one.
        ValueError, OverflowError: not an .npy.
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
            f"its {size:,} bytes would become {unpacked:,} when unpacked, far more than codes do."
        )


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, kinds: Mapping[str, str]) -> npt.NDArray[Any]:
    name = entry.filename.removesuffix(_ENDING)
    with archive.open(entry) as file:
        shape, dtype = _header(file)
        kind = next((kind for begin, kind in kinds.items() if name.startswith(begin)), None)
        if kind is None or dtype.kind not in kind:
            raise CodesError(
                f"{name!r} is an array of {dtype}; files of codes have no array of this name and type."
            )
        num_bytes = math.prod(shape) * dtype.itemsize
        if num_bytes != entry.file_size - file.tell():
            raise CodesError(
                f"{name!r} claims {num_bytes:,} bytes of {dtype}, but has {entry.file_size - file.tell():,}."
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
