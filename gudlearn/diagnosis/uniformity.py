r"""Whether probability integral transforms (PIT) are uniform, as those of a calibrated model are.

The PIT of a value is the probability of smaller ones; where values have probabilities, a uniform
fraction of that of the value itself is added (randomised PIT). It is uniform, whatever the rows
are, if and only if the conditional distributions are calibrated.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import stats

# Cells of the histogram from which the nats are computed.
_CELLS = 10
# Distance from 0 and 1 that float64 can tell from both.
_SMALLEST = 1e-15


@dataclass(frozen=True, eq=False)
class Calibration:
    """The PIT of the values of one column.

    Parameters
    ----------
    pit : ndarray of shape (n,)
        In [0, 1]; of rows in which the column is observed.
    rows : ndarray of shape (n,) of int
        Which rows these are.
    n_effective : float
        Number of values by which the distance from uniformity is judged: n, or less if the
        distribution is one of draws.
    surprise : ndarray of shape (n,) or None
        Negative log-probability of each value given the others, in nats.
    levels : dict
        Of a category, by level: its frequency, its mean probability, and their difference in
        standard errors.
    """

    pit: np.ndarray
    rows: np.ndarray
    n_effective: float
    surprise: np.ndarray | None = None
    levels: dict = field(default_factory=dict)

    def statistics(self):
        """What is said of the column, a dict.

        Returns
        -------
        dict
            ``n``: number of values; ``n_effective``; ``ks``: the largest distance of the
            distribution of the PIT from the uniform one (Kolmogorov and Smirnov); ``p_value``: of
            it, or of the worst level of a category, if that is smaller, for both looks together;
            ``z``: the same as a number of standard errors; ``coverage_50``, ``coverage_90``:
            fraction of values in the predicted intervals (or sets of levels) of these
            probabilities; ``mean_pit``; ``nats_lost``: what a recalibration of the column would
            gain for each value.
        """
        n, u = len(self.pit), self.pit
        if not n:
            names = ("ks", "p_value", "z", "coverage_50", "coverage_90", "mean_pit", "nats_lost")
            return {"n": 0, "n_effective": 0.0, **dict.fromkeys(names, np.nan)}
        ks = stats.kstest(u, "uniform").statistic
        p_value = float(stats.kstwobign.sf(ks * _stretched(self.n_effective)))
        if self.levels:
            worst = max(abs(z) for _, _, z in self.levels.values())
            p_level = min(1.0, len(self.levels) * 2 * stats.norm.sf(worst))
            p_value = min(1.0, 2 * min(p_value, p_level))
        middle = np.abs(2 * u - 1)
        if self.levels:
            # The PIT begins with the most probable level.
            middle = u
        return {
            "n": n,
            "n_effective": float(self.n_effective),
            "ks": float(ks),
            "p_value": p_value,
            "z": float(stats.norm.isf(max(p_value, 1e-300) / 2)),
            "coverage_50": float((middle < 0.5).mean()),
            "coverage_90": float((middle < 0.9).mean()),
            "mean_pit": float(u.mean()),
            "nats_lost": _divergence(u, self.n_effective),
        }


def _stretched(n):
    """Factor of the distance in the limiting distribution, for n values (Stephens 1970)."""
    root = np.sqrt(n)
    return root + 0.12 + 0.11 / root


def _divergence(u, n_effective):
    """Divergence of the distribution of u from the uniform one in nats, without its bias.

    The larger one of a histogram of u and of a normal distribution of its normal quantile: the
    first sees any shape, the second how far values are outside of what was predicted.
    """
    counts = np.histogram(u, _CELLS, (0, 1))[0]
    p = counts[counts > 0] / len(u)
    shape = p @ np.log(p * _CELLS) - (_CELLS - 1) / (2 * n_effective)
    xi = stats.norm.ppf(np.clip(u, _SMALLEST, 1 - _SMALLEST))
    mean, variance = xi.mean(), max(xi.var(), _SMALLEST)
    normal = (mean**2 + variance - 1 - np.log(variance)) / 2 - 1 / n_effective
    return float(max(0.0, shape, normal))


def pit_of_levels(p, codes, u):
    """Randomised PIT of levels, the most probable first.

    Parameters
    ----------
    p : ndarray of shape (n, K)
        Probabilities of the levels.
    codes : ndarray of shape (n,) of int
        Levels that were observed; K or more is a level that has no probability.
    u : ndarray of shape (n,)
        Uniform numbers.

    Returns
    -------
    ndarray of shape (n,)
    """
    known = codes < p.shape[1]
    own = p[np.arange(len(p)), np.where(known, codes, 0)]
    above = np.where(p > own[:, None], p, 0.0).sum(1)
    # Levels of equal probability are in the order of their codes.
    tied = (p == own[:, None]) & (np.arange(p.shape[1]) < codes[:, None])
    pit = above + np.where(tied, p, 0.0).sum(1) + u * own
    return np.where(known, np.clip(pit, 0, 1), 1.0)


def compare_levels(p, codes, names, extra_variance=0.0):
    """Frequency of each level, its mean probability, and their difference in standard errors.

    Parameters
    ----------
    p : ndarray of shape (n, K)
    codes : ndarray of shape (n,) of int
    names : list of K labels
    extra_variance : float or ndarray of shape (K,)
        Variance of the mean probabilities themselves.

    Returns
    -------
    dict
    """
    frequency = (codes[:, None] == np.arange(p.shape[1])).mean(0)
    expected = p.mean(0)
    variance = (p * (1 - p)).mean(0) / len(p) + extra_variance
    # A probability of 0 or 1 is one that the next row may correct.
    floor = np.square(0.5 / len(p))
    z = (frequency - expected) / np.sqrt(np.maximum(variance, floor))
    return {
        name: (float(f), float(e), float(d))
        for name, f, e, d in zip(names, frequency, expected, z, strict=True)
    }
