"""`snac-tok shard`."""

import json

import pytest

from snac_tok import SnacTokenizer, open_shards
from snac_tok.corpus import BatchLimits, estimate_folder, worker


def test_a_folder_becomes_shards(run, work, tokenizer):
    """All recordings are encoded, with their texts; the summary says what was made; exit code 0."""
    result = run("shard", "clips", "shards", "--clips-per-shard", "1")
    assert result.exit_code == 0
    collection = open_shards(work / "shards")
    assert [record.id for record in collection] == ["a.wav", "b.flac"]
    assert [record.text for record in collection] == ["has never", None]
    first = next(iter(collection.ids(tokenizer.vocabulary)))[1]
    assert first.tolist() == tokenizer.encode("a.wav")
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines["shards"] == "2 files in shards"
    assert (lines["clips"], lines["failures"]) == ("2", "0")
    assert lines["tokens"] == str(collection.manifest.num_tokens)
    assert "times real time" in lines["speed"]


def test_unusable_recordings_are_listed(run, work):
    """A recording that cannot be used is listed in _failed.jsonl; the others are done; exit code 1."""
    (work / "clips" / "bad.wav").write_bytes(b"no sound")
    result = run("shard", "clips", "shards")
    assert result.exit_code == 1
    assert "_failed.jsonl" in result.stdout
    failed = [json.loads(line) for line in (work / "shards" / "_failed.jsonl").read_text().splitlines()]
    assert [failure["source"] for failure in failed] == ["bad.wav"]
    assert len(open_shards(work / "shards")) == 2


def test_progress_goes_to_stderr(run):
    """The bar counts clips on stderr; stdout has the summary alone; without a terminal there is none unless asked."""
    shown = run("shard", "clips", "shown", "--progress")
    assert "2/2 clips" in shown.stderr
    assert "100%" in shown.stderr
    assert "2/2" not in shown.stdout
    assert not run("shard", "clips", "quiet").stderr


def test_channels_each(run, work):
    """--channels each makes a record a channel, and the shards say so."""
    (work / "stereo.wav").rename(work / "clips" / "stereo.wav")
    assert run("shard", "clips", "shards", "--channels", "each").exit_code == 0
    collection = open_shards(work / "shards")
    assert [record.id for record in collection] == ["a.wav", "b.flac", "stereo.wav#0", "stereo.wav#1"]
    assert collection.info.channels == "each"
    assert run("decode", "shards", "-o", "wavs").exit_code == 0
    assert (work / "wavs" / "stereo.wav#1.wav").exists()


def test_a_finished_folder_is_kept(refused, run, work, shards):
    """Another collection in its place is refused, and made with --force; other files in the folder stay."""
    (shards / "notes.txt").write_text("mine")
    before = (shards / "_manifest.json").read_bytes()
    sentence = refused("shard", "clips", "shards", "--clips-per-shard", "1")
    assert "shards already holds a finished collection, made with other options (clips_per_shard)" in sentence
    (work / "empty").mkdir()
    assert "has no audio file" in refused("shard", "empty", "shards", "--force")
    assert (shards / "_manifest.json").read_bytes() == before
    (work / "clips" / "b.flac").unlink()
    assert run("shard", "clips", "shards", "--force").exit_code == 0
    assert [record.id for record in open_shards(shards)] == ["a.wav"]
    assert (shards / "notes.txt").read_text() == "mine"


def test_force_says_warnings_once(run, work):
    """The folder is listed once, with an earlier collection or without."""
    (work / "clips" / "metadata.csv").write_text("file_name,text\ngone.wav,x\n", encoding="utf-8")
    for _ in range(2):
        lines = run("shard", "clips", "shards", "--force").stderr.splitlines()
        assert len(lines) == 1
        assert "1 file that is not there: gone.wav" in lines[0]


def test_metadata_of_another_kind(run, work):
    """It stops nothing; one message says that there are no texts."""
    (work / "clips" / "metadata.csv").write_text("file_name,speaker\na.wav,x\n", encoding="utf-8")
    result = run("shard", "clips", "shards")
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert "gives no texts" in line
    assert [record.text for record in open_shards(work / "shards")] == [None, None]


def test_half_a_character_in_metadata(refused, work):
    """One sentence with the line."""
    (work / "clips" / "metadata.csv").unlink()
    text = '{"id": "a", "text": "x"}\n{"id": "b", "text": "\\ud800"}\n'
    (work / "clips" / "metadata.jsonl").write_text(text, encoding="utf-8")
    assert "metadata.jsonl, line 2" in refused("shard", "clips", "shards")


