"""Manifests, archives and patterns: every dialect of the field gives the same recordings."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from snac_tok.errors import AudioFileError, SourceError
from snac_tok.sources.failures import failure_of
from snac_tok.sources.find import find_recordings, find_source

RATE = 8_000
SAMPLES = np.random.default_rng(3).normal(0, 0.1, 2 * RATE).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """Two recordings of two seconds, in the folders that corpora use."""
    for name in ("wavs/a.wav", "clips/b.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, SAMPLES, RATE, subtype="FLOAT")
    return tmp_path


def only(path, **options):
    """The one recording of an input."""
    (found,) = find_source(path, **options).recordings
    return found


def cut(folder, **changes):
    """A cut as lhotse 1.33 writes it."""
    recording = {
        "id": "a",
        "sources": [{"type": "file", "channels": [0], "source": str(folder / "wavs" / "a.wav")}],
        "sampling_rate": RATE,
        "num_samples": 2 * RATE,
        "duration": 2.0,
        "channel_ids": [0],
    }
    told = {"id": "s", "start": 0, "text": "Good day.", "language": "en", "speaker": "Ann", "gender": "F"}
    return {
        "id": "cut-1",
        "start": 0.5,
        "duration": 1.0,
        "channel": 0,
        "supervisions": [told],
        "recording": recording,
        "type": "MonoCut",
        **changes,
    }


DIALECTS = {
    "nemo.jsonl": '{"audio_filepath": "wavs/a.wav", "offset": 0.5, "duration": 1.0, "text": "Good day.", '
    '"speaker": "Ann", "lang": "en"}\n',
    "table.csv": "path,start,end,text,speaker_id,language\nwavs/a.wav,0.5,1.5,Good day.,Ann,en\n",
    "table.tsv": "client_id\tpath\tsentence\tlocale\tstart\tend\nAnn\twavs/a.wav\tGood day.\ten\t0.5\t1.5\n",
}


@pytest.mark.parametrize("name", [*DIALECTS, "cuts.jsonl", "cuts.jsonl.gz", "table.parquet"])
def test_a_part_with_its_text_speaker_and_language(folder, name):
    """Whatever the dialect calls them."""
    path = folder / name
    if name == "table.parquet":
        row = {
            "path": "wavs/a.wav",
            "start": 0.5,
            "end": 1.5,
            "text": "Good day.",
            "speaker": "Ann",
            "lang": "en",
        }
        pq.write_table(pa.Table.from_pylist([row]), path)
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(json.dumps(cut(folder)).encode()))
    else:
        path.write_text(DIALECTS.get(name) or json.dumps(cut(folder)))
    found = only(path)
    assert (found.text, found.columns, found.part) == (
        "Good day.",
        {"speaker": "Ann", "language": "en"},
        (0.5, 1.5),
    )
    part = SAMPLES[RATE // 2 : RATE * 3 // 2]
    assert np.array_equal(found.read().samples[0], part)
    assert np.array_equal(found.whole().samples[0], part)
    assert np.array_equal(next(iter(found.blocks())).samples[0], part)


def test_recordings_that_are_meant_as_a_whole(folder):
    """Moshi's durations, a cut of all of a recording, Common Voice's folder, LJSpeech without header or ending."""
    (folder / "moshi.jsonl").write_text('{"path": "wavs/a.wav", "duration": 2.0}\n')
    (folder / "cuts.jsonl").write_text(json.dumps(cut(folder, start=0, duration=2.0)))
    (folder / "train.tsv").write_text(
        "client_id\tpath\tsentence\tup_votes\tlocale\nAnn\tb.wav\tHello.\t2\ten\n"
    )
    (folder / "metadata.csv").write_text("a|Mr. Day|Mister Day\n")
    for name in ("moshi.jsonl", "cuts.jsonl", "train.tsv", "metadata.csv"):
        found = only(folder / name)
        assert found.part is None
        assert np.array_equal(found.read().samples[0], SAMPLES)
    assert only(folder / "train.tsv").columns == {"speaker": "Ann", "language": "en"}
    assert only(folder / "metadata.csv").text == "Mr. Day"


def test_a_list_of_paths_ends_its_lines_as_windows_does_too(folder):
    """Other line ends that Unicode knows are part of a name."""
    names = ["a\u2028b.wav", "c\x85.wav", "\u2029d.wav"]
    (folder / "list.txt").write_bytes("\r\n\n".join(names).encode() + b" \r\n")
    assert [found.name for found in find_source(folder / "list.txt").recordings] == names


def test_other_columns_are_kept_when_asked(folder):
    """As text; what a row does not have is left out."""
    (folder / "m.jsonl").write_text('{"path": "wavs/a.wav", "snr": 17.5, "gender": null}\n')
    found = only(folder / "m.jsonl", keep=["snr", "gender"])
    assert found.columns == {"snr": "17.5"}


def test_a_channel_of_a_cut(folder):
    """Two cuts of a telephone call, one a speaker."""
    two = cut(folder)["recording"] | {"channel_ids": [0, 1]}
    identities = set()
    for channel in (0, 1):
        (folder / "cuts.jsonl").write_text(json.dumps(cut(folder, channel=channel, recording=two)))
        assert only(folder / "cuts.jsonl").channel == channel
        identities.add(find_recordings([folder / "cuts.jsonl"]).identity)
    assert len(identities) == 2  # the other channel is another recording


def test_a_recording_in_a_file_a_channel(folder):
    """A cut's channel is looked for in all files, and counted inside the one that has it."""
    stereo = np.stack([0 * SAMPLES, SAMPLES / 2], axis=1)
    soundfile.write(folder / "wavs" / "cd.wav", stereo, RATE, subtype="FLOAT")
    sources = [
        {"type": "file", "channels": [0], "source": "wavs/a.wav"},
        {"type": "file", "channels": [2, 5], "source": "wavs/cd.wav"},
    ]
    several = cut(folder)["recording"] | {"sources": sources, "channel_ids": [0, 2, 5]}
    expected = {0: ("a.wav", None), 2: ("cd.wav", 0), 5: ("cd.wav", 1)}
    for channel, place in expected.items():
        (folder / "cuts.jsonl").write_text(json.dumps(cut(folder, channel=channel, recording=several)))
        found = only(folder / "cuts.jsonl")
        assert (found.sound.name, found.channel) == place
    for channel, words in {
        3: "no file of its recording has channel 3",
        (0, 5): "channels 0, 5 are in 2",
    }.items():
        (folder / "cuts.jsonl").write_text(json.dumps(cut(folder, channel=channel, recording=several)))
        with pytest.raises(SourceError, match=words):
            find_recordings([folder / "cuts.jsonl"])


