"""Rows with values missing at random: mixtures of Gaussians, and marginals of completed rows."""

import numpy as np
import pytest
import torch
from scipy import stats

from gudlearn import Schema
from gudlearn.preconditioning.completion import (
    completed_by_factors,
    completed_by_mixture,
    fit_completion,
)
from gudlearn.preconditioning.gaussians import (
    Gaussians,
    ObservedRows,
    draw_missing,
    fit_gaussians,
    log_likelihood,
)
from small import small

COVARIANCE = np.array([[1.0, 0.8, 0.3], [0.8, 1.0, 0.5], [0.3, 0.5, 1.0]])


def hidden_by_the_first(X, seed=1, slope=2.5):
    """Mask of missing values: the second column, the more often the larger the first."""
    missing = np.zeros(X.shape, bool)
    probability = 1 / (1 + np.exp(-slope * X[:, 0]))
    missing[:, 1] = np.random.default_rng(seed).random(len(X)) < probability
    return missing


def gaussian_rows(n, seed=0):
    return np.random.default_rng(seed).multivariate_normal(np.zeros(3), COVARIANCE, n)


def square_rows(n, seed=0):
    """The second column is the square of the first, with noise."""
    X = gaussian_rows(n, seed)
    X[:, 1] = X[:, 0] ** 2 + 0.5 * np.random.default_rng(seed + 9).normal(size=n)
    return X


def test_one_gaussian_is_unbiased_if_values_are_missing_at_random():
    X = gaussian_rows(20_000)
    missing = hidden_by_the_first(X)
    assert abs(X[~missing[:, 1], 1].mean()) > 0.4
    found = fit_gaussians(ObservedRows(X, missing), 1)
    # The regression of column 1 on the others is estimated from half of the rows, which lie off
    # centre: its mean has a standard error of about 0.65 (regression error) * 2 / sqrt(20,000).
    np.testing.assert_allclose(found.means[0], 0.0, atol=5 * 0.65 * 2 / 20_000**0.5)
    np.testing.assert_allclose(found.covariances[0], COVARIANCE, atol=5 * 3 / 20_000**0.5)


def test_the_likelihood_is_that_of_the_observed_values():
    rng, missing = np.random.default_rng(0), None
    means = torch.tensor([[0.0, 1.0, -1.0], [3.0, 0.0, 2.0]], dtype=torch.float64)
    covariances = torch.from_numpy(np.stack([COVARIANCE, 2 * COVARIANCE[::-1, ::-1].copy()]))
    mixture = Gaussians(torch.tensor([0.3, 0.7], dtype=torch.float64), means, covariances)
    Z = rng.normal(size=(12, 3))
    missing = rng.random(Z.shape) < 0.4
    found = log_likelihood(ObservedRows(Z, missing), mixture).numpy()
    for row, absent, value in zip(Z, missing, found, strict=True):
        seen, exact = np.flatnonzero(~absent), 1.0
        if len(seen):
            exact = sum(
                float(w) * stats.multivariate_normal(m[seen], C[np.ix_(seen, seen)]).pdf(row[seen])
                for w, m, C in zip(*(part.numpy() for part in mixture), strict=True)
            )
        assert value == pytest.approx(np.log(exact), abs=1e-9)


def test_expectation_maximisation_never_lowers_the_likelihood():
    X = square_rows(600)
    rows = ObservedRows(X, hidden_by_the_first(X))
    scores = [
        float(log_likelihood(rows, fit_gaussians(rows, 3, iterations=k)).mean())
        for k in (1, 3, 6, 12, 24)
    ]
    # The common covariance of the prior may cost a little.
    assert np.diff(scores).min() > -1e-3 and scores[-1] > scores[0] + 0.1


