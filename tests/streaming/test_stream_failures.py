"""What fails in the middle of a stream loses nothing: the call can be repeated, or is refused in one sentence."""

from functools import partial

import numpy as np
import pytest
import torch

from snac_tok import SNAC, BatchStreamDecoder, SnacTokenizer, StreamDecoder, StreamEncoder, preset
from snac_tok.codec import inference
from snac_tok.codec.chunked import run_chunk
from snac_tok.codec.ops import backend, cpu
from snac_tok.errors import CodesError, SamplingRateError, WaveformError

FAILURES = [
    torch.OutOfMemoryError("no memory"),
    RuntimeError("a kernel failed"),
    MemoryError(),
    KeyboardInterrupt(),
]
NAMES = ["out of memory", "runtime", "memory", "interrupt"]


@pytest.fixture(scope="module")
def tok():
    """A small codec of three levels."""
    torch.manual_seed(0)
    codec = SNAC(8_000, 4, (2, 3), None, 16, (3, 2), None, 32, 4, (4, 2, 1)).eval()
    return SnacTokenizer(codec, preset("plain", strides=(4, 2, 1), codebook_size=32))


@pytest.fixture
def fail(monkeypatch):
    """Make the n-th layer from now on fail, once."""
    plain, waiting = cpu.extend, []

    def counted(*args, **options):
        if waiting:
            error, layers = waiting.pop()
            if layers == 1:
                raise error
            waiting.append((error, layers - 1))
        return plain(*args, **options)

    monkeypatch.setattr(cpu, "extend", counted)
    monkeypatch.setattr(backend, "kernel_mode", "off")  # layer by layer
    return lambda error, *, at: waiting.append((error, at))


def ids_of(tok, frames, seed=0):
    """Ids of random codes."""
    generator = np.random.default_rng(seed)
    return tok.vocabulary.encode([generator.integers(32, size=frames * n) for n in (1, 2, 4)])


@pytest.mark.parametrize("lookahead", [None, 2])
@pytest.mark.parametrize("error", FAILURES, ids=NAMES)
def test_a_push_that_failed_can_be_repeated(tok, fail, error, lookahead):
    """Wherever it failed: in the first layer or a late one, with a frame cut in two; flushing likewise."""
    parts = np.split(ids_of(tok, 12), [10, 45])
    whole = StreamDecoder(tok.codec, tok.vocabulary, lookahead=lookahead)
    wanted = [whole.push(part) for part in parts] + [whole.flush()]
    for layer in (1, 5, 16):
        stream = StreamDecoder(tok.codec, tok.vocabulary, lookahead=lookahead)
        calls = [partial(stream.push, part) for part in parts] + [stream.flush]
        for call, sound in zip(calls, wanted, strict=True):
            fail(error, at=layer)
            with pytest.raises(type(error)):
                call()
            np.testing.assert_array_equal(call(), sound)


@pytest.mark.parametrize("error", FAILURES, ids=NAMES)
def test_an_encoding_push_that_failed_can_be_repeated(tok, fail, error):
    """Also one of several frames, of which the last failed."""
    samples = np.random.default_rng(1).normal(0, 0.2, 900).astype(np.float32)
    wanted = tok.encode(samples, sampling_rate=8_000)
    for layer in (1, 40):
        stream = StreamEncoder(tok.codec, tok.vocabulary)
        found = [stream.push(samples[:100])]
        fail(error, at=layer)
        with pytest.raises(type(error)):
            stream.push(samples[100:])
        found.append(stream.push(samples[100:]))
        fail(error, at=1)
        with pytest.raises(type(error)):
            stream.flush()
        assert np.concatenate([*found, stream.flush()]).tolist() == wanted


def test_a_stream_whose_sound_was_resampled_in_vain_refuses(tok, fail):
    """A resampler cannot take a block back; reset() begins anew."""
    samples = np.random.default_rng(1).normal(0, 0.2, 2_000).astype(np.float32)
    stream = StreamEncoder(tok.codec, tok.vocabulary, sampling_rate=16_000)
    stream.push(samples[:700])
    fail(MemoryError(), at=1)
    with pytest.raises(MemoryError):
        stream.push(samples[700:])
    for call in (lambda: stream.push(samples[700:]), stream.flush):
        with pytest.raises(WaveformError, match="which cannot be done twice"):
            call()
    stream.reset()
    found = np.concatenate([stream.push(samples), stream.flush()])
    resampling = SnacTokenizer(tok.codec, tok.vocabulary, resample=True)
    assert found.tolist() == resampling.encode(samples, sampling_rate=16_000)


