"""Outlier detection by the log-likelihood of a generative model."""

from numbers import Real

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from gudlearn._atomic import isolated
from gudlearn._constraints import HasMethods, Interval, StrOptions
from gudlearn._random import distinct_keys, row_keys
from gudlearn._specs import NestedGenerator
from gudlearn.data.frames import in_order, is_frame, labels_of, read_table, with_columns
from gudlearn.data.ties import SpreadTies
from gudlearn.generator import GUDGenerator

# Number of random spreads over which the score of a row with ties is averaged.
_N_DRAWS = 2


class GUDOutlierDetector(NestedGenerator, OutlierMixin, BaseEstimator):
    """Outlier detector: rows to which a diffusion model gives a low density.

    Parameters
    ----------
    generator : GUDGenerator or None, default=None
        The model, not fitted; None is ``GUDGenerator()``. Its parameters can be set as
        ``generator__max_iter``.
    ties : {"spread", "keep"}, default="spread"
        How numeric columns of a table with repeated values are treated (those in which less than
        half of the observed values are distinct). A value that many rows share would give all of
        these rows a high density. "spread" replaces values by normal scores, with ties spread at
        random over the scores that they share: a row is then unusual if it has a rare value, or one
        that does not agree with the other columns. The model treats these columns as continuous;
        point masses that the schema finds in others, and categories (booleans of frames, too), are
        scored by their log-probability. "keep" leaves values as they are; so do images, generators
        with a ``bin_width``, and columns that their ``schema`` names.
    contamination : float in (0, 0.5], default=0.1
        Fraction of the training rows below the threshold.
    random_state : int, RandomState instance or None, default=None
        If not None, it is passed to the generator and to the steps of a pipeline.

    Attributes
    ----------
    generator_ : GUDGenerator
        The fitted model.
    offset_ : float
        Log-likelihood, in nats, below which a row is an outlier.
    n_features_in_ : int
        Number of columns, or of values in one image.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if they were strings.

    Notes
    -----
    Rows with NaN are scored by their observed values if the basis does not mix columns. Rows in the
    generator's reference set (its ``retrieval``) are scored as if they were not in it, except with
    ``likelihood="flow"``; of equal rows only the first is excluded.

    In columns whose ties are spread, log-likelihoods are densities of the normal scores (the mean
    over two random spreads, keyed by the values of a row); in others, of the values of the data.

    References
    ----------
    Rüschendorf (2009), "On the distributional transform, Sklar's theorem, and the empirical copula
    process", https://doi.org/10.1016/j.jspi.2009.05.030

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn import GUDGenerator, GUDOutlierDetector
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> detector = GUDOutlierDetector(GUDGenerator(max_iter=5), random_state=0).fit(X)
    >>> detector.predict([[0.0, 0.0], [9.0, 9.0]])
    array([ 1, -1])
    """

    _parameter_constraints = {
        "generator": [None, HasMethods("score_samples")],
        "ties": [StrOptions({"spread", "keep"})],
        "contamination": [Interval(Real, 0, 0.5, closed="right")],
        "random_state": ["random_state"],
    }

    def __init__(self, generator=None, *, ties="spread", contamination=0.1, random_state=None):
        self.generator = generator
        self.ties = ties
        self.contamination = contamination
        self.random_state = random_state

    @isolated
    def fit(self, X, y=None):
        """Fit the model, and choose the threshold by its scores of the same rows.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images
        y : None
            Ignored.

        Returns
        -------
        self : GUDOutlierDetector
        """
        self._validate_params()
        generator = self._new_generator()
        table = _numbers(X, _declared(generator, X)) if self._may_spread(generator) else None
        ties = None if table is None else SpreadTies(table.values)
        if ties is None or not len(ties.columns):
            ties = None
            generator.fit(X)
        else:
            # Equal rows get different spreads.
            generator.fit(table.with_spread(X, ties, distinct_keys(table.rows)))
        scores = _scores(_whole_rows, generator, ties, X, table)
        self.generator_, self._ties = generator, ties
        self.offset_ = float(np.percentile(scores, 100 * self.contamination))
        self.n_features_in_ = generator.n_features_in_
        vars(self).pop("feature_names_in_", None)
        if hasattr(generator, "feature_names_in_"):
            self.feature_names_in_ = generator.feature_names_in_
        return self

    def _may_spread(self, generator):
        """Whether ties are spread in columns that have them."""
        width = getattr(generator, "bin_width", None)
        binned = width is not None and not isinstance(width, str)
        images = getattr(generator, "shape", None) is not None
        return self.ties == "spread" and not binned and not images

    @isolated
    def score_samples(self, X):
        """Log-likelihood of each row, in nats; low for outliers.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self._score(_whole_rows, X)

    @isolated
    def score_columns(self, X, *, groups=None):
        """Log-likelihood of each entry given all others of its row: which column is unusual.

        The generator should be fitted with a ``conditional_rate`` above 0, for example
        ``generator__conditional_rate=0.3``.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images
        groups : list or dict of columns, or None, default=None
            As in :meth:`GUDGenerator.score_columns <gudlearn.GUDGenerator.score_columns>`.

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, n_groups)
            In nats and in the units of ``score_samples``; 0 where entries are missing.

        Raises
        ------
        TypeError
            If the generator is not a `GUDGenerator`.

        Examples
        --------
        >>> import numpy as np
        >>> from gudlearn import GUDGenerator, GUDOutlierDetector
        >>> X = np.random.default_rng(0).normal(size=(200, 3))
        >>> generator = GUDGenerator(conditional_rate=0.3, max_iter=5)
        >>> detector = GUDOutlierDetector(generator, random_state=0).fit(X)
        >>> int(detector.score_columns([[0.5, 9.0, 0.0]]).argmin())
        1
        """

        def columns(generator, rows, reference):
            if not isinstance(generator, GUDGenerator):
                raise TypeError(
                    f"score_columns needs a GUDGenerator, but generator={self.generator!r}. Pass "
                    "one, or use score_samples."
                )
            return generator.score_columns_leave_one_out(rows, groups=groups, reference=reference)

        return self._score(columns, X)

    def _default_generator(self):
        return GUDGenerator()

    def _score(self, function, X):
        check_is_fitted(self)
        if self._ties is None:
            return _scores(function, self.generator_, None, X, None)
        if hasattr(self, "feature_names_in_"):
            X = in_order(X, self.feature_names_in_)
        table = _numbers(X)
        if table is None or not self._ties.holds(table.values):
            self.generator_.score_samples(X)
            raise ValueError(
                f"X must be a table of {self._ties.n_features} columns, with finite numbers where "
                "there were numbers in fit. Convert or drop other values."
            )
        return _scores(function, self.generator_, self._ties, X, table)

    def decision_function(self, X):
        """Log-likelihood above the threshold, in nats; negative for outliers.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """Classify rows as outliers or inliers.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples,) of int
            -1 for outliers, 1 for inliers.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        generator = self._default_generator() if self.generator is None else self.generator
        tags.input_tags.three_d_array = True
        of_generator = get_tags(generator).input_tags
        for name in ("allow_nan", "categorical", "string"):
            setattr(tags.input_tags, name, getattr(of_generator, name))
        return tags


def _whole_rows(generator, X, reference):
    """Log-likelihoods of rows, each of them excluded from the reference set if there is one."""
    if not getattr(generator, "uses_reference_set", False):
        return generator.score_samples(X)
    return generator.score_samples_leave_one_out(X, reference)


def _scores(function, generator, ties, X, table):
    """Scores of X by a function such as `_whole_rows`.

    With ties they are means over random spreads of X, a table with the numbers of ``table``. Spread
    0 is the training data, and is not scored.
    """
    if ties is None:
        return function(generator, X, None)
    keys, total = row_keys(table.rows), 0.0
    trained_on = None
    if getattr(generator, "uses_reference_set", False):
        trained_on = table.with_spread(X, ties, keys)
    for k in range(1, _N_DRAWS + 1):
        draw = table.with_spread(X, ties, keys, k)
        total = total + function(generator, draw, trained_on)
    return total / _N_DRAWS


def _numbers(X, skipped=None):
    """The `_Numbers` of a table; None for other X: images, or bad input."""
    try:
        if not is_frame(X) and np.asarray(X).ndim != 2:
            return None
        table = _Numbers(X, skipped)
    except (TypeError, ValueError):
        return None
    return table if len(table.values) and not np.isinf(table.values).any() else None


def _declared(generator, X):
    """Mask (F,) of the columns whose type a generator's schema declares; None if it names none."""
    schema = getattr(generator, "schema", None)
    named = {*(getattr(schema, "feature_types", None) or {})}
    named |= {*(getattr(schema, "bin_width", None) or {})}
    if not named:
        return None
    labels = labels_of(X)
    return np.isin(range(np.shape(X)[1]) if labels is None else labels, list(named))


