"""Batches of crops from prepared sound, each a pure function of (seed, step, row): nothing depends on what was before.

    stores ─ by weight ─ clip ─ by its length ─ place ─ evenly ─ read ─ too quiet? draw again ─ augment

    a clip shorter than a crop   |000|clip clip clip|000000|   lies at a random place in it

All devices' rows of a step are numbered in one row, so that two devices draw what one would with twice the batch.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

import torch

from snac_tok.errors import ConfigError
from snac_tok.training.augmentation import Augmentation
from snac_tok.training.randomness import generator_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.training.clip_store import ClipStore

# A set that is nearly all silence must not stop the training: the loudest of so many tries is taken.
_MAX_TRIES = 16


class CropSampler:
    """Draws training batches.

    Args:
        stores: prepared folders of one sampling rate, and the shares of crops taken from each.
        crop_samples: length of a crop.
        batch_size: crops in a batch of one device.
        seed: decides every draw.
        silence_db: crops whose RMS is below this many dB relative to full scale are drawn again, a bounded number of
            times.
        augmentation: what is done to crops; None for the default one, `Augmentation.off()` for nothing.

    Raises:
        ConfigError: no stores, stores of several rates, or sizes or weights that are not positive.

    Example:
        >>> sampler = CropSampler([(ready, 1.0)], crop_samples=2048, batch_size=4, seed=0)  # doctest: +SKIP
        >>> sampler.batch(0).shape  # doctest: +SKIP
        torch.Size([4, 1, 2048])
        >>> CropSampler([], crop_samples=2048, batch_size=4, seed=0)
        Traceback (most recent call last):
        snac_tok.errors.ConfigError: crops are drawn from at least one store of prepared sound, got none.
    """

    def __init__(
        self,
        stores: Sequence[tuple[ClipStore, float]],
        *,
        crop_samples: int,
        batch_size: int,
        seed: int,
        silence_db: float = -60.0,
        augmentation: Augmentation | None = None,
    ) -> None:
        _check(stores, crop_samples=crop_samples, batch_size=batch_size)
        self.stores = [store for store, _ in stores]
        self.crop_samples, self.batch_size, self.seed = crop_samples, batch_size, seed
        self.augmentation = Augmentation() if augmentation is None else augmentation
        self._least_power = 10 ** (silence_db / 10)
        total = sum(weight for _, weight in stores)
        self._shares = [sum(weight for _, weight in stores[: k + 1]) / total for k in range(len(stores))]
        self._ends = [[clip.end for clip in store.clips] for store in self.stores]

    def batch(self, step: int, *, rank: int = 0, num_ranks: int = 1) -> torch.Tensor:
        """Return the crops (batch_size, 1, crop_samples), float32 in ±1, of one step and device.

        Args:
            step: counted from 0.
            rank: of the device, 0…num_ranks−1.
            num_ranks: how many devices there are.

        Raises:
            ConfigError: an impossible rank.
        """
        if not 0 <= rank < num_ranks:
            raise ConfigError(f"rank is {rank!r}; it must be one of 0…{num_ranks - 1}.")
        rows = [self._row(step, rank * self.batch_size + k) for k in range(self.batch_size)]
        return self.augmentation.apply(
            torch.stack([stretch for stretch, _ in rows]),
            crop_samples=self.crop_samples,
            sampling_rate=self.stores[0].sampling_rate,
            levels_db=torch.tensor([level for _, level in rows]),
            generator=generator_for(self.seed, "augmentation", step, rank),
        )[:, None]

    def _row(self, step: int, row: int) -> tuple[torch.Tensor, float]:
        """Return what is read for one crop (num_read,), and its clip's level in dB."""
        # In double precision: 24 bits could not reach every sample of a large store.
        generator = generator_for(self.seed, "crops", step, row)
        draws = torch.rand((_MAX_TRIES, 3), generator=generator, dtype=torch.float64)
        loudest, most_power = None, -1.0
        for which_store, which_clip, where in draws.tolist():
            stretch, level = self._drawn(which_store, which_clip, where)
            power = self._power(stretch)
            if power > most_power:
                loudest, most_power = (stretch, level), power
            if power >= self._least_power:
                break
        assert loudest is not None
        return loudest

    def _drawn(self, which_store: float, which_clip: float, where: float) -> tuple[torch.Tensor, float]:
        """Turn three numbers in 0…1 into a place, and read there."""
        number = min(bisect.bisect_right(self._shares, which_store), len(self.stores) - 1)
        store, ends = self.stores[number], self._ends[number]
        index = bisect.bisect_right(ends, int(which_clip * ends[-1]))
        entry = store.clips[index]
        room = entry.num_samples - self.crop_samples
        # With less than a crop to read, the start lies before the clip: zeros on both sides.
        start = int(where * (room + 1)) if room >= 0 else -int(where * (1 - room))
        augmentation = self.augmentation
        stretch = store.stretch(
            index, start=start - augmentation.margin, num_samples=augmentation.num_read(self.crop_samples)
        )
        return stretch, entry.level_db

    def _power(self, stretch: torch.Tensor) -> float:
        """Mean square of the part that becomes the crop."""
        margin = self.augmentation.margin
        return float(stretch[margin : margin + self.crop_samples].square().mean())


def _check(stores: Sequence[tuple[ClipStore, float]], *, crop_samples: int, batch_size: int) -> None:
    if not stores:
        raise ConfigError("crops are drawn from at least one store of prepared sound, got none.")
    rates = sorted({store.sampling_rate for store, _ in stores})
    if len(rates) > 1:
        raise ConfigError(f"the prepared folders have the rates {rates} Hz; prepare them with one.")
    for name, value in [("crop_samples", crop_samples), ("batch_size", batch_size)]:
        if value < 1:
            raise ConfigError(f"{name} is {value!r}; it must be at least 1.")
    for store, weight in stores:
        if not 0 < weight < float("inf"):
            raise ConfigError(f"the weight of {store.folder} is {weight!r}; it must be above 0.")
