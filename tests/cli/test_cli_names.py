"""Under which names `snac-tok decode` writes the sounds of shards, and what becomes of bad names."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snac_tok import write_audio
from snac_tok.cli.sound_names import SoundNames, fault_of, seen_as
from snac_tok.errors import ShardError
from snac_tok.shards import (
    CollectionInfo,
    Manifest,
    Record,
    ShardInfo,
    check_shard,
    write_manifest,
    write_shard,
)


def record(name, *, num_samples=100, codes=None):
    """Make a record of one frame."""
    return Record(
        id=name,
        source=name,
        num_samples=num_samples,
        source_sampling_rate=8000,
        codes=np.zeros(7, dtype=np.uint16) if codes is None else codes,
    )


@pytest.fixture
def make_shards(work, tokenizer):
    """A function that writes shards/ with these records, as somebody else's program could."""

    def make(*records):
        described = tokenizer.describe()
        info = CollectionInfo(**described)
        shard = ShardInfo(collection=info, plan_fingerprint="0" * 64, index=0, num_shards=1)
        (work / "shards").mkdir()
        path = write_shard(work / "shards", list(records), info=shard)
        entry = check_shard(path, expected=shard).entry
        write_manifest(
            work / "shards",
            Manifest(collection=info, plan_fingerprint=shard.plan_fingerprint, shards=(entry,)),
        )

    return make


def written(folder):
    """Return the paths of all files below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def names_of(*ids, ending=".wav"):
    """Return the names that records with these ids get, in this order."""
    names = SoundNames(Path("out"), ending=ending)
    return [names.path_of(record(name)).relative_to("out").as_posix() for name in ids]


def test_one_rule():
    """A record's own name with .wav behind it, unless it ends so; nothing depends on the neighbours."""
    ids = ["a.mp3", "a.wav", "A.flac", "talk", "d/a.mp3", "d/B.WAV", "b.c.wav#1", ".wav"]
    wanted = [
        "a.mp3.wav",
        "a.wav",
        "A.flac.wav",
        "talk.wav",
        "d/a.mp3.wav",
        "d/B.WAV",
        "b.c.wav#1.wav",
        ".wav.wav",
    ]
    assert names_of(*ids) == wanted
    assert names_of(*reversed(ids)) == wanted[::-1]
    assert names_of("a.mp3", "a.wav", "a.flac", ending=".flac") == ["a.mp3.flac", "a.wav.flac", "a.flac"]


def test_names_that_some_file_system_takes_for_one():
    """Other case, other forms of an accent and a name that already looks like the rule's get numbers."""
    assert names_of("a.wav", "A.wav", "A.WAV") == ["a.wav", "A~2.wav", "A~3.WAV"]
    assert names_of("D/a.wav", "d/a.wav") == ["D/a.wav", "d/a~2.wav"]
    assert names_of("a.mp3", "a.mp3.wav", "a.mp3~2.wav") == ["a.mp3.wav", "a.mp3~2.wav", "a.mp3~2~2.wav"]
    composed, apart = (unicodedata.normalize(form, "é.wav") for form in ("NFC", "NFD"))
    assert len(set(map(seen_as, names_of(composed, apart)))) == 2


@given(st.lists(st.text("aAéÉ~2.wavmp3/# ", min_size=1, max_size=12), unique=True, min_size=2, max_size=12))
def test_names_never_collide(ids):
    """Whatever records are called, no two of them get names that any file system takes for one."""
    names, found = SoundNames(Path("out"), ending=".wav"), []
    for name in ids:
        try:
            found.append(seen_as(str(names.path_of(record(name)))))
        except ShardError:
            continue
    assert len(set(found)) == len(found)


