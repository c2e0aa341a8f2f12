"""Rows of mixed tables as vectors, and the energy distance between samples of vectors."""

import numpy as np
from scipy.spatial.distance import cdist

from gudlearn.metrics.reporting.errors import Estimate, parts_error

# Levels of a category with a coordinate of their own.
_MOST_LEVELS = 30
# Numbers lie within this many widths of the median: an outlier is far, not everything.
_FARTHEST = 5.0
#: Distances are those between at most this many rows of each sample.
MOST_DISTANCES = 2000


class Vectors:
    """Coordinates of rows: numbers in units of their width, and indicators of levels.

    Different levels are at the distance of a number's width. A missing number has the median and an
    indicator.

    Parameters
    ----------
    train : MixedTable
        Training rows, which decide widths, medians and levels.
    """

    def __init__(self, train):
        self.plans = [self._plan(train, j) for j in range(len(train.names))]

    def _plan(self, train, j):
        known = train.X[:, j][~np.isnan(train.X[:, j])]
        if train.is_category[j]:
            levels, counts = np.unique(known, return_counts=True)
            return levels[np.argsort(-counts, kind="stable")[:_MOST_LEVELS]]
        if not len(known):
            return 0.0, 1.0
        low, middle, high = np.quantile(known, [0.05, 0.5, 0.95])
        return middle, (high - low) or np.ptp(known) or 1.0

    def __call__(self, table):
        """Coordinates (n, d) of the rows of a table."""
        parts = []
        for j, plan in enumerate(self.plans):
            column = table.X[:, j]
            missing = np.isnan(column)
            if table.is_category[j]:
                indicators = [column == level for level in plan]
                other = ~np.any(indicators, axis=0) & ~missing if len(plan) else ~missing
                parts += [v / np.sqrt(2) for v in (*indicators, other, missing)]
            else:
                middle, width = plan
                scaled = np.clip((column - middle) / width, -_FARTHEST, _FARTHEST)
                parts += [np.where(missing, 0.0, scaled), missing.astype(float)]
        return np.column_stack(parts)


def energy_distance(first, second):
    r"""Energy distance of two samples, relative to their mean distance.

    .. math:: \frac{2 E|X - Y| - E|X - X'| - E|Y - Y'|}{2 E|X - Y|}

    with Euclidean distances between at most 2,000 rows of each. It is 0 for equal distributions and
    at most 1, and sees dependences. The means over pairs of one sample leave out the pairs of a row
    with itself, so that it can be a little below 0.

    Parameters
    ----------
    first, second : ndarray of shape (n, d), (m, d)
        In random order.

    Returns
    -------
    Estimate

    References
    ----------
    Szekely, Rizzo (2013), Journal of Statistical Planning and Inference 143
    """
    first, second = first[:MOST_DISTANCES], second[:MOST_DISTANCES]
    between, within = cdist(first, second), [cdist(X, X) for X in (first, second)]

    def statistic(a, b):
        cross = 2 * between[np.ix_(a, b)].mean()
        if cross == 0:
            return 0.0
        own = [D[np.ix_(k, k)].sum() / (len(k) * (len(k) - 1))
               for D, k in zip(within, (a, b), strict=True)]  # fmt: skip
        return float((cross - sum(own)) / cross)

    n, m = between.shape
    value = statistic(np.arange(n), np.arange(m))
    return Estimate(value, parts_error(statistic, n, m, 5))
