"""Fit of the joint Gaussian: factor analysis of rows with missing values."""

from typing import NamedTuple

import numpy as np
import torch

from gudlearn.preconditioning.joint import covariance_inflation

# One factor fewer than components gives any covariance. The run time of the denoiser is cubic in
# the number of factors, which matters less with few rows.
_MOST_FACTORS, _MOST_FACTORS_OF_FEW, _FEW_ROWS = 16, 32, 1000
# Nearly collinear components need as many factors as they are: complete rows get that many, up to
# a limit, where held-out rows gain this many nats for each component.
_MOST_FACTORS_OF_COLLINEAR, _LEAST_GAIN_OF_MORE = 64, 0.03
# With more components than this, few factors explain little of their correlations.
MOST_COMPONENTS = 256
# More rows than this are thinned.
_MOST_ROWS = 4096
_ITERATIONS = 40
# Columns with fewer observed values, or whose standard deviation is below this fraction of the
# expected one, have no part in the factors.
_LEAST_ROWS, _LEAST_STD = 20, 1e-6
# Least specific variance of a component, as a fraction of its variance.
_LEAST_SPECIFIC = 3e-4
# Fractions of the factors' variance that may be moved to the specific variances.
_SHRINKAGE = (0.0, 1e-3, 3e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7)
# One row in this many is held out to choose the shrinkage. Factors are kept if those rows gain
# more than this many standard errors.
_HELD_OUT, _LEAST_GAIN = 5, 1.0


class _Factors(NamedTuple):
    """Factor model of standardised columns: means, loadings and specific variances."""

    shift: torch.Tensor
    loadings: torch.Tensor
    specific: torch.Tensor


def fit_joint(Z, missing=None, most_factors=None, labels=None, std=None, collinear=False):
    """Fit a joint Gaussian to components; None where they are as good as independent.

    Parameters
    ----------
    Z : ndarray of shape (n, D)
    missing : ndarray of shape (n, D) of bool, or None
        Entries of Z that are missing.
    most_factors : int or None
        Largest number of factors; None: by the number of rows.
    labels : ndarray of shape (n,) or None
        Classes 0, ..., C of the rows. The Gaussian then also has C indicators of classes: the k-th
        is 1 in class k. They are left out if there are too many of them.
    std : ndarray of shape (D,) or None
        Standard deviations of the components in all rows; None: 1. A component that varies much
        less in Z counts as constant.
    collinear : bool
        Whether complete rows may have more factors where held-out rows gain clearly by them.

    Returns
    -------
    (mean, std, loadings) or None
        Arrays (D,), (D,) and (D, k), or with D + C in place of D: see `JointGaussian`.

    Notes
    -----
    Expectation-maximisation from the leading eigenvectors of the correlations (Rubin, Thayer 1982,
    "EM algorithms for ML factor analysis"). The factors are shrunk by the fraction under which
    every fifth row is predicted best by the others, and dropped where those rows gain nothing
    beyond chance. Indicators of classes are given there: they are not predicted, nor do they
    predict each other.
    """
    Z, observed, n_indicators = _with_indicators(Z, missing, labels)
    n_components = Z.shape[1]
    Y, observed = (torch.from_numpy(np.ascontiguousarray(a, float)) for a in (Z, observed))
    count = observed.sum(0)
    mean = (Y * observed).sum(0) / count.clamp(min=1)
    Y = (Y - mean) * observed
    scale = (Y.square().sum(0) / count.clamp(min=1)).sqrt()
    if most_factors is None:
        most_factors = _MOST_FACTORS_OF_FEW if len(Y) <= _FEW_ROWS else _MOST_FACTORS
    most_factors = min(most_factors, max(len(Y), _LEAST_ROWS))
    least = torch.full_like(scale, _LEAST_STD)
    if std is not None:
        least[: len(std)] *= torch.from_numpy(std)
    varies = scale > least
    # Columns that are hardly observed, or constant, explain nothing.
    used = (count >= max(_LEAST_ROWS, min(n_components, most_factors))) & varies
    scale = torch.where(varies, scale, least / _LEAST_STD)
    if used.sum() < 2:
        return None
    n_indicators = int(used[n_components - n_indicators :].sum())
    scaled, observed = (Y / scale)[:, used], observed[:, used]
    if collinear and not n_indicators:
        most_factors = _more_factors(scaled, observed, most_factors)
    found = _fit_standardised(scaled, observed, most_factors, n_indicators)
    if found is None:
        return None
    shift, ratio = torch.zeros_like(mean), torch.ones_like(mean)
    loadings = torch.zeros(n_components, found[2].shape[1], dtype=Y.dtype)
    shift[used], ratio[used], loadings[used] = found
    return tuple(p.numpy() for p in (mean + scale * shift, scale * ratio, loadings))


