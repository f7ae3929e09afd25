"""Sound as pictures: spectrograms under each other, and a recording with its codes. PNG bytes; no window is opened."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.audio import resample
from snac_tok.audio.optional import import_optional
from snac_tok.errors import EvaluationError
from snac_tok.metrics.mel import mel_filter_bank
from snac_tok.wording import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from snac_tok.audio import Waveform

    Samples = npt.NDArray[np.float32]
    Image = npt.NDArray[np.float64]

_STRIP_INCHES = (9.0, 1.7)
_DPI = 110
_LONGEST_TITLE = 100
_FFT_SIZE = 1024
_HOP = 256
_FLOOR_DB = -120.0
_RANGE_DB = 70.0
# At 44.1 kHz a shorter transform would leave the lowest filters without a bin.
_MEL_FFT_SIZE = 2048
_NUM_MELS = 80
_MEL_TICKS_KHZ = (0.5, 1, 2, 4, 8, 16)
# A waveform is drawn as the lowest and the highest sample of each of so many stretches.
_STRETCHES = 1500


def draw_spectrograms(sounds: Mapping[str, Waveform]) -> bytes:
    """Return a PNG with one spectrogram a sound under each other, all with the first one's frequencies and colours.

    Args:
        sounds: name → sound, such as an original and then what codecs made of it; channel 0 is drawn.

    Raises:
        EvaluationError: there is nothing to draw.
        MissingDependencyError: matplotlib is not installed.
    """
    if not sounds:
        raise EvaluationError("there is no sound to draw.")
    rate = next(iter(sounds.values())).sampling_rate
    figure = new_figure(_STRIP_INCHES[0], _STRIP_INCHES[1] * len(sounds) + 0.4)
    panels = figure.subplots(len(sounds), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    lines = {name: resample(sound, rate).samples[0] for name, sound in sounds.items()}
    images = {name: _decibels(_magnitudes(samples)) for name, samples in lines.items()}
    loudest = float(next(iter(images.values())).max())
    for panel, (name, image) in zip(panels, images.items(), strict=True):
        _draw_image(panel, image, name, seconds=len(lines[name]) / rate, top=rate / 2000, loudest=loudest)
        panel.set_ylabel("kHz")
    panels[-1].set_xlabel("seconds")
    return png(figure)


def draw_portrait(
    sounds: Mapping[str, Waveform],
    codes: Sequence[npt.ArrayLike],
    *,
    codebook_size: int,
    frame_seconds: float,
) -> bytes:
    """Return a PNG of a recording and its codes: the first sound's waveform, mel spectrograms of all, the codes.

    Args:
        sounds: name → sound, such as a recording and what the codec made of it, all at one rate; channel 0 is drawn.
        codes: of a codec, per level (T_k,), coarsest first.
        codebook_size: codes are less than this: the colours go from 0 to here.
        frame_seconds: how long a code of the coarsest level is; codes fill whole frames and may end behind the sound.

    Raises:
        EvaluationError: there is no sound, or no code.
        MissingDependencyError: matplotlib is not installed.
    """
    levels = [np.asarray(level) for level in codes]
    if not sounds or not levels or not all(level.size for level in levels):
        raise EvaluationError("there is no sound to draw, or it has no codes.")
    heights = [0.7, *[1.0] * len(sounds), 0.3 * len(levels) + 0.2]
    figure = new_figure(_STRIP_INCHES[0], _STRIP_INCHES[1] * sum(heights) + 0.4)
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    (first, sound), rate = next(iter(sounds.items())), next(iter(sounds.values())).sampling_rate
    _draw_waveform(panels[0], sound.samples[0], rate, first)
    images = {name: _decibels(_mel_magnitudes(each.samples[0], rate)) for name, each in sounds.items()}
    loudest = float(next(iter(images.values())).max())
    for panel, (name, image) in zip(panels[1:], images.items(), strict=False):
        seconds = sounds[name].duration_seconds
        _draw_image(panel, image, f"{name}, mel spectrogram", seconds=seconds, top=_NUM_MELS, loudest=loudest)
        _name_mels(panel, rate)
    _draw_codes(panels[-1], levels, seconds=levels[0].size * frame_seconds, codebook_size=codebook_size)
    panels[-1].set_xlim(0, sound.duration_seconds)
    panels[-1].set_xlabel("seconds")
    return png(figure)


def new_figure(width: float, height: float) -> Any:
    """Return a figure of so many inches that belongs to no window."""
    figures = import_optional("matplotlib.figure", extra="plot", purpose="the picture")
    return figures.Figure(figsize=(width, height), dpi=_DPI, layout="constrained")


def png(figure: Any) -> bytes:
    """Return a figure as a PNG; equal figures give equal bytes."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        # matplotlib's font lacks signs that a file's name may have; it draws boxes for them.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        # Without the library's name and date.
        figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _write_title(panel: Any, title: str) -> None:
    """Write a title that may hold the name of somebody's file: shortened, and no formula."""
    shown = title if len(title) <= _LONGEST_TITLE else f"…{title[-_LONGEST_TITLE:]}"
    panel.set_title(printable(shown), loc="left", fontsize=9, parse_math=False)


