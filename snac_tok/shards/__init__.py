"""The on-disk format: self-describing Parquet shards of raw codes.

    folder/
    ├── train-00000-of-00003.parquet    records, with codec, layout and failures in the footer
    ├── …
    └── _manifest.json                  counts and checksums; written last

Other readers of Parquet folders expect these names: `datasets` takes `train-` as the split, and pandas, pyarrow,
dask, Spark and `datasets` ignore files whose names begin with `_` (docs/shards.md).

One clip's codes can also be stored in an .npz file (`CodeFile`).

Nothing here runs a network or reads sound: integers in, integers out.
"""

from snac_tok.shards.code_file import CodeFile, read_code_file, write_code_file
from snac_tok.shards.info import FORMAT_VERSION, CollectionInfo, ShardInfo, shard_name
from snac_tok.shards.manifest import MANIFEST_NAME, Manifest, read_manifest, write_manifest
from snac_tok.shards.reader import ShardCollection, ShardFault, open_shards, read_shards
from snac_tok.shards.record import SCHEMA, Record, raw_codes
from snac_tok.shards.shard_file import CheckedShard, ShardEntry, ShardFile, check_info, check_shard
from snac_tok.shards.writer import ShardWriter, write_shard
from snac_tok.sources.failures import Failure

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "SCHEMA",
    "CheckedShard",
    "CodeFile",
    "CollectionInfo",
    "Failure",
    "Manifest",
    "Record",
    "ShardCollection",
    "ShardEntry",
    "ShardFault",
    "ShardFile",
    "ShardInfo",
    "ShardWriter",
    "check_info",
    "check_shard",
    "open_shards",
    "raw_codes",
    "read_code_file",
    "read_manifest",
    "read_shards",
    "shard_name",
    "write_code_file",
    "write_manifest",
    "write_shard",
]
