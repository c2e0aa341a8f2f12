"""MarginalGaussianizer: an exact inverse, a true determinant, a density that is one."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

from gudlearn import GenerativePipeline, MarginalGaussianizer
from small import continuous, small


def data(n=600, seed=0):
    """A skewed, a two-humped, a heavy-tailed and a constant column."""
    rng = np.random.default_rng(seed)
    return np.column_stack([
        rng.lognormal(size=n),
        np.where(rng.random(n) < 0.3, rng.normal(-50, 1, n), rng.normal(20, 5, n)),
        1e-3 * rng.standard_t(3, size=n),
        np.full(n, 7.0),
    ])  # fmt: skip


@pytest.fixture(scope="module")
def fitted():
    return MarginalGaussianizer().fit(data())


def test_inverse_gives_the_rows_back(fitted):
    X = data(seed=1)
    # Where the density is 1e-4 of its peak, a rounding of z is 1e-9 standard deviations of x.
    error = np.abs(fitted.inverse_transform(fitted.transform(X)) - X) / (X.std(0) + 1e-6)
    assert error.max() < 1e-8


def test_transform_undoes_the_inverse_far_into_the_tails(fitted):
    Z = np.linspace(-8, 8, 41)[:, None] * np.ones(4)
    np.testing.assert_allclose(fitted.transform(fitted.inverse_transform(Z)), Z, atol=1e-6)


def test_columns_become_standard_normal(fitted):
    Z = fitted.transform(data(seed=2))[:, :3]
    for z in Z.T:
        # 600 rows against a mixture fitted to another 600.
        assert stats.kstest(z, "norm").statistic < 0.08


def test_the_determinant_is_that_of_finite_differences(fitted):
    X = data(n=50, seed=3)
    X = np.vstack([X, X * 4, X - 3 * X.std(0)])
    step = 1e-5 * np.array([1.0, 1.0, 1e-3, 1.0])
    slope = (fitted.transform(X + step) - fitted.transform(X - step)) / (2 * step)
    np.testing.assert_allclose(
        fitted.log_abs_det_jacobian(X), np.log(slope).sum(1), rtol=0, atol=1e-5
    )


def test_it_increases_strictly_everywhere(fitted):
    # To 40 times the range. Normal quantiles end where the tail underflows, at 38 sigma.
    X = np.linspace(-40, 40, 4001)[:, None] * np.ptp(data(), axis=0).clip(1) + data().mean(0)
    Z = fitted.transform(X)
    assert np.isfinite(Z).all()
    assert (np.diff(Z, axis=0) > 0).all()
    assert np.isfinite(fitted.log_abs_det_jacobian(X)).all()


@pytest.mark.parametrize("j, low, high", [(0, -60, 120), (1, -400, 400), (2, -0.3, 0.3)])
def test_the_density_it_implies_integrates_to_one(fitted, j, low, high):
    grid = np.linspace(low, high, 200001)
    X = np.tile(data()[:1], (len(grid), 1))
    X[:, j] = grid
    z, log_slope = fitted._map_column(grid, j)
    np.testing.assert_allclose(fitted.transform(X)[:, j], z)
    density = np.exp(stats.norm.logpdf(z) + log_slope)
    np.testing.assert_allclose(np.trapezoid(density, grid), 1, atol=1e-4)


def test_constant_columns_are_centred_and_come_back(fitted):
    X = data(n=5)
    assert not fitted.transform(X)[:, 3].any()
    assert (fitted.inverse_transform(np.zeros((3, 4)))[:, 3] == 7).all()


def test_one_gaussian_gives_an_affine_map_within_the_data():
    X = np.random.default_rng(0).normal(3, 2, size=(5000, 1))
    Z = MarginalGaussianizer(max_members=1).fit_transform(X)
    # The wide Gaussian of weight 1/5002 moves quantiles by less than 1e-3 within two sigma.
    inner = np.abs(X[:, 0] - X.mean()) < 2 * X.std()
    np.testing.assert_allclose(Z[inner, 0], ((X - X.mean()) / X.std())[inner, 0], atol=5e-3)


def test_wrong_number_of_features_to_invert(fitted):
    with pytest.raises(ValueError, match="X has 2 features, but MarginalGaussianizer was fitted"):
        fitted.inverse_transform(np.zeros((3, 2)))


def test_a_pipeline_passes_a_frame_through():
    X = pd.DataFrame(continuous(60), columns=list("abc"))
    model = GenerativePipeline([("g", MarginalGaussianizer()), ("gud", small())]).fit(X)
    assert np.isfinite(model.score_samples(X)).all()
    assert model.sample(2).columns.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_it_raises_nothing_where_numpy_raises_errors(dtype):
    X = np.column_stack([data(), np.random.default_rng(0).poisson(3, size=600)]).astype(dtype)
    far = np.linspace(-60, 60, 41, dtype=dtype)[:, None] * np.ones(5, dtype)

    def results():
        fitted = MarginalGaussianizer().fit(X)
        yield from (fitted.weights_, fitted.means_, fitted.variances_)
        for rows in (X, 100 * X, far):
            yield fitted.transform(rows)
            yield fitted.log_abs_det_jacobian(rows)
        yield fitted.inverse_transform(far / 2)

    expected = list(results())
    with np.errstate(all="raise"):
        found = list(results())
    for part, value in zip(found, expected, strict=True):
        np.testing.assert_array_equal(part, value)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_a_frame_is_mapped_as_its_values_are(frame):
    X = data(n=20, seed=1)
    rows = frame(dict(zip("abcd", X.T, strict=True)))
    of_frame, expected = MarginalGaussianizer().fit(rows), MarginalGaussianizer().fit(X)
    # Sums over columns of another memory layout round otherwise.
    np.testing.assert_allclose(of_frame.transform(rows), expected.transform(X), atol=1e-9)
    np.testing.assert_allclose(
        of_frame.log_abs_det_jacobian(rows), expected.log_abs_det_jacobian(X), atol=1e-9
    )
