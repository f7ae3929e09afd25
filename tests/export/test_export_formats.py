"""What each format's own reader finds is what the shards hold."""

import contextlib
import dataclasses
import gc
import json
import struct
import warnings

import datasets
import numpy as np
import pandas as pd
import pytest
import webdataset
from datatrove.utils.dataset import DatatroveFileDataset
from export_samples import CODEC, INFO, collection, files_of, record
from lhotse import CutSet

from snac_tok import open_shards, preset
from snac_tok.errors import CodesError, ExportError, LayoutError, MissingDependencyError, ShardError
from snac_tok.export import FORMATS, export_shards
from snac_tok.frames import FrameLayout, Vocabulary
from snac_tok.shards import Manifest, ShardInfo, ShardWriter, check_shard, write_manifest

FLAT = ("megatron", "datatrove")
OTHERS = tuple(name for name in FORMATS if name not in FLAT)


def of_megatron(path):
    """The documents of a .bin and .idx, read as megatron-core's IndexedDataset does."""
    index = path.with_suffix(".idx").read_bytes()
    magic, version, code, sequences, documents = struct.unpack_from("<9sQBQQ", index)
    assert (magic, version, documents) == (b"MMIDIDX\x00\x00", 1, sequences + 1)
    dtype = {4: np.int32, 8: np.uint16}[code]
    lengths = np.frombuffer(index, np.int32, sequences, 34)
    pointers = np.frombuffer(index, np.int64, sequences, 34 + 4 * sequences)
    ends = np.frombuffer(index, np.int64, documents, 34 + 12 * sequences)
    assert ends.tolist() == list(range(documents))
    tokens = np.memmap(path, dtype, "r")
    assert tokens.size == lengths.sum()
    starts = pointers // tokens.itemsize
    return [tokens[start : start + length] for start, length in zip(starts, lengths, strict=True)]


def of_datatrove(path, *, token_size=4):
    """The documents of a .ds, the whole file as one line of datatrove's own dataset."""
    ends = np.frombuffer(path.with_name(f"{path.name}.index").read_bytes(), np.uint64).astype(int)
    lines = DatatroveFileDataset(str(path), int(ends[-1]) - 1, token_size=token_size)
    assert len(lines) == 1
    return np.split(lines[0]["input_ids"].numpy(), ends[:-1])


@contextlib.contextmanager
def left_open():
    """WebDataset and Lhotse leave the archives open that they read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def cuts_of(out):
    """The cuts of a Shar."""
    with left_open():
        return list(CutSet.from_shar(in_dir=out / "shar"))


def of_hf(out):
    """Rows, as datasets reads the folder."""
    return list(datasets.load_dataset("parquet", data_dir=str(out), split="train"))


def of_jsonl(out):
    """Rows, as datasets reads the folder and as json reads the files."""
    rows = list(datasets.load_dataset("json", data_dir=str(out), split="train"))
    lines = [line for path in sorted(out.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()]
    assert [json.loads(line) for line in lines] == rows
    return rows


def of_webdataset(out):
    """Rows, as WebDataset decodes the samples of all files."""
    paths = sorted(map(str, out.glob("*.tar")))
    with left_open():
        samples = list(webdataset.WebDataset(paths, shardshuffle=False, empty_check=False).decode())
    keys = [int(sample["__key__"]) for sample in samples]
    assert keys == sorted(set(keys))
    endings = {name for sample in samples for name in sample if name.endswith(".npy")}
    return [{**each["json"], **{name[:-4]: each[name] for name in endings}} for each in samples]


def of_lhotse(out):
    """Rows, as Lhotse reads the Shar."""
    rows = []
    for cut in cuts_of(out):
        (said,) = cut.supervisions
        values = {name: cut.custom[name] for name in ("source", "num_samples", "source_sampling_rate")}
        assert said.duration == pytest.approx(values["num_samples"] / 24_000)
        assert cut.sampling_rate == 24_000
        arrays = {
            name: cut.load_custom(name)
            for name in ("input_ids", "attention_mask", "labels", "codes")
            if cut.has_custom(name)
        }
        rows.append({"id": cut.custom["record_id"], "text": said.text, **values, **arrays})
    return rows


READERS = {"hf": of_hf, "jsonl": of_jsonl, "webdataset": of_webdataset, "lhotse": of_lhotse}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """The datasets library keeps what it reads; not beyond a test."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def assert_rows_are(rows, expected, *, array="input_ids"):
    """Columns and arrays are the records'."""
    assert len(rows) == len(expected)
    for row, (each, values) in zip(rows, expected, strict=True):
        for name in ("id", "source", "text", "num_samples", "source_sampling_rate"):
            assert row[name] == getattr(each, name)
        np.testing.assert_array_equal(np.asarray(row[array]).reshape(np.shape(values)), values)


