r"""Scores of outliers in closed form: densities of noisy parts of a row, and its noise level.

With noise of standard deviation s in the columns of a part S of a row, and infinite noise in all
others, data that are distributed as the reference rows :math:`c_1, \dots, c_N` have a Gaussian
kernel estimate as their density:

.. math:: p_{S, s}(x) = \frac1N \sum_k \prod_{i \in S} N(x_i; c_{ki}, s^2), \qquad s = h \sqrt{|S|}.

A hundredth of the mass is spread over a broad background, so that one value does not outweigh all
others. For small parts, columns and pairs of columns, this density at a low noise level tells rare
values and rare combinations. Of a whole row it tells less than the noise level at which the row is
likely, :math:`s^2 = |x - c|^2 / F`: the mean distance to the nearest reference rows estimates it.

Each of these numbers is mapped to its normal score among the reference rows, each of them taken
without itself, :math:`z = \Phi^{-1}(F(\cdot))`, and falls by a logarithm below the lowest of them.

References: Livernoche et al. (2023), https://arxiv.org/abs/2305.18593, for the noise level (their
diffusion time) and its estimate by nearest neighbours; Lazarevic and Kumar (2005),
https://doi.org/10.1145/1081870.1081891, for means over random parts.
"""

import numpy as np
from scipy.special import ndtri

# The noise level h of columns and pairs.
_NOISE_LEVEL = 0.05
# Weights of the means over columns and over pairs, and of the whole row.
_WEIGHTS = (0.25, 0.25, 0.5)
# Fraction of the background, and the scale of its Laplace distributions in standard deviations.
_BACKGROUND, _BACKGROUND_SCALE = 0.01, 2.0
# Nearest neighbours whose mean distance estimates the noise level.
_N_NEIGHBORS = 5
# Most columns, fewest and most pairs, and most reference rows of a part and of whole rows.
_MOST_COLUMNS, _FEWEST_PAIRS, _MOST_PAIRS = 200, 30, 200
_PART_REFERENCES, _ROW_REFERENCES = 1024, 8192
# Reference rows whose numbers are kept, for normal scores.
_CALIBRATION_ROWS = 2048
# Equal values have log-densities that differ by rounding, and by whether a row is left out; a
# distribution function would tell them apart.
_PART_DECIMALS, _ROW_DECIMALS = 1, 9
# Rows that are scored at once.
_BATCH = 1024
# Deviations from the mean, in standard deviations, are clipped here, so that squares are finite.
_LARGEST = 1e6


class StandardColumns:
    """Columns of numbers and categories with standardised distances.

    The squared distance of two numbers is that of the standardised column, and that of different
    categories is 2 / (1 - sum of squared frequencies): as for standardised indicators, which have a
    total variance of 1. A constant column has unit scale.

    Parameters
    ----------
    values : ndarray of shape (n, F)
        Numbers, or codes of categories; NaN where a value is missing.
    is_category : ndarray of shape (F,) of bool

    Attributes
    ----------
    observed, varies : ndarray of shape (F,) of bool
        Columns with an observed value, and those with different ones.
    """

    def __init__(self, values, is_category):
        self.is_category = is_category
        self.mean, self.scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
        self.observed, self.varies = np.zeros((2, values.shape[1]), bool)
        for j, column in enumerate(values.T):
            column = column[~np.isnan(column)]
            self.observed[j] = bool(len(column))
            self.varies[j] = len(column) > 0 and bool((column != column[0]).any())
            if is_category[j]:
                frequency = np.unique(column, return_counts=True)[1] / max(len(column), 1)
                self.scale[j] = np.sqrt(1 - np.square(frequency).sum()) if self.varies[j] else 1
            elif self.observed[j]:
                self.mean[j], self.scale[j] = _mean_and_scale(column)

    def transform(self, values):
        """Standardised numbers (n, F); codes of categories as they are."""
        with np.errstate(over="ignore"):
            numbers = np.clip((values - self.mean) / self.scale, -_LARGEST, _LARGEST)
        return np.where(self.is_category, values, numbers)

    def squared_distances(self, Z, reference, part):
        """Squared distances (n, N) in a part of the columns, over those observed in both rows.

        They are multiplied by the number of columns over that of columns observed in both, and
        are infinite where there is none.
        """
        one_by_one = part if len(part) <= 2 else part[self.is_category[part]]
        together = np.setdiff1d(part, one_by_one)
        total, count = _squared_distances(Z[:, together], reference[:, together])
        for j in one_by_one:
            # Differences of float32 are exact where values are equal.
            x, c = Z[:, j, None].astype(np.float32), reference[None, :, j].astype(np.float32)
            if self.is_category[j]:
                squares = (x != c) * np.float32(2 / self.scale[j] ** 2)
            else:
                squares = x - c
                squares *= squares
            if np.isnan(x).any() or np.isnan(c).any():
                both = ~np.isnan(x) & ~np.isnan(c)
                count, squares = count + both, np.where(both, squares, 0)
            else:
                count = count + 1
            total = total + squares
        if np.min(count) == len(part):
            return total
        total = total * (len(part) / np.maximum(count, 1))
        return np.where(count > 0, total, np.inf)

    def log_background(self, Z, part):
        """Log-density (n,) of independent broad Laplace distributions of the numbers of a part."""
        numbers = part[~self.is_category[part]]
        deviation = np.nansum(np.abs(Z[:, numbers]), axis=1)
        return -deviation / _BACKGROUND_SCALE - len(part) * np.log(2 * _BACKGROUND_SCALE)


