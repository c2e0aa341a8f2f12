"""Completion of encoded rows: draws of their missing values under a joint distribution.

If values are missing at random, but not completely at random, the observed values of a column have
another distribution than all of them, and marginals that are fitted to them are biased. A joint
distribution that is fitted to all that is observed is not, and neither are marginals of rows that
it completes.
"""

import numpy as np
import torch

from gudlearn.preconditioning.gaussians import (
    ObservedRows,
    draw_missing,
    fit_gaussians,
    log_likelihood,
)

# Numbers of Gaussians in the order in which they are tried, and the smallest gain on held-out rows
# in nats per row that counts.
_N_GAUSSIANS, _LEAST_GAIN = (2, 4, 8), 0.02
# More rows are thinned, and so are rows with that many different sets of observed components that
# their number times the cube of the number of components exceeds this.
_MOST_ROWS, _MOST_WORK = 4096, 8e6
# With fewer rows, or more components, one Gaussian has to do.
_LEAST_ROWS, _MOST_COMPONENTS = 100, 64
# Of the fits; the rows drawn from them only have to be better than a first guess.
_PRECISION = {"iterations": 10, "progress": 5e-3}
# One row in this many is held out.
_HELD_OUT = 5
# Rows that are completed at once.
_BATCH = 4096


def fit_completion(Z, missing):
    """Fit a mixture of Gaussians to rows with missing values; None where one is as good.

    Parameters
    ----------
    Z : ndarray of shape (n, D)
    missing : ndarray of shape (n, D) of bool

    Returns
    -------
    Gaussians or None
    """
    if len(Z) < _LEAST_ROWS or Z.shape[1] > _MOST_COMPONENTS:
        return None
    order = np.random.default_rng(0).permutation(len(Z))[:_MOST_ROWS]
    _, first = np.unique(missing[order], axis=0, return_index=True)
    most_sets = max(_LEAST_ROWS, int(_MOST_WORK / Z.shape[1] ** 3))
    if len(first) > most_sets:
        # Up to the first row of the set that is one too many.
        order = order[: np.sort(first)[most_sets]]
    rows = ObservedRows(Z[order], missing[order])
    held_out = np.arange(len(order)) % _HELD_OUT == 0
    train, test = (rows.take(np.flatnonzero(part)) for part in (~held_out, held_out))
    best = fit_gaussians(train, 1, **_PRECISION)
    score_of_best = log_likelihood(test, best).numpy()
    for n_gaussians in _N_GAUSSIANS:
        if len(train) < n_gaussians * 2 * Z.shape[1]:
            break
        found = fit_gaussians(train, n_gaussians, **_PRECISION)
        score = log_likelihood(test, found).numpy()
        gain = score - score_of_best
        if not gain.mean() > max(_LEAST_GAIN, gain.std() / len(gain) ** 0.5):
            break
        best, score_of_best = found, score
    n_best = len(best.weights)
    return fit_gaussians(rows, n_best, start=best, **_PRECISION) if n_best > 1 else None


def completed_by_mixture(Z, missing, gaussians):
    """Rows whose missing values are drawn from a mixture of Gaussians given the observed ones."""
    rng = np.random.default_rng(0)
    parts = [slice(start, start + _BATCH) for start in range(0, len(Z), _BATCH)]
    return np.concatenate(
        [draw_missing(ObservedRows(Z[part], missing[part]), gaussians, rng) for part in parts]
    )


def completed_by_factors(Z, missing, factors, labels=None):
    """Rows whose missing values are drawn from a joint Gaussian given the observed ones.

    Parameters
    ----------
    Z : ndarray of shape (n, D)
    missing : ndarray of shape (n, D) of bool
    factors : (mean, std, loadings)
        See `JointGaussian`; those of class indicators follow the first D.
    labels : ndarray of shape (n,) or None
        Classes 0, ..., C of the rows.

    Returns
    -------
    ndarray of shape (n, D)
    """
    rng, (mean, std, loadings) = np.random.default_rng(0), factors
    n_components, n_indicators = Z.shape[1], len(mean) - Z.shape[1]
    if n_indicators:
        indicators = labels[:, None] == np.arange(n_indicators)
        Z = np.hstack([Z, indicators])
        missing = np.hstack([missing, np.zeros_like(indicators)])
    specific = 1 - np.square(loadings).sum(1)
    complete = Z.copy()
    for start in range(0, len(Z), _BATCH):
        part = slice(start, start + _BATCH)
        absent = missing[part]
        f = rng.standard_normal((len(absent), loadings.shape[1]))
        e = rng.standard_normal(absent.shape)
        drawn = f @ loadings.T + np.sqrt(specific) * e
        off = np.where(absent, 0.0, (Z[part] - mean) / std - drawn)
        drawn = mean + std * (drawn + _factors_given(off, ~absent, loadings, specific))
        complete[part] = np.where(absent, drawn, Z[part])
    return complete[:, :n_components]


def _factors_given(off, observed, loadings, specific):
    """What factors add to each component, (n, D), given observed deviations from the mean."""
    weight = torch.from_numpy(observed / specific)
    W = torch.from_numpy(loadings)
    products = (W[:, :, None] * W[:, None]).flatten(1)
    k = W.shape[1]
    precision = (weight @ products).view(-1, k, k) + torch.eye(k, dtype=W.dtype)
    projected = (weight * torch.from_numpy(off)) @ W
    return (torch.linalg.solve(precision, projected[:, :, None])[:, :, 0] @ W.T).numpy()
