"""Smoothed frequencies of the levels of categories."""

from dataclasses import dataclass

import numpy as np
import torch

from gudlearn.diffusion.categories import Levels

# Fractions of the counts of a column that are spread evenly over its levels.
_FRACTIONS = (0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9, 0.99)


@dataclass(frozen=True, eq=False)
class Categories:
    """The category columns of rows that vary; learned, arrays with an entry for each.

    Parameters
    ----------
    columns : ndarray of shape (C,) of int
        Columns of the rows, which hold codes.
    sizes : ndarray of shape (C,) of int
        Number of levels.
    log_pmf : ndarray of shape (L,)
        Log-frequencies of all levels, column by column, smoothed.
    log_unseen : ndarray of shape (C,)
        Log-probability of a value that is none of the levels.
    """

    columns: np.ndarray
    sizes: np.ndarray
    log_pmf: np.ndarray
    log_unseen: np.ndarray

    def levels(self):
        """The layout of the levels as an object of tensors, float64 on the CPU."""
        return Levels(self.sizes, torch.from_numpy(self.log_unseen))

    def part(self, column):
        """The levels of a column among all, a slice."""
        place = int(np.flatnonzero(self.columns == column)[0])
        stop = int(self.sizes.cumsum()[place])
        return slice(stop - int(self.sizes[place]), stop)

    def variances(self):
        """Probability that two values differ, sum_k p_k (1 - p_k), of each column; (C,)."""
        pmf = np.split(np.exp(self.log_pmf), self.sizes.cumsum()[:-1])
        return np.array([p @ (1 - p) for p in pmf])


def fit_categories(facts, columns, n_levels):
    """Estimate the frequencies of the levels of category columns.

    Parameters
    ----------
    facts : RowFacts or StreamFacts
    columns : ndarray of shape (C,) of int
        Columns with at least two levels, or with observed values beyond their levels.
    n_levels : ndarray of shape (F,) of int

    Returns
    -------
    Categories
    """
    log_pmf, log_unseen = [], []
    for j in columns:
        counts = facts.level_counts(j, n_levels[j])
        log_pmf.append(np.log(_smoothed(counts.astype(np.float64))))
        log_unseen.append(np.log(unseen_probability(counts)))
    sizes = n_levels[columns]
    return Categories(columns, sizes, np.concatenate(log_pmf), np.array(log_unseen))


def unseen_probability(counts):
    """Probability of a value that is none of the levels, from their counts.

    It is the fraction of values that occur once (Good 1953, https://doi.org/10.2307/2333344).
    Columns of two levels are taken to have no other.
    """
    once = (counts == 1).sum() if len(counts) > 2 else 0
    return min((once + 0.01) / (counts.sum() + 2), 0.5)


def _smoothed(counts):
    """Frequencies with the fraction of uniform ones that has the best leave-one-out likelihood."""
    n, size = counts.sum(), len(counts)
    if size == 1:
        return np.ones(1)
    observed = counts > 0
    own, best, best_score = counts[observed], None, -np.inf
    for fraction in (1 / max(n, 1), *_FRACTIONS):
        left_out = (1 - fraction) * (own - 1) / max(n - 1, 1) + fraction / size
        score = own @ np.log(left_out)
        if score > best_score:
            best, best_score = (1 - fraction) * counts / n + fraction / size, score
    return best / best.sum()
