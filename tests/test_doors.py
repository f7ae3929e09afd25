"""All doors to the codec: one default and one meaning for each option, and a codec that is always named."""

import inspect
import pickle
import re
import subprocess
import sys
import warnings
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from datasets import Dataset
from datasets.fingerprint import Hasher
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from snac_tok import (
    SNAC,
    BatchStreamDecoder,
    BatchStreamEncoder,
    FrameLayout,
    SnacMapper,
    SnacTokenizer,
    StreamDecoder,
    StreamEncoder,
    Vocabulary,
    Waveform,
    open_shards,
    preset,
    shard_folder,
    tokenize_dataset,
    write_audio,
)
from snac_tok.cli.decode import decode
from snac_tok.cli.encode import encode
from snac_tok.cli.program import program
from snac_tok.cli.shard import shard
from snac_tok.codec import VocosConfig, VocosDecoder
from snac_tok.errors import (
    AudioError,
    ConfigError,
    LayoutError,
    MissingArgumentError,
    NetworkError,
    SamplingRateError,
    TokenError,
    TrialCodecWarning,
)
from snac_tok.hf import SnacFeatureExtractor, SnacModel, SnacProcessor, add_audio_tokens

RATE = 24_000
CLIP = np.zeros(RATE, np.float32)
SPEECH = "tests/speech/LJ001-0008.flac"

# What loads a codec by name, makes ids or codes with it, and takes options for that.
LOADERS = {
    "tokenizer": SnacTokenizer.from_pretrained,
    "mapper": SnacMapper,
    "dataset": tokenize_dataset,
    "processor": SnacProcessor,
}
STREAMS = (StreamDecoder, StreamEncoder, BatchStreamDecoder, BatchStreamEncoder)
MISSING = inspect.Parameter.empty


def defaults(door):
    """The options of a door with their defaults."""
    return {name: given.default for name, given in inspect.signature(door).parameters.items()}


def option_defaults(command):
    """The options of a command with their defaults."""
    known = command.to_info_dict(click.Context(command))["params"]
    return {given["name"]: given["default"] for given in known}


def words(*texts):
    """A text tokenizer of a few words."""
    inner = Tokenizer(models.WordLevel({word: at for at, word in enumerate(texts)}, unk_token=texts[0]))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token=texts[0])


def test_doors_have_one_default_for_each_option():
    """Whatever two doors share they leave alike, and the table's default is named where there is one."""
    doors = {name: defaults(door) for name, door in LOADERS.items()}
    # transformers reads the processor's arguments itself, so that what must be named has None there, and refuses it.
    assert doors["processor"].pop("codec") is doors["processor"].pop("vocabulary") is None
    # A dataset says itself which column is sound; a mapper sees none before it works.
    assert doors["dataset"].pop("audio_column") is None
    for one in doors.values():
        for other in doors.values():
            assert {name: one[name] for name in one.keys() & other.keys()} == {
                name: other[name] for name in one.keys() & other.keys()
            }
    assert (
        doors["tokenizer"]["name_or_path"] is doors["mapper"]["codec"] is doors["dataset"]["codec"] is MISSING
    )
    for name in ("tokenizer", "mapper", "dataset"):
        assert doors[name]["preset"] == "auto"
        assert doors[name]["resample"] is True
    assert defaults(SnacTokenizer)["resample"] is True
    assert defaults(SnacTokenizer)["vocabulary"] is MISSING
    for stream in STREAMS:
        assert defaults(stream)["codec"] is MISSING
        assert defaults(stream)["vocabulary"] == "auto"
    assert defaults(shard_folder)["encoder"] is MISSING