@pytest.mark.parametrize("to", OTHERS)
@pytest.mark.parametrize("name", ["orpheus", "per-level-separated"])
def test_ids_come_back_with_the_records_columns(shards, tmp_path, to, name):
    """Names with slashes, dots and signs of all kinds, a double slash included, stay as they are."""
    report = export_shards(shards, tmp_path / "out", to=to, preset=name)
    expected = list(open_shards(shards).ids(name))
    assert_rows_are(READERS[to](tmp_path / "out"), expected)
    assert (report.num_records, report.num_tokens) == (5, sum(ids.size for _, ids in expected))
    assert report.hours == pytest.approx(open_shards(shards).hours)
    sizes = [len(data) for path, data in files_of(tmp_path / "out").items() if not path.startswith("_")]
    assert (report.num_bytes, report.num_files, report.left_out) == (sum(sizes), len(sizes), {})


@pytest.mark.parametrize("to", OTHERS)
def test_parallel_rows_come_back(shards, tmp_path, to):
    """Formats that hold arrays hold those of two dimensions, too."""
    export_shards(shards, tmp_path / "out", to=to, preset="mini-omni")
    assert_rows_are(READERS[to](tmp_path / "out"), list(open_shards(shards).ids("mini-omni")))


@pytest.mark.parametrize("to", OTHERS)
def test_codes_come_back(shards, tmp_path, to):
    """As the shards have them, of 16 bits where numbers have a type."""
    export_shards(shards, tmp_path / "out", to=to, preset=None, what="codes")
    rows = READERS[to](tmp_path / "out")
    assert_rows_are(rows, [(each, each.codes) for each in open_shards(shards)], array="codes")
    if to in ("webdataset", "lhotse"):
        assert rows[0]["codes"].dtype == np.uint16


def test_a_cut_of_codes_is_cut_in_time(shards, tmp_path):
    """Lhotse's truncate takes whole frames of its codes, and the whole cut has all of them."""
    export_shards(shards, tmp_path / "out", to="lhotse", preset=None, what="codes")
    first = cuts_of(tmp_path / "out")[0]
    codes = first.load_codes()
    assert codes.shape == (3, 7)
    seconds = CODEC.frame_length / CODEC.sampling_rate
    assert first.duration == pytest.approx(3 * seconds)
    np.testing.assert_array_equal(first.truncate(offset=seconds, duration=seconds).load_codes(), codes[1:2])


@pytest.mark.parametrize("size", [2, 4])
def test_flat_files_hold_one_document_a_record(shards, tmp_path, size):
    """Megatron's and datatrove's, of 4 bytes, or of 2 where all ids fit."""
    name, dtype = ("orpheus", None) if size == 4 else ("plain", "uint16")
    expected = [ids for _, ids in open_shards(shards).ids(name)]
    for to, ending, read in (("megatron", "bin", of_megatron), ("datatrove", "ds", of_datatrove)):
        export_shards(shards, tmp_path / to, to=to, preset=name, output_dtype=dtype)
        paths = sorted((tmp_path / to).glob(f"*.{ending}"))
        assert len(paths) == 2
        options = {} if to == "megatron" else {"token_size": size}
        found = [document for path in paths for document in read(path, **options)]
        for document, ids in zip(found, expected, strict=True):
            np.testing.assert_array_equal(document, ids)
    metadata = (tmp_path / "datatrove" / "train-00000-of-00002.ds.metadata").read_text()
    assert metadata.startswith(f"{name}|{size}\n")


