"""The fit of the joint Gaussian: factor analysis of rows with holes."""

import numpy as np
import torch

from gudlearn.preconditioning.joint import covariance_inflation

# With one factor fewer than components the covariance is any at all. Factors cost their cube in
# every row that is denoised: of few rows that is little.
_MOST_FACTORS, _MOST_FACTORS_OF_FEW, _FEW_ROWS = 16, 32, 1000
# Beyond this many components the factors are a small part of what they say of each other.
MOST_COMPONENTS = 256
# More rows are thinned to so many.
_MOST_ROWS = 4096
_ITERATIONS = 40
# Columns known in fewer rows, or that vary less than this share of their spread, are left alone.
_LEAST_ROWS, _LEAST_STD = 20, 1e-6
# Share of its variance that a component has for itself at the least.
_LEAST_OWN = 3e-4
# By how much of their variance the factors may be shrunk.
_SHRINKAGE = (0.0, 1e-3, 3e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7)
# Of so many rows one is held out to choose by, and gains this many standard errors.
_HELD_OUT, _LEAST_GAIN = 5, 1.0


def fit_joint(Z, holes=None, most=None, labels=None, spread=None):
    """Fit a Gaussian law to components; None where they are as good as independent.

    Parameters
    ----------
    Z : ndarray of shape (n, D)
    holes : ndarray of shape (n, D) of bool or None
        What of it is not known.
    most : int or None
        Number of factors at most; None is by the number of rows.
    labels : ndarray of shape (n,) or None
        Classes 0, ..., C of the rows. The law is one of C values more, which tell them apart: the
        k-th is 1 in class k. Where the values would be too many there are none.
    spread : ndarray of shape (D,) or None
        Standard deviations that the components have in rows of all kinds; None: 1.

    Returns
    -------
    (mean, std, loadings) or None
        Arrays (D,), (D,) and (D, k), or D + C in the place of D: see `JointGaussian`.

    Notes
    -----
    Expectation-maximisation from the leading axes of the correlations (Rubin, Thayer 1982, "EM
    algorithms for ML factor analysis"). The factors are shrunk by a share that predicts every fifth
    row best from the others, and given up where those rows gain nothing that is beyond chance.
    Classes are given there: they are neither predicted nor do they predict each other.
    """
    order = np.random.default_rng(0).permutation(len(Z))[:_MOST_ROWS]
    Z = Z[order]
    known = np.ones(Z.shape) if holes is None else ~holes[order]
    n_values = 0 if labels is None else int(labels.max())
    n_values *= Z.shape[1] + n_values <= MOST_COMPONENTS
    if n_values:
        Z = np.hstack([Z, labels[order, None] == np.arange(n_values)])
        known = np.hstack([known, np.ones((len(Z), n_values))])
    n_components = Z.shape[1]
    Y, known = (torch.from_numpy(np.ascontiguousarray(a, float)) for a in (Z, known))
    count = known.sum(0)
    mean = (Y * known).sum(0) / count.clamp(min=1)
    Y = (Y - mean) * known
    std = (Y.square().sum(0) / count.clamp(min=1)).sqrt()
    # A column that is hardly known, or whose known values are all the same, has nothing to say.
    if most is None:
        most = _MOST_FACTORS_OF_FEW if len(Y) <= _FEW_ROWS else _MOST_FACTORS
    most = min(most, max(len(Y), _LEAST_ROWS))
    least = torch.full_like(std, _LEAST_STD)
    if spread is not None:
        least[: len(spread)] *= torch.from_numpy(spread)
    varies = std > least
    some = (count >= max(_LEAST_ROWS, min(n_components, most))) & varies
    std = torch.where(varies, std, least / _LEAST_STD)
    if some.sum() < 2:
        return None
    n_values = int(some[n_components - n_values :].sum())
    found = _fit_standard((Y / std)[:, some], known[:, some], most, n_values)
    if found is None:
        return None
    shift, scale = torch.zeros_like(mean), torch.ones_like(mean)
    loadings = torch.zeros(n_components, found[2].shape[1], dtype=Y.dtype)
    shift[some], scale[some], loadings[some] = found
    return tuple(p.numpy() for p in (mean + std * shift, std * scale, loadings))


def _fit_standard(Y, known, most, n_values=0):
    """Mean, standard deviation and loadings of standardised columns, zero where not known.

    The last n_values tell classes apart.
    """
    held = torch.arange(len(Y)) % _HELD_OUT == 0
    law = _analyse(Y[~held], known[~held], most)
    scores = [_log_likelihood(Y[held], known[held], _shrink(*law, s), n_values) for s in _SHRINKAGE]
    best = max(range(len(scores)), key=lambda i: float(scores[i].sum()))
    # By row, over columns that are independent.
    alone = slice(Y.shape[1] - n_values)
    gain = scores[best] - _doubted(Y[held, alone].square().sum(1), known[held, alone].sum(1))
    if not gain.mean() > _LEAST_GAIN * gain.std() / len(gain) ** 0.5:
        return None
    shift, loadings, own = _shrink(*_analyse(Y, known, most), _SHRINKAGE[best])
    total = own + loadings.square().sum(1)
    loadings = loadings / total.sqrt()[:, None]
    # Rows of a norm of one leave nothing that is a component's own.
    norm = loadings.square().sum(1, keepdim=True)
    loadings = loadings * ((1 - _LEAST_OWN) / norm.clamp(min=1 - _LEAST_OWN)).sqrt()
    return shift, total.sqrt(), loadings


