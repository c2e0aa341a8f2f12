"""Values of metrics with their standard errors: by bootstrap, and from parts of the rows."""

from dataclasses import dataclass

import numpy as np

# Draws of a bootstrap: its standard error has a relative error of 16 %.
_N_DRAWS = 20
# Rows of a draw; from more rows the error is scaled by the root of their number.
_MOST_DRAWN = 2000
_N_PARTS = 8


@dataclass(frozen=True, eq=False)
class Estimate:
    """Value of a metric for one sample.

    Parameters
    ----------
    value : float
    standard_error : float
        NaN if it is unknown.
    detail : object, default=None
        What else the metric found: errors of columns, pairs, importances.
    """

    value: float
    standard_error: float
    detail: object = None


def bootstrap_error(statistic, n, m, rng, n_draws=_N_DRAWS):
    """Standard error of a mean-like statistic of two samples.

    Rows are drawn with replacement, of many rows a part, whose error is larger by a known factor.

    Parameters
    ----------
    statistic : callable
        Maps places of rows of the first and of the second sample to a number.
    n, m : int
        Numbers of rows.
    rng : numpy.random.Generator
    n_draws : int, default=20

    Returns
    -------
    float
    """
    drawn = [min(k, _MOST_DRAWN) for k in (n, m)]
    values = [
        statistic(rng.integers(n, size=drawn[0]), rng.integers(m, size=drawn[1]))
        for _ in range(n_draws)
    ]
    known = [v for v in values if not np.isnan(v)]
    if len(known) < 2:
        return np.nan
    return float(np.std(known, ddof=1) * np.sqrt(sum(drawn) / (n + m)))


def parts_error(statistic, n, m, least):
    """Standard error of a statistic of two samples from disjoint parts of the rows.

    It is too large where the statistic falls faster than by the root of the number of rows.

    Parameters
    ----------
    statistic : callable
        Maps places of rows of the first and of the second sample to a number.
    n, m : int
        Numbers of rows, in random order.
    least : int
        Rows that a part needs.

    Returns
    -------
    float
        NaN if there are too few rows for two parts.
    """
    n_parts = min(_N_PARTS, min(n, m) // least)
    if n_parts < 2:
        return np.nan
    values = [statistic(np.arange(k, n, n_parts), np.arange(k, m, n_parts)) for k in range(n_parts)]
    return float(np.std(values, ddof=1) / np.sqrt(n_parts))


def share_error(share, n):
    """Standard error of a fraction of n rows; that of one row more and one less if it is 0 or 1."""
    share = min(max(share, 1 / (n + 2)), 1 - 1 / (n + 2))
    return float(np.sqrt(share * (1 - share) / n))
