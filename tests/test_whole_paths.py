"""Files to ids and ids to sound on a device of its own: the same bits, one batch queued ahead, and what is reported.

A stand-in takes the GPU's place (`device_queue`): whatever is read before it is waited for is garbage.
"""

from __future__ import annotations

import re
import threading
import time

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from device_queue import DeviceQueue
from small_codec import SMALL

from snac_tok import SNAC, SnacMapper, SnacTokenizer, Waveform, shard_folder, write_audio
from snac_tok.cli.program import program
from snac_tok.codec import transfers
from snac_tok.corpus import BatchLimits
from snac_tok.errors import WaveformError
from snac_tok.frames import FrameLayout
from snac_tok.mapping import encoding
from snac_tok.mapping.encoding import encode_rows
from snac_tok.sources import read_ahead
from snac_tok.tokenizer import clips, decoding

RATE = 8_000


@pytest.fixture(scope="module")
def tok():
    """A small codec with raw codes."""
    torch.manual_seed(0)
    codec = SNAC.from_config(SMALL).eval()
    return SnacTokenizer(codec, FrameLayout(codec.config.vq_strides))


@pytest.fixture
def with_device(monkeypatch):
    """A function that puts the stand-in in the place of a GPU from now on."""

    def use():
        queue = DeviceQueue()
        monkeypatch.setattr(transfers, "copies_for", lambda _: queue)
        return queue

    return use


def waveforms(count):
    """Noise of several lengths."""
    generator = np.random.default_rng(0)
    lengths = [400 + 170 * ((at * 7) % count) for at in range(count)]
    sounds = [generator.uniform(-0.3, 0.3, (1, length)).astype(np.float32) for length in lengths]
    return [Waveform(samples=samples, sampling_rate=RATE) for samples in sounds]


def same(found, wanted):
    """Whether two nestings of arrays are equal."""
    if isinstance(wanted, np.ndarray):
        return found.dtype == wanted.dtype and np.array_equal(found, wanted)
    return len(found) == len(wanted) and all(map(same, found, wanted))


def test_a_batch_of_clips_is_begun_and_waited_for(tok, with_device):
    """Codes are `encode_codes`'s; nothing is waited for before the function that is returned is called."""
    sounds = waveforms(5)
    wanted = tok.encode_codes(sounds)
    assert same(tok.begin_codes(sounds)(), wanted)
    queue = with_device()
    before = tok.device_seconds
    first, second = tok.begin_codes(sounds), tok.begin_codes(sounds[:2])
    assert "wait" not in queue.events
    assert same(first(), wanted)
    assert same(second(), wanted[:2])
    assert same(tok.encode_codes(sounds), wanted)
    assert tok.begin_codes([])() == []
    assert tok.device_seconds - before == 0.5 * 4
    with pytest.raises(WaveformError):
        tok.begin_codes([Waveform(samples=np.zeros((1, 0), np.float32), sampling_rate=RATE)])


def test_a_list_of_recordings_is_encoded_while_it_is_read(tok, with_device, monkeypatch, tmp_path):
    """Files, arrays of another rate, and a long file among them; the first that cannot be read is named."""
    sounds = waveforms(8)
    paths = sorted(folder_of(tmp_path / "sounds", sounds).iterdir())
    mixed = [*paths, *(Waveform(samples=each.samples, sampling_rate=11_025) for each in sounds)]
    monkeypatch.setattr("snac_tok.sources.reading.LONG_SECONDS", 0.18)
    wanted = tok(mixed)
    assert any(count / RATE > 0.18 for count in wanted.num_samples)
    queue, threads = with_device(), threading.active_count()
    monkeypatch.setattr(clips, "_PART_SECONDS", 0.3)
    found = tok(mixed)
    assert found["input_ids"] == wanted["input_ids"]
    assert found.num_samples == wanted.num_samples
    assert queue.events.count("wait") > 3
    with pytest.raises(WaveformError, match="clip 2"):
        tok([*sounds[:2], np.full(300, np.nan, np.float32), *sounds], sampling_rate=RATE)
    assert threading.active_count() == threads


