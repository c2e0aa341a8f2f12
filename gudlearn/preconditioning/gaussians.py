r"""Mixtures of Gaussians with any covariances, fitted to rows with missing values.

Expectation-maximisation of the likelihood of what is observed is unbiased if values are missing at
random: whether one is missing may depend on the observed values of its row (Little, Rubin 2019,
"Statistical analysis with missing data"). With :math:`B` the inverse of the covariance
:math:`\Sigma_{oo}` of the observed components, zero in all other rows and columns, a row y has

.. math::

    E[x | y] = m + \Sigma B (y - m), \quad Cov[x | y] = \Sigma - \Sigma B \Sigma ,

and :math:`u + \Sigma B (y - u)` is a draw of it if u is one of :math:`N(m, \Sigma)`.
"""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.cluster import KMeans

_ITERATIONS = 60
_LEAST_PROGRESS = 1e-4
# Least variance that is added to each column, as a fraction of its variance.
_LEAST_VARIANCE = 1e-6
# Number of pseudo-rows with the common covariance in the covariance of each Gaussian.
_PRIOR_ROWS = 4.0
# Rows whose inverse covariances are in memory at once: about this many values.
_MOST_VALUES = 2**22
# Number of starting points of the k-means that a fit starts from, and the number of standard
# deviations to which values are clipped for it.
_STARTS, _FAR = 3, 4.0
LOG_2PI = float(np.log(2 * np.pi))


class Gaussians(NamedTuple):
    """A mixture of K Gaussians of D components.

    Parameters
    ----------
    weights : Tensor of shape (K,)
    means : Tensor of shape (K, D)
    covariances : Tensor of shape (K, D, D)
    """

    weights: torch.Tensor
    means: torch.Tensor
    covariances: torch.Tensor


