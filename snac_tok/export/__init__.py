"""Shards in the formats of other programs, for training: Parquet, JSON lines, Megatron, datatrove, WebDataset, Lhotse.

docs/exports.md says what each format holds and how trainers name it. Shards stay as they are; ids are made on the way.
"""

from snac_tok.export.folder import EXPORT_NAME, LEFT_OUT_NAME
from snac_tok.export.formats import FORMATS
from snac_tok.export.run import ExportReport, export_shards

__all__ = ["EXPORT_NAME", "FORMATS", "LEFT_OUT_NAME", "ExportReport", "export_shards"]
