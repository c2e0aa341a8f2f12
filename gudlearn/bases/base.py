r"""The contract of a basis.

.. math:: z = S^{-1} U (x - \mathrm{mean})

with U orthonormal and complete (never truncated) and S a positive diagonal. Component i has the
variance Sigma_i before scaling and s_i = Sigma_i^(p/2), where p is `whiten`. Hence
log|dz/dx| = -sum_i log s_i, and the inverse is exact.
"""

from abc import ABCMeta, abstractmethod
from dataclasses import dataclass
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import FLOAT_DTYPES, check_is_fitted, validate_data

from gudlearn._constraints import Interval, _check_feature_names_in, _fit_context
from gudlearn.bases.batches import (
    batches,
    batches_about,
    exact_mean,
    floating,
    has_nan,
    n_observed_by_column,
    refuse_empty_columns,
)

# What is worked on as it comes, without a float64 copy of the whole; all else becomes float64.
_NUMBERS = [*FLOAT_DTYPES, *(np.dtype(code).type for code in "?bBhHiIlLqQ")]


@dataclass(frozen=True)
class Components:
    """What a schedule may know of a fitted basis.

    Parameters
    ----------
    variances : ndarray of shape (D,)
        Variance of each component before scaling; finite and positive, dead components floored.
    scale : ndarray of shape (D,)
        The positive divisor of each component.
    order : ndarray of shape (D,)
        Natural order: a higher component is noised first and generated last.
    names : ndarray of shape (D,)
        Names of the components.
    groups : ndarray of shape (D,)
        Name of the group of each component; its own name where it has no group.
    columns : ndarray of shape (D,) or None
        Index of the data column that each component is, -1 for a component that is no column.
        None if no component is a column.
    dead : ndarray of shape (D,) or None, default=None
        True for components that did not vary in the data. None means that none is known to be dead.
    positions : ndarray of shape (D,) or None, default=None
        Index of each component in the whole basis; None for the whole basis in its own order.
    n_total : int or None, default=None
        Number of components of the whole basis; None for D.
    """

    variances: np.ndarray
    scale: np.ndarray
    order: np.ndarray
    names: np.ndarray
    groups: np.ndarray
    columns: np.ndarray | None
    dead: np.ndarray | None = None
    positions: np.ndarray | None = None
    n_total: int | None = None

    def take(self, mask):
        """Keep the components that an index array or a boolean mask selects.

        Parameters
        ----------
        mask : array-like of bool or int
            The components to keep.

        Returns
        -------
        Components
        """
        mask = np.asarray(mask)
        n_total = len(self.variances) if self.n_total is None else self.n_total
        positions = np.arange(n_total) if self.positions is None else self.positions
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        fields = {k: v[mask] for k, v in fields.items() if isinstance(v, np.ndarray)}
        fields = {"columns": None, **fields, "positions": positions[mask], "n_total": n_total}
        return Components(**fields)