class _Numbers:
    """The numeric columns of a table, to spread their ties, and the keys of its rows.

    Parameters
    ----------
    X : array, or frame of pandas, polars or pyarrow
    skipped : ndarray of shape (F,) of bool, or None
        Columns that are left as they are.

    Attributes
    ----------
    values : ndarray of shape (n, F)
        float64; NaN in columns that are not numeric and where a value is missing.
    rows : ndarray of shape (n, F)
        Numbers that say which rows are equal.
    """

    def __init__(self, X, skipped=None):
        table = read_table(X if is_frame(X) else _array(X))
        self.values = np.full((table.n_rows, len(table.columns)), np.nan)
        self.rows = self.values.copy()
        for j, raw in enumerate(table.columns):
            numbers = _column_of_numbers(raw, is_frame(X))
            self.rows[:, j] = _content(raw) if numbers is None else numbers
            if numbers is not None and (skipped is None or not skipped[j]):
                self.values[:, j] = numbers

    def with_spread(self, X, ties, keys, draw=0):
        """X with normal scores in the columns with ties; a table like X, if it is a frame."""
        scores = ties.spread(self.values, keys, draw)
        if not is_frame(X):
            X = _array(X)
            out = X.astype(object if X.dtype.kind in "OUS" else np.float64)
            out[:, ties.columns] = scores[:, ties.columns]
            return out
        return with_columns(X, {int(j): scores[:, j] for j in ties.columns})


def _array(X):
    X = np.asarray(X)
    if X.dtype.kind != "O":
        return X
    try:
        return X.astype(np.float64)
    except (TypeError, ValueError):
        return X


def _column_of_numbers(raw, of_frame):
    """A column as float64 (n,), NaN where missing; None if it does not hold numbers.

    Booleans of an array are numbers, those of a frame categories.
    """
    if raw.kind == "level" and not of_frame and all(isinstance(v, bool) for v in raw.levels):
        return np.append(raw.levels.astype(np.float64), np.nan)[raw.values]
    if raw.kind not in ("integer", "float"):
        return None
    values = raw.values.astype(np.float64)
    return values if raw.missing is None else np.where(raw.missing, np.nan, values)


def _content(raw):
    """Numbers (n,) that tell the values of a column that holds no numbers apart."""
    if raw.kind != "level":
        missing = raw.missing_mask()
        return raw.values if missing is None else np.where(missing, np.nan, raw.values)
    texts = np.array([str(level) for level in raw.levels] + [""], dtype=object)
    return (pd.util.hash_array(texts, categorize=False) >> 11).astype(np.float64)[raw.values]
