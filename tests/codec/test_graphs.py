"""Chunks as graphs: the same sound and codes, whoever shares them, and never an old weight or another's memory.

A stand-in for the GPU captures a step by keeping it, and replays it into the memory of the first run, as a graph does.
"""

import copy
import dataclasses
import itertools
import pickle
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_codec import SMALL

from snac_tok.codec import SNAC, VocosConfig, VocosDecoder, capture_attempts, graphs
from snac_tok.codec.chunked import run_chunk
from snac_tok.codec.noise import RowNoise, SeededNoise
from snac_tok.codec.state import StreamState
from snac_tok.errors import NetworkError
from snac_tok.frames import FrameLayout
from snac_tok.streaming import BatchStreamDecoder


class Recorder:
    """Captures on a CPU."""

    device = torch.device("cpu")

    def __init__(self):
        self.captures = self.forgotten = 0

    def turn(self):
        """Here nothing else replays."""
        return nullcontext()

    def forget(self):
        """Count how often."""
        self.forgotten += 1

    def capture(self, step):
        """Keep the step, and the memory of its first outputs."""
        self.captures += 1
        out, kept = step()

        def replay():
            new, left = step()
            with torch.inference_mode():  # a replay knows no modes
                for own, fresh in zip((out, *kept), (new, *left), strict=True):
                    if own is not None:
                        own.copy_(fresh)
            return out, kept

        return replay


def with_graphs(codec, limit=32):
    """Do what `use_cuda_graphs` does, on a CPU."""
    recorder = Recorder()
    for network in (codec.encoder, codec.decoder):
        network.graphs = graphs.GraphedChunks(network, limit=limit, device=recorder)
    return codec, recorder


@pytest.fixture(scope="module", params=[None, 8], ids=["convolutions", "attention"])
def plain(request):
    """A codec in float64, where a row alone and a row of a batch are the same to 1e-12."""
    torch.manual_seed(0)
    width = {} if request.param is None else {"encoder_dim": 16, "latent_dim": 64, "decoder_dim": 64}
    config = dataclasses.replace(SMALL, attn_window_size=request.param, **width)
    return SNAC.from_config(config).double().eval()


@pytest.fixture
def graphed(plain):
    """Its copy with graphs, and what captures them."""
    return with_graphs(copy.deepcopy(plain))


def latents_for(codec, chunks, rows=1):
    """Random latents in steady chunks."""
    generator = torch.Generator().manual_seed(1)
    length = codec.config.latents_multiple
    shape = rows, codec.latent_dim, chunks * length
    return torch.randn(shape, generator=generator, dtype=torch.float64).split(length, dim=-1)


def decoded(codec, chunks, noise):
    """Run chunks of one clip."""
    state = StreamState()
    with torch.no_grad():
        return [
            run_chunk(codec.decoder, chunk, state, last=at == len(chunks) - 1, noise=noise)
            for at, chunk in enumerate(chunks)
        ]


