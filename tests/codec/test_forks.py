"""Forked processes and threads that cannot start: results, or one sentence, but nobody waits for ever."""

import pytest

# Everything here is about a process: each case has its own, and ends within five minutes or fails.
pytestmark = pytest.mark.slow

BEGIN = """
import os, signal, sys, threading, warnings
import torch
torch.set_num_threads(2)

def use_torch():
    "Bring torch's threads to life, as any program does that uses it."
    torch.randn(600, 600) @ torch.randn(600, 600)
    torch.randn(2_000_000).sin()

def sound():
    return 0.3 * torch.sin(torch.arange(30_000) * 0.03)[None, None]

def work(codec, audio=None):
    codes = codec.encode(sound() if audio is None else audio)
    return [level.tolist() for level in codes], codec.decode(codes, noise=1).numpy().tobytes()

def in_child(function):
    "Run a function in a forked child and return whether it returned true."
    pid = os.fork()
    if not pid:
        try:
            os._exit(0 if function() else 1)
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
            os._exit(2)
    return os.waitpid(pid, 0)[1] == 0
"""

USED = (
    BEGIN
    + """
from snac_tok.codec import SNAC, inference
codec = SNAC.from_pretrained("tiny")
wanted = work(codec)
"""
)


@pytest.fixture
def output_of(run_forked):
    """Run a script in a process of its own."""

    def run(script):
        done = run_forked(script)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_a_forked_child_uses_the_codec_of_its_parent(output_of):
    """On one thread, with the parent's results to the last bit; and so does a child of the child.

    But for a clip that was begun before: its threads are the parent's, who goes on; both end by themselves. And nobody
    waits for threads whose results nobody takes: this process ends while another clip is half way.
    """
    output_of(
        USED
        + """
def use():
    return work(codec) == wanted and torch.get_num_threads() == 1

assert in_child(use)
assert in_child(lambda: in_child(use))
assert torch.get_num_threads() == 2 and work(codec) == wanted

from snac_tok.errors import SnacTokError
torch.set_grad_enabled(False)
pieces = inference.encode_blocks(codec, [sound()], chunk_values=1)
first = next(pieces)

def go_on():
    try:
        next(pieces)
    except SnacTokError as error:
        return "begun before the process was forked" in str(error)

assert in_child(go_on)
assert sum(piece[0].shape[-1] for piece in pieces) + first[0].shape[-1] == len(wanted[0][0][0])
left = inference.encode_blocks(codec, [sound()], chunk_values=1)
next(left)
"""
    )


def test_a_forked_child_that_asks_for_more_threads_gets_one_and_is_told(output_of):
    """Whatever it begins with: a codec of its own, a stream, sound or codes."""
    output_of(
        USED
        + """
from snac_tok import SnacTokenizer, StreamDecoder, StreamEncoder, preset

def asks(begin):
    def use():
        torch.set_num_threads(2)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            begin()
            work(codec, audio)
        return torch.get_num_threads() == 1 and len(told) == 1 and "forked" in str(told[0].message)
    return use

tok = SnacTokenizer(codec, preset("orpheus"))
audio = sound()  # in the child torch itself would wait for ever, outside the codec
codes, ids = codec.encode(audio), tok.encode(audio[0], sampling_rate=24_000)
for begin in (
    lambda: SNAC.from_pretrained("tiny"),
    lambda: codec.unfold_weight_norm().encode(audio),
    lambda: codec.decode(codes),
    lambda: StreamDecoder(codec, tok.vocabulary).push(ids),
    lambda: StreamEncoder(codec, tok.vocabulary).push(audio[0].numpy()),
    lambda: tok.encode(audio[0], sampling_rate=24_000),
):
    assert in_child(asks(begin))
"""
    )


POOLS = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
import datasets

def one(at):
    from snac_tok.codec import SNAC
    codes = SNAC.from_pretrained("tiny").encode(sound())
    return [sum(int(level.sum()) for level in codes), torch.get_num_threads()]

use_torch()
fork = multiprocessing.get_context("fork")
with fork.Pool(2) as pool:
    found = pool.map(one, range(2))
with ProcessPoolExecutor(2, mp_context=fork) as pool:
    found += pool.map(one, range(2))
rows = datasets.Dataset.from_dict({"at": [0, 1]})
found += rows.map(lambda row: {"found": one(row["at"])}, num_proc=2)["found"]
assert all(row == [one(0)[0], 1] for row in found), found
"""


@pytest.mark.parametrize("imported", ["before", "in the child"])
def test_pools_of_forked_processes(output_of, imported):
    """Pools, executors and `datasets.map`; also where a child imports us only after its parent has used torch."""
    output_of(BEGIN + ("import snac_tok.codec\n" if imported == "before" else "") + POOLS)


def test_a_fork_right_after_threads_have_ended(output_of):
    """MKL holds locks while a thread ends, when Python has joined it: a child found them held by nobody."""
    output_of(
        USED
        + """
audio, rows = sound(), torch.randn(256, 64)

def multiply():
    for _ in range(3):
        rows @ rows.t()

def use():
    signal.alarm(20)  # ends a child that waits for ever
    codec.encode(audio)
    return True

for _ in range(30):
    threads = [threading.Thread(target=multiply) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert in_child(use)
"""
    )


def test_threads_that_never_rest_delay_a_fork_a_little(output_of):
    """Those of Python's do not at all; those of a library, which could be ending, a tenth of a second."""
    output_of(
        USED
        + """
import time
from snac_tok.codec import forks

threading.Thread(target=lambda: [sum(range(1000)) for _ in iter(int, 1)], daemon=True).start()
end = time.monotonic() + 20  # torch's own threads wait for work without resting, for a while
while forks._are_threads_ending():
    assert time.monotonic() < end
    time.sleep(0.01)
threading.enumerate, forks._is_at_work = lambda: [], lambda task: True
begun = time.monotonic()
assert in_child(lambda: True) and time.monotonic() - begun >= 0.1
"""
    )


def test_a_fork_while_others_encode_sets_precision_back(output_of):
    """The child has none of the threads that were inside, and the settings that they will find again."""
    output_of(
        USED
        + """
import time
torch.set_float32_matmul_precision("medium")
end = time.monotonic() + 1
others = [threading.Thread(target=lambda: [codec.encode(sound()) for _ in iter(lambda: time.monotonic() < end, False)])]
others[0].start()
ask = lambda: torch.backends.mkldnn.matmul.fp32_precision
while time.monotonic() < end:
    assert in_child(lambda: ask() == "bf16")
others[0].join()
assert ask() == "bf16"
"""
    )


def test_threads_that_cannot_start_are_done_without(output_of):
    """The work is done by those there are, or here; the process ends, with torch's threads as they were."""
    output_of(
        USED
        + """
torch.set_grad_enabled(False)

def work_in_many_chunks():
    (codes,) = inference.encode_clips(codec, [sound()], chunk_values=1)
    (audio,) = inference.decode_clips(codec, [(codes, None)], chunk_values=1)
    return [level.tolist() for level in codes], audio.numpy().tobytes()

torch.set_num_threads(1)
wanted = work_in_many_chunks()
torch.set_num_threads(4)
start, left = threading.Thread.start, [0]

def refused(self):
    left[0] -= 1
    if left[0] < 0:
        raise RuntimeError("can't start new thread")
    start(self)

threading.Thread.start = refused
for left[0] in range(4):
    assert work_in_many_chunks() == wanted
    assert torch.get_num_threads() == 4 and threading.active_count() == 1
"""
    )
