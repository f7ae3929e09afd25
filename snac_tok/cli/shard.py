"""`snac-tok shard`: a folder of recordings to Parquet shards of raw codes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from snac_tok.cli.messages import counted, examples, facts, lasting
from snac_tok.cli.options import device_option, force_option, load_tokenizer, model_option

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from snac_tok.audio import Waveform
    from snac_tok.corpus import Progress, Summary
    from snac_tok.frames import FrameLayout
    from snac_tok.tokenizer import SnacTokenizer

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
@click.option(
    "--channels",
    type=click.Choice(["mean", "left", "right", "each"]),
    default="mean",
    show_default=True,
    help="What becomes of a second channel; each makes a record a channel.",
)
@click.option("--clips-per-shard", type=click.IntRange(min=1), default=1000, show_default=True, metavar="N")
@click.option(
    "--progress/--no-progress", default=None, help="A bar on stderr; by default where that is a terminal."
)
@model_option
@device_option
@force_option
def shard(
    *,
    folder: str,
    out: str,
    channels: str,
    clips_per_shard: int,
    progress: bool | None,
    model: str | None,
    device: str,
    force: bool,
) -> int:
    """Encode all recordings below FOLDER into Parquet shards in OUT.

    Shards hold raw codes, readable with `snac_tok.read_shards` or datasets.load_dataset("parquet", …); texts come from
    FOLDER's metadata.csv or metadata.jsonl. Interrupted, the same command goes on where it was.

    Exit code 1 says that some recordings could not be used; OUT/failed.jsonl lists them with the reasons.
    """
    from snac_tok.corpus import FAILED_NAME, shard_folder

    encoder = _ChannelEncoder(load_tokenizer(model, device=device), channels)
    if force:
        _clear(Path(folder), Path(out))
    with _Bar(shown=sys.stderr.isatty() if progress is None else progress) as bar:
        summary = shard_folder(folder, out, encoder, clips_per_shard=clips_per_shard, progress=bar.update)
    click.echo(_account(summary, out))
    if summary.num_failures:
        click.echo(f"why files failed: {Path(out) / FAILED_NAME}")
    return 1 if summary.num_failures else 0


class _ChannelEncoder:
    """A tokenizer whose recordings arrive one channel at a time, by the policy that the shards record."""

    def __init__(self, tokenizer: SnacTokenizer, channels: str) -> None:
        self._tokenizer = tokenizer
        self._channels = channels

    @property
    def layout(self) -> FrameLayout:
        return self._tokenizer.layout

    def encode_codes(self, waveforms: list[Waveform]) -> list[list[npt.NDArray[np.int64]]]:
        return self._tokenizer.encode_codes(waveforms)

    def num_samples(self, waveform: Waveform) -> int:
        return self._tokenizer.num_samples(waveform)

    def describe(self) -> dict[str, Any]:
        return self._tokenizer.describe() | {"channels": self._channels}


class _Bar:
    """The progress bar: bytes of source files, since they tell the remaining time best."""

    def __init__(self, *, shown: bool) -> None:
        from tqdm import tqdm

        self._bar = tqdm(desc="encoding", unit="B", unit_scale=True, disable=not shown, file=sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def update(self, state: Progress) -> None:
        self._bar.total = state.total_bytes
        clips = f"{state.done_files}/{counted(state.total_files, 'clip')}"
        failed = f", {state.num_failures} failed" if state.num_failures else ""
        self._bar.set_postfix_str(
            f"{clips}{failed}, {lasting(state.duration_seconds)} of sound", refresh=False
        )
        self._bar.update(state.done_bytes - self._bar.n)


def _clear(source: Path, out: Path) -> None:
    """Remove an earlier collection, and nothing else, once there is something to put in its place."""
    from snac_tok.corpus import FAILED_NAME, PLAN_NAME, list_sources
    from snac_tok.shards import MANIFEST_NAME

    list_sources(source)
    if not _is_ours(out):
        return  # whatever stands in the way is refused as it is without --force
    # The manifest first: without it nobody takes what is left for a whole collection.
    for path in [
        out / MANIFEST_NAME,
        out / FAILED_NAME,
        *sorted(out.glob("shard-*-of-*.parquet")),
        out / PLAN_NAME,
    ]:
        path.unlink(missing_ok=True)


def _is_ours(out: Path) -> bool:
    """Whether a folder holds a collection, finished or begun; others have files named manifest.json, too."""
    from snac_tok.corpus import PLAN_NAME, Plan
    from snac_tok.errors import ShardError
    from snac_tok.shards import open_shards

    try:
        open_shards(out)
    except ShardError:
        try:
            Plan.from_json((out / PLAN_NAME).read_bytes())
        except (OSError, ShardError):
            return False
    return True


def _account(summary: Summary, out: str) -> str:
    seconds = summary.hours * _SECONDS_PER_HOUR
    speed = (
        f"{seconds / summary.elapsed_seconds:.1f} times real time, "
        if summary.num_adopted_shards == 0
        else ""
    )
    adopted = f", {summary.num_adopted_shards} of them from before" if summary.num_adopted_shards else ""
    rows = [
        ("shards", f"{counted(summary.num_shards, 'file')} in {out}{adopted}"),
        ("clips", f"{summary.num_clips:,}"),
        ("failures", f"{summary.num_failures:,}"),
        ("sound", f"{summary.hours:.4f} h ({lasting(seconds)})"),
        ("tokens", f"{summary.num_tokens:,}"),
        ("speed", f"{speed}{lasting(summary.elapsed_seconds)} in all"),
    ]
    return facts(rows)