# Whatever loads a codec, makes ids or sound with it, and takes options for that.
DOORS_WITH_OPTIONS = {
    door.__qualname__: door
    for door in (
        SNAC.from_pretrained,
        SNAC.decode,
        SNAC.decode_batch,
        SNAC.decode_blocks,
        SNAC.forward,
        SnacModel.decode,
        SnacModel.forward,
        SnacTokenizer,
        SnacTokenizer.from_pretrained,
        SnacTokenizer.decode,
        SnacTokenizer.batch_decode,
        SnacTokenizer.decode_blocks,
        SnacProcessor.decode,
        SnacProcessor.batch_decode,
        SnacMapper,
        tokenize_dataset,
        StreamDecoder,
        StreamEncoder,
        BatchStreamDecoder,
        BatchStreamDecoder.open,
        BatchStreamEncoder,
        BatchStreamEncoder.open,
    )
}
ONE_DEFAULT = {
    "device": "cpu",
    "dtype": None,
    "output_dtype": None,
    "preset": "auto",
    "levels": None,
    "channels": None,
    "resample": True,
    "resampler": None,
    "padding_side": None,
    "noise": 0,
    "decoder": None,
    "hub_options": MISSING,
}
OTHER_DEFAULTS = {
    # Upstream's own; and a whole clip's fresh noise cannot be drawn in blocks.
    **{(door, "noise"): "random" for door in DOORS_WITH_OPTIONS if door.startswith(("SNAC.", "SnacModel."))},
    ("SNAC.decode_blocks", "noise"): MISSING,
    # There is no folder that could say something else.
    ("SnacTokenizer", "channels"): "mean",
    ("SnacTokenizer", "padding_side"): "right",
}


@pytest.mark.parametrize("door", DOORS_WITH_OPTIONS)
def test_an_option_has_one_default_and_is_named(door):
    """At every door; what differs stands above, with the reason."""
    name = door.replace("Pretrained.", "SNAC.")
    for option, given in inspect.signature(DOORS_WITH_OPTIONS[door]).parameters.items():
        if option in ONE_DEFAULT:
            wanted = OTHER_DEFAULTS.get((name, option), ONE_DEFAULT[option])
            assert (option, given.default) == (option, wanted)
            named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
            assert given.kind in named, option


def test_the_hubs_options_reach_the_codec_from_every_door(monkeypatch, tmp_path):
    """Under the names of huggingface_hub; a processor's own serve for its codec, except the revision."""
    given, load = [], SNAC.from_pretrained

    def recorded(_, repo_id, *, decoder=None, device="cpu", dtype=None, **options):
        assert decoder is None
        given.append(options)
        return load(repo_id, device=device, dtype=dtype)

    monkeypatch.setattr(SNAC, "from_pretrained", classmethod(recorded))
    options = {"revision": "r", "cache_dir": tmp_path, "token": "hf_x", "local_files_only": True}
    options |= {"force_download": True, "subfolder": "s"}
    SnacTokenizer.from_pretrained("tiny", **options)
    mapper = SnacMapper("tiny", sampling_rate=RATE, **options)
    in_a_worker = ForkingPickler.loads(ForkingPickler.dumps(mapper))
    in_a_worker({"audio": [CLIP]})
    tokenize_dataset(Dataset.from_dict({"audio": [CLIP]}), "tiny", sampling_rate=RATE, **options)
    SnacModel.from_pretrained("tiny", **options)
    assert given == [options] * len(given)
    assert len(given) >= 5
    tokenizer = words("[UNK]", "hello")
    SnacProcessor(SnacFeatureExtractor(), tokenizer, "tiny", add_audio_tokens(tokenizer)).save_pretrained(
        tmp_path
    )
    given.clear()
    fetched = {"cache_dir": tmp_path, "token": "hf_x", "local_files_only": True}
    assert SnacProcessor.from_pretrained(tmp_path, **fetched).audio_tokenizer is not None
    assert given == [fetched]
    assert Hasher.hash(mapper) == Hasher.hash(SnacMapper("tiny", sampling_rate=RATE, revision="r"))
    assert b"hf_x" not in pickle.dumps(mapper)


