"""Text and sound to a language model's batch and back, saved and found again, inside a pipeline."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoProcessor, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, pipeline
from transformers.generation.utils import GenerateDecoderOnlyOutput

from snac_tok import SnacMapper, SnacTokenizer
from snac_tok.errors import LayoutError, LostSpeechWarning, SamplingRateError, TokenError
from snac_tok.hf import SnacFeatureExtractor, SnacProcessor, add_audio_tokens
from snac_tok.prompts import PromptFormat

SPEECH = sorted((Path(__file__).parents[1] / "speech").glob("*.flac"))


@pytest.fixture(scope="module")
def processor():
    """A word tokenizer with audio tokens, and the embedded codec."""
    words = {word: at for at, word in enumerate(["[UNK]", "hello", "world", "tara:", "good"])}
    inner = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]")
    vocabulary = add_audio_tokens(tokenizer)
    return SnacProcessor(SnacFeatureExtractor(), tokenizer, "tiny", vocabulary)


@pytest.fixture(scope="module")
def plain(processor):
    """The tokenizer that the processor should agree with."""
    return SnacTokenizer.from_pretrained("tiny", preset=processor.audio_vocabulary)


def tone(length=6_000):
    """A quiet tone at 24 kHz."""
    return np.sin(np.arange(length) / 9).astype(np.float32) * 0.2


def test_text_and_sound_make_a_training_sequence(processor, plain):
    """Text, start, codes, end; labels are the ids, or masked in front of the answer."""
    batch = processor("hello world", tone(), sampling_rate=24_000)
    speech = list(plain.encode(tone(), sampling_rate=24_000))
    specials = processor.audio_vocabulary.specials
    wanted = [1, 2, specials["bos"], *speech, specials["eos"]]
    assert batch["input_ids"] == batch["labels"] == [wanted]
    assert batch["attention_mask"] == [[1] * len(wanted)]
    masked = processor("hello world", tone(), sampling_rate=24_000, mask_prompt=True)
    assert masked["labels"] == [[-100, -100, *wanted[2:]]]


def test_mapping_and_processor_make_the_same_line(processor):
    """Also where the text tokenizer puts marks of its own around a text: a model must meet what it was trained on."""
    tokenizer = copy.deepcopy(processor.tokenizer)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="good $A good", special_tokens=[("good", 4)]
    )
    assert tokenizer("hello")["input_ids"] == [4, 1, 4]
    marking = SnacProcessor(SnacFeatureExtractor(), tokenizer, "tiny", processor.audio_vocabulary)
    mapper = SnacMapper(
        "tiny",
        preset=processor.audio_vocabulary,
        sampling_rate=24_000,
        text_column="text",
        text_tokenizer=tokenizer,
    )
    mapped = mapper({"audio": [tone()], "text": ["hello world"]})
    found = marking("hello world", tone(), sampling_rate=24_000)
    assert list(mapped["input_ids"][0]) == found["input_ids"][0]


def test_batches_are_padded_for_what_they_are_for(processor):
    """Training on the right with -100; prompts on the left, where generation goes on."""
    sounds = [tone(3_000), tone(9_000)]
    batch = processor(["hello", "world"], sounds, sampling_rate=24_000, return_tensors="pt")
    pad = processor.audio_vocabulary.specials["pad"]
    short = batch["attention_mask"][0].bool()
    assert short[0]
    assert not short[-1]
    assert set(batch["input_ids"][0][~short].tolist()) == {pad}
    assert set(batch["labels"][0][~short].tolist()) == {-100}
    prompts = processor(["hello world good", "world"], return_tensors="pt")
    assert prompts["attention_mask"].tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]]
    assert "labels" not in prompts


def test_voices_and_references_stand_in_front(processor):
    """A speaker's name in the text; a whole turn of text and sound before the prompt."""
    bos = processor.audio_vocabulary.specials["bos"]
    assert processor("hello", voice="tara")["input_ids"] == [[3, 1, bos]]
    assert processor("hello", start_speech=False)["input_ids"] == [[1]]
    turn = processor("world", str(SPEECH[0]))["input_ids"][0]
    found = processor("hello", reference=[("world", str(SPEECH[0]))])["input_ids"][0]
    assert found == [*turn, 1, bos]


