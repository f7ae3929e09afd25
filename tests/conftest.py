"""Fixtures for every folder of tests."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
from hub_stand_in import dead, hub

__all__ = ["dead", "hub"]

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def run_script(monkeypatch, capsys):
    """Run a script in this process, which has loaded what it needs, and return what it printed."""
    before = torch.get_num_threads()

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        monkeypatch.syspath_prepend(SCRIPTS)
        runpy.run_path(str(SCRIPTS / name), run_name="__main__")
        return capsys.readouterr().out

    yield run
    torch.set_num_threads(before)
