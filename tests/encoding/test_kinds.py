"""Which columns are numbers, categories, and gates with their numbers."""

from types import SimpleNamespace

import numpy as np

from gudlearn.data.rows import Rows
from gudlearn.encoding.kinds import ColumnKinds

# A plain number, a gate of three levels, its number, and a category.
FIELDS = SimpleNamespace(
    masked=np.array([False, True, False, True]), n_levels=np.array([0, 3, 0, 2]),
    gate=np.array([-1, -1, 1, -1]), log_unit=np.zeros(4), column_of=np.array([0, 1, 1, 2]),
    clip=True, gaussianize=True,
)  # fmt: skip
KINDS = ColumnKinds(4, FIELDS)
# The last level of a gate says that the number exists.
VALUES = np.array(
    [[0.5, 2, 1.5, 0], [0.5, 0, np.nan, 1], [np.nan, 2, np.nan, 0], [0.5, np.nan, np.nan, np.nan],
     [0.5, 1, np.nan, 1]]
)  # fmt: skip


def test_numbers_are_absent_where_their_gate_says_so():
    absent = np.zeros((5, 4), bool)
    absent[[1, 4], 2] = True
    np.testing.assert_array_equal(KINDS.absent(VALUES), absent)


def test_only_missing_values_that_exist_are_imputed():
    imputable = np.isnan(VALUES)
    # Where the gate itself is missing the number may exist.
    imputable[[1, 4], 2] = False
    np.testing.assert_array_equal(KINDS.imputable(Rows.of(VALUES)), imputable)
    assert KINDS.imputable(Rows.of(VALUES[[0, 1, 4]])) is None
    assert KINDS.imputable(Rows.of(VALUES[:1])) is None


def test_columns_without_fields_are_plain_numbers():
    plain = ColumnKinds(2)
    assert not plain.masked.any() and not plain.clip and not plain.gaussianize
    assert plain.absent(VALUES[:, :2]) is None
    rows = Rows.of(np.array([[1.0, np.nan]]))
    np.testing.assert_array_equal(plain.imputable(rows), [[False, True]])
    assert plain.gated(np.arange(2)).shape == (2, 0)


def test_gates_are_paired_with_numbers_that_diffuse():
    # Components of the columns: numbers first, then categories.
    np.testing.assert_array_equal(KINDS.gated(np.array([0, 2, 1, 3])), [[2], [1]])
    # A number that does not vary has no component.
    assert KINDS.gated(np.array([0, 1, -1, 2])).shape == (2, 0)
