"""SnacMapper: each row what it gets alone, narrow columns, training sequences, and a hash that means something."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from datasets.fingerprint import Hasher
from hypothesis import given, settings
from hypothesis import strategies as st
from sound_rows import BAD_ROWS, CODEC_RATE, hostile_rows, noise
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from snac_tok import SNAC, SnacTokenizer, preset
from snac_tok.audio import Resampler
from snac_tok.errors import CheckpointError, ConfigError, LayoutError, TokenError, WaveformError
from snac_tok.mapping import SnacMapper
from snac_tok.prompts import prompt_format, speech_ids

ROOT = Path(__file__).parents[2]
WORDS = ("tara", "leo", ":", "in", "being", "comparatively", "modern")


def text_tokenizer():
    """A language model's tokenizer as small as can be."""
    words = models.WordLevel({word: at for at, word in enumerate(("?", *WORDS))}, unk_token="?")
    backend = Tokenizer(words)
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="?")


@pytest.fixture(scope="module")
def tok():
    """Each row alone."""
    return SnacTokenizer.from_pretrained("tiny", preset="orpheus")


@pytest.fixture(scope="module")
def mapper():
    """Many rows at once, read in small portions."""
    return SnacMapper("tiny", preset="orpheus", sampling_rate_column="rate", seconds_per_call=0.2)


@settings(max_examples=15, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(1, 9000), st.sampled_from([8_000, 24_000, 44_100])), max_size=5))
def test_each_row_gets_what_it_gets_alone(tok, mapper, rows):
    """Law 3 for datasets: whatever stands in the batch, and however it is cut into portions."""
    clips = [noise(1, seed=at, rate=rate)[:length] for at, (length, rate) in enumerate(rows)]
    columns = mapper({"audio": clips, "rate": [rate for _, rate in rows]})
    alone = [tok(clip, sampling_rate=rate) for clip, (_, rate) in zip(clips, rows, strict=True)]
    assert [ids.tolist() for ids in columns["input_ids"]] == [tokens["input_ids"] for tokens in alone]
    assert columns["num_samples"] == [tokens.num_samples[0] for tokens in alone]


def test_raw_codes_are_a_column_a_level_in_two_bytes_a_code(tok):
    """uint16, decodable as they come; fewer levels on request."""
    clips = {"audio": [noise(0.3), noise(0.5, seed=1)]}
    columns = SnacMapper("tiny", preset=None, sampling_rate=CODEC_RATE)(clips)
    assert list(columns) == ["codes_0", "codes_1", "codes_2", "num_samples"]
    for row, clip in enumerate(clips["audio"]):
        wanted = tok.recordings([clip], CODEC_RATE)[0][0]
        for level, codes in enumerate(wanted):
            assert columns[f"codes_{level}"][row].dtype == np.uint16
            assert columns[f"codes_{level}"][row].tolist() == codes.tolist()
    coarse = SnacMapper("tiny", preset=None, sampling_rate=CODEC_RATE, levels=2)
    assert coarse.columns == ("codes_0", "codes_1", "num_samples")
    assert coarse(clips)["codes_1"][1].tolist() == columns["codes_1"][1].tolist()


@pytest.mark.parametrize("name", ["orpheus", "mini-omni", None])
def test_the_columns_of_a_dataset_are_narrow_and_named(name):
    """What map stores is what `columns` and `features` promise, parallel rows included."""
    mapper = SnacMapper("tiny", preset=name, sampling_rate=CODEC_RATE, on_error="column")
    mapped = Dataset.from_dict({"audio": [noise(0.3), noise(0.2)]}).map(
        mapper, batched=True, batch_size=1, remove_columns=["audio"]
    )
    assert tuple(mapped.column_names) == mapper.columns
    assert mapped.features == mapper.features()
    if name == "mini-omni":
        vocabulary = preset("mini-omni")
        assert [codes.shape[-1] for codes in vocabulary.decode(np.array(mapped["input_ids"][0]))] == [
            4,
            8,
            16,
        ]


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_the_type_of_ids_can_be_chosen(dtype):
    """And stays within what holds them."""
    columns = SnacMapper("tiny", preset="orpheus", sampling_rate=CODEC_RATE, output_dtype=dtype)(
        {"audio": [noise(0.1)]}
    )
    assert columns["input_ids"][0].dtype == dtype


