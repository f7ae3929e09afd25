"""Writing: exact round trips, counted clipping, and files that are whole or not there."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from snac_tok.audio import Waveform, as_waveform, iter_audio, read_audio, write_audio
from snac_tok.errors import AudioError, AudioFileError, CodesError, SamplingRateError, WaveformError

CLIP = Path(__file__).parents[1] / "speech" / "LJ001-0002.flac"
RATE = 24000


def make(samples, rate=RATE) -> Waveform:
    """A waveform from 1-D or 2-D values."""
    return Waveform(samples=np.atleast_2d(np.asarray(samples, np.float32)), sampling_rate=rate)


@given(
    npst.arrays(np.int16, st.tuples(st.integers(1, 2), st.integers(1, 40))), st.sampled_from(["wav", "flac"])
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_int16_comes_back_exactly(tmp_path, pcm, extension):
    """Law: write then read is the identity on 16-bit sound, the extremes included."""
    path = tmp_path / f"x.{extension}"
    waveform = as_waveform(pcm, sampling_rate=RATE)
    assert write_audio(path, waveform) == 0
    assert np.array_equal(read_audio(path).samples, waveform.samples)
    assert np.array_equal(sf.read(path, dtype="int16", always_2d=True)[0].T, pcm)


@pytest.mark.parametrize(
    ("name", "subtype", "step"),
    [
        ("x.wav", "PCM_U8", 2**-7),
        ("x.flac", "PCM_S8", 2**-7),
        ("x.wav", "PCM_16", 2**-15),
        ("x.wav", "PCM_24", 2**-23),
        ("x.flac", "PCM_24", 2**-23),
        ("x.wav", "PCM_32", 2**-24),
        ("x.wav", "FLOAT", 0),
        ("x.wav", "DOUBLE", 0),
    ],
)
def test_every_subtype_is_within_half_a_step(tmp_path, name, subtype, step):
    """Rounded to the nearest value the subtype has; a second round trip changes nothing."""
    path = tmp_path / name
    speech = read_audio(CLIP)
    write_audio(path, speech, subtype=subtype)
    once = read_audio(path)
    assert sf.info(path).subtype == subtype
    assert np.abs(once.samples - speech.samples).max() <= step / 2
    write_audio(path, once, subtype=subtype)
    assert np.array_equal(read_audio(path).samples, once.samples)


def test_clipping_is_counted_returned_and_logged(tmp_path, caplog):
    """Values beyond ±1 stop at the ends; ±1 itself is not clipping; the log names the file."""
    path = tmp_path / "loud.wav"
    assert write_audio(path, make([1.0, -1.0, 1.5, -7.0, 0.5])) == 2
    top = 32767 / 32768
    assert read_audio(path).samples.tolist() == [[top, -1.0, top, -1.0, 0.5]]
    assert "loud.wav: 2 values" in caplog.text


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_float_files_are_not_clipped(tmp_path, subtype, caplog):
    """What floats can hold they keep."""
    path = tmp_path / "loud.wav"
    assert write_audio(path, make([3.0, -2.0]), subtype=subtype) == 0
    assert read_audio(path).samples.tolist() == [[3.0, -2.0]]
    assert not caplog.records


@pytest.mark.parametrize("name", ["x.wav", "x.flac"])
def test_blocks_write_the_same_bytes_as_the_whole(tmp_path, name):
    """An iterator of blocks, empty ones among them, is the file of the whole recording."""
    speech = read_audio(CLIP)
    write_audio(tmp_path / name, speech)
    blocks = [make(np.zeros((1, 0)), 22050), *iter_audio(CLIP, block_seconds=0.37)]
    write_audio(tmp_path / f"blocks-{name}", iter(blocks))
    assert np.array_equal(read_audio(tmp_path / f"blocks-{name}").samples, speech.samples)
    assert (tmp_path / f"blocks-{name}").read_bytes() == (tmp_path / name).read_bytes()


def test_a_stereo_file_longer_than_a_block(tmp_path):
    """Channels stay in order over the seams."""
    pcm = np.random.default_rng(0).integers(-32768, 32767, (2, 150_001), np.int16, endpoint=True)
    write_audio(tmp_path / "x.flac", as_waveform(pcm, sampling_rate=RATE))
    assert np.array_equal(sf.read(tmp_path / "x.flac", dtype="int16")[0].T, pcm)


@pytest.mark.parametrize(
    "samples",
    [
        np.array([0, 16384], np.int16),
        np.array([[[0.0, 0.5]]], np.float32),
        torch.tensor([[[0.0, 0.5]]], requires_grad=True),
        [0.0, 0.5],
        {"array": [0.0, 0.5], "sampling_rate": RATE},
        make([0.0, 0.5]),
    ],
)
def test_bare_samples_are_written_with_their_rate(tmp_path, samples):
    """Arrays, tensors as a codec decodes them, lists and audio dicts, as soon as the rate is said."""
    assert write_audio(tmp_path / "x.wav", samples, sampling_rate=np.int64(RATE)) == 0
    written = read_audio(tmp_path / "x.wav")
    assert (written.sampling_rate, written.samples.tolist()) == (RATE, [[0.0, 0.5]])


def test_the_rate_may_stand_third_as_elsewhere(tmp_path):
    """Soundfile's order of arguments; a whole float is a rate; blocks may come with theirs, if it agrees."""
    write_audio(tmp_path / "a.wav", np.full(3, 0.5), RATE)
    write_audio(tmp_path / "b.wav", [0.5, 0.5, 0.5], float(RATE))
    write_audio(tmp_path / "c.wav", [make([0.5]), make([0.5, 0.5])], RATE)
    write_audio(tmp_path / "d.wav", iter([make([0.5] * 3)]), sampling_rate=RATE)
    assert len({(tmp_path / f"{name}.wav").read_bytes() for name in "abcd"}) == 1
    with pytest.raises(SamplingRateError, match="24000 Hz, sampling_rate=8000"):
        write_audio(tmp_path / "e.wav", [make([0.5])], 8000)


