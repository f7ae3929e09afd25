"""One door for sound of any kind: what is found, how it is read, and what is refused in a sentence."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from snac_tok.audio import Waveform, as_waveform
from snac_tok.errors import AudioFileError, ConfigError, SourceError, WaveformError
from snac_tok.sources.failures import failure_of
from snac_tok.sources.find import find_recordings
from snac_tok.sources.huggingface import audio_column_of
from snac_tok.sources.reading import LongSound
from snac_tok.sources.recording import Recording

RATE = 8_000


@pytest.fixture
def folder(tmp_path):
    """Two stereo recordings, one of them in a folder, and the text of one."""
    (tmp_path / "clips" / "more").mkdir(parents=True)
    for at, name in enumerate(("a.wav", "more/b.flac")):
        samples = np.random.default_rng(at).normal(0, 0.1, (RATE, 2)).astype(np.float32)
        soundfile.write(tmp_path / "clips" / name, samples, RATE)
    (tmp_path / "clips" / "metadata.csv").write_text("file_name,text\na.wav,one\n")
    return tmp_path / "clips"


def listing(*inputs):
    """Names and texts."""
    return [(recording.name, recording.text) for recording in find_recordings(inputs)]


def test_every_kind_of_source_gives_the_same_recordings(folder):
    """A folder, a file, manifests and datasets: one after another, with the texts that they tell."""
    datasets = pytest.importorskip("datasets")
    (folder / "m.txt").write_text("a.wav\nmore/b.flac\n")
    (folder / "m.csv").write_text("file_name,text\na.wav,one\nmore/b.flac,\n")
    (folder / "m.tsv").write_text("text\tpath\none\ta.wav\n\tmore/b.flac\n")
    (folder / "m.jsonl").write_text('{"path": "a.wav", "text": "one"}\n{"path": "more/b.flac"}\n')
    paths = [str(folder / "a.wav"), str(folder / "more" / "b.flac")]
    rows = datasets.Dataset.from_dict({"audio": paths, "text": ["one", None]})
    named, texts = [("a.wav", "one"), ("more/b.flac", None)], ["one", None]
    assert listing(folder) == listing(*(folder / f"m.{kind}" for kind in ("csv",))) == named
    assert listing(folder / "m.tsv") == listing(str(folder / "m.jsonl")) == named
    assert listing(folder / "m.txt") == [(name, None) for name, _ in named]
    assert listing(folder / "a.wav", rows) == [("a.wav", None), ("0", "one"), ("1", None)]
    splits = datasets.DatasetDict(train=rows.cast_column("audio", datasets.Audio()))
    assert listing(splits) == [("train/0/a.wav", "one"), ("train/1/b.flac", None)]
    wanted = [as_waveform(path).samples.tolist() for path in paths]
    for source in (folder, folder / "m.jsonl", rows, splits, rows.to_iterable_dataset()):
        assert [recording.read().samples.tolist() for recording in find_recordings([source])] == wanted
        recordings = find_recordings([source])
        assert [sum(block.num_samples for block in each.blocks()) for each in recordings] == [RATE, RATE]
    assert texts == [recording.text for recording in find_recordings([rows])]


def test_files_are_known_by_their_names_and_sizes(folder):
    """The identity changes with each, and not with the place; a stream that has no name has none."""
    datasets = pytest.importorskip("datasets")
    before = find_recordings([folder])
    assert before.num_bytes == sum(path.stat().st_size for path in folder.rglob("*.[wf]*"))
    folder = folder.rename(folder.with_name("moved"))
    assert find_recordings([folder]).identity == before.identity
    (folder / "a.wav").rename(folder / "z.wav")
    assert find_recordings([folder]).identity != before.identity
    rows = datasets.Dataset.from_dict({"path": ["a.wav"]})
    assert find_recordings([rows]).identity == find_recordings([rows]).identity is not None
    streamed = find_recordings([folder, rows.to_iterable_dataset()])
    assert (streamed.identity, streamed.num_bytes) == (None, None)


@pytest.mark.parametrize("long_seconds", [0.5, 5.0])
def test_a_long_file_comes_in_blocks_that_can_be_read_again(folder, long_seconds):
    """Joined they are the whole, every time; a short file is read whole."""
    recording = next(iter(find_recordings([folder])))
    sound = recording.read(long_seconds=long_seconds)
    assert isinstance(sound, LongSound if long_seconds < 1 else Waveform)
    for _ in range(2):
        blocks = list(sound) if isinstance(sound, LongSound) else [sound]
        joined = np.concatenate([block.samples for block in blocks], axis=1)
        np.testing.assert_array_equal(joined, recording.whole().samples)


def test_a_file_that_changed_since_it_was_listed_is_refused(folder):
    """Before it is read, and at its end; however it is read."""
    recording = next(iter(find_recordings([folder])))
    sound = recording.read(long_seconds=0)
    content = recording.sound.read_bytes()
    recording.sound.write_bytes(content + b"more")
    for read in (recording.read, recording.whole, lambda: list(recording.blocks()), lambda: list(sound)):
        with pytest.raises(AudioFileError, match="changed while the run went on"):
            read()
    recording.sound.write_bytes(content)
    blocks = recording.blocks()
    next(blocks)
    recording.sound.write_bytes(content + b"more")
    with pytest.raises(AudioFileError, match="changed while the run went on"):
        list(blocks)


@pytest.mark.parametrize("sound", [None, np.zeros(0, np.float32)])
def test_a_row_without_sound_is_refused(sound):
    """In every way of reading."""
    recording = Recording(name="row", sound=sound, sampling_rate=RATE)
    for read in (recording.read, recording.whole):
        with pytest.raises(WaveformError, match="holds no s"):
            read()


def test_failures_of_recordings_are_noted_and_those_of_the_machine_raised():
    """Names that no text can hold are spelled; advice is for users of Python and commands alike."""
    cut = AudioFileError("a.wav: cut off; allow_truncated=True takes what there is.")
    noted = failure_of("caf\udce9.wav", cut)
    assert noted.source == r"caf\xe9.wav"
    assert noted.reason == "a.wav: cut off; allowing truncated files takes what there is."
    with pytest.raises(MemoryError):
        failure_of("a.wav", MemoryError())


def test_the_column_of_sound_is_guessed_once_for_all():
    """The only Audio column, the one called audio among several, or a usual name; else the names are asked for."""
    datasets = pytest.importorskip("datasets")

    def column(*names, marked=()):
        rows = datasets.Dataset.from_dict({name: ["a.wav"] for name in names})
        for name in marked:
            rows = rows.cast_column(name, datasets.Audio(decode=False))
        return audio_column_of(rows)

    assert column("path", "wave", marked=["wave"]) == "wave"
    assert column("noisy", "audio", marked=["noisy", "audio"]) == "audio"
    assert column("path", "text") == "path"
    assert column("sound", "file") == "sound"
    for names, marked in ((["text"], []), (["one", "two", "path"], ["one", "two"])):
        with pytest.raises(SourceError, match=r"could be the sound.*rename it with rename_column"):
            column(*names, marked=marked)
    assert issubclass(SourceError, ConfigError)


@pytest.mark.parametrize("end", [1.0, 2.0])
def test_a_part_of_a_32_bit_file_with_16_bit_values_is_refused(folder, end):
    """As the whole file is. A part that fades out in a file of 32 bits is as quiet, and taken."""
    values = np.random.default_rng(5).integers(-9_000, 9_000, 2 * RATE).astype(np.int32)
    soundfile.write(folder / "x.wav", values, RATE, subtype="PCM_32")
    part = Recording(name="x", sound=folder / "x.wav", part=(0.25, end))
    for read in (part.read, part.whole, lambda: list(part.blocks())):
        with pytest.raises(AudioFileError, match="never scaled"):
            read()
    for loud in (slice(0, 1_000), slice(-10, None)):
        fading = values.copy()
        fading[loud] *= 60_000
        soundfile.write(folder / "x.wav", fading, RATE, subtype="PCM_32")
        assert np.array_equal(part.read().samples[0, :800], values[2_000:2_800] / np.float32(2**31))
