r"""Distances between two samples, and the checks that all metrics share.

Distances depend on the coordinates. ``features`` is a callable that maps rows or images to an array
of shape (n, d). For images, pass the activations of a network trained on images; for tables, for
example ``StandardScaler().fit(X).transform``. None takes the numbers of each row as they are.
"""

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["frechet_distance", "kernel_distance"]

#: Largest number of entries of a matrix of pairs that is held in memory at once.
MAX_ENTRIES = 2**22


def frechet_distance(
    real: ArrayLike, fake: ArrayLike, *, features: Callable[[Any], Any] | None = None,
) -> float:  # fmt: skip
    r"""Squared Frechet distance between normal distributions with the moments of two samples.

    .. math:: |m - m'|^2 + \mathrm{tr}\bigl(C + C' - 2 (C^{1/2} C' C^{1/2})^{1/2}\bigr)

    With the features of an Inception network it is the FID. It is biased: for two samples of n rows
    from one distribution with d whitened features it is about (2 d + d (d + 1)/2)/n, that is 5 for
    n = 1000 and d = 100. Compare values for equal sample sizes only.

    Parameters
    ----------
    real, fake : array-like of shape (n, ...)
        At least two rows or images each.
    features : callable or None, default=None
        Maps rows to an array of shape (n, d).

    Returns
    -------
    float
        In squared units of the features; 0 for equal moments.

    Raises
    ------
    ValueError
        If a sample has too few rows or is not finite, or the numbers of features differ.
    TypeError
        If ``features`` is not callable.

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
    real, fake = centred(*embedded(features, 2, real=real, fake=fake))
    with np.errstate(under="ignore"):
        difference = real.mean(0) - fake.mean(0)
        first, second = _covariance_root(real), _covariance_root(fake)
        # The trace of the root of C C' is the sum of the singular values of the roots' product.
        cross = np.linalg.svd(first @ second.T, compute_uv=False).sum()
        squares = np.square(first).sum() + np.square(second).sum()
        return float(max(difference @ difference + squares - 2 * cross, 0.0))


def _covariance_root(X):
    """R such that R^T R is the covariance of the rows X; R has at most as many rows as X."""
    deviations = (X - X.mean(0)) / np.sqrt(len(X) - 1)
    return np.linalg.qr(deviations, mode="r")


def kernel_distance(
    real: ArrayLike, fake: ArrayLike, *, features: Callable[[Any], Any] | None = None,
    degree: int = 3,
) -> float:  # fmt: skip
    r"""Unbiased squared maximum mean discrepancy with the kernel (x y / d + 1)^degree.

    With the features of an Inception network it is the KID. It can be negative for two samples from
    one distribution. The kernel depends on the origin of the features: the value changes if both
    samples are shifted, unlike the other metrics.

    Parameters
    ----------
    real, fake : array-like of shape (n, ...)
        At least two rows or images each.
    features : callable or None, default=None
        Maps rows to an array of shape (n, d).
    degree : int, default=3
        Moments up to this one are compared.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a sample has too few rows or is not finite, or the numbers of features differ.
    TypeError
        If ``features`` is not callable.

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
    real, fake = embedded(features, 2, real=real, fake=fake)
    with np.errstate(under="ignore"):
        within = sum(_kernel_mean(X, X, degree, with_itself=False) for X in (real, fake))
        return float(within - 2 * _kernel_mean(real, fake, degree, with_itself=True))


def _kernel_mean(X, Y, degree, with_itself):
    """Mean of the kernel over pairs; `with_itself` keeps pairs of a row with itself."""
    total, step = 0.0, max(1, MAX_ENTRIES // len(Y))
    for start in range(0, len(X), step):
        rows = X[start : start + step]
        kernel = (rows @ Y.T / X.shape[1] + 1) ** degree
        total += kernel.sum()
        if not with_itself:
            total -= kernel[np.arange(len(rows)), start + np.arange(len(rows))].sum()
    return total / (len(X) * (len(Y) if with_itself else len(Y) - 1))


def check_count(name, value):
    """Raise if a parameter is not an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name}={value!r} must be a whole number of at least 1.")


def embedded(features, n_min, **samples):
    """Compute and validate the features of each sample.

    Parameters
    ----------
    features : callable or None
        Maps rows to an array of shape (n, d).
    n_min : int
        Smallest number of rows of a sample.
    **samples : array-like of shape (n, ...)
        Samples by the name that messages give them.

    Returns
    -------
    list of ndarray of shape (n, d), dtype float64

    Raises
    ------
    ValueError
        If a sample has too few rows or is not finite, or the numbers of features differ.
    TypeError
        If ``features`` is not callable.
    """
    if features is not None and not callable(features):
        raise TypeError(f"features={features!r} must be a callable of rows, or None.")
    embeddings = {}
    for name, X in samples.items():
        X = np.asarray(X) if features is None else np.asarray(features(X))
        X = X.reshape(len(X), -1) if features is None and X.ndim > 2 else X
        if X.ndim != 2:
            what = name if features is None else f"features({name})"
            raise ValueError(f"{what} has shape {X.shape}, not (n, d): one row for each sample.")
        X = X.astype(np.float64)
        if len(X) < n_min:
            raise ValueError(f"{name} has {len(X)} rows; at least {n_min} are needed. Pass more.")
        if not np.isfinite(X).all():
            raise ValueError(f"{name} contains NaN or infinity. Drop these rows or impute them.")
        embeddings[name] = X
    widths = {name: X.shape[1] for name, X in embeddings.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(
            f"The samples differ in their number of features: {widths}. Pass samples of the same "
            "features."
        )
    return list(embeddings.values())


def centred(reference, *others):
    """Shift samples so that the mean of the first is zero.

    Distances do not change, but far from the origin their rounding errors would.

    Parameters
    ----------
    reference, *others : ndarray of shape (n, d)

    Returns
    -------
    list of ndarray of shape (n, d)
    """
    origin = reference.mean(0)
    return [X - origin for X in (reference, *others)]
