"""`snac-tok eval`."""

import json
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from snac_tok import read_audio
from snac_tok.evaluation import evaluation_from_json

PNG = b"\x89PNG\r\n\x1a\n"


def test_a_folder_is_evaluated(run):
    """The table has a row a codec and a column a measure; usage and worst clips follow; exit code 0."""
    result = run("eval", "clips", "--against", "identity", "--metrics", "mel,pesq,stoi")
    assert result.exit_code == 0, result.output
    blocks = result.stdout.split("\n\n")
    assert blocks[0].startswith("2 clips, 0.93 s of sound, compared at 24000 Hz")
    head, tiny, identity = (line.split() for line in blocks[1].splitlines())
    assert head == ["codec", "kbps", "entropy", "mel", "↓", "PESQ", "↑", "STOI", "↑", "encode", "decode"]
    assert tiny[0] == "tiny"
    assert "4.64" in identity
    assert [line.split()[:2] for line in blocks[2].splitlines()[1:]] == [
        ["tiny", str(level)] for level in range(3)
    ]
    assert blocks[3].startswith("worst clips by PESQ\n  tiny: ")
    assert not result.stderr


def test_levels_and_seeds(run):
    """--levels all adds a row for each smaller number of levels; --seeds adds how much the means change."""
    result = run("eval", "a.wav", "--levels", "all", "--seeds", "2", "--metrics", "mel")
    assert result.exit_code == 0, result.output
    assert "the noise drawn 2 times" in result.stdout
    rows = [line.split() for line in result.stdout.split("\n\n")[1].splitlines()]
    assert [row[:2] for row in rows[1:3]] == [["tiny", "1/3"], ["tiny", "2/3"]]
    assert rows[3][0] == "tiny"
    assert "how much the means change from seed to seed" in result.stdout


def test_a_folder_keeps_the_sounds_and_a_page_that_plays_them(run, work):
    """Each clip as recorded and through each codec, under names that any system takes; --no-sounds leaves them out."""
    (work / "clips").rename(work / "clips & <more>")
    assert (
        run("eval", "clips & <more>", "--against", "identity", "-o", "report", "--metrics", "mel").exit_code
        == 0
    )
    folder = work / "report"
    page = (folder / "listen.html").read_text(encoding="utf-8")
    sources = re.findall(r"<audio [^>]*src='([^']*)'", page)
    assert len(sources) == 2 * 3
    assert {Path(source).name for source in sources} == {"recording.wav", "tiny.wav", "identity.wav"}
    assert sorted(sources) == sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.wav"))
    assert "<more>" not in page
    for source in sources:
        names = ("recording.wav", "identity.wav", "tiny.wav")
        recorded, same, sound = (read_audio((folder / source).with_name(name)).samples for name in names)
        assert np.array_equal(same, recorded)
        assert sound.shape == recorded.shape
        assert not np.array_equal(sound, recorded)
    assert run("eval", "clips & <more>", "-o", "without", "--no-sounds", "--metrics", "mel").exit_code == 0
    assert not list((work / "without").rglob("*.wav"))
    assert not (work / "without" / "listen.html").exists()


def test_a_folder_gets_the_whole_report(run, work):
    """-o writes JSON, text and pictures; a second time only with --force."""
    assert run("eval", "clips", "-o", "new/report", "--metrics", "mel").exit_code == 0
    folder = work / "new" / "report"
    found = evaluation_from_json((folder / "report.json").read_bytes())
    assert [codec.name for codec in found.codecs] == ["tiny"]
    assert (folder / "report.txt").read_text(encoding="utf-8").startswith("2 clips")
    for name in ("quality.png", "spectrograms.png"):
        assert (folder / name).read_bytes().startswith(PNG)
    again = run("eval", "clips", "-o", "new/report", "--metrics", "mel")
    assert again.exit_code == 2
    assert "report.json is already there" in again.stderr
    assert run("eval", "clips", "-o", "new/report", "--metrics", "mel", "--force").exit_code == 0


def test_a_report_never_mixes_with_an_earlier_one(run, work):
    """--force removes all that an earlier report wrote, and nothing else; with --no-sounds too."""
    options = ("-o", "report", "--metrics", "mel")
    assert run("eval", "clips", *options).exit_code == 0
    folder = work / "report"
    (folder / "sounds" / "notes.txt").write_text("mine")
    assert run("eval", "a.wav", *options, "--force").exit_code == 0
    assert [path.name for path in (folder / "sounds").iterdir() if path.is_dir()] == ["0001-a"]
    assert run("eval", "a.wav", *options, "--force", "--no-sounds").exit_code == 0
    assert not (folder / "listen.html").exists()
    assert [path.name for path in (folder / "sounds").iterdir()] == ["notes.txt"]


def test_force_removes_nothing_behind_a_link(run, work):
    """What it leads to is somebody else's."""
    mine = work / "mine" / "0001-song" / "a.wav"
    mine.parent.mkdir(parents=True)
    mine.write_text("my song")
    (work / "report").mkdir()
    (work / "report" / "sounds").symlink_to(work / "mine")
    run("eval", "a.wav", "-o", "report", "--metrics", "mel", "--force", "--no-sounds")
    assert mine.read_text() == "my song"