def test_tables_have_the_types_of_their_columns(shards, tmp_path):
    """Ids of 32 bits and lengths of 64; pandas finds nothing but the records in the folder."""
    export_shards(shards, tmp_path / "out", to="hf", preset="orpheus")
    found = datasets.load_dataset("parquet", data_dir=str(tmp_path / "out"), split="train").features
    assert found["input_ids"].feature.dtype == "int32"
    assert found["num_samples"].dtype == "int64"
    assert pd.read_parquet(tmp_path / "out")["id"].tolist() == [each.id for each in open_shards(shards)]


@pytest.mark.parametrize("to", ["hf", "jsonl"])
def test_tables_without_columns(shards, tmp_path, to):
    """Only what is asked for."""
    export_shards(shards, tmp_path / "out", to=to, preset="plain", columns=False)
    assert set(READERS[to](tmp_path / "out")[0]) == {"input_ids"}


@pytest.mark.parametrize("to", OTHERS)
@pytest.mark.parametrize("mask", [False, True])
def test_sequences_are_text_and_speech_as_trainers_take_them(shards, words, tmp_path, to, mask):
    """Tables have input_ids, attention_mask and labels alone; records without a text are counted and named."""
    table = preset("plain", base=50)
    report = export_shards(
        shards,
        tmp_path / "out",
        to=to,
        preset=table,
        what="sequences",
        text_tokenizer=str(words),
        mask_prompt=mask,
    )
    rows = READERS[to](tmp_path / "out")
    ids = {each.id: line for each, line in open_shards(shards).ids(table)}
    said = {"a.wav": [1, 2], "日本/ü ber.mp3": [3, 4], "http:e?f=1.wav": [1, 5]}
    begin, end = table.specials["bos"], table.specials["eos"]
    for row, (name, text) in zip(rows, said.items(), strict=True):
        line = [*text, begin, *ids[name].tolist(), end]
        assert np.asarray(row["input_ids"]).tolist() == line
        assert np.asarray(row["labels"]).tolist() == ([-100, -100, *line[2:]] if mask else line)
        assert np.asarray(row["attention_mask"]).tolist() == [1] * len(line)
    if to in ("hf", "jsonl"):
        assert set(rows[0]) == {"input_ids", "attention_mask", "labels"}
        # As Axolotl names a folder: nothing but the rows is taken for data, the list of what was left out neither.
        assert list(datasets.load_dataset(str(tmp_path / "out"), split="train")) == rows
    assert report.left_out == {"no text": 2}
    assert json.loads((tmp_path / "out" / "_left_out.json").read_text("utf-8")) == [
        {"id": "talks/b.tar.gz.flac#1", "reason": "no text"},
        {"id": "c//d.wav", "reason": "no text"},
    ]


def test_flat_files_of_sequences_keep_the_mask_where_they_can(shards, words, tmp_path):
    """The losses of datatrove have a file; Megatron has none, and is refused the mask."""
    options = {"preset": preset("plain", base=50), "what": "sequences", "text_tokenizer": str(words)}
    export_shards(shards, tmp_path / "m", to="megatron", **options)
    export_shards(shards, tmp_path / "d", to="datatrove", mask_prompt=True, **options)
    path = tmp_path / "d" / "train-00000-of-00002.ds"
    (line,) = of_datatrove(path)
    np.testing.assert_array_equal(of_megatron(tmp_path / "m" / "train-00000-of-00002.bin")[0], line)
    losses = np.frombuffer(path.with_name(f"{path.name}.loss").read_bytes(), bool)
    assert losses.tolist() == [False, False, *[True] * (line.size - 2)]
    with pytest.raises(ExportError, match="hold ids and no labels"):
        export_shards(shards, tmp_path / "x", to="megatron", mask_prompt=True, **options)


