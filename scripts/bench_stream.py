"""Compare ways to decode a stream of tokens: how soon, how much work, how far from decoding the whole.

All decode the same codes of real speech with the same network, without noise, so that what differs is the method
alone. Work is counted twice: in multiplications of the network, which no machine changes, and in CPU time, both
relative to decoding the whole at once.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmark.networks import CONFIGS, load_ours
from benchmark.timing import Table, interleaved, machine
from snac_tok import FrameLayout, StreamDecoder, read_audio
from snac_tok.audio import resample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from snac_tok.codec import SNAC

    Samples = npt.NDArray[np.float32]
    Codes = list[torch.Tensor]
    Method = Callable[[SNAC, Codes], "list[Piece]"]

SPEECH = Path(__file__).parents[1] / "tests" / "speech"
LOOKAHEADS = (8, 6, 4, 2, 0)
# The window that everyone slides: 4 frames, of which the second is kept.
WINDOW_FRAMES, KEPT_FRAME = 4, 1


class Piece(NamedTuple):
    """What one push gave.

    Attributes:
        num_frames: frames pushed until then.
        start: where the samples belong.
        samples: (n,), n possibly 0.
        last: whether the stream had been ended.
    """

    num_frames: int
    start: int
    samples: Samples
    last: bool = False


def stateful(
    codec: SNAC, codes: Codes, *, frames_per_push: int = 1, lookahead: int | None = None
) -> list[Piece]:
    """Decode with `StreamDecoder`."""
    layout = FrameLayout(strides=codec.config.vq_strides)
    ids = layout.flatten([level[0].numpy() for level in codes])
    decoder = StreamDecoder(codec, layout, noise="off", lookahead=lookahead)
    pieces, heard, size = [], 0, codec.config.tokens_per_frame
    for start in range(0, len(ids), frames_per_push * size):
        stop = min(start + frames_per_push * size, len(ids))
        pieces.append(Piece(stop // size, heard, decoder.push(ids[start:stop])))
        heard += pieces[-1].samples.size
    return [*pieces, Piece(len(ids) // size, heard, decoder.flush(), last=True)]


def sliding_window(codec: SNAC, codes: Codes) -> list[Piece]:
    """Decode the newest frames again on every new one and keep a stretch from their middle."""
    length, counts, pieces = codec.config.frame_length, codec.config.codes_per_frame, []
    for stop in range(WINDOW_FRAMES, codes[0].shape[-1] + 1):
        first = stop - WINDOW_FRAMES
        spans = zip(codes, counts, strict=True)
        window = codec.decode([c[:, first * n : stop * n] for c, n in spans], noise="off")[0, 0]
        kept = window[KEPT_FRAME * length : (KEPT_FRAME + 1) * length]
        pieces.append(Piece(stop, (first + KEPT_FRAME) * length, kept.numpy()))
    return pieces


def methods() -> dict[str, Method]:
    """Return the ways to decode a stream, by the name of their row."""
    return {
        "exact, 1 frame a push": stateful,
        "exact, 4 frames a push": partial(stateful, frames_per_push=4),
        **{
            f"lookahead={lookahead}, 1 frame a push": partial(stateful, lookahead=lookahead)
            for lookahead in LOOKAHEADS
        },
        "sliding window of 4 frames": sliding_window,
    }


@dataclass(kw_only=True)
class Score:
    """How one method did over some clips."""

    first_frames: int = 0
    lag: int = 0
    missing_start: int = 0
    missing_end: int = 0
    signal: float = 0.0
    error: float = 0.0
    largest: float = 0.0

    def add(self, pieces: Sequence[Piece], exact: Samples, frame_length: int) -> None:
        """Take in one clip: what was heard, and what decoding the whole gives."""
        heard = [piece for piece in pieces if piece.samples.size]
        # A later push that gives nothing, in the middle of an attention window, lets the lag grow.
        running = [piece for piece in pieces if piece.num_frames >= heard[0].num_frames]
        start, end = heard[0].start, heard[-1].start + heard[-1].samples.size
        sound = np.concatenate([piece.samples for piece in heard]).astype(np.float64)
        wanted = exact[start:end].astype(np.float64)
        self.first_frames = max(self.first_frames, heard[0].num_frames)
        self.lag = max(self.lag, *(lag_samples(piece, frame_length) for piece in running))
        self.missing_start = max(self.missing_start, start)
        self.missing_end = max(self.missing_end, exact.size - end)
        self.signal += float(np.square(wanted).sum())
        self.error += float(np.square(sound - wanted).sum())
        self.largest = max(self.largest, float(np.abs(sound - wanted).max()))

    @property
    def snr_db(self) -> float:
        """Exact sound's energy over the error's."""
        return 10 * math.log10(self.signal / self.error) if self.error else math.inf


def lag_samples(piece: Piece, frame_length: int) -> int:
    """Return how far, while the stream runs, the sound is behind the end of the last frame pushed."""
    return 0 if piece.last else piece.num_frames * frame_length - piece.start - piece.samples.size


def count_work(codec: SNAC, clips: Sequence[Codes], method: Method) -> int:
    """Count the network's multiplications and additions."""
    # The counter does not know the kernel that float32 takes for transposed convolutions.
    double = copy.deepcopy(codec).double().fold_weight_norm()
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = NoModules()
    with counter:
        over_clips(double, clips, method)
    return int(counter.get_total_flops())