def test_each_text_may_have_a_voice_of_its_own(processor):
    """A list gives each its own, with or without sound; one is for all."""
    texts, clips = ["hello", "hello", "hello"], [tone()] * 3
    alone = [processor("hello", voice=voice)["input_ids"][0] for voice in ("world", None, "good")]
    assert processor(texts, voice=["world", None, "good"])["input_ids"] == alone
    assert processor(texts, voice=np.array(["world", "", "good"]))["input_ids"] == alone
    spoken = processor(texts, clips, voice=["world", None, "good"], sampling_rate=24_000)["input_ids"]
    assert [line[: len(start)] for line, start in zip(spoken, alone, strict=True)] == alone
    with pytest.raises(TokenError, match="2 voices were given for 3 texts"):
        processor(texts, voice=["world", "good"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"voice": [["tara"]]}, "each text takes one voice"),
        ({"voice": True}, "each text takes one voice"),
        ({"reference": ["x"]}, "pairs of a text and its sound"),
        ({"reference": ("hello", "a.wav")}, "pairs of a text and its sound"),
        ({"pad_to_multiple_of": 0, "return_tensors": "pt"}, "pad_to_multiple_of is 0; a whole number from 1"),
        ({"pad_to_multiple_of": 2.5, "return_tensors": "pt"}, "pad_to_multiple_of is 2.5"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_a_sentence(processor, options, sentence):
    """Not by Python's own errors from inside."""
    with pytest.raises(TokenError, match=sentence):
        processor("hello", **options)


def test_sound_comes_back_out_of_what_a_model_wrote(processor, plain):
    """With prompt or without, padded or cut; as tensors, which pipelines need."""
    batch = processor(["hello", "world"], [tone(), tone(12_000)], sampling_rate=24_000, return_tensors="pt")
    sounds = processor.decode(batch["input_ids"])
    for sound, clip in zip(sounds, (tone(), tone(12_000)), strict=True):
        wanted = plain.decode(plain.encode(clip, sampling_rate=24_000)).samples[0]
        assert isinstance(sound, torch.Tensor)
        assert np.array_equal(sound.numpy(), wanted)
    assert torch.equal(processor.decode(batch["input_ids"][1]), sounds[1])
    assert all(map(torch.equal, processor.batch_decode(batch["input_ids"]), sounds))


@pytest.mark.filterwarnings("ignore::snac_tok.errors.LostSpeechWarning")
@pytest.mark.parametrize("ids", [[1, 2], [], [9, 8, 7]])
def test_writing_without_speech_is_silence_and_a_warning(processor, ids, caplog):
    """A batch keeps its good rows."""
    assert processor.decode(ids).numel() == 0
    assert "no whole frame" in caplog.text


def test_speech_behind_a_wrong_id_is_counted(processor):
    """What makes no sound is told: how many ids of how many, and the first that is out of place."""
    ids = processor("hello", tone(), sampling_rate=24_000)["input_ids"][0]
    ids[2 + 8] = 1
    with pytest.warns(LostSpeechWarning, match=r"kept 7 of \d+ ids of speech.* position 8: id 1"):
        assert processor.decode(ids).numel() == 2048


@pytest.mark.parametrize("own", [False, True])
def test_a_familys_prompt_is_taken_and_saved(processor, own, tmp_path):
    """By name or as a format of one's own; mapping writes the same line, and a reload keeps it."""
    vocabulary, tokenizer = processor.audio_vocabulary, processor.tokenizer
    marks = vocabulary.specials
    prompt = "plain"
    if own:
        prompt = PromptFormat(
            vocabulary=vocabulary,
            before_text=(marks["pad"],),
            before_speech=(marks["bos"],),
            after_speech=(marks["eos"],),
            voice="{voice} good {text}",
        )
    other = SnacProcessor(SnacFeatureExtractor(), tokenizer, "tiny", vocabulary, prompt=prompt)
    found = other("hello", tone(), sampling_rate=24_000, voice="world")["input_ids"][0]
    start = [marks["pad"], 2, 4, 1, marks["bos"]] if own else [0, 1, marks["bos"]]
    assert found[: len(start)] == start
    mapper = SnacMapper(
        "tiny",
        preset=vocabulary,
        sampling_rate=24_000,
        text_column="text",
        voice_column="voice",
        text_tokenizer=tokenizer,
        prompt=prompt,
    )
    mapped = pickle.loads(pickle.dumps(mapper))({"audio": [tone()], "text": ["hello"], "voice": ["world"]})
    assert list(mapped["input_ids"][0]) == found
    other.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert again("hello", voice="world")["input_ids"][0] == start


def test_it_is_saved_by_name_and_found_again(processor, tmp_path):
    """AutoProcessor gives an equal one; the codec's weights are not in the folder."""
    assert processor.audio_tokenizer is processor.audio_tokenizer
    processor.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))
    found = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(found, SnacProcessor)
    assert (found.codec, found.audio_vocabulary) == ("tiny", processor.audio_vocabulary)
    assert found("hello world")["input_ids"] == processor("hello world")["input_ids"]


