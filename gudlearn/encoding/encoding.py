"""From a user's rows to components and levels, and back: everything learned but the network."""

import numpy as np
import pandas as pd
import torch

from gudlearn._random import keyed_uniform, row_keys
from gudlearn.data.bins import MAX_LEVELS
from gudlearn.data.containers import column_moments, extremes, missing_mask
from gudlearn.encoding.bin_tables import MAX_ATOMS
from gudlearn.model.component import Ends
from gudlearn.preconditioning.preconditioner import KnownLaws
from gudlearn.schedules import EndPoints

# Effective SNR of continuous components at t = 0 is exp(11): noise of 0.4 % of their spread.
_CLEAN = 11.0
# Effective SNR of every component at t = 1 is exp(-7).
_NOISY = 7.0
# Stream of the uniforms that spread a level over its bin.
_DEQUANTISE = 11
# White noise at the end of the diffusion of discrete columns, in bins: where the marginals know
# the levels, and where they are smooth. A denoiser that does not know that values are whole
# numbers pays for every noise below half a bin, 0.011 bits at 0.35 and 1 bit at 0.12.
_TAU, _TAU_SMOOTH = 0.12, 0.35
# Images of more pixels than this share one table of levels for each channel.
_MOST_TABLES = 1024
# So many values at most tell what is typical of a column.
_MOST_TYPICAL = 512


