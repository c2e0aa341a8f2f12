"""A table with a target as one more column, and the generator that models both."""

from typing import NamedTuple

import numpy as np

from gudlearn._specs import declare_target
from gudlearn.data.appending import free_label, with_column, with_unknown
from gudlearn.data.completing import as_frame
from gudlearn.data.frames import is_frame
from gudlearn.data.reading import read_checked


class HeldOut(NamedTuple):
    """Rows on which the weights of a generator were judged.

    Parameters
    ----------
    prediction : Prediction
    rows : Rows
        Without the target.
    index : ndarray of shape (n,) of int
        Their indices in fit.
    """

    prediction: object
    rows: object
    index: np.ndarray


class TargetTable:
    """Features and a target as the columns of one table.

    Parameters
    ----------
    generator : GUDGenerator
        Not fitted; changed by `fit`.
    """

    def __init__(self, generator):
        self.generator = generator

    def fit(self, estimator, X, target, name=None):
        """Fit the generator to features X and the target.

        Parameters
        ----------
        estimator : estimator to which X was passed
            Its ``n_features_in_`` and ``feature_names_in_`` are set.
        X : array-like or frame of shape (n, F)
        target : callable (n, is_frame) -> (values, feature_type)
            Values (n,) of the target beside n rows of a frame, or of an array, and "category" or
            "continuous".
        name : object
            That of the column in a frame, if it is a text and no column of X has it; else "y".

        Returns
        -------
        HeldOut
        """
        table = read_checked(estimator, X, reset=True)
        values, feature_type = target(table.n_rows, is_frame(X))
        X = X if is_frame(X) else as_frame(table)
        self.label = free_label(X, name if isinstance(name, str) and name else "y")
        declare_target(self.generator, self.label, feature_type)
        self.generator.fit(with_column(X, self.label, values))
        index = self.generator.validation_index_
        index = np.arange(0) if index is None else index
        prediction = self.generator.prediction(self.label)
        rows = prediction.read(with_unknown(table, self.label))
        return HeldOut(prediction, rows.take(index), index)

    def with_target(self, estimator, X, value):
        """New features, with one value of the target in all rows, as one table."""
        table = read_checked(estimator, X, reset=False)
        values = np.full(table.n_rows, value)
        return with_column(X if is_frame(X) else as_frame(table), self.label, values)

    def prediction(self, estimator, X):
        """The `Prediction` of the target, and `Rows` of new features without it."""
        table = read_checked(estimator, X, reset=False)
        prediction = self.generator.prediction(self.label)
        return prediction, prediction.read(with_unknown(table, self.label))
