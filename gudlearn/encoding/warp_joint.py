"""Which warps help a joint Gaussian: a map of one column may bend its relations to others."""

import numpy as np

_MOST_ROWS, _FOLDS = 4096, 3
# With more columns all are warped or none.
_MOST_COLUMNS = 64
# Warps stay if they improve the held-out log-density of a row by this many standard errors.
_STANDARD_ERRORS = 2.0
# One row may not decide alone: differences count up to this, in nats for each column.
_MOST_GAIN = 10.0
# Correlations shrink by this times columns over rows, and by a little for collinear columns.
_SHRINKAGE, _LEAST_SHRINKAGE = 0.05, 1e-6


def choose_jointly(X, Z, log_slope, columns, labels=None):
    """Keep the warps with which held-out rows are likelier under a joint Gaussian.

    Nearly collinear columns lose by a warp what they gain alone: the curve of their relation.
    Columns leave one by one, as long as the likelihood grows.

    Parameters
    ----------
    X, Z : ndarray of shape (n, F)
        Rows before and after the warp; NaN where missing.
    log_slope : ndarray of shape (n, F)
        Logarithm of the slopes of the warp.
    columns : ndarray of shape (F,) of bool
        Columns that are warped.
    labels : ndarray of shape (n,) of int, or None
        Classes, around whose means the Gaussian is fitted.

    Returns
    -------
    ndarray of shape (F,) of bool
        The columns that stay warped.
    """
    order = np.random.default_rng(0).permutation(len(X))[:_MOST_ROWS]
    with np.errstate(invalid="ignore"):
        varies = np.nanmax(X, axis=0, initial=-np.inf) > np.nanmin(X, axis=0, initial=np.inf)
    X, Z = (_filled(part[order][:, varies]) for part in (X, Z))
    if labels is not None:
        X, Z = (_centred(part, labels[order]) for part in (X, Z))
    log_slope = np.nan_to_num(log_slope[order][:, varies])
    warped = columns[varies]

    def log_density(warped):
        return _held_out(np.where(warped, Z, X)) + log_slope[:, warped].sum(1)

    without = log_density(np.zeros_like(warped))
    found = log_density(warped)
    limit = _MOST_GAIN * len(warped)
    while len(warped) <= _MOST_COLUMNS and warped.sum() > 1:
        fewer = [warped & (np.arange(len(warped)) != j) for j in np.flatnonzero(warped)]
        densities = [log_density(some) for some in fewer]
        gains = [np.clip(one - found, -limit, limit).mean() for one in densities]
        if max(gains) <= 0:
            break
        warped, found = fewer[int(np.argmax(gains))], densities[int(np.argmax(gains))]
    gain = np.clip(found - without, -limit, limit)
    chosen = np.zeros_like(columns)
    if gain.mean() > _STANDARD_ERRORS * gain.std(ddof=1) / len(gain) ** 0.5:
        chosen[varies] = warped
    return chosen


def _filled(X):
    """X with the means of columns in place of missing values, standardised up to rounding."""
    mean, std = np.nanmean(X, axis=0), np.nanstd(X, axis=0)
    return np.nan_to_num((X - mean) / std) * std + mean


def _centred(X, labels):
    """X less the mean of its class."""
    classes, index = np.unique(labels, return_inverse=True)
    total = np.zeros((len(classes), X.shape[1]))
    np.add.at(total, index, X)
    return X - (total / np.bincount(index)[:, None])[index]


def _held_out(X):
    """Log-density of each row of X (n, F) under a Gaussian fitted to the other folds; (n,)."""
    fold = np.arange(len(X)) % _FOLDS
    out = np.empty(len(X))
    for f in range(_FOLDS):
        train, test = X[fold != f], X[fold == f]
        mean, std = train.mean(0), train.std(0)
        std = np.where(std > 0, std, X.std(0))
        train, test = (train - mean) / std, (test - mean) / std
        unit = np.eye(X.shape[1])
        shrinkage = min(1.0, _SHRINKAGE * X.shape[1] / len(train))
        correlation = (1 - shrinkage) * (train.T @ train) / len(train) + shrinkage * unit
        root = np.linalg.cholesky(correlation + _LEAST_SHRINKAGE * unit)
        scores = np.linalg.solve(root, test.T)
        log_det = np.log(np.diag(root)).sum() + np.log(std).sum()
        out[fold == f] = -0.5 * np.square(scores).sum(0) - log_det
    return out