def factors_of_covariance(mean, covariance, most_factors):
    """The joint Gaussian of a mean (D,) and a covariance (D, D), with a limited number of factors.

    Returns
    -------
    mean, std, loadings : ndarray of shape (D,), (D,) and (D, k)
    """
    std = np.sqrt(np.diag(covariance))
    correlation = torch.from_numpy(covariance / std[:, None] / std)
    values, axes = torch.linalg.eigh(correlation)
    factors = _leading_factors(correlation, values, axes, most_factors)
    _, loadings, specific = _analyse_covariance(correlation, factors)
    _, ratio, loadings = _in_unit_variance(factors.shift, loadings, specific)
    return mean, std * ratio.numpy(), loadings.numpy()


def _with_indicators(Z, missing, labels):
    """Rows, thinned, with indicators of their classes; what is observed; how many indicators."""
    order = np.random.default_rng(0).permutation(len(Z))[:_MOST_ROWS]
    Z = Z[order]
    observed = np.ones(Z.shape) if missing is None else ~missing[order]
    n_indicators = 0 if labels is None else int(labels.max())
    n_indicators *= Z.shape[1] + n_indicators <= MOST_COMPONENTS
    if n_indicators:
        Z = np.hstack([Z, labels[order, None] == np.arange(n_indicators)])
        observed = np.hstack([observed, np.ones((len(Z), n_indicators))])
    return Z, observed, n_indicators


def _fit_standardised(Y, observed, most_factors, n_indicators=0):
    """Mean, standard deviation and loadings of standardised columns, zero where missing.

    The last n_indicators columns are indicators of classes.
    """
    held_out = torch.arange(len(Y)) % _HELD_OUT == 0
    factors = _analyse(Y[~held_out], observed[~held_out], most_factors)
    Y_held_out, observed_held_out = Y[held_out], observed[held_out]
    scores = [
        _log_likelihood(Y_held_out, observed_held_out, _shrunk(factors, fraction), n_indicators)
        for fraction in _SHRINKAGE
    ]
    best = max(range(len(scores)), key=lambda i: float(scores[i].sum()))
    columns = slice(Y.shape[1] - n_indicators)
    independent = _robust_log_likelihood(
        Y_held_out[:, columns].square().sum(1), observed_held_out[:, columns].sum(1)
    )
    gain = scores[best] - independent
    if not gain.mean() > _LEAST_GAIN * gain.std() / len(gain) ** 0.5:
        return None
    shift, loadings, specific = _shrunk(_analyse(Y, observed, most_factors), _SHRINKAGE[best])
    return _in_unit_variance(shift, loadings, specific)


def _more_factors(Y, observed, most_factors):
    """A larger number of factors, if held-out rows gain clearly by it."""
    more = min(Y.shape[1] - 1, _MOST_FACTORS_OF_COLLINEAR)
    if more <= most_factors or not observed.all():
        return most_factors
    held_out = torch.arange(len(Y)) % _HELD_OUT == 0
    train, test = ((Y[rows], observed[rows]) for rows in (~held_out, held_out))
    scores = [_log_likelihood(*test, _analyse(*train, k)).mean() / 2 for k in (most_factors, more)]
    return more if scores[1] > scores[0] + _LEAST_GAIN_OF_MORE * Y.shape[1] else most_factors


def _in_unit_variance(shift, loadings, specific):
    """Shift, standard deviations, and loadings in their units."""
    total = specific + loadings.square().sum(1)
    loadings = loadings / total.sqrt()[:, None]
    # Loadings of norm one leave a component no specific variance.
    norm = loadings.square().sum(1, keepdim=True)
    loadings = loadings * ((1 - _LEAST_SPECIFIC) / norm.clamp(min=1 - _LEAST_SPECIFIC)).sqrt()
    return shift, total.sqrt(), loadings


def _analyse(Y, observed, most_factors):
    """Maximum-likelihood factors of standardised columns."""
    factors = _first_factors(Y, observed, most_factors)
    if observed.all():
        return _analyse_complete(Y, factors)
    for _ in range(_ITERATIONS):
        factors = _em_step(Y, observed, factors)
    return factors


def _analyse_complete(Y, factors):
    """The same for rows without missing values, from their covariance."""
    shift = Y.mean(0)
    covariance = (Y - shift).T @ (Y - shift) / len(Y)
    return _analyse_covariance(covariance, _Factors(shift, *factors[1:]))


def _analyse_covariance(covariance, factors):
    """Maximum-likelihood factors of a covariance, from a first guess."""
    shift, loadings, specific = factors
    if loadings.shape[1] == len(specific) - 1:
        return factors
    unit = torch.eye(loadings.shape[1], dtype=loadings.dtype)
    for _ in range(_ITERATIONS):
        weighted = loadings / specific[:, None]
        posterior_covariance = torch.linalg.inv(unit + loadings.T @ weighted)
        regression = weighted @ posterior_covariance
        target = covariance @ regression
        second = posterior_covariance + regression.T @ target
        loadings = torch.linalg.solve(second, target.T).T
        specific = covariance.diagonal() - (loadings * target).sum(1)
        specific = specific.clamp(min=_LEAST_SPECIFIC)
    return _Factors(shift, loadings, specific)