def test_a_cut_of_changed_sound_is_refused(folder):
    """Lhotse would change it when loading: the file holds other sound at these seconds. Another rate is harmless."""
    other_rate, faster = (
        {"name": "Resample", "kwargs": {"source_sampling_rate": RATE, "target_sampling_rate": 16_000}},
        {"name": "Speed", "kwargs": {"factor": 1.1}},
    )
    recording = cut(folder)["recording"]
    for changes, words in [
        ([other_rate], ""),
        ([faster], "(Speed)"),
        ([other_rate, faster], "(Resample, Speed)"),
    ]:
        changed = cut(folder, recording=recording | {"transforms": changes})
        (folder / "cuts.jsonl").write_text(json.dumps(changed))
        if words:
            with pytest.raises(SourceError, match=re.escape(words)):
                find_recordings([folder / "cuts.jsonl"])
        else:
            assert only(folder / "cuts.jsonl").part == (0.5, 1.5)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"path": "a.wav", "start": 2, "end": 1}', "line 2: a part from 2.0 s to 1.0 s"),
        ('{"path": "a.wav", "start": "soon"}', "line 2: 'soon' is no number of seconds"),
        ('{"audio_filepath": null}', "line 2 holds no path in its column 'audio_filepath'; mend"),
        ('{"path": "a.wav", "text": ["x"]}', r"line 2: \['x'\] is not a text; a string is needed"),
        ('{"path": "a.wav", "text": true}', "line 2: True is not a text"),
        ('{"text": "x"}', "line 2 has no column of recordings"),
        ('{"id": "c", "recording": {}, "supervisions": []}', "line 2: it is no cut of Lhotse's"),
        (
            json.dumps(cut(Path(), supervisions=["x"])),
            "line 2: it is no cut of Lhotse's",
        ),
    ],
)
def test_a_broken_line_is_named(folder, line, words):
    """One sentence."""
    (folder / "m.jsonl").write_text(f'{{"path": "wavs/a.wav"}}\n{line}\n')
    with pytest.raises(SourceError, match=words):
        find_recordings([folder / "m.jsonl"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("path,text\nwavs/a.wav,Hello, world\n", "line 2: 3 columns, the header has 2; mend the line"),
        ("path,text\nwavs/a.wav\n", "line 2: 1 columns, the header has 2"),
        ("path\ttext\nwavs/a.wav\tone\ttwo\n", "line 2: 3 columns"),
        ("path,text\n,Hello\n", "line 2: '' is not a path; mend the line"),
        ("path,text,Text\nwavs/a.wav,One.,Two.\n", r"m\.csv: the header has two columns 'text' \(capitals"),
        ("path\ttext\tpath\nwavs/a.wav\tOne.\twavs/b.wav\n", r"m\.tsv: the header has two columns 'path'"),
    ],
)
def test_a_row_that_would_lose_something_is_refused(folder, content, words):
    """An unquoted comma in a text, a missing path, two texts; lines and columns without anything pass."""
    name = "m.tsv" if "\t" in content else "m.csv"
    (folder / name).write_text(content)
    with pytest.raises(SourceError, match=words):
        find_recordings([folder / name])
    (folder / "good.csv").write_text('path,text,,\n\nwavs/a.wav,"Hello, world",,\n,,,\n')
    assert only(folder / "good.csv").text == "Hello, world"


