"""Columns of a table as numbers and codes of categories, for methods that need distances only."""

import numpy as np

from gudlearn.data.raw import SECONDS


class ColumnCodes:
    """Reads the columns of tables as numbers, or as codes of the levels of a first table.

    Booleans of an array are numbers, those of a frame categories. Times are seconds.

    Parameters
    ----------
    table : Table
    names : list of str
        Names of the columns, for messages.

    Attributes
    ----------
    is_category : ndarray of shape (F,) of bool
    """

    def __init__(self, table, names):
        self.names = names
        self.levels = [
            None if _holds_numbers(raw, table) else {_key(v): k for k, v in enumerate(raw.levels)}
            for raw in table.columns
        ]
        self.is_category = np.array([levels is not None for levels in self.levels], dtype=bool)

    def read(self, table):
        """Values (n, F), NaN where missing; levels that were not seen share one new code.

        Parameters
        ----------
        table : Table

        Returns
        -------
        ndarray of shape (n, F)

        Raises
        ------
        ValueError
            If a column held numbers in the first table and does not now, or the other way round.
        """
        values = np.full((table.n_rows, len(self.names)), np.nan)
        for j, raw in enumerate(table.columns):
            missing = raw.missing_mask()
            if missing is not None and missing.all():
                continue
            if _holds_numbers(raw, table) == self.is_category[j]:
                _raise_other_kind(raw, self.names[j], self.is_category[j], missing)
            if self.is_category[j]:
                codes = [self.levels[j].get(_key(v), len(self.levels[j])) for v in raw.levels]
                found = np.append(np.array(codes, dtype=np.float64), np.nan)[raw.values]
            elif raw.kind == "level":
                found = np.append(raw.levels.astype(np.float64), np.nan)[raw.values]
            else:
                found = raw.values.astype(np.float64) * SECONDS.get(raw.unit, 1.0)
            values[:, j] = found if missing is None else np.where(missing, np.nan, found)
        return values


def _key(level):
    """What a level is found by: its text, so that 1 and "1" are one level in any container."""
    return str(level)


def _holds_numbers(raw, table):
    """Whether a column holds numbers or times, or booleans of an array."""
    if raw.kind != "level":
        return True
    return table.kind.module == "numpy" and all(isinstance(v, bool) for v in raw.levels)


def _raise_other_kind(raw, name, was_category, missing):
    row = 0 if missing is None else int(np.argmin(missing))
    if was_category:
        raise ValueError(
            f"Column {name!r} holds numbers, but it held categories in fit. Convert it or drop it."
        )
    value = raw.levels[raw.values[row]]
    raise ValueError(
        f"Column {name!r} holds the non-numeric value {value!r} in row {row}, but it held numbers "
        "in fit. Convert it or drop it."
    )
