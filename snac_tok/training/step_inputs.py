"""What a step takes from outside: crops, the decoder's noise, and how many levels each row hears.

All of it is a function of (seed, step, rank), whoever makes it. On a GPU worker processes make it ahead of the step
that needs it; a run that is resumed, or has another number of workers, gets the same.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from snac_tok.codec.noise import DrawnNoise
from snac_tok.errors import TrainingError, first_line
from snac_tok.training.quantization import drawn_levels
from snac_tok.training.randomness import generator_for
from snac_tok.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snac_tok.codec.config import CodecConfig
    from snac_tok.training.config import TrainingConfig
    from snac_tok.training.crops import CropSampler

_log = logging.getLogger(__name__)

# More do not help: a step of a small codec takes longer than to make its inputs in one.
_MOST_WORKERS = 4

_MODULE_OF_TORCHS_HANDLER = "torch.utils.data._utils.signal_handling"


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

        Whoever makes them they are the same, so a worker that was killed ends no run: one fewer goes on.

        Raises:
            TrainingError: the sound cannot be read any more, or the system starts no workers.
        """
        while self._workers:
            try:
                made = self._taken_ahead(number)
            except (RuntimeError, EOFError, ConnectionError) as error:
                if not _tells_of_a_death(error):
                    raise
                self._go_on_with_fewer(error)
                continue
            if isinstance(made, TrainingError):
                raise made
            return made
        return self._maker[number]

    def _taken_ahead(self, number: int) -> StepInputs | TrainingError:
        if self._ahead is None or number != self._next:
            self._ahead = self._begun(number)
        self._next = number + 1
        return next(self._ahead)

    def _begun(self, number: int) -> Iterator[StepInputs | TrainingError]:
        loader = DataLoader(
            _MakerOfWorker(self._maker),
            batch_size=None,
            sampler=range(number, self._end),
            num_workers=self._workers,
            collate_fn=_as_it_is,
            pin_memory=self._pinned,
            generator=torch.Generator(),  # the program's own stays as it is
        )
        try:
            with _deaths_told_by_the_queue():
                return iter(loader)
        except OSError as error:
            raise TrainingError(
                f"the system starts no {self._workers} processes for workers ({error.strerror or error}); set workers "
                "to fewer, or to 0 for none."
            ) from error

    def _go_on_with_fewer(self, error: Exception) -> None:
        self.close()
        self._workers -= 1
        _log.warning(
            "a worker that makes crops was killed (%s); the run goes on with %s; if memory ran out, set workers to "
            "fewer when it is resumed.",
            first_line(error).rstrip("."),
            counted(self._workers, "worker") if self._workers else "no workers, and slower",
        )

    def close(self) -> None:
        """End the workers."""
        self._ahead = None


def _tells_of_a_death(error: Exception) -> bool:
    """Whether a worker is gone, in torch's own words or in those of a broken pipe to it.

    A fault in what makes the inputs is another: torch raises it here anew, with "Caught" and its class in front.
    """
    text = str(error)
    if text.startswith("Caught "):
        return False
    return not isinstance(error, RuntimeError) or "DataLoader worker" in text


@contextlib.contextmanager
def _deaths_told_by_the_queue() -> Iterator[None]:
    """Keep torch's handler of dead children away: it would raise in the middle of whatever a step is doing.

    Without it torch looks after its workers where it waits for them, within five seconds. It may be there already, from
    a `DataLoader` of the program's own; another handler stays.
    """
    before = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            of_torch = getattr(before, "__module__", None) == _MODULE_OF_TORCHS_HANDLER
            signal.signal(signal.SIGCHLD, signal.SIG_DFL if of_torch else before)


def _as_it_is(inputs: Any) -> Any:
    return inputs


def workers_for(config: TrainingConfig, device: torch.device) -> int:
    """Return how many workers make inputs ahead: as many as the run says, else none on a CPU and a few on a GPU."""
    if config.workers is not None:
        return config.workers
    return 0 if device.type == "cpu" else min(_MOST_WORKERS, max(1, (os.cpu_count() or 1) - 1))
