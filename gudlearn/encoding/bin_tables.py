"""Frequencies of the whole-number levels of discrete columns."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from gudlearn.encoding.observation import BinPrior

# Up to this many levels all are summed over; beyond, the ladder is cheaper.
MAX_ATOMS = 32
_LARGEST_FILTER = 1e8


@dataclass(frozen=True)
class BinTable:
    """Smoothed frequencies of the whole-number levels of one column.

    An open end has one more level than was seen. It stands for all values from there on: the
    diffusion sees no further, and the distance beyond is geometric.

    Parameters
    ----------
    first : int
        Level of the first entry.
    log_pmf : ndarray of shape (L,)
        Log-probabilities, normalised.
    open_ends : tuple of two bools
        Whether values below the first, above the last level can be.
    decay : float
        Ratio of the probabilities of a level beyond an open end and the one before it.
    """

    first: int
    log_pmf: np.ndarray
    open_ends: tuple
    decay: float

    @property
    def last(self):
        """Level of the last entry."""
        return self.first + len(self.log_pmf) - 1

    @property
    def seen(self):
        """First and last level that are not open ends."""
        return self.first + int(self.open_ends[0]), self.last - int(self.open_ends[1])

    def clip(self, levels):
        """Levels as the diffusion sees them, and the log-probability of what lies beyond."""
        clipped = np.clip(levels, self.first, self.last)
        beyond = np.abs(levels - clipped)
        at_end = ((clipped == self.first) & self.open_ends[0]) | (
            (clipped == self.last) & self.open_ends[1]
        )
        log_beyond = np.log1p(-self.decay) + beyond * np.log(self.decay)
        return clipped, np.where(at_end, log_beyond, 0.0)


def fit_bin_table(levels, low=None, high=None, tail=None):
    """Estimate the probabilities of the levels of one column, or of several pooled.

    A share of each count is spread over the neighbours by a Gaussian kernel, or over all
    levels; share and width are those under which each row is best predicted by the others
    (leave-one-out). Outside the seen range, where nothing bounds it, lies a mass of 1/(n + 2)
    in all, which halves with every level, or every 32nd part of the seen range if that is more.

    Parameters
    ----------
    levels : ndarray of shape (n,), whole numbers
    low, high : int or None
        Bounds of the levels that can be, None where unknown.
    tail : float or None
        Mass outside the seen range in place of 1/(n + 2).

    Returns
    -------
    BinTable
    """
    first = int(levels.min()) if low is None else int(low)
    last = int(levels.max()) if high is None else int(high)
    counts = np.bincount((levels - first).astype(np.int64), minlength=last - first + 1)
    pmf = _smooth(counts.astype(np.float64))
    open_ends = np.array([low is None, high is None])
    if open_ends.any():
        tail = 1 / (len(levels) + 2) if tail is None else tail
        pmf = np.pad(
            pmf * (1 - tail), open_ends.astype(int), constant_values=tail / open_ends.sum()
        )
    return BinTable(
        first - int(open_ends[0]),
        np.log(pmf),
        tuple(bool(e) for e in open_ends),
        0.5 ** (1 / max(1, len(counts) / 32)),
    )


def _smooth(counts):
    """Frequencies, smoothed by the kernel and share of the best leave-one-out likelihood."""
    n, size = counts.sum(), len(counts)
    if size == 1:
        return np.ones(1)
    seen = counts > 0
    candidates = [(np.full(size, n / size), np.full(size, 1 / size))]
    width = 1.0
    # A filter costs size times width: tables of ten thousands of levels go without the widest.
    while width < size and width * size < _LARGEST_FILTER:
        spread = gaussian_filter1d(counts, width, mode="reflect", truncate=4.0)
        candidates.append((spread, _own_share(size, width)))
        width *= 2
    best, best_score = None, -np.inf
    for spread, own in candidates:
        for share in (1 / n, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9, 0.99):
            left_out = (1 - share) * (counts - 1) + share * (spread - own)
            value = np.maximum(left_out[seen], 1e-12) / max(n - 1, 1)
            score = (counts[seen] * np.log(value)).sum()
            if score > best_score:
                best, best_score = (1 - share) * counts + share * spread, score
    # A kernel of few bins leaves empty stretches at zero.
    best = best + 1e-3 / size
    return best / best.sum()


def _own_share(size, width):
    """What the kernel leaves of a count on its own level, its images in the mirrors included."""
    radius = int(4.0 * width + 0.5)
    n_images = radius // (2 * size) + 1
    image = 2 * size * np.arange(-n_images, n_images + 1)[:, None]
    shift = np.stack([image + 0 * np.arange(size), image + 2 * np.arange(size) + 1])
    kernel = np.where(np.abs(shift) <= radius, np.exp(-0.5 * (shift / width) ** 2), 0.0)
    return kernel.sum((0, 1)) / np.exp(-0.5 * (np.arange(-radius, radius + 1) / width) ** 2).sum()


def bin_prior(tables):
    """The tables of all columns, in their order, as one object of floor 0."""
    distinct = list({id(t): t for t in tables}.values())
    place = {id(t): k for k, t in enumerate(distinct)}
    return BinPrior(
        [torch.from_numpy(t.log_pmf) for t in distinct],
        torch.tensor([t.first for t in distinct]),
        torch.tensor([place[id(t)] for t in tables]),
    )
