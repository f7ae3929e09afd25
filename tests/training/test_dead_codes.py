"""Codes that nothing uses are noticed, and started anew where the latents are."""

from __future__ import annotations

import pytest
import torch

from snac_tok.codec.quantizer import ResidualQuantizer
from snac_tok.training.dead_codes import CodeUse

SIZE, DIM = 8, 4


@pytest.fixture
def quantizer():
    """Two levels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ResidualQuantizer(6, SIZE, DIM, (2, 1))


@pytest.fixture
def projected():
    """What each level looked up: three rows, far away from every entry."""
    generator = torch.Generator().manual_seed(1)
    return [100 + torch.randn((3, DIM, steps), generator=generator) for steps in (5, 10)]


def generator():
    """The same draws every time."""
    return torch.Generator().manual_seed(2)


def books(quantizer):
    """Return copies of all codebooks."""
    return [level.codebook.weight.detach().clone() for level in quantizer.quantizers]


def used(*, step=10):
    """Entries 0 … 5 of the first level and 1 alone of the second were used at `step`, the others never."""
    use = CodeUse(num_levels=2, codebook_size=SIZE)
    use.observe([torch.tensor([[0, 1, 2], [3, 4, 5]]), torch.tensor([[1, 1, 1, 1]])], step=step)
    return use


def test_use_is_noted():
    """The last step counts, level by level."""
    use = used(step=3)
    use.observe([torch.tensor([0, 7]), torch.tensor([2])], step=5)
    assert use.last_used.tolist() == [[5, 3, 3, 3, 3, 3, 0, 5], [0, 3, 5, 0, 0, 0, 0, 0]]


def test_idle_entries_alone_are_moved(quantizer, projected):
    """Those idle for more than `after` steps; the others keep every bit."""
    before, use = books(quantizer), used()
    moved = use.restart(quantizer, projected, step=12, after=5, generator=generator())
    assert moved == [2, 7]
    for level, idle in enumerate([[6, 7], [0, 2, 3, 4, 5, 6, 7]]):
        changed = (before[level] != books(quantizer)[level]).any(1).nonzero()[:, 0]
        assert changed.tolist() == idle


def test_moved_entries_lie_near_latents(quantizer, projected):
    """Each within a few hundredths of the latents' spread of one of them, but on none; latents stay as they are."""
    latents = [level.clone() for level in projected]
    used().restart(quantizer, projected, step=12, after=5, generator=generator())
    assert all(map(torch.equal, latents, projected))
    for level, idle in enumerate([[6, 7], [0, 2, 3, 4, 5, 6, 7]]):
        columns = projected[level].transpose(1, 2).reshape(-1, DIM)
        apart = books(quantizer)[level][idle][:, None] - columns  # (entries, columns, DIM)
        distances = apart.norm(dim=-1).min(1).values
        assert (distances > 0).all()
        assert (distances < 0.1).all()


def test_entries_moved_to_one_place_part(quantizer):
    """With a single latent to go to they lie beside one another all the same, where latents spread at all."""
    projected = [torch.zeros((1, DIM, 2)), torch.zeros((1, DIM, 2))]
    for level in projected:
        level[..., 1] = 1.0
    used().restart(quantizer, projected, step=12, after=5, generator=generator())
    assert len(books(quantizer)[1].unique(dim=0)) == SIZE


def test_a_moved_entry_is_left_in_peace(quantizer, projected):
    """It counts as used when it was moved: the next restart waits `after` steps again."""
    use = used()
    use.restart(quantizer, projected, step=12, after=5, generator=generator())
    assert use.restart(quantizer, projected, step=12 + 2, after=5, generator=generator()) == [0, 0]
    assert use.restart(quantizer, projected, step=10 + 6, after=5, generator=generator()) == [6, 1]
    assert use.restart(quantizer, projected, step=12 + 6, after=5, generator=generator()) == [2, 7]


def test_the_same_again_moves_to_the_same_places(quantizer, projected):
    """Generator, latents and step decide; every process of a run does the same."""
    start, ends = quantizer.state_dict(), []
    start = {name: value.clone() for name, value in start.items()}
    for _ in range(2):
        quantizer.load_state_dict(start)
        torch.manual_seed(len(ends))  # torch's own generator has no part in it
        used().restart(quantizer, projected, step=12, after=5, generator=generator())
        ends.append(books(quantizer))
    assert all(map(torch.equal, *ends))


def test_every_latent_may_be_chosen(quantizer):
    """Of all rows and steps, none is left out: no stretch of sound goes without entries."""
    latents = torch.arange(30.0).reshape(3, 1, 10).expand(3, DIM, 10) * 1000
    chosen = set()
    for seed in range(40):
        use = CodeUse(num_levels=2, codebook_size=SIZE)
        draws = torch.Generator().manual_seed(seed)
        use.restart(quantizer, [latents, latents], step=9, after=1, generator=draws)
        for book in books(quantizer):
            chosen |= set((book.mean(1) / 1000).round().int().tolist())
    assert chosen <= set(range(-1, 31))
    assert len(chosen & set(range(30))) == 30


def test_moved_entries_are_used_at_once(quantizer, projected):
    """What was idle is now the nearest to some latent: the next search finds more entries than before."""
    level = quantizer.quantizers[1]
    before = len(level.search(projected[1]).unique())
    CodeUse(num_levels=2, codebook_size=SIZE).restart(
        quantizer, projected, step=9, after=1, generator=generator()
    )
    assert len(level.search(projected[1]).unique()) > before


def test_codebooks_keep_their_type_and_their_gradients(quantizer, projected):
    """A restart is no part of any graph."""
    used().restart(
        quantizer, [level.double() for level in projected], step=12, after=5, generator=generator()
    )
    for level in quantizer.quantizers:
        assert level.codebook.weight.dtype == torch.float32
        assert level.codebook.weight.requires_grad
        assert level.codebook.weight.is_leaf
