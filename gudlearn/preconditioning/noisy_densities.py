r"""Scores of outliers in closed form: densities of noisy pairs, and noise levels of whole rows.

With noise of standard deviation s in the columns of a part S of a row, and infinite noise in all
others, data that are distributed as the reference rows :math:`c_1, \dots, c_N` have a Gaussian
kernel estimate as their density:

.. math:: p_{S, s}(x) = \frac1N \sum_k \prod_{i \in S} N(x_i; c_{ki}, s^2), \qquad s = h \sqrt{|S|}.

A hundredth of the mass is spread over a broad background, so that one value does not outweigh all
others. For pairs of columns this density at a low noise level tells rare values and combinations.
Of a whole row it tells less than the noise level at which the row is likely,
:math:`s^2 = |x - c|^2 / F`: the mean distance to the nearest reference rows estimates it. It
depends on the basis in which noise acts, and there are several views of a row: standardised
columns, columns divided by their range, and whitened principal components.

Each view is mapped to its normal score among the reference rows, each of them taken without itself,
:math:`z = \Phi^{-1}(F(\cdot))`, and falls by a logarithm below the lowest of them. A row is an
outlier if one of its views is: the lowest of them has most of the weight, as in Tippett's
combination of p-values.

References: Livernoche et al. (2023), https://arxiv.org/abs/2305.18593, for the noise level (their
diffusion time) and its estimate by nearest neighbours; Lazarevic and Kumar (2005),
https://doi.org/10.1145/1081870.1081891, for means over random parts; Tippett (1931), The Methods of
Statistics.
"""

import numpy as np
from scipy.special import ndtri

# The noise level h of pairs.
_NOISE_LEVEL = 0.05
# Weight of the lowest view, against the mean of all.
_LOWEST_WEIGHT = 2 / 3
# Fraction of the background, and the scale of its Laplace distributions in standard deviations.
_BACKGROUND, _BACKGROUND_SCALE = 0.01, 2.0
# Numbers of nearest neighbours whose mean distance estimates the noise level: of standardised
# columns, and in the other bases.
_N_NEIGHBORS, _N_NEIGHBORS_ELSEWHERE = (5, 20), (5,)
# Added to the variances of principal components.
_LEAST_VARIANCE = 0.01
# Tables of more columns of numbers have no view of principal components.
_MOST_COMPONENTS = 1000
# Fewest and most pairs, and most reference rows of a pair and of whole rows.
_FEWEST_PAIRS, _MOST_PAIRS = 30, 100
_PAIR_REFERENCES, _ROW_REFERENCES = 1024, 8192
# Reference rows whose numbers are kept, for normal scores.
_CALIBRATION_ROWS = 2048
# Equal values have log-densities that differ by rounding, and by whether a row is left out; a
# distribution function would tell them apart.
_PAIR_DECIMALS, _ROW_DECIMALS = 1, 9
# Rows that are scored at once.
_BATCH = 1024
# Deviations from the mean, in standard deviations, are clipped here, so that squares are finite.
_LARGEST = 1e6


class StandardColumns:
    """Columns of numbers and categories with distances in units of a scale.

    With standard deviations the squared distance of different categories is 2 / (1 - sum of squared
    frequencies): as for standardised indicators, which have a total variance of 1. With ranges it
    is 1. A constant column has unit scale.

    Parameters
    ----------
    values : ndarray of shape (n, F)
        Numbers, or codes of categories; NaN where a value is missing.
    is_category : ndarray of shape (F,) of bool
    by_range : bool
        Whether the scale of a number is its range, and not its standard deviation.

    Attributes
    ----------
    observed, varies : ndarray of shape (F,) of bool
        Columns with an observed value, and those with different ones.
    """

    def __init__(self, values, is_category, by_range=False):
        self.is_category = is_category
        self.mean, self.scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
        self.observed, self.varies = np.zeros((2, values.shape[1]), bool)
        for j, column in enumerate(values.T):
            column = column[~np.isnan(column)]
            self.observed[j] = bool(len(column))
            self.varies[j] = len(column) > 0 and bool((column != column[0]).any())
            if is_category[j] and by_range:
                self.scale[j] = np.sqrt(2)
            elif is_category[j]:
                frequency = np.unique(column, return_counts=True)[1] / max(len(column), 1)
                self.scale[j] = np.sqrt(1 - np.square(frequency).sum()) if self.varies[j] else 1
            elif self.observed[j]:
                self.mean[j], self.scale[j] = _mean_and_scale(column, by_range)

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