def test_another_decoder_is_taken_at_every_door(tmp_path):
    """By its folder's name; a processor is saved with it, and a model does not pretend that it could be."""
    torch.manual_seed(0)
    config = VocosConfig(
        sampling_rate=RATE, input_channels=256, hop_length=512, n_fft=1024, dim=8, intermediate_dim=8
    )
    VocosDecoder(config).save_pretrained(tmp_path / "vocos")
    name = str(tmp_path / "vocos")
    codec = SNAC.from_pretrained("tiny", decoder=name)
    tokenizer = words("[UNK]", "hello")
    processor = SnacProcessor(
        SnacFeatureExtractor(), tokenizer, "tiny", add_audio_tokens(tokenizer), decoder=name
    )
    processor.save_pretrained(tmp_path / "processor")
    model = SnacModel.from_pretrained("tiny", decoder=name)
    others = [
        SnacTokenizer.from_pretrained("tiny", decoder=name).codec,
        model.codec,
        processor.audio_tokenizer.codec,
        SnacProcessor.from_pretrained(tmp_path / "processor").audio_tokenizer.codec,
    ]
    codes = [torch.full((1, 3 * n), 7) for n in (1, 2, 4)]
    wanted = codec.decode(codes)
    for other in others:
        assert (other.decoder_id, other.decoder.sha256()) == (name, codec.decoder.sha256())
        assert torch.equal(other.decode(codes), wanted)
    assert torch.equal(model.decode(codes).audio_values, wanted)
    with pytest.raises(NetworkError, match="save it by itself"):
        model.save_pretrained(tmp_path / "model")


def test_a_model_is_loaded_onto_a_device():
    """As the codec is, and as transformers names it."""
    for name in ("device", "device_map"):
        assert SnacModel.from_pretrained("tiny", **{name: "meta"}).device.type == "meta"


LOADING = [SNAC.from_pretrained, SnacTokenizer.from_pretrained, SnacModel.from_pretrained]


@pytest.mark.parametrize("door", LOADING)
def test_a_dtype_is_taken_by_any_of_its_names(door):
    """As configs write it, and as it prints itself; another word, or a dtype of no weights, is one sentence."""
    dtypes = {"float16": torch.float16, "torch.float16": torch.float16, torch.float16: torch.float16}
    for name, wanted in (dtypes | {"auto": torch.float32, None: torch.float32}).items():
        loaded = door("tiny", dtype=name)
        assert getattr(loaded, "codec", loaded).dtype == wanted
    for name in ("half a float", "nn", "torch.nn", "int8", torch.long, torch.complex64):
        with pytest.raises(ConfigError, match=re.escape(f"dtype is {name!r}; a torch.dtype or its name")):
            door("tiny", dtype=name)


@pytest.mark.parametrize("door", LOADING)
@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("cdua", "the device 'cdua' cannot be used: .*Did you mean 'cuda'?"),
        ("cuda:99", "the device 'cuda:99' cannot be used: "),
        (torch.device("cuda:99"), "the device 'cuda:99' cannot be used: "),
        ("hpu", "the device 'hpu' cannot be used: "),
        (3.5, "device is 3.5; a torch.device or its name"),
        (True, "device is True; a torch.device or its name"),
        (2**70, "the device .* cannot be used: "),
    ],
)
def test_a_device_that_is_not_there_is_refused_before_anything_is_loaded(door, device, sentence):
    """In one sentence with torch's reason; the codec's name is not even looked at."""
    with pytest.raises(ConfigError, match=sentence):
        door("no/such/codec", device=device)


def test_a_tokenizer_moves_by_the_same_names():
    """`to` takes devices and dtypes as loading does."""
    tok = SnacTokenizer.from_pretrained("tiny")
    assert tok.to("cpu", dtype="float16").codec.dtype == torch.float16
    with pytest.raises(ConfigError, match="the device 'abacus' cannot be used"):
        tok.to("abacus")
    with pytest.raises(ConfigError, match="dtype is 'int8'"):
        tok.to(dtype="int8")


@pytest.mark.parametrize("door", [SnacTokenizer.from_pretrained, SnacMapper])
def test_a_name_that_is_no_option_is_refused(door):
    """With the door's name and the option that was meant, though the hub's options are handed on."""
    with pytest.raises(
        TypeError, match=r"\(\) got an unexpected keyword argument 'preste'. Did you mean 'preset'\?"
    ):
        door("tiny", preste="orpheus")


