"""The folder that a collection goes into: made, checked, taken up again after an interruption, or cleared.

Nothing that is not of a collection is ever removed or written over. What the files hold is decided elsewhere.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from snac_tok.corpus.plan import Plan
from snac_tok.errors import ShardError
from snac_tok.shards import MANIFEST_NAME, read_entry, read_manifest, shard_name
from snac_tok.shards.publish import naming, publish_bytes, remove_leftovers

if TYPE_CHECKING:
    from pathlib import Path

    from snac_tok.corpus.plan import ShardSpec
    from snac_tok.shards import ShardEntry

PLAN_NAME = "plan.json"
FAILED_NAME = "failed.jsonl"


def check_apart(source: Path, out: Path) -> None:
    """See that shards do not go among the recordings they are made of.

    Raises:
        ShardError: `out` is `source` or lies in it.
    """
    if out.resolve().is_relative_to(source.resolve()):
        raise ShardError(
            f"the shards cannot go into {out}: it lies in {source}, the folder of the recordings, or is that "
            "folder; choose one outside of it."
        )


def prepare_folder(out: Path, plan: Plan) -> None:
    """Make `out` and write the plan into it, or see that it holds this very plan.

    Raises:
        ShardError: `out` holds a finished collection, another plan, or shards of another run.
    """
    with naming(out):
        out.mkdir(parents=True, exist_ok=True)
    if (out / MANIFEST_NAME).exists():
        raise ShardError(f"{out} already holds a finished collection; choose another folder or remove it.")
    expected = {shard_name(index, plan.num_shards) for index in range(plan.num_shards)}
    strange = sorted(path.name for path in out.glob("*.parquet") if path.name not in expected)
    if strange:
        raise ShardError(f"{out} holds {strange[0]}, which is not of this run; choose another folder.")
    plan_path = out / PLAN_NAME
    if plan_path.exists():
        _check_same_plan(plan_path, plan)
    else:
        publish_bytes(plan_path, plan.to_json())


def adopt(spec: ShardSpec, out: Path) -> ShardEntry | None:
    """The entry of a shard that an interrupted run of the same plan has published, None where it has not.

    Raises:
        ShardError: the shard is damaged or of another collection.
    """
    path = out / spec.info.name
    if not path.exists():
        return None
    entry = read_entry(path, expected=spec.info)
    remove_leftovers(path)
    return entry


def remove_collection(out: Path) -> None:
    """Remove a collection, finished or begun, and nothing else; without one nothing is done.

    Raises:
        ShardError: other shards lie among its own, or the disk refused.
    """
    counts = _shard_counts(out)
    if not counts:
        return
    shards = [shard_name(index, count) for count in sorted(counts) for index in range(count)]
    strange = sorted({path.name for path in out.glob("*.parquet")} - set(shards))
    if strange:
        raise ShardError(f"{out} holds {strange[0]}, which is not of its collection; move it away first.")
    # The manifest first: without it nobody takes what is left for a whole collection. The plan last: with it
    # the rest is still known to be ours after an interruption.
    for name in (MANIFEST_NAME, FAILED_NAME, *shards, PLAN_NAME):
        with naming(out / name):
            (out / name).unlink(missing_ok=True)
        remove_leftovers(out / name)


def _shard_counts(out: Path) -> set[int]:
    """How many shards the manifest and the plan in `out` tell of; other programs have such files, too."""
    counts = set()
    with contextlib.suppress(OSError, ShardError):
        counts.add(len(read_manifest(out).shards))
    with contextlib.suppress(OSError, ShardError):
        counts.add(Plan.from_json((out / PLAN_NAME).read_bytes()).num_shards)
    return counts


def _check_same_plan(path: Path, plan: Plan) -> None:
    try:
        found = Plan.from_json(path.read_bytes())
    except (OSError, ShardError) as error:
        raise ShardError(f"{path} cannot be read: {error}; remove the folder and run again.") from error
    if found.fingerprint != plan.fingerprint:
        raise ShardError(
            f"{path.parent} was begun with other options: {', '.join(plan.differences(found))} differ; "
            "run with the same ones, or choose another folder."
        )
