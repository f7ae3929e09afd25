"""Lengths in headers: never filled in, a header too long, or the sign of a file that was cut off."""

from __future__ import annotations

import io
import logging
import struct

import numpy as np
import pytest
import soundfile
from sound_files import NUM_SAMPLES, encoded, mp3, patched, speech

from snac_tok.audio import iter_audio, read_audio
from snac_tok.audio.probe import probe
from snac_tok.errors import AudioFileError

WAV = encoded("WAV", "PCM_16")
DATA = len(WAV) - 44
PLACEHOLDERS = (0x7FFF_F000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_F000, 0xFFFF_FFFF)
LONG = np.tile(speech(), (4, 1))  # of several pages
CUT = {
    "wav": WAV,
    "wavex": encoded("WAVEX", "PCM_24", num_channels=2),
    "adpcm": encoded("WAV", "IMA_ADPCM"),
    "rf64": encoded("RF64", "PCM_16"),
    "w64": encoded("W64", "PCM_16"),
    "aiff": encoded("AIFF", "PCM_16"),
    "aifc": encoded("AIFF", "FLOAT"),
    "8svx": encoded("SVX", "PCM_16"),
    "au": encoded("AU", "PCM_16"),
    "au-ulaw": encoded("AU", "ULAW"),
    "caf": encoded("CAF", "PCM_16"),
    "nist": encoded("NIST", "PCM_16"),
    "voc": encoded("VOC", "PCM_16"),
    "flac": encoded("FLAC", "PCM_16"),
    "mp3": mp3(),
    "vorbis": encoded("OGG", "VORBIS", samples=LONG),
    "opus": encoded("OGG", "OPUS", samples=LONG),
}


def wav_with(*, riff, data) -> bytes:
    """The WAV with other lengths."""
    return patched(patched(WAV, 4, struct.pack("<I", riff)), 40, struct.pack("<I", data))


@pytest.mark.parametrize("kind", CUT)
@pytest.mark.parametrize("share", [0.5, 0.9, 0.98])
def test_a_cut_file_is_refused_unless_that_is_allowed(kind, share):
    """Whatever the container; whole and in blocks; what is left comes out on request."""
    cut = CUT[kind][: int(len(CUT[kind]) * share)]
    for read in (read_audio, lambda source, **options: list(iter_audio(source, **options))):
        with pytest.raises(AudioFileError, match=r"cut off.*allow_truncated=True takes what there is"):
            read(cut)
    saved = read_audio(cut, allow_truncated=True)
    assert 0 < saved.num_samples <= read_audio(CUT[kind]).num_samples
    blocks = [block.samples for block in iter_audio(cut, block_seconds=0.1, allow_truncated=True)]
    assert np.array_equal(np.concatenate(blocks, axis=1), saved.samples)


@pytest.mark.parametrize("kind", ["vorbis", "opus"])
def test_an_ogg_that_lacks_only_its_end_is_refused(kind):
    """Cut in the last page, and between two pages, where only the missing end-of-stream mark tells."""
    content = CUT[kind]
    last = content.rindex(b"OggS")
    for cut in (content[:-1], content[:last]):
        with pytest.raises(AudioFileError, match=r"last page (is cut off|lacks the end-of-stream mark)"):
            read_audio(cut)


def test_a_damaged_or_missing_ogg_page_is_told():
    """Libogg passes over both without a word."""
    content = encoded("OGG", "VORBIS", samples=np.random.default_rng(0).uniform(-1, 1, (60_000, 1)))
    starts = [at for at in range(len(content)) if content.startswith(b"OggS", at)]
    middle, behind = starts[-2], starts[-1]
    with pytest.raises(AudioFileError, match=rf"the page at byte {middle} is damaged"):
        read_audio(patched(content, middle + 100, b"damage"))
    with pytest.raises(AudioFileError, match=r"pages are missing before byte"):
        read_audio(content[:middle] + content[behind:])


@pytest.mark.parametrize(
    "data",
    [0, 2_000_000_000, *(base - off for base in PLACEHOLDERS for off in (0, 36, 44))],
)
@pytest.mark.parametrize("riff", [None, 0, 36])
def test_a_length_that_was_never_filled_in_is_no_length(data, riff):
    """Espeak-ng, sox, lame, arecord, ffmpeg: to a pipe they write what they cannot know."""
    total = min(36 + data, 0xFFFF_FFFF) if riff is None else riff
    assert np.array_equal(read_audio(wav_with(riff=total, data=data)).samples, read_audio(WAV).samples)


