"""Rows: every form of sound that a column may hold, and clear refusals of what is none."""

import errno
import resource
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import Dataset
from sound_rows import CODEC_RATE, Decoder, encoded, noise

from snac_tok import SnacTokenizer
from snac_tok.audio import as_waveform
from snac_tok.audio.machine_faults import is_machine_fault
from snac_tok.errors import AudioError, AudioFileError, ConfigError, SamplingRateError, WaveformError
from snac_tok.mapping import SnacMapper
from snac_tok.mapping.rows import column_of, load_row
from snac_tok.sources.reading import LongSound
from snac_tok.tokenizer.preprocessing import Preprocessing

PREPARATION = Preprocessing(sampling_rate=CODEC_RATE, resample=True)


@pytest.fixture(scope="module")
def tok():
    """Each row alone, by the class that most people use."""
    return SnacTokenizer.from_pretrained("tiny", preset="orpheus")


@pytest.fixture(scope="module")
def mapper():
    """Ids of any rate."""
    return SnacMapper("tiny", preset="orpheus")


def test_every_form_of_one_sound_gives_the_same_ids(tok, mapper, tmp_path):
    """Paths, bytes, dicts and decoders, all in one batch."""
    samples = noise(0.4)
    content = encoded(samples, CODEC_RATE)
    path = tmp_path / "clip.wav"
    path.write_bytes(content)
    rows = [
        str(path),
        path,
        content,
        {"path": str(path), "bytes": None},
        {"path": "gone.wav", "bytes": content},
        {"array": samples, "sampling_rate": CODEC_RATE},
        {"array": samples.astype(np.float64).tolist(), "sampling_rate": CODEC_RATE, "path": None},
        {"array": torch.from_numpy(samples), "sampling_rate": torch.tensor(CODEC_RATE).item()},
        Decoder(samples, CODEC_RATE),
    ]
    wanted = tok.encode(samples, sampling_rate=CODEC_RATE)
    columns = mapper({"audio": rows})
    assert [ids.tolist() for ids in columns["input_ids"]] == [wanted] * len(rows)
    assert columns["num_samples"] == [len(samples)] * len(rows)


def test_bare_arrays_take_their_rate_from_a_column(tok):
    """Each row its own rate, as numpy, float (a column with gaps) or tensor; a row without one is an error."""
    mapper = SnacMapper("tiny", preset="orpheus", sampling_rate_column="rate", on_error="column")
    rates = [8_000, np.int64(16_000), 24_000.0, torch.tensor(48_000), None, 24_000.5]
    audio = [noise(0.25, seed=at, rate=int(rate or 24_000)) for at, rate in enumerate(rates)]
    columns = mapper({"audio": audio, "rate": rates})
    for samples, rate, ids in zip(audio[:4], rates[:4], columns["input_ids"], strict=False):
        assert ids.tolist() == tok.encode(samples, sampling_rate=int(rate))
    assert columns["error"][:4] == [""] * 4
    assert "no sampling rate was given" in columns["error"][4]
    assert "24000.5" in columns["error"][5]


def test_arrow_keeps_the_type_of_samples(tok):
    """16-bit PCM in a dataset's list column is PCM; as Python ints nobody would know its full scale."""
    pcm = (noise(0.3) * 2**15).astype(np.int16)
    dataset = Dataset.from_dict({"audio": [pcm, pcm[:5000]]})
    mapped = dataset.map(SnacMapper("tiny", preset="orpheus", sampling_rate=CODEC_RATE), batched=True)
    assert mapped["input_ids"][0] == tok.encode(pcm, sampling_rate=CODEC_RATE)
    assert mapped["input_ids"][1] == tok.encode(pcm[:5000], sampling_rate=CODEC_RATE)


def test_stereo_in_nested_lists_and_decoders_is_mixed_by_the_policy(tok):
    """(C, T) arrays, from Arrow or not: the mean, or the channel that was asked for."""
    stereo = np.stack([noise(0.3, seed=1), noise(0.3, seed=2)])
    left = SnacMapper("tiny", preset="orpheus", sampling_rate=CODEC_RATE, channels="left")
    mean = SnacMapper("tiny", preset="orpheus", sampling_rate=CODEC_RATE)
    from_arrow = Dataset.from_dict({"audio": [stereo]}).map(mean, batched=True)["input_ids"][0]
    wanted = tok.encode(stereo, sampling_rate=CODEC_RATE)
    assert from_arrow == mean({"audio": [Decoder(stereo, CODEC_RATE)]})["input_ids"][0].tolist() == wanted
    assert left({"audio": [stereo]})["input_ids"][0].tolist() == tok.encode(
        stereo[0], sampling_rate=CODEC_RATE
    )


