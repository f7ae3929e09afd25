"""What a run that begins is refused for, and one that goes on is not: settings that would do nothing.

Earlier versions began such runs, which ignored these settings. Their configs are read and they go on to their ends, so
nothing here belongs into the checks of a config itself.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

from snac_tok.errors import ConfigError
from snac_tok.training.stages import OWN

if TYPE_CHECKING:
    from snac_tok.training.config import TrainingConfig


def check_new_run(config: TrainingConfig) -> None:
    """Refuse a run in which a setting would do nothing, or in which the codec never meets its discriminators.

    Raises:
        ConfigError: a setting beside stages is one that they do not take; a setting of discriminators has none; or a
            run or stage ends before its codec has learned against its discriminators.
    """
    _refuse_what_stages_ignore(config)
    _refuse_missing_discriminators(config)
    _refuse_late_discriminators(config)


def _refuse_what_stages_ignore(config: TrainingConfig) -> None:
    defaults = {each.name: each.default for each in dataclasses.fields(config) if each.name in OWN}
    ignored = [name for name, default in defaults.items() if getattr(config, name) != default]
    if config.stages and ignored:
        raise ConfigError(
            f"{', '.join(ignored)} is set beside stages, which do not take it from the run; "
            "name it in the stage that it is meant for."
        )


def _refuse_missing_discriminators(config: TrainingConfig) -> None:
    for place, stage in enumerate(config.stages):
        if stage.adversarial and not (stage.discriminators or config.discriminators):
            raise ConfigError(
                f"stages[{place}] ({stage.name}): adversarial is true and there are no discriminators; describe some "
                "in the stage or in the run, or set adversarial to false."
            )
    for name, run in config.stage_runs():
        if run.adversarial_from_step and run.discriminators is None:
            whose = f"the stage {name}: " if name else ""
            raise ConfigError(f"{whose}adversarial_from_step is set and there are no discriminators.")


def _refuse_late_discriminators(config: TrainingConfig) -> None:
    runs = config.stage_runs()
    following = [run for _, run in runs[1:]]
    for (name, run), after in itertools.zip_longest(runs, following):
        before = run.adversarial_from_step + run.discriminators_alone
        if before >= run.steps and not _goes_on(run, after):
            otherwise = (
                ", or the discriminators learn in it and the next stage goes on with them" if name else ""
            )
            raise ConfigError(
                f"{f'the stage {name}' if name else 'the run'} has {run.steps} steps, and before the codec learns "
                f"against discriminators there are {before} (adversarial_from_step {run.adversarial_from_step}, "
                f"discriminators_alone {run.discriminators_alone}); together they must be fewer than its "
                f"steps{otherwise}."
            )


def _goes_on(run: TrainingConfig, after: TrainingConfig | None) -> bool:
    """Whether what discriminators learn in a stage is not lost: the next one, checked itself, takes them over."""
    learns = run.adversarial_from_step < run.steps
    return learns and after is not None and after.discriminators == run.discriminators
