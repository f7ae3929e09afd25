"""Reading: every format whole and in blocks, and every hostile file refused with its name and reason."""

from __future__ import annotations

import io
import os
import struct
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import torch

from snac_tok.audio import audio_info, iter_audio, read_audio
from snac_tok.errors import AudioError, AudioFileError, MissingDependencyError

SPEECH = Path(__file__).parents[1] / "speech"
CLIP = SPEECH / "LJ001-0002.flac"
FORMATS = {
    "u8.wav": ("WAV", "PCM_U8", 22050, 2**-7),
    "16.wav": ("WAV", "PCM_16", 22050, 2**-15),
    "24.wav": ("WAV", "PCM_24", 22050, 2**-15),
    "32.wav": ("WAV", "PCM_32", 22050, 2**-15),
    "float.wav": ("WAV", "FLOAT", 22050, 0.0),
    "16.flac": ("FLAC", "PCM_16", 22050, 2**-15),
    "rf64.wav": ("RF64", "PCM_16", 22050, 2**-15),
    "vorbis.ogg": ("OGG", "VORBIS", 22050, None),
    "opus48.opus": ("OGG", "OPUS", 48000, None),
    "opus24.opus": ("OGG", "OPUS", 24000, None),
    "mp3.mp3": ("MP3", "MPEG_LAYER_III", 22050, None),
    "mp3_44.mp3": ("MP3", "MPEG_LAYER_III", 44100, None),
}


def speech() -> np.ndarray:
    """Two seconds of real speech."""
    return sf.read(CLIP, dtype="float32")[0]


def write(path, samples, rate, file_format, subtype) -> Path:
    """Libsndfile's Opus encoder overflows its stack on one long write, so this writes in pieces."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with sf.SoundFile(path, "w", rate, channels, subtype, format=file_format) as file:
        for start in range(0, len(samples), 4096):
            file.write(samples[start : start + 4096])
    return path


@pytest.fixture
def wav(tmp_path) -> Path:
    """One second of 16-bit noise; its header is 44 bytes."""
    samples = np.random.default_rng(0).standard_normal(24000) * 0.1
    return write(tmp_path / "noise.wav", samples, 24000, "WAV", "PCM_16")


@pytest.fixture
def flac(tmp_path) -> Path:
    """The same second as FLAC."""
    samples = np.random.default_rng(0).standard_normal(24000) * 0.1
    return write(tmp_path / "noise.flac", samples, 24000, "FLAC", "PCM_16")


def patch(path, offset, data) -> Path:
    """Overwrite bytes inside a file."""
    content = bytearray(path.read_bytes())
    content[offset : offset + len(data)] = data
    path.write_bytes(content)
    return path


def set_flac_frames(path, frames) -> Path:
    """The last 36 bits of bytes 18…26 of a FLAC are its number of samples."""
    word = int.from_bytes(path.read_bytes()[18:26], "big")
    return patch(path, 18, ((word >> 36 << 36) | frames).to_bytes(8, "big"))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_speech_back(tmp_path, name):
    """Integers to their last step, floats exactly, lossy formats recognisably; header and rate are right."""
    file_format, subtype, rate, tolerance = FORMATS[name]
    original = speech()
    path = write(tmp_path / name, original, rate, file_format, subtype)
    waveform = read_audio(path)
    info = audio_info(path)
    assert (info.file_format, info.subtype, info.num_channels) == (file_format, subtype, 1)
    assert waveform.sampling_rate == info.sampling_rate == rate
    assert waveform.num_samples == info.num_samples == len(original)
    assert info.duration_seconds == waveform.duration_seconds
    if tolerance is not None:
        assert np.abs(waveform.samples[0] - original).max() <= tolerance
    assert np.corrcoef(waveform.samples[0], original)[0, 1] > 0.95


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("block_seconds", [0.01, 0.3, 100.0])
def test_blocks_joined_are_the_whole(tmp_path, name, block_seconds):
    """Also in MP3 and Opus, where soundfile's own block reading differs from reading whole."""
    file_format, subtype, rate, _ = FORMATS[name]
    path = write(tmp_path / name, speech(), rate, file_format, subtype)
    blocks = list(iter_audio(path, block_seconds=block_seconds))
    assert np.array_equal(np.concatenate([b.samples for b in blocks], axis=1), read_audio(path).samples)
    assert {b.num_samples for b in blocks[:-1]} <= {round(block_seconds * rate)}