def _mean_and_scale(column):
    """Mean and standard deviation of numbers (n,), whose squares may overflow; 1 for constants."""
    largest = np.abs(column).max()
    if largest == 0:
        return 0.0, 1.0
    scaled = column / largest
    std = scaled.std() * largest
    # Of equal numbers it is not always 0.
    return scaled.mean() * largest, std if std > 1e-12 * largest else 1.0


def _squared_distances(x, c):
    """Squared distances (n, N) over the columns observed in both rows, and their number.

    Both are 0 where there are no columns.
    """
    if not x.shape[1]:
        return np.float32(0), 0
    seen, known = ~np.isnan(x), ~np.isnan(c)
    complete = seen.all() and known.all()
    if complete:
        squares = np.square(x).sum(1)[:, None] + np.square(c).sum(1)
        total, count = squares - 2 * x @ c.T, x.shape[1]
    else:
        seen, known = seen.astype(np.float64), known.astype(np.float64)
        x, c = np.nan_to_num(x, nan=0.0), np.nan_to_num(c, nan=0.0)
        squares = np.square(x) @ known.T + seen @ np.square(c).T
        total, count = squares - 2 * x @ c.T, seen @ known.T
    # Equal rows differ by rounding only.
    return np.where(total > 1e-13 * squares, total, 0.0), count


def log_noisy_densities(distances, n_columns, log_background):
    """Log-densities (n,) of a kernel estimate with a background, at the low noise level.

    Parameters
    ----------
    distances : ndarray of shape (n, N), float32
        Squared distances to the reference rows; infinite for those that are left out.
    n_columns : int
    log_background : ndarray of shape (n,)

    Returns
    -------
    ndarray of shape (n,)
        NaN where no reference row is left.
    """
    variance = _NOISE_LEVEL**2 * n_columns
    nearest, count = distances.min(1).astype(np.float64), np.isfinite(distances).sum(1)
    empty = count == 0
    nearest[empty], count[empty] = 0.0, 1
    exponent = distances - nearest[:, None].astype(np.float32)
    exponent *= np.float32(-0.5 / variance)
    total = np.exp(exponent, out=exponent).sum(1).astype(np.float64)
    # Where no row is left the sum is 0; elsewhere at least 1.
    log_kernels = np.log(np.maximum(total, 1.0) / count) - 0.5 * nearest / variance
    log_kernels -= 0.5 * n_columns * np.log(2 * np.pi * variance)
    found = np.logaddexp(
        np.log1p(-_BACKGROUND) + log_kernels, np.log(_BACKGROUND) + log_background
    )
    return np.where(empty, np.nan, found)


def noise_levels(distances, n_columns):
    """Noise level (n,) at which rows are likely: mean distance to the nearest reference rows.

    Parameters
    ----------
    distances : ndarray of shape (n, N)
        Squared distances to the reference rows; infinite for those that are left out.
    n_columns : int

    Returns
    -------
    ndarray of shape (n,)
        In standard deviations of a column; NaN where no reference row is left.
    """
    k = min(_N_NEIGHBORS, distances.shape[1])
    nearest = np.partition(distances, k - 1, axis=1)[:, :k]
    count = np.isfinite(nearest).sum(1)
    total = np.sqrt(np.where(np.isfinite(nearest), nearest, 0.0)).sum(1)
    found = total / np.maximum(count, 1) / np.sqrt(n_columns)
    return np.where(count > 0, found, np.nan)