def test_what_each_decode_returns_is_what_the_page_says():
    """The table in docs/decoding.md: kind, shape, and whole frames where no length is known."""
    tok = SnacTokenizer.from_pretrained("tiny", preset=add_audio_tokens(tokenizer := words("[UNK]", "hello")))
    ids, frames = tok.encode(CLIP, sampling_rate=RATE), 12 * 2048
    codes = [torch.from_numpy(level)[None] for level in tok.vocabulary.decode(ids)]
    processor = SnacProcessor(SnacFeatureExtractor(), tokenizer, "tiny", tok.vocabulary)
    spoken = tok(CLIP, sampling_rate=RATE, add_special_tokens=True)["input_ids"]
    stream, many = StreamDecoder(tok), BatchStreamDecoder(tok)
    many.open("a")
    many.push("a", ids)
    many.end("a")
    tensors = {
        "`SNAC.decode`": (tok.codec.decode(codes), (1, 1, frames)),
        "`SNAC.decode_batch`": (tok.codec.decode_batch([[level[0] for level in codes]])[0], (1, frames)),
        "`SNAC.decode_blocks`": (torch.cat([*tok.codec.decode_blocks(codes, noise=0)], -1), (1, 1, frames)),
        "`SnacModel.decode`": (SnacModel.from_pretrained("tiny").decode(codes).audio_values, (1, 1, frames)),
        "`SnacProcessor.decode`": (processor.decode(spoken), (frames,)),
        "`SnacProcessor.batch_decode`": (processor.batch_decode([spoken])[0], (frames,)),
    }
    waveforms = {
        "`SnacTokenizer.decode`": (tok.decode(ids), frames),
        "`SnacTokenizer.batch_decode`": (tok.batch_decode(tok([CLIP], sampling_rate=RATE))[0], RATE),
        "`SnacTokenizer.decode_blocks`": (next(tok.decode_blocks(ids, num_samples=RATE)), RATE),
        "`SnacTokenizer.decode_codes`": (tok.decode_codes([level[0] for level in codes]), frames),
        "`SnacTokenizer.decode_code_blocks`": (
            next(tok.decode_code_blocks([level[0] for level in codes])),
            frames,
        ),
    }
    arrays = {
        "`StreamDecoder.push`, `.flush`": np.concatenate((stream.push(ids), stream.flush())),
        "`BatchStreamDecoder.step`": many.step()["a"],
    }
    for sound, shape in tensors.values():
        assert isinstance(sound, torch.Tensor)
        assert (sound.dtype, tuple(sound.shape)) == (torch.float32, shape)
    for sound, length in waveforms.values():
        assert isinstance(sound, Waveform)
        assert (sound.num_channels, sound.num_samples) == (1, length)
    for sound in arrays.values():
        assert isinstance(sound, np.ndarray)
        assert (sound.dtype, sound.shape) == (np.float32, (frames,))
    page = Path("docs/decoding.md").read_text(encoding="utf-8")
    named = [
        line.split("|")[1].strip()
        for line in page.split("# Options")[0].splitlines()
        if line.startswith("| `")
    ]
    assert {*named} == {*tensors, *waveforms, *arrays, "`Vocabulary.decode`", "`snac-tok decode`"}


def test_commands_have_the_defaults_of_the_library():
    """Raw codes without a preset, and the channel that the model's folder says."""
    commands = (encode, decode, shard)
    for command in commands:
        assert option_defaults(command).get("preset") is None
        channels = option_defaults(command).get("channels")
        assert channels is defaults(SnacTokenizer.from_pretrained)["channels"] is None
    raw = CliRunner().invoke(program, ["encode", SPEECH, "--model", "tiny", "-o", "a.json"])
    assert "for ids (.json, .txt) name a --preset" in raw.output


