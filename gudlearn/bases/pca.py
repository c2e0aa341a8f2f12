"""Principal components, all of them."""

from numbers import Integral, Real

import numpy as np

from gudlearn._constraints import Interval, StrOptions
from gudlearn.bases.axes import principal_axes
from gudlearn.bases.base import Basis
from gudlearn.bases.batches import (
    batches_about,
    column_rounding,
    isotropic_noise,
    row_rounding,
    scaled,
    spatial_shape,
)

_TEN_DIGITS = 1e-5
# Half a GiB for each (D, D) matrix, of which `fit` holds several, and minutes for eigenvectors.
_MOST_COLUMNS = 8192


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
    channels : int or None, default=None
        Number of channels, the last and fastest axis of a sample; each has a PCA of its own, and
        component i of every channel comes before component i + 1 of any. None is one PCA of all
        columns.

    Attributes
    ----------
    channel_components_ : ndarray of shape (n_channels, n_columns, n_columns)
        The orthonormal matrix of each channel, by descending variance. The entry of largest
        magnitude in each row is positive. Constant columns are components of their own and come
        last.
    n_channels_ : int
        Number of channels, 1 if none were given.
    shrinkage_ : float or ndarray of shape (n_channels,)
        The weight that was used, in each channel if channels were given.
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
    More than 8192 columns (of one channel) are refused: the matrices would take gigabytes and the
    eigenvectors many minutes.

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
        "channels": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(self, whiten=True, shrinkage="auto", channels=None):
        self.whiten = whiten
        self.shrinkage = shrinkage
        self.channels = channels

    @property
    def components_(self):
        """The orthonormal matrix U of shape (n_components, n_features)."""
        if self.n_channels_ == 1:
            return self.channel_components_[0]
        components = np.zeros((self.n_components_, self.n_components_))
        for members, axes in self._channels():
            components[members, members] = axes
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
        learned = [self._learn_channel(X[:, own], self.mean_[own]) for own in channels]
        axes, variances, rounding, shrinkage = map(np.stack, zip(*learned, strict=True))
        self.channel_components_ = axes
        self.shrinkage_ = float(shrinkage[0]) if self.channels is None else shrinkage
        return scaled(variances.T.ravel(), rounding.T.ravel(), self.whiten)

    def _learn_channel(self, X, mean):
        """Return (axes, variances, rounding, shrinkage) of the columns of one channel."""
        covariance = _covariance(X, mean)
        column_variances = np.diag(covariance).copy()
        constant = scaled(column_variances, column_rounding(X), whiten=False)[1]
        live = np.flatnonzero(~constant)
        shrinkage = self._resolve_shrinkage(X, mean, column_variances, live)
        covariance *= 1 - shrinkage
        np.fill_diagonal(covariance, column_variances)
        eigenvalues, live_axes = principal_axes(covariance[np.ix_(live, live)])
        axes = np.zeros(covariance.shape)
        axes[: len(live), live] = live_axes
        # Constant columns stay apart, so that they come back exactly.
        axes[np.arange(len(live), len(axes)), np.flatnonzero(constant)] = 1
        variances = np.zeros(len(axes))
        variances[: len(live)] = eigenvalues
        # The mean square of the rows along u is accurate far below the rounding of the eigenvalues,
        # which is a few epsilons of the largest: it stands in for those with fewer than ten digits.
        weak = ~(variances > _TEN_DIGITS * variances.max())
        variances[weak] = (1 - shrinkage) * _variances_along(axes[weak], X, mean)
        variances[weak] += shrinkage * np.square(axes[weak]) @ column_variances
        # Each column's rounding counts where the component has a share in it; that of the product
        # and of the axes goes with the rows about their mean.
        own = np.sqrt(np.square(axes) @ np.square(column_rounding(X)) * len(axes))
        return axes, variances, own + row_rounding(X, mean), shrinkage

    def _resolve_shrinkage(self, X, mean, column_variances, live):
        if self.shrinkage != "auto":
            return float(self.shrinkage)
        if len(live) == 0 or len(X) >= 2 * len(live):
            return 0.0
        # So few rows take no more memory than two covariances.
        return _leave_one_out_shrinkage((X[:, live] - mean[live]) / np.sqrt(column_variances[live]))

    def _channels(self):
        """Yield the members and the axes of each channel."""
        for first, axes in enumerate(self.channel_components_):
            yield slice(first, None, self.n_channels_), axes

    def _rotate(self, centred):
        rotated = np.empty_like(centred)
        for members, axes in self._channels():
            rotated[:, members] = centred[:, members] @ axes.T
        return rotated

    def _rotate_back(self, components):
        rows = np.empty_like(components)
        for members, axes in self._channels():
            rows[:, members] = components[:, members] @ axes
        return rows

    def _component_names(self, input_names):
        prefix = type(self).__name__.lower()
        n = self.n_channels_
        if self.channels is None:
            return [f"{prefix}{i}" for i in range(self.n_components_)]
        return [f"{prefix}{i // n}_c{i % n}" for i in range(self.n_components_)]

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


def _variances_along(axes, X, mean):
    """Mean square of the rows along each axis."""
    total = np.zeros(len(axes))
    for centred in batches_about(X, mean):
        total += np.square(centred @ axes.T).sum(axis=0)
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
