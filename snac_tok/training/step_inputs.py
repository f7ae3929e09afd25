"""What a step takes from outside: crops, the decoder's noise, and how many levels each row hears.

All of it is a function of (seed, step, rank), whoever makes it. On a GPU worker processes make it ahead of the step
that needs it; a run that is resumed, or has another number of workers, gets the same.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from snac_tok.codec.noise import DrawnNoise
from snac_tok.errors import TrainingError
from snac_tok.training.quantization import drawn_levels
from snac_tok.training.randomness import generator_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snac_tok.codec.config import CodecConfig
    from snac_tok.training.config import TrainingConfig
    from snac_tok.training.crops import CropSampler

# More do not help: a step of a small codec takes longer than to make its inputs in one.
_MOST_WORKERS = 4


class StepInputs(NamedTuple):
    """The inputs of one batch.

    Attributes:
        audio: the crops (B, 1, T).
        noise: of each noise block (B, 1, n); empty where the codec has none.
        levels: (B,) how many levels of each row are decoded.
    """

    audio: torch.Tensor
    noise: tuple[torch.Tensor, ...]
    levels: torch.Tensor

    def to(self, device: torch.device) -> StepInputs:
        """Return them on a device; the host does not wait for the copies of pinned memory."""
        audio, noise, levels = self
        return StepInputs(
            audio=audio.to(device, non_blocking=True),
            noise=tuple(layer.to(device, non_blocking=True) for layer in noise),
            levels=levels.to(device, non_blocking=True),
        )


class InputMaker(Dataset[StepInputs]):
    """Makes the inputs of a batch from its number.

    Args:
        crops: where sound comes from.
        config: of the stage.
        codec: its shape.
        rank, num_ranks: of this process among those of the run.
    """

    def __init__(
        self, crops: CropSampler, config: TrainingConfig, codec: CodecConfig, *, rank: int, num_ranks: int
    ) -> None:
        self.crops, self.config, self.codec = crops, config, codec
        self.rank, self.num_ranks = rank, num_ranks

    def __getitem__(self, number: int) -> StepInputs:
        audio = self.crops.batch(number, rank=self.rank, num_ranks=self.num_ranks)
        return StepInputs(audio=audio, noise=self._noise(audio, number), levels=self._levels(number))

    def _noise(self, audio: torch.Tensor, number: int) -> tuple[torch.Tensor, ...]:
        if not self.codec.noise or self.config.decoder is not None:
            return ()
        latents = torch.empty((len(audio), 0, audio.shape[-1] // self.codec.hop_length))
        generator = generator_for(self.config.seed, "noise", number, self.rank)
        return DrawnNoise.from_generator(latents, self.codec.decoder_rates, generator).layers

    def _levels(self, number: int) -> torch.Tensor:
        # With frozen codes the decoder hears all levels: nothing before it could learn from fewer.
        dropout = self.config.quantizer.level_dropout if self.config.trainable == "all" else 0.0
        return drawn_levels(
            self.config.batch_size,
            num_levels=self.codec.num_levels,
            dropout=dropout,
            generator=generator_for(self.config.seed, "levels", number, self.rank),
        )


class _MakerOfWorker(Dataset["StepInputs | TrainingError"]):
    """Hands an error over as it is: torch would make its sentence the end of the worker's traceback."""

    def __init__(self, maker: InputMaker) -> None:
        self._maker = maker

    def __getitem__(self, number: int) -> StepInputs | TrainingError:
        try:
            return self._maker[number]
        except TrainingError as error:
            return error


class InputFeed:
    """Hands out the inputs of one batch after another, made ahead by workers where there are some.

    Args:
        maker: of the inputs.
        end: the number of the first batch that is not needed any more.
        workers: processes; 0 makes inputs when they are asked for.
        pinned: whether they go to a GPU.
    """

    def __init__(self, maker: InputMaker, *, end: int, workers: int, pinned: bool) -> None:
        self._maker, self._end, self._workers, self._pinned = maker, end, workers, pinned
        self._ahead: Iterator[StepInputs | TrainingError] | None = None
        self._next = -1

    def take(self, number: int) -> StepInputs:
        """Return the inputs of a batch; workers begin anew where it is not the next one.

        Raises:
            TrainingError: the sound cannot be read any more.
        """
        if not self._workers:
            return self._maker[number]
        if self._ahead is None or number != self._next:
            self._ahead = iter(
                DataLoader(
                    _MakerOfWorker(self._maker),
                    batch_size=None,
                    sampler=range(number, self._end),
                    num_workers=self._workers,
                    collate_fn=_as_it_is,
                    pin_memory=self._pinned,
                    generator=torch.Generator(),  # the program's own stays as it is
                )
            )
        self._next = number + 1
        made = next(self._ahead)
        if isinstance(made, TrainingError):
            raise made
        return made

    def close(self) -> None:
        """End the workers."""
        self._ahead = None


def _as_it_is(inputs: Any) -> Any:
    return inputs


def workers_for(config: TrainingConfig, device: torch.device) -> int:
    """Return how many workers make inputs ahead: as many as the run says, else none on a CPU and a few on a GPU."""
    if config.workers is not None:
        return config.workers
    return 0 if device.type == "cpu" else min(_MOST_WORKERS, max(1, (os.cpu_count() or 1) - 1))