def _mean_and_scale(column, by_range):
    """Mean and scale of numbers (n,), whose squares may overflow; a scale of 1 for constants."""
    largest = np.abs(column).max()
    if largest == 0:
        return 0.0, 1.0
    scaled = column / largest
    scale = np.ptp(scaled) if by_range else scaled.std()
    # The standard deviation of equal numbers is not always 0.
    return scaled.mean() * largest, scale * largest if scale > 1e-12 else 1.0


def _squared_distances(x, c):
    """Squared distances (n, N) over the columns observed in both rows, and their number.

    Both are 0 where there are no columns.
    """
    if not x.shape[1]:
        return np.float32(0), 0
    (x, seen), (c, known) = _filled(x), _filled(c)
    if seen.all() and known.all():
        squares = np.square(x).sum(1)[:, None] + np.square(c).sum(1)
        total, count = squares - 2 * x @ c.T, x.shape[1]
    else:
        squares = np.square(x) @ known.T + seen @ np.square(c).T
        total, count = squares - 2 * x @ c.T, seen @ known.T
    # Equal rows differ by rounding only.
    return np.where(total > 1e-13 * squares, total, 0.0), count


def _filled(rows):
    """Rows with 0 in place of missing values, and a mask of 0 and 1 of the observed ones."""
    seen = ~np.isnan(rows)
    return np.where(seen, rows, 0.0), seen.astype(np.float64)


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
    found = np.logaddexp(np.log1p(-_BACKGROUND) + log_kernels, np.log(_BACKGROUND) + log_background)
    return np.where(empty, np.nan, found)


def noise_levels(distances, n_columns, n_neighbors):
    """Noise level (n,) at which rows are likely: mean distance to the nearest reference rows.

    Parameters
    ----------
    distances : ndarray of shape (n, N)
        Squared distances to the reference rows; infinite for those that are left out.
    n_columns, n_neighbors : int

    Returns
    -------
    ndarray of shape (n,)
        In standard deviations of a column; NaN where no reference row is left.
    """
    k = min(n_neighbors, distances.shape[1])
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


class WhiteComponents:
    """Whitened principal components of standardised numbers.

    Missing values are replaced by their conditional means under the Gaussian with the covariance of
    the reference rows.

    Parameters
    ----------
    Z : ndarray of shape (n, F)
        Standardised numbers; NaN where a value is missing.
    """

    def __init__(self, Z):
        filled, seen = _filled(Z)
        covariance = filled.T @ filled / np.maximum(seen.T @ seen, 1)
        variances, axes = np.linalg.eigh(covariance)
        variances = np.maximum(variances, 0) + _LEAST_VARIANCE
        self.whitening = axes / np.sqrt(variances)
        self.covariance = axes * variances @ axes.T

    def transform(self, Z):
        """Components (n, F); NaN for rows without observed values."""
        missing = np.isnan(Z)
        complete = np.where(missing, 0.0, Z)
        partial = np.flatnonzero(missing.any(1))
        patterns, index = np.unique(missing[partial], axis=0, return_inverse=True)
        order = np.argsort(index.ravel(), kind="stable")
        groups = np.split(partial[order], np.bincount(index.ravel()).cumsum()[:-1])
        for pattern, rows in zip(patterns, groups, strict=False):
            if pattern.all():
                complete[rows] = np.nan
                continue
            weights = np.linalg.solve(
                self.covariance[np.ix_(~pattern, ~pattern)],
                self.covariance[np.ix_(~pattern, pattern)],
            )
            complete[np.ix_(rows, pattern)] = complete[np.ix_(rows, ~pattern)] @ weights
        return complete @ self.whitening


