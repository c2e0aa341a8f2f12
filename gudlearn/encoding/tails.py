"""Tails of a distribution beyond a quantile: the generalised Pareto distribution."""

from dataclasses import dataclass

import numpy as np
from scipy.special import erfcx, log_ndtr, ndtri_exp

# Shapes that are tried: 0 is exponential, and moments of order 1/shape and above are infinite.
_SHAPES = np.array([0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0])
# Scales that are tried, in units of what the median excess implies.
_SCALES = 2.0 ** np.linspace(-3, 3, 25)
# Log-prior density of a shape is minus this times it: a few values beyond say little about it.
_PRIOR = 2.0
# The shape is fitted to a multiple of the values beyond the threshold, to a least number of them,
# but to no more than one in eight of all.
_WIDER, _LEAST_VALUES, _LARGEST_FRACTION = 3, 30, 8
_MOST_VALUES = 256
# Logarithms of numbers beyond this overflow.
_MOST_LOG = 700.0


@dataclass(frozen=True)
class Tail:
    """Values beyond a threshold, in either direction.

    The probability of an excess above y is (1 + shape y / scale)^(-1/shape), exp(-y / scale) for
    shape 0, times that of any excess.

    Parameters
    ----------
    threshold : float
    side : {-1, 1}
        Whether the tail lies below or above the threshold.
    log_mass : float
        Log-probability of the tail.
    shape, scale : float
    """

    threshold: float
    side: int
    log_mass: float
    shape: float
    scale: float

    @classmethod
    def fit(cls, x, threshold, z, side):
        """Fit the tail to the values of x (n,) beyond a threshold, whose normal score is z.

        A shape is the same for all thresholds, and is fitted to more values than the scale.
        """
        excess = side * (x - threshold)
        n_beyond = np.count_nonzero(excess > 0)
        log_mass = float(log_ndtr(-side * z))
        if not n_beyond:
            return cls(threshold, side, log_mass, 0.0, 1e-3 * float(np.ptp(x)))
        n_wide = min(max(_WIDER * n_beyond, _LEAST_VALUES), len(x) // _LARGEST_FRACTION)
        n_wide = max(n_wide, n_beyond)
        excess = np.sort(np.partition(excess, len(x) - n_wide - 1)[len(x) - n_wide - 1 :])
        shape, _ = _most_likely(_thinned(excess[1:] - excess[0]), _SHAPES)
        scale = _most_likely(_thinned(excess[-n_beyond:]), np.array([shape]))[1]
        return cls(threshold, side, log_mass, shape, scale)

    def forward(self, x):
        """Normal scores z and log dz/dx of values x (n,) beyond the threshold."""
        ratio = self.side * (x - self.threshold) / self.scale
        if self.shape == 0:
            log_survival, log_hazard = -ratio, -np.log(self.scale)
        else:
            log_growth = np.log1p(self.shape * ratio)
            log_survival, log_hazard = -log_growth / self.shape, -np.log(self.scale) - log_growth
        # From its own side: one minus a number near one has no digits left.
        z = ndtri_exp(self.log_mass + log_survival)
        # The ratio of normal tail and normal density.
        mills = np.sqrt(np.pi / 2) * erfcx(-z / np.sqrt(2))
        return -self.side * z, log_hazard + np.log(mills)

    def inverse(self, z):
        """Values x at normal scores z (n,) beyond that of the threshold."""
        depth = np.maximum(self.log_mass - log_ndtr(-self.side * z), 0.0)
        if self.shape > 0:
            depth = np.expm1(np.minimum(self.shape * depth, _MOST_LOG)) / self.shape
        return self.threshold + self.side * self.scale * depth


def _thinned(excess):
    """A limited number of the increasing values (m,) above zero; the largest one is kept."""
    excess = excess[excess > 0]
    if len(excess) > _MOST_VALUES:
        # A tail must hold the largest value.
        excess = excess[np.linspace(0, len(excess) - 1, _MOST_VALUES).astype(int)]
    return excess


def _most_likely(excess, shapes):
    """Shape and scale of positive excesses (m,) by penalised maximum likelihood on a grid."""
    shape = shapes[:, None, None]
    positive = np.where(shape > 0, shape, 1.0)
    unit = np.where(shape > 0, positive / np.expm1(positive * np.log(2)), 1 / np.log(2))
    scale = np.median(excess) * unit * _SCALES[:, None]
    ratio = excess / scale
    growth = (1 / positive + 1) * np.log1p(shape * ratio)
    log_density = -np.log(scale) - np.where(shape > 0, growth, ratio)
    log_posterior = log_density.sum(2) - _PRIOR * shape[:, :, 0]
    i, k = np.unravel_index(log_posterior.argmax(), log_posterior.shape)
    return float(shapes[i]), float(scale[i, k, 0])


def log_density(tail, x):
    """Log-density at values x (n,) beyond the threshold of a tail, with its mass."""
    ratio = tail.side * (x - tail.threshold) / tail.scale
    if tail.shape == 0:
        return tail.log_mass - np.log(tail.scale) - ratio
    growth = np.log1p(tail.shape * ratio)
    return tail.log_mass - np.log(tail.scale) - (1 / tail.shape + 1) * growth
