"""Densities of noisy rows and noise levels, and their normal scores."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import ndtri
from scipy.stats import multivariate_normal, norm, spearmanr

from gudlearn.preconditioning.noisy_densities import (
    NoisyDensities,
    NormalScores,
    StandardColumns,
    WhiteComponents,
    log_noisy_densities,
    noise_levels,
)

RNG = np.random.default_rng(0)
LOWEST = np.full(5, -1e30)


def numbers(F):
    return np.zeros(F, dtype=bool)


@pytest.mark.parametrize("n_columns", [1, 2])
def test_the_density_is_that_of_noisy_reference_rows(n_columns):
    x, c = RNG.normal(size=(5, n_columns)), RNG.normal(size=(40, n_columns))
    cov = 0.05**2 * n_columns * np.eye(n_columns)
    kernels = np.mean([multivariate_normal(row, cov).pdf(x) for row in c], axis=0)
    background = np.prod(np.exp(-np.abs(x) / 2) / 4, axis=1)
    found = log_noisy_densities(
        cdist(x, c, "sqeuclidean").astype(np.float32), n_columns, np.log(background)
    )
    # Squares in float32 have relative errors of 1e-7, and the exponents are at most 1e4.
    np.testing.assert_allclose(found, np.log(0.99 * kernels + 0.01 * background), atol=1e-3)


def test_the_background_integrates_to_one():
    grid = np.linspace(-80, 80, 16001)[:, None]
    columns = StandardColumns(RNG.normal(size=(10, 1)), numbers(1))
    density = np.exp(columns.log_background(grid, np.array([0])))
    assert density.sum() * 0.01 == pytest.approx(1, abs=1e-5)


def test_reference_rows_at_infinite_distance_are_left_out():
    D = np.array([[1.0, np.inf, 4.0], [np.inf] * 3], dtype=np.float32)
    found = log_noisy_densities(D, 1, LOWEST[:2])
    kept = log_noisy_densities(D[:1, [0, 2]], 1, LOWEST[:1])
    assert found[0] == kept[0] and np.isnan(found[1])
    levels = noise_levels(D.astype(float), 4, 5)
    assert levels[0] == pytest.approx((1 + 2) / 2 / 2) and np.isnan(levels[1])
    assert noise_levels(D.astype(float), 4, 1)[0] == pytest.approx(1 / 2)


def test_the_noise_level_of_a_noisy_row_is_estimated():
    F, rng = 2000, np.random.default_rng(0)
    c = rng.normal(size=F)
    for s in (0.5, 2.0):
        x = c + s * rng.normal(size=(20, F))
        found = noise_levels(cdist(x, np.tile(c, (5, 1)), "sqeuclidean"), F, 5)
        # |x - c|² / F has a mean of s² and a relative standard deviation of sqrt(2 / F).
        assert found.mean() == pytest.approx(s, rel=5 / np.sqrt(2 * F * 20))


def test_normal_scores_are_those_of_the_distribution_function():
    sample = np.array([3.0, 1.0, np.nan, 1.0, 2.0])
    normal = NormalScores(sample)
    np.testing.assert_allclose(
        normal(np.array([1.0, 1.5, 3.0])), ndtri([2.5 / 5, 2.5 / 5, 4.5 / 5])
    )
    below = normal(np.array([0.5, 0.0, -1e9]))
    assert below[0] < ndtri(0.5 / 5) and below[2] < below[1] < below[0]
    assert np.isnan(normal(np.array([np.nan]))[0])


def test_scores_of_sampled_normals_are_normal():
    sample, x = RNG.normal(size=(2, 4000))
    z = NormalScores(sample)(x)
    # A distribution function of n values has errors of at most 1 / (2 sqrt(n)).
    inside = np.abs(x) < 1.5
    assert np.abs(norm.cdf(z) - norm.cdf(x))[inside].max() < 5 * 0.5 / np.sqrt(4000)


def test_distances_are_those_of_standardised_columns():
    values = np.c_[RNG.normal(5, 3, 60), RNG.normal(0, 1e-3, 60), RNG.exponential(1e5, 60)]
    columns = StandardColumns(values, numbers(3))
    Z = columns.transform(values)
    standard = (values - values.mean(0)) / values.std(0)
    for part in ([0, 1, 2], [0, 2], [1]):
        expected = cdist(standard[:, part], standard[:, part], "sqeuclidean")
        found = columns.squared_distances(Z, Z, np.array(part))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("part", [[0, 1, 2, 3], [0, 1], [2]], ids=str)
def test_missing_values_scale_the_distances_of_observed_ones(part):
    values = RNG.normal(size=(30, 4))
    values[RNG.random(values.shape) < 0.3] = np.nan
    columns, part = StandardColumns(values, numbers(4)), np.array(part)
    Z = columns.transform(values)
    found = columns.squared_distances(Z, Z, part)
    for i, k in ((0, 1), (3, 8), (5, 20), (7, 7)):
        both = ~np.isnan(Z[i, part] + Z[k, part])
        squares = np.square(Z[i, part] - Z[k, part])[both]
        expected = squares.sum() * len(part) / both.sum() if both.any() else np.inf
        assert found[i, k] == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("p", [0.5, 0.1])
def test_a_category_of_two_levels_is_as_far_as_a_standardised_number(p):
    values = (np.arange(100) < 100 * p).astype(float)[:, None]
    number, category = (StandardColumns(values, np.array([kind])) for kind in (False, True))
    D = [c.squared_distances(c.transform(values), c.transform(values), np.array([0]))
         for c in (number, category)]  # fmt: skip
    np.testing.assert_allclose(D[0], D[1], rtol=1e-5)


def test_a_level_that_was_not_seen_differs_from_all():
    columns = StandardColumns(np.array([[0.0], [1.0], [1.0]]), np.array([True]))
    reference = np.array([[0.0], [1.0], [np.nan]])
    D = columns.squared_distances(np.array([[2.0]]), reference, np.array([0]))
    assert (D[0, :2] > 0).all() and np.isinf(D[0, 2])


def test_numbers_beyond_the_range_of_squares_are_finite():
    values = np.array([[1e300], [-1e300], [0.0], [1e299]])
    columns = StandardColumns(values, numbers(1))
    Z = columns.transform(np.array([[1e308], [np.nan], [0.0]]))
    assert np.isfinite(Z[[0, 2]]).all() and np.isnan(Z[1])
    constant = StandardColumns(np.full((7, 1), 0.1), numbers(1))
    assert constant.scale[0] == 1 and not constant.varies[0]


def test_distances_by_range_are_those_of_min_max_scaled_columns():
    values = np.c_[RNG.normal(5, 3, 60), RNG.exponential(1e5, 60), RNG.integers(0, 3, 60)]
    columns = StandardColumns(values, np.array([False, False, True]), by_range=True)
    Z = columns.transform(values)
    scaled = (values / np.ptp(values, axis=0))[:, :2]
    differ = values[:, 2, None] != values[None, :, 2]
    expected = cdist(scaled, scaled, "sqeuclidean") + differ
    found = columns.squared_distances(Z, Z, np.arange(3))
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_components_are_white():
    mixing = np.array([[1.0, 0.9, 0.0], [0.0, 0.4, 0.3], [0.0, 0.0, 1.0]])
    Z = RNG.normal(size=(4000, 3)) @ mixing
    Z = (Z - Z.mean(0)) / Z.std(0)
    components = WhiteComponents(Z)
    variances = np.linalg.eigvalsh(np.cov(Z.T, bias=True))
    expected = variances / (variances + 0.01)
    found = components.transform(Z)
    np.testing.assert_allclose(np.cov(found.T, bias=True), np.diag(expected), atol=1e-9)


def test_rows_of_any_missing_pattern_have_the_components_that_they_have_alone():
    Z = RNG.normal(size=(60, 4)) @ RNG.normal(size=(4, 4))
    components = WhiteComponents(Z)
    Z[RNG.random(Z.shape) < 0.4] = np.nan
    found = components.transform(Z)
    for k, row in enumerate(Z):
        np.testing.assert_allclose(found[k], components.transform(row[None])[0], atol=1e-9)
    assert components.transform(Z[:0]).shape == (0, 4)


def test_many_columns_have_no_principal_components():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 1001))
    detector = model(X)
    assert detector.components is None and len(detector.normal) == 4
    found = detector.score(np.vstack([X[:1], X[:1] + 9]), np.array([0, -1]))
    assert found[1] < found[0] - 1


def test_missing_values_are_where_a_gaussian_expects_them():
    Z = RNG.normal(size=(500, 3))
    Z[:, 2] = Z[:, 0] - 0.5 * Z[:, 1] + 0.1 * Z[:, 2]
    components = WhiteComponents(Z)
    row = np.array([[1.0, 0.5, np.nan], [np.nan, 2.0, np.nan], [np.nan] * 3])
    found = components.transform(row)
    lengths = np.square(found).sum(1)
    # The conditional mean minimises the Mahalanobis length.
    for k, missing in ((0, [2]), (1, [0, 2])):
        for j in missing:
            for step in (-0.1, 0.1):
                other = found[k] + step * components.whitening[j]
                assert np.square(other).sum() > lengths[k]
    assert np.isnan(found[2]).all()


def model(values, seed=0, is_category=None):
    is_category = numbers(values.shape[1]) if is_category is None else is_category
    return NoisyDensities(values, is_category, np.random.default_rng(seed))


def new(rows):
    return np.full(len(rows), -1)


def test_new_normal_rows_are_ranked_by_their_density():
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(2, 1500, 2))
    found = model(train).score(test, new(test))
    # A kernel estimate with five neighbours is noisy: about 0.8 for any seed.
    assert spearmanr(found, -np.square(test).sum(1))[0] > 0.65
    far = model(train).score(np.array([[0, 0], [3, 3], [6, 6], [12, 12.0]]), np.full(4, -1))
    assert (np.diff(far) < 0).all()


def test_training_rows_are_scored_as_if_they_were_new():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(1200, 3))
    found = model(X).score(X, np.arange(len(X)))
    fresh = rng.normal(size=(1200, 3))
    other = model(X).score(fresh, new(fresh))
    error = np.hypot(found.std(), other.std()) / np.sqrt(1200)
    assert abs(found.mean() - other.mean()) < 5 * error
    # With themselves among the neighbours they would look far more likely.
    assert model(X).score(X, new(X)).mean() > found.mean() + 5 * error


def test_equal_values_have_equal_scores_wherever_they_are_left_out():
    # Of these rows 1024 are references of a pair, and each of them is left out of its own estimate.
    X = np.repeat([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], [1200, 500, 3], axis=0)
    found = model(X).score(X, np.arange(len(X)))
    for value in (0.0, 1.0):
        assert np.ptp(found[X[:, 0] == value]) == 0
    assert found[0] >= found[1200] > found[-1]


def test_a_pair_that_was_not_seen_is_unusual_though_its_values_are_frequent():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2, 400).astype(float)
    X = np.c_[a, a, rng.normal(size=400)]
    rows = np.array([[0, 0, 0.0], [0, 1, 0.0]])
    for kinds in (numbers(3), np.array([True, True, False])):
        found = model(X, is_category=kinds).score(rows, np.full(2, -1))
        assert found[1] < found[0] - 1


def test_missing_values_leave_their_parts_out():
    X = np.random.default_rng(0).normal(size=(300, 4))
    detector = model(X)
    rows = np.array([[9.0, 0, 0, 0], [np.nan, 0, 0, 0], [np.nan] * 4])
    found = detector.score(rows, np.full(3, -1))
    assert found[0] < -2 < -1 < found[1] and found[2] == 0


def test_columns_without_variation_or_values_do_not_enter():
    X = np.random.default_rng(0).normal(size=(200, 2))
    wide = np.c_[X, np.full(200, 7.0), np.full(200, np.nan)]
    detector = model(wide)
    assert [pair.tolist() for pair, _, _ in detector.pairs] == [[0, 1]]
    rows = np.array([[0, 0, 7.0, np.nan], [0, 0, 7.0, 5.0], [0, 0, 20.0, np.nan]])
    found = detector.score(rows, np.full(3, -1))
    assert found[0] == found[1] > found[2] + 1


def test_tables_of_one_column_or_of_categories_alone_are_scored():
    rng = np.random.default_rng(0)
    one = model(rng.normal(size=(100, 1))).score(np.array([[0.0], [9.0]]), np.full(2, -1))
    assert one[0] > one[1] + 1
    codes = rng.integers(0, 3, size=(200, 1)).repeat(4, axis=1).astype(float)
    rows = np.array([[0, 0, 0, 0], [0, 1, 2, 0], [0, 0, 0, 3.0]])
    found = model(codes, is_category=np.ones(4, dtype=bool)).score(rows, np.full(3, -1))
    assert found[0] > found[1:].max() + 1


def test_rows_do_not_depend_on_the_batch():
    X = np.random.default_rng(0).normal(size=(1500, 3))
    X[::7, 1] = np.nan
    detector = model(X)
    whole = detector.score(X, np.arange(len(X)))
    some = np.arange(1100, 1103)
    np.testing.assert_allclose(detector.score(X[some], some), whole[some])


def test_pairs_cover_all_columns():
    detector = model(np.random.default_rng(0).normal(size=(20, 61)))
    pairs = [tuple(pair) for pair, _, _ in detector.pairs]
    assert len(set(pairs)) == len(pairs) == 61
    counts = np.bincount(np.ravel(pairs))
    assert counts.min() >= 1 and counts.max() <= 4


def test_a_row_is_as_unusual_as_its_lowest_view():
    X = np.random.default_rng(0).normal(size=(400, 6))
    X[:, 1] = X[:, 0] + 0.02 * X[:, 1]
    detector = model(X)
    # Only whitened components and one pair in fifteen see that two columns disagree.
    row = np.array([[0.3, -0.3, 0.0, 0.0, 0.0, 0.0]])
    z = [f(x)[0] for f, x in zip(detector.normal, detector._views(row, new(row)), strict=True)]
    expected = (2 * min(z) + np.mean(z)) / 3
    assert detector.score(row, new(row))[0] == pytest.approx(expected)
    assert np.argmin(z) == 4 and expected < -1
    agree = np.array([[0.3, 0.3, 0.0, 0.0, 0.0, 0.0]])
    assert detector.score(agree, new(agree))[0] > 0
