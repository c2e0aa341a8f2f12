"""Strictly increasing maps that make columns nearly standard normal, with their exact slopes."""

import numpy as np

from gudlearn.encoding.tails import Tail
from gudlearn.encoding.warp_fit import fit_spline, gains_over_gaussian
from gudlearn.encoding.warp_joint import choose_jointly

# Fewer values than this say too little about a distribution.
_FEWEST_VALUES = 20
# A column is warped if this improves the held-out log-likelihood of a value by more than this
# many nats and more than this many standard errors.
_LEAST_GAIN, _STANDARD_ERRORS = 0.01, 3.0
# Values at most that take part in the choice, and in the fit of the body of a distribution.
_MOST_TO_CHOOSE, _MOST_TO_FIT = 2**14, 2**16
# One row may not decide alone, for or against a warp: its gain counts up to this, in nats.
_MOST_GAIN_OF_ROW = 10.0
# Entries that are mapped at once: the intermediate arrays stay in the cache.
_BATCH = 2**14


class MarginalWarp:
    r"""Maps of single columns to nearly standard normal ones.

    The map of a column is :math:`z = \Phi^{-1}(F(x))` for a smooth estimate F of its distribution
    function: a rational-quadratic spline (Gregory and Delbourgo 1982) with equal steps in z
    between a low and a high quantile, and a generalised Pareto distribution beyond each. It is
    strictly increasing on the whole line, its slope is exact, and its inverse has closed form.

    Use `fit`; attributes are learned.

    Attributes
    ----------
    columns : ndarray of shape (F,) of bool
        Columns that are warped. The others pass unchanged.
    low, high : ndarray of shape (F,)
        Seen range of the warped columns; -inf and inf elsewhere.
    """

    def __init__(self, columns, low, high, curves):
        self.columns, self.low, self.high, self._curves = columns, low, high, curves

    @classmethod
    def fit(cls, X, observed, candidates, labels=None):
        """Choose the columns that gain by a warp, and fit it.

        A candidate is warped if the held-out log-likelihood of the estimated distribution exceeds
        that of a Gaussian clearly, and so does that of a Gaussian of all columns with the warp.
        Data that are Gaussian are left as they are; with labels, those that are Gaussian around the
        mean of their class. So are columns of several modes, if there are others: modes go together
        with those of other columns, which a Gaussian copula forgets.

        Parameters
        ----------
        X : ndarray of shape (n, F)
        observed : ndarray of shape (n, F) of bool, or None
            Values that count; None: all but NaN.
        candidates : ndarray of shape (F,) of bool
            Columns that may be warped. Values of discrete columns should have uniform noise of
            the width of their bins.
        labels : ndarray of shape (n,) of int, or None
            Class indices.

        Returns
        -------
        MarginalWarp or None
            None if no column is warped.
        """
        columns = np.zeros(X.shape[1], dtype=bool)
        low, high = np.full(X.shape[1], -np.inf), np.full(X.shape[1], np.inf)
        curves = {}
        for j in np.flatnonzero(candidates):
            x = X[:, j] if observed is None else X[observed[:, j], j]
            x = x[~np.isnan(x)].astype(np.float64)
            # Densities far from a value underflow to zero.
            with np.errstate(under="ignore"):
                curve = _fit_column(x)
            if curve is not None:
                columns[j], curves[int(j)] = True, curve
                low[j], high[j] = x.min(), x.max()
        warp = cls(columns, low, high, curves)
        if curves and (X.shape[1] > 1 or labels is not None):
            rows = np.random.default_rng(0).permutation(len(X))[:_MOST_TO_CHOOSE]
            some = X[rows].astype(np.float64)
            if observed is not None:
                some[~observed[rows]] = np.nan
            warp = warp.restricted(warp.unimodal())
            if warp.columns.any():
                labels = None if labels is None else labels[rows]
                forward = warp.forward(some)
                warp = warp.restricted(choose_jointly(some, *forward, warp.columns, labels))
        return warp if warp.columns.any() else None

    def unimodal(self):
        """Mask (F,) of the warped columns whose distribution has no clearly separate modes.

        Modes are separate if the density between them is less than an eighth of that on both
        sides, within the central 98 % of the values. Estimates from few values have valleys of a
        third by chance.
        """
        out = np.zeros(len(self.columns), dtype=bool)
        z = np.linspace(-2.3, 2.3, 93)
        for j, curve in self._curves.items():
            with np.errstate(under="ignore"):
                _, log_slope = curve.forward(curve.inverse(z))
            log_p = log_slope - 0.5 * z * z
            left, right = np.maximum.accumulate(log_p), np.maximum.accumulate(log_p[::-1])[::-1]
            out[j] = (np.minimum(left, right) - log_p).max() < np.log(8)
        return out

    def restricted(self, columns):
        """The maps of some of the columns, a mask (F,), only."""
        columns = self.columns & columns
        low, high = np.where(columns, self.low, -np.inf), np.where(columns, self.high, np.inf)
        curves = {j: curve for j, curve in self._curves.items() if columns[j]}
        return MarginalWarp(columns, low, high, curves)

    def forward(self, X):
        """Map columns to nearly standard normal ones.

        Parameters
        ----------
        X : ndarray of shape (n, F)
            In or out of the seen range. NaN stays NaN.

        Returns
        -------
        Z : ndarray of shape (n, F)
        log_slope : ndarray of shape (n, F)
            Logarithm of dz/dx; 0 in the other columns.
        """
        Z = np.array(X, dtype=np.float64, order="F")
        log_slope = np.zeros_like(Z)
        for j, curve in self._curves.items():
            for rows in _batches(len(Z)):
                with np.errstate(under="ignore"):
                    Z[rows, j], log_slope[rows, j] = curve.forward(Z[rows, j])
        return Z, log_slope

    def inverse(self, Z, clip=False):
        """Map normal columns back.

        Parameters
        ----------
        Z : ndarray of shape (n, F)
            NaN stays NaN.
        clip : bool
            Whether warped columns are limited to their seen range.

        Returns
        -------
        ndarray of shape (n, F)
        """
        X = np.array(Z, dtype=np.float64, order="F")
        for j, curve in self._curves.items():
            for rows in _batches(len(X)):
                with np.errstate(under="ignore"):
                    X[rows, j] = curve.inverse(X[rows, j])
            if clip:
                np.clip(X[:, j], self.low[j], self.high[j], out=X[:, j])
        return X


