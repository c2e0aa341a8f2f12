"""Fits of one-dimensional marginals: mixtures of Gaussians, and point masses of bin tables."""

import numpy as np
import torch

from gudlearn.encoding.bin_tables import MAX_ATOMS
from gudlearn.preconditioning.marginals import (
    GaussianMarginals,
    GridMarginals,
    JoinedMarginals,
    MixtureMarginals,
    PointMassMarginals,
)

# Numbers of mixture components that are tried, and the least number of values for each of them.
_N_COMPONENTS, _VALUES_PER_COMPONENT = (1, 2, 4, 8, 12, 16, 24, 32), 10
_MAX_POINTS = 2048
# Columns that are fitted at once: their responsibilities are the largest arrays of a fit.
_MOST_COLUMNS = 4096
_ITERATIONS = 40
# Weight of the wide component relative to one row, where a Gaussian describes all of them.
_PLAIN = 1e-4


def fill_with_quantiles(Z, missing):
    """Replace, in place, missing values of each column of Z (n, D) by quantiles of the others."""
    for j in np.flatnonzero(missing.any(0)):
        absent = missing[:, j]
        probability = (np.arange(absent.sum()) + 0.5) / absent.sum()
        Z[absent, j] = np.quantile(Z[~absent, j], probability, method="inverted_cdf")


def fit_mixtures(Z, n_observed=None, *, floor=1e-2, max_components=8, max_points=_MAX_POINTS):
    """Fit one mixture of Gaussians to each column by expectation-maximisation.

    The number of mixture components is chosen by the Bayesian information criterion. Long columns
    are thinned to the means of blocks of order statistics, which keeps the fit deterministic. One
    further component, of weight 1/(n_observed + 2) and as wide as the range, keeps outliers from
    costing their square. Where one Gaussian describes all values its weight is 1e-4 of that, so
    that conditional means at five standard deviations remain those of a Gaussian.

    Parameters
    ----------
    Z : ndarray of shape (n, D)
    n_observed : ndarray of shape (D,) or None
        Number of observed values behind each column; None: n.
    floor : float
        Least standard deviation of a mixture component, as a fraction of the column's.
    max_components : int
        Largest number of mixture components, without the wide one.
    max_points : int
        Longer columns are thinned to this many points.

    Returns
    -------
    weights, means, variances : ndarray of shape (D, K)
        Unused mixture components have weight 0 and variance 1.
    """
    n_observed = np.full(Z.shape[1], len(Z)) if n_observed is None else n_observed
    most = min(max_components, n_observed.max() / _VALUES_PER_COMPONENT)
    candidates = [k for k in _N_COMPONENTS if k == 1 or k <= most]
    parts = []
    # Squares of tiny values underflow to zero, the variance of a constant column.
    with np.errstate(under="ignore"):
        for start in range(0, Z.shape[1], _MOST_COLUMNS):
            some = slice(start, start + _MOST_COLUMNS)
            parts.append(_fit_columns(Z[:, some], n_observed[some], candidates, floor, max_points))
    return tuple(map(np.concatenate, zip(*parts, strict=True)))


def _fit_columns(Z, n_observed, candidates, floor, max_points):
    """Fit the columns of Z with candidate numbers of mixture components; see `fit_mixtures`."""
    mean, std = Z.mean(0), Z.std(0)
    std = np.where(std > 0, std, 1.0)
    points = _thinned((Z - mean) / std, max_points)
    weights, means, variances = _select(points, n_observed, candidates, floor)
    # The wide component.
    wide = 1 / (n_observed[:, None] + 2)
    nearest = 3 + np.sqrt(2 * np.log(np.maximum(len(Z), 2)))
    plain = ((weights > 0).sum(1) == 1) & (np.abs(points).max(0) < nearest)
    wide[plain] *= _PLAIN
    weights = np.hstack([weights * (1 - wide), wide])
    means = np.hstack([means, np.zeros_like(wide)])
    extent = np.maximum(np.ptp(points, axis=0), 1.0)[:, None]
    variances = np.hstack([variances, extent**2])
    means = means * std[:, None] + mean[:, None]
    return weights, means, variances * (std**2)[:, None]


def _thinned(Z, max_points):
    """Sort each column; means of blocks of neighbours if there are more than max_points."""
    points = np.sort(Z, axis=0)
    if len(Z) <= max_points:
        return points
    edges = np.linspace(0, len(Z), max_points + 1).astype(int)
    return np.add.reduceat(points, edges[:-1], axis=0) / np.diff(edges)[:, None]


