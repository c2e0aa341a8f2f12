"""Principal component basis."""

from numbers import Integral, Real
from typing import Literal

import numpy as np

from gudlearn._constraints import Interval, StrOptions
from gudlearn.bases.axes import principal_axes
from gudlearn.bases.base import WHITEN_CONSTRAINT, Basis
from gudlearn.bases.batches import (
    batches_about,
    column_rounding,
    isotropic_noise,
    row_rounding,
    scaled,
    spatial_shape,
)

# Eigenvalues below this fraction of the largest have fewer than ten accurate digits.
_INACCURATE = 1e-5
# Half a GiB for each (D, D) matrix, of which `fit` holds several, and minutes for eigenvectors.
_MOST_COLUMNS = 8192


class PCABasis(Basis):
    r"""All principal components of the data.

    Parameters
    ----------
    whiten : bool or float in [0, 1], default=True
        Divide each component by its standard deviation to this power.
    shrinkage : "auto" or float in [0, 1], default="auto"
        Shrinkage of the sample covariance towards its diagonal. "auto" is 0 from two rows per
        non-constant column; with fewer rows it maximises the leave-one-out likelihood.
    channels : int or None, default=None
        Number of channels, the last and fastest axis of a sample. Each channel has its own PCA,
        and component i of every channel comes before component i + 1 of any. None is one PCA of
        all columns.

    Attributes
    ----------
    channel_components_ : ndarray of shape (n_channels, n_columns, n_columns)
        Orthonormal matrix of each channel, rows by descending variance. The entry of largest
        magnitude in each row is positive. Each constant column is a component, and these come
        last.
    n_channels_ : int
        Number of channels, 1 if `channels` is None.
    shrinkage_ : float or ndarray of shape (n_channels,)
        Shrinkage that was used, for each channel if `channels` is given.
    mean_ : ndarray of shape (n_features,)
        Mean of each column.
    component_variances_ : ndarray of shape (n_components,)
        Eigenvalues of the (shrunk) covariance; a small positive number for constant components.
    scale_ : ndarray of shape (n_components,)
        Divisor of each component; 1 for constant components.
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

    with S the sample covariance (divisor n). Shrinkage keeps the variance of every column, does not
    depend on units, and gives a positive variance to directions that few rows leave without any.
    The natural order is -log of the variance.
    More than 8192 columns (of one channel) are refused: the matrices would take gigabytes, and the
    eigenvectors many minutes.

    References
    ----------
    Hoffbeck, Landgrebe (1996), Covariance matrix estimation and classification with limited
    training data, IEEE TPAMI 18(7). (Leave-one-out likelihood in closed form.)

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
        **WHITEN_CONSTRAINT,
        "shrinkage": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="both")],
        "channels": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self, whiten: bool | float = True, shrinkage: float | Literal["auto"] = "auto",
        channels: int | None = None,
    ) -> None:  # fmt: skip
        self.whiten = whiten
        self.shrinkage = shrinkage
        self.channels = channels

    @property
    def components_(self):
        """Orthonormal matrix U of shape (n_components, n_features)."""
        if self.n_channels_ == 1:
            return self.channel_components_[0]
        components = np.zeros((self.n_components_, self.n_components_))
        for of_channel, axes in self._channels():
            components[of_channel, of_channel] = axes
        return components

    def _prepare(self, n_features):
        (n_columns,), self.n_channels_ = spatial_shape(None, self.channels, n_features)
        if n_columns > _MOST_COLUMNS:
            each = "" if self.channels is None else f" in each of {self.channels} channels"
            raise ValueError(
                f"PCABasis takes at most {_MOST_COLUMNS} columns, for the sake of memory and time; "
                f"X has {n_columns}{each}. For images pass PCABasis(channels=...), a BlockBasis "
                "with a PCABasis for each patch, or FourierBasis(shape=...)."
            )

    def _learn(self, X):
        channels = [slice(first, None, self.n_channels_) for first in range(self.n_channels_)]
        learned = [self._learn_channel(X[:, columns], self.mean_[columns]) for columns in channels]
        axes, variances, rounding, shrinkage = map(np.stack, zip(*learned, strict=True))
        self.channel_components_ = axes
        self.shrinkage_ = float(shrinkage[0]) if self.channels is None else shrinkage
        return scaled(variances.T.ravel(), rounding.T.ravel(), self.whiten)

    def _learn_channel(self, X, mean):
        """Return (axes, variances, rounding, shrinkage) of the columns of one channel."""
        covariance = _covariance(X, mean)
        column_variances = np.diag(covariance).copy()
        constant = scaled(column_variances, column_rounding(X), whiten=False)[1]
        varying = np.flatnonzero(~constant)
        shrinkage = self._resolve_shrinkage(X, mean, column_variances, varying)
        covariance *= 1 - shrinkage
        np.fill_diagonal(covariance, column_variances)
        eigenvalues, varying_axes = principal_axes(covariance[np.ix_(varying, varying)])
        axes = np.zeros(covariance.shape)
        axes[: len(varying), varying] = varying_axes
        # Constant columns are not mixed with others, so that they are restored exactly.
        axes[np.arange(len(varying), len(axes)), np.flatnonzero(constant)] = 1
        variances = np.zeros(len(axes))
        variances[: len(varying)] = eigenvalues
        # The error of an eigenvalue is a few epsilons of the largest one. The mean square of the
        # rows along an axis is far more accurate, and replaces the small eigenvalues.
        weak = ~(variances > _INACCURATE * variances.max())
        variances[weak] = (1 - shrinkage) * _variances_along(axes[weak], X, mean)
        variances[weak] += shrinkage * np.square(axes[weak]) @ column_variances
        # The rounding errors of the columns enter by their weights in the component; those of the
        # product and of the axes scale with the centred rows.
        of_columns = np.sqrt(np.square(axes) @ np.square(column_rounding(X)) * len(axes))
        return axes, variances, of_columns + row_rounding(X, mean), shrinkage

    def _resolve_shrinkage(self, X, mean, column_variances, varying):
        if self.shrinkage != "auto":
            return float(self.shrinkage)
        if len(varying) == 0 or len(X) >= 2 * len(varying):
            return 0.0
        # With so few rows the copy is no larger than two covariance matrices.
        centred = X[:, varying] - mean[varying]
        return _leave_one_out_shrinkage(centred / np.sqrt(column_variances[varying]))

    def _channels(self):
        """Yield (slice of columns or components, axes) of each channel."""
        for first, axes in enumerate(self.channel_components_):
            yield slice(first, None, self.n_channels_), axes

    def rotate(self, centred):
        """Multiply centred rows by U transposed; see `Basis.rotate`."""
        components = np.empty_like(centred)
        for of_channel, axes in self._channels():
            components[:, of_channel] = centred[:, of_channel] @ axes.T
        return components

    def rotate_back(self, components):
        """Multiply unscaled components by U; see `Basis.rotate_back`."""
        centred = np.empty_like(components)
        for of_channel, axes in self._channels():
            centred[:, of_channel] = components[:, of_channel] @ axes
        return centred

    def _component_names(self, input_names):
        prefix = type(self).__name__.lower()
        n = self.n_channels_
        if self.channels is None:
            return [f"{prefix}{i}" for i in range(self.n_components_)]
        return [f"{prefix}{i // n}_c{i % n}" for i in range(self.n_components_)]

    def natural_order(self):
        """Return -log of the variances; see `Basis.natural_order`."""
        # Constant components share the order of the weakest other one, so that they do not extend
        # the range.
        order = -np.log(self.component_variances_)
        return np.where(self.dead_, order[~self.dead_].max(initial=order.min()), order)

    def _groups(self, names):
        return names

    def component_columns(self):
        """Return None: no component is a column; see `Basis.component_columns`."""
        return None

    def component_noise(self, column_std):
        """Compute the noise of the components; see `Basis.component_noise`."""
        return isotropic_noise(column_std)


def _covariance(X, mean):
    """Covariance of the columns (divisor n)."""
    total = np.zeros((X.shape[1], X.shape[1]))
    for centred in batches_about(X, mean):
        total += centred.T @ centred
    return total / len(X)


def _variances_along(axes, X, mean):
    """Mean square of the rows along each axis."""
    total = np.zeros(len(axes))
    for centred in batches_about(X, mean):
        total += np.square(centred @ axes.T).sum(axis=0)
    return total / len(X)


def _leave_one_out_shrinkage(standardised):
    """Shrinkage of the correlation matrix that maximises the leave-one-out likelihood.

    Leaving out row z changes the correlation matrix R to n/(n-1) R - n/(n-1)^2 z z^T, which is an
    update of rank one. One eigendecomposition is therefore enough for all rows and candidates.
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
