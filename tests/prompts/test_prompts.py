"""Prompts: the published order of special ids, and speech that comes back out of any of them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snac_tok.errors import LayoutError, LostSpeechWarning, TokenError
from snac_tok.frames import FrameLayout, Vocabulary, preset
from snac_tok.prompts import PromptFormat, prompt_format, prompt_names, speech_ids
from snac_tok.streaming import repair_ids

LINES = ("orpheus", "vyvo-qwen3", "vyvo-lfm2", "plain", "per-level", "per-level-separated")


def vocabulary_of(name):
    """A preset whose ids lie above those of texts."""
    return preset(name, base=None if name in {"orpheus", "vyvo-qwen3", "vyvo-lfm2"} else 1_000)


def speech_of(vocabulary, frames, seed=0):
    """Ids of random codes."""
    random = np.random.default_rng(seed)
    counts = vocabulary.layout.codes_per_frame
    return vocabulary.encode([random.integers(0, vocabulary.codebook_size, frames * n) for n in counts])


texts = st.lists(st.integers(10, 900), max_size=8)


def test_orpheus_is_published_as_this():
    """SOH, BOS text EOT, EOH, SOA, SOS, codes, EOS, EOA."""
    vocabulary = preset("orpheus")
    speech = speech_of(vocabulary, 1)
    found = prompt_format(vocabulary).training([5, 6], speech).input_ids
    wanted = [128259, 128000, 5, 6, 128009, 128260, 128261, 128257, *speech, 128258, 128262]
    assert found.tolist() == wanted


def test_vyvo_has_the_same_order_in_its_own_ids():
    """Qwen3's tokenizer puts nothing in front of a text, LFM2's puts id 1."""
    qwen = prompt_format(preset("vyvo-qwen3")).inference([5])
    assert qwen.tolist() == [151672, 5, 151645, 151673, 151674, 151670]
    lfm2 = prompt_format(preset("vyvo-lfm2")).inference([5])
    assert lfm2.tolist() == [64403, 1, 5, 7, 64404, 64405, 64401]


def test_a_plain_line_is_text_then_speech_between_its_own_marks():
    """Neutral tables have bos and eos alone."""
    vocabulary = preset("plain", base=100)
    speech = speech_of(vocabulary, 1)
    marks = vocabulary.specials
    found = prompt_format(vocabulary).training([5, 6], speech).input_ids
    assert found.tolist() == [5, 6, marks["bos"], *speech, marks["eos"]]


def test_the_text_tokenizers_first_id_stands_there_once():
    """A tokenizer that adds it and one that does not give the same prompt: no second BOS."""
    orpheus = prompt_format(preset("orpheus"))
    assert orpheus.inference([128000, 7]).tolist() == orpheus.inference([7]).tolist()
    assert orpheus.inference([]).tolist().count(128000) == 1


@pytest.mark.parametrize("name", LINES)
@given(text=texts, frames=st.integers(1, 4), seed=st.integers(0, 99), mask=st.booleans())
def test_speech_comes_back_out_of_its_training_sequence(name, text, frames, seed, mask):
    """And the labels are the ids, with -100 exactly in front of the speech where that is asked for."""
    vocabulary = vocabulary_of(name)
    speech = speech_of(vocabulary, frames, seed)
    line = prompt_format(vocabulary)
    sequence = line.training(text, speech, mask_prompt=mask)
    assert speech_ids(sequence.input_ids, vocabulary).tolist() == speech.tolist()
    prompt = line.inference(text)
    # What begins the answer is learned.
    masked = line.inference(text, start_speech=False).size if mask else 0
    assert (sequence.labels[:masked] == -100).all()
    assert sequence.labels[masked:].tolist() == sequence.input_ids[masked:].tolist()
    assert sequence.input_ids[: prompt.size].tolist() == prompt.tolist()
    assert sequence.input_ids.dtype == sequence.labels.dtype == np.int64


@pytest.mark.parametrize("name", LINES)
@given(cut=st.integers(0, 40))
def test_generation_that_stops_anywhere_gives_its_whole_frames(name, cut):
    """A frame cut in the middle is left out; what was said before the last start of speech is the reference's."""
    vocabulary = vocabulary_of(name)
    line, speech = prompt_format(vocabulary), speech_of(vocabulary, 5)
    prompt = line.inference([3], references=[([4], speech_of(vocabulary, 2, seed=1))])
    found = speech_ids(np.concatenate((prompt, speech[:cut])), vocabulary, on_fault="raise")
    whole = min(cut, speech.size) // vocabulary.ids_per_frame * vocabulary.ids_per_frame
    assert found.tolist() == speech[:whole].tolist()


