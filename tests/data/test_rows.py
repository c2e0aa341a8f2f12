"""Rows: values, mask, keys and labels, made once and taken together."""

import numpy as np
import pytest
import torch

from gudlearn._random import row_keys
from gudlearn.data.missing import check_no_empty_column, column_moments, missing_mask
from gudlearn.data.rows import Rows

X = np.random.default_rng(0).normal(size=(6, 3))
PARTIAL = np.where(np.arange(18).reshape(6, 3) % 5 == 0, np.nan, X)


def test_complete_rows_have_no_mask():
    for values in (X, X.astype(np.float32), (10 * X).astype(np.int32), X > 0):
        rows = Rows.of(values)
        assert rows.observed is None and rows.missing is None and rows.n_observed == values.size
        assert rows.filled(np.zeros(3)) is rows.values


def test_the_mask_says_what_is_not_nan():
    rows = Rows.of(PARTIAL)
    assert np.array_equal(rows.observed, ~np.isnan(PARTIAL))
    assert np.array_equal(rows.missing, np.isnan(PARTIAL))
    assert rows.n_observed == np.isfinite(PARTIAL).sum()
    filled = rows.filled(np.array([7.0, 8.0, 9.0]))
    assert np.array_equal(filled[rows.observed], PARTIAL[rows.observed])
    assert filled[0, 0] == 7.0 and np.isfinite(filled).all()


@pytest.mark.parametrize("index", [np.array([4, 1]), slice(None, None, 2)], ids=str)
def test_what_is_derived_is_taken_along(index):
    rows = Rows.of(PARTIAL, torch.arange(6)).take(index)
    again = Rows.of(PARTIAL[index], torch.arange(6)[torch.arange(6).numpy()[index]])
    assert np.array_equal(rows.values, again.values, equal_nan=True)
    assert np.array_equal(rows.observed, again.observed)
    assert torch.equal(rows.keys, row_keys(PARTIAL)[torch.from_numpy(np.arange(6)[index])])
    assert torch.equal(rows.keys, again.keys) and torch.equal(rows.labels, again.labels)


def test_moments_are_those_of_observed_values():
    mean, std = column_moments(PARTIAL, missing_mask(PARTIAL))
    np.testing.assert_allclose(mean, np.nanmean(PARTIAL, axis=0))
    np.testing.assert_allclose(std, np.nanstd(PARTIAL, axis=0))
    for found, expected in zip(column_moments(X), (X.mean(0), X.std(0)), strict=True):
        np.testing.assert_allclose(found, expected)


def test_an_empty_column_is_refused_by_name():
    empty = X.copy()
    empty[:, 1] = np.nan
    with pytest.raises(ValueError, match=r"Columns \['b'\] of X hold nothing but NaN"):
        check_no_empty_column(missing_mask(empty), ["a", "b", "c"])
    check_no_empty_column(missing_mask(PARTIAL), ["a", "b", "c"])
