"""Check and measure snac_tok on a GPU: ceilings, equality with the CPU, laws, speed beside `snac`, streams, a profile.

One command for a machine with torch, triton, einops and numpy alone, without a network. It prints rows as they come and
writes them to gpu_check.json after each; a row that fails says why, and the others go on. Weights are random, seeded.
`graphs` is ours as CUDA graphs, `plain` without kernels; TF32 is off.
"""

from __future__ import annotations

import argparse
import json
import os
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
    add("--rows", help="comma-separated subjects (default: all)")
    options = parser.parse_args()
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


def run(subjects: dict[str, Callable[[], Iterator[Row]]], report: Report, *, limit: float) -> None:
    """Run subject after subject, whatever happens in one."""
    for name, subject in subjects.items():
        if report.seconds > limit:
            report.add({"what": name, "error": f"left out: {limit:g} s are over"})
            continue
        try:
            for row in subject():
                report.add(row)
                if report.seconds > limit:
                    report.add({"what": name, "error": f"cut short: {limit:g} s are over"})
                    break
        except Exception as error:  # noqa: BLE001 - the others go on
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(where.filename).name}:{where.lineno}"
            report.add({"what": name, "error": f"FAILED at {place}: {error!r}"[:400]})


def file_rows(check: Check) -> Iterator[Row]:
    """Yield `whole_paths.file_rows`, whose rooms might need what is missing here."""
    from benchmark import whole_paths

    yield from whole_paths.file_rows(check)


def main() -> None:
    """Print the rows and write them."""
    options = parsed()
    report = Report(options.out)
    if missing := stand_in_for_missing():
        report.add({"what": "not installed, not needed", "note": ", ".join(missing)})
    peer = False
    if options.snac_wheel:
        try:
            report.add({"what": "snac", "note": use_wheel(options.snac_wheel)})
            peer = True
        except FileNotFoundError as error:
            report.add({"what": "snac", "error": f"left out: {error}"})
    else:
        report.add({"what": "snac", "note": "left out: no --snac-wheel"})
    from benchmark import gpu
    from benchmark.networks import use_device

    use_device(options.device, threads=torch.get_num_threads())
    check = check_of(options)
    subjects: dict[str, Callable[[], Iterator[Row]]] = {
        "machine": partial(gpu.machine_rows, check),
        "equality": partial(gpu.equality_rows, check),
        "laws": partial(gpu.law_rows, check),
        "speed": partial(gpu.speed_rows, check, peer=peer),
        "streams": partial(gpu.stream_rows, check),
        "tokenizer": partial(gpu.tokenizer_rows, check),
        "files": partial(file_rows, check),
        # Compiles much, of which little is used elsewhere.
        "units": partial(gpu.unit_rows, check),
        "profile": partial(gpu.profile_rows, check),
        "training": partial(gpu.training_rows, check),
    }
    if options.rows:
        subjects = {name: subjects[name] for name in options.rows.split(",")}
    run(subjects, report, limit=options.limit)


if __name__ == "__main__":
    main()