def test_new_ids_alone_need_no_start_of_speech():
    """Servers return what was generated without the prompt."""
    vocabulary = preset("orpheus")
    speech = speech_of(vocabulary, 2)
    assert speech_ids([*speech, 128258, 9], vocabulary).tolist() == speech.tolist()


def test_a_reference_is_a_whole_turn_in_front():
    """Zero-shot voices: text and speech of the reference, then the text to speak."""
    vocabulary = preset("orpheus")
    line, speech = prompt_format(vocabulary), speech_of(vocabulary, 1)
    found = line.inference([9], references=[([8], speech)])
    assert found.tolist() == [*line.training([8], speech).input_ids, *line.inference([9])]


def test_the_model_may_start_its_speech_itself():
    """Without SOA and SOS the prompt ends with the end of the human's turn."""
    assert prompt_format(preset("orpheus")).inference([9], start_speech=False)[-1] == 128260


def test_a_wrong_id_ends_the_speech_or_is_refused():
    """Stop keeps what is good; raise names the place."""
    vocabulary = preset("orpheus")
    speech = speech_of(vocabulary, 3)
    speech[9] = 17
    with pytest.warns(LostSpeechWarning, match="kept 7 of 21 ids of speech.* position 9: id 17"):
        assert speech_ids(speech, vocabulary).tolist() == speech[:7].tolist()
    with pytest.raises(TokenError, match="position 9: id 17"):
        speech_ids(speech, vocabulary, on_fault="raise")


@pytest.mark.parametrize("bad", [[[1, 2]], [1.5], ["a"]])
def test_what_is_no_line_of_ids_is_refused(bad):
    """One sentence: what was found, what is needed."""
    with pytest.raises(TokenError, match="integer"):
        prompt_format(preset("orpheus")).inference(bad)
    with pytest.raises(TokenError, match="integer"):
        speech_ids(bad, preset("orpheus"))


@pytest.mark.parametrize("bad", [[], [1, 2, 3], [128266]])
def test_speech_that_is_no_frames_is_no_training_sequence(bad):
    """Nothing, ids of text, a frame cut in the middle: such a row would teach what cannot be decoded."""
    with pytest.raises(TokenError):
        prompt_format(preset("orpheus")).training([5], bad)


@pytest.mark.parametrize("token", [128257, 128258, 128266, 156937])
def test_text_that_means_speech_is_refused(token):
    """A user's text that spells audio tokens could end or fake the speech."""
    with pytest.raises(TokenError, match=f"position 1 of the text has id {token}"):
        prompt_format(preset("orpheus")).inference([5, token])


def test_padding_behind_a_row_is_no_fault():
    """A batch's shorter rows are padded by generate."""
    vocabulary = preset("orpheus")
    speech = speech_of(vocabulary, 1)
    padded = [128257, *speech, 128263, 128263]
    assert speech_ids(padded, vocabulary, on_fault="raise").tolist() == speech.tolist()


def test_ids_may_be_tensors():
    """As generate returns them."""
    vocabulary = preset("orpheus")
    speech = speech_of(vocabulary, 1)
    assert speech_ids(torch.tensor([128257, *speech]), vocabulary).tolist() == speech.tolist()


def test_tables_without_a_line_say_so():
    """Parallel rows and tables without specials."""
    with pytest.raises(LayoutError, match="parallel rows"):
        prompt_format(preset("mini-omni"))
    with pytest.raises(LayoutError, match="needs 'bos' and 'eos'"):
        prompt_format(preset("vita-audio"))
    marked = Vocabulary(
        layout=FrameLayout(strides=(2, 1)),
        codebook_size=8,
        specials={"start_of_speech": 90, "end_of_speech": 91},
    )
    assert prompt_format(marked).inference([50]).tolist() == [50, 90]
    bare = Vocabulary(layout=FrameLayout(strides=(2, 1)), codebook_size=8)
    with pytest.raises(LayoutError, match="has the specials none"):
        prompt_format(bare)


