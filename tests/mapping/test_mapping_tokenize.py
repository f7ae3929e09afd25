"""tokenize_dataset: one call for every kind of dataset, and sentences for what it cannot guess."""

import json

import numpy as np
import pytest
from datasets import Audio, Dataset, DatasetDict, IterableDataset, IterableDatasetDict, Value, load_dataset
from sound_rows import BAD_ROWS, CODEC_RATE, encoded, hostile_rows, noise

from snac_tok import SnacTokenizer
from snac_tok.errors import ConfigError, MissingDependencyError
from snac_tok.frames import vocabulary_from_json
from snac_tok.mapping import SnacMapper, tokenize_dataset
from snac_tok.mapping.devices import Execution

SPEECH = ("tests/speech/LJ001-0002.flac", "tests/speech/LJ001-0008.flac")


@pytest.fixture(scope="module")
def tok():
    """Each row alone, with the defaults that a dataset gets, too."""
    return SnacTokenizer.from_pretrained("tiny")


def audio_rows(num_rows=3):
    """Encoded clips of several lengths and rates, with a name."""
    rates = (CODEC_RATE, 16_000, 44_100)
    contents = [encoded(noise(0.2 + 0.1 * at, rate=rates[at % 3]), rates[at % 3]) for at in range(num_rows)]
    return {
        "sound": [{"bytes": content, "path": None} for content in contents],
        "name": [f"row {at}" for at in range(num_rows)],
    }


@pytest.fixture
def dataset():
    """With an Audio column that would decode by itself, if torchcodec were there."""
    return Dataset.from_dict(audio_rows()).cast_column("sound", Audio())


def ids_alone(tok, rows):
    """What each row gets alone."""
    return [tok.encode(row["bytes"]) for row in rows["sound"]]


def test_a_dataset_gets_ids_in_place_of_its_sound(tok, dataset):
    """The only Audio column is found and dropped, no torchcodec is asked for, and the rest is carried through."""
    mapped = tokenize_dataset(dataset, "tiny")
    assert mapped.column_names == ["name", "input_ids", "num_samples"]
    assert mapped["input_ids"][:] == ids_alone(tok, audio_rows())
    assert mapped["name"][:] == ["row 0", "row 1", "row 2"]


def test_the_sound_can_be_kept(dataset):
    """As it is in the files, undecoded."""
    mapped = tokenize_dataset(dataset, "tiny", preset=None, keep_audio=True)
    assert mapped.column_names == ["sound", "name", "codes_0", "codes_1", "codes_2", "num_samples"]
    assert mapped.features["sound"] == Audio(decode=False)
    assert mapped[1]["sound"] == dataset.cast_column("sound", Audio(decode=False))[1]["sound"]
    assert mapped.features["codes_2"].feature == Value("uint16")


def test_every_split_is_mapped(tok, dataset):
    """A DatasetDict stays one."""
    splits = tokenize_dataset(DatasetDict(train=dataset, test=dataset.select([1])), "tiny")
    assert isinstance(splits, DatasetDict)
    assert splits["test"]["input_ids"][:] == ids_alone(tok, audio_rows())[1:2]
    assert len(splits["train"]) == 3


@pytest.mark.parametrize("typed", [True, False])
def test_a_stream_is_mapped_while_it_is_read(tok, typed):
    """Nothing is encoded before it is asked for; batches of the stream need not be full."""
    rows = audio_rows(5)
    taken = []

    def source():
        for sound, name in zip(rows["sound"], rows["name"], strict=True):
            taken.append(name)
            yield {"audio": sound, "name": name}

    stream = IterableDataset.from_generator(source)
    if typed:
        # An Audio column fed by a generator needs torchcodec even undecoded; streamed files do not, see below.
        stream = stream.cast(Dataset.from_dict({"audio": rows["sound"], "name": rows["name"]}).features)
    mapped = tokenize_dataset(stream, "tiny", batch_size=2)
    assert taken == []
    found = list(mapped)
    assert [row["input_ids"] for row in found] == ids_alone(tok, rows)
    assert [row["name"] for row in found] == rows["name"]
    assert all("audio" not in row for row in found)
    assert (mapped.column_names is not None) == typed


