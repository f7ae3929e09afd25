"""`snac-tok export`: a shard folder to the files of another program, for training."""

from __future__ import annotations

import dataclasses
import json
import warnings
from typing import TYPE_CHECKING

import click

from snac_tok.cli.completion import files, folders, prompt_names
from snac_tok.cli.messages import examples, print_result, say
from snac_tok.cli.progress import ProgressBar, is_wanted, progress_option
from snac_tok.cli.shared_options import force_option, levels_option, never_stdout, preset_option, rows_option
from snac_tok.wording import counted, facts, lasting, lasting_hours

if TYPE_CHECKING:
    from snac_tok.export import ExportReport
    from snac_tok.export.content import What
    from snac_tok.prompts.array_types import OutputDtype


@click.command(
    epilog=examples(
        "snac-tok export shards -o parquet --to hf --preset orpheus",
        "snac-tok export shards -o codes --to webdataset --what codes",
        "snac-tok export shards -o megatron --to megatron --preset vyvo-lfm2 --shards-per-file 100",
        "snac-tok export shards -o few --to jsonl --preset plain --rows 0:2 --json",
    )
)
@click.argument("shards", metavar="SHARDS", shell_complete=files)
@click.option(
    "-o",
    "--output",
    "out",
    required=True,
    metavar="OUT",
    callback=never_stdout,
    shell_complete=folders,
    help="A new folder, outside of SHARDS.",
)
@click.option(
    "--to",
    required=True,
    type=click.Choice(["hf", "jsonl", "megatron", "datatrove", "webdataset", "lhotse"]),
    help="The format; hf is Parquet for datasets, lhotse is Shar.",
)
@preset_option
@levels_option
@click.option(
    "--what",
    type=click.Choice(["ids", "codes", "sequences"]),
    default="ids",
    show_default=True,
    help="Speech as ids; raw codes; or text and speech, to train on.",
)
@click.option(
    "--text-tokenizer",
    metavar="FOLDER",
    shell_complete=folders,
    help="The language model's tokenizer, for sequences.",
)
@click.option(
    "--prompt",
    metavar="NAME",
    shell_complete=prompt_names,
    help="The order of text and speech; the preset's own by default.",
)
@click.option("--voice-column", metavar="NAME", help="The records' column of speakers, for sequences.")
@click.option("--mask-prompt", is_flag=True, help="Label what the model is given with -100.")
@click.option(
    "--dtype",
    "output_dtype",
    type=click.Choice(["uint16", "int32", "int64"]),
    help="Of the numbers; by default uint16 for codes, int32 for ids.",
)
@click.option(
    "--columns/--no-columns",
    default=None,
    help="Whether tables (hf, jsonl) have id, source, text and the like, too; by default all but sequences.",
)
@rows_option
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N records.")
@click.option(
    "--shards-per-file",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="How many shards go into a file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@progress_option
@force_option
def export(
    *,
    shards: str,
    out: str,
    to: str,
    preset: str | None,
    levels: int | None,
    what: What,
    text_tokenizer: str | None,
    prompt: str | None,
    voice_column: str | None,
    mask_prompt: bool,
    output_dtype: OutputDtype | None,
    columns: bool | None,
    rows: list[tuple[int, int | None]] | None,
    limit: int | None,
    shards_per_file: int,
    as_json: bool,
    progress: bool | None,
    force: bool,
) -> int:
    """Write the records of SHARDS as files that other programs train on; docs/exports.md says which.

    No codec is needed: shards hold raw codes, and ids are computed on the way. Interrupted, the same command goes on
    where it was; finished, it says so and changes nothing. Other options for the same OUT are refused without --force.

    Exit code 1 says that some records were left out; OUT/_left_out.json lists them with the reasons.
    """
    from snac_tok.errors import TrialCodecWarning
    from snac_tok.export import LEFT_OUT_NAME, export_shards

    with (
        ProgressBar("exporting", unit="record", shown=is_wanted(progress, things=2)) as bar,
        warnings.catch_warnings(record=True) as said,
    ):
        warnings.simplefilter("always", TrialCodecWarning)
        report = export_shards(
            shards,
            out,
            to=to,
            preset=preset,
            levels=levels,
            what=what,
            text_tokenizer=text_tokenizer,
            prompt=prompt,
            voice_column=voice_column,
            mask_prompt=mask_prompt,
            output_dtype=output_dtype,
            columns=columns,
            rows=rows,
            limit=limit,
            shards_per_file=shards_per_file,
            progress=lambda done, total: bar.show(done=done, total=total, note=""),
            replace=force,
        )
    for warning in said:
        if issubclass(warning.category, TrialCodecWarning):
            say(str(warning.message))
    print_result(json.dumps(_values(report), indent=2) if as_json else _account(report, out))
    if report.left_out and not as_json:
        print_result(f"which were left out: {out}/{LEFT_OUT_NAME}")
    return 1 if report.left_out else 0


def _values(report: ExportReport) -> dict[str, object]:
    return dataclasses.asdict(report) | {"num_left_out": report.num_left_out}


def _account(report: ExportReport, out: str) -> str:
    left_out = ", ".join(f"{number:,} with {reason}" for reason, number in report.left_out.items())
    rows = [
        (
            "files",
            f"{counted(report.num_files, 'file')} in {out}, {report.num_bytes:,} bytes{_before(report)}",
        ),
        ("records", f"{report.num_records:,}"),
        ("left out", f"{report.num_left_out:,}{f': {left_out}' if left_out else ''}"),
        ("sound", lasting_hours(report.hours)),
        ("tokens", f"{report.num_tokens:,}"),
        ("time", lasting(report.elapsed_seconds)),
    ]
    return facts(rows)


def _before(report: ExportReport) -> str:
    if report.was_finished:
        return ", finished before: nothing was left to do"
    kept = report.num_kept_parts
    return f", {kept} of {counted(report.num_parts, 'part')} from before" if kept else ""