class NormalScores:
    """Normal scores of numbers among those of a sample; a logarithm below the lowest of them.

    Parameters
    ----------
    sample : ndarray of shape (n,)
        NaN is left out.
    """

    def __init__(self, sample):
        self.sorted = np.sort(sample[~np.isnan(sample)])
        low, middle = np.quantile(self.sorted, [0.1, 0.5]) if len(self.sorted) else (0.0, 0.0)
        self.scale = middle - low if middle > low else 1.0

    def __call__(self, x):
        """Normal scores (n,); NaN where x is, or the sample is empty."""
        if not len(self.sorted):
            return np.full(len(x), np.nan)
        through = np.searchsorted(self.sorted, x, "right")
        z = ndtri((through + 0.5) / (len(self.sorted) + 1))
        beyond = np.maximum((self.sorted[0] - x) / self.scale, 0.0)
        return np.where(np.isnan(x), np.nan, z - np.log1p(beyond))


class NoisyDensities:
    """Mean normal score of the noisy densities of a row's parts, and of its noise level.

    Parameters
    ----------
    values : ndarray of shape (n, F)
        Reference rows: numbers, or codes of categories; NaN where a value is missing.
    is_category : ndarray of shape (F,) of bool
    rng : numpy.random.Generator
        Draws pairs of columns, and the reference rows of each part.
    """

    def __init__(self, values, is_category, rng):
        self.columns = StandardColumns(values, is_category)
        self.reference = self.columns.transform(values)
        n, varying = len(values), np.flatnonzero(self.columns.varies)
        single = np.sort(rng.permutation(varying)[:_MOST_COLUMNS])[:, None]
        groups = [list(single), _pairs(varying, rng), [np.flatnonzero(self.columns.observed)]]
        # (columns, reference rows, weight); the whole row is the last.
        self.parts = [
            (part, rng.permutation(n)[:most], weight / len(parts))
            for parts, weight, most in zip(
                groups, _WEIGHTS, (_PART_REFERENCES, _PART_REFERENCES, _ROW_REFERENCES), strict=True
            )
            for part in parts
        ]
        calibration = np.sort(rng.permutation(n)[:_CALIBRATION_ROWS])
        found = self._of_parts(self.reference[calibration], calibration)
        self.normal = [NormalScores(numbers) for numbers in found]

    def score(self, values, self_index):
        """Mean normal scores (n,), over the parts with observed values; 0 without any.

        Parameters
        ----------
        values : ndarray of shape (n, F)
        self_index : ndarray of shape (n,) of int
            Index of each row among the reference rows, which leaves it out; -1 for new rows.
        """
        total, weights = np.zeros((2, len(values)))
        found = self._of_parts(self.columns.transform(values), self_index)
        for (_, _, weight), normal, numbers in zip(self.parts, self.normal, found, strict=True):
            z = normal(numbers)
            seen = ~np.isnan(z)
            total += weight * np.where(seen, z, 0.0)
            weights += weight * seen
        return total / np.where(weights > 0, weights, 1.0)

    def _of_parts(self, Z, self_index):
        """For each part the numbers (n,) whose normal scores count; low for outliers."""
        for part, rows, _ in self.parts:
            whole = part is self.parts[-1][0]
            place = np.full(len(self.reference) + 1, -1)
            place[rows] = np.arange(len(rows))
            own, reference, found = place[self_index], self.reference[rows], np.empty(len(Z))
            for start in range(0, len(Z), _BATCH):
                batch = slice(start, start + _BATCH)
                D = self.columns.squared_distances(Z[batch], reference, part)
                inside = np.flatnonzero(own[batch] >= 0)
                D[inside, own[batch][inside]] = np.inf
                if whole:
                    found[batch] = -noise_levels(D, len(part))
                else:
                    background = self.columns.log_background(Z[batch], part)
                    found[batch] = log_noisy_densities(D, len(part), background)
            yield np.round(found, _ROW_DECIMALS if whole else _PART_DECIMALS)


def _pairs(columns, rng):
    """Pairs of columns, each column in about as many; all pairs if there are few."""
    n = len(columns)
    if n < 3:
        return [columns] if n == 2 else []
    n_pairs = int(np.clip(n, _FEWEST_PAIRS, _MOST_PAIRS))
    if n * (n - 1) // 2 <= n_pairs:
        return [columns[[i, j]] for i in range(n) for j in range(i)]
    pairs = {}
    while len(pairs) < n_pairs:
        order = rng.permutation(columns)
        drawn = np.sort(order[: n - n % 2].reshape(-1, 2), axis=1)
        pairs |= {tuple(pair): pair for pair in drawn.tolist()}
    return [np.array(pair) for pair in list(pairs)[:n_pairs]]
