"""Damaged files, thousands of them, at every door that reads files: nothing may crash, hang, swell or fail raw.

`scripts/fuzz` runs this. Each kind of file is tried in a process of its own, which is watched from outside: an
input that kills it, or takes longer than it may, is a finding, too. Findings are kept with the input that shows them.
"""

from __future__ import annotations

import argparse
import json
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fuzzing.kinds import KINDS
from fuzzing.worker import name_of, work

# A worker imports torch and makes its whole files before its first input.
START_SECONDS = 180.0


@dataclass
class Tally:
    """What came of one kind's inputs."""

    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    next_number: int = 0
    current: str = ""
    done: bool = False


def main() -> int:
    """Share the time between the kinds, say what was tried and found; 1 where something was found."""
    options = parsed()
    if options.worker:
        work(options.worker, seed_of(options), options.first, options.folder, options.out.resolve())
        return 0
    kinds = options.kinds.split(",")
    total = Tally()
    for kind in kinds:
        tally = tried(kind, options, seconds=options.seconds / len(kinds))
        read, refused = tally.outcomes["read"], tally.outcomes["refused"]
        tried_inputs = sum(tally.outcomes.values())
        print(
            f"{kind:13} {tried_inputs:7} tried  {read:7} read  {refused:7} refused  {len(tally.findings)} findings"
        )
        for finding in tally.findings:
            print(f"    {finding}", flush=True)
        total.findings += tally.findings
        total.outcomes += tally.outcomes
    print(f"{sum(total.outcomes.values())} damaged files, {len(total.findings)} findings")
    return 1 if total.findings or not total.outcomes else 0


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="for all kinds together, starting included"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed tries other damage")
    parser.add_argument(
        "--every-bit",
        action="store_true",
        help="flip each bit where files describe themselves, one at a time, until all are done or the time is over",
    )
    parser.add_argument("--kinds", default=",".join(KINDS), help="which, with commas between them")
    parser.add_argument("--limit-seconds", type=float, default=20.0, help="what one input may take")
    parser.add_argument(
        "--first", type=int, default=0, help="the first input's number: one finding can be tried alone"
    )
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("fuzz-findings"), help="where inputs with findings go"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = sorted(set(options.kinds.split(",")) - set(KINDS))
    if unknown:
        parser.error(f"no kind {unknown[0]!r}; there are {', '.join(KINDS)}")
    return options


def seed_of(options: argparse.Namespace) -> int | None:
    """Return the seed of the damage; None where every bit is tried."""
    return None if options.every_bit else options.seed


def tried(kind: str, options: argparse.Namespace, *, seconds: float) -> Tally:
    """Try one kind for a while; a worker that dies or hangs is replaced and goes on behind the input that did it."""
    tally, deadline = Tally(next_number=options.first), time.monotonic() + seconds
    while not tally.done and time.monotonic() < deadline and len(tally.findings) < 20:  # noqa: PLR2004 - enough to mend
        with tempfile.TemporaryDirectory() as folder:
            ended = _one_worker(kind, options, tally, deadline, Path(folder))
            if ended is not None:
                if (Path(folder) / "input").is_dir():
                    shutil.copytree(
                        Path(folder) / "input", options.out / _name(kind, options, tally), dirs_exist_ok=True
                    )
                _note(tally, kind, options, ended)
                tally.outcomes["finding"] += 1
                tally.next_number += 1
    return tally


def _one_worker(
    kind: str, options: argparse.Namespace, tally: Tally, deadline: float, folder: Path
) -> str | None:
    """Watch one worker until the time is over or all is done (None), or until it dies or hangs (why)."""
    command = [sys.executable, __file__, "--worker", kind, "--seed", str(options.seed)]
    command += ["--every-bit"] if options.every_bit else []
    command += ["--first", str(tally.next_number), "--folder", str(folder), "--out", str(options.out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        try:
            limit = START_SECONDS
            while select.select([worker.stdout], [], [], limit)[0]:
                line = worker.stdout.readline()
                if not line:
                    return f"the process ended: {_status(worker.wait())}"
                _heard(json.loads(line), tally, kind, options)
                if tally.done or time.monotonic() > deadline:
                    return None
                limit = options.limit_seconds
            return f"no answer within {limit:g} s"
        finally:
            worker.kill()


def _heard(line: dict[str, object], tally: Tally, kind: str, options: argparse.Namespace) -> None:
    if "begins" in line:
        tally.current = str(line["begins"])
    elif "done" in line:
        tally.done = True
    elif "outcome" in line:
        tally.outcomes[str(line["outcome"])] += 1
        if line["outcome"] == "finding":
            _note(tally, kind, options, str(line["reason"]))
        tally.next_number = int(str(line["number"])) + 1


def _note(tally: Tally, kind: str, options: argparse.Namespace, reason: str) -> None:
    tally.findings.append(f"{options.out / _name(kind, options, tally) / tally.current}: {reason}")


def _name(kind: str, options: argparse.Namespace, tally: Tally) -> str:
    return name_of(kind, seed_of(options), tally.next_number)


def _status(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


if __name__ == "__main__":
    sys.exit(main())
