"""Frequencies of the levels of categories, smoothed, and the probability of a new value."""

import numpy as np
import pytest

from gudlearn.data.rows import Rows
from gudlearn.encoding.categories import fit_categories, unseen_probability
from gudlearn.encoding.facts import RowFacts


def fitted(*columns, n_levels):
    rows = Rows.of(np.column_stack(columns).astype(float))
    return fit_categories(RowFacts(rows), np.arange(len(columns)), np.array(n_levels))


def pmfs(categories):
    return [np.exp(categories.log_pmf[categories.part(j)]) for j in categories.columns]


def test_frequencies_are_positive_and_sum_to_one():
    rng = np.random.default_rng(0)
    few, many = rng.integers(0, 2, 500), rng.zipf(1.5, 500).clip(max=400) - 1
    categories = fitted(few, many, n_levels=[3, 400])
    assert categories.sizes.tolist() == [3, 400]
    for pmf, column in zip(pmfs(categories), (few, many), strict=True):
        assert pmf.sum() == pytest.approx(1, abs=1e-12) and (pmf > 0).all()
        # A level that occurs more often is more probable; levels that occur as often are equal.
        counts = np.bincount(column, minlength=len(pmf))
        order = np.argsort(counts, kind="stable")
        assert (np.diff(pmf[order]) >= -1e-15).all()
        for count in np.unique(counts):
            assert np.ptp(pmf[counts == count]) < 1e-15
    differ = [1 - (p**2).sum() for p in pmfs(categories)]
    np.testing.assert_allclose(categories.variances(), differ)


def leave_one_out(column, size, fraction):
    """Log-likelihood of each value under frequencies of all others, mixed with uniform ones."""
    total = 0.0
    for k in range(len(column)):
        others = np.delete(column, k)
        frequency = (others == column[k]).mean()
        total += np.log((1 - fraction) * frequency + fraction / size)
    return total


@pytest.mark.parametrize("size", [4, 60])
def test_the_uniform_fraction_has_the_best_leave_one_out_likelihood(size):
    column = np.random.default_rng(1).integers(0, size, 80)
    (pmf,) = pmfs(fitted(column, n_levels=[size]))
    counts = np.bincount(column, minlength=size)
    # Of two levels of different counts: p1 - p2 = (1 - fraction) (n1 - n2) / n.
    most, least = counts.argmax(), counts.argmin()
    chosen = 1 - (pmf[most] - pmf[least]) * len(column) / (counts[most] - counts[least])
    best = leave_one_out(column, size, chosen)
    fractions = (1 / 80, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9, 0.99)
    others = [leave_one_out(column, size, fraction) for fraction in fractions]
    assert best >= max(others) - 1e-9
    # All levels have the same probability: much of the mass is spread evenly.
    assert chosen > 0.2


def test_missing_values_do_not_count():
    column = np.repeat([0.0, 1.0, np.nan], [30, 10, 40])
    observed = column[~np.isnan(column)]
    found, expected = fitted(column, n_levels=[2]), fitted(observed, n_levels=[2])
    np.testing.assert_array_equal(found.log_pmf, expected.log_pmf)
    np.testing.assert_array_equal(found.log_unseen, expected.log_unseen)


def test_a_new_value_is_as_probable_as_values_that_occur_once_are_frequent():
    assert unseen_probability(np.array([50, 30, 10, 1, 1, 1])) == pytest.approx(3.01 / 95)
    # Two levels are taken to be all there are, even if one occurs once.
    assert unseen_probability(np.array([99, 1])) == pytest.approx(0.01 / 102)
    # If all values occur once, most new ones would be new; levels keep half of the mass.
    assert unseen_probability(np.ones(1000)) == 0.5
