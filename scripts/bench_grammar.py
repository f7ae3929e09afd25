"""Time one step of the frame grammar for transformers, beside a walk over each row's ids from the start of speech.

Both see the same rows and must give the same scores. The walk is written as clients write it: find the start of speech,
count the ids behind it, and put a mask over the whole vocabulary.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING, TypeAlias

import torch

from benchmark.timing import Table, machine
from snac_tok import preset
from snac_tok.generation import FrameGrammarProcessor

if TYPE_CHECKING:
    from collections.abc import Callable

    from snac_tok import Vocabulary

    Step: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Walk:
    """What comes next from the number of ids behind the start of speech, read one by one at every step."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.start = vocabulary.special_id("start_of_speech")
        self.ends = [vocabulary.special_id(name) for name in ("end_of_speech", "end_of_ai")]
        self.places = [vocabulary.id_range(slot) for slot in range(vocabulary.layout.slots_per_frame)]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Mask the scores (B, V) of rows (B, L) that are inside speech."""
        mask = torch.zeros_like(scores, dtype=torch.bool)
        for row, ids in enumerate(input_ids.tolist()):
            written = 0
            for number in ids:
                written = 0 if number == self.start else written + 1
            place = self.places[written % len(self.places)]
            mask[row, place.start : place.stop] = True
            if written and written % len(self.places) == 0:
                mask[row, self.ends] = True
        return scores.masked_fill(~mask, float("-inf"))


def rows_of_speech(vocabulary: Vocabulary, *, batch: int, frames: int, place: int) -> torch.Tensor:
    """Return rows (B, L) that end at a place in a frame."""
    frame = [vocabulary.id_of(slot, 7) for slot in range(vocabulary.layout.slots_per_frame)]
    start = vocabulary.special_id("start_of_speech")
    return torch.tensor([[start, *frame * frames, *frame[:place]]] * batch)


def micros(step: Step, ids: torch.Tensor, scores: torch.Tensor) -> float:
    """Return how long a step takes on scores that the model has just written."""
    fresh = scores.clone()
    start = time.perf_counter()
    step(ids, fresh)
    return (time.perf_counter() - start) * 1e6


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=100, help="whole frames that each row holds")
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 8], help="rows in a step")
    parser.add_argument("--runs", type=int, default=101, help="turns, of which the median counts")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    arguments = parser.parse_args()

    vocabulary = preset("orpheus")
    walk, held = Walk(vocabulary), FrameGrammarProcessor(vocabulary)
    counting = FrameGrammarProcessor(vocabulary, max_frames=arguments.frames + 1)
    print(machine())
    print(
        f"{vocabulary.size} ids, {arguments.frames} frames a row; microseconds a step, medians of {arguments.runs}"
    )
    table = Table(["", "walk", "ours", "counted", "ratio", "note"], markdown=arguments.markdown)
    for batch in arguments.batches:
        scores = torch.randn(batch, vocabulary.size, generator=torch.Generator().manual_seed(0))
        for place, what in ((3, "inside a frame"), (0, "at a border")):
            ids = rows_of_speech(vocabulary, batch=batch, frames=arguments.frames, place=place)
            steps = (walk, held, counting)
            same = all(torch.equal(walk(ids, scores), step(ids, scores.clone())) for step in steps[1:])
            turns = [[micros(step, ids, scores) for step in steps] for _ in range(arguments.runs)]
            micro = [statistics.median(column) for column in zip(*turns, strict=True)]
            numbers = [f"{number:.1f}" for number in micro]
            note = "same scores" if same else "OTHER SCORES"
            table.row(f"{what}, batch {batch}", *numbers, f"{micro[0] / micro[1]:.0f} x", note)


if __name__ == "__main__":
    main()
