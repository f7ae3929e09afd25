"""scripts/train_codes.py: encoder and codebooks learn from a sketch, and nothing else moves."""

from __future__ import annotations

import pytest
import torch
from small_run import CODEC, write_sound

from snac_tok import SNAC

SMALL = ("--batch-size", 4, "--crop-samples", 2048)


@pytest.fixture
def start(tmp_path):
    """A codec to start from."""
    torch.manual_seed(0)
    # Few latents, because the sketch is wide whatever the codec is, and more entries than a step uses.
    shape = CODEC | {"encoder_rates": [4, 8], "decoder_rates": [8, 4], "codebook_size": 256}
    SNAC.from_config(shape).save_pretrained(tmp_path / "start")
    return tmp_path / "start"


def test_codes_learn_and_the_rest_stays(tmp_path, start, run_script):
    """What the sketch says comes nearer, codebooks are set and used, frozen blocks and the decoder are as they were."""
    ready = write_sound(tmp_path).folder
    options = ("--start-from", start, "-o", tmp_path / "codes", "--from-block", 1, *SMALL)
    sizes = ("--steps", 60, "--warm-up", 10, "--k-means", "--learning-rate", 3e-3)
    told = run_script("train_codes.py", f"{ready}=2", *map(str, (*options, *sizes)))
    lines = [line.split() for line in told.splitlines()]
    assert [line[0] for line in lines] == ["25/60", "50/60", "60/60"]
    losses = [dict(zip(line[3::2], map(float, line[4::2]), strict=True)) for line in lines]
    assert losses[-1]["mel"] < losses[0]["mel"]
    assert losses[-1].keys() == {"low", "mel", "loudness", "codebook", "commitment"}
    before, after = SNAC.from_pretrained(start), SNAC.from_pretrained(tmp_path / "codes")
    first, second = before.state_dict(), after.state_dict()
    moved = {name for name in first if not torch.equal(first[name], second[name])}
    assert {name.split(".")[0] for name in moved} == {"encoder", "quantizer"}
    assert not any(name.startswith("encoder.block.0.") for name in moved)
    assert all(f"quantizer.quantizers.{level}.codebook.weight" in moved for level in range(2))


def test_the_first_step_with_codebooks_leaves_them_as_k_means_set_them(tmp_path, start, monkeypatch):
    """Nothing was looked up in the warm-up, so nothing is idle; and averages begin with the new codebooks."""
    monkeypatch.syspath_prepend("scripts")
    import train_codes

    monkeypatch.setattr(train_codes, "RESTART_AFTER", 2)
    monkeypatch.setattr(train_codes, "RESTART_EVERY", 1)
    ready = write_sound(tmp_path).folder
    arguments = ("--start-from", start, "-o", tmp_path / "codes", "--from-block", 1, *SMALL)
    monkeypatch.setattr(
        "sys.argv", ["x", str(ready), *map(str, arguments), "--warm-up", "6", "--learning-rate", "1e-9"]
    )
    training = train_codes.CodeTraining(train_codes._options())
    for step in range(6):
        training.step(step)
    training.start_codebooks()
    level = training.codec.quantizer.quantizers[0]
    before = level.codebook.weight.detach().clone()
    training.step(6)
    averaged = training.average.state_dict()["quantizer.quantizers.0.codebook.weight"]
    for found in (level.codebook.weight.detach(), averaged):
        torch.testing.assert_close(found, before, rtol=0, atol=1e-6)


def test_a_low_band_is_the_audio_below_it(monkeypatch):
    """A tone of 200 Hz comes through at an eighth of the rate; one of 4 kHz does not."""
    monkeypatch.syspath_prepend("scripts")
    from train_codes import low_band

    times = torch.arange(24_000, dtype=torch.float64) / 24_000
    low, high = ((2 * torch.pi * hertz * times).sin().float()[None, None] for hertz in (200, 4000))
    found = low_band(low + high, 24_000)[..., 100:-100]
    assert (found - low[..., ::8][..., 100:-100]).abs().max() < 0.02


def test_saving_does_not_touch_what_learns(tmp_path, start, monkeypatch):
    """The averaged weights are written; training goes on from its own."""
    monkeypatch.syspath_prepend("scripts")
    import train_codes

    ready = write_sound(tmp_path).folder
    arguments = ("--start-from", start, "-o", tmp_path / "codes", "--from-block", 1, *SMALL)
    monkeypatch.setattr("sys.argv", ["train_codes.py", str(ready), *map(str, arguments)])
    training = train_codes.CodeTraining(train_codes._options())
    for step in range(3):
        training.step(step)
    before = {name: value.clone() for name, value in training.codec.state_dict().items()}
    training.save()
    after, written = training.codec.state_dict(), SNAC.from_pretrained(tmp_path / "codes").state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert any(not torch.equal(value, written[name]) for name, value in before.items())
