"""`snac-tok status`: how far a collection of shards is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from snac_tok.cli.completion import folders
from snac_tok.cli.messages import examples, print_result, refuse_closed_stdout
from snac_tok.wording import facts, lasting_hours

if TYPE_CHECKING:
    from snac_tok.corpus import CollectionStatus

_NUM_NAMES_SHOWN = 5


@click.command(
    epilog=examples(
        "snac-tok status shards",
        "snac-tok status shards --json",
        "snac-tok status shards --json > status.json",
    )
)
@click.argument("out", metavar="OUT", shell_complete=folders)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def status(*, out: str, as_json: bool) -> int:
    """Say how much of what was planned for OUT is done, and what is missing.

    It can be asked while runs go on. Exit code 0: finished. Exit code 1: something is left to do.
    """
    from snac_tok.corpus import collection_status

    refuse_closed_stdout()
    found = collection_status(Path(out))
    print_result(json.dumps(dataclasses.asdict(found), indent=2) if as_json else _account(found))
    return 0 if found.is_finished else 1


def _account(found: CollectionStatus) -> str:
    state = (
        "finished" if found.is_finished else "not finished: run `snac-tok shard` again with the same options"
    )
    if found.being_written:
        state = "not finished: it is being written"
    failures = ", ".join(f"{number:,} {code}" for code, number in found.codes.items())
    rows = [
        ("state", state),
        ("shards", f"{found.num_done_shards:,} of {found.num_shards:,}"),
        ("recordings", f"{found.num_done_recordings:,} of {found.num_recordings:,}"),
        ("records", f"{found.num_records:,}"),
        (
            "failures",
            f"{found.num_failures:,}"
            + (f" and {found.num_left_out:,} left out" if found.num_left_out else ""),
        ),
        *([("reasons", failures)] if failures else []),
        ("sound", lasting_hours(found.hours)),
        *([("missing", _some(found.missing))] if found.missing else []),
        *([("being written", _some(found.being_written))] if found.being_written else []),
    ]
    return facts(rows)


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - _NUM_NAMES_SHOWN
    return ", ".join(names[:_NUM_NAMES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
