"""What an encoding must know of all rows: of rows in memory, or of a stream of blocks.

A sample of rows is enough for the shape of a distribution, but not for its ends, for rare levels
and bins, and for the moments of columns with long tails. An encoding therefore asks for these
separately.
"""

import numpy as np

from gudlearn.bases import BlockBasis, FourierBasis, IdentityBasis, PCABasis, WaveletBasis
from gudlearn.data.bins import MAX_BINS
from gudlearn.data.missing import extremes
from gudlearn.encoding.bin_tables import bin_table_of_counts, fit_bin_table

# Bases that look at nothing but means, variances and covariances.
_OF_MOMENTS = (FourierBasis, IdentityBasis, PCABasis, WaveletBasis)


class RowFacts:
    """Facts about `Rows` in memory, computed when they are asked for.

    Parameters
    ----------
    rows : Rows
    """

    def __init__(self, rows):
        self.rows, self.n_rows = rows, len(rows)

    def extremes(self):
        """Smallest and largest observed value of each column, both (F,)."""
        return extremes(self.rows.values)

    def level_counts(self, j, n_levels):
        """How often each level of a category column occurs, (n_levels,) of int."""
        codes = self._observed([j])
        return np.bincount(codes.astype(np.int64), minlength=n_levels)[:n_levels]

    def bin_table(self, columns, bins, low, high, tail):
        """The `BinTable` of columns (m,) that share one; see `fit_bin_table`."""
        indices = self._observed(columns, bins.origin[columns], bins.width[columns])
        return fit_bin_table(np.rint(indices), low, high, tail)

    def _observed(self, columns, origin=0.0, width=1.0):
        values = (self.rows.values[:, columns] - origin) / width
        if self.rows.observed is None:
            return values.ravel()
        return values.ravel()[self.rows.observed[:, columns].ravel()]

    def for_basis(self, basis, X, noise=0.0, mapped=None):
        """Rows (n, F) to which a basis is fitted: X, the rows in its units."""
        return X


