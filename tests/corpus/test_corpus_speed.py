"""What the encoding process is spared, and what is told of its time; records are the same whoever reads."""

import pytest
import torch
from small_codec import SMALL
from toy_encoder import ToyEncoder, files_of, write_tone

from snac_tok import SNAC, SnacTokenizer, shard_folder
from snac_tok.audio import Resampler
from snac_tok.cli.progress import LongProgress


def small_codec():
    """A codec with random weights."""
    torch.manual_seed(0)
    return SNAC.from_config(SMALL).eval()


class AtOneRate(ToyEncoder):
    """Wants its clips resampled by whoever reads them, and says which rates reach it."""

    resampler = Resampler()

    def __init__(self):
        super().__init__()
        self.rates = set()

    def encode_codes(self, waveforms):
        """As in the toy."""
        self.rates |= {waveform.sampling_rate for waveform in waveforms}
        return super().encode_codes(waveforms)


@pytest.fixture
def source(tmp_path):
    """Rates, channels and lengths of all kinds, and one that cannot be mixed."""
    folder = tmp_path / "source"
    write_tone(folder / "a.wav")
    write_tone(folder / "b.wav", sampling_rate=16000, channels=2)
    write_tone(folder / "c.flac", sampling_rate=44100, seconds=0.5)
    (folder / "d.wav").write_bytes(b"text")
    return folder


@pytest.mark.parametrize("jobs", [0, 2])
def test_clips_reach_the_encoder_at_the_codecs_rate(source, tmp_path, jobs):
    """The rate of the recording is still told of each record."""
    encoder = AtOneRate()
    shard_folder(source, tmp_path / "out", encoder, jobs=jobs)
    assert encoder.rates == {24000}


@pytest.mark.parametrize("channels", ["mean", "right", "each"])
def test_who_resamples_changes_no_byte(source, tmp_path, channels):
    """The encoder itself, this process before it, or the processes that read."""
    codec = small_codec()
    for out, jobs, ahead in (("own", 0, False), ("here", 0, True), ("there", 1, True)):
        encoder = SnacTokenizer(codec, None)
        if not ahead:
            encoder = type("Itself", (SnacTokenizer,), {"resampler": None})(codec, None)
        shard_folder(source, tmp_path / out, encoder, jobs=jobs, channels=channels)
    assert files_of(tmp_path / "own") == files_of(tmp_path / "here") == files_of(tmp_path / "there")


def test_a_tokenizer_that_refuses_other_rates_still_does(source, tmp_path):
    """None of them is at 8 kHz, and clips are left alone, so that it can tell."""
    encoder = SnacTokenizer(small_codec(), None, resample=False)
    result = shard_folder(source, tmp_path / "out", encoder)
    assert (result.num_clips, result.num_failures) == (0, 4)


def test_what_the_encoding_process_does_is_told(source, tmp_path, capsys):
    """In the progress and in the result; the parts are at most the whole."""
    with LongProgress("encoding", bar=False, line_seconds=0) as shown:
        result = shard_folder(
            source, tmp_path / "out", SnacTokenizer(small_codec(), None), progress=shown.show
        )
    assert 0 < result.encoding_seconds < result.elapsed_seconds
    assert 0 < result.reading_seconds < result.elapsed_seconds - result.encoding_seconds
    line = capsys.readouterr().err
    assert "% encoding, " in line
    assert "% waiting for files" in line
