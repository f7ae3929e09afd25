"""Fixtures for every folder of tests."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hub_stand_in import dead, hub
from hypothesis import settings

from snac_tok.codec import SNAC

# A machine that does other work fails no test: how long an example takes says nothing of whether it is right.
settings.register_profile("without a clock", deadline=None)
settings.load_profile("without a clock")

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


@pytest.fixture(scope="session")
def shared_tiny():
    """The embedded codec, loaded once; in the end nobody who shared it may have changed it."""
    codec = SNAC.from_pretrained("tiny")
    yield codec
    fresh = SNAC.from_pretrained("tiny").state_dict()
    assert not codec.training
    assert all(torch.equal(value, fresh[name]) for name, value in codec.state_dict().items())


@pytest.fixture
def loaded_before(monkeypatch, shared_tiny):
    """Every tokenizer of "tiny" has the same codec: to load it is most of what a short command or mapping costs."""

    def load(name, *, device="cpu", dtype=None, **options):
        if (name, str(device), dtype) == ("tiny", "cpu", None) and not options:
            return shared_tiny
        return SNAC.from_pretrained(name, device=device, dtype=dtype, **options)

    monkeypatch.setattr("snac_tok.tokenizer.tokenizer.SNAC", SimpleNamespace(from_pretrained=load))