def test_path_bytes_and_file_objects_agree():
    """One clip by str, Path, bytes, file, and a pipe that cannot seek."""

    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    expected = read_audio(CLIP).samples
    data = CLIP.read_bytes()
    with CLIP.open("rb") as file:
        for source in (str(CLIP), data, io.BytesIO(data), file, Pipe(data)):
            assert np.array_equal(read_audio(source).samples, expected)


def test_stereo_stays_two_channels_in_order(tmp_path):
    """(C, T), left first, contiguous, whole and in blocks."""
    both = np.stack([np.full(1000, 0.25), np.full(1000, -0.5)], axis=1)
    path = write(tmp_path / "stereo.flac", both, 16000, "FLAC", "PCM_16")
    for waveform in (read_audio(path), *iter_audio(path, block_seconds=0.01)):
        assert (waveform.samples[0] == 0.25).all()
        assert (waveform.samples[1] == -0.5).all()


def test_a_recording_of_several_blocks_is_joined(tmp_path, monkeypatch):
    """The path of files beyond one block gives the same samples."""
    stereo = np.random.default_rng(1).uniform(-1, 1, (5000, 2)).astype(np.float32)
    path = write(tmp_path / "long.wav", stereo, 16000, "WAV", "FLOAT")
    monkeypatch.setattr("snac_tok.audio.files._BLOCK_VALUES", 1024)
    assert np.array_equal(read_audio(path).samples, stereo.T)


def test_float_above_full_scale_is_legal(tmp_path):
    """A float WAV at 3.0 is read as 3.0."""
    path = write(tmp_path / "loud.wav", np.array([3.0, -2.0]), 24000, "WAV", "FLOAT")
    assert read_audio(path).samples.tolist() == [[3.0, -2.0]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 bytes"),
        (b"hello, I am text " * 50, "Format not recognised"),
        (np.random.default_rng(0).bytes(4000), "not sound"),
        (b"RIFF", "not sound"),
    ],
)
def test_what_is_no_sound_is_refused_with_its_name(tmp_path, content, reason):
    """Empty, text, noise bytes, a torn header."""
    path = tmp_path / "clip.wav"
    path.write_bytes(content)
    for read in (read_audio, audio_info, lambda source: next(iter_audio(source))):
        with pytest.raises(AudioFileError, match=rf"clip\.wav.*{reason}"):
            read(path)


def test_missing_files_folders_devices_and_raw_are_refused(tmp_path):
    """Each message has the name and the reason; a device is not waited for."""
    raw = tmp_path / "take.raw"
    raw.write_bytes(bytes(100))
    for path, reason in (
        (tmp_path / "gone.wav", "No such file"),
        (tmp_path, "is a directory"),
        ("/dev/zero", "device"),
        ("a\0b.wav", "null"),
        (raw, "samplerate"),
    ):
        with pytest.raises(AudioFileError, match=reason):
            read_audio(path)


def test_a_name_that_is_no_utf8_is_refused_in_a_printable_sentence(tmp_path):
    """Its bytes are a sound file; the name would break libsndfile and every text column on the way."""
    path = tmp_path / os.fsdecode(b"caf\xe9.flac")
    path.write_bytes(CLIP.read_bytes())
    for source in (path, str(path)):
        with pytest.raises(
            AudioFileError, match=r"caf\\udce9\.flac: the file's name is not UTF-8; rename"
        ) as caught:
            read_audio(source)
        str(caught.value).encode("utf-8")


