"""Fits of one-dimensional marginals, against distributions they should find."""

import numpy as np
import pytest
from scipy import stats

from gudlearn.encoding.bin_tables import MAX_ATOMS, fit_bin_table
from gudlearn.preconditioning.fit_marginals import (
    bin_marginals,
    fill_with_quantiles,
    fit_mixtures,
    gaussians,
    mixture_marginals,
)
from gudlearn.preconditioning.marginals import (
    GaussianMarginals,
    GridMarginals,
    MixtureMarginals,
    PointMassMarginals,
)


def log_density(fit, x):
    """Log-density of the first column's mixture."""
    w, m, v = (p[0] for p in fit)
    density = (w * stats.norm.pdf(x[:, None], m, np.sqrt(v))).sum(1)
    return np.log(density)


def test_short_tables_become_point_masses_and_long_ones_grids():
    rng = np.random.default_rng(0)
    tables = [fit_bin_table(np.arange(n) * 1.0) for n in (3, MAX_ATOMS + 5, 7)]
    first, step = rng.normal(size=3), np.array([0.5, 0.1, 2.0])
    parts, columns = bin_marginals(tables, first, step)
    assert [type(p) for p in parts] == [PointMassMarginals, GridMarginals]
    assert [list(c) for c in columns] == [[0, 2], [1]]
    for part, where in zip(parts, columns, strict=True):
        for mean, i in zip(part.mean, where, strict=True):
            positions = first[i] + step[i] * np.arange(len(tables[i].log_pmf))
            np.testing.assert_allclose(mean, np.exp(tables[i].log_pmf) @ positions)


@pytest.mark.parametrize("shift, scale", [(0.0, 1.0), (1e4, 1e-3), (-5.0, 1e6)])
def test_a_normal_column_is_one_gaussian_whatever_its_units(shift, scale):
    x = shift + scale * np.random.default_rng(0).normal(size=1000)
    w, m, v = fit_mixtures(x[:, None])
    # One component and the wide one, which is rare where one Gaussian describes all values.
    assert (w[0] > 0).sum() == 2
    np.testing.assert_allclose(w[0].sum(), 1)
    np.testing.assert_allclose(w[0, -1], 1e-4 / 1002)
    np.testing.assert_allclose([m[0, 0], v[0, 0]], [x.mean(), x.var()], rtol=1e-6)


def test_humps_are_found():
    rng = np.random.default_rng(0)
    x = np.where(rng.random(3000) < 0.3, rng.normal(-4, 0.5, 3000), rng.normal(3, 1.0, 3000))
    fit = fit_mixtures(x[:, None])
    grid = np.linspace(-10, 10, 2001)
    truth = 0.3 * stats.norm.pdf(grid, -4, 0.5) + 0.7 * stats.norm.pdf(grid, 3, 1.0)
    # Total variation; three parameters from 900 rows each cost about 0.02.
    assert np.trapezoid(np.abs(np.exp(log_density(fit, grid)) - truth), grid) / 2 < 0.05


def test_mixtures_predict_a_skewed_column_almost_as_well_as_the_truth():
    truth = stats.lognorm(0.7)
    rng = np.random.default_rng(0)
    train, test = truth.rvs(3000, random_state=rng), truth.rvs(3000, random_state=rng)
    found = log_density(fit_mixtures(train[:, None]), test).mean()
    assert found > truth.logpdf(test).mean() - 0.05


def test_few_observed_values_do_not_count_as_many():
    rng = np.random.default_rng(0)
    Z, missing = rng.normal(size=(2000, 3)), np.zeros((2000, 3), bool)
    missing[25:, 0], missing[200:, 2] = True, True
    alone = [fit_mixtures(Z[~missing[:, j], j][:, None]) for j in range(3)]
    fresh = rng.normal(size=5000)
    fill_with_quantiles(Z, missing)
    fit = fit_mixtures(Z, (~missing).sum(0))
    for j in range(3):
        found = log_density([part[j : j + 1] for part in fit], fresh).mean()
        assert found == pytest.approx(log_density(alone[j], fresh).mean(), abs=0.03)
    np.testing.assert_allclose(fit[0][:, -1], 1e-4 / np.array([27, 2002, 202]))


def test_many_columns_are_fitted_in_parts(monkeypatch):
    Z = np.random.default_rng(0).lognormal(size=(50, 5))
    n_observed = np.array([50, 50, 5, 5, 30])
    together = fit_mixtures(Z, n_observed)
    monkeypatch.setattr("gudlearn.preconditioning.fit_marginals._MOST_COLUMNS", 2)
    for part, expected in zip(fit_mixtures(Z, n_observed), together, strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-9)


def test_an_outlier_costs_less_than_its_square():
    x = np.random.default_rng(0).normal(size=500)
    fit = fit_mixtures(x[:, None])
    # -1/2 30^2 = -450 without the wide component; with it, log(1/502) and a factor in width.
    assert log_density(fit, np.array([30.0]))[0] > -30


def test_every_column_is_fitted_on_its_own():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=400), rng.lognormal(size=400), rng.uniform(size=400)])
    together = fit_mixtures(X)
    for j in range(3):
        alone = fit_mixtures(X[:, [j]])
        grid = np.quantile(X[:, j], np.linspace(0.01, 0.99, 50))
        both = [log_density([p[i : i + 1] for p in fit], grid) for fit, i in
                ((together, j), (alone, 0))]  # fmt: skip
        np.testing.assert_allclose(*both, rtol=0, atol=1e-8)


def test_the_fit_does_not_depend_on_the_order_of_rows():
    X = np.random.default_rng(0).lognormal(size=(3000, 1))
    for a, b in zip(fit_mixtures(X), fit_mixtures(X[::-1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


@pytest.mark.parametrize("x", [np.zeros(50), np.repeat([0.0, 1.0], 30), np.arange(3.0), np.ones(1)])
def test_degenerate_columns_have_finite_fits(x):
    fit = fit_mixtures(x[:, None])
    assert all(np.isfinite(p).all() for p in fit)
    assert (fit[2] > 0).all()
    np.testing.assert_allclose(fit[0].sum(), 1)


def test_one_gaussian_each_is_centred():
    marginals = mixture_marginals(*gaussians([1.0, 4.0, 9.0]))
    assert isinstance(marginals, GaussianMarginals)
    np.testing.assert_array_equal(marginals.variance, [1.0, 4.0, 9.0])
    assert not marginals.mean.any()


def test_mixtures_become_marginals_of_the_same_moments():
    Z = np.random.default_rng(0).lognormal(size=(500, 2))
    w, m, v = fit_mixtures(Z)
    marginals = mixture_marginals(w, m, v)
    assert isinstance(marginals, MixtureMarginals)
    np.testing.assert_allclose(marginals.mean, (w * m).sum(1))
    second = (w * (v + m**2)).sum(1)
    np.testing.assert_allclose(marginals.variance, second - (w * m).sum(1) ** 2)
