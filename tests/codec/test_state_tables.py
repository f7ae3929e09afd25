"""States of many streams as rows of one tensor a layer: each stream goes on as it would alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from snac_tok.codec import SNAC
from snac_tok.codec.chunked import run_chunk
from snac_tok.codec.noise import RowNoise, SeededNoise
from snac_tok.codec.state import StreamState
from snac_tok.codec.state_tables import StateRow, StateTables

SEEDS = [0, 5, -3, 2**63 + 1, None]


def small_codec(window=None):
    """A codec of three levels; in float64 a row alone and a row of a batch are the same to 1e-12."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    try:
        return SNAC(8_000, 16, (2, 3), None, 64, (3, 2), window, 32, 4, (4, 2, 1)).eval()
    finally:
        torch.set_default_dtype(before)


@pytest.fixture(scope="module", params=[None, 8], ids=["convolutions", "attention"])
def decoder(request):
    """A decoder whose streams keep equally much after a while, and one whose streams go through a window."""
    return small_codec(request.param).decoder


def latents_of(stream, count):
    """Latents (1, C, n) of a stream."""
    generator = torch.Generator().manual_seed(stream)
    return torch.randn(1, 64, count, generator=generator, dtype=torch.float64)


class Streams:
    """Streams by name, each with its own latents and seed, and what was heard of them."""

    def __init__(self, decoder):
        self.decoder, self.states = decoder, StateTables()
        self.rows, self.heard = {}, {}

    def begin(self, name):
        """Let a new stream take this name."""
        if name in self.rows:
            self.states.free(self.rows[name])
        self.rows[name], self.heard[name] = StateRow(), []

    def advance(self, names):
        """Decode four latents more of some streams, those of one table together."""
        for table in {id(self.rows[name].table): self.rows[name].table for name in names}.values():
            self._advance_together([name for name in names if self.rows[name].table is table])

    def _advance_together(self, names):
        rows, seeds = [self.rows[name] for name in names], [SEEDS[name % 5] for name in names]
        starts = [4 * len(self.heard[name]) for name in names]
        x = torch.cat(
            [latents_of(name, 400)[..., at : at + 4] for name, at in zip(names, starts, strict=True)]
        )
        noise = RowNoise(seeds=seeds, positions=[row.positions for row in rows])
        batch = self.states.read(rows)
        sounds = run_chunk(self.decoder, x, batch, last=False, noise=noise if any_seed(seeds) else None)
        self.states.write(rows, batch)
        for name, sound in zip(names, sounds, strict=True):
            self.heard[name].append(sound)

    def wanted(self, name):
        """Return what a stream is alone, all at once."""
        seed = SEEDS[name % 5]
        noise = None if seed is None else SeededNoise(seed=seed)
        x = latents_of(name, 400)[..., : 4 * len(self.heard[name])]
        return run_chunk(self.decoder, x, StreamState(), last=False, noise=noise)[0]


def any_seed(seeds):
    """Say whether one of them is a seed."""
    return any(seed is not None for seed in seeds)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
@torch.no_grad()
def test_streams_advance_in_any_company(decoder, data):
    """Some advance, others wait, join or leave; each is what it is alone, noise of its own included."""
    streams = Streams(decoder)
    for _ in range(data.draw(st.integers(3, 10))):
        name = data.draw(st.integers(0, 5))
        if name not in streams.rows or data.draw(st.booleans()):
            streams.begin(name)
        streams.advance(data.draw(st.lists(st.sampled_from(sorted(streams.rows)), min_size=1, unique=True)))
    for name, heard in streams.heard.items():
        if heard:
            torch.testing.assert_close(torch.cat(heard, dim=-1), streams.wanted(name), rtol=0, atol=1e-6)


def test_what_a_layer_keeps_without_a_change_is_not_shared_with_the_row_it_had_before():
    """A stream changes tables while one layer waits; its old row becomes another stream's."""
    states, first, second, third = StateTables(), StateRow(), StateRow(), StateRow()
    states.write([first, second], StreamState(kept=[torch.zeros(2, 3, 1), torch.ones(2, 3, 2)]))
    batch = states.read([first])
    batch.kept[0] = torch.zeros(1, 3, 4)
    states.write([first], batch)
    states.write([third], StreamState(kept=[torch.zeros(1, 3, 1), torch.full((1, 3, 2), 7.0)]))
    for row, value in ((first, 1.0), (second, 1.0), (third, 7.0)):
        assert torch.equal(states.read([row]).kept[1], torch.full((1, 3, 2), value))


