"""What bases do to many rows: sums by batches, rounding, scales, and the shape of one sample."""

import math
from numbers import Integral

import numpy as np
from sklearn.utils import gen_batches

#: The variance reported for a dead component, as a fraction of the smallest variance of a live one.
DEAD_FRACTION = 1e-12

TOO_LARGE = "The variance of X is too large for float64. Rescale the columns of X before fitting."

_ROUNDING = 8 * np.finfo(np.float64).eps
_ENTRIES_PER_BATCH = 2**23


def column_rounding(X):
    """Standard deviation below which a column of X is constant up to rounding, (F,)."""
    lowest, highest = (f.reduce(X, axis=0).astype(np.float64) for f in (np.fmin, np.fmax))
    return _ROUNDING * np.maximum(-lowest, highest)


def row_rounding(X, mean=0.0):
    """Standard deviation below which a rotated component of X is constant up to rounding.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The rows.
    mean : ndarray of shape (n_features,) or float, default=0.0
        What is taken off the rows before they are rotated.

    Returns
    -------
    rounding : float
    """
    longest = max(np.square(rows).sum(axis=1).max() for rows in batches_about(X, mean))
    return _ROUNDING * X.shape[1] * np.sqrt(longest)


def batches_about(X, mean):
    """Yield the rows of X about a mean in float64, batch by batch.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows of any real dtype.
    mean : ndarray of shape (n_features,) or float
        What is taken off the rows.

    Yields
    ------
    centred : ndarray of shape (n_batch, n_features)
    """
    for rows in batches(X):
        yield X[rows] - np.float64(mean)


def scaled(variances, rounding, whiten):
    """Floor the variances of dead components and derive the scale of each.

    Parameters
    ----------
    variances : ndarray of shape (D,)
        Variances of the components before scaling.
    rounding : float or ndarray of shape (D,)
        A component whose standard deviation is not above this is dead.
    whiten : bool or float in [0, 1]
        The exponent p in s = variance^(p/2).

    Returns
    -------
    variances, dead, scale : ndarrays of shape (D,)
    """
    if not np.all(np.isfinite(variances)):
        raise ValueError(TOO_LARGE)
    dead = ~(np.sqrt(variances) > rounding)
    smallest = variances[~dead].min(initial=np.inf)
    # A dead component keeps a finite log-variance.
    floor = max(DEAD_FRACTION * (smallest if np.isfinite(smallest) else 1.0), np.finfo(float).tiny)
    variances = np.where(dead, floor, variances)
    return variances, dead, np.where(dead, 1.0, variances ** (float(whiten) / 2))


def isotropic_noise(column_std):
    """Noise in the components of any orthonormal basis: known only if all columns have the same."""
    if np.allclose(column_std, column_std[0], rtol=1e-12, atol=0):
        return np.full(len(column_std), column_std[0])
    return None


def spatial_shape(shape, channels, n_features):
    """Resolve and check the shape of one flattened sample.

    Parameters
    ----------
    shape : tuple of one to three ints, or None
        Shape without the channels; None means one dimension.
    channels : int or None
        Number of channels, the last and fastest axis; None means one.
    n_features : int
        Number of columns of X.

    Returns
    -------
    shape : tuple of int
    channels : int
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
    # The mean of equal numbers rounds; a constant column must come back bit for bit.
    low = np.fmin.reduce(X, axis=0)
    constant = low == np.fmax.reduce(X, axis=0)
    mean = (np.nanmean if has_nan(X) else np.mean)(X, axis=0, dtype=np.float64)
    return np.where(constant, low.astype(np.float64), mean)


def refuse_empty_columns(X):
    empty = np.isnan(X).all(axis=0) if has_nan(X) else np.zeros(1, bool)
    if empty.any():
        raise ValueError(f"Column {int(empty.argmax())} of X holds nothing but NaN. Drop it.")


def has_nan(X):
    """Whether an array holds NaN."""
    # Finite numbers may overflow, but where there is NaN their sum is NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        return X.dtype.kind == "f" and np.isnan(X.sum()) and bool(np.isnan(X).any())


def n_observed_by_column(X):
    """How many values of each column are known."""
    return (~np.isnan(X)).sum(axis=0) if has_nan(X) else len(X)


def floating(dtype):
    return np.float32 if dtype == np.float32 else np.float64


def batches(X):
    return gen_batches(len(X), max(1, _ENTRIES_PER_BATCH // X.shape[1]))
