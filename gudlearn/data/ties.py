r"""Normal scores of columns with repeated values, whose ties are broken at random.

A value that many rows share has a high probability and, in a column treated as continuous, an
infinite density, whatever else is in the row. Its distributional transform

.. math:: z = \Phi^{-1}\big(F(x-) + u \, (F(x) - F(x-))\big), \quad u \sim U(0, 1),

is standard normal (Rüschendorf 2009, https://doi.org/10.1016/j.jspi.2009.05.030). A row's density
then depends on how rare its values are, and on how they go together.
"""

import numpy as np
from scipy.special import ndtri

from gudlearn._random import keyed_uniform

# A column counts as repeating if less than this fraction of its observed values is distinct.
_MOST_DISTINCT = 0.5
_STREAM = 23


class SpreadTies:
    """Spreads the ties of columns that repeat their values.

    Parameters
    ----------
    X : array-like of shape (n, F)
        NaN where a value is missing.

    Attributes
    ----------
    columns : ndarray of int
        Columns that repeat their values; constant columns are not among them.
    n_features : int
        F.
    """

    def __init__(self, X):
        X = np.asarray(X)
        self._sorted = {}
        for j, column in enumerate(X.T):
            observed = np.sort(column[~np.isnan(column)])
            if 1 < len(np.unique(observed)) < _MOST_DISTINCT * len(observed):
                self._sorted[j] = observed
        self.columns = np.array(list(self._sorted), dtype=int)
        self.n_features = X.shape[1]

    def holds(self, X):
        """Whether X (n, F) has the fitted number of columns, with numbers in those with ties."""
        if X.shape[1] != self.n_features:
            return False
        return not (len(X) > 1 and np.isnan(X[:, self.columns]).all(0).any())

    def spread(self, X, keys, draw=0):
        """Rows with normal scores in place of the values of these columns.

        Outside the observed range scores grow by the distance in standard deviations.

        Parameters
        ----------
        X : array-like of shape (n, F)
        keys : Tensor of shape (n,)
            Keys of the rows' random numbers.
        draw : int
            Index of the draw.

        Returns
        -------
        ndarray of shape (n, F)
        """
        scores = np.array(X, dtype=np.float64)
        u = keyed_uniform(keys, self.n_features, (draw << 5) + _STREAM).numpy()
        for j, observed in self._sorted.items():
            x, n = scores[:, j], len(observed)
            below = np.searchsorted(observed, x, "left")
            equal = np.searchsorted(observed, x, "right") - below
            probability = (below + equal * u[:, j]) / n
            edge = 0.5 / n
            beyond = np.clip(x, observed[0], observed[-1]) - x
            probability = np.where(beyond == 0, probability, np.where(beyond > 0, edge, 1 - edge))
            shift = beyond / observed.std()
            scores[:, j] = np.where(np.isnan(x), np.nan, ndtri(probability) - shift)
        return scores
