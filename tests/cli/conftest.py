"""A folder to work in, with recordings in it, and a way to run the program there."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import yaml
from click.testing import CliRunner

from snac_tok import SnacTokenizer
from snac_tok.cli.program import program
from snac_tok.codec import SNAC

SPEECH = Path(__file__).parents[1] / "speech"
CLIP = SPEECH / "LJ001-0008.flac"


@pytest.fixture
def work(tmp_path, monkeypatch, loaded_before):  # noqa: ARG001 - commands find the codec loaded
    """A new current folder: a.wav, b.flac, stereo.wav and clips/ with two recordings; the default model is tiny."""
    samples, rate = sf.read(CLIP, dtype="float32")
    sf.write(tmp_path / "a.wav", samples[:20_000], rate)
    sf.write(tmp_path / "b.flac", samples[20_000:30_000], rate)
    sf.write(tmp_path / "stereo.wav", np.stack([samples[:9_000], -0.5 * samples[9_000:18_000]], 1), rate)
    (tmp_path / "clips").mkdir()
    for name in ("a.wav", "b.flac"):
        shutil.copy(tmp_path / name, tmp_path / "clips")
    (tmp_path / "clips" / "metadata.csv").write_text("file_name|text\na.wav|has never\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SNAC_TOK_MODEL", "tiny")
    monkeypatch.delenv("SNAC_TOK_DEBUG", raising=False)
    return tmp_path


@pytest.fixture
def run(work):
    """Run the program in the folder; the result has exit_code, stdout and stderr."""

    def run_program(*arguments, stdin=None):
        assert Path.cwd() == work
        return CliRunner().invoke(program, [str(argument) for argument in arguments], input=stdin)

    return run_program


@pytest.fixture
def refused(run):
    """Run the program, see that it ends with 2 and one sentence on stderr alone, and return the sentence."""

    def run_refused(*arguments, stdin=None):
        result = run(*arguments, stdin=stdin)
        # These tests make published ids with the codec that ships, which is told before anything is refused.
        lines = [line for line in result.stderr.strip().splitlines() if "is a codec for trials" not in line]
        assert result.exit_code == 2, result.output
        assert [line[:10] for line in lines] == ["snac-tok: "], result.stderr
        assert not result.stdout
        return lines[0]

    return run_refused


@pytest.fixture(scope="session")
def tokenizer():
    """The embedded codec with orpheus ids, as the program loads it."""
    return SnacTokenizer.from_pretrained("tiny", preset="orpheus", resample=True)


@pytest.fixture
def other_model(work):
    """A folder with a codec of tiny's strides and other weights."""
    codec = SNAC(
        sampling_rate=24_000,
        encoder_dim=2,
        encoder_rates=(2, 4, 8, 8),
        decoder_dim=16,
        decoder_rates=(8, 8, 4, 2),
        attn_window_size=None,
        vq_strides=(4, 2, 1),
    )
    codec.save_pretrained(work / "other")
    return "other"


@pytest.fixture
def shards(run, work):
    """A finished shard folder of clips/."""
    assert run("shard", "clips", "shards").exit_code == 0
    return work / "shards"


@pytest.fixture
def config(work):
    """A function that writes config.yaml, the smallest run on ready/, with other values of some settings."""

    def write(**changes):
        values = {
            "data": {"train": [{"folder": "ready"}], "validation": "ready", "crop_samples": 1024},
            "codec": {
                "sampling_rate": 24_000,
                "encoder_dim": 4,
                "encoder_rates": [2, 4],
                "decoder_dim": 16,
                "decoder_rates": [4, 2],
                "attn_window_size": None,
                "codebook_size": 16,
                "codebook_dim": 4,
                "vq_strides": [2, 1],
            },
            "discriminators": {"periods": [2], "fft_sizes": [], "width": 4},
            "mel_sizes": [64],
            "batch_size": 2,
            "steps": 3,
            "log_every": 1,
            "sound_clips": 1,
        }
        (work / "config.yaml").write_text(yaml.safe_dump(values | changes), encoding="utf-8")
        return "config.yaml"

    return write


@pytest.fixture
def ready(run, work):
    """A prepared folder of clips/."""
    assert run("prepare", "clips", "-o", "ready", "--sampling-rate", "24000").exit_code == 0
    return work / "ready"
