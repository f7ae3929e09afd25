"""A checkpoint's file: what a run's state is on the disk, and whether it is whole. It does not know what is in it."""

from __future__ import annotations

import zipfile
from typing import IO, TYPE_CHECKING, Any

import torch

from snac_tok.errors import TrainingError, first_line

if TYPE_CHECKING:
    from pathlib import Path

# 1 had no list of its parts.
FORMAT_VERSION = 2
_PARTS = "parts"


def write_state(state: dict[str, Any], file: IO[bytes]) -> None:
    """Write a state with the list of its parts.

    Raises:
        OSError: the system refuses.
    """
    content = {"format_version": FORMAT_VERSION, _PARTS: _parts(state), **state}
    try:
        torch.save(content, file)
    except RuntimeError as error:
        # torch's zip writer puts an error of its own over what the system refused, and that says nothing of the disk.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def read_state(path: Path, *, step: int) -> dict[str, Any]:
    """Read the state of a step; whatever else is raised says that the file is not whole (`reason_of`).

    Raises:
        TrainingError: it is of another version.
    """
    # torch reads tensors without a look at their checksums.
    with zipfile.ZipFile(path) as archive:
        if changed := archive.testzip():
            raise ValueError(f"{changed} holds other bytes than were written")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    version = state["format_version"]
    if version != FORMAT_VERSION:
        raise TrainingError(f"{path} has format {version}; this version reads {FORMAT_VERSION}.")
    parts = state.pop(_PARTS)
    found = _parts({name: value for name, value in state.items() if name != "format_version"})
    odd = sorted(set(parts) ^ set(found), key=lambda part: (part.count("/"), part))
    if odd:
        raise ValueError(f"{odd[0]} is {'missing' if odd[0] in parts else 'none of its parts'}")
    if type(state["step"]) is not int or state["step"] != step:
        raise ValueError(f"it says step {state['step']!r}")
    return state


def reason_of(error: Exception) -> str:
    """Return in what way a file is not whole."""
    return f"it lacks {error}" if isinstance(error, KeyError) else first_line(error)


def _parts(value: Any, at: str = "") -> list[str]:
    """What a checkpoint is made of, one line a tensor or number: its path, type and shape."""
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list | tuple):
        inner = dict(enumerate(value)).items()
    elif isinstance(value, torch.Tensor):
        return [f"{at}: {value.dtype} {tuple(value.shape)}"]
    else:
        return [f"{at}: {type(value).__name__}"]
    return [
        f"{at}: {type(value).__name__}",
        *(part for name, each in inner for part in _parts(each, f"{at}/{name}")),
    ]
