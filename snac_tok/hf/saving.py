"""What transformers saves into a folder: whole files under final names, or the folder as it was."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from snac_tok.codec.checkpoint import SAFETENSORS_FILE
from snac_tok.errors import CheckpointError, first_line
from snac_tok.files import HiddenFile, sweep_folder, sync_folder
from snac_tok.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

# Readers begin with it, and it says which files the others are: it comes last.
_LAST = "config.json"
_FILES = ".files"


@contextlib.contextmanager
def whole_files(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Lend a hidden folder whose files move into `folder` if nothing goes wrong inside, config.json last.

    Args:
        folder: made where it is missing. Files of the same names are replaced, others stay.

    Raises:
        CheckpointError: the folder or the disk refuses; what was there before stays.

    Example:
        >>> with whole_files("codec") as hidden:
        ...     _ = (hidden / "config.json").write_text("{}")
        >>> [path.name for path in Path("codec").iterdir()]
        ['config.json']
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _hidden_folder(folder) as hidden:
            yield hidden
            _publish(hidden, folder)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise CheckpointError(
            f"no model can be saved into {folder}: {reason.rstrip('.')}; make room or choose another folder."
        ) from error


@contextlib.contextmanager
def _hidden_folder(folder: Path) -> Iterator[Path]:
    """Lend a folder inside another that a killed process leaves at most until the next one saves there."""
    # Its lock tells that we live; making it removes the locks of those that were killed.
    lock = HiddenFile(folder / "saving")
    hidden = lock.path.with_name(lock.path.name + _FILES)
    try:
        _remove_left(folder)
        hidden.mkdir()
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
        lock.discard()


def _remove_left(folder: Path) -> None:
    sweep_folder(folder)  # HiddenFile does so once a process
    for left in folder.glob(f".saving.*{_FILES}"):
        if not left.with_name(left.name.removesuffix(_FILES)).exists():
            shutil.rmtree(left, ignore_errors=True)


def check_weights_name(folder: Path) -> None:
    """Refuse weights that were written under names which no codec is loaded from.

    Raises:
        CheckpointError: names the first.
    """
    found = sorted(path.name for path in folder.glob("model*.safetensors"))
    if found not in ([], [SAFETENSORS_FILE]):
        raise CheckpointError(
            f"the weights would be saved as {counted(len(found), 'file')}, {found[0]} first; a codec is loaded from "
            f"one, {SAFETENSORS_FILE}: leave out max_shard_size and variant."
        )


def _publish(hidden: Path, folder: Path) -> None:
    """Bring all files to the disk, then give them their names."""
    paths = sorted(hidden.iterdir(), key=lambda path: (path.name == _LAST, path.name))
    for path in paths:
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    for path in paths:
        path.replace(folder / path.name)
    sync_folder(folder)