def test_long_recordings_with_their_channels(run, work, monkeypatch):
    """Block by block, whatever becomes of the channels: the same shards."""
    (work / "stereo.wav").rename(work / "clips" / "stereo.wav")
    assert run("shard", "clips", "whole", "--channels", "each").exit_code == 0
    monkeypatch.setattr(worker, "BatchLimits", lambda: BatchLimits(long_seconds=0))
    assert run("shard", "clips", "blocks", "--channels", "each").exit_code == 0
    for path in (work / "whole").iterdir():
        assert (work / "blocks" / path.name).read_bytes() == path.read_bytes()


def test_force_leaves_other_peoples_files(refused, work):
    """A folder with a _manifest.json of another kind is refused even with --force, and stays as it is."""
    (work / "site").mkdir()
    (work / "site" / "_manifest.json").write_text("{}")
    assert "site" in refused("shard", "clips", "site", "--force")
    assert [path.name for path in (work / "site").iterdir()] == ["_manifest.json"]
    assert (work / "site" / "_manifest.json").read_text() == "{}"


def test_force_begins_anew_what_was_interrupted(run, refused, work):
    """An unfinished run with other options is refused, and replaced with --force."""
    assert run("shard", "clips", "shards", "--clips-per-shard", "1").exit_code == 0
    (work / "shards" / "_manifest.json").unlink()
    assert "shards" in refused("shard", "clips", "shards")
    assert run("shard", "clips", "shards", "--force").exit_code == 0
    assert [path.name for path in (work / "shards").glob("*.parquet")] == ["train-00000-of-00001.parquet"]


def test_an_interrupted_run_goes_on(run, work):
    """Shards left by an interrupted run are kept, and the summary says so."""
    assert run("shard", "clips", "shards", "--clips-per-shard", "1").exit_code == 0
    (work / "shards" / "_manifest.json").unlink()
    (work / "shards" / "train-00001-of-00002.parquet").unlink()
    result = run("shard", "clips", "shards", "--clips-per-shard", "1")
    assert result.exit_code == 0
    assert "1 of them from before" in result.stdout
    assert len(open_shards(work / "shards")) == 2


def test_a_finished_run_repeated(run, work):
    """It is finished: the summary says so, nothing is written, and the exit code is that of the first time."""
    assert run("shard", "clips", "shards").exit_code == 0
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (work / "shards").iterdir()}
    result = run("shard", "clips", "shards")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines["shards"] == "1 file in shards, finished before: nothing was left to do"
    assert lines["clips"] == "2"
    assert "speed" not in lines
    assert lines["time"].endswith("in all")
    assert before == {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (work / "shards").iterdir()
    }
    (work / "clips" / "bad.wav").write_bytes(b"no sound")
    for _ in range(2):
        result = run("shard", "clips", "others")
        assert result.exit_code == 1
        assert "why files failed: others/_failed.jsonl" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["empty", "out"], "has no audio file"),
        (["missing", "out"], "missing"),
        (["a.wav", "out"], "a.wav"),
        (["clips", "a.wav"], "a.wav"),
        (["clips", "clips"], "choose one outside"),
        (["clips", "clips/shards", "--force"], "choose one outside"),
        (["clips"], "OUT"),
        (["clips", "out", "--clips-per-shard", "0"], "--clips-per-shard"),
        (["clips", "out", "--channels", "both"], "both"),
        (["clips", "out", "--model", "missing"], "missing"),
    ],
)
def test_wrong_usage(refused, work, arguments, reason):
    """A folder without sound, a missing one and impossible options are refused in one sentence."""
    (work / "empty").mkdir()
    assert reason in refused("shard", *arguments)


def test_a_dry_run(run, work):
    """Counts are exact, hours and size near what a run makes, and nothing is written."""
    (work / "clips" / "bad.wav").write_bytes(b"no sound")
    before = sorted(work.rglob("*"))
    result = run("shard", "clips", "shards", "--dry-run", "--clips-per-shard", "2")
    assert result.exit_code == 0
    assert sorted(work.rglob("*")) == before
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines["recordings"] == "3 in 2 shards, 1 with text"
    assert "1 of them cannot be read" in lines["sound"]
    assert lines["time"].endswith("on this machine")
    assert run("shard", "clips", "shards").exit_code == 1
    found = estimate_folder("clips", SnacTokenizer.from_pretrained("tiny"))
    manifest = open_shards("shards").manifest
    assert found.hours == pytest.approx(manifest.hours, rel=0.02)
    assert found.num_tokens == pytest.approx(manifest.num_tokens, rel=0.1)


