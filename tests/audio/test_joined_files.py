"""Files joined byte by byte, as streaming servers send them: all of the sound, or a refusal that says why."""

from __future__ import annotations

import io

import numpy as np
import pytest
from sound_files import NUM_SAMPLES, encoded, mp3, without_xing

from snac_tok.audio import audio_info, iter_audio, read_audio
from snac_tok.errors import AudioFileError

KINDS = {
    "mp3": mp3,
    "vorbis": lambda **options: encoded("OGG", "VORBIS", **options),
    "opus": lambda **options: encoded("OGG", "OPUS", **options),
    "wav": lambda **options: encoded("WAV", "PCM_16", **options),
    "wavex": lambda **options: encoded("WAVEX", "PCM_24", **options),
    "rf64": lambda **options: encoded("RF64", "PCM_16", **options),
    "w64": lambda **options: encoded("W64", "FLOAT", **options),
    "flac": lambda **options: encoded("FLAC", "PCM_16", **options),
    "aiff": lambda **options: encoded("AIFF", "PCM_16", **options),
    "au": lambda **options: encoded("AU", "PCM_16", **options),
    "caf": lambda **options: encoded("CAF", "PCM_16", **options),
}
ID3V2 = b"ID3\x03\0\0\0\0\0\x14TIT2\0\0\0\x06\0\0\0title" + bytes(4)
ID3V1 = b"TAG" + b"title".ljust(125, b"\0")


@pytest.mark.parametrize("kind", KINDS)
def test_joined_files_are_one_recording(tmp_path, kind):
    """By path, as bytes and in blocks over the seams: each piece as it is alone, one after the other."""
    one, two = KINDS[kind](), KINDS[kind]()
    expected = np.concatenate([read_audio(one).samples] * 3, axis=1)
    path = tmp_path / f"joined.{kind}"
    path.write_bytes(one + two + one)
    assert np.array_equal(read_audio(path).samples, expected)
    assert np.array_equal(read_audio(path.read_bytes()).samples, expected)
    blocks = [block.samples for block in iter_audio(path, block_seconds=0.37)]
    assert np.array_equal(np.concatenate(blocks, axis=1), expected)
    assert {block.shape[1] for block in blocks[:-1]} == {8880}
    # Of FLAC only decoding tells where the first file ends.
    assert kind == "flac" or audio_info(path).num_samples == expected.shape[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", [{"rate": 48_000}, {"num_channels": 2}])
def test_pieces_of_another_rate_or_more_channels_are_refused(kind, other):
    """The sentence has the piece, its place and both kinds."""
    joined = KINDS[kind]() + KINDS[kind](**other)
    with pytest.raises(
        AudioFileError, match=r"number 2, from byte \d+ on, has (48000 Hz and 1|24000 Hz and 2) ch"
    ):
        read_audio(joined)


def test_tags_between_joined_mp3s_are_passed_over():
    """ID3v2 before each, ID3v1 behind each."""
    tagged = ID3V2 + mp3() + ID3V1
    assert read_audio(tagged * 2).num_samples == 2 * NUM_SAMPLES


def test_an_mp3_without_a_length_is_read_to_its_end():
    """A writer to a pipe leaves the Xing frame out; a length guessed from the first frame would be wrong."""
    bare = without_xing(mp3())
    num_frames = -(-NUM_SAMPLES // 576) + 2  # encoders need more than the sound
    info = audio_info(bare)
    read = read_audio(bare)
    assert info.num_samples == read.num_samples
    assert read.num_samples % 576 == 0
    assert read.num_samples <= num_frames * 576
    assert read_audio(bare + bare).num_samples == 2 * read.num_samples


def test_an_mp3_with_a_xing_frame_may_be_followed_by_one_without():
    """The first piece's length is that of the first piece alone."""
    whole = mp3()
    bare = without_xing(whole)
    expected = [read_audio(whole).samples, read_audio(bare).samples]
    assert np.array_equal(read_audio(whole + bare).samples, np.concatenate(expected, axis=1))
    assert np.array_equal(read_audio(bare + whole).samples, np.concatenate(expected[::-1], axis=1))


def test_an_mpeg_2_file_is_known_without_its_name(tmp_path):
    """16 to 24 kHz, where libsndfile goes by the ending alone."""
    for path in (tmp_path / "a.mp3", tmp_path / "a"):
        path.write_bytes(mp3())
        assert read_audio(path).num_samples == NUM_SAMPLES
    assert read_audio(io.BytesIO(mp3())).num_samples == NUM_SAMPLES


def test_an_album_in_one_file_keeps_its_unknown_lengths():
    """WAVs from pipes, joined: the second header is found inside the data of the first."""
    wav = encoded("WAV", "PCM_16")
    piped = wav[:4] + b"\xff" * 4 + wav[8:40] + b"\xff" * 4 + wav[44:]
    expected = np.concatenate([read_audio(wav).samples] * 2, axis=1)
    assert np.array_equal(read_audio(piped + piped).samples, expected)


def test_flacs_of_unknown_length_joined():
    """What ffmpeg writes to a pipe: no count of samples in any of them."""
    flac = encoded("FLAC", "PCM_16")
    word = int.from_bytes(flac[18:26], "big") >> 36 << 36
    piped = flac[:18] + word.to_bytes(8, "big") + flac[26:]
    assert read_audio(piped + flac + piped).num_samples == 3 * NUM_SAMPLES
    assert read_audio(flac + piped).num_samples == 2 * NUM_SAMPLES


def test_a_tag_behind_a_flac_is_no_damage():
    """Its samples are all there, however it is read."""
    tagged = encoded("FLAC", "PCM_16") + ID3V1
    expected = read_audio(encoded("FLAC", "PCM_16")).samples
    assert np.array_equal(read_audio(tagged).samples, expected)
    for seconds in (0.05, 0.25, NUM_SAMPLES / 24_000, 2.0):
        blocks = [block.samples for block in iter_audio(tagged, block_seconds=seconds)]
        assert np.array_equal(np.concatenate(blocks, axis=1), expected)