def _select(points, n_observed, candidates, floor):
    """Mixtures of sorted, standardised columns by the Bayesian information criterion, (D, K)."""
    x = torch.from_numpy(np.ascontiguousarray(points.T))
    shape = points.shape[1], max(candidates)
    weights, means, variances = np.zeros(shape), np.zeros(shape), np.ones(shape)
    best = np.full(len(x), np.inf)
    for k in candidates:
        w, m, v, log_lik = _expectation_maximisation(x, k, floor)
        criterion = (3 * k - 1) * np.log(n_observed) - 2 * n_observed * log_lik
        allowed = (k == 1) | (k * _VALUES_PER_COMPONENT <= n_observed)
        better = (criterion < best) & allowed
        best = np.where(better, criterion, best)
        weights[better], means[better], variances[better] = 0.0, 0.0, 1.0
        for target, found in ((weights, w), (means, m), (variances, v)):
            target[better, :k] = found[better]
    return weights, means, variances


def _expectation_maximisation(x, k, floor):
    """EM from the quantiles of standardised, sorted columns x (D, n).

    Returns
    -------
    weights, means, variances : ndarray of shape (D, k)
    log_likelihood : ndarray of shape (D,)
        Mean over n.
    """
    if k == 1:
        return _one_gaussian(x, floor)
    cells = torch.tensor_split(x, k, dim=1)
    m = torch.stack([c.mean(1) for c in cells], 1)
    v = torch.stack([c.var(1, correction=0) for c in cells], 1).clamp(min=(2 * floor) ** 2)
    w = torch.full_like(m, 1 / k)
    # Powers of x turn the three sums over rows into one matrix product.
    powers = torch.stack([torch.ones_like(x), x, x * x], -1)
    for _ in range(_ITERATIONS):
        log_joint = (w / v.sqrt()).log()[..., None] - 0.5 * (
            (x[:, None] - m[..., None]) ** 2 / v[..., None]
        )
        log_norm = torch.logsumexp(log_joint, 1, keepdim=True)
        sums = (log_joint - log_norm).exp() @ powers
        mass = sums[..., 0].clamp(min=1e-6)
        m = sums[..., 1] / mass
        v = (sums[..., 2] / mass - m**2).clamp(min=floor**2)
        w = mass / mass.sum(1, keepdim=True)
    log_lik = log_norm[:, 0].mean(1) - 0.5 * np.log(2 * np.pi)
    return w.numpy(), m.numpy(), v.numpy(), log_lik.numpy()


def _one_gaussian(x, floor):
    """The same for one Gaussian, in closed form."""
    m, v = x.mean(1, keepdim=True), x.var(1, correction=0, keepdim=True)
    v = v.clamp(min=floor**2)
    log_lik = -0.5 * (np.log(2 * np.pi) + v.log() + x.var(1, correction=0, keepdim=True) / v)
    return np.ones((len(x), 1)), m.numpy(), v.numpy(), log_lik[:, 0].numpy()


def bin_marginals(tables, first, step):
    """Point masses of discrete components, in units of the components.

    Parameters
    ----------
    tables : list of BinTable
    first, step : ndarray of shape (D,)
        Position of the first bin of each table, and distance of neighbours.

    Returns
    -------
    parts : list of marginals
    columns : list of ndarrays of int
        The components of each part.
    """
    sizes = np.array([len(table.log_pmf) for table in tables])
    parts, columns = [], []
    few, many = np.flatnonzero(sizes <= MAX_ATOMS), np.flatnonzero(sizes > MAX_ATOMS)
    if len(few):
        width = sizes[few].max()
        weights, means = np.zeros((len(few), width)), np.zeros((len(few), width))
        for row, i in enumerate(few):
            weights[row, : sizes[i]] = np.exp(tables[i].log_pmf)
            means[row] = first[i] + step[i] * np.minimum(np.arange(width), sizes[i] - 1)
        parts.append(PointMassMarginals(torch.from_numpy(weights), torch.from_numpy(means)))
        columns.append(few)
    if len(many):
        parts.append(
            GridMarginals(
                [torch.from_numpy(tables[i].log_pmf) for i in many],
                torch.from_numpy(first[many]),
                torch.from_numpy(step[many]),
            )
        )
        columns.append(many)
    return parts, columns


def gaussians(variances):
    """One Gaussian per component, of mean 0 and given variance, as mixtures with K = 1."""
    variances = np.asarray(variances, dtype=np.float64)[:, None]
    return np.ones_like(variances), np.zeros_like(variances), variances.copy()


def mixture_marginals(weights, means, variances):
    """Marginals of fitted mixtures (D, K): one Gaussian each where no second one is used."""
    used = weights.any(0)
    if not used[1:].any():
        return GaussianMarginals(torch.tensor(means[:, 0]), torch.tensor(variances[:, 0]))
    return MixtureMarginals(*(torch.tensor(p[:, used]) for p in (weights, means, variances)))


def join(parts, columns):
    """Put marginals side by side; `columns` are the components of each part."""
    if len(parts) == 1:
        return parts[0]
    return JoinedMarginals(parts, [torch.from_numpy(np.asarray(c)) for c in columns])
