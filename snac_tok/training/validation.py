"""How a codec does on clips that training never sees, in figures that cost little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

from snac_tok.codec.noise import SeededNoise
from snac_tok.errors import TrainingError
from snac_tok.metrics.mel import mel_distance
from snac_tok.metrics.voicing import LEAST_SECONDS, Voicing, voicing
from snac_tok.training.bypass import bypassed as bypassed_latents
from snac_tok.training.clip_store import ClipStore

if TYPE_CHECKING:
    from snac_tok.codec.model import SNAC
    from snac_tok.training.config import TrainingConfig

# The noise of every validation, so that figures of two steps differ by what was learned.
_NOISE_SEED = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Sound:
    """One clip before and after, (T,) each."""

    clip_id: str
    reference: torch.Tensor
    decoded: torch.Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class ValidationResult:
    """What a validation gave.

    Attributes:
        figures: "mel", the mean mel distance, of clips too short for a pitch only where there are no others; "voiced"
            and "voiced_recording", the shares of audible frames that have a pitch; "f0_error", in semitones, where both
            have one somewhere; "used_0" …, the share of each level's entries that occur, where codebooks are in use.
        sounds: the first few clips.
    """

    figures: dict[str, float]
    sounds: list[Sound]


class Validation:
    """Clips to be encoded and decoded now and then.

    Args:
        store: prepared clips.
        sound_clips: how many of them are kept as sound.
    """

    def __init__(self, store: ClipStore, *, sound_clips: int) -> None:
        self.store, self.sound_clips = store, sound_clips

    @classmethod
    def of(cls, config: TrainingConfig, sampling_rate: int) -> Self | None:
        """Open what a run's config names, if anything.

        Raises:
            TrainingError: the folder cannot be used, or has another sampling rate.
        """
        if config.data.validation is None:
            return None
        store = ClipStore.open(config.data.validation)
        if store.sampling_rate != sampling_rate:
            raise TrainingError(
                f"{store.folder} was prepared at {store.sampling_rate} Hz, not at {sampling_rate} Hz."
            )
        return cls(store, sound_clips=config.sound_clips)

    def run(self, codec: SNAC, *, bypassed: bool = False) -> ValidationResult:
        """Send every clip through a codec in eval mode, or through its networks without the codebooks."""
        distances, pitches, sounds = [], [], []
        # A clip of a few samples has no spectrum, and would count as much as one of minutes.
        longest = max(clip.num_samples for clip in self.store.clips)
        least = LEAST_SECONDS * codec.sampling_rate
        if longest < least:
            least = 0  # where there is nothing else, all of them count
        used = torch.zeros((codec.config.num_levels, codec.config.codebook_size), dtype=torch.bool)
        for place in range(self.store.num_clips):
            audio = self.store.clip(place)[None, None]  # (1, 1, T)
            decoded, codes = _without_codebooks(codec, audio) if bypassed else _through(codec, audio)
            if audio.shape[-1] >= least:
                distances.append(float(mel_distance(audio, decoded, sampling_rate=codec.sampling_rate)))
            pitches += _voicing(audio, decoded, codec.sampling_rate)
            for level, values in enumerate(codes):
                used[level, values.flatten()] = True
            if place < self.sound_clips:
                clip_id = self.store.clip_ids[place]
                sounds.append(Sound(clip_id=clip_id, reference=audio[0, 0], decoded=decoded[0, 0]))
        figures = {"mel": sum(distances) / len(distances), **_figures(Voicing.total(pitches))}
        if not bypassed:
            figures |= {f"used_{level}": float(row.float().mean()) for level, row in enumerate(used)}
        return ValidationResult(figures=figures, sounds=sounds)


def _through(codec: SNAC, audio: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    codes = codec.encode(audio)
    return codec.decode(codes, noise=_NOISE_SEED)[..., : audio.shape[-1]], codes


@torch.no_grad()
def _without_codebooks(codec: SNAC, audio: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    latents = bypassed_latents(codec.quantizer, codec.encoder(codec.preprocess(audio)))
    noise = SeededNoise(seed=_NOISE_SEED) if codec.config.noise else None
    decoded: torch.Tensor = codec.decoder(latents, noise)
    return decoded[..., : audio.shape[-1]], []


def _voicing(audio: torch.Tensor, decoded: torch.Tensor, sampling_rate: int) -> list[Voicing]:
    if audio.shape[-1] < LEAST_SECONDS * sampling_rate:
        return []
    return [voicing(audio[0, 0], decoded[0, 0], sampling_rate=sampling_rate)]


def _figures(pitch: Voicing) -> dict[str, float]:
    figures = {"voiced": pitch.estimate_share, "voiced_recording": pitch.reference_share}
    error = pitch.f0_error_semitones
    return figures if error is None else figures | {"f0_error": error}
