"""A run on disk: its config, its checkpoints, the figures it wrote.

    RUN/config.json            what is trained, and how
    RUN/checkpoints/step-….pt  everything that the next step depends on; the newest few
    RUN/losses.jsonl           one line every few steps
    RUN/validation.jsonl       one line a validation
    RUN/tensorboard/           the same as curves, with sound
    RUN/codec/                 the codec as it is now: config.json and model.safetensors
    RUN/decoder/               where a decoder of another kind is trained: that decoder alone; the codec lies beside it
                               if its codes are trained, too

Checkpoints are written whole or not at all; one that is damaged all the same, or lacks a part, is passed over for the
one before. Where none is whole, nothing is begun in their place. One process at a time trains into a folder.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import zipfile
from typing import IO, TYPE_CHECKING, Any

import torch

from snac_tok.codec.vocos import VocosDecoder
from snac_tok.errors import TrainingError, first_line
from snac_tok.files import (
    HiddenFile,
    living_writers,
    naming_refusals,
    replacing,
    sweep_folder,
    write_bytes_atomically,
)
from snac_tok.plain_values import differences
from snac_tok.training.config import TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from snac_tok.codec.model import SNAC

_log = logging.getLogger(__name__)

# 1 had no list of its parts.
FORMAT_VERSION = 2
CONFIG_FILE = "config.json"
LOSSES_FILE = "losses.jsonl"
VALIDATION_FILE = "validation.jsonl"
CODEC_FOLDER = "codec"
DECODER_FOLDER = "decoder"
_CHECKPOINTS_FOLDER = "checkpoints"
_CLAIM = "training"
_PARTS = "parts"


class RunFolder:
    """The folder of one run.

    Args:
        path: made where it is missing.

    Raises:
        TrainingError: the folder cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._told_of_export = False
        with naming_refusals(path, error=TrainingError):
            (path / _CHECKPOINTS_FOLDER).mkdir(parents=True, exist_ok=True)
        for folder in (path, path / _CHECKPOINTS_FOLDER, path / CODEC_FOLDER):
            sweep_folder(folder)

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep the folder for this process.

        Raises:
            TrainingError: another one is training into it.
        """
        with naming_refusals(self.path, error=TrainingError):
            claim = HiddenFile(self.path / _CLAIM)
        try:
            self._refuse_company()
            yield
        finally:
            claim.discard()

    def begin(
        self,
        config: TrainingConfig,
        *,
        resume: bool,
        take_up: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any] | None:
        """Write the config of a new run, or return the newest checkpoint of one to be resumed.

        Args:
            config: of the run.
            resume: go on with the run that is there.
            take_up: see `newest`.

        Raises:
            TrainingError: there is a run and `resume` is off, its config differs in what decides results, it has
                checkpoints and none of them is whole, or another process is training into the folder.
        """
        self._refuse_company()
        before = self._config()
        if not resume and self.steps():
            raise TrainingError(
                f"{self.path} holds a run of {self.steps()[-1]} steps; go on with --resume, or choose another folder."
            )
        if before is not None and resume:
            changed = differences(before, json.loads(json.dumps(config.to_dict())))
            decisive = [name for name in changed if not config.may_change(name)]
            if decisive:
                raise TrainingError(
                    f"{self.path} was begun with other values of {', '.join(decisive)}; resume with the config "
                    f"it was begun with ({self.path / CONFIG_FILE}), or choose another folder."
                )
        state = self.newest(take_up) if resume else None
        content = json.dumps(config.to_dict(), indent=2) + "\n"
        write_bytes_atomically(self.path / CONFIG_FILE, content.encode(), error=TrainingError)
        for name in (LOSSES_FILE, VALIDATION_FILE):
            self._cut(name, step=0 if state is None else state["step"])
        return state

    def steps(self) -> list[int]:
        """Return the steps of the checkpoints there are, oldest first."""
        names = (
            re.fullmatch(r"step-(\d+)\.pt", path.name) for path in (self.path / _CHECKPOINTS_FOLDER).iterdir()
        )
        return sorted(int(name[1]) for name in names if name)

    def save(self, state: dict[str, Any], *, keep: int) -> None:
        """Write a checkpoint, then remove all but the newest `keep`.

        Raises:
            TrainingError: the disk refuses; older checkpoints stay.
        """
        with replacing(self._checkpoint(state["step"]), error=TrainingError) as file:
            _write({"format_version": FORMAT_VERSION, _PARTS: _parts(state), **state}, file)
        # A later one is damaged, or this run would have gone on from it: it must not push out those that are whole.
        whole = [step for step in self.steps() if step <= state["step"]]
        for step in whole[:-keep]:
            self._checkpoint(step).unlink(missing_ok=True)

    def export(self, codec: SNAC) -> None:
        """Write the codec as others load it; training goes on without where safetensors is not installed.

        Raises:
            CheckpointError: the disk refuses.
        """
        try:
            if isinstance(codec.decoder, VocosDecoder):
                codec.decoder.save_pretrained(self.path / DECODER_FOLDER)
            else:
                codec.save_pretrained(self.path / CODEC_FOLDER)
        except ImportError:
            if not self._told_of_export:
                _log.warning(
                    "safetensors is not installed, so there is no %s; a resumed run writes it where it is.",
                    self.path / CODEC_FOLDER,
                )
            self._told_of_export = True

    def drop_decoder(self) -> None:
        """Remove the decoder of another kind that an earlier stage wrote, if there is one.

        Raises:
            TrainingError: the disk refuses.
        """
        folder = self.path / DECODER_FOLDER
        with naming_refusals(folder, error=TrainingError):
            if folder.exists():
                shutil.rmtree(folder)

    def append(self, name: str, line: dict[str, Any]) -> None:
        """Add one JSON line to a file of figures."""
        with naming_refusals(self.path / name, error=TrainingError), (self.path / name).open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _config(self) -> dict[str, Any] | None:
        path = self.path / CONFIG_FILE
        if not path.is_file():
            return None
        return TrainingConfig.from_file(path).to_dict() if path.stat().st_size else None

    def _checkpoint(self, step: int) -> Path:
        return self.path / _CHECKPOINTS_FOLDER / f"step-{step:08}.pt"

    def newest(self, take_up: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any] | None:
        """Read the newest checkpoint that is whole; None where there is none at all.

        Args:
            take_up: makes a run of it; a checkpoint that it cannot take up is not whole.

        Raises:
            TrainingError: there are some and none is whole, or one is of another version.
        """
        reasons = []
        for step in reversed(self.steps()):
            path = self._checkpoint(step)
            try:
                state = _read(path, step=step)
                if take_up:
                    take_up(state)
            except (TrainingError, MemoryError, torch.OutOfMemoryError):
                raise  # says nothing of the checkpoint, or all that there is to say
            except Exception as error:  # noqa: BLE001 - torch raises pickle, zip, runtime and OS errors here
                reasons.append(f"{path.name} ({_reason(error)})")
                _log.warning("%s is damaged (%s) and passed over.", path, _reason(error))
                continue
            return state
        if reasons:
            raise TrainingError(
                f"no checkpoint in {self.path / _CHECKPOINTS_FOLDER} is whole: {', '.join(reasons)}; copy one back, or "
                "begin anew in another folder."
            )
        return None

    def _refuse_company(self) -> None:
        others = {path for path in living_writers(self.path / _CLAIM) if f"-{os.getpid()}-" not in path.name}
        if others:
            raise TrainingError(
                f"another process is training into {self.path}; wait until it has ended, or choose another folder."
            )

    def _cut(self, name: str, *, step: int) -> None:
        """Drop the lines of steps after the checkpoint: they will be written again."""
        path = self.path / name
        if not path.is_file():
            return
        kept = []
        for line in path.read_bytes().splitlines():
            # The end of a file whose writer was killed, or what a failing disk made of a line, is none of ours.
            with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                if json.loads(line.decode())["step"] <= step:
                    kept.append(line + b"\n")
        write_bytes_atomically(path, b"".join(kept), error=TrainingError)


def _write(content: dict[str, Any], file: IO[bytes]) -> None:
    try:
        torch.save(content, file)
    except RuntimeError as error:
        # torch's zip writer puts an error of its own over what the system refused, and that says nothing of the disk.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _read(path: Path, *, step: int) -> dict[str, Any]:
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


def _reason(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else first_line(error)