def test_missing_values_are_drawn_given_the_observed_ones():
    n, row = 20_000, np.array([1.5, 0.0, -0.5])
    mixture = Gaussians(
        torch.ones(1, dtype=torch.float64), torch.zeros(1, 3, dtype=torch.float64),
        torch.from_numpy(COVARIANCE)[None],
    )  # fmt: skip
    Z, missing = np.tile(row, (n, 1)), np.zeros((n, 3), bool)
    missing[:, 1] = True
    drawn = draw_missing(ObservedRows(Z, missing), mixture, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn[:, [0, 2]], Z[:, [0, 2]])
    regression = np.linalg.solve(COVARIANCE[np.ix_([0, 2], [0, 2])], COVARIANCE[[0, 2], 1])
    variance = 1 - regression @ COVARIANCE[[0, 2], 1]
    error = (variance / n) ** 0.5
    assert drawn[:, 1].mean() == pytest.approx(row[[0, 2]] @ regression, abs=5 * error)
    assert drawn[:, 1].var() == pytest.approx(variance, rel=5 * (2 / n) ** 0.5)


def test_factors_draw_what_the_same_gaussian_draws():
    n = 20_000
    mean, std = np.array([1.0, -2.0, 0.5]), np.array([1.0, 3.0, 0.1])
    loadings = np.array([[0.9, 0.1], [0.6, 0.5], [0.2, 0.7]])
    correlation = loadings @ loadings.T
    np.fill_diagonal(correlation, 1.0)
    covariance = std[:, None] * correlation * std
    Z, missing = np.tile(mean + 1.5 * std, (n, 1)), np.zeros((n, 3), bool)
    missing[:, :2] = True
    drawn = completed_by_factors(Z, missing, (mean, std, loadings))
    np.testing.assert_array_equal(drawn[:, 2], Z[:, 2])
    expected = mean[:2] + covariance[:2, 2] / covariance[2, 2] * 1.5 * std[2]
    rest = covariance[:2, :2] - np.outer(covariance[:2, 2], covariance[:2, 2]) / covariance[2, 2]
    error = np.sqrt(np.diag(rest) / n)
    assert (np.abs(drawn[:, :2].mean(0) - expected) < 5 * error).all()
    scale = np.sqrt(np.outer(np.diag(rest), np.diag(rest)))
    found = np.cov(drawn[:, :2].T)
    np.testing.assert_allclose(found / scale, rest / scale, atol=5 * (2 / n) ** 0.5)


def test_as_many_gaussians_are_fitted_as_held_out_rows_pay_for():
    X = gaussian_rows(2000)
    assert fit_completion(X, hidden_by_the_first(X)) is None
    # Few rows, and wide ones, have one Gaussian.
    assert fit_completion(X[:50], hidden_by_the_first(X[:50])) is None
    X = square_rows(2000)
    missing = hidden_by_the_first(X, slope=1.0)
    assert abs(X[~missing[:, 1], 0].mean()) > 0.3
    gaussians = fit_completion(X, missing)
    assert len(gaussians.weights) >= 4
    off = completed_by_mixture(X, missing, gaussians)[missing[:, 1], 1] - X[missing[:, 1], 1]
    # One Gaussian is off by 0.7: it continues the slope of the rows where column 0 is small.
    assert abs(off.mean()) < 0.2


@pytest.mark.parametrize("rows, tolerance", [(gaussian_rows, 0.1), (square_rows, 0.2)])
def test_the_untrained_model_is_unbiased_if_values_are_missing_at_random(rows, tolerance):
    X = rows(3000)
    missing = hidden_by_the_first(X, slope=2.5 if rows is gaussian_rows else 1.0)
    bias_of_observed = X[~missing[:, 1]].mean(0) - X.mean(0)
    assert np.abs(bias_of_observed).max() > 0.3
    known = np.where(missing, np.nan, X)
    gen = small(max_iter=0, schema=Schema(gaussianize=False)).fit(known)
    marginal = gen.state_.preconditioner.marginals()
    mean = gen.basis_.mean_ + gen.basis_.scale_ * marginal.mean.numpy()
    # The standard errors are 0.02 to 0.03.
    np.testing.assert_allclose(mean, X.mean(0), atol=tolerance)
    # Where columns are mapped to normal ones, too: samples add a standard error.
    drawn = small(max_iter=0).fit(known).sample(4000)
    sampled = np.abs(drawn.mean(0) - X.mean(0))
    assert (sampled < tolerance + 5 * X.std(0) / 4000**0.5).all()
