"""The benchmark of mapping runs and compares equal work; what it prints of time is never judged here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_mapping_benchmark_prints_its_row():
    """Both ways map the same rows with the same weights; at most rounding tells their ids apart."""
    arguments = [
        "--config",
        "tiny",
        "--clips",
        "2",
        "--runs",
        "1",
        "--longest",
        "2",
        "--threads",
        "1",
        "--markdown",
    ]
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "bench_mapping.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    cells = [cell.strip() for cell in done.stdout.splitlines()[-1].strip("| ").split("|")]
    assert cells[0] == "map 2 clips of 1 to 2 s"
    assert all(figure.endswith(" x") for figure in cells[1:3])
    differing, total = (int(word) for word in cells[4].split() if word.isdigit())
    assert total >= 2 * 7 * 12
    assert differing <= total // 50
