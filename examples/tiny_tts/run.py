"""Teaches a tiny language model a few sentences until it says them back, and lets engines speak with it.

transformers streams the speech while it writes, a real llama.cpp does the same from a GGUF file, and `snac-tok serve`
answers a client. README.md beside this file says what to expect.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from transformers.utils.logging import disable_progress_bar

import llama_cpp
import llama_server
import serve_client
from clips import SHORTEST_SECONDS, read_clips
from language_model import VOCABULARY, learn, new_model
from reports import spoken_table, unseen_table
from snac_tok import write_audio
from snac_tok.errors import GenerationStoppedError, MissingDependencyError, SnacTokError, SourceError
from snac_tok.wording import counted, lasting
from speaking import speak

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transformers import LlamaForCausalLM

    from clips import Clip
    from snac_tok.hf import SnacProcessor
    from speaking import Speaker, Speech

SPEECH = Path(__file__).resolve().parents[2] / "tests" / "speech"
UNSEEN = "has never been comparatively modern."
LONGEST_SECONDS = 20.0
STEPS_A_LINE = 10


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = parser().parse_args(arguments)
    disable_progress_bar()
    try:
        run(options)
    except (SnacTokError, OSError) as error:
        sys.exit(f"error: {error}")


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    made = argparse.ArgumentParser(
        description="Teach a tiny language model a few recorded sentences until it says them back, and hear it speak."
    )
    add = made.add_argument
    add(
        "-o",
        "--out",
        type=Path,
        required=True,
        help="folder for the model and the WAVs; made if it is not there",
    )
    add(
        "--clips",
        type=Path,
        default=SPEECH,
        help="folder of sound with a metadata.csv (default: tests/speech)",
    )
    add("--num-clips", type=_at_least(1), help="how many to learn (default: all but those held out)")
    add("--held-out", type=_at_least(0), default=0, help="how many more to say without having learned them")
    add(
        "--seconds",
        type=_between(SHORTEST_SECONDS, LONGEST_SECONDS),
        default=6.0,
        help="cut longer clips to this (default: %(default)g)",
    )
    add(
        "--unseen",
        default=UNSEEN,
        metavar="TEXT",
        help="a sentence of no clip, to say as well (default: %(default)r)",
    )
    add("--codec", default="tiny", help="'tiny', a folder or a hub repository; 24 kHz SNAC (default: tiny)")
    add("--learning-rate", type=_between(1e-6, 1), default=1e-2, help="of AdamW (default: %(default)g)")
    add(
        "--max-steps",
        type=_at_least(1),
        default=400,
        help="the most passes over all clips (default: %(default)d)",
    )
    add("--seed", type=int, default=0, help="of the language model's first weights (default: %(default)d)")
    return made


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is too few: {least} is the least")
        return int(text)

    return number


def _between(least: float, most: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        if not least <= float(text) <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least:g} and {most:g}")
        return float(text)

    return number


def run(options: argparse.Namespace) -> None:
    """Do all of it, and print a table for each engine."""
    began = time.perf_counter()
    model, processor = new_model(options.codec, seed=options.seed)
    learned, held_out = read_split(options, processor)
    train(model, processor, learned, options)
    model.save_pretrained(options.out / "model")
    processor.save_pretrained(options.out / "model")
    shutil.copy(VOCABULARY, options.out)

    # Twice as long as the longest: a model that does not end its speech is stopped there.
    max_frames = 2 * max(clip.num_frames for clip in learned)
    say = partial(speak, model, processor, max_frames=max_frames)
    say_learned("transformers", say, learned, options.out)
    say_unseen(say, options.unseen, learned, held_out, options.out, max_frames=max_frames)
    say_by_llama_cpp(model, processor, learned, options.out, max_frames=max_frames)
    say_by_server(processor, learned, options.out)
    print(f"\n{lasting(time.perf_counter() - began)} in all. The sounds are in {options.out}.")


def read_split(options: argparse.Namespace, processor: SnacProcessor) -> tuple[list[Clip], list[Clip]]:
    """Read the clips; return those to learn and those held out."""
    wanted = options.num_clips and options.num_clips + options.held_out
    clips = read_clips(options.clips, processor.audio_tokenizer, num_clips=wanted, seconds=options.seconds)
    num_learned = len(clips) - options.held_out
    if num_learned < 1:
        raise SourceError(
            f"{options.clips} has {counted(len(clips), 'clip')} with a text; with {options.held_out} held out none is "
            "left to learn."
        )
    for clip in clips:
        folder = options.out / clip.name
        folder.mkdir(parents=True, exist_ok=True)
        write_audio(folder / "recording.wav", clip.sound)
        write_audio(folder / "codec.wav", clip.round_trip)
    return clips[:num_learned], clips[num_learned:]


def train(
    model: LlamaForCausalLM, processor: SnacProcessor, clips: Sequence[Clip], options: argparse.Namespace
) -> None:
    """Train, and say how far it is."""
    began = time.perf_counter()
    seconds = sum(clip.round_trip.num_samples / clip.round_trip.sampling_rate for clip in clips)
    num_weights = sum(weights.numel() for weights in model.parameters())
    print(
        f"{counted(len(clips), 'clip')} of {lasting(seconds)} in all, for a model of {num_weights:,} weights."
    )
    for progress in learn(
        model, processor, clips, learning_rate=options.learning_rate, max_steps=options.max_steps
    ):
        if progress.step % STEPS_A_LINE == 0 or progress.says_all:
            print(
                f"pass {progress.step}: loss {progress.loss:.3f}, {progress.known:.1%} of the ids known",
                flush=True,
            )
    took = lasting(time.perf_counter() - began)
    if progress.says_all:
        print(f"It says all of them back, after {took}.")
    else:
        print(
            f"It does not say all of them back, after {took}: give --max-steps more, or --learning-rate less."
        )


def say_learned(engine: str, say: Speaker, clips: Sequence[Clip], out: Path) -> None:
    """Let an engine say each clip, write what it says beside the recording, and print a table."""
    speeches = [say(clip.text) for clip in clips]
    for clip, speech in zip(clips, speeches, strict=True):
        write_audio(out / clip.name / f"{engine}.wav", speech.sound)
    print(f"\nSpoken by {engine}, beside what the codec makes of the recording:")
    print(spoken_table(clips, speeches))


def say_unseen(
    say: Speaker, text: str, learned: Sequence[Clip], held_out: Sequence[Clip], out: Path, *, max_frames: int
) -> None:
    """Let the model say what it has not learned, and print figures."""
    speeches: dict[str, Speech] = {"unseen": say(text), **{clip.name: say(clip.text) for clip in held_out}}
    for name, speech in speeches.items():
        (out / name).mkdir(exist_ok=True)
        write_audio(out / name / "transformers.wav", speech.sound)
    print("\nSentences that it never saw:")
    print(unseen_table(speeches, learned, {clip.name: clip for clip in held_out}, max_frames=max_frames))


def say_by_llama_cpp(
    model: LlamaForCausalLM, processor: SnacProcessor, clips: Sequence[Clip], out: Path, *, max_frames: int
) -> None:
    """Write the model as GGUF, and let a llama.cpp server say the clips, held to either kind of grammar."""
    path = out / "model.gguf"
    llama_cpp.export(path, model, processor)
    table = processor.audio_vocabulary
    grammars = {
        "llama.cpp": "%llguidance {}\n" + table.grammar(max_frames=max_frames),
        "llama.cpp-gbnf": table.grammar("gbnf", max_frames=max_frames),
    }
    try:
        with llama_server.serve(path) as address:
            for engine, grammar in grammars.items():
                say = partial(llama_cpp.speak, address, processor, grammar=grammar, max_frames=max_frames)
                say_learned(engine, say, clips, out)
    except (MissingDependencyError, GenerationStoppedError) as error:
        print(f"\nNot spoken by llama.cpp: {error}")


def say_by_server(processor: SnacProcessor, clips: Sequence[Clip], out: Path) -> None:
    """Let `snac-tok serve` say the clips, asked by a client."""
    rate = processor.audio_tokenizer.sampling_rate
    try:
        with serve_client.serve(
            out / "model", codec=processor.codec, vocabulary=out / VOCABULARY.name
        ) as address:
            say_learned(
                "snac-tok-serve", partial(serve_client.speak, address, sampling_rate=rate), clips, out
            )
    except GenerationStoppedError as error:
        print(f"\nNot spoken by snac-tok serve: {error}")


if __name__ == "__main__":
    main()