def test_a_block_that_is_refused_costs_a_resampling_stream_nothing(tok):
    """It was not resampled yet."""
    stream = StreamEncoder(tok.codec, tok.vocabulary, sampling_rate=16_000)
    with pytest.raises(WaveformError, match="NaN"):
        stream.push(np.array([np.nan]))
    assert stream.push(np.zeros(10)).size == 0


@pytest.mark.parametrize("error", FAILURES, ids=NAMES)
def test_a_step_that_failed_loses_nobodys_sound(tok, fail, error):
    """Streams that had advanced, even to their end, give their sound with the next step; the others advance then."""
    lengths = {"ended": 2, "long": 9, "short": 1, "empty": 0}
    wanted = {}
    for name, frames in lengths.items():
        alone = StreamDecoder(tok.codec, tok.vocabulary, noise=7)
        wanted[name] = np.concatenate([alone.push(ids_of(tok, frames)), alone.flush()])
    for layer in (1, 9, 14, 30, 45):
        streams = BatchStreamDecoder(tok.codec, tok.vocabulary)
        heard = dict.fromkeys(lengths, np.zeros(0, np.float32))
        for name, frames in lengths.items():
            streams.open(name, noise=7)
            streams.push(name, ids_of(tok, frames)[:20])
        for name in ("ended", "empty"):
            streams.end(name)
        fail(error, at=layer)
        with pytest.raises(type(error)) as caught:
            streams.step()
        assert "while streams [" in caught.value.__notes__[-1]
        for _ in range(2):
            for name, sound in streams.step().items():
                heard[name] = np.concatenate([heard[name], sound])
            if "long" in streams:
                streams.push("long", ids_of(tok, 9)[20:])
                streams.end("long")
                streams.end("short")
        assert len(streams) == 0
        for name, sound in heard.items():
            np.testing.assert_allclose(sound, wanted[name], rtol=0, atol=1e-6)


def test_a_stream_that_always_fails_can_be_taken_out(tok, monkeypatch):
    """The error's note names it; the others keep what they have."""
    streams = BatchStreamDecoder(tok.codec, tok.vocabulary)
    streams.open("good")
    streams.push("good", ids_of(tok, 8)[:14])
    found = [streams.step()["good"]]
    streams.push("good", ids_of(tok, 8)[14:])
    streams.end("good")
    streams.open("bad")
    streams.push("bad", ids_of(tok, 8))

    def fails_at_a_start(network, x, state, **options):
        if not state.kept:
            raise MemoryError
        return run_chunk(network, x, state, **options)

    monkeypatch.setattr("snac_tok.streaming.batch_decoder.run_chunk", fails_at_a_start)
    for _ in range(2):
        with pytest.raises(MemoryError) as caught:
            streams.step()
        assert "'bad'" in caught.value.__notes__[0]
    streams.abort("bad")
    found.append(streams.step()["good"])
    whole = StreamDecoder(tok.codec, tok.vocabulary)
    wanted = np.concatenate([whole.push(ids_of(tok, 8)), whole.flush()])
    np.testing.assert_allclose(np.concatenate(found), wanted, rtol=0, atol=1e-6)


def training_codec():
    """A codec in the middle of its training."""
    torch.manual_seed(0)
    return SNAC(8_000, 4, (2, 3), None, 16, (3, 2), None, 32, 4, (4, 2, 1)).train()


