"""`identify`: ids, texts, special ids and tokenizers to the families that have them, other codecs' included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snac_tok import preset
from snac_tok.errors import TokenError
from snac_tok.frames import identify


def _speech(name, frames=20, seed=0):
    table = preset(name)
    generator = np.random.default_rng(seed)
    counts = table.layout.codes_per_frame
    return table.encode([generator.integers(table.codebook_size, size=frames * n) for n in counts])


@settings(deadline=None, max_examples=30)
@given(
    name=st.sampled_from(["orpheus", "vyvo-lfm2"]),
    frames=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
    skipped=st.integers(0, 6),
)
def test_ids_of_published_models(name, frames, seed, skipped):
    """From one frame on, wherever they begin."""
    found = identify(_speech(name, frames + 1, seed)[skipped:])
    assert found.presets == (name,)
    assert found.codec == "SNAC"


def test_a_damaged_line_is_known_all_the_same():
    """A few lost ids change nothing."""
    ids = np.delete(_speech("orpheus", 40), [3, 50, 51, 120])
    assert identify(ids).presets == ("orpheus",)
    assert str(identify(ids)) == "ids with 7 slots from 128266 are those of the preset orpheus"


def test_neighbours_are_told_apart_by_their_start_of_speech():
    """Archa-TTS begins four ids below vyvo-qwen3: without special ids both are named."""
    ids = _speech("vyvo-qwen3").tolist()
    assert identify([151670, *ids]).families == ("the preset vyvo-qwen3",)
    archa = [number - 4 for number in ids]
    assert identify([151668, *archa, 151669]).families == ("Archa-TTS",)
    assert set(identify(ids).families) == {"the preset vyvo-qwen3", "Archa-TTS"}


def test_kani_is_no_snac():
    """Its ids begin where vyvo-lfm2's do, in blocks of 4,032 and four a frame."""
    generator = np.random.default_rng(0)
    ids = 64410 + 4032 * np.arange(4) + generator.integers(4032, size=(30, 4))
    found = identify(ids.reshape(-1))
    assert str(found) == "ids with 4 slots from 64410 are those of Kani-TTS: NanoCodec, not SNAC"
    assert found.presets == ()
    both = str(identify([64401, 64402]))
    assert "vyvo-lfm2" in both
    assert "Kani-TTS (NanoCodec, not SNAC)" in both


@pytest.mark.parametrize("name", ["mini-omni", "lucy"])
def test_parallel_rows(name):
    """Their ids are the same; the order of the levels is not in them."""
    assert identify(_speech(name)).presets == ("mini-omni", "lucy")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hm <custom_token_10>", "the preset orpheus"),
        ("<|snac_12|>", "indic-speak"),
        ("<snac_l1_c12>", "Sido and Quipus"),
        ("<snac_128266>", "FineVideo-VLA and MixtureVitae"),
        ("<|speech_12|>", "NeuTTS: NeuCodec, not SNAC"),
        ("<|s_12|>", "LLaSA: X-codec2, not SNAC"),
        ("<|c1_12|><|c2_9|>", "OuteTTS 1.0: DAC, not SNAC"),
        ("<|bicodec_semantic_3|>", "Spark-TTS: BiCodec, not SNAC"),
        (preset("vita-audio").ids_to_text(_speech("vita-audio")), "vita-audio and plain"),
        (
            "".join(f"<|audio_{n}|>" for n in (5, 9000, 14, 700, 16000, 3, 3, 80)),
            "GLM-4-Voice: its own tokenizer",
        ),
    ],
)
def test_texts(text, wanted):
    """By how tokens are spelled."""
    assert wanted in str(identify(text))


class Tokenizer:
    """As transformers' tokenizers are asked."""

    def __init__(self, **tokens):
        self.tokens = tokens

    def get_vocab(self):
        """All tokens."""
        return self.tokens


def test_tokenizers():
    """By the id of their first audio token."""
    assert identify(Tokenizer(**{"<custom_token_10>": 128266, "a": 1})).presets == ("orpheus",)
    lfm2 = identify(Tokenizer(**{"<custom_token_10>": 64410}))
    assert lfm2.presets == ("vyvo-lfm2",)
    assert "Kani-TTS" in str(lfm2)
    assert "base 151700" in str(identify(Tokenizer(**{"<|audio_0|>": 151700})))
    assert "LLaSA" in str(identify(Tokenizer(**{"a": 1, "<|s_0|>": 2})))
    assert identify(Tokenizer(a=1)) is None


def test_special_ids():
    """By name or bare."""
    assert identify({"start_of_speech": 128257, "end_of_speech": 128258}).presets == ("orpheus",)
    assert identify([128257]).presets == ("orpheus",)


@pytest.mark.parametrize("nothing", [[], [1, 2, 3], "hello", "", {}, {"a": 3}, np.arange(1000)])
def test_nothing_known(nothing):
    """None, and no guess."""
    assert identify(nothing) is None


def test_what_is_no_id():
    """Fractions are refused."""
    with pytest.raises(TokenError):
        identify([1.5])


def test_numbers_that_are_no_ids():
    """Numbers beyond 64 bits are nobody's."""
    assert identify(f"<|audio_{10**30}|>") is None
    assert identify(f"<custom_token_{10**30}>") is None
    with pytest.raises(TokenError, match="special ids must be whole numbers"):
        identify({"start_of_speech": 10**30})
