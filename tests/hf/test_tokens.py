"""Audio tokens in a text tokenizer: the ids that were promised, still there after a reload."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from snac_tok.errors import LayoutError
from snac_tok.frames import FrameLayout, Vocabulary, preset
from snac_tok.hf.tokens import add_audio_tokens


def text_tokenizer(size=50, *, names=None):
    """Words w0, w1, …, some of them under other names."""
    words = {f"w{number}": number for number in range(size)}
    for token, number in (names or {}).items():
        del words[f"w{number}"]
        words[token] = number
    inner = Tokenizer(models.WordLevel(words, unk_token="w0"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="w0")


LLAMA = {"<|begin_of_text|>": 128_000, "<|eot_id|>": 128_009}


def test_plain_tokens_begin_behind_the_text():
    """Codes first, then pad, bos and eos; the tokenizer spells exactly the vocabulary's ids."""
    tokenizer = text_tokenizer(50)
    vocabulary = add_audio_tokens(tokenizer)
    assert vocabulary.base == 50
    assert len(tokenizer) == 50 + 7 * 4096 + 3
    speech = vocabulary.encode([[0, 9], [1, 2, 3, 4], [5] * 8])
    assert tokenizer.convert_ids_to_tokens(speech.tolist()) == [f"<|audio_{n - 50}|>" for n in speech]
    assert tokenizer.convert_tokens_to_ids("<|eos|>") == vocabulary.specials["eos"]


def test_text_and_audio_tokenize_side_by_side():
    """What ids_to_text wrote is read back, among words."""
    tokenizer = text_tokenizer()
    vocabulary = add_audio_tokens(tokenizer)
    speech = vocabulary.encode([[7], [8, 9], [1, 2, 3, 4]])
    ids = tokenizer("w3 " + vocabulary.ids_to_text(speech) + " w4")["input_ids"]
    assert ids == [3, *speech.tolist(), 4]
    assert tokenizer.decode([3, 4], skip_special_tokens=True) == "w3 w4"


def test_a_saved_tokenizer_has_them_and_gets_no_second_set(tmp_path):
    """Reloaded, it is recognised: same ids, nothing added."""
    tokenizer = text_tokenizer()
    vocabulary = add_audio_tokens(tokenizer)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert add_audio_tokens(again) == vocabulary
    assert len(again) == len(tokenizer)


def test_orpheus_fits_the_tokenizer_it_was_published_for():
    """128256 ids with Llama 3's two marks: `<custom_token_N>` is id 128256 + N, and a second call changes nothing."""
    tokenizer = text_tokenizer(128_256, names=LLAMA)
    vocabulary = add_audio_tokens(tokenizer, "orpheus")
    assert vocabulary == preset("orpheus")
    assert tokenizer.convert_tokens_to_ids("<custom_token_10>") == 128_266
    assert tokenizer.convert_tokens_to_ids("<|audio|>") == 156_939
    assert len(tokenizer) == 156_940
    assert add_audio_tokens(tokenizer, "orpheus") == vocabulary
    assert len(tokenizer) == 156_940


@pytest.mark.parametrize(
    ("size", "names", "message"),
    [
        (50, None, "begins at id 128000; this tokenizer has 50 ids"),
        (128_256, None, "needs id 128000 for '<|begin_of_text|>'"),
        (130_000, LLAMA, "needs id 128256 for '<custom_token_0>'"),
        (128_256, {**LLAMA, "<custom_token_3>": 17}, "needs '<custom_token_3>' at id 128259; .* at 17"),
    ],
)
def test_published_ids_do_not_fit_just_any_tokenizer(size, names, message):
    """Named: which token, which id, what stands there; and nothing was added."""
    tokenizer = text_tokenizer(size, names=names)
    with pytest.raises(LayoutError, match=message):
        add_audio_tokens(tokenizer, "orpheus")
    assert len(tokenizer) == size


def test_layouts_and_tables_of_ones_own():
    """A layout becomes a plain table in its order; a vocabulary needs a text form."""
    layout = FrameLayout(strides=(2, 1), order="breadth-first")
    vocabulary = add_audio_tokens(text_tokenizer(), layout, codebook_size=8)
    assert vocabulary.layout == layout
    assert vocabulary.encode([[1], [2, 3]]).tolist() == [51, 60, 69]
    with pytest.raises(LayoutError, match="no text form"):
        add_audio_tokens(text_tokenizer(), Vocabulary(layout=layout, codebook_size=8, base=50))


