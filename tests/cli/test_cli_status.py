"""`snac-tok status` and `snac-tok verify`."""

import json


def test_a_finished_collection(run, shards):
    """Exit code 0, for people and for programs."""
    result = run("status", "shards")
    assert result.exit_code == 0
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert (lines["state"], lines["shards"], lines["recordings"]) == ("finished", "1 of 1", "2 of 2")
    assert json.loads(run("status", "shards", "--json").stdout)["num_records"] == 2
    for options in ([], ["--read-data"]):
        result = run("verify", "shards", *options)
        assert (result.exit_code, result.stdout) == (0, "shards: all is well\n")
    assert shards.exists()


def test_what_is_missing_or_damaged(run, work):
    """Exit code 1, with names."""
    (work / "clips" / "x.wav").write_bytes(b"no sound")
    assert run("shard", "clips", "shards", "--clips-per-shard", "1").exit_code == 1
    for name in ("_manifest.json", "train-00000-of-00003.parquet"):
        (work / "shards" / name).unlink()
    result = run("status", "shards")
    assert result.exit_code == 1
    assert "missing     train-00000-of-00003.parquet" in result.stdout
    assert "reasons     1 not-sound" in result.stdout
    (work / "shards" / "train-00001-of-00003.parquet").write_bytes(b"cut")
    result = run("verify", "shards")
    assert result.exit_code == 1
    assert result.stdout.startswith("train-00001-of-00003.parquet: ")
    assert result.stdout.endswith("1 fault in shards\n")
    assert [row["name"] for row in json.loads(run("verify", "shards", "--json").stdout)] == [
        "train-00001-of-00003.parquet"
    ]


def test_a_collection_that_is_not_finished_is_not_well(run):
    """A script that asks whether all is there must not go on."""
    assert run("shard", "clips", "shards", "--clips-per-shard", "1", "--shard-index", "0/2").exit_code == 0
    result = run("verify", "shards")
    assert result.exit_code == 1
    assert "what is there is as it should be, but it is not finished (1 of 2 shards)" in result.stdout
    assert (run("verify", "shards", "--json").exit_code, run("verify", "shards", "--json").stdout) == (
        1,
        "[]\n",
    )


def test_no_collection(refused):
    """One sentence."""
    assert "nowhere" in refused("status", "nowhere")
    assert "clips has no _plan.json" in refused("verify", "clips")
