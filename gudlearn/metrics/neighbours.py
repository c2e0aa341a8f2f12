"""Metrics by nearest neighbours: precision and recall of samples, and a test for copies."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from gudlearn.metrics.distances import MAX_ENTRIES, centred, check_count, embedded

__all__ = ["Memorization", "Neighbourhoods", "memorization", "neighbourhoods"]

# A row is a copy if its distance to the nearest training row, divided by that to the second
# nearest, is below this.
_COPY_RATIO = 1 / 3


@dataclass(frozen=True)
class Neighbourhoods:
    """Results of :func:`neighbourhoods`.

    Parameters
    ----------
    precision : float
        Fraction of the fake rows inside the neighbourhood of a real row.
    recall : float
        Fraction of the real rows inside the neighbourhood of a fake row.
    density : float
        Mean number of real neighbourhoods around a fake row, divided by k; about 1 for equal
        distributions.
    coverage : float
        Fraction of the real rows with a fake row in their neighbourhood.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbourhoods(
    real: ArrayLike, fake: ArrayLike, *, features: Callable[[Any], Any] | None = None, k: int = 5,
) -> Neighbourhoods:  # fmt: skip
    """Precision, recall, density and coverage by k nearest neighbours.

    The neighbourhood of a row is the closed ball around it whose radius is the distance to the k-th
    nearest row of the same sample.

    Parameters
    ----------
    real, fake : array-like of shape (n, ...)
        More than k rows or images each. Compare values for equal sample sizes only.
    features : callable or None, default=None
        Maps rows to an array of shape (n, d).
    k : int, default=5
        Number of neighbours in a neighbourhood.

    Returns
    -------
    Neighbourhoods

    Raises
    ------
    ValueError
        If a sample has too few rows or is not finite, or the numbers of features differ.
    TypeError
        If ``features`` is not callable.

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
    real, fake = centred(*embedded(features, k + 1, real=real, fake=fake))
    with np.errstate(under="ignore"):
        real_radii, fake_radii = _radii(real, k), _radii(fake, k)
        n_real_balls, covered = _count_balls(real, real_radii, fake)
        n_fake_balls, _ = _count_balls(fake, fake_radii, real)
    return Neighbourhoods(
        precision=float((n_real_balls > 0).mean()),
        recall=float((n_fake_balls > 0).mean()),
        density=float(n_real_balls.mean() / k),
        coverage=float(covered.mean()),
    )


def _radii(X, k):
    """Distance of each row to its k-th nearest other row."""
    return NearestNeighbors(n_neighbors=k).fit(X).kneighbors()[0][:, -1]


def _count_balls(centres, radii, points):
    """Number of balls around each point, and whether each ball contains a point."""
    counts, covered = np.zeros(len(points), dtype=int), np.zeros(len(centres), dtype=bool)
    step = max(1, MAX_ENTRIES // len(centres))
    for start in range(0, len(points), step):
        rows = points[start : start + step]
        # The balls are closed, up to rounding errors.
        inside = cdist(rows, centres) <= radii * (1 + 1e-12)
        counts[start : start + step] = inside.sum(1)
        covered |= inside.any(0)
    return counts, covered


@dataclass(frozen=True)
class Memorization:
    """Results of :func:`memorization`.

    Parameters
    ----------
    share : float
        Fraction of the generated rows that are copies of a training row.
    baseline : float
        The same fraction of the held-out rows, which are no copies.
    p_value : float
        Probability of at least as many copies if generated rows were not closer to the training
        rows than held-out rows are (one-sided exact test of Fisher).
    ratios : ndarray of shape (n_generated,)
        Distance to the nearest training row, divided by that to the second nearest.
    """

    share: float
    baseline: float
    p_value: float
    ratios: np.ndarray


def memorization(
    train: ArrayLike, held_out: ArrayLike, generated: ArrayLike, *,
    features: Callable[[Any], Any] | None = None,
) -> Memorization:  # fmt: skip
    """Test whether generated rows are copies of training rows.

    A row counts as a copy if its nearest training row is three times closer than the second
    nearest. Some rows of the distribution itself are, too: the held-out rows show how many. Equal
    training rows count as one, since a row that is common in the data is not memorized.

    Parameters
    ----------
    train, held_out, generated : array-like of shape (n, ...)
        At least two different training rows, and one row of each other kind.
    features : callable or None, default=None
        Maps rows to an array of shape (n, d).

    Returns
    -------
    Memorization

    Raises
    ------
    ValueError
        If a sample has too few rows or is not finite, or the numbers of features differ.
    TypeError
        If ``features`` is not callable.

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
    samples = embedded(features, 1, train=train, held_out=held_out, generated=generated)
    train, held_out, generated = centred(*samples)
    train = np.unique(train, axis=0)
    if len(train) < 2:
        raise ValueError("train has one distinct row, but a second nearest is needed. Pass more.")
    with np.errstate(under="ignore"):
        neighbours = NearestNeighbors(n_neighbors=2).fit(train)
        ratios, held_out_ratios = (_ratios(neighbours, X) for X in (generated, held_out))
    n_copies, n_held_out = (int((r < _COPY_RATIO).sum()) for r in (ratios, held_out_ratios))
    return Memorization(
        share=n_copies / len(ratios),
        baseline=n_held_out / len(held_out_ratios),
        p_value=_p_value(n_copies, len(ratios), n_held_out, len(held_out_ratios)),
        ratios=ratios,
    )


def _ratios(neighbours, X):
    """Distance to the nearest row divided by that to the second nearest; 1 if both are zero."""
    nearest, second = neighbours.kneighbors(X)[0].T
    return np.divide(nearest, second, out=np.ones_like(nearest), where=second > 0)


def _p_value(n_copies, n_generated, n_held_out_copies, n_held_out):
    """Fisher's exact test that generated rows are not more often copies than held-out ones."""
    table = [
        [n_copies, n_generated - n_copies],
        [n_held_out_copies, n_held_out - n_held_out_copies],
    ]
    with np.errstate(all="ignore"):
        return float(stats.fisher_exact(table, alternative="greater")[1])
