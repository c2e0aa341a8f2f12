r"""Estimates of the distribution of one column, and the choice between them by cross-validation.

An estimate has two parts. A rough map r to normal scores interpolates quantiles by a monotone
spline with few pieces, or is a straight line. A kernel density estimate of the mapped values
corrects it. Its kernel is that of an Ornstein-Uhlenbeck process,

.. math:: q(y) = \frac1n \sum_i N(y; \sqrt{1 - h^2}\, r_i, h^2),

so that normal scores stay normal however wide it is, and h = 1 is no correction. Both parts hold
between two outer quantiles; tails are fitted beyond.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from gudlearn.encoding.splines import IncreasingSpline
from gudlearn.encoding.tails import Tail, log_density

# Numbers of pieces of the rough map, 0 for a straight line, and the least number of values for
# each of them.
_PIECES, _VALUES_PER_PIECE = (0, 6, 12, 24, 48, 96), 6
# Widths of the kernel; 1 leaves the rough map as it is.
_WIDTHS = np.array([0.05, 0.08, 0.12, 0.18, 0.27, 0.4, 0.6, 1.0])
_FOLDS = 5
# Pieces of the final spline.
_FINAL_PIECES = 192
_GRID = np.linspace(-5, 5, 501)
# Between two modes a kernel estimate underflows.
_LEAST_DENSITY = 1e-9
_LOG_2PI = np.log(2 * np.pi)


class Choice(NamedTuple):
    """What cross-validation chose.

    Parameters
    ----------
    pieces : int
        Of the rough map.
    width : int
        Index of the width of the kernel.
    """

    pieces: int
    width: int


def gains_over_gaussian(x, mean, variance, rng):
    """Choose an estimate by held-out log-likelihood, and compare it with a Gaussian.

    Parameters
    ----------
    x : ndarray of shape (n,)
    mean, variance : float
        The Gaussian, fitted to all values, those that judge it among them.
    rng : numpy.random.Generator
        Divides the values into folds.

    Returns
    -------
    choice : Choice
    gains : ndarray of shape (n,)
        Held-out log-density of each value minus that under the Gaussian, in nats.
    """
    pieces = [k for k in _PIECES if k * _VALUES_PER_PIECE <= len(x)]
    fold = rng.permutation(len(x)) % _FOLDS
    parts = [(spread_ties(x[fold != f]), x[fold == f]) for f in range(_FOLDS)]
    rough = [[_Rough.fit(train, k) for k in pieces] for train, _ in parts]
    mass = [[_binned(r(parts[f][0])) for r in rough[f]] for f in range(_FOLDS)]
    smooth = np.array(mass) @ _kernels()
    smooth = smooth.reshape(_FOLDS, len(pieces), len(_WIDTHS), len(_GRID))
    log_prob = np.empty((len(x), len(pieces), len(_WIDTHS)))
    for f, (train, test) in enumerate(parts):
        for k in range(len(pieces)):
            log_prob[fold == f, k] = _held_out(rough[f][k], smooth[f, k], train, test)
    k, width = np.unravel_index(log_prob.mean(0).argmax(), log_prob.shape[1:])
    gaussian = -0.5 * (_LOG_2PI + np.log(variance) + (x - mean) ** 2 / variance)
    return Choice(pieces[k], int(width)), log_prob[:, k, width] - gaussian


def fit_spline(x, choice):
    """Fit the chosen estimate to values x (n,): an IncreasingSpline to normal scores."""
    x = spread_ties(x)
    rough = _Rough.fit(x, choice.pieces)
    density = (_binned(rough(x)) @ _kernels()).reshape(len(_WIDTHS), -1)[choice.width]
    y = np.linspace(rough.spline.z_first, rough.spline.z_last, 4 * _FINAL_PIECES + 1)
    density = _at_grid(density, y)
    cumulative = np.append(0.0, np.cumsum(0.5 * (density[1:] + density[:-1])))
    inside = 1 - 2 * rough.outside
    edge = ndtri(1 - rough.outside)
    scores = ndtri(rough.outside + inside * cumulative / cumulative[-1])
    z = np.linspace(-edge, edge, _FINAL_PIECES + 1)
    at = np.interp(z, scores, y)
    at[0], at[-1] = y[0], y[-1]
    knots = rough.spline.inverse(at)
    log_slope = np.log(_at_grid(density, at, y)) - np.log(cumulative[-1] * (y[1] - y[0]))
    log_slope += np.log(inside) + rough.spline.forward(knots)[1] + 0.5 * (z * z + _LOG_2PI)
    return IncreasingSpline(-edge, edge, knots, np.exp(log_slope))


class _Rough:
    """A rough map to normal scores between two outer quantiles, extended by straight lines."""

    def __init__(self, outside, spline):
        self.outside, self.spline = outside, spline

    @classmethod
    def fit(cls, x, pieces):
        """Fit to increasing values x (n,), with a number of pieces; 0: a straight line."""
        outside = min(2 * len(x) ** 0.25, len(x) / 8) / len(x)
        rank = np.arange(len(x)) + 0.5
        edge = ndtri(1 - outside)
        levels = ndtr(np.linspace(-edge, edge, max(pieces, 1) + 1))
        knots = np.interp(levels * len(x), rank, x)
        if pieces:
            return cls(outside, IncreasingSpline(-edge, edge, knots))
        score = ndtri(rank / len(x))
        middle = np.abs(score) < edge
        score, x = score[middle], x[middle]
        slope = (score @ score) / (score @ (x - x.mean()))
        ends = score.mean() + slope * (knots - x.mean())
        return cls(outside, IncreasingSpline(*ends, knots))

    def __call__(self, x):
        """Normal scores of values x (n,)."""
        y = self.spline.forward(x)[0]
        first, last = self.spline.knots[0], self.spline.knots[-1]
        slopes = np.exp(self.spline.forward(np.array([first, last]))[1])
        y += slopes[0] * np.minimum(x - first, 0.0) + slopes[1] * np.maximum(x - last, 0.0)
        return y


def _held_out(rough, densities, train, test):
    """Log-density of values test (n,) by each width of the kernel, (n, H)."""
    spline, outside = rough.spline, rough.outside
    first, last = spline.knots[0], spline.knots[-1]
    y, log_slope = spline.forward(test)
    ends = np.linspace(spline.z_first, spline.z_last, 4 * _FINAL_PIECES + 1)
    out = np.empty((len(test), len(densities)))
    for i, density in enumerate(densities):
        total = np.trapezoid(_at_grid(density, ends), ends)
        out[:, i] = np.log(_at_grid(density, y)) - np.log(total)
    out += (log_slope + np.log1p(-2 * outside))[:, None]
    edge = ndtri(1 - outside)
    for side, threshold in ((-1, first), (1, last)):
        beyond = side * (test - threshold) > 0
        if beyond.any():
            tail = Tail.fit(train, threshold, side * edge, side)
            out[beyond] = log_density(tail, test[beyond])[:, None]
    return out


def _at_grid(density, y, grid=_GRID):
    """Density at values y (n,), interpolated on a grid; never zero."""
    return np.maximum(np.interp(y, grid, density), _LEAST_DENSITY)


def _binned(y):
    """Fraction of values y (n,) at each point of the grid, divided between neighbours."""
    position = np.clip((y - _GRID[0]) / (_GRID[1] - _GRID[0]), 0.0, len(_GRID) - 1.001)
    cell = position.astype(np.intp)
    right = position - cell
    mass = np.bincount(cell, 1 - right, len(_GRID)) + np.bincount(cell + 1, right, len(_GRID))
    return mass / len(y)


@cache
def _kernels():
    """Densities on the grid of the kernels at each point of the grid, (G, H G)."""
    width = _WIDTHS[:, None]
    mean = _GRID[:, None, None] * np.sqrt(1 - width**2)
    log_kernel = -0.5 * (((_GRID - mean) / width) ** 2 + _LOG_2PI) - np.log(width)
    with np.errstate(under="ignore"):
        return np.exp(log_kernel).reshape(len(_GRID), -1)


def spread_ties(x):
    """Sort x (n,), and spread equal values over half of the distance to their neighbours."""
    values, count = np.unique(x, return_counts=True)
    if len(values) == len(x):
        return values
    if len(values) == 1:
        return np.sort(x)
    gap = np.diff(values) / 2
    reach = np.minimum(np.append(gap[0], gap), np.append(gap, gap[-1]))
    # In units of the middle half of the data; far from it floats are sparse.
    reach = np.maximum(reach, 1e-9 + 1e-14 * np.abs(values))
    first = np.repeat(np.cumsum(count) - count, count)
    rank = (np.arange(len(x)) - first + 0.5) / np.repeat(count, count)
    return np.sort(np.repeat(values, count) + np.repeat(reach, count) * (2 * rank - 1))
