"""Observed and missing components against the closed forms of a Gaussian distribution."""

import numpy as np
import pytest
import torch

from gudlearn.conditioning import (
    Observation,
    PosteriorDenoiser,
    RepaintStep,
    ReplacementDenoiser,
    conjugate_gradients,
)
from gudlearn.conditioning.random_masks import RandomMasks
from gudlearn.conditioning.states import MISSING, OBSERVED, TARGET, MaskedPath, ObservedDenoiser
from gudlearn.diffusion.likelihood import nll_correction, noised_divergence
from gudlearn.diffusion.losses import TimeDensity
from gudlearn.diffusion.noise import alpha, sigma
from gudlearn.diffusion.paths import WindowedGamma
from gudlearn.diffusion.process import perturb
from gudlearn.diffusion.solvers import DPMSolverStep, integrate, start_near, time_grid
from gudlearn.preconditioning.marginals import GaussianMarginals

D = 4
MIXING = torch.tensor(np.random.default_rng(5).normal(size=(D, D)))
COVARIANCE = MIXING @ MIXING.T + 0.1 * torch.eye(D, dtype=torch.float64)
SCALE = COVARIANCE.diagonal().sqrt()
CORRELATION = COVARIANCE / SCALE[:, None] / SCALE
PATH = WindowedGamma(np.full(D, -9.0), np.full(D, 7.0), 0.0, 1.0)
MARGINALS = GaussianMarginals(torch.zeros(D, dtype=torch.float64), torch.ones(D).double())


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def denoise(x, gamma):
    """E[z given x] under the full covariance, for any noise levels (B, D)."""
    a, s = alpha(gamma), sigma(gamma)
    total = a[:, :, None] * CORRELATION * a[:, None] + torch.diag_embed(s**2)
    return (CORRELATION * a[:, None] @ torch.linalg.solve(total, x[..., None]))[..., 0]


def split(x, gamma):
    mu, _ = MARGINALS.posterior(x, gamma)
    return mu, denoise(x, gamma) - mu


def masked_path(state, path=PATH, n=1):
    state = torch.tensor(state).expand(n, -1)
    return MaskedPath(path, state, torch.zeros(D, dtype=torch.float64))


def nll_bound(path, z, n_times=256):
    """The bound on the nll of the targets at the noise of t = 0, mean over rows, in nats."""
    strata = (torch.arange(n_times) + 0.5) / n_times
    t = strata.repeat_interleave(len(z)).double()
    many = z.repeat(n_times, 1)
    terms = nll_correction(split, path, many, t, normal(*many.shape, seed=1))
    total = terms.view(n_times, *z.shape).mean(0)
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    gamma = PATH(torch.zeros(1).double())
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        total += weight * noised_divergence(MARGINALS, gamma, z, torch.full_like(z, node))
    return (total * path.target).sum(1).mean()


# Five standard errors of a difference of mean nlls: over seeds their standard deviation is 0.01.
TOLERANCE = 0.05


def closed_form_nll(z, target, observed):
    """E[log q(x_0 | z) - log p(x_0 target | x_0 observed)] at t = 0, mean over rows."""
    gamma = PATH(torch.zeros(1).double())[0]
    noisy = alpha(gamma)[:, None] * CORRELATION * alpha(gamma) + torch.diag(sigma(gamma) ** 2)
    x = perturb(z, normal(*z.shape, seed=2), gamma)

    def log_p(part):
        if not part:
            return 0.0
        distribution = torch.distributions.MultivariateNormal(
            torch.zeros(len(part)).double(), noisy[part][:, part]
        )
        return distribution.log_prob(x[:, part]).mean()

    log_q = -0.5 * (np.log(2 * np.pi) + 2 * sigma(gamma).log() + 1)[target].sum()
    return log_q - (log_p(target + observed) - log_p(observed))