def test_a_hostile_dataset_keeps_its_rows_in_their_places(tok):
    """Corrupt, empty, stereo, 8 and 48 kHz: the bad are named with their reasons, the good unharmed."""
    rows = hostile_rows()
    dataset = Dataset.from_dict(rows)
    mapper = SnacMapper("tiny", preset="orpheus", on_error="column")
    for batch_size in (1, 3, 100):
        mapped = dataset.map(mapper, batched=True, batch_size=batch_size)
        assert mapped["name"][:] == rows["name"]
        for row, audio in zip(mapped, rows["audio"], strict=True):
            if row["name"] in BAD_ROWS:
                assert (row["input_ids"], row["num_samples"]) == ([], 0)
                assert row["error"].endswith(".")
            else:
                assert row["input_ids"] == tok.encode(audio["bytes"])
                assert row["error"] == ""


def test_a_bad_row_is_raised_with_its_place():
    """By default nothing is left out silently."""
    with pytest.raises(WaveformError, match="row 1 of the batch: the row holds no sound"):
        SnacMapper("tiny", sampling_rate=CODEC_RATE)({"audio": [noise(0.1), None]})


def test_text_and_audio_become_sequences_to_train_on(tok):
    """As the preset's prompt says; the voice before the text, labels masked on request."""
    words, form = text_tokenizer(), prompt_format(tok.vocabulary)
    clip = noise(0.3)
    batch = {"audio": [clip] * 4, "text": ["in being", "modern"] * 2, "voice": ["tara", None, 5, ""]}
    for mask_prompt in (False, True):
        mapper = SnacMapper(
            "tiny",
            preset="orpheus",
            sampling_rate=CODEC_RATE,
            text_column="text",
            text_tokenizer=words,
            voice_column="voice",
            mask_prompt=mask_prompt,
        )
        columns = mapper(batch)
        assert tuple(columns) == mapper.columns == ("input_ids", "attention_mask", "labels")
        for row, text in enumerate(("tara: in being", "modern", "5: in being", "modern")):
            wanted = form.training(words(text)["input_ids"], tok.encode(clip, sampling_rate=CODEC_RATE))
            ids, labels = columns["input_ids"][row], columns["labels"][row]
            assert ids.tolist() == wanted.input_ids.tolist()
            assert (ids.dtype, labels.dtype) == (np.int32, np.int32)
            assert columns["attention_mask"][row].tolist() == [1] * len(ids)
            masked = labels != ids
            assert set(labels[masked]) == ({-100} if mask_prompt else set())
            assert speech_ids(ids[~masked], tok.vocabulary).tolist() == tok.encode(
                clip, sampling_rate=CODEC_RATE
            )


def _line_of(rows, **options):
    """The ids of each row, wherever a dataset's speakers come from."""
    mapper = SnacMapper(
        "tiny",
        preset="orpheus",
        sampling_rate=CODEC_RATE,
        text_column="text",
        text_tokenizer=text_tokenizer(),
        voice_column="voice",
        **options,
    )
    return [np.asarray(ids).tolist() for ids in rows(mapper)]


@pytest.mark.parametrize("voices", [[3, 4], [3.0, float("nan")], [None, 4]])
def test_speakers_may_be_numbers_wherever_rows_come_from(voices):
    """A batch made by hand, a stored dataset, a formatted one, a streamed one, a transform: the same lines."""
    columns = {"audio": [noise(0.1)] * 2, "text": ["in", "modern"], "voice": voices}
    stored = Dataset.from_dict(columns)
    wanted = _line_of(lambda mapper: stored.map(mapper, batched=True)["input_ids"])
    ways = [
        lambda mapper: mapper(columns)["input_ids"],
        lambda mapper: stored.with_transform(mapper)[:2]["input_ids"],
        lambda mapper: [
            row["input_ids"] for row in stored.to_iterable_dataset().map(mapper, batched=True, features=None)
        ],
        lambda mapper: stored.with_format("numpy").map(mapper, batched=True).with_format(None)["input_ids"],
        lambda mapper: stored.with_format("torch").map(mapper, batched=True).with_format(None)["input_ids"],
    ]
    assert [_line_of(way) for way in ways] == [wanted] * len(ways)


