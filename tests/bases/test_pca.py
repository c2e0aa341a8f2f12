"""PCA basis: the covariance, shrinkage with few rows, channels, limits."""

import numpy as np
import pytest

from gudlearn.bases import BlockBasis, PCABasis
from gudlearn.bases.pca import _leave_one_out_shrinkage


def correlated(n_samples, n_features, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_samples, n_features)) @ rng.normal(size=(n_features, n_features))


def test_diagonalises_the_covariance_exactly():
    X = correlated(200, 12)
    basis = PCABasis().fit(X)
    assert basis.shrinkage_ == 0
    np.testing.assert_allclose(
        np.cov(basis.transform(X), rowvar=False, ddof=0), np.eye(12), atol=1e-9
    )
    U, variances = basis.components_, basis.component_variances_
    np.testing.assert_allclose(
        U.T * variances @ U, np.cov(X, rowvar=False, ddof=0), atol=1e-12 * X.var()
    )
    assert np.all(np.diff(variances) < 0)
    assert np.all(np.diff(basis.describe().order) > 0)


def test_signs_do_not_depend_on_the_sign_of_the_data():
    X = correlated(50, 5)
    U = PCABasis().fit(X).components_
    np.testing.assert_allclose(U, PCABasis().fit(-X).components_, atol=1e-10)
    assert np.all(U[np.arange(5), np.abs(U).argmax(axis=1)] > 0)


def test_units_far_apart_keep_their_variance():
    X = correlated(200, 3) @ np.diag([1e7, 1.0, 1e-3])
    basis = PCABasis().fit(X)
    assert not basis.dead_.any()
    np.testing.assert_allclose(
        np.log(basis.component_variances_).sum(),
        np.linalg.slogdet(np.cov(X / [1e7, 1, 1e-3], rowvar=False, ddof=0))[1] + 2 * np.log(1e4),
        atol=1e-6,
    )


@pytest.mark.parametrize("n_samples", [2, 3, 10, 29, 30, 31, 59])
def test_few_rows_leave_no_direction_constant(n_samples):
    X = correlated(n_samples, 30)
    basis = PCABasis().fit(X)
    assert not basis.dead_.any()
    assert 0 < basis.shrinkage_ <= 1
    np.testing.assert_allclose(basis.inverse_transform(basis.transform(X)), X, atol=1e-9)
    # Shrinkage keeps the variance of each column.
    kept = np.square(basis.components_).T @ basis.component_variances_
    np.testing.assert_allclose(kept, X.var(axis=0), rtol=1e-10)
    assert basis.component_variances_.max() < 1e7 * basis.component_variances_.min()


def test_shrunk_covariance_is_the_one_documented():
    X = correlated(10, 6)
    S = np.cov(X, rowvar=False, ddof=0)
    basis = PCABasis(shrinkage=0.3).fit(X)
    U = basis.components_
    expected = 0.7 * S + 0.3 * np.diag(np.diag(S))
    np.testing.assert_allclose(U.T * basis.component_variances_ @ U, expected, atol=1e-10)


def test_shrinkage_is_the_same_for_weak_and_strong_components():
    X, units = correlated(10, 3), np.array([1e5, 1.0, 1e-3])
    basis = PCABasis(shrinkage=0.3).fit(X * units)
    S = np.cov(X, rowvar=False, ddof=0)
    expected = np.linalg.slogdet(0.7 * S + 0.3 * np.diag(np.diag(S)))[1] + 2 * np.log(units).sum()
    np.testing.assert_allclose(np.log(basis.component_variances_).sum(), expected, atol=1e-6)


def test_few_rows_predict_new_rows_better_than_columns_alone():
    rng = np.random.default_rng(3)
    loadings = rng.normal(size=(40, 3))
    X = rng.normal(size=(530, 3)) @ loadings.T + 0.3 * rng.normal(size=(530, 40))

    def loss(basis):
        Z = basis.transform(X[30:])
        variances = basis.component_variances_
        z = Z * basis.scale_
        return np.mean((np.square(z) / variances + np.log(variances)).sum(axis=1))

    assert loss(PCABasis().fit(X[:30])) < loss(PCABasis(shrinkage=1.0).fit(X[:30])) - 10


def test_leave_one_out_agrees_with_refitting():
    Z = correlated(9, 7)
    Z = (Z - Z.mean(axis=0)) / Z.std(axis=0)
    candidates = np.geomspace(1e-6, 1, 61)
    losses = []
    for weight in candidates:
        loss = 0.0
        for left in range(9):
            rest = np.delete(Z, left, axis=0)
            S = (1 - weight) * np.cov(rest, rowvar=False, ddof=0) + weight * np.eye(7)
            z = Z[left] - rest.mean(axis=0)
            loss += np.linalg.slogdet(S)[1] + z @ np.linalg.solve(S, z)
        losses.append(loss)
    best = candidates[np.argmin(losses)]
    assert 1e-6 < best < 1
    assert _leave_one_out_shrinkage(Z) == best