def _draw_image(panel: Any, image: Image, name: str, *, seconds: float, top: float, loudest: float) -> None:
    panel.imshow(
        image.T,
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, top),
        cmap="magma",
        vmin=loudest - _RANGE_DB,
        vmax=loudest,
    )
    _write_title(panel, name)


def _draw_waveform(panel: Any, samples: Samples, rate: int, name: str) -> None:
    edges = np.linspace(0, samples.size, min(_STRETCHES, samples.size) + 1).astype(int)
    low, high = (extreme.reduceat(samples, edges[:-1]) for extreme in (np.minimum, np.maximum))
    panel.fill_between(edges[:-1] / rate, low, high, step="post", linewidth=0.3, color="#4477AA")
    _write_title(panel, f"{name}, waveform")
    panel.margins(x=0)


def _draw_codes(panel: Any, levels: Sequence[Any], *, seconds: float, codebook_size: int) -> None:
    """Draw a strip a level, the coarsest on top; a code's colour is its number."""
    for place, level in enumerate(levels):
        bottom = len(levels) - place - 1
        panel.imshow(
            level[None, :],
            aspect="auto",
            interpolation="nearest",
            extent=(0, seconds, bottom + 0.05, bottom + 0.95),
            cmap="viridis",
            vmin=0,
            vmax=codebook_size - 1,
        )
    panel.set_ylim(0, len(levels))
    panel.set_yticks([len(levels) - place - 0.5 for place in range(len(levels))], range(len(levels)))
    panel.set_ylabel("level")
    _write_title(panel, f"codes, 0 to {codebook_size - 1}")


def _name_mels(panel: Any, rate: int) -> None:
    """Write kilohertz where the filters of these frequencies are."""
    peaks = _mel_bank(rate).argmax(axis=1) * rate / _MEL_FFT_SIZE / 1000
    ticks = [tick for tick in _MEL_TICKS_KHZ if tick < rate / 2000]
    panel.set_yticks([float(np.interp(tick, peaks, np.arange(_NUM_MELS) + 0.5)) for tick in ticks], ticks)
    panel.set_ylabel("kHz")


def _mel_magnitudes(samples: Samples, rate: int) -> Image:
    mels: Image = _magnitudes(samples, _MEL_FFT_SIZE) @ _mel_bank(rate).T
    return mels


def _mel_bank(rate: int) -> Image:
    """Return the filters, each with its peak at 1."""
    bank = mel_filter_bank(sampling_rate=rate, n_fft=_MEL_FFT_SIZE, n_mels=_NUM_MELS).numpy()
    filters: Image = bank / bank.max(axis=1, keepdims=True)
    return filters


def _magnitudes(samples: Samples, fft_size: int = _FFT_SIZE) -> Image:
    """Return the magnitudes of a spectrogram (frames, bins), 1 being a full-scale sine."""
    padded = np.pad(samples, (fft_size // 2, fft_size // 2 + _HOP))
    window = np.hanning(fft_size)
    frames = np.lib.stride_tricks.sliding_window_view(padded, fft_size)[::_HOP]
    magnitudes: Image = np.abs(np.fft.rfft(frames * window)) / (window.sum() / 2)
    return magnitudes


def _decibels(magnitudes: Image) -> Image:
    decibels: Image = 20 * np.log10(np.maximum(magnitudes, 10 ** (_FLOOR_DB / 20)))
    return decibels