BAD = {
    "out of the folder": ["../x.wav", "/x.wav", "a/../../x", "..", ".", "a//b", "a/", "d/.."],
    "out of the folder on Windows": ["..\\x.wav", "C:\\x.wav", "C:x.wav", "\\\\server\\x.wav", "d\\x.wav"],
    "device": ["CON", "con.wav", "NUL.txt", "d/COM1.mp3", "LPT9", "aux", "prn .wav", "COM¹.wav", "nul/x.wav"],
    "dot or a space": ["d./x.wav", "d /x.wav", "d.../x.wav"],
    "no file's name": ["x\0.wav", "x\n.wav", "\x1b[2J.wav", "x\x7f.wav"],
    "too long": ["x" * 300, "x" * 252 + ".mp3", "é" * 130, "d" * 256 + "/x.wav"],
}


@pytest.mark.parametrize(
    ("reason", "name"), [(reason, name) for reason, names in BAD.items() for name in names]
)
def test_names_no_file_may_have(reason, name):
    """What leads elsewhere, is a device, or cannot be written on some system is refused on every system."""
    with pytest.raises(ShardError, match=reason):
        SoundNames(Path("out"), ending=".wav").path_of(record(name))


@pytest.mark.parametrize(
    "name", ["10:30.wav", 'say "hm"?.wav', "a|b.wav", "CONSOLE.wav", "com10.wav", "a. b.wav"]
)
def test_names_that_are_fine(name):
    """Times of day and questions may stand in names where the system allows it; Windows does not."""
    assert fault_of(name, windows=False) is None
    assert (fault_of(name, windows=True) is None) == (not set(name) & set(':"?|'))


def test_bad_names_do_not_end_a_decode(run, work, make_shards):
    """The other records are decoded; each bad one is listed at the end with the reason; the exit code is 1."""
    bad = ["../evil.wav", "..\\evil.wav", "C:\\evil.wav", "CON", "x\0.wav", "x" * 300, "d./x.wav"]
    make_shards(record("first.wav"), *map(record, bad), record("last.mp3"))
    before = set(work.parent.iterdir())
    result = run("decode", "shards", "-o", "wavs")
    assert result.exit_code == 1
    assert written(work / "wavs") == ["first.wav", "last.mp3.wav"]
    assert set(work.parent.iterdir()) == before
    lines = result.stderr.splitlines()
    assert [line.startswith("snac-tok: skipped ") for line in lines] == [False] * 3 + [True] * len(bad)
    assert "decoded 2 records" in lines[2]
    assert "\\x00" in result.stderr
    assert all("decodes it alone" in line for line in lines[3:])


def test_bad_records_do_not_end_a_decode(run, work, make_shards):
    """Neither does a record whose length its codes do not have, nor one without codes."""
    make_shards(
        record("long", num_samples=10**6),
        record("none", codes=np.zeros(0, np.uint16)),
        record("zero", num_samples=0),
        record("good"),
    )
    result = run("decode", "shards", "-o", "wavs")
    assert result.exit_code == 1
    assert written(work / "wavs") == ["good.wav"]
    assert [line.split()[2] for line in result.stderr.splitlines()[2:]] == ["'long':", "'none':", "'zero':"]


def test_nothing_but_bad_names(run, make_shards):
    """Where nothing could be decoded the exit code is 2."""
    make_shards(record("../x"), record("NUL"))
    assert run("decode", "shards", "-o", "wavs").exit_code == 2


def test_a_bad_name_alone(run, work, make_shards):
    """A record that no file can be called like is decoded into a file that is named."""
    make_shards(record("CON"), record("b.wav"))
    assert run("decode", "shards", "-o", "good.wav", "--id", "CON").exit_code == 0
    assert (work / "good.wav").exists()


def test_deep_folders(run, work, make_shards):
    """A record 1,500 folders deep, which no recursion can make, is listed, and the next one is decoded."""
    make_shards(record("d/" * 1_500 + "a.wav"), record("e/" * 50 + "a.wav"), record("b.wav"))
    result = run("decode", "shards", "-o", "wavs")
    assert result.exit_code == 1
    assert "1501 folders deep" in result.stderr
    assert written(work / "wavs") == ["b.wav", "e/" * 50 + "a.wav"]


