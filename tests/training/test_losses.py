"""The losses: values worked out by hand, and gradients that go where they should and nowhere else."""

import math

import pytest
import torch

from snac_tok.errors import ConfigError
from snac_tok.training.losses import (
    LossWeights,
    adversarial_loss,
    codebook_loss,
    commitment_loss,
    discriminator_loss,
    feature_matching_loss,
    weighted_total,
)
from snac_tok.training.sound_losses import waveform_loss


def _leaf(*values: float) -> torch.Tensor:
    return torch.tensor(values, requires_grad=True)


def test_least_squares_by_hand():
    """Means over a map, sums over discriminators, whatever their maps' sizes."""
    real = [torch.tensor([1.0, 3.0]), torch.tensor([[0.5]])]
    fake = [torch.tensor([0.0, 2.0, 1.0, 1.0]), torch.tensor([[-1.0]])]
    assert float(discriminator_loss(real, fake)) == pytest.approx(2 + 0.25 + 1.5 + 1)
    assert float(adversarial_loss(fake)) == pytest.approx(0.5 + 4)


def test_the_perfect_discriminator_and_the_perfect_codec():
    """Real 1 and fake 0 is what discriminators want, fake 1 what the codec wants."""
    ones, zeros = [torch.ones(2, 1, 3)], [torch.zeros(2, 1, 3)]
    assert float(discriminator_loss(ones, zeros)) == 0
    assert float(adversarial_loss(ones)) == 0
    assert float(adversarial_loss(zeros)) == 1


def test_discriminators_that_do_not_pair_are_refused():
    """A score map too few is a mistake of the caller."""
    with pytest.raises(ValueError, match="shorter"):
        discriminator_loss([torch.ones(1), torch.ones(1)], [torch.ones(1)])


def test_feature_matching_leaves_scores_out_and_the_real_side_alone():
    """0.5 + 2 from two maps, 1 from another discriminator; the score maps would add thousands."""
    real = [[_leaf(0.0, 0.0), _leaf(1.0), _leaf(0.0)], [_leaf(1.0), _leaf(0.0)]]
    fake = [[_leaf(1.0, 0.0), _leaf(-1.0), _leaf(9e3)], [_leaf(2.0), _leaf(9e3)]]
    loss = feature_matching_loss(real, fake)
    assert loss.item() == pytest.approx(0.5 + 2 + 1)
    loss.backward()
    assert all(each.grad is None for stack in real for each in stack)
    assert fake[0][0].grad.tolist() == [0.5, 0.0]
    assert fake[0][1].grad.tolist() == [-1.0]
    assert fake[0][-1].grad is None


def test_codebook_and_commitment_are_one_value_with_two_gradients():
    """Per row the same figure; one moves entries, the other what was looked up."""
    generator = torch.Generator().manual_seed(0)
    projected, entries = (torch.randn((3, 8, 5), generator=generator).requires_grad_() for _ in range(2))
    for loss, moved, still in ((codebook_loss, entries, projected), (commitment_loss, projected, entries)):
        rows = loss(projected, entries)
        assert rows.shape == (3,)
        torch.testing.assert_close(rows, ((projected - entries) ** 2).mean((1, 2)))
        rows[1].backward()
        assert still.grad is None
        other = entries if moved is projected else projected
        expected = torch.zeros_like(moved)
        expected[1] = 2 * (moved - other)[1].detach() / 40
        torch.testing.assert_close(moved.grad, expected)
        moved.grad = None


def test_the_waveform_loss_by_hand():
    """Mean absolute difference."""
    assert float(waveform_loss(torch.tensor([0.0, 1.0]), torch.tensor([0.5, -1.0]))) == 1.25


def test_the_defaults_are_dacs():
    """As in its training config."""
    defaults = (15.0, 2.0, 1.0, 0.25, 1.0, 0.0)
    names = ("mel", "feature_matching", "adversarial", "commitment", "codebook", "waveform")
    assert tuple(getattr(LossWeights(), name) for name in names) == defaults


def test_the_total_weighs_and_leaves_out():
    """15 · 2 + 0.25 · 4; a loss of weight 0 may even be no number."""
    mel, commitment, waveform = _leaf(2.0), _leaf(4.0), _leaf(math.nan)
    parts = {"mel": mel[0], "commitment": commitment[0], "waveform": waveform[0]}
    total = weighted_total(parts, LossWeights())
    assert total.item() == 31
    total.backward()
    assert (mel.grad.item(), commitment.grad.item(), waveform.grad) == (15, 0.25, None)


def test_a_loss_without_a_weight_is_refused():
    """A misspelt name must not be left out in silence; nor is nothing a total."""
    with pytest.raises(ConfigError, match="mell"):
        weighted_total({"mell": torch.tensor(1.0)}, LossWeights())
    with pytest.raises(ConfigError, match="at least one"):
        weighted_total({}, LossWeights())


@pytest.mark.parametrize("bad", [-0.1, math.inf, math.nan])
def test_weights_that_make_no_sense_are_refused(bad):
    """Not negative, and finite."""
    with pytest.raises(ConfigError, match="adversarial"):
        LossWeights(adversarial=bad)
