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


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """A folder with a.wav, b.flac, stereo.wav and clips/ with two recordings, to be copied."""
    folder = tmp_path_factory.mktemp("recordings")
    samples, rate = sf.read(CLIP, dtype="float32")
    sf.write(folder / "a.wav", samples[:13_100], rate)  # almost seven frames
    sf.write(folder / "b.flac", samples[20_000:27_500], rate)  # almost four
    sf.write(folder / "stereo.wav", np.stack([samples[:9_000], -0.5 * samples[9_000:18_000]], 1), rate)
    (folder / "clips").mkdir()
    for name in ("a.wav", "b.flac"):
        shutil.copy(folder / name, folder / "clips")
    (folder / "clips" / "metadata.csv").write_text("file_name|text\na.wav|has never\n", encoding="utf-8")
    return folder


@pytest.fixture
def work(tmp_path, recordings, monkeypatch, loaded_before):  # noqa: ARG001 - commands find the codec loaded
    """A new current folder with the recordings; the default model is tiny."""
    shutil.copytree(recordings, tmp_path, dirs_exist_ok=True)
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


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """What commands have made of the recordings."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def made(run, work, kept):
    """A function that puts into the folder what a command makes of the recordings: the command runs once."""

    def make(name, *arguments):
        if not (kept / name).exists():
            assert run(*arguments).exit_code == 0
            source, target = work, kept
        else:
            source, target = kept, work
        copy = shutil.copytree if (source / name).is_dir() else shutil.copy2
        copy(source / name, target / name)
        return work / name

    return make


@pytest.fixture
def shards(made):
    """A finished shard folder of clips/."""
    return made("shards", "shard", "clips", "shards")


@pytest.fixture
def a_npz(made):
    """The codes of a.wav."""
    return made("a.npz", "encode", "a.wav", "-o", "a.npz")


@pytest.fixture
def b_npz(made):
    """The codes of b.flac."""
    return made("b.npz", "encode", "b.flac", "-o", "b.npz")


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
def ready(made):
    """A prepared folder of clips/."""
    return made("ready", "prepare", "clips", "-o", "ready", "--sampling-rate", "24000")
