"""The embedded codec, random speech, a source that speaks it, and a way to serve it."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import numpy as np
import pytest
from served import PATIENT, as_integers, running

from snac_tok import SnacTokenizer
from snac_tok.serving import create_app


@pytest.fixture(scope="session")
def tok():
    """The embedded codec with orpheus ids."""
    return SnacTokenizer.from_pretrained("tiny", preset="orpheus")


@pytest.fixture
def serve(tok):
    """A function that starts a server with a source."""
    with ExitStack() as stack:

        def start(source=None, *, limits=PATIENT, tokenizer=tok, **options):
            app = create_app(tokenizer, source=source, limits=limits, **options)
            return stack.enter_context(running(app))

        yield start


@pytest.fixture(scope="session")
def speech(tok):
    """A function that makes the ids of random frames."""

    def make(seed, frames=6):
        generator = np.random.default_rng(seed)
        counts = tok.vocabulary.layout.codes_per_frame
        codes = [generator.integers(tok.codec.codebook_size, size=frames * n) for n in counts]
        return tok.vocabulary.encode(codes).tolist()

    return make


@pytest.fixture(scope="session")
def whole(tok, speech):
    """A function that returns their sound, decoded whole, as 16-bit integers."""

    def make(seed, frames=6):
        return as_integers(tok.decode(speech(seed, frames)).samples[0])

    return make


@pytest.fixture(scope="session")
def talking(speech):
    """A source: the text is "SEED" or "SEED FRAMES"; it writes text, the start, frames, the end, one id at a time."""

    async def source(request):
        seed, _, frames = request.text.partition(" ")
        for number in [9906, 128261, 128257, *speech(int(seed), int(frames or 6)), 128258, 128262, 9906]:
            yield number
            await asyncio.sleep(0)

    return source
