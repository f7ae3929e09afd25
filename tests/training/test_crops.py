"""Crops are functions of (seed, step, row) alone, and come from where they should."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from prepared_sound import RATE, constant, tone, write_store

from snac_tok.errors import ConfigError
from snac_tok.training.augmentation import Augmentation
from snac_tok.training.clip_store import ClipStore
from snac_tok.training.crops import CropSampler

OFF = Augmentation.off()
EVERYTHING = Augmentation(speed=(0.9, 1.1), tilt_db=4.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A minute of noise in three clips."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 60 * RATE)
    folder = tmp_path_factory.mktemp("noise") / "ready"
    return write_store(
        folder, {"a": noise[: 10 * RATE], "b": noise[10 * RATE : 30 * RATE], "c": noise[30 * RATE :]}
    )


def sampler(*stores, augmentation=OFF, crop_samples=512, batch_size=4, seed=0, **options):
    """Draw from stores of equal weight, or from pairs of store and weight."""
    return CropSampler(
        [store if isinstance(store, tuple) else (store, 1.0) for store in stores],
        crop_samples=crop_samples,
        batch_size=batch_size,
        seed=seed,
        augmentation=augmentation,
        **options,
    )


@pytest.mark.parametrize("augmentation", [OFF, Augmentation(), EVERYTHING])
def test_a_batch_depends_on_nothing_drawn_before(store, augmentation):
    """In any order, from any sampler of the same settings, with the global generator anywhere: bit for bit."""
    first, second = (sampler(store, augmentation=augmentation) for _ in range(2))
    batches = [first.batch(step) for step in range(4)]
    torch.manual_seed(1)
    assert all(torch.equal(second.batch(step), batches[step]) for step in (3, 0, 2, 1))
    state = torch.get_rng_state()
    second.batch(5)
    assert torch.equal(torch.get_rng_state(), state)
    assert batches[0].shape == (4, 1, 512)
    assert batches[0].dtype == torch.float32


def test_steps_seeds_and_rows_differ(store):
    """No crop comes twice by accident."""
    batches = [sampler(store, seed=seed).batch(step) for seed in (0, 1) for step in (0, 1)]
    rows = {row.numpy().tobytes() for batch in batches for row in batch}
    assert len(rows) == 16


def test_ranks_share_one_big_batch_out(store):
    """Two devices draw what one draws with twice the batch; every rank's rows are its own."""
    parts = [sampler(store).batch(3, rank=rank, num_ranks=2) for rank in range(2)]
    whole = sampler(store, batch_size=8).batch(3)
    assert torch.equal(torch.cat(parts), whole)
    assert len({row.numpy().tobytes() for row in whole}) == 8


def test_ranks_are_augmented_differently(store):
    """The same crop would otherwise be turned the same way on every device."""
    parts = [sampler(store, augmentation=EVERYTHING).batch(3, rank=rank, num_ranks=2) for rank in range(2)]
    assert not torch.equal(*parts)


def test_clips_are_drawn_by_their_length(tmp_path):
    """One of three quarters of the samples gives three quarters of the crops."""
    store = write_store(tmp_path / "ready", {"long": constant(30_000, 0.75), "short": constant(10_000, 0.25)})
    crops = torch.cat([sampler(store, batch_size=100).batch(step) for step in range(20)])
    share = float((crops[:, 0, 0] > 0.5).float().mean())
    assert share == pytest.approx(0.75, abs=0.04)


def test_stores_are_drawn_by_weight_whatever_their_size(tmp_path):
    """A small folder of much weight comes often."""
    small = write_store(tmp_path / "small", {"a": constant(1000, 0.25)})
    large = write_store(tmp_path / "large", {"a": constant(50_000, 0.75)})
    made = sampler((small, 3.0), (large, 1.0), batch_size=100)
    crops = torch.cat([made.batch(step) for step in range(20)])
    assert float((crops[:, 0, 0] < 0.5).float().mean()) == pytest.approx(0.75, abs=0.04)


