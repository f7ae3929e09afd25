"""The id tables of published models, against numbers worked out by hand from what the models publish."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from snac_tok.errors import LayoutError
from snac_tok.frames import (
    FrameLayout,
    Vocabulary,
    preset,
    preset_names,
    vocabulary_from_json,
    vocabulary_to_json,
)

TWO_FRAMES = [[0, 4095], [1, 2, 3, 4], [5, 6, 7, 8, 9, 10, 11, 12]]


def test_orpheus_ids_are_the_published_ones() -> None:
    """Id = 128266 + slot · 4096 + code, in the order c0 c1 c2 c2 c1 c2 c2."""
    assert preset("orpheus").encode(TWO_FRAMES).tolist() == [
        128266,  # 128266 + 0·4096 + 0
        132363,  # 128266 + 1·4096 + 1
        136463,  # 128266 + 2·4096 + 5
        140560,  # 128266 + 3·4096 + 6
        144652,  # 128266 + 4·4096 + 2
        148753,  # 128266 + 5·4096 + 7
        152850,  # 128266 + 6·4096 + 8
        132361,  # 128266 + 0·4096 + 4095
        132365,  # 128266 + 1·4096 + 3
        136467,  # 128266 + 2·4096 + 9
        140564,  # 128266 + 3·4096 + 10
        144654,  # 128266 + 4·4096 + 4
        148757,  # 128266 + 5·4096 + 11
        152854,  # 128266 + 6·4096 + 12
    ]


def test_orpheus_table_ends_where_it_is_published_to_end() -> None:
    """The largest audio id is 156937, `<|audio|>` is 156939, the vocabulary has 156940 ids."""
    orpheus = preset("orpheus")
    assert orpheus.id_range(6)[-1] == 156937  # 128266 + 7·4096 − 1
    assert (orpheus.size, orpheus.num_code_ids) == (156940, 28672)  # 7·4096 = 28672
    assert orpheus.special_of(128258) == "end_of_speech"
    assert orpheus.special_id("audio") == 156939
    assert orpheus.special_of(128266) is None


@pytest.mark.parametrize(
    ("name", "text", "token_id"),
    [
        ("orpheus", "<custom_token_0>", 128256),
        ("orpheus", "<custom_token_2>", 128258),  # end of speech
        ("orpheus", "<custom_token_10>", 128266),  # slot 0, code 0
        ("orpheus", "<custom_token_28681>", 156937),  # slot 6, code 4095: 10 + 7·4096 − 1
        ("orpheus", "<|audio|>", 156939),
        ("vita-audio", "<|audio_4097|>", 4097),  # slot 1, code 1
        ("vyvo-qwen3", "<custom_token_10>", 151679),
        ("vyvo-lfm2", "<custom_token_10>", 64410),
        ("vyvo-qwen3", "<|endoftext|>", 151643),  # start of text
        ("vyvo-qwen3", "<|im_end|>", 151645),  # end of text
        ("vyvo-lfm2", "<|startoftext|>", 1),
        ("vyvo-lfm2", "<|im_end|>", 7),
    ],
)
def test_text_forms_are_the_published_ones(name, text, token_id) -> None:
    """One token, both ways."""
    vocabulary = preset(name)
    assert vocabulary.text_to_ids(text).tolist() == [token_id]
    assert vocabulary.ids_to_text([token_id]) == text


@pytest.mark.parametrize("name", [name for name in preset_names() if not preset(name).is_parallel])
def test_every_special_of_a_preset_has_a_spelling(name) -> None:
    """Otherwise a tokenizer's get_vocab and all_special_tokens could not list them."""
    vocabulary = preset(name)
    for token_id in vocabulary.specials.values():
        assert vocabulary.text.id_of(vocabulary.text.token_of(token_id)) == token_id


def test_orpheus_text_tells_slot_and_code_without_a_counter() -> None:
    """The slot is (N − 10) // 4096, the code (N − 10) % 4096."""
    orpheus = preset("orpheus")
    token = orpheus.text.id_of("<custom_token_12308>")  # 12308 − 10 = 12298 = 3·4096 + 10
    assert (orpheus.slots_of(token), orpheus.code_of(token)) == ((3,), 10)


def test_vyvo_ids_are_the_published_ones() -> None:
    """Both begin ten ids after their tokenizer's length and name their specials in one order."""
    qwen, lfm = preset("vyvo-qwen3"), preset("vyvo-lfm2")
    assert qwen.encode(TWO_FRAMES)[1] == 155776  # 151679 + 1·4096 + 1
    assert lfm.encode(TWO_FRAMES)[6] == 88994  # 64410 + 6·4096 + 8
    names = (
        "start_of_speech",
        "end_of_speech",
        "start_of_human",
        "end_of_human",
        "start_of_ai",
        "end_of_ai",
        "pad",
    )
    assert [qwen.special_id(name) for name in names] == list(range(151670, 151677))
    assert [lfm.special_id(name) for name in names] == list(range(64401, 64408))
    assert [qwen.special_id(name) for name in ("start_of_text", "end_of_text")] == [151643, 151645]
    assert [lfm.special_id(name) for name in ("start_of_text", "end_of_text")] == [1, 7]


