"""`allow_truncated` means the same at every door of the library: an error without it, what is left with it."""

from __future__ import annotations

import pytest
import soundfile as sf

from snac_tok import SnacTokenizer, read_audio
from snac_tok.audio import as_waveform, iter_audio
from snac_tok.corpus import shard_folder
from snac_tok.errors import AudioFileError
from snac_tok.evaluation import Identity, evaluate
from snac_tok.mapping import SnacMapper, tokenize_dataset
from snac_tok.shards import read_shards
from snac_tok.sources.recording import Recording
from snac_tok.training.clip_making import PreparationOptions, prepare_sound
from snac_tok.training.clip_store import ClipStore

KEPT = 12_000


@pytest.fixture
def cut(tmp_path):
    """A WAV at the codec's rate that promises 24,000 samples and has half of them."""
    folder = tmp_path / "clips"
    folder.mkdir()
    path = folder / "cut.wav"
    samples = sf.read("tests/speech/LJ001-0008.flac", dtype="int16")[0][:24_000]
    sf.write(path, samples, 24_000)
    path.write_bytes(path.read_bytes()[: 44 + 2 * KEPT])
    return path


@pytest.fixture(scope="module")
def tokenizer():
    """The trial codec."""
    return SnacTokenizer.from_pretrained("tiny", preset="orpheus")


@pytest.mark.parametrize(
    "read", [read_audio, as_waveform, lambda path, **o: next(iter(iter_audio(path, **o)))]
)
def test_reading(cut, read):
    """By path, as bytes, and as a dataset's dict."""
    for source in (cut, cut.read_bytes()):
        with pytest.raises(AudioFileError, match="allow_truncated=True"):
            read(source)
        assert read(source, allow_truncated=True).num_samples == KEPT
    if read is as_waveform:
        sound = {"bytes": cut.read_bytes(), "path": "cut.wav"}
        assert read(sound, allow_truncated=True).num_samples == KEPT


def test_tokenizers(cut, tokenizer):
    """Per call, or for all calls of a tokenizer; the call's own word counts more."""
    expected = tokenizer.encode(read_audio(cut, allow_truncated=True))
    with pytest.raises(AudioFileError):
        tokenizer.encode(cut)
    assert tokenizer.encode(cut, allow_truncated=True) == expected
    assert tokenizer([cut], allow_truncated=True)["input_ids"] == [expected]
    lenient = SnacTokenizer.from_pretrained("tiny", preset="orpheus", allow_truncated=True)
    assert lenient.encode(cut) == expected
    with pytest.raises(AudioFileError):
        lenient.encode(cut, allow_truncated=False)


def test_mapping(cut, tokenizer):
    """A mapper's results depend on it, so its hash does."""
    datasets = pytest.importorskip("datasets")
    expected = tokenizer.encode(cut, allow_truncated=True)
    rows = {"audio": [str(cut)]}
    with pytest.raises(AudioFileError):
        SnacMapper("tiny", preset="orpheus")(rows)
    mapper = SnacMapper("tiny", preset="orpheus", allow_truncated=True)
    assert [list(ids) for ids in mapper(rows)["input_ids"]] == [expected]
    made = tokenize_dataset(
        datasets.Dataset.from_dict(rows), "tiny", preset="orpheus", audio_column="audio", allow_truncated=True
    )
    assert list(made[0]["input_ids"]) == expected
    assert mapper.__getstate__() != SnacMapper("tiny", preset="orpheus").__getstate__()


def test_shards(cut, tokenizer, tmp_path):
    """The file fails, or becomes a record of what is left."""
    assert shard_folder(cut.parent, tmp_path / "strict", tokenizer).num_failures == 1
    summary = shard_folder(cut.parent, tmp_path / "lenient", tokenizer, allow_truncated=True)
    assert (summary.num_clips, summary.num_failures) == (1, 0)
    assert [record.num_samples for record in read_shards(tmp_path / "lenient")] == [KEPT]


def test_preparing(cut, tmp_path):
    """As an option of the preparation, which the folder records."""
    options = {"sampling_rate": 24_000}
    whole = tmp_path / "clips" / "whole.wav"
    sf.write(whole, sf.read("tests/speech/LJ001-0008.flac", dtype="int16")[0][:6_000], 24_000)
    strict = prepare_sound([cut.parent], tmp_path / "strict", PreparationOptions(**options))
    assert (strict.num_failures, strict.num_samples) == (1, 6_000)
    lenient = PreparationOptions(**options, allow_truncated=True)
    assert prepare_sound([cut.parent], tmp_path / "lenient", lenient).num_samples == KEPT + 6_000
    assert ClipStore.open(tmp_path / "lenient").num_clips == 2


def test_evaluating(cut):
    """A clip that is noted, or measured."""
    clips = [Recording(name="cut", sound=cut)]
    assert len(evaluate(clips, [Identity()], measures=["mel"]).failures) == 1
    found = evaluate(clips, [Identity()], measures=["mel"], allow_truncated=True)
    assert found.codecs[0].clips[0].duration_seconds == KEPT / 24_000