def test_a_file_where_a_folder_must_be(run, work, make_shards):
    """Records whose names contradict each other: the first is written, the other listed."""
    make_shards(record("a.wav"), record("a.wav/b.wav"), record("c.wav/d.wav"), record("c.wav"), record("e"))
    result = run("decode", "shards", "-o", "wavs")
    assert result.exit_code == 1
    assert written(work / "wavs") == ["a.wav", "c.wav/d.wav", "e.wav"]
    assert result.stderr.count("skipped") == 2


def test_a_full_disk_ends_a_decode(refused, work, make_shards, monkeypatch):
    """What is not the record's fault is not listed as one: it is told at once."""

    def no_space(_descriptor):
        raise OSError(28, "No space left on device")

    make_shards(record("a.wav"), record("b.wav"))
    monkeypatch.setattr(os, "fsync", no_space)
    assert "No space left" in refused("decode", "shards", "-o", "wavs")
    assert written(work / "wavs") == []


def test_the_same_name_whatever_is_chosen(run, work, make_shards):
    """--id and --limit change no name."""
    make_shards(record("a.wav"), record("A.wav"), record("a.mp3"))
    assert run("decode", "shards", "-o", "all").exit_code == 0
    assert run("decode", "shards", "-o", "one", "--id", "A.wav").exit_code == 0
    assert run("decode", "shards", "-o", "two", "--limit", "2").exit_code == 0
    assert written(work / "all") == ["A~2.wav", "a.mp3.wav", "a.wav"]
    assert written(work / "one") == ["A~2.wav"]
    assert written(work / "two") == ["A~2.wav", "a.wav"]


def test_each_name_holds_its_record(run, work, make_shards, tokenizer):
    """a.wav's sound goes to a.wav, whatever stands beside it."""
    mp3, wav = (np.full(7, code, dtype=np.uint16) for code in (3, 1_000))
    make_shards(record("a.mp3", codes=mp3), record("a.wav", codes=wav))
    assert run("decode", "shards", "-o", "wavs").exit_code == 0
    for name, codes in (("a.mp3.wav", mp3), ("a.wav", wav)):
        ids = tokenizer.vocabulary.encode(tokenizer.layout.unflatten(codes))
        write_audio("wanted.wav", tokenizer.decode(ids, num_samples=100))
        assert (work / "wavs" / name).read_bytes() == Path("wanted.wav").read_bytes()


@pytest.mark.parametrize("output", ["x.mp3", "x.wav", "x.npz", "x.json"])
def test_no_folder_is_called_like_a_file(refused, work, make_shards, output):
    """Several records do not silently become a folder x.mp3, nor does one record."""
    make_shards(record("a.wav"), record("b.wav"))
    assert "name a folder" in refused("decode", "shards", "-o", output)
    if output != "x.wav":
        assert "sound is written to .wav or .flac" in refused(
            "decode", "shards", "-o", output, "--id", "a.wav"
        )
    assert not (work / output).exists()


def test_folders_with_dots(run, work, make_shards):
    """A folder may be called so where it is one already, or a / says so; dots alone make no file."""
    make_shards(record("a.wav"), record("b.wav"))
    (work / "there.mp3").mkdir()
    for output in ("there.mp3", "new.mp3/", "wavs.v2"):
        assert run("decode", "shards", "-o", output).exit_code == 0
        assert written(work / output) == ["a.wav", "b.wav"]


def test_a_file_is_no_folder(refused, work, make_shards):
    """A file that stands where the folder was to be is named."""
    make_shards(record("a.wav"))
    (work / "notes").write_text("precious")
    assert "notes is a file" in refused("decode", "shards", "-o", "notes")


def test_encode_keeps_names_apart(refused, run, work):
    """Sounds that differ in case or ending alone would share an .npz; a folder called x.mp3 must be meant."""
    (work / "A.wav").write_bytes((work / "a.wav").read_bytes())
    assert "same name" in refused("encode", "a.wav", "A.wav", "-o", "codes")
    assert "same name" in refused("encode", "a.wav", "clips/a.wav", "-o", "codes")
    assert "one file" in refused("encode", "a.wav", "b.flac", "-o", "x.mp3")
    assert run("encode", "a.wav", "b.flac", "-o", "x.mp3/").exit_code == 0
