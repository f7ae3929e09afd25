"""One of several processes: trains what a JSON file lists, one run after another, and keeps what it reached.

Usage: python two_processes.py PLAN.json [ARGUMENT ...]
PLAN is a list of {"out", "config", "resume", "break_after", "stop_after"}. Then `snac-tok` runs with the arguments.
"""

import json
import os
import sys
from pathlib import Path

import torch

from snac_tok import cli
from snac_tok.training import Trainer, TrainingConfig


def weights(trainer):
    """Every number that a run has reached."""
    found = dict(trainer.codec.state_dict()) | {
        f"average.{name}": value for name, value in trainer.average.values.items()
    }
    if trainer.adversary:
        found |= {f"d.{name}": value for name, value in trainer.adversary.discriminators.state_dict().items()}
    return {name: value.clone() for name, value in found.items()}


def main():
    """Train every run of the plan."""
    rank = int(os.environ["RANK"])
    for entry in json.loads(Path(sys.argv[1]).read_text()):
        out = Path(entry["out"])
        trainer = Trainer(TrainingConfig.from_dict(entry["config"]), out, resume=entry.get("resume", False))
        for report in trainer.run():
            if report.step == entry.get("break_after"):
                break
            if report.step == entry.get("stop_after") and rank == 1:
                trainer.stop()
        torch.save(weights(trainer), out / f"weights-{rank}.pt")
    del sys.argv[1]
    cli.main()


if __name__ == "__main__":
    main()
