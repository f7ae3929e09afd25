"""Check and measure snac_tok on a GPU: ceilings, equality with the CPU, laws, speed beside `snac`, streams, a profile.

One command for a machine with torch, triton, einops and numpy alone, without a network. It prints rows as they come and
writes them to gpu_check.json after each; a row that fails says why, and the others go on, in a new process where the
failure took the card's context with it, or where nothing came for long. The exit status is 1 if a row failed or a code
differs. Weights are random, seeded. `graphs` is ours as CUDA graphs, `plain` without kernels; TF32 is off.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import threading
import time
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmark.bare import stand_in_for_missing, use_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmark.gpu import Check, Row

SUBJECTS = (
    *("packages", "machine", "kernels", "equality", "laws", "speed", "streams", "tokenizer", "files"),
    *("units", "profile", "training"),  # units compile much, of which little is used elsewhere
)
# After the limit, for the row that is under way then.
GRACE_SECONDS = 25
CONTEXT_LOST = 3


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/gpu_check", description=__doc__.splitlines()[0] if __doc__ else None
    )
    add = parser.add_argument
    add("--device", default="cuda", help="cuda, cuda:n, or cpu to try the script")
    add("--tiny", action="store_true", help="everything as small as it can be, in seconds")
    add("--snac-wheel", metavar="FOLDER", help="measure `snac` from a wheel there, too")
    add("--out", default=os.environ.get("OUT"), help="folder for gpu_check.json (default: $OUT, else none)")
    add("--limit", type=float, default=210.0, help="seconds after which no further row is begun")
    add(
        "--patience",
        type=float,
        default=120.0,
        help="seconds without a row after which a subject is given up",
    )
    add("--rows", help=f"comma-separated subjects (default: {','.join(SUBJECTS)})")
    add("--child", action="store_true", help=argparse.SUPPRESS)
    add("--compile-part", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := [name for name in (options.rows or "").split(",") if name and name not in SUBJECTS]:
        parser.error(f"there are no rows of {', '.join(unknown)}; there are {', '.join(SUBJECTS)}.")
    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error(
            f"torch finds no GPU for --device {options.device}; --device cpu --tiny tries the script."
        )
    return options


def check_of(options: argparse.Namespace) -> Check:
    """Return what is measured."""
    from benchmark.gpu import Check
    from snac_tok.codec import PRESETS, CodecConfig

    device = torch.device(options.device)
    if options.tiny:
        small = CodecConfig(
            sampling_rate=8_000,
            encoder_dim=16,
            encoder_rates=(2, 4),
            decoder_dim=64,
            decoder_rates=(4, 2),
            attn_window_size=None,
            codebook_size=32,
            codebook_dim=4,
            vq_strides=(4, 2, 1),
        )
        sizes: dict[str, Any] = {"runs": 1, "clip_seconds": 0.5, "batch": (2, 0.3), "short_seconds": 0.2}
        sizes |= {"streams": (1, 2), "clips": (3, 0.3), "widths": ((16, 100),), "product": 64}
        return Check(device=device, config=small, others=(), **sizes)
    sizes = {"runs": 5, "clip_seconds": 100.0, "batch": (16, 30.0), "short_seconds": 3.0}
    sizes |= {"streams": (1, 16, 64, 256, 512), "clips": (256, 15.0), "product": 8_192}
    # As in decoding 15 s: the wider a unit, the fewer positions it has.
    sizes["widths"] = ((64, 360_000), (128, 180_000), (256, 45_000), (512, 5_625))
    return Check(device=device, config=PRESETS["snac_24khz"], others=(PRESETS["snac_32khz"],), **sizes)


class Report:
    """Prints rows as they come, and keeps them in a file.

    Args:
        folder: of gpu_check.json; None for no file.
    """

    def __init__(self, folder: str | None) -> None:
        self.start = time.perf_counter()
        self.rows: list[Row] = []
        self.path = Path(folder) / "gpu_check.json" if folder else None
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.perf_counter() - self.start

    def add(self, row: Row) -> None:
        """Print a row, and write all so far."""
        self.rows.append(row)
        figures = [f"{_figure(row['value'])} {row['unit']}"] if "value" in row else []
        figures += [f"{name} {_figure(row[name])}" for name in ("graphs", "plain", "snac") if name in row]
        figures += [str(row[name]) for name in ("note", "error") if name in row]
        print(f"{self.seconds:6.1f} s  {row['what']:<48} {'; '.join(figures)}", flush=True)
        if self.path is not None:
            self.path.write_text(json.dumps({"seconds": self.seconds, "rows": self.rows}, indent=1))


def _figure(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:,.4g}" if value < 100 else f"{value:,.0f}"  # noqa: PLR2004 - digits


def run(
    subjects: dict[str, Callable[[], Iterator[Row]]],
    *,
    limit: float,
    usable: Callable[[], bool] = lambda: True,
) -> Iterator[tuple[str, Any]]:
    """Run subject after subject: yield what begins, and rows; end early if the card cannot be used any more."""
    start = time.perf_counter()
    for name, subject in subjects.items():
        yield "begin", name
        if time.perf_counter() - start > limit:
            yield "row", {"what": name, "error": f"left out: {limit:.0f} s are over"}
            continue
        try:
            for row in subject():
                yield "row", row
                if time.perf_counter() - start > limit:
                    yield "row", {"what": name, "error": f"cut short: {limit:.0f} s are over"}
                    break
        except Exception as error:  # noqa: BLE001 - the others go on
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(where.filename).name}:{where.lineno}"
            yield "row", {"what": name, "error": f"FAILED at {place}: {error!r}"[:400]}
            if not usable():
                yield "lost", name
                return


def usable(device: str) -> bool:
    """Say whether the device still works: what reads where nothing is takes the process's context with it."""
    if device == "cpu":
        return True
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True