def test_conversations_may_hold_sound(processor):
    """Parts of type audio become their tokens between the marks of speech, by the text tokenizer's own template."""
    template = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% endfor %}"
    parts = [{"type": "text", "text": "good "}, {"type": "audio", "audio": tone(), "sampling_rate": 24_000}]
    chat = [{"role": "user", "content": "hello"}, {"role": "tara:", "content": parts}]
    ids = processor.apply_chat_template(chat, template, tokenize=True, return_dict=True)["input_ids"]
    speech = processor("hello", tone(), sampling_rate=24_000)["input_ids"][0][1:]
    assert ids[0].tolist() == [0, 1, 3, 4, *speech]
    with pytest.raises(TokenError, match="part of type 'image'"):
        processor.apply_chat_template([{"role": "user", "content": [{"type": "image"}]}], template)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"audio": tone(), "sampling_rate": 24_000}, "needs text"),
        (
            {"text": ["hello", "world"], "audio": [tone()], "sampling_rate": 24_000},
            "1 sounds were given for 2",
        ),
        (
            {"text": "hello", "audio": [tone(), tone()], "sampling_rate": 24_000},
            "a text goes with one recording, got a list of 2; give one recording for each text",
        ),
        ({"text": "hello", "audio": []}, "got a list of 0"),
        (
            {"text": "hello", "reference": [("world", [tone(), tone()])], "sampling_rate": 24_000},
            "a list of 2",
        ),
        ({"text": ["hello", "world"], "audio": "clip.wav"}, "1 sounds were given for 2 texts"),
        ({"text": ["hello", "world"], "audio": tone(), "sampling_rate": 24_000}, "1 sounds were given for 2"),
        ({"text": 5}, "needs text"),
        ({"text": []}, "needs text"),
        ({"text": "hello", "reference": 5}, "reference holds 5; a list of pairs of a text and its sound"),
        (
            {"text": "hello", "audio": tone(), "reference": [("world", tone())], "sampling_rate": 24_000},
            "reference is for prompts, and with audio= the processor makes training sequences; leave out reference",
        ),
        (
            {"text": "hello", "audio": tone(), "start_speech": True, "sampling_rate": 24_000},
            "start_speech is for prompts",
        ),
        (
            {"text": "hello", "audio": tone(), "start_speech": False, "sampling_rate": 24_000},
            "start_speech is for prompts",
        ),
        ({"text": "hello", "return_tensors": "tf"}, "return_tensors is 'tf'"),
        ({"text": "hello <|audio_5|> world"}, "stands for speech"),
    ],
)
def test_impossible_calls_are_refused(processor, call, message):
    """One sentence each."""
    with pytest.raises(TokenError, match=message):
        processor(**call)


def test_one_recording_goes_with_one_text_however_they_are_held(processor):
    """Alone or as a list of one; a list of numbers is one recording; an array has a row for each of several texts."""
    wanted = processor("hello", tone(), sampling_rate=24_000)["input_ids"]
    for text, audio in (
        ("hello", [tone()]),
        ("hello", tone().tolist()),
        ("hello", tone()[None]),
        (["hello"], tone()),
        (["hello"], tone().tolist()),
        (["hello"], tone()[None]),
        (["hello"], iter([tone()])),
        (["hello"], {"array": tone(), "sampling_rate": 24_000}),
    ):
        assert processor(text, audio, sampling_rate=24_000)["input_ids"] == wanted
    assert (
        processor(["hello"], str(SPEECH[0]))["input_ids"] == processor("hello", str(SPEECH[0]))["input_ids"]
    )
    rows = np.stack([tone(), tone()[::-1]])
    one_by_one = [processor("hello", row, sampling_rate=24_000)["input_ids"][0] for row in rows]
    for both in (rows, torch.from_numpy(rows)):
        assert processor(["hello", "hello"], both, sampling_rate=24_000)["input_ids"] == one_by_one


def test_two_recordings_in_a_part_of_a_conversation_are_refused(processor):
    """They would sound as one."""
    parts = [{"type": "audio", "audio": [tone(), tone()], "sampling_rate": 24_000}]
    with pytest.raises(TokenError, match="a list of 2"):
        processor.apply_chat_template([{"role": "user", "content": parts}], "{{ messages }}")


def test_what_generate_returns_with_scores_is_decoded_too(processor):
    """`return_dict_in_generate=True` wraps the ids."""
    ids = torch.tensor(processor("hello", tone(), sampling_rate=24_000)["input_ids"])
    wrapped = GenerateDecoderOnlyOutput(sequences=ids)
    wanted = processor.decode(ids)
    for decode in (processor.decode, processor.batch_decode):
        assert torch.equal(decode(wrapped)[0], wanted[0])