def test_mini_omni_rows_are_delayed_and_padded() -> None:
    """Row r is at 152000 + r·4160, begins after r + 1 pads, ends with one end, then pads again."""
    ids = preset("mini-omni").encode(TWO_FRAMES)
    assert ids.shape == (7, 10)  # 2 frames + delay 7 + 1 end
    assert ids[0].tolist() == [156097, 152000, 156095, 156096, *[156097] * 6]  # pad = 152000 + 4097
    # Row 6: 152000 + 6·4160 = 176960; pad 181057, codes 8 and 12, end 176960 + 4096 = 181056.
    assert ids[6].tolist() == [*[181057] * 7, 176968, 176972, 181056]
    assert ids[4].tolist()[5:8] == [168642, 168644, 172736]  # 152000 + 4·4160 = 168640; codes 2, 4, end


def test_lucy_is_mini_omni_breadth_first() -> None:
    """The second row 1-level code moves from row 4 to row 2; specials differ in one name."""
    lucy, mini = preset("lucy"), preset("mini-omni")
    assert lucy.encode(TWO_FRAMES)[2].tolist()[3:5] == [160322, 160324]  # 152000 + 2·4160 + 2, … + 4
    assert (
        lucy.special_id("begin", slot=1) == mini.special_id("input", slot=1) == 160258
    )  # 152000 + 4160 + 4098
    assert mini.special_of(160258) == "input"
    assert mini.special_of(151999) is None
    assert lucy.size == 181120  # 152000 + 7·4160


def test_vita_audio_is_breadth_first() -> None:
    """<|audio_i|> with i = slot · 4096 + code and both middle codes next to each other."""
    text = preset("vita-audio").ids_to_text(preset("vita-audio").encode([[9], [1, 2], [3, 4, 5, 6]]))
    # 0+9, 4096+1, 8192+2, 12288+3, 16384+4, 20480+5, 24576+6
    numbers = [9, 4097, 8194, 12291, 16388, 20485, 24582]
    assert text == "".join(f"<|audio_{number}|>" for number in numbers)


def test_per_level_presets_share_ids_between_slots_of_a_level() -> None:
    """Id = base + level · 4096 + code, with and without a separator before each frame."""
    codes = [[9], [1, 2], [3, 4, 5, 6]]
    assert preset("per-level", base=100).encode(codes).tolist() == [109, 4197, 8295, 8296, 4198, 8297, 8298]
    separated = preset("per-level-breadth-separated", base=100)
    assert separated.encode(codes).tolist() == [12391, 109, 4197, 4198, 8295, 8296, 8297, 8298]  # 100+12288+3
    assert separated.special_of(12391) == "separator"


def test_the_default_is_plain() -> None:
    """Base 0, a block a slot, and pad, bos, eos right after the codes, for any strides."""
    plain = preset(strides=(8, 4, 2, 1))
    assert plain.name == preset_names()[0] == "plain"
    assert dict(plain.specials) == {"pad": 61440, "bos": 61441, "eos": 61442}  # 15·4096 = 61440
    assert plain.size == 61443


def test_four_level_codecs_fit_seven_slot_presets_with_three_levels() -> None:
    """Strides (8, 4, 2, 1) with levels=3 are orpheus frames with the same ids."""
    assert preset("orpheus", strides=(8, 4, 2, 1), levels=3).encode(TWO_FRAMES).tolist() == (
        preset("orpheus").encode(TWO_FRAMES).tolist()
    )


