"""Missing values: where they are, and statistics of the observed ones."""

import numpy as np
from sklearn.utils import gen_batches

from gudlearn.bases.batches import has_nan

# Largest number of rows from which the middle value of a column is taken.
_MOST_TYPICAL = 512


def missing_mask(X):
    """Boolean mask of the NaN in X, of its shape; None if nothing is missing."""
    return np.isnan(X) if has_nan(X) else None


def row_batches(X):
    """Slices of rows of X (n, F) with about four million entries each."""
    return gen_batches(len(X), max(1, 2**22 // X.shape[1]))


def extremes(X):
    """Smallest and largest observed value of each column, both (F,)."""
    return np.fmin.reduce(X, axis=0), np.fmax.reduce(X, axis=0)


def column_moments(X, missing=None):
    """Mean and standard deviation of the observed values of each column, float64, (F,).

    Parameters
    ----------
    X : ndarray of shape (n, F)
        Any numeric dtype.
    missing : ndarray of shape (n, F) of bool, or None
    """
    n_observed = len(X) if missing is None else (~missing).sum(0)
    add = np.sum if missing is None else np.nansum
    mean = add(X, axis=0, dtype=np.float64) / n_observed
    squares = np.zeros(X.shape[1])
    for rows in row_batches(X):
        squares += add(np.square(X[rows] - mean), axis=0)
    return mean, np.sqrt(squares / n_observed)


def check_no_empty_column(missing, names):
    """Raise if all values of a column are missing.

    Parameters
    ----------
    missing : ndarray of shape (n, F) of bool, or None
    names : list of str

    Raises
    ------
    ValueError
    """
    if missing is None:
        return
    empty = missing.all(0)
    if empty.any():
        columns = np.array(names)[empty].tolist()
        raise ValueError(f"Columns {columns[:5]} of X hold nothing but NaN. Drop them.")


def middle_values(X, observed, low):
    """An observed value near the median of each column of X (n, F), float64, (F,).

    Parameters
    ----------
    X : ndarray of shape (n, F)
    observed : ndarray of shape (n, F) of bool, or None
    low : ndarray of shape (F,)
        What to return where few rows hold no observed value.
    """
    step = -(-len(X) // _MOST_TYPICAL)
    subset = X[::step]
    with np.errstate(invalid="ignore"):
        ranked = np.sort(subset, axis=0)
    # NaN is sorted to the end.
    n_observed = np.full(X.shape[1], len(subset)) if observed is None else observed[::step].sum(0)
    middle = ranked[np.maximum(n_observed - 1, 0) // 2, np.arange(X.shape[1])]
    return np.where(n_observed > 0, middle, low).astype(np.float64)