def test_streamed_splits_are_mapped(tok, dataset):
    """An IterableDatasetDict stays one."""
    splits = IterableDatasetDict(
        train=dataset.cast_column("sound", Audio(decode=False)).to_iterable_dataset()
    )
    mapped = tokenize_dataset(splits, "tiny")
    assert isinstance(mapped, IterableDatasetDict)
    assert [row["input_ids"] for row in mapped["train"]] == ids_alone(tok, audio_rows())
    assert mapped["train"].column_names == ["name", "input_ids", "num_samples"]


@pytest.mark.parametrize("streaming", [True, False])
def test_parquet_files_are_read_as_they_come(tok, dataset, tmp_path, streaming):
    """What the hub serves: bytes in parquet, with an Audio column."""
    dataset.to_parquet(tmp_path / "clips.parquet")
    loaded = load_dataset(
        "parquet",
        data_files=str(tmp_path / "clips.parquet"),
        split="train",
        streaming=streaming,
        cache_dir=str(tmp_path / "cache"),
    )
    mapped = tokenize_dataset(loaded, "tiny", on_error="column")
    assert [row["input_ids"] for row in mapped] == ids_alone(tok, audio_rows())
    assert [row["error"] for row in mapped] == [""] * 3


@pytest.mark.parametrize("name", ["plain", "mini-omni", None])
def test_streamed_and_stored_rows_are_of_one_type(name):
    """Lists of ints at any depth, whether the stream knows its types or not, and where rows failed."""
    rows = {"audio": [noise(0.1), None], "sampling_rate": [CODEC_RATE, CODEC_RATE]}
    stored = Dataset.from_dict(rows)

    def source():
        yield from ({"audio": sound, "sampling_rate": CODEC_RATE} for sound in rows["audio"])

    options = {"preset": name, "sampling_rate_column": "sampling_rate", "on_error": "column"}
    wanted = list(tokenize_dataset(stored, "tiny", **options))
    assert all(type(value) in (list, int, str) for value in wanted[0].values())
    for stream in (stored.to_iterable_dataset(), IterableDataset.from_generator(source)):
        found = list(tokenize_dataset(stream, "tiny", **options))
        assert found == wanted
        assert [[type(value) for value in row.values()] for row in found] == [
            [type(value) for value in row.values()] for row in wanted
        ]


def test_what_made_the_columns_is_kept_with_them(tok, dataset, tmp_path):
    """One line of JSON in the dataset's description, behind the one that it had, on disk and in streams."""
    dataset = dataset.cast_column("sound", Audio(decode=False))
    dataset.info.description = "Three clips."
    stream = dataset.to_iterable_dataset()
    tokenize_dataset(dataset, "tiny").save_to_disk(tmp_path / "ds")
    stored, streamed = Dataset.load_from_disk(tmp_path / "ds"), tokenize_dataset(stream, "tiny")
    assert stored.info.description.startswith("Three clips.\n")
    assert (dataset.info.description, stream.info.description) == ("Three clips.", "")
    for found in (stored, streamed):
        record = json.loads(found.info.description.splitlines()[-1])["snac_tok"]
        assert record["resample"] is True
        assert vocabulary_from_json(record["vocabulary"]) == tok.vocabulary
        for name in ("codec_id", "weights_sha256", "resampler", "channels"):
            assert record[name] == tok.describe()[name]


def test_paths_of_real_speech(tok):
    """A column with a usual name; other columns of text stay."""
    mapped = tokenize_dataset(Dataset.from_dict({"path": SPEECH, "text": ["a", "b"]}), "tiny")
    assert mapped["input_ids"][:] == [tok.encode(path) for path in SPEECH]
    assert mapped.column_names == ["text", "input_ids", "num_samples"]