def test_a_voice_goes_before_the_text(shards, words, tmp_path):
    """As the prompt's family has it; any column of the records can be the voice."""
    report = export_shards(
        shards,
        tmp_path / "out",
        to="jsonl",
        preset=preset("plain", base=50),
        what="sequences",
        text_tokenizer=str(words),
        voice_column="source",
        rows=[(0, 1)],
    )
    (row,) = of_jsonl(tmp_path / "out")
    assert row["input_ids"][:3] == [0, 1, 2]  # "a.wav:" is unknown, then good morning
    assert report.num_records == 1


@pytest.mark.parametrize("to", OTHERS)
def test_further_columns_are_carried_through(words, tmp_path, to):
    """Speakers, for example, which can also be the voice of a sequence; a name that is taken is refused."""
    (tmp_path / "shards").mkdir()
    info = ShardInfo(collection=INFO, plan_fingerprint="f00d", index=0, num_shards=1)
    said = [{"speaker": "tara", "labels": None}, {"speaker": None, "labels": "x"}]
    rows = [record("a.wav"), record("http:e?f=1.wav")]
    with ShardWriter(tmp_path / "shards", info=info, columns=["speaker", "labels"]) as shard:
        for row, more in zip(rows, said, strict=True):
            shard.add(dataclasses.replace(row, columns=more))
    entry = check_shard(shard.path, expected=info).entry
    write_manifest(tmp_path / "shards", Manifest(collection=INFO, plan_fingerprint="f00d", shards=(entry,)))
    export_shards(tmp_path / "shards", tmp_path / "out", to=to, preset="plain")
    if to == "lhotse":
        cuts = cuts_of(tmp_path / "out")
        assert [cut.supervisions[0].speaker for cut in cuts] == ["tara", None]
        found = [{name: cut.custom[name] for name in ("speaker", "labels")} for cut in cuts]
    else:
        found = [{name: row[name] for name in ("speaker", "labels")} for row in READERS[to](tmp_path / "out")]
    assert found == said
    options = {
        "to": to,
        "preset": preset("plain", base=50),
        "what": "sequences",
        "text_tokenizer": str(words),
        "voice_column": "speaker",
    }
    if to in ("hf", "jsonl"):
        export_shards(tmp_path / "shards", tmp_path / "lines", **options)
        lines = [list(row["input_ids"])[:3] for row in READERS[to](tmp_path / "lines")]
        assert lines[0] == [0, 1, 2]  # "tara:" is unknown, then good morning
        assert lines[1][:2] == [1, 5]
    with pytest.raises(ExportError, match="a column 'labels' of their own"):
        export_shards(tmp_path / "shards", tmp_path / "x", columns=True, **options)


def test_a_text_that_spells_audio_tokens_is_left_out(tmp_path):
    """Its ids would be speech."""
    folder = collection(tmp_path / "shards", [[record("a.wav")]])
    options = {"what": "sequences", "text_tokenizer": _Liar(), "to": "jsonl"}
    report = export_shards(folder, tmp_path / "out", preset="plain", **options)
    assert (report.num_records, report.left_out) == (0, {"a text that spells audio tokens": 1})


class _Liar:
    """A text tokenizer whose every text is an id of speech."""

    def __call__(self, text, *, add_special_tokens):
        assert text
        assert not add_special_tokens
        return {"input_ids": [28_673]}