def test_a_dry_run_takes_only_what_counts(run, refused):
    """Limits change the estimate; options that it does not depend on are refused, all of them in one sentence."""
    result = run("shard", "clips", "shards", "--dry-run", "--min-duration", "100")
    assert "about 0.00 h" in result.stdout
    ignored = ["--loudness", "-23", "--force", "--jobs", "3", "--rerun-errors", "--dedupe"]
    said = refused("shard", "clips", "shards", "--dry-run", *ignored)
    assert "run it without --loudness, --dedupe, --rerun-errors, --jobs, --force" in said


def test_a_pattern_a_table_and_columns(run, work):
    """What the shell leaves alone; columns by name."""
    assert run("shard", "clips/*.wav", "some").exit_code == 0
    assert [record.id for record in open_shards(work / "some")] == ["a.wav"]
    (work / "m.csv").write_text("path,text,speaker,gender\na.wav,one,Ann,F\nb.flac,two,Ben,\n")
    assert run("shard", "m.csv", "kept", "--keep-columns", "gender, speaker").exit_code == 0
    first, second = open_shards(work / "kept")
    assert dict(first.columns) == {"gender": "F", "speaker": "Ann"}
    assert dict(second.columns) == {"gender": None, "speaker": "Ben"}
    assert run("shard", "m.csv", "none", "--keep-columns", "none").exit_code == 0
    assert dict(next(iter(open_shards(work / "none"))).columns) == {}


def test_a_job_array(run, work):
    """Tasks say how to go on, the merge needs neither recordings nor a model, and the files are those of one run."""
    options = ("--clips-per-shard", "1")
    assert run("shard", "clips", "whole", *options).exit_code == 0
    for task in ("1/2", "0/2"):
        result = run("shard", "clips", "shards", *options, "--shard-index", task)
        assert result.exit_code == 0
        assert "snac-tok shard SOURCE shards --merge" in result.stdout
    result = run("shard", "gone", "shards", "--merge", "--model", "missing")
    assert result.exit_code == 0
    for path in (work / "whole").iterdir():
        assert (work / "shards" / path.name).read_bytes() == path.read_bytes()
    for wrong in ("2/2", "1", "a/b", "-1/2"):
        result = run("shard", "clips", "shards", "--shard-index", wrong)
        assert (result.exit_code, "--shard-index" in result.stderr) == (2, True)


def test_a_repaired_recording(run, refused, work):
    """The same command names the option that keeps the collection."""
    (work / "clips" / "bad.wav").write_bytes(b"no sound")
    assert run("shard", "clips", "shards").exit_code == 1
    (work / "clips" / "bad.wav").write_bytes((work / "clips" / "a.wav").read_bytes())
    assert "--rerun-errors keeps the rest" in refused("shard", "clips", "shards")
    assert run("shard", "clips", "shards", "--rerun-errors").exit_code == 0


def test_options_that_would_undo_an_array_or_do_nothing(refused, work):
    """A task with --force, and a merge with what it would not do, are wrong usage; nothing is touched."""
    said = refused("shard", "clips", "shards", "--shard-index", "0/2", "--force")
    assert "begin anew once, without --shard-index" in said
    for options in (["--force"], ["--shard-index", "0/2"], ["--rerun-errors"], ["--dry-run"]):
        assert f"run it without {options[0]}" in refused("shard", "clips", "shards", "--merge", *options)
    ignored = [
        "--min-duration",
        "1",
        "--loudness",
        "-23",
        "--jobs",
        "0",
        "--channels",
        "mean",
        "--engine",
        "local",
    ]
    said = refused("shard", "clips", "shards", "--merge", *ignored)
    for option in ignored[::2]:
        assert option in said
    assert not (work / "shards").exists()


def test_a_clusters_options(run, refused):
    """They need the cluster's engine, and a cluster that does not answer is one sentence."""
    for option in ("--address", "--workers", "--cpus-per-worker", "--gpus-per-worker"):
        assert f"{option} is for a cluster; add --engine ray" in refused(
            "shard", "clips", "shards", option, "1"
        )
    sentence = refused("shard", "clips", "shards", "--engine", "ray", "--address", "127.0.0.1:1")
    assert "no Ray cluster answers at 127.0.0.1:1" in sentence
    assert run("shard", "clips", "shards").exit_code == 0
