r"""Strength of the dependence of each pair of columns of a mixed table.

For two columns of numbers or datetimes it is the Pearson correlation, in [-1, 1]. For a pair with a
category it is Cramér's V, in [0, 1]: with :math:`\chi^2` of the table of counts of the pairs of
cells of n rows, :math:`\sqrt{\chi^2 / (n\, (\min(r, c) - 1))}` for r and c cells that occur. The
cells are those of :func:`gudlearn.metrics.trend_error`: levels, ten bins of a number, and missing.
"""

from itertools import combinations

import numpy as np
import pandas as pd

from gudlearn.metrics.mixed import generator_of, read_tables
from gudlearn.metrics.quality import cell_codes


def associations(real, fake, *, max_rows=100_000, random_state=0):
    """Dependences of the pairs of columns in real and in fake rows.

    Parameters
    ----------
    real, fake : pandas, polars or pyarrow table, or array-like of shape (n, F)
    max_rows : int or None, default=100000
        At most this many rows of each are used, the same as by `trend_error` for one seed.
    random_state : int, RandomState, Generator or None, default=0

    Returns
    -------
    list of DataFrame of shape (F, F)
        Of the real and of the fake rows; NaN on the diagonal and where it is undefined.
    """
    return associations_of(read_tables(max_rows, generator_of(random_state), real=real, fake=fake))


def associations_of(tables):
    """Dependences of the pairs of columns in each of several tables, binned by the first."""
    names, is_category = tables[0].names, tables[0].is_category
    index = pd.Index(names, tupleize_cols=False)
    codes = [cell_codes(tables, j) for j in range(len(names))]
    found = []
    for k, table in enumerate(tables):
        values = np.full((len(names), len(names)), np.nan)
        numbers = np.flatnonzero(~is_category)
        correlations = pd.DataFrame(table.X[:, numbers]).corr(min_periods=2).to_numpy(copy=True)
        np.fill_diagonal(correlations, np.nan)
        values[np.ix_(numbers, numbers)] = correlations
        for i, j in combinations(range(len(names)), 2):
            if is_category[i] or is_category[j]:
                values[i, j] = values[j, i] = cramers_v(codes[i][k], codes[j][k])
        found.append(pd.DataFrame(values, index=index, columns=index))
    return found


def cramers_v(first, second):
    """Cramér's V of two columns of codes (n,); NaN where one of them does not vary."""
    (first, n_first), (second, n_second) = _compact(first), _compact(second)
    least = min(n_first, n_second) - 1
    if least == 0:
        return np.nan
    pairs, counts = np.unique(first * n_second + second, return_counts=True)
    rows, columns = np.bincount(first), np.bincount(second)
    # Pairs that do not occur enter the sum over all pairs by their expected counts only.
    expected = rows[pairs // n_second] * (columns[pairs % n_second] / len(first))
    chi_squared = (counts**2 / expected).sum() - len(first)
    return float(np.sqrt(max(chi_squared, 0.0) / (len(first) * least)))


def _compact(codes):
    """Codes 0, 1, ... of the cells that occur, and their number."""
    distinct, codes = np.unique(codes, return_inverse=True)
    return codes, len(distinct)