@pytest.mark.parametrize("name", ["m.csv", "m.txt", "m.jsonl", "m.jsonl.gz"])
@pytest.mark.parametrize("order", ["le", "be"])
def test_utf_16_is_named_as_it_is(folder, name, order):
    """Spreadsheets write it; its mark tells."""
    content = "\ufeffpath\nwavs/a.wav\n".encode(f"utf-16-{order}")
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(SourceError, match=rf"{name}, line 1: byte 0xf[ef] .*iconv -f UTF-16 -t UTF-8"):
        find_recordings([folder / name])


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl.gz"])
def test_another_encoding_is_named_with_its_line(folder, name):
    """And how to change it, whether the file has a byte order mark or not."""
    content = "path,text\nwavs/a.wav,café\n".encode("latin-1")
    for mark in (b"", b"\xef\xbb\xbf"):
        (folder / name).write_bytes(gzip.compress(mark + content) if name.endswith(".gz") else mark + content)
        with pytest.raises(
            SourceError, match=rf"{name}, line 2: byte 0xe9 is not UTF-8 text; .*iconv -f LATIN1"
        ):
            find_recordings([folder / name])


def test_a_part_behind_the_end_is_an_error_of_the_recording(folder, caplog):
    """And one that goes on beyond it ends with it."""
    (folder / "m.csv").write_text("path,start,end\nwavs/a.wav,3,4\nwavs/a.wav,1.5,9\n")
    behind, beyond = find_source(folder / "m.csv").recordings
    with pytest.raises(ValueError, match="ends before 3 s"):
        behind.read()
    assert behind.name != beyond.name
    assert beyond.read().num_samples == RATE // 2
    assert "its recording ends 7.00 s before the part does" in caplog.text


@pytest.mark.parametrize(("name", "told"), [("m.tsv", True), ("m.csv", False)])
def test_quotation_marks_that_stay_are_told(folder, caplog, name, told):
    """A program that writes tables with tabs may have meant them as quotes."""
    separator = "\t" if told else ","
    text = '"She said ""stop"" twice."'
    (folder / name).write_text(f"path{separator}text\nwavs/a.wav{separator}{text}\n")
    (found,) = find_source(folder / name).recordings
    assert found.text == (text if told else 'She said "stop" twice.')
    assert ("line 2: quotation marks are part of the text here" in caplog.text) is told