@pytest.mark.parametrize("rate", [0, -24000, 24000.5, float("nan"), float("inf"), "24000", True, 1])
def test_a_rate_that_is_none_is_one_sentence(tmp_path, rate):
    """The same one as everywhere, before a file is begun."""
    with pytest.raises(SamplingRateError, match="whole number of Hz from 1000 to 768000, got"):
        write_audio(tmp_path / "x.wav", np.zeros(3), rate)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        ([0.0, float("nan")], "1 of 2 samples are NaN or infinite, the first in channel 0 at sample 1"),
        ([0.0, -float("inf")], "NaN or infinite"),
        ([0.0, 12_000.0], "look like 16-bit integers kept as floats; divide them by 32768"),
    ],
)
def test_values_that_are_no_sound_are_not_written(tmp_path, samples, found):
    """Neither clipped nor written as zeros."""
    with pytest.raises(WaveformError, match=found):
        write_audio(tmp_path / "x.wav", samples, RATE)
    assert list(tmp_path.iterdir()) == []


def test_the_rows_of_an_array_are_the_channels_of_the_file(tmp_path):
    """Four rows are four channels: nothing is mixed here."""
    quad = np.arange(8).reshape(4, 2) / 8
    write_audio(tmp_path / "x.wav", quad, RATE)
    assert np.array_equal(read_audio(tmp_path / "x.wav").samples, quad)


def test_a_waveform_saves_itself(tmp_path):
    """As write_audio does: the bytes, the count of clipped values, the refusals."""
    loud = make([0.5, 1.5])
    assert loud.save(tmp_path / "a.wav") == 1
    write_audio(tmp_path / "b.wav", loud)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert loud.save(tmp_path / "c.wav", subtype="FLOAT") == 0
    with pytest.raises(AudioFileError, match="there is no folder"):
        loud.save(tmp_path / "none" / "a.wav")
    with pytest.raises(AudioFileError, match=r"only .wav and .flac"):
        loud.save(tmp_path / "a.mp3")


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        (np.zeros(3, np.float32), "ndarray of float32"),
        (np.zeros((1, 1, 3)), "ndarray of ndarray"),
        (torch.zeros(1, 1, 3), "Tensor of Tensor"),
        (torch.tensor(0.0), "Tensor"),
        ([0.0, 0.5], "list of float"),
        ("other.wav", "str of str"),
        (3, "int"),
        (None, "NoneType"),
    ],
)
def test_bare_samples_without_a_rate_are_one_sentence(tmp_path, samples, found):
    """It names what came and both cures, and no file is begun."""
    with pytest.raises(WaveformError, match=rf"x\.wav: .*got {found}; pass .*sampling_rate=.*as_waveform\("):
        write_audio(tmp_path / "x.wav", samples)
    assert list(tmp_path.iterdir()) == []


