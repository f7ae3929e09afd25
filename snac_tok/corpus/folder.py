"""The folder that a collection goes into: made, checked, taken up again after an interruption, or cleared.

Nothing that is not of a collection is ever removed or written over. What the files hold is decided elsewhere.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from snac_tok.corpus.plan import Plan, read_head
from snac_tok.errors import ShardError
from snac_tok.files import sweep_folder
from snac_tok.shards import MANIFEST_NAME, check_shard, read_manifest, shard_name
from snac_tok.shards.publish import publish_bytes, remove_leftovers, write_errors_named
from snac_tok.wording import counted

if TYPE_CHECKING:
    from snac_tok.corpus.plan import ShardSpec
    from snac_tok.shards import CheckedShard, Manifest

PLAN_NAME = "_plan.json"
FAILED_NAME = "_failed.jsonl"
STATISTICS_NAME = "_stats.json"
SUMS_NAME = "_SHA256SUMS"
CARD_NAME = "_README.md"


def check_apart(source: Path, out: Path) -> None:
    """See that shards do not go among the recordings they are made of.

    Raises:
        ShardError: `source` is a folder, and `out` is that folder or lies in it.
    """
    # Not Path.resolve, which a link that leads round in a circle makes fail.
    if source.is_dir() and Path(os.path.realpath(out)).is_relative_to(os.path.realpath(source)):
        raise ShardError(
            f"the shards cannot go into {out}: it lies in {source}, the folder of the recordings, or is that "
            "folder; choose one outside of it."
        )


def prepare_folder(out: Path, plan: Plan, *, reopen: bool = False) -> Manifest | None:
    """Make `out` and write the plan into it, or see that it holds this very plan.

    Args:
        out: where the collection is, or will be.
        plan: of the run.
        reopen: whether a finished collection becomes one that is not, because some shards are to be made again.

    Returns:
        The manifest where a run of this plan has finished, and there is nothing left to do.

    Raises:
        ShardError: `out` holds another plan, another collection, or shards of another run.
    """
    with write_errors_named(out):
        out.mkdir(parents=True, exist_ok=True)
    sweep_folder(out)
    if (out / MANIFEST_NAME).exists():
        manifest = _finished(out, plan)
        if not reopen:
            return manifest
        with write_errors_named(out / MANIFEST_NAME):
            (out / MANIFEST_NAME).unlink(missing_ok=True)
    plan_path = out / PLAN_NAME
    has_plan = plan_path.exists()
    if has_plan:
        _check_same_plan(plan_path, plan)
    expected = {shard_name(index, plan.num_shards) for index in range(plan.num_shards)}
    strange = sorted(path.name for path in out.glob("*.parquet") if path.name not in expected)
    if strange:
        raise ShardError(f"{out} holds {strange[0]}, which is not of this run; choose another folder.")
    if not has_plan:
        publish_bytes(plan_path, plan.to_json())
    return None


def adopt(spec: ShardSpec, out: Path) -> CheckedShard | None:
    """A shard that an interrupted run of the same plan has published, None where it has not.

    Raises:
        ShardError: the shard is damaged or of another collection.
    """
    path = out / spec.info.name
    if not path.exists():
        return None
    shard = check_shard(path, expected=spec.info)
    remove_leftovers(path)
    return shard


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
    told = (MANIFEST_NAME, SUMS_NAME, CARD_NAME, STATISTICS_NAME, FAILED_NAME)
    for name in (*told, *shards, PLAN_NAME):
        with write_errors_named(out / name):
            (out / name).unlink(missing_ok=True)
        remove_leftovers(out / name)


def _shard_counts(out: Path) -> set[int]:
    """How many shards the manifest and the plan in `out` tell of; other programs have such files, too."""
    counts = set()
    with contextlib.suppress(OSError, ShardError):
        counts.add(len(read_manifest(out).shards))
    with contextlib.suppress(OSError, ShardError):
        counts.add(read_head(out / PLAN_NAME).num_shards)
    return counts


def _finished(out: Path, plan: Plan) -> Manifest:
    """The manifest of a collection that this plan made, with all of its files there."""
    manifest = read_manifest(out)
    if manifest.plan_fingerprint != plan.fingerprint:
        stored = _stored_plan(out)
        _refuse_resized(out, plan, stored)
        raise ShardError(
            f"{out} already holds a finished collection, made with other options "
            f"({_differences(manifest, plan, stored)}); choose another folder, or replace it (--force)."
        )
    for entry in manifest.shards:
        with write_errors_named(out / entry.name):
            found = (out / entry.name).stat().st_size if (out / entry.name).exists() else None
        if found != entry.num_bytes:
            state = "is missing" if found is None else f"has {found} bytes, not {entry.num_bytes}"
            raise ShardError(
                f"{out} holds a finished collection, but {entry.name} {state}; copy it back, or replace "
                "the collection (--force)."
            )
    return manifest


def _stored_plan(out: Path) -> Plan | None:
    try:
        return Plan.from_json((out / PLAN_NAME).read_bytes())
    except (OSError, ShardError):
        return None


def _differences(manifest: Manifest, plan: Plan, stored: Plan | None) -> str:
    """What is named only in the plan is told from it, where it can still be read."""
    if stored:
        return ", ".join(plan.differences(stored))
    names = plan.collection.differences(manifest.collection) or ["clips_per_shard, source files or texts"]
    return ", ".join(names)


def _refuse_resized(out: Path, plan: Plan, stored: Plan | None) -> None:
    """Refuse a plan of other sizes, without the advice to begin anew: repaired recordings are no other collection."""
    if stored and (names := plan.resized(stored)):
        others = f" and {counted(len(names) - 1, 'other')}" if names[1:] else ""
        raise ShardError(
            f"{names[0]}{others} had another size when {out} was planned; if it failed and was repaired, "
            "rerun_errors=True keeps the rest; if it is another recording now, choose another folder."
        )


def _check_same_plan(path: Path, plan: Plan) -> None:
    try:
        stored = path.read_bytes()
        if stored == plan.to_json():
            return
        found = Plan.from_json(stored)
    except (OSError, ShardError) as error:
        raise ShardError(f"{path} cannot be read: {error}; remove the folder and run again.") from error
    if found.fingerprint != plan.fingerprint:
        _refuse_resized(path.parent, plan, found)
        raise ShardError(
            f"{path.parent} was begun with other options ({', '.join(plan.differences(found))}); "
            "run with the same ones, choose another folder, or begin anew (--force)."
        )
