"""What faults among ids cost: strict, repaired, and with the logic that Orpheus' own client decodes by.

Three tables: samples lost or changed by one fault, in the mean over all slots; what fills a damaged frame best; ids
per second where nothing is wrong. Real speech through the embedded codec, without noise.
"""

from __future__ import annotations

import argparse
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmark.timing import Table, interleaved, machine
from snac_tok import SnacTokenizer, read_audio
from snac_tok.errors import TokenError, TrialCodecWarning
from snac_tok.metrics.mel import mel_distance
from snac_tok.metrics.perceptual import stoi
from snac_tok.streaming.frame_buffer import FrameBuffer

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Ids = npt.NDArray[np.int64]
    Frames = npt.NDArray[np.int64]

SPEECH = Path(__file__).parents[1] / "tests" / "speech"
SLOTS, FRAME_SAMPLES = 7, 2048
SIZES = (1, 5, 7, None)
# Every eighth frame is damaged where ways to fill it are compared.
DAMAGED_EVERY = 8
FOREIGN, PAD, FIRST_TOKEN, FIRST_CODE = 500_000, 128_263, 128_256, 10


def replaced(ids: Ids, at: int, by: int) -> Ids:
    """Put another id in place of one."""
    ids = ids.copy()
    ids[at] = by
    return ids


def swapped(ids: Ids, at: int) -> Ids:
    """Exchange an id and the next one."""
    ids = ids.copy()
    ids[at], ids[at + 1] = ids[at + 1], ids[at]
    return ids


FAULTS: dict[str, Callable[[Ids, int], Ids]] = {
    "lost": np.delete,
    "doubled": lambda ids, at: np.insert(ids, at, ids[at]),
    "swapped with the next": swapped,
    "no code, in place of one": lambda ids, at: replaced(ids, at, FOREIGN),
    "no code, between codes": lambda ids, at: np.insert(ids, at, FOREIGN),
    "another slot's code, in place of one": lambda ids, at: replaced(ids, at, int(ids[at + 2])),
    "special id, in place of a code": lambda ids, at: replaced(ids, at, PAD),
    "special id, between codes": lambda ids, at: np.insert(ids, at, PAD),
}


def orpheus_client(ids: Ids) -> Frames:
    """Return the frames that Orpheus' client makes sound of, by its rules.

    An id counts if its code, read for the slot that the count says, is above 0. After each seventh one from the 28th
    on, the last 28 are decoded and their second frame is kept; if one of them is no code, nothing is.
    """
    taken: list[int] = []
    frames = []
    for number in ids - FIRST_TOKEN:
        code = int(number) - FIRST_CODE - len(taken) % SLOTS * 4096
        if number > FIRST_CODE + SLOTS * 4096 or code <= 0:
            continue
        taken.append(code)
        window = taken[-4 * SLOTS :]
        if len(taken) % SLOTS == 0 and len(window) == 4 * SLOTS and max(window) <= 4096:  # noqa: PLR2004 - its own bound
            frames.append(window[SLOTS : 2 * SLOTS])
    return np.array(frames, dtype=np.int64).reshape(-1, SLOTS)


def streamed(tok: SnacTokenizer, ids: Ids, *, on_error: Any, size: int | None) -> Frames:
    """Return the frames of a stream, pushed in pieces of one size; a caller stops at the first error."""
    buffer = FrameBuffer(tok.vocabulary, tok.codec.config, on_error=on_error)
    found, step = [], size or len(ids)
    try:
        for at in range(0, len(ids), step):
            found.append(buffer.push(ids[at : at + step]))  # noqa: PERF401 - what came before an error counts
    except TokenError:
        return _as_frames(tok, found)
    return _as_frames(tok, [*found, buffer.end(drop_partial=on_error == "strict")])


def _as_frames(tok: SnacTokenizer, found: list[Any]) -> Frames:
    codes = [[level[0].numpy() for level in levels] for levels in found if levels is not None]
    lines = [tok.layout.flatten(levels).reshape(-1, SLOTS) for levels in codes]
    return np.concatenate([np.zeros((0, SLOTS), np.int64), *lines])


def cost(found: Frames, wanted: Frames) -> int:
    """Return how many samples of the wanted frames are lost or changed."""
    kept = set(map(tuple, found.tolist()))
    return sum(tuple(frame) not in kept for frame in wanted.tolist()) * FRAME_SAMPLES


def print_faults(tok: SnacTokenizer, ids: Ids, table: Table) -> None:
    """Print a row for each kind of fault: samples in the mean over slots, for each way to decode."""
    ways: list[Callable[[Ids], Frames]] = [
        orpheus_client,
        *(
            partial(streamed, tok, on_error=word, size=size)
            for word in ("strict", "resync", "conceal")
            for size in SIZES
        ),
    ]
    middle = len(ids) // SLOTS // 2 * SLOTS
    for name, fault in FAULTS.items():
        means = []
        for way in ways:
            clean = way(ids)
            lost = [cost(way(fault(ids, middle + slot)), clean) for slot in range(SLOTS)]
            means.append(f"{np.mean(lost):,.0f}")
        table.row(name, *means)


