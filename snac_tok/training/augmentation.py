"""What is done to crops before the codec hears them: speed, tone, phase, polarity and level, all in one pass.

    read       |margin|            crop · speed             |margin|     more than a crop, so that nothing wraps into it
               real FFT → × tilt and phase → inverse FFT of another length: the speed, with no alias
    cut               |            crop                |
               × gain and polarity, then down to the peak limit: nothing is ever clipped

Every effect can be switched off; with all of them off crops stay as they are.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from functools import lru_cache

import torch

from snac_tok.errors import ConfigError
from snac_tok.training.field_types import check_types

# Phase and tone of a stretch of sound leak a little beyond its ends, and a Fourier transform wraps what leaks
# around; 512 samples (21 ms at 24 kHz) leave less than -40 dB of it in the crop.
_MARGIN = 512
_PEAK_LIMIT = 1.0
# A recording of nearly nothing stays quiet: more gain than this would train on its noise.
_MAX_GAIN_DB = 30.0
# Where the tilt turns: below this the gain goes one way, above it the other.
_TILT_PIVOT_HZ = 1000.0
# Octaves from the pivot at which the tilt has its full gain: 1 kHz ± 3 octaves is 125 Hz … 8 kHz.
_TILT_OCTAVES = 3.0
_MAX_TILT_DB = 24.0
_SPEEDS = (0.5, 2.0)
# Fast lengths are listed up to here for all but very long crops.
_COMMON_LENGTHS = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """The effects and their ranges; each crop draws its own values, evenly within them.

    Args:
        level_db: the clip that a crop is of is brought to a level in this range, RMS in dB relative to full scale;
            quiet parts of a loud clip stay quiet. Crops that would go beyond full scale are turned down. None for
            the level of the recording.
        flip_polarity: share of crops that are turned upside down.
        rotate_phase: share of crops whose phase is turned by a random angle, the same at all frequencies.
        speed: range of factors on tempo and pitch, or None.
        tilt_db: most that the tone is tilted, in dB at three octaves from 1 kHz, brighter or duller; 0 for none.

    Raises:
        ConfigError: an impossible range.

    Example:
        >>> Augmentation(level_db=(-30, -14), tilt_db=3.0).flip_polarity
        0.5
        >>> Augmentation(speed=(1.1, 0.9))
        Traceback (most recent call last):
        snac_tok.errors.ConfigError: speed is (1.1, 0.9); the lower end comes first.
    """

    level_db: tuple[float, float] | None = (-32.0, -14.0)
    flip_polarity: float = 0.5
    rotate_phase: float = 0.5
    speed: tuple[float, float] | None = None
    tilt_db: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        _check_range("level_db", self.level_db, low=-90.0, high=0.0)
        _check_range("speed", self.speed, low=_SPEEDS[0], high=_SPEEDS[1])
        _check_range("flip_polarity", (self.flip_polarity, self.flip_polarity), low=0.0, high=1.0)
        _check_range("rotate_phase", (self.rotate_phase, self.rotate_phase), low=0.0, high=1.0)
        _check_range("tilt_db", (self.tilt_db, self.tilt_db), low=0.0, high=_MAX_TILT_DB)

    @classmethod
    def off(cls) -> Augmentation:
        """Return the one that leaves crops as they are."""
        return cls(level_db=None, flip_polarity=0.0, rotate_phase=0.0)

    @property
    def margin(self) -> int:
        """How many samples before a crop have to be read with it."""
        return _MARGIN if self._in_spectrum else 0

    def num_read(self, crop_samples: int) -> int:
        """How many samples have to be read for a crop, the margin at its start included.

        >>> Augmentation.off().num_read(16384), Augmentation(speed=(0.9, 1.1)).num_read(16384)
        (16384, 19200)
        """
        if not self._in_spectrum:
            return crop_samples
        fastest = self.speed[1] if self.speed else 1.0
        return _nearest_fast(0, least=math.ceil((crop_samples + 2 * _MARGIN) * fastest))

    def apply(
        self,
        stretches: torch.Tensor,
        *,
        crop_samples: int,
        sampling_rate: int,
        levels_db: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Return crops (B, crop_samples) of what was read for them; a function of the arguments alone.

        Args:
            stretches: float32 (B, num_read(crop_samples)), the margin first.
            crop_samples: samples that are wanted of each.
            sampling_rate: Hz.
            levels_db: (B,), of the clips that they are of.
            generator: decides; the same numbers are drawn whatever is switched on.
        """
        draws = torch.rand((6, len(stretches)), generator=generator, dtype=torch.float64)
        crops = stretches
        if self._in_spectrum:
            crops = self._through_spectrum(
                stretches, draws, crop_samples=crop_samples, sampling_rate=sampling_rate
            )
        gains = 1.0 - 2.0 * (draws[0] < self.flip_polarity)
        if self.level_db:
            wanted = _within(self.level_db, draws[1])
            gains = gains * 10 ** ((wanted - levels_db.double()).clamp(max=_MAX_GAIN_DB) / 20)
        return _limited(crops * gains.float()[:, None])

    @property
    def _in_spectrum(self) -> bool:
        return self.speed is not None or self.rotate_phase > 0 or self.tilt_db > 0

    def _through_spectrum(
        self, stretches: torch.Tensor, draws: torch.Tensor, *, crop_samples: int, sampling_rate: int
    ) -> torch.Tensor:
        num_read = stretches.shape[-1]
        spectra = torch.fft.rfft(stretches)  # (B, F)
        if self.rotate_phase:
            angles = torch.where(draws[2] < self.rotate_phase, (2 * draws[3] - 1) * math.pi, 0.0).float()
            spectra = spectra * torch.polar(torch.ones_like(angles), angles)[:, None]
        if self.tilt_db:
            shape = _tilt_shape(num_read, sampling_rate)  # (F,) in ±1
            tilts = self.tilt_db * (2 * draws[4] - 1).float()
            spectra = spectra * 10 ** (tilts[:, None] * shape / 20)
        if self.speed is None:
            made: torch.Tensor = torch.fft.irfft(spectra, n=num_read)
            return made[:, _MARGIN : _MARGIN + crop_samples]
        return self._respeeded(spectra, draws[5], crop_samples=crop_samples, num_read=num_read)

    def _respeeded(
        self, spectra: torch.Tensor, draws: torch.Tensor, *, crop_samples: int, num_read: int
    ) -> torch.Tensor:
        """Bring each row to the length nearest to its speed that transforms fast: a spectrum cut off or extended.

        Lengths that transform fast lie about 1 % apart, which is how finely speeds differ.
        """
        assert self.speed is not None
        least = crop_samples + 2 * _MARGIN
        rows = []
        for spectrum, speed in zip(spectra, _within(self.speed, draws).tolist(), strict=True):
            length = _nearest_fast(max(num_read / speed, least), least=least)
            made = torch.fft.irfft(spectrum, n=length) * (length / num_read)
            rows.append(made[_MARGIN : _MARGIN + crop_samples])
        return torch.stack(rows)


