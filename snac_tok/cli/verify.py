"""`snac-tok verify`: whether the files of a collection are what they were when it was made."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from snac_tok.cli.completion import folders
from snac_tok.cli.messages import examples, print_result, refuse_closed_stdout
from snac_tok.wording import counted, printable

if TYPE_CHECKING:
    from snac_tok.corpus import CollectionStatus


@click.command(
    epilog=examples(
        "snac-tok verify shards",
        "snac-tok verify shards --read-data",
        "snac-tok verify shards --json",
    )
)
@click.argument("out", metavar="OUT", shell_complete=folders)
@click.option("--read-data", is_flag=True, help="Read every shard to its last byte and compare its checksum.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def verify(*, out: str, read_data: bool, as_json: bool) -> int:
    """Check the shards in OUT, finished or not: names, sizes, footers and numbers of records.

    Exit code 1: some files are not what they should be, or not there yet; they are listed with the reasons.
    """
    from snac_tok.corpus import collection_status, verify_collection
    from snac_tok.shards import MANIFEST_NAME

    refuse_closed_stdout()
    faults = verify_collection(Path(out), read_data=read_data)
    is_finished = (Path(out) / MANIFEST_NAME).exists()
    if as_json:
        print_result(json.dumps([dataclasses.asdict(fault) for fault in faults], indent=2))
    else:
        for fault in faults:
            print_result(f"{printable(fault.name)}: {printable(fault.reason)}")
        if faults:
            print_result(f"{counted(len(faults), 'fault')} in {out}")
        else:
            print_result(
                f"{out}: {'all is well' if is_finished else _unfinished(collection_status(Path(out)))}"
            )
    return 0 if is_finished and not faults else 1


def _unfinished(status: CollectionStatus) -> str:
    return (
        f"what is there is as it should be, but it is not finished ({status.num_done_shards:,} of "
        f"{counted(status.num_shards, 'shard')}); `snac-tok status` says what is missing"
    )
