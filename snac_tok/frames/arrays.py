"""What this folder needs from integers: single ones, and arrays of numpy and torch alike.

Torch is never imported: a tensor is recognised by its class and asked for its own methods, so integer
work costs no torch start-up and stays on the tensor's device. No layout and no vocabulary is known here.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from snac_tok.masked import refuse_masked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.errors import SnacTokError

# A numpy.ndarray or a torch.Tensor. A union would need torch's types, which this folder may not import.
Array: TypeAlias = Any

# uint64 is missing on purpose: half of its values turn negative in int64.
_TORCH_INTEGERS = frozenset(
    f"torch.{name}" for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
)
# Trainers and shards store ids as int32.
MAX_SIZE = 2**31

_LARGEST = np.iinfo(np.int64).max
_NUMPY_UNREADABLE = (ValueError, TypeError, OverflowError, RuntimeError)


def is_torch(value: Any) -> bool:
    """Tell a torch tensor (or a subclass of one) from everything else, without importing torch."""
    return any(base.__module__ == "torch" and base.__name__ == "Tensor" for base in type(value).__mro__)


def is_integers(array: Array) -> bool:
    """Say whether an array or tensor holds integers, bools not among them.

    Example:
        >>> is_integers(np.array([1])), is_integers(np.array([True])), is_integers(np.array(["1"]))
        (True, False, False)
    """
    if is_torch(array):
        return str(array.dtype) in _TORCH_INTEGERS
    return array.dtype.kind in "iu"


def whole_number(
    value: Any, *, what: str, error: type[SnacTokError], least: int = 0, size: int = MAX_SIZE
) -> int:
    """Return `value` as a Python int in least … size−1, so that no narrow numpy type can overflow later.

    Raises:
        SnacTokError: As `error`; `what` names the value.

    Example:
        >>> from snac_tok.errors import LayoutError
        >>> whole_number(np.uint16(7), what="base", error=LayoutError)
        7
    """
    number = _index(value)
    if number is None or not least <= number < size:
        raise error(f"{what} must be a whole number from {least} to {size - 1}, got {value!r}.")
    return number


def is_list(value: Any) -> bool:
    """Tell a list, an array or another line of values from one value; a text is one, not its letters.

    Example:
        >>> is_list((1, 2)), is_list("bos"), is_list(np.array(5))
        (True, False, False)
    """
    is_one = isinstance(value, (str, bytes, Mapping)) or getattr(value, "ndim", 1) == 0
    return isinstance(value, Iterable) and not is_one


def any_integer(value: Any, *, what: str, error: type[SnacTokError]) -> int:
    """Return `value` as a Python int of any size and sign, or refuse what is not an integer."""
    number = _index(value)
    if number is None:
        raise error(f"{what} must be a whole number, got {value!r}.")
    return number


def _index(value: Any) -> int | None:
    """Return the Python int of anything that is an integer by Python's own rule, except a bool."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def integers(value: Any, *, what: str, error: type[SnacTokError]) -> Array:
    """Return `value` as int64 of at least one dimension: a tensor on its device, all else as numpy.

    Args:
        value: A numpy array, a torch tensor or nested lists of ints.
        what: How the error names it.
        error: The class to raise.

    Raises:
        SnacTokError: As `error`, when the values are no integers (floats, NaN, bools, None, ragged lists),
            or some are masked.

    Example:
        >>> from snac_tok.errors import CodesError
        >>> integers([1, 2, 3], what="codes", error=CodesError).dtype
        dtype('int64')
    """
    array: Array = value if is_torch(value) else _as_numpy(value, what=what, error=error)
    if not is_torch(array) and array.dtype.kind in "SU":
        raise error(
            f"{what} must be integers, got text such as {str(array.flat[0])[:40]!r}; a vocabulary's text_to_ids makes "
            "ids of a text, a tokenizer's convert_tokens_to_ids of a list of tokens."
        )
    if not _is_integer(array):
        raise error(f"{what} must be whole numbers of an integer type up to int64, got {array.dtype}.")
    if array.ndim == 0:
        raise error(f"{what} must be an array with at least one dimension, got a single number.")
    if is_torch(array):
        return array.long()
    return array.astype(np.int64, copy=False)


def as_int64(array: np.ndarray[Any, Any], *, error: type[SnacTokError]) -> np.ndarray[Any, Any]:
    """Return ids of any integer dtype as int64.

    Raises:
        SnacTokError: As `error`, for a number that int64 does not hold; it would turn negative.

    Example:
        >>> from snac_tok.errors import TokenError
        >>> as_int64(np.array([7], dtype=np.uint64), error=TokenError).dtype
        dtype('int64')
    """
    if array.dtype == np.uint64 and array.size and array.max() > _LARGEST:
        raise error(
            f"id {array.max()} is in no vocabulary: ids are at most {_LARGEST}; look where it comes from."
        )
    return array.astype(np.int64)


def _as_numpy(value: Any, *, what: str, error: type[SnacTokError]) -> np.ndarray[Any, Any]:
    refuse_masked(value, what=what, error=error)
    try:
        array = np.asarray(value)
    except _NUMPY_UNREADABLE as reason:
        raise error(
            f"{what} must be an array or nested lists of equal lengths of ints ({reason})."
        ) from reason
    # numpy calls an empty list float64; it holds no float.
    return array.astype(np.int64) if array.size == 0 and isinstance(value, (list, tuple)) else array


def _is_integer(array: Array) -> bool:
    if is_torch(array):
        return str(array.dtype) in _TORCH_INTEGERS and str(array.layout) == "torch.strided"
    return array.dtype.kind in "iu" and array.dtype != np.uint64


def new_like(array: Array, shape: Sequence[int]) -> Array:
    """Return uninitialised int64 memory of the kind, and on the device, of the int64 `array`."""
    return array.new_empty(tuple(shape)) if is_torch(array) else np.empty(tuple(shape), dtype=np.int64)


def store_sum(target: Array, values: Array, offset: int) -> None:
    """Write values + offset into a view of the same shape."""
    if is_torch(target):
        target[...] = values + offset
    else:
        # No array in between: a fifth faster on an hour of codes.
        np.add(values, offset, out=target)


def to_numpy(array: Array) -> np.ndarray[Any, Any]:
    """Return the int64 `array` as numpy, copied to the CPU where it must be."""
    numbers: np.ndarray[Any, Any] = array.cpu().numpy() if is_torch(array) else array
    return numbers


def all_below(array: Array, size: int) -> bool:
    """Tell whether every value of the int64 `array` is one of 0 … size−1; one pass over the data."""
    if 0 in array.shape:
        return True
    if is_torch(array):
        low, high = array.aminmax()
        return int(low) >= 0 and int(high) < size
    # Read as unsigned, a negative value is a huge one: one maximum checks both ends.
    return int(array.view(np.uint64).max()) < size


def place_of(array: Array) -> str:
    """Name where an array lives, so that arrays of two places can be refused before they meet."""
    return f"torch on {array.device}" if is_torch(array) else "numpy"
