"""Principal components, all of them."""

from numbers import Real

import numpy as np

from .._constraints import Interval, StrOptions
from ._axes import principal_axes
from ._base import (
    Basis,
    batches_about,
    column_rounding,
    isotropic_noise,
    row_rounding,
    scaled,
)

_TEN_DIGITS = 1e-5


class PCABasis(Basis):
    r"""Principal components of the data, none left out.

    Parameters
    ----------
    whiten : bool or float in [0, 1], default=True
        Divide each component by its standard deviation to this power.
    shrinkage : "auto" or float in [0, 1], default="auto"
        Weight of the columns' own variances against the sample covariance. "auto" is 0, the sample
        covariance itself, from two rows per column that varies; with fewer rows it is chosen by
        the leave-one-out likelihood.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        The orthonormal matrix U, by descending variance. The entry of largest magnitude in each
        row is positive. Constant columns are components of their own and come last.
    shrinkage_ : float
        The weight that was used.
    mean_ : ndarray of shape (n_features,)
        Mean of each column.
    component_variances_ : ndarray of shape (n_components,)
        Eigenvalues of the (shrunk) covariance; dead components are floored.
    scale_ : ndarray of shape (n_components,)
        The divisor of each component; 1 for dead components.
    dead_ : ndarray of shape (n_components,)
        True for components that are constant up to rounding.
    log_abs_det_jacobian_ : float
        Logarithm of the Jacobian determinant of `transform`.
    n_components_ : int
        Number of components, equal to the number of columns.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if they were strings.

    Notes
    -----
    With shrinkage r the covariance is

    .. math:: (1 - r)\, S + r\, \mathrm{diag}(S)

    with S the sample covariance (divisor n). It keeps the variance of every column, does not depend
    on the units, and leaves no direction without variance that only a lack of rows hides.
    The natural order is -log of the variance.

    References
    ----------
    Hoffbeck, Landgrebe (1996), Covariance matrix estimation and classification with limited
    training data, IEEE TPAMI 18(7) (the leave-one-out likelihood in closed form).

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.bases import PCABasis
    >>> X = np.random.default_rng(0).normal(size=(100, 3)) * [1.0, 5.0, 2.0]
    >>> np.cov(PCABasis().fit_transform(X), rowvar=False, ddof=0).round(3) + 0.0
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 1.]])
    """

    _parameter_constraints: dict = {
        **Basis._parameter_constraints,
        "shrinkage": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="both")],
    }

    def __init__(self, whiten=True, shrinkage="auto"):
        self.whiten = whiten
        self.shrinkage = shrinkage

    def _prepare(self, n_features):
        """Any number of columns will do."""

    def _learn(self, X):
        covariance = _covariance(X, self.mean_)
        column_variances = np.diag(covariance).copy()
        constant = scaled(column_variances, column_rounding(X), whiten=False)[1]
        live = np.flatnonzero(~constant)
        self.shrinkage_ = self._resolve_shrinkage(X, live, column_variances)
        covariance *= 1 - self.shrinkage_
        np.fill_diagonal(covariance, column_variances)
        self.components_ = np.zeros(covariance.shape)
        # Constant columns stay apart, so that they come back exactly.
        self.components_[np.arange(len(live), X.shape[1]), np.flatnonzero(constant)] = 1
        eigenvalues, axes = principal_axes(covariance[np.ix_(live, live)])
        self.components_[: len(live), live] = axes
        variances = np.zeros(len(column_variances))
        variances[: len(live)] = eigenvalues
        # The mean square of the rows along u is accurate far below the rounding of the eigenvalues,
        # which is a few epsilons of the largest: it stands in for those with fewer than ten digits.
        weak = ~(variances > _TEN_DIGITS * variances.max())
        weak_axes = self.components_[weak]
        quotients = np.zeros(len(weak_axes))
        for centred in batches_about(X, self.mean_):
            quotients += np.square(centred @ weak_axes.T).sum(axis=0) / len(X)
        own = np.square(weak_axes) @ column_variances
        variances[weak] = (1 - self.shrinkage_) * quotients + self.shrinkage_ * own
        # Each column's rounding counts where the component has a share in it; that of the product
        # and of the axes goes with the rows about their mean.
        own = np.sqrt(np.square(self.components_) @ np.square(column_rounding(X)) * X.shape[1])
        return scaled(variances, own + row_rounding(X, self.mean_), self.whiten)

    def _resolve_shrinkage(self, X, live, column_variances):
        if self.shrinkage != "auto":
            return float(self.shrinkage)
        if len(live) == 0 or len(X) >= 2 * len(live):
            return 0.0
        # So few rows take no more memory than the covariance.
        return _leave_one_out_shrinkage(
            (X[:, live] - self.mean_[live]) / np.sqrt(column_variances[live])
        )

    def _rotate(self, centred):
        return centred @ self.components_.T

    def _rotate_back(self, components):
        return components @ self.components_

    def _component_names(self, input_names):
        prefix = type(self).__name__.lower()
        return [f"{prefix}{i}" for i in range(self.n_components_)]

    def _natural_order(self):
        # Dead components rank with the weakest live one, and do not stretch the range.
        order = -np.log(self.component_variances_)
        return np.where(self.dead_, order[~self.dead_].max(initial=order.min()), order)

    def _groups(self, names):
        return names

    def _columns(self):
        return None

    def _component_noise(self, column_std):
        return isotropic_noise(column_std)


def _covariance(X, mean):
    """Covariance of the columns (divisor n)."""
    total = np.zeros((X.shape[1], X.shape[1]))
    for centred in batches_about(X, mean):
        total += centred.T @ centred
    return total / len(X)


def _leave_one_out_shrinkage(standardised):
    """Shrinkage of the correlation matrix that makes the rows left out most likely.

    Leaving out row z turns the correlations R into n/(n-1) R - n/(n-1)^2 z z^T, a change of rank
    one: one eigendecomposition serves every row and every candidate.
    """
    n_samples = len(standardised)
    ratio = n_samples / (n_samples - 1)
    eigenvalues, axes = np.linalg.eigh(standardised.T @ standardised / n_samples)
    candidates = np.geomspace(1e-6, 1, 61)
    spectra = np.outer(ratio * eigenvalues.clip(0), 1 - candidates) + candidates
    distances = np.square(standardised @ axes) @ (1 / spectra)
    left = 1 - (1 - candidates) * ratio / (n_samples - 1) * distances
    left = left.clip(np.finfo(float).eps)
    loss = np.log(spectra).sum(axis=0) + np.mean(np.log(left) + ratio**2 * distances / left, axis=0)
    return float(candidates[loss.argmin()])