def mirrored_inside(X, low, high, which, warp=None):
    """Values outside of a range, mirrored at its ends in the units of a warp.

    Clipped values would be ties, and in units in which tails are long their mirror images lie far
    on the other side.

    Parameters
    ----------
    X : ndarray of shape (n, F)
    low, high : ndarray of shape (F,)
    which : ndarray of shape (n, F) of bool
        Values to be mirrored, if they are outside.
    warp : MarginalWarp or None

    Returns
    -------
    ndarray of shape (n, F)
    """
    outside = ((X < low) | (X > high)) & which
    if not outside.any():
        return X
    Y = np.stack([low, high, *X])
    Y = Y if warp is None else warp.forward(Y)[0]
    (low_y, high_y), Y = Y[:2], Y[2:]
    Y = np.where(Y > high_y, 2 * high_y - Y, np.where(Y < low_y, 2 * low_y - Y, Y))
    Y = np.clip(Y, low_y, high_y)
    inside = np.clip(Y if warp is None else warp.inverse(Y), low, high)
    return np.where(outside, inside, X)


class Curve:
    """The map of one column: a spline between two tails.

    Parameters
    ----------
    center, scale : float
        The spline and the tails are functions of (x - center) / scale.
    spline : IncreasingSpline
    tails : (Tail, Tail)
        Below the first knot and above the last one.
    """

    def __init__(self, center, scale, spline, tails):
        self.center, self.scale, self.spline, self.tails = center, scale, spline, tails

    def forward(self, x):
        """Values z and log dz/dx at x, all of shape (n,)."""
        x = (x - self.center) / self.scale
        z, log_slope = self.spline.forward(x)
        below, above = x < self.spline.knots[0], x > self.spline.knots[-1]
        for beyond, tail in zip((below, above), self.tails, strict=True):
            if beyond.any():
                z[beyond], log_slope[beyond] = tail.forward(x[beyond])
        return z, log_slope - np.log(self.scale)

    def inverse(self, z):
        """Values x at z, both of shape (n,)."""
        x = self.spline.inverse(z)
        below, above = z < self.spline.z_first, z > self.spline.z_last
        for beyond, tail in zip((below, above), self.tails, strict=True):
            if beyond.any():
                x[beyond] = tail.inverse(z[beyond])
        return x * self.scale + self.center


def _fit_column(x):
    """The curve of the values x (n,) of a column; None if a Gaussian describes them as well."""
    if len(x) < _FEWEST_VALUES or not np.ptp(x) > 0:
        return None
    rng = np.random.default_rng(len(x))
    some = x if len(x) <= _MOST_TO_FIT else x[rng.permutation(len(x))[:_MOST_TO_FIT]]
    center, scale = _robust_scale(some)
    if not scale > 0:
        return None
    x, some = (x - center) / scale, (some - center) / scale
    few = some[rng.permutation(len(some))[:_MOST_TO_CHOOSE]]
    # The Gaussian accounts for all values: a single one may decide its standard deviation.
    choice, gains = gains_over_gaussian(few, x.mean(), x.var(), rng)
    gains = np.clip(gains, -_MOST_GAIN_OF_ROW, _MOST_GAIN_OF_ROW)
    error = gains.std(ddof=1) / len(gains) ** 0.5
    if not gains.mean() > max(_LEAST_GAIN, _STANDARD_ERRORS * error):
        return None
    spline = fit_spline(some, choice)
    first, last = spline.knots[0], spline.knots[-1]
    tails = Tail.fit(x, first, spline.z_first, -1), Tail.fit(x, last, spline.z_last, 1)
    return Curve(center, scale, spline, tails)


def _robust_scale(x):
    """Median and width of the middle of x (n,): half of the values, or more where these agree."""
    center = np.median(x)
    for outside in (0.25, 0.1, 0.01, 0.0):
        low, high = np.quantile(x, [outside, 1 - outside])
        if high - low > 1e-12 * abs(center):
            return center, high - low
    return center, 0.0


def _batches(n):
    return (slice(start, start + _BATCH) for start in range(0, n, _BATCH))