@pytest.mark.parametrize("other", [{"dtype": torch.float64}, {"device": "meta"}], ids=["dtype", "device"])
def test_a_codec_that_was_moved_begins_tables_of_its_own(other):
    """A stream that was left open from before stays what it is, and a new one of the same lengths begins beside it."""
    states, old, new = StateTables(), StateRow(), StateRow()
    states.write([old], StreamState(kept=[None, torch.ones(1, 3, 2)]))
    states.write([new], StreamState(kept=[None, torch.ones(1, 3, 2, **other)]))
    kept = [states.read([row]).kept[1] for row in (old, new)]
    assert (kept[0].dtype, kept[0].device.type) == (torch.float32, "cpu")
    assert kept[1].dtype == other.get("dtype", torch.float32)
    assert kept[1].device.type == other.get("device", "cpu")


@torch.no_grad()
def test_a_state_that_was_read_is_not_written_to(decoder):
    """A chunk that is run through it and then given up changes nothing."""
    states, rows = StateTables(), [StateRow(), StateRow()]
    for _ in range(12):
        batch = states.read(rows)
        run_chunk(decoder, torch.cat([latents_of(1, 4), latents_of(2, 4)]), batch, last=False)
        states.write(rows, batch)
    outputs = [
        run_chunk(decoder, torch.cat([latents_of(3, 4), latents_of(4, 4)]), states.read(rows), last=last)
        for last in (False, True, False)
    ]
    assert torch.equal(outputs[0], outputs[2])


@torch.no_grad()
def test_memory_is_that_of_the_streams_there_are(decoder):
    """Hundreds of streams that come and go leave nothing behind."""
    states = StateTables()
    sizes = []
    for _ in range(5):
        rows = [StateRow() for _ in range(64)]
        for _ in range(6):
            batch = states.read(rows)
            run_chunk(decoder, latents_of(0, 4).expand(64, -1, -1), batch, last=False)
            states.write(rows, batch)
        sizes.append(states.num_values)
        for row in rows:
            states.free(row)
        assert states.num_values == 0
    assert len(set(sizes)) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_rows_of_noise_are_what_each_seed_gives(dtype):
    """Bit for bit, whatever the rows beside it; a row without a seed has none."""
    x = torch.zeros(5, 2, 300, dtype=dtype)
    positions = [[7, 2**33], [], [0, 5], [9, 9], [1, 1]]
    found = RowNoise(seeds=SEEDS, positions=positions).draw(1, x, 3)
    for row, seed in enumerate(SEEDS):
        start = 3 + (positions[row][1] if positions[row] else 0)
        wanted = x[:1, :1] if seed is None else SeededNoise(seed=seed).draw(1, x[:1], start)
        assert torch.equal(found[row : row + 1], wanted)


@torch.no_grad()
def test_equal_rows_of_noise_are_equal():
    """Streams in step with one seed hear one noise."""
    x = torch.zeros(4, 2, 50)
    found = RowNoise(seeds=[3, 3, None, 3], positions=[[4], [4], [4], [5]]).draw(0, x, 0)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[3])
    assert not found[2].any()


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@torch.no_grad()
def test_a_step_never_waits_for_the_device():
    """No value is read back on the way: tensors that have no values get through both networks and the tables."""
    with FakeTensorMode():
        codec = small_codec(8)
        states, rows = StateTables(), [StateRow() for _ in range(3)]
        for _ in range(4):
            codes = [torch.zeros(3, count, dtype=torch.int64) for count in (1, 2, 4)]
            latents = codec.quantizer.from_codes(codes)
            batch = states.read(rows)
            noise = RowNoise(seeds=[1, None, 2], positions=[row.positions for row in rows])
            run_chunk(codec.decoder, latents, batch, last=False, noise=noise)
            states.write(rows, batch)
            one = states.read(rows[1:2])
            run_chunk(codec.decoder, latents[:1], one, last=False)
            states.write(rows[1:2], one)
        audio = torch.zeros(3, 1, codec.config.padding_multiple, dtype=torch.float64)
        codec.quantizer(run_chunk(codec.encoder, audio, StreamState(), last=True))
        with pytest.raises(DataDependentOutputException):
            latents.sum().item()