@pytest.mark.parametrize("more", [(), ("--no-sounds",)])
def test_sounds_of_a_killed_run_are_not_overwritten_unasked(run, work, more):
    """It left no report, only sounds; a failed --force leaves them, too."""
    sound = work / "report" / "sounds" / "0001-a" / "recording.wav"
    sound.parent.mkdir(parents=True)
    sound.write_text("my notes")
    refused = run("eval", "a.wav", "-o", "report", "--metrics", "mel", *more)
    assert refused.exit_code == 2
    assert "0001-a/recording.wav is a sound of an earlier report" in refused.stderr
    assert "--force" in refused.stderr
    assert run("eval", "a.wav", "-o", "report", "--metrics", "no-such", "--force", *more).exit_code == 2
    assert sound.read_text() == "my notes"


def test_a_folder_that_cannot_be_made_is_named_with_a_remedy(run):
    """Here one below a file."""
    refused = run("eval", "a.wav", "-o", "a.wav/report", "--metrics", "mel")
    assert refused.exit_code == 2
    assert "a.wav/report: cannot be written (Not a directory); " in refused.stderr


def test_json_and_png_alone(run, work):
    """--json - prints JSON and nothing else; --json FILE and --png FILE write files."""
    printed = run("eval", "a.wav", "--metrics", "mel", "--json", "-")
    assert json.loads(printed.stdout)["measures"] == ["mel"]
    assert run("eval", "a.wav", "--metrics", "mel", "--json", "r.json", "--png", "q.png").exit_code == 0
    assert json.loads((work / "r.json").read_text(encoding="utf-8"))["format"] == "snac_tok.evaluation"
    assert (work / "q.png").read_bytes().startswith(PNG)


def test_the_limit_spreads_over_the_set(run, work):
    """Folders are often sorted; clips are taken from all over it."""
    for place in range(6):
        shutil.copy(work / "a.wav", work / "clips" / f"c{place}.wav")
    found = json.loads(run("eval", "clips", "--limit", "2", "--metrics", "mel", "--json", "-").stdout)
    assert [clip["clip"] for clip in found["codecs"][0]["clips"]] == ["a.wav", "c2.wav"]


def test_several_inputs(run):
    """Files and folders go together; names tell them apart."""
    found = json.loads(run("eval", "a.wav", "clips", "--metrics", "mel", "--json", "-").stdout)
    assert [clip["clip"] for clip in found["codecs"][0]["clips"]] == ["a.wav", "clips/a.wav", "clips/b.flac"]


def test_a_manifest_is_evaluated(run, work):
    """As in `prepare`: what it lists, by the names that it has."""
    (work / "list.csv").write_text("path,text\nclips/b.flac,x\na.wav,y\n", encoding="utf-8")
    found = json.loads(run("eval", "list.csv", "--metrics", "mel", "--json", "-").stdout)
    assert [clip["clip"] for clip in found["codecs"][0]["clips"]] == ["clips/b.flac", "a.wav"]


def test_clips_that_cannot_be_used(run, work):
    """They are named with the reason, and so are figures that a clip does not have; exit code 1."""
    (work / "clips" / "bad.wav").write_bytes(b"no sound")
    sf.write(work / "clips" / "silent.wav", np.zeros(16_000), 16_000)
    result = run("eval", "clips", "--metrics", "mel,pesq")
    assert result.exit_code == 1
    assert (
        "bad.wav was left out: not sound that soundfile reads" in result.stdout
    )  # its name stands there once
    assert "tiny has no PESQ for silent.wav: the reference is silent" in result.stdout


