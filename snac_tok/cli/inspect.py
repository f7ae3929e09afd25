"""`snac-tok inspect`: what a codec, an id table, a shard folder or a code file is; it changes nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from snac_tok.cli.completion import MODELS, SHAPES, files, files_or, preset_names
from snac_tok.cli.messages import examples, print_result, refuse_closed_stdout
from snac_tok.cli.shared_options import (
    force_option,
    levels_option,
    never_stdout,
    preset_option,
    refuse_existing,
    standard_input,
)

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from snac_tok.cli.findings import Findings

_PRESETS = "presets"


def _names_behind_presets(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete what `inspect presets` takes; behind anything else there is no second word."""
    return preset_names(context, parameter, incomplete) if context.params.get("what") == _PRESETS else []


@click.command(
    epilog=examples(
        "snac-tok inspect snac_24khz",
        "snac-tok inspect tiny --json",
        "snac-tok inspect presets",
        "snac-tok inspect presets orpheus",
        "snac-tok inspect --identify a.json",
        "snac-tok inspect shards",
        "snac-tok inspect shards --plot shards.png",
        "snac-tok inspect a.npz",
        "snac-tok inspect a.wav",
    )
)
@click.argument("what", required=False, metavar="[WHAT]", shell_complete=files_or(_PRESETS, *MODELS, *SHAPES))
@click.argument("name", required=False, metavar="[NAME]", shell_complete=_names_behind_presets)
@preset_option
@levels_option
@click.option(
    "--identify",
    metavar="FILE",
    shell_complete=files,
    help='Say whose ids, tokens or special ids a file holds, or a tokenizer.json; "-" is stdin.',
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option(
    "--plot",
    metavar="FILE.png",
    callback=never_stdout,
    shell_complete=files,
    help="Draw the lengths of a shard folder's records and its codebook usage.",
)
@force_option
def inspect(
    *,
    what: str | None,
    name: str | None,
    preset: str | None,
    levels: int | None,
    identify: str | None,
    as_json: bool,
    plot: str | None,
    force: bool,
) -> None:
    """Describe WHAT: a codec, shards, a file of codes (.npz) or of sound; "presets" lists the id tables.

    A codec is "tiny", a folder, a hub repository, or a name that needs no download: snac_24khz, snac_32khz and
    snac_44khz are the released shapes, default is that of a SNAC() without arguments. With --preset its id table is
    printed; `presets NAME` prints that of the speech codec.
    """
    refuse_closed_stdout()
    lists_presets = what == _PRESETS and name is None
    if name is not None:
        if what != _PRESETS or preset is not None:
            raise click.UsageError(f"name one thing; only `inspect {_PRESETS}` takes a NAME, a preset's")
        what, preset = None, name
    if sum((identify is not None, what is not None or preset is not None)) != 1:
        raise click.UsageError(f"name one thing: WHAT, a --preset, {_PRESETS}, or a file to --identify")
    if levels is not None and preset is None:
        raise click.UsageError("--levels can only be used together with --preset")
    if plot is not None and (what is None or lists_presets):
        raise click.UsageError("--plot draws a shard folder: name it")
    if lists_presets:
        from snac_tok.frames import preset_names

        names = list(preset_names())
        print_result(json.dumps(names) if as_json else "\n".join(names))
    elif identify is not None:
        _print_identification(identify, as_json=as_json)
    elif preset is not None:
        _print_table(what or "snac_24khz", preset, levels=levels, as_json=as_json)
    else:
        found = _findings(str(what))
        if plot is not None:
            _draw(found, Path(plot), force=force)
        print_result(json.dumps(found.values, indent=2, ensure_ascii=False) if as_json else found.text())


def _print_table(codec: str, preset: str, *, levels: int | None, as_json: bool) -> None:
    from snac_tok.cli.findings import find_config
    from snac_tok.frames import vocabulary_for, vocabulary_to_json

    config = find_config(codec)
    vocabulary = vocabulary_for(
        preset, strides=config.vq_strides, codebook_size=config.codebook_size, levels=levels
    )
    print_result(vocabulary_to_json(vocabulary).rstrip() if as_json else vocabulary.describe())


def _print_identification(source: str, *, as_json: bool) -> None:
    from snac_tok.generation.identification import identify_file

    name, file = ("stdin", standard_input()) if source == "-" else (source, source)
    found = identify_file(file, name=name)
    print_result(json.dumps(dataclasses.asdict(found), indent=2) if as_json else str(found))


def _draw(found: Findings, path: Path, *, force: bool) -> None:
    from snac_tok.corpus.picture import draw_statistics
    from snac_tok.errors import ShardError
    from snac_tok.files import write_bytes_atomically

    if "duration_seconds" not in found.values or "collection" not in found.values:
        raise click.UsageError("--plot draws a shard folder; this is something else")
    refuse_existing(path, force=force)
    picture = draw_statistics(found.values, codebook_size=found.values["collection"]["codebook_size"])
    write_bytes_atomically(path, picture, error=ShardError)


def _findings(what: str) -> Findings:
    from snac_tok.cli import findings
    from snac_tok.errors import ShardError
    from snac_tok.shards import MANIFEST_NAME

    path = Path(what)
    if path.suffix.lower() == ".npz":
        return findings.of_code_file(path)
    if path.is_file():
        return findings.of_sound(path)
    if path.is_dir() and not (path / "config.json").exists():
        if not (path / MANIFEST_NAME).exists():
            raise ShardError(
                f"{what} holds neither a codec (config.json) nor finished shards ({MANIFEST_NAME}); if "
                "`snac-tok shard` was interrupted, run it again to finish."
            )
        return findings.of_shards(path)
    return findings.of_codec(what)
