"""--precision: what computes less exactly says so wherever its codes go."""

from pathlib import Path

import pytest

from snac_tok.shards import open_shards, read_code_file


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_codes_say_how_exactly_they_were_made(run, precision):
    """They are decoded by the codec that made them, in any precision."""
    assert run("encode", "a.wav", "-o", "exact.npz").exit_code == 0
    assert run("encode", "a.wav", "-o", "codes.npz", "--precision", precision).exit_code == 0
    settings, full = (read_code_file(Path(name)).settings for name in ("codes.npz", "exact.npz"))
    assert settings == full | {"precision": precision, "weights_sha256": settings["weights_sha256"]}
    for wanted in ("fp32", "bf16", "fp16"):
        assert run("decode", "codes.npz", "-o", f"{wanted}.wav", "--precision", wanted).exit_code == 0
        assert run("decode", "exact.npz", "-o", f"exact-{wanted}.wav", "--precision", wanted).exit_code == 0
    assert Path("fp32.wav").read_bytes() != Path(f"{precision}.wav").read_bytes()
    assert f"precision      {precision}" in run("inspect", "codes.npz").stdout
    assert "precision" not in run("inspect", "exact.npz").stdout


def test_codes_of_other_weights_are_refused_in_every_precision(run, other_model):
    """Rounding is no other model, but another model is."""
    assert run("encode", "a.wav", "-o", "codes.npz", "--precision", "bf16").exit_code == 0
    refused = run("decode", "codes.npz", "-o", "b.wav", "--model", other_model)
    assert refused.exit_code == 2
    assert "name the model it was made with by --model" in refused.stderr


def test_shards_are_of_one_precision(run):
    """A run goes on with the precision that it began with."""
    assert run("shard", "clips", "out", "--precision", "bf16").exit_code == 0
    assert open_shards("out").info.precision == "bf16"
    other = run("shard", "clips", "out")
    assert other.exit_code != 0
    assert "made with other options (weights_sha256, precision)" in other.stderr
    assert run("shard", "clips", "out", "--precision", "bf16").exit_code == 0


@pytest.mark.parametrize(
    "command",
    [
        ("encode", "a.wav", "-o", "b.npz"),
        ("decode", "a.npz", "-o", "b.wav"),
        ("serve", "--port", "0"),
        ("eval", "a.wav"),
    ],
    ids=lambda words: words[0],
)
def test_tf32_is_for_gpus(run, command):
    """One sentence about the option."""
    assert run("encode", "a.wav", "-o", "a.npz").exit_code == 0
    refused = run(*command, "--precision", "tf32")
    assert refused.exit_code == 2
    assert "--precision tf32 needs a GPU of CUDA, and the network is to run on cpu" in refused.stderr


def test_workers_of_ray_make_no_tf32(run):
    """The codec is sent to them from a machine that may have no GPU."""
    ray = ("--engine", "ray", "--gpus-per-worker", "1", "--precision", "tf32x3")
    refused = run("shard", ".", "out", *ray)
    assert refused.exit_code == 2
    assert "--engine ray computes in fp32, bf16 or fp16" in refused.stderr


def test_a_report_names_it(run):
    """Two reports that are laid side by side can be told apart."""
    assert "tiny in bf16" in run("eval", "a.wav", "--precision", "bf16", "--metrics", "stft").stdout
