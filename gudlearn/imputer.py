"""Imputation of missing values by one generative model of all columns."""

from dataclasses import replace
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.impute import MissingIndicator
from sklearn.utils import check_random_state
from sklearn.utils.validation import FLOAT_DTYPES, check_is_fitted, validate_data

from gudlearn._atomic import isolated, unchanged_on_error
from gudlearn._constraints import HasMethods, Interval, StrOptions, _check_feature_names_in
from gudlearn._specs import NestedGenerator, resolve
from gudlearn._typing import RandomState
from gudlearn.bases import IdentityBasis
from gudlearn.data.columns import check_n_samples, column_names
from gudlearn.data.completing import (
    are_numbers,
    as_frame,
    central_columns,
    complete,
    drawn_columns,
    expected_columns,
    missing_of,
    selected,
    with_indicators,
    with_marks,
)
from gudlearn.data.frames import Table, in_order, is_frame, read_table
from gudlearn.data.reading import holds_objects, read_checked
from gudlearn.data.rows import Rows
from gudlearn.data.schema import Schema
from gudlearn.generator import GUDGenerator
from gudlearn.samplers import DPMSolver

# Fraction of partially observed training rows of images, or if the basis mixes columns: an imputer
# never draws complete rows.
_RATE = 0.5


class GUDImputer(NestedGenerator, TransformerMixin, BaseEstimator):
    """Imputation by the conditional distribution of missing values under a diffusion model.

    Parameters
    ----------
    generator : GUDGenerator or None, default=None
        The model, not fitted. None is ``GUDGenerator(sampler=DPMSolver(steps=20),
        retrieval="auto", bin_width=None, schema=Schema(atoms=False, gaussianize=False))``: numbers
        are continuous, also where they repeat or lie on a grid, because few rows tell more about an
        order of values than about levels without one, and means are learned in their units. If it
        has no ``targets``, those of the fitted copy are "all", and its ``conditional_rate`` of
        "auto" is 0.8; with images, or a basis that mixes columns, only the latter, 0.5. Its
        ``schema`` decides about the types of columns. Its parameters can be set as
        ``generator__max_iter``.
    missing_values : number or NaN, default=NaN
        Value that marks a missing one among numbers. Nulls of frames are missing in any case.
    strategy : {"mean", "median", "sample"}, default="mean"
        Impute the mean or the median of each entry given the observed values of the row, or one
        draw. Means have the least squared error; draws have the distribution of the data.
        Categories are imputed by the most probable level with "mean" and "median". In columns of
        whole numbers of a mixed frame means are rounded.
    n_samples : int, default=30
        Draws for a median, which may lie between two whole numbers if the number is even. For a
        mean, draws of noise, see
        :meth:`GUDGenerator.conditional_mean <gudlearn.GUDGenerator.conditional_mean>`; without
        effect where the generator gives means in one evaluation, as the default one does.
    add_indicator : bool, default=False
        Whether to append indicators of missing values, as
        :class:`~sklearn.impute.MissingIndicator` does.
    keep_empty_features : bool, default=False
        Whether columns without any value in ``fit`` are kept, and filled with 0 if they hold
        numbers, or dropped.
    random_state : int, RandomState instance or None, default=None
        Controls the draws and, if it is not None, the generator's fit. Means and medians of a row
        do not depend on other rows; draws differ between equal rows.

    Attributes
    ----------
    generator_ : GUDGenerator or None
        The fitted model of the columns with values; None if there are none.
    indicator_ : MissingIndicator or None
        The fitted indicator, with ``add_indicator``.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if they were strings.

    Notes
    -----
    Frames of pandas, polars and pyarrow, and arrays of objects, may hold numbers, text, categories,
    booleans and times. Where all columns hold numbers ``transform`` returns an array, or what
    ``set_output`` asks for; otherwise a table like the one that was passed, with its index and
    dtypes. Columns are taken by name and come back in the order of ``fit``. A level that was not
    seen in ``fit`` stays, and counts as missing when others are imputed.

    Values are assumed to be missing at random: whether one is missing may depend on the observed
    values of the row, not on the missing value.

    If the generator's basis mixes observed with missing columns in one of the rows, all rows are
    guided: the means of a row may then depend on other rows.

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn import GUDGenerator, GUDImputer
    >>> X = np.random.default_rng(0).normal(size=(60, 1)) + [0.0, 10.0]
    >>> X[0, 1] = np.nan
    >>> imputer = GUDImputer(GUDGenerator(max_iter=10), random_state=0)
    >>> imputer.fit_transform(X).shape
    (60, 2)
    >>> imputer.sample_imputations(X, 5).shape
    (5, 60, 2)
    """

    _NEEDS = "conditional_rate", "cannot complete rows"
    _parameter_constraints = {
        "generator": [None, HasMethods("sample")],
        "missing_values": [Real, None],
        "strategy": [StrOptions({"mean", "median", "sample"})],
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "add_indicator": ["boolean"],
        "keep_empty_features": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self, generator: GUDGenerator | None = None, *, missing_values: Any = np.nan,
        strategy: Literal["mean", "median", "sample"] = "mean", n_samples: int = 30,
        add_indicator: bool = False, keep_empty_features: bool = False,
        random_state: RandomState = None,
    ) -> None:  # fmt: skip
        self.generator = generator
        self.missing_values = missing_values
        self.strategy = strategy
        self.n_samples = n_samples
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
        self.random_state = random_state

    @isolated
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Fit the model to the observed values.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        y : None
            Ignored.

        Returns
        -------
        self : GUDImputer

        Raises
        ------
        ValueError
            For bad parameters or data.
        TypeError
            If the generator cannot complete rows.
        """
        self._validate_params()
        generator = self._new_generator()
        with unchanged_on_error(self):
            table = self._read(X, reset=True)
            missing = missing_of(table)
            self._kept = ~missing.all(axis=0)
            self.indicator_ = None
            if self.add_indicator:
                self.indicator_ = MissingIndicator(error_on_new=False).fit(_as_nan(missing))
            self.generator_ = self._schema = None
            if self._kept.any():
                self._fit_generator(generator, table)
        # One seed for all calls; None draws it here.
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        return self

    def _fit_generator(self, generator, table):
        """Fit a generator to the kept columns, by their names where there are any."""
        rows = as_frame(selected(table, self._kept))
        if not self._mixed and hasattr(self, "feature_names_in_"):
            rows = pd.DataFrame(rows, columns=self.feature_names_in_[self._kept])
        self.generator_ = generator.fit(rows)
        self._schema = self.generator_.schema_
        if self._schema is None:
            # Rows of images are columns of numbers here.
            names = column_names(self.generator_)
            self._schema = Schema(atoms=False).build(rows, names, bin_width=None)

    def _default_generator(self):
        on_the_line = {"bin_width": None, "schema": Schema(atoms=False, gaussianize=False)}
        return GUDGenerator(sampler=DPMSolver(steps=20), retrieval="auto", **on_the_line)

    def _new_generator(self):
        generator = super()._new_generator()
        if getattr(generator.schema, "missing", "ignore") == "model":
            raise ValueError(
                "A generator with Schema(missing='model') draws missing values, but an imputer "
                "fills them in. Pass missing='ignore'."
            )
        if generator.conditional_rate == "auto":
            by_column = isinstance(resolve("basis", generator.basis), IdentityBasis)
            if generator.targets is None and by_column and generator.shape is None:
                generator.set_params(targets="all")
            elif generator.targets is None:
                generator.set_params(conditional_rate=_RATE)
        return generator

    @isolated
    def transform(self, X: ArrayLike) -> Rows:
        """Impute missing values.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features_out)
            Observed entries are those of X.
        """
        check_is_fitted(self)
        table = self._read(X, reset=False)
        missing = missing_of(table)
        by_law = self.strategy == "sample"
        completed = self._completions(table, missing, 1 if by_law else self.n_samples)[0]
        if self.indicator_ is not None:
            flags = self.indicator_.transform(_as_nan(missing))
            names = self.get_feature_names_out()[len(completed.columns) :]
            completed = with_indicators(completed, flags, names)
        return _like(X, completed)

    @isolated
    def sample_imputations(self, X: ArrayLike, m: int = 5) -> Any:
        """Draw several imputations, to propagate their uncertainty into later results.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        m : int, default=5
            Number of imputations.

        Returns
        -------
        ndarray of shape (m, n_samples, n_features_out), or list of m frames
            Frames for a frame that does not hold only numbers. Without the columns of an indicator.
            The first imputation is that of ``transform`` with ``strategy="sample"``.

        References
        ----------
        Rubin (1987), "Multiple imputation for nonresponse in surveys".
        """
        check_is_fitted(self)
        check_n_samples(m, "m")
        table = self._read(X, reset=False)
        completed = self._completions(table, missing_of(table), m, by_law=True)
        completed = [_like(X, c) for c in completed]
        return completed if self._mixed and is_frame(X) else np.stack(completed)

    @property
    def _nan_is_missing(self):
        """Whether NaN marks a missing value."""
        return self.missing_values is None or bool(np.isnan(self.missing_values))

    def _read(self, X, reset):
        """The `Table` of X: of floats if all columns that were fitted hold numbers."""
        if is_frame(X) or holds_objects(X):
            table = read_checked(self, X, reset=reset)
            if reset:
                self._mixed = not are_numbers(table)
            if self._mixed:
                return table if self._nan_is_missing else with_marks(table, self.missing_values)
            if not reset and is_frame(X) and hasattr(self, "feature_names_in_"):
                X = in_order(X, self.feature_names_in_)
        elif reset:
            self._mixed = False
        elif self._mixed:
            return read_checked(self, X, reset=False)
        nan = self._nan_is_missing
        X = validate_data(
            self, X, dtype=FLOAT_DTYPES, reset=reset, ensure_all_finite="allow-nan" if nan else True
        )
        return read_table(X if nan else np.where(X == self.missing_values, np.nan, X))

    def _completions(self, table, missing, n_samples, by_law=None):
        """Completed tables: one of means, medians or modes, or draws with ``by_law``."""
        kept, hidden = selected(table, self._kept), missing[:, self._kept]
        by_law = self.strategy == "sample" if by_law is None else by_law
        if not hidden.any():
            completed = [kept] * (n_samples if by_law else 1)
        else:
            found = self._found(kept, hidden, n_samples, by_law)
            completed = [complete(kept, self._schema, hidden, columns) for columns in found]
        if self._kept.all() or not self.keep_empty_features:
            return completed
        return [self._with_empty(table, c) for c in completed]

    def _found(self, table, missing, n_samples, by_law):
        """Values of the columns of rows with missing values, a list of lists of `RawColumn`."""
        schema, sampling = self._schema, self.generator_.sampling()
        fields = schema.read(table, partial=True)[missing.any(1)]
        # A level that was not seen says nothing of the others; numbers may lie off the grid.
        fields[schema.masked & (fields >= schema.n_levels)] = np.nan
        bins = sampling.state.encoding.bins
        position = (fields - bins.origin) / np.where(bins.discrete, bins.width, 1.0)
        rows = Rows.of(bins.values(np.rint(position), fields))
        seed = sampling.fitted.agreed(self._seed)
        if by_law:
            draws = sampling.complete_by_value(rows, n_samples, seed, False)
            return [drawn_columns(schema, draw) for draw in draws]
        mean = self.strategy == "mean"
        if mean and sampling.method(rows.observed) == "exact":
            expected = sampling.expect_by_value(rows, n_samples, seed, True)
            return [expected_columns(schema, expected)]
        draws = sampling.complete_by_value(rows, n_samples, seed, True)
        return [central_columns(schema, draws, mean)]

    def _with_empty(self, table, completed):
        """A table with the columns that were empty in fit; new values in them are kept."""
        columns, kind = list(table.columns), table.kind
        for j, raw in enumerate(columns):
            if not self._kept[j] and raw.kind in ("integer", "float"):
                gap = raw.missing_mask()
                values = raw.values if gap is None else np.where(gap, 0, raw.values)
                columns[j] = replace(raw, values=values, missing=None)
        dtypes, objects = list(kind.dtypes), list(kind.objects)
        for k, j in enumerate(np.flatnonzero(self._kept)):
            columns[j] = completed.columns[k]
            dtypes[j], objects[j] = completed.kind.dtypes[k], completed.kind.objects[k]
        kind = replace(kind, dtypes=dtypes, objects=tuple(objects))
        return Table(kind, columns, table.n_rows)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[Any]:
        """Name the columns of what ``transform`` returns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns; None takes those seen in fit, or x0, x1, ...

        Returns
        -------
        ndarray of shape (n_features_out,) of str objects
        """
        check_is_fitted(self)
        names = np.asarray(_check_feature_names_in(self, input_features), dtype=object)
        kept = names if self.keep_empty_features else names[self._kept]
        if self.indicator_ is None:
            return kept
        added = [f"missingindicator_{names[j]}" for j in self.indicator_.features_]
        return np.concatenate([kept, np.asarray(added, dtype=object)])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._nan_is_missing
        tags.input_tags.categorical = tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _as_nan(missing):
    """NaN where values are missing, else 0; for `MissingIndicator`."""
    return np.where(missing, np.nan, 0.0)


def _like(X, table):
    """A table as an array or a frame, with the index of X."""
    out = as_frame(table)
    return out.set_axis(X.index, axis=0) if isinstance(out, pd.DataFrame) else out