class NoModules(nullcontext[None]):
    """In place of the counter's tracker of modules, which hangs hooks on them: streams refuse networks with hooks."""

    parents = frozenset({"Global"})


def over_clips(codec: SNAC, clips: Sequence[Codes], method: Method) -> list[list[Piece]]:
    """Decode every clip."""
    return [method(codec, codes) for codes in clips]


def whole(codec: SNAC, codes: Codes) -> list[Piece]:
    """Decode at once."""
    return [Piece(codes[0].shape[-1], 0, codec.decode(codes, noise="off")[0, 0].numpy(), last=True)]


def speech_codes(codec: SNAC, folder: Path, seconds: float) -> list[Codes]:
    """Encode the clips of a folder, each cut to at most so many seconds."""
    clips = []
    for path in sorted(folder.glob("*.flac")):
        samples = resample(read_audio(path), codec.sampling_rate).samples[:1]
        cut = samples[:, : int(min(seconds * codec.sampling_rate, samples.shape[1]))]
        clips.append(codec.encode(torch.from_numpy(np.ascontiguousarray(cut))[None]))
    shortest = min((codes[0].shape[-1] for codes in clips), default=0)
    if shortest < WINDOW_FRAMES:
        raise SystemExit(
            f"{folder} needs .flac clips of {WINDOW_FRAMES} frames; the shortest has {shortest}."
        )
    return clips


def cells(codec: SNAC, name: str, score: Score, *, work: float, cpu: float) -> tuple[str, ...]:
    """Write one method's row."""
    config = codec.config
    return (
        name,
        f"{score.first_frames * config.tokens_per_frame}",
        f"{1e3 * score.lag / config.sampling_rate:.1f}",
        f"{work:.2f}",
        f"{cpu:.2f}",
        f"{score.snr_db:.1f}",
        f"{score.largest:.1e}",
        f"{score.missing_start} + {score.missing_end}",
    )


def main() -> None:
    """Print the machine and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    add(
        "--config",
        choices=CONFIGS,
        default="tiny",
        help="tiny has trained weights, which make errors mean something",
    )
    add("--speech", type=Path, default=SPEECH, help="folder of .flac clips")
    add("--seconds", type=float, default=math.inf, help="cut the clips to this length")
    add("--runs", type=int, default=3, help="turns, of which the median of the CPU time counts")
    add("--threads", type=int, default=1, help="torch's")
    add("--markdown", action="store_true", help="print a Markdown table")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    codec = load_ours(options.config)
    clips = speech_codes(codec, options.speech, options.seconds)
    seconds = sum(codes[0].shape[-1] for codes in clips) / codec.config.frames_per_second
    print(machine())
    print(
        f"{options.config}; {len(clips)} clips, {seconds:.1f} s; without noise; compared with decoding the whole\n"
    )
    headers = (
        "",
        "first tokens",
        "lag ms",
        "work",
        "CPU time",
        "SNR dB",
        "largest",
        "samples missing: start + end",
    )
    table = Table(headers, markdown=options.markdown)
    ways = {"": whole, **methods()}
    calls = [partial(over_clips, codec, clips, method) for method in ways.values()]
    timed = dict(zip(ways, interleaved(calls, runs=options.runs, clock=time.process_time), strict=True))
    exact, base_work = timed.pop(""), count_work(codec, clips, whole)
    for name, (cpu, pieces) in timed.items():
        score = Score()
        for clip, [reference] in zip(pieces, exact.result, strict=True):
            score.add(clip, reference.samples, codec.config.frame_length)
        work = count_work(codec, clips, ways[name]) / base_work
        table.row(*cells(codec, name, score, work=work, cpu=cpu / exact.seconds))


if __name__ == "__main__":
    main()
