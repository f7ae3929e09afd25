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
import dataclasses
import json
import logging
import os
import re
import shutil
from typing import TYPE_CHECKING, Any

import torch

from snac_tok.codec.checkpoint import LEGACY_FILE, SAFETENSORS_FILE
from snac_tok.codec.decoders import codes_sha256
from snac_tok.codec.vocos import VocosDecoder
from snac_tok.errors import SnacTokError, TrainingError
from snac_tok.files import (
    HiddenFile,
    living_writers,
    naming_refusals,
    replacing,
    sweep_folder,
    write_bytes_atomically,
)
from snac_tok.plain_values import differences
from snac_tok.training.checkpoint_file import read_state, reason_of, write_state
from snac_tok.training.clip_store import CLIPS_FILE, JOURNAL_FILE, PART_FILE, SAMPLES_FILE
from snac_tok.training.config import TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from snac_tok.codec.model import SNAC

_log = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
LOSSES_FILE = "losses.jsonl"
VALIDATION_FILE = "validation.jsonl"
CODEC_FOLDER = "codec"
DECODER_FOLDER = "decoder"
_CHECKPOINTS_FOLDER = "checkpoints"
_CLAIM = "training"
# A run that was killed before its first checkpoint has nothing in these: what is there is somebody else's.
_WRITTEN_LATER = (_CHECKPOINTS_FOLDER, CODEC_FOLDER, DECODER_FOLDER)
# A codec's weights, and prepared sound: a run's files among these would be taken for theirs.
_OF_OTHERS = (SAFETENSORS_FILE, LEGACY_FILE, CLIPS_FILE, SAMPLES_FILE, PART_FILE, JOURNAL_FILE)
_NAMES_SHOWN = 3


class RunFolder:
    """The folder of one run.

    Args:
        path: made, where it is missing, when the run begins.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._told_of_export = False

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
                checkpoints and none of them is whole, the folder is somebody else's or cannot be made, or another
                process is training into it.
        """
        self._refuse_company()
        if not self.steps():
            self._refuse_others_folder()
        elif not resume:
            raise TrainingError(
                f"{self.path} holds a run of {self.steps()[-1]} steps; go on with --resume, or choose another folder."
            )
        before = self._config()
        if before is not None and resume:
            changed = differences(before, json.loads(json.dumps(config.to_dict())))
            decisive = [name for name in changed if not config.may_change(name)]
            if decisive:
                raise TrainingError(
                    f"{self.path} was begun with other values of {', '.join(decisive)}; resume with the config "
                    f"it was begun with ({self.path / CONFIG_FILE}), or choose another folder."
                )
        state = self.newest(take_up) if resume else None
        self._make()
        content = json.dumps(config.to_dict(), indent=2) + "\n"
        write_bytes_atomically(self.path / CONFIG_FILE, content.encode(), error=TrainingError)
        for name in (LOSSES_FILE, VALIDATION_FILE):
            self._cut(name, step=0 if state is None else state["step"])
        return state

    def steps(self) -> list[int]:
        """Return the steps of the checkpoints there are, oldest first."""
        paths = (self.path / _CHECKPOINTS_FOLDER).glob("*")  # of a folder that is missing, nothing
        names = (re.fullmatch(r"step-(\d+)\.pt", path.name) for path in paths)
        return sorted(int(name[1]) for name in names if name)

    @property
    def exported_codec(self) -> Path | None:
        """Where the codec is; None where none has been written, as in a run of a Vocos-type decoder alone."""
        folder = self.path / CODEC_FOLDER
        return folder if (folder / CONFIG_FILE).is_file() else None

    def save(self, state: dict[str, Any], *, keep: int) -> None:
        """Write a checkpoint, then remove all but the newest `keep`.

        Raises:
            TrainingError: the disk refuses; older checkpoints stay.
        """
        with replacing(self._checkpoint(state["step"]), error=TrainingError) as file:
            write_state(state, file)
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
                decoder = codec.decoder
                decoder.config = dataclasses.replace(decoder.config, codes_sha256=codes_sha256(codec))
                decoder.save_pretrained(self.path / DECODER_FOLDER)
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

    def _make(self) -> None:
        with naming_refusals(self.path, error=TrainingError):
            (self.path / _CHECKPOINTS_FOLDER).mkdir(parents=True, exist_ok=True)
        for folder in (self.path, self.path / _CHECKPOINTS_FOLDER, self.path / CODEC_FOLDER):
            sweep_folder(folder)

    def _refuse_others_folder(self) -> None:
        """Refuse a folder without checkpoints where a run would write over, or into, what is not its own.

        Files of any other name lie beside a run untouched: logs, notes, configs in YAML, folders of other tools.
        """
        inside = [path for folder in _WRITTEN_LATER for path in (self.path / folder).glob("[!.]*")]
        files = [path for folder in _WRITTEN_LATER if (path := self.path / folder).is_file()]
        theirs = [path for name in _OF_OTHERS if (path := self.path / name).exists()]
        other = sorted(str(path.relative_to(self.path)) for path in [*inside, *files, *theirs])
        if other:
            names = ", ".join(other[:_NAMES_SHOWN]) + (", …" if len(other) > _NAMES_SHOWN else "")
            raise TrainingError(
                f"{self.path} holds {names} and no checkpoint of a run; a run begins where no codec, prepared sound or "
                "other run is: choose another folder."
            )

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
                state = read_state(path, step=step)
                if take_up:
                    take_up(state)
            except (SnacTokError, MemoryError, torch.OutOfMemoryError):
                raise  # says nothing of the checkpoint, or all that there is to say
            except Exception as error:  # noqa: BLE001 - torch raises pickle, zip, runtime and OS errors here
                reasons.append(f"{path.name} ({reason_of(error)})")
                _log.warning("%s is damaged (%s) and passed over.", path, reason_of(error))
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
