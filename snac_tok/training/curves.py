"""The figures of a run as TensorBoard draws them: curves, sound before and after, and its spectrograms."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch

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


class Curves:
    """Writes one run's curves; without tensorboard it says so once and writes nothing.

    Args:
        folder: where TensorBoard looks.
        sampling_rate: of the sounds, in Hz.
        first_step: a resumed run's; later steps that an interrupted one wrote are hidden.
    """

    def __init__(self, folder: Path, *, sampling_rate: int, first_step: int) -> None:
        self.sampling_rate = sampling_rate
        self._writer: Any = None
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError:
            _log.warning("tensorboard is not installed, so no curves are drawn: pip install tensorboard.")
            return
        self._writer = SummaryWriter(str(folder), purge_step=first_step + 1)

    def losses(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to the curve of each loss."""
        self._scalars("train", step, values)

    def validation(self, step: int, values: Mapping[str, float], sounds: Sequence[Sound]) -> None:
        """Add a point to each curve of validation, and the sounds with their spectrograms."""
        self._scalars("validation", step, values)
        for sound in sounds if self._writer else ():
            for kind, samples in (("recording", sound.reference), ("decoded", sound.decoded)):
                tag = f"{sound.clip_id}/{kind}"
                self._writer.add_audio(tag, samples, step, sample_rate=self.sampling_rate)
                picture = spectrogram_picture(samples, sampling_rate=self.sampling_rate)
                self._writer.add_image(tag, picture, step, dataformats="HW")

    def close(self) -> None:
        """Bring everything to the disk."""
        if self._writer:
            self._writer.close()

    def _scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items() if self._writer else ():
            self._writer.add_scalar(f"{group}/{name}", value, step)


def spectrogram_picture(samples: torch.Tensor, *, sampling_rate: int) -> torch.Tensor:
    """Return a log-mel spectrogram (mels, steps) with values in 0 … 1, low notes at the bottom, of samples (T,)."""
    window = torch.hann_window(_FFT_SIZE)
    padded = torch.nn.functional.pad(samples.float(), (0, _FFT_SIZE))
    spectrum = torch.stft(padded, _FFT_SIZE, window=window, center=False, return_complex=True).abs()
    mel = mel_filter_bank(sampling_rate=sampling_rate, n_fft=_FFT_SIZE, n_mels=_NUM_MELS) @ spectrum
    decibels = 20 * torch.log10(mel / mel.max().clamp(min=1e-9) + 1e-9)
    return (decibels.clamp(min=_FLOOR_DB) / -_FLOOR_DB + 1).flip(0)
