"""The draws of noise in scores: their number, their cost, and the errors that they leave."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from gaussian import COVARIANCE, MEAN, gaussian_rows
from gudlearn import GUDGenerator, Schema, SequentialSchedule
from gudlearn._random import STRATA, keyed_stratified_normal, seed_keys
from gudlearn.data.rows import Rows
from gudlearn.diffusion.likelihood import nll_correction
from gudlearn.diffusion.losses import TimeDensity
from gudlearn.diffusion.paths import WindowedGamma
from gudlearn.preconditioning.joint import JointGaussian
from small import continuous, dependent, small, whole, with_missing

# Noise


def test_groups_of_normals_are_stratified_and_normal():
    z = keyed_stratified_normal(seed_keys(0, 500), 3, [5, 11]).view(2, STRATA, 500, 3)
    stratum = (torch.special.ndtr(z) * STRATA).long().sort(1).values
    assert (stratum == torch.arange(STRATA)[:, None, None]).all()
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > 1e-6
    # Numbers of one draw are independent, and so is each of them of its place in the group.
    correlation = np.corrcoef(z.flatten(0, 2).T.numpy())[np.triu_indices(3, 1)]
    assert np.abs(correlation).max() < 5 / 8000**0.5
    assert z.mean((0, 2, 3)).abs().max() < 5 / 3000**0.5


def test_noise_of_a_row_does_not_depend_on_other_rows_or_groups():
    keys = seed_keys(1, 9)
    both = keyed_stratified_normal(keys, 4, [2, 7])
    assert torch.equal(keyed_stratified_normal(keys[3:5], 4, [7]), both[STRATA:, 3:5])


# Times


@pytest.mark.parametrize("n", [5, 32, 64, 500])
def test_nodes_are_a_quadrature(n):
    density = TimeDensity(torch.linspace(3, 0.1, 32, dtype=torch.float64) ** 2)
    t, weights = density.nodes(n)
    assert (t.diff() > 0).all() and 0 < t[0] and t[-1] < 1
    assert float(weights.sum()) == pytest.approx(1)
    assert abs(len(t) - n) <= 32
    error = abs(float((weights * torch.exp(-3 * t)).sum()) - (1 - np.exp(-3)) / 3)
    assert error < 2 / max(n, 32) ** 2


# The joint Gaussian as control variate


def joint_gaussian(d=5, k=2, seed=0):
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(d, k))
    loadings *= np.sqrt(rng.uniform(0.3, 0.9, d) / np.square(loadings).sum(1))[:, None]
    parts = rng.normal(size=d), rng.uniform(0.5, 2, d), loadings
    return JointGaussian(*(torch.from_numpy(np.array(part)) for part in parts))


def dense(gaussian):
    """Mean and covariance."""
    correlation = gaussian.loadings @ gaussian.loadings.T
    correlation.fill_diagonal_(1.0)
    return gaussian.mean, gaussian.std[:, None] * correlation * gaussian.std


@pytest.mark.parametrize("missing", [None, [1, 4]])
def test_divergence_is_the_expectation_under_the_dense_gaussian(missing):
    gaussian = joint_gaussian()
    rng = np.random.default_rng(1)
    x0, gamma = (torch.from_numpy(rng.normal(size=(3, 5))) for _ in range(2))
    absent = torch.zeros(3, 5, dtype=torch.bool)
    if missing is not None:
        absent[:, missing] = True
    found, distance = gaussian.divergence(x0, gamma, None if missing is None else absent)
    mean, covariance = dense(gaussian)
    for i in range(3):
        kept = ~absent[i]
        # Relative to alpha both are densities of the values plus noise of variance e^gamma.
        noise = torch.diag(gamma[i, kept].exp())
        total = covariance[kept][:, kept] + noise
        offset = x0[i, kept] - mean[kept]
        exact = offset @ torch.linalg.solve(total, offset)
        assert float(distance[i]) == pytest.approx(float(exact))
        log_det = torch.logdet(total) - torch.logdet(noise)
        trace = torch.linalg.solve(total, noise).trace()
        expected = 0.5 * (log_det + distance[i] + trace - kept.sum())
        assert float(found[i]) == pytest.approx(float(expected))


def test_divergences_differ_by_the_bound_of_the_gaussian():
    gaussian = joint_gaussian()
    path = WindowedGamma(np.full(5, -6.0), np.full(5, 8.0), 0.0, 1.0)
    denoise = gaussian.denoiser_on(path)
    x0 = torch.from_numpy(np.random.default_rng(2).normal(size=(1, 5)))

    def nothing(x, gamma):
        # An estimate of 0: relative to it the correction is the whole integrand, up to x0^2.
        return torch.zeros_like(x), denoise(x, gamma, None)

    n, sets = 4000, 6
    t = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    totals = []
    for seed in range(sets):
        eps = torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 5)))
        gamma, rate = path.gamma_and_rate(t)
        terms = nll_correction(nothing, path, x0.expand(n, -1), t, eps)
        plain = 0.5 * rate * (-gamma).exp() * x0**2
        totals.append(float((terms + plain).sum(1).mean()))
    bound, near = gaussian.bound(x0, path, shared=True)
    assert near.all()
    expected = float(bound)
    assert abs(np.mean(totals) - expected) < 5 * np.std(totals, ddof=1) / sets**0.5 + 1e-3


@pytest.fixture(scope="module")
def gaussian_model():
    return small(max_iter=0, preconditioning="joint").fit(gaussian_rows(4000))


def test_scores_of_gaussian_data_have_almost_no_noise(gaussian_model):
    X = gaussian_rows(20, seed=3)
    scores, errors = gaussian_model.score_samples(X, return_std=True)
    exact = stats.multivariate_normal(MEAN, COVARIANCE).logpdf(X)
    # The moments are those of 4000 rows.
    np.testing.assert_allclose(scores, exact, atol=0.4)
    assert np.median(errors) < 0.01 and errors.max() < 0.2
    few = gaussian_model.score_samples(X, n_draws="coarse")
    np.testing.assert_allclose(few, scores, atol=0.2)


def test_conditional_scores_are_those_of_the_gaussian(gaussian_model):
    X, given = gaussian_rows(20, seed=3), [0, 2]
    whole_rows = gaussian_model.score_samples(X)
    with_gaps = X.copy()
    with_gaps[:, [1, 3]] = np.nan
    with pytest.warns(UserWarning, match="conditional_rate=0"):
        of_given = gaussian_model.score_samples(with_gaps, n_draws=128)
    with pytest.warns(UserWarning, match="conditional_rate=0"):
        of_rest = gaussian_model.score_samples(X, given_columns=given, n_draws=128)
    # The chain rule holds for the exact control variate, draw by draw up to its small noise.
    np.testing.assert_allclose(of_given + of_rest, whole_rows, atol=0.2)


def test_the_control_variate_changes_no_expectation(monkeypatch):
    X = dependent(300)
    gen = small(max_iter=5).fit(X)
    times = gen.state_.time_weights
    scores = {}
    for gaussian in (False, True):
        object.__setattr__(times, "gaussian", gaussian)
        scores[gaussian] = gen.score_samples(X[:60], return_std=True, n_draws=256)
    difference = scores[True][0] - scores[False][0]
    error = np.sqrt(scores[True][1] ** 2 + scores[False][1] ** 2)
    assert abs(difference.mean()) < 5 * np.sqrt((error**2).sum()) / len(error) + 2e-3
    # Two columns nearly agree, which the marginals do not know.
    assert times.ratio < 0.5
    assert scores[True][1].mean() < 0.7 * scores[False][1].mean()


def test_far_rows_are_controlled_by_the_marginals():
    gen = small(max_iter=5).fit(dependent(300))
    object.__setattr__(gen.state_.time_weights, "gaussian", True)
    row = np.array([[40.0, -40.0, 3.0]])
    model = gen.fitted_model()
    model.components.gaussian = None
    expected = model.log_likelihood(Rows.of(row))
    np.testing.assert_allclose(gen.score_samples(row), expected, rtol=1e-9)


def test_marginals_control_where_the_joint_gaussian_is_worse():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 400)
    ring = np.column_stack([np.cos(angle), np.sin(angle)]) + 0.05 * rng.normal(size=(400, 2))
    settings = {"schema": Schema(gaussianize=False), "validation_fraction": 0}
    gen = small(max_iter=30, **settings).fit(ring)
    assert gen.state_.time_weights.ratio <= 1
    scores, errors = gen.score_samples(ring[:5], return_std=True)
    assert np.isfinite(scores).all() and (errors > 0).all()


# Errors


@pytest.mark.parametrize("kind", ["numbers", "missing", "bins", "sequential"])
def test_standard_errors_are_those_over_random_states(kind):
    X = {"missing": with_missing(dependent(200)), "bins": whole(200)}.get(kind, dependent(200))
    settings = {"schedule": SequentialSchedule()} if kind == "sequential" else {}
    settings |= {"bin_width": 1.0} if kind == "bins" else {}
    settings |= {"validation_fraction": 0, "preconditioning": "marginal"}
    gen = small(max_iter=20, conditional_rate=0.3, **settings).fit(X)
    runs = []
    for seed in range(12):
        runs.append(gen.set_params(random_state=seed).score_samples(X[:40], return_std=True))
    scores, errors = np.stack(runs).transpose(1, 0, 2)
    true = np.sqrt(scores.var(0, ddof=1).mean())
    stated = np.sqrt((errors**2).mean())
    # The true error has a relative error of 0.05, and that of each row one of up to 0.5.
    assert 0.75 * true < stated < 2.5 * true


def test_more_draws_have_smaller_errors():
    gen = small(max_iter=20, preconditioning="marginal").fit(dependent(200))
    errors = [
        gen.score_samples(dependent(40), n_draws=n, return_std=True)[1].mean() for n in (32, 512)
    ]
    assert errors[1] < 0.4 * errors[0]


def test_the_number_of_draws_is_a_parameter_of_the_estimator():
    X = dependent(100)
    gen = small(max_iter=2, preconditioning="marginal").fit(X)
    auto, one = gen.score_samples(X[:5]), gen.score_samples(X[:5], n_draws=40)
    gen.set_params(n_draws=40)
    np.testing.assert_array_equal(gen.score_samples(X[:5]), one)
    assert gen.score(X[:5]) == pytest.approx(one.mean())
    np.testing.assert_array_equal(gen.score_samples(X[:5], n_draws="auto"), auto)
    components = gen.score_components(X[:5])
    np.testing.assert_allclose(components.sum(1), one, atol=1e-5)


@pytest.mark.parametrize("n_draws", [0, -1, 1.5, "many"])
def test_impossible_numbers_of_draws_are_refused(n_draws):
    gen = small(max_iter=0).fit(continuous())
    with pytest.raises(ValueError, match="n_draws"):
        gen.score_samples(continuous(), n_draws=n_draws)
    with pytest.raises(ValueError, match="n_draws"):
        GUDGenerator(n_draws=n_draws).fit(continuous())


def test_the_flow_has_no_standard_errors():
    gen = small(max_iter=0, likelihood="flow").fit(continuous())
    scores, errors = gen.score_samples(continuous()[:3], return_std=True)
    assert np.isfinite(scores).all() and np.isnan(errors).all()


def test_rows_share_what_depends_on_the_noise_level(monkeypatch):
    gen = small(max_iter=0).fit(dependent(200))
    seen, real = [], torch.linalg.inv_ex

    def inverse(matrices):
        seen.append(len(matrices))
        return real(matrices)

    monkeypatch.setattr(torch.linalg, "inv_ex", inverse)
    gen.score_samples(dependent(100), n_draws=32)
    # One matrix for each node and each Gaussian, not one for each row.
    assert 0 < sum(seen) <= 2 * 64


def test_networks_score_in_single_precision():
    X = dependent(200)
    gen = small(max_iter=10).fit(X)
    model = gen.fitted_model().components
    assert model.denoiser.network.first.weight.dtype == torch.float64
    found, errors = gen.score_samples(X[:50], return_std=True)
    double = SimpleNamespace(**vars(model))
    model._of_scores = double.denoiser
    exact = gen.score_samples(X[:50])
    model._of_scores = double._of_scores
    assert np.abs(found - exact).max() < 0.1 * errors.min()