@pytest.mark.parametrize("form", ["numpy", "torch"])
def test_formatted_datasets_work(tok, form):
    """Batches of arrays or tensors, of equal lengths (one block) and unequal ones."""
    mapper = SnacMapper("tiny", preset="orpheus", sampling_rate=CODEC_RATE)
    for lengths in ((5000, 5000), (5000, 7000)):
        clips = [noise(1, seed=length)[:length] for length in lengths]
        dataset = Dataset.from_dict({"audio": clips}).with_format(form)
        ids = dataset.map(mapper, batched=True).with_format(None)["input_ids"]
        assert list(ids) == [tok.encode(clip, sampling_rate=CODEC_RATE) for clip in clips]


def test_a_long_file_is_read_in_blocks_and_gets_the_same_codes(tmp_path, monkeypatch, tok):
    """What is over the limit is never whole in memory; beside it stand short rows, in their places."""
    path = tmp_path / "long.wav"
    path.write_bytes(encoded(noise(1.5, rate=16_000), 16_000))
    mapper = SnacMapper("tiny", preset="orpheus", sampling_rate_column="rate")
    short = noise(0.2, seed=9)
    batch = {
        "audio": [short, {"path": str(path), "bytes": None}, short],
        "rate": [CODEC_RATE, None, CODEC_RATE],
    }
    whole = mapper(batch)
    monkeypatch.setattr("snac_tok.sources.reading.LONG_SECONDS", 1.0)
    assert isinstance(load_row(str(path), None, PREPARATION), LongSound)
    blocks = mapper(batch)
    assert [ids.tolist() for ids in whole["input_ids"]] == [ids.tolist() for ids in blocks["input_ids"]]
    assert whole["num_samples"] == blocks["num_samples"] == [4800, 36_000, 4800]
    assert whole["input_ids"][1].tolist() == tok.encode(str(path))


def test_many_long_files_are_not_open_at_once(tmp_path, monkeypatch, tok, mapper):
    """A batch of them would be more files than a process may have open."""
    path = tmp_path / "long.wav"
    path.write_bytes(encoded(noise(0.2), CODEC_RATE))
    monkeypatch.setattr("snac_tok.sources.reading.LONG_SECONDS", 0.1)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = max(int(file.name) for file in Path("/proc/self/fd").iterdir()) + 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limits[1]))
    try:
        rows = mapper({"audio": [str(path)] * (limit + 1)})["input_ids"]
        ids = tok([str(path)] * (limit + 1))["input_ids"]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len({tuple(row) for row in [*rows, *ids]}) == 1


def test_a_file_inside_an_archive_is_fetched(tmp_path, tok, mapper):
    """Addresses, which streamed folders hold, are opened by the library; a wrong one is the row's fault."""
    content = encoded(noise(0.3), CODEC_RATE)
    with zipfile.ZipFile(tmp_path / "clips.zip", "w") as archive:
        archive.writestr("a.wav", content)
    address = f"zip://a.wav::{tmp_path / 'clips.zip'}"
    assert mapper({"audio": [{"path": address, "bytes": None}]})["input_ids"][0].tolist() == tok.encode(
        content
    )
    with pytest.raises(AudioFileError, match="no such file"):
        load_row(f"zip://b.wav::{tmp_path / 'clips.zip'}", None, PREPARATION)


@pytest.mark.parametrize(
    ("value", "kind", "sentence"),
    [
        (None, WaveformError, "holds no sound"),
        ({"path": None, "bytes": None}, WaveformError, "this one has: path, bytes"),
        ("gone.wav", AudioFileError, "cannot be opened"),
        (b"", AudioFileError, "empty"),
        (b"no sound at all", AudioFileError, "not sound"),
        (np.zeros(0, np.float32), WaveformError, "no samples"),
        (np.full(9, np.nan, np.float32), WaveformError, "NaN"),
        (np.zeros(9, np.int64), WaveformError, "full scale"),
        (np.zeros((3, 2, 9), np.float32), WaveformError, "one recording"),
        (7, WaveformError, "got int"),
    ],
)
def test_a_row_that_is_no_sound_is_refused_in_a_sentence(value, kind, sentence):
    """The same sentences as everywhere in the package."""
    with pytest.raises(kind, match=sentence):
        load_row(value, CODEC_RATE, PREPARATION)


