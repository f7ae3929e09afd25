"""How deep a public call stands above the codec: every frame more is one more to walk through when something fails."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from torch.utils._python_dispatch import TorchDispatchMode

import snac_tok
from snac_tok import SnacMapper, SnacTokenizer
from snac_tok.corpus import shard_folder

ROOT = Path(snac_tok.__file__).parent
PRODUCTS = ("conv", "mm", "linear")


class FirstProduct(TorchDispatchMode):
    """Keeps the rooms of this package's frames at the first matrix product, outermost first."""

    def __init__(self):
        super().__init__()
        self.rooms = []

    def __torch_dispatch__(self, operation, _types, args=(), kwargs=None):
        """Walk up the stack once."""
        if not self.rooms and any(name in str(operation) for name in PRODUCTS):
            frame = sys._getframe(1)
            while frame:
                if ROOT in (path := Path(frame.f_code.co_filename)).parents:
                    self.rooms.insert(0, path.relative_to(ROOT).parts[0])
                frame = frame.f_back
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize(("door", "most"), [("mapper", 3), ("shards", 4)])
def test_few_frames_stand_above_the_codec(tmp_path, door, most):
    """From `SnacMapper.__call__` and `shard_folder` to `SNAC.encode_batch`."""
    if door == "mapper":
        mapper, sound = SnacMapper("tiny", sampling_rate=24_000), np.zeros(24_000, np.float32)
        with FirstProduct() as found:
            mapper({"audio": [sound]})
    else:
        tokenizer = SnacTokenizer.from_pretrained("tiny")
        with FirstProduct() as found:
            shard_folder("tests/speech", tmp_path / "out", tokenizer)
    assert 0 < found.rooms.index("codec") <= most, found.rooms
