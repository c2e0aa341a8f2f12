"""Normal scores of columns that repeat their values."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats
from scipy.special import ndtri

from gudlearn._random import row_keys
from gudlearn.data.ties import SpreadTies


def rows(n=2000):
    """A column of counts, one without repeated values, and a constant one; some are missing."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.poisson(2, n), rng.normal(size=n), np.ones(n)]).astype(float)
    X[::17, 0] = np.nan
    return X


def test_columns_with_repeated_values_are_found():
    assert list(SpreadTies(rows()).columns) == [0]


def test_scores_are_standard_normal_and_rise_with_the_values():
    X = rows()
    scores = SpreadTies(X).spread(X, row_keys(X))
    np.testing.assert_array_equal(scores[:, 1:], X[:, 1:])
    np.testing.assert_array_equal(np.isnan(scores[:, 0]), np.isnan(X[:, 0]))
    observed = ~np.isnan(X[:, 0])
    x, z = X[observed, 0], scores[observed, 0]
    # The probability of five standard errors in a normal distribution.
    assert stats.kstest(z, "norm").pvalue > 5.7e-7
    # Where each row stands among its ties is uniform.
    n, values = len(x), np.sort(x)
    below, below_or_equal = (np.searchsorted(values, x, side) for side in ("left", "right"))
    place = (n * stats.norm.cdf(z) - below) / (below_or_equal - below)
    assert stats.kstest(place, "uniform").pvalue > 5.7e-7
    for value in np.unique(x)[1:]:
        assert z[x < value].max() <= z[x == value].min()


def test_another_draw_breaks_ties_in_another_way():
    X = rows()
    ties, observed = SpreadTies(X), ~np.isnan(X[:, 0])
    one, other = (ties.spread(X, row_keys(X), draw)[observed, 0] for draw in (0, 1))
    assert (one != other).all()


def test_scores_beyond_the_range_grow_in_standard_deviations():
    X = rows()
    ties, observed = SpreadTies(X), X[~np.isnan(X[:, 0]), 0]
    low, high, std = observed.min(), observed.max(), observed.std()
    far = np.array([[high + 3, 0, 1], [high + 5, 0, 1], [low - 50, 0, 1]])
    end = ndtri(1 - 0.5 / len(observed))
    expected = [end + 3 / std, end + 5 / std, -end - 50 / std]
    np.testing.assert_allclose(ties.spread(far, row_keys(far))[:, 0], expected)


def test_a_value_between_observed_ones_has_the_score_of_the_rows_below_it():
    X = rows()
    between, observed = np.array([[1.5, 0, 1]]), X[~np.isnan(X[:, 0]), 0]
    score = SpreadTies(X).spread(between, row_keys(between))[0, 0]
    assert score == pytest.approx(ndtri((observed < 1.5).mean()))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_a_frame_has_the_scores_of_its_values(frame):
    X = rows(100)
    framed = frame(dict(zip("abc", X.T, strict=True)))
    keys = row_keys(X)
    expected = SpreadTies(X).spread(X, keys)
    np.testing.assert_array_equal(SpreadTies(framed).spread(framed, keys), expected)


def test_scores_raise_nothing_where_numpy_raises_errors():
    X = rows()
    keys, expected = row_keys(X), SpreadTies(X).spread(10 * X, row_keys(X))
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(SpreadTies(X).spread(10 * X, keys), expected)
