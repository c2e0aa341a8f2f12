r"""How near generated rows are to real ones, and whether they are copies.

Distances between clouds of points depend on the coordinates. ``features`` is a callable of rows or
images that returns an array of shape (n, d): for pictures the activations of a network that was
trained on pictures, for tables for instance ``StandardScaler().fit(X).transform``. None takes the
numbers of each row as they are.
"""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

__all__ = [
    "Memorization",
    "Neighbourhoods",
    "frechet_distance",
    "kernel_distance",
    "memorization",
    "neighbourhoods",
]

# Entries of a kernel matrix that are in memory at once.
_ENTRIES = 2**22
# A row is a copy where the nearest training row is this much nearer than the second nearest.
_COPY_RATIO = 1 / 3


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
    real, fake = _embed(features, 2, real=real, fake=fake)
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
    _check_count("degree", degree)
    real, fake = _embed(features, 2, real=real, fake=fake)
    within = sum(_kernel_mean(X, X, degree, own=False) for X in (real, fake))
    return float(within - 2 * _kernel_mean(real, fake, degree, own=True))


def _kernel_mean(X, Y, degree, own):
    """Mean of the kernel over pairs; own says whether a row counts with itself."""
    total, step = 0.0, max(1, _ENTRIES // len(Y))
    for start in range(0, len(X), step):
        rows = X[start : start + step]
        kernel = (rows @ Y.T / X.shape[1] + 1) ** degree
        total += kernel.sum()
        if not own:
            total -= kernel[np.arange(len(rows)), start + np.arange(len(rows))].sum()
    return total / (len(X) * (len(Y) if own else len(Y) - 1))


@dataclass(frozen=True)
class Neighbourhoods:
    """Figures of :func:`neighbourhoods`.

    Parameters
    ----------
    precision : float
        Share of the fake rows inside the neighbourhood of a real one.
    recall : float
        Share of the real rows inside the neighbourhood of a fake one.
    density : float
        Mean number of real neighbourhoods around a fake row, divided by k; about 1 for equal laws.
    coverage : float
        Share of the real rows with a fake one in their neighbourhood.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbourhoods(real, fake, *, features=None, k=5):
    """Precision, recall, density and coverage by k nearest neighbours.

    The neighbourhood of a row is the closed ball that reaches to its k-th nearest row of its own
    sample.

    Parameters
    ----------
    real, fake : array-like of shape (n, ...)
        More than k rows or images each; compare figures of equal sample sizes only.
    features : callable or None, default=None
        Turns rows into an array of shape (n, d).
    k : int, default=5
        Neighbours that a neighbourhood holds.

    Returns
    -------
    Neighbourhoods

    Raises
    ------
    ValueError
        If a sample has too few rows, is not finite, or the features do not agree in number.

    References
    ----------
    Kynkaanniemi et al. (2019), https://arxiv.org/abs/1904.06991;
    Naeem et al. (2020), https://arxiv.org/abs/2002.09797

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.metrics import neighbourhoods
    >>> X, Y = np.random.default_rng(0).normal(size=(2, 400, 2))
    >>> neighbourhoods(X, Y).precision > 0.9 > neighbourhoods(X, 5 * Y).precision
    True
    """
    _check_count("k", k)
    real, fake = _embed(features, k + 1, real=real, fake=fake)
    around_real, around_fake = (_radii(X, k) for X in (real, fake))
    inside_real, covered = _count_inside(real, around_real, fake)
    inside_fake, _ = _count_inside(fake, around_fake, real)
    return Neighbourhoods(
        precision=float((inside_real > 0).mean()),
        recall=float((inside_fake > 0).mean()),
        density=float(inside_real.mean() / k),
        coverage=float(covered.mean()),
    )


def _radii(X, k):
    """Distance of each row to its k-th nearest other row."""
    return NearestNeighbors(n_neighbors=k).fit(X).kneighbors()[0][:, -1]


def _count_inside(centres, radii, points):
    """In how many balls each point lies, and whether each ball has a point."""
    counts, filled = np.zeros(len(points), dtype=int), np.zeros(len(centres), dtype=bool)
    step = max(1, _ENTRIES // len(centres))
    for start in range(0, len(points), step):
        rows = points[start : start + step]
        # What lies on the edge lies inside, rounding included.
        inside = cdist(rows, centres) <= radii * (1 + 1e-12)
        counts[start : start + step] = inside.sum(1)
        filled |= inside.any(0)
    return counts, filled


@dataclass(frozen=True)
class Memorization:
    """Figures of :func:`memorization`.

    Parameters
    ----------
    share : float
        Share of the generated rows that are copies of a training row.
    baseline : float
        The same share of the held-out rows, which nobody copied.
    p_value : float
        Probability of so many copies, or more, if generated rows were no nearer to the training
        rows than held-out ones are (Fisher's exact test, one-sided).
    ratios : ndarray of shape (n_generated,)
        Distance to the nearest training row, divided by that to the second nearest.
    """

    share: float
    baseline: float
    p_value: float
    ratios: np.ndarray


def memorization(train, held_out, generated, *, features=None):
    """Ask whether generated rows are copies of training rows.

    A row is taken for a copy if its nearest training row is three times nearer than the second
    nearest. Some rows of the law itself are, which the held-out rows tell. Equal training rows
    stand for one: what is copied from many is no secret.

    Parameters
    ----------
    train, held_out, generated : array-like of shape (n, ...)
        At least two different training rows, and one of the others.
    features : callable or None, default=None
        Turns rows into an array of shape (n, d).

    Returns
    -------
    Memorization

    Raises
    ------
    ValueError
        If a sample has too few rows, is not finite, or the features do not agree in number.

    References
    ----------
    Yoon et al. (2023), "Diffusion probabilistic models generalize when they fail to memorize",
    ICML 2023 workshop on structured probabilistic inference and generative modeling

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.metrics import memorization
    >>> train, held_out, generated = np.random.default_rng(0).normal(size=(3, 500, 8))
    >>> memorization(train, held_out, generated).p_value > 0.01
    True
    >>> generated[:25] = train[:25]
    >>> memorization(train, held_out, generated).p_value < 0.01
    True
    """
    train, held_out, generated = _embed(
        features, 1, train=train, held_out=held_out, generated=generated
    )
    train = np.unique(train, axis=0)
    if len(train) < 2:
        raise ValueError("train has one distinct row, but a second nearest is needed. Pass more.")
    neighbours = NearestNeighbors(n_neighbors=2).fit(train)
    ratios, reference = (_ratios(neighbours, X) for X in (generated, held_out))
    copies, others = (int((r < _COPY_RATIO).sum()) for r in (ratios, reference))
    table = [[copies, len(ratios) - copies], [others, len(reference) - others]]
    return Memorization(
        share=copies / len(ratios),
        baseline=others / len(reference),
        p_value=float(stats.fisher_exact(table, alternative="greater")[1]),
        ratios=ratios,
    )


def _ratios(neighbours, X):
    nearest, second = neighbours.kneighbors(X)[0].T
    return nearest / second


def _check_count(name, value):
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name}={value!r} must be a whole number of at least 1.")


def _embed(features, n_least, **samples):
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
