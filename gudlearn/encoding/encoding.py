"""From a user's rows to components and bin indices, and back, with the change in nats."""

import numpy as np
import pandas as pd
import torch

from gudlearn._random import keyed_uniform
from gudlearn.data.bins import MAX_BINS
from gudlearn.data.missing import column_moments, middle_values, row_batches
from gudlearn.diffusion.gates import GatedPath
from gudlearn.encoding.bin_tables import MAX_ATOMS, bin_prior
from gudlearn.encoding.categories import fit_categories, unseen_probability
from gudlearn.encoding.end_points import fit_ends
from gudlearn.encoding.facts import RowFacts
from gudlearn.encoding.kinds import ColumnKinds
from gudlearn.encoding.mixed_basis import MixedBasis
from gudlearn.encoding.observation import BinnedObservation
from gudlearn.encoding.warp import MarginalWarp, mirrored_inside
from gudlearn.schedules import EndPoints

# Streams of the uniforms that dequantise values, and that draw bins of samples.
_DEQUANTISE, _BINS = 11, 6
# White noise at the end of the diffusion of binned columns, in bins: where the marginals are point
# masses, and where they are smooth. If the denoiser does not know that values are whole numbers,
# noise below half a bin costs likelihood: 0.011 bits at 0.35 bins and 1 bit at 0.12.
_TAU, _TAU_SMOOTH = 0.12, 0.35
# Images with more values than this have one table of bins for each channel.
_MOST_TABLES = 1024
# Tables of wide images are fitted to at most _WIDE_ROWS rows, and to fewer (at least _FEWEST_ROWS)
# where these would have more than _WIDE_ENTRIES entries.
_WIDE_ROWS, _FEWEST_ROWS, _WIDE_ENTRIES = 4096, 512, 2**24
# Probability outside the single value of a constant column.
_CONSTANT_TAIL = 1e-12


