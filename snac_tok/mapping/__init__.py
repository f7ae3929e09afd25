"""Hugging Face datasets with sound to datasets with codes, ids or training sequences, exactly and cached.

`tokenize_dataset` does it in one call; `SnacMapper` is the callable for your own `map`. The `datasets` library is
imported when it is needed. Folders of files are read by `corpus`, not here.
"""

from __future__ import annotations

from snac_tok.mapping.mapper import SnacMapper
from snac_tok.mapping.tokenize import tokenize_dataset

__all__ = ["SnacMapper", "tokenize_dataset"]
