r"""How near generated rows are to real ones, and whether they are copies.

Distances between clouds of points depend on the coordinates. ``features`` is a callable of rows or
images that returns an array of shape (n, d): for pictures the activations of a network that was
trained on pictures, for tables for instance ``StandardScaler().fit(X).transform``. None takes the
numbers of each row as they are.
"""

from numbers import Integral

import numpy as np

__all__ = ["frechet_distance", "kernel_distance"]

# Entries of a kernel matrix that are in memory at once.
ENTRIES = 2**22


def frechet_distance(real, fake, *, features=None):
    r"""Squared Frechet distance of the normal laws with the moments of two samples.

    .. math:: |m - m'|^2 + \mathrm{tr}\bigl(C + C' - 2 (C^{1/2} C' C^{1/2})^{1/2}\bigr)

    With the features of an Inception network it is the FID. Two samples of n rows of one law are
    apart by about (2 d + d (d + 1)/2)/n in d whitened features, 5 for n = 1000, d = 100: compare
    figures of equal sample sizes only.

    Parameters
    ----------
    real, fake : array-like of shape (n, ...)
        At least two rows or images each.
    features : callable or None, default=None
        Turns rows into an array of shape (n, d).

    Returns
    -------
    float
        In squared units of the features; 0 for equal moments.

    Raises
    ------
    ValueError
        If a sample has too few rows, is not finite, or the features do not agree in number.

    References
    ----------
    Heusel et al. (2017), https://arxiv.org/abs/1706.08500

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.metrics import frechet_distance
    >>> X = np.random.default_rng(0).normal(size=(1000, 2))
    >>> round(frechet_distance(X, X + [3.0, 4.0]), 6)
    25.0
    """
    real, fake = embed(features, 2, real=real, fake=fake)
    difference = real.mean(0) - fake.mean(0)
    first, second = _root(real), _root(fake)
    # The trace of the root of a product is the sum of the singular values of roots' product.
    cross = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    squares = np.square(first).sum() + np.square(second).sum()
    return float(max(difference @ difference + squares - 2 * cross, 0.0))


def _root(X):
    """A matrix R with R^T R the covariance of rows X, of as few rows as there are."""
    centred = (X - X.mean(0)) / np.sqrt(len(X) - 1)
    return np.linalg.qr(centred, mode="r")


def kernel_distance(real, fake, *, features=None, degree=3):
    r"""Squared maximum mean discrepancy under the kernel (x y / d + 1)^degree, without bias.

    With the features of an Inception network it is the KID. It may be below zero where the samples
    are of one law.

    Parameters
    ----------
    real, fake : array-like of shape (n, ...)
        At least two rows or images each.
    features : callable or None, default=None
        Turns rows into an array of shape (n, d).
    degree : int, default=3
        Moments up to this one are compared.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a sample has too few rows, is not finite, or the features do not agree in number.

    References
    ----------
    Binkowski et al. (2018), https://arxiv.org/abs/1801.01401

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.metrics import kernel_distance
    >>> X, Y = np.random.default_rng(0).normal(size=(2, 500, 2))
    >>> abs(kernel_distance(X, Y)) < 0.1 < kernel_distance(X, Y + 1)
    True
    """
    check_count("degree", degree)
    real, fake = embed(features, 2, real=real, fake=fake)
    within = sum(_kernel_mean(X, X, degree, own=False) for X in (real, fake))
    return float(within - 2 * _kernel_mean(real, fake, degree, own=True))


def _kernel_mean(X, Y, degree, own):
    """Mean of the kernel over pairs; own says whether a row counts with itself."""
    total, step = 0.0, max(1, ENTRIES // len(Y))
    for start in range(0, len(X), step):
        rows = X[start : start + step]
        kernel = (rows @ Y.T / X.shape[1] + 1) ** degree
        total += kernel.sum()
        if not own:
            total -= kernel[np.arange(len(rows)), start + np.arange(len(rows))].sum()
    return total / (len(X) * (len(Y) if own else len(Y) - 1))


def check_count(name, value):
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name}={value!r} must be a whole number of at least 1.")


def embed(features, n_least, **samples):
    """Features of each sample, (n, d) float64, checked."""
    if features is not None and not callable(features):
        raise TypeError(f"features={features!r} must be a callable of rows, or None.")
    found = {}
    for name, X in samples.items():
        X = np.asarray(X) if features is None else np.asarray(features(X))
        X = X.reshape(len(X), -1) if features is None and X.ndim > 2 else X
        if X.ndim != 2:
            what = name if features is None else f"features({name})"
            raise ValueError(f"{what} has shape {X.shape}, not (n, d): one row for each sample.")
        X = X.astype(np.float64)
        if len(X) < n_least:
            raise ValueError(f"{name} has {len(X)} rows; at least {n_least} are needed. Pass more.")
        if not np.isfinite(X).all():
            raise ValueError(f"{name} contains NaN or infinity. Drop these rows or fill them in.")
        found[name] = X
    widths = {name: X.shape[1] for name, X in found.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"The samples differ in their number of features: {widths}. Pass alike.")
    return list(found.values())