def tar_of(path, members):
    """Write a tar."""
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_tars_of_webdataset(folder):
    """One sample a name; the sound is read from its place when it is needed."""
    sound = (folder / "wavs" / "a.wav").read_bytes()
    tar_of(
        folder / "s-0.tar",
        {
            "x/1.wav": sound,
            "x/1.json": b'{"text": "Good day.", "speaker": "Ann"}',
            "x/2.txt": b"Hello.\n",
            "x/2.wav": sound,
            "notes.md": b"x",
        },
    )
    source = find_source(folder / "s-0.tar")
    found = [(each.name, each.text, dict(each.columns)) for each in source.recordings]
    assert found == [
        ("s-0.tar/x/1.wav", "Good day.", {"speaker": "Ann"}),
        ("s-0.tar/x/2.wav", "Hello.", {}),
    ]
    for recording in source.recordings:
        assert np.array_equal(recording.read().samples[0], SAMPLES)
    (folder / "s-0.tar").write_bytes(b"short")
    with pytest.raises(AudioFileError, match="it changed while the run went on"):
        source.recordings[0].read()


@pytest.mark.parametrize("listed", ["l.txt", "t.parquet"])
def test_a_folder_in_a_list_is_no_file_that_changed(folder, listed):
    """It is said to be a folder, however it is read."""
    (folder / "l.txt").write_text("wavs\n")
    cell = {"bytes": None, "path": "wavs"}
    pq.write_table(
        pa.table({"audio": pa.array([cell], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))}),
        folder / "t.parquet",
    )
    recording = only(folder / listed)
    for read in (recording.read, recording.whole, lambda: list(recording.blocks())):
        with pytest.raises(AudioFileError, match="is a directory, a sound file is needed") as raised:
            read()
        assert failure_of("wavs", raised.value).code == "not-sound"


@pytest.mark.parametrize("kind", ["bytes", "struct"])
def test_parquet_with_sound_in_it(folder, kind):
    """A row a recording, row group by row group."""
    sound = (folder / "wavs" / "a.wav").read_bytes()
    cells = [sound, b"no sound", sound]
    column = cells if kind == "bytes" else [{"bytes": cell, "path": None} for cell in cells]
    table = pa.table({"text": ["one", "two", None], "audio": column, "speaker": ["Ann", None, "Ben"]})
    pq.write_table(table, folder / "t.parquet", row_group_size=2)
    recordings = find_source(folder / "t.parquet").recordings
    assert [each.name for each in recordings] == [f"t.parquet/0000000{row}" for row in range(3)]
    assert [(each.text, each.columns.get("speaker")) for each in recordings] == [
        ("one", "Ann"),
        ("two", None),
        (None, "Ben"),
    ]
    assert np.array_equal(recordings[0].read().samples, recordings[2].read().samples)
    with pytest.raises(AudioFileError, match="not sound"):
        recordings[1].read()