@pytest.mark.parametrize("cut", [1, 6])
def test_a_frame_that_the_model_itself_ended_is_told(cut):
    """Generation that stops inside a frame loses nothing; an end of speech inside one does."""
    vocabulary = preset("orpheus")
    speech = speech_of(vocabulary, 2)
    assert speech_ids(speech[: 7 + cut], vocabulary).tolist() == speech[:7].tolist()
    with pytest.warns(LostSpeechWarning, match=f"kept 7 of {7 + cut} ids"):
        speech_ids([*speech[: 7 + cut], 128258], vocabulary)


# What stands around one frame of speech, of text 5 6, in each family's prompt and behind the speech.
FAMILIES = {
    "orpheus": [128259, 128000, 5, 6, 128009, 128260, 128261, 128257],
    "maya1": [128259, 128000, 5, 6, 128009, 128260, 128261, 128257],
    "veena": [128259, 5, 6, 128260, 128261, 128257],
    "svara": [128000, 128259, 156939, 5, 6, 128260, 128009, 128261, 128257],
    "orpheus-fastapi": [128000, 156939, 5, 6, 128009],
    "orpheus-tts-local": [128000, 156939, 5, 6, 128009],
    "orpheus-cpp": [128000, 156939, 5, 6, 128009, 128260],
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("text", [[5, 6], [128000, 5, 6]])
def test_each_family_has_its_own_line(name, text):
    """Ids in the published order, one BOS or none, whether the text tokenizer put one there or not."""
    vocabulary = preset("orpheus")
    line, speech = prompt_format(vocabulary, name), speech_of(vocabulary, 2)
    assert line.inference(text).tolist() == FAMILIES[name]
    trained = line.training(text, speech).input_ids.tolist()
    started = FAMILIES[name] + ([] if line.prompt_starts_speech else [128261, 128257])
    assert trained == [*started, *speech, 128258, 128262]
    assert speech_ids(trained, vocabulary, prompt=name, on_fault="raise").tolist() == speech.tolist()


def test_every_named_prompt_is_tried_above():
    """No name without its ids."""
    assert set(prompt_names()) == {*FAMILIES, "plain"}


@pytest.mark.parametrize("end", [128258, 128262])
def test_speech_ends_at_any_id_that_stands_behind_it(end):
    """Veena stops at the end of speech or at the end of the answer."""
    vocabulary = preset("orpheus")
    speech = speech_of(vocabulary, 2)
    found = speech_ids([128257, *speech, end, 77], vocabulary, prompt="veena", on_fault="raise")
    assert found.tolist() == speech.tolist()


@pytest.mark.parametrize(
    ("name", "voice", "spoken"),
    [
        ("orpheus", "tara", "tara: Hello {text}."),
        ("svara", "Hindi (Female)", "Hindi (Female): Hello {text}."),
        ("veena", "kavya", "<spk_kavya> Hello {text}."),
        ("maya1", "A calm voice", '<description="A calm voice"> Hello {text}.'),
        ("orpheus", "{text} {voice}", "{text} {voice}: Hello {text}."),
    ],
)
def test_a_voice_is_put_to_a_text_as_the_family_does(name, voice, spoken):
    """A name with a colon, a speaker's tag, a description; braces in a text are the user's own."""
    line = prompt_format(preset("orpheus"), name)
    assert line.with_voice("Hello {text}.", voice) == spoken
    assert line.with_voice("Hello.", None) == "Hello."


@pytest.mark.parametrize(
    ("voice", "spoken"),
    [
        (None, "Hello."),
        ("", "Hello."),
        (" ", "Hello."),
        (float("nan"), "Hello."),
        (np.float32("nan"), "Hello."),
        (5, "5: Hello."),
        (np.int64(0), "0: Hello."),
        (5.0, "5: Hello."),
        (np.float32(3), "3: Hello."),
        (np.str_("tara"), "tara: Hello."),
    ],
)
def test_a_voice_may_be_a_number_or_missing(voice, spoken):
    """Data sets number their speakers, and tables have empty fields."""
    assert prompt_format(preset("orpheus")).with_voice("Hello.", voice) == spoken


@pytest.mark.parametrize(
    "voice", [["tara", "leo"], ("tara",), True, np.True_, 1.5, float("inf"), b"tara", {}]
)
def test_a_voice_is_never_the_python_text_of_something_else(voice):
    """A list would stand in each prompt with its brackets."""
    with pytest.raises(TokenError, match="each text takes one voice: a name"):
        prompt_format(preset("orpheus")).with_voice("Hello.", voice)


@given(number=st.integers(0, 40_000))
def test_a_text_is_refused_exactly_where_an_id_of_it_is_a_code(number):
    """Blocks may be larger than the codebook: what lies behind the codes of a block is text, in whichever block."""
    table = Vocabulary(
        FrameLayout((4, 2, 1)),
        codebook_size=1024,
        block_size=4096,
        base=1000,
        specials={"bos": 900, "eos": 901},
    )
    line = prompt_format(table)
    if table.slots_of(number) or number in (900, 901):
        with pytest.raises(
            TokenError, match=f"position 1 of the text has id {number}, which stands for speech"
        ):
            line.inference([5, number])
    else:
        assert line.inference([5, number]).tolist() == [5, number, 900]


def test_a_prompt_of_ones_own_is_saved_as_plain_values():
    """Written out and read again it is the same; settings that do not exist are named."""
    vocabulary = preset("orpheus")
    own = PromptFormat(
        vocabulary=vocabulary,
        before_text=(9,),
        before_speech=(128257,),
        after_speech=(128258,),
        voice="{text} ({voice})",
    )
    again = prompt_format(vocabulary, own.to_dict())
    assert again == own == prompt_format(vocabulary, own)
    assert again.inference([5]).tolist() == [9, 5, 128257]
    with pytest.raises(LayoutError, match=r"settings are .* found before_speech, after_speech, speaker"):
        prompt_format(vocabulary, {"before_speech": [1], "after_speech": [2], "speaker": 3})


@pytest.mark.parametrize(
    ("name", "prompt", "message"),
    [
        ("orpheus", "svarra", "no prompt 'svarra'; there are orpheus, maya1"),
        ("plain", "veena", "prompt 'veena' needs the specials start_of_human, .* which 'plain' lacks"),
        ("vyvo-qwen3", "svara", "needs the specials audio"),
        ("orpheus", 7, "prompt is a int"),
        ("mini-omni", None, "parallel rows"),
        ("orpheus", {"before_speech": [], "after_speech": [1]}, "need an id each"),
        ("orpheus", {"before_speech": ["a"], "after_speech": [1]}, "whole number"),
        ("orpheus", {"before_speech": [1], "after_speech": [2], "voice": "{text}"}, "needs {voice}"),
    ],
)
def test_prompts_that_cannot_be_are_refused(name, prompt, message):
    """One sentence each, with what there is instead."""
    with pytest.raises(LayoutError, match=message):
        prompt_format(preset(name), prompt)


def test_a_prompt_of_another_vocabulary_is_refused():
    """Its ids would not be those of the speech."""
    with pytest.raises(LayoutError, match="is of the vocabulary 'orpheus', the ids are of 'vyvo-qwen3'"):
        prompt_format(preset("vyvo-qwen3"), prompt_format(preset("orpheus")))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"text_start": "128000"}, "every id of text_start must be a whole number from 0 to .* got '128000'"),
        ({"text_start": 128266}, "text_start has id 128266, which 'orpheus' needs for a code"),
        ({"prompt_starts_speech": "false"}, "prompt_starts_speech is 'false'; true or false is needed"),
        ({"prompt_starts_speech": 1}, "prompt_starts_speech is 1; true or false"),
        ({"before_speech": [128266]}, "before_speech has id 128266, which 'orpheus' needs for a code"),
        ({"after_speech": [128258, 156937]}, "after_speech has id 156937, which .* needs for a code"),
        ({"before_text": [128266]}, "before_text has id 128266"),
        ({"before_speech": [-5]}, "every id of before_speech must be a whole number from 0 to .* got -5"),
        ({"after_text": [True]}, "every id of after_text must be a whole number"),
        ({"before_text": [2**40]}, "every id of before_text must be a whole number"),
        ({"after_speech": [128257]}, "id 128257 starts the speech and stands in after_speech, too"),
        ({"after_speech": [128258, 128257]}, "id 128257 starts the speech and stands in after_speech"),
        ({"after_text": None}, "after_text is None; a list of ids is needed"),
        ({"after_text": 5}, "after_text is 5; a list of ids is needed"),
        ({"after_text": "128009"}, "after_text is '128009'; a list of ids is needed"),
        ({"voice": None}, "voice is None; it needs {voice} and {text}"),
        ({"voice": ["{voice}", "{text}"]}, "it needs {voice} and {text} in it"),
        ({5: 1, "a": 2}, "a prompt's settings are .* found .*, 5, a"),
    ],
)
def test_the_values_of_a_saved_prompt_are_checked(values, message):
    """They may have been through JSON, or been written by hand."""
    vocabulary = preset("orpheus")
    saved = prompt_format(vocabulary).to_dict()
    with pytest.raises(LayoutError, match=message):
        prompt_format(vocabulary, saved | values)