def test_a_voice_that_is_none_is_a_bad_row():
    """A column of lists: noted as a row without text is, and never its Python text in the prompt."""
    batch = {"audio": [noise(0.1)] * 2, "text": ["in", "in"], "voice": ["tara", ["tara", "leo"]]}
    first, second = _line_of(lambda mapper: mapper(batch)["input_ids"], on_error="column")
    assert first
    assert not second


@pytest.mark.parametrize("kind", [str, Path])
def test_a_text_tokenizer_is_named_as_a_codec_is(tmp_path, kind):
    """By a folder, as text or a path; another folder is refused in our words."""
    text_tokenizer().save_pretrained(tmp_path / "words")
    options = {"preset": "orpheus", "text_column": "text"}
    SnacMapper("tiny", text_tokenizer=kind(tmp_path / "words"), **options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ConfigError, match=r"empty cannot be loaded .*name the folder of the language model's"
    ):
        SnacMapper("tiny", text_tokenizer=kind(tmp_path / "empty"), **options)


def test_a_row_without_text_is_a_bad_row():
    """Empty, missing or no text at all: noted or raised as a row without sound is."""
    given = {"preset": "orpheus", "sampling_rate": CODEC_RATE, "text_column": "text"}
    batch = {"audio": [noise(0.1)] * 4, "text": ["in", "", None, 7]}
    noting = SnacMapper("tiny", text_tokenizer=text_tokenizer(), on_error="column", **given)
    columns = noting(batch)
    assert columns["error"] == ["", *["the row holds no text."] * 3]
    assert [len(labels) > 0 for labels in columns["labels"]] == [True, False, False, False]
    with pytest.raises(TokenError, match="row 1 of the batch"):
        SnacMapper("tiny", text_tokenizer=text_tokenizer(), **given)(batch)


@pytest.mark.parametrize(
    ("options", "kind", "sentence"),
    [
        ({"on_error": "skip"}, ConfigError, "on_error"),
        ({"output_dtype": "uint8"}, ConfigError, "uint8"),
        ({"preset": "orpheus", "output_dtype": "uint16"}, ConfigError, "cannot hold 156939"),
        ({"sampling_rate": 16_000, "sampling_rate_column": "rate"}, ConfigError, "leave one out"),
        ({"levels": 4, "preset": None}, ConfigError, "1 to 3"),
        ({"levels": True, "preset": None}, ConfigError, "1 to 3"),
        ({"levels": 4}, LayoutError, "1 to 3"),
        ({"mask_prompt": True}, ConfigError, "text_column"),
        ({"text_column": "text"}, ConfigError, "text_tokenizer"),
        ({"voice_column": "voice"}, ConfigError, "text_column"),
        ({"text_column": "text", "text_tokenizer": 7}, ConfigError, "is a int"),
        ({"text_column": "text", "text_tokenizer": len, "preset": None}, ConfigError, "name a preset"),
        ({"text_column": "t", "text_tokenizer": len, "preset": "mini-omni"}, LayoutError, "mini-omni"),
        ({"preset": "no such"}, LayoutError, "no such"),
        ({"device": "moon"}, ConfigError, "moon"),
        ({"threads": 0}, ConfigError, "threads"),
        ({"seconds_per_call": 0}, ConfigError, "seconds_per_call"),
        ({"channels": "centre"}, WaveformError, "centre"),
    ],
)
def test_impossible_options_are_refused_at_once(options, kind, sentence):
    """Before any row is read."""
    with pytest.raises(kind, match=sentence):
        SnacMapper("tiny", **options)


def test_a_vocabulary_below_2_to_16_fits_in_uint16():
    """Small codebooks make small ids."""
    mapper = SnacMapper("tiny", preset="plain", sampling_rate=CODEC_RATE, output_dtype="uint16")
    assert mapper({"audio": [noise(0.1)]})["input_ids"][0].dtype == np.uint16


CHANGES = {
    "preset": {"preset": "plain"},
    "raw codes": {"preset": None},
    "levels": {"levels": 2},
    "rate": {"sampling_rate": 16_000},
    "channels": {"channels": "left"},
    "resampler": {"resampler": Resampler(quality="VHQ")},
    "resample": {"resample": False},
    "errors": {"on_error": "column"},
    "output_dtype": {"output_dtype": "int64"},
    "column": {"audio_column": "sound"},
    "text": {"text_column": "text", "text_tokenizer": text_tokenizer()},
}
BASE = {"preset": "orpheus", "sampling_rate": CODEC_RATE}


