"""Columns as numbers and codes."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from gudlearn.data.codes import ColumnCodes
from gudlearn.data.frames import read_table

X = pd.DataFrame(
    {
        "number": [1.5, np.nan, 3.0],
        "word": ["b", None, "a"],
        "flag": [True, False, True],
        "day": pd.to_datetime(["2024-01-01", "2024-01-02", None]),
    }
)


def codes(table=X):
    return ColumnCodes(read_table(table), list(X.columns))


def test_columns_are_numbers_seconds_or_codes():
    found = codes().read(read_table(X))
    np.testing.assert_array_equal(codes().is_category, [False, True, True, False])
    np.testing.assert_array_equal(found[:, 0], X["number"])
    assert found[0, 1] != found[2, 1] and np.isnan(found[1, 1])
    assert found[0, 2] == found[2, 2] != found[1, 2]
    assert found[1, 3] - found[0, 3] == 86400 and np.isnan(found[2, 3])


def test_new_levels_share_a_code_and_times_of_other_units_agree():
    new = X.assign(word=["new", "other", "a"], day=X["day"].astype("M8[s]"))
    found, first = (codes().read(read_table(table)) for table in (new, X))
    assert found[0, 1] == found[1, 1] not in first[:, 1]
    np.testing.assert_array_equal(found[2, 1], first[2, 1])
    np.testing.assert_array_equal(found[:, 3], first[:, 3])


def test_levels_are_the_same_in_other_containers():
    frame = pl.DataFrame(
        {"number": [1.5, None, 3.0], "word": ["b", None, "a"], "flag": [True, False, True]}
    )
    found = ColumnCodes(read_table(X[["number", "word", "flag"]]), list("abc"))
    np.testing.assert_array_equal(found.read(read_table(frame)), codes().read(read_table(X))[:, :3])


def test_booleans_of_an_array_are_numbers():
    rows = np.array([[True], [False]])
    table = ColumnCodes(read_table(rows), ["flag"])
    assert not table.is_category[0]
    np.testing.assert_array_equal(table.read(read_table(rows)), [[1.0], [0.0]])
    np.testing.assert_array_equal(table.read(read_table(np.array([[0.5]]))), [[0.5]])


def test_columns_of_another_kind_are_refused_unless_they_are_missing():
    with pytest.raises(ValueError, match="'number' holds the non-numeric value 'x' in row 1"):
        codes().read(read_table(X.assign(number=[None, "x", "y"])))
    with pytest.raises(ValueError, match="'word' holds numbers, but it held categories"):
        codes().read(read_table(X.assign(word=1.0)))
    assert np.isnan(codes().read(read_table(X.assign(word=np.nan)))[:, 1]).all()