def filled(ids: Ids, damaged: range, missing: list[int], way: str, silence: Ids) -> Ids:
    """Fill the missing slots of damaged frames."""
    frames = ids.reshape(-1, SLOTS).copy()
    for at in damaged:
        if way == "whole frame before":
            frames[at] = frames[at - 1]
        elif way == "silence":
            frames[at] = silence
        else:
            frames[at, missing] = frames[at - 1, missing]
    return frames.reshape(-1)


def print_fills(tok: SnacTokenizer, clips: list[Ids], table: Table) -> None:
    """Print a row for each way to fill damaged frames: distances from the undamaged sound."""
    silence = np.array(tok.encode(np.zeros(tok.sampling_rate), sampling_rate=tok.sampling_rate))[35:42]
    ways = ("missing codes of the frame before", "whole frame before", "silence")
    whole = [tok.decode(ids, noise="off").samples for ids in clips]
    for what, missing in (
        ("1 code", [3]),
        ("first code", [0]),
        ("3 codes", [2, 3, 4]),
        ("all 7 codes", [*range(SLOTS)]),
    ):
        for way in ways:
            mels, stois = [], []
            for ids, reference in zip(clips, whole, strict=True):
                damaged = range(DAMAGED_EVERY, len(ids) // SLOTS, DAMAGED_EVERY)
                sound = tok.decode(filled(ids, damaged, missing, way, silence), noise="off").samples
                pair = torch.from_numpy(reference), torch.from_numpy(sound)
                mels.append(float(mel_distance(*pair, sampling_rate=tok.sampling_rate)))
                stois.append(stoi(reference[0], sound[0], sampling_rate=tok.sampling_rate))
            table.row(f"{what}: {way}", f"{np.mean(mels):.3f}", f"{np.mean(stois):.4f}")


def push_all(tok: SnacTokenizer, ids: Ids, *, on_error: Any, size: int | None) -> None:
    """Push ids through the check of a stream, and leave the codes that come out."""
    buffer = FrameBuffer(tok.vocabulary, tok.codec.config, on_error=on_error)
    step = size or len(ids)
    for at in range(0, len(ids), step):
        buffer.push(ids[at : at + step])


def print_speed(tok: SnacTokenizer, ids: Ids, table: Table, *, runs: int) -> None:
    """Print ids per second, where nothing is wrong, for each size of pushes."""
    long = np.tile(ids, 20)
    for size in SIZES:
        line = ids if size else long
        ways = [
            partial(push_all, tok, line, on_error=word, size=size) for word in ("strict", "resync", "conceal")
        ]
        speeds = [len(line) / timed.seconds for timed in interleaved(ways, runs=runs)]
        table.row(f"{size or len(long):,} ids a push", *(f"{speed:,.0f}" for speed in speeds))


def main() -> None:
    """Print the machine and the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--speech", type=Path, default=SPEECH, help="folder of .flac clips")
    parser.add_argument("--seconds", type=float, default=6.0, help="cut the clips to this length")
    parser.add_argument("--runs", type=int, default=5, help="turns, of which the median counts")
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    options = parser.parse_args()

    torch.set_num_threads(1)
    warnings.simplefilter("ignore", TrialCodecWarning)
    tok = SnacTokenizer.from_pretrained("tiny", preset="orpheus")
    sounds = [read_audio(path) for path in sorted(options.speech.glob("*.flac"))]
    cut = [sound.samples[0, : int(options.seconds * sound.sampling_rate)] for sound in sounds]
    clips = [
        np.array(tok.encode(samples, sampling_rate=sound.sampling_rate))
        for samples, sound in zip(cut, sounds, strict=True)
    ]
    print(machine())
    print(f"{len(clips)} clips, {sum(map(len, clips)) // SLOTS} frames of {FRAME_SAMPLES} samples\n")
    sizes = [f"{size or 'all'}" for size in SIZES]
    headers = [f"{word} {size}" for word in ("strict", "resync", "conceal") for size in sizes]
    print_faults(
        tok, clips[0], Table(("samples lost or changed", "orpheus", *headers), markdown=options.markdown)
    )
    print()
    print_fills(
        tok, clips, Table(("missing: filled with", "mel distance", "STOI"), markdown=options.markdown)
    )
    print()
    speed = Table(("clean ids a second", "strict", "resync", "conceal"), markdown=options.markdown)
    print_speed(tok, clips[0], speed, runs=options.runs)


if __name__ == "__main__":
    main()
