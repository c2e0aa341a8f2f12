"""The fit of the joint Gaussian, and the untrained model that it makes."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.decomposition import FactorAnalysis

from gudlearn import GUDGenerator, PCABasis, SequentialSchedule, UNet
from gudlearn.model.state import TimeWeights
from gudlearn.preconditioning.fit_joint import _analyse, fit_joint
from gudlearn.preconditioning.joint import JointGaussian

COVARIANCE = np.array([[1.0, 0.8, -0.5, 0.3], [0.8, 1.5, -0.2, 0.1], [-0.5, -0.2, 2.0, 0.9],
                       [0.3, 0.1, 0.9, 1.2]])  # fmt: skip
MEAN = np.array([3.0, -1.0, 0.0, 100.0])


def gaussian_rows(n, seed=0):
    return np.random.default_rng(seed).multivariate_normal(MEAN, COVARIANCE, n)


def moments_of(factors):
    mean, std, loadings = factors
    correlation = loadings @ loadings.T
    np.fill_diagonal(correlation, 1.0)
    return mean, std[:, None] * correlation * std


def factors_of(generator):
    return generator.state_.preconditioner.distribution.factors


def test_few_columns_have_the_covariance_of_the_rows():
    X = gaussian_rows(5000)
    mean, covariance = moments_of(fit_joint(X))
    np.testing.assert_allclose(mean, X.mean(0), atol=0.05)
    # From most of the rows, and shrunk a little.
    np.testing.assert_allclose(covariance, np.cov(X.T, bias=True), atol=0.03)


def test_values_missing_at_random_do_not_shift_the_moments():
    X = gaussian_rows(4000)
    # Columns 1 and 3 are observed where column 0 is small: the means of those values are biased.
    missing = np.zeros(X.shape, bool)
    missing[X[:, 0] > MEAN[0] + 0.3] = [False, True, False, True]
    partial = np.where(missing, np.nan, X)
    assert abs(np.nanmean(partial[:, 1]) - MEAN[1]) > 0.3
    mean, covariance = moments_of(fit_joint(np.where(missing, 0.0, X), missing))
    np.testing.assert_allclose(mean, MEAN, atol=0.08)
    np.testing.assert_allclose(covariance, COVARIANCE, atol=0.15)


@pytest.mark.parametrize("units", [1e-9, 1e9])
def test_the_fit_scales_with_the_units_of_columns(units):
    X, scale = gaussian_rows(1000), np.array([1.0, units, 1.0, units])
    mean, std, loadings = fit_joint(X)
    found = fit_joint(X * scale, std=X.std(0) * scale)
    for part, expected in zip(found, (mean * scale, std * scale, loadings), strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-6)


def test_complete_rows_have_the_factors_of_the_general_algorithm():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 30)) + rng.normal(size=(400, 30))
    rows = torch.from_numpy(X - X.mean(0))
    observed = torch.ones_like(rows)
    # A row without observed values does nothing but choose the general algorithm.
    empty = torch.zeros(1, 30, dtype=torch.float64)
    general = _analyse(torch.cat([rows, empty]), torch.cat([observed, empty]), 5)
    for found, expected in zip(_analyse(rows, observed, 5), general, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)
    _, loadings, specific = _analyse(rows, observed, 5)
    covariance = (loadings @ loadings.T + specific.diag()).numpy()
    found = stats.multivariate_normal(X.mean(0), covariance)
    assert found.logpdf(X).mean() == pytest.approx(FactorAnalysis(5).fit(X).score(X), abs=0.02)


def test_factors_of_many_columns_are_found():
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=(40, 3)) / 2
    X = rng.normal(size=(3000, 3)) @ loadings.T + rng.normal(size=(3000, 40))
    _, covariance = moments_of(fit_joint(X))
    np.testing.assert_allclose(covariance, loadings @ loadings.T + np.eye(40), atol=0.2)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 12, 20, 2000])
def test_independent_columns_have_none(n):
    assert fit_joint(np.random.default_rng(0).normal(size=(n, 5))) is None


@pytest.mark.parametrize("n_observed", [1, 3, 4, 12])
def test_hardly_observed_columns_do_not_predict_others(n_observed):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(200, 3))
        X[:, 1] += 2 * X[:, 0]
        missing = np.zeros(X.shape, bool)
        missing[rng.permutation(200)[n_observed:], 2] = True
        _, _, loadings = fit_joint(np.where(missing, 0.0, X), missing)
        correlation = loadings @ loadings.T
        assert not correlation[2, :2].any()
        assert correlation[0, 1] > 0.8


def test_rows_without_observed_values_change_nothing():
    X = gaussian_rows(300)
    empty = np.zeros((300, 4))
    missing = np.vstack([np.zeros(X.shape, bool), np.ones(X.shape, bool)])
    mean, covariance = moments_of(fit_joint(np.vstack([X, empty]), missing))
    np.testing.assert_allclose(mean, X.mean(0), atol=0.1)
    np.testing.assert_allclose(covariance, np.cov(X.T), atol=0.15)


def test_rows_far_out_do_not_decide_for_all():
    X = gaussian_rows(500)
    X[::25] += 50 * np.random.default_rng(1).normal(size=(20, 4))
    _, _, loadings = fit_joint(X)
    # Twenty rows far out have another distribution; those held out must not prevent the fit.
    assert (np.square(loadings).sum(1) > 0.2).all()
    rare = np.zeros((500, 3))
    rare[[3, 77, 140], [0, 1, 2]] = 1.0
    assert fit_joint(np.hstack([gaussian_rows(500), rare])) is not None


@pytest.mark.parametrize("n_rows", [200, 5000, 9000])
def test_columns_observed_now_and_then_have_finite_fits(n_rows):
    X = np.random.default_rng(0).normal(size=(n_rows, 3))
    X[:, 1] += X[:, 0]
    X[np.arange(n_rows) % 5 > 0, 2] = np.nan
    gen = GUDGenerator(max_iter=0, preconditioning="joint").fit(X)
    assert np.isfinite(factors_of(gen)[2]).all()


def test_factors_of_few_rows_are_shrunk_to_predict_others():
    gains = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X, fresh = ((rng.normal(size=(n, 1)) + rng.normal(size=(n, 12))) for n in (60, 2000))
        fitted = stats.multivariate_normal(*moments_of(fit_joint(X))).logpdf(fresh).mean()
        sample = stats.multivariate_normal(X.mean(0), np.cov(X.T, bias=True)).logpdf(fresh).mean()
        gains.append(fitted - sample)
    assert np.mean(gains) > 0.3


def test_multiples_of_one_column_have_a_finite_fit():
    x = np.random.default_rng(0).normal(size=(100, 1))
    factors = fit_joint(np.hstack([x, x, -2 * x, 1e-3 * x]))
    gaussian = JointGaussian(*map(torch.from_numpy, factors))
    y = torch.tensor([[1.0, 1.0, -2.0, 1e-3]], dtype=torch.float64)
    gamma = torch.full((1, 4), -20.0, dtype=torch.float64)
    assert all(torch.isfinite(v).all() for v in gaussian.condition_and_update(y, gamma))
    # The third follows from the first, which is nearly clean.
    gamma[0, 2] = 20.0
    updated, level = gaussian.condition_and_update(y, gamma)
    found = updated[0, 2] / torch.sigmoid(-level[0, 2]).sqrt()
    assert found.item() == pytest.approx(-2, abs=0.02)


# The untrained generator of Gaussian data


@pytest.fixture(scope="module")
def untrained():
    X = gaussian_rows(4000)
    return GUDGenerator(max_iter=0, preconditioning="joint", random_state=0).fit(X), X


def user_moments(generator):
    """Mean and covariance of the untrained model, in the user's units."""
    mean, covariance = moments_of(factors_of(generator))
    basis = generator.basis_
    return basis.mean_ + basis.scale_ * mean, basis.scale_[:, None] * covariance * basis.scale_


