"""`snac-tok plot` and `snac-tok roundtrip`."""

import io
import sys

import numpy as np
import pytest
from matplotlib import image

from snac_tok import SnacTokenizer, read_audio, write_audio


def pixels(path):
    """A picture's colours (height, width, 4)."""
    return image.imread(io.BytesIO(path.read_bytes()), format="png")


@pytest.mark.parametrize("levels", [1, 3])
def test_there_and_back(run, work, tokenizer, levels):
    """What encode and then decode make, trimmed to the recording."""
    assert run("roundtrip", "b.flac", "-o", "back.wav", "--levels", levels, "--noise", "7").exit_code == 0
    coarse = SnacTokenizer.from_pretrained("tiny", preset="orpheus", levels=levels)
    ids = coarse.vocabulary.encode(tokenizer.encode_codes([read_audio("b.flac")])[0][:levels])
    number = tokenizer.num_samples(read_audio("b.flac"))
    write_audio(work / "expected.wav", coarse.decode(ids, num_samples=number, noise=7))
    np.testing.assert_array_equal(read_audio("back.wav").samples, read_audio("expected.wav").samples)


def test_a_channel_of_several_there_and_back(run):
    """One channel comes back, and the chosen one."""
    for channels in ("left", "right"):
        assert run("roundtrip", "stereo.wav", "-o", f"{channels}.wav", "--channels", channels).exit_code == 0
    left, right = (read_audio(f"{name}.wav") for name in ("left", "right"))
    assert left.num_channels == 1
    assert not np.array_equal(left.samples, right.samples)


def test_what_goes_nowhere(refused, work):
    """One sentence that names the file."""
    (work / "text.wav").write_text("no sound")
    assert "text.wav" in refused("roundtrip", "text.wav", "-o", "x.wav")
    assert "none.wav" in refused("roundtrip", "none.wav", "-o", "x.wav")
    assert ".wav or .flac" in refused("roundtrip", "a.wav", "-o", "x.mp3")
    assert "--force" in refused("roundtrip", "a.wav", "-o", "b.flac")
    assert not (work / "x.wav").exists()


def test_pictures_of_a_recording_codes_and_records(run, work, shards):
    """A recording has a panel more than its codes; the same codes give the same picture."""
    assert run("encode", "b.flac", "-o", "b.npz").exit_code == 0
    for name, options in {
        "sound": ["b.flac"],
        "codes": ["b.npz"],
        "record": [next(shards.glob("*.parquet")), "--id", "b.flac"],
    }.items():
        result = run("plot", *options, "-o", f"{name}.png")
        assert result.exit_code == 0, result.stderr
    assert pixels(work / "sound.png").shape[0] > pixels(work / "codes.png").shape[0]
    assert (work / "codes.png").read_bytes() == (work / "record.png").read_bytes()


@pytest.mark.usefixtures("shards")
def test_options_for_recordings_are_refused_beside_codes(refused, run):
    """Codes have one channel, and were whole when they were made."""
    assert run("encode", "b.flac", "-o", "b.npz").exit_code == 0
    for source in ("b.npz", "shards"):
        for option in (["--channels", "left"], ["--allow-truncated"]):
            said = refused("plot", source, "-o", "x.png", *option)
            assert f"{option[0]} is for a recording; {source} holds codes" in said


def test_only_the_beginning_is_drawn(run):
    """--seconds cuts recordings and codes."""
    assert run("encode", "a.wav", "-o", "a.npz").exit_code == 0
    for source in ("a.wav", "a.npz"):
        result = run("plot", source, "-o", "x.png", "--seconds", "0.25", "--force")
        assert "x.png: 0.25 s of" in result.stderr


@pytest.mark.usefixtures("shards")
def test_what_cannot_be_drawn(refused, run, work, monkeypatch):
    """One sentence each, and no picture."""
    assert ".png" in refused("plot", "a.wav", "-o", "x.jpg")
    assert "none.wav" in refused("plot", "none.wav", "-o", "x.png")
    assert "--id is for shards" in refused("plot", "a.wav", "-o", "x.png", "--id", "a.wav")
    assert "has no record 'c.wav'" in refused("plot", "shards", "-o", "x.png", "--id", "c.wav")
    assert run("plot", "b.flac", "-o", "b.png").exit_code == 0
    assert "--force" in refused("plot", "b.flac", "-o", "b.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "the picture needs matplotlib" in refused("plot", "b.flac", "-o", "x.png")
    assert not (work / "x.png").exists()


def test_no_picture_is_called_minus(refused, work, shards):
    """Where other commands write to stdout, `inspect --plot` made a file of this name."""
    assert "--plot does not write to stdout" in refused("inspect", shards, "--plot", "-")
    assert not (work / "-").exists()
