"""Clusters of rows, and the negative log-likelihood of a distribution before training."""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.decomposition import PCA

from gudlearn.conditioning.states import missing_gamma
from gudlearn.diffusion.noise import alpha, sigma
from gudlearn.preconditioning.gaussians import ObservedRows, fit_gaussians, posterior_weights

# Largest number of rows that clusters are fitted to. Wide rows are clustered by their leading
# principal axes.
MOST_ROWS, _MOST_COLUMNS, _MOST_AXES = 8192, 64, 16
# A smaller cluster is dissolved: its rows go to the others.
LEAST_ROWS = 20
# A column with fewer observed values in a cluster has the distribution of all rows there.
_LEAST_OBSERVED = 10
# Values are clipped to this many standard deviations before they are clustered.
_FAR = 4.0
# Least standard deviation in a cluster, as a fraction of that of all rows.
_LEAST_STD = 0.03
# Noise levels at which a distribution is evaluated.
_NOISE_LEVELS = 16


class Cluster(NamedTuple):
    """A cluster of rows: their index, and a Gaussian of which they are draws.

    Parameters
    ----------
    rows : ndarray of shape (m,) of int
    weight : float
        Mixture weight of the Gaussian.
    mean : ndarray of shape (D,)
    covariance : ndarray of shape (D, D), or None
        None for rows that were clustered by their principal axes.
    """

    rows: np.ndarray
    weight: float
    mean: np.ndarray | None
    covariance: np.ndarray | None


def find_clusters(Z, n_clusters):
    """Clusters of the rows of Z (n, D), which are drawn from the posterior of Gaussians.

    Returns
    -------
    list of Cluster
    """
    # Gaussians underflow to zero for far rows.
    with np.errstate(under="ignore"):
        centre, std = Z.mean(0), Z.std(0)
        std = np.where(std > 0, std, 1.0)
        rows = ((Z - centre) / std).clip(-_FAR, _FAR)
        whole = rows.shape[1] <= _MOST_COLUMNS
        if not whole:
            rows = PCA(min(*Z.shape, _MOST_AXES), random_state=0).fit_transform(rows)
        rows = ObservedRows(rows)
        gaussians = fit_gaussians(rows, n_clusters)
        probability = posterior_weights(rows, gaussians).numpy()
        # A row that belongs to no remaining cluster may go to any of them.
        kept = np.flatnonzero(probability.sum(0) >= LEAST_ROWS)
        probability = probability[:, kept] + 1e-12
        probability /= probability.sum(1, keepdims=True)
    u = np.random.default_rng(0).random((len(Z), 1))
    label = (u > probability.cumsum(1)).sum(1).clip(max=len(kept) - 1)
    found = []
    for k, of_gaussian in enumerate(kept):
        index = np.flatnonzero(label == k)
        mean, covariance = (part[of_gaussian].numpy() for part in gaussians[1:])
        scaled = (centre + std * mean, std[:, None] * covariance * std) if whole else (None, None)
        if len(index):
            found.append(Cluster(index, float(probability[:, k].mean()), *scaled))
    return found


def with_every_column_observed(Z, missing, rows):
    """Some rows of Z (n, D) and their missing mask, with observed values in every column.

    A column that is hardly observed in these rows gets values of all rows, in a random order.

    Parameters
    ----------
    Z : ndarray of shape (n, D)
    missing : ndarray of shape (n, D) of bool, or None
    rows : ndarray of shape (m,) of int

    Returns
    -------
    Z, missing : ndarray of shape (m, D), or None for the latter
    """
    if missing is None:
        return Z[rows], None
    some, absent = Z[rows], missing[rows]
    rng = np.random.default_rng(0)
    for j in np.flatnonzero((~absent).sum(0) < _LEAST_OBSERVED):
        probability = (rng.permutation(len(rows)) + 0.5) / len(rows)
        some[:, j] = np.quantile(Z[~missing[:, j], j], probability, method="inverted_cdf")
        absent[:, j] = False
    return some, absent


def deviations(Z, missing):
    """Standard deviation of the observed values of each column of Z, 1 where it is constant."""
    _, std = _moments(Z, missing)
    return np.where(std > 0, std, 1.0)


def _moments(Z, missing):
    """Mean and standard deviation of the observed values of each column, 0 where none is."""
    observed = Z if missing is None else np.ma.array(Z, mask=missing)
    # Squares of tiny values underflow to zero, as in a constant column.
    with np.errstate(under="ignore"):
        return np.ma.filled(observed.mean(0), 0.0), np.ma.filled(observed.std(0), 0.0)


def with_least_std(factors, Z, missing, std):
    """The Gaussian of the rows of a cluster, with a least standard deviation in every column.

    Parameters
    ----------
    factors : (mean, std, loadings) or None
        Result of `fit_joint` for the cluster; None: columns are independent.
    Z : ndarray of shape (n, D)
        Rows of the cluster.
    missing : ndarray of shape (n, D) of bool, or None
    std : ndarray of shape (D,)
        Standard deviations of all rows, above zero.

    Returns
    -------
    mean, std, loadings : ndarray of shape (D,), (D,) and (D, k)
    """
    own_mean, own_std = _moments(Z, missing)
    if factors is None:
        factors = own_mean, own_std, np.zeros((Z.shape[1], 1))
    narrow = own_std < _LEAST_STD * std
    mean, cluster_std, loadings = factors
    cluster_std = np.where(narrow, _LEAST_STD * std, cluster_std)
    return mean, cluster_std, np.where(narrow[:, None], 0.0, loadings)


def denoising_nll(distribution, Z, missing, gamma_0, gamma_1, log_variances):
    """Diffusion term of the negative log-likelihood of rows, in nats, with one noise for all calls.

    Parameters
    ----------
    distribution : an object with ``posterior``
    Z : Tensor of shape (n, D)
    missing : BoolTensor of shape (n, D) or None
    gamma_0, gamma_1, log_variances : Tensor of shape (D,)

    Returns
    -------
    Tensor of shape (n,)
    """
    generator = torch.Generator().manual_seed(0)
    observed = torch.ones_like(Z) if missing is None else (~missing).to(Z.dtype)
    gamma_missing = missing_gamma(log_variances, gamma_1)
    total = torch.zeros(len(Z), dtype=Z.dtype)
    for k in range(_NOISE_LEVELS):
        gamma = gamma_0 + (gamma_1 - gamma_0) * (k + 0.5) / _NOISE_LEVELS
        gamma = torch.where(observed > 0, gamma, gamma_missing)
        eps = torch.randn(Z.shape, generator=generator, dtype=Z.dtype)
        x = alpha(gamma) * observed * Z + sigma(gamma) * eps
        mean, _ = distribution.posterior(x, gamma, missing=missing)
        weight = 0.5 * (gamma_1 - gamma_0) * (-gamma).exp() * observed / _NOISE_LEVELS
        total += (weight * (Z - mean).square()).sum(1)
    return total
