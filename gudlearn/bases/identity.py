"""The identity basis."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from gudlearn.bases.base import Basis
from gudlearn.bases.batches import column_rounding, scaled


class IdentityBasis(Basis):
    """Columns of the data as components, standardised if `whiten=True`.

    Parameters
    ----------
    whiten : bool or float in [0, 1], default=True
        Divide each component by its standard deviation to this power.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
        Mean of each column.
    component_variances_ : ndarray of shape (n_components,)
        Variance of each component before scaling; a small positive number for constant ones.
    scale_ : ndarray of shape (n_components,)
        Divisor of each component; 1 for constant components.
    dead_ : ndarray of shape (n_components,)
        True for columns that are constant up to rounding.
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
    The natural order is the index of the column. A column is constant if its standard deviation is
    at most 8 float64 epsilons of its largest entry.

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.bases import IdentityBasis
    >>> IdentityBasis().fit_transform([[0.0, 5.0], [2.0, 5.0]])
    array([[-1.,  0.],
           [ 1.,  0.]])
    """

    def __init__(self, whiten: bool | float = True) -> None:
        self.whiten = whiten

    def _prepare(self, n_features):
        """Do nothing: no parameter depends on the number of columns."""

    def _learn(self, X):
        return scaled(self._rotated_variances(X), column_rounding(X), self.whiten)

    def rotate(self, centred):
        """Return the rows unchanged; see `Basis.rotate`."""
        return centred

    def rotate_back(self, components):
        """Return the components unchanged; see `Basis.rotate_back`."""
        return components

    def _component_names(self, input_names):
        return input_names

    def natural_order(self):
        """Return the index of each column; see `Basis.natural_order`."""
        return np.arange(self.n_components_)

    def _groups(self, names):
        return names

    def component_columns(self):
        """Return the column of each component; see `Basis.component_columns`."""
        return np.arange(self.n_components_)

    def mixing(self):
        """Give each column its own label; see `Basis.mixing`."""
        check_is_fitted(self)
        return np.arange(self.n_components_), np.arange(self.n_components_)

    def check_missing(self, X):
        """Accept missing values: each belongs to one component; see `Basis.check_missing`."""

    def component_noise(self, column_std):
        """Compute the noise of the components; see `Basis.component_noise`."""
        return column_std.copy()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
