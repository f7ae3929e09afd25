"""Fixtures for every folder of tests."""

import functools
import importlib.util
import os
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from forked_scripts import script_runner
from hub_stand_in import dead, hub
from hypothesis import settings

from snac_tok.codec import SNAC
from snac_tok.codec.ops import backend

# A machine that does other work fails no test: how long an example takes says nothing of whether it is right.
settings.register_profile("without a clock", deadline=None)
settings.load_profile("without a clock")

# As an installation without extras runs; loading numba's loops would take each of many processes a second. What a codec
# computes is tested with the loops, too (`kernels`), and everything with SNAC_TOK_KERNELS=auto.
KERNELS = os.environ.setdefault("SNAC_TOK_KERNELS", "off")
backend.kernel_mode = KERNELS
COMPUTED = {1, 3, 4, 5, 9}  # the laws of what a codec computes

__all__ = ["dead", "hub"]

SCRIPTS = Path(__file__).parents[1] / "scripts"


def pytest_generate_tests(metafunc):
    """Hold every way of computing to the laws."""
    laws = {mark.args[0] for mark in metafunc.definition.iter_markers("law")}
    if laws & COMPUTED and importlib.util.find_spec("numba"):
        metafunc.parametrize("kernels", ["off", "auto"], ids=["", "numba"], indirect=True)


@pytest.fixture(autouse=True)
def kernels(request):
    """Which kernels the codec takes in this test."""
    backend.kernel_mode = getattr(request, "param", KERNELS)
    yield
    backend.kernel_mode = KERNELS


def pytest_ignore_collect(collection_path, config):
    """In the quick run, leave files without a law alone: to import them all would take longer than the laws do."""
    is_test = collection_path.suffix == ".py" and collection_path.name.startswith("test_")
    if config.option.markexpr == "law" and is_test:
        return "mark.law(" not in collection_path.read_text(encoding="utf-8") or None
    return None


@pytest.fixture(autouse=True)
def as_many_threads_as_before():
    """A test that leaves torch more threads than it found slows down all that follow, in both processes."""
    before = torch.get_num_threads()
    yield
    after = torch.get_num_threads()
    torch.set_num_threads(before)
    assert after == before, "the test left torch another number of threads"


@pytest.fixture
def one_thread():
    """One thread of torch in this test, whatever a test before it left."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
def run_forked(tmp_path_factory):
    """Run a script in a process of its own that has torch and datasets loaded; returncode, stdout and stderr."""
    with script_runner(tmp_path_factory.mktemp("scripts")) as run:
        yield run


@pytest.fixture(scope="session")
def shared_tiny():
    """The embedded codec, loaded once; in the end nobody who shared it may have changed it."""
    codec = SNAC.from_pretrained("tiny")
    yield codec
    fresh = SNAC.from_pretrained("tiny").state_dict()
    assert not codec.training
    assert all(torch.equal(value, fresh[name]) for name, value in codec.state_dict().items())


@pytest.fixture(scope="session")
def tinys_digest():
    """The digest of the embedded codec's weights."""
    return SNAC.from_pretrained("tiny").weights_sha256()


@pytest.fixture
def loaded_before(monkeypatch, shared_tiny, tinys_digest):
    """Every tokenizer of "tiny" has the same codec: to load it is most of what a short command or mapping costs.

    Its digest is known, too. To compute it forgets what was made from the weights, and nobody changes these here.
    """
    monkeypatch.setattr(shared_tiny, "weights_sha256", functools.partial(str, tinys_digest))

    def load(name, *, decoder=None, device="cpu", dtype=None, **options):
        if (name, decoder, str(device), dtype) == ("tiny", None, "cpu", None) and not options:
            return shared_tiny
        return SNAC.from_pretrained(name, decoder=decoder, device=device, dtype=dtype, **options)

    monkeypatch.setattr("snac_tok.tokenizer.tokenizer.SNAC", SimpleNamespace(from_pretrained=load))
