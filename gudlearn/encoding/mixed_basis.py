"""A basis of the numeric columns, with one more component for each category."""

import numpy as np
import pandas as pd

from gudlearn.bases.base import Components


class MixedBasis:
    """The components of rows with categories: those of a basis of numbers, then the codes.

    It has the methods of a basis that an encoding uses. Categories are never mixed with other
    columns; their components have mean 0 and scale 1.

    Parameters
    ----------
    numeric : Basis
        Basis of the numeric columns, not fitted.
    columns : ndarray of shape (C,) of int
        Category columns, in the order of their components.
    variances : ndarray of shape (C,)
        Probability that two values of the column differ, 0 where it is constant.
    names : list of str
        Names of all columns.
    position : ndarray of shape (F,) of int
        Position of each column in the user's data.
    """

    def __init__(self, numeric, columns, variances, names, position):
        self.numeric, self.columns, self.names = numeric, columns, np.asarray(names, dtype=object)
        self.position = position
        self.numbers = np.setdiff1d(np.arange(len(names)), columns)
        self._variances = variances

    def __repr__(self):
        return repr(self.numeric)

    def fit(self, X, y=None):
        """Fit the basis of the numbers to rows X (n, F); a frame has the names of columns."""
        if len(self.numbers):
            self.numeric.fit(self._numbers(X))
        n_columns, dead = len(self.names), self._variances == 0
        self.dead_ = self._joined("dead_", dead)
        self.scale_ = self._joined("scale_", np.ones(len(dead)))
        variances = np.where(dead, 1.0, self._variances)
        self.component_variances_ = self._joined("component_variances_", variances)
        self.mean_ = np.zeros(n_columns)
        if len(self.numbers):
            self.mean_[self.numbers] = self.numeric.mean_
        return self

    def _joined(self, name, of_categories):
        """An attribute of the basis, followed by that of the categories."""
        if not len(self.numbers):
            return of_categories
        return np.concatenate([getattr(self.numeric, name), of_categories])

    def _numbers(self, X):
        if isinstance(X, pd.DataFrame):
            return X.iloc[:, self.numbers]
        return X[:, self.numbers]

    def _applied(self, function, values):
        """A function of the numbers of values (n, F), followed by their categories; (n, D)."""
        codes = np.asarray(values)[:, self.columns]
        if not len(self.numbers):
            return codes
        return np.concatenate([function(self._numbers(values)), codes], axis=1)

    def _inverted(self, function, values):
        """A function of the numeric components of values (n, D), put among the columns (n, F)."""
        out = np.empty((len(values), len(self.names)), dtype=np.result_type(values, np.float32))
        n = len(self.numbers)
        if n:
            out[:, self.numbers] = function(values[:, :n])
        out[:, self.columns] = values[:, n:]
        return out

    def transform(self, X):
        """Components (n, D) of rows X (n, F)."""
        return self._applied(self.numeric.transform, X)

    def inverse_transform(self, Z):
        """Rows (n, F) of components Z (n, D)."""
        return self._inverted(self.numeric.inverse_transform, Z)

    def rotate(self, centred):
        """The rotation of centred rows (n, F), (n, D); see `Basis.rotate`."""
        return self._applied(self.numeric.rotate, centred)

    def check_missing(self, X):
        """Raise if a number that is mixed with others is missing; see `Basis.check_missing`."""
        if len(self.numbers):
            self.numeric.check_missing(self._numbers(X))

    def noise_std(self, column_std):
        """Noise of the components, see `Basis.noise_std`; that of categories is 0."""
        zeros = np.zeros(len(self.columns))
        if not len(self.numbers):
            return zeros
        std = self.numeric.noise_std(column_std[self.numbers])
        return None if std is None else np.concatenate([std, zeros])

    def mixing(self):
        """Labels of columns (F,) and components (D,), see `Basis.mixing`."""
        column_labels = np.zeros(len(self.names), int)
        of_numbers = of_components = np.zeros(0, int)
        if len(self.numbers):
            of_numbers, of_components = self.numeric.mixing()
            column_labels[self.numbers] = of_numbers
        first = of_numbers.max(initial=-1) + 1
        of_categories = first + np.arange(len(self.columns))
        column_labels[self.columns] = of_categories
        return column_labels, np.concatenate([of_components, of_categories])

    def describe(self):
        """Describe the components to a schedule, see `Basis.describe`.

        The natural order of components that are columns is that of the columns.
        """
        names = self.names[self.columns].astype(str)
        columns, order = self.columns, -np.log(self.component_variances_[-len(self.columns) :])
        groups, n = names, len(self.numbers)
        if n:
            inner = self.numeric.describe()
            of_numbers = np.full(n, -1)
            if inner.columns is not None:
                of_numbers = np.where(inner.columns < 0, -1, self.numbers[inner.columns])
            if (of_numbers >= 0).all():
                order = self.position[np.concatenate([of_numbers, columns])]
            else:
                order = np.concatenate([inner.order, order])
            names = np.concatenate([inner.names, names])
            groups = np.concatenate([inner.groups, groups])
            columns = np.concatenate([of_numbers, columns])
        else:
            order = self.position[columns]
        return Components(
            variances=self.component_variances_.copy(), scale=self.scale_.copy(),
            order=order.astype(np.float64), names=names, groups=groups, columns=columns,
            dead=self.dead_.copy(),
        )  # fmt: skip
