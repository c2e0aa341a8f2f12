"""The columns themselves."""

import numpy as np

from gudlearn.bases.base import Basis
from gudlearn.bases.batches import column_rounding, scaled


class IdentityBasis(Basis):
    """The columns of the data as components.

    With `whiten=True` these are the standardised columns.

    Parameters
    ----------
    whiten : bool or float in [0, 1], default=True
        Divide each component by its standard deviation to this power.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
        Mean of each column.
    component_variances_ : ndarray of shape (n_components,)
        Variance of each component before scaling; dead components are floored.
    scale_ : ndarray of shape (n_components,)
        The divisor of each component; 1 for dead components.
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
    The natural order is the index of the column. A column counts as constant where its standard
    deviation is below rounding (8 float64 epsilons) of its largest entry.

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.bases import IdentityBasis
    >>> IdentityBasis().fit_transform([[0.0, 5.0], [2.0, 5.0]])
    array([[-1.,  0.],
           [ 1.,  0.]])
    """

    def __init__(self, whiten=True):
        self.whiten = whiten

    def _prepare(self, n_features):
        """Nothing depends on the number of columns."""

    def _learn(self, X):
        return scaled(self._rotated_variances(X), column_rounding(X), self.whiten)

    def _rotate(self, centred):
        return centred

    def _rotate_back(self, components):
        return components

    def _component_names(self, input_names):
        return input_names

    def _natural_order(self):
        return np.arange(self.n_components_)

    def _groups(self, names):
        return names

    def _columns(self):
        return np.arange(self.n_components_)

    def _mixing(self):
        return np.arange(self.n_components_), np.arange(self.n_components_)

    def _check_missing(self, X):
        """What is missing is missing in its own component alone."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _component_noise(self, column_std):
        return column_std.copy()
