"""Time the mapping of a dataset beside the usual notebook recipe: same process, same weights, in turns.

The recipe maps row by row: decode, resample, encode one clip with the PyPI package `snac`, interleave the codes one by
one in Python. Figures are medians, in times real time (x); the ratio is how many times faster ours is. The rows are
speech, the clips of tests/speech cut into pieces of mixed lengths, as bytes at 22,050 Hz. Weights are random, seeded,
except for the embedded codec's ("tiny").
"""

from __future__ import annotations

import argparse
import io
import random
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import soxr
import torch

from benchmark.networks import CONFIGS, load_pair, use_device
from benchmark.session import speed_cells
from benchmark.timing import Table, interleaved, machine
from snac_tok.audio import read_audio
from snac_tok.frames import preset
from snac_tok.mapping import tokenize_dataset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.networks import Pair

SPEECH = Path(__file__).resolve().parents[1] / "tests" / "speech"
SHORTEST = 1.0


def pieces(count: int, *, longest: float) -> tuple[list[bytes], float]:
    """Return encoded pieces of speech of mixed lengths, and their length together in seconds."""
    clips = [read_audio(path) for path in sorted(SPEECH.glob("*.flac"))]
    rate = clips[0].sampling_rate
    speech = np.concatenate([clip.samples[0] for clip in clips])
    # Said again where a piece is longer than all of them together.
    speech = np.resize(speech, max(len(speech), int(2 * longest * rate)))
    choice = random.Random(5)  # noqa: S311 - a seeded choice of pieces, no secret
    contents, num_samples = [], 0
    for _ in range(count):
        length = int(choice.uniform(SHORTEST, longest) * rate)
        start = choice.randrange(len(speech) - length)
        buffer = io.BytesIO()
        soundfile.write(buffer, speech[start : start + length], rate, format="WAV")
        contents.append(buffer.getvalue())
        num_samples += length
    return contents, num_samples / rate


def dataset_of(contents: Sequence[bytes]) -> Any:
    """Return a dataset in memory, for which the library stores nothing."""
    from datasets import Dataset

    return Dataset.from_dict({"audio": [{"bytes": content, "path": None} for content in contents]})


def recipe_ids(row: dict[str, Any], *, pair: Pair, base: int) -> dict[str, list[int]]:
    """Tokenize one row as notebooks do: a frame is c0 c1 c2 c2 c1 c2 c2, each slot with an offset of its own."""
    samples, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="float32")
    samples = soxr.resample(samples, rate, pair.config.sampling_rate)
    codes = pair.peer_encode(torch.from_numpy(samples)[None, None].to(pair.ours.device))
    size = pair.config.codebook_size
    ids = []
    for frame in range(codes[0].shape[1]):
        order = [(0, frame), (1, 2 * frame), (2, 4 * frame), (2, 4 * frame + 1)]
        order += [(1, 2 * frame + 1), (2, 4 * frame + 2), (2, 4 * frame + 3)]
        for slot, (level, at) in enumerate(order):
            ids.append(codes[level][0][at].item() + base + slot * size)
    return {"input_ids": ids}


def map_by_recipe(dataset: Any, *, pair: Pair) -> list[list[int]]:
    """Map row by row."""
    function = partial(recipe_ids, pair=pair, base=preset("orpheus").base)
    # A fingerprint of our own: the recipe's is random, with a warning, because `snac` cannot be pickled.
    mapped = dataset.map(function, remove_columns=["audio"], new_fingerprint="recipe")
    return list(mapped["input_ids"])


def map_by_ours(dataset: Any, *, folder: str, device: str, num_proc: int) -> list[list[int]]:
    """Map in one call."""
    mapped = tokenize_dataset(dataset, folder, preset="orpheus", device=device, num_proc=num_proc)
    return list(mapped["input_ids"])


def ids_note(wanted: list[list[int]], found: list[list[int]]) -> str:
    """Count the ids that differ."""
    pairs = [pair for one, other in zip(wanted, found, strict=True) for pair in zip(one, other, strict=True)]
    return f"{sum(one != other for one, other in pairs)} of {len(pairs)} ids differ"


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    # The recipe's order of codes, and so the comparison, is that of three levels.
    add(
        "--config", choices=[name for name in CONFIGS if name in ("tiny", "snac_24khz")], default="snac_24khz"
    )
    add("--device", default="cpu", help="cpu, cuda or cuda:n")
    add("--threads", type=int, default=torch.get_num_threads(), help="torch's (default: its own choice)")
    add("--runs", type=int, default=3, help="turns, of which the median counts")
    add("--clips", type=int, default=48, help="rows of the dataset")
    add("--longest", type=float, default=6.0, help="length of the longest of them in seconds")
    add("--num-proc", type=int, default=1, help="processes of ours")
    add("--markdown", action="store_true", help="print Markdown tables")
    return parser.parse_args()


def main() -> None:
    """Print the machine and the table."""
    from datasets import disable_progress_bars

    options = parsed()
    disable_progress_bars()
    use_device(options.device, threads=options.threads)
    pair = load_pair(options.config, device=options.device)
    contents, seconds = pieces(options.clips, longest=options.longest)
    print(machine())
    print(f"{options.config} on {options.device}; medians of {options.runs}; x: times real time\n")
    table = Table(("", "snac", "ours", "ratio", "note"), markdown=options.markdown)
    with tempfile.TemporaryDirectory() as folder:
        pair.ours.save_pretrained(folder)
        ours = partial(map_by_ours, folder=folder, device=options.device, num_proc=options.num_proc)
        functions = (partial(map_by_recipe, pair=pair), ours)
        for function in functions:
            function(dataset_of(contents[:2]))  # a whole turn to warm up would take minutes
        dataset = dataset_of(contents)
        calls = [partial(function, dataset) for function in functions]
        peer, own = interleaved(calls, runs=options.runs, warm_up=False)
    what = f"map {options.clips} clips of {SHORTEST:g} to {options.longest:g} s"
    what += f", num_proc={options.num_proc}" if options.num_proc > 1 else ""
    table.row(*speed_cells(what, seconds, peer.seconds, own.seconds, ids_note(peer.result, own.result)))


if __name__ == "__main__":
    main()