def lines_of(child: subprocess.Popen[str]) -> queue.SimpleQueue[str]:
    """Return what a process writes, line by line; an empty line is its end."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        assert child.stdout is not None
        for line in child.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    return lines


def follow(command: list[str], report: Report, *, patience: float, until: float) -> str | None:
    """Report what a process measures; return the subject that it ended in, or None if all are done."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        lines, at = lines_of(child), ""
        while True:
            try:
                line = lines.get(timeout=max(0.1, min(patience, until - report.seconds)))
            except queue.Empty:
                child.kill()
                report.add({"what": at or "start", "error": "FAILED: no row for long; its process was ended"})
                return at
            if not line:
                break
            kind, value = json.loads(line)
            if kind == "row":
                report.add(value)
            at = value if kind == "begin" else at
    if child.returncode in {0, CONTEXT_LOST}:
        return at if child.returncode else None
    report.add({"what": at or "start", "error": f"FAILED: its process ended with {child.returncode}"})
    return at


def own_command(options: argparse.Namespace) -> list[str]:
    """Return the command of a process that works with the same codecs."""
    return [sys.executable, __file__, "--device", options.device, *(["--tiny"] if options.tiny else [])]


def measure(names: list[str], options: argparse.Namespace, report: Report) -> None:
    """Have a process measure all subjects; whenever it ends in one, another measures what follows."""
    until = options.limit + GRACE_SECONDS
    while names:
        command = [*own_command(options), "--child", "--rows", ",".join(names)]
        command += ["--limit", str(options.limit - report.seconds)]
        command += ["--snac-wheel", options.snac_wheel] if options.snac_wheel else []
        ended_in = follow(command, report, patience=options.patience, until=until)
        if not ended_in:
            return
        names = names[names.index(ended_in) + 1 :]


def file_rows(check: Check) -> Iterator[Row]:
    """Yield `whole_paths.file_rows`, whose rooms might need what is missing here."""
    from benchmark import whole_paths

    yield from whole_paths.file_rows(check)


def subjects_of(options: argparse.Namespace) -> dict[str, Callable[[], Iterator[Row]]]:
    """Prepare this process, and return what each subject runs."""
    notes: list[Row] = []
    if missing := stand_in_for_missing():
        notes.append({"what": "not installed, not needed", "note": ", ".join(missing)})
    peer = False
    if options.snac_wheel:
        try:
            notes.append({"what": "snac", "note": use_wheel(options.snac_wheel)})
            peer = True
        except FileNotFoundError as error:
            notes.append({"what": "snac", "error": f"left out: {error}"})
    else:
        notes.append({"what": "snac", "note": "left out: no --snac-wheel"})
    from benchmark import compile_ahead, gpu
    from benchmark.networks import use_device

    use_device(options.device, threads=torch.get_num_threads())
    check = check_of(options)
    return {
        "packages": lambda: iter(notes),
        "machine": partial(gpu.machine_rows, check),
        "kernels": partial(compile_ahead.kernel_rows, check, [*own_command(options), "--compile-part"]),
        "equality": partial(gpu.equality_rows, check),
        "laws": partial(gpu.law_rows, check),
        "speed": partial(gpu.speed_rows, check, peer=peer),
        "streams": partial(gpu.stream_rows, check),
        "tokenizer": partial(gpu.tokenizer_rows, check),
        "files": partial(file_rows, check),
        "units": partial(gpu.unit_rows, check),
        "profile": partial(gpu.profile_rows, check),
        "training": partial(gpu.training_rows, check),
    }


def be_measured(options: argparse.Namespace) -> int:
    """Measure in this process, and write what comes to stdout; return the exit status."""
    # What libraries print does not belong there.
    messages = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    all_subjects = subjects_of(options)
    subjects = {name: all_subjects[name] for name in options.rows.split(",")}
    status = 0
    for kind, value in run(subjects, limit=options.limit, usable=partial(usable, options.device)):
        print(json.dumps((kind, value)), file=messages, flush=True)
        status = CONTEXT_LOST if kind == "lost" else status
    return status


def compile_one(options: argparse.Namespace) -> int:
    """Compile the kernels of one part; return the exit status."""
    stand_in_for_missing()
    from benchmark import compile_ahead
    from benchmark.networks import use_device

    use_device(options.device, threads=1)
    compile_ahead.compile_part(check_of(options), options.compile_part)
    return 0


def main() -> int:
    """Print the rows and write them; return the exit status."""
    options = parsed()
    if options.compile_part is not None:
        return compile_one(options)
    if options.child:
        return be_measured(options)
    report = Report(options.out)
    names = [name for name in (options.rows or "").split(",") if name] or [*SUBJECTS]
    measure(names, options, report)
    return int(any(is_wrong(row) for row in report.rows))


def is_wrong(row: Row) -> bool:
    """Say whether a row says that something does not work."""
    return row.get("error", "").startswith("FAILED") or (row.get("unit") == "differ" and row["value"] > 0)


if __name__ == "__main__":
    sys.exit(main())
