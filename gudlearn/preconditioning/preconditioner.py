"""What is known of components before anything is learned: their laws one by one, and together."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from gudlearn._random import row_keys
from gudlearn.conditioning.states import missing_gamma
from gudlearn.data.containers import missing_mask, row_batches
from gudlearn.diffusion.noise import alpha
from gudlearn.encoding.bin_tables import bin_prior, fit_bin_table
from gudlearn.encoding.observation import BinnedObservation
from gudlearn.preconditioning import clusters as _clusters
from gudlearn.preconditioning import fit_marginals as _marginals
from gudlearn.preconditioning.distributions import JointDistribution, MixtureDistribution
from gudlearn.preconditioning.fit_joint import MOST_COMPONENTS, fit_joint
from gudlearn.preconditioning.joint import JointGaussian
from gudlearn.preconditioning.kernels import KernelDensities

# Mass outside the one value of a constant column.
_CONSTANT_TAIL = 1e-12
# The marginals of wide images are fitted to fewer rows, by fewer members.
_WIDE_ROWS, _WIDE_POINTS, _WIDE_MEMBERS = 4096, 512, 4
# And to still fewer where they would have more entries than this.
_FEWEST_ROWS, _WIDE_ENTRIES = 512, 2**24
# Factors of images, and of a cluster, at most.
_FACTORS_OF_IMAGES, _FACTORS_OF_CLUSTERS = 64, 12
# Numbers of clusters in the order in which they are tried, by how many nats each has to gain on
# rows that are held out, and on how many at most.
_N_CLUSTERS, _LEAST_GAIN, _MOST_HELD = (2, 4, 8), 0.02, 1024


@dataclass(frozen=True)
class Laws:
    """Fitted laws of the active components of all rows, or of a cluster of them.

    Parameters
    ----------
    share : float
        Of the rows.
    tables : dict of int to BinTable
        By column, for atoms at least.
    mixtures : tuple of three ndarrays (D', K) or None
        For components that are not atoms.
    factors : (mean, std, loadings) or None
        Of the joint Gaussian: of components, and of what tells classes apart, see `JointDistribution`.
    """

    share: float
    tables: dict
    mixtures: tuple | None
    factors: tuple | None


@dataclass(frozen=True)
class Remembered:
    """Rows of training that the network looks up.

    Parameters
    ----------
    rows : ndarray of shape (N, D'), float32
        Active components.
    known : ndarray of shape (N, D'), bool, or None
    keys : ndarray of shape (N,), int64
        Of the rows in the user's units, in rising order.
    """

    rows: np.ndarray
    known: np.ndarray | None
    keys: np.ndarray


class KnownLaws:
    """The half of an encoding that fits laws to components, and hands them to floor 0.

    Attributes
    ----------
    remembered : Remembered or None
    laws : Laws
        Of all rows, tables of all binned columns.
    clusters : list of Laws
        Of parts of the rows; empty where rows are taken as one.
    """

    remembered = None

    def _fit_laws(self, X, labels):
        """Learn the laws from rows X (n, F) and labels (n,) or None, once all else is there."""
        tables = self._fit_tables(X)
        self.clusters = []
        together = self._wants_joint() and self.ends.active.any()
        gaussian = self.preconditioning == "gaussian"
        if together or (self._smooth().any() and not gaussian):
            if self._wide:
                some = _and_known(X, _some_rows(*X.shape))
                X, labels = X[some], None if labels is None else labels[some]
            z, holes = self._components_of(X)
            # Beside a network of images factors cost little.
            most = _FACTORS_OF_IMAGES if self.shape and holes is None else None
            labels = None if self.preconditioning == "mixture" else labels
            self.laws = self._laws_of(z, holes, tables, together, most, labels)
        else:
            variances = self.ends.variances[self.ends.active][self._smooth()]
            # The basis has centred the components.
            mixtures = _marginals.gaussians(variances) if len(variances) else None
            self.laws = Laws(1.0, tables, mixtures, None)
        if together and self.preconditioning == "mixture":
            self._fit_clusters(X, z, holes, most)

    def _laws_of(self, z, holes, tables, together, most_factors=None, labels=None):
        """Laws of some rows of components z (n, D'), holes (n, D') bool or None, labels (n,)."""
        mixtures = factors = None
        smooth = self._smooth()
        if smooth.any():
            some, n_observed_values = z[:, smooth], None
            if holes is not None:
                _marginals.stretch(some, holes[:, smooth])
                n_observed_values = (~holes[:, smooth]).sum(0)
            limits = {"max_members": _WIDE_MEMBERS, "max_points": _WIDE_POINTS}
            mixtures = _marginals.fit_mixtures(some, n_observed_values, **limits if self._wide else {})
        if together:
            spread = np.sqrt(self.ends.variances[self.ends.active])
            factors = fit_joint(z, holes, most_factors, labels, spread)
        return Laws(1.0, tables, mixtures, factors)

    def _fit_clusters(self, X, z, holes, most_factors):
        """Divide the rows as long as rows that are held out are the better for it."""
        order = np.random.default_rng(0).permutation(len(z))[: _clusters.MOST_ROWS]
        X, z, holes = X[order], z[order], None if holes is None else holes[order]
        whole = self._completed(z, holes)
        rows = np.arange(len(z))
        held, train = rows[: len(z) // 5][:_MOST_HELD], rows[len(z) // 5 :]
        std = _clusters.deviations(z, holes)

        def divided(some, n_clusters):
            label = _clusters.divide(whole[some], n_clusters)
            return [
                self._laws_of_cluster(X, z, holes, some[label == k], len(some), std)
                for k in np.unique(label)
            ]

        tried = (
            torch.from_numpy(z[held]),
            None if holes is None else torch.from_numpy(holes[held]),
            *self._levels(),
        )

        def losses(laws):
            return _clusters.denoising_nll(self._law_of(laws), *tried)

        n_best, best = 1, None
        for n_clusters in _N_CLUSTERS:
            if len(train) < 2 * n_clusters * _clusters.LEAST_ROWS:
                break
            if best is None:
                tables = self._tables_of(X[train])
                some = _clusters.with_every_column_observed(z, holes, train)
                undivided = self._laws_of(*some, tables, True, most_factors)
                best = losses([undivided])
            now = losses(divided(train, n_clusters))
            gain = best - now
            if not gain.mean() > max(_LEAST_GAIN, gain.std() / len(gain) ** 0.5):
                break
            n_best, best = n_clusters, now
        if n_best > 1:
            self.clusters = divided(rows, n_best)

    def _laws_of_cluster(self, X, z, holes, own, n_rows, std):
        """Laws of the rows `own` of X and of their components z, some of n_rows.

        Components of all rows have these standard deviations.
        """
        some, gaps = _clusters.with_every_column_observed(z, holes, own)
        laws = self._laws_of(some, gaps, self._tables_of(X[own]), True, _FACTORS_OF_CLUSTERS)
        factors = _clusters.widen(laws.factors, some, gaps, std)
        return replace(laws, share=len(own) / n_rows, factors=factors)

    def _completed(self, z, holes):
        """Rows of components, what is not known in the mean given the rest."""
        if holes is None:
            return z
        law, found = self._law_of([self.laws]), z.copy()
        gamma_0, gamma_1, log_variances = self._levels()
        lost = missing_gamma(log_variances, gamma_1)
        for rows in row_batches(z):
            missing = torch.from_numpy(holes[rows])
            gamma = torch.where(missing, lost, gamma_0)
            x = alpha(gamma) * torch.from_numpy(np.where(holes[rows], 0.0, z[rows]))
            mean, _ = law.posterior(x, gamma, missing=missing)
            found[rows] = np.where(holes[rows], mean.numpy(), z[rows])
        return found

    def covariance(self):
        """Of the active components (D', D'), or their variances (D',) where nothing joins them."""
        active = self.ends.active
        if self.laws.factors is None:
            return self.ends.variances[active]
        _, std, loadings = (part[: active.sum()] for part in self.laws.factors)
        correlation = loadings @ loadings.T
        np.fill_diagonal(correlation, 1.0)
        return std[:, None] * correlation * std

    def missing_above(self):
        """Noise levels above which active components are missing; Tensor (D',)."""
        _, gamma_1, log_variances = self._levels()
        return (gamma_1 + missing_gamma(log_variances, gamma_1)) / 2

    def _levels(self):
        """Noise levels of the active components at the ends, and their log-variances; tensors."""
        ends, active = self.ends, self.ends.active
        levels = ends.gamma_0[active], ends.gamma_1[active], np.log(ends.variances[active])
        return [torch.from_numpy(v) for v in levels]

    def _tables_of(self, X):
        """Tables of the atoms of some rows, on the levels of all."""
        tables = {}
        for j in self.components.columns[~self._smooth()]:
            whole = self.laws.tables[int(j)]
            levels = np.rint((X[:, j] - self.bins.origin[j]) / self.bins.width[j])
            levels = levels[~np.isnan(levels)].clip(whole.first, whole.last)
            if len(levels):
                found = fit_bin_table(levels, whole.first, whole.last)
                whole = replace(whole, log_pmf=found.log_pmf)
            tables[int(j)] = whole
        return tables

    def _fit_tables(self, X):
        """Frequencies of the levels of binned columns, alone or all pixels of a channel."""
        binned = np.flatnonzero(self.binned)
        if self._wide:
            X = X[_some_rows(*X.shape)]
            n_channels = self.shape[2]
            groups = [binned[binned % n_channels == c] for c in range(n_channels)]
        else:
            groups = binned[:, None]
        tables = {}
        for columns in groups:
            if len(columns):
                origin, width = self.bins.origin[columns], self.bins.width[columns]
                levels = np.rint((X[:, columns] - origin) / width).ravel()
                # A constant column comes back exactly, and must cost nothing.
                tail = _CONSTANT_TAIL if self.constant[columns].all() else None
                levels = levels[~np.isnan(levels)]
                table = fit_bin_table(levels, *self._level_bounds(columns[0]), tail)
                tables.update((int(j), table) for j in columns)
        return tables

    def _level_bounds(self, j):
        return (
            None if np.isnan(bound[j]) else int(bound[j])
            for bound in (self.bins.low, self.bins.high)
        )

    def _wants_joint(self):
        """Whether laws of all components together are to be fitted.

        Raises
        ------
        ValueError
            If it is asked for where it cannot be.
        """
        n_active = int(self.ends.active.sum())
        if n_active <= MOST_COMPONENTS:
            # Pictures of few levels are learned as fast without it, and classes faster.
            alone = self.shape is not None and self.bins.discrete.any()
            return self.preconditioning in ("joint", "mixture", *(() if alone else ("auto",)))
        if self.preconditioning in ("joint", "mixture"):
            raise ValueError(
                f"preconditioning={self.preconditioning!r} takes up to {MOST_COMPONENTS} "
                f"components, but X has {n_active}. Pass 'auto' or 'marginal'."
            )
        return False

    def _components_of(self, X):
        """Active components of rows, and which of them are missing, bool or None."""
        filled, holes = self.fill(X)
        active = self.ends.active
        z = [self.encode_rows(filled[rows])[:, active] for rows in row_batches(X)]
        if holes is not None:
            holes = self.states(np.zeros_like(holes), holes)[1][:, active]
        return np.concatenate(z), holes

    def _smooth(self):
        """Which active components have a mixture of Gaussians, not atoms, as their marginal."""
        return ~self.atoms[self.ends.active]

    def marginals(self):
        """Marginals of the active components."""
        return self._marginals_of(self.laws)

    def _marginals_of(self, laws):
        active = np.flatnonzero(self.ends.active)
        smooth = self._smooth()
        parts, places = [], []
        if smooth.any():
            parts.append(_marginals.mixture_marginals(*laws.mixtures))
            places.append(np.flatnonzero(smooth))
        atoms = np.flatnonzero(~smooth)
        if len(atoms):
            component = active[atoms]
            column = self.components.columns[atoms]
            tables = [laws.tables[int(j)] for j in column]
            level = np.array([t.first for t in tables])
            value = self.bins.origin[column] + self.bins.width[column] * level
            scale = self.basis.scale_[component]
            first = (value - self.basis.mean_[column]) / scale
            found, where = _marginals.bin_marginals(
                tables, first, self.bins.width[column] / scale
            )
            parts += found
            places += [atoms[w] for w in where]
        return _marginals.join(parts, places)

    def law(self):
        """What the active components say of each other, or None."""
        if self.clusters:
            return self._law_of(self.clusters)
        return None if self.laws.factors is None else self._law_of([self.laws])

    def _law_of(self, parts):
        laws = [
            JointDistribution(
                self._marginals_of(p),
                p.factors and JointGaussian(*(torch.from_numpy(f) for f in p.factors)),
            )
            for p in parts
        ]
        if len(laws) == 1:
            return laws[0]
        return MixtureDistribution(torch.tensor([p.share for p in parts], dtype=torch.float64), laws)

    def remember(self, X):
        """Keep rows X (n, F), which may hold NaN, for the network to look up.

        Of equal rows one is kept, or training would tell a row of itself by its copy, unless rows
        take few values: then copies are the law.
        """
        keys = row_keys(X).numpy()
        order = np.argsort(keys, kind="stable")
        first = np.append(True, np.diff(keys[order]) != 0)
        if 2 * first.sum() >= len(X):
            order = order[first]
        rows, holes = self._components_of(X[order])
        known = None if holes is None else ~holes
        self.remembered = Remembered(rows.astype(np.float32), known, keys[order])

    def kernels(self):
        """Kernel densities around the remembered rows, or None."""
        if self.remembered is None:
            return None
        marginals, kept = self.marginals(), self.remembered
        known = None if kept.known is None else torch.from_numpy(kept.known)
        rows = torch.from_numpy(kept.rows).to(marginals.mean.dtype)
        return KernelDensities(rows, known, marginals.mean, marginals.variance)

    def places(self, keys, device):
        """The remembered row that each row of these keys is, -1 where it is none; or None."""
        if self.remembered is None:
            return None
        kept, keys = self.remembered.keys, keys.cpu().numpy()
        place = np.searchsorted(kept, keys).clip(max=len(kept) - 1)
        return torch.from_numpy(np.where(kept[place] == keys, place, -1)).to(device)

    def observation(self):
        """How the binned columns are read, or None."""
        tables = self.laws.tables
        if not tables:
            return None
        prior = bin_prior([tables[j] for j in sorted(tables)])
        return BinnedObservation(prior, torch.from_numpy(self.tau[self.binned]))


def _some_rows(n_rows, n_features):
    """Indices of rows, or of all, so many that they are enough for the marginals of wide images.

    They are drawn: rows may come in the order of classes, or in turn.
    """
    most = int(np.clip(_WIDE_ENTRIES // n_features, _FEWEST_ROWS, _WIDE_ROWS))
    return np.sort(np.random.default_rng(0).permutation(n_rows)[:most])


def _and_known(X, rows):
    """Indices of rows of X, and of one more for each column that is known in none of them."""
    holes = missing_mask(X[rows])
    lost = np.zeros(X.shape[1], bool) if holes is None else holes.all(0)
    return np.union1d(rows, (~np.isnan(X[:, lost])).argmax(0)) if lost.any() else rows