def test_dependent_columns_give_constant_components_with_enough_rows():
    X = correlated(100, 4)
    basis = PCABasis().fit(np.column_stack([X, X[:, 0], X[:, 1] + X[:, 2]]))
    assert basis.dead_.tolist() == [False] * 4 + [True] * 2


@pytest.mark.parametrize("shrinkage", [-0.1, 2, "lots", None])
def test_shrinkage_must_be_auto_or_a_weight(shrinkage):
    with pytest.raises(ValueError, match="The 'shrinkage' parameter of PCABasis"):
        PCABasis(shrinkage=shrinkage).fit(correlated(5, 2))


def test_a_column_far_from_zero_does_not_hide_a_small_one():
    rng = np.random.default_rng(0)
    X = np.column_stack([1.7e9 + 1e5 * rng.normal(size=500), 1e-6 * rng.normal(size=500)])
    basis = PCABasis().fit(X)
    assert not basis.dead_.any()
    np.testing.assert_allclose(basis.component_variances_, X.var(0), rtol=1e-3)
    # Two equal columns far from zero still give one constant component.
    twins = PCABasis().fit(np.column_stack([X[:, 0], X[:, 0] + 3]))
    assert twins.dead_.tolist() == [False, True]


@pytest.mark.parametrize(
    "n_samples, unshrunk",
    [(5, [False, False, False]), (7, [False, True, False]), (100, [True, True, True])],
)
def test_each_channel_has_the_components_of_its_own_columns(n_samples, unshrunk):
    X = correlated(n_samples, 12)
    X[:, 4] = 0.1
    basis = PCABasis(channels=3).fit(X)
    U, Z = basis.components_, basis.transform(X)
    np.testing.assert_allclose(U @ U.T, np.eye(12), atol=1e-12)
    np.testing.assert_allclose(Z, (X - basis.mean_) @ U.T / basis.scale_, atol=1e-9)
    for channel in range(3):
        columns = slice(channel, None, 3)
        alone = PCABasis().fit(X[:, columns])
        np.testing.assert_array_equal(U[columns, columns], alone.components_)
        np.testing.assert_array_equal(basis.dead_[columns], alone.dead_)
        varying = ~alone.dead_
        np.testing.assert_array_equal(
            basis.component_variances_[columns][varying], alone.component_variances_[varying]
        )
        np.testing.assert_allclose(Z[:, columns], alone.transform(X[:, columns]), atol=1e-12)
        assert basis.shrinkage_[channel] == alone.shrinkage_
    # The second channel has three non-constant columns, for which seven rows are enough.
    assert (basis.shrinkage_ == 0).tolist() == unshrunk
    names = basis.get_feature_names_out()
    assert names[[0, 2, 3, 11]].tolist() == [
        f"pcabasis{k}" for k in ("0_c0", "0_c2", "1_c0", "3_c2")
    ]


def test_one_channel_is_all_columns():
    X = correlated(50, 6)
    one, none = PCABasis(channels=1).fit(X), PCABasis().fit(X)
    np.testing.assert_array_equal(one.components_, none.components_)
    np.testing.assert_array_equal(one.transform(X), none.transform(X))


@pytest.mark.parametrize(
    "channels, n_features, message",
    [
        (4, 6, "channels=4 does not divide the 6 features of X"),
        (0, 6, "The 'channels' parameter of PCABasis"),
        (None, 8193, r"at most 8192 columns, .* X has 8193\. For images pass PCABasis\(channels="),
        (2, 16386, r"X has 8193 in each of 2 channels\. .* BlockBasis .* FourierBasis\(shape="),
    ],
)
def test_too_many_columns_are_refused_before_fitting(channels, n_features, message):
    basis = PCABasis(channels=channels)
    with pytest.raises(ValueError, match=message):
        basis.fit(np.ones((2, n_features), dtype=np.uint8))
    assert not hasattr(basis, "mean_")


def test_the_limit_is_on_the_columns_of_one_matrix(monkeypatch):
    monkeypatch.setattr("gudlearn.bases.pca._MOST_COLUMNS", 6)
    X = correlated(50, 12)
    with pytest.raises(ValueError, match="at most 6 columns, .* X has 12"):
        PCABasis().fit(X)
    halves = [("left", PCABasis(), slice(0, 6)), ("right", PCABasis(), slice(6, 12))]
    for basis in (PCABasis(channels=2), BlockBasis(halves)):
        assert not basis.fit(X).dead_.any()


def test_variances_of_weak_components_are_accurate():
    X = np.linalg.qr(correlated(500, 4))[0] * np.sqrt([1e6, 20, 5, 1e-6])
    rotation = np.linalg.qr(correlated(4, 4))[0]
    X = (X - X.mean(axis=0)) @ rotation
    basis = PCABasis(shrinkage=0.0).fit(X)
    U, variances = basis.components_, basis.component_variances_
    # The error of eigenvalues is a few epsilons of the first one, which is 1e12 times the last.
    np.testing.assert_allclose(variances, np.square(X @ U.T).mean(axis=0), rtol=1e-9)
    assert (variances > 1e-5 * variances[0]).tolist() == [True, True, False, False]
