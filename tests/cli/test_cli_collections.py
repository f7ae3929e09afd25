"""Which commands take many recordings at once, and what `shard` says of its time and of duplicates."""

import shutil

import pytest


@pytest.mark.parametrize("named", ["hf:mozilla/speech:train", "clips/*.wav", "train.jsonl", "speech-000.tar"])
def test_encode_takes_single_recordings(refused, named):
    """What holds many goes to `shard`."""
    said = refused("encode", named, "-o", "codes")
    assert f"{named} is not one recording; `snac-tok shard {named} OUT` encodes the recordings in it" in said


def test_prepare_takes_a_pattern(run):
    """As shard and eval do."""
    assert run("prepare", "clips/**/*.wav", "-o", "prepared", "--sampling-rate", "24000").exit_code == 0


def test_the_account_of_a_run(run, work):
    """Duplicates are left out, and the time is told apart."""
    first = next(path for path in sorted((work / "clips").iterdir()) if path.suffix == ".wav")
    shutil.copy(first, work / "clips" / "zz.wav")
    said = run("shard", "clips", "shards", "--model", "tiny", "--dedupe").stdout
    assert "left out  1\n" in said
    assert "% encoding, " in said
    assert "% waiting for files, " in said
    assert '"code": "duplicate"' in (work / "shards" / "_failed.jsonl").read_text()