def test_bare_arrays_with_rates(tok):
    """Named columns for both."""
    clips, rates = [noise(0.2), noise(0.3, rate=8_000)], [CODEC_RATE, 8_000]
    dataset = Dataset.from_dict({"samples": clips, "hertz": rates})
    mapped = tokenize_dataset(dataset, "tiny", audio_column="samples", sampling_rate_column="hertz")
    wanted = [tok.encode(clip, sampling_rate=rate) for clip, rate in zip(clips, rates, strict=True)]
    assert mapped["input_ids"][:] == wanted


def test_a_hostile_dataset_can_be_filtered_by_its_reasons():
    """Bad first rows do not spoil the types of the columns."""
    rows = hostile_rows()
    order = sorted(range(len(rows["name"])), key=lambda at: rows["name"][at] not in BAD_ROWS)
    dataset = Dataset.from_dict({name: [values[at] for at in order] for name, values in rows.items()})
    for options in ({}, {"preset": "mini-omni"}, {"preset": None}):
        mapped = tokenize_dataset(dataset, "tiny", on_error="column", batch_size=2, **options)
        good = mapped.filter(lambda row: not row["error"])
        assert set(rows["name"]) - set(good["name"]) == BAD_ROWS
    assert np.iinfo(np.uint16).max >= max(max(codes) for codes in good["codes_0"])


def test_files_of_rows_are_joined_in_order(tok, dataset, tmp_path):
    """rows_per_file cuts and joins; the last file is shorter."""
    dataset.save_to_disk(tmp_path / "ds")
    stored = Dataset.load_from_disk(tmp_path / "ds")
    mapped = tokenize_dataset(stored, "tiny", rows_per_file=2)
    assert len(mapped.cache_files) == 2
    assert mapped["input_ids"][:] == ids_alone(tok, audio_rows())


def test_the_batch_size_does_not_make_another_result(dataset, tmp_path):
    """A smaller one, after memory ran out, finds what is stored."""
    dataset.save_to_disk(tmp_path / "ds")
    stored = Dataset.load_from_disk(tmp_path / "ds")
    prints = {tokenize_dataset(stored, "tiny", batch_size=size)._fingerprint for size in (1, 2)}
    assert len(prints) == 1
    assert len(list((tmp_path / "ds").glob("cache-*"))) == 1
    assert tokenize_dataset(stored, "tiny", keep_audio=True)._fingerprint not in prints


def test_the_mapper_itself_finds_its_cache(tmp_path):
    """Without tokenize_dataset: the library's own fingerprint of the callable, on any device."""
    Dataset.from_dict({"audio": [noise(0.1)]}).save_to_disk(tmp_path / "ds")
    for device in ("cpu", "cuda"):
        stored = Dataset.load_from_disk(tmp_path / "ds")
        stored.map(SnacMapper("tiny", sampling_rate=CODEC_RATE, device=device), batched=True)
    assert len(list((tmp_path / "ds").glob("cache-*"))) == 1


def test_an_empty_dataset_stays_empty():
    """Nothing to do is no error, and the columns are those of every other split."""
    full = Dataset.from_dict({"audio": [noise(0.1)], "name": ["a"]})
    splits = DatasetDict(full=full, empty=full.select([]), nameless=full.select([]).remove_columns("name"))
    for keep_audio in (False, True):
        mapped = tokenize_dataset(splits, "tiny", sampling_rate=CODEC_RATE, keep_audio=keep_audio)
        assert len(mapped["empty"]) == len(mapped["nameless"]) == 0
        assert mapped["empty"].features == mapped["full"].features
        assert "input_ids" in mapped["nameless"].column_names
    sounds = Dataset.from_dict(audio_rows()).cast_column("sound", Audio())
    kept = tokenize_dataset(sounds.select([]), "tiny", keep_audio=True)
    assert kept.features == tokenize_dataset(sounds, "tiny", keep_audio=True).features


