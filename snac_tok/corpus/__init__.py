"""Audio collections to shards: sources, plan, the only work loop, and the run that ties them together."""

from snac_tok.corpus.folder import FAILED_NAME, PLAN_NAME, prepare_folder, remove_collection
from snac_tok.corpus.plan import DEFAULT_CLIPS_PER_SHARD, Plan, ShardSpec, make_plan
from snac_tok.corpus.run import Progress, Summary, finish, shard_folder
from snac_tok.corpus.sources import AUDIO_EXTENSIONS, SourceItem, list_sources
from snac_tok.corpus.texts import find_texts, match_texts
from snac_tok.corpus.worker import BatchDone, BatchLimits, Encoder, encode_shard

__all__ = [
    "AUDIO_EXTENSIONS",
    "DEFAULT_CLIPS_PER_SHARD",
    "FAILED_NAME",
    "PLAN_NAME",
    "BatchDone",
    "BatchLimits",
    "Encoder",
    "Plan",
    "Progress",
    "ShardSpec",
    "SourceItem",
    "Summary",
    "encode_shard",
    "find_texts",
    "finish",
    "list_sources",
    "make_plan",
    "match_texts",
    "prepare_folder",
    "remove_collection",
    "shard_folder",
]
