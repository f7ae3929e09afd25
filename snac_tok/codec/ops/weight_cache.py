"""What is made from a weight once and kept: prepacked matrices. And how to tell that a weight has changed."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import torch
    from torch import nn

    # For each step, a matrix for each part of its columns.
    Matrices = tuple[tuple[torch.Tensor, ...], ...]


class _Entry(NamedTuple):
    weight: weakref.ref[torch.Tensor]
    version: tuple[int, ...]
    matrices: Matrices


# By the weight's id. A weight that is gone takes its entry along, before the id can be another's.
_entries: dict[int, _Entry] = {}


def prepacked(weight: torch.Tensor, prepack: Callable[[torch.Tensor], Matrices]) -> Matrices:
    """Return a weight's matrices, made anew if it was written to since; each weight has one form only."""
    # Another thread may forget the weight meanwhile: what was found is kept here.
    key, version = id(weight), versions((weight,))
    entry = _entries.get(key)
    if entry is None or entry.version != version or entry.weight() is not weight:
        matrices = prepack(weight)
        _entries[key] = entry = _Entry(
            weakref.ref(weight, lambda _: _entries.pop(key, None)), version, matrices
        )
    return entry.matrices


def packed(weights: Iterable[torch.Tensor]) -> dict[int, Matrices]:
    """Return the matrices that weights have now, by their ids, for `are_packed`."""
    found = ((id(weight), _entries.get(id(weight))) for weight in weights)
    return {key: entry.matrices for key, entry in found if entry is not None}


def are_packed(matrices: Mapping[int, Matrices]) -> bool:
    """Say whether these are still the matrices of their weights."""
    return all((entry := _entries.get(key)) and entry.matrices is each for key, each in matrices.items())


def forget(weight: torch.Tensor) -> None:
    """Prepack this weight anew when it is used next: it may have been written to unseen."""
    _entries.pop(id(weight), None)


def weights_of(*modules: nn.Module, buffers: bool = False) -> list[torch.Tensor]:
    """Return the parameters of modules, and their buffers if they count.

    `nn.Module`'s own walk makes each one's name, which takes six times as long, in front of every chunk.
    """
    found: list[torch.Tensor | None] = []
    waiting: list[nn.Module | None] = [*modules]
    while waiting:
        if (module := waiting.pop()) is None:
            continue
        found += module._parameters.values()  # noqa: SLF001
        if buffers:
            found += module._buffers.values()  # noqa: SLF001
        waiting += module._modules.values()  # noqa: SLF001
    return [each for each in found if each is not None]


def versions(weights: Iterable[torch.Tensor]) -> tuple[int, ...]:
    """Return what changes whenever one of these is replaced, moved or written to in place; `.data` hides a write.

    To notice that, too, all values would have to be read: longer than a frame takes to decode.
    """
    found: list[int] = []
    for weight in weights:
        # Inference tensors cannot be written to outside inference mode and keep no counter.
        found += (weight.data_ptr(), 0 if weight.is_inference() else weight._version)  # noqa: SLF001
    return tuple(found)