def test_untrained_density_is_the_gaussian_one(untrained):
    generator, _ = untrained
    rows = gaussian_rows(100, seed=1)
    exact = stats.multivariate_normal(*user_moments(generator)).logpdf(rows)
    # Marginals have a further, wide component, and are not quite Gaussian.
    assert abs(np.mean(generator.score_samples(rows) - exact)) < 0.03
    apart = GUDGenerator(max_iter=0, preconditioning="marginal").fit(gaussian_rows(4000))
    assert generator.score(rows) > apart.score(rows) + 0.5


@pytest.mark.filterwarnings("ignore:This model was fitted with conditional_rate=0")
def test_untrained_conditionals_are_those_of_the_gaussian(untrained):
    generator, _ = untrained
    rows = gaussian_rows(100, seed=1)
    mean, covariance = user_moments(generator)
    whole = stats.multivariate_normal(mean, covariance)
    part = stats.multivariate_normal(mean[:2], covariance[:2, :2])
    exact = whole.logpdf(rows) - part.logpdf(rows[:, :2])
    found = generator.score_samples(rows, given_columns=[0, 1])
    assert abs(np.mean(found - exact)) < 0.03
    rows = rows[:40]
    partial = rows.copy()
    partial[:, 2:] = np.nan
    found = generator.conditional_mean(partial, n_samples=60)
    gain = covariance[2:, :2] @ np.linalg.inv(covariance[:2, :2])
    expected = mean[2:] + (rows[:, :2] - mean[:2]) @ gain.T
    error = np.abs(found[:, 2:] - expected).mean()
    # The means have a standard error of 0.15 in the mean of the two columns.
    assert error < 0.2