STATES = [
    ([0, 0, 0, 0], [0, 1, 2, 3], []),
    ([OBSERVED, 0, 0, OBSERVED], [1, 2], [0, 3]),
    ([MISSING, 0, 0, MISSING], [1, 2], []),
    ([MISSING, OBSERVED, 0, OBSERVED], [2], [1, 3]),
]


@pytest.mark.parametrize(("state", "target", "observed"), STATES)
def test_the_bound_on_targets_is_that_of_the_closed_form(state, target, observed):
    z = normal(2000, D) @ torch.linalg.cholesky(CORRELATION).T
    found = nll_bound(masked_path(state, n=len(z)), z)
    assert abs(float(found - closed_form_nll(z, target, observed))) < TOLERANCE


def test_the_bound_obeys_the_chain_rule():
    z = normal(2000, D) @ torch.linalg.cholesky(CORRELATION).T
    joint, marginal, conditional = (
        nll_bound(masked_path(s, n=len(z)), z)
        for s in ([0, 0, 0, 0], [0, 0, MISSING, MISSING], [OBSERVED, OBSERVED, 0, 0])
    )
    assert abs(float(joint - marginal - conditional)) < TOLERANCE


def test_observed_values_replace_those_of_the_solver():
    path = masked_path([OBSERVED, TARGET, MISSING, TARGET], n=3)
    calls = []
    floor, x = normal(3, D), normal(3, D, seed=1)
    conditioned = ObservedDenoiser(lambda x, gamma: calls.append((x, gamma)) or x, path, floor)
    gamma = PATH(torch.full((1,), 0.5).double()).expand(3, D)
    conditioned(x, gamma)
    ((seen, seen_gamma),) = calls
    assert torch.equal(seen[:, 0], floor[:, 0]) and torch.equal(seen[:, 1:], x[:, 1:])
    assert torch.equal(seen_gamma, path(torch.full((1,), 0.5).double()))


def test_windows_do_not_change_the_bound():
    z = normal(2000, D) @ torch.linalg.cholesky(CORRELATION).T
    start = torch.tensor([[0.0, 0.5, 0.2, 0.7]]).expand(len(z), D).double()
    state = torch.full((len(z), D), TARGET)
    path = MaskedPath(PATH, state, torch.zeros(D).double(), start, torch.full_like(start, 0.3))
    without = masked_path([0, 0, 0, 0], n=len(z))
    assert abs(float(nll_bound(path, z) - nll_bound(without, z))) < TOLERANCE


def test_samples_have_the_conditional_distribution():
    n = 4000
    observed, target = [0, 3], [1, 2]
    value = torch.tensor([1.0, -0.5], dtype=torch.float64)
    path = masked_path([OBSERVED, 0, 0, OBSERVED], n=n)
    x = normal(n, D)
    gamma_0 = PATH(torch.zeros(1).double())
    floor = perturb(value, normal(n, 2, seed=3), gamma_0[:, observed])
    x[:, observed] = floor
    x = integrate(denoise, path, x, time_grid(PATH, 60), DPMSolverStep())
    assert torch.equal(x[:, observed], floor)
    z = (x / alpha(gamma_0))[:, target]
    gain = CORRELATION[target][:, observed] @ torch.linalg.inv(CORRELATION[observed][:, observed])
    covariance = CORRELATION[target][:, target] - gain @ CORRELATION[observed][:, target]
    variance = covariance.diagonal()
    # Five standard errors, and the error of the solver.
    error = 5 * (variance / n).sqrt()
    assert ((z.mean(0) - gain @ value).abs() < error + 0.01).all()
    error = 5 * ((variance[:, None] * variance + covariance**2) / n).sqrt()
    assert ((torch.cov(z.T) - covariance).abs() < error + 0.01).all()


