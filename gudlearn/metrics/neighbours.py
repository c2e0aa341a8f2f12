"""Neighbourhoods of real and generated rows, and copies of training rows."""

from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from gudlearn.metrics.distances import ENTRIES, check_count, embed

__all__ = ["Memorization", "Neighbourhoods", "memorization", "neighbourhoods"]

# A row is a copy where the nearest training row is this much nearer than the second nearest.
_COPY_RATIO = 1 / 3


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
    check_count("k", k)
    real, fake = embed(features, k + 1, real=real, fake=fake)
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
    step = max(1, ENTRIES // len(centres))
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
    train, held_out, generated = embed(
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