class Encoding(KnownLaws):
    """Bins, basis, end points and what is known of components, fitted to rows.

    Discrete columns are read through white noise (`binned`) where the basis can make it: where
    components are columns, or where all other columns have bins that the basis leaves white.
    Elsewhere a level is spread evenly over its bin (`dequantised`).

    Parameters
    ----------
    bins : Bins
    basis : Basis, not fitted
    preconditioning : {"auto", "mixture", "joint", "marginal", "gaussian"}
        "auto" is "joint" up to so many components, and "marginal" beyond and for discrete images.
    names : array-like of str or None
        Names of the columns, where the user gave them.
    shape : (height, width, channels) or None
        Of the flat images that rows are.

    Attributes
    ----------
    columns : ndarray of shape (D,)
        The data column that each component is, -1 where it is none.
    ends : Ends
    laws, clusters : see `KnownLaws`
    """

    def __init__(self, bins, basis, preconditioning, names=None, shape=None):
        self.bins, self.basis, self.preconditioning = bins, basis, preconditioning
        self.names, self.shape = names, shape

    def fit(self, X, labels=None):
        """Learn from rows X (n, F) of any numeric dtype, and labels (n,) of classes 0, 1, ...."""
        bins = self.bins
        low, high = extremes(X)
        self.constant = low == high
        self.constant_values = low.astype(np.float64)
        self.fill_values = _typical(X, low)
        self.column_mean, self.column_std = column_moments(X)
        self.basis.fit(self._named(X))
        n_levels = self._n_levels(low, high)
        self._choose_binned(bins.discrete & (n_levels <= MAX_LEVELS), n_levels)
        self.dequantised = bins.discrete & ~self.binned & ~self.constant
        if self.dequantised.any():
            self.basis.fit(self._named(self._spread(X, row_keys(X), 0)))
        components = self.basis.describe()
        self._set_ends(components)
        self.components = components.take(self.ends.active)
        self.column_block, self.component_block = self.basis.mixing()
        self._fit_laws(X, labels)
        return self

    @property
    def _wide(self):
        return self.shape is not None and len(self.bins.width) > _MOST_TABLES

    def _named(self, X):
        """X with the names that the user gave: orders and blocks may speak of them."""
        return X if self.names is None else pd.DataFrame(X, columns=self.names)

    def _n_levels(self, low, high):
        """Number of levels between the bounds of each column; 1 where it is continuous."""
        ends = self.bins.levels(np.stack([low, high]))
        low = np.where(np.isnan(self.bins.low), ends[0], self.bins.low)
        high = np.where(np.isnan(self.bins.high), ends[1], self.bins.high)
        return high - low + 1

    def _choose_binned(self, candidates, n_levels):
        """Decide which columns are read through white noise, and its size in each component."""
        described, width = self.basis.describe(), self.bins.width
        columns = described.columns
        self.columns = np.full(len(described.scale), -1) if columns is None else columns
        aligned = self.columns >= 0
        self.noise = np.where(aligned, width[self.columns], np.nan)
        self.rotated = np.isin(np.arange(len(width)), self.columns, invert=True)
        self.binned = candidates & ~self.rotated
        if self.rotated.any() and candidates[self.rotated].all():
            std = self.basis.noise_std(np.where(self.rotated, width, 1.0))
            if std is not None:
                self.binned |= self.rotated
                self.noise[~aligned] = std[~aligned]
        atoms = self.binned & ~self.rotated & (self.preconditioning != "gaussian")
        if self._wide:
            atoms &= n_levels <= MAX_ATOMS
        self.atoms = np.append(atoms, False)[self.columns]
        self.tau = np.where(atoms, _TAU, _TAU_SMOOTH)
        self.noise *= np.where(aligned, self.tau[self.columns], _TAU_SMOOTH)

    def _set_ends(self, components):
        """End points of every component, and which of them diffuse."""
        variances = components.variances / components.scale**2
        dead = self.basis.dead_
        whole_rest = (self.binned & self.rotated).any()
        blurred = np.where(self.columns >= 0, self.binned[self.columns], whole_rest)
        log_v = np.log(variances)
        gamma_0, gamma_1 = log_v - _CLEAN, log_v + _NOISY
        if blurred.any():
            gamma_0[blurred] = 2 * np.log(self.noise[blurred] / components.scale[blurred])
        # A column of very rare levels: its noise of a fraction of a bin drowns its variance.
        gamma_1 = np.where(blurred & (self.columns >= 0), np.maximum(gamma_1, gamma_0 + 2), gamma_1)
        active = ~dead & (gamma_0 < gamma_1 - 1)
        spread = np.sqrt(components.variances[~dead])
        tolerance = np.full(len(dead), 1e-3 * (np.median(spread) if spread.size else 1.0))
        self.ends = Ends(variances, gamma_0, gamma_1, active, blurred, self.atoms, tolerance)
        self.log_scale = np.where(blurred, 0.0, np.log(components.scale))

    @property
    def has_levels_apart(self):
        """Whether discrete columns that are no components have columns of their own in scores."""
        return bool((self.bins.discrete & self.rotated).any())

    # Holes, and what is known

    def fill(self, X):
        """X with a typical value in the place of NaN, and where that was; None if nowhere."""
        holes = missing_mask(X)
        return (X, None) if holes is None else (np.where(holes, self.fill_values, X), holes)

    def cuts(self, mask):
        """Whether a set of columns, (n, F) bool, cuts a block of columns that the basis mixes."""
        some, whole = self._by_block(mask)
        return bool((some & ~whole).any())

    def _by_block(self, mask):
        """Of each block, whether some of its columns are in a mask (n, F), and whether all are."""
        sizes = np.bincount(self.column_block)
        if (sizes == 1).all():
            inside = np.empty_like(mask)
            inside[:, self.column_block] = mask
            return inside, inside
        count = np.zeros((len(mask), len(sizes)), dtype=int)
        np.add.at(count, (slice(None), self.column_block), mask)
        return count > 0, count == sizes

    def states(self, given, missing):
        """Which components (n, D) are given and which are missing, where columns (n, F) are."""
        return tuple(self._by_block(mask)[1][:, self.component_block] for mask in (given, missing))

    def groups(self):
        """Groups of active components that training keeps together, and the grid they lie on.

        They are columns, pixels, or blocks of columns; components of equal natural order where
        one basis mixes all.

        Returns
        -------
        groups : ndarray of shape (D',) of int
        grid : tuple of int
            Extents of the grid whose cells, row by row, are the groups.
        """
        active = self.ends.active
        if self.column_block.any():
            block = self.component_block[active]
            if self.shape is not None and (self.columns[active] >= 0).all():
                return self.columns[active] // self.shape[2], self.shape[:2]
            groups = np.unique(block, return_inverse=True)[1]
        else:
            groups = np.unique(self.components.order, return_inverse=True)[1]
        return groups, (int(groups.max(initial=0)) + 1,)

    # Rows to components and back

    def _spread(self, X, keys, draw):
        u = keyed_uniform(keys, X.shape[1], (draw << 4) + _DEQUANTISE).numpy() - 0.5
        return X + np.where(self.dequantised, u * np.nan_to_num(self.bins.width), 0.0)

    def clip(self, levels):
        """Levels (n, F) inside the tables, and the log-probability of what lies beyond (n, F)."""
        clipped, log_beyond = levels.copy(), np.zeros(levels.shape)
        for j, table in self.laws.tables.items():
            if any(table.open_ends):
                clipped[:, j], log_beyond[:, j] = table.clip(levels[:, j])
        return clipped, log_beyond

    def encode_rows(self, X):
        """Components of rows X whose levels are inside the tables."""
        return self.encode(X, self.bins.levels(X), row_keys(X), 0)

    def encode(self, X, levels, keys, draw):
        """Components of rows X; the draw-th spread over the bins where there is one.

        Parameters
        ----------
        X, levels : ndarray of shape (n, F)
            The levels are those of `clip`, and count where a column is binned.
        keys : Tensor of shape (n,)
        draw : int
        """
        if self.dequantised.any():
            X = self._spread(X, keys, draw)
        if self.binned.any():
            # On the grid itself: what a value misses it by is not information.
            exact = self.bins.values(levels, X)
            X = np.where(self.binned, exact, X)
        return np.asarray(self.basis.transform(self._named(X)))

    def extreme_column(self, z):
        """Name of the column furthest from its mean in rows of active components, a tensor."""
        everything = np.zeros((len(z), len(self.ends.active)))
        z = np.nan_to_num(z.double().cpu().numpy(), nan=1e30, posinf=1e30, neginf=-1e30)
        everything[:, self.ends.active] = z
        X = self.basis.inverse_transform(everything)
        distance = np.abs(X - self.column_mean) / np.where(self.constant, np.inf, self.column_std)
        return str(self.bins.names[int(distance.max(0).argmax())])

    def in_data_space(self, z, low=-np.inf, high=np.inf):
        """Rows in the units of the data but on no grid of levels, from components z (n, D)."""
        X = np.clip(self.basis.inverse_transform(z), low, high)
        X[:, self.constant] = self.constant_values[self.constant]
        return X

    def expected(self, z):
        """Means in the user's units, inside the seen range of levels, from expected components."""
        bins, tables = self.bins, self.laws.tables
        low, high = bins.low.copy(), bins.high.copy()
        for j, table in tables.items():
            low[j], high[j] = table.seen
        low, high = (
            np.where(np.isnan(level), fill, bins.origin + np.nan_to_num(level * bins.width))
            for level, fill in ((low, -np.inf), (high, np.inf))
        )
        return self.in_data_space(z, low, high)

    def decode(self, z, keys, model):
        """Rows in the user's units, inside the seen range, from sampled components z (n, D)."""
        X = self.basis.inverse_transform(z)
        bins = self.bins
        position = (X - bins.origin) / np.where(bins.discrete, bins.width, 1.0)
        levels = np.clip(
            np.rint(position), np.nan_to_num(bins.low, nan=-np.inf),
            np.nan_to_num(bins.high, nan=np.inf),
        )  # fmt: skip
        if self.binned.any():
            # In float64: float32 does not tell levels beyond 2^24 apart.
            blurred = torch.from_numpy(position[:, self.binned]).to(model.device)
            levels[:, self.binned] = model.draw_levels(blurred, keys).double().cpu().numpy()
            tables = self.laws.tables
            seen = np.transpose([tables[j].seen for j in sorted(tables)])
            levels[:, self.binned] = np.clip(levels[:, self.binned], *seen)
        X = bins.values(levels, X)
        X[:, self.constant] = self.constant_values[self.constant]
        return X

    def end_points(self):
        """End points of the active components."""
        active = self.ends.active
        return EndPoints(self.ends.gamma_0[active], self.ends.gamma_1[active])

    # The terms of a log-likelihood that no network enters

    def in_user_units(self, components, level_log_prob):
        """Log-likelihood by component in the units of X, extra columns for levels if needed.

        Parameters
        ----------
        components : ndarray of shape (n, D)
            In the units of z.
        level_log_prob : ndarray of shape (n, F)
            Of the binned columns; zero elsewhere.

        Returns
        -------
        ndarray of shape (n, D) or (n, D + F)
            The latter where a discrete column is no component; a column that is one adds zero.
        """
        width = np.where(self.dequantised, self.bins.width, 1.0)
        per_column = level_log_prob + np.log(width)
        own = np.where(self.columns >= 0, per_column[:, self.columns], 0.0)
        components = components - self.log_scale + own
        if not self.has_levels_apart:
            return components
        return np.concatenate([components, np.where(self.rotated, per_column, 0.0)], axis=1)


def _typical(X, low):
    """A value of each column from the middle of its law, (F,)."""
    some = X[:: -(-len(X) // _MOST_TYPICAL)]
    with np.errstate(invalid="ignore"):
        middle = np.sort(some, axis=0)
    # NaN is sorted to the end.
    known = len(some) - np.isnan(some).sum(0)
    found = middle[np.maximum(known - 1, 0) // 2, np.arange(X.shape[1])]
    return np.where(known > 0, found, low).astype(np.float64)
