"""Audio collections to shards: plan, the only work loop, and the run that ties them together."""

from snac_tok.corpus.estimate import Estimate, estimate_folder
from snac_tok.corpus.finishing import MadeShards
from snac_tok.corpus.folder import FAILED_NAME, PLAN_NAME, prepare_folder, remove_collection
from snac_tok.corpus.merging import merge_shards
from snac_tok.corpus.plan import (
    DEFAULT_CLIPS_PER_SHARD,
    Plan,
    PlannedFile,
    PlanOptions,
    ShardSpec,
    make_plan,
)
from snac_tok.corpus.progress import Progress
from snac_tok.corpus.ray_engine import RayEngine
from snac_tok.corpus.result import ShardingResult
from snac_tok.corpus.run import shard_folder
from snac_tok.corpus.status import CollectionStatus, collection_status, verify_collection
from snac_tok.corpus.worker import BatchDone, BatchLimits, SoundEncoder, encode_shard

__all__ = [
    "DEFAULT_CLIPS_PER_SHARD",
    "FAILED_NAME",
    "PLAN_NAME",
    "BatchDone",
    "BatchLimits",
    "CollectionStatus",
    "Estimate",
    "MadeShards",
    "Plan",
    "PlanOptions",
    "PlannedFile",
    "Progress",
    "RayEngine",
    "ShardSpec",
    "ShardingResult",
    "SoundEncoder",
    "collection_status",
    "encode_shard",
    "estimate_folder",
    "make_plan",
    "merge_shards",
    "prepare_folder",
    "remove_collection",
    "shard_folder",
    "verify_collection",
]
