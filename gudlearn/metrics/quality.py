r"""Errors of margins and of pairs of columns, by the definitions of SDMetrics' quality report.

An error is one minus the similarity that SDMetrics reports, so that 0 is perfect.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from gudlearn._typing import RandomState
from gudlearn.metrics.mixed import generator_of, read_tables, rows_text, rows_used

__all__ = ["ShapeError", "TrendError", "shape_error", "trend_error"]

_N_BINS = 10


@dataclass(frozen=True, repr=False)
class ShapeError:
    """Results of :func:`shape_error`.

    Parameters
    ----------
    mean : float
        Mean over the columns.
    columns : pandas.Series
        Error of each column, between 0 and 1; NaN if it is all missing in both samples.
    n_used, n_rows : dict of str to int
        Numbers of rows that were used and passed, for ``real`` and ``fake``.
    """

    mean: float
    columns: pd.Series
    n_used: dict
    n_rows: dict

    def __repr__(self):
        return _text(self, self.columns.sort_values(ascending=False, kind="stable"))


@dataclass(frozen=True, repr=False)
class TrendError:
    """Results of :func:`trend_error`.

    Parameters
    ----------
    mean : float
        Mean over the pairs of columns.
    pairs : pandas.DataFrame
        Error of each pair, between 0 and 1, as a symmetric table; NaN where a correlation is
        undefined in the real rows, and on the diagonal.
    n_used, n_rows : dict of str to int
        Numbers of rows that were used and passed, for ``real`` and ``fake``.
    """

    mean: float
    pairs: pd.DataFrame
    n_used: dict
    n_rows: dict

    def __repr__(self):
        above = np.triu_indices(len(self.pairs), 1)
        names = [f"{a} x {b}" for a, b in combinations(self.pairs.columns, 2)]
        errors = pd.Series(self.pairs.to_numpy()[above], index=names)
        return _text(self, errors.sort_values(ascending=False, kind="stable"))


def _text(result, errors):
    """Mean, numbers of rows and the five largest errors."""
    largest = errors.dropna().head(5).items()
    worst = ", ".join(f"{name}: {error:.4f}" for name, error in largest)
    rows = rows_text(result.n_used, result.n_rows)
    return f"{type(result).__name__}: mean {result.mean:.4f} ({rows})\n  largest: {worst}"


def shape_error(
    real: ArrayLike, fake: ArrayLike, *, max_rows: int = 1_000_000, random_state: RandomState = 0,
) -> ShapeError:  # fmt: skip
    r"""Distance between the marginal distributions of each column.

    For numbers and datetimes the Kolmogorov-Smirnov statistic :math:`\sup_x |F(x) - G(x)|`, for
    categories the total variation distance :math:`\frac12 \sum_k |p_k - q_k|`. These are one minus
    the ``KSComplement`` and the ``TVComplement`` of SDMetrics. Missing values are left out. A
    column that has values in one of the samples only has error 1; SDMetrics leaves it out.

    Parameters
    ----------
    real, fake : pandas, polars or pyarrow table, or array-like of shape (n, F)
        Numbers, datetimes, text, categories and booleans, with missing values in any of them.
        Columns are matched by name.
    max_rows : int or None, default=1000000
        At most this many rows of each sample are used, drawn at random.
    random_state : int, RandomState, Generator or None, default=0
        Draws the rows.

    Returns
    -------
    ShapeError

    Raises
    ------
    ValueError
        If the columns differ, a sample is empty or a number is infinite.
    TypeError
        If values of a column cannot be compared.

    References
    ----------
    DataCebo, SDMetrics, https://docs.sdv.dev/sdmetrics

    Examples
    --------
    >>> import pandas as pd
    >>> from gudlearn.metrics import shape_error
    >>> real = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "word": ["a", "a", "b", "b"]})
    >>> fake = pd.DataFrame({"x": [1.0, 2.0, 3.0, 9.0], "word": ["a", "a", "a", "c"]})
    >>> shape_error(real, fake).columns.to_dict()
    {'x': 0.25, 'word': 0.5}
    """
    tables = read_tables(max_rows, generator_of(random_state), real=real, fake=fake)
    errors = shape_errors(tables)
    return ShapeError(
        mean=mean_error(errors),
        columns=pd.Series(errors, index=pd.Index(tables[0].names, tupleize_cols=False)),
        **rows_used(real=tables[0], fake=tables[1]),
    )


def shape_errors(tables):
    """Error of each column (F,) between two tables; NaN where it is all missing in both."""
    columns = range(len(tables[0].names))
    return np.array(
        [_column_error(*(t.X[:, j] for t in tables), tables[0].levels[j]) for j in columns]
    )


def _column_error(real, fake, levels):
    """Distance between the values of one column that are not missing."""
    real, fake = (column[~np.isnan(column)] for column in (real, fake))
    if not len(real) or not len(fake):
        return np.nan if len(real) == len(fake) else 1.0
    if levels is not None:
        return _total_variation(real.astype(int), fake.astype(int), len(levels))
    real, fake = np.sort(real), np.sort(fake)
    return max(_largest_gap(real, fake, values) for values in (real, fake))


def _largest_gap(real, fake, values):
    """Largest difference at some values of the distribution functions of two sorted samples."""
    first, second = (np.searchsorted(x, values, side="right") / len(x) for x in (real, fake))
    return float(np.abs(first - second).max())


def _total_variation(real, fake, n_codes):
    """Half of the summed differences of the relative frequencies of codes below `n_codes`."""
    frequencies = [np.bincount(codes, minlength=n_codes) / len(codes) for codes in (real, fake)]
    return float(np.abs(frequencies[0] - frequencies[1]).sum() / 2)


def trend_error(
    real: ArrayLike, fake: ArrayLike, *, max_rows: int = 100_000, random_state: RandomState = 0,
) -> TrendError:  # fmt: skip
    r"""Difference between the dependences of each pair of columns.

    For two columns of numbers or datetimes half of the difference of their Pearson correlations,
    from the rows where both are known. For a pair with a category the total variation distance of
    the frequencies of pairs of values, where a missing value is a value, too, and numbers are
    replaced by ten bins of equal width between the least and the largest real value. These are one
    minus the ``CorrelationSimilarity`` and the ``ContingencySimilarity`` of SDMetrics (whose
    quality report, unlike this metric of it, bins the fake values by their own range).

    A correlation that is undefined in the real rows, as of a constant, leaves the pair out. If it
    is undefined in the fake rows alone, it counts as 0; SDMetrics leaves the pair out.

    Parameters
    ----------
    real, fake : pandas, polars or pyarrow table, or array-like of shape (n, F)
        Numbers, datetimes, text, categories and booleans, with missing values in any of them. At
        least two columns, matched by name.
    max_rows : int or None, default=100000
        At most this many rows of each sample are used, drawn at random.
    random_state : int, RandomState, Generator or None, default=0
        Draws the rows.

    Returns
    -------
    TrendError

    Raises
    ------
    ValueError
        If the columns differ, there is one only, a sample is empty or a number is infinite.
    TypeError
        If values of a column cannot be compared.

    References
    ----------
    DataCebo, SDMetrics, https://docs.sdv.dev/sdmetrics

    Examples
    --------
    >>> import pandas as pd
    >>> from gudlearn.metrics import trend_error
    >>> real = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 3.0]})
    >>> fake = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [3.0, 2.0, 1.0]})
    >>> round(trend_error(real, fake).mean, 6)
    1.0
    """
    tables = read_tables(max_rows, generator_of(random_state), real=real, fake=fake)
    errors, names = trend_errors(tables), tables[0].names
    index = pd.Index(names, tupleize_cols=False)
    return TrendError(
        mean=mean_error(errors[np.triu_indices(len(names), 1)]),
        pairs=pd.DataFrame(errors, index=index, columns=index),
        **rows_used(real=tables[0], fake=tables[1]),
    )


def trend_errors(tables):
    """Error of each pair of columns (F, F) between two tables; NaN on the diagonal."""
    names, is_category = tables[0].names, tables[0].is_category
    if len(names) < 2:
        raise ValueError("The samples have one column, but trend_error compares pairs. Pass more.")
    errors = _correlation_errors(tables)
    codes = [cell_codes(tables, j) for j in range(len(names))]
    for j, k in combinations(range(len(names)), 2):
        if is_category[j] or is_category[k]:
            errors[j, k] = errors[k, j] = _contingency_error(codes[j], codes[k])
    return errors


def mean_error(errors):
    """Mean of the errors that are defined."""
    defined = errors[~np.isnan(errors)]
    return float(defined.mean()) if len(defined) else float("nan")


def _correlation_errors(tables):
    """Half the differences of the correlations of numbers (F, F); NaN for others."""
    numbers = np.flatnonzero(~tables[0].is_category)
    real, fake = (pd.DataFrame(t.X[:, numbers]).corr(min_periods=2).to_numpy() for t in tables)
    differences = np.abs(real - np.where(np.isnan(fake), 0.0, fake)) / 2
    np.fill_diagonal(differences, np.nan)
    errors = np.full((len(tables[0].names),) * 2, np.nan)
    errors[np.ix_(numbers, numbers)] = differences
    return errors


def cell_codes(tables, j):
    """Codes of the cells of a column in the real and in the fake rows, and their number.

    Cells are levels or bins, and the last is that of missing values.
    """
    columns = [table.X[:, j] for table in tables]
    missing = [np.isnan(column) for column in columns]
    if tables[0].is_category[j]:
        n_cells = len(tables[0].levels[j])
    else:
        n_cells, known = _N_BINS, columns[0][~missing[0]]
        edges = np.histogram_bin_edges(known, bins=_N_BINS)[1:-1]
        columns = [np.digitize(column, edges) for column in columns]
    pairs = zip(columns, missing, strict=True)
    return *[np.where(m, n_cells, column).astype(np.int64) for column, m in pairs], n_cells + 1


def _contingency_error(first, second):
    """Total variation distance between the frequencies of pairs of cells."""
    n_pairs = first[2] * second[2]
    real, fake = (first[k] * second[2] + second[k] for k in (0, 1))
    if n_pairs > 4 * (len(real) + len(fake)):  # many levels: count the pairs that occur
        pairs, places = np.unique(np.concatenate([real, fake]), return_inverse=True)
        n_pairs, (real, fake) = len(pairs), np.split(places, [len(real)])
    return _total_variation(real, fake, n_pairs)