def test_the_separator_of_frames_is_no_end_of_speech():
    """Speech would end in front of its second frame."""
    vocabulary = preset("per-level-separated", base=1_000)
    separator = vocabulary.specials[vocabulary.separator]
    saved = prompt_format(vocabulary).to_dict()
    with pytest.raises(
        LayoutError, match=f"after_speech has id {separator}, .* needs in front of each frame"
    ):
        prompt_format(vocabulary, saved | {"after_speech": [separator]})


def test_numbers_of_any_kind_are_plain_ones_in_a_format():
    """Arrays, tensors and numpy's numbers are kept as JSON writes them."""
    found = PromptFormat(
        vocabulary=preset("orpheus"),
        before_text=np.array([128259], np.int32),
        text_start=np.int64(128000),
        before_speech=torch.tensor([128257]),
        after_speech=(number for number in (128258,)),
        prompt_starts_speech=np.bool_(False),
    )
    assert found.to_dict() == {
        "before_text": [128259],
        "text_start": 128000,
        "after_text": [],
        "before_speech": [128257],
        "after_speech": [128258],
        "voice": "{voice}: {text}",
        "prompt_starts_speech": False,
    }
    assert type(found.text_start) is int
    assert type(found.prompt_starts_speech) is bool


@pytest.mark.parametrize("wrong", ["orpheus", None, 7])
def test_what_is_no_vocabulary_is_refused(wrong):
    """A preset's name is the likely slip."""
    frame = speech_of(preset("orpheus"), 1)
    for door in (
        lambda: prompt_format(wrong),
        lambda: speech_ids(frame, wrong),
        lambda: PromptFormat(vocabulary=wrong, before_speech=(1,), after_speech=(2,)),
        lambda: repair_ids(frame, wrong),
    ):
        with pytest.raises(
            LayoutError, match=rf"the vocabulary is {wrong!r}; .* such as preset\('orpheus'\)"
        ):
            door()


def test_references_are_pairs():
    """One pair by itself, a number, a text and a pair of numbers are told apart from a list of pairs."""
    vocabulary = preset("orpheus")
    line, frame = prompt_format(vocabulary), speech_of(vocabulary, 1)
    for wrong in (([5], frame), ([5, 6], frame), [(5, frame)], [([5], frame, 1)], 5, None, "ab", frame):
        with pytest.raises(TokenError, match=r"a list of pairs is needed, .*: \[\(text_ids, speech_ids\)\]"):
            line.inference([5], references=wrong)
    turns = iter([([8], frame), [np.array([9]), torch.from_numpy(frame)]])
    assert (
        line.inference([5], references=turns).size
        == line.inference([5]).size + 2 * line.training([8], frame).input_ids.size
    )
