"""The preconditioner: everything that is known about components before a network is trained."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from gudlearn.conditioning.states import missing_gamma
from gudlearn.preconditioning.distributions import JointDistribution, MixtureDistribution
from gudlearn.preconditioning.fit_marginals import bin_marginals, join, mixture_marginals
from gudlearn.preconditioning.joint import JointGaussian
from gudlearn.preconditioning.kernels import KernelDensities


@dataclass(frozen=True, eq=False)
class FittedDistribution:
    """Parameters of the distribution of active components: of all rows, or of one cluster.

    Parameters
    ----------
    weight : float
        Fraction of the rows.
    tables : dict of int to BinTable
        By column, for the components whose marginals are point masses.
    mixtures : tuple of three ndarrays (D', K) or None
        Weights, means and variances of the other components' marginals.
    factors : (mean, std, loadings) or None
        Of the joint Gaussian of the components, and of indicators of classes, see
        `JointDistribution`.
    """

    weight: float
    tables: dict
    mixtures: tuple | None
    factors: tuple | None


@dataclass(frozen=True, eq=False)
class BinGrid:
    """Where the bins of the point-mass components lie; arrays of shape (n,), one entry each.

    Parameters
    ----------
    columns : ndarray of int
        Data columns.
    origin, width : ndarray
        Of the bins, in the units of the data.
    mean, scale : ndarray
        Of the basis.
    """

    columns: np.ndarray
    origin: np.ndarray
    width: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    def marginals(self, tables):
        """Marginals of bin tables by column, and the places of each part among the components."""
        tables = [tables[int(j)] for j in self.columns]
        first = np.array([table.first for table in tables])
        value = self.origin + self.width * first
        return bin_marginals(tables, (value - self.mean) / self.scale, self.width / self.scale)


@dataclass(frozen=True, eq=False)
class ReferenceSet:
    """Training rows that the network looks up.

    Parameters
    ----------
    rows : ndarray of shape (N, D'), float32
        Active components.
    observed : ndarray of shape (N, D') of bool, or None
    keys : ndarray of shape (N,), int64
        Of the rows in the user's units, in rising order.
    """

    rows: np.ndarray
    observed: np.ndarray | None
    keys: np.ndarray

    def index(self, keys):
        """Place of each row of these keys, (n,), in the set; -1 for rows that are not in it."""
        own = keys.cpu().numpy()
        place = np.searchsorted(self.keys, own).clip(max=len(self.keys) - 1)
        return torch.from_numpy(np.where(self.keys[place] == own, place, -1)).to(keys.device)


@dataclass(frozen=True, eq=False)
class Preconditioner:
    """The closed-form denoiser's parameters, as NumPy arrays.

    Parameters
    ----------
    distribution : FittedDistribution
        Of all rows.
    clusters : tuple of FittedDistribution
        Empty where rows are not divided.
    smooth : ndarray of shape (D',) of bool
        Active components whose marginal is a mixture of Gaussians, not of point masses.
    bins : BinGrid
        Of the other active components.
    gamma_0, gamma_1, variances : ndarray of shape (D',)
        End points of the active components, and their variances after scaling.
    reference : ReferenceSet or None
    """

    distribution: FittedDistribution
    clusters: tuple
    smooth: np.ndarray
    bins: BinGrid
    gamma_0: np.ndarray
    gamma_1: np.ndarray
    variances: np.ndarray
    reference: ReferenceSet | None = None

    def with_clusters(self, clusters):
        """The same preconditioner with clusters of rows."""
        return replace(self, clusters=tuple(clusters))

    def with_reference(self, reference):
        """The same preconditioner with a reference set."""
        return replace(self, reference=reference)

    # Objects of tensors, float64 on the CPU

    def marginals(self):
        """Marginals of the active components."""
        return self._marginals_of(self.distribution)

    def _marginals_of(self, fitted):
        parts, places = [], []
        if self.smooth.any():
            parts.append(mixture_marginals(*fitted.mixtures))
            places.append(np.flatnonzero(self.smooth))
        discrete = np.flatnonzero(~self.smooth)
        if len(discrete):
            found, where = self.bins.marginals(fitted.tables)
            parts += found
            places += [discrete[place] for place in where]
        return join(parts, places)

    def joint(self):
        """The joint distribution of the active components, or None where there is none."""
        if self.clusters:
            return self.joint_of(self.clusters)
        return None if self.distribution.factors is None else self.joint_of([self.distribution])

    def joint_of(self, fitted):
        """The joint distribution of one fit, or the mixture of several."""
        parts = [
            JointDistribution(
                self._marginals_of(one),
                one.factors and JointGaussian(*(torch.from_numpy(f) for f in one.factors)),
            )
            for one in fitted
        ]
        if len(parts) == 1:
            return parts[0]
        weights = torch.tensor([one.weight for one in fitted], dtype=torch.float64)
        return MixtureDistribution(weights, parts)

    def kernels(self):
        """Kernel densities around the reference set, or None."""
        if self.reference is None:
            return None
        marginals, reference = self.marginals(), self.reference
        observed = reference.observed
        observed = None if observed is None else torch.from_numpy(observed)
        rows = torch.from_numpy(reference.rows).to(marginals.mean.dtype)
        return KernelDensities(rows, observed, marginals.mean, marginals.variance)

    def self_index(self, keys):
        """Place of rows of these keys in the reference set, -1 where they are not; or None."""
        return None if self.reference is None else self.reference.index(keys)

    def noise_levels(self):
        """gamma_0, gamma_1 and log-variances of the active components; tensors (D',)."""
        levels = self.gamma_0, self.gamma_1, np.log(self.variances)
        return [torch.from_numpy(v) for v in levels]

    def missing_above(self):
        """Noise levels above which active components are missing; Tensor (D',)."""
        _, gamma_1, log_variances = self.noise_levels()
        return (gamma_1 + missing_gamma(log_variances, gamma_1)) / 2

    def covariance(self):
        """Of the active components (D', D'), or variances (D',) where they are independent."""
        if self.distribution.factors is None:
            return self.variances
        d = len(self.variances)
        _, std, loadings = (part[:d] for part in self.distribution.factors)
        correlation = loadings @ loadings.T
        np.fill_diagonal(correlation, 1.0)
        return std[:, None] * correlation * std
