"""Smoothed frequencies of the bins of discrete columns."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from gudlearn.encoding.observation import BinPrior

# Marginals of up to this many bins sum over all of them; beyond, groups of bins are cheaper.
MAX_ATOMS = 32
# Largest product of number of bins and standard deviation of a Gaussian filter: its run time.
_LARGEST_FILTER = 1e8
_FRACTIONS = (0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9, 0.99)
# Gaussian filters are cut off at this many standard deviations.
_TRUNCATE = 4.0


@dataclass(frozen=True)
class BinTable:
    """Smoothed frequencies of the bins of one column.

    At an open end the table has one bin more than were observed. It stands for all bins from there
    on: the diffusion does not distinguish them, and the distance beyond it is geometric.

    Parameters
    ----------
    first : int
        Index of the first bin.
    log_pmf : ndarray of shape (L,)
        Log-probabilities, normalised.
    open_ends : tuple of two bools
        Whether values below the first bin, and above the last, are possible.
    decay : float
        Ratio of the probabilities of neighbouring bins beyond an open end.
    """

    first: int
    log_pmf: np.ndarray
    open_ends: tuple
    decay: float

    @property
    def last(self):
        """Index of the last bin."""
        return self.first + len(self.log_pmf) - 1

    @property
    def seen(self):
        """Indices of the first and the last bin that are not open ends."""
        return self.first + int(self.open_ends[0]), self.last - int(self.open_ends[1])

    def clip(self, indices):
        """Clip bin indices to the table; also return the log-probability of the distance beyond."""
        clipped = np.clip(indices, self.first, self.last)
        beyond = np.abs(indices - clipped)
        at_end = ((clipped == self.first) & self.open_ends[0]) | (
            (clipped == self.last) & self.open_ends[1]
        )
        log_beyond = np.log1p(-self.decay) + beyond * np.log(self.decay)
        return clipped, np.where(at_end, log_beyond, 0.0)


def fit_bin_table(indices, low=None, high=None, tail=None):
    """Estimate the probabilities of the bins of one column, or of several pooled.

    A fraction of each count is smoothed by a Gaussian kernel, or spread uniformly over all bins.
    Fraction and kernel width maximise the leave-one-out likelihood. Bins outside the observed
    range, where no bound excludes them, have a total mass of 1/(n + 2); it halves with every bin,
    or with every 32nd part of the observed range if that is more.

    Parameters
    ----------
    indices : ndarray of shape (n,), whole numbers
    low, high : int or None
        Bounds of the bin indices, None where there is none.
    tail : float or None
        Probability outside the observed range; None means 1/(n + 2).

    Returns
    -------
    BinTable
    """
    first = int(indices.min())
    counts = np.bincount((indices - first).astype(np.int64))
    return bin_table_of_counts(counts, first, low, high, tail)


def bin_table_of_counts(counts, first, low=None, high=None, tail=None):
    """Estimate the probabilities of bins from their counts; see `fit_bin_table`.

    Parameters
    ----------
    counts : ndarray of shape (m,) of int
        How often the bins first, first + 1, ... occur; the first and the last do.
    first : int
    low, high, tail : see `fit_bin_table`
    """
    n = counts.sum()
    before = 0 if low is None else first - int(low)
    after = 0 if high is None else int(high) - (first + len(counts) - 1)
    counts, first = np.pad(counts, (before, after)), first - before
    pmf = _smoothed_frequencies(counts.astype(np.float64))
    open_ends = np.array([low is None, high is None])
    if open_ends.any():
        tail = 1 / (n + 2) if tail is None else tail
        pmf = np.pad(
            pmf * (1 - tail), open_ends.astype(int), constant_values=tail / open_ends.sum()
        )
    return BinTable(
        first - int(open_ends[0]),
        np.log(pmf),
        tuple(bool(e) for e in open_ends),
        0.5 ** (1 / max(1, len(counts) / 32)),
    )


def _smoothed_frequencies(counts):
    """Frequencies smoothed by the fraction and kernel with the best leave-one-out likelihood."""
    n, size = counts.sum(), len(counts)
    if size == 1:
        return np.ones(1)
    observed = counts > 0
    best, best_score = None, -np.inf
    for filtered, self_weight in _filters(counts):
        for fraction in (1 / n, *_FRACTIONS):
            left_out = (1 - fraction) * (counts - 1) + fraction * (filtered - self_weight)
            value = np.maximum(left_out[observed], 1e-12) / max(n - 1, 1)
            score = (counts[observed] * np.log(value)).sum()
            if score > best_score:
                best, best_score = (1 - fraction) * counts + fraction * filtered, score
    # A narrow kernel leaves zeros between distant bins.
    best = best + 1e-3 / size
    return best / best.sum()


def _filters(counts):
    """Counts filtered by kernels of rising width, and the weight of a count in its own bin."""
    n, size = counts.sum(), len(counts)
    filters = [(np.full(size, n / size), np.full(size, 1 / size))]
    width = 1.0
    # The run time of a filter is proportional to size times width: large tables skip the widest.
    while width < size and width * size < _LARGEST_FILTER:
        filtered = gaussian_filter1d(counts, width, mode="reflect", truncate=_TRUNCATE)
        filters.append((filtered, _self_weight(size, width)))
        width *= 2
    return filters


def _self_weight(size, width):
    """Fraction of a count that a filter with reflected ends leaves in its own bin, by bin."""
    radius = int(_TRUNCATE * width + 0.5)
    n_images = radius // (2 * size) + 1
    image = 2 * size * np.arange(-n_images, n_images + 1)[:, None]
    shift = np.stack([image + 0 * np.arange(size), image + 2 * np.arange(size) + 1])
    # Far from its centre the kernel underflows, but it is cut off there.
    with np.errstate(under="ignore"):
        kernel = np.where(np.abs(shift) <= radius, np.exp(-0.5 * (shift / width) ** 2), 0.0)
    return kernel.sum((0, 1)) / np.exp(-0.5 * (np.arange(-radius, radius + 1) / width) ** 2).sum()


def bin_prior(tables):
    """The `BinPrior` of all columns, from their tables in order.

    Parameters
    ----------
    tables : list of BinTable
        Columns may share a table.

    Returns
    -------
    BinPrior
    """
    distinct = list({id(table): table for table in tables}.values())
    position = {id(table): k for k, table in enumerate(distinct)}
    return BinPrior(
        [torch.from_numpy(table.log_pmf) for table in distinct],
        torch.tensor([table.first for table in distinct]),
        torch.tensor([position[id(table)] for table in tables]),
    )