def test_no_preset_is_raw_codes_at_every_door():
    """Codes 0…4095 in the canonical order, from the tokenizer, streams and mapping alike."""
    tok = SnacTokenizer.from_pretrained("tiny", preset=None)
    levels = [level.numpy()[0] for level in tok.codec.encode(torch.from_numpy(CLIP)[None, None])]
    flat = tok.layout.flatten(levels).tolist()
    assert tok.encode(CLIP, sampling_rate=RATE) == flat
    assert (tok.vocab_size, max(flat) < 4096) == (4096, True)
    assert tok.decode(flat, num_samples=RATE).num_samples == RATE
    stream = StreamEncoder(tok.codec, None, sampling_rate=RATE)
    assert [*stream.push(CLIP), *stream.flush()] == flat
    back = StreamDecoder(tok.codec, None)
    joined = np.concatenate((back.push(flat), back.flush()))
    np.testing.assert_allclose(joined, tok.decode(flat).samples[0], atol=1e-6)
    rows = tokenize_dataset(Dataset.from_dict({"audio": [CLIP]}), "tiny", preset=None, sampling_rate=RATE)
    assert [rows[0][f"codes_{level}"] for level in range(3)] == [level.tolist() for level in levels]
    with pytest.raises(MissingArgumentError, match="raw codes make no line with text"):
        SnacProcessor(SnacFeatureExtractor(), words("a"), "tiny", None)


def test_the_default_table_is_the_folders_own_and_else_plain(tmp_path):
    """For the tokenizer and for mapping."""
    SnacTokenizer.from_pretrained("tiny", preset="vyvo-lfm2", channels="left").save_pretrained(tmp_path)
    for codec, name in (("tiny", "plain"), (tmp_path, "vyvo-lfm2")):
        tok = SnacTokenizer.from_pretrained(codec)
        mapper = SnacMapper(codec, sampling_rate=RATE)
        assert tok.vocabulary == mapper.vocabulary
        assert tok.vocabulary.name == name
        assert mapper({"audio": [CLIP]})["input_ids"][0].tolist() == tok.encode(CLIP, sampling_rate=RATE)
    assert SnacMapper(tmp_path, preset=None).vocabulary is None


@pytest.mark.parametrize("door", ["tokenizer", "mapper"])
def test_a_known_rate_is_resampled_an_unknown_one_refused(door):
    """And any other rate than the codec's where resample=False was asked for."""

    def ids(sound, rate, **options):
        if door == "tokenizer":
            return SnacTokenizer.from_pretrained("tiny", **options).encode(sound, sampling_rate=rate)
        batch = {"audio": [sound], "rate": [rate]}
        return SnacMapper("tiny", sampling_rate_column="rate", **options)(batch)["input_ids"][0].tolist()

    assert len(ids(CLIP[:8_000], 8_000)) == len(ids(CLIP, RATE)) == 84
    with pytest.raises(SamplingRateError, match="sampling_rate"):
        ids(CLIP, None)
    with pytest.raises(SamplingRateError, match="resample=False was asked for; leave that out"):
        ids(CLIP, 8_000, resample=False)
    assert len(ids(CLIP, RATE, resample=False)) == 84


def test_the_feature_extractor_keeps_hugging_faces_error():
    """It resamples nothing."""
    with pytest.raises(ValueError, match="resample it"):
        SnacFeatureExtractor()(CLIP, sampling_rate=8_000)


@pytest.mark.parametrize(
    "call",
    [
        lambda: tokenize_dataset(Dataset.from_dict({"audio": ["a.wav"]})),
        lambda: tokenize_dataset([], preset="orpheus"),
        lambda: tokenize_dataset([], None),
        SnacMapper,
        lambda: SnacMapper(None),
        SnacTokenizer.from_pretrained,
        lambda: SnacTokenizer.from_pretrained(None, preset="orpheus"),
        lambda: SnacProcessor(SnacFeatureExtractor(), words("a")),
        lambda: SnacProcessor(SnacFeatureExtractor(), words("a"), vocabulary="orpheus"),
    ],
)
def test_a_codec_is_always_named(call):
    """One sentence says which there are; it is a TypeError, too, as for every missing argument."""
    with pytest.raises(
        MissingArgumentError, match='name the codec: "hubertsiuzdak/snac_24khz" made'
    ) as caught:
        call()
    assert isinstance(caught.value, TypeError)