@pytest.mark.parametrize("place", ["wavs/a.wav", "{folder}/wavs/a.wav"])
def test_parquet_with_paths_in_its_cells(folder, place):
    """As `datasets` writes them without the bytes; a file that is not there fails when it is read."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [{"bytes": None, "path": place.format(folder=folder)}, {"bytes": None, "path": "no.wav"}]
    table = pa.table({"audio": pa.array(cells, kind), "text": ["One.", "Two."], "start": [0.5, None]})
    pq.write_table(table, folder / "t.parquet")
    there, missing = find_source(folder / "t.parquet").recordings
    assert np.array_equal(there.read().samples[0], SAMPLES[RATE // 2 :])
    with pytest.raises(AudioFileError, match=r"no\.wav"):
        missing.read()


@pytest.mark.parametrize(("column", "value"), [("bytes", 64_044), ("speech", True), ("sound", [0.5])])
def test_a_column_that_cannot_be_sound(folder, column, value):
    """The size of a file, for one: the paths beside it count."""
    row = {"path": "wavs/a.wav", column: value, "text": "One."}
    pq.write_table(pa.Table.from_pylist([row]), folder / "t.parquet")
    assert np.array_equal(only(folder / "t.parquet").read().samples[0], SAMPLES)


def test_a_column_of_samples_is_no_path(folder):
    """One sentence of readable length."""
    pq.write_table(pa.table({"audio": [[0.5] * 1000]}), folder / "t.parquet")
    with pytest.raises(SourceError, match=r"line 1: \[0\.5, .*\.\.\.\] is not a path") as raised:
        find_source(folder / "t.parquet")
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("path", ["no.wav", None, "wavs/a.wav"])
@pytest.mark.parametrize("kind", ["parquet", "saved dataset"])
def test_decoded_rows_of_datasets_hold_no_sound_files(folder, kind, path):
    """The message says so, and how to make files of the samples; where the file is there, it is read."""
    cell = {"array": [0.5] * 8, "sampling_rate": RATE, "path": path and str(folder / path)}
    named = folder / "t.parquet" if kind == "parquet" else folder / "rows"
    if kind == "parquet":
        pq.write_table(pa.table({"audio": [cell]}), named)
    else:
        datasets = pytest.importorskip("datasets")
        kinds = {"array": [datasets.Value("float64")], "sampling_rate": datasets.Value("int64")}
        features = datasets.Features({"audio": kinds | {"path": datasets.Value("string")}})
        datasets.Dataset.from_list([{"audio": cell}], features=features).save_to_disk(named)
    if path == "wavs/a.wav":
        assert np.array_equal(only(named, is_stored=True).read().samples[0], SAMPLES)
        return
    with pytest.raises(
        SourceError, match=r"(row|line) 1: the sound is decoded samples, .*datasets\.Audio\(\)"
    ):
        find_source(named, is_stored=True)


def test_a_tar_of_a_mac_in_capitals(folder):
    """Hidden members, the finder's notes beside each file, are no recordings; a name in capitals is read, too."""
    sound = (folder / "wavs" / "a.wav").read_bytes()
    hidden = {"./._1.wav": b"\0\5\x16\7", "x/.trash/3.wav": sound, "._1.json": b"\0"}
    tar_of(folder / "S.TAR", {**hidden, "./1.wav": sound, "1.json": b'{"text": 1984.50, "speaker": 7}'})
    found = only(folder / "S.TAR")
    assert (found.name, found.text, found.columns) == ("S.TAR/1.wav", "1984.50", {"speaker": "7"})
    assert np.array_equal(found.read().samples[0], SAMPLES)


@pytest.mark.parametrize(
    ("member", "content", "words"),
    [
        ("1.json", b"{broken", "not valid JSON"),
        ("1.json", b'["Good day."]', "needs a JSON object; mend"),
        ("1.txt", b"\xff", "not valid UTF-8 text"),
        ("1.flac", b"", "two recordings are called 'x/1'"),
    ],
)
def test_a_faulty_member_of_a_tar_is_named(folder, member, content, words):
    """And nothing is said of compression."""
    tar_of(folder / "s.tar", {"x/1.wav": b"", f"x/{member}": content})
    with pytest.raises(SourceError, match=rf"s\.tar, member x/{member}: {words}") as raised:
        find_source(folder / "s.tar")
    assert "compression" not in str(raised.value)


def test_the_text_of_a_tar_is_a_string(folder):
    """The recording is named; lists that tell of no recording are nobody's row."""
    sound = (folder / "wavs" / "a.wav").read_bytes()
    tar_of(folder / "s.tar", {"1.wav": sound, "list.json": b"[1]"})
    assert only(folder / "s.tar").text is None
    tar_of(folder / "s.tar", {"1.wav": sound, "1.json": b'{"text": ["x"]}'})
    with pytest.raises(SourceError, match=r"s\.tar, recording s\.tar/1\.wav: \['x'\] is not a text"):
        find_source(folder / "s.tar")


def header_flipped(content, at):
    """Return a tar with one wrong bit in the name of the member at `at`."""
    return content[: at + 7] + bytes([content[at + 7] ^ 1]) + content[at + 8 :]