def test_progress_names_clip_and_codec(run):
    """On stderr, with the remaining time; without a terminal only when asked for."""
    shown = run("eval", "clips", "--metrics", "mel", "--progress")
    assert "2/2" in shown.stderr
    assert "2/2" not in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: there is no such file or folder"),
        (["empty"], "no audio file"),
        (["clips", "--metrics", "mos"], "no measure 'mos'"),
        (["clips", "--against", "mp3"], "no codec 'mp3'"),
        (["clips", "--levels", "few"], "neither all nor numbers"),
        (["clips", "--levels", "7"], "levels 1 to 3"),
        (["clips", "--model", "absent"], "absent"),
        (["clips", "-o", "a.wav"], "a.wav is a file"),
        (["clips", "--json", "no/where.json"], "no folder"),
        (["notes.md"], "no clip could be evaluated; notes.md: "),
        (["list.txt"], "no clip could be evaluated; gone.wav: "),
        ([], "INPUT"),
    ],
)
def test_bad_input_is_one_sentence(refused, work, arguments, words):
    """Whatever is wrong, before any work where possible."""
    (work / "empty").mkdir()
    (work / "notes.md").write_text("hello", encoding="utf-8")
    (work / "list.txt").write_text("gone.wav\n", encoding="utf-8")
    assert words in refused("eval", *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--json", "x.out", "--png", "x.out"], "--png x.out would take the place of what --json writes"),
        (["--json", "x.out", "--png", "./clips/../x.out"], "choose another name"),
        (["--json", "x.out", "--png", "link.out"], "choose another name"),
        (
            ["-o", "old", "--json", "old/report.txt"],
            "--json old/report.txt would take the place of what -o writes",
        ),
        (["-o", "old", "--png", "old/report.json"], "what -o writes"),
        (["-o", "r6", "--json", "r6"], "what -o writes"),
        (["-o", "old", "--json", "old/sounds"], "what -o writes"),
        (["-o", "new/r6", "--json", "new"], "what -o writes"),
        (["--json", "a.wav", "--force"], "--json would replace a.wav, which is read"),
        (["--png", "clips/a.wav", "--force"], "--png would replace clips/a.wav, which is read"),
        (["--png", "linked.wav", "--force"], "which is read"),
        (["-o", "report", "--force"], "which is read; choose another folder for -o"),
        (["--png", "-"], "--png does not write to stdout"),
        (["-o", "-"], "-o does not write to stdout"),
    ],
)
def test_no_file_of_a_report_takes_the_place_of_another(refused, work, arguments, words):
    """Nor that of a recording that is read; nothing is written, and no model loaded."""
    (work / "old").mkdir()
    (work / "link.out").symlink_to("x.out")
    (work / "linked.wav").symlink_to("a.wav")
    sound = work / "report" / "sounds" / "0001-a" / "recording.wav"
    sound.parent.mkdir(parents=True)
    shutil.copy(work / "a.wav", sound)
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    assert words in refused("eval", "a.wav", "clips", "report", "--model", "no-such-model", *arguments)
    assert {path: path.read_bytes() for path in work.rglob("*") if path.is_file()} == before


def test_what_lists_or_holds_the_recordings_is_not_replaced(refused, work):
    """A manifest, and a tar with the sound in it."""
    (work / "list.txt").write_text("a.wav\n", encoding="utf-8")
    with tarfile.open(work / "a.tar", "w") as archive:
        archive.add("a.wav")
    for name in ("list.txt", "a.tar"):
        assert f"--json would replace {name}" in refused("eval", name, "--json", name, "--force")


def test_named_files_are_written_beside_those_of_the_folder(run, work):
    """The folder is always whole: its page speaks of its report.json. The same file named again is no fault."""
    (work / "report").mkdir()
    options = ("--json", "r.json", "--png", "report/quality.png", "--metrics", "mel")
    assert run("eval", "a.wav", "-o", "report", *options).exit_code == 0
    folder = work / "report"
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        "report.json",
        "report.txt",
        "quality.png",
        "spectrograms.png",
        "listen.html",
    }
    assert (work / "r.json").read_bytes() == (folder / "report.json").read_bytes()
    assert (folder / "quality.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    ("inputs", "clips", "named"),
    [
        (["a.wav", "a.wav"], ["a.wav"], "a.wav"),
        (["a.wav", "./clips/../a.wav", "linked.wav"], ["a.wav"], "a.wav"),
        (["clips/a.wav", "clips"], ["clips/a.wav", "clips/b.flac"], "clips/a.wav"),
        (["clips", "clips/"], ["a.wav", "b.flac"], "clips"),
        (["clips", "clips/*.wav"], ["clips/a.wav", "clips/b.flac"], "clips/a.wav"),
        (["a.tar", "a.tar"], ["a.tar/a.wav"], "a.tar"),
        (
            ["list.csv"],
            ["a.wav@00000.000000-00000.300000", "a.wav@00000.300000-00000.500000"],
            "a.wav@00000.000000-00000.300000",
        ),
    ],
)
def test_a_clip_counts_once(run, work, inputs, clips, named):
    """However often it is named: twice the same one would make the mean look certain. Parts of a file are clips."""
    (work / "linked.wav").symlink_to("a.wav")
    with tarfile.open(work / "a.tar", "w") as archive:
        archive.add("a.wav")
    (work / "list.csv").write_text("path,start,end\na.wav,0,0.3\na.wav,0.3,0.5\na.wav,0,0.3\n")
    done = run("eval", *inputs, "--metrics", "mel", "--json", "-", "-o", "report")
    found = json.loads(done.stdout)
    assert [clip["clip"] for clip in found["codecs"][0]["clips"]] == clips
    assert f"{named} is named more than once and counts once" in done.stderr
    page = (work / "report" / "listen.html").read_text(encoding="utf-8")
    assert f"<p>{'1 clip' if len(clips) == 1 else '2 clips'}, each as" in page


@pytest.mark.skipif(shutil.which("opusenc") is None, reason="opus-tools are not installed")
def test_codecs_that_are_equal_are_compared_once(run):
    """However their numbers are written."""
    same = ("--against", "identity", "--against", "opus:6", "--against", "opus:6.0", "--against", "opus")
    found = json.loads(run("eval", "a.wav", *same, "--metrics", "mel", "--json", "-").stdout)
    assert [codec["name"] for codec in found["codecs"]] == ["tiny", "identity", "opus:6"]
