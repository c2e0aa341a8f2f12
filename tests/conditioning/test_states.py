"""Given and missing components against the closed forms of a Gaussian law."""

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
    """E[z given x] of the whole law, for any noise levels (B, D)."""
    a, s = alpha(gamma), sigma(gamma)
    total = a[:, :, None] * CORRELATION * a[:, None] + torch.diag_embed(s**2)
    return (CORRELATION * a[:, None] @ torch.linalg.solve(total, x[..., None]))[..., 0]


def split(x, gamma):
    mu, _ = MARGINALS.posterior(x, gamma)
    return mu, denoise(x, gamma) - mu


def stated(state, path=PATH, n=1):
    state = torch.tensor(state).expand(n, -1)
    return MaskedPath(path, state, torch.zeros(D, dtype=torch.float64))


def bound(path, z, n_times=256):
    """The bound of the wanted components, mean over rows, in nats of the level at t = 0."""
    strata = (torch.arange(n_times) + 0.5) / n_times
    t = strata.repeat_interleave(len(z)).double()
    many = z.repeat(n_times, 1)
    terms = nll_correction(split, path, many, t, normal(*many.shape, seed=1))
    total = terms.view(n_times, *z.shape).mean(0)
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    gamma = PATH(torch.zeros(1).double())
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        total += weight * noised_divergence(MARGINALS, gamma, z, torch.full_like(z, node))
    return (total * path.wanted).sum(1).mean()


def closed_form(z, wanted, given):
    """E[log q(x_0 | z) - log p(x_0 wanted | x_0 given)] at the noise of t = 0, mean over rows."""
    gamma = PATH(torch.zeros(1).double())[0]
    noisy = alpha(gamma)[:, None] * CORRELATION * alpha(gamma) + torch.diag(sigma(gamma) ** 2)
    x = perturb(z, normal(*z.shape, seed=2), gamma)

    def log_p(part):
        if not part:
            return 0.0
        law = torch.distributions.MultivariateNormal(
            torch.zeros(len(part)).double(), noisy[part][:, part]
        )
        return law.log_prob(x[:, part]).mean()

    log_q = -0.5 * (np.log(2 * np.pi) + 2 * sigma(gamma).log() + 1)[wanted].sum()
    return log_q - (log_p(wanted + given) - log_p(given))


STATES = [
    ([0, 0, 0, 0], [0, 1, 2, 3], []),
    ([OBSERVED, 0, 0, OBSERVED], [1, 2], [0, 3]),
    ([MISSING, 0, 0, MISSING], [1, 2], []),
    ([MISSING, OBSERVED, 0, OBSERVED], [2], [1, 3]),
]


@pytest.mark.parametrize(("state", "wanted", "given"), STATES)
def test_the_bound_of_a_part_is_that_of_the_closed_form(state, wanted, given):
    z = normal(2000, D) @ torch.linalg.cholesky(CORRELATION).T
    found = bound(stated(state, n=len(z)), z)
    assert abs(float(found - closed_form(z, wanted, given))) < 0.03


def test_the_chain_rule_of_parts():
    z = normal(2000, D) @ torch.linalg.cholesky(CORRELATION).T
    whole, part, rest = (
        bound(stated(s, n=len(z)), z)
        for s in ([0, 0, 0, 0], [0, 0, MISSING, MISSING], [OBSERVED, OBSERVED, 0, 0])
    )
    assert abs(float(whole - part - rest)) < 0.03


def test_whoever_is_told_does_not_hear_what_the_solver_makes_of_it():
    path = stated([OBSERVED, TARGET, MISSING, TARGET], n=3)
    heard = []
    floor, x = normal(3, D), normal(3, D, seed=1)
    told = ObservedDenoiser(lambda x, gamma: heard.append((x, gamma)) or x, path, floor)
    gamma = PATH(torch.full((1,), 0.5).double()).expand(3, D)
    told(x, gamma)
    ((seen, level),) = heard
    assert torch.equal(seen[:, 0], floor[:, 0]) and torch.equal(seen[:, 1:], x[:, 1:])
    assert torch.equal(level, path(torch.full((1,), 0.5).double()))


def test_windows_do_not_change_the_bound():
    z = normal(2000, D) @ torch.linalg.cholesky(CORRELATION).T
    start = torch.tensor([[0.0, 0.5, 0.2, 0.7]]).expand(len(z), D).double()
    state = torch.full((len(z), D), TARGET)
    path = MaskedPath(PATH, state, torch.zeros(D).double(), start, torch.full_like(start, 0.3))
    assert abs(float(bound(path, z) - bound(stated([0, 0, 0, 0], n=len(z)), z))) < 0.03


