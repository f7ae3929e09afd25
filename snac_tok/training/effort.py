"""How long a run would take on a CPU, so that nobody starts one there that cannot end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snac_tok.training.config import TrainingConfig

# Measured with 2.7 million parameters on one core of an Intel Xeon, eager float32: 0.65 s a second of sound.
_SECONDS_PER_PARAMETER = 2.4e-7
# Discriminators of the width that fits a codec cost about as much as it does.
_ADVERSARIAL_FACTOR = 2.0
_SECONDS_PER_DAY = 86_400.0
# A run that ends over a weekend may be meant.
_LONG_DAYS = 3.0


def cpu_days(config: TrainingConfig, *, num_parameters: int, sampling_rate: int, cores: int) -> float:
    """Return about how many days a run would take on so many cores; right within a factor of a few.

    Example:
        >>> from snac_tok.training import DataConfig, Source, TrainingConfig
        >>> paper = TrainingConfig(data=DataConfig(train=(Source(folder="ready"),), crop_samples=18432))
        >>> round(cpu_days(paper, num_parameters=19_842_914, sampling_rate=24_000, cores=16), -1)
        70.0
    """
    seconds = 0.0
    for _, run in config.stage_runs():
        sound = run.steps * run.batch_size * run.accumulate * run.data.crop_samples / sampling_rate
        seconds += sound * num_parameters * (_ADVERSARIAL_FACTOR if run.discriminators else 1.0)
    return seconds * _SECONDS_PER_PARAMETER / cores / _SECONDS_PER_DAY


def cpu_warning(config: TrainingConfig, *, num_parameters: int, sampling_rate: int) -> str | None:
    """Return what to say before a run begins on a CPU, None where it will end soon enough."""
    cores = os.cpu_count() or 1
    days = cpu_days(config, num_parameters=num_parameters, sampling_rate=sampling_rate, cores=cores)
    if days < _LONG_DAYS:
        return None
    return (
        f"this run would take about {days:,.0f} days on this machine's CPU ({cores} cores; {num_parameters:,} "
        f"parameters, {config.steps:,} steps): it is made for a GPU. For a CPU, take a smaller codec and fewer "
        f"steps, as configs/tiny_24khz.yaml has."
    )
