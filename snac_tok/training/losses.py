"""The losses of the GAN recipe, each a function of tensors, and how they are added up.

The mel loss is `snac_tok.metrics.mel.mel_distance`; the others that compare sounds are in `sound_losses`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from snac_tok.errors import ConfigError
from snac_tok.training.field_types import check_types

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# The losses that compare two sounds and need nothing else.
SOUND_LOSSES = ("mel", "waveform", "log_stft", "convergence", "low_spectrum", "periodicity", "envelope")


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """What each of the codec's losses counts; 0 leaves one out. The defaults are DAC's.

    Args:
        mel: distance of mel spectra.
        feature_matching: distance of the discriminators' feature maps.
        adversarial: what the discriminators hold against the output.
        commitment: draws latents to codebook entries.
        codebook: draws codebook entries to latents.
        waveform: distance of samples.
        log_stft: distance of log magnitudes, at three resolutions.
        convergence: distance of magnitudes relative to the recording's: what is loud counts.
        low_spectrum: distance of complex spectra below 1150 Hz, where a voice's lowest partials are.
        periodicity: distance of autocorrelations: whether there is a pitch, and which.
        envelope: how little the loudness of bands over time correlates, which is what STOI measures.

    Raises:
        ConfigError: a weight is negative or not finite.

    Example:
        >>> LossWeights(waveform=0.1).mel
        15.0
    """

    mel: float = 15.0
    feature_matching: float = 2.0
    adversarial: float = 1.0
    commitment: float = 0.25
    codebook: float = 1.0
    waveform: float = 0.0
    log_stft: float = 0.0
    convergence: float = 0.0
    low_spectrum: float = 0.0
    periodicity: float = 0.0
    envelope: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        for name, weight in dataclasses.asdict(self).items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ConfigError(
                    f"the weight {name} is {weight!r}; it must be a finite number of at least 0."
                )

    @property
    def judges_sound(self) -> bool:
        """Whether any weight compares what the decoder makes with the recording, without discriminators."""
        return any(getattr(self, name) > 0 for name in SOUND_LOSSES)


def weighted_total(losses: Mapping[str, torch.Tensor], weights: LossWeights) -> torch.Tensor:
    """Return the sum of scalar losses, each times its weight.

    A loss of weight 0 is left out altogether, so that even NaN does no harm there.

    Raises:
        ConfigError: no loss at all, or one that has no weight.

    Example:
        >>> float(weighted_total({"mel": torch.tensor(2.0), "waveform": torch.tensor(9.0)}, LossWeights()))
        30.0
    """
    factors = dataclasses.asdict(weights)
    unknown = sorted(losses.keys() - factors.keys())
    if unknown or not losses:
        raise ConfigError(f"losses {unknown} have no weight; give at least one of {sorted(factors)}.")
    total = torch.zeros_like(next(iter(losses.values())))
    for name, loss in losses.items():
        if factors[name]:
            total = total + factors[name] * loss
    return total


def discriminator_loss(
    real_scores: Sequence[torch.Tensor], fake_scores: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Return the discriminators' least-squares loss: real sound should score 1, the codec's 0.

    Args:
        real_scores: one score map of any shape a discriminator.
        fake_scores: the same for the codec's output, which the caller has detached.

    Returns:
        A scalar: mean over a map, summed over discriminators (Mao et al. 2017, with a=0, b=c=1, without the half).

    Example:
        >>> float(discriminator_loss([torch.tensor([1.0, 0.0])], [torch.tensor([2.0])]))
        4.5
    """
    pairs = zip(real_scores, fake_scores, strict=True)
    return _sum((1 - real).square().mean() + fake.square().mean() for real, fake in pairs)


def adversarial_loss(fake_scores: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the codec's least-squares loss: its output should score 1.

    Args:
        fake_scores: one score map of any shape a discriminator, with gradients to the codec.

    Returns:
        A scalar: mean over a map, summed over discriminators.

    Example:
        >>> float(adversarial_loss([torch.tensor([0.0, 1.0]), torch.tensor([3.0])]))
        4.5
    """
    return _sum((1 - fake).square().mean() for fake in fake_scores)


def feature_matching_loss(
    real_maps: Sequence[Sequence[torch.Tensor]], fake_maps: Sequence[Sequence[torch.Tensor]]
) -> torch.Tensor:
    """Return how far feature maps of real and decoded sound are apart, with gradients to `fake_maps` alone.

    Args:
        real_maps: per discriminator its maps; the last, the score, does not count.
        fake_maps: the same for the codec's output.

    Returns:
        A scalar: mean absolute difference of a map, summed over maps and discriminators.

    Example:
        >>> real, fake = torch.zeros(2, 3), torch.full((2, 3), 0.5)
        >>> float(feature_matching_loss([[real, real, real]], [[fake, fake, fake]]))
        1.0
    """
    return _sum(
        F.l1_loss(fake, real.detach())
        for real_stack, fake_stack in zip(real_maps, fake_maps, strict=True)
        for real, fake in zip(real_stack[:-1], fake_stack[:-1], strict=True)
    )


def codebook_loss(projected: torch.Tensor, entries: torch.Tensor) -> torch.Tensor:
    """Return per row how far entries are from what was looked up, with gradients to `entries` alone.

    Args:
        projected: (B, D, T), latents in the codebook's space.
        entries: (B, D, T), the entry found for each.

    Returns:
        (B,) mean squared differences.

    Example:
        >>> codebook_loss(torch.zeros(2, 8, 3), torch.ones(2, 8, 3)).tolist()
        [1.0, 1.0]
    """
    return (entries - projected.detach()).square().mean((1, 2))


def commitment_loss(projected: torch.Tensor, entries: torch.Tensor) -> torch.Tensor:
    """Return per row how far what was looked up is from its entries, with gradients to `projected` alone.

    Args:
        projected: (B, D, T), latents in the codebook's space.
        entries: (B, D, T), the entry found for each.

    Returns:
        (B,) mean squared differences.

    Example:
        >>> commitment_loss(torch.zeros(2, 8, 3), torch.ones(2, 8, 3)).tolist()
        [1.0, 1.0]
    """
    return (projected - entries.detach()).square().mean((1, 2))


def _sum(terms: Iterable[torch.Tensor]) -> torch.Tensor:
    # stack, unlike sum(), keeps the terms' device and refuses to make a loss of nothing.
    return torch.stack(list(terms)).sum()