def conditional_mean(start):
    """Mean of two components given the others, by the flow from antithetic noise."""
    observed, n = [0, 3], 200
    value = torch.tensor([1.0, -0.5], dtype=torch.float64)
    path, noise = masked_path([OBSERVED, 0, 0, OBSERVED], n=2 * n), normal(n, D)
    x = torch.cat([noise, -noise])
    gamma_0 = PATH(torch.zeros(1).double())
    x[:, observed] = perturb(value, x[:, observed], gamma_0[:, observed])
    if start:
        gamma = path(torch.ones(1).double())
        x = start_near(denoise, x, gamma, MARGINALS.mean, path.target)
    x = integrate(denoise, path, x, time_grid(PATH, 200), DPMSolverStep())
    gain = CORRELATION[[1, 2]][:, observed] @ torch.linalg.inv(CORRELATION[observed][:, observed])
    return (x / alpha(gamma_0))[:, [1, 2]].mean(0), gain @ value


def test_shifted_noise_gives_the_conditional_mean():
    found, expected = conditional_mean(start=True)
    assert (found - expected).abs().max() < 2e-3
    # From the marginal prior the error of the mean is proportional to alpha(1).
    found, expected = conditional_mean(start=False)
    assert (found - expected).abs().max() > 5e-3


def test_masks_are_repeated_for_more_times_than_rows():
    path = masked_path([OBSERVED, TARGET, MISSING, TARGET])
    path.gamma_0, path.gamma_1 = PATH.gamma_0, PATH.gamma_1
    gamma, rate = path.gamma_and_rate(torch.tensor([0.2, 0.7]).double())
    assert gamma[:, 0].tolist() == [-9.0, -9.0]
    assert gamma[:, 2].tolist() == [15.0, 15.0]
    assert rate[:, [0, 2]].abs().max() == 0
    assert (rate[:, [1, 3]] > 0).all()
    torch.testing.assert_close(gamma[:, 1], PATH(torch.tensor([0.2, 0.7]).double())[:, 1])


# Linear observations


def observation(m=2, noise=0.3):
    operator = normal(m, D, seed=7)
    return Observation(operator, normal(5, m, seed=8), torch.full((m,), noise**2).double())


@pytest.mark.parametrize("centre", [-6.0, 0.0, 6.0])
def test_moment_matching_is_exact_for_a_gaussian(centre):
    seen = observation()
    gamma = torch.tensor([centre, centre + 1, centre - 1, centre]).double().expand(5, D)
    x = normal(5, D, seed=9)
    a, s = alpha(gamma[0]), sigma(gamma[0])
    # x and y together are one linear observation of z.
    operator = torch.cat([torch.diag(a), seen.operator])
    noise = torch.diag(torch.cat([s**2, seen.variances]))
    gain = CORRELATION @ operator.T @ torch.linalg.inv(operator @ CORRELATION @ operator.T + noise)
    expected = torch.cat([x, seen.values], 1) @ gain.T
    torch.testing.assert_close(
        PosteriorDenoiser(denoise, seen)(x, gamma), expected, atol=1e-7, rtol=1e-7
    )


def test_moment_matching_ignores_unobserved_entries():
    seen = observation()
    mask = torch.tensor([[True, False]]).expand(5, 2)
    gamma, x = torch.zeros(5, D).double(), normal(5, D)
    part = Observation(seen.operator, seen.values, seen.variances, mask)
    alone = Observation(seen.operator[:1], seen.values[:, :1], seen.variances[:1])
    torch.testing.assert_close(
        PosteriorDenoiser(denoise, part)(x, gamma), PosteriorDenoiser(denoise, alone)(x, gamma)
    )
    nothing = Observation(seen.operator, seen.values, seen.variances, ~mask & mask)
    torch.testing.assert_close(PosteriorDenoiser(denoise, nothing)(x, gamma), denoise(x, gamma))