def test_samples_with_a_part_given_have_the_conditional_law():
    n = 4000
    given, wanted = [0, 3], [1, 2]
    value = torch.tensor([1.0, -0.5], dtype=torch.float64)
    path = stated([OBSERVED, 0, 0, OBSERVED], n=n)
    x = normal(n, D)
    gamma_0 = PATH(torch.zeros(1).double())
    floor = perturb(value, normal(n, 2, seed=3), gamma_0[:, given])
    x[:, given] = floor
    x = integrate(denoise, path, x, time_grid(PATH, 60), DPMSolverStep())
    assert torch.equal(x[:, given], floor)
    z = (x / alpha(gamma_0))[:, wanted]
    gain = CORRELATION[wanted][:, given] @ torch.linalg.inv(CORRELATION[given][:, given])
    covariance = CORRELATION[wanted][:, wanted] - gain @ CORRELATION[given][:, wanted]
    error = 4 * covariance.diagonal().sqrt() / n**0.5
    assert ((z.mean(0) - gain @ value).abs() < error + 0.01).all()
    torch.testing.assert_close(torch.cov(z.T), covariance, atol=0.05, rtol=0.05)


def conditional_mean(start):
    """Mean of two components given the others, by the flow from mirrored noise: no chance."""
    given, n = [0, 3], 200
    value = torch.tensor([1.0, -0.5], dtype=torch.float64)
    path, noise = stated([OBSERVED, 0, 0, OBSERVED], n=2 * n), normal(n, D)
    x = torch.cat([noise, -noise])
    gamma_0 = PATH(torch.zeros(1).double())
    x[:, given] = perturb(value, x[:, given], gamma_0[:, given])
    if start:
        gamma = path(torch.ones(1).double())
        x = start_near(denoise, x, gamma, MARGINALS.mean, path.wanted)
    x = integrate(denoise, path, x, time_grid(PATH, 200), DPMSolverStep())
    gain = CORRELATION[[1, 2]][:, given] @ torch.linalg.inv(CORRELATION[given][:, given])
    return (x / alpha(gamma_0))[:, [1, 2]].mean(0), gain @ value


def test_noise_starts_where_it_belongs_given_what_is_known():
    found, expected = conditional_mean(start=True)
    assert (found - expected).abs().max() < 2e-3
    # From the marginal prior the mean falls short in proportion to alpha(1).
    found, expected = conditional_mean(start=False)
    assert (found - expected).abs().max() > 5e-3


def test_rows_of_a_stated_path_keep_their_states_when_repeated():
    path = stated([OBSERVED, TARGET, MISSING, TARGET])
    path.gamma_0, path.gamma_1 = PATH.gamma_0, PATH.gamma_1
    gamma, rate = path.gamma_and_rate(torch.tensor([0.2, 0.7]).double())
    assert gamma[:, 0].tolist() == [-9.0, -9.0]
    assert gamma[:, 2].tolist() == [15.0, 15.0]
    assert rate[:, [0, 2]].abs().max() == 0
    assert (rate[:, [1, 3]] > 0).all()
    torch.testing.assert_close(gamma[:, 1], PATH(torch.tensor([0.2, 0.7]).double())[:, 1])


# Guided denoisers


def observation(m=2, noise=0.3):
    operator = normal(m, D, seed=7)
    return Observation(operator, normal(5, m, seed=8), torch.full((m,), noise**2).double())


@pytest.mark.parametrize("level", [-6.0, 0.0, 6.0])
def test_moment_matching_is_exact_for_a_gaussian(level):
    seen = observation()
    gamma = torch.tensor([level, level + 1, level - 1, level]).double().expand(5, D)
    x = normal(5, D, seed=9)
    a, s = alpha(gamma[0]), sigma(gamma[0])
    # Of z given x and y together, as one linear observation.
    operator = torch.cat([torch.diag(a), seen.operator])
    noise = torch.diag(torch.cat([s**2, seen.variances]))
    gain = CORRELATION @ operator.T @ torch.linalg.inv(operator @ CORRELATION @ operator.T + noise)
    expected = torch.cat([x, seen.values], 1) @ gain.T
    torch.testing.assert_close(
        PosteriorDenoiser(denoise, seen)(x, gamma), expected, atol=1e-7, rtol=1e-7
    )


def test_moment_matching_hears_only_what_was_seen():
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