def test_expected_values_are_those_of_the_gaussian_after_few_draws():
    X = gaussian_rows(4000)
    generator = GUDGenerator(max_iter=0, conditional_rate=0.5, random_state=0).fit(X)
    mean, covariance = user_moments(generator)
    rows = gaussian_rows(200, seed=1)
    partial = rows.copy()
    partial[:, 2:] = np.nan
    assert generator.conditioning_method([0, 1]) == "exact"
    found = generator.conditional_mean(partial, n_samples=8)
    gain = covariance[2:, :2] @ np.linalg.inv(covariance[:2, :2])
    expected = mean[2:] + (rows[:, :2] - mean[:2]) @ gain.T
    left = np.sqrt(np.diag(covariance[2:, 2:] - gain @ covariance[:2, 2:]))
    # Means of eight draws have an error of 0.35 conditional standard deviations.
    assert (np.sqrt(np.square(found[:, 2:] - expected).mean(0)) < 0.05 * left).all()
    np.testing.assert_array_equal(found[:, :2], rows[:, :2])


@pytest.mark.parametrize("schedule", ["linear", "sequential"])
def test_expected_values_of_two_clusters_are_between_them(schedule):
    rng = np.random.default_rng(0)
    cluster = rng.random((4000, 1)) < 0.3
    X = np.where(cluster, 2.5, -2.5) + 0.5 * rng.normal(size=(4000, 2))
    X[:, 0] = rng.normal(size=4000)
    generator = GUDGenerator(
        schedule=schedule, preconditioning="mixture", max_iter=0, conditional_rate=0.5,
        random_state=0,
    ).fit(X)  # fmt: skip
    partial = np.tile([[0.0, np.nan]], (20, 1))
    found = generator.conditional_mean(partial, n_samples=200)[:, 1]
    # The distribution is not normal, and 4000 draws have a standard error of 0.04.
    assert abs(found.mean() - X[:, 1].mean()) < 0.13


def test_importance_sampling_reduces_the_noise_of_untrained_scores(untrained):
    generator, X = untrained

    def noise(generator):
        draws = [generator.set_params(random_state=k).score_samples(X[:40]) for k in range(6)]
        return np.std(draws, axis=0).mean()

    weighted, uniform = copy.copy(generator), copy.copy(generator)
    uniform.state_ = replace(generator.state_, time_weights=TimeWeights(np.ones(32)))
    assert noise(weighted) < 0.85 * noise(uniform)


def test_sequential_scores_have_no_more_noise(untrained):
    generator, X = untrained

    def scores():
        return [generator.set_params(random_state=k).score_samples(X[:60]) for k in range(6)]

    together, fitted = scores(), generator.schedule_
    generator.schedule_ = SequentialSchedule(window=1, order=[0, 1, 2, 3])
    sequential = scores()
    generator.schedule_ = fitted
    again = scores()
    generator.set_params(random_state=0)
    np.testing.assert_array_equal(again, together)
    assert np.std(sequential, axis=0).mean() < 1.3 * np.std(together, axis=0).mean()
    # For a Gaussian the order does not matter.
    assert np.mean(sequential) == pytest.approx(np.mean(together), abs=0.03)


def test_principal_components_need_no_factors():
    generator = GUDGenerator(PCABasis(), max_iter=0, preconditioning="joint")
    generator.fit(gaussian_rows(500))
    assert factors_of(generator) is None