class NoisyDensities:
    """Scores of rows by the noisy densities of their pairs and by their noise levels.

    Parameters
    ----------
    values : ndarray of shape (n, F)
        Reference rows: numbers, or codes of categories; NaN where a value is missing.
    is_category : ndarray of shape (F,) of bool
    rng : numpy.random.Generator
        Draws pairs of columns, and the reference rows of each view.
    """

    def __init__(self, values, is_category, rng):
        self.columns = StandardColumns(values, is_category)
        self.by_range = StandardColumns(values, is_category, by_range=True)
        self.n_reference = n = len(values)
        Z = self.columns.transform(values)
        self.numbers = np.flatnonzero(self.columns.varies & ~is_category)
        self.components = None
        if 1 < len(self.numbers) <= _MOST_COMPONENTS:
            self.components = WhiteComponents(Z[:, self.numbers])
        self.pairs = [
            (pair, rows, Z[rows])
            for pair in _pairs(np.flatnonzero(self.columns.varies), rng)
            for rows in [rng.permutation(n)[:_PAIR_REFERENCES]]
        ]
        self.rows = rng.permutation(n)[:_ROW_REFERENCES]
        self.bases = self._bases(values[self.rows])
        calibration = np.sort(rng.permutation(n)[:_CALIBRATION_ROWS])
        densities = self._of_pairs(Z[calibration], calibration)
        self.normal_of_pairs = [NormalScores(numbers) for numbers in densities]
        views = self._views(values[calibration], calibration)
        self.normal = [NormalScores(numbers) for numbers in views]

    def score(self, values, self_index):
        """Scores (n,), over the views with observed values; 0 without any.

        Parameters
        ----------
        values : ndarray of shape (n, F)
        self_index : ndarray of shape (n,) of int
            Index of each row among the reference rows, which leaves it out; -1 for new rows.
        """
        views = self._views(values, self_index)
        z = np.stack([normal(x) for normal, x in zip(self.normal, views, strict=True)])
        seen = ~np.isnan(z)
        lowest = np.where(seen, z, np.inf).min(0)
        mean = np.where(seen, z, 0.0).sum(0) / np.maximum(seen.sum(0), 1)
        return np.where(seen.any(0), _LOWEST_WEIGHT * lowest + (1 - _LOWEST_WEIGHT) * mean, 0.0)

    def _views(self, values, self_index):
        """For each view numbers (n,), low for outliers; NaN where nothing is observed."""
        views = []
        if self.pairs:
            views.append(self._mean_of_pairs(self.columns.transform(values), self_index))
        own = self._places(self.rows, self_index)
        for rows, reference, (distances, n_columns, neighbours) in zip(
            self._bases(values), self.bases, self._distances(), strict=True
        ):
            found = np.empty((len(neighbours), len(values)))
            for batch in _batches(len(values)):
                D = _left_out(distances(rows[batch], reference), own[batch])
                found[:, batch] = [-noise_levels(D, n_columns, k) for k in neighbours]
            views += list(np.round(found, _ROW_DECIMALS))
        return views

    def _bases(self, values):
        """Rows in each basis."""
        Z = self.columns.transform(values)
        bases = [Z, self.by_range.transform(values)]
        return bases + ([] if self.components is None else [self._white(Z)])

    def _white(self, Z):
        return self.components.transform(Z[:, self.numbers])

    def _distances(self):
        """For each basis its distances, number of columns and numbers of neighbours."""
        whole = np.flatnonzero(self.columns.observed)
        found = [
            (lambda x, c, kind=kind: kind.squared_distances(x, c, whole), len(whole), neighbours)
            for kind, neighbours in (
                (self.columns, _N_NEIGHBORS),
                (self.by_range, _N_NEIGHBORS_ELSEWHERE),
            )
        ]
        if self.components is not None:
            white = (_whole_squared_distances, len(self.numbers), _N_NEIGHBORS_ELSEWHERE)
            found.append(white)
        return found

    def _mean_of_pairs(self, Z, self_index):
        total, count = np.zeros((2, len(Z)))
        for normal, numbers in zip(
            self.normal_of_pairs, self._of_pairs(Z, self_index), strict=True
        ):
            z = normal(numbers)
            total += np.where(np.isnan(z), 0.0, z)
            count += ~np.isnan(z)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def _of_pairs(self, Z, self_index):
        """For each pair log-densities (n,)."""
        for pair, rows, reference in self.pairs:
            own, found = self._places(rows, self_index), np.empty(len(Z))
            for batch in _batches(len(Z)):
                D = self.columns.squared_distances(Z[batch], reference, pair)
                background = self.columns.log_background(Z[batch], pair)
                found[batch] = log_noisy_densities(_left_out(D, own[batch]), len(pair), background)
            yield np.round(found, _PAIR_DECIMALS)

    def _places(self, rows, self_index):
        """Place of each row among chosen reference rows, or -1."""
        place = np.full(self.n_reference + 1, -1)
        place[rows] = np.arange(len(rows))
        return place[self_index]


def _batches(n):
    return [slice(start, start + _BATCH) for start in range(0, n, _BATCH)]


def _left_out(distances, own):
    """Distances (n, N), infinite where a row meets itself; ``own`` is its place, or -1."""
    inside = np.flatnonzero(own >= 0)
    distances[inside, own[inside]] = np.inf
    return distances


def _whole_squared_distances(x, c):
    """Squared distances (n, N) of rows that are complete or without any value (infinite)."""
    total, count = _squared_distances(x, c)
    return np.where(count > 0, total, np.inf)


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