@pytest.mark.parametrize(
    ("columns", "options", "sentence"),
    [
        ({"x": [1]}, {}, "no column could be the sound"),
        ({"audio": ["a"], "input_ids": [1]}, {}, "already has input_ids"),
        ({"audio": ["a"]}, {"num_proc": 0}, "num_proc"),
        ({"audio": ["a"]}, {"num_proc": "2"}, "num_proc"),
        ({"audio": ["a"]}, {"load_from_cache_file": "no"}, "load_from_cache_file is 'no'"),
        ({"audio": ["a"]}, {"batch_size": True}, "batch_size"),
        ({"audio": ["a"]}, {"rows_per_file": 2}, "in memory"),
        ({"audio": ["a"]}, {"audio_column": "sound"}, "no column 'sound'"),
    ],
)
def test_what_cannot_be_guessed_is_asked_for(columns, options, sentence):
    """Before or at the first row."""
    with pytest.raises(ConfigError, match=sentence):
        tokenize_dataset(Dataset.from_dict(columns), "tiny", **options)


def test_whole_numbers_of_numpys_are_taken():
    """For rows, processes, threads and seconds; what comes out is what Python's give."""
    rows = Dataset.from_dict(audio_rows())
    wanted = tokenize_dataset(rows, "tiny", batch_size=2, load_from_cache_file=False)
    counts = {"batch_size": np.int64(2), "num_proc": np.int64(1)}
    found = tokenize_dataset(rows, "tiny", **counts, load_from_cache_file=False)
    assert found[:] == wanted[:]
    execution = Execution(threads=np.int64(2), seconds_per_call=np.int64(60))
    assert type(execution.threads) is int
    for wrong in (True, np.True_, 1.5, "2", 0):
        with pytest.raises(ConfigError, match="threads is"):
            Execution(threads=wrong)


def test_two_audio_columns_are_ambiguous(dataset):
    """Both are named."""
    both = dataset.add_column("other", audio_rows()["sound"]).cast_column("other", Audio())
    with pytest.raises(ConfigError, match="sound and other could be the sound"):
        tokenize_dataset(both, "tiny")
    assert "other" in tokenize_dataset(both, "tiny", audio_column="sound").column_names


def test_no_number_of_processes_is_one():
    """As the library itself takes it."""
    rows = Dataset.from_dict({"audio": [noise(0.1)]})
    mapped = tokenize_dataset(rows, "tiny", sampling_rate=CODEC_RATE, num_proc=None)
    assert mapped["input_ids"] == tokenize_dataset(rows, "tiny", sampling_rate=CODEC_RATE)["input_ids"]


def test_files_behind_paths_are_looked_at_again_on_request(tmp_path):
    """The library's cache knows rows by their paths, not by what the files hold."""
    path = tmp_path / "late.wav"
    Dataset.from_dict({"audio": [str(path)]}).save_to_disk(tmp_path / "rows")
    options = {"preset": "orpheus", "on_error": "column"}
    rows = Dataset.load_from_disk(tmp_path / "rows")
    assert "cannot be opened" in tokenize_dataset(rows, "tiny", **options)["error"][0]
    path.write_bytes(encoded(noise(0.1), CODEC_RATE))
    assert "cannot be opened" in tokenize_dataset(rows, "tiny", **options)["error"][0]
    for again in (False, None):  # and what was found then is what the cache holds
        assert tokenize_dataset(rows, "tiny", load_from_cache_file=again, **options)["error"][0] == ""


@pytest.mark.parametrize("wrong", [[1, 2], {}, {"train": [1]}, "a path"])
def test_what_is_no_dataset_is_refused(wrong):
    """With what was given."""
    with pytest.raises(ConfigError, match=r"A Dataset, DatasetDict or IterableDataset|is needed"):
        tokenize_dataset(wrong, "tiny")


def test_a_decoding_column_without_torchcodec_is_told_what_to_do(dataset):
    """A map of one's own over a formatted dataset, which decodes before the mapper can look."""
    mapper = SnacMapper("tiny", audio_column="sound")
    with pytest.raises(MissingDependencyError, match=r'cast_column\("sound", Audio\(decode=False\)\)'):
        mapper(_Decoding(sound=None))
    assert len(dataset.map(mapper, batched=True, remove_columns="sound")) == 3


class _Decoding(dict):
    """A batch whose sound cannot be decoded, as the library's are without torchcodec."""

    def __getitem__(self, name):
        raise ImportError("To support decoding audio data, please install 'torchcodec'.")
