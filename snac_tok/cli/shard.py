"""`snac-tok shard`: a folder of recordings to Parquet shards of raw codes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from snac_tok.cli.completion import files, folders, words
from snac_tok.cli.engine_options import chosen_engine, engine_options
from snac_tok.cli.messages import examples, print_result, refuse_closed_stdout
from snac_tok.cli.progress import LongProgress, is_wanted, progress_option
from snac_tok.cli.shared_options import (
    TF32,
    FiniteFloatRange,
    channels_option,
    device_option,
    force_option,
    load_tokenizer,
    model_option,
    never_stdout,
    precision_option,
    refuse_other_options,
    truncated_option,
)
from snac_tok.cli.stopping import stopped_by
from snac_tok.sources.limits import DECODE_MEMORY_BYTES, DECODE_TIMEOUT_SECONDS
from snac_tok.wording import SECONDS_PER_HOUR, counted, facts, lasting, lasting_hours

if TYPE_CHECKING:
    from snac_tok.audio import ChannelPolicy
    from snac_tok.corpus import Estimate, ShardingResult

_MIB = 1 << 20
# A job script may name its model for all of its commands; --merge has no use for one.
_OF_MERGE = ("merge", "model", "progress")
_LIMITS = ("min_duration", "max_duration", "max_file_size")
_OF_DRY_RUN = (
    "dry_run",
    "channels",
    "clips_per_shard",
    "keep_columns",
    *_LIMITS,
    "model",
    "device",
    "progress",
)


def _array_task(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    number, slash, count = value.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise click.BadParameter(f"{value!r} is not I/N with I from 0 to N-1.", ctx=ctx, param=param)
    return int(number), int(count)


@click.command(
    epilog=examples(
        "snac-tok shard clips shards",
        "snac-tok shard clips tiny-shards --model tiny --clips-per-shard 100",
        "snac-tok shard clips each-shards --channels each",
        "snac-tok shard train.jsonl listed",
        "snac-tok shard clips speech --min-duration 0.5 --max-duration 30 --jobs 2 --max-error-rate 0.01",
        "snac-tok shard train.jsonl shards --engine ray --address 10.0.0.1:6379 --gpus-per-worker 0.5",
    )
)
@click.argument("source", metavar="SOURCE", shell_complete=files)
@click.argument("out", metavar="OUT", callback=never_stdout, shell_complete=folders)
@channels_option(each=True, of_model=True)
@click.option("--clips-per-shard", type=click.IntRange(min=1), default=1000, show_default=True, metavar="N")
@click.option(
    "--min-duration",
    type=FiniteFloatRange(min=0),
    default=0.0,
    show_default=True,
    metavar="S",
    help="Leave shorter recordings out; OUT/_failed.jsonl lists them.",
)
@click.option(
    "--max-duration",
    type=FiniteFloatRange(min=0, min_open=True),
    metavar="S",
    help="Leave longer recordings out, too.",
)
@click.option(
    "--max-file-size", type=click.IntRange(min=1), metavar="MIB", help="Leave larger files out, too."
)
@click.option(
    "--loudness",
    type=FiniteFloatRange(min=-70, max=0),
    metavar="LUFS",
    help="Bring each recording to this loudness (EBU R128, -23 for broadcasting); changes codes.  [default: as it is]",
)
@click.option(
    "--dedupe",
    is_flag=True,
    help="Leave a recording out if one before it, by name, has the same samples; all are decoded once more.",
)
@click.option(
    "--keep-columns",
    metavar="NAMES",
    shell_complete=words("none"),
    help='What metadata and manifests tell and shards keep, "gender,age"; "none" keeps nothing.  '
    "[default: speaker and language]",
)
@truncated_option
@click.option(
    "--max-error-rate",
    type=FiniteFloatRange(min=0, max=1),
    default=1.0,
    show_default=True,
    metavar="R",
    help="Stop when a larger share of all recordings could not be used.",
)
@click.option(
    "--rerun-errors", is_flag=True, help="Make shards with failed recordings again, repaired ones included."
)
@click.option(
    "--shard-index",
    "array_task",
    callback=_array_task,
    metavar="I/N",
    help="Make only the shards of task I, 0 to N-1, of a job array of N tasks; --merge completes OUT.",
)
@click.option(
    "--merge", is_flag=True, help="All array tasks are done: check their shards and write the manifest."
)
@click.option(
    "--dry-run", is_flag=True, help="Count recordings, estimate hours, size and time, and write nothing."
)
@click.option(
    "--jobs",
    type=click.IntRange(min=0),
    metavar="N",
    help="Decode in N processes that may crash; 0 is none.  "
    "[default: none for a few files, else 1 for 4 cores, on a GPU 1 a core]",
)
@click.option(
    "--decode-timeout",
    type=FiniteFloatRange(min=0, min_open=True),
    default=DECODE_TIMEOUT_SECONDS,
    show_default=True,
    metavar="S",
    help="End a decoder that gives nothing for so long.",
)
@click.option(
    "--decode-memory",
    type=click.IntRange(min=64),
    default=DECODE_MEMORY_BYTES // _MIB,
    show_default=True,
    metavar="MIB",
    help="What each decoding process may take, in MiB.",
)
@click.option(
    "--batch-seconds",
    type=FiniteFloatRange(min=0, min_open=True),
    metavar="S",
    help="Sound that is encoded in one call; more needs more memory.  [default: 120, on a GPU 960]",
)
@engine_options
@progress_option
@model_option
@device_option
@precision_option
@force_option
def shard(
    *,
    source: str,
    out: str,
    channels: ChannelPolicy | None,
    clips_per_shard: int,
    min_duration: float,
    max_duration: float | None,
    max_file_size: int | None,
    loudness: float | None,
    dedupe: bool,
    keep_columns: str | None,
    allow_truncated: bool,
    max_error_rate: float,
    rerun_errors: bool,
    array_task: tuple[int, int] | None,
    merge: bool,
    dry_run: bool,
    jobs: int | None,
    decode_timeout: float,
    decode_memory: int,
    batch_seconds: float | None,
    engine_name: str,
    address: str | None,
    workers: int | None,
    cpus_per_worker: float | None,
    gpus_per_worker: float | None,
    progress: bool | None,
    model: str | None,
    device: str,
    precision: str,
    force: bool,
) -> int:
    """Encode all recordings of SOURCE into Parquet shards in OUT.

    SOURCE is a folder of audio files, of any depth, with texts from metadata.csv or metadata.jsonl in its folders; a
    pattern in quotes, 'data/**/*.flac'; a .csv, .tsv, .jsonl, .txt or .parquet that lists recordings, or parts of them
    (also as LJSpeech, Common Voice, NeMo, Moshi and Lhotse write them); a .tar or .parquet with sound in it; a Lhotse
    Shar; or a dataset, hf:NAME:SPLIT or a folder of save_to_disk.

    Shards hold raw codes; `snac_tok.read_shards` reads them, and pandas, pyarrow and datasets open OUT as a folder of
    Parquet. Interrupted, the same command goes on where it was; finished, it says so and changes nothing.

    Exit code 1 says that some recordings could not be used; OUT/_failed.jsonl lists them with the reasons. If the run
    stops before its end, the exit code says why; finished shards are kept.
    """
    from snac_tok.corpus import BatchLimits, estimate_folder, merge_shards, shard_folder

    if force and array_task:
        raise click.UsageError(
            "--force with --shard-index would remove what other tasks have made; begin anew once, without --shard-index"
        )
    if merge:
        refuse_other_options(_OF_MERGE, "--merge only completes OUT from the shards that are there")
        return _end(merge_shards(out), out)
    if dry_run:
        refuse_closed_stdout()
        refuse_other_options(
            _OF_DRY_RUN, "--dry-run only estimates, and nothing of it depends on other options"
        )
    engine = chosen_engine(
        engine_name,
        address=address,
        workers=workers,
        cpus_per_worker=cpus_per_worker,
        gpus_per_worker=gpus_per_worker,
        device=device,
    )
    if engine and precision in TF32:
        raise click.UsageError(
            f"--engine {engine_name} computes in fp32, bf16 or fp16: leave --precision {precision} out, or Ray"
        )
    encoder = load_tokenizer(model, device="cpu" if engine else device, precision=precision)
    kept = None if keep_columns is None else _names(keep_columns)
    max_file_bytes = None if max_file_size is None else max_file_size * _MIB
    if dry_run:
        found = estimate_folder(
            source,
            encoder,
            channels=channels,
            clips_per_shard=clips_per_shard,
            keep_columns=kept,
            min_duration=min_duration,
            max_duration=max_duration,
            max_file_bytes=max_file_bytes,
        )
        print_result(_forecast(found))
        return 0
    # How many recordings there are is known once the folder has been listed.
    with LongProgress("encoding", bar=is_wanted(progress, things=2), lines=progress is not False) as shown:
        try:
            summary = shard_folder(
                source,
                out,
                encoder,
                channels=channels,
                clips_per_shard=clips_per_shard,
                limits=BatchLimits(max_seconds=batch_seconds),
                progress=shown.show,
                replace=force,
                allow_truncated=allow_truncated,
                min_duration=min_duration,
                max_duration=max_duration,
                max_file_bytes=max_file_bytes,
                loudness=loudness,
                dedupe=dedupe,
                max_error_rate=max_error_rate,
                rerun_errors=rerun_errors,
                array_task=array_task,
                keep_columns=kept,
                jobs=jobs,
                decode_timeout=decode_timeout,
                decode_memory=decode_memory * _MIB,
                engine=engine,
            )
        except (Exception, SystemExit) as error:  # the latter: SIGTERM
            if stopped := stopped_by(error):
                raise stopped from error
            raise
    return _end(summary, out)


def _end(summary: ShardingResult, out: str) -> int:
    """Print what the run came to, and return the exit code."""
    from snac_tok.corpus import FAILED_NAME

    print_result(_account(summary, out))
    if not summary.is_complete:
        print_result(f"when all tasks are done: snac-tok shard SOURCE {out} --merge")
    elif summary.num_failures or summary.num_left_out:
        print_result(f"why files failed: {Path(out) / FAILED_NAME}")
    return 1 if summary.num_failures else 0


def _names(listed: str) -> list[str]:
    return [] if listed == "none" else [name.strip() for name in listed.split(",") if name.strip()]


def _account(summary: ShardingResult, out: str) -> str:
    took = f"{lasting(summary.elapsed_seconds)} in all"
    speed = summary.hours * SECONDS_PER_HOUR / summary.elapsed_seconds
    pace = ("time", took) if summary.num_adopted_shards else ("speed", f"{speed:.1f} times real time, {took}")
    left_out = [("left out", f"{summary.num_left_out:,}")] if summary.num_left_out else []
    rows = [
        ("shards", f"{counted(summary.num_shards, 'file')} in {out}{_before(summary)}"),
        ("clips", f"{summary.num_clips:,}"),
        ("failures", f"{summary.num_failures:,}"),
        *left_out,
        ("sound", lasting_hours(summary.hours)),
        ("tokens", f"{summary.num_tokens:,}"),
        pace,
        *_uses_of_time(summary),
    ]
    return facts(rows)


def _uses_of_time(summary: ShardingResult) -> list[tuple[str, str]]:
    """Say what the encoding process did; where it mostly waits, more --jobs help."""
    if not summary.encoding_seconds:
        return []
    encoding = summary.encoding_seconds / summary.elapsed_seconds
    reading = summary.reading_seconds / summary.elapsed_seconds
    rest = max(0.0, 1 - encoding - reading)
    on_gpu = f"; the GPU had work for {summary.device_seconds / summary.elapsed_seconds:.0%}"
    uses = f"{encoding:.0%} encoding, {reading:.0%} waiting for files, {rest:.0%} writing and all else"
    return [("time", uses + on_gpu if summary.device_seconds else uses)]


def _forecast(found: Estimate) -> str:
    """Say what was counted, and what is about so."""
    time = (
        "unknown: none could be read"
        if found.elapsed_seconds is None
        else f"about {lasting(found.elapsed_seconds)}"
    )
    unreadable = f", {found.num_unreadable:,} of them cannot be read" if found.num_unreadable else ""
    rows = [
        (
            "recordings",
            f"{found.num_recordings:,} in {counted(found.num_shards, 'shard')}, {found.num_texts:,} with text",
        ),
        ("columns", ", ".join(found.columns) or "none beside those of every shard"),
        ("input", f"{found.num_bytes / _MIB:,.1f} MiB"),
        ("sound", f"about {found.hours:,.2f} h, from the headers of {found.num_headers:,}{unreadable}"),
        ("tokens", f"about {found.num_tokens:,}"),
        ("output", f"about {found.output_bytes / _MIB:,.1f} MiB"),
        ("time", f"{time} on this machine"),
    ]
    return facts(rows)


def _before(summary: ShardingResult) -> str:
    if summary.was_finished:
        return ", finished before: nothing was left to do"
    return f", {summary.num_adopted_shards} of them from before" if summary.num_adopted_shards else ""
