"""Time encoding and decoding beside the PyPI package `snac`: same process, same weights, calls in turns.

Figures are medians, in times real time (x) unless they carry a unit; the ratio is how many times better ours is.
`snac` draws its noise on every decode and cannot be told not to; ours is timed with that noise, with seeded noise and
without. Weights are random, seeded, except for the embedded codec's ("tiny"). On a GPU TF32 is off.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import torch

from benchmark.clips import batch_row, clips_decode_row, clips_encode_row, decode_row, encode_row, short_row
from benchmark.compiled import compiled_row
from benchmark.exactness import exactness_row
from benchmark.networks import CONFIGS, DTYPES, load_ours, load_pair, use_device
from benchmark.precision import precision_cells, tensor_core_cells
from benchmark.process import cold_row, faults_row, memory_row
from benchmark.session import Bench
from benchmark.streams import stream_row, streams_row
from benchmark.timing import Table, machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmark.session import Cells


def precision_row(bench: Bench) -> Iterator[Cells]:
    """Compare a lower precision with fp32; in fp32, what tensor cores would round."""
    if bench.options.dtype == "fp32":
        yield from tensor_core_cells(bench.pair.ours, bench.options.seconds)
        return
    exact = load_ours(bench.options.config, device=bench.options.device)
    yield from precision_cells(exact, bench.pair.ours, bench.options.seconds)


ROWS = {
    "encode": encode_row,
    "decode": decode_row,
    "short": short_row,
    "cold": cold_row,
    "batch": batch_row,
    "clips-encode": clips_encode_row,
    "clips-decode": clips_decode_row,
    "stream": stream_row,
    "streams": streams_row,
    "memory": memory_row,
    "faults": faults_row,
    "compiled": compiled_row,
    "precision": precision_row,
    "exactness": exactness_row,
}


def default_rows(options: argparse.Namespace) -> list[str]:
    """Leave out what says nothing on this device or in this precision."""
    dropped = {"faults", "exactness"} if torch.device(options.device).type == "cuda" else {"batch"}
    dropped |= {"compiled"}  # twice the networks, four times the work
    dropped |= {"precision"} if options.dtype == "fp32" else {"exactness"}
    return [name for name in ROWS if name not in dropped]


def numbers(text: str) -> list[float]:
    """Parse "1,3,10"."""
    return [float(part) for part in text.split(",")]


def row_names(text: str) -> list[str]:
    """Parse "encode,decode"."""
    names = text.split(",")
    if unknown := sorted(set(names) - set(ROWS)):
        raise argparse.ArgumentTypeError(f"unknown rows {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return names


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    add("--config", choices=CONFIGS, default="snac_24khz")
    add("--device", default="cpu", help="cpu, cuda or cuda:n")
    add("--dtype", choices=DTYPES, default="fp32", help="of both networks' weights")
    add("--threads", type=int, default=torch.get_num_threads(), help="torch's (default: its own choice)")
    add("--runs", type=int, default=3, help="turns, of which the median counts")
    add("--rows", type=row_names, help=f"comma-separated, of {', '.join(ROWS)}")
    add("--cuda-graphs", action="store_true", help="run what repeats as CUDA graphs, on a GPU")
    add("--markdown", action="store_true", help="print Markdown tables")
    add("--seconds", type=float, default=30.0, help="length of the one clip")
    add("--short", type=numbers, default=[1.0, 3.0, 10.0], help="lengths of the short clips in seconds")
    add("--short-frames", type=numbers, default=[1.0, 4.0], help="frames of what is decoded beside them")
    add("--batch", type=int, default=16, help="clips in the row batch")
    add("--clips", type=int, default=64, help="clips of mixed lengths")
    add("--longest", type=float, default=15.0, help="length of the longest of them in seconds")
    add("--stream-seconds", type=float, default=60.0, help="length of a stream")
    add("--exact-seconds", type=float, default=6.0, help="length of what is compared with float64")
    add("--memory-minutes", type=numbers, default=[10.0, 60.0], help="lengths whose memory is measured")
    return parser.parse_args()


def main() -> None:
    """Print the machine and the table."""
    options = parsed()
    use_device(options.device, threads=options.threads)
    pair = load_pair(options.config, device=options.device, dtype=DTYPES[options.dtype])
    if options.cuda_graphs:
        pair.ours.use_cuda_graphs()
    print(machine())
    weights = "trained" if options.config == "tiny" else "random"
    print(
        f"{options.config}, {pair.ours.num_parameters:,} {weights} weights, {options.dtype} on {options.device}; "
        f"medians of {options.runs}; x: times real time; snac always with its own noise\n"
    )
    table = Table(("", "snac", "ours", "ratio", "note"), markdown=options.markdown)
    bench = Bench(pair=pair, options=options)
    for name in options.rows or default_rows(options):
        for cells in ROWS[name](bench):
            table.row(*cells)
    if options.cuda_graphs:
        print(f"\n{pair.ours.graph_report}")


if __name__ == "__main__":
    main()
