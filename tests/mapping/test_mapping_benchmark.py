"""The benchmark of mapping runs and compares equal work; what it prints of time is never judged here."""

import pytest


@pytest.mark.slow
def test_the_mapping_benchmark_prints_its_row(run_script):
    """Both ways map the same rows with the same weights; at most rounding tells their ids apart."""
    arguments = ("--config", "tiny", "--clips", "2", "--runs", "1", "--longest", "2", "--threads", "1")
    printed = run_script("bench_mapping.py", *arguments, "--markdown")
    cells = [cell.strip() for cell in printed.splitlines()[-1].strip("| ").split("|")]
    assert cells[0] == "map 2 clips of 1 to 2 s"
    assert all(figure.endswith(" x") for figure in cells[1:3])
    differing, total = (int(word) for word in cells[4].split() if word.isdigit())
    assert total >= 2 * 7 * 12
    assert differing <= total // 50