def test_bytes_and_files_are_refused_as_clearly():
    """No path to name: the size or the type is named."""
    with pytest.raises(AudioFileError, match="<0 bytes of audio>: empty"):
        read_audio(b"")
    with pytest.raises(AudioFileError, match="<5 bytes of audio>: not sound"):
        read_audio(b"abcde")
    with pytest.raises(AudioFileError, match="opened with 'rb'"):
        read_audio(io.StringIO("text"))
    with pytest.raises(AudioFileError, match="<int>"):
        read_audio(3)


@pytest.mark.parametrize(
    ("offset", "data", "reason"),
    [
        (22, struct.pack("<H", 0), "Channel count is zero"),
        (22, struct.pack("<H", 1000), "1000 channels"),
        (24, struct.pack("<I", 0), "impossible rate"),
        (24, struct.pack("<I", 2**31 - 1), "2147483647 Hz"),
        (24, struct.pack("<I", 2**32 - 1), "impossible rate"),
        (24, struct.pack("<I", 10), "claims 10 Hz"),
        (40, struct.pack("<I", 2**30), "cut off"),
    ],
)
def test_lying_wav_headers_are_refused(wav, offset, data, reason):
    """Channels, rate and length that cannot be, before anything is allocated for them."""
    with pytest.raises(AudioFileError, match=rf"noise\.wav.*{reason}"):
        read_audio(patch(wav, offset, data))


def test_a_header_of_two_tib_is_refused(tmp_path):
    """RF64 has 64-bit lengths: 2^41 bytes are promised, 200 are there."""
    path = write(tmp_path / "big.wav", np.zeros(100), 24000, "RF64", "PCM_16")
    place = path.read_bytes().index(b"ds64") + 16
    patch(path, place, struct.pack("<Q", 2**41))
    with pytest.raises(AudioFileError, match="2199023255352 bytes more"):
        read_audio(path)
    assert read_audio(path, allow_truncated=True).num_samples == 100


def test_a_flac_that_promises_2_to_the_36_samples_is_refused(flac):
    """275 GB of float32 are not allocated to find that out."""
    with pytest.raises(AudioFileError, match="promises 68719476735 samples, 24000 could be decoded"):
        read_audio(set_flac_frames(flac, 2**36 - 1))


def test_a_flac_of_unknown_length_is_read(flac):
    """A FLAC written to a pipe has no count: info says so, reading and blocks work."""
    expected = read_audio(flac).samples
    set_flac_frames(flac, 0)
    assert audio_info(flac).num_samples is None
    assert audio_info(flac).duration_seconds is None
    assert np.array_equal(read_audio(flac).samples, expected)
    joined = np.concatenate([b.samples for b in iter_audio(flac, block_seconds=0.1)], axis=1)
    assert np.array_equal(joined, expected)


def test_a_wav_of_unknown_length_is_read(wav):
    """What ffmpeg writes to a pipe: 0xFFFFFFFF for both lengths."""
    expected = read_audio(wav).samples
    patch(patch(wav, 4, b"\xff" * 4), 40, b"\xff" * 4)
    assert np.array_equal(read_audio(wav).samples, expected)


def test_a_cut_wav_is_refused_or_salvaged_on_request(wav):
    """Libsndfile would shorten it silently."""
    expected = read_audio(wav).samples
    wav.write_bytes(wav.read_bytes()[: 44 + 2 * 10_000])
    for source in (wav, wav.read_bytes()):
        with pytest.raises(AudioFileError, match="promises 28000 bytes more"):
            read_audio(source)
        with pytest.raises(AudioFileError, match="cut off"):
            next(iter_audio(source))
        assert np.array_equal(read_audio(source, allow_truncated=True).samples, expected[:, :10_000])


