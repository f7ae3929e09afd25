"""Batches one behind the other: in what order everything happens, whatever fails, and that no hidden wait undoes it.

A stand-in for the GPU keeps a queue: a copy out writes nothing before its place in the queue is waited for.
"""

import itertools
import os
import threading
from contextlib import nullcontext

import pytest
import torch
from device_queue import DeviceQueue
from hypothesis import given, settings
from hypothesis import strategies as st
from small_codec import SMALL
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from snac_tok.codec import SNAC, chunked, inference, transfers
from snac_tok.codec.context import StepContext
from snac_tok.codec.noise import RowNoise
from snac_tok.codec.state_tables import StateRow, StateTables
from snac_tok.codec.transfers import batches_ahead, pipelined, queued, to_device
from snac_tok.errors import NetworkError

CPU = torch.device("cpu")


@pytest.fixture
def queue(monkeypatch):
    """A CPU that has the stand-in."""
    found = DeviceQueue()
    monkeypatch.setattr(transfers, "copies_for", lambda _: found)
    return found


def test_the_next_batch_is_queued_before_this_one_is_waited_for(queue):
    """Copy in, run, begin to copy out; then the same for the next; only then wait. Each result is its own."""

    def begin(number):
        def run():
            sent = to_device(torch.full((3,), number), CPU)
            queue.events.append(f"run{number}")
            return [sent * 10, sent[:1] + 1]

        return queued(run, CPU)

    def batches():
        for number in range(3):
            queue.events.append(f"read{number}")
            yield number

    results = []
    for values, seconds in pipelined(begin, batches(), ahead=batches_ahead(CPU)):
        queue.events.append("use")
        results.append((values[0].tolist(), values[1].tolist(), seconds))
    assert results == [([number * 10] * 3, [number + 1], 0.5) for number in range(3)]
    first, second, third = (f"read{number} in run{number} out " for number in range(3))
    wanted = f"{first}{second}wait use {third}wait use wait use"
    assert queue.events == wanted.split()