def test_conjugate_gradients_stop_where_there_is_no_covariance():
    # Along the second axis the operator is less than the noise alone.
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
def test_what_no_covariance_accounts_for_is_made_up_for(level, noise, independent, slope):
    # A derivative that is of either sign, or as good as nothing.
    slope = torch.diag(torch.tensor(slope).double())
    whole, gamma, x = observation(noise=noise), torch.full((5, D), level).double(), normal(5, D)
    prior = torch.diag(torch.tensor([0.5, 1.0, 2.0, 1.0]).double())
    prior = prior if independent else prior @ CORRELATION @ prior
    told = prior.diagonal() if independent else prior
    seen = Observation(whole.operator, whole.values, whole.variances, None, told)
    found = PosteriorDenoiser(lambda x, gamma: x @ slope, seen)(x, gamma)
    # What the data are given the state, if they are normal.
    rest = torch.linalg.inv(torch.linalg.inv(prior) + np.exp(-level) * torch.eye(D).double())
    A, R = whole.operator, torch.diag(whole.variances)
    gain = rest @ A.T @ torch.linalg.inv(A @ rest @ A.T + R)
    plain = x @ slope
    torch.testing.assert_close(found, plain + (whole.values - plain @ A.T) @ gain.T)


@pytest.mark.parametrize("most", [1, 2**22])
def test_replacement_is_the_least_change_that_agrees_with_what_was_seen(most, monkeypatch):
    monkeypatch.setattr("gudlearn.conditioning._MOST_ENTRIES", most)
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
def test_repetitions_take_steps_at_fresh_noise(stochastic):
    gamma_t, gamma_s = torch.full((5, D), 1.0).double(), torch.full((5, D), -1.0).double()
    gamma_s[:, 0] = 1.0
    draws, starts, heard = [], [], []

    def noise(k):
        draws.append(k)
        return normal(5, D, seed=k)

    def step(denoise, x, gamma_t, gamma_s, memory, noise):
        starts.append(x)
        heard.append(noise)
        return torch.where(gamma_s < gamma_t, 0.5 * x, x), (memory or 0) + 1

    step.stochastic = stochastic
    x, tells = normal(5, D), torch.tensor([[True], [False], [True], [True], [True]])
    own = normal(5, D, seed=99)
    end, memory = RepaintStep(step, tells, noise)(denoise, x, gamma_t, gamma_s, 4, own)
    # Rows of which nothing is known take the first of them, with their memory.
    assert memory == 5
    assert torch.equal(starts[0], x)
    assert len(starts) == 11
    assert len(set(draws)) == len(draws) == (18 if stochastic else 9)
    # A stochastic step's own noise is that of the last one, and of rows as they are.
    assert heard[0] is heard[-1] is own
    if stochastic:
        for k, eps in zip(draws[::2], heard[1:-1], strict=True):
            assert torch.equal(eps, normal(5, D, seed=k))
    expected = torch.where(gamma_s < gamma_t, 0.5 * starts[-1], starts[-1])
    expected[1] = torch.where(gamma_s < gamma_t, 0.5 * x, x)[1]
    torch.testing.assert_close(end, expected)
    # What does not move stays, to the bit; the rest is as noisy as before, in another draw.
    kept = alpha(gamma_t) / alpha(gamma_s)
    spread = (sigma(gamma_t) ** 2 - kept**2 * sigma(gamma_s) ** 2).clamp(min=0.0).sqrt()
    again = draws[1::2] if stochastic else draws
    for k, before, after in zip(again, starts[1:-1], starts[2:], strict=True):
        assert torch.equal(before[:, 0], after[:, 0])
        expected = kept * 0.5 * before + spread * normal(5, D, seed=k)
        torch.testing.assert_close(after[:, 1:], expected[:, 1:])


def test_conjugate_gradients_solve_each_row_alone():
    A = COVARIANCE[None] * torch.tensor([1.0, 5.0]).double()[:, None, None]
    b = torch.stack([normal(D), torch.zeros(D).double()])
    found, _ = conjugate_gradients(lambda v: (A @ v[..., None])[..., 0], b, D)
    torch.testing.assert_close(found, torch.linalg.solve(A, b[..., None])[..., 0])


# States drawn for training


def drawn(grid=(3, 4), n=4000, rate=1.0, missing=None):
    groups = torch.arange(int(np.prod(grid)))
    states = RandomMasks(groups, grid, rate, torch.zeros(len(groups)))
    path = WindowedGamma(np.full(len(groups), -9.0), np.full(len(groups), 7.0), 0.0, 1.0)
    return states.path(path.to(dtype=torch.float32), n, torch.Generator().manual_seed(0), missing)


def test_random_states_want_something_of_every_row():
    path = drawn()
    assert path.wanted.any(1).all()
    for some in (path.given, path.missing, path.wanted):
        assert 0.1 < float(some.float().mean()) < 0.9


