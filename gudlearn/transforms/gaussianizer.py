"""Column-wise transformers with a known determinant."""

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_ndtr, logsumexp, ndtri_exp
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from gudlearn._constraints import Interval, _fit_context
from gudlearn._typing import Floats, Rows
from gudlearn._versions import Versioned
from gudlearn.preconditioning.fit_marginals import fit_mixtures

_LOG_2PI = np.log(2 * np.pi)
_HALF = np.log(0.5)


class MarginalGaussianizer(Versioned, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Make each column standard normal by the distribution function of a fitted mixture.

    A smooth relative of QuantileTransformer: strictly increasing on the whole line, with a
    density everywhere, so that rows outside the training range keep a finite score. As the first
    step of a GenerativePipeline it lets noise act on quantiles, which helps heavy-tailed continuous
    columns; the generator behind it is best given ``preconditioning="gaussian"``.

    Parameters
    ----------
    max_members : int, default=16
        Largest number of Gaussians per column, which is also at most a tenth of the rows. One of
        1, 2, 4, 8, 12, 16, 24 and 32 is chosen by the Bayesian information criterion. A further
        Gaussian, as wide as the range and of weight 1/(n + 2), covers outliers.

    Attributes
    ----------
    weights_, means_, variances_ : ndarray of shape (n_features, n_gaussians)
        The mixture of each column; unused Gaussians have weight 0.
    constant_ : ndarray of shape (n_features,)
        Whether a column has no variance and is only centred.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if they were strings.

    Notes
    -----
    With F the distribution function of the mixture and p its density,

    .. math:: T(x) = \Phi^{-1}(F(x)), \qquad \log T'(x) = \log p(x) - \log \phi(T(x)).

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn import MarginalGaussianizer
    >>> X = np.random.default_rng(0).lognormal(size=(500, 2))
    >>> Z = MarginalGaussianizer().fit_transform(X)
    >>> bool(abs(Z.mean()) < 0.05 and abs(Z.std() - 1) < 0.05)
    True
    """

    _parameter_constraints = {"max_members": [Interval(Integral, 1, None, closed="left")]}

    def __init__(self, max_members: int = 16) -> None:
        self.max_members = max_members

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Fit a mixture to each column.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : None
            Ignored.

        Returns
        -------
        self : MarginalGaussianizer
        """
        X = validate_data(self, X, dtype=(np.float64, np.float32)).astype(np.float64)
        self.constant_ = np.ptp(X, axis=0) == 0
        self.weights_, self.means_, self.variances_ = fit_mixtures(
            X, max_components=self.max_members
        )
        # A constant column is centred and not scaled.
        self.means_[self.constant_] = X[0, self.constant_, None]
        self._make_grid()
        return self

    def _make_grid(self):
        """Tabulate the map on a grid of each column, in which the inverse starts."""
        std = np.sqrt(self.variances_)
        z = np.linspace(-9.5, 9.5, 191)
        points = (self.means_[:, :, None] + std[:, :, None] * z).reshape(len(self.means_), -1)
        self._grid = np.sort(points, axis=1).T
        self._images = np.maximum.accumulate(self._map(self._grid)[0], axis=0)

    def _map(self, X):
        """T(x) and log T'(x) for each entry of X (n, F)."""
        out, log_slope = np.empty_like(X), np.empty_like(X)
        for j in range(X.shape[1]):
            out[:, j], log_slope[:, j] = self._map_column(X[:, j], j)
        return out, log_slope

    def _map_column(self, x, j):
        """T(x) and log T'(x) for values x (n,) of column j."""
        if self.constant_[j]:
            return x - self.means_[j, 0], np.zeros_like(x)
        used = self.weights_[j] > 0
        log_w = np.log(self.weights_[j, used])
        std = np.sqrt(self.variances_[j, used])
        # Far from a Gaussian its density and tails underflow to zero.
        with np.errstate(under="ignore"):
            u = (x[:, None] - self.means_[j, used]) / std
            log_p = logsumexp(log_w - np.log(std) - 0.5 * (u * u + _LOG_2PI), axis=1)
            below = logsumexp(log_w + log_ndtr(u), axis=1)
            above = logsumexp(log_w + log_ndtr(-u), axis=1)
            # Each tail from its own side: one minus a number near one has no digits left.
            z = np.where(below < _HALF, ndtri_exp(np.minimum(below, -1e-300)),
                         -ndtri_exp(np.minimum(above, -1e-300)))  # fmt: skip
            return z, log_p + 0.5 * (z * z + _LOG_2PI)

    def transform(self, X: ArrayLike) -> Rows:
        """Map each column to a standard normal one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        X, dtype = self._checked(X)
        # float32 has no numbers as small as float64 has.
        with np.errstate(under="ignore"):
            return self._map(X)[0].astype(dtype)

    def log_abs_det_jacobian(self, X: ArrayLike) -> Floats:
        """Logarithm of the determinant of ``transform`` at each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self._map(self._checked(X)[0])[1].sum(1)

    def inverse_transform(self, X: ArrayLike) -> Rows:
        """Invert ``transform`` by Newton's method inside a bracket.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        Z = check_array(X, dtype=(np.float64, np.float32))
        if Z.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {Z.shape[1]} features, but MarginalGaussianizer was fitted with "
                f"{self.n_features_in_}."
            )
        # The last Newton steps, and numbers too small for float32, underflow to zero.
        with np.errstate(under="ignore"):
            columns = [self._invert_column(z, j) for j, z in enumerate(Z.T.astype(np.float64))]
            return np.stack(columns, axis=1).astype(Z.dtype)

    def _invert_column(self, z, j):
        """Values of column j that are mapped to z (n,)."""
        if self.constant_[j]:
            return z + self.means_[j, 0]
        grid, images = self._grid[:, j], self._images[:, j]
        k = np.clip(np.searchsorted(images, z), 1, len(grid) - 1)
        width = grid[-1] - grid[0]
        low = np.where(z < images[0], grid[0] - width, grid[k - 1])
        high = np.where(z > images[-1], grid[-1] + width, grid[k])
        x = np.clip(np.interp(z, images, grid), low, high)
        for _ in range(60):
            value, log_slope = self._map_column(x, j)
            low, high = np.where(value < z, x, low), np.where(value > z, x, high)
            step = x + (z - value) * np.exp(-log_slope)
            inside = (step >= low) & (step <= high)
            new = np.where(inside, step, 0.5 * (low + high))
            done = np.abs(new - x) <= 1e-14 * width
            x = new
            if done.all():
                break
        return x

    def _checked(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return X.astype(np.float64), X.dtype

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
