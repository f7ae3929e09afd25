"""Training where torch, einops and what these need is all that is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from small_run import settings, told, write_sound

ROOT = Path(__file__).parents[2]

BARE = """
import sys

# torch, einops, and what torch names as its requirements.
LEFT = {
    "torch", "torchgen", "functorch", "einops", "numpy", "snac_tok", "sympy", "mpmath", "networkx", "jinja2",
    "markupsafe", "filelock", "fsspec", "typing_extensions", "setuptools", *sys.stdlib_module_names,
}
hidden = set()


class Left:
    # Finds what is left; the rest looks as if it were not installed.
    def __init__(self, finders):
        self.finders = finders

    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in LEFT and not top.startswith("_"):
            hidden.add(top)
            return None
        specs = (finder.find_spec(name, path, target) for finder in self.finders)
        return next((spec for spec in specs if spec), None)


sys.meta_path[:] = [Left(list(sys.meta_path))]

import json
from pathlib import Path
from snac_tok.training import Trainer, TrainingConfig

path, out = sys.argv[1:]
reports = list(Trainer(TrainingConfig.from_file(path), out).run())
longer = json.loads(Path(path).read_text()) | {"steps": 3}
trainer = Trainer(TrainingConfig.from_dict(longer), out, resume=True)
reports += list(trainer.run())
print(json.dumps({
    "steps": [report.step for report in reports],
    "validated": [report.step for report in reports if report.validation],
    "tried": sorted(hidden),
}))
"""


def test_a_run_needs_torch_and_einops_alone(tmp_path):
    """Two steps from JSON with the adversary, validation and checkpoints, and a third after resuming."""
    sound = write_sound(tmp_path)
    config, out = tmp_path / "config.json", tmp_path / "run"
    config.write_text(json.dumps(settings(sound, steps=2, checkpoint_every=1)), encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-c", BARE, str(config), str(out)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    told_by_it = json.loads(result.stdout)
    assert (told_by_it["steps"], told_by_it["validated"]) == ([1, 2, 3], [2, 3])
    assert {"safetensors", "tensorboard"} <= set(told_by_it["tried"])  # both are missed, neither is needed
    assert [line["step"] for line in told(out)] == [1, 2, 3]
    assert len(list((out / "checkpoints").iterdir())) == 2
    assert not (out / "codec").exists()
    # Once a process and trainer, not once a step.
    for missing in ("tensorboard is not installed", "safetensors is not installed"):
        assert result.stderr.count(missing) == 2, result.stderr
