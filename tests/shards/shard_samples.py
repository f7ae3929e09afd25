"""Small collections for the tests of this folder: infos, records and folders of shards."""

from __future__ import annotations

import dataclasses

import numpy as np

from snac_tok.shards import (
    CollectionInfo,
    Manifest,
    Record,
    ShardInfo,
    check_shard,
    write_manifest,
    write_shard,
)

COLLECTION = CollectionInfo(
    codec_id="tiny",
    weights_sha256="ab" * 32,
    codec_config={"vq_strides": [4, 2, 1], "noise": True, "attn_window_size": None},
    sampling_rate=24000,
    layout={"strides": [4, 2, 1], "order": "depth-first", "levels": 3},
    codebook_size=4096,
    resampler={"name": "soxr", "quality": "HQ"},
    channels="mean",
    package_version="0.1.0",
)


def shard_info(index=0, num_shards=1, **changes):
    """Which shard of `COLLECTION`, changed as named."""
    collection = dataclasses.replace(COLLECTION, **changes)
    return ShardInfo(collection=collection, plan_fingerprint="f00d", index=index, num_shards=num_shards)


def make_record(name, *, num_frames=3, seed=0, text=None):
    """A record with random codes."""
    codes = np.random.default_rng(seed).integers(0, 4096, num_frames * 7, dtype=np.uint16)
    return Record(
        id=name,
        source=name,
        num_samples=num_frames * 2048 - 17,
        source_sampling_rate=22050,
        text=text,
        codes=codes,
    )


def fields(record):
    """What two equal records have in common."""
    return (
        record.id,
        record.source,
        record.num_samples,
        record.source_sampling_rate,
        record.text,
        record.codes.dtype,
        record.codes.tolist(),
    )


def write_collection(folder, shards, *, failures=()):
    """A finished collection of the given lists of records; failures go to the first shard."""
    infos = [shard_info(index, len(shards)) for index in range(len(shards))]
    for info, records in zip(infos, shards, strict=True):
        write_shard(folder, records, info=info, failures=list(failures) if info.index == 0 else [])
    entries = tuple(check_shard(folder / info.name, expected=info).entry for info in infos)
    write_manifest(folder, Manifest(collection=COLLECTION, plan_fingerprint="f00d", shards=entries))
    return folder
