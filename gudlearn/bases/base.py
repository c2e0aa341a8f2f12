r"""The interface of a basis.

.. math:: z = S^{-1} U (x - \mathrm{mean})

U is orthonormal and complete (never truncated), and S is a positive diagonal matrix. Component i
has the variance Sigma_i before scaling and the scale s_i = Sigma_i^(p/2), where p is `whiten`.
Hence log|dz/dx| = -sum_i log s_i, and the inverse is exact.
"""

from abc import ABCMeta, abstractmethod
from dataclasses import dataclass
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import FLOAT_DTYPES, check_is_fitted, validate_data

from gudlearn._constraints import Interval, _check_feature_names_in, _fit_context
from gudlearn._typing import Floats
from gudlearn._versions import Versioned
from gudlearn.bases.batches import (
    batches,
    batches_about,
    exact_mean,
    floating,
    has_nan,
    n_observed_by_column,
    refuse_empty_columns,
)

#: Constraint of the parameter that all bases have in common.
WHITEN_CONSTRAINT = {"whiten": ["boolean", Interval(Real, 0, 1, closed="both")]}

# Data of these dtypes are processed without a float64 copy of the whole; others become float64.
_NUMBERS = [*FLOAT_DTYPES, *(np.dtype(code).type for code in "?bBhHiIlLqQ")]


@dataclass(frozen=True)
class Components:
    """The components of a fitted basis, as described to a schedule.

    Parameters
    ----------
    variances : ndarray of shape (D,)
        Variance of each component before scaling. Finite and positive: constant components have a
        small positive value.
    scale : ndarray of shape (D,)
        Positive divisor of each component.
    order : ndarray of shape (D,)
        Natural order: a component of higher order is noised first and generated last.
    names : ndarray of shape (D,)
        Names of the components.
    groups : ndarray of shape (D,)
        Name of the group of each component, or the component's own name if it has no group.
    columns : ndarray of shape (D,) or None
        Index of the data column that a component is equal to, -1 if there is none. None if no
        component is a data column.
    dead : ndarray of shape (D,) or None, default=None
        True for components that were constant in the data. None means that none was.
    positions : ndarray of shape (D,) or None, default=None
        Index of each component in the full basis. None for the full basis in its own order.
    n_total : int or None, default=None
        Number of components of the full basis. None for D.
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
        """Select components by an index array or a boolean mask.

        Parameters
        ----------
        mask : array-like of bool or int
            Components to keep.

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


