"""Laws 6 and 7 on a Ray cluster: whatever dies, and whoever goes on, the files are those of a run on one machine."""

from __future__ import annotations

import errno
import pickle
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from toy_encoder import ToyEncoder, files_of, write_speechlike_folder, write_tone

from snac_tok.cli.program import program
from snac_tok.corpus import BatchLimits, RayEngine, merge_shards, ray_engine, ray_worker, shard_folder
from snac_tok.errors import MissingDependencyError, ShardError

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402
from toy_workers import ElsewhereEncoder, FailingEncoder, MortalEncoder  # noqa: E402

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
OPTIONS = {"clips_per_shard": 2, "limits": BatchLimits(max_files=1), "jobs": 1}


@pytest.fixture(scope="module")
def cluster():
    """A cluster's first machine, with room for one worker; it soon sees that another one is gone."""
    # Not tmp_path: its sockets' paths would be too long.
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")
    changes = pytest.MonkeyPatch()
    changes.setenv("PYTHONPATH", f"{HERE}:{HERE / 'deadly'}:{ROOT}")
    # Ray notes the cluster's address in its usual folder, which only other ways to start it make.
    (Path(folder) / "ray").mkdir()
    changes.setenv("RAY_TMPDIR", folder)
    changes.setenv("RAY_USAGE_STATS_ENABLED", "0")
    changes.setenv("RAY_AUTH_MODE", "disabled")  # else Ray puts a token into the home folder
    changes.delenv("RAY_ADDRESS", raising=False)
    health = {
        "health_check_initial_delay_ms": 0,
        "health_check_period_ms": 400,
        "health_check_failure_threshold": 3,
    }
    made = Cluster(
        initialize_head=True, head_node_args={**NODE, "temp_dir": folder, "_system_config": health}
    )
    yield made
    made.shutdown()
    changes.undo()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def engine(cluster):
    """One worker."""
    return RayEngine(address=cluster.address, workers=1)


@pytest.fixture
def source(tmp_path):
    """Ten good files, one that is no sound and one that crashes its decoder: six shards."""
    write_speechlike_folder(tmp_path / "source")
    write_tone(tmp_path / "source" / "z.wav")
    (tmp_path / "source" / "broken.wav").write_bytes(b"RIFF")
    write_tone(tmp_path / "source" / "crash.wav")
    return tmp_path / "source"


@pytest.fixture
def whole(cluster, source, tmp_path):  # noqa: ARG001 - its environment makes decoders crash here, too
    """What a run on one machine writes."""
    shard_folder(source, tmp_path / "whole", ToyEncoder(), **OPTIONS)
    made = files_of(tmp_path / "whole")
    assert b'"crashed"' in made["_failed.jsonl"]
    return made


@pytest.fixture
def notes(tmp_path):
    """Where workers leave notes."""
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"


@pytest.mark.slow
@pytest.mark.law(7)
def test_machines_and_processes_that_die_change_no_byte(cluster, source, whole, notes, tmp_path):
    """In the middle of their shards: other workers make them, and progress counts no file twice."""
    node, seen = cluster.add_node(**NODE), []
    (notes / "life").touch()

    def kill(state):
        seen.append(state)
        if cluster.worker_nodes and any(path.name.startswith(node.node_id) for path in notes.iterdir()):
            cluster.remove_node(node, allow_graceful=False)

    engine = RayEngine(address=cluster.address, workers=2)
    encoder, out = MortalEncoder(notes, seconds=0.3), tmp_path / "out"
    summary = shard_folder(source, out, encoder, engine=engine, progress=kill, **OPTIONS)
    assert not cluster.worker_nodes
    assert not (notes / "life").exists()
    assert files_of(out) == whole
    assert (summary.num_clips, summary.num_failures) == (10, 2)
    assert (seen[-1].done_files, seen[-1].done_bytes) == (12, seen[-1].total_bytes)


