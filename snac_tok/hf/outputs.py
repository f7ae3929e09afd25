"""What the model's calls return."""

from __future__ import annotations

from dataclasses import dataclass

import torch  # noqa: TC002 - ModelOutput reads the annotations
from transformers.utils.generic import ModelOutput


@dataclass
class SnacEncoderOutput(ModelOutput):
    """Codes of a batch.

    Attributes:
        audio_codes: per level (B, T_k), coarsest first.
        audio_codes_mask: per level (B, T_k), 1 where a code is the clip's, 0 behind its end.
    """

    audio_codes: tuple[torch.Tensor, ...] | None = None
    audio_codes_mask: tuple[torch.Tensor, ...] | None = None


@dataclass
class SnacDecoderOutput(ModelOutput):
    """Sound of a batch.

    Attributes:
        audio_values: (B, 1, samples).
    """

    audio_values: torch.Tensor | None = None


@dataclass
class SnacOutput(ModelOutput):
    """A batch encoded and decoded.

    Attributes:
        audio_codes: as in `SnacEncoderOutput`.
        audio_values: (B, 1, samples), as many samples as went in.
    """

    audio_codes: tuple[torch.Tensor, ...] | None = None
    audio_values: torch.Tensor | None = None
