"""What steps take from outside is the same whoever makes it, and a step reads nothing back from the device."""

import os
import signal
import time

import pytest
import torch
from small_run import config, write_sound
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from snac_tok.errors import TrainingError
from snac_tok.training import Trainer
from snac_tok.training.step_inputs import InputFeed, workers_for


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A prepared folder."""
    return write_sound(tmp_path_factory.mktemp("sound"))


def weights_of(sound, folder, **changes):
    """Train to the end and return the codec's weights."""
    trainer = Trainer(config(sound, **changes), folder)
    list(trainer.run())
    return trainer.codec.state_dict()


def assert_equal(one, other):
    """Every weight, bit for bit."""
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_workers_change_nothing(sound, tmp_path):
    """Gradients of several batches a step, stages, and a run that was interrupted and goes on with other workers."""
    stages = [{"name": "a", "steps": 3, "batch_size": 3}, {"name": "b", "steps": 2, "adversarial": True}]
    options = {"steps": 5, "accumulate": 2, "stages": stages}
    wanted = weights_of(sound, tmp_path / "none", **options)
    first = Trainer(config(sound, workers=1, **options), tmp_path / "cut")
    for report in first.run():
        if report.step == 1:  # the step after this one still ends
            first.stop()
    second = Trainer(config(sound, workers=2, **options), tmp_path / "cut", resume=True)
    assert second.step == 2
    list(second.run())
    assert_equal(wanted, second.codec.state_dict())


def test_workers_need_no_fork(sound, tmp_path, monkeypatch):
    """Started anew, as on macOS and from Python 3.14 on, they make the same batches."""
    maker = Trainer(config(sound), tmp_path / "run")._phase._feed._maker
    monkeypatch.setattr(torch.multiprocessing, "_default_context", None, raising=False)
    before = torch.multiprocessing.get_start_method(allow_none=True)
    torch.multiprocessing.set_start_method("spawn", force=True)
    try:
        feed = InputFeed(maker, end=9, workers=1, pinned=False)
        assert torch.equal(feed.take(2)[0], maker[2][0])
        feed.close()
    finally:
        torch.multiprocessing.set_start_method(before, force=True)


def test_a_feed_goes_on_from_any_batch(sound, tmp_path):
    """Asked for another than the next one, workers begin anew."""
    maker = Trainer(config(sound), tmp_path / "run")._phase._feed._maker
    feed = InputFeed(maker, end=9, workers=1, pinned=False)
    for number in (2, 3, 7, 0, 1):
        for found, wanted in zip(feed.take(number), maker[number], strict=True):
            parts = zip(found, wanted, strict=True) if isinstance(found, tuple) else [(found, wanted)]
            assert all(torch.equal(*part) for part in parts)
    feed.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_sound_that_is_cut_beside_a_run_is_one_sentence(tmp_path, workers):
    """Whoever makes the inputs; the run goes on when the sound is there again."""
    sound, run = write_sound(tmp_path), tmp_path / "run"
    settings = config(
        sound, workers=workers, steps=9, checkpoint_every=1, validate_every=9, discriminators=None
    )
    steps = Trainer(settings, run).run()
    next(steps)
    samples = sound.folder / "samples.s16"
    content = samples.read_bytes()
    os.truncate(samples, 0)
    with pytest.raises(TrainingError) as refused:
        list(steps)
    assert str(refused.value) == (
        f"{samples} was cut while it was in use: it holds 0 of its {len(content)} bytes; prepare it again with "
        "snac-tok prepare."
    )
    samples.write_bytes(content)
    resumed = Trainer(settings, run, resume=True)
    done = resumed.step
    assert 0 < done < 9
    assert len(list(resumed.run())) == 9 - done


def test_how_many_workers(sound):
    """None on a CPU, some on a GPU, or as many as are asked for."""
    assert workers_for(config(sound), torch.device("cpu")) == 0
    assert 1 <= workers_for(config(sound), torch.device("cuda")) <= 4
    assert workers_for(config(sound, workers=3), torch.device("cpu")) == 3


class Readings(TorchDispatchMode):
    """Counts the operations that make a program wait for its device: the host reads a value, or a length."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "_unique2")

    def __init__(self, *, known=()):
        super().__init__()
        self.known, self.found = {id(each) for each in known}, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Note the operation, and run it."""
        if func.name().split("::")[1].split(".")[0] in self.WAITING and id(args[0]) not in self.known:
            self.found.append(func.name())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("adversarial", [False, True])
