"""Upstream's `snac.snac`."""

from snac_tok.codec import SNAC

__all__ = ["SNAC"]
