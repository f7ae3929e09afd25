"""Long files go block by block: the same bytes, and never whole in memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from toy_encoder import ToyEncoder, files_of, write_speechlike_folder, write_tone

from snac_tok.audio import OpenAudio
from snac_tok.corpus import BatchLimits, shard_folder
from snac_tok.shards import read_shards
from snac_tok.tokenizer import SnacTokenizer

SPEECH = Path(__file__).parent.parent / "speech"


@pytest.fixture
def source(tmp_path):
    """Nine mono files of 0.1 to 1.14 s and a stereo one of 2 s."""
    write_speechlike_folder(tmp_path / "source")
    write_tone(tmp_path / "source" / "b" / "stereo.wav", seconds=2, channels=2)
    return tmp_path / "source"


@pytest.mark.parametrize("channels", ["mean", "left", "right", "each"])
@pytest.mark.parametrize("long_seconds", [0, 0.5])
def test_a_lower_limit_changes_no_byte(source, tmp_path, monkeypatch, channels, long_seconds):
    """All files, or the longer ones between short ones, in order, whatever becomes of their channels."""
    blocks = OpenAudio.blocks
    monkeypatch.setattr(OpenAudio, "blocks", lambda audio: blocks(audio, block_seconds=0.11))
    usual, blockwise = ToyEncoder(channels=channels), ToyEncoder(channels=channels)
    shard_folder(source, tmp_path / "usual", usual, clips_per_shard=4)
    limits = BatchLimits(long_seconds=long_seconds)
    shard_folder(source, tmp_path / "blocks", blockwise, clips_per_shard=4, limits=limits)
    assert files_of(tmp_path / "blocks") == files_of(tmp_path / "usual")
    assert usual.blocks == []
    assert max(blockwise.blocks) == 19
    assert (sum(blockwise.batches) == 0) == (long_seconds == 0)


@pytest.mark.parametrize("channels", ["mean", "each"])
def test_the_tokenizer_on_speech(tmp_path, channels):
    """The real codec and resampler: real speech, mono and stereo, gives byte-equal shards."""
    samples, rate = soundfile.read(SPEECH / "LJ001-0002.flac", dtype="float32")
    (tmp_path / "source").mkdir()
    shutil.copy(SPEECH / "LJ001-0002.flac", tmp_path / "source")
    stereo = np.stack([samples[:16_000], -0.5 * samples[16_000:32_000]], axis=1)
    soundfile.write(tmp_path / "source" / "stereo.wav", stereo, rate)
    tokenizer = SnacTokenizer.from_pretrained("tiny")

    options = {"encoder": tokenizer, "channels": channels}
    shard_folder(tmp_path / "source", tmp_path / "usual", **options)
    limits = BatchLimits(long_seconds=0)
    shard_folder(tmp_path / "source", tmp_path / "blocks", **options, limits=limits)
    assert files_of(tmp_path / "blocks") == files_of(tmp_path / "usual")


def test_long_files_are_not_read_whole(tmp_path, monkeypatch):
    """Above the limit of ten minutes only blocks are read; at the limit the file is read as ever."""
    write_tone(tmp_path / "source" / "long.wav", seconds=600.001, sampling_rate=1000)
    write_tone(tmp_path / "source" / "short.wav", seconds=600, sampling_rate=1000)
    read = OpenAudio.read

    def read_short(audio):
        assert audio.info.num_samples == 600_000
        return read(audio)

    monkeypatch.setattr(OpenAudio, "read", read_short)
    encoder = ToyEncoder()
    shard_folder(tmp_path / "source", tmp_path / "out", encoder)
    assert [record.id for record in read_shards(tmp_path / "out")] == ["long.wav", "short.wav"]
    assert len(encoder.blocks) == 1
    assert encoder.blocks[0] > 1


def test_bad_long_files_are_failures_like_any_other(tmp_path):
    """Cut off, no sound, refused by the encoder: the same reasons, and the good one remains."""
    source = tmp_path / "source"
    write_tone(source / "good.wav")
    write_tone(source / "silent.wav", level=0)
    (source / "cut.wav").write_bytes((source / "good.wav").read_bytes()[:5000])
    (source / "text.wav").write_text("no sound")
    shard_folder(source, tmp_path / "usual", ToyEncoder())
    summary = shard_folder(source, tmp_path / "blocks", ToyEncoder(), limits=BatchLimits(long_seconds=0))
    assert (summary.num_clips, summary.num_failures) == (1, 3)
    assert files_of(tmp_path / "blocks") == files_of(tmp_path / "usual")


def test_progress_counts_long_files(source, tmp_path):
    """Each goes alone, with its length."""
    seen = []
    limits = BatchLimits(long_seconds=0)
    shard_folder(source, tmp_path / "out", ToyEncoder(), limits=limits, progress=seen.append)
    assert [state.done_files for state in seen] == list(range(1, 11))
    assert seen[-1].done_bytes == seen[-1].total_bytes
    assert seen[-1].duration_seconds == pytest.approx(2 + sum(0.1 + 0.13 * k for k in range(9)), rel=0.01)