def _limited(crops: torch.Tensor) -> torch.Tensor:
    """Turn down whole crops that would be clipped."""
    peaks = crops.abs().amax(dim=-1, keepdim=True)
    return crops * (_PEAK_LIMIT / peaks.clamp(min=_PEAK_LIMIT))


def _within(bounds: tuple[float, float], draws: torch.Tensor) -> torch.Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * draws


@lru_cache(maxsize=8)
def _tilt_shape(num_samples: int, sampling_rate: int) -> torch.Tensor:
    """The tilt at each frequency (F,): -1 far below the pivot, +1 far above, straight over octaves between."""
    frequencies = torch.fft.rfftfreq(num_samples, d=1 / sampling_rate)
    octaves = torch.log2(frequencies.clamp(min=1.0) / _TILT_PIVOT_HZ)
    return (octaves / _TILT_OCTAVES).clamp(min=-1.0, max=1.0)


@lru_cache(maxsize=8)
def _fast_lengths(limit: int) -> tuple[int, ...]:
    """Even numbers of the factors 2, 3 and 5, which a Fourier transform takes fastest, up to a limit."""
    odd = [1]
    for factor in (3, 5):
        odd = [
            number * factor**power for number in odd for power in range(_powers_of(factor, limit // number))
        ]
    return tuple(
        sorted(number << shift for number in odd for shift in range(1, (limit // number).bit_length()))
    )


def _powers_of(factor: int, limit: int) -> int:
    """How many powers of a factor there are from 1 up to a limit."""
    power = 0
    while factor**power <= limit:
        power += 1
    return power


def _nearest_fast(wanted: float, *, least: int) -> int:
    """Return the fast length nearest to `wanted` of those that are not below `least`."""
    # A power of two is one of them, so that one lies above.
    lengths = _fast_lengths(max(_COMMON_LENGTHS, 1 << math.ceil(max(wanted, least)).bit_length()))
    above = lengths[bisect.bisect_left(lengths, max(wanted, least))]
    below = lengths[max(bisect.bisect_left(lengths, wanted) - 1, 0)]
    return below if below >= least and wanted - below < above - wanted else above


def _check_range(name: str, bounds: tuple[float, float] | None, *, low: float, high: float) -> None:
    if bounds is None:
        return
    if not all(low <= bound <= high for bound in bounds):
        raise ConfigError(f"{name} is {bounds}; it must lie between {low:g} and {high:g}.")
    if bounds[0] > bounds[1]:
        raise ConfigError(f"{name} is {bounds}; the lower end comes first.")
