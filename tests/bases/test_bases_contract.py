"""Contract of every basis."""

import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

from gudlearn.bases import (
    BlockBasis,
    FourierBasis,
    IdentityBasis,
    PCABasis,
    WaveletBasis,
)
from registry import BASES

N_FEATURES = 24
SHAPED_BASES = [
    PCABasis(shrinkage=0.3),
    PCABasis(channels=3),
    PCABasis(channels=2, shrinkage=0.3, whiten=0.5),
    FourierBasis(shape=(4, 6)),
    FourierBasis(shape=(2, 4), channels=3, whiten=0.5),
    FourierBasis(shape=(2, 3, 4)),
    WaveletBasis(shape=(4, 6), levels=1),
    WaveletBasis(shape=(3, 8)),
    WaveletBasis(shape=(2, 4), channels=3),
    FourierBasis(channels=2, joint_channels=True),
    FourierBasis(shape=(2, 4), channels=3, joint_channels=True, whiten=0.5),
    WaveletBasis(shape=(2, 4), channels=3, joint_channels=True),
    WaveletBasis(shape=(4, 2), channels=3, joint_channels=True, wavelet="db2", whiten=False),
    WaveletBasis(shape=(2, 3, 4)),
    WaveletBasis(wavelet="db2"),
    WaveletBasis(shape=(4, 6), wavelet="sym4", levels=1),
    BlockBasis(
        [
            ("pca", PCABasis(), slice(0, 7)),
            ("columns", IdentityBasis(whiten=False), [23, 7]),
            ("wave", WaveletBasis(shape=(3, 5), whiten=0.5), np.arange(24)[8:23]),
        ]
    ),
]
EVERY = BASES + SHAPED_BASES
every_basis = pytest.mark.parametrize("basis", EVERY, ids=repr)