def _shrunk(factors, fraction):
    """Move a fraction of the factors' variance to the specific variances."""
    shift, loadings, specific = factors
    specific = specific + fraction * loadings.square().sum(1)
    return _Factors(shift, loadings * (1 - fraction) ** 0.5, specific)


def _log_likelihood(Y, observed, factors, n_indicators=0):
    """Twice the log-likelihood of the observed values of each row, (n,), but for a constant.

    It is conditional on the last n_indicators columns, and robust: a few rows that do not fit must
    not decide for all.
    """
    distance, log_det = _distance(Y, observed, factors)
    n_values = observed.sum(1)
    if n_indicators:
        given = observed[:, -n_indicators:]
        of_indicators = _Factors(*(part[-n_indicators:] for part in factors))
        off, off_log_det = _distance(Y[:, -n_indicators:], given, of_indicators)
        distance, log_det = distance - off, log_det - off_log_det
        n_values = n_values - given.sum(1)
    return _robust_log_likelihood(distance, n_values) - log_det


def _distance(Y, observed, factors):
    """Squared distance of the observed values of each row, and the log-determinant, each (n,)."""
    shift, loadings, specific = factors
    off, weight = Y - shift, observed / specific
    projected = (weight * off) @ loadings
    if observed.all():
        precision = _precision(weight[:1], loadings)
        scores = torch.linalg.solve(precision[0], projected.T).T
    else:
        precision = _precision(weight, loadings)
        scores = torch.linalg.solve(precision, projected[:, :, None])[:, :, 0]
    distance = (weight * off * off).sum(1) - (projected * scores).sum(1)
    return distance, (observed * specific.log()).sum(1) + torch.linalg.slogdet(precision)[1]


def _robust_log_likelihood(distance, n_values):
    """Twice the log-density, but for a constant, of n_values values at a squared distance; (n,).

    The covariance of a row is inflated as in `JointGaussian`.
    """
    inflation = covariance_inflation(distance, n_values.clamp(min=1))
    return -distance / inflation - n_values * inflation.log()


def _precision(weight, loadings):
    """Precision of the factors given components of these weights, (n, k, k)."""
    k = loadings.shape[1]
    products = (loadings[:, :, None] * loadings[:, None]).flatten(1)
    return (weight @ products).view(-1, k, k) + torch.eye(k, dtype=loadings.dtype)


def _first_factors(Y, observed, most_factors):
    """Factors along the leading eigenvectors of the pairwise correlations."""
    correlation = (Y.T @ Y) / (observed.T @ observed).clamp(min=1)
    return _leading_factors(correlation, *torch.linalg.eigh(correlation), most_factors)


def _leading_factors(correlation, values, axes, most_factors):
    """Factors along the leading eigenvectors of correlations."""
    k = min(len(values) - 1, most_factors)
    rest = values[:-k].clamp(min=_LEAST_SPECIFIC).mean()
    loadings = axes[:, -k:] * (values[-k:] - rest).clamp(min=0).sqrt()
    specific = (correlation.diagonal() - loadings.square().sum(1)).clamp(min=_LEAST_SPECIFIC)
    return _Factors(torch.zeros_like(values), loadings, specific)


def _posterior_moments(Y, observed, factors):
    """Mean (n, k) and second moments (n, k, k) of the factors of each row."""
    shift, loadings, specific = factors
    weight = observed / specific
    covariance = torch.linalg.inv(_precision(weight, loadings))
    mean = torch.einsum("nij,nj->ni", covariance, (weight * (Y - shift)) @ loadings)
    return mean, covariance + mean[:, :, None] * mean[:, None]


def _em_step(Y, observed, factors):
    """One step of expectation-maximisation."""
    mean, second = _posterior_moments(Y, observed, factors)
    k = mean.shape[1]
    # Each column's regression on the factors and a constant, over the rows where it is observed.
    first = torch.cat([mean, torch.ones(len(mean), 1, dtype=Y.dtype)], 1)
    moments = torch.cat([torch.cat([second, mean[:, :, None]], 2), first[:, None]], 1)
    normal = (observed.T @ moments.flatten(1)).view(-1, k + 1, k + 1)
    target = (observed * Y).T @ first
    found = torch.linalg.solve(normal, target[..., None])[..., 0]
    count = observed.sum(0).clamp(min=1)
    specific = ((observed * Y * Y).sum(0) - (found * target).sum(1)) / count
    return _Factors(found[:, k], found[:, :k], specific.clamp(min=_LEAST_SPECIFIC))
