"""`snac-tok shard`: a folder of recordings to Parquet shards of raw codes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from snac_tok.cli.messages import examples
from snac_tok.cli.progress import ProgressBar, is_wanted, progress_option
from snac_tok.cli.shared_options import (
    channels_option,
    device_option,
    force_option,
    load_tokenizer,
    model_option,
    truncated_option,
)
from snac_tok.wording import counted, facts, lasting

if TYPE_CHECKING:
    from snac_tok.audio import ChannelPolicy
    from snac_tok.corpus import Progress, ShardingResult

_SECONDS_PER_HOUR = 3600


@click.command(
    epilog=examples(
        "snac-tok shard clips shards",
        "snac-tok shard clips tiny-shards --model tiny --clips-per-shard 100",
        "snac-tok shard clips each-shards --channels each",
    )
)
@click.argument("folder", metavar="FOLDER")
@click.argument("out", metavar="OUT")
@channels_option(each=True, of_model=True)
@click.option("--clips-per-shard", type=click.IntRange(min=1), default=1000, show_default=True, metavar="N")
@truncated_option
@progress_option
@model_option
@device_option
@force_option
def shard(
    *,
    folder: str,
    out: str,
    channels: ChannelPolicy | None,
    clips_per_shard: int,
    allow_truncated: bool,
    progress: bool | None,
    model: str | None,
    device: str,
    force: bool,
) -> int:
    """Encode all recordings below FOLDER into Parquet shards in OUT.

    Shards hold raw codes; `snac_tok.read_shards` reads them, and pandas, pyarrow and datasets open OUT as a folder of
    Parquet. Texts come from metadata.csv or metadata.jsonl in FOLDER and the folders in it. Interrupted, the same
    command goes on where it was; finished, it says so and changes nothing.

    Exit code 1 says that some recordings could not be used; OUT/_failed.jsonl lists them with the reasons.
    """
    from snac_tok.corpus import FAILED_NAME, shard_folder

    encoder = load_tokenizer(model, device=device)
    # How many recordings there are is known once the folder has been listed.
    with ProgressBar("encoding", unit="B", shown=is_wanted(progress, things=2)) as bar:
        summary = shard_folder(
            folder,
            out,
            encoder,
            channels=channels,
            clips_per_shard=clips_per_shard,
            progress=lambda state: _show(state, bar),
            replace=force,
            allow_truncated=allow_truncated,
        )
    click.echo(_account(summary, out))
    if summary.num_failures:
        click.echo(f"why files failed: {Path(out) / FAILED_NAME}")
    return 1 if summary.num_failures else 0


def _show(state: Progress, bar: ProgressBar) -> None:
    """Count bytes of source files: they tell the remaining time better than their number."""
    clips = f"{state.done_files}/{counted(state.total_files, 'clip')}"
    failed = f", {state.num_failures} failed" if state.num_failures else ""
    note = f"{clips}{failed}, {lasting(state.duration_seconds)} of sound"
    bar.show(done=state.done_bytes, total=state.total_bytes, note=note)


def _account(summary: ShardingResult, out: str) -> str:
    seconds = summary.hours * _SECONDS_PER_HOUR
    speed = (
        f"{seconds / summary.elapsed_seconds:.1f} times real time, "
        if summary.num_adopted_shards == 0
        else ""
    )
    rows = [
        ("shards", f"{counted(summary.num_shards, 'file')} in {out}{_before(summary)}"),
        ("clips", f"{summary.num_clips:,}"),
        ("failures", f"{summary.num_failures:,}"),
        ("sound", f"{summary.hours:.4f} h ({lasting(seconds)})"),
        ("tokens", f"{summary.num_tokens:,}"),
        ("speed", f"{speed}{lasting(summary.elapsed_seconds)} in all"),
    ]
    return facts(rows)


def _before(summary: ShardingResult) -> str:
    if summary.was_finished:
        return ", finished before: nothing was left to do"
    return f", {summary.num_adopted_shards} of them from before" if summary.num_adopted_shards else ""
