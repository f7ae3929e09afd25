"""Where a run's sound comes from and how it is cut."""

from __future__ import annotations

from dataclasses import dataclass, field

from snac_tok.errors import ConfigError
from snac_tok.training.augmentation import Augmentation
from snac_tok.training.field_types import check_types
from snac_tok.training.recipe import check

# Minutes of sound in a crop; one step of it would need more memory than machines have.
_LONGEST_CROP = 2**24


@dataclass(frozen=True, kw_only=True)
class Source:
    """One prepared folder of training sound, and how often it is drawn from.

    Args:
        folder: what `snac-tok prepare` made.
        weight: share of the crops, relative to the other sources' weights.
    """

    folder: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_types(self)
        check("weight", self.weight, low=0.0, open_low=True)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where sound comes from and how it is cut.

    Args:
        train: prepared folders.
        validation: a prepared folder of clips that training never sees, or None.
        crop_samples: samples in a crop; a multiple of the codec's padding.
        silence_db: crops whose level is below this are drawn again, in dB relative to full scale.
        augmentation: what is done to crops.
    """

    train: tuple[Source, ...]
    validation: str | None = None
    crop_samples: int = 16_384
    silence_db: float = -60.0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        check_types(self)
        if not self.train:
            raise ConfigError(
                "data.train names no folder; prepare one with snac-tok prepare and name it there."
            )
        check("crop_samples", self.crop_samples, low=1, high=_LONGEST_CROP)
        check("silence_db", self.silence_db, low=-200.0, high=0.0)