@pytest.mark.parametrize("kind", [None, "np", "pt"])
def test_a_batch_of_the_processor_itself_is_decoded_too(processor, kind):
    """By its ids, as the tokenizer decodes its own."""
    batch = processor("hello", tone(), sampling_rate=24_000, return_tensors=kind)
    wanted = processor.decode(batch["input_ids"])
    for decode in (processor.decode, processor.batch_decode):
        assert torch.equal(decode(batch)[0], wanted[0])
    ids = torch.as_tensor(batch["input_ids"][0])
    assert torch.equal(processor.decode(iter(ids.tolist())), wanted[0])


@pytest.mark.parametrize("given", [5, None, "hello", torch.tensor(5), {"labels": [[1]]}])
def test_what_holds_no_ids_is_refused(processor, given):
    """In one sentence, whatever it is."""
    for decode in (processor.decode, processor.batch_decode):
        with pytest.raises(TokenError, match=r"decode got .*; ids \(n,\) or \(B, n\)"):
            decode(given)


def test_a_table_without_a_line_makes_no_processor(processor):
    """Parallel rows cannot stand among text."""
    with pytest.raises(LayoutError, match="parallel rows"):
        SnacProcessor(SnacFeatureExtractor(), processor.tokenizer, "tiny", "mini-omni")


def test_a_text_to_audio_pipeline_speaks(processor):
    """A small causal language model that always writes one frame: sound at the codec's rate."""
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(processor.tokenizer), **shape))
    speak = pipeline("text-to-audio", model=model, tokenizer=processor.tokenizer, processor=processor)
    frame = [processor.audio_vocabulary.id_of(slot, 100 + slot) for slot in range(7)]

    def next_id(_, line):
        return [frame[(line.numel() - 3) % 7]]

    found = speak(
        "hello world",
        generate_kwargs={"max_new_tokens": 21, "do_sample": False, "prefix_allowed_tokens_fn": next_id},
    )
    assert found["sampling_rate"] == 24_000
    assert found["audio"].shape == (3 * 2048,)
    assert np.abs(found["audio"]).max() > 0


def test_the_rate_is_the_codecs(processor):
    """Sound of 24 kHz said to be at 44.1 kHz plays too fast and too high."""
    other = SnacProcessor(
        SnacFeatureExtractor(44_100), processor.tokenizer, "tiny", processor.audio_vocabulary
    )
    ids = processor("hello", tone(), sampling_rate=24_000)["input_ids"]
    calls = (
        lambda: other.decode(ids),
        lambda: other("hello", tone(), sampling_rate=24_000),
        lambda: other.to("cpu"),
    )
    for call in (*calls, calls[0]):
        with pytest.raises(SamplingRateError, match=r"44100 Hz and the codec 'tiny' at 24000; .*\(24000\)"):
            call()


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, iter])
def test_one_sequence_is_not_decoded_as_several(processor, kind):
    """It gave a sound in the place of a list of them."""
    (ids,) = processor("hello", tone(), sampling_rate=24_000)["input_ids"]
    with pytest.raises(TokenError, match=r"batch_decode got .* the ids of one sequence"):
        processor.batch_decode(kind(ids))
    assert len(processor.batch_decode([ids])) == 1
    assert processor.batch_decode([]) == []
    assert torch.equal(processor.decode(list(torch.tensor(ids))), processor.decode(ids))


@pytest.mark.parametrize(
    ("conversation", "message"),
    [
        ("hello", "the conversation is 'hello'; a list of messages is needed"),
        (None, "the conversation is None"),
        ([], "the conversation is"),
        ([[]], "the conversation is"),
        ({"role": "user", "content": "hello"}, "the conversation is .*; a list of messages"),
        (["hello"], "a conversation has 'hello' in it"),
        ([[["hello"]]], "a conversation has .* in it"),
        ([{"role": "user", "content": ["hello"]}], "a message has a part 'hello'; parts are"),
        ([{"role": "user", "content": {"type": "text", "text": "hello"}}], "content is .* a list of parts"),
        ([{"role": "user", "content": 5}], "a message's content is 5"),
    ],
)
def test_what_is_no_conversation_is_refused(processor, conversation, message):
    """Some of it was looked into without end."""
    with pytest.raises(TokenError, match=message):
        processor.apply_chat_template(conversation, "{{ messages }}", tokenize=False)


def test_several_conversations_are_written_each(processor):
    """As the text tokenizer takes them."""
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    one = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    assert processor.apply_chat_template([one, one], template, tokenize=False) == ["hello", "hello"]