def test_rows_in_mixed_states_are_as_many_as_was_asked():
    path = drawn(rate=0.3)
    mixed = ~path.wanted.all(1) | (path.width[:, 0] < 1)
    # Of a part that is empty or all nothing is hidden.
    assert 0.22 < float(mixed.float().mean()) < 0.3
    assert not (~drawn(rate=0.0).wanted).any()


@pytest.mark.parametrize("rate", [0.01, 0.3, 1.0])
def test_batches_owe_no_rows_in_mixed_states(rate):
    states = RandomMasks(torch.arange(3), (3,), rate, torch.zeros(3))
    generator, total = torch.Generator().manual_seed(0), 0
    for n in [64, 7, 1, 64, 30] * 20:
        rows = states._mixed_rows(n, generator)
        assert ((rows >= 0) & (rows < n)).all()
        # Evenly spaced, so that no two are one.
        assert (rows.diff() >= max(1, n // max(len(rows), 1))).all()
        total += len(rows)
    assert abs(total - rate * 20 * 166) < 1.01


def test_every_row_is_in_a_mixed_state_as_often():
    states = RandomMasks(torch.arange(3), (3,), 0.3, torch.zeros(3))
    generator = torch.Generator().manual_seed(0)
    rows = torch.cat([states._mixed_rows(10, generator) for _ in range(4000)])
    assert (torch.bincount(rows, minlength=10) / 4000 - 0.3).abs().max() < 0.03


def test_windows_lie_inside_the_unit_interval():
    path = drawn()
    stop = path.start + path.width
    assert path.start.min() >= 0
    assert stop.max() <= 1 + 1e-6
    # At some time of every row some component is on its way.
    assert (path.start.amin(1) < 1e-6).all()
    assert ((stop.amax(1) - 1).abs() < 1e-6).all()


def test_what_the_data_do_not_tell_is_missing_in_any_state():
    holes = torch.rand(4000, 12, generator=torch.Generator().manual_seed(1)) < 0.2
    path = drawn(missing=holes)
    assert path.missing[holes].all()
    assert drawn(rate=0.0, missing=holes).missing.equal(holes)


def test_rows_are_seen_when_it_matters_to_their_components():
    path = drawn()
    generator = torch.Generator().manual_seed(2)
    own = torch.rand(len(path.wanted), generator=generator)
    density = TimeDensity(torch.tensor([40.0, 5.0, 1.0, 1.0]))
    level = torch.tensor([10.0, 1.0, 0.2, 0.2])

    def integral(t, inverse_density):
        """A loss of each wanted component by its own time, whose integral is 2.85."""
        theirs = (t[:, None] - path.start) / path.width
        inside = path.wanted & (theirs > 0) & (theirs < 1)
        loss = level[(4 * theirs.clamp(0, 0.999)).long()] / path.width
        return (loss * inside).sum(1) * inverse_density / path.wanted.sum(1)

    even = integral(own, 1.0)
    chance = torch.rand(path.wanted.shape, generator=generator)
    found = integral(*path.shared_times(density(own)[0], density, path.wanted, chance))
    assert abs(float(found.mean()) - 2.85) < 4 * float(found.std()) / len(found) ** 0.5
    assert float(found.std()) < 0.4 * float(even.std())


def test_rows_without_windows_keep_their_times():
    holes = torch.rand(50, 12, generator=torch.Generator().manual_seed(1)) < 0.2
    density = TimeDensity(torch.tensor([1.0, 3.0]))
    own, inverse, _ = density((torch.arange(50) + 0.5) / 50)
    for path in (drawn(n=50, rate=0.0, missing=holes), drawn(n=50, rate=0.0)):
        t, of_rows = path.shared_times(own, density, path.wanted, torch.full((50, 12), 0.5))
        torch.testing.assert_close(t, own)
        torch.testing.assert_close(of_rows, inverse)


def test_a_component_that_is_not_told_is_never_drawn():
    state = torch.tensor([[TARGET, TARGET, OBSERVED, MISSING]])
    told = torch.tensor([[False, True, False, False]])
    start = torch.tensor([[0.0, 0.25, 0.5, 0.75]])
    path = MaskedPath(PATH, state, torch.zeros(D), start, torch.full((1, D), 0.25))
    density = TimeDensity(torch.ones(2))
    found = path.shared_times(torch.full((1,), 0.4), density, told, torch.zeros(1, D))
    torch.testing.assert_close(torch.cat(found), torch.tensor([0.35, 0.25]))


def test_rows_of_which_nothing_is_wanted_have_times():
    path = drawn(n=50, missing=torch.ones(50, 12, dtype=torch.bool))
    density = TimeDensity(torch.ones(2))
    own, chance = torch.full((50,), 0.3), torch.full((50, 12), 0.5)
    for found in path.shared_times(own, density, path.wanted, chance):
        assert torch.isfinite(found).all()