@pytest.mark.parametrize("tied", [True, False])
def test_a_models_new_rows_are_the_mean_of_the_old(tied):
    """Input and output rows alike, old rows untouched, and the model still runs."""
    torch.manual_seed(0)
    tokenizer = text_tokenizer(50)
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=50, tie_word_embeddings=tied, **shape))
    before = [layer.weight.clone() for layer in (model.get_input_embeddings(), model.get_output_embeddings())]
    add_audio_tokens(tokenizer, FrameLayout(strides=(2, 1)), codebook_size=8, model=model)
    for old, layer in zip(before, (model.get_input_embeddings(), model.get_output_embeddings()), strict=True):
        assert layer.weight.shape[0] == len(tokenizer) == 50 + 24 + 3
        assert torch.equal(layer.weight[:50], old)
        torch.testing.assert_close(layer.weight[50:], old.mean(dim=0).expand(27, -1))
    assert model(torch.tensor([[1, 60]])).logits.shape[-1] == len(tokenizer)


def test_a_model_with_room_keeps_its_size():
    """Padded embeddings already have rows for new ids; they are not cut."""
    tokenizer = text_tokenizer(50)
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=128, **shape))
    add_audio_tokens(tokenizer, FrameLayout(strides=(2, 1)), codebook_size=8, model=model)
    rows = model.get_input_embeddings().weight
    assert rows.shape[0] == 128
    torch.testing.assert_close(rows[50], rows[:50].mean(dim=0))


def test_a_model_that_lacks_rows_gets_them_though_the_tokenizer_had_its_tokens():
    """A saved tokenizer next to a model that was never resized."""
    tokenizer = text_tokenizer(50)
    layout = FrameLayout(strides=(2, 1))
    add_audio_tokens(tokenizer, layout, codebook_size=8)
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=50, **shape))
    add_audio_tokens(tokenizer, layout, codebook_size=8, model=model)
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer)


def test_a_tokenizer_with_marks_of_that_name_keeps_them():
    """Its <|pad|> is not the audio's, whose spelling then says so; found again after a reload."""
    tokenizer = text_tokenizer(50, names={"<|pad|>": 3})
    vocabulary = add_audio_tokens(tokenizer)
    pad = vocabulary.specials["pad"]
    assert tokenizer.convert_ids_to_tokens([3, pad]) == ["<|pad|>", "<|audio_pad|>"]
    assert add_audio_tokens(tokenizer) == vocabulary


@pytest.mark.parametrize("name", ["plain", "vita-audio", "per-level"])
def test_a_clip_survives_a_text_that_skips_special_tokens(name, tmp_path):
    """As published: audio tokens are none of the special ones that decoding leaves out, also after a reload."""
    tokenizer = text_tokenizer()
    vocabulary = add_audio_tokens(tokenizer, name)
    speech = vocabulary.encode([[7], [8, 9], [1, 2, 3, 4]]).tolist()
    tokenizer.save_pretrained(tmp_path)
    for each in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        text = each.decode([3, *speech, 4], skip_special_tokens=True)
        assert each(text)["input_ids"] == [3, *speech, 4]


def test_orpheus_tokens_are_not_special_as_published():
    """The text of a whole answer, marks and codes, comes back out of decode with skip_special_tokens."""
    tokenizer = text_tokenizer(128_256, names=LLAMA)
    vocabulary = add_audio_tokens(tokenizer, "orpheus")
    ids = [128_257, *vocabulary.encode([[7], [8, 9], [1, 2, 3, 4]]).tolist(), 128_258]
    text = tokenizer.decode(ids, skip_special_tokens=True)
    # A tokenizer of whole words joins its tokens with spaces.
    assert text.split() == [f"<custom_token_{number - 128_256}>" for number in ids]


def test_audio_vanishes_from_text_where_its_tokens_are_made_special():
    """The option for those who want the text alone; without skip_special_tokens it stays."""
    tokenizer = text_tokenizer()
    vocabulary = add_audio_tokens(tokenizer, skipped_as_special=True)
    ids = [3, *vocabulary.encode([[7], [8, 9], [1, 2, 3, 4]]).tolist(), 4]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "w3 w4"
    assert "<|audio_7|>" in tokenizer.decode(ids)


@pytest.mark.parametrize("codebook_size", [4, 16])
def test_a_second_table_is_not_advised_in_a_circle(codebook_size):
    """A preset that may begin anywhere is advised to whoever has not taken one."""
    tokenizer = text_tokenizer()
    add_audio_tokens(tokenizer, "plain", codebook_size=8)
    size = len(tokenizer)
    with pytest.raises(
        LayoutError, match="already has audio tokens of another table: name the preset"
    ) as said:
        add_audio_tokens(tokenizer, "plain", codebook_size=codebook_size)
    assert "such as 'plain'" not in str(said.value)
    assert len(tokenizer) == size


def test_what_is_no_tokenizer_or_model_is_refused_first():
    """Before the tokenizer is changed."""
    for given in ("gpt2", None, 3, Tokenizer(models.BPE())):
        with pytest.raises(LayoutError, match=r"text_tokenizer is .*; a loaded Hugging Face tokenizer"):
            add_audio_tokens(given)
    tokenizer = text_tokenizer()
    for given in (3, "gpt2"):
        with pytest.raises(LayoutError, match=r"model is .*; a loaded transformers model"):
            add_audio_tokens(tokenizer, "plain", model=given)
    assert len(tokenizer) == 50
