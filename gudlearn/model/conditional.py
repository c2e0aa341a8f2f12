r"""Distributions of one number for each of many rows: a quantile function, or levels.

A quantile function is an increasing rational-quadratic spline :math:`q(\xi)` of the standard normal
(Gregory and Delbourgo 1982), straight beyond its ends. With its inverse :math:`\xi(y)` the
distribution function is :math:`\Phi(\xi(y))` and the density :math:`\phi(\xi(y)) \, d\xi/dy`, which
is normalised whatever the spline. Both classes have the same methods.
"""

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

# Least slope of the quantile function, in components: a quarter of the noise that is left in them.
_LEAST_SLOPE = 1e-3
# Probabilities of quantiles, the steps between them that are a tenth, for modes.
_PROBABILITIES, _TENTH = np.linspace(0.005, 0.995, 199), 20
# Points of the standard normal at which means are summed.
_GRID = np.linspace(-4.5, 4.5, 181)
_LOG_2PI = float(np.log(2 * np.pi))


class ConditionalQuantiles:
    """Distributions of a continuous or whole number, from quantiles of its component.

    Parameters
    ----------
    nodes : ndarray of shape (Q,)
        Quantiles of the standard normal, evenly spaced.
    values : ndarray of shape (n, Q)
        Components at these quantiles, not decreasing.
    column_map : ColumnMap
        From components to the units of the data.
    whole : bool
        Whether values are whole numbers, to which uniform noise of width 1 was added.
    spread : float
        Factor of the distances of components from the median.
    within : (float, float)
        Range of the values in means and quantiles; the density is that of the spline.
    """

    def __init__(
        self, nodes, values, column_map, whole=False, spread=1.0, within=(-np.inf, np.inf)
    ):
        self._within = within
        median = values[:, [len(nodes) // 2]]
        values = median + spread * (values - median)
        rise = _LEAST_SLOPE * nodes
        # The mean of the least increasing function above and the greatest one below.
        above = np.maximum.accumulate(values - rise, axis=1)
        below = np.minimum.accumulate((values - rise)[:, ::-1], axis=1)[:, ::-1]
        self._values = (above + below) / 2 + rise
        self._nodes, self._map, self.whole = nodes, column_map, whole
        self._step = nodes[1] - nodes[0]
        chords = np.diff(self._values, axis=1) / self._step
        # Rounding of the accumulation may leave a chord slightly below the least slope.
        self._chords = np.maximum(chords, 0.5 * _LEAST_SLOPE)
        between = 2 / (1 / self._chords[:, 1:] + 1 / self._chords[:, :-1])
        self._slopes = np.concatenate([self._chords[:, :1], between, self._chords[:, -1:]], axis=1)

    def __len__(self):
        return len(self._values)

    # The spline, in components

    def _at(self, xi):
        """Components at normal quantiles xi (n, m) or (m,), and their log-slopes; (n, m)."""
        xi = np.broadcast_to(xi, (len(self), np.shape(xi)[-1]))
        k = np.clip((xi - self._nodes[0]) / self._step, 0, len(self._nodes) - 2).astype(int)
        t = (xi - self._nodes[k]) / self._step
        value, chord, left, right = self._pieces(k)
        inside = np.clip(t, 0.0, 1.0)
        mixed = inside * (1 - inside)
        below = chord + (left + right - 2 * chord) * mixed
        z = value + self._step * chord * (chord * inside**2 + left * mixed) / below
        slope = right * inside**2 + 2 * chord * mixed + left * (1 - inside) ** 2
        log_slope = np.log(slope) + 2 * np.log(chord / below)
        beyond = self._step * (t - inside)
        return z + beyond * np.where(t > 1, right, left), log_slope

    def _pieces(self, k):
        """First value, chord, and slopes at both ends of pieces k (n, m)."""
        return (
            np.take_along_axis(part, k, 1)
            for part in (self._values[:, :-1], self._chords, self._slopes[:, :-1],
                         self._slopes[:, 1:])
        )  # fmt: skip

    def _normal(self, z):
        """Normal quantiles of components z (n, m), and the log-slopes of z in them."""
        k = (z[:, :, None] >= self._values[:, None, 1:-1]).sum(2)
        value, chord, left, right = self._pieces(k)
        rise = self._step * chord
        y = np.clip((z - value) / rise, 0.0, 1.0)
        bend = y * (left + right - 2 * chord)
        a, b, c = chord - left + bend, left - bend, -chord * y
        root = np.sqrt(np.maximum(b * b - 4 * a * c, 0.0))
        t = np.clip(2 * c / (-b - root), 0.0, 1.0)
        xi = self._nodes[k] + self._step * t
        first, last = self._values[:, :1], self._values[:, -1:]
        xi = xi + np.minimum(z - first, 0) / self._slopes[:, :1]
        xi = xi + np.maximum(z - last, 0) / self._slopes[:, -1:]
        return xi, self._at(xi)[1]

    # In the units of the data

    def _xi(self, y):
        """Normal quantiles of values y (n, m), and log-slopes of y in them."""
        z, log_slope = self._map.forward(y)
        xi, log_dz = self._normal(z)
        return xi, log_dz - log_slope

    def log_prob(self, y):
        """Log-density of values y (n,), or (n, m); log-probability of whole numbers."""
        y = np.asarray(y, dtype=np.float64)
        if y.ndim == 1:
            return self.log_prob(y[:, None])[:, 0]
        if self.whole:
            low, high = self._xi(y - 0.5)[0], self._xi(y + 0.5)[0]
            # In the upper half the complement has the digits.
            turned = low > 0
            low, high = np.where(turned, -high, low), np.where(turned, -low, high)
            with np.errstate(divide="ignore"):
                change = np.log(-np.expm1(np.minimum(log_ndtr(low) - log_ndtr(high), 0.0)))
            return np.where(y == np.rint(y), log_ndtr(high) + change, -np.inf)
        xi, log_slope = self._xi(y)
        return -0.5 * (_LOG_2PI + xi * xi) - log_slope

    def cdf(self, y):
        """Probability of values of at most y (n,)."""
        y = np.asarray(y, dtype=np.float64)
        return ndtr(self._xi((np.floor(y) + 0.5 if self.whole else y)[:, None])[0])[:, 0]

    def quantile(self, q):
        """Quantiles (n, m) of probabilities q in (0, 1), of shape (m,) or (n, m)."""
        y = np.clip(self._map.inverse(self._at(ndtri(q))[0]), *self._within)
        return np.rint(y) if self.whole else y

    def mean(self):
        """Means, (n,)."""
        weight = np.exp(-0.5 * _GRID**2)
        y = np.clip(self._map.inverse(self._at(_GRID)[0]), *self._within)
        return y @ (weight / weight.sum())

    def median(self):
        """Medians, (n,)."""
        return self.quantile(np.array([0.5]))[:, 0]

    def mode(self):
        """Middles of the shortest intervals that hold a tenth of the probability, (n,).

        The density itself may have a narrow peak wherever two quantiles lie close to each other.
        """
        quantiles = self.quantile(_PROBABILITIES)
        widths = quantiles[:, _TENTH:] - quantiles[:, :-_TENTH]
        # Of whole numbers many intervals are equally short: the one in the middle of them.
        shortest = widths <= widths.min(1, keepdims=True)
        middle = (shortest.cumsum(1) * 2 > shortest.sum(1, keepdims=True)).argmax(1)
        return np.take_along_axis(quantiles, middle[:, None] + _TENTH // 2, 1)[:, 0]


class ConditionalLevels:
    """Distributions of a number that has few values.

    Parameters
    ----------
    levels : ndarray of shape (K,)
        The values, ascending.
    probabilities : ndarray of shape (n, K)
    temperature : float
        Divisor of the logarithms of the probabilities, before they are normalised.
    """

    whole = True

    def __init__(self, levels, probabilities, temperature=1.0):
        self.levels = np.asarray(levels, dtype=np.float64)
        p = probabilities ** (1 / temperature)
        self.probabilities = p / p.sum(1, keepdims=True)

    def __len__(self):
        return len(self.probabilities)

    def log_prob(self, y):
        """Log-probability of values y (n,); minus infinity of a value that is no level."""
        k = np.searchsorted(self.levels, y).clip(max=len(self.levels) - 1)
        with np.errstate(divide="ignore"):
            log_p = np.log(self.probabilities[np.arange(len(self)), k])
        return np.where(self.levels[k] == y, log_p, -np.inf)

    def cdf(self, y):
        """Probability of values of at most y (n,)."""
        return (self.probabilities * (self.levels <= np.asarray(y)[:, None])).sum(1)

    def quantile(self, q):
        """Quantiles (n, m) of probabilities q in (0, 1), of shape (m,) or (n, m)."""
        q = np.broadcast_to(q, (len(self), np.shape(q)[-1]))
        below = self.probabilities.cumsum(1)[:, None, :-1] < q[:, :, None]
        return self.levels[below.sum(2)]

    def mean(self):
        """Means, (n,)."""
        return self.probabilities @ self.levels

    def median(self):
        """Medians, (n,)."""
        return self.quantile(np.array([0.5]))[:, 0]

    def mode(self):
        """Most probable values, (n,)."""
        return self.levels[self.probabilities.argmax(1)]