@pytest.mark.parametrize("noise", [3, "off"])
def test_many_rows_of_ids_to_sound(tok, with_device, monkeypatch, noise):
    """Sorted by length, in groups of so much sound, each copied back while the next is decoded."""
    ids = [tok.vocabulary.encode(codes) for codes in tok.encode_codes(waveforms(9))]
    wanted = [sound.samples for sound in tok.batch_decode(ids, noise=noise)]
    queue = with_device()
    monkeypatch.setattr(decoding, "_GPU_SECONDS", 0.5)
    found = [sound.samples for sound in tok.batch_decode(ids, noise=noise)]
    assert same(found, wanted)
    groups = queue.events.count("wait")
    assert 2 < groups < 9
    assert queue.events.index("wait") > queue.events.index("out", queue.events.index("out") + 1)
    assert tok.batch_decode([]) == []


def folder_of(path, sounds):
    """Recordings as files."""
    path.mkdir()
    for at, sound in enumerate(sounds):
        write_audio(path / f"{at:02d}.wav", sound)
    return path


def test_shards_are_the_same_bytes_and_the_device_s_time_is_told(tok, with_device, tmp_path):
    """Also with a file that cannot be used; the next batch is read before the first is written."""
    source = folder_of(tmp_path / "sounds", waveforms(9))
    (source / "05a.wav").write_bytes(b"RIFF")
    limits = BatchLimits(max_files=2)
    plain = shard_folder(source, tmp_path / "plain", tok, limits=limits, clips_per_shard=6)
    assert plain.device_seconds == 0.0
    queue = with_device()
    seen = []

    def show(progress):
        seen.append((queue.events.count("out"), progress.done_files, progress.device_seconds))

    made = shard_folder(source, tmp_path / "made", tok, limits=limits, clips_per_shard=6, progress=show)
    for file in (tmp_path / "plain").glob("*.parquet"):
        assert (tmp_path / "made" / file.name).read_bytes() == file.read_bytes()
    assert (made.num_clips, made.num_failures) == (plain.num_clips, plain.num_failures) == (9, 1)
    assert [files for _, files, _ in seen] == [2, 4, 6, 8, 10]
    assert [begun for begun, _, _ in seen] == [2, 3, 3, 5, 5]
    assert made.device_seconds == seen[-1][2] == 0.5 * 5


def test_a_bad_clip_takes_none_of_its_neighbours_along(tok, with_device, tmp_path, monkeypatch):
    """What the encoder refuses when it begins is tried one by one; the batches before it are finished first."""
    source = folder_of(tmp_path / "sounds", waveforms(6))
    begin, bad = SnacTokenizer.begin_codes, waveforms(6)[3].num_samples

    def refuses(self, sounds, **options):
        if any(sound.num_samples == bad for sound in sounds):
            raise WaveformError("not this one.")
        return begin(self, sounds, **options)

    with_device()
    monkeypatch.setattr(SnacTokenizer, "begin_codes", refuses)
    done = []
    made = shard_folder(source, tmp_path / "made", tok, limits=BatchLimits(max_files=2), progress=done.append)
    assert (made.num_clips, made.num_failures) == (5, 1)
    assert [progress.num_failures for progress in done] == [0, 1, 1]


def test_an_encoder_that_ends_the_iteration_loses_nothing(tok, tmp_path, monkeypatch):
    """Without a device, too, where it would look like the end of the files."""

    def ends(*_given, **_options):
        raise StopIteration

    source = folder_of(tmp_path / "sounds", waveforms(2))
    monkeypatch.setattr(SnacTokenizer, "encode_codes", ends)
    with pytest.raises(Exception, match="the encoder raised StopIteration"):
        shard_folder(source, tmp_path / "made", tok)