@pytest.mark.parametrize("noise", [None, SeededNoise(seed=5)])
def test_chunks_of_a_clip(plain, graphed, noise):
    """Equal chunk by chunk, also after later ones have been run: none shares memory with a graph."""
    codec, _ = graphed
    chunks = latents_for(plain, 20, rows=3)
    for _ in range(2):
        for found, wanted in zip(decoded(codec, chunks, noise), decoded(plain, chunks, noise), strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert codec.graph_report.graphs == 1
    assert codec.graph_report.replayed_chunks > 20


def test_whole_clips_and_codes(plain, graphed):
    """A clip that comes again is one graph of each network."""
    codec, _ = graphed
    audio = torch.randn(2, 1, 4 * plain.config.padding_multiple, dtype=torch.float64) * 0.3
    codes = plain.encode(audio)
    sound = plain.decode(codes, noise=3)
    # On a GPU clips run whole; here a chunk is as long as they are.
    for _ in range(3):
        with torch.no_grad():
            latents = run_chunk(codec.encoder, audio, StreamState(), last=True)
            found = run_chunk(
                codec.decoder,
                codec.quantizer.from_codes(codes),
                StreamState(),
                last=True,
                noise=SeededNoise(seed=3),
            )
        torch.testing.assert_close(found, sound, rtol=0, atol=1e-12)
        assert all(map(torch.equal, codec.quantizer(latents)[1], codes))
    assert codec.graph_report.graphs == 2
    assert codec.graph_report.other_chunks == 2


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_streams_that_come_and_go(plain, data):
    """Each sounds as without graphs, whatever company it has."""
    layout = FrameLayout(strides=plain.config.vq_strides)
    codec, _ = with_graphs(copy.deepcopy(plain))
    decoders = BatchStreamDecoder(codec, layout), BatchStreamDecoder(plain, layout)
    for step in range(10):
        names = data.draw(st.sets(st.integers(0, 4), min_size=1))
        for name in names:
            codes = [
                torch.randint(plain.config.codebook_size, (2 * count,)).numpy()
                for count in plain.config.codes_per_frame
            ]
            ids = layout.flatten(codes)
            for decoder in decoders:
                if name not in decoder:
                    decoder.open(name, noise=name or "off")
                decoder.push(name, ids)
                if step % 4 == 3 and name % 2:
                    decoder.end(name)
        found, wanted = (decoder.step() for decoder in decoders)
        assert found.keys() == wanted.keys()
        for name, sound in wanted.items():
            torch.testing.assert_close(
                torch.from_numpy(found[name]), torch.from_numpy(sound), rtol=0, atol=1e-6
            )


def test_rows_share_the_graph_of_the_next_power_of_two(plain, graphed):
    """And what an absent row left behind, were it NaN, does not reach the others."""
    codec, recorder = graphed
    chunks = latents_for(plain, 14, rows=8)
    decoded(codec, [chunk * torch.tensor([1.0] * 7 + [torch.nan])[:, None, None] for chunk in chunks], None)
    for rows in (5, 7, 6, 8):
        fewer = [chunk[:rows] for chunk in chunks]
        for found, wanted in zip(decoded(codec, fewer, None), decoded(plain, fewer, None), strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert recorder.captures == 1


def test_rows_of_noise_are_each_stream_s_own(plain, graphed):
    """Noise is drawn before the replay, for the rows there are."""
    codec, _ = graphed
    chunks = latents_for(plain, 14, rows=3)
    noise = RowNoise(seeds=[1, None, 2], positions=[[], [], []])
    for found, wanted in zip(decoded(codec, chunks, noise), decoded(plain, chunks, noise), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "change",
    [
        lambda codec: codec.decoder.model[-3].alpha.mul_(1.5),
        lambda codec: codec.decoder.model[-2].parametrizations.weight.original0.mul_(1.5),
        lambda codec: codec.load_state_dict({k: v * 1.1 for k, v in codec.state_dict().items()}),
        lambda codec: codec.eval(),
        lambda codec: codec.decoder.unfold_weight_norm(),
    ],
    ids=["written to", "of a norm", "loaded", "eval", "unfolded"],
)
def test_new_weights_make_new_graphs(plain, change):
    """A graph reads the memory of the weights that it was captured with."""
    codec, recorder = with_graphs(copy.deepcopy(plain))
    twin = copy.deepcopy(plain)
    chunks = latents_for(plain, 14)
    decoded(codec, chunks, None)
    with torch.no_grad():
        for each in (codec, twin):
            change(each)
    for found, wanted in zip(decoded(codec, chunks, None), decoded(twin, chunks, None), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert recorder.captures == 2
    assert recorder.forgotten == 2  # before the first, and when they were dropped
    assert codec.graph_report.graphs == 1


def test_what_a_graph_reads_stays_while_the_graph_does(graphed, plain):
    """A module that drops its folded weight does not free it under the graph."""
    codec, _ = graphed
    decoded(codec, latents_for(plain, 14), None)

    def folded():
        return {each.data_ptr() for name, each in codec.decoder.named_buffers() if name.endswith("folded")}

    before = folded()
    codec.decoder.unfold_weight_norm()
    codec.decoder.fold_weight_norm()
    assert before
    assert not before & folded()


def test_another_precision_makes_new_graphs(plain, graphed):
    """Each is captured with the kernels of its own."""
    codec, recorder = graphed
    for count, precision in ((1, "fp32"), (2, "tf32"), (2, "fp32")):
        codec.decoder.precision = precision
        decoded(codec, latents_for(plain, 20), None)
        assert recorder.captures == count


@pytest.mark.parametrize("vocos", [False, True])
def test_graphs_go_with_the_matrices_that_they_read(vocos):
    """What was made of a weight can be forgotten while the weight stays as it is; the memory is another's then."""
    torch.manual_seed(0)
    codec = SNAC.from_config(SMALL).eval()
    if vocos:
        hop = codec.hop_length
        shape = {"dim": 32, "intermediate_dim": 64, "num_layers": 1, "hop_length": hop, "n_fft": 4 * hop}
        shape |= {"sampling_rate": codec.sampling_rate, "input_channels": codec.latent_dim}
        codec.exchange_decoder(VocosDecoder(VocosConfig(**shape)))
    codec, recorder = with_graphs(codec)
    latents = torch.randn(1, codec.latent_dim, 20 * codec.config.latents_per_frame).split(
        codec.config.latents_per_frame, dim=-1
    )
    wanted = torch.cat(decoded(codec, latents, None), dim=-1)
    assert recorder.captures == 1
    held = codec.decoder.graphs._packed
    assert held
    codec.decoder.sha256()  # reads the weights through, and forgets what was made of them
    found = torch.cat(decoded(codec, latents, None), dim=-1)
    assert recorder.captures == 2
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("limit", [0, 1])
def test_no_more_graphs_than_asked_for(plain, limit):
    """A server that sees any number of shapes keeps its memory, and what it remembers of them is bounded, too."""
    codec, recorder = with_graphs(copy.deepcopy(plain), limit=limit)
    latents = torch.cat(latents_for(plain, 4), dim=-1)
    for length in range(1, 40):
        for _ in range(2):
            with torch.no_grad():
                run_chunk(codec.decoder, latents[..., : 1 + length % 20], StreamState(), last=True)
    assert recorder.captures == limit
    assert len(codec.decoder.graphs._noise_lengths) <= 16


def test_what_cannot_be_captured_runs_without(plain, graphed, caplog, monkeypatch):
    """One warning says so."""
    codec, recorder = graphed

    def fails(_step):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(recorder, "capture", fails)
    chunks = latents_for(plain, 14)
    for found, wanted in zip(decoded(codec, chunks, None), decoded(plain, chunks, None), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert codec.graph_report.graphs == codec.graph_report.replayed_chunks == 0
    assert len(caplog.messages) == 1
    assert "not permitted when stream is capturing)" in caplog.text


def captures_that(recorder, monkeypatch, outcomes):
    """Let captures raise these errors, one after the other, and go well where there is none; count the tries."""
    capture, tries = recorder.capture, []

    def tried(step):
        tries.append(1)
        if (error := next(outcomes, None)) is not None:
            raise error
        return capture(step)

    monkeypatch.setattr(recorder, "capture", tried)
    return tries


def test_too_little_memory_is_no_verdict_on_a_shape(plain, graphed, monkeypatch, caplog):
    """It is tried again after a while, because others may have freed some; sound comes meanwhile."""
    codec, recorder = graphed
    now = [1000.0]
    monkeypatch.setattr(capture_attempts, "time", SimpleNamespace(monotonic=lambda: now[0]))
    tries = captures_that(recorder, monkeypatch, iter([torch.OutOfMemoryError("full")]))
    chunks = latents_for(plain, 14)
    for _ in range(2):
        for found, wanted in zip(decoded(codec, chunks, None), decoded(plain, chunks, None), strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert (len(tries), codec.graph_report.graphs) == (1, 0)
    now[0] += 61
    decoded(codec, chunks, None)
    assert (len(tries), codec.graph_report.graphs) == (2, 1)
    assert len(caplog.messages) == 1


def test_trouble_of_the_gpu_is_not_swallowed(plain, graphed, monkeypatch):
    """Nothing that runs there later would be right."""
    codec, recorder = graphed
    captures_that(recorder, monkeypatch, iter([torch.AcceleratorError("an illegal memory access")]))
    with pytest.raises(torch.AcceleratorError, match="illegal memory access"):
        decoded(codec, latents_for(plain, 14), None)


def clips_of(codec, plain, lengths):
    """Run whole clips, each length twice."""
    latents = torch.cat(latents_for(plain, 4), dim=-1)
    for length in lengths:
        for _ in range(2):
            with torch.no_grad():
                run_chunk(codec.decoder, latents[..., :length], StreamState(), last=True)


def test_what_failed_takes_no_graphs_place(plain, monkeypatch):
    """Of two places both are for graphs."""
    codec, recorder = with_graphs(copy.deepcopy(plain), limit=2)
    captures_that(recorder, monkeypatch, iter([RuntimeError("not permitted"), RuntimeError("not permitted")]))
    clips_of(codec, plain, range(1, 9))
    assert codec.graph_report.graphs == 2


def test_where_nothing_can_be_captured_no_more_is_tried(plain, monkeypatch):
    """It is in the network then, not in the shapes; and what is remembered of them is bounded."""
    codec, recorder = with_graphs(copy.deepcopy(plain), limit=1)
    tries = captures_that(recorder, monkeypatch, itertools.repeat(RuntimeError("not permitted")))
    clips_of(codec, plain, range(1, 30))
    assert len(tries) == capture_attempts.MOST_REFUSED
    assert len(codec.decoder.graphs._noise_lengths) <= 16


def test_frozen_graphs_are_used_and_no_more_are_captured(plain, graphed):
    """Others in the process are not disturbed any more; the report says so."""
    codec, recorder = graphed
    chunks = latents_for(plain, 14)
    decoded(codec, chunks, None)
    assert codec.graph_report.frozen is False
    assert codec.freeze_cuda_graphs() is codec
    before = codec.graph_report.replayed_chunks
    decoded(codec, chunks, None)
    clips_of(codec, plain, range(1, 4))
    assert recorder.captures == codec.graph_report.graphs == 1
    assert codec.graph_report.replayed_chunks > before
    assert str(codec.graph_report).endswith("without; no more are captured")
    with torch.no_grad():
        codec.decoder.model[-3].alpha.mul_(1.5)
    decoded(codec, chunks, None)
    assert (recorder.captures, codec.graph_report.graphs) == (1, 0)


def test_a_codec_without_graphs_can_be_frozen():
    """It stays as it is."""
    codec = SNAC.from_config(SMALL)
    assert codec.freeze_cuda_graphs().graph_report is None


def test_large_chunks_gradients_and_other_devices_go_around(plain, graphed, monkeypatch):
    """Where launches cost nothing, nothing is copied; training trains."""
    codec, recorder = graphed
    chunks = latents_for(plain, 14)
    monkeypatch.setattr(graphs, "MAX_VALUES", 0)
    decoded(codec, chunks, None)
    monkeypatch.undo()
    sound = run_chunk(codec.decoder, chunks[0].requires_grad_(), StreamState(), last=True)
    assert sound.requires_grad
    monkeypatch.setattr(recorder, "device", torch.device("meta"))
    decoded(codec, chunks, None)
    assert recorder.captures == 0


def test_graphs_work_in_inference_mode_and_out_of_it(plain, graphed):
    """The graph's own memory is written to in any mode."""
    codec, _ = graphed
    chunks = latents_for(plain, 14)
    wanted = decoded(plain, chunks, None)
    for mode in (True, False, True):
        with torch.inference_mode(mode):
            for found, each in zip(decoded(codec, chunks, None), wanted, strict=True):
                torch.testing.assert_close(found.clone(), each, rtol=0, atol=1e-12)


def test_graphs_are_neither_copied_nor_saved(graphed):
    """Copies and unpickled codecs start without."""
    codec, _ = graphed
    for other in (copy.deepcopy(codec), pickle.loads(pickle.dumps(codec))):
        assert other.graph_report is None


def test_a_codec_on_a_cpu_is_refused():
    """The sentence says what to do; nothing was set."""
    codec = SNAC.from_config(SMALL)
    with pytest.raises(NetworkError, match=r'move it there first, with `codec.to\("cuda"\)`'):
        codec.use_cuda_graphs()
    assert codec.graph_report is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu():
    """Streams through real graphs."""
    torch.manual_seed(0)
    plain = SNAC.from_config(SMALL).eval().cuda()
    codec = copy.deepcopy(plain).use_cuda_graphs()
    chunks = [chunk.float().cuda() for chunk in latents_for(plain, 14, rows=3)]
    for _ in range(2):
        for found, wanted in zip(decoded(codec, chunks, None), decoded(plain, chunks, None), strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert codec.graph_report.replayed_chunks > 0