def rows(n_samples=100, seed=0):
    """Correlated rows with columns of different means and standard deviations."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(N_FEATURES, N_FEATURES)) / np.sqrt(N_FEATURES)
    std = np.geomspace(0.1, 30, N_FEATURES)
    return 5 * rng.normal(size=N_FEATURES) + rng.normal(size=(n_samples, N_FEATURES)) @ mixing * std


def jacobian(basis):
    """Matrix of the fitted affine map X -> Z, one row per component."""
    units = np.vstack([np.zeros(basis.n_features_in_), np.eye(basis.n_features_in_)])
    Z = basis.transform(units)
    return (Z[1:] - Z[0]).T


@pytest.mark.parametrize("basis", BASES, ids=repr)
def test_scikit_learn_checks_pass(basis):
    # The array-API check is skipped where SciPy's switch is off.
    results = check_estimator(clone(basis), on_skip=None)
    assert {r["status"] for r in results} <= {"passed", "skipped"}
    assert [r["check_name"] for r in results if r["status"] == "skipped"] in (
        [],
        ["check_array_api_input"],
    )


@every_basis
def test_rotation_is_orthonormal(basis):
    basis = clone(basis).fit(rows())
    U = jacobian(basis) * basis.scale_[:, None]
    np.testing.assert_allclose(U @ U.T, np.eye(N_FEATURES), atol=1e-10)


@every_basis
@pytest.mark.parametrize("dtype, rtol", [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_inverse_returns_the_rows_and_their_dtype(basis, dtype, rtol):
    X = rows().astype(dtype)
    basis = clone(basis).fit(X)
    Z = basis.transform(X)
    restored = basis.inverse_transform(Z)
    assert Z.dtype == restored.dtype == dtype
    np.testing.assert_allclose(restored, X, rtol=rtol, atol=rtol * np.abs(X).max())
    # Rows far from those that were fitted.
    far = basis.inverse_transform(basis.transform(100 * X))
    np.testing.assert_allclose(far, 100 * X, rtol=rtol, atol=100 * rtol * np.abs(X).max())


@every_basis
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.uint16, np.float32, bool])
def test_every_dtype_is_fitted_as_its_float64_copy(basis, dtype, monkeypatch):
    monkeypatch.setattr("gudlearn.bases.batches._ENTRIES_PER_BATCH", 7 * N_FEATURES)
    # -128 has no opposite in int8, and a sum of 100 entries does not fit into a byte.
    X = np.random.default_rng(0).integers(-128, 128, size=(100, N_FEATURES))
    X[:, 3] = -128
    X = X.astype(dtype)
    small, exact = clone(basis).fit(X), clone(basis).fit(X.astype(np.float64))
    for name in ("mean_", "component_variances_", "scale_", "dead_", "log_abs_det_jacobian_"):
        np.testing.assert_allclose(getattr(small, name), getattr(exact, name), rtol=1e-12)
    Z, expected = small.transform(X), exact.transform(X.astype(np.float64))
    assert Z.dtype == (np.float32 if dtype == np.float32 else np.float64)
    rtol = 1e-6 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(Z, expected, rtol=rtol, atol=rtol)
    whole = np.rint(Z).astype(np.int32)
    np.testing.assert_array_equal(
        small.inverse_transform(whole), small.inverse_transform(whole.astype(np.float64))
    )


@every_basis
def test_no_copy_of_bytes_is_made_as_floats(basis, monkeypatch):
    monkeypatch.setattr("gudlearn.bases.batches._ENTRIES_PER_BATCH", 200 * N_FEATURES)
    X = np.random.default_rng(0).integers(0, 256, size=(20_000, N_FEATURES), dtype=np.uint8)
    # The first fit imports modules, whose memory is not counted.
    clone(basis).fit(X[:10])
    tracemalloc.start()
    try:
        clone(basis).fit(X)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # float64 would take eight times the bytes. BlockBasis copies the columns of a block, in bytes.
    assert peak < 1.5 * X.nbytes


@every_basis
def test_float32_is_rounded_once_at_the_end(basis):
    X = (rows() + 1e4 / 3).astype(np.float32)
    basis = clone(basis).fit(X)
    Z = basis.transform(X.astype(np.float64))
    np.testing.assert_array_equal(basis.transform(X), Z.astype(np.float32))


@every_basis
def test_log_determinant_is_that_of_the_jacobian(basis):
    basis = clone(basis).fit(rows())
    assert basis.log_abs_det_jacobian_ == pytest.approx(np.linalg.slogdet(jacobian(basis))[1])


@every_basis
def test_variances_are_those_of_unscaled_components(basis):
    X = rows()
    basis = clone(basis).fit(X)
    variances = np.var(basis.transform(X) * basis.scale_, axis=0)
    if np.any(getattr(basis, "shrinkage_", 0) > 0):
        # Shrinkage keeps the total variance, not that of each component.
        assert basis.component_variances_.sum() == pytest.approx(np.var(X, axis=0).sum())
    else:
        np.testing.assert_allclose(basis.component_variances_, variances, rtol=1e-10)


@pytest.mark.parametrize("power", [False, True, 0, 0.3, 1.0])
@pytest.mark.parametrize(
    "basis", [IdentityBasis(), PCABasis(), FourierBasis(), WaveletBasis(), BlockBasis()], ids=repr
)
def test_whiten_is_an_exponent_of_the_standard_deviation(basis, power):
    X = rows()
    basis = clone(basis).set_params(whiten=power).fit(X)
    expected = basis.component_variances_ ** (float(power) / 2)
    np.testing.assert_allclose(basis.scale_, expected)
    np.testing.assert_allclose(
        np.var(basis.transform(X), axis=0), basis.component_variances_ ** (1 - float(power))
    )


@every_basis
def test_constant_columns_are_restored(basis):
    X = rows()
    X[:, [3, 11]] = [0.1, -1e6 / 3]
    basis = clone(basis).fit(X)
    Z = basis.transform(X)
    assert np.all(np.isfinite(Z))
    assert np.all(basis.component_variances_ > 0)
    assert np.all(basis.scale_[basis.dead_] == 1)
    # Rounding error of a sum of 24 numbers of size 1e6 / 3.
    np.testing.assert_allclose(Z[:, basis.dead_], 0, atol=1e-8)
    np.testing.assert_allclose(basis.inverse_transform(Z), X, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize(
    "basis",
    [IdentityBasis(), PCABasis(), PCABasis(shrinkage=0.1), PCABasis(channels=3), BlockBasis()],
)
@pytest.mark.parametrize("n_samples", [5, 100])
def test_each_constant_column_is_a_constant_component(basis, n_samples):
    X = rows(n_samples)
    X[:, [3, 11]] = [0.1, -1e6 / 3]
    basis = clone(basis).fit(X)
    assert basis.dead_.sum() == 2
    Z = np.random.default_rng(1).normal(size=(50, N_FEATURES))
    Z[:, basis.dead_] = 0
    assert np.all(basis.inverse_transform(Z)[:, [3, 11]] == X[0, [3, 11]])


@every_basis
def test_all_components_of_equal_rows_are_constant(basis):
    X = np.tile(rows(1), (4, 1))
    for constant in (X, X[:1], np.zeros((2, N_FEATURES))):
        fitted = clone(basis).fit(constant)
        assert fitted.dead_.all()
        assert fitted.log_abs_det_jacobian_ == 0
        assert np.all(fitted.transform(constant) == 0)
        assert np.all(fitted.inverse_transform(np.zeros((1, N_FEATURES))) == constant[:1])
        assert np.all(np.isfinite(np.log(fitted.describe().variances)))


def test_columns_of_any_scale_vary_in_the_identity_basis():
    X = np.random.default_rng(0).normal(size=(50, 3)) * [1e-9, 1.0, 1e12]
    basis = IdentityBasis().fit(X)
    assert not basis.dead_.any()
    np.testing.assert_allclose(np.var(basis.transform(X), axis=0), 1)


@every_basis
def test_noise_of_the_columns_is_propagated(basis):
    basis = clone(basis).fit(rows())
    U = jacobian(basis) * basis.scale_[:, None]
    for column_std in (np.full(N_FEATURES, 0.7), np.linspace(1, 2, N_FEATURES)):
        covariance = U * column_std**2 @ U.T
        noise = basis.noise_std(column_std)
        if noise is None:
            assert np.abs(covariance - np.diag(np.diag(covariance))).max() > 1e-3
        else:
            np.testing.assert_allclose(covariance, np.diag(noise**2), atol=1e-10)
    assert basis.noise_std(np.full(N_FEATURES, 0.7)) is not None


@every_basis
def test_noise_must_be_positive_and_given_for_every_column(basis):
    basis = clone(basis).fit(rows())
    for wrong in (np.ones(3), np.zeros(N_FEATURES), 1.0):
        with pytest.raises(ValueError, match="one positive number for each of the 24 columns"):
            basis.noise_std(wrong)


@every_basis
def test_describe_covers_every_component(basis):
    basis = clone(basis).fit(rows())
    components = basis.describe()
    for name in ("variances", "scale", "order", "names", "groups", "dead"):
        assert getattr(components, name).shape == (N_FEATURES,), name
    assert np.all(np.isfinite(components.order))
    assert len(set(components.names)) == N_FEATURES
    assert components.names.dtype.kind == components.groups.dtype.kind == "U"
    np.testing.assert_array_equal(components.variances, basis.component_variances_)
    some = components.take(components.order > components.order.min())
    assert 0 < len(some.names) < N_FEATURES
    assert set(some.names) < set(components.names)


def test_take_keeps_absent_fields():
    components = PCABasis().fit(rows()).describe().take([2, 0])
    assert components.columns is None
    assert components.names.tolist() == ["pcabasis2", "pcabasis0"]


@every_basis
def test_frames_in_and_frames_out(basis):
    X = pd.DataFrame(rows(), columns=[f"col {i}" for i in range(N_FEATURES)])
    basis = clone(basis).set_output(transform="pandas").fit(X)
    Z = basis.transform(X)
    assert Z.columns.tolist() == basis.get_feature_names_out().tolist()
    np.testing.assert_allclose(basis.inverse_transform(Z), X, atol=1e-10)
    with pytest.raises(ValueError, match="feature names should match"):
        basis.transform(X[X.columns[::-1]])


@every_basis
def test_pickle_and_clone(basis):
    X = rows()
    fitted = clone(basis).fit(X)
    restored = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(restored.transform(X), fitted.transform(X))
    assert repr(clone(fitted)) == repr(basis)
    assert not hasattr(clone(fitted), "scale_")


@every_basis
def test_batches_do_not_change_the_result(basis, monkeypatch):
    X = rows()
    Z = clone(basis).fit(X).transform(X)
    monkeypatch.setattr("gudlearn.bases.batches._ENTRIES_PER_BATCH", 7 * N_FEATURES)
    small = clone(basis).fit(X)
    # The error of the last principal axis is rounding times the condition of the covariance, 2e9.
    np.testing.assert_allclose(small.transform(X), Z, rtol=5e-7, atol=5e-7)
    np.testing.assert_allclose(small.inverse_transform(Z), X, rtol=5e-7, atol=5e-7)
    Z = small.transform(X)
    np.testing.assert_allclose(small.inverse_transform(Z), X, rtol=1e-10, atol=1e-10)


@every_basis
def test_bad_input_is_refused(basis):
    basis = clone(basis)
    with pytest.raises(NotFittedError):
        basis.transform(rows())
    with pytest.raises(ValueError, match="NaN"):
        basis.fit(np.full((3, N_FEATURES), np.nan))
    with pytest.raises(ValueError, match="too large for float64"):
        basis.fit(rows() * 1e200)
    basis.fit(rows())
    with pytest.raises(ValueError, match="features"):
        basis.transform(rows()[:, :5])
    with pytest.raises(ValueError, match="Z has 5 columns but this .* has 24 components"):
        basis.inverse_transform(rows()[:, :5])


@pytest.mark.parametrize("whiten", [-0.1, 1.5, "yes", [1]])
@every_basis
def test_whiten_must_be_a_bool_or_an_exponent(basis, whiten):
    with pytest.raises(ValueError, match="The 'whiten' parameter of"):
        clone(basis).set_params(whiten=whiten).fit(rows())


@every_basis
def test_rotations_of_rows_are_inverse_and_unscaled(basis):
    X = rows()
    basis = clone(basis).fit(X)
    components = basis.rotate(X - basis.mean_)
    np.testing.assert_allclose(components, basis.transform(X) * basis.scale_, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(basis.rotate_back(components) + basis.mean_, X, atol=1e-9)


@every_basis
def test_components_depend_on_the_columns_of_their_label_only(basis):
    basis = clone(basis).fit(rows())
    columns, components = basis.mixing()
    assert np.all(jacobian(basis)[components[:, None] != columns] == 0)
    column = basis.component_columns()
    if column is not None:
        U = jacobian(basis) * basis.scale_[:, None]
        equal = np.flatnonzero(column >= 0)
        np.testing.assert_allclose(U[equal], np.eye(N_FEATURES)[column[equal]], atol=1e-12)
    with pytest.raises(NotFittedError):
        clone(basis).mixing()


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e100])
@every_basis
def test_strict_floating_point_errors_raise_nothing(basis, scale):
    X = rows() * scale
    X[:, 3] = 0.1
    with np.errstate(all="raise"):
        basis = clone(basis).fit(X)
        basis.inverse_transform(basis.transform(X))
        basis.describe()
        basis.noise_std(np.ones(N_FEATURES))
        if scale == 1.0:
            basis.transform((X * 1e-30).astype(np.float32))