class StreamFacts:
    """Facts about rows that come block by block.

    Means and covariances are merged by the formulas of Chan, Golub and LeVeque (1983), "Algorithms
    for computing the sample variance".

    Parameters
    ----------
    container : TableSchema
        What the columns of the rows are.
    basis : Basis
        A specification; covariances are computed if it mixes columns.

    Attributes
    ----------
    n_rows : int
    """

    def __init__(self, container, basis):
        self.container, self.n_rows = container, 0
        n = len(container.fields)
        self._low, self._high = np.full(n, np.nan), np.full(n, np.nan)
        self._levels = {
            int(j): np.zeros(container.n_levels[j], np.int64)
            for j in np.flatnonzero(container.masked)
        }
        self._bins = {int(j): _BinCounts() for j in np.flatnonzero(container.bins.discrete)}
        self._mixes = not isinstance(basis, IdentityBasis)
        self._n, self._mean, self._squares = np.zeros(n), np.zeros(n), np.zeros(n)
        self._products = np.zeros((n, n)) if self._mixes else None

    def add(self, values, start):
        """Take rows start, ... of fields (n, F).

        Raises
        ------
        ValueError
            If a value is off the grid of its column.
        """
        self.n_rows += len(values)
        self._low, self._high = (
            f(now, then) for f, now, then in
            zip((np.fmin, np.fmax), extremes(values), (self._low, self._high), strict=True)
        )  # fmt: skip
        for j, counts in self._levels.items():
            codes = values[:, j]
            codes = codes[~np.isnan(codes)].astype(np.int64)
            counts += np.bincount(codes, minlength=len(counts))[: len(counts)]
        if self._bins:
            indices = self.container.bins.indices(values, start)
            for j, counts in self._bins.items():
                counts.add(indices[:, j])
        self._add_moments(values)

    def _add_moments(self, values):
        n = np.full(values.shape[1], len(values), dtype=np.float64)
        missing = np.isnan(values)
        any_missing = missing.any()
        if any_missing:
            n -= missing.sum(0)
            values = np.where(missing, 0.0, values)
        mean = values.sum(0) / np.maximum(n, 1)
        off = values - mean
        if any_missing:
            off[missing] = 0.0
        total = np.maximum(self._n + n, 1)
        shift = mean - self._mean
        if self._mixes:
            # Right where both columns are complete; elsewhere it is not used.
            weight = self._n[0] * n[0] / total[0] if not any_missing else 0.0
            self._products += off.T @ off + weight * np.outer(shift, shift)
        self._squares += np.square(off).sum(0) + shift**2 * self._n * n / total
        self._mean += shift * n / total
        self._n += n

    # What an encoding asks for

    def extremes(self):
        """Smallest and largest observed value of each column, both (F,)."""
        return self._low, self._high

    def level_counts(self, j, n_levels):
        """How often each level of a category column occurs, (n_levels,) of int."""
        return self._levels[int(j)]

    def bin_table(self, columns, bins, low, high, tail):
        """The `BinTable` of a column; see `fit_bin_table`."""
        counts = self._bins[int(columns[0])]
        return bin_table_of_counts(counts.counts, counts.first, low, high, tail)

    def moments(self):
        """Mean and variance of the observed values of each column, both (F,)."""
        return self._mean, self._squares / np.maximum(self._n, 1)

    def covariance(self):
        """Covariance (F, F) of the complete columns; of others the variance only."""
        covariance = np.diag(self.moments()[1])
        complete = self._n == self.n_rows
        if self._mixes:
            both = np.outer(complete, complete)
            covariance[both] = (self._products / self.n_rows)[both]
        return covariance

    def row_of_gaps(self):
        """A row (1, F) that misses a value wherever some row does, and has a typical one else."""
        return np.where(self._n < self.n_rows, np.nan, self._low)[None]

    def for_basis(self, basis, X, noise=0.0, mapped=None):
        """Rows (n, F) to which a basis is fitted.

        Parameters
        ----------
        basis : Basis
        X : ndarray of shape (n, F)
            A sample of the rows in the units of the basis.
        noise : ndarray of shape (F,), or 0
            Variance of the noise that is added to the stream.
        mapped : ndarray of shape (F,) of bool, or None
            Columns whose units are not those of the stream. They are mixed with no other.

        Returns
        -------
        ndarray of shape (n, F)
            Where the basis looks at moments only, 2 F rows that have the mean and the covariance
            of all rows; elsewhere X.
        """
        if not _looks_at_moments(basis):
            return X
        mean, covariance = self._mean.copy(), self.covariance()
        covariance[np.diag_indices_from(covariance)] += noise
        if mapped is not None:
            mean[mapped] = np.nanmean(X[:, mapped], axis=0)
            covariance[mapped] = covariance[:, mapped] = 0.0
            covariance[mapped, mapped] = np.nanvar(X[:, mapped], axis=0)
        constant = self._low == self._high
        mean = np.where(constant, self._low, mean)
        covariance[constant] = covariance[:, constant] = 0.0
        return rows_with_moments(mean, covariance)


def _looks_at_moments(basis):
    """Whether a basis looks at nothing but means and covariances."""
    basis = getattr(basis, "numeric", basis)
    if type(basis) is BlockBasis:
        return all(type(part) in _OF_MOMENTS for _, part, _ in basis.blocks or ())
    return type(basis) in _OF_MOMENTS


def rows_with_moments(mean, covariance):
    """Rows (2 F, F) of a given mean (F,) and covariance (F, F).

    They are the mean plus and minus the columns of a root of the covariance.
    """
    n, root = len(mean), np.zeros_like(covariance)
    mixed = (covariance != 0).sum(0) > 1
    alone = np.flatnonzero(~mixed)
    root[alone, alone] = np.sqrt(covariance[alone, alone])
    if mixed.any():
        values, axes = np.linalg.eigh(covariance[np.ix_(mixed, mixed)])
        root[np.ix_(mixed, mixed)] = axes * np.sqrt(values.clip(0))
    off = np.sqrt(n) * root.T
    return np.concatenate([mean + off, mean - off])


class _BinCounts:
    """How often each bin of a column occurs; nothing where bins are too many for a table."""

    def __init__(self):
        self.first, self.counts = 0, np.zeros(0, np.int64)

    def add(self, indices):
        """Take bin indices (n,), NaN where missing."""
        indices = indices[~np.isnan(indices)]
        if self.counts is None or not len(indices):
            return
        low, high = indices.min(), indices.max()
        if len(self.counts):
            low, high = min(low, self.first), max(high, self.first + len(self.counts) - 1)
        if high - low >= MAX_BINS:
            self.counts = None
            return
        counts = np.bincount((indices - low).astype(np.int64), minlength=int(high - low) + 1)
        place = int(self.first - low) if len(self.counts) else 0
        counts[place : place + len(self.counts)] += self.counts
        self.first, self.counts = int(low), counts