RUN = """
import sys
from toy_workers import NotedEncoder
from snac_tok.corpus import BatchLimits, RayEngine, shard_folder
source, out, notes, address = sys.argv[1:]
engine = RayEngine(address=address, workers=1)
encoder = NotedEncoder(notes, seconds=0.5)
shard_folder(source, out, encoder, engine=engine, clips_per_shard=2, limits=BatchLimits(max_files=1))
"""


@pytest.mark.slow
@pytest.mark.law(6)
def test_whoever_is_killed_another_engine_goes_on(engine, source, whole, tmp_path):
    """The program on the cluster is killed, one machine goes on and is interrupted, then an array and a merge."""
    out, notes = tmp_path / "out", tmp_path
    arguments = [sys.executable, "-c", RUN, source, out, notes, engine.address]
    with subprocess.Popen(list(map(str, arguments))) as run:
        until = time.monotonic() + 120
        while not list(out.glob("*.parquet")) and time.monotonic() < until:
            time.sleep(0.02)
        run.send_signal(signal.SIGKILL)
    made = len(list(out.glob("*.parquet")))
    assert 1 <= made < 6

    def stop(_):
        if len(list(out.glob("*.parquet"))) > made:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shard_folder(source, out, ToyEncoder(), progress=stop, **OPTIONS)
    for number in range(2):
        shard_folder(
            source, out, ToyEncoder(), array_task=(number, 2), engine=engine if number else None, **OPTIONS
        )
    assert merge_shards(out).num_clips == 10
    assert files_of(out) == whole


@pytest.mark.slow
@pytest.mark.law(6)
def test_sigterm_ends_the_workers_and_leaves_no_stack_dump(engine, source, whole, tmp_path):
    """It is what a cluster's scheduler sends; finished shards are kept, and another run goes on."""
    out = tmp_path / "out"
    arguments = [sys.executable, "-c", RUN, source, out, tmp_path, engine.address]
    with subprocess.Popen(list(map(str, arguments)), stderr=subprocess.PIPE, text=True) as run:
        until = time.monotonic() + 120
        while not list(out.glob("*.parquet")) and time.monotonic() < until:
            time.sleep(0.02)
        run.send_signal(signal.SIGTERM)
        _, errors = run.communicate(timeout=60)
    assert run.returncode == 128 + signal.SIGTERM
    assert "SIGTERM received" not in errors
    assert 1 <= len(list(out.glob("*.parquet"))) < 6
    shard_folder(source, out, ToyEncoder(), **OPTIONS)
    assert files_of(out) == whole


@pytest.mark.slow
def test_a_programs_own_handler_of_sigterm_stays(engine, source, tmp_path):
    """Ray replaces it when it connects."""
    came = []
    before = signal.signal(signal.SIGTERM, lambda *_: came.append(True))
    try:
        shard_folder(
            source, tmp_path / "out", ToyEncoder(), engine=engine, **OPTIONS,
            progress=lambda _: came or signal.raise_signal(signal.SIGTERM),
        )  # fmt: skip
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [True, True]


@pytest.fixture
def connected(cluster):
    """A program that is connected to the cluster already, and stays so."""
    with ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR"):
        yield
        assert ray.is_initialized()