def test_other_wrong_arguments_are_told_as_python_tells_them():
    """With the name of the door and of the argument."""
    with pytest.raises(TypeError, match=r"tokenize_dataset\(\) got an unexpected keyword argument 'codek'"):
        tokenize_dataset([], codek="tiny")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """The speech of the tests as raw codes of the trial codec."""
    folder = tmp_path_factory.mktemp("trial") / "shards"
    shard_folder("tests/speech", folder, SnacTokenizer.from_pretrained("tiny"))
    return folder


DOORS = {
    "tokenizer": lambda name: SnacTokenizer.from_pretrained("tiny", preset=name),
    "constructor": lambda name: SnacTokenizer(SNAC.from_pretrained("tiny"), preset(name)),
    "mapper": lambda name: SnacMapper("tiny", preset=name, sampling_rate=RATE)({"audio": [CLIP]}),
    "dataset": lambda name: tokenize_dataset(
        Dataset.from_dict({"audio": [CLIP]}), "tiny", preset=name, sampling_rate=RATE
    ),
    "stream decoder": lambda name: StreamDecoder(SNAC.from_pretrained("tiny"), preset(name)),
    "stream encoder": lambda name: StreamEncoder(SNAC.from_pretrained("tiny"), preset(name)),
    "many streams": lambda name: BatchStreamDecoder(SNAC.from_pretrained("tiny"), preset(name)),
    "many microphones": lambda name: BatchStreamEncoder(SNAC.from_pretrained("tiny"), preset(name)),
}


@pytest.mark.parametrize("door", DOORS)
def test_published_ids_of_the_trial_codec_are_warned_of_once(door):
    """At every door where a codec and a table meet; neutral ids are nobody's, and nothing is said."""
    with pytest.warns(
        TrialCodecWarning, match=r"'orpheus' ids look right and mean nothing to models .*snac_24khz"
    ) as told:
        DOORS[door]("orpheus")
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DOORS[door]("plain")


def test_a_processor_warns_when_it_is_made_and_not_again():
    """Before any sound is used, and not when the codec is loaded."""
    tokenizer = words("[UNK]", "hello")
    with pytest.warns(TrialCodecWarning) as told:
        processor = SnacProcessor(SnacFeatureExtractor(), tokenizer, "tiny", "orpheus")
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        processor("hello", CLIP, sampling_rate=RATE)


def test_shards_of_the_trial_codec_seen_as_published_ids_are_warned_of(shards):
    """The codec's name stands in the shards."""
    with pytest.warns(TrialCodecWarning, match="'orpheus' ids"):
        open_shards(shards).ids("orpheus")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_shards(shards).ids("plain")


def test_a_copy_of_the_trial_codec_is_one_and_other_codecs_are_none(tmp_path):
    """By its codebooks, whatever its folder is called; a table of one's own at a published id counts."""
    SNAC.from_pretrained("tiny").save_pretrained(tmp_path / "mine")
    table = Vocabulary(FrameLayout((4, 2, 1)), base=128_266)
    with pytest.warns(TrialCodecWarning, match="'orpheus' ids"):
        SnacTokenizer.from_pretrained(tmp_path / "mine", preset=table)
    other = SNAC.from_config(SNAC.from_pretrained("tiny").config)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SnacTokenizer(other, "orpheus")


