"""Law 4 for threads: chunks side by side give what one thread gives, in order, and nobody waits for ever."""

import itertools
import threading
import time

import pytest
import torch

from snac_tok.codec import SNAC, inference
from snac_tok.codec.layers import make_pointwise
from snac_tok.codec.state import StreamState
from snac_tok.codec.threads import Pipeline, run_in_order
from snac_tok.codec.weight_norm import WeightNorm


@pytest.fixture
def threads():
    """Set torch's threads for a test alone."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def clips_of(lengths):
    """Random clips (T_i,)."""
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(length, generator=generator) * 0.3 for length in lengths]


@pytest.mark.law(9)
@torch.no_grad()
@pytest.mark.parametrize("count", [2, 3, 8])
def test_any_number_of_threads_gives_the_same_codes_and_the_same_sound(small_codec, threads, count):
    """To the last bit: every sum is made by one thread, over the same chunk."""
    clips = [clip[None, None] for clip in clips_of([500, 90, 1, 900])]

    def outputs():
        codes = inference.encode_clips(small_codec, clips, chunk_values=1)
        noise = inference.whole_clip_noise(small_codec, 4, 1, 0)
        decoded = [(levels, noise) for levels in codes]
        return [*itertools.chain(*codes), *inference.decode_clips(small_codec, decoded, chunk_values=1)]

    threads(1)
    wanted = outputs()
    threads(count)
    assert all(torch.equal(one, other) for one, other in zip(outputs(), wanted, strict=True))
    assert torch.get_num_threads() == count


@pytest.mark.parametrize("num_samples", [1, 1_000, 24_000, 37_777, 100_000])
def test_even_chunks_cover_a_clip_within_the_limit(small_codec, num_samples):
    """Whole latents, at least one, never more than the device's chunk."""
    for codec in (small_codec, SNAC.from_pretrained("tiny")):
        size = inference.even_chunk_samples(codec, num_samples)
        limit = inference.encode_chunk_samples(codec)
        assert codec.hop_length <= size <= limit
        assert size % codec.hop_length == 0


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 4, 5, 9, 40])
def test_no_chunk_is_longer_than_the_limit(small_codec, monkeypatch, threads, frames):
    """The zeros behind a clip are cut like the clip; the first chunk to decode is one frame longer, with attention."""
    threads(1)
    lengths = []
    for network in (small_codec.encoder, small_codec.decoder):
        monkeypatch.setattr(
            network,
            "step",
            lambda x, context, network=network, step=network.step: (
                lengths.append((network, x.shape[-1])) or step(x, context)
            ),
        )
    config, size = small_codec.config, {"chunk_values": 2_000}
    audio = torch.zeros(1, 1, frames * config.frame_length - 1)
    list(inference.encode_blocks(small_codec, [audio], **size))
    (codes,) = inference.encode_clips(small_codec, [audio], **size)
    inference.decode_clips(small_codec, [(codes, None)], **size)
    most = inference.decode_chunk_frames(small_codec, **size) * config.latents_per_frame
    most += 0 if config.attn_window_size is None else config.latents_per_frame
    limits = {
        small_codec.encoder: inference.encode_chunk_samples(small_codec, **size),
        small_codec.decoder: most,
    }
    assert all(length <= limits[network] for network, length in lengths)
    assert {network for network, _ in lengths} == set(limits)


def test_forgetting_folded_weights_disturbs_nobody_who_decodes(small_codec):
    """Another thread that asks for eval() or the digest makes weights be folded again, never be missing."""
    codes = small_codec.encode(torch.zeros(1, 1, 500))
    wanted = small_codec.decode(codes, noise=0)
    over = threading.Event()

    def forget():
        while not over.wait(0.001):
            small_codec.eval()

    other = threading.Thread(target=forget)
    other.start()
    try:
        for _ in range(30):
            assert torch.equal(small_codec.decode(codes, noise=0), wanted)
    finally:
        over.set()
        other.join()


def test_results_come_in_order_and_two_jobs_do_run_side_by_side(threads):
    """The first job waits for the second, which one thread could not give it."""
    threads(2)
    second = threading.Event()
    jobs = [lambda: second.wait(20), second.set, *(lambda at=at: at for at in range(5))]
    assert list(run_in_order(jobs, threads=2)) == [True, None, 0, 1, 2, 3, 4]


def test_a_single_job_runs_here(threads):
    """Where there is nothing to share, torch keeps all of its threads."""
    threads(2)
    here = threading.get_ident()
    assert list(run_in_order([threading.get_ident], threads=2)) == [here]
    assert list(run_in_order([threading.get_ident] * 3, threads=1)) == [here] * 3


def test_jobs_have_one_thread_each_and_the_callers_modes(threads):
    """Inference mode is the caller's, and gradients are off."""
    threads(2)

    def modes():
        return torch.get_num_threads(), torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    assert list(run_in_order([modes] * 3, threads=2)) == [(1, False, False)] * 3
    with torch.inference_mode():
        assert list(run_in_order([modes] * 3, threads=2)) == [(1, True, False)] * 3
    assert torch.get_num_threads() == 2


def test_a_failing_chunk_fails_the_clip_and_nobody_waits_for_it(threads):
    """The error is the chunk's own; the next one, which waits for it, is told."""
    threads(2)
    pipeline = Pipeline(StreamState(), threads=2)

    def fail(_state):
        time.sleep(0.05)
        raise ValueError("chunk 0")

    first, follows = pipeline.job(fail), pipeline.job(lambda state: state.read(0))
    with pytest.raises(ValueError, match="chunk 0"):
        list(run_in_order([first, follows], threads=2))
    with pytest.raises(RuntimeError, match="an earlier chunk"):
        follows()


def test_a_chunk_that_fails_by_itself_leaves_those_before_it_alone(threads):
    """What is raised is what went wrong, not that something did."""
    threads(2)
    pipeline = Pipeline(StreamState(), threads=2)
    failed = threading.Event()

    def waits(state):
        failed.wait(5)
        time.sleep(0.05)
        state.read(0)
        state.write(0, torch.zeros(1))
        return "chunk 0"

    def fails(_state):
        failed.set()
        raise MemoryError("the real reason")

    results = run_in_order([pipeline.job(waits), pipeline.job(fails)], threads=2)
    assert next(results) == "chunk 0"
    with pytest.raises(MemoryError, match="the real reason"):
        next(results)


@torch.no_grad()
def test_whoever_stops_listening_leaves_no_thread_behind(small_codec, threads):
    """Blocks may be abandoned half way."""
    threads(2)
    before = threading.active_count()
    pieces = inference.encode_blocks(small_codec, [torch.zeros(1, 1, 3_000)], chunk_values=1)
    next(pieces)
    pieces.close()
    assert threading.active_count() == before
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("ask", [lambda conv: conv.fold(), lambda conv: conv.weight], ids=["fold", "weight"])
def test_a_weight_that_another_thread_folds_meanwhile_is_never_the_old_one(ask, monkeypatch):
    """Two chunks come to a layer at once after its weights were loaded anew: neither may run with the old ones."""
    conv = make_pointwise(4, 4).eval()
    with torch.no_grad():
        conv.fold()
        for parameter in conv.parameters():
            parameter.mul_(2.0)
        versions = WeightNorm.version

        def after_the_other_thread(norm):
            monkeypatch.setattr(WeightNorm, "version", versions)
            conv.fold()
            return versions(norm)

        monkeypatch.setattr(WeightNorm, "version", after_the_other_thread)
        assert torch.equal(ask(conv), conv.parametrizations["weight"]())
