"""Compiled chunks: the same sound and codes, one graph a shape, never a storm."""

import copy
import dataclasses
import pickle
import shutil

import pytest
import torch

from snac_tok.codec import SNAC, compiled, inference
from snac_tok.codec.chunked import run_chunk
from snac_tok.codec.noise import SeededNoise
from snac_tok.codec.state import StreamState

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU"),
]


@pytest.fixture
def small_codec(small_config):
    """A seeded network in eval mode, of one block: what takes time is compiling every layer."""
    config = dataclasses.replace(
        small_config, encoder_dim=2 * small_config.encoder_dim, encoder_rates=(2,), decoder_rates=(2,)
    )
    torch.manual_seed(0)
    return SNAC.from_config(config).eval()


@pytest.fixture
def twins(small_codec):
    """A network and its copy that compiles."""
    return small_codec, copy.deepcopy(small_codec).compile_chunks()


@torch.no_grad()
def encoded(codec, audio):
    """Encode in chunks so small that a short clip has many."""
    return inference.encode_clips(codec, [audio], chunk_values=1)[0]


@torch.no_grad()
def decoded(codec, codes, noise):
    """Decode likewise."""
    num_latents = codes[0].shape[-1] * codec.config.latents_per_frame
    source = inference.whole_clip_noise(codec, noise, 1, num_latents)
    return inference.decode_clips(codec, [(codes, source)], chunk_values=1)[0]


def audio_for(codec, frames):
    """Random audio of so many of the shortest chunks."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, 1, frames * codec.config.padding_multiple, generator=generator) * 0.3


def test_compiled_clips_are_the_uncompiled_ones(twins):
    """Audio equal but for rounding, codes equal, and one graph for each of the two steady chunks."""
    plain, fast = twins
    audio = audio_for(plain, 12)
    codes = encoded(plain, audio)
    for _ in range(2):
        found = encoded(fast, audio)
        assert all(torch.equal(one, other) for one, other in zip(found, codes, strict=True))
        for noise in (3, "random"):
            torch.manual_seed(4)
            wanted = decoded(plain, codes, noise)
            torch.manual_seed(4)
            torch.testing.assert_close(decoded(fast, codes, noise), wanted, rtol=0, atol=1e-5)
    report = fast.compile_report
    assert report.graphs == report.shapes == 2
    assert report.compiled_chunks > 0
    assert report.compile_seconds > 0


@torch.no_grad()
def test_compiled_streams_stay_compiled(twins):
    """Every steady push of every stream takes the one graph, at its own noise position."""
    plain, fast = twins
    latents = torch.randn(1, plain.latent_dim, 24 * plain.config.latents_multiple)
    pushes = latents.split(plain.config.latents_multiple, dim=-1)
    for _ in range(2):
        states = StreamState(), StreamState()
        for at, push in enumerate(pushes):
            wanted, found = (
                run_chunk(codec.decoder, push, state, last=at == len(pushes) - 1, noise=SeededNoise(seed=5))
                for codec, state in zip((plain, fast), states, strict=True)
            )
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert fast.compile_report.graphs == fast.compile_report.shapes == 1


def test_new_weights_make_new_graphs(twins):
    """A graph has its weights built in, so a weight that is written to must not be decoded with the old one."""
    plain, fast = twins
    codes = encoded(plain, audio_for(plain, 12))
    decoded(fast, codes, 0)
    for codec in twins:
        with torch.no_grad():
            codec.decoder.model[-3].alpha.mul_(1.5)
    torch.testing.assert_close(decoded(fast, codes, 0), decoded(plain, codes, 0), rtol=0, atol=1e-5)
    assert fast.compile_report.graphs == fast.compile_report.shapes == 2


def test_beyond_the_limit_nothing_is_compiled(small_codec):
    """A server that sees any number of shapes compiles no more than it was told."""
    small_codec.compile_chunks(limit=0)
    encoded(small_codec, audio_for(small_codec, 12))
    report = small_codec.compile_report
    assert report.graphs == report.compiled_chunks == 0
    assert report.other_chunks > 0


def test_a_whole_clip_that_comes_again_is_one_graph(small_codec):
    """As on a GPU, where one chunk holds a batch of clips."""
    audio = audio_for(small_codec, 2)
    codes = small_codec.encode(audio)
    small_codec.compile_chunks()
    for _ in range(3):
        assert all(
            torch.equal(one, other) for one, other in zip(small_codec.encode(audio), codes, strict=True)
        )
    assert small_codec.compile_report.compiled_chunks == 2
    assert small_codec.compile_report.graphs == 1


def test_gradients_go_around_the_graphs(small_codec):
    """Training a compiled codec trains it."""
    small_codec.compile_chunks()
    small_codec.train()
    audio, _ = small_codec(audio_for(small_codec, 1))
    audio.square().mean().backward()
    assert small_codec.compile_report.compiled_chunks == 0


def test_graphs_are_neither_copied_nor_saved(small_codec):
    """Copies and unpickled codecs start without, and work."""
    small_codec.compile_chunks()
    audio = audio_for(small_codec, 2)
    for other in (copy.deepcopy(small_codec), pickle.loads(pickle.dumps(small_codec))):
        assert other.compile_report is None
        assert all(
            torch.equal(a, b) for a, b in zip(other.encode(audio), small_codec.encode(audio), strict=True)
        )


def test_a_guard_that_fails_shows_in_the_report():
    """The count is of graphs, not of our own bookkeeping: it can tell a storm."""
    before = compiled._graphs_made()
    doubled = torch.compile(lambda x: x * 2, dynamic=False)
    for length in (3, 4, 5):
        doubled(torch.ones(length))
    assert compiled._graphs_made() - before == 3


def test_without_compiling_there_is_no_report():
    """Nothing is compiled unless asked for."""
    assert SNAC.from_pretrained("tiny").compile_report is None
