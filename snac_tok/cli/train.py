"""`snac-tok train`: a codec from a config and prepared sound."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import click

from snac_tok.cli.completion import devices, files, folders
from snac_tok.cli.messages import examples, print_result, say
from snac_tok.cli.progress import ProgressBar, is_wanted, progress_option
from snac_tok.cli.shared_options import never_stdout
from snac_tok.wording import facts, lasting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from snac_tok.training import StepReport, Trainer, TrainingConfig

# The losses that the bar shows, where a run has them; all of them are in losses.jsonl.
_SHOWN = {
    "mel": "mel",
    "adversarial": "adv",
    "feature_matching": "fm",
    "discriminator": "disc",
    "commitment": "vq",
}


@click.command(
    epilog=examples(
        "snac-tok prepare clips -o ready --sampling-rate 24000",
        "snac-tok train config.yaml -o run",
        "snac-tok train config.yaml -o run --resume",
        "accelerate launch -m snac_tok.cli train config.yaml -o run",
        "tensorboard --logdir run/tensorboard",
    )
)
@click.argument("config", metavar="CONFIG", shell_complete=files)
@click.option(
    "-o",
    "--out",
    required=True,
    metavar="RUN",
    callback=never_stdout,
    shell_complete=folders,
    help="The run's folder: checkpoints, figures, the codec.",
)
@click.option(
    "--resume", is_flag=True, help="Go on from RUN's newest checkpoint, as if nothing had happened."
)
@click.option(
    "--device",
    default=None,
    shell_complete=devices,
    help="Where to train; by default a GPU where there is one.",
)
@progress_option
def train(*, config: str, out: str, resume: bool, device: str | None, progress: bool | None) -> int:
    """Train a codec as CONFIG (YAML or JSON) says; what can be set is in docs/training.md.

    An interrupted run, resumed, gives what it would have given uninterrupted. RUN/codec always holds the codec as of
    the newest checkpoint, and loads with --model RUN/codec everywhere; where a decoder of another kind is trained,
    RUN/decoder holds it and loads with --decoder. Where only the codec's own decoder is trained, tokens that were made
    before are decoded with --model START_FROM --decoder RUN/codec. Without a terminal there is a line on stderr
    every log_every steps in place of the bar.
    """
    from snac_tok.codec.placement import check_device
    from snac_tok.training import Trainer, TrainingConfig

    if device is not None:
        check_device(device)
    settings = TrainingConfig.from_file(config)
    trainer = Trainer(settings, out, resume=resume, device=device)
    reports, note = [], ""
    shown = is_wanted(progress, things=2) and trainer.process.is_first
    lines = _Lines(trainer, shown=progress is None and not shown and trainer.process.is_first)
    if shown or lines.shown:
        _say_what_begins(trainer, out, resume=resume)
    bar = ProgressBar("training", unit="step", shown=shown, total=settings.steps, done=trainer.step)
    with bar, _stopped_between_steps(trainer) as asked:
        for report in trainer.run():
            reports.append(report.seconds)
            lines.show(report)
            # Losses are read as seldom as they are logged: each reading makes a GPU wait.
            note = _note(report) if not note or lines.is_time(report) else note
            bar.show(done=report.step, total=settings.steps, note=note)
    if trainer.step < settings.steps:
        if trainer.process.is_first:
            say(f"step {trainer.step} is saved; go on with --resume.")
        if signal.SIGTERM in asked:
            return 128 + signal.SIGTERM  # what a shell says of a process that it ended
        raise KeyboardInterrupt
    if trainer.process.is_first:
        print_result(_account(trainer, out, steps=len(reports), seconds=sum(reports)))
    return 0


@contextmanager
def _stopped_between_steps(trainer: Trainer) -> Iterator[list[int]]:
    """Let Control-C and SIGTERM wait for the end of a step, which is then saved; a second one does not wait.

    Half a step saved would be no step of this run: in it codec, discriminators and counters change one after the other.
    SIGTERM is what a cluster sends to a job that must make room.

    Yields:
        the signals that came.
    """
    asked: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        trainer.stop()
        restore()

    for number, handler in before.items():
        # A shell script's background job ignores Control-C from its start, and goes on doing so.
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield asked
    finally:
        restore()


class _Lines:
    """What a log file gets in place of a bar: the first step, every few, the validated ones and the last."""

    def __init__(self, trainer: Trainer, *, shown: bool) -> None:
        self.shown = shown
        self._first, self._steps, self._every = (
            trainer.step + 1,
            trainer.config.steps,
            trainer.config.log_every,
        )
        # Seconds of training alone, and those with validations and checkpoints, which the rest has as well.
        self._since_line: list[float] = []
        self._behind_first: list[float] = []

    def is_time(self, report: StepReport) -> bool:
        """Whether this step's losses are said."""
        return report.step in (self._first, self._steps) or report.step % self._every == 0

    def show(self, report: StepReport) -> None:
        """Say how far the run is, where it is time to."""
        self._since_line.append(report.training_seconds)
        # The first step compiles and warms up: nothing can be reckoned from it.
        if report.step > self._first:
            self._behind_first.append(report.seconds)
        if not self.shown or not (self.is_time(report) or report.validation):
            return
        parts = [
            f"step {report.step}/{self._steps}: {_note(report)}",
            f"{lasting(fmean(self._since_line))} a step",
        ]
        self._since_line.clear()
        if report.validation:
            parts.append(f"validated: mel {report.validation['mel']:.3g}")
        if self._behind_first and report.step < self._steps:
            parts.append(f"{lasting(fmean(self._behind_first) * (self._steps - report.step))} left")
        say(f"{', '.join(parts)}.")


