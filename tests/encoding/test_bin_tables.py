"""Smoothed frequencies of bins, against the distributions that they are fitted to."""

import numpy as np
import pytest
from scipy import stats
from scipy.ndimage import gaussian_filter1d

from gudlearn.encoding.bin_tables import _self_weight, fit_bin_table


def table_log_prob(table, indices):
    clipped, beyond = table.clip(indices)
    return table.log_pmf[(clipped - table.first).astype(int)] + beyond


@pytest.mark.parametrize("n", [1, 2, 30, 500])
def test_probabilities_of_observed_and_unobserved_bins_sum_to_one(n):
    indices = np.random.default_rng(0).poisson(8, size=n).astype(float)
    table = fit_bin_table(indices)
    np.testing.assert_allclose(np.exp(table.log_pmf).sum(), 1)
    everywhere = np.arange(-4000.0, 4000.0)
    p = np.exp(table_log_prob(table, everywhere))
    np.testing.assert_allclose(p.sum(), 1)
    outside = (everywhere < indices.min()) | (everywhere > indices.max())
    np.testing.assert_allclose(p[outside].sum(), 1 / (n + 2))
    assert table.seen == (indices.min(), indices.max())


def test_the_tails_fall_with_every_bin():
    indices = np.random.default_rng(0).poisson(8, size=100).astype(float)
    table = fit_bin_table(indices)
    above = table_log_prob(table, indices.max() + np.arange(1.0, 50.0))
    below = table_log_prob(table, indices.min() - np.arange(1.0, 50.0))
    np.testing.assert_allclose(np.diff(above), np.log(0.5))
    np.testing.assert_allclose(np.diff(below), np.log(0.5))


def test_tails_of_a_wide_column_fall_slowly():
    table = fit_bin_table(np.linspace(0, 6399, 500).round())
    above = table_log_prob(table, 6399 + np.array([1.0, 201.0]))
    # Halved every 32nd part of the 6400 observed bins.
    np.testing.assert_allclose(np.diff(above), np.log(0.5))


def test_given_bounds_are_kept():
    table = fit_bin_table(np.array([2.0, 3.0, 3.0]), low=0, high=5)
    assert (table.first, table.last) == (0, 5) and table.open_ends == (False, False)
    np.testing.assert_allclose(np.exp(table.log_pmf).sum(), 1)
    half = fit_bin_table(np.array([2.0, 3.0, 3.0]), low=0)
    assert (half.first, half.last) == (0, 4) and half.seen == (0, 3)
    # All of the mass outside lies on the one open side.
    np.testing.assert_allclose(np.exp(half.log_pmf[-1]), 1 / 5)


def test_a_single_bin_is_all_but_certain():
    table = fit_bin_table(np.full(98, 4.0))
    np.testing.assert_allclose(np.exp(table_log_prob(table, np.array([4.0]))), 0.99)


def test_plenty_of_rows_give_the_frequencies():
    rng = np.random.default_rng(0)
    p = np.array([0.05, 0.5, 0.0, 0.4, 0.05])
    indices = rng.choice(5, size=20000, p=p).astype(float)
    found = np.exp(table_log_prob(fit_bin_table(indices), np.arange(5.0)))
    # Five standard errors of a frequency of one half.
    np.testing.assert_allclose(found, p, atol=0.018)
    assert 0 < found[2] < 1e-3


@pytest.mark.parametrize("n", [800, 8000])
@pytest.mark.parametrize(
    "truth", [stats.norm(0, 900), stats.gamma(2, scale=400)], ids=["normal", "gamma"]
)
def test_many_bins_are_predicted_almost_as_well_as_by_the_truth(truth, n):
    rng = np.random.default_rng(0)
    train, test = (np.rint(truth.rvs(m, random_state=rng)) for m in (n, 5000))
    found = table_log_prob(fit_bin_table(train), test).mean()
    best = truth.logpdf(test).mean()
    # A kernel estimate of a smooth density from 800 rows loses about 0.02 nats.
    assert best - 0.05 < found < best + 0.01


def test_leave_one_out_beats_raw_frequencies_on_few_rows():
    rng = np.random.default_rng(1)
    train, test = (np.rint(rng.normal(0, 5, m)) for m in (40, 2000))
    table = fit_bin_table(train)
    found = table_log_prob(table, test).mean()
    assert found > stats.norm(0, 5).logpdf(test).mean() - 0.15


@pytest.mark.parametrize("size", [2, 5, 17, 100, 300])
@pytest.mark.parametrize("width", [1, 2, 8, 64])
def test_self_weight_is_the_diagonal_of_the_filter(size, width):
    matrix = gaussian_filter1d(np.eye(size), width, axis=0, mode="reflect", truncate=4.0)
    np.testing.assert_allclose(_self_weight(size, width), np.diag(matrix), rtol=1e-9)


@pytest.mark.parametrize("mean", [0.3, 3, 1000])
def test_a_fit_raises_nothing_where_numpy_raises_errors(mean):
    indices = np.random.default_rng(0).poisson(mean, size=300).astype(float)
    table = fit_bin_table(indices)
    with np.errstate(all="raise"):
        again = fit_bin_table(indices)
        again.clip(np.array([-9e9, mean, 9e9]))
    np.testing.assert_array_equal(again.log_pmf, table.log_pmf)
