"""A language model of transformers, from a folder, spoken by the server."""

from __future__ import annotations

import threading

import pytest
import torch
from served import as_integers, eventually, heard, same
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from snac_tok.errors import ServingError
from snac_tok.generation import FrameGrammarProcessor
from snac_tok.prompts import prompt_format
from snac_tok.serving import Limits, LocalModelSource


@pytest.fixture(scope="module")
def model(tok):
    """One layer with random weights, and a row for each id."""
    torch.manual_seed(0)
    shape = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(
        vocab_size=tok.vocabulary.size, num_key_value_heads=2, max_position_embeddings=300, **shape
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """The model with a text tokenizer of letters."""
    path = tmp_path_factory.mktemp("model")
    letters = {letter: at for at, letter in enumerate("?abcdefghijklmnopqrstuvwxyz: .")}
    words = Tokenizer(models.WordLevel(letters, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?").save_pretrained(path)
    model.save_pretrained(path)
    return str(path)


def _written(model, tok, text_ids, most):
    """The ids that the model writes to a prompt, held to whole frames."""
    prompt = torch.from_numpy(prompt_format(tok.vocabulary).inference(text_ids))[None]
    held = FrameGrammarProcessor(tok)
    ids = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        logits_processor=[held],
        eos_token_id=held.end_ids,
        max_new_tokens=most,
        do_sample=False,
        pad_token_id=128263,
    )
    return ids[0, prompt.shape[1] :].tolist()


def test_a_folder_is_spoken_as_generate_writes(serve, tok, model, folder):
    """What comes out is what `generate` and the tokenizer give for the whole; several at once, each its own.

    This model never ends its speech: the sound of its limit comes out, and the answer has no end.
    """
    source = LocalModelSource.from_folder(
        folder, tok.vocabulary, max_tokens=48, sampling={"do_sample": False}, at_once=2
    )
    server = serve(source, limits=Limits())
    letters = {"tara: hi": [20, 1, 18, 1, 27, 28, 8, 9], "no": [14, 15], "abba.": [1, 2, 2, 1, 29]}
    found = {}

    def speak(text):
        voice, _, rest = text.rpartition(": ")
        found[text] = server.cut_off(rest, voice=voice or None)

    threads = [threading.Thread(target=speak, args=(text,)) for text in letters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for text, ids in letters.items():
        speech = [number for number in _written(model, tok, ids, 48) if number >= tok.vocabulary.base]
        wanted = as_integers(tok.decode(speech[: len(speech) // 7 * 7]).samples[0])
        same(heard(found[text]), wanted)


def test_the_models_context_bounds_the_speech(serve, tok, folder):
    """A text that leaves no room is refused; one that leaves little gets little, and hears that it is cut off."""
    server = serve(
        LocalModelSource.from_folder(folder, tok.vocabulary, sampling={"do_sample": False}), limits=Limits()
    )
    status, code, said = server.error(server.speak("a" * 300))
    assert (status, code) == (400, "unusable_text")
    assert "the text has 306 tokens with its prompt, and the language model takes 300" in said
    assert 0 < len(heard(server.cut_off("a" * 270))) <= 3 * 2048
    status, code, said = server.error(server.speak("a" * 270, response_format="flac"))
    assert (status, code) == (502, "cut_off")
    assert said.endswith("reached its limit of tokens before it had ended it; send a shorter text.")


def test_a_prompts_own_end_holds_the_model_and_ends_the_speech(serve, tok, model, speech, whole):
    """An id of the language model's own, which no preset has."""
    asked = {}

    class Ending:
        config, device = model.config, model.device

        def generate(self, prompt, *, streamer, **options):
            asked.update(options)
            streamer.put(prompt)
            for number in (*speech(1), 128001):
                streamer.put(torch.tensor([number]))

    own = {"before_speech": [128261, 128257], "after_speech": [128001]}
    server = serve(LocalModelSource(Ending(), lambda _: [5], tok.vocabulary, prompt=own))
    same(heard(server.speak("Hello.", response_format="pcm").content), whole(1))
    assert asked["eos_token_id"] == [128001]
    (held,) = asked["logits_processor"]
    scores = held(torch.tensor([[128257, *speech(1)]]), torch.zeros(1, tok.vocabulary.size))[0]
    assert (scores[128001].item(), scores[128258].item()) == (0, float("-inf"))


def test_what_generate_raises_and_listeners_who_leave(serve, tok, model):
    """One sentence; and the model stops writing for nobody."""
    ended = threading.Event()

    class Endless:
        config, device = model.config, model.device

        def generate(self, prompt, *, streamer, **_):
            if prompt.shape[1] < 9:
                raise RuntimeError("no kernel for this")
            streamer.put(prompt)
            try:
                while True:
                    streamer.put(torch.tensor([128266]))
                    for slot in range(1, 7):
                        streamer.put(torch.tensor([128266 + 4096 * slot]))
                    threading.Event().wait(0.005)
            finally:
                ended.set()

    server = serve(LocalModelSource(Endless(), lambda text: [5] * len(text), tok.vocabulary))
    status, code, said = server.error(server.speak("x"))
    assert (status, code) == (500, "source_error")
    assert said == "the language model failed: RuntimeError: no kernel for this"
    with server.client.stream("POST", "/v1/audio/speech", json={"input": "long enough"}) as answer:
        next(answer.iter_bytes())
    assert ended.wait(5)
    eventually(lambda: server.metric("snac_tok_streams_open"), 0)


def test_a_folder_without_a_model_is_one_sentence(tok, tmp_path, folder):
    """And one without a text tokenizer."""
    with pytest.raises(ServingError, match="no language model can be loaded from"):
        LocalModelSource.from_folder(str(tmp_path), tok.vocabulary)
    with pytest.raises(ServingError, match="no text tokenizer can be loaded from"):
        LocalModelSource.from_folder(folder, tok.vocabulary, text_tokenizer=str(tmp_path))
