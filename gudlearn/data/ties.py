r"""Columns whose values repeat, as normal scores with their ties spread at random.

A value that many rows share has a high probability, and where columns are taken for continuous an
endless density, whatever else is in the row. Its distributional transform

.. math:: z = \Phi^{-1}\big(F(x-) + u \, (F(x) - F(x-))\big), \quad u \sim U(0, 1),

has the standard normal law (Rüschendorf 2009, https://doi.org/10.1016/j.jspi.2009.05.030): what is
left to be likely or not is a rare value, and how columns go together.
"""

import numpy as np
from scipy.special import ndtri

from gudlearn._random import keyed_uniform

# Of the known values of a column so many may be different ones, where they count as repeated.
_MOST_DIFFERENT = 0.5
_STREAM = 23


class SpreadTies:
    """The columns of rows that repeat their values, and their distribution functions.

    Parameters
    ----------
    X : ndarray of shape (n, F)
        NaN where a value is missing.

    Attributes
    ----------
    columns : ndarray of int
        Columns that repeat their values; those of one value only are not among them.
    """

    def __init__(self, X):
        self._sorted = {}
        for j, column in enumerate(X.T):
            known = np.sort(column[~np.isnan(column)])
            if 1 < len(np.unique(known)) < _MOST_DIFFERENT * len(known):
                self._sorted[j] = known
        self.columns = np.array(list(self._sorted), dtype=int)
        self.n_features = X.shape[1]

    def spread(self, X, keys, draw=0):
        """Rows X (n, F) with normal scores in these columns.

        Beyond the values that were seen scores go on in standard deviations.

        Parameters
        ----------
        X : ndarray of shape (n, F)
        keys : Tensor of shape (n,)
            Of the random numbers of rows.
        draw : int
            The draw-th of them.
        """
        found = np.array(X, dtype=np.float64)
        u = keyed_uniform(keys, self.n_features, (draw << 5) + _STREAM).numpy()
        for j, known in self._sorted.items():
            x, n = found[:, j], len(known)
            below = np.searchsorted(known, x, "left")
            at = np.searchsorted(known, x, "right") - below
            level = (below + at * u[:, j]) / n
            edge = 0.5 / n
            beyond = np.clip(x, known[0], known[-1]) - x
            scores = ndtri(np.where(beyond == 0, level, np.where(beyond > 0, edge, 1 - edge)))
            found[:, j] = np.where(np.isnan(x), np.nan, scores - beyond / known.std())
        return found
