"""Hundreds of callers and microphones at once: each gets what it would get alone."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snac_tok import SNAC, BatchStreamDecoder, BatchStreamEncoder, SnacTokenizer, Waveform, preset
from snac_tok.errors import SamplingRateError, TokenError, WaveformError

RATE = 8_000
SAMPLES = np.random.default_rng(0).normal(0, 0.2, 4_000).astype(np.float32)


@pytest.fixture(scope="module", params=[None, 4], ids=["convolutions", "attention"])
def tok(request):
    """A small codec of three levels, with attention and without."""
    torch.manual_seed(0)
    codec = SNAC(RATE, 16, (2, 3), None, 64, (3, 2), request.param, 32, 4, (4, 2, 1)).eval()
    return SnacTokenizer(codec, preset("plain", strides=(4, 2, 1), codebook_size=32))


class Microphone:
    """A recording that comes in blocks."""

    def __init__(self, name, samples, rate):
        self.name, self.samples, self.rate = name, samples, rate
        self.left, self.heard, self.stage = samples, [], "new"

    def act(self, streams, count):
        """Join, push the next samples, or leave."""
        if self.stage == "new":
            streams.open(self.name, sampling_rate=self.rate)
            self.stage = "open"
        elif len(self.left):
            streams.push(self.name, self.left[:count])
            self.left = self.left[count:]
        elif self.stage == "open":
            streams.end(self.name)
            self.stage = "ended"


def hear(streams, clients):
    """Take what a step gives."""
    for name, found in streams.step().items():
        clients[name].heard.append(found)


@pytest.mark.law(5)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_microphones_side_by_side_give_the_ids_of_each_alone(tok, data):
    """They join, pause, push blocks of any size at any rate and leave at any time."""
    streams, rates = BatchStreamEncoder(tok), st.sampled_from([None, RATE, 16_000])
    lengths = data.draw(st.lists(st.integers(0, 300), min_size=1, max_size=4))
    clients = [
        Microphone(at, SAMPLES[at : at + length], data.draw(rates)) for at, length in enumerate(lengths)
    ]
    while any(client.stage != "ended" for client in clients):
        data.draw(st.sampled_from(clients)).act(streams, data.draw(st.integers(1, 200)))
        if data.draw(st.booleans()):
            hear(streams, clients)
    hear(streams, clients)
    assert len(streams) == 0
    for client in clients:
        wanted = tok.encode(client.samples, sampling_rate=client.rate or RATE) if len(client.samples) else []
        assert np.concatenate(client.heard).tolist() == wanted


class Caller:
    """A listener whose ids come in pieces, with pauses."""

    def __init__(self, line, noise):
        self.line, self.noise, self.at, self.heard = line, noise, 0, []

    def push(self, streams, name, count=10):
        """Push the next ids."""
        if self.at < len(self.line):
            streams.push(name, self.line[self.at : self.at + count])
            self.at += count


def test_five_hundred_streams_come_and_go(tok):
    """Of 512 callers some wait, some hang up, some send what is wrong; the others hear their own sound alone."""
    generator = np.random.default_rng(1)
    codes = [[generator.integers(32, size=(4 + at % 3) * n) for n in (1, 2, 4)] for at in range(7)]
    ids = [tok.vocabulary.encode(levels).tolist() for levels in codes]
    alone = [[tok.decode(line, noise=noise).samples[0] for line in ids] for noise in (0, 3)]
    streams = BatchStreamDecoder(tok)
    callers = {name: Caller(ids[name % 7], 3 * (name % 2)) for name in range(512)}
    for name, caller in callers.items():
        streams.open(name, noise=caller.noise)
    for _ in range(10):
        for name in list(callers):
            event = generator.random()
            if event < 0.01:
                streams.abort(name)
                del callers[name]
            elif event < 0.02:
                with pytest.raises(TokenError, match="id -4 is not an id"):
                    streams.push(name, [-4])
            elif event < 0.7:
                callers[name].push(streams, name)
        hear(streams, callers)
    for name, caller in callers.items():
        caller.push(streams, name, len(caller.line))
        streams.end(name)
    hear(streams, callers)
    assert len(streams) == 0
    assert len(callers) < 512
    for name, caller in callers.items():
        wanted = alone[name % 2][name % 7]
        np.testing.assert_allclose(np.concatenate(caller.heard), wanted, rtol=0, atol=1e-5)


def test_two_threads_give_what_one_gives(tok):
    """A group of streams is shared among threads."""
    ids = [tok.encode(SAMPLES[at : at + 900], sampling_rate=RATE) for at in range(6)]
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            decoders, encoders = BatchStreamDecoder(tok), BatchStreamEncoder(tok)
            for name, line in enumerate(ids):
                decoders.open(name), encoders.open(name)
                decoders.push(name, line), encoders.push(name, SAMPLES[name : name + 900])
                decoders.end(name), encoders.end(name)
            found.append((decoders.step(), encoders.step()))
    finally:
        torch.set_num_threads(before)
    for name, line in enumerate(ids):
        np.testing.assert_allclose(found[0][0][name], found[1][0][name], rtol=0, atol=1e-6)
        assert found[0][1][name].tolist() == found[1][1][name].tolist() == line


def test_a_step_that_failed_loses_no_sound_of_a_microphone(tok, monkeypatch):
    """The next step repeats it."""
    streams = BatchStreamEncoder(tok)
    for name in ("a", "b"):
        streams.open(name)
        streams.push(name, SAMPLES[:500])
    with monkeypatch.context() as patch:
        patch.setattr(tok.codec.quantizer, "forward", raising)
        with pytest.raises(MemoryError) as caught:
            streams.step()
    assert "while streams ['a', 'b'] advanced" in caught.value.__notes__[0]
    found = [streams.step()["a"]]
    streams.end("a")
    found.append(streams.step()["a"])
    assert np.concatenate(found).tolist() == tok.encode(SAMPLES[:500], sampling_rate=RATE)


def raising(*_args):
    """Stand in for a device without memory."""
    raise MemoryError


def test_what_a_microphone_may_not_send(tok):
    """One sentence each; the stream goes on as if it had not been, and no other is touched."""
    streams = BatchStreamEncoder(tok)
    streams.open("a", sampling_rate=16_000)
    with pytest.raises(TokenError, match="'a' is open"):
        streams.open("a")
    with pytest.raises(SamplingRateError, match="whole number of Hz"):
        streams.open("b", sampling_rate=0)
    for block in (np.zeros(4, np.int16), np.zeros((2, 4)), np.array([np.nan]), "noise", None):
        with pytest.raises(WaveformError):
            streams.push("a", block)
    with pytest.raises(SamplingRateError, match="open it with sampling_rate=8000"):
        streams.push("a", Waveform(samples=SAMPLES[None], sampling_rate=8_000))
    with pytest.raises(TokenError, match="no open stream 'b'"):
        streams.push("b", SAMPLES)
    streams.push("a", Waveform(samples=SAMPLES[None, :900], sampling_rate=16_000))
    streams.end("a")
    with pytest.raises(TokenError, match="'a' was ended"):
        streams.push("a", SAMPLES)
    assert streams.step()["a"].tolist() == tok.encode(SAMPLES[:900], sampling_rate=16_000)
    assert "a" not in streams
    streams.open("c")
    streams.abort("c")
    assert streams.step() == {}


def test_sound_that_was_resampled_in_vain_is_not_resampled_twice(tok, monkeypatch):
    """The stream refuses; another takes its place."""
    streams = BatchStreamEncoder(tok)
    streams.open("a", sampling_rate=16_000)
    with monkeypatch.context() as patch:
        patch.setattr("snac_tok.streaming.batch_encoder.StreamResampler.push", raising)
        with pytest.raises(MemoryError):
            streams.push("a", SAMPLES)
    with pytest.raises(WaveformError, match="cannot be done twice; abort"):
        streams.push("a", SAMPLES)
    streams.abort("a")
    streams.open("a")


def test_a_codec_that_is_trained_meanwhile_is_refused(tok):
    """Streams that had begun; a new one takes the codec as it is."""
    codec = copy.deepcopy(tok.codec)
    streams = BatchStreamEncoder(codec, tok.vocabulary)
    streams.open("begun"), streams.open("new")
    streams.push("begun", SAMPLES[:200])
    streams.step()
    with torch.no_grad():
        for parameter in codec.parameters():
            parameter.mul_(1.1)
    streams.push("begun", SAMPLES[:200])
    with pytest.raises(WaveformError, match="moved, or its weights were changed"):
        streams.step()
    streams.abort("begun")
    streams.push("new", SAMPLES[:900])
    assert streams.step()["new"].size
