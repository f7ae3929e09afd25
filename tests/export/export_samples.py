"""A small shard folder with awkward records, and the files of a folder."""

from __future__ import annotations

import numpy as np

from snac_tok.codec import CodecConfig
from snac_tok.shards import (
    CollectionInfo,
    Manifest,
    Record,
    ShardInfo,
    check_shard,
    write_manifest,
    write_shard,
)

CODEC = CodecConfig(
    sampling_rate=24_000,
    encoder_dim=2,
    encoder_rates=(2, 4, 8, 8),
    decoder_dim=16,
    decoder_rates=(8, 8, 4, 2),
    attn_window_size=None,
    vq_strides=(4, 2, 1),
)
INFO = CollectionInfo(
    codec_id="small",
    weights_sha256="ab" * 32,
    codec_config=CODEC.to_dict(),
    sampling_rate=24_000,
    layout={"strides": [4, 2, 1], "order": "depth-first", "levels": 3},
    codebook_size=4096,
    resampler={"name": "soxr", "quality": "HQ"},
    channels="mean",
    package_version="0.1.0",
)
# Names as they come: folders, several dots, signs of all kinds, and one that no path keeps as it is.
NAMES = [["a.wav", "talks/b.tar.gz.flac#1"], [], ["日本/ü ber.mp3", "c//d.wav", "http:e?f=1.wav"]]
TEXTS = {"a.wav": "good morning", "日本/ü ber.mp3": "guten Tag", "http:e?f=1.wav": "good night"}


def record(name, *, num_frames=3, seed=0):
    """A record with random codes, the largest one among them."""
    codes = np.random.default_rng(seed).integers(0, 4096, num_frames * 7, dtype=np.uint16)
    codes[-1:] = 4095
    return Record(
        id=name,
        source=name,
        num_samples=max(num_frames * 2048 - 1500, 0),
        source_sampling_rate=22_050,
        text=TEXTS.get(name),
        codes=codes,
    )


def collection(folder, records, *, info=INFO):
    """A finished shard folder of the given lists of records."""
    folder.mkdir(parents=True, exist_ok=True)
    infos = [
        ShardInfo(collection=info, plan_fingerprint="f00d", index=index, num_shards=len(records))
        for index in range(len(records))
    ]
    for each, rows in zip(infos, records, strict=True):
        write_shard(folder, rows, info=each)
    entries = tuple(check_shard(folder / each.name, expected=each).entry for each in infos)
    write_manifest(folder, Manifest(collection=info, plan_fingerprint="f00d", shards=entries))
    return folder


def files_of(folder):
    """Every file below a folder with its bytes, hidden ones included."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
