"""Posteriors of single components against quadrature, and every shortcut against the long way."""

import numpy as np
import pytest
import torch
from scipy import stats

from gudlearn.diffusion.noise import alpha, sigma
from gudlearn.diffusion.paths import load_forward_mode
from gudlearn.preconditioning.marginals import (
    GaussianMarginals,
    GridMarginals,
    JoinedMarginals,
    MixtureMarginals,
    PointMassMarginals,
)

MEANS = torch.tensor([[-2.0, 0.5, 3.0], [0.0, 0.1, 5.0]], dtype=torch.float64)
WEIGHTS = torch.tensor([[0.2, 0.5, 0.3], [0.7, 0.3, 0.0]], dtype=torch.float64)
VARIANCES = torch.tensor([[0.3, 0.01, 1.0], [2.0, 0.05, 1.0]], dtype=torch.float64)
GAMMAS = (-6.0, -2.0, 0.0, 3.0)


def gaussian():
    return GaussianMarginals(MEANS[:, 0], VARIANCES[:, 0])


def mixture():
    return MixtureMarginals(WEIGHTS, MEANS, VARIANCES)


def point_masses():
    return PointMassMarginals(WEIGHTS, MEANS)


def grid_and_point_masses(sizes=(700, 60), step=(0.01, 0.05)):
    """Long rough tables as a grid in groups, and as plain point masses."""
    generator = torch.Generator().manual_seed(3)
    first, step = torch.tensor([-3.0, -1.5], dtype=torch.float64), torch.tensor(step).double()
    log_weights = []
    for size in sizes:
        w = torch.rand(size, generator=generator, dtype=torch.float64) ** 2 + 1e-9
        log_weights.append((w / w.sum()).log())
    weights, means = torch.zeros(2, max(sizes)).double(), torch.zeros(2, max(sizes)).double()
    for i, size in enumerate(sizes):
        weights[i, :size] = log_weights[i].exp()
        means[i] = first[i] + step[i] * torch.arange(max(sizes)).clamp(max=size - 1)
    return GridMarginals(log_weights, first, step), PointMassMarginals(weights, means)


def joined():
    grid, _ = grid_and_point_masses()
    parts = [gaussian(), grid, mixture()]
    return JoinedMarginals(parts, [torch.tensor(c) for c in ([4, 1], [0, 5], [2, 3])])


ALL = [gaussian, mixture, point_masses, lambda: grid_and_point_masses()[0], joined]
IDS = ["gaussian", "mixture", "point masses", "grid", "joined"]


def states(marginals, gamma, n=400, seed=0):
    """Draws of the marginal with noise, and their noise levels."""
    generator = torch.Generator().manual_seed(seed)
    shape = (n, len(marginals.mean))
    gamma = torch.as_tensor(gamma, dtype=torch.float64).expand(shape)
    x = marginals.draw(
        torch.rand(shape, generator=generator, dtype=torch.float64),
        torch.randn(shape, generator=generator, dtype=torch.float64),
        gamma,
    )
    return x, gamma


def density_of_x0(marginals, grid):
    """The marginal's density on a grid (N,), times its spacing; (N, D)."""
    m, v, w = (p[None].double() for p in (MEANS, VARIANCES, WEIGHTS))
    if isinstance(marginals, GaussianMarginals):
        m, v, w = m[..., :1], v[..., :1], torch.ones_like(w[..., :1])
    p = w * torch.exp(-0.5 * (grid[:, None, None] - m) ** 2 / v) / (2 * torch.pi * v).sqrt()
    return p.sum(-1) * (grid[1] - grid[0])