def test_streams_leave_a_training_codec_in_training(tok):
    """They sound as in eval mode, and no module changes its mode."""
    codec, ids = training_codec(), ids_of(tok, 8)
    codec.quantizer.eval()
    modes = [module.training for module in codec.modules()]
    decoder, encoder = StreamDecoder(codec, tok.vocabulary), StreamEncoder(codec, tok.vocabulary)
    many = BatchStreamDecoder(codec, tok.vocabulary)
    many.open("a")
    many.push("a", ids)
    many.end("a")
    samples = np.random.default_rng(1).normal(0, 0.2, 900).astype(np.float32)
    found = np.concatenate([decoder.push(ids), decoder.flush()])
    codes = np.concatenate([encoder.push(samples), encoder.flush()])
    sound = many.step()["a"]
    assert [module.training for module in codec.modules()] == modes
    np.testing.assert_allclose(found, tok.decode(ids).samples[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(sound, found, rtol=0, atol=1e-6)
    assert codes.tolist() == tok.encode(samples, sampling_rate=8_000)


def moved(codec):
    """Move a codec."""
    codec.to(torch.float64)


def trained(codec):
    """Take a training step."""
    with torch.no_grad():
        for parameter in codec.parameters():
            parameter.mul_(1.1)


def loaded(codec):
    """Load other weights."""
    codec.load_state_dict({name: value * 0.9 for name, value in codec.state_dict().items()})


@pytest.mark.parametrize("change", [moved, trained, loaded])
def test_another_codec_in_the_middle_of_a_stream_is_refused(tok, change):
    """What follows would not fit; a stream that has not begun, or begins anew, takes the codec as it is."""
    codec, ids = training_codec().eval(), ids_of(tok, 6)
    samples = np.zeros(300, np.float32)
    decoder, encoder = StreamDecoder(codec, tok.vocabulary), StreamEncoder(codec, tok.vocabulary)
    many = BatchStreamDecoder(codec, tok.vocabulary)
    for name in ("begun", "new"):
        many.open(name)
    many.push("begun", ids)
    fresh = StreamDecoder(codec, tok.vocabulary)
    decoder.push(ids), encoder.push(samples), many.step()
    change(codec)
    for call, error in (
        (lambda: decoder.push(ids), CodesError),
        (decoder.flush, CodesError),
        (lambda: encoder.push(samples), WaveformError),
        (encoder.flush, WaveformError),
    ):
        with pytest.raises(error, match="moved, or its weights were changed"):
            call()
    many.push("begun", ids)
    many.push("new", ids)
    with pytest.raises(CodesError, match="moved, or its weights were changed"):
        many.step()
    many.abort("begun")
    decoder.reset()
    sound = fresh.push(ids)
    np.testing.assert_array_equal(decoder.push(ids), sound)
    np.testing.assert_allclose(many.step()["new"], sound, rtol=0, atol=1e-6)


def test_eval_in_the_middle_of_a_stream_changes_nothing(tok):
    """Weights are derived again from what they were."""
    ids = ids_of(tok, 8)
    wanted = StreamDecoder(tok.codec, tok.vocabulary).push(ids)
    stream = StreamDecoder(tok.codec, tok.vocabulary)
    found = [stream.push(ids[:30])]
    tok.codec.eval().unfold_weight_norm()
    np.testing.assert_allclose(np.concatenate([*found, stream.push(ids[30:])]), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", [0, -1, 24_000.5, True, "24k", 10**9])
def test_an_impossible_rate_is_refused(tok, rate):
    """Zero, too, which is not the codec's own."""
    with pytest.raises(SamplingRateError):
        StreamEncoder(tok.codec, tok.vocabulary, sampling_rate=rate)


@pytest.mark.parametrize("noise", [0, 3, "off", "random"])
def test_blocks_take_a_seed_or_no_noise(tok, noise):
    """Fresh noise is drawn for a whole clip; asked for piece by piece, the call itself is refused."""
    codes = [torch.zeros((1, 4 * n), dtype=torch.int64) for n in (1, 2, 4)]
    if noise == "random":
        with pytest.raises(CodesError, match="drawn for a whole clip"):
            tok.codec.decode_blocks(codes, noise=noise)
        with pytest.raises(CodesError, match="drawn for a whole clip"):
            next(iter(tok.decode_blocks(ids_of(tok, 4), noise=noise)))
    else:
        found = torch.cat(list(tok.codec.decode_blocks(codes, noise=noise)), dim=-1)
        assert torch.equal(found, tok.codec.decode(codes, noise=noise))


def test_blocks_of_other_clips_are_refused(tok):
    """Blocks continue the clips of the first."""
    with pytest.raises(WaveformError, match="a block has 2 rows where the first had 1"):
        list(tok.codec.encode_blocks([torch.zeros(1, 1, 50), torch.zeros(2, 1, 50)]))


def test_blocks_of_a_codec_that_is_changed_half_way_are_refused():
    """As streams are."""
    codec = training_codec().eval()
    codes = [torch.zeros((1, 9 * n), dtype=torch.int64) for n in (1, 2, 4)]
    for pieces, error in (
        (inference.encode_blocks(codec, [torch.zeros(1, 1, 900)], chunk_values=1), WaveformError),
        (inference.decode_blocks(codec, codes, None, chunk_values=1), CodesError),
    ):
        with torch.no_grad():
            next(pieces)
        trained(codec)
        with torch.no_grad(), pytest.raises(error, match="moved, or its weights were changed"):
            list(pieces)


def test_flushing_twice_and_pushing_after_it_are_refused(tok):
    """After an empty stream, too."""
    stream = StreamEncoder(tok.codec, tok.vocabulary, sampling_rate=16_000)
    assert stream.flush().size == 0
    for call in (stream.flush, lambda: stream.push(np.zeros(5))):
        with pytest.raises(WaveformError, match="has been flushed"):
            call()