def test_many_components_have_no_joint_gaussian():
    X = np.random.default_rng(0).normal(size=(20, 17, 16))
    with pytest.raises(ValueError, match="'joint' takes up to 256 components, but X has 272"):
        GUDGenerator(preconditioning="joint").fit(X)
    assert factors_of(GUDGenerator(max_iter=0).fit(X)) is None


# Images


def fields(n, width, seed=0):
    """Gaussian images of 4 rows: smooth along the height, autoregressive along the width."""
    gaps = [np.abs(np.subtract.outer(range(k), range(k))) for k in (4, width)]
    covariance = np.kron(np.exp(-0.5 * gaps[0] ** 2) + 0.1 * np.eye(4), 0.8 ** gaps[1])
    rows = np.random.default_rng(seed).multivariate_normal(np.zeros(4 * width), covariance, n)
    return rows.reshape(n, 4, width), covariance


@pytest.fixture(scope="module")
def untrained_fields():
    generator = GUDGenerator(network=UNet(width=8), max_iter=0, random_state=0)
    return generator.fit(fields(4000, 6)[0])


def test_few_images_have_a_joint_gaussian():
    generator = GUDGenerator(network=UNet(width=8), max_iter=0).fit(fields(45, 16)[0])
    assert factors_of(generator) is not None


def test_discrete_images_have_a_joint_gaussian_on_request():
    X = np.rint(4 * fields(60, 4)[0]).astype(int)
    for preconditioning, expected in (("auto", False), ("joint", True)):
        generator = GUDGenerator(
            network=UNet(width=8), max_iter=0, preconditioning=preconditioning
        ).fit(X)
        assert (factors_of(generator) is not None) is expected


@pytest.mark.filterwarnings("ignore:This model was fitted with conditional_rate=0")
def test_untrained_images_have_the_gaussian_density_and_its_conditionals(untrained_fields):
    X, covariance = fields(400, 6, seed=1)
    rows = X.reshape(400, -1)

    def agrees(found, expected):
        # Five standard errors of the mean difference, which is about 0.1 nats.
        difference = found - expected
        return abs(difference.mean()) < 5 * difference.std() / len(rows) ** 0.5

    exact = stats.multivariate_normal(np.zeros(24), covariance)
    assert agrees(untrained_fields.score_samples(X), exact.logpdf(rows))
    left = np.arange(24) % 6 < 3
    part = stats.multivariate_normal(np.zeros(12), covariance[np.ix_(left, left)])
    expected = exact.logpdf(rows) - part.logpdf(rows[:, left])
    assert agrees(untrained_fields.score_samples(X, given_columns=left.reshape(4, 6)), expected)


@pytest.mark.filterwarnings("ignore:This model was fitted with conditional_rate=0")
def test_untrained_fields_are_extended_with_their_own_covariance(untrained_fields):
    start = fields(200, 6, seed=1)[0]
    longer = untrained_fields.extend(start, 12, context=3, active=3, steps_per_column=6)
    late = longer[:, :, -8:]

    def agrees(by_row, expected):
        # Five standard errors. A row that gets far out is left to its marginals and may run away.
        return abs(by_row.mean() - expected) < 5 * by_row.std() / len(by_row) ** 0.5

    power = np.square(late).mean((1, 2))
    assert agrees(power, 1.1)
    for lag in (1, 2, 4):
        product = (late[..., :-lag] * late[..., lag:]).mean((1, 2))
        # A ratio of means: its deviation by row, in units of the mean power.
        assert agrees((product - 0.8**lag * power) / power.mean(), 0.0)


def test_a_copy_of_the_fitted_model_has_the_same_scores(untrained):
    generator, X = untrained
    again = pickle.loads(pickle.dumps(generator))
    np.testing.assert_array_equal(again.score_samples(X[:5]), generator.score_samples(X[:5]))


def test_sequential_components_follow_the_chain_rule(untrained):
    generator, _ = untrained
    fitted, rows = generator.schedule_, gaussian_rows(200, seed=1)
    generator.schedule_ = SequentialSchedule(window=1, order=[0, 1, 2, 3])
    split = generator.score_components(rows).mean(0)
    generator.schedule_ = fitted
    mean, covariance = user_moments(generator)
    log_p = [0.0] + [
        stats.multivariate_normal(mean[:k], covariance[:k, :k]).logpdf(rows[:, :k]).mean()
        for k in range(1, 5)
    ]
    np.testing.assert_allclose(split, np.diff(log_p), atol=0.06)