def test_everything_that_changes_the_result_changes_the_hash():
    """Each option gives a hash of its own."""
    mappers = [SnacMapper("tiny", **BASE | change) for change in ({}, *CHANGES.values())]
    assert len({Hasher.hash(mapper) for mapper in mappers}) == len(mappers)


def test_other_weights_and_another_tokenizer_change_the_hash(tmp_path):
    """The codec's name may stay the same."""
    codec = SNAC.from_pretrained("tiny")
    codec.save_pretrained(tmp_path)
    before = SnacMapper(tmp_path, **BASE)
    codec.decoder.model[0].bias.data += 1
    codec.save_pretrained(tmp_path)
    assert Hasher.hash(SnacMapper(tmp_path, **BASE)) != Hasher.hash(before)
    with pytest.raises(CheckpointError, match="have changed"):
        pickle.loads(pickle.dumps(before))({"audio": [noise(0.1)]})
    other = text_tokenizer()
    other.add_tokens(["more"])
    texts = {**BASE, "text_column": "text"}
    assert Hasher.hash(SnacMapper("tiny", text_tokenizer=other, **texts)) != Hasher.hash(
        SnacMapper("tiny", text_tokenizer=text_tokenizer(), **texts)
    )


def test_what_changes_nothing_stays_out_of_the_hash():
    """Devices, threads, portions, having worked before, having been pickled."""
    mapper = SnacMapper("tiny", **CHANGES["text"], **BASE)
    wanted = Hasher.hash(mapper)
    others = {"device": "cuda:1", "threads": 3, "seconds_per_call": 5.0}
    assert Hasher.hash(SnacMapper("tiny", **CHANGES["text"], **BASE, **others)) == wanted
    mapper({"audio": [noise(0.1)], "text": ["in being"]})
    assert Hasher.hash(mapper) == wanted
    assert Hasher.hash(pickle.loads(pickle.dumps(mapper))) == wanted


def test_the_hash_is_the_same_in_another_process():
    """A second run must find what the first one stored."""
    code = (
        "from snac_tok.mapping import SnacMapper; from datasets.fingerprint import Hasher;"
        "from test_mapping_mapper import BASE, CHANGES;"
        "print(Hasher.hash(SnacMapper('tiny', **CHANGES['text'], **BASE)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{ROOT}:{Path(__file__).parent}", "HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == Hasher.hash(SnacMapper("tiny", **CHANGES["text"], **BASE))


def test_a_pickle_is_small_and_carries_no_network():
    """Workers load the codec themselves; a pickle of another format is refused."""
    mapper = SnacMapper("tiny", **BASE)
    mapper({"audio": [noise(0.1)]})
    assert len(pickle.dumps(mapper)) < 5_000
    state = mapper.__getstate__() | {"format": 0}
    with pytest.raises(ConfigError, match="another version"):
        SnacMapper.__new__(SnacMapper).__setstate__(state)


def test_a_folder_brings_its_own_way_to_prepare_sound(tmp_path):
    """What a tokenizer was saved with holds here too, unless something else is said."""
    saved = SnacTokenizer.from_pretrained("tiny", preset="plain", channels="left")
    saved.save_pretrained(tmp_path)
    stereo = np.stack([noise(0.2), noise(0.2, seed=1)])
    given = {"preset": "plain", "sampling_rate": CODEC_RATE}
    left = SnacMapper(tmp_path, **given)({"audio": [stereo]})["input_ids"][0]
    right = SnacMapper(tmp_path, channels="right", **given)({"audio": [stereo]})["input_ids"][0]
    assert left.tolist() == saved.encode(stereo[0], sampling_rate=CODEC_RATE)
    assert right.tolist() == saved.encode(stereo[1], sampling_rate=CODEC_RATE)


def test_a_mapper_says_what_it_is():
    """Name, ids and columns at a glance."""
    mapper = SnacMapper("tiny", **BASE)
    assert repr(mapper) == "SnacMapper(tiny, orpheus, input_ids, num_samples)"
    assert mapper.vocabulary == preset("orpheus")
    assert mapper.sampling_rate == CODEC_RATE
    assert SnacMapper("tiny", preset=None).vocabulary is None
