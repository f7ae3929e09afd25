"""FrameGrammarProcessor: `Vocabulary.validate`'s judgement in every state, from the ids in front and nothing else."""

from __future__ import annotations

import re

import pytest
import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, LogitsProcessorList
from transformers.generation.configuration_utils import ContinuousBatchingConfig
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessorList,
)

from snac_tok import FrameLayout, Vocabulary, preset
from snac_tok.errors import LayoutError, TokenError
from snac_tok.frames import preset_names
from snac_tok.generation import FrameGrammarProcessor

BASE = 16
TINY = preset("plain", codebook_size=8, base=BASE)
START, END, PAD = (TINY.special_id(name) for name in ("bos", "eos", "pad"))


def _tables():
    for name in preset_names():
        if preset(name).is_parallel:
            continue
        movable = name == "plain" or name.startswith(("per-level", "vita"))
        for strides in ((4, 2, 1), (8, 4, 2, 1)):
            if name != "orpheus" or len(strides) == 3:
                sizes = {"codebook_size": 8, "base": BASE} if movable else {}
                yield pytest.param(preset(name, strides=strides, **sizes), id=f"{name}-{len(strides)}")


def _frames(table, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    per_frame = table.layout.codes_per_frame
    codes = [torch.randint(table.codebook_size, (count * n,), generator=generator) for n in per_frame]
    return table.encode(codes).tolist()


def _allowed(held, line, size, **options):
    """Ids that a processor lets follow one line."""
    scores = held(torch.tensor([line], **options), torch.zeros(1, size))
    return set(scores[0].isfinite().nonzero()[:, 0].tolist())


def _judged(table, line):
    """Ids that `validate` takes as the next id of a line of speech."""
    expected = table.validate([*line, -1])[0].expected
    return set(expected)


@pytest.mark.parametrize("table", list(_tables()))
def test_scores_left_are_the_judgement_of_validate_in_every_state(table):
    """Text in front does not matter; at a frame's end the ids after speech are there, too, and only there."""
    ends = [table.specials[name] for name in ("end_of_speech", "end_of_ai", "eos") if name in table.specials]
    held = FrameGrammarProcessor(table, after_speech=ends or [2])
    size = max(table.size, BASE) + 5
    start = [table.specials[name] for name in ("start_of_speech", "bos") if name in table.specials][-1:]
    line = _frames(table, 2)
    for at in range(len(line) + 1):
        if not at and not start:
            continue
        at_border = at and at % table.ids_per_frame == 0
        wanted = _judged(table, line[:at]) | (set(ends or [2]) if at_border else set())
        for front in ([5, 6, 7, *start], [0] * 9 + start):
            assert _allowed(held, [*front, *line[:at]], size) == wanted, at


@pytest.mark.parametrize("ids", [[], [START], [START, END], [START, END, PAD]])
def test_text_before_and_after_speech_is_untouched(ids):
    """All scores stay as they are, whatever the text is; but after a start of speech they do not."""
    scores = torch.randn(1, TINY.size)
    line = torch.tensor([[3, 4, *ids]])
    assert torch.equal(FrameGrammarProcessor(TINY)(line, scores.clone()), scores) == (ids != [START])


def test_batches_with_left_padding_are_their_rows_alone():
    """Each row has its own state, the pads in front of it are text."""
    lines = [[5, START, *_frames(TINY, 1)[:at]] for at in range(8)] + [
        [5, 6],
        [START, *_frames(TINY, 3), END],
    ]
    width = max(map(len, lines))
    rows = torch.tensor([[PAD] * (width - len(line)) + line for line in lines])
    scores = torch.randn(len(lines), TINY.size)
    for options in ({}, {"min_frames": 2, "max_frames": 3}):
        held = FrameGrammarProcessor(TINY, **options)
        batch = held(rows, scores.clone())
        for row, line in enumerate(lines):
            assert torch.equal(batch[row], held(torch.tensor([line]), scores[row : row + 1].clone())[0])


@pytest.mark.parametrize("options", [{}, {"min_frames": 2, "max_frames": 3}])
@pytest.mark.parametrize("table", [TINY, Vocabulary(FrameLayout((4, 2, 1)), codebook_size=8, offsets="none")])
def test_the_tables_for_a_gpu_mask_as_the_fills_of_a_cpu_do(table, options):
    """Both ways to write over scores are one."""
    held = FrameGrammarProcessor(table, after_speech=[75], before_speech=[76], **options)
    rows = torch.tensor([[76, *_frames(table, 3)[:at]][-15:] for at in range(14, 22)] + [[1] * 15])
    rows = torch.cat((rows, torch.full((1, 15), 90_000)))
    filled = held(rows, torch.randn(10, 80))
    masked = torch.zeros(10, 80)
    held._mask(held._states_on_device(rows, rows[:, -1]), masked)
    assert torch.equal(filled.isfinite(), masked.isfinite())


def test_last_ids_alone_are_enough():
    """Continuous batching hands over one id a row; the processor says that it can be used there, and is kept."""
    held = FrameGrammarProcessor(TINY)
    lines = [[START, *_frames(TINY, 2)[:at]] for at in range(15)]
    scores = torch.randn(15, TINY.size)
    rows = [held(torch.tensor([line]), scores[at : at + 1].clone())[0] for at, line in enumerate(lines)]
    last = torch.tensor([line[-1] for line in lines])
    assert torch.equal(held(last, scores.clone()), torch.stack(rows))
    assert ContinuousBatchingLogitsProcessorList(LogitsProcessorList([held])).logits_processor == [held]


@pytest.mark.parametrize("table", [TINY, preset("per-level", codebook_size=8, base=BASE)])
def test_counts_are_kept_without_being_remembered(table):
    """The ids of the row are counted: the same processor serves any rows in any order, beams that change places."""
    held = FrameGrammarProcessor(table, min_frames=2, max_frames=3)
    start, end = table.special_id("bos"), table.special_id("eos")
    first = set(table.id_range(0))
    wanted = {0: first, 1: first, 2: first | {end}, 3: {end}}
    for count in (3, 0, 2, 1):
        line = [5, start, *_frames(table, 4), end, 7, start, *_frames(table, count)]
        assert _allowed(held, line, table.size) == wanted[count]
    assert _allowed(held, [start, *_frames(table, 3)[:-1]], table.size) == set(table.id_range(6))


def test_no_frame_at_all_may_be_allowed():
    """min_frames=0: speech may end where it begins."""
    held = FrameGrammarProcessor(TINY, min_frames=0)
    assert _allowed(held, [START], TINY.size) == {END, *TINY.id_range(0)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_scores_of_every_kind_are_held(dtype):
    """Half precision, those of inference mode, and those that a gradient flows through."""
    held, line = FrameGrammarProcessor(TINY), torch.tensor([[START]])
    wanted = list(TINY.id_range(0))
    assert held(line, torch.zeros(1, TINY.size, dtype=dtype))[0].isfinite().nonzero()[:, 0].tolist() == wanted
    with torch.inference_mode():
        assert held(line, torch.zeros(1, TINY.size, dtype=dtype))[0].isfinite().sum() == len(wanted)
    weight = torch.ones(1, TINY.size, dtype=dtype, requires_grad=True)
    held(line, weight * 2)[0, wanted].sum().backward()
    assert weight.grad[0].nonzero()[:, 0].tolist() == wanted


def test_scores_can_be_left_as_they_are():
    """In place by default; in_place=False is for those who want the model's own scores as well."""
    scores, line = torch.zeros(1, TINY.size), torch.tensor([[START]])
    assert FrameGrammarProcessor(TINY, in_place=False)(line, scores) is not scores
    assert scores.isfinite().all()
    assert FrameGrammarProcessor(TINY)(line, scores) is scores
    assert not scores.isfinite().all()


def test_a_prompt_of_embeddings_alone_has_no_ids():
    """Generate hands over rows without an id then: nothing is known, nothing is held."""
    scores = torch.randn(2, TINY.size)
    assert torch.equal(
        FrameGrammarProcessor(TINY)(torch.zeros(2, 0, dtype=torch.int64), scores.clone()), scores
    )


def test_the_ids_at_which_generation_must_stop():
    """For eos_token_id."""
    assert FrameGrammarProcessor("orpheus").end_ids == [128258, 128262]
    assert FrameGrammarProcessor("orpheus", after_speech=["end_of_speech"]).end_ids == [128258]


@pytest.fixture(scope="module")
def model():
    """A random language model of one layer."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=TINY.size, num_key_value_heads=2, max_position_embeddings=128, **shape)
    return LlamaForCausalLM(config).eval()


@pytest.mark.parametrize(
    "options",
    [
        {"do_sample": True},
        {"do_sample": False},
        {"num_beams": 3, "do_sample": False, "num_return_sequences": 3},
        {"num_beams": 2, "do_sample": True},
    ],
)
def test_generate_writes_whole_frames(model, options):
    """Greedy, sampled and by beams, from prompts of several lengths: 2 to 4 frames that `decode` takes."""
    torch.manual_seed(1)
    prompts = [[5, 6, START], [7, START, *_frames(TINY, 1)[:3]]]
    width = max(map(len, prompts))
    ids = torch.tensor([[PAD] * (width - len(line)) + line for line in prompts])
    held = FrameGrammarProcessor(TINY, min_frames=2, max_frames=4)
    out = model.generate(
        ids,
        attention_mask=(ids != PAD).long(),
        max_new_tokens=40,
        logits_processor=[held],
        eos_token_id=END,
        pad_token_id=PAD,
        **options,
    )
    for row in out.tolist():
        speech = row[row.index(START) + 1 :]
        frames = TINY.decode(speech[: speech.index(END)])[0].size
        assert 2 <= frames <= 4


@pytest.mark.slow
def test_continuous_batching_writes_whole_frames(model):
    """Two requests of several lengths side by side, each held to its own place in a frame."""
    settings = GenerationConfig(max_new_tokens=40, do_sample=False, eos_token_id=END, pad_token_id=PAD)
    prompts = [[5, START], [5, 7, 9, START, *_frames(TINY, 1)[:2]]]
    small = ContinuousBatchingConfig(num_blocks=8, max_batch_tokens=64)
    with model.continuous_batching_context_manager(
        generation_config=settings, continuous_batching_config=small, warmup=False
    ) as manager:
        manager.logit_processor.logits_processor.append(FrameGrammarProcessor(TINY))
        manager.logit_processor.do_processing = True
        names = [manager.add_request(prompt) for prompt in prompts]
        found = {}
        for _ in names:
            result = manager.get_result(timeout=100)
            found[result.request_id] = result.generated_tokens
    for name, prompt in zip(names, prompts, strict=True):
        line = [*prompt, *found[name]]
        speech = line[line.index(START) + 1 :]
        whole = speech[: speech.index(END)] if END in speech else speech[: len(speech) // 7 * 7]
        assert whole
        assert TINY.validate(whole) == []


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (
            lambda: FrameGrammarProcessor("orpheus")(torch.tensor([[1]]), torch.zeros(1, 128_256)),
            TokenError,
            "the model scores 128256 ids, and speech needs ids up to 156937",
        ),
        (
            lambda: FrameGrammarProcessor(TINY, max_frames=3)(torch.tensor([BASE + 50]), torch.zeros(1, 80)),
            TokenError,
            "continuous batching hands over the last id of each row",
        ),
        (
            lambda: FrameGrammarProcessor("vita-audio"),
            LayoutError,
            "'vita-audio' has no special that ends speech",
        ),
        (lambda: FrameGrammarProcessor("lucy"), LayoutError, "'lucy' has parallel rows"),
        (lambda: FrameGrammarProcessor("orfeus"), LayoutError, "Did you mean 'orpheus'?"),
        (lambda: FrameGrammarProcessor(3), LayoutError, "got a int"),
        (lambda: FrameGrammarProcessor(TINY, min_frames=3, max_frames=2), LayoutError, "max_frames is 2"),
    ],
)
def test_bad_input_is_one_sentence(make, error, sentence):
    """What came, what is needed."""
    with pytest.raises(error, match=re.escape(sentence)):
        make()


@pytest.mark.slow
def test_the_benchmark_prints_every_row(run_script):
    """scripts/bench_grammar.py: two states, each batch, the same scores as the walk."""
    printed = run_script("bench_grammar.py", "--runs", "2", "--frames", "3", "--batches", "1")
    assert printed.count("same scores") == 2