@pytest.mark.slow
def test_a_process_says_it_once():
    """Under Python's own filters: a tokenizer, its streams and a second tokenizer together give one line."""
    code = (
        "from snac_tok import *\n"
        "for _ in range(2):\n"
        "    tok = SnacTokenizer.from_pretrained('tiny', preset='orpheus')\n"
        "    StreamDecoder(tok.codec, tok.vocabulary), StreamEncoder(tok.codec, tok.vocabulary)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("TrialCodecWarning") == 1


def test_commands_say_it_in_their_own_words(tmp_path):
    """With the option to use; and nothing where codes stay raw."""
    shown = {}
    for name, options in {"ids": ["--preset", "orpheus"], "raw": []}.items():
        target = tmp_path / ("a.json" if options else "a.npz")
        arguments = ["encode", SPEECH, "--model", "tiny", "-o", str(target), *options]
        shown[name] = CliRunner().invoke(program, arguments)
        assert shown[name].exit_code == 0, shown[name].output
    back = ["decode", str(tmp_path / "a.json"), "-o", str(tmp_path / "a.wav"), "--model", "tiny"]
    shown["decode"] = CliRunner().invoke(program, [*back, "--preset", "orpheus"])
    sentence = "tiny is a codec for trials: its orpheus ids look right and mean nothing to models"
    for name in ("ids", "decode"):
        assert shown[name].stderr.count(sentence) == 1
        assert "--model hubertsiuzdak/snac_24khz" in shown[name].stderr
    assert "for trials" not in shown["raw"].stderr


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "plain",
            r"has '<\|audio_0\|>' at id 0, the text tokenizer at 7; hand over the vocabulary that add_audio_tokens",
        ),
        ("vyvo-lfm2", r"needs id 1 for '<\|startoftext\|>', and the text tokenizer has 'w1' there"),
        (
            "orpheus",
            r"audio ids from 128266 on, and .* of another table, '<\|audio_0\|>' at id 7; hand over the vocabulary",
        ),
    ],
)
def test_a_table_that_is_not_the_text_tokenizers_is_refused(name, sentence):
    """Seven words, 28,675 audio tokens, and a preset by name, whose ids are elsewhere: said before any text is read."""
    tokenizer = words("[UNK]", *(f"w{at}" for at in range(1, 7)))
    vocabulary = add_audio_tokens(tokenizer)
    assert len(tokenizer) == 28_682
    with pytest.raises(LayoutError, match=sentence):
        SnacProcessor(SnacFeatureExtractor(), tokenizer, "tiny", name)
    with pytest.raises(LayoutError, match=sentence):
        SnacMapper("tiny", preset=name, text_column="text", text_tokenizer=tokenizer)
    assert SnacProcessor(SnacFeatureExtractor(), tokenizer, "tiny", vocabulary).audio_vocabulary == vocabulary
    SnacMapper("tiny", preset=vocabulary, text_column="text", text_tokenizer=tokenizer)


def test_a_text_tokenizer_that_spells_a_presets_specials_elsewhere_is_refused():
    """Llama 3's start of text is at 128000 in every tokenizer that Orpheus's ids fit."""
    sentence = r"'orpheus' has '<\|begin_of_text\|>' at id 128000, the text tokenizer at 2"
    tokenizer = words("[UNK]", "hello", "<|begin_of_text|>")
    with pytest.raises(LayoutError, match=sentence):
        SnacMapper("tiny", preset="orpheus", text_column="text", text_tokenizer=tokenizer)


@pytest.mark.parametrize("given", ["soxr", ("soxr", "HQ"), ""])
def test_a_resampler_is_an_object_and_not_a_name(given):
    """Said at every door that takes one, before anything is loaded or read."""
    for door in (SnacTokenizer.from_pretrained, SnacMapper):
        with pytest.raises(AudioError, match=r"a Resampler is needed: Resampler\(backend="):
            door("tiny", resampler=given)


def test_doors_that_load_a_codec_later_take_its_name():
    """A loaded codec cannot go to workers, and is saved by name only."""
    loaded = SnacTokenizer.from_pretrained("tiny")
    tokenizer = words("[UNK]", "hello")
    vocabulary = add_audio_tokens(tokenizer)
    dataset = Dataset.from_dict({"audio": [CLIP]})
    for door in (
        lambda: SnacMapper(loaded),
        lambda: SnacMapper(loaded.codec),
        lambda: tokenize_dataset(dataset, loaded),
        lambda: SnacProcessor(SnacFeatureExtractor(), tokenizer, loaded, vocabulary),
    ):
        with pytest.raises(ConfigError, match=r"codec is a (SNAC|SnacTokenizer); its name"):
            door()