@pytest.mark.parametrize("make", [gaussian, mixture], ids=["gaussian", "mixture"])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_posterior_and_density_agree_with_quadrature(make, gamma):
    marginals = make()
    x, gammas = states(marginals, gamma, n=12)
    # A spacing of a 40th of the narrowest standard deviation: the sum is exact to 1e-12.
    grid = torch.linspace(-16, 20, 40001, dtype=torch.float64)
    a, s = alpha(gammas[:1, :1]), sigma(gammas[:1, :1])
    likelihood = torch.exp(-0.5 * ((x[:, None] - a * grid[None, :, None]) / s) ** 2)
    joint = density_of_x0(marginals, grid) * likelihood / (2 * torch.pi * s**2).sqrt()
    evidence = joint.sum(1)
    mean = (joint * grid[:, None]).sum(1) / evidence
    variance = (joint * (grid[:, None] - mean[:, None]) ** 2).sum(1) / evidence
    mu, var = marginals.posterior(x, gammas)
    torch.testing.assert_close(mu, mean, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(var, variance, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(marginals.log_prob(x, gammas), evidence.log(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_posterior_of_point_masses_is_bayes_rule(gamma):
    marginals = point_masses()
    x, gammas = states(marginals, gamma, n=50)
    a, s = alpha(gammas)[..., None], sigma(gammas)[..., None]
    joint = WEIGHTS * torch.exp(-0.5 * ((x[..., None] - a * MEANS) / s) ** 2)
    p = joint / joint.sum(-1, keepdim=True)
    mean = (p * MEANS).sum(-1)
    mu, var = marginals.posterior(x, gammas)
    torch.testing.assert_close(mu, mean)
    torch.testing.assert_close(var, (p * (MEANS - mean[..., None]) ** 2).sum(-1))
    evidence = joint.sum(-1) / (2 * torch.pi).__pow__(0.5) / s[..., 0]
    torch.testing.assert_close(marginals.log_prob(x, gammas), evidence.log())


@pytest.mark.parametrize("gamma", GAMMAS)
def test_point_masses_are_a_mixture_without_variances(gamma):
    ours, plain = point_masses(), MixtureMarginals(WEIGHTS, MEANS, torch.zeros_like(MEANS))
    x, gammas = states(ours, gamma)
    for found, expected in zip(ours.posterior(x, gammas), plain.posterior(x, gammas), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("gamma", [-11.0, -8.0, -5.0, -2.0, 0.0, 4.0])
def test_grid_agrees_with_the_sum_over_all_point_masses(gamma):
    grid, full = grid_and_point_masses()
    x, gammas = states(full, gamma)
    std = full.variance.sqrt()
    (mu, var), (mu_full, var_full) = grid.posterior(x, gammas), full.posterior(x, gammas)
    # Groups are no wider than the noise, and summed over to five standard deviations: the error
    # is 2e-3 of a standard deviation, and larger where neighbours differ a thousandfold.
    for error in ((mu - mu_full).abs() / std, (var.sqrt() - var_full.sqrt()).abs() / std):
        assert error.quantile(0.99) < 2e-3
        assert error.max() < 1e-2
    log_p, log_p_full = grid.log_prob(x, gammas), full.log_prob(x, gammas)
    assert (log_p - log_p_full).abs().mean() < 1e-3
    assert (log_p - log_p_full).abs().max() < 2e-2
    torch.testing.assert_close(grid.mean, full.mean)
    torch.testing.assert_close(grid.variance, full.variance)


def test_beyond_its_ends_a_grid_gives_its_last_point_mass():
    grid, _ = grid_and_point_masses()
    gammas = torch.full((2, 2), -7.0, dtype=torch.float64)
    ends = torch.stack([grid.first, grid.first + grid.step * torch.tensor([699, 59])])
    beyond = 6 * torch.exp(0.5 * gammas) * torch.tensor([[-1.0], [1.0]])
    mu, _ = grid.posterior(alpha(gammas) * (ends + beyond), gammas)
    # Within two steps: the last may be a rare one, and the mean of its group lies further in.
    assert ((mu - ends).abs() < 2 * grid.step).all()


@pytest.mark.parametrize("size", [1, 2, 3, 21, 22, 43, 1000])
def test_grid_of_any_length(size):
    w = torch.full((size,), -np.log(size), dtype=torch.float64)
    first, step = torch.tensor([0.0]).double(), torch.tensor([1.0 / size]).double()
    grid = GridMarginals([w], first, step)
    means = first + step * torch.arange(size)
    full = PointMassMarginals(w.exp()[None], means[None])
    for gamma in (-14.0, -4.0, 2.0):
        x, gammas = states(full, gamma, n=100)
        mu, _ = grid.posterior(x, gammas)
        expected, _ = full.posterior(x, gammas)
        torch.testing.assert_close(mu, expected, rtol=0, atol=2e-3)


def test_joined_marginals_give_each_component_its_own_part():
    marginals = joined()
    x, gammas = states(marginals, -1.0, n=30)
    mu, var = marginals.posterior(x, gammas)
    log_p = marginals.log_prob(x, gammas)
    for part, columns in zip(marginals.parts, marginals.columns, strict=True):
        own_mu, own_var = part.posterior(x[:, columns], gammas[:, columns])
        torch.testing.assert_close(mu[:, columns], own_mu)
        torch.testing.assert_close(var[:, columns], own_var)
        torch.testing.assert_close(
            log_p[:, columns], part.log_prob(x[:, columns], gammas[:, columns])
        )
        torch.testing.assert_close(marginals.mean[columns], part.mean)
        torch.testing.assert_close(marginals.variance[columns], part.variance)


@pytest.mark.parametrize("make", ALL, ids=IDS)
def test_noise_levels_of_components_do_not_mix(make):
    marginals = make()
    d = len(marginals.mean)
    ramp = torch.linspace(-5, 2, d, dtype=torch.float64)
    x, gammas = states(marginals, ramp, n=5)
    mu, var = marginals.posterior(x, gammas)
    for i in range(d):
        alone, alone_var = marginals.posterior(x, torch.full_like(gammas, ramp[i]))
        torch.testing.assert_close(mu[:, i], alone[:, i])
        torch.testing.assert_close(var[:, i], alone_var[:, i])


@pytest.mark.parametrize("make", ALL, ids=IDS)
@pytest.mark.parametrize("gamma", [-6.0, 2.0])
def test_draws_have_the_distribution_of_log_prob(make, gamma):
    marginals = make()
    n = 2000
    x, gammas = states(marginals, gamma, n=n, seed=1)
    grid = torch.linspace(-8, 10, 9001, dtype=torch.float64)[:, None].expand(-1, x.shape[1])
    density = marginals.log_prob(grid, gammas[:1].expand_as(grid)).exp().numpy()
    cumulative = density.cumsum(0) * (grid[1, 0] - grid[0, 0]).item()
    for i in range(x.shape[1]):
        # On a grid of 0.002 the sum is exact for densities as wide as sigma = 0.05. Draws are
        # keyed by a fixed seed, so a p-value of 1e-4 does not fail by chance.
        assert abs(cumulative[-1, i] - 1) < 2e-3
        quantiles = np.interp(x[:, i].numpy(), grid[:, i].numpy(), cumulative[:, i])
        assert stats.kstest(quantiles, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("make", ALL, ids=IDS)
def test_first_two_moments_are_those_of_clean_draws(make):
    marginals = make()
    x, _ = states(marginals, -40.0, n=20000)
    n_errors = (x.mean(0) - marginals.mean).abs() / (marginals.variance / len(x)).sqrt()
    assert n_errors.max() < 5
    torch.testing.assert_close(x.var(0), marginals.variance, rtol=0.1, atol=0)


@pytest.mark.parametrize("make", ALL, ids=IDS)
@pytest.mark.parametrize("gamma", GAMMAS)
def test_float32_agrees_with_float64(make, gamma):
    marginals = make()
    x, gammas = states(marginals, gamma)
    std = marginals.variance.sqrt()
    mu, var = marginals.posterior(x, gammas)
    mu32, var32 = marginals.to(dtype=torch.float32).posterior(x.float(), gammas.float())
    assert mu32.dtype == var32.dtype == torch.float32
    # At gamma = -6, the steepest, a rounding of x by 1e-7 moves log-weights by 1e-7 dx/sigma^2.
    assert ((mu32 - mu).abs() / std).max() < 1e-3
    assert (var32 >= 0).all()
    assert ((var32.double().sqrt() - var.sqrt()).abs() / std).max() < 2e-3
    log_p = marginals.log_prob(x, gammas)
    log_p32 = marginals.to(dtype=torch.float32).log_prob(x.float(), gammas.float())
    assert (log_p32 - log_p).abs().max() < 5e-3


def test_variance_does_not_cancel_where_the_mean_is_large():
    # E[x^2] - mu^2 has no digits left of a variance of 1e-3 at 3e3 in float32.
    means = torch.tensor([[3000.0, 3000.1]])
    marginals = PointMassMarginals(torch.tensor([[0.5, 0.5]]), means)
    gamma = torch.full((1, 1), 0.0)
    x = alpha(gamma) * means.mean()
    _, variance = marginals.posterior(x, gamma)
    torch.testing.assert_close(variance.item(), 0.0025, rtol=0.02, atol=0)


def test_posterior_is_differentiable():
    load_forward_mode()
    for make in ALL:
        marginals = make()
        x, gammas = states(marginals, -1.0, n=5)
        step = 1e-5
        _, slope = torch.func.jvp(
            lambda x, m=marginals, g=gammas: m.posterior(x, g)[0], (x,), (torch.ones_like(x),)
        )
        up, down = (marginals.posterior(x + h, gammas)[0] for h in (step, -step))
        # The grid's window moves in steps, which finite differences see and derivatives do not.
        torch.testing.assert_close(slope, (up - down) / (2 * step), rtol=1e-3, atol=1e-3)