def test_a_rate_that_contradicts_the_file_is_refused():
    """Neither is silently believed."""
    with pytest.raises(SamplingRateError, match="8000"):
        load_row(encoded(noise(0.1), CODEC_RATE), 8_000, PREPARATION)


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        ({"sound": []}, "there is no column 'audio'; the columns are sound"),
        ({"audio": "clip.wav"}, "batched=True"),
        ({"audio": {"path": "clip.wav"}}, "batched=True"),
        ({"audio": [0.5, 0.25]}, "batched=True"),
        ({"audio": np.zeros(9)}, "batched=True"),
        ({"audio": torch.zeros(9)}, "batched=True"),
        (pa.table({"audio": ["a"]}), r"with_format\(None\)"),
        (["clip.wav"], "leave input_columns out"),
        ({"audio": [np.float32(0.5)]}, "batched=True"),
    ],
)
def test_a_batch_that_is_none_is_refused_in_a_sentence(batch, sentence):
    """A wrong column, a single row, a table: mistakes of the call, never put into the error column."""
    with pytest.raises(ConfigError, match=sentence):
        SnacMapper("tiny", on_error="column")(batch)


def test_an_unbatched_map_is_refused_in_a_sentence():
    """A dataset hands over lazy rows then, which look much like batches."""
    mapper = SnacMapper("tiny", sampling_rate=CODEC_RATE)
    with pytest.raises(ConfigError, match="batched=True"):
        Dataset.from_dict({"audio": [noise(0.1)]}).map(mapper)


def test_an_empty_batch_gives_empty_columns(mapper):
    """As some sources end with one."""
    columns = mapper({"audio": []})
    assert len(columns["input_ids"]) == 0
    assert columns["num_samples"] == []


def test_numbers_are_a_column_where_they_may_be():
    """Rates are."""
    assert column_of({"rate": [1, 2]}, "rate", numbers=True) == [1, 2]


@pytest.mark.parametrize("values", [np.array([3, 4]), torch.tensor([3, 4]), [np.int64(3), torch.tensor(4)]])
def test_numbers_of_a_formatted_dataset_are_pythons(values):
    """Arrays and tensors without axes are what a format makes of numbers."""
    found = column_of({"speaker": values}, "speaker", numbers=True)
    assert [(type(each), each) for each in found] == [(int, 3), (int, 4)]


def test_paths_of_a_dataset_in_numpys_format_are_paths(tmp_path, tok, mapper):
    """Those texts look like arrays without axes, and are no samples."""
    path = tmp_path / "clip.wav"
    path.write_bytes(encoded(noise(0.2), CODEC_RATE))
    dataset = Dataset.from_dict({"audio": [str(path)] * 2}).with_format("numpy")
    mapped = dataset.map(mapper, batched=True).with_format(None)["input_ids"]
    assert list(mapped) == [tok.encode(str(path))] * 2


def test_faults_of_the_machine_are_told_from_faults_of_the_row():
    """A full disk or too many open files would spoil every row that follows."""
    faults = ("EIO", "EMFILE", "EDQUOT", "ETIMEDOUT", "EHOSTUNREACH", "EREMOTEIO")
    for name, is_machine in (*((name, True) for name in faults), ("ENOENT", False)):
        error = AudioError("it cannot be read")
        error.__cause__ = OSError(getattr(errno, name), "reason")
        assert is_machine_fault(error) is is_machine, name
    assert is_machine_fault(MemoryError())


def test_a_fault_of_the_machine_is_raised_even_with_an_error_column(monkeypatch):
    """The disk fails under the second row: nothing is noted, the map stops."""

    def failing(audio, *, sampling_rate, allow_truncated):
        if len(audio) == 2:
            raise AudioFileError("clip.wav: cannot be read.") from OSError(errno.EIO, "Input/output error")
        return as_waveform(audio, sampling_rate=sampling_rate, allow_truncated=allow_truncated)

    mapper = SnacMapper("tiny", sampling_rate=CODEC_RATE, on_error="column")
    monkeypatch.setattr("snac_tok.sources.reading.as_waveform", failing)
    with pytest.raises(AudioFileError, match="row 1 of the batch"):
        mapper({"audio": [noise(0.1), noise(0.1)[:2], noise(0.1)]})
