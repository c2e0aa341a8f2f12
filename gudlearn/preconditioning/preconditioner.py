"""The preconditioner: the closed-form model of components that the network starts from."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from gudlearn.conditioning.states import missing_gamma
from gudlearn.preconditioning.distributions import JointDistribution, MixtureDistribution
from gudlearn.preconditioning.fit_marginals import bin_marginals, join, mixture_marginals
from gudlearn.preconditioning.joint import JointGaussian
from gudlearn.preconditioning.kernels import KernelDensities
from gudlearn.preconditioning.latent_classes import FittedClasses


@dataclass(frozen=True, eq=False)
class FittedDistribution:
    """Parameters of the distribution of active components: of all rows, or of one cluster.

    Parameters
    ----------
    weight : float
        Mixture weight: the fraction of the rows.
    tables : dict of int to BinTable
        Bin tables by data column, for components whose marginals are point masses.
    mixtures : tuple of three ndarrays (D', K) or None
        Weights, means and variances of the other components' marginals.
    factors : (mean, std, loadings) or None
        Parameters of the joint Gaussian of the components and of class indicators, see
        `JointDistribution`; None if the components are independent.
    """

    weight: float
    tables: dict
    mixtures: tuple | None
    factors: tuple | None


@dataclass(frozen=True, eq=False)
class BinGrid:
    """The bins of the components with point masses; arrays of shape (n,), one entry for each.

    Parameters
    ----------
    columns : ndarray of int
        Data column of each component.
    origin, width : ndarray
        Origin and width of its bins, in the units of the data.
    mean, scale : ndarray
        Mean and scale by which the basis standardises it.
    """

    columns: np.ndarray
    origin: np.ndarray
    width: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    def marginals(self, tables):
        """Marginals of bin tables by column, in parts, and the component indices of each part."""
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
        None means that every component is observed.
    keys : ndarray of shape (N,), int64
        Keys of the rows in the user's units, in ascending order.
    """

    rows: np.ndarray
    observed: np.ndarray | None
    keys: np.ndarray

    def index(self, keys):
        """Index in the set of each row with these keys, (n,); -1 for rows that are not in it."""
        query = keys.cpu().numpy()
        index = np.searchsorted(self.keys, query).clip(max=len(self.keys) - 1)
        return torch.from_numpy(np.where(self.keys[index] == query, index, -1)).to(keys.device)


@dataclass(frozen=True, eq=False)
class Preconditioner:
    """The closed-form denoiser's parameters, as NumPy arrays.

    Parameters
    ----------
    distribution : FittedDistribution
        Distribution of all rows.
    clusters : tuple of FittedDistribution
        Distributions of clusters of rows; empty if rows are not divided into clusters.
    smooth : ndarray of shape (D',) of bool
        Active components whose marginal is a mixture of Gaussians, not of point masses.
    bins : BinGrid
        Bins of the other active components.
    gamma_0, gamma_1, variances : ndarray of shape (D',)
        End points of the active components, and their variances after scaling.
    reference : ReferenceSet or None
    classes : FittedClasses or None
        Latent classes of rows that categories start from; None: they start independent.
    """

    distribution: FittedDistribution
    clusters: tuple
    smooth: np.ndarray
    bins: BinGrid
    gamma_0: np.ndarray
    gamma_1: np.ndarray
    variances: np.ndarray
    reference: ReferenceSet | None = None
    classes: FittedClasses | None = None

    def with_clusters(self, clusters):
        """The same preconditioner with clusters of rows."""
        return replace(self, clusters=tuple(clusters))

    def with_classes(self, classes):
        """The same preconditioner with latent classes, or without if they are None."""
        return replace(self, classes=classes)

    def with_reference(self, reference):
        """The same preconditioner with a reference set."""
        return replace(self, reference=reference)

    # What is built from the parameters: tensors of float64 on the CPU

    def marginals(self):
        """The product of the marginals of the numeric components; None if there are none."""
        return self._marginals_of(self.distribution) if len(self.smooth) else None

    def _marginals_of(self, fitted):
        parts, indices = [], []
        if self.smooth.any():
            parts.append(mixture_marginals(*fitted.mixtures))
            indices.append(np.flatnonzero(self.smooth))
        discrete = np.flatnonzero(~self.smooth)
        if len(discrete):
            bin_parts, bin_indices = self.bins.marginals(fitted.tables)
            parts += bin_parts
            indices += [discrete[index] for index in bin_indices]
        return join(parts, indices)

    def joint(self):
        """The joint distribution of the active components, or None where there is none."""
        if self.clusters:
            return self.joint_of(self.clusters)
        return None if self.distribution.factors is None else self.joint_of([self.distribution])

    def joint_of(self, fitted):
        """The joint distribution of one `FittedDistribution`, or the mixture of several."""
        parts = [
            JointDistribution(
                self._marginals_of(part),
                part.factors and JointGaussian(*(torch.from_numpy(f) for f in part.factors)),
            )
            for part in fitted
        ]
        if len(parts) == 1:
            return parts[0]
        weights = torch.tensor([part.weight for part in fitted], dtype=torch.float64)
        return MixtureDistribution(weights, parts)

    def latent_classes(self):
        """The latent classes as `LatentClasses`, or None."""
        return None if self.classes is None else self.classes.tensors(self.missing_above())

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
        """Reference-set index of rows by their keys, -1 if not in it; None without a set."""
        return None if self.reference is None else self.reference.index(keys)

    def noise_levels(self):
        """gamma_0, gamma_1 and log-variances of the active components, tensors (D',)."""
        levels = self.gamma_0, self.gamma_1, np.log(self.variances)
        return [torch.from_numpy(v) for v in levels]

    def missing_gamma(self):
        """Noise levels of missing components, Tensor (D',)."""
        _, gamma_1, log_variances = self.noise_levels()
        return missing_gamma(log_variances, gamma_1)

    def missing_above(self):
        """Noise levels above which active components count as missing, Tensor (D',)."""
        return (self.noise_levels()[1] + self.missing_gamma()) / 2

    def covariance(self):
        """Covariance (D', D') of the active components; variances (D',) if they are independent."""
        if self.distribution.factors is None:
            return self.variances
        d = len(self.variances)
        _, std, loadings = (part[:d] for part in self.distribution.factors)
        correlation = loadings @ loadings.T
        np.fill_diagonal(correlation, 1.0)
        return std[:, None] * correlation * std
