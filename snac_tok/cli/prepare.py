"""`snac-tok prepare`: recordings to a folder that training reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from snac_tok.cli.completion import files, folders
from snac_tok.cli.messages import examples, print_result
from snac_tok.cli.progress import ProgressBar, is_wanted, progress_option
from snac_tok.cli.shared_options import (
    FiniteFloatRange,
    channels_option,
    force_option,
    never_stdout,
    truncated_option,
)
from snac_tok.wording import counted, facts, lasting

if TYPE_CHECKING:
    from snac_tok.audio import MonoPolicy
    from snac_tok.training.clip_making import PreparationState


@click.command(
    epilog=examples(
        "snac-tok prepare clips -o ready --sampling-rate 24000",
        "snac-tok prepare train.jsonl more-clips song.flac -o ready --sampling-rate 24000 --min-seconds 0.5",
        "snac-tok prepare hf:openslr/librispeech_asr:clean:train.100 -o libri --sampling-rate 24000",
    )
)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT…", shell_complete=files)
@click.option(
    "-o",
    "--out",
    required=True,
    metavar="FOLDER",
    callback=never_stdout,
    shell_complete=folders,
    help="Where the prepared sound goes.",
)
@click.option(
    "--sampling-rate",
    type=click.IntRange(min=1),
    required=True,
    metavar="HZ",
    help="Of the codec that will be trained, 24000 for example.",
)
@channels_option()
@click.option(
    "--min-seconds",
    type=FiniteFloatRange(min=0),
    default=0.0,
    show_default=True,
    metavar="S",
    help="Leave shorter clips out.",
)
@click.option(
    "--piece-seconds",
    type=FiniteFloatRange(min=1),
    default=300.0,
    show_default=True,
    metavar="S",
    help="Cut longer recordings into clips of this length; a rest below 0.25 s stays with the clip before.",
)
@click.option(
    "--level-db",
    type=FiniteFloatRange(min=-90, max=0),
    default=None,
    metavar="DB",
    help="Bring every clip to this level (RMS of what is not silent); by default levels stay.",
)
@truncated_option
@progress_option
@force_option
def prepare(
    *,
    inputs: tuple[str, ...],
    out: str,
    sampling_rate: int,
    channels: MonoPolicy,
    min_seconds: float,
    piece_seconds: float,
    level_db: float | None,
    allow_truncated: bool,
    progress: bool | None,
    force: bool,
) -> int:
    """Decode recordings once, into one FOLDER of mono samples at one rate that `snac-tok train` reads.

    An INPUT is a folder of audio files, an audio file, a manifest (.txt with a path a line; .csv, .tsv or .jsonl with a
    column of paths, relative to the manifest), a dataset saved by the datasets package, or hf:NAME:SPLIT or
    hf:NAME:CONFIG:SPLIT for one of the hub. Interrupted, the same command goes on where it was; finished, it says so
    and changes nothing.

    Exit code 1 says that some recordings could not be used; FOLDER/failed.jsonl lists them with the reasons.
    """
    from snac_tok.training.clip_making import PreparationOptions, prepare_sound
    from snac_tok.training.clip_writing import FAILED_FILE

    options = PreparationOptions(
        sampling_rate=sampling_rate,
        channels=channels,
        min_seconds=min_seconds,
        piece_seconds=piece_seconds,
        level_db=level_db,
        allow_truncated=allow_truncated,
    )
    # How many recordings there are is known once the inputs have been listed.
    with ProgressBar("preparing", unit="B", shown=is_wanted(progress, things=2)) as bar:
        state = prepare_sound(inputs, out, options, replace=force, progress=lambda state: _show(state, bar))
    print_result(_account(state, out, sampling_rate=sampling_rate))
    if state.num_failures:
        print_result(f"why recordings failed: {Path(out) / FAILED_FILE}")
    return 1 if state.num_failures else 0


def _show(state: PreparationState, bar: ProgressBar) -> None:
    """Count bytes of source files; of a dataset, whose size nobody knows, the recordings alone."""
    failed = f", {state.num_failures} failed" if state.num_failures else ""
    note = f"{counted(state.num_recordings, 'recording')}{failed}"
    bar.show(done=state.num_bytes, total=state.total_bytes or state.num_bytes, note=note)


def _account(state: PreparationState, out: str, *, sampling_rate: int) -> str:
    short = f", {state.num_short:,} left out as too short" if state.num_short else ""
    before = f", {state.num_adopted:,} of them from before" if state.num_adopted else ""
    finished = ", finished before: nothing was left to do" if state.was_finished else ""
    rows = [
        ("recordings", f"{state.num_recordings:,}, {state.num_failures:,} failed{before}"),
        ("clips", f"{state.num_clips:,} in {out}{short}{finished}"),
        ("sound", f"{lasting(state.num_samples / sampling_rate)} at {sampling_rate} Hz, mono"),
    ]
    return facts(rows)