@pytest.mark.parametrize(
    ("options", "error", "words_of_it"),
    [
        ({"preset": "orpheus", "output_dtype": "uint16"}, ExportError, "uint16 cannot hold 156939"),
        ({"preset": "vyvo-lfm2", "output_dtype": "uint16"}, ExportError, "would wrap around"),
        ({"preset": "orpheus", "output_dtype": "int8"}, ExportError, "uint16, int32, int64"),
        ({"preset": "orfeus"}, LayoutError, "orpheus"),
        ({"preset": Vocabulary(FrameLayout((8, 1)))}, LayoutError, "choose a preset for this codec"),
        ({"preset": None}, ExportError, "preset must be named"),
        ({"preset": "plain", "what": "codes"}, ExportError, "raw codes are of no preset"),
        ({"preset": "plain", "what": "words"}, ExportError, "ids, codes or sequences"),
        ({"preset": "plain", "mask_prompt": True}, ExportError, "is for sequences"),
        ({"preset": "plain", "what": "sequences"}, ExportError, "text_tokenizer"),
        ({"preset": None, "what": "codes", "to": "megatron"}, ExportError, "not raw codes"),
        ({"preset": "mini-omni", "to": "datatrove"}, ExportError, "parallel rows"),
        ({"preset": "plain", "to": "megatron", "output_dtype": "int64"}, ExportError, "int32 or uint16"),
        ({"preset": "plain", "to": "jsonl", "output_dtype": "int64"}, ExportError, "have no type"),
        ({"preset": "plain", "to": "parket"}, ExportError, "no format 'parket'"),
        ({"preset": "plain", "rows": [(5, 6)]}, ShardError, "no row 5"),
        ({"preset": "plain", "to": None}, ExportError, "no format None"),
        ({"preset": "plain", "to": ["hf"]}, ExportError, "no format"),
        ({"preset": "plain", "rows": [(2, 2)]}, ShardError, "no record in these rows: from 2 to 2"),
        ({"preset": "plain", "rows": [(0, 4), (4, 2)]}, ShardError, "no record in these rows: from 4 to 2"),
        ({"preset": "plain", "rows": [3]}, ShardError, r"rows is \[3\]; a list of pairs"),
        ({"preset": "plain", "rows": "0:2"}, ShardError, "rows is '0:2'; a list of pairs"),
        ({"preset": "plain", "rows": (0, 2)}, ShardError, r"rows is \(0, 2\); a list of pairs"),
        ({"preset": "plain", "rows": [range(3)]}, ShardError, "a list of pairs"),
        ({"preset": "plain", "rows": [("0", 2)]}, ShardError, "a row must be a whole number, got '0'"),
        ({"preset": "plain", "rows": [(0, 2.0)]}, ShardError, "a row must be a whole number, got 2.0"),
        ({"preset": "plain", "limit": "3"}, ShardError, "limit must be a whole number, got '3'"),
        ({"preset": "plain", "shards_per_file": 0}, ExportError, "shards_per_file must be .* from 1 .*got 0"),
        ({"preset": "plain", "shards_per_file": -1}, ExportError, "shards_per_file .*got -1"),
        ({"preset": "plain", "shards_per_file": "2"}, ExportError, "shards_per_file .*got '2'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    shards, tmp_path, options, error, words_of_it
):
    """One sentence, and no folder."""
    with pytest.raises(error, match=words_of_it):
        export_shards(shards, tmp_path / "out", **{"to": "hf", **options})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "error", "words_of_it"),
    [
        ({"preset": "plain"}, LayoutError, "the text tokenizer"),
        ({"text_tokenizer": "nowhere"}, ExportError, "nowhere cannot be loaded"),
        ({"text_tokenizer": 3}, ExportError, "text_tokenizer is a int"),
        ({"output_dtype": "uint16"}, ExportError, "-100"),
        ({"voice_column": "speaker"}, ExportError, "no column 'speaker'"),
        ({"prompt": "orpheus"}, LayoutError, "needs the specials"),
    ],
)
def test_sequences_that_cannot_be_made_are_refused(request, tmp_path, changes, error, words_of_it):
    """The text tokenizer has words where the speech would be, or is none; labels need a sign."""
    shards, words = (request.getfixturevalue(name) for name in ("shards", "words"))
    options = {
        "to": "hf",
        "what": "sequences",
        "preset": preset("plain", base=50),
        "text_tokenizer": str(words),
        **changes,
    }
    with pytest.raises(error, match=words_of_it):
        export_shards(shards, tmp_path / "out", **options)


def test_text_ids_beyond_16_bits_are_refused_where_they_come(tmp_path):
    """A tokenizer that does not say how many ids it has may still give large ones: nothing wraps."""
    folder = collection(tmp_path / "shards", [[record("a.wav")]])
    far = type("Far", (_Liar,), {"__call__": lambda *_args, **_options: {"input_ids": [70_000]}})()
    with pytest.raises(CodesError, match="uint16 cannot hold"):
        export_shards(
            folder,
            tmp_path / "out",
            to="megatron",
            preset="plain",
            what="sequences",
            text_tokenizer=far,
            output_dtype="uint16",
        )