@pytest.mark.parametrize("filler", [0, 0xFF])
def test_an_empty_ds64_is_no_length(filler):
    """RF64 from a pipe: the 64-bit lengths stand in a chunk of their own."""
    rf64 = encoded("RF64", "PCM_16")
    piped = patched(rf64, rf64.index(b"ds64") + 8, bytes([filler]) * 24)
    assert np.array_equal(read_audio(piped).samples, read_audio(rf64).samples)


@pytest.mark.parametrize("more", [4, 28, 44])
def test_a_length_that_counts_the_header_in_is_read_whole(more, caplog):
    """With the outer length right, and with both as far off; then the log has a word about it."""
    expected = read_audio(WAV).samples
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(read_audio(wav_with(riff=36 + DATA, data=DATA + more)).samples, expected)
        assert not caplog.text
        both = wav_with(riff=36 + DATA + more, data=DATA + more)
        assert np.array_equal(read_audio(both).samples, expected)
    assert f"promises {more} bytes more than the file holds, as if it counted itself" in caplog.text


@pytest.mark.parametrize("missing", [1, 2, 100, 1000, DATA // 2])
def test_a_really_cut_wav_is_still_refused(missing):
    """A number of bytes that no header has."""
    with pytest.raises(AudioFileError, match=f"promises {missing} bytes more"):
        read_audio(WAV[:-missing])


@pytest.mark.parametrize("data", [2, 1000, DATA // 2, DATA - 46])
def test_a_data_length_that_is_too_small_is_refused(data):
    """The outer length spans the file, and sound, not a chunk, follows the data; libsndfile reads the beginning."""
    content = wav_with(riff=36 + DATA, data=data)
    with pytest.raises(
        AudioFileError, match=f"promises {data} bytes of sound, and the {DATA - data} bytes behind"
    ):
        read_audio(content)
    assert read_audio(content, allow_truncated=True).num_samples == data // 2


@pytest.mark.parametrize("data", [1000, DATA // 4, DATA - 1026])
def test_a_header_that_was_not_updated_for_the_last_part_is_refused(data):
    """Both lengths agree, and much more sound follows than they say."""
    content = wav_with(riff=36 + data, data=data)
    with pytest.raises(
        AudioFileError, match=f"promises {data} bytes of sound, and the {DATA - data} bytes behind"
    ):
        read_audio(content)
    assert read_audio(content, allow_truncated=True).num_samples == data // 2


@pytest.mark.parametrize(
    "behind",
    [
        b"ID3\x04" + b"\xff" * 4000,
        b"APETAGEX" + b"\xff" * 4000,
        b"TAG" + b"\xff" * 125 + b"APETAGEX" + b"\xff" * 4000,
        bytes(4096),
        b"LIST" + struct.pack("<I", 4000) + bytes(4000),
        b"\xff" * 1024,
    ],
)
@pytest.mark.parametrize("riff", [0, 36 + DATA])
def test_what_may_stand_behind_both_lengths(behind, riff):
    """Tags, zeros, chunks that the outer length leaves out, and a little junk."""
    content = wav_with(riff=riff, data=DATA) + behind
    assert np.array_equal(read_audio(content).samples, read_audio(WAV).samples)


LISTED = b"LIST" + struct.pack("<I", 4000) + bytes(4000)


@pytest.mark.parametrize("extra", [8, 44])
@pytest.mark.parametrize(
    "behind", [LISTED, LISTED[:2000], b"FORM" + b"\x01" * 4000, b"BW64" + b"\x01" * 4000]
)
def test_an_outer_length_that_points_into_what_follows(extra, behind):
    """It counts parts of the header in; the data's own length is right."""
    content = wav_with(riff=36 + DATA + extra, data=DATA) + behind
    assert np.array_equal(read_audio(content).samples, read_audio(WAV).samples)


@pytest.mark.parametrize("extra", [0, 8, 44])
def test_joined_wavs_whose_outer_length_is_too_large(extra):
    """Each with parts of its header counted in."""
    content = wav_with(riff=36 + DATA + extra, data=DATA)
    whole = read_audio(WAV).samples
    assert np.array_equal(read_audio(content * 2).samples, np.concatenate([whole, whole], axis=1))


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "FLOAT"),
        ("WAV", "ALAW"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
        ("RF64", "PCM_16"),
        ("W64", "PCM_16"),
        ("CAF", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_a_tag_in_front_takes_nothing_from_the_end(tmp_path, kind, subtype):
    """By path, as bytes and as a file object; it may hold a picture."""
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.sin(np.arange(24_000) / 20), 24_000, format=kind, subtype=subtype)
    content = b"ID3\3\0\0\0\2\x38\x40" + bytes(40_000) + file.getvalue()
    (tmp_path / "tagged.wav").write_bytes(content)
    whole = read_audio(file.getvalue()).samples
    for source in (content, io.BytesIO(content), tmp_path / "tagged.wav"):
        assert np.array_equal(read_audio(source).samples, whole)


def rifx() -> bytes:
    """The WAV with its numbers in the other order."""
    file = io.BytesIO()
    soundfile.write(file, read_audio(WAV).samples.T, 24_000, format="WAV", subtype="PCM_16", endian="BIG")
    return file.getvalue()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("name", "body", "counted"),
    [
        (b"LIST", b"INFOIART\x04\0\0\0Ann\0", 0),
        (b"id3 ", b"ID3" + bytes(61), 8),
        (b"_PMX", bytes(range(65)), 0),
        (b"bext", bytes(602), 0),
        (b"", bytes(2000), 0),
        (b"", b"\xff" * 40, 0),
    ],
)
def test_what_may_stand_behind_the_data(order, name, body, counted):
    """Chunks of any name, odd ones without their pad, one whose length counts its header in; zeros; a few bytes."""
    chunk = name and name + struct.pack(f"{order}I", len(body) + counted)
    content = WAV if order == "<" else rifx()
    content += chunk + body
    content = patched(content, 4, struct.pack(f"{order}I", len(content) - 8))
    assert np.array_equal(read_audio(content).samples, read_audio(WAV).samples)


def test_an_empty_recording_is_not_taken_for_one_of_unknown_length():
    """A length of 0 with nothing but chunks behind it."""
    chunk = b"LIST" + struct.pack("<I", 4) + b"INFO"
    empty = wav_with(riff=36 + len(chunk), data=0)[:44] + chunk
    with pytest.raises(AudioFileError, match="holds no samples"):
        read_audio(empty)


def test_odd_chunks_stand_before_and_behind_the_data():
    """Chunks are padded to even lengths, which is not part of them."""
    odd = b"note" + struct.pack("<I", 3) + b"abc\0"
    content = WAV[:36] + odd + WAV[36:] + odd
    content = patched(content, 4, struct.pack("<I", len(content) - 8))
    assert np.array_equal(read_audio(content).samples, read_audio(WAV).samples)
    with pytest.raises(AudioFileError, match="promises 500 bytes more"):
        read_audio(content[: -500 - len(odd)])


@pytest.mark.parametrize(
    ("content", "offset", "data"),
    [
        (encoded("AU", "PCM_16"), 8, b"\xff" * 4),
        (encoded("AU", "PCM_16"), 8, bytes(4)),
        (encoded("AU", "PCM_16"), 8, b"\x7f\xff\xf0\0"),
        (encoded("W64", "PCM_16"), encoded("W64", "PCM_16").index(b"data") + 16, bytes(8)),
        (encoded("W64", "PCM_16"), encoded("W64", "PCM_16").index(b"data") + 16, b"\xff" * 7 + b"\x7f"),
        (encoded("CAF", "PCM_16"), encoded("CAF", "PCM_16").index(b"data") + 4, b"\xff" * 8),
    ],
)
def test_unknown_lengths_of_other_containers(content, offset, data):
    """AU and CAF have a word of their own for it, which libsndfile takes or not; others leave 0."""
    assert np.array_equal(read_audio(patched(content, offset, data)).samples, read_audio(content).samples)


def test_an_aiff_from_a_pipe_is_read():
    """Ffmpeg leaves 0 in all three of its lengths."""
    content = encoded("AIFF", "PCM_16")
    piped = patched(content, 4, bytes(4))
    piped = patched(piped, piped.index(b"COMM") + 10, bytes(4))
    piped = patched(piped, piped.index(b"SSND") + 4, bytes(4))
    assert np.array_equal(read_audio(piped).samples, read_audio(content).samples)


def test_an_mp3_that_holds_fewer_frames_than_it_says_is_refused():
    """Cut between two frames, where the last one is whole."""
    content = mp3()
    for end in range(len(content) // 2, len(content)):
        with pytest.raises(AudioFileError, match=r"promises \d+ frames|last frame is cut off"):
            read_audio(content[:end])
        if content[end] == 0xFF:  # where the next frame may begin
            break


def test_probes_leave_the_file_where_it_was(tmp_path):
    """Also of a file object that does not stand at its beginning."""
    path = tmp_path / "behind.bin"
    path.write_bytes(b"12345" + WAV)
    with path.open("rb") as file:
        file.seek(5)
        assert probe(file).fault is None
        assert file.tell() == 5
        assert read_audio(file).num_samples == NUM_SAMPLES