def test_results_are_in_ordinary_memory_and_do_not_keep_each_other(queue):
    """Many small ones come in one copy; large ones alone; none at all is nothing."""
    values = [torch.arange(6).view(2, 3), torch.arange(4)]
    found, _ = queued(lambda: values, CPU)()
    assert queue.events.count("out") == 1
    assert all(map(torch.equal, found, values))
    assert len({each.untyped_storage().data_ptr() for each in (*found, *values)}) == 4
    mixed = [torch.arange(2), torch.ones(2)]
    found, _ = queued(lambda: mixed, CPU)()
    assert [each.dtype for each in found] == [torch.int64, torch.float32]
    large = [torch.zeros(transfers._PACKED_BYTES // 4), torch.ones(2, 1)]
    found, _ = queued(lambda: large, CPU)()
    assert queue.events.count("out") == 5
    assert all(map(torch.equal, found, large))
    assert queued(list, CPU)()[0] == []


@pytest.mark.parametrize("size", [1, 2])
def test_more_than_may_be_pinned_waits(queue, monkeypatch, size):
    """Such a copy goes the plain way, in and out."""
    monkeypatch.setattr(transfers, "_MOST_PINNED_BYTES", 8)
    monkeypatch.setattr(transfers, "_PACKED_BYTES", 0)
    values = torch.arange(size)
    found, _ = queued(lambda: [to_device(values, CPU), values], CPU)()
    assert torch.equal(found[0], values)
    assert torch.equal(found[1], values)
    assert queue.events.count("in") == (size == 1)
    assert queue.events.count("out") == 2 * (size == 1)


@pytest.mark.parametrize(("reading", "running"), [(1, 5), (3, 3), (5, 1)])
def test_whichever_of_host_and_device_is_slower_never_stands_still(reading, running):
    """By a clock that only reading, running and waiting move."""

    def spent(ahead):
        clock = {"host": 0, "device": 0}

        def batches():
            for number in range(8):
                clock["host"] += reading
                yield number

        def begin(_):
            clock["device"] = done = max(clock.values()) + running

            def finish():
                clock["host"] = max(clock["host"], done)

            return finish

        list(pipelined(begin, batches(), ahead=ahead))
        return clock["host"]

    assert spent(0) == 8 * (reading + running)
    assert spent(1) == 8 * max(reading, running) + min(reading, running)


@pytest.mark.usefixtures("queue")
def test_a_forked_process_does_not_wait_for_its_parent_s_batch():
    """It says so in one sentence; the parent gets its result."""
    wait = queued(lambda: [torch.ones(1)], CPU)
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            wait()
        except NetworkError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert b"begun before the process was forked" in os.read(reader, 1000)
    os.close(reader)
    os.close(writer)
    assert wait()[0] == [torch.ones(1)]


def test_a_cpu_gets_no_copy_no_thread_and_the_order_of_a_loop():
    """Results are the very tensors that were made."""
    events, threads, made = [], threading.active_count(), []

    def begin(number):
        events.append(f"run {number}")
        made.append(torch.full((2,), number))
        return queued(lambda: [to_device(made[-1], CPU)], CPU)

    def batches():
        for number in range(3):
            events.append(f"read {number}")
            yield number

    for (found,), seconds in pipelined(begin, batches(), ahead=batches_ahead(CPU)):
        assert found is made[-1]
        assert seconds == 0.0
        events.append("use")
    assert events == [
        f"{what}{n}" if what != "use" else what for n in range(3) for what in ("read ", "run ", "use")
    ]
    assert threading.active_count() == threads


class FailedError(Exception):
    """Of a batch."""


class Batches:
    """Numbered batches, some of which fail somewhere."""

    def __init__(self, count, fails):
        self.count, self.fails = count, fails
        self.begun, self.waited = [], []

    def _fail(self, number, place):
        if self.fails.get(number) == place:
            raise FailedError(number)

    def __iter__(self):
        for number in range(self.count):
            self._fail(number, "read")
            yield number

    def begin(self, number):
        """Begin one."""
        self._fail(number, "begin")
        self.begun.append(number)

        def finish():
            self.waited.append(number)
            self._fail(number, "finish")
            return number

        return finish


FAILURES = st.dictionaries(st.integers(0, 7), st.sampled_from(["read", "begin", "finish"]), max_size=3)


@settings(max_examples=80, deadline=None)
@given(count=st.integers(0, 7), ahead=st.integers(0, 3), fails=FAILURES, stop=st.integers(0, 8))
def test_results_and_errors_come_in_order(count, ahead, fails, stop):
    """As from a plain loop, wherever something fails and whenever somebody stops; nothing is begun behind an error."""
    batches, results = Batches(count, fails), []
    bad = min((number for number in fails if number < count), default=None)
    wanted = list(range(count if bad is None else bad))
    found = pipelined(batches.begin, batches, ahead=ahead)
    results += itertools.islice(found, min(stop, len(wanted)))
    assert results == wanted[:stop]
    assert len(batches.begun) <= len(results) + ahead
    if stop <= len(wanted):
        return
    with nullcontext() if bad is None else pytest.raises(FailedError, match=f"^{bad}$"):
        results.extend(found)
    assert results == wanted
    assert batches.begun == list(range(len(batches.begun)))
    assert len(batches.begun) <= len(wanted) + 1 + ahead
    assert batches.waited == list(range(len(batches.waited)))
    assert ahead == 0 or next(found, None) is None


def test_an_error_that_nobody_waits_for_is_logged(caplog):
    """Who stops early hears of it; an interruption is not held back."""

    def begin(number):
        if number == 1:
            raise FailedError("no room")
        return lambda: number

    found = pipelined(begin, range(3), ahead=1)
    assert next(found) == 0
    found.close()
    assert "A batch failed whose result nobody has waited for: FailedError('no room')" in caplog.text

    def interrupted():
        yield 0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(pipelined(begin, interrupted(), ahead=1))


class Waits(TorchDispatchMode):
    """Counts copies between devices that the host would wait for."""

    def __init__(self):
        super().__init__()
        self.found, self.sent = [], 0

    def __torch_dispatch__(self, func, _types, args=(), kwargs=None):
        """Look at the devices on both sides."""
        out = func(*args, **(kwargs or {}))
        sides = {each.device.type for each in (*args, out) if isinstance(each, torch.Tensor)}
        if len(sides) > 1 and func.name() in ("aten::_to_copy", "aten::copy_"):
            self.sent += 1
            if not ((kwargs or {}).get("non_blocking") or (len(args) > 2 and args[2])):
                self.found.append(func.name())
        return out


class MadeElsewhere(TorchFunctionMode):
    """Counts tensors of Python's numbers that are made on a device: their copy is waited for."""

    def __init__(self, waits):
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func, _types, args=(), kwargs=None):
        """Look where it is made."""
        device = (kwargs or {}).get("device") or CPU
        if func in (torch.tensor, torch.as_tensor) and torch.device(device) != CPU:
            self.waits.found.append(func.__name__)
        return func(*args, **(kwargs or {}))


class MetaCopies:
    """A device whose tensors have no values: reading one back is an error, so nothing can wait for one."""

    device = torch.device("meta")

    def stage(self, values):
        """As on a GPU."""
        return values.to(self.device, non_blocking=True)


@pytest.fixture
def elsewhere(monkeypatch):
    """A codec on a device that cannot be waited for, and what counts the waits."""
    monkeypatch.setattr(
        transfers, "copies_for", lambda device: MetaCopies() if device.type == "meta" else None
    )
    waits = Waits()
    codec = SNAC.from_config(SMALL).eval().to("meta")
    with MadeElsewhere(waits), waits, torch.no_grad():
        yield codec, waits


def test_no_batch_waits_for_the_one_before(elsewhere):
    """Clips of many lengths, alone and side by side, their noise, and rows of streams: all is only queued."""
    codec, waits = elsewhere
    codes = codec.encode_batch([torch.zeros(1, length) for length in (500, 490, 480, 3000, 50, 2900)])
    assert waits.sent < 10  # a few calls of the network, with where their rows end
    assert {level.device.type for levels in codes for level in levels} == {"meta"}
    host = [[torch.zeros(each.shape, dtype=torch.int64) for each in levels] for levels in codes]
    for noise in (3, "off", "random"):
        codec.decode_batch(host, noise=noise)
        codec.decode([level[None] for level in host[0]], noise=noise)
    states, rows = StateTables(), [StateRow() for _ in range(4)]
    latents = torch.zeros(4, codec.latent_dim, 8, device="meta")
    for _ in range(6):
        batch = states.read(rows)
        noise = RowNoise(seeds=[1, None, 2, 1], positions=[row.positions for row in rows])
        codec.decoder.step(latents, StepContext(latents, batch, last=False, noise=noise))
        states.write(rows, batch)
    batch = states.read([rows[0], rows[2]])
    codec.decoder.step(latents[:2], StepContext(latents[:2], batch, last=False))
    states.write([rows[0], rows[2]], batch)
    assert waits.found == []


@pytest.mark.parametrize("rows", [1, 8])
def test_rows_that_run_at_once_share_the_memory(elsewhere, monkeypatch, rows):
    """A batch's activations are as large as one clip's, however many rows it has."""
    codec, _ = elsewhere
    monkeypatch.setattr(chunked, "GPU_VALUES", 100_000)
    seen = []
    for network in (codec.encoder, codec.decoder):
        monkeypatch.setattr(type(network), "step", watched(type(network).step, seen))
    audio = torch.zeros(rows, 1, 60_000, device="meta")
    (codes,) = inference.encode_clips(codec, [audio])
    inference.decode_clips(codec, [(codes, None)])
    list(inference.decode_blocks(codec, codes, None))
    codec.encoder(audio)
    codec.decoder(torch.zeros(rows, codec.latent_dim, 3_000, device="meta"))
    assert len(seen) > 4 * 2
    assert max(seen) <= 130_000  # the first chunk is longer by what its first layer holds back


def watched(step, seen):
    """A network's step that notes how many values its largest activation has."""

    def run(network, x, context):
        samples = x.shape[-1] * (1 if x.shape[1] == 1 else network.hop_length)
        seen.append(len(x) * samples * network.audio_channels)
        return step(network, x, context)

    return run


def test_a_wait_would_be_seen(elsewhere):
    """The same test notices a plain copy, a tensor that is made there, and a value that is read."""
    codec, waits = elsewhere
    torch.zeros(3).to("meta")
    torch.tensor([1], device="meta")
    assert waits.found == ["aten::_to_copy", "tensor"]
    with pytest.raises((RuntimeError, NotImplementedError)):
        codec.encode_batch([torch.zeros(1, 50)])[0][0].cpu()


def test_what_is_asked_of_cuda(monkeypatch):
    """Pinned memory on both ways, copies that nobody waits for, events in the stream of the codec's own device."""
    asked, empty, copied, moved = [], torch.empty, torch.Tensor.copy_, torch.Tensor.to

    class Event:
        def __init__(self, **options):
            asked.append(("event", options))

        def record(self, stream):
            asked.append(("record", stream))

        def synchronize(self):
            asked.append(("synchronize",))

        def elapsed_time(self, _later):
            return 1500.0

    def pinned(*shape, pin_memory, device, **options):
        assert device == "cpu"  # what is not can not be pinned, and another may be the default
        asked.append(("pinned", pin_memory))
        return empty(*shape, **options)

    def copy_(self, values, non_blocking=False):
        asked.append(("copy", non_blocking))
        return copied(self, values)

    def to(self, *place, **options):
        if place and isinstance(place[0], torch.device) and place[0].type == "cuda":
            asked.append(("to", *place, options))
            return self
        return moved(self, *place, **options)

    device = torch.device("cuda:1")
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda where: f"stream of {where}")
    monkeypatch.setattr(torch, "empty", pinned)
    monkeypatch.setattr(torch.Tensor, "copy_", copy_)
    monkeypatch.setattr(torch.Tensor, "to", to)
    (found,), seconds = queued(lambda: [to_device(torch.arange(3), device)], device)()
    monkeypatch.undo()
    assert (found.tolist(), seconds) == ([0, 1, 2], 1.5)
    event = ("event", {"enable_timing": True, "blocking": True})
    assert asked == [
        event,
        ("record", "stream of cuda:1"),
        ("pinned", True),
        ("copy", False),
        ("to", device, {"non_blocking": True}),
        ("pinned", True),
        ("copy", True),
        event,
        ("record", "stream of cuda:1"),
        ("synchronize",),
    ]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu():
    """Batches one behind the other give what each gives alone, and small results do not wait for what is behind."""
    torch.manual_seed(0)
    codec = SNAC.from_config(SMALL).eval().cuda()
    batches = [[torch.rand(1, 400 + 37 * at) - 0.5 for at in range(size)] for size in (5, 1, 7, 3)]

    def encode(clips):
        return queued(lambda: [x for codes in codec.encode_batch(clips) for x in codes], codec.device)

    wanted = [[x.cpu() for codes in codec.encode_batch(clips) for x in codes] for clips in batches]
    found = list(pipelined(encode, batches, ahead=batches_ahead(codec.device)))
    for (levels, seconds), others in zip(found, wanted, strict=True):
        assert seconds > 0
        assert all(map(torch.equal, levels, others))