def test_a_step_reads_nothing_back(sound, tmp_path, adversarial):
    """Neither losses nor norms nor codes; only where idle codes are started anew, every so often, does it."""
    changes = {} if adversarial else {"discriminators": None}
    quantizer = {"restart_after": 2, "restart_every": 100}
    trainer = Trainer(config(sound, quantizer=quantizer, **changes), tmp_path / "run")
    inputs = trainer._phase._feed.take(1)
    trainer._phase._feed.take = lambda _: inputs
    trainer._phase.train_step(0)
    phase = trainer._phase
    optimizers = [phase.optimization.adamw]
    if adversarial:
        optimizers.append(phase.adversary.optimization.adamw)
    # AdamW counts its steps on the CPU; on a GPU its fused form does not.
    counters = [state["step"] for optimizer in optimizers for state in optimizer.state.values()]
    with Readings(known=counters) as readings:
        values = trainer._phase.train_step(1)
    assert readings.found == []
    with Readings() as readings:
        float(values["total"])
    assert readings.found == ["aten::_local_scalar_dense"]


def kill_workers(feed):
    """As a system without memory does; a step that goes on meanwhile must not notice."""
    for worker in feed._ahead._workers:
        worker.kill()
        time.sleep(0.3)  # a handler is called here, and finds nothing after the join
        worker.join()
    assert sum(range(1000)) == 499_500


def test_a_worker_that_is_killed_ends_no_run(sound, tmp_path, caplog):
    """One fewer goes on with the same batches; in the end none."""
    maker = Trainer(config(sound), tmp_path / "run")._phase._feed._maker
    feed = InputFeed(maker, end=99, workers=2, pinned=False)
    number = 0
    for left in ("1 worker", "no workers, and slower"):
        assert torch.equal(feed.take(number)[0], maker[number][0])
        kill_workers(feed)
        while left not in caplog.text:  # what was made ahead is used first
            number += 1
            assert torch.equal(feed.take(number)[0], maker[number][0])
    assert feed.take(number + 1)[0].shape == maker[number + 1][0].shape
    assert [record.getMessage().split(" (")[0] for record in caplog.records] == [
        "a worker that makes crops was killed"
    ] * 2
    feed.close()


class Faulty:
    """Makes nothing, and fails as it is told."""

    def __init__(self, error):
        self.error = error

    def __getitem__(self, number):
        """Fail."""
        raise self.error


@pytest.mark.parametrize("kind", [RuntimeError, EOFError, ConnectionError, BrokenPipeError, ValueError])
def test_a_fault_in_making_crops_is_no_worker_that_was_killed(kind, caplog):
    """It is raised at once as it is; workers that go on without it would hide it, or fail one after the other."""
    feed = InputFeed(Faulty(kind("a fault")), end=9, workers=2, pinned=False)
    with pytest.raises(kind, match="a fault"):
        feed.take(0)
    feed.close()
    assert caplog.text == ""


@pytest.fixture
def handler_of_torch(monkeypatch):
    """The handler of torch for dead children, put there by a loader of the program's own."""
    before = signal.getsignal(signal.SIGCHLD)
    monkeypatch.setattr(torch.utils.data._utils.signal_handling, "_SIGCHLD_handler_set", False)
    list(DataLoader([0, 1], num_workers=1))
    yield signal.getsignal(signal.SIGCHLD)
    signal.signal(signal.SIGCHLD, before)


def test_a_loader_of_the_programs_own_changes_nothing(sound, tmp_path, handler_of_torch, caplog):
    """A handler of torch's would end the run in the middle of a step; any other one stays where it is."""
    assert callable(handler_of_torch)
    maker = Trainer(config(sound), tmp_path / "run")._phase._feed._maker
    feed = InputFeed(maker, end=99, workers=1, pinned=False)
    feed.take(0)
    kill_workers(feed)
    number = 0
    while "no workers" not in caplog.text:
        number += 1
        assert torch.equal(feed.take(number)[0], maker[number][0])
    feed.close()

    def own(*_arguments):
        """Do nothing."""

    signal.signal(signal.SIGCHLD, own)
    feed = InputFeed(maker, end=9, workers=1, pinned=False)
    feed.take(0)
    assert signal.getsignal(signal.SIGCHLD) is own
    feed.close()


def test_workers_that_the_system_does_not_start(sound, tmp_path, monkeypatch):
    """One sentence with the way out."""
    maker = Trainer(config(sound), tmp_path / "run")._phase._feed._maker

    def refuse(*_arguments):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("torch.utils.data.dataloader._MultiProcessingDataLoaderIter.__init__", refuse)
    monkeypatch.setattr("torch.utils.data.dataloader._MultiProcessingDataLoaderIter.__del__", lambda _: None)
    with pytest.raises(
        TrainingError, match=r"no 2 processes for workers \(Resource .*; set workers to fewer, or to 0"
    ):
        InputFeed(maker, end=9, workers=2, pinned=False).take(0)