class Basis(TransformerMixin, BaseEstimator, metaclass=ABCMeta):
    """Abstract base of all bases.

    A concrete basis stores its parameters, `whiten` among them, and implements the methods below
    that begin with an underscore. All statistics and products are computed in float64, batch by
    batch: no copy of the whole data is made. `transform` and `inverse_transform` return float32 for
    float32 and float64 otherwise.
    """

    _parameter_constraints: dict = {"whiten": ["boolean", Interval(Real, 0, 1, closed="both")]}

    @abstractmethod
    def _prepare(self, n_features):
        """Check the parameters against the number of columns, before anything is computed."""

    @abstractmethod
    def _learn(self, X):
        """Learn U about `mean_`; return (variances, dead, scale), usually made by `scaled`."""

    @abstractmethod
    def _rotate(self, centred):
        """Rows times U transposed; float64 in and out."""

    @abstractmethod
    def _rotate_back(self, components):
        """Rows times U; float64 in and out."""

    @abstractmethod
    def _component_names(self, input_names):
        """Name the components, given the names of the columns."""

    @abstractmethod
    def _natural_order(self):
        """Return the natural order, (D,) floats."""

    @abstractmethod
    def _groups(self, names):
        """Return the group of each component, given the components' names."""

    @abstractmethod
    def _columns(self):
        """Return the data column of each component, or None."""

    @abstractmethod
    def _component_noise(self, column_std):
        """Return the noise of each unscaled component, or None where it is correlated."""

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None):
        """Learn the mean, the rotation and the scale of each component.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite data; one row is enough (then every component is dead). Whole numbers and
            float32 are not copied to float64 as a whole. NaN is taken for a missing value by
            bases that do not mix columns.
        y : None
            Ignored.

        Returns
        -------
        self : Basis
        """
        X = validate_data(self, X, dtype=_NUMBERS, ensure_all_finite="allow-nan")
        X = np.asarray(X)
        self._prepare(X.shape[1])
        self._check_missing(X)
        refuse_empty_columns(X)
        with np.errstate(over="ignore", invalid="ignore"):
            self.mean_ = exact_mean(X)
            variances, dead, scale = self._learn(X)
        self.component_variances_, self.dead_, self.scale_ = variances, dead, scale
        self.n_components_ = len(scale)
        self.log_abs_det_jacobian_ = -float(np.log(scale).sum())
        return self

    def transform(self, X):
        """Rotate and scale rows of data into components.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in the units of the data; NaN as in ``fit``.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            Scaled components, float32 for float32 and float64 otherwise.
        """
        check_is_fitted(self)
        X = validate_data(
            self, X, dtype=_NUMBERS, reset=False, ensure_all_finite="allow-nan"
        )
        self._check_missing(X)
        Z = np.empty(X.shape, dtype=floating(X.dtype))
        for rows in batches(X):
            Z[rows] = self._rotate(X[rows] - self.mean_) / self.scale_
        return Z

    def inverse_transform(self, Z):
        """Turn scaled components back into rows of data.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components)
            Scaled components.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows in the units of the data, float32 for float32 and float64 otherwise.
        """
        check_is_fitted(self)
        Z = check_array(Z, dtype=_NUMBERS, input_name="Z", ensure_all_finite="allow-nan")
        if Z.shape[1] != self.n_components_:
            raise ValueError(
                f"Z has {Z.shape[1]} columns but this {type(self).__name__} has "
                f"{self.n_components_} components. Pass what transform returns."
            )
        self._check_missing(Z)
        X = np.empty(Z.shape, dtype=floating(Z.dtype))
        for rows in batches(Z):
            X[rows] = self._rotate_back(Z[rows] * self.scale_) + self.mean_
        return X

    def get_feature_names_out(self, input_features=None):
        """Name the components.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns; None takes those seen in fit, or x0, x1, ...

        Returns
        -------
        names : ndarray of shape (n_components,) of str objects
        """
        check_is_fitted(self)
        input_names = _check_feature_names_in(self, input_features)
        return np.asarray(self._component_names(input_names), dtype=object)

    def describe(self):
        """Tell what a schedule may know of the fitted basis.

        Returns
        -------
        components : Components
        """
        names = self.get_feature_names_out().astype(str)
        return Components(
            variances=self.component_variances_.copy(),
            scale=self.scale_.copy(),
            order=np.asarray(self._natural_order(), dtype=np.float64),
            names=names,
            groups=np.asarray(self._groups(names)).astype(str),
            columns=self._columns(),
            dead=self.dead_.copy(),
        )

    def noise_std(self, column_std):
        """Carry independent noise of the columns over to the components.

        Parameters
        ----------
        column_std : array-like of shape (n_features,)
            Positive standard deviations of independent noise added to the columns.

        Returns
        -------
        component_std : ndarray of shape (n_components,) or None
            Standard deviation of that noise in each component before scaling, or None if the noise
            is correlated between components.
        """
        check_is_fitted(self)
        column_std = np.asarray(column_std, dtype=np.float64)
        if column_std.shape != (self.n_features_in_,) or not np.all(column_std > 0):
            raise ValueError(
                f"column_std must hold one positive number for each of the {self.n_features_in_} "
                f"columns; got shape {column_std.shape}."
            )
        return self._component_noise(column_std)

    def _mixing(self):
        """Return labels of columns and of components: equal where one rotation mixes them."""
        return np.zeros(self.n_features_in_, int), np.zeros(self.n_components_, int)

    def _check_missing(self, X):
        """Raise where NaN is found and the basis mixes columns."""
        if has_nan(X):
            raise ValueError(
                f"Input X contains NaN, but {type(self).__name__} mixes columns, and a component "
                "of a missing value is not known. Use IdentityBasis(), or a BlockBasis whose "
                "identity blocks hold the columns with missing values; or fill them in."
            )

    def mixing(self):
        """Tell which columns the components are made of.

        Returns
        -------
        column_labels : ndarray of shape (n_features,) of int
        component_labels : ndarray of shape (n_components,) of int
            Components are functions of the columns with the same label, and of no others.
        """
        check_is_fitted(self)
        return self._mixing()

    def _rotated_variances(self, X):
        """Mean square of each component over the rows, where it is known, about their mean."""
        total = np.zeros(X.shape[1])
        add = np.nansum if has_nan(X) else np.sum
        for centred in batches_about(X, self.mean_):
            total += add(np.square(self._rotate(centred)), axis=0)
        return total / n_observed_by_column(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
