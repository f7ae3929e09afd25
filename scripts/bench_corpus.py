"""Measure what `snac-tok shard` costs beside the codec, and how it grows with the number of recordings.

The first table runs in one process: a folder of speech in FLAC pieces of mixed lengths, encoded by `shard_folder`,
beside the pure encode rate (the same sound, decoded before, in the same batches) and beside the usual notebook recipe
(row by row: decode, resample, encode one clip with the PyPI package `snac`, interleave the codes one by one in Python).
Weights are random, seeded, except for "tiny". Figures are medians of turns; the recipe runs once.

The second table needs no codec: recordings of 0.1 s and an encoder that only counts samples, each row in a fresh
process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from snac_tok import __version__
from snac_tok.audio import Resampler, read_audio, resample, resampled_length
from snac_tok.corpus import PlanOptions, make_plan, prepare_folder, shard_folder
from snac_tok.corpus.planning import collection_of, planned_items

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snac_tok.audio import Waveform
    from snac_tok.tokenizer import SnacTokenizer

_RATE = 24_000
_FRAME = 2048
_TINY_SECONDS = 0.1
_MIB = 1 << 20


class CountingEncoder:
    """Gives each frame of a clip the same codes: everything but the codec is measured."""

    resampler = Resampler()
    seconds_per_call = 120.0

    def describe(self) -> dict[str, Any]:
        """Return the fields of a collection."""
        return {
            "codec_id": "none",
            "weights_sha256": "0" * 64,
            "codec_config": {},
            "sampling_rate": _RATE,
            "layout": {"strides": [4, 2, 1]},
            "codebook_size": 4096,
            "resampler": {},
            "channels": "mean",
            "package_version": __version__,
        }

    def num_samples(self, waveform: Waveform) -> int:
        """Return the clip's samples at 24 kHz."""
        return resampled_length(waveform.num_samples, waveform.sampling_rate, _RATE)

    def encode_codes(self, waveforms: Sequence[Waveform]) -> list[list[Any]]:
        """Return codes that depend on the length alone."""
        frames = [-(-self.num_samples(waveform) // _FRAME) for waveform in waveforms]
        return [[np.arange(count * width) % 4096 for width in (1, 2, 4)] for count in frames]

    def encode_blocks(self, blocks: Iterable[Waveform]) -> tuple[list[Any], int]:
        """Not needed: no recording here is long."""
        raise NotImplementedError


def write_pieces(folder: Path, count: int, *, longest: float) -> float:
    """Write pieces of speech as FLAC and return how long they are together, in seconds."""
    from bench_mapping import pieces

    contents, seconds = pieces(count, longest=longest)
    import io

    for number, content in enumerate(contents):
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32")
        soundfile.write(folder / f"{number:06d}.flac", samples, rate)
    return seconds


def encode_only(batches: list[list[Waveform]], tokenizer: SnacTokenizer) -> None:
    """Encode sound that stands in memory at the codec's rate."""
    for batch in batches:
        tokenizer.encode_codes(batch)


def batches_of(folder: Path, *, max_seconds: float = 120.0, max_files: int = 64) -> list[list[Waveform]]:
    """Decode and resample a folder, in the batches that the work loop makes."""
    batches: list[list[Waveform]] = [[]]
    for path in sorted(folder.iterdir()):
        waveform = resample(read_audio(path), _RATE)
        seconds = sum(each.duration_seconds for each in batches[-1])
        if seconds + waveform.duration_seconds > max_seconds or len(batches[-1]) >= max_files:
            batches.append([])
        batches[-1].append(waveform)
    return batches


def shard_anew(folder: Path, out: Path, tokenizer: SnacTokenizer, *, jobs: int, uses: dict[int, str]) -> None:
    """Make the shards of a folder, in place of those of the last turn, and note what the time went into."""
    result = shard_folder(folder, out, tokenizer, replace=True, jobs=jobs)
    if result.num_failures:
        raise RuntimeError(f"{result.num_failures} recordings failed; look into {out}")
    encoding, reading = (
        seconds / result.elapsed_seconds for seconds in (result.encoding_seconds, result.reading_seconds)
    )
    uses[jobs] = f"{encoding:.0%} encoding, {reading:.0%} waiting for files"


def by_recipe(folder: Path, pair: Any) -> None:
    """Tokenize file by file as notebooks do."""
    from bench_mapping import recipe_ids

    for path in sorted(folder.iterdir()):
        recipe_ids({"audio": {"bytes": path.read_bytes()}}, pair=pair, base=128_266)


def measure_codec(options: argparse.Namespace) -> None:
    """Print the first table."""
    from benchmark.networks import load_pair, use_device
    from benchmark.timing import Table, interleaved, machine
    from snac_tok.tokenizer import SnacTokenizer

    use_device(options.device, threads=options.threads)
    pair = load_pair(options.config, device=options.device)
    tokenizer = SnacTokenizer(pair.ours, None)
    print(machine())
    print(f"{options.config} on {options.device}; medians of {options.runs}; x: times real time\n")
    with tempfile.TemporaryDirectory() as place:
        folder, out = Path(place) / "in", Path(place) / "out"
        folder.mkdir()
        uses: dict[int, str] = {}
        seconds = write_pieces(folder, options.clips, longest=options.longest)
        calls = [
            partial(encode_only, batches_of(folder), tokenizer),
            *(partial(shard_anew, folder, out, tokenizer, jobs=jobs, uses=uses) for jobs in options.jobs),
        ]
        turns = interleaved(calls, runs=options.runs)
        # Once: it takes many times as long, and nobody asks how many to a tenth.
        turns += interleaved([partial(by_recipe, folder, pair)], runs=1, warm_up=False)
    pure = turns[0].seconds
    table = Table(("", "x", "of pure", "note"), markdown=options.markdown)
    names = ["pure encode", *(f"shard_folder, jobs={jobs}" for jobs in options.jobs), "notebook recipe"]
    notes = [f"{options.clips} clips, {seconds:.0f} s of sound", *(uses[jobs] for jobs in options.jobs), ""]
    for name, turn, note in zip(names, turns, notes, strict=True):
        table.row(name, f"{seconds / turn.seconds:.1f}", f"{pure / turn.seconds:.2f}", note)


def measure_scale(options: argparse.Namespace) -> None:
    """Print the second table."""
    from benchmark.timing import Table

    print()
    table = Table(("", "seconds", "MiB peak", "note"), markdown=options.markdown)
    table.row(f"plan of {options.planned:,} recordings", *in_fresh_process("plan", options.planned))
    for count in options.records:
        with tempfile.TemporaryDirectory() as place:
            write_tiny(Path(place) / "in", count)
            table.row(f"run over {count:,} recordings", *in_fresh_process("run", count, place))
            table.row(f"resume of a finished {count:,}", *in_fresh_process("resume", count, place))


def in_fresh_process(what: str, count: int, place: str = "") -> tuple[str, str, str]:
    """Run one measurement in a process of its own and return its cells."""
    arguments = [sys.executable, __file__, "--measure", what, "--count", str(count), "--place", place]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return f"{found['seconds']:.1f}", f"{found['peak_mib']:.0f}", found["note"]


def measure_one(what: str, count: int, place: str) -> None:
    """Measure in this process and print JSON."""
    before = peak_mib()
    started, worked, note = time.perf_counter(), time.process_time(), ""
    if what == "plan":
        with tempfile.TemporaryDirectory() as folder:
            path = write_manifest(Path(folder), count)
            started, worked = time.perf_counter(), time.process_time()
            base, columns, items = planned_items(path, extensions=(), keep_columns=None)
            plan = make_plan(items, collection_of(CountingEncoder(), None), PlanOptions(columns=columns))
            prepare_folder(base / "out", plan)
            size = (base / "out" / "_plan.json").stat().st_size / _MIB
        note = f"from a .jsonl with text and speaker; _plan.json has {size:.0f} MiB"
    else:
        result = shard_folder(Path(place) / "in", Path(place) / "out", CountingEncoder())
        note = f"{result.num_clips:,} records" + (", nothing left to do" if result.was_finished else "")
    seconds = time.perf_counter() - started
    note += f"; {time.process_time() - worked:.1f} s of processor time; {before:.0f} MiB before"
    print(json.dumps({"seconds": seconds, "peak_mib": peak_mib(), "note": note}))


def write_manifest(folder: Path, count: int) -> Path:
    """Write a manifest that names parts of one recording."""
    (folder / "long.wav").write_bytes(b"")
    path = folder / "manifest.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            row = {
                "audio_filepath": "long.wav",
                "offset": number * 5.0,
                "duration": 5.0,
                "text": f"This is what was said in part number {number}.",
                "speaker": f"speaker-{number % 997}",
            }
            file.write(json.dumps(row) + "\n")
    return path


def write_tiny(folder: Path, count: int) -> None:
    """Write many recordings of 0.1 s, a thousand a folder."""
    samples = np.linspace(-0.5, 0.5, int(_TINY_SECONDS * 8000), dtype=np.float32)
    folder.mkdir()
    soundfile.write(folder / "first.wav", samples, 8000)
    content = (folder / "first.wav").read_bytes()
    (folder / "first.wav").unlink()
    for number in range(count):
        path = folder / f"{number // 1000:04d}" / f"{number:07d}.wav"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def peak_mib() -> float:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    add("--config", choices=("tiny", "snac_24khz"), default="snac_24khz")
    add("--device", default="cpu", help="cpu, cuda or cuda:n")
    add("--threads", type=int, default=2, help="torch's")
    add("--runs", type=int, default=3, help="turns, of which the median counts")
    add("--clips", type=int, default=48, help="recordings of the first table")
    add("--longest", type=float, default=6.0, help="length of the longest of them in seconds")
    add("--jobs", type=int, nargs="+", default=[0, 1], help="decoding processes, a row each")
    add("--planned", type=int, default=1_000_000, help="recordings of the plan")
    add("--records", type=int, nargs="+", default=[1_000, 100_000], help="recordings of whole runs")
    add("--only", choices=("codec", "scale"), help="one of the tables")
    add("--markdown", action="store_true", help="print Markdown tables")
    add("--measure", choices=("plan", "run", "resume"), help=argparse.SUPPRESS)
    add("--count", type=int, help=argparse.SUPPRESS)
    add("--place", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Print the tables."""
    options = parsed()
    if options.measure:
        measure_one(options.measure, options.count, options.place)
        return
    if options.only != "scale":
        measure_codec(options)
    if options.only != "codec":
        measure_scale(options)


if __name__ == "__main__":
    main()
