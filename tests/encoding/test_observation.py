"""Bins observed through noise: normalised, drawn as they are likely, and equal to Bayes' rule."""

import pytest
import torch
from scipy import stats

from gudlearn.encoding.observation import BinnedObservation, BinPrior

TAU = 0.12
TABLES = [torch.tensor(p).double().log() for p in ([0.5, 0.3, 0.1999, 0.0001], [0.1] * 10, [1.0])]


def prior():
    return BinPrior(TABLES, torch.tensor([-1, 3, 7]))


def noisy(n=40, margin=1.0, seed=0):
    """Values in bins, up to a margin outside the tables."""
    u = torch.rand(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    low, high = torch.tensor([-1.0, 3.0, 7.0]), torch.tensor([2.0, 12.0, 7.0])
    return low - margin + u * (high - low + 2 * margin)


def test_the_prior_is_its_tables_and_zero_outside():
    indices = torch.arange(-6, 20).double()[:, None].expand(-1, 3)
    log_p = prior().log_prob(indices)
    for j, first in enumerate((-1, 3, 7)):
        inside = log_p[first + 6 : first + 6 + len(TABLES[j]), j]
        torch.testing.assert_close(inside, TABLES[j])
        assert torch.isneginf(log_p[:, j]).sum() == len(indices) - len(TABLES[j])


def test_clip_gives_the_nearest_bin_of_the_table():
    indices = torch.tensor([[-9.0, -9.0, -9.0], [0.0, 5.0, 7.0], [99.0, 99.0, 99.0]])
    expected = torch.tensor([[-1.0, 3.0, 7.0], [0.0, 5.0, 7.0], [2.0, 12.0, 7.0]])
    torch.testing.assert_close(prior().clip(indices), expected)


@pytest.mark.parametrize("tau", [0.05, TAU, 0.2])
def test_probabilities_of_the_bins_sum_to_one(tau):
    y = noisy(margin=0.9)
    observation = BinnedObservation(prior(), tau)
    for j, first in enumerate((-1, 3, 7)):
        # Four bins on either side enter: the weight of one further off is exp(-3^2/(2 tau^2)).
        total = torch.zeros(len(y)).double()
        for k in range(first, first + len(TABLES[j])):
            near = (y[:, j] - k).abs() < 2
            p = observation.log_prob(prior().clip(torch.full_like(y, k)), y)[:, j].exp()
            total += torch.where(near, p, 0.0)
        torch.testing.assert_close(total, torch.ones_like(total))


def test_log_prob_is_bayes_rule():
    y = noisy()
    observation = BinnedObservation(prior(), TAU)
    for j, first in enumerate((-1, 3, 7)):
        k = torch.arange(first, first + len(TABLES[j])).double()
        joint = TABLES[j] - (y[:, j, None] - k) ** 2 / (2 * TAU**2)
        posterior = joint - torch.logsumexp(joint, 1, keepdim=True)
        nearest = (y[:, j, None] - k).abs().argmin(1)
        indices = torch.zeros_like(y)
        indices[:, j] = k[nearest]
        found = observation.log_prob(indices, y)[:, j]
        torch.testing.assert_close(found, posterior.gather(1, nearest[:, None])[:, 0])


def test_draws_have_the_distribution_of_log_prob():
    observation = BinnedObservation(prior(), 0.4)
    n = 4000
    u = torch.rand(n, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = torch.tensor([[0.45, 7.6, 6.2]]).double().expand(n, 3)
    drawn = observation.draw(y, u)
    for j in range(2):
        values, counts = drawn[:, j].unique(return_counts=True)
        probe = torch.zeros(len(values), 3).double()
        probe[:, j] = values
        expected = observation.log_prob(probe, y[: len(values)])[:, j].exp() * n
        large = expected > 5
        assert large.sum() >= 3
        chi2 = ((counts - expected) ** 2 / expected)[large].sum()
        assert stats.chi2.sf(float(chi2), int(large.sum())) > 1e-3
    assert (drawn[:, 2] == 7).all()


def test_draws_stay_inside_the_tables_however_far_y_is():
    y = torch.tensor([[-500.0, 500.0, 1e6], [500.0, -500.0, -1e6]]).double()
    for u in (1e-9, 0.5, 1 - 1e-12):
        drawn = BinnedObservation(prior(), TAU).draw(y, torch.full_like(y, u))
        torch.testing.assert_close(drawn, prior().clip(y))


def test_a_clean_observation_gives_the_bin_back():
    indices = torch.tensor([[0.0, 5.0, 7.0], [-1.0, 12.0, 7.0]]).double()
    observation = BinnedObservation(prior(), 0.02)
    torch.testing.assert_close(observation.log_prob(indices, indices), torch.zeros(2, 3).double())
    torch.testing.assert_close(observation.draw(indices, torch.full_like(indices, 0.7)), indices)
