"""Pipes: `-` in place of a file, on either side, and what then says the format."""

import io
import json

import numpy as np
import pytest
import soundfile as sf

from snac_tok import read_audio


def samples(content):
    """The samples of a sound file's bytes."""
    return sf.read(io.BytesIO(content), dtype="float32")[0]


def test_codes_go_through_a_pipe(run, work):
    """Encode - -o - | decode - -o - makes what files make, as long and at the same rate."""
    codes = run("encode", "-", "-o", "-", stdin=(work / "b.flac").read_bytes())
    assert codes.exit_code == 0
    assert codes.stderr.startswith("snac-tok: stdin → stdout: ")
    sound = run("decode", "-", "-o", "-", stdin=codes.stdout_bytes)
    assert sound.exit_code == 0, sound.stderr
    assert run("encode", "b.flac", "-o", "b.npz").exit_code == 0
    assert run("decode", "b.npz", "-o", "b.wav").exit_code == 0
    assert (work / "b.npz").read_bytes() == codes.stdout_bytes
    assert (work / "b.wav").read_bytes() == sound.stdout_bytes


@pytest.mark.parametrize("file_format", ["wav", "flac"])
def test_sound_on_stdout_has_a_format(run, file_format):
    """WAV unless --format says FLAC; a whole file with its length, as players need it."""
    result = run("roundtrip", "b.flac", "-o", "-", "--format", file_format)
    assert result.exit_code == 0
    assert sf.info(io.BytesIO(result.stdout_bytes)).format == file_format.upper()
    assert run("roundtrip", "b.flac", "-o", "back.wav").exit_code == 0
    np.testing.assert_array_equal(samples(result.stdout_bytes), read_audio("back.wav").samples[0])
    assert result.stderr.startswith("snac-tok: stdout: ")


def test_ids_on_stdout_have_a_format(run):
    """JSON unless --format says text; both are what decode reads."""
    as_json = run("encode", "b.flac", "-o", "-", "--preset", "orpheus").stdout
    as_text = run("encode", "b.flac", "-o", "-", "--preset", "orpheus", "--format", "txt").stdout
    assert json.loads(as_json) == [int(word) for word in as_text.split()]
    sounds = [
        run("decode", "-", "-o", "-", "--preset", "orpheus", stdin=text).stdout_bytes
        for text in (as_json, as_text)
    ]
    assert sounds[0] == sounds[1]


def test_a_recording_from_stdin_there_and_back(run, work):
    """As from a file."""
    piped = run("roundtrip", "-", "-o", "-", stdin=(work / "b.flac").read_bytes())
    assert piped.stdout_bytes == run("roundtrip", "b.flac", "-o", "-").stdout_bytes


@pytest.mark.usefixtures("shards")
def test_what_does_not_go_through_a_pipe(refused):
    """One sentence each, and nothing on stdout."""
    assert "stdin" in refused("encode", "-", "-o", "x.npz", stdin=b"no sound" * 100)
    assert "--format is for -o -" in refused("encode", "a.wav", "-o", "x.npz", "--format", "npz")
    assert "--format is for -o -" in refused("decode", "b.npz", "-o", "x.wav", "--format", "wav")
    assert "do not go to stdout together" in refused("encode", "a.wav", "b.flac", "-o", "-")
    assert "raw codes (.npz) have no --preset" in refused(
        "encode", "a.wav", "-o", "-", "--preset", "orpheus", "--format", "npz"
    )
    assert "go into a folder" in refused("decode", "shards", "-o", "-")
    assert "ids need --preset" in refused("decode", "-", "-o", "-", stdin="[1, 2, 3]")
