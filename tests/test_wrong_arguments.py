"""What is no path, codec, list or id at the public calls: one sentence of ours, and its advice works when followed."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from snac_tok import (
    SNAC,
    BatchStreamDecoder,
    BatchStreamEncoder,
    SnacMapper,
    SnacTokenizer,
    StreamDecoder,
    StreamEncoder,
    Waveform,
    open_shards,
    read_audio,
    read_shards,
    shard_folder,
    write_audio,
)
from snac_tok.audio import as_waveform
from snac_tok.corpus import collection_status, estimate_folder, merge_shards, verify_collection
from snac_tok.errors import (
    AudioFileError,
    CheckpointError,
    CodesError,
    ConfigError,
    EvaluationError,
    LayoutError,
    ShardError,
    SnacTokError,
    SourceError,
    TokenError,
    TrainingError,
    WaveformError,
)
from snac_tok.evaluation import Identity, evaluate
from snac_tok.generation import SpeechStream
from snac_tok.hf import SnacFeatureExtractor, SnacModel, SnacProcessor
from snac_tok.sources.recording import Recording
from snac_tok.training.clip_making import PreparationOptions, prepare_sound

RATE = 24_000
SPEECH = Path("tests/speech/LJ001-0008.flac").absolute()
READY = PreparationOptions(sampling_rate=RATE)


@pytest.fixture(scope="module")
def tok():
    """A tokenizer of the codec that ships."""
    return SnacTokenizer.from_pretrained("tiny")


@pytest.fixture(scope="module")
def codes(tok):
    """Codes (1, T_k) of half a second."""
    return tok.codec.encode(torch.from_numpy(read_audio(SPEECH).samples[None, :, :12_000]))


def refusal(error, call):
    """The sentence that a call is refused with."""
    with pytest.raises(error) as caught:
        call()
    assert isinstance(caught.value, SnacTokError)
    return str(caught.value)


def test_shard_folder_checks_its_three_arguments(tok, tmp_path, monkeypatch):
    """A codec's name for the tokenizer, or two arguments exchanged, was an error of Python's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mix").mkdir()
    write_audio("mix/a.wav", np.zeros(RATE, np.float32), RATE)
    found = refusal(ConfigError, lambda: shard_folder("mix", "out", "tiny"))
    assert found == "encoder is 'tiny'; a loaded tokenizer is needed: SnacTokenizer.from_pretrained('tiny')."
    assert shard_folder("mix", "out", SnacTokenizer.from_pretrained("tiny")).num_clips == 1
    found = refusal(ConfigError, lambda: shard_folder("mix", "two", tok.codec))
    assert found == "encoder is a SNAC; a loaded tokenizer is needed: SnacTokenizer(codec, None)."
    assert shard_folder("mix", "two", SnacTokenizer(tok.codec, None)).num_clips == 1
    assert "encoder is a Vocabulary" in refusal(ConfigError, lambda: estimate_folder("mix", tok.vocabulary))
    for out in (tok, None, ""):
        found = refusal(ShardError, lambda out=out: shard_folder("mix", out, "three"))
        assert re.match(
            "out is (a SnacTokenizer|None|empty); the path of the shards' folder is needed", found
        )
        for door in (merge_shards, collection_status, verify_collection):
            assert refusal(ShardError, lambda door=door, out=out: door(out)) == found
    for door in (lambda: shard_folder(tok, "mix", "out"), lambda: estimate_folder(tok, "mix")):
        assert "source is a SnacTokenizer; the path of" in refusal(SourceError, door)
    assert collection_status("out").num_records == 1
    assert verify_collection("out") == []


@pytest.mark.parametrize(
    "door", [StreamDecoder, StreamEncoder, BatchStreamDecoder, BatchStreamEncoder, SpeechStream]
)
def test_streams_name_what_is_no_codec(tok, door):
    """A name and None are told apart, and a transformers model brings its codec."""
    found = refusal(LayoutError, lambda: door("tiny"))
    assert "'tiny' is no codec; load one by that name" in found
    assert "with SnacTokenizer.from_pretrained." in found
    for wrong in (None, tok.vocabulary):
        assert "; a loaded codec or tokenizer is needed" in refusal(LayoutError, lambda w=wrong: door(w))
    assert door(SnacModel.from_pretrained("tiny"), "plain") is not None


