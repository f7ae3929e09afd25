"""The training loop: stage after stage, step after step, each a function of the weights before and of (seed, step).

What a step does is `phase`'s; here are the order of stages, checkpoints, validation and figures.
"""

from __future__ import annotations

import bisect
import copy
import itertools
import logging
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snac_tok.training import continuation
from snac_tok.training.config import check_config
from snac_tok.training.curves import Curves
from snac_tok.training.divergence import refuse_divergence
from snac_tok.training.effort import cpu_warning
from snac_tok.training.new_run import check_new_run
from snac_tok.training.parts import drawn_decoder, starting_codec
from snac_tok.training.phase import Phase
from snac_tok.training.process import TrainingProcess
from snac_tok.training.run_folder import LOSSES_FILE, VALIDATION_FILE, RunFolder
from snac_tok.training.step_report import StepReport
from snac_tok.training.validation import Validation

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from snac_tok.codec.model import SNAC
    from snac_tok.training.adversary import Adversary
    from snac_tok.training.clip_store import ClipStore
    from snac_tok.training.config import TrainingConfig
    from snac_tok.training.optimization import WeightAverage
    from snac_tok.training.recipe import DecoderConfig

_log = logging.getLogger(__name__)


class Trainer:
    """One run of training.

    Args:
        config: what is trained on what.
        folder: of the run; see `run_folder`.
        resume: go on from the newest checkpoint there.
        device: None for a GPU where there is one.

    Raises:
        ConfigError, CheckpointError, TrainingError: config, codec to start from, data or folder cannot be used.

    Example:
        >>> from snac_tok.training import Trainer, TrainingConfig
        >>> Trainer(TrainingConfig.from_dict({"data": {"train": [{"folder": "nowhere"}]}}), "run")
        Traceback (most recent call last):
        snac_tok.errors.TrainingError: nowhere ...
    """

    def __init__(
        self,
        config: TrainingConfig,
        folder: str | Path,
        *,
        resume: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        check_config(config)
        self.config = config
        self.folder = RunFolder(Path(folder))
        if not (resume and self.folder.steps()):
            check_new_run(config)
        self.process = TrainingProcess(device)
        self._stand_in: DecoderConfig | None = None  # the shape of what is in the place of the codec's own
        self._asked_to_stop = self._stopping = False
        self._said_of_start = ""
        self._begin(resume=resume)
        self._warn_of_start()
        self._warn_of_cpu()
        self.curves = self._curves()

    def run(self) -> Iterator[StepReport]:
        """Train to the end of the run, yielding each step; checkpoints and figures are written on the way.

        Raises:
            TrainingError: a loss is not finite any more, another process trains into the folder, or the disk refuses.
        """
        try:
            with self.folder.claimed() if self.process.is_first else nullcontext():
                self._export_of_checkpoint()
                while self.step < self.config.steps and not self._stopping:
                    yield self._advance()
        finally:
            self._phase.close()

    def stop(self) -> None:
        """Let `run` end, with a checkpoint, after the step that it is in; may be called from a signal's handler."""
        self._asked_to_stop = True

    def save(self) -> None:
        """Write a checkpoint, and the codec as it is now."""
        if self.process.is_first:
            self.folder.save(self._state(), keep=self.config.keep_checkpoints)
            self._export(self.averaged_codec())
        self.process.wait_for_all()

    def _export_of_checkpoint(self) -> None:
        """Write the codec of the checkpoint that the run goes on from: its writer may have died between the two."""
        if self.process.is_first and self.step in self.folder.steps():
            self._export(self.averaged_codec())

    def _export(self, codec: SNAC) -> None:
        self.folder.export(codec)
        if self._stand_in and self.config.trains_codes:
            own = copy.deepcopy(self._own_decoder).cpu()
            self.folder.export(codec.exchange_decoder(own))

    @property
    def average(self) -> WeightAverage:
        """The averaged weights, of the stage that the run is in."""
        return self._phase.average

    @property
    def adversary(self) -> Adversary | None:
        """The discriminators, where the stage that the run is in has some."""
        return self._phase.adversary

    def averaged_codec(self) -> SNAC:
        """Return a copy of the codec with averaged weights, in eval mode on the CPU."""
        averaged = copy.deepcopy(self.codec).cpu()
        averaged.load_state_dict(self.average.state_dict())
        return averaged.eval()

    def _warn_of_start(self) -> None:
        # Once, however many damaged checkpoints were passed over before.
        if self._said_of_start and self.process.is_first:
            _log.warning("%s", self._said_of_start)

    def _warn_of_cpu(self) -> None:
        shape = self.codec
        said = cpu_warning(
            self.config, num_parameters=shape.num_parameters, sampling_rate=shape.sampling_rate
        )
        if said and self.process.device.type == "cpu" and self.process.is_first:
            _log.warning("%s", said)

    def _enter(self, step: int) -> None:
        """Make the parts of the stage that took the run to `step`: at a border, of the one that ends there."""
        runs = self.config.stage_runs()
        ends = list(itertools.accumulate(run.steps for _, run in runs))
        self._make_phase(min(bisect.bisect_left(ends, step), len(runs) - 1))

    def _make_phase(self, place: int, *, before: Adversary | None = None) -> None:
        runs = self.config.stage_runs()
        self.stage, run = runs[place]
        first = sum(run.steps for _, run in runs[:place])
        self._place = place
        self._put_in_place(run.decoder)
        self._phase = Phase(run, first_step=first, codec=self.codec, process=self.process, before=before)

    def _put_in_place(self, stand_in: DecoderConfig | None) -> None:
        """Give the codec the decoder that a stage is for: its own, or one of another kind, which is drawn."""
        if stand_in != self._stand_in:
            decoder = (
                drawn_decoder(stand_in, self.codec, seed=self.config.seed) if stand_in else self._own_decoder
            )
            self.codec.exchange_decoder(decoder)
            self._stand_in = stand_in

    def _begin_next_stage(self) -> None:
        """Begin the stage after this one as a run that starts from this one's codec would."""
        self.codec.load_state_dict(self.average.state_dict())
        self._phase.close()
        self._make_phase(self._place + 1, before=self.adversary)
        if not self._stand_in and self._phase.config.trainable == "all" and self.process.is_first:
            self.folder.drop_decoder()  # the codes that it was for are about to change
        self._phase.begin()

    def _advance(self) -> StepReport:
        config, began = self.config, time.perf_counter()
        if self.step == self._phase.end:
            self._begin_next_stage()
        elif self.step == 0:
            self._phase.begin()
        values = self.process.mean(self._phase.train_step(self.step))
        # Processes that are asked to stop at different moments agree on one step.
        self._stopping = self.process.any_says(self._asked_to_stop)
        self.step += 1
        report = StepReport(
            step=self.step, values=values, seconds=0.0, training_seconds=0.0, stage=self.stage
        )
        ended = self.step == config.steps
        logged = self.step % config.log_every == 0 or ended
        saved = self.step % config.checkpoint_every == 0 or ended or self._stopping
        # On a GPU losses are read as seldom as possible, but before anything is made of the weights.
        if logged or saved or self._is_validated(ended=ended) or self.process.device.type == "cpu":
            refuse_divergence(report, self.folder, stage=self.stage if self._place else "")
        if logged:
            self._write(LOSSES_FILE, report.losses)
            if self.curves:
                self.curves.losses(self.step, report.losses)
        trained = time.perf_counter() - began
        validation = self._validate() if self._is_validated(ended=ended) else None
        if saved:
            self.save()
        seconds = time.perf_counter() - began
        return replace(report, seconds=seconds, training_seconds=trained, validation=validation)

    def _is_validated(self, *, ended: bool) -> bool:
        return self.validation is not None and (self.step % self.config.validate_every == 0 or ended)

    def _validate(self) -> dict[str, float]:
        assert self.validation is not None
        figures: dict[str, float] = {}
        if self.process.is_first:
            result = self.validation.run(self.averaged_codec(), bypassed=self._phase.bypassed)
            figures = result.figures
            self._write(VALIDATION_FILE, figures)
            if self.curves:
                self.curves.validation(self.step, figures, result.sounds)
        self.process.wait_for_all()
        return figures

    def _write(self, name: str, figures: dict[str, float]) -> None:
        if self.process.is_first:
            self.folder.append(name, {"step": self.step, **figures})

    def _curves(self) -> Curves | None:
        if not self.process.is_first:
            return None
        folder = self.folder.path / "tensorboard"
        return Curves(folder, sampling_rate=self.codec.sampling_rate, first_step=self.step)

    def _begin(self, *, resume: bool) -> None:
        # All data is opened before anything is written.
        if not (resume and self.folder.steps()):
            self._set_up(self._codec(None), step=0)
        # All processes take up the checkpoint at the same time: wrapping networks anew needs every one of them.
        if self.process.is_first:
            self.folder.begin(self.config, resume=resume, take_up=self._restore)
        elif resume:
            self.folder.newest(self._restore)
        self.process.wait_for_all()

    def _set_up(self, codec: SNAC, *, step: int) -> None:
        """Make all that belongs to a codec: the parts of the stage that took the run to `step`, and validation."""
        self.codec = codec.train().to(self.process.device)
        self._own_decoder = self.codec.decoder
        self._stand_in = None
        self.config.check_crop(codec.config)
        self.step = step
        self._enter(step)
        self.validation = Validation.of(self.config, codec.config.sampling_rate)

    def _state(self) -> dict[str, Any]:
        set_aside = self._own_decoder.state_dict() if self._stand_in else None
        return {
            "step": self.step,
            "start": self._start,
            "num_ranks": self.process.num_ranks,
            "codec": self.codec.state_dict(),
            "own_decoder": set_aside,
            "sound": continuation.digests_of(self._stores()),
            **self._phase.state(),
        }

    def _stores(self) -> list[ClipStore]:
        return [*self._phase.crops.stores, *([self.validation.store] if self.validation else [])]

    def _restore(self, state: dict[str, Any]) -> None:
        run, ranks = self.folder, self.process.num_ranks
        continuation.refuse_fewer_steps(self.config.steps, done=state["step"], run=run)
        # Checkpoints of earlier versions do not tell of processes, start and sound.
        continuation.refuse_other_processes(ranks, before=state.get("num_ranks", ranks), run=run)
        codec = self._codec(state.get("start"))
        self._set_up(codec, step=state["step"])  # with the decoder whose weights these are
        continuation.refuse_other_sound(self._stores(), before=state.get("sound", {}), run=run)
        self.codec.load_state_dict(state["codec"])
        if self._stand_in:
            self._own_decoder.load_state_dict(state["own_decoder"])
        self._phase.restore(state)

    def _codec(self, start: dict[str, Any] | None) -> SNAC:
        """Return the codec that a run begins with, or a network for the weights of a checkpoint that tells of it."""
        if start is None or self.config.start_from is None:
            codec = starting_codec(self.config)
            self._start = continuation.start_of(codec) if self.config.start_from else None
            return codec
        self._said_of_start = continuation.check_start(
            self.config.start_from, before=start, run=self.folder, trains_codes=self.config.trains_codes
        )
        self._start = start
        return continuation.codec_of_shape(start)