class Encoding:
    """Bins, basis and end points, fitted to rows.

    Discrete columns are observed through white noise (`binned`) where the basis allows it: where
    components are columns, or where all mixed columns have bins and the basis leaves their noise
    white. Elsewhere uniform noise inside the bins makes them continuous (`dequantised`).

    Parameters
    ----------
    bins : Bins
    basis : Basis, not fitted
    point_masses : bool
        Whether marginals of binned components may be sets of point masses.
    names : array-like of str or None
        Names of the columns in the user's data, if they had any.
    shape : (height, width, channels) or None
        Shape of one image where rows are flat images.
    fields : TableSchema or None
        Says which columns are categories or gates; None if all are plain numbers.
    maps : bool
        Whether continuous columns may be mapped to normal ones, if fields allow it.

    Attributes
    ----------
    columns : ndarray of shape (D,)
        Data column that is equal to each component up to scale, -1 where there is none.
    components : Components
        Description of the components that diffuse.
    ends : Ends
    tables : dict of int to BinTable
        Smoothed frequencies of the bins of each binned column.
    categories : Categories or None
        Frequencies of the levels of the categories that vary.
    gates : ndarray of shape (2, G)
        Active components of gates, and of their numbers.
    warp : MarginalWarp or None
        Maps of continuous columns to normal ones, before the basis.
    """

    def __init__(
        self, bins, basis, point_masses=True, names=None, shape=None, fields=None, maps=True
    ):
        self.bins, self.basis, self.names, self.shape = bins, basis, names, shape
        self.may_have_point_masses, self.may_have_maps = point_masses, maps
        self.kinds = ColumnKinds(len(bins.width), fields)

    @property
    def masked(self):
        """Mask (F,) of the columns that are categories."""
        return self.kinds.masked

    def fit(self, rows, facts=None):
        """Fit basis, end points and bin tables.

        Parameters
        ----------
        rows : Rows
            Of any numeric dtype; all rows, or a sample of them.
        facts : StreamFacts or None
            Facts about all rows; None: about these.
        """
        X, bins = rows.values, self.bins
        facts = RowFacts(rows) if facts is None else facts
        self._n_rows = facts.n_rows
        low, high = facts.extremes()
        self.constant = np.where(self.masked, self.kinds.n_levels < 2, low == high)
        self.constant_values = low.astype(np.float64)
        self.fill_values = middle_values(X, rows.observed, low)
        self._fit_categories(facts)
        self._fit_basis(X, facts)
        n_bins = self._n_bins(low, high)
        self._choose_binned(bins.discrete & (n_bins <= MAX_BINS), n_bins)
        self.dequantised = bins.discrete & ~self.binned & ~self.constant
        self.seen = low.astype(np.float64), high.astype(np.float64)
        X = self._fit_warp(rows, facts)
        self.column_mean, self.column_std = column_moments(X, rows.missing)
        self._set_ends(self.basis.describe())
        self.column_block, self.component_block = self.basis.mixing()
        self.tables = self._fit_tables(rows, facts)
        self._set_gates()
        self._set_seen_components()
        return self

    def _set_seen_components(self):
        """Range of the components that are columns, of numbers, in the rows of the fit."""
        ends = np.stack(self.seen)
        if self.warp is not None:
            ends = self.warp.forward(ends)[0]
        low, high = np.asarray(self.basis.transform(self._named(ends)))
        numbers = (self.columns >= 0) & self.ends.numeric
        rounding = 1e-9 * np.abs(high - low)
        lowest = np.where(numbers, low - rounding, -np.inf)
        self.seen_components = lowest, np.where(numbers, high + rounding, np.inf)

    def _fit_basis(self, X, facts, *changes):
        """Fit the basis to rows X (n, F); see `StreamFacts.for_basis`."""
        self.basis.fit(self._named(facts.for_basis(self.basis, X, *changes)))

    def _fit_categories(self, facts):
        """Frequencies of the levels of categories, which become components of the basis."""
        columns = np.flatnonzero(self.masked)
        self.categories = None
        if not len(columns):
            return
        varying = self.kinds.n_levels[columns] > 1
        variances = np.zeros(len(columns))
        if varying.any():
            self.categories = fit_categories(facts, columns[varying], self.kinds.n_levels)
            variances[varying] = self.categories.variances()
        names, position = self.bins.names, self.kinds.position
        self.basis = MixedBasis(self.basis, columns, variances, names, position)

    def _fit_warp(self, rows, facts):
        """Fit maps of columns to normal ones, and the basis again; the rows in its units."""
        X, self.warp = rows.values, None
        if self.dequantised.any():
            X = self._dequantise(X, rows.keys, 0)
        if self.kinds.gaussianize and self.may_have_maps:
            block = self.basis.mixing()[0]
            alone = np.bincount(block)[block] == 1
            continuous = ~self.bins.discrete | self.dequantised
            candidates = continuous & ~self.masked & ~self.constant & alone
            labels = None if rows.labels is None else rows.labels.numpy()
            self.warp = MarginalWarp.fit(X, rows.observed, candidates, labels)
        if self.warp is not None:
            X = self.warp.forward(X)[0]
        if X is not rows.values:
            noise = np.where(self.dequantised, self.bins.width**2 / 12, 0.0)
            self._fit_basis(X, facts, noise, self.warp and self.warp.columns)
        return X

    def _set_gates(self):
        """Active components of each gate, and of its number."""
        place = np.full(len(self.bins.width), -1)
        active = np.flatnonzero(self.ends.active)
        aligned = self.columns[active] >= 0
        place[self.columns[active][aligned]] = np.flatnonzero(aligned)
        self.gates = self.kinds.gated(place)

    def imputable(self, rows):
        """Mask (n, F) of the missing values of rows that exist; None if there are none."""
        return self.kinds.imputable(rows)

    @property
    def is_wide(self):
        """Whether rows are images with too many values for a table of bins each."""
        return self.shape is not None and len(self.bins.width) > _MOST_TABLES

    def some_rows(self, n_rows):
        """Indices of a random sample of rows, enough for the marginals of wide images.

        The sample is random because rows may be sorted by class, or cycle through classes.
        """
        most = int(np.clip(_WIDE_ENTRIES // len(self.bins.width), _FEWEST_ROWS, _WIDE_ROWS))
        return np.sort(np.random.default_rng(0).permutation(n_rows)[:most])

    def _named(self, X):
        """X with the user's column names: orders and blocks may refer to them."""
        return X if self.names is None else pd.DataFrame(X, columns=self.names)

    def _n_bins(self, low, high):
        """Number of bins between the bounds of each column; 1 where it is continuous."""
        ends = self.bins.indices(np.stack([low, high]))
        low = np.where(np.isnan(self.bins.low), ends[0], self.bins.low)
        high = np.where(np.isnan(self.bins.high), ends[1], self.bins.high)
        return high - low + 1

    def _choose_binned(self, candidates, n_bins):
        """Choose the columns that are observed through white noise, and its size by component."""
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
        point_masses = self.binned & ~self.rotated & self.may_have_point_masses
        if self.is_wide:
            point_masses &= n_bins <= MAX_ATOMS
        self.point_masses = np.append(point_masses, False)[self.columns]
        self.tau = np.where(point_masses, _TAU, _TAU_SMOOTH)
        self.noise *= np.where(aligned, self.tau[self.columns], _TAU_SMOOTH)

    def _set_ends(self, described):
        """End points of every component, and the description of those that diffuse."""
        aligned = self.columns >= 0
        any_rotated = (self.binned & self.rotated).any()
        noise_observed = np.where(aligned, self.binned[self.columns], any_rotated)
        self.ends = fit_ends(
            described, self.basis.dead_, aligned, noise_observed, self.noise, self.point_masses,
            int(self.masked.sum()),
        )  # fmt: skip
        # A value that a constant category never had costs minus its log-probability.
        constant = self.ends.category & ~self.ends.active
        n_rows = np.array([self._n_rows])
        self.ends.tolerance[constant] = -1 / np.log(unseen_probability(n_rows))
        self.log_scale = np.where(noise_observed, 0.0, np.log(described.scale))
        self.components = described.take(self.ends.active)

    def _fit_tables(self, rows, facts):
        """Bin tables by column; all pixels of a channel of wide images share one."""
        binned = np.flatnonzero(self.binned)
        groups = binned[:, None]
        if self.is_wide:
            facts = RowFacts(rows.take(self.some_rows(len(rows))))
            groups = [binned[binned % self.shape[2] == c] for c in range(self.shape[2])]
        tables = {}
        for columns in groups:
            if len(columns):
                # A constant column comes back exactly, and must add 0 nats.
                tail = _CONSTANT_TAIL if self.constant[columns].all() else None
                table = facts.bin_table(columns, self.bins, *self._bounds(columns[0]), tail)
                tables.update((int(j), table) for j in columns)
        return tables

    def _bounds(self, j):
        """Smallest and largest bin index of a column, None where it is unbounded."""
        return (
            None if np.isnan(bound[j]) else int(bound[j])
            for bound in (self.bins.low, self.bins.high)
        )

    @property
    def has_bins_apart(self):
        """Whether scores by component have extra columns for the bins of rotated columns."""
        return bool((self.bins.discrete & self.rotated).any())

    # Which components columns are part of

    def splits_block(self, mask):
        """Whether a mask (n, F) covers only a part of some block that the basis mixes."""
        any_inside, all_inside = self._by_block(mask)
        return bool((any_inside & ~all_inside).any())

    def components_in(self, mask):
        """Mask (n, D) of the components that depend on columns of a mask (n, F) only."""
        return self._by_block(mask)[1][:, self.component_block]

    def _by_block(self, mask):
        """Whether any, and whether all, columns of each block are in a mask (n, F)."""
        sizes = np.bincount(self.column_block)
        if (sizes == 1).all():
            inside = np.empty_like(mask)
            inside[:, self.column_block] = mask
            return inside, inside
        count = np.zeros((len(mask), len(sizes)), dtype=int)
        np.add.at(count, (slice(None), self.column_block), mask)
        return count > 0, count == sizes

    def groups(self):
        """Groups of active components that random masks keep together, and their grid.

        Groups are columns, pixels, or blocks of columns; components of equal natural order where
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
        gates, numbers = self.gates
        if len(gates):
            # A gate and its number are one column of the user's.
            groups = groups.copy()
            groups[numbers] = groups[gates]
            groups = np.unique(groups, return_inverse=True)[1]
        return groups, (int(groups.max(initial=0)) + 1,)

    # Rows to components and back

    def _dequantise(self, X, keys, draw):
        u = keyed_uniform(keys, X.shape[1], (draw << 4) + _DEQUANTISE).numpy() - 0.5
        return X + np.where(self.dequantised, u * np.nan_to_num(self.bins.width), 0.0)

    def bin_indices(self, X):
        """Bin indices clipped to the tables, and log-probabilities of the rest; both (n, F)."""
        indices = self.bins.indices(X)
        clipped, log_beyond = indices.copy(), np.zeros(indices.shape)
        for j, table in self.tables.items():
            if any(table.open_ends):
                clipped[:, j], log_beyond[:, j] = table.clip(indices[:, j])
        return clipped, log_beyond

    def encode(self, X, indices, keys, draw=0):
        """Components (n, D) of rows X without missing values; see `encode_with_slope`."""
        return self.encode_with_slope(X, indices, keys, draw)[0]

    def encode_with_slope(self, X, indices, keys, draw=0):
        """Components (n, D) of rows X, and the log-slopes (n, F) of the maps of their columns.

        Parameters
        ----------
        X : ndarray of shape (n, F)
        indices : ndarray of shape (n, F)
            Bin indices from `bin_indices`; used for binned columns.
        keys : Tensor of shape (n,)
        draw : int
            Index of the draw of uniform noise, for dequantised columns.
        """
        if self.dequantised.any():
            X = self._dequantise(X, keys, draw)
        if self.binned.any():
            # The grid point itself: the rounding error of a value carries no information.
            exact = self.bins.values(indices, X)
            X = np.where(self.binned, exact, X)
        log_slope = np.zeros(X.shape)
        if self.warp is not None:
            X, log_slope = self.warp.forward(X)
        return np.asarray(self.basis.transform(self._named(X))), log_slope

    def numeric_components(self, rows):
        """Numeric components (n, D') of the rows of a fit, and the mask of missing ones or None.

        Components that do not diffuse are left out.
        """
        X, active = rows.filled(self.fill_values), self.ends.numeric
        z = [
            self.encode(X[batch], self.bins.indices(X[batch]), rows.keys[batch])[:, active]
            for batch in row_batches(X)
        ]
        missing = rows.missing
        if missing is not None:
            missing = self.components_in(missing)[:, active]
        return np.concatenate(z), missing

    def extreme_column(self, z):
        """Name of the column farthest from its mean in active components z (n, D'), a tensor."""
        components = np.zeros((len(z), len(self.ends.active)))
        z = np.nan_to_num(z.double().cpu().numpy(), nan=1e30, posinf=1e30, neginf=-1e30)
        components[:, self.ends.active] = z
        X = self.basis.inverse_transform(components)
        distance = np.abs(X - self.column_mean) / np.where(self.constant, np.inf, self.column_std)
        return str(self.bins.names[int(distance.max(0).argmax())])

    def in_data_space(self, z, low=-np.inf, high=np.inf):
        """Rows (n, F) in the units of the data, not rounded to bins, from components z (n, D)."""
        X = np.clip(self._unmapped(z), low, high)
        X[:, self.constant] = self.constant_values[self.constant]
        return X

    def _unmapped(self, z):
        """Components z (n, D) as rows (n, F), neither rounded nor clipped."""
        X = self.basis.inverse_transform(z)
        return X if self.warp is None else self.warp.inverse(X)

    def is_within(self, z, observed):
        """Whether the observed components of rows, z and a mask (n, D), are in the seen range.

        Values of constant components say nothing about the others.
        """
        low, high = self.seen_components
        return ~(observed & self.ends.active & ((z < low) | (z > high))).any(1)

    def decode_mean(self, z):
        """Mean rows (n, F) in the units of the data, within the observed range of bins."""
        bins = self.bins
        low, high = bins.low.copy(), bins.high.copy()
        for j, table in self.tables.items():
            low[j], high[j] = table.seen
        low, high = (
            np.where(np.isnan(index), fill, bins.origin + np.nan_to_num(index * bins.width))
            for index, fill in ((low, -np.inf), (high, np.inf))
        )
        return self.in_data_space(z, low, high)

    def clipped(self, X, within=True):
        """Rows X (n, F), their continuous columns within the seen range; see `decode`."""
        clipped = np.broadcast_to(within, len(X)) & self.kinds.clip
        if not clipped.any():
            return X
        continuous = (~self.bins.discrete | self.dequantised) & ~self.masked
        return mirrored_inside(X, *self.seen, continuous & clipped[:, None], self.warp)

    def decode(self, z, keys, within=True):
        """Rows (n, F) in the units of the data, within the observed range, from samples.

        Parameters
        ----------
        z : ndarray of shape (n, D)
        keys : Tensor of shape (n,)
            Keys of the noise that draws bins.
        within : bool or ndarray of shape (n,)
            Rows whose continuous columns stay in the range that was seen.
        """
        X, bins = self.clipped(self._unmapped(z), within), self.bins
        position = (X - bins.origin) / np.where(bins.discrete, bins.width, 1.0)
        low, high = np.nan_to_num(bins.low, nan=-np.inf), np.nan_to_num(bins.high, nan=np.inf)
        indices = np.clip(np.rint(position), low, high)
        if self.binned.any():
            u = keyed_uniform(keys.cpu(), int(self.binned.sum()), _BINS)
            # In float64: float32 cannot represent all bins beyond 2^24.
            noisy = torch.from_numpy(position[:, self.binned])
            drawn = self.observation().draw(noisy, u).numpy()
            seen = np.transpose([self.tables[j].seen for j in sorted(self.tables)])
            indices[:, self.binned] = np.clip(drawn, *seen)
        X = bins.values(indices, X)
        X[:, self.masked] = np.rint(X[:, self.masked])
        X[:, self.constant] = self.constant_values[self.constant]
        return X

    def observation(self):
        """The observation model of the binned columns; None if there are none."""
        if not self.tables:
            return None
        prior = bin_prior([self.tables[j] for j in sorted(self.tables)])
        return BinnedObservation(prior, torch.from_numpy(self.tau[self.binned]))

    def path(self, schedule):
        """The path of the active components under a schedule."""
        active = self.ends.active
        end_points = EndPoints(self.ends.gamma_0[active], self.ends.gamma_1[active])
        path = schedule.build(self.components, end_points)
        if self.categories is None:
            return path
        path = path.with_levels(self.categories.levels())
        if not self.gates.size:
            return path
        return GatedPath(path, *(torch.from_numpy(index) for index in self.gates))

    # The terms of a log-likelihood that no network enters

    def in_user_units(self, log_prob, bin_log_prob):
        """Log-likelihood by component in the units of X, extra columns for bins if needed.

        Parameters
        ----------
        log_prob : ndarray of shape (n, D)
            By component, in the units of z.
        bin_log_prob : ndarray of shape (n, F)
            Log-probability of the bins of binned columns; zero elsewhere.

        Returns
        -------
        ndarray of shape (n, D) or (n, D + F)
            The latter if a discrete column is not a component; columns that are components add 0.
        """
        width = np.where(self.dequantised, self.bins.width, 1.0)
        per_column = bin_log_prob + np.log(width) - self.kinds.log_unit
        of_column = np.where(self.columns >= 0, per_column[:, self.columns], 0.0)
        log_prob = log_prob - self.log_scale + of_column
        if not self.has_bins_apart:
            return log_prob
        return np.concatenate([log_prob, np.where(self.rotated, per_column, 0.0)], axis=1)
