"""What is known of components before anything is learned: their laws one by one, and one of all."""

import numpy as np
import torch

from gudlearn import _marginals
from gudlearn._columns import row_batches
from gudlearn._joint import MOST_COMPONENTS, fit_joint
from gudlearn.diffusion.joint import JointGaussian
from gudlearn.diffusion.observation import BinnedObservation

# Mass outside the one value of a constant column.
_CONSTANT_TAIL = 1e-12
# The marginals of wide images are fitted to fewer rows, by fewer members.
_WIDE_ROWS, _WIDE_POINTS, _WIDE_MEMBERS = 4096, 512, 4


class KnownLaws:
    """The half of an encoding that fits laws to components, and hands them to floor 0.

    Attributes
    ----------
    tables : dict of int to LevelTable
        By column, for binned columns.
    mixtures : tuple of three ndarrays (D', K)
        For active components that are not atoms.
    factors : (mean, std, loadings) or None
        Of the joint Gaussian of the active components.
    """

    def _fit_laws(self, X):
        """Learn the laws from rows X (n, F), once bins, basis and end points are there."""
        self._fit_tables(X)
        smooth = np.flatnonzero(self.ends.active & ~self.atoms)
        joint = self._wants_joint()
        z = missing = None
        if joint or (len(smooth) and self.preconditioning != "gaussian"):
            z, missing = self._some_components(X)
        self._fit_mixtures(smooth, z, missing)
        self.factors = None
        if joint:
            active = self.ends.active
            holes = None if missing is None else missing[:, active]
            self.factors = fit_joint(z[:, active], holes, images=self.shape is not None)

    def _fit_tables(self, X):
        """Frequencies of the levels of binned columns, alone or all pixels of a channel."""
        binned = np.flatnonzero(self.binned)
        if self._wide:
            X = _some_rows(X)
            n_channels = self.shape[2]
            groups = [binned[binned % n_channels == c] for c in range(n_channels)]
        else:
            groups = binned[:, None]
        self.tables = {}
        for columns in groups:
            if len(columns):
                origin, width = self.bins.origin[columns], self.bins.width[columns]
                levels = np.rint((X[:, columns] - origin) / width).ravel()
                # A constant column comes back exactly, and must cost nothing.
                tail = _CONSTANT_TAIL if self.constant[columns].all() else None
                levels = levels[~np.isnan(levels)]
                table = _marginals.fit_levels(levels, *self._level_bounds(columns[0]), tail)
                self.tables.update((int(j), table) for j in columns)

    def _level_bounds(self, j):
        return (
            None if np.isnan(bound[j]) else int(bound[j])
            for bound in (self.bins.low, self.bins.high)
        )

    def _fit_mixtures(self, smooth, z, missing):
        """Mixtures of some components from rows of all, z (n, D)."""
        if not len(smooth):
            self.mixtures = None
        elif self.preconditioning == "gaussian":
            # The basis has centred the components.
            self.mixtures = _marginals.gaussians(self.ends.variances[smooth])
        else:
            z = z[:, smooth]
            if missing is not None:
                _marginals.stretch(z, missing[:, smooth])
            limits = {"max_members": _WIDE_MEMBERS, "max_points": _WIDE_POINTS}
            self.mixtures = _marginals.fit_mixtures(z, **limits if self._wide else {})

    def _wants_joint(self):
        """Whether a joint Gaussian is to be fitted.

        Raises
        ------
        ValueError
            If it is asked for where it cannot be.
        """
        n_active = int(self.ends.active.sum())
        if n_active <= MOST_COMPONENTS:
            return self.preconditioning in ("auto", "joint")
        if self.preconditioning == "joint":
            raise ValueError(
                f"preconditioning='joint' takes up to {MOST_COMPONENTS} components, but X has "
                f"{n_active}. Pass 'auto' or 'marginal'."
            )
        return False

    def _some_components(self, X):
        """Components of rows, or of some of very wide ones, and which of them are missing."""
        X = _some_rows(X) if self._wide else X
        filled, holes = self.fill(X)
        z = np.concatenate([self.encode_rows(filled[rows]) for rows in row_batches(X)])
        if holes is None:
            return z, None
        return z, self.states(np.zeros_like(holes), holes)[1]

    def _smooth(self):
        """Which active components have a mixture of Gaussians, not atoms, as their marginal."""
        return ~self.atoms[self.ends.active]

    def marginals(self):
        """Marginals of the active components."""
        active = np.flatnonzero(self.ends.active)
        smooth = self._smooth()
        parts, places = [], []
        if smooth.any():
            parts.append(_marginals.mixture_marginals(*self.mixtures))
            places.append(np.flatnonzero(smooth))
        atoms = np.flatnonzero(~smooth)
        if len(atoms):
            component = active[atoms]
            column = self.components.columns[atoms]
            tables = [self.tables[int(j)] for j in column]
            level = np.array([t.first for t in tables])
            value = self.bins.origin[column] + self.bins.width[column] * level
            scale = self.basis.scale_[component]
            first = (value - self.basis.mean_[column]) / scale
            found, where = _marginals.level_marginals(
                tables, first, self.bins.width[column] / scale
            )
            parts += found
            places += [atoms[w] for w in where]
        return _marginals.join(parts, places)

    def joint(self):
        """What the active components say of each other, or None."""
        if self.factors is None:
            return None
        return JointGaussian(*(torch.from_numpy(p) for p in self.factors))

    def observation(self):
        """How the binned columns are read, or None."""
        if not self.tables:
            return None
        prior = _marginals.level_prior([self.tables[j] for j in sorted(self.tables)])
        return BinnedObservation(prior, torch.from_numpy(self.tau[self.binned]))


def _some_rows(X):
    """Every k-th row, so many that they are enough for the marginals of a wide image."""
    return X[:: -(-len(X) // _WIDE_ROWS)]
