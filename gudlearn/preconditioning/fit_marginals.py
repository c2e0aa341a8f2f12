"""Fits of one-dimensional marginals."""

import numpy as np
import torch

from gudlearn.encoding.bin_tables import MAX_ATOMS
from gudlearn.preconditioning.marginals import (
    AtomMarginals,
    GaussianMarginals,
    JoinedMarginals,
    LadderMarginals,
    MixtureMarginals,
)

_MEMBERS = (1, 2, 4, 8, 12, 16, 24, 32)
_MAX_POINTS = 2048
# Columns whose mixtures are fitted at once: their arrays are the largest of all.
_MOST_COLUMNS = 4096


def stretch(Z, holes):
    """Replace what is unknown in each column of Z (n, D) by quantiles of what is known."""
    for j in np.flatnonzero(holes.any(0)):
        unknown = holes[:, j]
        share = (np.arange(unknown.sum()) + 0.5) / unknown.sum()
        Z[unknown, j] = np.quantile(Z[~unknown, j], share, method="inverted_cdf")


def fit_mixtures(Z, n_observed_values=None, *, floor=1e-2, max_members=8, max_points=_MAX_POINTS):
    """Fit one mixture of Gaussians to each column by expectation-maximisation.

    The number of members is chosen by the Bayesian information criterion. Long columns are
    thinned to the means of blocks of order statistics, which keeps the fit deterministic. One
    member more, of weight 1/(n_observed_values + 2) and as wide as the range, keeps outliers from costing
    their square.

    Parameters
    ----------
    Z : ndarray of shape (n, D)
    n_observed_values : ndarray of shape (D,) or None
        Of so many values is each column made; None: of all n.
    floor : float
        Smallest standard deviation of a member, as a share of the column's.
    max_members : int
        Greatest number of members, the wide one not counted.
    max_points : int
        Longer columns are thinned to as many points.

    Returns
    -------
    weights, means, variances : ndarray of shape (D, K)
        Unused members have weight 0 and variance 1.
    """
    n_observed_values = np.full(Z.shape[1], len(Z)) if n_observed_values is None else n_observed_values
    most = n_observed_values.max()
    n_members = [k for k in _MEMBERS if k == 1 or (k * 10 <= most and k <= max_members)]
    parts = []
    for start in range(0, Z.shape[1], _MOST_COLUMNS):
        some = slice(start, start + _MOST_COLUMNS)
        parts.append(_fit_columns(Z[:, some], n_observed_values[some], n_members, floor, max_points))
    return tuple(map(np.concatenate, zip(*parts, strict=True)))


def _fit_columns(Z, n_observed_values, n_members, floor, max_points):
    """The fit of a few columns, by so many members; see `fit_mixtures`."""
    n, n_columns = Z.shape
    mean, std = Z.mean(0), Z.std(0)
    std = np.where(std > 0, std, 1.0)
    ordered = np.sort((Z - mean) / std, axis=0)
    if n > max_points:
        edges = np.linspace(0, n, max_points + 1).astype(int)
        ordered = np.add.reduceat(ordered, edges[:-1], axis=0) / np.diff(edges)[:, None]
    x = torch.from_numpy(np.ascontiguousarray(ordered.T))
    width = max(n_members)
    weights = np.zeros((n_columns, width))
    means, variances = np.zeros((n_columns, width)), np.ones((n_columns, width))
    best = np.full(n_columns, np.inf)
    for k in n_members:
        w, m, v, log_lik = _expectation_maximisation(x, k, floor)
        criterion = (3 * k - 1) * np.log(n_observed_values) - 2 * n_observed_values * log_lik
        better = (criterion < best) & ((k == 1) | (k * 10 <= n_observed_values))
        best = np.where(better, criterion, best)
        weights[better], means[better], variances[better] = 0.0, 0.0, 1.0
        for target, found in ((weights, w), (means, m), (variances, v)):
            target[better, :k] = found[better]
    wide = 1 / (n_observed_values[:, None] + 2)
    weights = np.hstack([weights * (1 - wide), wide])
    means = np.hstack([means, np.zeros_like(wide)])
    spread = np.maximum(np.ptp(ordered, axis=0), 1.0)[:, None]
    variances = np.hstack([variances, spread**2])
    means = means * std[:, None] + mean[:, None]
    return weights, means, variances * (std**2)[:, None]


def _expectation_maximisation(x, k, floor, n_iterations=40):
    """EM from the quantiles of standardised, sorted columns x (D, n); arrays (D, k), (D,)."""
    n_columns, n = x.shape
    if k == 1:
        m, v = x.mean(1, keepdim=True), x.var(1, correction=0, keepdim=True)
        v = v.clamp(min=floor**2)
        log_lik = -0.5 * (np.log(2 * np.pi) + v.log() + x.var(1, correction=0, keepdim=True) / v)
        return np.ones((n_columns, 1)), m.numpy(), v.numpy(), log_lik[:, 0].numpy()
    cells = torch.tensor_split(x, k, dim=1)
    m = torch.stack([c.mean(1) for c in cells], 1)
    v = torch.stack([c.var(1, correction=0) for c in cells], 1).clamp(min=(2 * floor) ** 2)
    w = torch.full_like(m, 1 / k)
    # Powers of x turn both sums over rows into one matrix product.
    powers = torch.stack([torch.ones_like(x), x, x * x], -1)
    for _ in range(n_iterations):
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


def bin_marginals(tables, first, step):
    """Atoms of discrete components, in their own units.

    Parameters
    ----------
    tables : list of BinTable
    first, step : ndarray of shape (D,)
        Position of the first level of each table, and distance of neighbours.
    """
    sizes = np.array([len(t.log_pmf) for t in tables])
    parts, columns = [], []
    few, many = np.flatnonzero(sizes <= MAX_ATOMS), np.flatnonzero(sizes > MAX_ATOMS)
    if len(few):
        width = sizes[few].max()
        weights, means = np.zeros((len(few), width)), np.zeros((len(few), width))
        for row, i in enumerate(few):
            weights[row, : sizes[i]] = np.exp(tables[i].log_pmf)
            means[row] = first[i] + step[i] * np.minimum(np.arange(width), sizes[i] - 1)
        parts.append(AtomMarginals(torch.from_numpy(weights), torch.from_numpy(means)))
        columns.append(few)
    if len(many):
        parts.append(
            LadderMarginals(
                [torch.from_numpy(tables[i].log_pmf) for i in many],
                torch.from_numpy(first[many]),
                torch.from_numpy(step[many]),
            )
        )
        columns.append(many)
    return parts, columns


def gaussians(variances):
    """One Gaussian of mean 0 and given variance per component, as mixtures of one member."""
    variances = np.asarray(variances, dtype=np.float64)[:, None]
    return np.ones_like(variances), np.zeros_like(variances), variances.copy()


def mixture_marginals(weights, means, variances):
    """Mixtures as fitted; one Gaussian each where none has two members."""
    used = weights.any(0)
    if not used[1:].any():
        return GaussianMarginals(torch.tensor(means[:, 0]), torch.tensor(variances[:, 0]))
    return MixtureMarginals(*(torch.tensor(p[:, used]) for p in (weights, means, variances)))


def join(parts, columns):
    """Put parts side by side in the order of the components."""
    if len(parts) == 1:
        return parts[0]
    return JoinedMarginals(parts, [torch.from_numpy(np.asarray(c)) for c in columns])
