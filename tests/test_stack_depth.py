"""How far it is from a public call to the first matrix product: few frames of ours, so that a reader can follow."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import snac_tok
from snac_tok import SNAC, SnacMapper, SnacTokenizer, Waveform, write_audio
from snac_tok.corpus import shard_folder

# With several threads a job begins on a stack of its own.
pytestmark = pytest.mark.usefixtures("one_thread")

PACKAGE = str(Path(snac_tok.__file__).parent)
PRODUCTS = ("aten::convolution", "aten::mm", "aten::addmm", "aten::bmm", "mkldnn::_linear_pointwise")


class FirstProduct(TorchDispatchMode):
    """Notes the functions of ours that are on the stack at the first matrix product or convolution."""

    def __init__(self):
        super().__init__()
        self.frames = []

    def __torch_dispatch__(self, func, _types, args=(), kwargs=None):
        """Let the operator run."""
        if not self.frames and func.name().startswith(PRODUCTS):
            frame = sys._getframe()
            while frame is not None:
                if frame.f_code.co_filename.startswith(PACKAGE):
                    self.frames.append(frame.f_code.co_qualname)
                frame = frame.f_back
        return func(*args, **(kwargs or {}))


def depth_of(call):
    """Return the frames of ours below the first product of a call, the innermost first."""
    with FirstProduct() as first:
        call()
    assert first.frames
    return first.frames


@pytest.fixture(scope="module")
def codec():
    """The trial codec."""
    return SNAC.from_pretrained("tiny")


def test_the_codec_is_eight_frames_deep(codec):
    """From encode and decode to the first product; batches and streams of blocks are two deeper at most."""
    audio = torch.zeros(1, 1, 5_000)
    codes = codec.encode(audio)
    for call in (lambda: codec.encode(audio), lambda: codec.decode(codes, noise=0)):
        frames = depth_of(call)
        assert len(frames) <= 8, frames
    for call in (
        lambda: codec.encode_batch([audio[0]]),
        lambda: list(codec.encode_blocks([audio])),
        lambda: list(codec.decode_blocks(codes, noise=0)),
    ):
        frames = depth_of(call)
        assert len(frames) <= 10, frames


@pytest.mark.filterwarnings("ignore::snac_tok.errors.TrialCodecWarning")
def test_mapping_is_twelve_frames_deep():
    """From a batch of rows to the first product."""
    mapper = SnacMapper("tiny", preset="orpheus")
    batch = {"audio": [{"array": np.zeros(5_000, np.float32), "sampling_rate": 24_000}]}
    mapper(batch)  # loads the codec
    frames = depth_of(lambda: mapper(batch))
    assert len(frames) <= 12, frames


@pytest.mark.filterwarnings("ignore::snac_tok.errors.TrialCodecWarning")
def test_sharding_is_twelve_frames_deep(tmp_path):
    """From a folder of recordings to the first product."""
    (tmp_path / "recordings").mkdir()
    silence = Waveform(samples=np.zeros((1, 5_000), np.float32), sampling_rate=24_000)
    write_audio(tmp_path / "recordings" / "a.wav", silence)
    tok = SnacTokenizer.from_pretrained("tiny", preset="orpheus")
    tok(silence)  # weights are arranged once, at the first clip
    frames = depth_of(lambda: shard_folder(tmp_path / "recordings", tmp_path / "shards", tok))
    assert len(frames) <= 12, frames
