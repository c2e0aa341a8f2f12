"""Combinations of values of several columns that occurred."""

from dataclasses import dataclass

import numpy as np

_MOST_COMBINATIONS = 2.0**62


@dataclass(frozen=True, eq=False)
class Seen:
    """Combinations of values of some columns that occurred in the first fit.

    Parameters
    ----------
    places : tuple of int
        The user's columns.
    values : tuple of ndarray
        Sorted distinct values of each.
    combinations : ndarray of int64
        Sorted numbers of the combinations that occurred.
    """

    places: tuple
    values: tuple
    combinations: np.ndarray

    @classmethod
    def of(cls, columns, places):
        """The combinations of columns, arrays (n,) with NaN where missing."""
        observed = ~np.any([np.isnan(column) for column in columns], axis=0)
        values = tuple(np.unique(column[observed]) for column in columns)
        if np.prod([float(len(v)) for v in values]) > _MOST_COMBINATIONS:
            raise ValueError(
                f"forbid_unseen names {len(columns)} columns with more combinations than can be "
                "counted. Name fewer columns."
            )
        numbers, _ = _numbers(values, [column[observed] for column in columns])
        return cls(tuple(places), values, np.unique(numbers))

    def allows(self, columns):
        """Mask (n,) of rows whose combination occurred, or misses a value."""
        numbers, known = _numbers(self.values, columns)
        missing = np.any([np.isnan(column) for column in columns], axis=0)
        return missing | (known & np.isin(numbers, self.combinations))


def _numbers(distinct, columns):
    """Number of the combination of each row, and whether all its values are among the distinct."""
    numbers, known = np.zeros(len(columns[0]), np.int64), np.ones(len(columns[0]), bool)
    for values, column in zip(distinct, columns, strict=True):
        if not len(values):
            return numbers, np.zeros(len(numbers), bool)
        place = np.minimum(np.searchsorted(values, column), len(values) - 1)
        known &= values[place] == column
        numbers = numbers * len(values) + place
    return numbers, known
