"""Kinds of columns of rows: numbers, categories, and gates with the numbers they decide about."""

import numpy as np


class ColumnKinds:
    """What each of the F columns of rows is.

    Parameters
    ----------
    n_columns : int
        F.
    fields : TableSchema or None
        None: all columns are plain numbers.

    Attributes
    ----------
    masked : ndarray of shape (F,) of bool
        Categories, whose values are codes.
    n_levels : ndarray of shape (F,) of int
        Number of levels of categories.
    gate : ndarray of shape (F,) of int
        The gate of a number of two natures, -1 elsewhere.
    log_unit : ndarray of shape (F,)
        Subtracted from the log-probability of an entry.
    position : ndarray of shape (F,) of int
        The user's column of each column.
    clip, gaussianize : bool
        Whether samples stay in the seen range, and continuous columns may be mapped to normal ones.
    """

    def __init__(self, n_columns, fields=None):
        self.masked, self.n_levels = np.zeros(n_columns, bool), np.zeros(n_columns, int)
        self.gate, self.log_unit = np.full(n_columns, -1), np.zeros(n_columns)
        self.position, self.clip, self.gaussianize = np.arange(n_columns), False, False
        if fields is not None:
            self.masked, self.n_levels, self.gate = fields.masked, fields.n_levels, fields.gate
            self.log_unit, self.position = fields.log_unit, fields.column_of
            self.clip, self.gaussianize = fields.clip, fields.gaussianize

    def absent(self, values):
        """Mask (n, F) of numbers that do not exist, because their gate in values (n, F) says so.

        None if no column has two natures.
        """
        numbers = np.flatnonzero(self.gate >= 0)
        if not len(numbers):
            return None
        gates, absent = self.gate[numbers], np.zeros(values.shape, bool)
        codes = values[:, gates]
        absent[:, numbers] = ~np.isnan(codes) & (codes != self.n_levels[gates] - 1)
        return absent

    def imputable(self, rows):
        """Mask (n, F) of the missing values that exist; None if there are none."""
        missing, absent = rows.missing, self.absent(rows.values)
        if missing is None or absent is None:
            return missing
        missing = missing & ~absent
        return missing if missing.any() else None

    def gated(self, component_of):
        """Components of gates and of their numbers, (2, G), from those of columns, -1 for none."""
        numbers = np.flatnonzero(self.gate >= 0)
        pairs = np.stack([component_of[self.gate[numbers]], component_of[numbers]])
        return pairs[:, (pairs >= 0).all(0)]
