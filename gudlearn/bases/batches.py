"""Shared parts of bases: batches of rows, means, rounding, scales, and the shape of a sample."""

import math
from numbers import Integral

import numpy as np
from sklearn.utils import gen_batches

#: Variance given to a constant component, as a fraction of the smallest variance of the others.
DEAD_FRACTION = 1e-12

TOO_LARGE = "The variance of X is too large for float64. Rescale the columns of X before fitting."

_ROUNDING = 8 * np.finfo(np.float64).eps
_ENTRIES_PER_BATCH = 2**23


def column_rounding(X):
    """Compute the standard deviation up to which each column of X counts as constant, (F,)."""
    lowest, highest = (f.reduce(X, axis=0).astype(np.float64) for f in (np.fmin, np.fmax))
    return _ROUNDING * np.maximum(-lowest, highest)


def row_rounding(X, mean=0.0):
    """Compute the standard deviation up to which a rotated component counts as constant.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows of data.
    mean : ndarray of shape (n_features,) or float, default=0.0
        Subtracted from the rows before they are rotated.

    Returns
    -------
    rounding : float
    """
    longest = max(np.square(rows).sum(axis=1).max() for rows in batches_about(X, mean))
    return _ROUNDING * X.shape[1] * np.sqrt(longest)


def batches_about(X, mean):
    """Yield X minus a mean in float64, batch by batch.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows of any real dtype.
    mean : ndarray of shape (n_features,) or float
        Subtracted from the rows.

    Yields
    ------
    centred : ndarray of shape (n_batch, n_features)
    """
    for rows in batches(X):
        yield X[rows] - np.float64(mean)


def scaled(variances, rounding, whiten):
    """Find constant components, and compute the scale of each component.

    Parameters
    ----------
    variances : ndarray of shape (D,)
        Variances of the components before scaling.
    rounding : float or ndarray of shape (D,)
        A component is constant if its standard deviation is at most this.
    whiten : bool or float in [0, 1]
        Exponent p in s = variance^(p/2).

    Returns
    -------
    variances : ndarray of shape (D,)
        Variances, with a small positive value for constant components.
    dead : ndarray of shape (D,)
        True for constant components.
    scale : ndarray of shape (D,)
        Divisors; 1 for constant components.

    Raises
    ------
    ValueError
        If a variance is not finite.
    """
    if not np.all(np.isfinite(variances)):
        raise ValueError(TOO_LARGE)
    dead = ~(np.sqrt(variances) > rounding)
    smallest = variances[~dead].min(initial=np.inf)
    # The log-variance of a constant component must be finite.
    floor = max(DEAD_FRACTION * (smallest if np.isfinite(smallest) else 1.0), np.finfo(float).tiny)
    variances = np.where(dead, floor, variances)
    return variances, dead, np.where(dead, 1.0, variances ** (float(whiten) / 2))


def isotropic_noise(column_std):
    """Compute the noise of the components of any orthonormal basis; None unless it is isotropic."""
    if np.allclose(column_std, column_std[0], rtol=1e-12, atol=0):
        return np.full(len(column_std), column_std[0])
    return None


def spatial_shape(shape, channels, n_features):
    """Validate the shape and the number of channels of one flattened sample.

    Parameters
    ----------
    shape : tuple of one to three ints, or None
        Shape without the channels; None is one dimension.
    channels : int or None
        Number of channels, the last and fastest axis; None is one.
    n_features : int
        Number of columns of X.

    Returns
    -------
    shape : tuple of int
    channels : int

    Raises
    ------
    ValueError
        If they do not match the number of columns.
    """
    n_channels = 1 if channels is None else int(channels)
    if shape is None:
        if n_features % n_channels:
            raise ValueError(
                f"channels={channels} does not divide the {n_features} features of X. "
                "Pass the number of channels of one flattened sample, channels last."
            )
        return (n_features // n_channels,), n_channels
    if not 1 <= len(shape) <= 3 or not all(isinstance(n, Integral) and n >= 1 for n in shape):
        raise ValueError(f"shape={shape!r} must hold one to three whole numbers of at least 1.")
    size = math.prod(shape) * n_channels
    if size != n_features:
        with_channels = "" if channels is None else f" with channels={channels}"
        raise ValueError(
            f"shape={shape!r}{with_channels} has {size} entries but X has {n_features} features. "
            "Pass the shape of one flattened sample."
        )
    return tuple(int(n) for n in shape), n_channels


def exact_mean(X):
    """Compute the mean of each column, ignoring NaN; exact for constant columns."""
    # The mean of equal numbers is rounded, but constant columns must be restored bit for bit.
    low = np.fmin.reduce(X, axis=0)
    constant = low == np.fmax.reduce(X, axis=0)
    mean = (np.nanmean if has_nan(X) else np.mean)(X, axis=0, dtype=np.float64)
    return np.where(constant, low.astype(np.float64), mean)


def refuse_empty_columns(X):
    """Raise if a column has no observed value."""
    empty = np.isnan(X).all(axis=0) if has_nan(X) else np.zeros(1, bool)
    if empty.any():
        raise ValueError(f"Column {int(empty.argmax())} of X holds nothing but NaN. Drop it.")


def has_nan(X):
    """Return whether an array has NaN."""
    # The sum of finite numbers may overflow, but a sum with NaN is always NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        return X.dtype.kind == "f" and np.isnan(X.sum()) and bool(np.isnan(X).any())


def n_observed_by_column(X):
    """Count the observed values of each column."""
    return (~np.isnan(X)).sum(axis=0) if has_nan(X) else len(X)


def floating(dtype):
    """Return the floating dtype of results: float32 for float32, otherwise float64."""
    return np.float32 if dtype == np.float32 else np.float64


def batches(X):
    """Yield slices of rows, each of a bounded number of entries."""
    return gen_batches(len(X), max(1, _ENTRIES_PER_BATCH // X.shape[1]))
