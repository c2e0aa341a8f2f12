"""Distances against closed forms, neighbourhoods against brute force, copies that were planted."""

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
def test_frechet_distance_is_the_closed_form_of_two_normal_laws(seed):
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
    # Of singular matrices only the eigenvalues of the product are safe.
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
    # The same in blocks of a few rows.
    monkeypatch.setattr("gudlearn.metrics.distances.ENTRIES", 100)
    assert kernel_distance(X, Y) == pytest.approx(expected, rel=1e-12)


def test_kernel_distance_has_no_bias():
    values = [kernel_distance(normal(40, 2, k), normal(40, 2, 500 + k)) for k in range(300)]
    # The mean over independent pairs of samples, within four standard errors of zero.
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))


def test_the_first_degree_compares_means_only():
    X = normal(2000, 2)
    X -= X.mean(0)
    assert abs(kernel_distance(X, 5 * X, degree=1)) < 0.02
    assert kernel_distance(X, 5 * X, degree=2) > 10


# Neighbourhoods


def brute_force(real, fake, k):
    def distances(A, B):
        return np.sqrt(np.square(A[:, None] - B[None]).sum(-1))

    def radius(A):
        return np.sort(distances(A, A), axis=1)[:, k]

    in_real = distances(fake, real) <= radius(real) + 1e-9
    in_fake = distances(real, fake) <= radius(fake) + 1e-9
    return (
        in_real.any(1).mean(), in_fake.any(1).mean(), in_real.sum(1).mean() / k,
        in_real.any(0).mean(),
    )  # fmt: skip


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("entries", [2**22, 50])
def test_neighbourhoods_agree_with_their_definition(k, entries, monkeypatch):
    monkeypatch.setattr("gudlearn.metrics.neighbours.ENTRIES", entries)
    real, fake = normal(40, 3), 0.7 * normal(30, 3, seed=1) + 0.4
    found = neighbourhoods(real, fake, k=k)
    values = (found.precision, found.recall, found.density, found.coverage)
    np.testing.assert_allclose(values, brute_force(real, fake, k))


def test_what_each_figure_sees():
    real = np.vstack([normal(300), normal(300, seed=1) + 20])
    one_mode = normal(600, seed=2)
    missing = neighbourhoods(real, one_mode)
    assert missing.precision > 0.9 and missing.density > 0.9
    assert missing.recall < 0.6 and missing.coverage < 0.6
    stray = np.vstack([normal(300, seed=2), normal(300, seed=3) + 20])
    stray[::2] += 100
    spoilt = neighbourhoods(real, stray)
    assert spoilt.precision < 0.55 and spoilt.density < 0.6
    same = neighbourhoods(real, np.vstack([normal(300, seed=4), normal(300, seed=5) + 20]))
    assert same.density == pytest.approx(1, abs=0.1) and same.coverage > 0.9


# Copies


@pytest.mark.parametrize("d", [3, 10])
@pytest.mark.parametrize("n_held_out", [200, 1000])
def test_planted_copies_of_a_twentieth_are_caught(d, n_held_out):
    train, held_out, generated = normal(1000, d), normal(n_held_out, d, 1), normal(1000, d, 2)
    honest = memorization(train, held_out, generated)
    assert honest.p_value > 0.01
    planted = generated.copy()
    planted[:50] = train[:50] + 1e-6
    caught = memorization(train, held_out, planted)
    assert caught.p_value < 0.01
    assert caught.share - honest.share == pytest.approx(0.05, abs=0.01)
    assert (caught.ratios[:50] < 1e-3).all()
    assert caught.baseline == honest.baseline


def test_fewer_copies_than_among_the_held_out_rows_prove_nothing():
    train, generated = normal(1000), normal(1000, seed=2)
    assert memorization(train, train[:500] + 1e-6, generated).p_value > 0.99


def test_values_that_many_rows_share_are_no_copies():
    rng = np.random.default_rng(0)
    train, held_out, generated = rng.integers(0, 3, size=(3, 500, 2))
    assert memorization(train, held_out, generated).p_value > 0.01


# Features and bad input

METRICS = [frechet_distance, kernel_distance, neighbourhoods]


@pytest.mark.parametrize("metric", METRICS)
def test_images_are_flattened_and_features_are_the_callers(metric):
    X, Y = normal(30, 12).reshape(30, 2, 3, 2), normal(30, 12, seed=1).reshape(30, 2, 3, 2)
    assert metric(X, Y) == metric(X.reshape(30, 12), Y.reshape(30, 12))

    def features(images):
        return images.mean((1, 2))

    assert metric(X, Y, features=features) == metric(features(X), features(Y))


def test_copies_are_looked_for_among_features():
    three = [normal(40, 12, seed=k).reshape(40, 2, 3, 2) for k in range(3)]

    def features(images):
        return images.mean((1, 2))

    found, expected = memorization(*three, features=features), memorization(*map(features, three))
    assert (found.share, found.p_value) == (expected.share, expected.p_value)
    np.testing.assert_array_equal(found.ratios, expected.ratios)
    flat = memorization(*(X.reshape(40, 12) for X in three))
    np.testing.assert_array_equal(memorization(*three).ratios, flat.ratios)


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
