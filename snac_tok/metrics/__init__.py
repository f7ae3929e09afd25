"""Pure functions that put figures on sound and codes."""

from snac_tok.metrics.usage import CodebookUsage, LevelUsage, codebook_usage

__all__ = ["CodebookUsage", "LevelUsage", "codebook_usage"]
