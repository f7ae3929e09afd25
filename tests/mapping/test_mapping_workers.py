"""Workers: the same rows from forks, spawned processes and one process; caches found again; killed runs completed."""

import functools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import multiprocess
import pytest
import torch
from datasets import Dataset
from sound_rows import CODEC_RATE, noise

from snac_tok.errors import ConfigError
from snac_tok.mapping import SnacMapper, devices
from snac_tok.mapping.devices import Execution, device_for, set_up_worker, threads_each, worker_number

ROOT = Path(__file__).parents[2]
NUM_ROWS = 12

SCRIPT = """
import json, sys, multiprocess
from datasets import disable_progress_bars, load_from_disk
from snac_tok.mapping import tokenize_dataset
folder, method, num_proc, per_file = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if __name__ == "__main__":
    disable_progress_bars()
    multiprocess.set_start_method(method)
    mapped = tokenize_dataset(
        load_from_disk(folder), "tiny", preset="orpheus", sampling_rate=24_000, batch_size=2, num_proc=num_proc,
        rows_per_file=per_file or None,
    )
    print(json.dumps(mapped["input_ids"][:]))
"""

# Forbids the network to run: whatever comes out was stored before.
IDLE = """
from snac_tok.mapping import SnacMapper
def forbidden(self, batch):
    raise AssertionError("a row was encoded again")
SnacMapper.__call__ = forbidden
"""


# Dies without any clean-up at the first batch that begins with a row of this many samples.
DEADLY = """
import os, signal
from snac_tok.mapping import SnacMapper
real = SnacMapper.__call__
def deadly(self, batch):
    if len(batch["audio"][0]) == {num_samples}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, batch)
SnacMapper.__call__ = deadly
"""


# Dies in the worker of the later rows, when the other one has stored its own.
LATE = """
import os, pathlib, signal, sys, time
from snac_tok.mapping import SnacMapper
real = SnacMapper.__call__
def deadly(self, batch):
    if len(batch["audio"][0]) >= {least}:
        while not list(pathlib.Path(sys.argv[1]).glob("cache-*")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, batch)
SnacMapper.__call__ = deadly
"""


@pytest.fixture
def script(tmp_path, run_forked):
    """Run the script with something before it; the process and what it wrote."""

    def run(folder, *, method="fork", num_proc=1, per_file=0, before=""):
        arguments = [str(folder), method, str(num_proc), str(per_file)]
        if method == "fork":
            return run_forked(before + SCRIPT, *arguments)
        # Spawned workers load the program anew: it must be a file.
        path = tmp_path / "run.py"
        path.write_text(before + SCRIPT)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(path), *arguments]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    return run


def num_samples(row):
    """Every row has a length of its own, by which it can be told."""
    return 4000 + 100 * row


def clips():
    """The rows of the dataset."""
    return [noise(1, seed=row)[: num_samples(row)] for row in range(NUM_ROWS)]