def test_fifteen_slots_extend_a_table_that_has_room() -> None:
    """Slot 7 of vyvo-qwen3 begins where slot 6 ended; mini-omni gets fifteen delayed rows."""
    assert preset("vyvo-qwen3", strides=(8, 4, 2, 1)).id_range(7)[0] == 180351  # 151679 + 7·4096
    assert preset("mini-omni", strides=(8, 4, 2, 1)).delays == tuple(range(1, 16))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "orfeus"}, "no preset 'orfeus'; there are plain"),
        ({"name": None}, "no preset None"),
        ({"name": ["orpheus"]}, "no preset"),
        ({"name": "orpheus", "strides": (8, 4, 2, 1)}, "special 'audio' is id 156939"),
        ({"name": "orpheus", "base": 5}, "published as 128266"),
        ({"name": "orpheus", "codebook_size": 8192}, "at most block_size"),
        ({"name": "plain", "base": -1}, "base must be a whole number"),
        ({"name": "plain", "base": 2**31 - 10}, "from 0 to 2147483647"),
        ({"name": "plain", "codebook_size": 0}, "codebook_size"),
        ({"name": "plain", "strides": (4, 3, 1)}, "3 does not divide 4"),
        ({"name": "plain", "strides": 4}, "strides must be whole numbers"),
        ({"name": "plain", "levels": 4}, "levels must be a whole number from 1 to 3"),
    ],
)
def test_a_preset_that_cannot_be_is_refused(arguments, words) -> None:
    """Unknown names, colliding ids and impossible numbers: one sentence that names the cause."""
    with pytest.raises(LayoutError) as refusal:
        preset(**arguments)
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "near"), [("Orpheus", "orpheus"), ("vyvo-qwen", "vyvo-qwen3"), ("plane", "plain")]
)
def test_a_name_that_is_nearly_a_preset(name, near) -> None:
    """The one that was probably meant is named; for a name near to none nothing is."""
    with pytest.raises(LayoutError, match=f"Did you mean '{near}'\\?"):
        preset(name)
    with pytest.raises(LayoutError) as refusal:
        preset("xyz")
    assert "mean" not in str(refusal.value)


def test_a_smaller_codebook_keeps_the_published_blocks() -> None:
    """A toy codec of 64 codes still starts slot 1 of orpheus at 132362."""
    assert preset("orpheus", codebook_size=64).id_range(1) == range(132362, 132426)


def test_numpy_numbers_make_an_equal_preset_that_json_can_hold() -> None:
    """Sizes that come out of arrays are as good as Python's own, and do not leak their narrow type."""
    numbers = preset(
        "plain",
        strides=tuple(np.array([8, 4, 2, 1])),
        levels=np.int64(3),
        codebook_size=np.int16(64),
        base=np.uint8(9),
    )
    assert numbers == preset("plain", strides=(8, 4, 2, 1), levels=3, codebook_size=64, base=9)
    assert vocabulary_from_json(vocabulary_to_json(numbers)) == numbers


@pytest.mark.parametrize("name", preset_names())
def test_vocabularies_survive_json_pickle_and_hashing(name, tmp_path) -> None:
    """What comes back is equal, from text, from the parsed mapping and from a file."""
    vocabulary = preset(name)
    text = vocabulary_to_json(vocabulary)
    (tmp_path / "mine.json").write_text(text)
    assert vocabulary_from_json(text) == vocabulary
    assert vocabulary_from_json(json.loads(text)) == vocabulary
    assert vocabulary_from_json(tmp_path / "mine.json") == vocabulary
    copy = pickle.loads(pickle.dumps(vocabulary))
    assert copy == vocabulary
    assert hash(copy) == hash(vocabulary)


def test_specials_cannot_be_changed_behind_the_checks() -> None:
    """A frozen vocabulary is frozen all the way down, and apart from the mapping it was made from."""
    mine = {"pad": 30000}
    vocabulary = Vocabulary(layout=FrameLayout(strides=(4, 2, 1)), specials=mine)
    mine["pad"] = 0
    assert vocabulary.special_id("pad") == 30000
    with pytest.raises(TypeError):
        vocabulary.specials["pad"] = 0  # type: ignore[index]


def test_describe_prints_every_slot_and_special_aligned() -> None:
    """One row a slot and one a special, in columns that line up."""
    text = preset("orpheus").describe()
    rows = text.splitlines()
    table = rows[3:11]
    assert [row.split() for row in table][3] == ["2", "2", "0", "136458", "140553", "<custom_token_8202>"]
    assert len({row.index("<") for row in table[1:]}) == 1
    assert [row.split() for row in rows][-1] == ["audio", "156939"]
    assert "delay" in preset("lucy").describe()
    assert "separator before each frame" in preset("per-level-separated").describe()


def test_ids_fit_the_sizes_they_claim() -> None:
    """No preset makes an id at or above its size, and codes and specials never share an id."""
    for name in preset_names():
        vocabulary = preset(name)
        codes = [np.full(count, 4095) for count in (1, 2, 4)]
        assert int(vocabulary.encode(codes).max()) < vocabulary.size
        if not vocabulary.is_parallel:
            assert not any(vocabulary.slots_of(number) for number in vocabulary.specials.values())


def test_the_page_about_presets_is_up_to_date() -> None:
    """docs/presets.md is what the tables say now, and has every preset."""
    root = Path(__file__).parents[2]
    script = [sys.executable, str(root / "scripts" / "make_preset_docs.py"), "--check"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    assert subprocess.run(script, check=False, env=environment, cwd=root).returncode == 0
    page = (root / "docs" / "presets.md").read_text(encoding="utf-8")
    assert all(f"### {name}\n" in page for name in preset_names())