def test_a_cut_flac_is_refused_or_salvaged_on_request(flac):
    """Salvage returns true samples, whole and in blocks, down to the last whole FLAC frame."""
    expected = read_audio(flac).samples
    flac.write_bytes(flac.read_bytes()[: flac.stat().st_size // 2])
    with pytest.raises(AudioFileError, match="allow_truncated=True"):
        read_audio(flac)
    with pytest.raises(AudioFileError, match="cut off"):
        list(iter_audio(flac, block_seconds=0.1))
    saved = read_audio(flac, allow_truncated=True).samples
    assert saved.shape[1] == 8192  # two whole frames of 4096, and the torn third
    assert np.array_equal(saved, expected[:, : saved.shape[1]])
    blocks = [b.samples for b in iter_audio(flac, block_seconds=0.1, allow_truncated=True)]
    assert np.array_equal(np.concatenate(blocks, axis=1), saved)


def test_nan_in_a_float_wav_is_refused_with_its_place(tmp_path):
    """Whole: the absolute position; in blocks: counted from the block's start, which is named."""
    samples = np.zeros(1000, np.float32)
    samples[700] = np.nan
    samples[800] = np.inf
    path = write(tmp_path / "nan.wav", samples, 1000, "WAV", "FLOAT")
    with pytest.raises(AudioFileError, match=r"nan\.wav: 2 of 1000 .* sample 700"):
        read_audio(path)
    with pytest.raises(
        AudioFileError, match=r"nan\.wav: 2 of 500 .* sample 200: .*\(counted from sample 500\)\.$"
    ):
        list(iter_audio(path, block_seconds=0.5))


def test_a_recording_without_samples_is_refused(tmp_path):
    """A header and nothing else."""
    path = write(tmp_path / "none.wav", np.zeros(0), 24000, "WAV", "PCM_16")
    for read in (read_audio, lambda source: list(iter_audio(source))):
        with pytest.raises(AudioFileError, match=r"none\.wav: holds no samples"):
            read(path)


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf")])
def test_impossible_block_lengths_are_refused_at_once(seconds):
    """Not at the first block, but at the call."""
    with pytest.raises(AudioError, match="block_seconds"):
        iter_audio(CLIP, block_seconds=seconds)


def install_torchcodec(monkeypatch, decoder):
    """Put a torchcodec in place whose AudioDecoder is `decoder`."""
    package, decoders = ModuleType("torchcodec"), ModuleType("torchcodec.decoders")
    decoders.AudioDecoder = decoder
    monkeypatch.setitem(sys.modules, "torchcodec", package)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)


def test_torchcodec_reads_when_it_is_chosen(monkeypatch):
    """Path and bytes go to the decoder, tensor and rate come back as a waveform."""
    seen = []

    def decoder(target):
        seen.append(target)
        samples = SimpleNamespace(data=torch.full((2, 5), 0.5), sample_rate=48000)
        return SimpleNamespace(get_all_samples=lambda: samples)

    install_torchcodec(monkeypatch, decoder)
    waveform = read_audio(CLIP, backend="torchcodec")
    assert (waveform.sampling_rate, waveform.samples.tolist()) == (48000, [[0.5] * 5] * 2)
    read_audio(b"m4a", backend="torchcodec")
    assert seen[0] == str(CLIP)
    assert seen[1].read() == b"m4a"


@pytest.mark.parametrize(
    ("message", "expected", "reason"),
    [
        (
            "Failed to open input buffer: Invalid data",
            AudioFileError,
            r"LJ001-0002\.flac: ffmpeg finds no sound",
        ),
        ("Could not load libtorchcodec. Likely causes:", MissingDependencyError, "install ffmpeg"),
    ],
)
def test_torchcodec_failures_are_told_apart(monkeypatch, message, expected, reason):
    """A file that is no sound, and a torchcodec without ffmpeg's libraries, both RuntimeErrors."""

    def decoder(_target):
        raise RuntimeError(message)

    install_torchcodec(monkeypatch, decoder)
    with pytest.raises(expected, match=reason):
        read_audio(CLIP, backend="torchcodec")


def test_a_missing_torchcodec_is_one_clear_sentence(monkeypatch):
    """Without the package the extra to install is named; an unknown backend lists the two."""
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    with pytest.raises(MissingDependencyError, match=r"extra 'ffmpeg'"):
        read_audio(CLIP, backend="torchcodec")
    with pytest.raises(AudioError, match="'soundfile' or 'torchcodec', got 'sox'"):
        read_audio(CLIP, backend="sox")
