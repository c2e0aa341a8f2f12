"""Distances against closed forms, and the checks of samples that all metrics share."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from gudlearn.metrics import frechet_distance, kernel_distance, memorization, neighbourhoods


def normal(n, d=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def with_moments(mean, covariance, n=200):
    """Rows whose mean and unbiased covariance are the given ones exactly."""
    X = normal(n, len(mean))
    X -= X.mean(0)
    X = X @ np.linalg.inv(np.linalg.cholesky(np.cov(X, rowvar=False))).T
    return X @ np.linalg.cholesky(covariance).T + mean


# Frechet distance


@pytest.mark.parametrize("seed", range(3))
def test_frechet_distance_is_the_closed_form_of_two_normal_distributions(seed):
    A, B = np.random.default_rng(seed).normal(size=(2, 4, 4))
    C, D = A @ A.T + 0.1 * np.eye(4), B @ B.T + 0.1 * np.eye(4)
    m = np.array([1.0, -2.0, 0.0, 0.5])
    expected = m @ m + np.trace(C + D - 2 * sqrtm(C @ D).real)
    value = frechet_distance(with_moments(m, C), with_moments(np.zeros(4), D))
    assert value == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_fewer_rows_than_features():
    X, Y = normal(5, 20), normal(7, 20, seed=1)
    C, D = np.cov(X, rowvar=False), np.cov(Y, rowvar=False)
    difference = X.mean(0) - Y.mean(0)
    # The matrices are singular, for which `sqrtm` fails.
    cross = np.sqrt(np.linalg.eigvals(C @ D).real.clip(0)).sum()
    expected = difference @ difference + np.trace(C + D) - 2 * cross
    assert frechet_distance(X, Y) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(X, X) == pytest.approx(0, abs=1e-12)


# Kernel distance


def test_kernel_distance_is_the_mean_over_pairs(monkeypatch):
    X, Y = normal(30), normal(40, seed=1) + 0.5

    def kernel(A, B):
        return (A @ B.T / 4 + 1) ** 3

    expected = (
        (kernel(X, X).sum() - np.trace(kernel(X, X))) / (30 * 29)
        + (kernel(Y, Y).sum() - np.trace(kernel(Y, Y))) / (40 * 39)
        - 2 * kernel(X, Y).mean()
    )
    assert kernel_distance(X, Y) == pytest.approx(expected, rel=1e-12)
    # The result is the same for blocks of a few rows.
    monkeypatch.setattr("gudlearn.metrics.distances.MAX_ENTRIES", 100)
    assert kernel_distance(X, Y) == pytest.approx(expected, rel=1e-12)


def test_kernel_distance_has_no_bias():
    values = [kernel_distance(normal(40, 2, k), normal(40, 2, 500 + k)) for k in range(300)]
    # The mean over independent pairs of samples is within five standard errors of zero.
    assert abs(np.mean(values)) < 5 * np.std(values) / np.sqrt(len(values))


def test_the_first_degree_compares_means_only():
    X = normal(2000, 2)
    X -= X.mean(0)
    assert abs(kernel_distance(X, 5 * X, degree=1)) < 0.02
    assert kernel_distance(X, 5 * X, degree=2) > 10


# Features and invalid input

METRICS = [frechet_distance, kernel_distance, neighbourhoods]


@pytest.mark.parametrize("metric", METRICS)
def test_images_are_flattened_and_features_are_the_callers(metric):
    X, Y = normal(30, 12).reshape(30, 2, 3, 2), normal(30, 12, seed=1).reshape(30, 2, 3, 2)
    assert metric(X, Y) == metric(X.reshape(30, 12), Y.reshape(30, 12))

    def features(images):
        return images.mean((1, 2))

    assert metric(X, Y, features=features) == metric(features(X), features(Y))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("fake", "features", "error", "message"),
    [
        (normal(30, 3), None, ValueError, "differ in their number of features: .*'fake': 3"),
        (normal(1), None, ValueError, "fake has 1 rows; at least"),
        (np.full((30, 4), np.nan), None, ValueError, "fake contains NaN or infinity"),
        (normal(30)[:, 0], None, ValueError, r"fake has shape \(30,\)"),
        (normal(30), 3, TypeError, "features=3 must be a callable"),
        (normal(30), lambda X: X.sum(), ValueError, r"features\(real\) has shape \(\)"),
    ],
    ids="width rows nan shape type features".split(),
)
def test_samples_that_are_refused(metric, fake, features, error, message):
    with pytest.raises(error, match=message):
        metric(normal(30), fake, features=features)


def test_counts_that_are_refused():
    with pytest.raises(ValueError, match="k=0 must be a whole number"):
        neighbourhoods(normal(30), normal(30), k=0)
    with pytest.raises(ValueError, match="degree=1.5 must be a whole number"):
        kernel_distance(normal(30), normal(30), degree=1.5)
    with pytest.raises(ValueError, match="real has 5 rows; at least 6"):
        neighbourhoods(normal(5), normal(30))
    with pytest.raises(ValueError, match="one distinct row"):
        memorization(np.zeros((5, 2)), normal(3, 2), normal(3, 2))


# Shifts and strict floating-point errors


@pytest.mark.parametrize("metric", [frechet_distance, neighbourhoods])
def test_distances_do_not_change_if_all_samples_are_shifted(metric):
    X, Y = normal(300, 20), 1.1 * normal(300, 20, seed=1)
    # Float64 resolves 1.5e-8 near 1e8.
    near, far = metric(X, Y), metric(X + 1e8, Y + 1e8)
    if metric is frechet_distance:
        assert far == pytest.approx(near, abs=1e-5)
    else:
        assert far == near


@pytest.mark.parametrize("scale", [1e-200, 1.0])
@pytest.mark.parametrize("metric", METRICS)
def test_strict_floating_point_errors_raise_nothing(metric, scale):
    with np.errstate(all="raise"):
        metric(scale * normal(40, 20), scale * normal(40, 20, seed=1))
