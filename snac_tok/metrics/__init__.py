"""Pure functions that put figures on sound and codes."""

from snac_tok.metrics.usage import CodebookUsage, LevelUsage

__all__ = ["CodebookUsage", "LevelUsage"]