def write_dataset(folder):
    """Bare arrays on disk."""
    Dataset.from_dict({"audio": clips()}).save_to_disk(folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    """A dataset with files, beside which the library stores its results."""
    return write_dataset(tmp_path / "dataset")


def caches(folder):
    """Files of results."""
    return sorted(path.name for path in folder.glob("cache-*"))


@functools.cache
def unbroken():
    """The ids of every row, made here and at once."""
    mapper = SnacMapper("tiny", preset="orpheus", sampling_rate=CODEC_RATE)
    return [ids.tolist() for ids in mapper({"audio": clips()})["input_ids"]]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_forks_and_spawned_workers_give_what_one_process_gives(script, folder, method):
    """Law 7: the same rows in the same order."""
    done = script(folder, method=method, num_proc=2)
    assert done.returncode == 0, done.stderr
    assert len(caches(folder)) == 2
    assert json.loads(done.stdout) == unbroken()


@pytest.mark.slow
def test_a_second_run_finds_what_the_first_one_stored(script, folder):
    """In another process, with another number of workers: nothing is encoded again."""
    idle = script(folder, before=IDLE)
    assert "encoded again" in idle.stderr
    first = script(folder)
    again = script(folder, num_proc=2, before=IDLE)
    assert first.returncode == again.returncode == 0, again.stderr
    assert json.loads(first.stdout) == json.loads(again.stdout) == unbroken()


def test_a_forked_worker_does_not_hang_after_its_parent_computed():
    """OpenMP's threads do not survive a fork; workers compute with one of their own."""
    mapper = SnacMapper("tiny", preset=None, sampling_rate=CODEC_RATE)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.sin(torch.zeros(1 << 20))
        mapper({"audio": [noise(1.0)]})
        with multiprocess.get_context("fork").Pool(1) as pool:
            codes = pool.apply_async(mapper, ({"audio": [noise(1.0)]},)).get(timeout=60)
    finally:
        torch.set_num_threads(before)
    assert codes["codes_0"][0].tolist() == mapper({"audio": [noise(1.0)]})["codes_0"][0].tolist()


@pytest.mark.slow
def test_killed_in_the_middle_and_run_again_one_process(script, folder):
    """With rows_per_file what was done is kept, file by file; the rest is made, and all equals an unbroken run."""
    dead = script(folder, per_file=4, before=DEADLY.format(num_samples=num_samples(10)))
    assert dead.returncode == -signal.SIGKILL
    assert len(caches(folder)) == 2
    # The first 8 rows are not encoded again: a batch that begins with one of them would be fatal.
    deadly = DEADLY.format(num_samples=num_samples(4))
    done = script(folder, per_file=4, before=deadly)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == unbroken()


@pytest.mark.slow
def test_killed_without_rows_per_file_begins_anew(script, folder):
    """What the library itself keeps of one process: nothing but a temporary file that nobody reads."""
    dead = script(folder, before=DEADLY.format(num_samples=num_samples(10)))
    assert dead.returncode == -signal.SIGKILL
    assert not caches(folder)
    assert len(list(folder.glob("tmp*"))) == 1


@pytest.mark.slow
def test_a_killed_worker_is_told_and_its_neighbours_rows_are_kept(script, folder):
    """Of two workers one is killed late: the run fails, and the rerun makes only the missing half."""
    dead = script(folder, num_proc=2, before=LATE.format(least=num_samples(6)))
    assert "abruptly died" in dead.stderr
    assert len(caches(folder)) == 1
    done = script(folder, num_proc=2, before=DEADLY.format(num_samples=num_samples(2)))
    assert done.returncode == 0, done.stderr
    assert len(caches(folder)) == 2


def test_gpus_are_dealt_out_by_the_worker():
    """Consecutive workers take consecutive GPUs, wherever a pool's numbers begin; an index is obeyed."""
    assert [device_for("cuda", number=n, num_gpus=4) for n in (6, 7, 8, 9)] == [
        "cuda:1",
        "cuda:2",
        "cuda:3",
        "cuda:0",
    ]
    assert device_for("cuda", number=None, num_gpus=2) == "cuda:0"
    assert device_for("cuda:1", number=5, num_gpus=2) == "cuda:1"
    assert device_for("cpu", number=5, num_gpus=0) == "cpu"
    for wanted, num_gpus in (("cuda", 0), ("cuda:2", 2)):
        with pytest.raises(ConfigError, match=f"{num_gpus} GPUs are visible"):
            device_for(wanted, number=1, num_gpus=num_gpus)


def _where(place):
    return worker_number(), set_up_worker(place), torch.get_num_threads(), devices.is_forked_worker()


@pytest.mark.parametrize(
    ("library", "method", "threads"),
    [(multiprocess, "fork", 1), (multiprocessing, "fork", 1), (multiprocessing, "spawn", 3)],
)
def test_a_worker_knows_its_number_and_keeps_to_its_threads(library, method, threads):
    """Both libraries; a fork has one thread whatever was asked for."""
    with library.get_context(method).Pool(1) as pool:
        number, device, found, forked = pool.apply(_where, (Execution(threads=3),))
    assert number >= 1
    assert (device, found, forked) == ("cpu", threads, method == "fork")


def test_a_process_of_its_own_keeps_its_threads():
    """Nobody asked for less there."""
    before = torch.get_num_threads()
    assert set_up_worker(Execution(threads=before + 1)) == "cpu"
    assert torch.get_num_threads() == before
    assert worker_number() is None


def test_workers_share_the_threads():
    """No fewer than one each; a single process is left alone."""
    assert threads_each(1) is None
    assert threads_each(2) == max(1, torch.get_num_threads() // 2)
    assert threads_each(10_000) == 1


def _device(mapper):
    return mapper._execution


@pytest.mark.parametrize("library", [multiprocess, multiprocessing])
def test_the_place_travels_to_the_worker(library):
    """It is no part of an ordinary pickle, yet a worker gets it."""
    place = {"device": "cuda:1", "threads": 2, "seconds_per_call": 3.0}
    mapper = SnacMapper("tiny", preset=None, sampling_rate=CODEC_RATE, **place)
    with library.get_context("fork").Pool(1) as pool:
        assert pool.apply(_device, (mapper,)) == Execution(**place)


def test_the_place_travels_where_datasets_is_imported_after_the_mapper_was_made():
    """The library that starts the workers is not there yet; the mapper does not import it for plain dicts."""
    code = (
        "from snac_tok.mapping import SnacMapper\n"
        "mapper = SnacMapper('tiny', preset=None, sampling_rate=24_000, threads=3)\n"
        "from datasets import Dataset, disable_progress_bars\n"
        "disable_progress_bars()\n"
        "SnacMapper.__call__ = lambda self, batch: {'threads': [self._execution.threads]}\n"
        "rows = Dataset.from_dict({'audio': [0, 1]})\n"
        "mapped = rows.map(mapper, batched=True, batch_size=1, num_proc=2, remove_columns=['audio'])\n"
        "assert mapped['threads'][:] == [3, 3], mapped['threads'][:]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_gpu_that_is_not_there_is_refused_in_a_sentence():
    """When the work begins; making the mapper touches no GPU, so that forks may use it."""
    mapper = SnacMapper(
        "tiny", preset=None, sampling_rate=CODEC_RATE, device=f"cuda:{torch.cuda.device_count()}"
    )
    with pytest.raises(ConfigError, match="GPUs are visible"):
        mapper({"audio": [noise(0.1)]})