def test_conjugate_gradients_stop_below_the_least_curvature():
    # Along the second axis the operator is below the noise variance alone.
    matrix = torch.diag(torch.tensor([2.0, 1e-3, 2.0]).double())
    b = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]).double()

    def least(v):
        return 0.5 * v.square().sum(1, keepdim=True)

    found, rest = conjugate_gradients(lambda v: v @ matrix, b, 3, least)
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]).double())
    torch.testing.assert_close(rest, torch.tensor([[0.0] * 3, [0.0, 1.0, 0.0]]).double())
    free, rest = conjugate_gradients(lambda v: v @ matrix, b, 3)
    torch.testing.assert_close(free[1], torch.tensor([0.0, 1000.0, 0.0]).double())
    assert rest.abs().max() < 1e-9


@pytest.mark.parametrize("slope", [(1e-5, -1e-5, 1e-5, -1.0), (1e-4,) * 4])
@pytest.mark.parametrize("independent", [True, False])
@pytest.mark.parametrize("level, noise", [(-6.0, 1e-9), (0.0, 1e-9), (6.0, 1e-9), (6.0, 0.3)])
def test_residuals_beyond_the_derivative_are_corrected(level, noise, independent, slope):
    # The derivative is indefinite or negligible.
    slope = torch.diag(torch.tensor(slope).double())
    whole, gamma, x = observation(noise=noise), torch.full((5, D), level).double(), normal(5, D)
    prior = torch.diag(torch.tensor([0.5, 1.0, 2.0, 1.0]).double())
    prior = prior if independent else prior @ CORRELATION @ prior
    covariance = prior.diagonal() if independent else prior
    seen = Observation(whole.operator, whole.values, whole.variances, None, covariance)
    found = PosteriorDenoiser(lambda x, gamma: x @ slope, seen)(x, gamma)
    # The posterior covariance of Gaussian data.
    posterior = torch.linalg.inv(torch.linalg.inv(prior) + np.exp(-level) * torch.eye(D).double())
    A, R = whole.operator, torch.diag(whole.variances)
    gain = posterior @ A.T @ torch.linalg.inv(A @ posterior @ A.T + R)
    plain = x @ slope
    torch.testing.assert_close(found, plain + (whole.values - plain @ A.T) @ gain.T)


@pytest.mark.parametrize("most", [1, 2**22])
def test_replacement_is_the_smallest_change_that_fits_the_observation(most, monkeypatch):
    monkeypatch.setattr("gudlearn.conditioning.guidance._MOST_ENTRIES", most)
    whole = observation()
    seen = torch.ones(5, len(whole.values[0]), dtype=torch.bool)
    seen[1, 0], seen[3] = False, False
    part = Observation(whole.operator, whole.values, whole.variances, seen)
    x, gamma = normal(5, D), torch.zeros(5, D).double()
    plain = denoise(x, gamma)
    for guide, rows in ((whole, [True] * 5), (part, seen.any(1).tolist())):
        z = ReplacementDenoiser(denoise, guide)(x, gamma)
        assert guide.error(z).abs().max() < 1e-6
        for k in range(5):
            A = whole.operator if guide is whole else whole.operator[seen[k]]
            if not rows[k]:
                torch.testing.assert_close(z[k], plain[k])
                continue
            y = whole.values[k] if guide is whole else whole.values[k, seen[k]]
            change = torch.linalg.pinv(A) @ (y - A @ plain[k])
            torch.testing.assert_close(z[k], plain[k] + change, rtol=0, atol=1e-5)