@pytest.mark.slow
@pytest.mark.usefixtures("connected")
def test_errors_stop_the_run_in_one_sentence(source, tmp_path, monkeypatch):
    """Folders that are not shared, devices that fail again and again, more than the machines have."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_engine, "_MOST_DEATHS", 1)
    engine, elsewhere = RayEngine(workers=1), ElsewhereEncoder(tmp_path / "elsewhere")
    for seen, out in ((source, "/proc/self/cwd/out"), ("/proc/self/cwd/source", tmp_path / "out")):
        with pytest.raises(ShardError, match=r"is not shared: the worker on .* at the same path\.$"):
            shard_folder(seen, out, elsewhere, engine=engine, **OPTIONS)
        shutil.rmtree(out)
    with pytest.raises(RuntimeError, match="CUDA error"):
        shard_folder(source, tmp_path / "out", FailingEncoder(), engine=engine, **OPTIONS)
    with pytest.raises(ShardError, match="no machine of the cluster has 1 CPUs and 8 GPUs"):
        shard_folder(source, tmp_path / "out", ToyEncoder(), engine=RayEngine(gpus_per_worker=8), **OPTIONS)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["_plan.json"]


@pytest.mark.slow
@pytest.mark.usefixtures("connected")
def test_the_cookbooks_blocks_run(tmp_path, monkeypatch):
    """From Python with a real codec; the command finds the collection finished. The files are those of one machine."""
    page = (
        (ROOT / "docs" / "cookbook.md")
        .read_text(encoding="utf-8")
        .split("## Corpora on Ray\n")[1]
        .split("\n## ")[0]
    )
    command, program_text = re.findall(r"```(?:bash|python)\n(.*?)```", page, re.DOTALL)
    shutil.copytree(ROOT / "tests" / "speech", tmp_path / "speech")
    rows = [f'{{"audio": "{path}"}}\n' for path in sorted((tmp_path / "speech").glob("*.flac"))[:2]]
    (tmp_path / "corpus.jsonl").write_text("".join(rows), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SNAC_TOK_MODEL", "tiny")
    names = {"__name__": "cookbook"}
    exec(program_text.replace("hubertsiuzdak/snac_24khz", "tiny"), names)
    assert (names["result"].num_clips, names["result"].num_failures) == (2, 0)
    shard_folder("corpus.jsonl", "whole", names["tok"])
    assert files_of(tmp_path / "shards") == files_of(tmp_path / "whole")
    arguments = shlex.split(command.replace("--device cuda --gpus-per-worker 0.5", ""))
    assert "finished before" in CliRunner().invoke(program, arguments[1:]).stdout


def test_an_errors_causes_come_along():
    """From machine to machine: exit codes depend on them; what cannot be sent becomes its name and sentence."""
    error = ShardError("cannot be written.")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    same = pickle.loads(pickle.dumps(ray_worker.Failed.of(error))).error()
    assert (type(same), str(same), same.__cause__.errno) == (ShardError, "cannot be written.", errno.ENOSPC)

    class LocalError(Exception):
        pass

    assert str(ray_worker.Failed.of(LocalError("odd")).error()) == "LocalError: odd"


@pytest.fixture
def website():
    """The address of a server that is none of Ray's, such as a cluster's own dashboard."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *_: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_wrong_address_is_one_sentence(source, website, tmp_path, monkeypatch):
    """At once, where Ray would wait for minutes; an ended cluster may have left its address."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:1")
    for address, sentence in (
        ("127.0.0.1:1", r"^no Ray cluster answers at 127\.0\.0\.1:1 \(.*refused\); start one .*HOST:PORT\.$"),
        ("auto", r"^no Ray cluster answers at 127\.0\.0\.1:1 "),
        (website, rf"^what answers at {website} is no Ray cluster; "),
        ("head", r"^'head' is no address of a Ray cluster; "),
        ("head:99999999", r"^no Ray cluster answers at head:99999999 "),
        ("ray://head:10001", r"^ray://head:10001 is for Ray's client, "),
    ):
        with pytest.raises(ShardError, match=sentence):
            shard_folder(source, tmp_path / "out", ToyEncoder(), engine=RayEngine(address=address))


def test_without_ray_the_sentence_names_the_extra(source, tmp_path, monkeypatch):
    """`ray` cannot be imported."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"install snac_tok's extra 'ray'"):
        shard_folder(source, tmp_path / "out", ToyEncoder(), engine=RayEngine())


@pytest.mark.parametrize(
    "numbers", [{"workers": 0}, {"cpus_per_worker": -1}, {"gpus_per_worker": float("nan")}]
)
def test_impossible_numbers_are_refused(numbers):
    """Before anything is begun."""
    with pytest.raises(ShardError, match=next(iter(numbers))):
        RayEngine(**numbers)
