"""Kills workers, machines and the command of a run on a Ray cluster, again and again, and compares the files.

Usage: python scripts/break_cluster.py [--recordings 400] [--seed 1] [--pause 6]

A cluster of three machines runs on this one, with a CPU each. `snac-tok shard --engine ray` makes shards of a few
recordings with the codec that ships. Every few seconds something dies by SIGKILL: a worker's process, a machine (a new
one joins), or the command itself, which is then run again. In the end the folder must hold the bytes of a run that
nobody disturbed. The table that it prints stands in docs/reliability.md.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from ray.cluster_utils import Cluster

ROOT = Path(__file__).parents[1]
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1000,
    "health_check_failure_threshold": 3,
}
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "OMP_NUM_THREADS": "1",
}
COMMAND = [
    sys.executable,
    "-m",
    "snac_tok",
    "shard",
    "recordings",
    "--model",
    "tiny",
    "--clips-per-shard",
    "4",
]


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=6.0, help="seconds between deaths")
    options = parser.parse_args()
    os.environ |= ENVIRONMENT
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
    os.chdir(folder)
    make_recordings(options.recordings, seed=options.seed)
    subprocess.run([*COMMAND, "whole"], check=True, capture_output=True)
    cluster = Cluster(
        initialize_head=True, head_node_args={**NODE, "temp_dir": str(folder), "_system_config": HEALTH}
    )
    for _ in range(2):
        cluster.add_node(**NODE)
    started = time.monotonic()
    deaths = break_until_done(cluster, pause=options.pause, chance=random.Random(options.seed))  # noqa: S311 - no secret
    seconds = time.monotonic() - started
    cluster.shutdown()
    rows = {
        "recordings, shards": f"{options.recordings}, {len(list(Path('out').glob('*.parquet')))}",
        **{f"{name} killed": str(number) for name, number in deaths.items()},
        "seconds": f"{seconds:.0f}",
        "digest of the undisturbed run": digest(Path("whole")),
        "digest of this one": digest(Path("out")),
    }
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    os.chdir(ROOT)
    shutil.rmtree(folder)
    sys.exit(rows["digest of the undisturbed run"] != rows["digest of this one"])


def make_recordings(number: int, *, seed: int) -> None:
    """Write noise of one to three seconds."""
    Path("recordings").mkdir()
    noise = np.random.default_rng(seed)
    for index in range(number):
        samples = noise.normal(0, 0.1, int(24_000 * noise.uniform(1, 3)))
        soundfile.write(f"recordings/{index:04d}.wav", samples, 24_000)


def break_until_done(cluster: Cluster, *, pause: float, chance: random.Random) -> dict[str, int]:
    """Run the command until it ends by itself; return how often what was killed."""
    deaths = {"workers": 0, "machines": 0, "commands": 0}
    command = [*COMMAND, "out", "--engine", "ray", "--address", cluster.address, "--workers", "3"]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while run.poll() is None:
        time.sleep(pause * chance.uniform(0.5, 1.5))
        kind = chance.choice(["workers", "workers", "machines", "commands"])
        if kind == "workers" and (found := workers_of(cluster)):
            os.kill(chance.choice(found), signal.SIGKILL)
        elif kind == "machines":
            cluster.remove_node(chance.choice(list(cluster.worker_nodes)), allow_graceful=False)
            cluster.add_node(**NODE)
        elif kind == "commands" and run.poll() is None:
            run.kill()
            run.wait()
            run = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        else:
            continue
        deaths[kind] += 1
    if run.returncode:
        sys.exit(f"the command ended with {run.returncode}")
    return deaths


def workers_of(cluster: Cluster) -> list[int]:
    """Return the processes of this cluster's machines that make shards."""
    parents = {
        info.process.pid
        for node in (cluster.head_node, *cluster.worker_nodes)
        for info in node.all_processes["raylet"]
    }
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            if parent in parents and "Worker" in status.with_name("cmdline").read_text():
                found.append(int(status.parent.name))
        except OSError:
            continue  # it has just ended
    return found


def digest(folder: Path) -> str:
    """Return one checksum of the names and bytes of all files, hidden ones included."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        total.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]


if __name__ == "__main__":
    main()
