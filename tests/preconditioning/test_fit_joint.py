"""The fit of the joint Gaussian."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.decomposition import FactorAnalysis

from gaussian import COVARIANCE, MEAN, factors_of, fields, gaussian_rows, moments_of
from gudlearn import UNet
from gudlearn.preconditioning.fit_joint import _analyse, factors_of_covariance, fit_joint
from gudlearn.preconditioning.joint import JointGaussian
from small import small


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
    gen = small(max_iter=0, preconditioning="joint").fit(X)
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


def test_principal_components_need_no_factors():
    gen = small(basis="pca", max_iter=0, preconditioning="joint").fit(gaussian_rows(500))
    assert factors_of(gen) is None


def test_many_components_have_no_joint_gaussian():
    X = np.random.default_rng(0).normal(size=(20, 17, 16))
    with pytest.raises(ValueError, match="'joint' takes up to 256 components, but X has 272"):
        small(preconditioning="joint").fit(X)
    assert factors_of(small(max_iter=0).fit(X)) is None


def test_few_images_have_a_joint_gaussian():
    X, _ = fields(45, 16)
    assert factors_of(small(network=UNet(width=8), max_iter=0).fit(X)) is not None


def test_discrete_images_have_a_joint_gaussian_on_request():
    X = np.rint(4 * fields(60, 4)[0]).astype(int)
    for preconditioning, expected in (("auto", False), ("joint", True)):
        gen = small(network=UNet(width=8), max_iter=0, preconditioning=preconditioning).fit(X)
        assert (factors_of(gen) is not None) is expected


@pytest.mark.parametrize("most_factors", [5, 2])
def test_factors_of_a_covariance_have_that_covariance(most_factors):
    rng = np.random.default_rng(0)
    scale, loadings = np.array([1.0, 10.0, 0.1, 1.0, 3.0, 1.0]), rng.normal(size=(6, 2))
    covariance = scale[:, None] * (loadings @ loadings.T + np.diag([1, 2, 1, 3, 1, 2])) * scale
    mean, std, W = factors_of_covariance(np.arange(6.0), covariance, most_factors)
    correlation = W @ W.T
    np.fill_diagonal(correlation, 1.0)
    np.testing.assert_array_equal(mean, np.arange(6.0))
    np.testing.assert_allclose(std, np.sqrt(np.diag(covariance)), rtol=1e-2)
    # Expectation-maximisation of two factors stops after 40 iterations.
    found = std[:, None] * correlation * std / np.outer(scale, scale)
    np.testing.assert_allclose(found, covariance / np.outer(scale, scale), atol=0.1)


def test_nearly_collinear_columns_have_as_many_factors_as_they_need():
    rng, n_columns = np.random.default_rng(0), 37
    axes, _ = np.linalg.qr(rng.normal(size=(n_columns, n_columns)))
    covariance = axes * np.geomspace(1, 1e-3, n_columns) @ axes.T
    Z = rng.multivariate_normal(np.zeros(n_columns), covariance, 3000, method="cholesky")
    assert fit_joint(Z)[2].shape[1] == 16
    mean, std, loadings = fit_joint(Z, collinear=True)
    assert loadings.shape[1] == n_columns - 1
    correlation = loadings @ loadings.T
    np.fill_diagonal(correlation, 1.0)
    found = stats.multivariate_normal(mean, std[:, None] * correlation * std)
    exact = stats.multivariate_normal(np.zeros(n_columns), covariance)
    rows = rng.multivariate_normal(np.zeros(n_columns), covariance, 2000, method="cholesky")
    # 37 means and 703 covariances, fitted to 3,000 rows, cost 740 / 6,000 nats.
    cost = exact.logpdf(rows) - found.logpdf(rows)
    assert cost.mean() < 740 / 6000 + 5 * cost.std() / 2000**0.5
    # Sixteen are enough for columns with few factors and much noise.
    few = rng.normal(size=(3000, 3)) @ rng.normal(size=(3, n_columns))
    assert fit_joint(few + rng.normal(size=few.shape), collinear=True)[2].shape[1] == 16