class Basis(Versioned, TransformerMixin, BaseEstimator, metaclass=ABCMeta):
    """Abstract base class of all bases.

    A concrete basis stores its parameters, `whiten` among them, and implements the abstract
    methods. Statistics and products are computed in float64, batch by batch, without a copy of the
    whole data. `transform` and `inverse_transform` return float32 for float32 and float64
    otherwise.
    """

    _parameter_constraints: dict = WHITEN_CONSTRAINT

    @abstractmethod
    def _prepare(self, n_features):
        """Check the parameters against the number of columns, before fit computes anything."""

    @abstractmethod
    def _learn(self, X):
        """Learn U from X - `mean_`; return (variances, dead, scale), usually from `scaled`."""

    @abstractmethod
    def _component_names(self, input_names):
        """Name the components, given the names of the columns."""

    @abstractmethod
    def _groups(self, names):
        """Return the group of each component, given the names of the components."""

    @abstractmethod
    def rotate(self, centred):
        """Multiply centred rows by U transposed, without scaling.

        Parameters
        ----------
        centred : ndarray of shape (n_samples, n_features), dtype float64
            Rows minus `mean_`, or differences of rows.

        Returns
        -------
        components : ndarray of shape (n_samples, n_components), dtype float64
            Components before scaling.
        """

    @abstractmethod
    def rotate_back(self, components):
        """Multiply unscaled components by U: the inverse of `rotate`.

        Parameters
        ----------
        components : ndarray of shape (n_samples, n_components), dtype float64
            Components before scaling.

        Returns
        -------
        centred : ndarray of shape (n_samples, n_features), dtype float64
            Rows minus `mean_`.
        """

    @abstractmethod
    def natural_order(self):
        """Return the natural order of the components.

        Returns
        -------
        order : array-like of shape (n_components,)
            A component of higher order is noised first and generated last.
        """

    @abstractmethod
    def component_columns(self):
        """Return the data column that each component is equal to.

        Returns
        -------
        columns : ndarray of shape (n_components,) or None
            Index of the column, -1 for a component that is no column. None if no component is.
        """

    @abstractmethod
    def component_noise(self, column_std):
        """Compute the noise of the components; `noise_std` without validation.

        Parameters
        ----------
        column_std : ndarray of shape (n_features,)
            Positive standard deviations of independent noise in the columns.

        Returns
        -------
        component_std : ndarray of shape (n_components,) or None
            Standard deviation in each unscaled component, or None if the noise is correlated.
        """

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Learn the mean, the rotation and the scale of each component.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite data. One row is enough; all components are then constant. Integers and float32
            are not copied to float64 as a whole. Bases that do not mix columns take NaN as a
            missing value.
        y : None
            Ignored.

        Returns
        -------
        self : Basis
        """
        X = validate_data(self, X, dtype=_NUMBERS, ensure_all_finite="allow-nan")
        X = np.asarray(X)
        self._prepare(X.shape[1])
        self.check_missing(X)
        refuse_empty_columns(X)
        # `scaled` raises on overflow; squares of tiny numbers may underflow.
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            self.mean_ = exact_mean(X)
            variances, dead, scale = self._learn(X)
        self.component_variances_, self.dead_, self.scale_ = variances, dead, scale
        self.n_components_ = len(scale)
        self.log_abs_det_jacobian_ = -float(np.log(scale).sum())
        return self

    def transform(self, X: ArrayLike) -> Floats:
        """Turn rows of data into scaled components.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in the units of the data. NaN as in ``fit``.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            Scaled components, float32 for float32 and float64 otherwise.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_NUMBERS, reset=False, ensure_all_finite="allow-nan")
        self.check_missing(X)
        Z = np.empty(X.shape, dtype=floating(X.dtype))
        with np.errstate(under="ignore"):
            for rows in batches(X):
                Z[rows] = self.rotate(X[rows] - self.mean_) / self.scale_
        return Z

    def inverse_transform(self, Z: ArrayLike) -> Floats:
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
        self._check_missing_components(Z)
        X = np.empty(Z.shape, dtype=floating(Z.dtype))
        with np.errstate(under="ignore"):
            for rows in batches(Z):
                X[rows] = self.rotate_back(Z[rows] * self.scale_) + self.mean_
        return X

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[Any]:
        """Name the components.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns. None takes those seen in fit, or x0, x1, ...

        Returns
        -------
        names : ndarray of shape (n_components,) of str objects
        """
        check_is_fitted(self)
        input_names = _check_feature_names_in(self, input_features)
        return np.asarray(self._component_names(input_names), dtype=object)

    def describe(self):
        """Describe the components of the fitted basis to a schedule.

        Returns
        -------
        components : Components
        """
        names = self.get_feature_names_out().astype(str)
        return Components(
            variances=self.component_variances_.copy(),
            scale=self.scale_.copy(),
            order=np.asarray(self.natural_order(), dtype=np.float64),
            names=names,
            groups=np.asarray(self._groups(names)).astype(str),
            columns=self.component_columns(),
            dead=self.dead_.copy(),
        )

    def noise_std(self, column_std):
        """Propagate independent noise in the columns to the components.

        Parameters
        ----------
        column_std : array-like of shape (n_features,)
            Positive standard deviations of independent noise added to the columns.

        Returns
        -------
        component_std : ndarray of shape (n_components,) or None
            Standard deviation of this noise in each component before scaling, or None if the noise
            is correlated between components.

        Raises
        ------
        ValueError
            If there is not one positive number for each column.
        """
        check_is_fitted(self)
        column_std = np.asarray(column_std, dtype=np.float64)
        if column_std.shape != (self.n_features_in_,) or not np.all(column_std > 0):
            raise ValueError(
                f"column_std must hold one positive number for each of the {self.n_features_in_} "
                f"columns; got shape {column_std.shape}."
            )
        return self.component_noise(column_std)

    def _check_missing_components(self, Z):
        """Raise if components hold NaN and the basis mixes them."""
        self.check_missing(Z)

    def check_missing(self, X):
        """Raise if X has missing values that the basis would mix with other columns.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Rows; NaN is a missing value.

        Raises
        ------
        ValueError
            If NaN is in a column that the basis mixes with others.
        """
        if has_nan(X):
            raise ValueError(
                f"Input X contains NaN, but {type(self).__name__} mixes columns and cannot "
                "transform rows with missing values. Use IdentityBasis(), or a BlockBasis whose "
                "identity blocks hold the columns with missing values; or impute them."
            )

    def mixing(self):
        """Label the sets of columns that the basis mixes.

        Returns
        -------
        column_labels : ndarray of shape (n_features,) of int
        component_labels : ndarray of shape (n_components,) of int
            A component is a function of the columns with the same label, and of no others.
        """
        check_is_fitted(self)
        return np.zeros(self.n_features_in_, int), np.zeros(self.n_components_, int)

    def _rotated_variances(self, X):
        """Mean square of each component over the rows where it is observed."""
        total = np.zeros(X.shape[1])
        add = np.nansum if has_nan(X) else np.sum
        for centred in batches_about(X, self.mean_):
            total += add(np.square(self.rotate(centred)), axis=0)
        return total / n_observed_by_column(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