def _say_what_begins(trainer: Trainer, out: str, *, resume: bool) -> None:
    config, place = trainer.config, trainer.process
    if trainer.step >= config.steps:
        say(f"all {config.steps} steps of {out} are done.")
        return
    if resume and not trainer.step:
        say(f"{out} holds no checkpoint yet; the run begins at step 1.")
    seconds = config.data.crop_samples / trainer.codec.sampling_rate
    num_crops = config.batch_size * config.accumulate * place.num_ranks
    say(
        f"training {trainer.codec.num_parameters:,} parameters on {_device(trainer)} in {config.precision}: "
        f"steps {trainer.step + 1} to {config.steps} of {num_crops} crops of {seconds:.2f} s; "
        f"figures go to {Path(out) / 'losses.jsonl'}."
    )
    if config.compile:
        say("compiling: the first step takes minutes, the others are faster.")


def _device(trainer: Trainer) -> str:
    import torch

    device, place = trainer.process.device, trainer.process
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    threads = f"{torch.get_num_threads()} threads" if device.type == "cpu" else ""
    about = ", ".join(part for part in (name, threads) if part)
    many = f"{place.num_ranks} processes, each on " if place.num_ranks > 1 else ""
    return f"{many}{device}" + (f" ({about})" if about else "")


def _note(report: StepReport) -> str:
    parts = [f"{short} {report.losses[name]:.3g}" for name, short in _SHOWN.items() if name in report.losses]
    return " ".join(parts)


def _account(trainer: Trainer, out: str, *, steps: int, seconds: float) -> str:
    config, own = trainer.config, Path(out) / "codec"
    kind, trained = "codec", trainer.codec.num_parameters
    if config.stage_runs()[-1][1].decoder:
        kind, trained = "decoder", sum(weight.numel() for weight in trainer.codec.decoder.parameters())
    rows = [
        ("steps", f"{steps:,} now, {trainer.step:,} in all, {lasting(seconds)}"),
        (kind, f"{Path(out) / kind} ({trained:,} parameters)"),
        ("curves", f"tensorboard --logdir {Path(out) / 'tensorboard'}"),
        ("try it", f"snac-tok eval FOLDER {_named(config, own, Path(out) / kind)}"),
    ]
    if config.start_from and not config.trains_codes:
        rows.append(
            ("earlier tokens", f"snac-tok decode TOKENS -o SOUND.wav {_named(config, own, Path(out) / kind)}")
        )
    return facts(rows)


def _named(config: TrainingConfig, codec: Path, made: Path) -> str:
    """Return by which options commands take what a run made: a decoder alone goes with the codec that made codes."""
    if config.start_from and not config.trains_codes:
        return f"--model {config.start_from} --decoder {made}"
    return f"--model {codec}" + (f" --decoder {made}" if made != codec else "")