def test_hugging_faces_arguments_are_taken():
    """decode, batch_decode, encode, to and device, as scripts for text tokenizers call them."""
    tok = SnacTokenizer.from_pretrained("tiny", preset="orpheus")
    ids = tok.encode(CLIP, sampling_rate=RATE)
    wanted = tok.decode(ids).samples
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    np.testing.assert_array_equal(tok.decode(ids, **options).samples, wanted)
    np.testing.assert_array_equal(tok.batch_decode([ids], **options)[0].samples, wanted)
    for back in (tok.decode, tok.batch_decode):
        with pytest.raises(TokenError, match="always skips them: leave skip_special_tokens=False out"):
            back(ids, skip_special_tokens=False)
    for kind in ("np", "pt"):
        rows = tok.encode(CLIP, sampling_rate=RATE, return_tensors=kind)
        assert tuple(rows.shape) == (1, 84)
        assert rows[0].tolist() == ids
    padded = tok.encode(CLIP, sampling_rate=RATE, padding="max_length", max_length=90)
    assert padded == [*ids, *[tok.pad_token_id] * 6]
    assert tok.to("cpu") is tok
    assert str(tok.device) == "cpu"
    assert str(tok.to("meta").device) == "meta"


def test_a_processor_takes_them_too():
    """As `processor.batch_decode(model.generate(…), skip_special_tokens=True)` is written everywhere."""
    tokenizer = words("[UNK]", "hello")
    processor = SnacProcessor(SnacFeatureExtractor(), tokenizer, "tiny", add_audio_tokens(tokenizer))
    row = processor("hello", CLIP, sampling_rate=RATE)["input_ids"][0]
    wanted = processor.decode(row)
    assert processor.batch_decode([row], skip_special_tokens=True)[0].equal(wanted)
    assert processor.decode(row, skip_special_tokens=True, clean_up_tokenization_spaces=True).equal(wanted)
    with pytest.raises(TokenError, match="leave skip_special_tokens=False out"):
        processor.decode(row, skip_special_tokens=False)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["<custom_token_1>"], "got text such as '<custom_token_1>': a vocabulary's text_to_ids"),
        ("<custom_token_1>", "got text such as '<custom_token_1>'"),
        (np.array(["<custom_token_1>"]), "got text such as"),
        ([None], r"got object \(1,\)"),
        ([1.0], r"got float64 \(1,\)"),
        ({"input_ids": [[1]]}, 'got a dict: push one row of what is in its "input_ids"'),
    ],
)
def test_what_is_no_id_is_refused_by_streams(given, sentence):
    """With what came and, of text, how ids are had from it; the stream goes on."""
    codec = SNAC.from_pretrained("tiny")
    stream, many = StreamDecoder(codec, "plain"), BatchStreamDecoder(codec, "plain")
    many.open("a")
    for push in (stream.push, lambda ids: many.push("a", ids)):
        with pytest.raises(TokenError, match=f"a stream takes integer ids.*{sentence}"):
            push(given)
    assert stream.push([0, 4096, 8192]).size == 0


def test_layouts_tables_and_files_take_their_first_arguments_by_position(tmp_path):
    """As everybody writes them; the rest stays named."""
    write_audio(tmp_path / "a.wav", CLIP, RATE)
    write_audio(path=tmp_path / "b.wav", audio=CLIP, sampling_rate=RATE)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert FrameLayout((4, 2, 1)) == FrameLayout(strides=(4, 2, 1))
    assert Vocabulary(FrameLayout((2, 1)), codebook_size=8) == Vocabulary(
        layout=FrameLayout(strides=(2, 1)), codebook_size=8
    )
    with pytest.raises(TypeError, match="positional"):
        FrameLayout((4, 2, 1), "breadth-first")
    with pytest.raises(LayoutError, match=r"such as \(4, 2, 1\); got 'orpheus'"):
        FrameLayout("orpheus")
    for wrong in ("orpheus", (4, 2, 1)):
        with pytest.raises(LayoutError, match=r"such as FrameLayout\(\(4, 2, 1\)\), got .*; preset\(name\)"):
            Vocabulary(wrong)
