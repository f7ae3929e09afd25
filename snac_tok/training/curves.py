"""The figures of a run as TensorBoard draws them: curves, sound before and after, and its spectrograms."""

from __future__ import annotations

import logging
import os
import platform
import time
from typing import TYPE_CHECKING, Any

import torch

from snac_tok.errors import first_line
from snac_tok.metrics.mel import mel_filter_bank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from snac_tok.training.validation import Sound

_log = logging.getLogger(__name__)

_FFT_SIZE = 1024
_NUM_MELS = 80
# Quieter than this relative to the loudest is drawn black.
_FLOOR_DB = -80.0
# torch takes a sound of one sample for none.
_LEAST_SAMPLES = 2


class Curves:
    """Writes one run's curves; without tensorboard, or on a disk that refuses, it says so once and writes nothing.

    A run never ends over what it draws: a sound that cannot be drawn is left out, and that is told once.

    Each point is on the disk when its call returns. `torch.utils.tensorboard.SummaryWriter` is not used: its thread
    prints a traceback of its own where the disk is full.

    Args:
        folder: where TensorBoard looks.
        sampling_rate: of the sounds, in Hz.
        first_step: a resumed run's; later steps that an interrupted one wrote are hidden.
    """

    def __init__(self, folder: Path, *, sampling_rate: int, first_step: int) -> None:
        self.sampling_rate = sampling_rate
        self._folder, self._is_drawn, self._told_of_sound = folder, True, False
        # TensorBoard reads a folder's files in the order of their names.
        self._file = folder / f"events.out.tfevents.{time.time():.6f}.{platform.node()}.{os.getpid()}"
        try:
            from tensorboard.compat.proto.event_pb2 import SessionLog
        except ImportError:
            _log.warning("tensorboard is not installed, so no curves are drawn: pip install tensorboard.")
            self._is_drawn = False
            return
        self._add(file_version="brain.Event:2")
        self._add(step=first_step + 1, session_log=SessionLog(status=SessionLog.START))

    def losses(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to the curve of each loss."""
        self._scalars("train", step, values)

    def validation(self, step: int, values: Mapping[str, float], sounds: Sequence[Sound]) -> None:
        """Add a point to each curve of validation, and the sounds with their spectrograms."""
        self._scalars("validation", step, values)
        for name, sound in _named(sounds) if self._is_drawn else ():
            for kind, samples in (("recording", sound.reference), ("decoded", sound.decoded)):
                self._sound(f"{name}/{kind}", step, samples)

    def _scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        if self._is_drawn:
            from tensorboard.compat.proto.summary_pb2 import Summary

            points = [
                Summary.Value(tag=f"{group}/{name}", simple_value=value) for name, value in values.items()
            ]
            self._add(step=step, summary=Summary(value=points))

    def _sound(self, tag: str, step: int, samples: torch.Tensor) -> None:
        try:
            for summary in self._summaries(tag, samples):
                self._add(step=step, summary=summary)
        except Exception as error:  # noqa: BLE001 - whatever tensorboard, pillow and torch raise: the run goes on
            if not self._told_of_sound:
                _log.warning("%s: cannot be drawn (%s); training goes on without it.", tag, first_line(error))
            self._told_of_sound = True

    def _summaries(self, tag: str, samples: torch.Tensor) -> tuple[Any, Any]:
        from torch.utils.tensorboard.summary import audio, image

        # What a codec makes may leave full scale, or be no number at all: torch prints a line about each.
        heard = torch.nan_to_num(samples).clamp(-1, 1)
        heard = torch.nn.functional.pad(heard, (0, max(0, _LEAST_SAMPLES - len(heard))))
        picture = spectrogram_picture(heard, sampling_rate=self.sampling_rate)
        sound = audio(tag, heard, sample_rate=self.sampling_rate)  # type: ignore[no-untyped-call]
        return sound, image(tag, picture, dataformats="HW")  # type: ignore[no-untyped-call]

    def _add(self, **event: Any) -> None:
        """Append an event to the file; the first refusal of the disk is told, and nothing is written from then on."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        if not self._is_drawn:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab") as file:
                RecordWriter(file).write(Event(wall_time=time.time(), **event).SerializeToString())
        except OSError as refusal:
            self._is_drawn = False
            _log.warning(
                "%s: cannot be written (%s); training goes on without curves: make room there, and they go on when the "
                "run is resumed.",
                self._folder,
                refusal.strerror or refusal,
            )


def _named(sounds: Sequence[Sound]) -> list[tuple[str, Sound]]:
    """Return each sound with a name of its own: two recordings of one file name are told apart by a number."""
    named: dict[str, Sound] = {}
    for sound in sounds:
        name, number = sound.clip_id, 1
        while name in named:
            number += 1
            name = f"{sound.clip_id} ({number})"
        named[name] = sound
    return list(named.items())


def spectrogram_picture(samples: torch.Tensor, *, sampling_rate: int) -> torch.Tensor:
    """Return a log-mel spectrogram (mels, steps) with values in 0 … 1, low notes at the bottom, of samples (T,)."""
    window = torch.hann_window(_FFT_SIZE)
    padded = torch.nn.functional.pad(samples.float(), (0, _FFT_SIZE))
    spectrum = torch.stft(padded, _FFT_SIZE, window=window, center=False, return_complex=True).abs()
    mel = mel_filter_bank(sampling_rate=sampling_rate, n_fft=_FFT_SIZE, n_mels=_NUM_MELS) @ spectrum
    decibels = 20 * torch.log10(mel / mel.max().clamp(min=1e-9) + 1e-9)
    return (decibels.clamp(min=_FLOOR_DB) / -_FLOOR_DB + 1).flip(0)