DAMAGE = {
    "one bit of a header": (
        header_flipped,
        "damaged or cut off behind member 2.wav, at byte {at} (no valid header",
    ),
    "a header of zeros": (
        lambda content, at: content[:at] + bytes(512) + content[at + 512 :],
        "damaged or cut off behind member 2.wav, at byte {at} (an end mark stands there, and more data behind",
    ),
    "cut in a header": (
        lambda content, at: content[: at + 100],
        "damaged or cut off behind member 2.wav, at byte {at} (no valid header",
    ),
    "cut behind a member": (
        lambda content, at: content[:at],
        "damaged or cut off behind member 2.wav, at byte {at} (the mark of its end is missing",
    ),
    "cut in a member": (
        lambda content, at: content[: at - 600],
        "cut off in member 2.wav, at byte {cut} (unexpected end of data)",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", ["webdataset", "shar"])
def test_a_tar_with_members_missing_is_refused(folder, kind, damage):
    """Python's reader takes a header that is damaged for the end: the members behind it would be lost silently."""
    sound = (folder / "wavs" / "a.wav").read_bytes()
    shar = folder / "shar"
    shar.mkdir()
    tar = shar / "recording.000000.tar"
    tar_of(tar, {f"{number}.wav": sound for number in range(5)})
    cuts = [json.dumps({"id": str(number), "supervisions": []}) for number in range(5)]
    (shar / "cuts.000000.jsonl").write_text("\n".join(cuts))
    named = shar if kind == "shar" else tar
    assert len(find_source(named).recordings) == 5
    with tarfile.open(tar) as archive:
        at = archive.getmembers()[3].offset
    change, words = DAMAGE[damage]
    tar.write_bytes(change(tar.read_bytes(), at))
    with pytest.raises(SourceError, match=re.escape(words.format(at=at, cut=at - 600))) as raised:
        find_source(named)
    assert "compression" not in str(raised.value)


def test_a_tar_cut_in_a_text_is_refused(folder):
    """With what is wrong: nothing of compression."""
    tar_of(folder / "s.tar", {"1.wav": b"", "1.txt": b"x" * 2000})
    (folder / "s.tar").write_bytes((folder / "s.tar").read_bytes()[:2000])
    with pytest.raises(SourceError, match=r"s\.tar is cut off in member 1\.txt, at byte 2000"):
        find_source(folder / "s.tar")


def test_a_tar_that_is_padded_is_whole(folder):
    """Zeros of any number, as writers of tapes and of webdataset leave them; a single block of them is enough."""
    sound = (folder / "wavs" / "a.wav").read_bytes()
    tar_of(folder / "s.tar", {"1.wav": sound})
    content = (folder / "s.tar").read_bytes().rstrip(b"\0")
    content += bytes(-len(content) % 512)
    for padding in (512, 1024, 3 << 20):
        (folder / "s.tar").write_bytes(content + bytes(padding))
        assert np.array_equal(only(folder / "s.tar").read().samples[0], SAMPLES)


@pytest.mark.parametrize("kind", ["tar", "bytes", "struct"])
def test_stored_sound_is_meant_as_a_whole(folder, kind):
    """Start and end beside it say where the clip was cut from, which is not here."""
    sound = (folder / "wavs" / "a.wav").read_bytes()
    if kind == "tar":
        tar_of(folder / "s.tar", {"1.wav": sound, "1.json": b'{"start": 62.0, "end": 64.0, "text": "One."}'})
    else:
        cell = sound if kind == "bytes" else {"bytes": sound, "path": "1.wav"}
        rows = [{"audio": cell, "start": 62.0, "end": 64.0, "text": "One."}]
        pq.write_table(pa.Table.from_pylist(rows), folder / "s.parquet")
    found = only(folder / ("s.tar" if kind == "tar" else "s.parquet"))
    assert (found.part, found.text) == (None, "One.")
    assert np.array_equal(found.read().samples[0], SAMPLES)


def test_patterns(folder):
    """Any depth, sorted; tars among them are opened; names are those below the fixed part."""
    sound = (folder / "wavs" / "a.wav").read_bytes()
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "c.wav").write_bytes(sound)
    (folder / "deep" / "notes.txt").write_text("wavs/a.wav")
    tar_of(folder / "deep" / "s.tar", {"1.wav": sound})
    assert [each.name for each in find_recordings([f"{folder}/**/*.wav"])] == [
        "clips/b.wav",
        "deep/er/c.wav",
        "wavs/a.wav",
    ]
    assert [each.name for each in find_recordings([f"{folder}/deep/**"])] == ["er/c.wav", "s.tar/1.wav"]
    for pattern in ("*.flac", "deep/*.txt"):
        with pytest.raises(SourceError):
            find_recordings([f"{folder}/{pattern}"])


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.parquet", "x.jsonl.gz"])
def test_damaged_archives_are_one_sentence(folder, name):
    """With the file's name."""
    (folder / name).write_bytes(b"\x1f\x8b nothing of this kind")
    with pytest.raises(SourceError, match=name):
        find_recordings([folder / name])
