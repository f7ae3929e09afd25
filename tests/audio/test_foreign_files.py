"""What libsndfile does not decode: through torchcodec, through the program ffmpeg, or a sentence that names both."""

from __future__ import annotations

import io
import shutil
import stat
import subprocess
import sys
from contextlib import suppress
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import torch
from sound_files import NUM_SAMPLES, encoded, mp3, speech, without_xing

from snac_tok.audio import audio_info, ffmpeg_program, iter_audio, read_audio
from snac_tok.errors import AudioFileError

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the program ffmpeg is not here")
# What ffmpeg is told to write: file name → options. Its own encoders, which every build has.
WRITTEN = {
    "phone.m4a": ("-c:a", "aac"),
    "stream.aac": ("-c:a", "aac"),
    "alac.m4a": ("-c:a", "alac"),
    "browser.webm": ("-c:a", "opus", "-strict", "-2"),
    "old.wma": ("-c:a", "wmav2"),
    "any.mka": ("-c:a", "pcm_s16le"),
    "flac.oga": ("-c:a", "flac"),
}
MP4 = b"\0\0\0\x1cftypM4A \0\0\2\0M4A isomiso2" + bytes(100)
# Stands for ffmpeg: says what it was asked for, writes an AU header and as many samples as the file has bytes.
FAKE = """\
import pathlib, struct, sys, time
arguments = sys.argv[1:]
path = pathlib.Path(arguments[arguments.index("-i") + 1].removeprefix("file:"))
content = path.read_bytes()
pathlib.Path(__file__).with_name("asked").write_text(" ".join(arguments))
sys.stderr.write("[info]   Duration: 00:00:01.50, start: 0.0\\n[info]   Stream #0:0: Audio: aac (LC), 24000 Hz\\n")
sys.stderr.flush()
if b"silent" in content:
    time.sleep(60)
if b"nothing" in content:
    sys.exit("[mov @ 0x1] [error] moov atom not found")
out = sys.stdout.buffer
out.write(struct.pack(">4s5I", b".snd", 32, 0xFFFFFFFF, 6, 24000, 2) + bytes(8))
for k in range(len(content)):
    out.write(struct.pack(">2f", k / 1000, -k / 1000))
if b"damaged" in content:
    sys.exit("[aac @ 0x2] [error] Input buffer exhausted before END element found")
"""


@pytest.fixture
def fake_ffmpeg(tmp_path, monkeypatch):
    """A program of that name, the only one, and no torchcodec."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "ffmpeg"
    program.write_text(f"#!{sys.executable}\n{FAKE}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    return folder


@pytest.fixture
def written(tmp_path):
    """Write the speech by the real program."""

    def write(name, num_channels=1):
        wav = tmp_path / "speech.wav"
        wav.write_bytes(encoded("WAV", "PCM_16", num_channels=num_channels))
        path = tmp_path / name
        command = ["ffmpeg", "-v", "error", "-y", "-i", wav, *WRITTEN[name], path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"this ffmpeg cannot write it: {done.stderr.strip()}")
        return path

    return write


@needs_ffmpeg
@pytest.mark.parametrize("name", WRITTEN)
def test_what_ffmpeg_reads_is_read(written, monkeypatch, name):
    """By path, as bytes and in blocks: the same samples; the header's claim is near."""
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    path = written(name)
    read = read_audio(path)
    assert read.sampling_rate in (24_000, 48_000)
    assert read.duration_seconds == pytest.approx(NUM_SAMPLES / 24_000, abs=0.1)
    info = audio_info(path)
    assert (info.sampling_rate, info.num_channels) == (read.sampling_rate, 1)
    assert info.duration_seconds == pytest.approx(read.duration_seconds, abs=0.15)
    assert np.array_equal(read_audio(path.read_bytes()).samples, read.samples)
    blocks = [block.samples for block in iter_audio(path, block_seconds=0.1)]
    assert np.array_equal(np.concatenate(blocks, axis=1), read.samples)
    assert len(blocks) > 5


@needs_ffmpeg
@pytest.mark.parametrize("name", ["alac.m4a", "any.mka", "flac.oga"])
def test_lossless_sound_comes_out_exactly(written, monkeypatch, name):
    """Two channels, in order."""
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    expected = read_audio(encoded("WAV", "PCM_16", num_channels=2)).samples
    assert np.array_equal(read_audio(written(name, num_channels=2)).samples, expected)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["phone.m4a", "stream.aac", "browser.webm", "old.wma"])
