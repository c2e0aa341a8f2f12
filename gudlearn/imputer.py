"""Imputation of missing values by one generative model of all columns."""

from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.impute import MissingIndicator
from sklearn.utils import check_random_state
from sklearn.utils.validation import FLOAT_DTYPES, check_is_fitted, validate_data

from gudlearn._atomic import isolated, unchanged_on_error
from gudlearn._constraints import HasMethods, Interval, StrOptions, _check_feature_names_in
from gudlearn._specs import NestedGenerator
from gudlearn.data.columns import check_n_samples
from gudlearn.data.missing import missing_mask
from gudlearn.data.rows import Rows
from gudlearn.generator import GUDGenerator
from gudlearn.samplers import DPMSolver

# Columns with at most this many distinct values, all whole numbers, are discrete.
_MOST_LEVELS = 64
# Fraction of partially observed training rows: an imputer never draws complete rows.
_RATE = 0.5


class GUDImputer(NestedGenerator, TransformerMixin, BaseEstimator):
    """Imputation by the conditional distribution of missing values under a diffusion model.

    Parameters
    ----------
    generator : GUDGenerator or None, default=None
        The model, not fitted. None is ``GUDGenerator(sampler=DPMSolver(steps=20),
        retrieval="auto")``. In the fitted copy a ``conditional_rate`` of "auto" is 0.5, and
        with a ``bin_width`` of "auto" columns of at most 64 different whole numbers are discrete.
        Its parameters can be set as ``generator__max_iter``.
    missing_values : number or NaN, default=NaN
        Value that marks a missing one.
    strategy : {"mean", "median", "sample"}, default="mean"
        Impute the mean or the median of each entry given the observed values of the row, or one
        draw. Means have the least squared error; draws have the distribution of the data.
    n_samples : int, default=30
        Draws for a median, which may lie between two whole numbers if the number is even. For a
        mean, draws of noise, see
        :meth:`GUDGenerator.conditional_mean <gudlearn.GUDGenerator.conditional_mean>`.
    add_indicator : bool, default=False
        Whether to append indicators of missing values, as
        :class:`~sklearn.impute.MissingIndicator` does.
    keep_empty_features : bool, default=False
        Whether columns without any value in ``fit`` are kept and filled with 0, or dropped.
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
        self,
        generator=None,
        *,
        missing_values=np.nan,
        strategy="mean",
        n_samples=30,
        add_indicator=False,
        keep_empty_features=False,
        random_state=None,
    ):
        self.generator = generator
        self.missing_values = missing_values
        self.strategy = strategy
        self.n_samples = n_samples
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
        self.random_state = random_state

    @isolated
    def fit(self, X, y=None):
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
            X = self._rows(X, reset=True)
            missing = missing_mask(X)
            self._kept = np.ones(X.shape[1], bool) if missing is None else ~missing.all(axis=0)
            self.indicator_ = None
            if self.add_indicator:
                self.indicator_ = MissingIndicator(error_on_new=False).fit(X)
            self.generator_, self._whole = None, np.zeros(0, dtype=bool)
            if self._kept.any():
                self.generator_ = self._fit_generator(generator, X[:, self._kept])
        # One seed for all calls; None draws it here.
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        return self

    def _fit_generator(self, generator, rows):
        """Fit a generator to the kept columns, by their names where there are any."""
        self._whole = np.zeros(rows.shape[1], dtype=bool)
        if isinstance(generator.bin_width, str) and generator.bin_width == "auto":
            self._whole = _whole_columns(rows)
            if self._whole.any():
                generator.set_params(bin_width=np.where(self._whole, 1.0, np.nan))
        if hasattr(self, "feature_names_in_"):
            rows = pd.DataFrame(rows, columns=self.feature_names_in_[self._kept])
        return generator.fit(rows)

    def _default_generator(self):
        return GUDGenerator(sampler=DPMSolver(steps=20), retrieval="auto")

    def _new_generator(self):
        generator = super()._new_generator()
        if generator.conditional_rate == "auto":
            generator.set_params(conditional_rate=_RATE)
        return generator

    @isolated
    def transform(self, X):
        """Impute missing values.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features_out)
            Observed entries are those of X.
        """
        check_is_fitted(self)
        X = self._rows(X, reset=False)
        if self.strategy == "sample":
            filled = self._complete(X, 1, by_value=False)[0]
        else:
            mean = self.strategy == "mean"
            draws = self._complete(X, self.n_samples, by_value=True, mean=mean)
            filled = np.median(draws, axis=0)
        filled = self._in_place(X, filled)
        if self.indicator_ is None:
            return filled
        return np.hstack([filled, self.indicator_.transform(X).astype(filled.dtype)])

    @isolated
    def sample_imputations(self, X, m=5):
        """Draw several imputations, to propagate their uncertainty into later results.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        m : int, default=5
            Number of imputations.

        Returns
        -------
        ndarray of shape (m, n_samples, n_features_out)
            Without the columns of an indicator. The first imputation is that of ``transform`` with
            ``strategy="sample"``.

        References
        ----------
        Rubin (1987), "Multiple imputation for nonresponse in surveys".
        """
        check_is_fitted(self)
        check_n_samples(m, "m")
        X = self._rows(X, reset=False)
        return np.stack([self._in_place(X, f) for f in self._complete(X, m, by_value=False)])

    @property
    def _nan_is_missing(self):
        """Whether NaN marks a missing value."""
        return self.missing_values is None or bool(np.isnan(self.missing_values))

    def _rows(self, X, reset):
        nan = self._nan_is_missing
        X = validate_data(
            self, X, dtype=FLOAT_DTYPES, reset=reset, ensure_all_finite="allow-nan" if nan else True
        )
        return X if nan else np.where(X == self.missing_values, np.nan, X)

    def _complete(self, X, n_samples, by_value, mean=False):
        """Completions of the kept columns of X, (n_draws, n, F'), float64."""
        values = X[:, self._kept].astype(np.float64)
        missing = missing_mask(values)
        if missing is None:
            return np.repeat(values[None], n_samples, axis=0)
        partial = missing.any(axis=1)
        # Observed values may lie off the grid that was fitted; they are not changed.
        on_grid = Rows.of(np.where(self._whole, np.rint(values[partial]), values[partial]))
        sampling = self.generator_.sampling()
        if mean:
            expected = sampling.expect_by_value(on_grid, n_samples, self._seed, by_value)
            drawn = expected.rows(on_grid.observed)[None]
        else:
            drawn = sampling.complete_by_value(on_grid, n_samples, self._seed, by_value)
        complete = np.repeat(values[None], len(drawn), axis=0)
        complete[:, partial] = np.where(on_grid.observed, values[partial], drawn)
        return complete

    def _in_place(self, X, filled):
        """Put completed columns in the place of those of X; keep or drop the empty columns."""
        filled = filled.astype(X.dtype)
        if self._kept.all() or not self.keep_empty_features:
            return filled
        # A new row may have values in a column that was empty in fit: they are kept.
        out = np.nan_to_num(X, nan=0.0)
        out[:, self._kept] = filled
        return out

    def get_feature_names_out(self, input_features=None):
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
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _whole_columns(X):
    """Mask (F,) of columns whose observed values are few different whole numbers."""
    whole, missing = np.zeros(X.shape[1], dtype=bool), missing_mask(X)
    for j, column in enumerate(X.T):
        values = np.unique(column if missing is None else column[~missing[:, j]])
        whole[j] = 1 < len(values) <= _MOST_LEVELS and (values == np.rint(values)).all()
    return whole