def test_a_rate_that_contradicts_the_waveform_is_refused(tmp_path):
    """No silent relabelling, and samples that are none are refused before a file is begun."""
    with pytest.raises(SamplingRateError, match="24000 Hz, sampling_rate=48000"):
        write_audio(tmp_path / "x.wav", make([0.0]), sampling_rate=48000)
    with pytest.raises(WaveformError, match="one by one"):
        write_audio(tmp_path / "x.wav", np.zeros((2, 1, 3)), sampling_rate=RATE)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_refused(tmp_path):
    """Other extensions, subtypes the format lacks, nothing to write, too many channels for FLAC."""
    one = make([0.0])
    with pytest.raises(AudioFileError, match=r"only .wav and .flac files are written, got '.mp3'"):
        write_audio(tmp_path / "x.mp3", one)
    with pytest.raises(AudioError, match="FLAC files are written as PCM_S8, PCM_16, PCM_24, got 'FLOAT'"):
        write_audio(tmp_path / "x.flac", one, subtype="FLOAT")
    with pytest.raises(AudioError, match="got 'ULAW'"):
        write_audio(tmp_path / "x.wav", one, subtype="ULAW")
    for nothing in ([], make(np.zeros((1, 0)))):
        with pytest.raises(AudioFileError, match=r"x\.wav: there is nothing to write"):
            write_audio(tmp_path / "x.wav", nothing)
    with pytest.raises(
        AudioFileError, match=r"x\.flac: soundfile cannot write it \(Format not recogn"
    ) as caught:
        write_audio(tmp_path / "x.flac", make(np.zeros((9, 5))))
    assert "object at" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_blocks_of_one_file_share_rate_and_channels(tmp_path):
    """A change midway is refused and leaves no file."""
    for other in (make([0.0], 16000), make([[0.0], [0.0]])):
        with pytest.raises(AudioFileError, match="share rate and channels"):
            write_audio(tmp_path / "x.wav", [make([0.0]), other])
    assert list(tmp_path.iterdir()) == []


def test_a_wav_beyond_four_gib_is_refused(tmp_path, monkeypatch):
    """RIFF lengths have 32 bits: the header would wrap around. FLAC has no such end."""
    monkeypatch.setattr("snac_tok.audio.encoding._MAX_WAV_BYTES", 1999)
    with pytest.raises(AudioFileError, match=r"at most 4 GiB: write a .flac"):
        write_audio(tmp_path / "x.wav", make(np.zeros(1000)))
    assert write_audio(tmp_path / "x.flac", make(np.zeros(1000))) == 0


def only_the_old_file_is_left(path, old):
    """Whether the folder holds the file as it was, and nothing else."""
    return path.read_bytes() == old and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["x.wav", "x.flac"])
def test_a_write_that_fails_keeps_the_old_file(tmp_path, name):
    """The kernel refuses to grow the file: old bytes stay, no rubbish, the file and the reason are named."""
    path = tmp_path / name
    write_audio(path, make([0.5]))
    old = path.read_bytes()
    noise = make(np.random.default_rng(0).uniform(-1, 1, 300_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(AudioFileError, match=rf"{name}: cannot be written \(File too large\)"):
            write_audio(path, noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert only_the_old_file_is_left(path, old)


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace"])
def test_a_full_disk_at_the_end_keeps_the_old_file(tmp_path, monkeypatch, call):
    """ENOSPC may only show at fsync, or at the rename."""
    path = tmp_path / "x.wav"
    write_audio(path, make([0.5]))
    old = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(call, full)
    with pytest.raises(AudioFileError, match=r"x\.wav: cannot be written \(No space left on device\)"):
        write_audio(path, make([0.1]))
    assert only_the_old_file_is_left(path, old)


def test_an_error_in_the_source_of_blocks_passes_unchanged(tmp_path):
    """A decoder that fails midway is not reported as a file that cannot be written."""
    path = tmp_path / "x.wav"
    write_audio(path, make([0.5]))
    old = path.read_bytes()

    def blocks():
        yield make([0.1])
        raise CodesError("level 1 is short")

    with pytest.raises(CodesError, match="level 1 is short"):
        write_audio(path, blocks())
    assert only_the_old_file_is_left(path, old)


def test_missing_folders_and_folders_as_targets(tmp_path):
    """The operating system's reason, with the name, and what to do about a folder that is not there."""
    with pytest.raises(AudioFileError, match=r"No such file or directory\); there is no folder .*none: make"):
        write_audio(tmp_path / "none" / "x.wav", make([0.0]))
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(AudioFileError, match="directory"):
        write_audio(tmp_path / "folder.wav", make([0.0]))
    assert [path.name for path in tmp_path.iterdir()] == ["folder.wav"]


def test_the_file_has_ordinary_permissions(tmp_path):
    """As if it had been opened for writing: the umask decides, not a temporary file's 0600."""
    (tmp_path / "other").write_bytes(b"")
    write_audio(tmp_path / "x.wav", make([0.0]))
    assert (tmp_path / "x.wav").stat().st_mode == (tmp_path / "other").stat().st_mode