def test_no_crop_mixes_clips(tmp_path):
    """A held-out clip beside others in a store would leak through a crop that crosses its border."""
    values = [0.1, 0.2, 0.3, 0.4, 0.5]
    store = write_store(tmp_path / "ready", {str(value): constant(600, value) for value in values})
    for step in range(50):
        crops = sampler(store).batch(step)[:, 0]
        assert torch.equal(crops.amin(-1), crops.amax(-1))


def test_first_and_last_sample_are_reached(tmp_path):
    """Starts lie evenly over the clip, both ends included."""
    store = write_store(tmp_path / "ready", {"a": np.arange(1, 514) / 1024})
    starts = Counter(float(crop[0]) for step in range(50) for crop in sampler(store).batch(step)[:, 0])
    assert len(starts) == 2
    assert all(70 < count < 130 for count in starts.values())


def test_a_short_clip_lies_whole_at_a_random_place(tmp_path):
    """Zeros on both sides, everywhere else the clip."""
    store = write_store(tmp_path / "ready", {"a": constant(100, 0.5)})
    places = set()
    for step in range(100):
        for crop in sampler(store).batch(step)[:, 0]:
            inside = crop.nonzero().flatten()
            assert len(inside) == 100
            assert inside[-1] - inside[0] == 99
            places.add(int(inside[0]))
    assert min(places) < 15
    assert max(places) > 512 - 100 - 15


def test_silence_is_drawn_again(tmp_path):
    """Of a clip that is silent for nine tenths the loud tenth is found."""
    quiet = np.concatenate([constant(45_000, 0.0), tone(5_000)])
    store = write_store(tmp_path / "ready", {"a": quiet})
    found = sampler(store, batch_size=50, silence_db=-60.0).batch(0).square().mean(-1)
    asked_for_all = sampler(store, batch_size=50, silence_db=-math.inf).batch(0).square().mean(-1)
    assert float((found > 1e-6).float().mean()) > 0.7
    assert float((asked_for_all > 1e-6).float().mean()) < 0.3


@pytest.mark.parametrize("augmentation", [OFF, Augmentation(), EVERYTHING])
def test_a_silent_store_gives_silence_and_no_endless_search(tmp_path, augmentation):
    """Tries are bounded, and nothing becomes infinite."""
    store = write_store(tmp_path / "ready", {"a": constant(10_000, 0.0)})
    assert torch.equal(sampler(store, augmentation=augmentation).batch(0), torch.zeros(4, 1, 512))


def test_held_out_clips_are_not_in_other_stores(tmp_path):
    """Only what a store lists is drawn."""
    train = write_store(tmp_path / "train", {"a": constant(5000, 0.25)})
    write_store(tmp_path / "held-out", {"b": constant(5000, 0.75)})
    crops = torch.cat([sampler(train).batch(step) for step in range(20)])
    assert crops.unique().numel() == 1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"crop_samples": 0}, "crop_samples"),
        ({"batch_size": 0}, "batch_size"),
        ({"weight": 0.0}, "weight"),
        ({"weight": float("nan")}, "weight"),
    ],
)
def test_impossible_options_are_refused(store, options, named):
    """By name."""
    weight = options.pop("weight", 1.0)
    with pytest.raises(ConfigError, match=named):
        sampler((store, weight), **options)


def test_no_store_two_rates_and_impossible_ranks_are_refused(store):
    """They would only show much later."""
    other = ClipStore(folder=store.folder, sampling_rate=16_000, clips=store.clips, samples=store.samples)
    with pytest.raises(ConfigError, match="at least one"):
        sampler()
    with pytest.raises(ConfigError, match="16000, 24000"):
        sampler(store, other)
    for rank in (-1, 2):
        with pytest.raises(ConfigError, match="rank"):
            sampler(store).batch(0, rank=rank, num_ranks=2)