class ObservedRows:
    """Rows with missing values, and their different sets of observed components.

    Parameters
    ----------
    Z : ndarray of shape (n, D)
    missing : ndarray of shape (n, D) of bool, or None
    """

    def __init__(self, Z, missing=None):
        observed = np.ones(Z.shape, bool) if missing is None else ~missing
        if missing is None:
            sets, index = observed[:1], np.zeros(len(Z), int)
        else:
            sets, index = np.unique(observed, axis=0, return_inverse=True)
        self.index = torch.from_numpy(index.reshape(-1))
        self.sets = torch.from_numpy(sets.astype(float))
        self.observed = torch.from_numpy(observed.astype(float))
        self.Z = torch.from_numpy(np.where(observed, Z, 0.0))

    def __len__(self):
        return len(self.Z)

    def take(self, rows):
        """The rows of an index."""
        Z, observed = self.Z[rows].numpy(), self.observed[rows].numpy() > 0
        return ObservedRows(Z, None if observed.all() else ~observed)

    def inverse(self, covariance):
        """B of each set of observed components (S, D, D), and log-determinants of what they see."""
        seen = self.sets[:, :, None] * self.sets[:, None]
        factor = torch.linalg.cholesky(covariance * seen + torch.diag_embed(1 - self.sets))
        log_det = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(1)
        return torch.cholesky_inverse(factor) * seen, log_det

    def times(self, inverse, rows):
        """B of each row times its deviations from some means, `rows` of shape (n, D)."""
        if len(inverse) == 1:
            return rows @ inverse[0]
        size = max(1, _MOST_VALUES // inverse[0].numel())
        parts = zip(self.index.split(size), rows.split(size), strict=True)
        return torch.cat([torch.einsum("nij,nj->ni", inverse[i], part) for i, part in parts])


def fit_gaussians(
    rows, n_gaussians, seed=0, iterations=_ITERATIONS, progress=_LEAST_PROGRESS, start=None
):
    """Fit a mixture by expectation-maximisation, by default from the clusters of k-means.

    Parameters
    ----------
    rows : ObservedRows
    n_gaussians : int
    seed : int
        Of k-means.
    iterations : int
        Largest number of iterations.
    progress : float
        An iteration that raises the mean log-likelihood of rows by less than this many nats is the
        last.
    start : Gaussians or None
        A mixture of as many Gaussians to start from.

    Returns
    -------
    Gaussians
    """
    mean, variance, off = _moments(rows)
    found = _of_clusters(rows, n_gaussians, seed, mean, variance, off) if start is None else start
    last = -np.inf
    for _ in range(iterations):
        inverses = [rows.inverse(covariance) for covariance in found.covariances]
        log_joint = _log_joint(rows, found, inverses)
        log_norm = torch.logsumexp(log_joint, 1)
        found = _maximised(rows, found, inverses, (log_joint - log_norm[:, None]).exp(), variance)
        if float(log_norm.mean()) < last + progress:
            break
        last = float(log_norm.mean())
    return found


def log_likelihood(rows, gaussians):
    """Log-likelihood of the observed values of each row, (n,), in nats."""
    inverses = [rows.inverse(covariance) for covariance in gaussians.covariances]
    return torch.logsumexp(_log_joint(rows, gaussians, inverses), 1)


def posterior_weights(rows, gaussians):
    """Probability of each Gaussian given the observed values of each row, (n, K)."""
    inverses = [rows.inverse(covariance) for covariance in gaussians.covariances]
    return torch.softmax(_log_joint(rows, gaussians, inverses), 1)


def draw_missing(rows, gaussians, rng):
    """Rows (n, D) whose missing values are drawn given the observed ones.

    Parameters
    ----------
    rows : ObservedRows
    gaussians : Gaussians
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (n, D)
    """
    inverses = [rows.inverse(covariance) for covariance in gaussians.covariances]
    edges = torch.softmax(_log_joint(rows, gaussians, inverses), 1).cumsum(1).numpy()
    chosen = (rng.random((len(rows), 1)) > edges).sum(1).clip(max=edges.shape[1] - 1)
    noise = torch.from_numpy(rng.standard_normal(rows.Z.shape))
    drawn = rows.Z.clone()
    for k, (inverse, _) in enumerate(inverses):
        mean, covariance = gaussians.means[k], gaussians.covariances[k]
        whole = mean + noise @ torch.linalg.cholesky(covariance).T
        off = (rows.Z - whole) * rows.observed
        z = torch.where(rows.observed > 0, rows.Z, whole + rows.times(inverse, off) @ covariance)
        drawn = torch.where(torch.from_numpy(chosen == k)[:, None], z, drawn)
    return drawn.numpy()


def _moments(rows):
    """Mean and variance (D,) of the observed values, and their deviations from the mean (n, D)."""
    count = rows.observed.sum(0).clamp(min=1)
    mean = rows.Z.sum(0) / count
    off = (rows.Z - mean) * rows.observed
    variance = off.square().sum(0) / count
    return mean, torch.where(variance > 0, variance, torch.ones_like(variance)), off


def _of_clusters(rows, n_gaussians, seed, mean, variance, off):
    """Gaussians at the centres of k-means with one diagonal covariance."""
    scaled = (off / variance.sqrt()).clamp(-_FAR, _FAR)
    kmeans = KMeans(n_gaussians, n_init=_STARTS, random_state=seed).fit(scaled.numpy())
    labels = torch.from_numpy(kmeans.labels_).long()
    centres = torch.from_numpy(kmeans.cluster_centers_).to(rows.Z.dtype)
    count = rows.observed.sum(0).clamp(min=1)
    within = ((scaled - centres[labels]) * rows.observed).square().sum(0) / count
    covariance = torch.diag(within.clamp(min=_LEAST_VARIANCE) * variance)
    weights = torch.bincount(labels, minlength=n_gaussians).to(rows.Z.dtype) / len(labels)
    means = mean + centres * variance.sqrt()
    return Gaussians(weights, means, covariance.repeat(n_gaussians, 1, 1))


def _log_joint(rows, gaussians, inverses):
    """Log of mixture weight times density of the observed values, (n, K)."""
    n_values = rows.observed.sum(1)
    columns = []
    for weight, mean, (inverse, log_det) in zip(*gaussians[:2], inverses, strict=True):
        off = (rows.Z - mean) * rows.observed
        distance = (rows.times(inverse, off) * off).sum(1)
        log_prob = -0.5 * (distance + log_det[rows.index] + n_values * LOG_2PI)
        columns.append(weight.log() + log_prob)
    return torch.stack(columns, 1)


def _maximised(rows, gaussians, inverses, weight, variance):
    """The maximisation step, with the posterior `weight` (n, K) of each Gaussian."""
    mass = weight.sum(0)
    means, scatters = [], []
    for k, (inverse, _) in enumerate(inverses):
        mean, covariance, w = gaussians.means[k], gaussians.covariances[k], weight[:, k]
        off = (rows.Z - mean) * rows.observed
        expected = rows.times(inverse, off) @ covariance
        shift = w @ expected / mass[k].clamp(min=1e-9)
        expected = expected - shift
        of_sets = torch.zeros(len(inverse), dtype=w.dtype).index_add_(0, rows.index, w)
        seen = torch.einsum("s,sij->ij", of_sets, inverse)
        unseen = mass[k] * covariance - covariance @ seen @ covariance
        means.append(mean + shift)
        scatters.append((w[:, None] * expected).T @ expected + unseen)
    scatters = torch.stack(scatters)
    common = scatters.sum(0) / mass.sum()
    total = (mass + _PRIOR_ROWS)[:, None, None]
    covariances = (scatters + _PRIOR_ROWS * common) / total
    covariances = (covariances + covariances.mT) / 2 + torch.diag(_LEAST_VARIANCE * variance)
    weights = (mass + 1e-9) / (mass + 1e-9).sum()
    return Gaussians(weights, torch.stack(means), covariances)