@pytest.mark.parametrize("stochastic", [False, True])
def test_repetitions_draw_new_noise(stochastic):
    gamma_t, gamma_s = torch.full((5, D), 1.0).double(), torch.full((5, D), -1.0).double()
    gamma_s[:, 0] = 1.0
    draws, starts, step_noises = [], [], []

    def noise(k):
        draws.append(k)
        return normal(5, D, seed=k)

    def step(denoise, x, gamma_t, gamma_s, memory, noise):
        starts.append(x)
        step_noises.append(noise)
        return torch.where(gamma_s < gamma_t, 0.5 * x, x), (memory or 0) + 1

    step.stochastic = stochastic
    x, tells = normal(5, D), torch.tensor([[True], [False], [True], [True], [True]])
    last_noise = normal(5, D, seed=99)
    end, memory = RepaintStep(step, tells, noise)(denoise, x, gamma_t, gamma_s, 4, last_noise)
    # Rows without observed values take the step once, with its memory.
    assert memory == 5
    assert torch.equal(starts[0], x)
    assert len(starts) == 11
    assert len(set(draws)) == len(draws) == (18 if stochastic else 9)
    # The noise that the solver passes in serves the single step and the last repetition.
    assert step_noises[0] is step_noises[-1] is last_noise
    if stochastic:
        for k, eps in zip(draws[::2], step_noises[1:-1], strict=True):
            assert torch.equal(eps, normal(5, D, seed=k))
    expected = torch.where(gamma_s < gamma_t, 0.5 * starts[-1], starts[-1])
    expected[1] = torch.where(gamma_s < gamma_t, 0.5 * x, x)[1]
    torch.testing.assert_close(end, expected)
    # Fixed components stay the same, to the bit; the others are noised back with new noise.
    kept = alpha(gamma_t) / alpha(gamma_s)
    added_std = (sigma(gamma_t) ** 2 - kept**2 * sigma(gamma_s) ** 2).clamp(min=0.0).sqrt()
    again = draws[1::2] if stochastic else draws
    for k, before, after in zip(again, starts[1:-1], starts[2:], strict=True):
        assert torch.equal(before[:, 0], after[:, 0])
        expected = kept * 0.5 * before + added_std * normal(5, D, seed=k)
        torch.testing.assert_close(after[:, 1:], expected[:, 1:])


def test_conjugate_gradients_solve_rows_independently():
    A = COVARIANCE[None] * torch.tensor([1.0, 5.0]).double()[:, None, None]
    b = torch.stack([normal(D), torch.zeros(D).double()])
    found, _ = conjugate_gradients(lambda v: (A @ v[..., None])[..., 0], b, D)
    torch.testing.assert_close(found, torch.linalg.solve(A, b[..., None])[..., 0])


# Random masks for training


def random_path(grid=(3, 4), n=4000, rate=1.0, missing=None):
    groups = torch.arange(int(np.prod(grid)))
    masks = RandomMasks(groups, grid, rate, torch.zeros(len(groups)))
    path = WindowedGamma(np.full(len(groups), -9.0), np.full(len(groups), 7.0), 0.0, 1.0)
    return masks.path(path.to(dtype=torch.float32), n, torch.Generator().manual_seed(0), missing)


def test_every_row_has_a_target():
    path = random_path()
    assert path.target.any(1).all()
    for state in (path.observed, path.missing, path.target):
        assert 0.1 < float(state.float().mean()) < 0.9


def test_the_fraction_of_masked_rows_is_the_rate():
    path = random_path(rate=0.3)
    masked = ~path.target.all(1) | (path.width[:, 0] < 1)
    # Below the rate, because some masks are empty.
    assert 0.22 < float(masked.float().mean()) < 0.3
    assert not (~random_path(rate=0.0).target).any()