def _analyse(Y, known, most):
    """Shift (D,), loadings (D, k) and own variances (D,) of most likelihood."""
    shift, loadings, own = _first_factors(Y, known, most)
    if known.all():
        return _analyse_complete(Y, loadings, own)
    for _ in range(_ITERATIONS):
        shift, loadings, own = _improve(Y, known, shift, loadings, own)
    return shift, loadings, own


def _analyse_complete(Y, loadings, own):
    """The same from rows without holes, by their covariance."""
    shift = Y.mean(0)
    if loadings.shape[1] == len(own) - 1:
        return shift, loadings, own
    covariance = (Y - shift).T @ (Y - shift) / len(Y)
    unit = torch.eye(loadings.shape[1], dtype=Y.dtype)
    for _ in range(_ITERATIONS):
        weighted = loadings / own[:, None]
        rest = torch.linalg.inv(unit + loadings.T @ weighted)
        regression = weighted @ rest
        target = covariance @ regression
        loadings = torch.linalg.solve(rest + regression.T @ target, target.T).T
        own = (covariance.diagonal() - (loadings * target).sum(1)).clamp(min=_LEAST_OWN)
    return shift, loadings, own


def _shrink(shift, loadings, own, share):
    """Move a share of the factors' variance to the components themselves."""
    return shift, loadings * (1 - share) ** 0.5, own + share * loadings.square().sum(1)


def _log_likelihood(Y, known, law, n_values=0):
    """Twice the log-likelihood of what is known of each row, (n,), but for a constant.

    It is that given the last n_values. Of rows that do not fit as of ones that are doubted: a few
    must not decide for all.
    """
    distance, log_det = _distance(Y, known, *law)
    n_observed_values = known.sum(1)
    if n_values:
        given, among = known[:, -n_values:], [part[-n_values:] for part in law]
        off, spread = _distance(Y[:, -n_values:], given, *among)
        distance, log_det, n_observed_values = distance - off, log_det - spread, n_observed_values - given.sum(1)
    return _doubted(distance, n_observed_values) - log_det


def _distance(Y, known, shift, loadings, own):
    """Squared distance of what is known of each row, and the log-determinant, each (n,)."""
    off, weight = Y - shift, known / own
    drawn = (weight * off) @ loadings
    if known.all():
        precision = _precision(weight[:1], loadings)
        factors = torch.linalg.solve(precision[0], drawn.T).T
    else:
        precision = _precision(weight, loadings)
        factors = torch.linalg.solve(precision, drawn[:, :, None])[:, :, 0]
    distance = (weight * off * off).sum(1) - (drawn * factors).sum(1)
    return distance, (known * own.log()).sum(1) + torch.linalg.slogdet(precision)[1]


def _doubted(distance, n_observed_values):
    """Of n_observed_values values at a squared distance, (n,): twice the log of the exponential and a width.

    The width of the law is that of `JointGaussian`'s covariance_inflation.
    """
    width = covariance_inflation(distance, n_observed_values.clamp(min=1))
    return -distance / width - n_observed_values * width.log()


def _precision(weight, loadings):
    """Precision of the factors given components of these weights, (n, k, k)."""
    k = loadings.shape[1]
    products = (loadings[:, :, None] * loadings[:, None]).flatten(1)
    return (weight @ products).view(-1, k, k) + torch.eye(k, dtype=loadings.dtype)


def _first_factors(Y, known, most):
    """Leading axes of the pairwise correlations: no shift, loadings (D, k) and own variances."""
    correlation = (Y.T @ Y) / (known.T @ known).clamp(min=1)
    values, axes = torch.linalg.eigh(correlation)
    k = min(len(values) - 1, most)
    rest = values[:-k].clamp(min=_LEAST_OWN).mean()
    loadings = axes[:, -k:] * (values[-k:] - rest).clamp(min=0).sqrt()
    own = (correlation.diagonal() - loadings.square().sum(1)).clamp(min=_LEAST_OWN)
    return torch.zeros(len(values), dtype=Y.dtype), loadings, own


def _factors(Y, known, shift, loadings, own):
    """Mean (n, k) and second moments (n, k, k) of the factors of each row."""
    weight = known / own
    covariance = torch.linalg.inv(_precision(weight, loadings))
    mean = torch.einsum("nij,nj->ni", covariance, (weight * (Y - shift)) @ loadings)
    return mean, covariance + mean[:, :, None] * mean[:, None]


def _improve(Y, known, shift, loadings, own):
    """One step of expectation-maximisation."""
    mean, second = _factors(Y, known, shift, loadings, own)
    k = mean.shape[1]
    # Each column's regression on the factors and a constant, over the rows where it is known.
    first = torch.cat([mean, torch.ones(len(mean), 1, dtype=Y.dtype)], 1)
    moments = torch.cat([torch.cat([second, mean[:, :, None]], 2), first[:, None]], 1)
    normal = (known.T @ moments.flatten(1)).view(-1, k + 1, k + 1)
    target = (known * Y).T @ first
    found = torch.linalg.solve(normal, target[..., None])[..., 0]
    count = known.sum(0).clamp(min=1)
    own = ((known * Y * Y).sum(0) - (found * target).sum(1)) / count
    return found[:, k], found[:, :k], own.clamp(min=_LEAST_OWN)