def test_tokenizer_of_a_name_is_refused():
    """It asked the name for its sampling rate."""
    assert "'tiny' is no codec" in refusal(LayoutError, lambda: SnacTokenizer("tiny", "plain"))


@pytest.mark.parametrize("wrong", [None, 3, b"tiny", ["tiny"], ""])
@pytest.mark.parametrize(
    "door",
    [
        SNAC.from_pretrained,
        lambda name: SNAC.from_pretrained("tiny", decoder="" if name is None else name),
        SnacTokenizer.from_pretrained,
        lambda name: SnacTokenizer.from_pretrained("tiny", decoder="" if name is None else name),
        SnacModel.from_pretrained,
        SnacProcessor.from_pretrained,
        SnacMapper,
    ],
)
def test_no_codec_has_such_a_name(door, wrong, tmp_path, monkeypatch):
    """An empty name loaded whatever codec lay in the current folder."""
    SNAC.from_pretrained("tiny").save_pretrained(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert "needed" in refusal(ConfigError, lambda: door(wrong)) or wrong is None


@pytest.mark.parametrize("wrong", [None, 3, ""])
def test_paths_are_paths(tok, wrong, tmp_path, monkeypatch):
    """Python's error spoke of os.PathLike, and an empty path was the current folder."""
    monkeypatch.chdir(tmp_path)
    given = re.escape(f"is {wrong}" if wrong != "" else "is empty")
    for error, door in (
        (ShardError, open_shards),
        (ShardError, read_shards),
        (CheckpointError, tok.codec.save_pretrained),
        (CheckpointError, tok.save_pretrained),
        (ConfigError, SNAC.from_config),
        (AudioFileError, lambda path: write_audio(path, np.zeros(5), RATE)),
        (TrainingError, lambda path: prepare_sound([SPEECH], path, READY)),
    ):
        assert re.search(given, refusal(error, lambda door=door: door(wrong)))
    assert not list(tmp_path.iterdir())


def test_write_audio_says_that_its_arguments_are_exchanged(tmp_path):
    """The path comes first."""
    sound = Waveform(samples=np.zeros((1, 100), np.float32), sampling_rate=RATE)
    for given in (sound, np.zeros(100), [sound]):
        found = refusal(AudioFileError, lambda given=given: write_audio(given, str(tmp_path / "x.wav")))
        assert found.startswith("write_audio takes the path first and the sound second, got a")


def test_preparation_and_evaluation_name_what_they_cannot_take(tok):
    """One path was read letter by letter; codecs and paths failed inside."""
    assert "[" in refusal(SourceError, lambda: prepare_sound(str(SPEECH), "ready", READY))
    assert "options is 24000" in refusal(TrainingError, lambda: prepare_sound([SPEECH], "ready", RATE))
    for clips in ("mix", ["a.flac"], None, [read_audio(SPEECH)]):
        assert "find_recordings" in refusal(
            EvaluationError, lambda clips=clips: evaluate(clips, [Identity()])
        )
    for trips in ("tiny", ["tiny"], [tok], tok, Identity()):
        assert "SnacRoundTrip" in refusal(EvaluationError, lambda trips=trips: evaluate([], trips))


# Codes where ids are due, and ids where codes are due.


def test_codes_of_a_codec_are_no_ids(tok, codes):
    """They were taken for several recordings, and the advice led nowhere."""
    doors = {
        tok.decode: "these look like",
        lambda given: next(tok.decode_blocks(given)): "these look like",
        tok.batch_decode: r"row 0: position \d: id .* These may also be",
    }
    for door, guess in doors.items():
        found = refusal(TokenError, lambda door=door: door(codes))
        shapes = re.escape("((1, 6), (1, 12), (1, 24))")
        assert re.match(f"{guess} raw codes, one array for each level {shapes}", found)
        assert "tokenizer.codec.decode(codes)" in found
        assert "tokenizer.vocabulary.encode(codes)" in found
    sound = tok.codec.decode(codes, noise=0)[0].numpy()
    assert np.array_equal(tok.decode(tok.vocabulary.encode(codes)).samples, sound)


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_levels_of_one_recording_are_no_ids(tok, codes, kind):
    """The tokenizer has a call for them."""
    levels = [kind(level[0].tolist()) for level in codes]
    assert "tokenizer.decode_codes(codes) makes" in refusal(TokenError, lambda: tok.decode(levels))
    assert np.array_equal(tok.decode_codes(levels).samples, tok.decode(tok.vocabulary.encode(levels)).samples)


def test_rows_of_ids_with_such_lengths_are_still_rows(tok):
    """Three rows with lengths in the levels' proportion, one of them with a fault."""
    frame = tok.vocabulary.encode([[1], [2, 3], [4, 5, 6, 7]])
    rows = [np.tile(frame, count) for count in (1, 2, 4)]
    assert len(tok.batch_decode(rows)) == 3
    rows[1][3] = 0
    assert refusal(TokenError, lambda: tok.batch_decode(rows)).startswith("row 1: position 3")


@pytest.mark.parametrize("value", ["a", float("nan"), 1.5, None, True])
def test_lists_of_such_lengths_without_integers_are_no_codes(tok, value):
    """Their lengths fit the levels; the question for their lowest value was an error of numpy's."""
    lists = [[value] * count for count in (1, 2, 4)]
    assert "several recordings" in refusal(TokenError, lambda: tok.decode(lists))
    assert refusal(TokenError, lambda: tok.batch_decode(lists)).startswith("row 0: ids must be")
    if isinstance(value, (float, bool)):
        tensors = [torch.tensor(level) for level in lists]
        assert "raw codes" not in refusal(TokenError, lambda: tok.decode(tensors))
        assert "raw codes" not in refusal(TokenError, lambda: tok.batch_decode(tensors))


def test_unsigned_levels_are_codes(tok):
    """Torch has no minimum of their type."""
    levels = [torch.ones(count, dtype=torch.uint16) for count in (1, 2, 4)]
    assert "these look like raw codes" in refusal(TokenError, lambda: tok.decode(levels))


def test_rows_of_text_ids_are_named_first():
    """A language model that spoke no speech gave rows of such lengths: they were called raw codes, without a row."""
    tok = SnacTokenizer.from_pretrained("tiny", preset="orpheus")
    found = refusal(TokenError, lambda: tok.batch_decode([[101] * 7, [202] * 14, [303] * 28]))
    assert found.startswith("row 0: position 0: id 101 is not an id of this vocabulary")
    assert "These may also be raw codes, one array for each level ((7,), (14,), (28,)), not ids" in found


@pytest.mark.parametrize("value", [None, 1.5, True, object()])
def test_what_is_no_id_is_no_row_of_ids(tok, value):
    """One None was "one row of 1 ids"."""
    assert refusal(TokenError, lambda: tok.batch_decode([value])).startswith("row 0: ids must be")
    for row in ([3], np.array([3]), [np.array(3)], [torch.tensor(3)]):
        found = refusal(TokenError, lambda row=row: tok.batch_decode(row))
        assert found.startswith("sequences is one row of 1 id; decode")
    assert "whole numbers, as ids are" not in refusal(CodesError, lambda: tok.decode_codes([1.5, 2.5]))


def test_one_row_of_ids_is_for_decode(tok):
    """batch_decode and decode_codes read its numbers one by one, and printed as many shapes."""
    ids = tok.encode(np.zeros(RATE), sampling_rate=RATE)
    for given in (ids, np.array(ids), torch.tensor(ids)):
        found = refusal(TokenError, lambda given=given: tok.batch_decode(given))
        assert found == (
            "sequences is one row of 84 ids; decode takes one row, batch_decode a list of rows: [ids]."
        )
        assert np.array_equal(tok.batch_decode([given])[0].samples, tok.decode(given).samples)
        assert "decode(ids) takes those" in refusal(CodesError, lambda given=given: tok.decode_codes(given))
        found = refusal(CodesError, lambda given=given: tok.codec.decode(given))
        assert "one row of 84 numbers, as ids are, which a SnacTokenizer's decode takes" in found
    found = refusal(CodesError, lambda: tok.decode_codes([np.zeros((2, 2, 2), int)] * 9))
    assert "(2, 2, 2), (2, 2, 2), (2, 2, 2) and 6 more" in found


def test_a_batch_dimension_too_many_or_too_few(tok, codes):
    """A stream named shapes that nobody had passed."""
    found = refusal(CodesError, lambda: StreamDecoder(tok).push(codes))
    assert found == (
        "the codes have the shapes (1, 6), (1, 12), (1, 24); (T_k,) for each level is needed: push [level[0] for level "
        "in codes]."
    )
    assert StreamDecoder(tok).push([level[0] for level in codes]).size
    two = [level.repeat(2, 1) for level in codes]
    assert "each row's to a stream of its own" in refusal(CodesError, lambda: StreamDecoder(tok).push(two))
    few = refusal(CodesError, lambda: StreamDecoder(tok).push((np.array([1, 2]), 5)))
    assert few == "codes of 2 levels were given; 3 levels are needed."
    for mixed in ([np.array([1, 2]), 5, 6], [codes[0], 5, 6]):
        assert refusal(CodesError, lambda mixed=mixed: StreamDecoder(tok).push(mixed)).endswith("is needed.")
    found = refusal(CodesError, lambda: tok.decode_codes(codes))
    assert "[level[0] for level in codes] is without" in found
    assert tok.decode_codes([level[0] for level in codes]).num_samples == 12_288
    flat = [level[0] for level in codes]
    assert "[level[None] for level in codes]" in refusal(CodesError, lambda: tok.codec.decode(flat))
    assert tok.codec.decode([level[None] for level in flat]).shape == (1, 1, 12_288)
    arrays = [level.numpy() for level in codes]
    assert "torch.tensor makes one of an array" in refusal(CodesError, lambda: tok.codec.decode(arrays))
    assert tok.codec.decode([torch.tensor(level) for level in arrays]).shape == (1, 1, 12_288)


def test_levels_that_a_table_leaves_out_are_codes_too():
    """A table of two levels is told of three."""
    tok = SnacTokenizer.from_pretrained("tiny", levels=2)
    codes = tok.codec.encode(torch.zeros(1, 1, RATE))
    assert "tokenizer.vocabulary.encode(codes)" in refusal(TokenError, lambda: tok.decode(codes))
    assert tok.decode(tok.vocabulary.encode(codes)).num_samples


# Pairs, paths and waveforms where a tensor or a list is due.


PAIRS = [
    (np.zeros(RATE, np.float32), RATE),
    (torch.zeros(1, RATE), RATE),
    (np.zeros((RATE, 2), np.float32), float(RATE)),
    [np.zeros(RATE), np.int64(RATE)],
]


@pytest.mark.parametrize("pair", PAIRS)
def test_pairs_of_samples_and_rate(tok, pair, tmp_path):
    """As librosa, torchaudio and soundfile return them; they were taken for a list of two clips."""
    stream = BatchStreamEncoder(tok)
    stream.open("a")
    doors = (
        tok,
        tok.encode,
        lambda given: tok.encode(given, sampling_rate=RATE),
        lambda given: tok([given, given]),
        lambda given: tok({"array": given, "sampling_rate": RATE}),
        tok.encode_codes,
        lambda given: tok.encode_codes([given]),
        StreamEncoder(tok).push,
        lambda given: stream.push("a", given),
        as_waveform,
        lambda given: write_audio(tmp_path / "x.wav", given),
        SnacFeatureExtractor(RATE),
    )
    samples, rate = pair
    samples = samples.T if samples.shape[-1] == 2 else samples
    call = "(samples.T, sampling_rate=rate)" if samples is not pair[0] else "(samples, sampling_rate=rate)"
    for door in doors:
        found = refusal(WaveformError, lambda door=door: door(pair))
        assert "this is a pair of samples and a rate; pass them apart: samples, rate = pair, then " in found
        assert call in found
    assert len(tok(samples, sampling_rate=rate)["input_ids"]) == 84
    waveform = as_waveform(samples, sampling_rate=rate)
    assert len(tok.encode_codes([waveform])) == 1
    assert write_audio(tmp_path / "x.wav", waveform) == 0
    assert f"as_waveform{call}" in refusal(WaveformError, lambda: tok.codec.encode(pair))


def test_encode_codes_takes_a_list(tok):
    """A path was read letter by letter."""
    sound = read_audio(SPEECH)
    found = refusal(WaveformError, lambda: tok.encode_codes(str(SPEECH)))
    assert found == (
        f"waveforms is '{SPEECH}'; a list of Waveforms is needed, such as [read_audio('{SPEECH}')]."
    )
    assert "such as [waveform]" in refusal(WaveformError, lambda: tok.encode_codes(sound))
    for wrong in (np.zeros(RATE), None):
        assert "as_waveform(samples" in refusal(WaveformError, lambda wrong=wrong: tok.encode_codes(wrong))
    assert len(tok.encode_codes([sound])[0]) == 3


def test_codec_says_how_sound_becomes_a_tensor(tok):
    """Each advice is followed here, as it is written in the message."""
    codec, path, sound = tok.codec, str(SPEECH), read_audio(SPEECH)
    names = {
        "codec": codec,
        "torch": torch,
        "SnacTokenizer": SnacTokenizer,
        "read_audio": read_audio,
        "as_waveform": as_waveform,
    }
    whole = (
        (path, "encode_codes"),
        (sound, "torch.from_numpy(audio.samples)[None]"),
        (sound, "SnacTokenizer(codec, None).encode_codes([audio])"),
        (torch.zeros(1, 2, 2048), "audio.mean(1, keepdim=True)"),
        (torch.zeros(1, 2048, 2), "audio.transpose(1, 2).mean(1, keepdim=True)"),
        (torch.zeros(2048), "audio[None, None]"),
        (torch.zeros(2, 2048), "audio[:, None]"),
        (torch.zeros(1, 1, 2048, dtype=torch.int16), "audio / 32768"),
        (np.zeros(2048), "torch.tensor(audio)[None, None]"),
        (np.zeros((1, 2048), np.float32), "torch.tensor(audio)[:, None]"),
        (np.zeros((1, 1, 2048), np.int16), "torch.tensor(audio) / 32768"),
        ([0.0] * 2048, "torch.tensor(audio)[None, None]"),
    )
    for audio, cure in whole:
        found = refusal(WaveformError, lambda audio=audio: codec.encode(audio))
        assert cure in found
        if "encode_codes" in cure:
            written = re.search(r"SnacTokenizer\(codec, None\)\.encode_codes\(\[.*?\]\)", found)[0]
            assert len(eval(written, names, {"audio": audio})[0]) == 3
        else:
            assert len(codec.encode(eval(cure, names, {"audio": audio}))) == 3
    clips = (
        (sound, "torch.from_numpy(clip.samples)"),
        (np.zeros(2048), "torch.tensor(clip)"),
        (torch.zeros(2, 2048), "clip.mean(0, keepdim=True)"),
    )
    for clip, cure in clips:
        assert cure in refusal(WaveformError, lambda clip=clip: codec.encode_batch([clip]))
        assert len(codec.encode_batch([eval(cure, names, {"clip": clip})])) == 1
    for wrong in (path, sound):
        for door in (codec.encode_batch, lambda given: list(codec.encode_blocks(given))):
            assert "encode_codes" in refusal(WaveformError, lambda door=door, wrong=wrong: door(wrong))


def stereo(length=2400):
    """Two channels of the same tone (2, T), of which a mean over channels keeps all and one over time nothing."""
    tone = (0.3 * np.sin(np.arange(length) / 9)).astype(np.float32)
    return np.stack([tone, tone])


SCALES = {"int8": 2**7, "int16": 2**15, "int32": 2**31, "float16": 1, "float32": 1, "float64": 1}


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
@pytest.mark.parametrize("dtype", [*SCALES, "uint8"])
@pytest.mark.parametrize(
    "shaped",
    [
        lambda two: two[0],
        lambda two: two[:1],
        lambda two: two[:1].T,
        lambda two: two,
        lambda two: two.T,
        lambda two: two[None, :1],
        lambda two: two[None],
        lambda two: two.T[None],
    ],
)
def test_advice_keeps_the_sound(tok, kind, dtype, shaped):
    """Stereo as soundfile gives it was averaged over time, or cut into clips of two samples; integers stayed so."""
    exact = shaped(stereo().astype(np.float64))
    if dtype == "uint8":
        given = kind(np.ascontiguousarray(np.round(exact * 128 + 128).astype(np.uint8)))
    else:
        given = kind(np.ascontiguousarray((exact * SCALES[dtype]).astype(dtype)))
    sound = torch.from_numpy(stereo()[0])
    for name, door in (("audio", tok.codec.encode), ("clip", lambda clip: tok.codec.encode_batch([clip]))):
        try:
            assert door(given)
            continue
        except WaveformError as error:
            cure = re.search(r"(?:is needed|mono and not empty): (.*)\.$", str(error))[1]
        for reading in cure.split(" mixes channels, "):
            made = eval(re.sub(" (mixes|is a clip).*", "", reading), {"torch": torch, name: given})
            for row in [made] if isinstance(made, torch.Tensor) else made:
                assert row.shape[-1] == 2400
                assert torch.allclose(row.reshape(-1, 2400).float(), sound, atol=0.02)
            assert tok.codec.encode_batch(made) if isinstance(made, list) else door(made)


def test_stereo_of_soundfile(tok):
    """The three sentences of the commonest case."""
    last = torch.from_numpy(stereo().T)
    found = refusal(WaveformError, lambda: tok.codec.encode_batch([last]))
    assert found.endswith(": clip.mean(1) mixes channels.")
    found = refusal(WaveformError, lambda: tok.codec.encode(last))
    assert found.endswith(": audio.mean(1)[None, None] mixes channels.")
    found = refusal(WaveformError, lambda: tok.codec.encode(last.numpy()))
    assert found.endswith(": torch.tensor(audio).mean(1)[None, None] mixes channels.")
    found = refusal(WaveformError, lambda: tok.codec.encode(last.T))
    assert found.endswith(
        ": audio.mean(0)[None, None] mixes channels, audio[:, None] is a clip for each row."
    )
    found = refusal(WaveformError, lambda: tok.codec.encode_batch([torch.zeros(3, 1, 2400)]))
    assert found.endswith("mono and not empty.")


def test_advice_for_arrays_that_torch_does_not_take(tok):
    """Another order of bytes, one that runs backwards, more bits: `as_waveform` takes them."""
    names = {"codec": tok.codec, "SnacTokenizer": SnacTokenizer, "as_waveform": as_waveform, "rate": RATE}
    two = stereo()
    for audio in (
        two[0].astype(">f4"),
        two[0][::-1],
        two.T.astype(np.longdouble),
        (two * 9999).astype(">i2"),
    ):
        found = refusal(WaveformError, lambda audio=audio: tok.codec.encode(audio))
        cure = re.search(r"SnacTokenizer\(.*\]\)", found)[0]
        assert len(eval(cure, names, {"audio": audio})[0]) == 3


@pytest.mark.parametrize("dtype", ["int64", "uint16", "bool", "complex64", "U3", "object"])
def test_no_advice_where_full_scale_is_unknown(tok, dtype):
    """It was refused again."""
    array = np.ones(2400).astype(dtype)
    assert refusal(WaveformError, lambda: tok.codec.encode(array)).endswith("is needed.")
    if dtype not in ("U3", "object"):
        tensor = torch.tensor(array)
        assert refusal(WaveformError, lambda: tok.codec.encode(tensor)).endswith("is needed.")


def test_16_bit_values_in_32_bits_are_doubted(tok):
    """Divided by 2**31 they are silence."""
    audio = (stereo() * 32768).astype(np.int32)
    for given in (audio, torch.tensor(audio), audio[:, None]):
        found = refusal(WaveformError, lambda given=given: tok.codec.encode(given))
        assert "16-bit values are divided by 32768" in found


def test_stereo_waveforms_and_pairs_keep_their_sound(tok):
    """The tensor of the advice was refused again."""
    sound = Waveform(samples=stereo(), sampling_rate=RATE)
    cure = "torch.from_numpy(audio.samples).mean(0, keepdim=True)[None]"
    assert cure in refusal(WaveformError, lambda: tok.codec.encode(sound))
    assert len(tok.codec.encode(eval(cure, {"torch": torch, "audio": sound}))) == 3
    found = refusal(WaveformError, lambda: tok.codec.encode((stereo().T, RATE)))
    assert "as_waveform(samples.T, sampling_rate=rate)" in found


class Places:
    """A data set as torch has them: a length and places, no iteration of its own."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, at):
        return self.values[at]


def iterables(values):
    """What holds several things."""
    objects = np.empty(len(values), object)
    objects[:] = values
    return [
        dict(enumerate(values)).values(),
        objects,
        torch.utils.data.Subset(Places(values), range(len(values))),
        Places(values),
        tuple(values),
        iter(values),
    ]


def test_all_that_can_be_gone_through_is_a_list(tok):
    """A dict's values, data sets and arrays of objects were refused."""
    sounds = [Waveform(samples=stereo()[:1, :n], sampling_rate=RATE) for n in (2048, 2400)]
    expected = [[level.tolist() for level in codes] for codes in tok.encode_codes(sounds)]
    for given in iterables(sounds):
        assert [[level.tolist() for level in codes] for codes in tok.encode_codes(given)] == expected
    assert len(tok.encode_codes(set(sounds))) == 2
    series = pytest.importorskip("pandas").Series(sounds)
    assert len(tok.encode_codes(series)) == 2


def test_blocks_and_clips_of_data_sets(tok):
    """Such as torch's Subset, which has places and no iteration of its own."""
    blocks = [torch.from_numpy(stereo()[None, :1, :n]) for n in (2048, 2400)]
    whole = tok.codec.encode(torch.cat(blocks, dim=-1))
    for given in iterables(blocks):
        codes = [torch.cat(level, dim=-1) for level in zip(*tok.codec.encode_blocks(given), strict=True)]
        assert all(map(torch.equal, codes, whole))
    assert list(tok.codec.encode_blocks(torch.stack([blocks[0]] * 2)))
    for given in iterables([block[0] for block in blocks]):
        assert len(tok.codec.encode_batch(given)) == 2


def test_evaluation_takes_all_that_can_be_gone_through():
    """Round trips in a dict, clips in a data set."""
    clip = Recording(name="a", sound={"array": stereo()[0], "sampling_rate": RATE})
    for clips, trips in zip(iterables([clip]), iterables([Identity()]), strict=True):
        assert len(evaluate(clips, trips, measures=["mel"]).codecs[0].clips) == 1


@pytest.mark.parametrize(
    "wrong", [None, 3, "a.wav", b"RIFF", Path("a.wav"), np.zeros(5), torch.zeros(2, 5), {"a": 1}]
)
def test_what_is_no_list_is_refused(tok, wrong):
    """Going through these would give letters, numbers or keys."""
    found = refusal(WaveformError, lambda: tok.encode_codes(wrong))
    assert re.match(r"waveforms is .*; a list of Waveforms is needed", found)
    if not isinstance(wrong, dict):
        found = refusal(WaveformError, lambda: list(tok.codec.encode_blocks(wrong)))
        assert found.startswith("the blocks are ")
    for door in (lambda: evaluate(wrong, [Identity()]), lambda: evaluate([], wrong)):
        assert "needed" in refusal(EvaluationError, door)


def test_a_dict_of_waveforms_and_one_tensor_of_blocks(tok):
    """The advice works."""
    waveforms = {"a": Waveform(samples=stereo()[:1], sampling_rate=RATE)}
    assert "such as waveforms.values()." in refusal(WaveformError, lambda: tok.encode_codes(waveforms))
    assert len(tok.encode_codes(waveforms.values())) == 1
    for audio in (torch.from_numpy(stereo()), stereo().T, torch.zeros(1, 1, 2400), np.zeros(2400)):
        found = refusal(WaveformError, lambda audio=audio: list(tok.codec.encode_blocks(audio)))
        cure = re.search(r"are needed: (.*) is one block\.$", found)[1]
        assert list(tok.codec.encode_blocks(eval(cure, {"torch": torch, "audio": audio})))
