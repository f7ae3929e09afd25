"""`snac-tok train`: a codec from a config and prepared sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from snac_tok.cli.messages import examples, facts, lasting
from snac_tok.cli.progress import ProgressBar, is_wanted, progress_option

if TYPE_CHECKING:
    from snac_tok.training import StepReport, Trainer

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
@click.argument("config", metavar="CONFIG")
@click.option(
    "-o", "--out", required=True, metavar="RUN", help="The run's folder: checkpoints, figures, the codec."
)
@click.option(
    "--resume", is_flag=True, help="Go on from RUN's newest checkpoint, as if nothing had happened."
)
@click.option("--device", default=None, help="Where to train; by default a GPU where there is one.")
@progress_option
def train(*, config: str, out: str, resume: bool, device: str | None, progress: bool | None) -> int:
    """Train a codec as CONFIG (YAML or JSON) says; what can be set is in docs/training.md.

    An interrupted run, resumed, gives what it would have given uninterrupted. RUN/codec always holds the codec as of
    the newest checkpoint, and loads with --model RUN/codec everywhere.
    """
    from snac_tok.training import Trainer, TrainingConfig

    settings = TrainingConfig.from_file(config)
    trainer = Trainer(settings, out, resume=resume, device=device)
    first, reports = trainer.step, []
    shown = is_wanted(progress, things=2) and trainer.placement.is_first
    with ProgressBar("training", unit="step", shown=shown, total=settings.steps) as bar:
        bar.advance(first)
        try:
            for report in trainer.run():
                reports.append(report.seconds)
                bar.show(done=report.step, total=settings.steps, note=_note(report))
        except KeyboardInterrupt:
            # The last step is whole: what it reached is not thrown away.
            trainer.save()
            raise
    if trainer.placement.is_first:
        click.echo(_account(trainer, out, steps=len(reports), seconds=sum(reports)))
    return 0


def _note(report: StepReport) -> str:
    parts = [f"{short} {report.losses[name]:.3g}" for name, short in _SHOWN.items() if name in report.losses]
    return " ".join(parts)


def _account(trainer: Trainer, out: str, *, steps: int, seconds: float) -> str:
    codec = Path(out) / "codec"
    rows = [
        ("steps", f"{steps:,} now, {trainer.step:,} in all, {lasting(seconds)}"),
        ("codec", f"{codec} ({trainer.codec.num_parameters:,} parameters)"),
        ("curves", f"tensorboard --logdir {Path(out) / 'tensorboard'}"),
        ("try it", f"snac-tok eval FOLDER --model {codec}"),
    ]
    return facts(rows)
