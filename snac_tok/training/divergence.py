"""The end of a run whose losses are no finite numbers any more, and what to tell of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from snac_tok.errors import TrainingError
from snac_tok.training.run_folder import CODEC_FOLDER, LOSSES_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.training.run_folder import RunFolder
    from snac_tok.training.step_report import StepReport


def refuse_divergence(report: StepReport, folder: RunFolder, *, stage: str) -> None:
    """Refuse to go on from a step whose losses are not finite.

    Args:
        report: of the step.
        folder: of the run.
        stage: that the run is in, "" where none came before it.

    Raises:
        TrainingError: with the figures that are not finite, and what helps.
    """
    bad = sorted(name for name, value in report.losses.items() if not math.isfinite(value))
    if bad:
        raise TrainingError(
            f"step {report.step}: {', '.join(bad)} is not a finite number any more; "
            f"{_way_on(folder, bad, stage=stage)}."
        )


def _way_on(folder: RunFolder, bad: Sequence[str], *, stage: str) -> str:
    # Rates cannot change within a run, and a codec that was saved may be as bad already.
    own = all(name.startswith("discriminator") for name in bad)
    advice = (
        "begin anew in another folder with a lower learning_rate or clip_norm of "
        f"{'discriminator_optimizer' if own else 'optimizer'}"
    )
    codec, saved = folder.path / CODEC_FOLDER, folder.steps()
    if not saved or not codec.is_dir():
        return advice
    rest = f" and without the stages before {stage}" if stage else ""
    return (
        f"{advice}; if {folder.path / LOSSES_FILE} was still good at step {saved[-1]}, start_from: {codec} there goes "
        f"on from the codec of that step, with the steps that are left{rest}"
    )
