"""Rows divided into clusters, and what a law of components is worth before anything is learned."""

import warnings

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from gudlearn.conditioning.states import missing_gamma
from gudlearn.diffusion.noise import alpha, sigma

# So many rows tell clusters; they are looked for along so many principal axes.
MOST_ROWS, _MOST_AXES = 8192, 16
# Fewer rows are no cluster: they belong to others.
LEAST_ROWS = 20
# A column known in fewer of them has the law of all.
_LEAST_KNOWN = 10
# Values further out than so many standard deviations stand there.
_FAR = 4.0
# Variance that a cluster has in every direction, as a share of a column's.
_BLUR = 1e-3
# Least standard deviation in a cluster, as a share of that of all rows.
_LEAST_SPREAD = 0.03
# Noise levels at which a law is tried.
_LEVELS = 16


def divide(Z, n_clusters):
    """The cluster of each row of Z (n, D), drawn by the chances that a Gaussian mixture gives."""
    std = Z.std(0)
    rows = ((Z - Z.mean(0)) / np.where(std > 0, std, 1.0)).clip(-_FAR, _FAR)
    rows = PCA(min(*Z.shape, _MOST_AXES), random_state=0).fit_transform(rows)
    mixture = GaussianMixture(n_clusters, reg_covar=_BLUR, random_state=0, max_iter=50)
    with warnings.catch_warnings():
        # Clusters that are not quite those of most likelihood will do, and fewer of them.
        warnings.simplefilter("ignore", ConvergenceWarning)
        chance = mixture.fit(rows).predict_proba(rows)
    # A row that is in none of those that are left may be in any.
    chance = chance[:, chance.sum(0) >= LEAST_ROWS] + 1e-12
    edges = (chance / chance.sum(1, keepdims=True)).cumsum(1)
    u = np.random.default_rng(0).random((len(Z), 1))
    return (u > edges).sum(1).clip(max=chance.shape[1] - 1)


def with_every_column_observed(Z, holes, rows):
    """Some rows of Z (n, D) and their holes, where every column is known in a few of them.

    A column that is not has values of all rows there, in an order of its own.
    """
    if holes is None:
        return Z[rows], None
    some, gaps = Z[rows], holes[rows]
    rng = np.random.default_rng(0)
    for j in np.flatnonzero((~gaps).sum(0) < _LEAST_KNOWN):
        share = (rng.permutation(len(rows)) + 0.5) / len(rows)
        some[:, j] = np.quantile(Z[~holes[:, j], j], share, method="inverted_cdf")
        gaps[:, j] = False
    return some, gaps


def deviations(Z, holes):
    """Standard deviation of each column of Z (n, D), one where nothing varies."""
    known = Z if holes is None else np.ma.array(Z, mask=holes)
    std = np.ma.filled(known.std(0), 0.0)
    return np.where(std > 0, std, 1.0)


def widen(factors, Z, holes, std):
    """A Gaussian of the rows of a cluster, of factors if there are any, with a least spread.

    Parameters
    ----------
    factors : (mean, std, loadings) or None
        What `fit_joint` found.
    Z, holes : ndarray of shape (n, D)
        Rows of the cluster; holes are bool, or None.
    std : ndarray of shape (D,)
        Of all rows, above zero.
    """
    known = Z if holes is None else np.ma.array(Z, mask=holes)
    spread = np.ma.filled(known.std(0), 0.0)
    if factors is None:
        factors = np.ma.filled(known.mean(0), 0.0), spread, np.zeros((Z.shape[1], 1))
    narrow = spread < _LEAST_SPREAD * std
    mean, spread, loadings = factors
    spread = np.where(narrow, _LEAST_SPREAD * std, spread)
    return mean, spread, np.where(narrow[:, None], 0.0, loadings)


def denoising_nll(law, Z, holes, gamma_0, gamma_1, log_variances):
    """What rows cost as the bound counts it, in nats (n,), all at the same noise.

    Parameters
    ----------
    law : an object with ``posterior``
    Z : Tensor of shape (n, D)
    holes : BoolTensor of shape (n, D) or None
        What counts as missing.
    gamma_0, gamma_1, log_variances : Tensor of shape (D,)
    """
    generator = torch.Generator().manual_seed(0)
    known = torch.ones_like(Z) if holes is None else (~holes).to(Z.dtype)
    lost = missing_gamma(log_variances, gamma_1)
    total = torch.zeros(len(Z), dtype=Z.dtype)
    for k in range(_LEVELS):
        gamma = gamma_0 + (gamma_1 - gamma_0) * (k + 0.5) / _LEVELS
        gamma = torch.where(known > 0, gamma, lost)
        eps = torch.randn(Z.shape, generator=generator, dtype=Z.dtype)
        x = alpha(gamma) * known * Z + sigma(gamma) * eps
        mean, _ = law.posterior(x, gamma, missing=holes)
        weight = 0.5 * (gamma_1 - gamma_0) * (-gamma).exp() * known / _LEVELS
        total += (weight * (Z - mean).square()).sum(1)
    return total