def test_a_cut_file_is_refused_here_too(written, monkeypatch, name):
    """Ffmpeg itself only reports it and goes on."""
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    path = written(name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    for source in (path, path.read_bytes()):
        with pytest.raises(AudioFileError):
            read_audio(source)
    if name != "phone.m4a":  # whose index stood at its end
        assert 0 < read_audio(path, allow_truncated=True).duration_seconds < NUM_SAMPLES / 24_000


@pytest.mark.parametrize("beginning", [MP4, b"\x1a\x45\xdf\xa3", b"\xff\xf1\x50\x80", b"#!AMR\n"])
def test_without_ffmpeg_a_sentence_names_both_ways(tmp_path, monkeypatch, beginning):
    """As a refusal of the file, which a run over many files notes before it goes on."""
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "phone.m4a"
    path.write_bytes(beginning + bytes(100))
    for read in (read_audio, audio_info, lambda source: next(iter_audio(source))):
        with pytest.raises(
            AudioFileError,
            match=r"phone\.m4a: .* install the program ffmpeg .* or the package torchcodec, or c",
        ):
            read(path)


def test_torchcodec_comes_first_where_it_loads(tmp_path, monkeypatch):
    """The program is not started then; blocks are parts of the whole."""
    decoded = SimpleNamespace(data=torch.arange(10.0)[None] / 10, sample_rate=16_000)
    about = SimpleNamespace(sample_rate=16_000, num_channels=1, codec="aac", duration_seconds=0.000625)
    decoder = SimpleNamespace(get_all_samples=lambda: decoded, metadata=about)
    package, decoders = ModuleType("torchcodec"), ModuleType("torchcodec.decoders")
    decoders.AudioDecoder = lambda _target: decoder
    monkeypatch.setitem(sys.modules, "torchcodec", package)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "phone.m4a"
    path.write_bytes(MP4)
    assert np.array_equal(read_audio(path).samples, decoded.data.numpy())
    assert [block.num_samples for block in iter_audio(path, block_seconds=4 / 16_000)] == [4, 4, 2]
    info = audio_info(path)
    assert (info.sampling_rate, info.num_samples, info.subtype) == (16_000, 10, "AAC")


def test_the_program_is_told_how_to_read_and_reaches_nothing_else(tmp_path, fake_ffmpeg):
    """No guessing of formats, no network, no terminal; samples come in order and by channel."""
    path = tmp_path / "-odd name;.m4a"
    path.write_bytes(MP4)
    read = read_audio(path)
    assert read.samples.tolist() == [
        [np.float32(sign * k / 1000) for k in range(len(MP4))] for sign in (1, -1)
    ]
    asked = (fake_ffmpeg / "asked").read_text()
    assert f"-protocol_whitelist file -f mov -i file:{path}" in asked
    assert "-nostdin" in asked
    assert [block.num_samples for block in iter_audio(path, block_seconds=50 / 24_000)] == [
        50,
        50,
        len(MP4) - 100,
    ]
    info = audio_info(path)
    assert (info.num_samples, info.file_format, info.subtype) == (36_000, "MP4", "AAC")


def test_what_the_program_reports_is_one_sentence(tmp_path, fake_ffmpeg):
    """No sound at all; and damage, which is passed over only where that is allowed."""
    assert fake_ffmpeg.is_dir()
    path = tmp_path / "phone.m4a"
    path.write_bytes(MP4 + b"nothing")
    with pytest.raises(AudioFileError, match=r"cannot be read as MP4 \(moov atom not found\)\.$"):
        read_audio(path)
    path.write_bytes(MP4 + b"damaged")
    for read in (read_audio, lambda source: list(iter_audio(source))):
        with pytest.raises(AudioFileError, match=r"ffmpeg: Input buffer exhausted .*allow_truncated=True"):
            read(path)
    assert read_audio(path, allow_truncated=True).num_samples == len(MP4) + 7


def test_a_program_that_gives_nothing_is_stopped(tmp_path, fake_ffmpeg, monkeypatch):
    """A file must not hold up a run over many."""
    assert fake_ffmpeg.is_dir()
    monkeypatch.setattr(ffmpeg_program, "_STALL_SECONDS", 0.3)
    path = tmp_path / "phone.m4a"
    path.write_bytes(MP4 + b"silent")
    with pytest.raises(AudioFileError, match=r"gave nothing for 0\.3 s and was stopped"):
        read_audio(path)


def test_soundfile_alone_can_be_asked_for(tmp_path, fake_ffmpeg):
    """Then ffmpeg is not started."""
    path = tmp_path / "phone.m4a"
    path.write_bytes(MP4)
    with pytest.raises(AudioFileError, match="leave the backend out"):
        read_audio(path, backend="soundfile")
    assert not (fake_ffmpeg / "asked").exists()


def test_ordinary_files_start_no_program(tmp_path, fake_ffmpeg):
    """Nor do damaged ones: what libsndfile knows, it judges."""
    for name, content in (
        ("a.wav", encoded("WAV", "PCM_16")),
        ("a.flac", encoded("FLAC", "PCM_16")),
        ("a.txt", b"hello " * 100),
        ("b.wav", encoded("WAV", "PCM_16")[:40]),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with suppress(AudioFileError):
            read_audio(path)
        assert not (fake_ffmpeg / "asked").exists()


def test_mp3_in_a_wav_is_read(tmp_path):
    """Libsndfile decodes it; its length counts the encoder's padding, which is no sign of a cut."""
    data = without_xing(mp3())
    form = (0x55).to_bytes(2, "little") + (1).to_bytes(2, "little") + (24_000).to_bytes(4, "little")
    form += (8_000).to_bytes(4, "little") + (1).to_bytes(2, "little") + bytes(2) + (12).to_bytes(2, "little")
    form += (1).to_bytes(2, "little") + (2).to_bytes(4, "little") + (576).to_bytes(2, "little") * 2 + bytes(2)
    chunks = b"fmt " + len(form).to_bytes(4, "little") + form
    chunks += b"fact" + (4).to_bytes(4, "little") + (NUM_SAMPLES + 1500).to_bytes(4, "little")
    chunks += b"data" + len(data).to_bytes(4, "little") + data
    content = b"RIFF" + (4 + len(chunks)).to_bytes(4, "little") + b"WAVE" + chunks
    path = tmp_path / "inside.wav"
    path.write_bytes(content)
    read = read_audio(path)
    assert read.num_samples == pytest.approx(NUM_SAMPLES, abs=2304)
    assert np.array_equal(read_audio(content).samples, read.samples)
    delay = np.correlate(read.samples[0], speech()[:, 0], "full").argmax() - NUM_SAMPLES + 1
    assert 0 <= delay < 2304
    assert audio_info(path).subtype == "MPEG_LAYER_III"
    with pytest.raises(AudioFileError, match="cut off"):
        read_audio(content[: len(content) * 2 // 3])
    assert sf.SoundFile(io.BytesIO(content)).format == "WAV"