def test_rows_of_a_dataset_are_read_by_threads_and_encoded_ahead(tok, with_device, monkeypatch):
    """Codes and errors are those of a plain loop, in order; no thread is left behind."""
    sounds = [sound.samples for sound in waveforms(9)]
    sounds[4] = np.full((1, 500), np.nan, np.float32)
    rates, seconds = [RATE] * len(sounds), 0.3
    wanted = encode_rows(sounds, rates, tok, seconds_per_call=seconds)
    queue, threads = with_device(), threading.active_count()
    readers = set()
    load = encoding.load_row

    def noted(*given, **options):
        readers.add(threading.current_thread().name)
        return load(*given, **options)

    monkeypatch.setattr(encoding, "load_row", noted)
    found = encode_rows(sounds, rates, tok, seconds_per_call=seconds)
    assert all(name.startswith("snac_tok_read") for name in readers)
    assert threading.active_count() == threads
    assert str(found[4]) == str(wanted[4])
    for one, other in zip(found, wanted, strict=True):
        if not isinstance(other, Exception):
            assert one.num_samples == other.num_samples
            assert same(one.codes, other.codes)
    assert [event for event in queue.events if event != "in"][:3] == ["out", "out", "wait"]


def test_reading_ahead_is_bounded_by_memory(monkeypatch):
    """Rows that have been read and wait are few where they are long; what reading raises comes in its turn."""
    monkeypatch.setattr(read_ahead, "_AHEAD_BYTES", 2 * 4 * RATE)
    sound = Waveform(samples=np.zeros((1, RATE), np.float32), sampling_rate=RATE)
    begun, threads = [], threading.active_count()

    def read(row):
        begun.append(row)
        if row == 7:
            raise OSError("the disk")
        return sound

    found = read_ahead.read_in_threads(read, range(30), threads=2)
    for taken, result in enumerate(found):
        time.sleep(0.01)
        assert len(begun) <= taken + 5
        assert isinstance(result, OSError) == (taken == 7)
    assert sorted(begun) == list(range(30))
    stopped_early = read_ahead.read_in_threads(read, range(30), threads=2)
    next(stopped_early)
    stopped_early.close()
    assert threading.active_count() == threads


def test_a_fault_of_the_machine_among_rows_is_raised(tok, with_device, monkeypatch):
    """It says nothing about the row."""

    def fails(*_given, **_options):
        raise OSError("the disk")

    with_device()
    monkeypatch.setattr(encoding, "load_row", fails)
    with pytest.raises(OSError, match="the disk"):
        encode_rows([np.zeros(500, np.float32)], [RATE], tok, seconds_per_call=1.0)


@pytest.mark.filterwarnings("ignore::snac_tok.errors.TrialCodecWarning")
def test_a_mapper_gives_the_same_columns(with_device):
    """With its own texts of errors."""
    batch = {"audio": [sound.samples[0] for sound in waveforms(4)] + [None]}
    mapper = SnacMapper(
        "tiny", preset="orpheus", sampling_rate=24_000, on_error="column", seconds_per_call=0.1
    )
    wanted = mapper(batch)
    with_device()
    found = mapper(batch)
    assert found.keys() == wanted.keys()
    assert found["error"] == wanted["error"]
    assert same(found["input_ids"], wanted["input_ids"])
    assert found["num_samples"] == wanted["num_samples"]


def test_the_command_says_for_how_much_of_the_time_the_gpu_had_work(tok, with_device, tmp_path, monkeypatch):
    """Only where there was one."""
    source = folder_of(tmp_path / "sounds", waveforms(3))
    monkeypatch.setattr("snac_tok.cli.shard.load_tokenizer", lambda *_given, **_options: tok)
    plain = CliRunner().invoke(program, ["shard", str(source), str(tmp_path / "plain")])
    assert plain.exit_code == 0
    assert "the GPU" not in plain.output
    with_device()
    made = CliRunner().invoke(program, ["shard", str(source), str(tmp_path / "made")])
    assert re.search(r"writing and all else; the GPU had work for \d+%\n", made.output)
