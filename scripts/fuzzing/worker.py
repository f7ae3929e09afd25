"""One process that tries damaged files of one kind, input by input, and writes a line of JSON about each.

Input number n is the same for the same seed, whatever came before, so that a finding can be tried again alone.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import resource
import shutil
import sys
import traceback
import warnings
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from fuzzing.kinds import KINDS
from fuzzing.mutations import damaged, flipped
from snac_tok.errors import SnacTokError

if TYPE_CHECKING:
    from fuzzing.kinds import Seed

# What one damaged file may add to the process's peak memory.
MEMORY_LIMIT = 600 * 2**20
# A sentence, not a page.
_LONGEST_REFUSAL = 1500


def work(kind: str, seed: int | None, first: int, folder: Path, out: Path) -> None:
    """Try inputs from number `first` on, until killed; those with findings are kept in `out`.

    Args:
        kind: of file.
        seed: None tries every bit instead, and ends behind the last.
        first: the first input's number.
        folder: to work in.
        out: where inputs with findings go.
    """
    # What the library itself warns of is no finding; what anything else prints is.
    warnings.simplefilter("ignore")
    logging.disable()
    reports = os.fdopen(os.dup(1), "w", buffering=1)
    whole = KINDS[kind].seeds(folder / "whole")
    for each in whole:
        KINDS[kind].read(each.lay_out(folder / "input", each.content))
    noise = _listen_to_stderr(folder / "stderr")
    (folder / "cwd").mkdir(exist_ok=True)
    os.chdir(folder / "cwd")
    reports.write(json.dumps({"ready": len(whole)}) + "\n")
    for number in itertools.count(first):
        path = make_input(whole, kind, seed, number, folder / "input")
        if path is None:
            reports.write(json.dumps({"done": number}) + "\n")
            return
        reports.write(json.dumps({"number": number, "begins": path.name}) + "\n")
        outcome, reason = _tried(kind, path)
        if outcome != "finding" and (said := noise()):
            outcome, reason = "finding", f"it wrote on stderr: {said}"
        if outcome != "finding" and (written := list(Path.cwd().iterdir())):
            outcome, reason = "finding", f"it wrote files where it was called: {written}"
        if outcome == "finding":
            shutil.copytree(path.parent, out / name_of(kind, seed, number), dirs_exist_ok=True)
        reports.write(json.dumps({"number": number, "outcome": outcome, "reason": reason}) + "\n")


def make_input(whole: list[Seed], kind: str, seed: int | None, number: int, folder: Path) -> Path | None:
    """Lay out input `number` in a folder, and return the damaged file; None behind the last."""
    contents = [each.content for each in whole]
    if seed is None:
        found = flipped(contents, number)
        return None if found is None else whole[found[0]].lay_out(folder, found[1])
    random = Random(f"{seed} {kind} {number}")  # noqa: S311 - damage, not secrets
    chosen = random.choice(whole)
    return chosen.lay_out(folder, damaged(chosen.content, random, contents))


def name_of(kind: str, seed: int | None, number: int) -> str:
    """Return what a finding's folder is called."""
    return f"{kind}-{'bit' if seed is None else seed}-{number}"


def _tried(kind: str, path: Path) -> tuple[str, str]:
    before = _peak()
    try:
        KINDS[kind].read(path)
        outcome, reason = "read", ""
    except SnacTokError as error:
        outcome, reason = "refused", str(error)
        if len(reason) > _LONGEST_REFUSAL or not reason.strip():
            outcome = "finding"
            reason = f"a refusal of {len(reason)} characters: {reason[:200]}"
    except (Exception, RecursionError, MemoryError) as error:  # noqa: BLE001 - whatever comes is what is looked for
        last = traceback.extract_tb(error.__traceback__)[-1]
        outcome, reason = (
            "finding",
            f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})",
        )
    grown = _peak() - before
    if grown > MEMORY_LIMIT:
        outcome, reason = "finding", f"it took {grown / 2**20:.0f} MiB more memory"
    return outcome, reason


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _listen_to_stderr(path: Path) -> Any:
    """Send stderr, that of C libraries included, to a file; return a function that says what came since."""
    file = path.open("w+b", buffering=0)
    os.dup2(file.fileno(), 2)

    def since() -> str:
        sys.stderr.flush()
        file.seek(0)
        said = file.read()
        file.seek(0)
        file.truncate()
        return said.decode(errors="replace").strip()[:300]

    return since