@pytest.mark.parametrize("to", FORMATS)
def test_empty_shards_and_empty_records(tmp_path, to):
    """No file of nothing where a reader would stumble; a record without codes is left out and named."""
    folder = collection(tmp_path / "shards", [[record("a.wav", num_frames=0)], []])
    report = export_shards(folder, tmp_path / "out", to=to, preset="orpheus")
    assert (report.num_records, report.left_out) == (0, {"no codes": 1})
    visible = [name for name in files_of(tmp_path / "out") if not name.startswith("_")]
    assert visible == (["train-00000-of-00001.parquet"] if to == "hf" else [])
    if to == "hf":
        assert len(pd.read_parquet(tmp_path / "out")) == 0
    none = collection(tmp_path / "none", [])
    assert export_shards(none, tmp_path / "out-of-none", to=to, preset="orpheus").num_records == 0


@pytest.mark.parametrize(
    ("to", "package"),
    [
        ("megatron", "datatrove"),
        ("datatrove", "datatrove"),
        ("webdataset", "webdataset"),
        ("lhotse", "lhotse"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(shards, tmp_path, monkeypatch, to, package):
    """Only its own formats need it."""
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingDependencyError, match=f"the export to {to} needs {package}.*'export'"):
        export_shards(shards, tmp_path / "out", to=to, preset="plain")
    export_shards(shards, tmp_path / "out", to="hf", preset="plain")


@pytest.mark.parametrize("to", FORMATS)
def test_a_relative_folder_is_where_the_program_is_now(shards, tmp_path, monkeypatch, to):
    """A program that has exported into a folder of this name elsewhere writes here, not there."""
    here = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        with left_open():
            export_shards(shards, "out", to=to, preset="plain")
        here.append(files_of(tmp_path / name / "out"))
    assert len(here[0]) > 2
    assert here[0] == here[1]


@pytest.mark.parametrize("name", ["sampling_rate", "shard_origin", "shar_epoch"])
def test_lhotse_writes_over_no_column_of_the_records(tmp_path, name):
    """Its cuts have some of their own, and its reader sets others."""
    pytest.importorskip("lhotse")
    (tmp_path / "shards").mkdir()
    info = ShardInfo(collection=INFO, plan_fingerprint="f00d", index=0, num_shards=1)
    with ShardWriter(tmp_path / "shards", info=info, columns=[name]) as shard:
        shard.add(dataclasses.replace(record("a.wav"), columns={name: "16000 (upsampled)"}))
    entry = check_shard(shard.path, expected=info).entry
    write_manifest(tmp_path / "shards", Manifest(collection=INFO, plan_fingerprint="f00d", shards=(entry,)))
    with pytest.raises(ExportError, match=f"a column {name!r} of their own"):
        export_shards(tmp_path / "shards", tmp_path / "out", to="lhotse", what="codes", preset=None)


@pytest.mark.parametrize("to", FORMATS)
def test_a_percent_sign_in_a_folders_name(shards, tmp_path, to):
    """Lhotse's writers would put a number there."""
    folder = tmp_path / "50%d_run" / "out"
    if to != "lhotse":
        assert export_shards(shards, folder, to=to, preset="plain").num_records == 5
        return
    with pytest.raises(ExportError, match="has a % in its name, which lhotse takes for a place"):
        export_shards(shards, folder, to=to, preset="plain")
    assert not folder.exists()


def test_numbers_of_numpy_are_numbers(shards, tmp_path):
    """They come out of data frames."""
    options = {
        "rows": [(np.int64(0), np.int64(2)), (3, None)],
        "limit": np.int64(3),
        "shards_per_file": np.int64(2),
    }
    report = export_shards(shards, tmp_path / "out", to="jsonl", preset="plain", **options)
    assert (report.num_records, report.num_parts) == (3, 1)
