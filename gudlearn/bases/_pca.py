"""Principal components, all of them."""

from numbers import Real

import numpy as np

from .._constraints import Interval, StrOptions
from ._base import Basis, column_rounding, isotropic_noise, row_rounding, scaled


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

    def _learn(self, X, centred):
        column_variances = np.square(centred).mean(axis=0)
        constant = scaled(column_variances, column_rounding(X), whiten=False)[1]
        live = np.flatnonzero(~constant)
        self.shrinkage_ = self._resolve_shrinkage(centred[:, live], column_variances[live])
        self.components_ = np.zeros((X.shape[1], X.shape[1]))
        # Constant columns stay apart, so that they come back exactly.
        self.components_[np.arange(len(live), X.shape[1]), np.flatnonzero(constant)] = 1
        self.components_[: len(live), live] = _principal_axes(centred[:, live], self.shrinkage_)
        # The quotient u C u is accurate far below the rounding of the eigenvalues themselves.
        variances = (1 - self.shrinkage_) * self._rotated_variances(centred)
        variances += self.shrinkage_ * np.square(self.components_) @ column_variances
        # Each column's rounding counts where the component has a share in it; that of the product
        # and of the axes goes with the rows about their mean.
        own = np.sqrt(np.square(self.components_) @ np.square(column_rounding(X)) * X.shape[1])
        return scaled(variances, own + row_rounding(centred), self.whiten)

    def _resolve_shrinkage(self, centred, variances):
        if self.shrinkage != "auto":
            return float(self.shrinkage)
        n_samples, n_live = centred.shape
        if n_live == 0 or n_samples >= 2 * n_live:
            return 0.0
        return _leave_one_out_shrinkage(centred / np.sqrt(variances))

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


def _principal_axes(centred, shrinkage):
    """Eigenvectors of the shrunk covariance as rows, by descending eigenvalue."""
    covariance = centred.T @ centred / len(centred)
    variances = np.diag(covariance).copy()
    covariance *= 1 - shrinkage
    np.fill_diagonal(covariance, variances)
    axes = np.linalg.eigh(covariance)[1].T[::-1]
    rows = np.arange(len(axes))
    signs = np.sign(axes[rows, np.argmax(np.abs(axes), axis=1)]) if len(axes) else rows
    return axes * signs[:, None]


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