@pytest.mark.parametrize("rate", [0.01, 0.3, 1.0])
def test_rounding_of_masked_rows_is_carried_over(rate):
    masks = RandomMasks(torch.arange(3), (3,), rate, torch.zeros(3))
    generator, total = torch.Generator().manual_seed(0), 0
    for n in [64, 7, 1, 64, 30] * 20:
        rows = masks._masked_rows(n, generator)
        assert ((rows >= 0) & (rows < n)).all()
        # They are evenly spaced, hence distinct.
        assert (rows.diff() >= max(1, n // max(len(rows), 1))).all()
        total += len(rows)
    assert abs(total - rate * 20 * 166) < 1.01


def test_every_row_is_masked_equally_often():
    masks = RandomMasks(torch.arange(3), (3,), 0.3, torch.zeros(3))
    generator = torch.Generator().manual_seed(0)
    rows = torch.cat([masks._masked_rows(10, generator) for _ in range(4000)])
    error = (0.3 * 0.7 / 4000) ** 0.5
    assert (torch.bincount(rows, minlength=10) / 4000 - 0.3).abs().max() < 5 * error


def test_windows_lie_inside_the_unit_interval():
    path = random_path()
    stop = path.start + path.width
    assert path.start.min() >= 0
    assert stop.max() <= 1 + 1e-6
    # The first window starts at 0, and the last one ends at 1.
    assert (path.start.amin(1) < 1e-6).all()
    assert ((stop.amax(1) - 1).abs() < 1e-6).all()


def test_missing_values_stay_missing_under_every_mask():
    missing = torch.rand(4000, 12, generator=torch.Generator().manual_seed(1)) < 0.2
    path = random_path(missing=missing)
    assert path.missing[missing].all()
    assert random_path(rate=0.0, missing=missing).missing.equal(missing)


def test_row_times_are_unbiased_and_reduce_the_variance():
    path = random_path()
    generator = torch.Generator().manual_seed(2)
    local_times = torch.rand(len(path.target), generator=generator)
    density = TimeDensity(torch.tensor([40.0, 5.0, 1.0, 1.0]))
    height = torch.tensor([10.0, 1.0, 0.2, 0.2])

    def integral(t, inverse_density):
        """A loss of each target as a function of its local time, whose integral is 2.85."""
        local = (t[:, None] - path.start) / path.width
        inside = path.target & (local > 0) & (local < 1)
        loss = height[(4 * local.clamp(0, 0.999)).long()] / path.width
        return (loss * inside).sum(1) * inverse_density / path.target.sum(1)

    even = integral(local_times, 1.0)
    priority = torch.rand(path.target.shape, generator=generator)
    found = integral(*path.row_times(density(local_times)[0], density, path.target, priority))
    assert abs(float(found.mean()) - 2.85) < 5 * float(found.std()) / len(found) ** 0.5
    assert float(found.std()) < 0.4 * float(even.std())


def test_rows_without_windows_keep_their_times():
    missing = torch.rand(50, 12, generator=torch.Generator().manual_seed(1)) < 0.2
    density = TimeDensity(torch.tensor([1.0, 3.0]))
    local_times, inverse, _ = density((torch.arange(50) + 0.5) / 50)
    priority = torch.full((50, 12), 0.5)
    for path in (random_path(n=50, rate=0.0, missing=missing), random_path(n=50, rate=0.0)):
        t, row_inverse = path.row_times(local_times, density, path.target, priority)
        torch.testing.assert_close(t, local_times)
        torch.testing.assert_close(row_inverse, inverse)


def test_only_candidates_are_selected():
    state = torch.tensor([[TARGET, TARGET, OBSERVED, MISSING]])
    candidates = torch.tensor([[False, True, False, False]])
    start = torch.tensor([[0.0, 0.25, 0.5, 0.75]])
    path = MaskedPath(PATH, state, torch.zeros(D), start, torch.full((1, D), 0.25))
    density = TimeDensity(torch.ones(2))
    found = path.row_times(torch.full((1,), 0.4), density, candidates, torch.zeros(1, D))
    torch.testing.assert_close(torch.cat(found), torch.tensor([0.35, 0.25]))


def test_rows_without_targets_have_finite_times():
    path = random_path(n=50, missing=torch.ones(50, 12, dtype=torch.bool))
    density = TimeDensity(torch.ones(2))
    local_times, priority = torch.full((50,), 0.3), torch.full((50, 12), 0.5)
    for found in path.row_times(local_times, density, path.target, priority):
        assert torch.isfinite(found).all()
