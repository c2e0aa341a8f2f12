"""Outlier detection by densities of noisy rows, or by the log-likelihood of a generative model."""

from collections.abc import Iterable
from numbers import Real
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from gudlearn._atomic import isolated, unchanged_on_error
from gudlearn._constraints import HasMethods, Interval, StrOptions
from gudlearn._random import derive_seed, distinct_keys, row_keys
from gudlearn._specs import NestedGenerator
from gudlearn._typing import Floats, RandomState
from gudlearn.data.codes import ColumnCodes
from gudlearn.data.columns import column_names, masks_of_groups
from gudlearn.data.frames import in_order, is_frame, labels_of, read_table, with_columns
from gudlearn.data.images import read_images
from gudlearn.data.reading import read_checked
from gudlearn.data.ties import SpreadTies
from gudlearn.generator import GUDGenerator
from gudlearn.preconditioning.noisy_densities import NoisyDensities

# Number of random spreads over which the score of a row with ties is averaged.
_N_DRAWS = 2
# The fraction of the rows that is held out for the threshold, and the fewest rows to do so.
_HELD_OUT, _FEWEST_ROWS = 0.1, 40


class GUDOutlierDetector(NestedGenerator, OutlierMixin, BaseEstimator):
    """Outlier detector: rows of a low density, in closed form or under a diffusion model.

    Parameters
    ----------
    generator : GUDGenerator or None, default=None
        The model for ``method="density"``, not fitted; None is ``GUDGenerator()``. Its parameters
        can be set as ``generator__max_iter``.
    method : {"auto", "kernel", "density"}, default="auto"
        How rows are scored.

        "kernel": nothing is trained. Pairs of columns and whole rows are scored by densities and
        noise levels under a diffusion of the training rows, in closed form, see Notes. For tables
        of any kinds of columns; it ranks outliers best and takes seconds.

        "density": by the log-likelihood of the generator.

        "auto" is "kernel" for tables if ``generator`` is None, else "density".
    ties : {"spread", "keep"}, default="spread"
        For ``method="density"``: how numeric columns of a table with repeated values are treated
        (those in which less than half of the observed values are distinct). A value that many rows
        share would give all of these rows a high density. "spread" replaces values by normal
        scores, with ties spread at random over the scores that they share: a row is then unusual if
        it has a rare value, or one that does not agree with the other columns. The model treats
        these columns as continuous; point masses that the schema finds in others, and categories
        (booleans of frames, too), are scored by their log-probability. "keep" leaves values as they
        are; so do images, generators with a ``bin_width``, and columns that their ``schema`` names.
    contamination : "auto" or float in (0, 0.5], default=0.1
        Fraction of the training rows below the threshold. "auto" is Tukey's fence of held-out
        scores: their lower quartile minus 1.5 times their interquartile range. Held-out are with
        "kernel" all training rows, each of them scored without itself; with "density" a tenth of
        the rows, which the generator is not fitted to (all rows, if there are fewer than 40).
    random_state : int, RandomState instance or None, default=None
        With "kernel" it controls the pairs of columns and the training rows that each view is
        compared with. With "density" it is passed to the generator and to the steps of a pipeline,
        if it is not None.

    Attributes
    ----------
    method_ : {"kernel", "density"}
        The method in use.
    generator_ : GUDGenerator or None
        The fitted model; None with "kernel".
    offset_ : float
        Score below which a row is an outlier.
    n_features_in_ : int
        Number of columns, or of values in one image.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if they were strings.

    Notes
    -----
    "kernel" looks at a row in several ways. With noise of standard deviation
    :math:`s = h \\sqrt{|S|}` in a part S of the standardised columns, and infinite noise in the
    others, data distributed as the training rows :math:`c_1, \\dots, c_N` have the density

    .. math:: p_{S, s}(x) = \\frac{1}{N} \\sum_k \\prod_{i \\in S} N(x_i; c_{ki}, s^2).

    The first view is the mean of its logarithm, as a normal score, over pairs of columns at
    h = 0.05 (all pairs, or 30 to 100 drawn at random). The others are the noise levels at which
    the whole row is likely, estimated by the mean distance to the nearest training rows: to 5 and
    to 20 of them in standardised columns, and to 5 in columns divided by their range and in
    whitened principal components. Each view is mapped to its normal score among the training rows.
    The score is two thirds of the lowest of them and one third of their mean: a row is an outlier
    if it is one in any view, as in Tippett's combination of p-values.

    Categories that differ have the distance of standardised indicators, and are not part of
    principal components. Where values are missing, pairs are left out, distances are those of the
    other columns, scaled up, and principal components are those of the conditional mean. A column
    without observed values in ``fit`` is ignored; a constant column has unit scale. Of the training
    rows up to 1024 are kept for each pair and 8192 for whole rows. Tables of more than 1000 columns
    of numbers are not looked at in principal components.

    Training rows are scored as if they were not among the training rows; of equal rows only the
    first is excluded. With "density" this holds for rows in the generator's reference set (its
    ``retrieval``), except with ``likelihood="flow"``.

    With "density", rows with NaN are scored by their observed values if the basis does not mix
    columns. In columns whose ties are spread, log-likelihoods are densities of the normal scores
    (the mean over two random spreads, keyed by the values of a row); in others, of the values of
    the data.

    References
    ----------
    Livernoche, Jain, Hezaveh, Ravanbakhsh (2023), "On diffusion modeling for anomaly detection",
    https://arxiv.org/abs/2305.18593

    Rüschendorf (2009), "On the distributional transform, Sklar's theorem, and the empirical copula
    process", https://doi.org/10.1016/j.jspi.2009.05.030

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn import GUDOutlierDetector
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> detector = GUDOutlierDetector(random_state=0).fit(X)
    >>> detector.predict([[0.0, 0.0], [9.0, 9.0]])
    array([ 1, -1])
    """

    _parameter_constraints = {
        "generator": [None, HasMethods("score_samples")],
        "method": [StrOptions({"auto", "kernel", "density"})],
        "ties": [StrOptions({"spread", "keep"})],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "random_state": ["random_state"],
    }

    def __init__(
        self, generator: GUDGenerator | None = None, *,
        method: Literal["auto", "kernel", "density"] = "auto",
        ties: Literal["spread", "keep"] = "spread", contamination: float | Literal["auto"] = 0.1,
        random_state: RandomState = None,
    ) -> None:  # fmt: skip
        self.generator = generator
        self.method = method
        self.ties = ties
        self.contamination = contamination
        self.random_state = random_state

    @isolated
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Keep the training rows or fit the model, and choose the threshold.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images
        y : None
            Ignored.

        Returns
        -------
        self : GUDOutlierDetector

        Raises
        ------
        ValueError
            For bad parameters or data; with "kernel" also if X holds images, a single row, or no
            observed value. What was fitted before is then unchanged.
        """
        self._validate_params()
        with unchanged_on_error(self):
            if self._chosen_method(X) == "kernel":
                self.method_, self.generator_, self._ties = "kernel", None, None
                held_out = self._fit_kernel(X)
            else:
                held_out = self._fit_density(X)
                self.method_ = "density"
            self.offset_ = _threshold(held_out, self.contamination)
        return self

    def _chosen_method(self, X):
        images = read_images(X, None) is not None
        if self.method == "auto":
            return "density" if images or self.generator is not None else "kernel"
        if images and self.method == "kernel":
            raise ValueError(
                "method='kernel' scores rows of tables, but X holds images. Use method='density', "
                "or pass the images as flat rows."
            )
        return self.method

    def _fit_kernel(self, X):
        """Keep the training rows; return their scores."""
        table = read_checked(self, X, reset=True)
        if table.n_rows < 2:
            raise ValueError(
                f"Found array with {table.n_rows} sample(s) while a minimum of 2 is required by "
                f"{type(self).__name__}: a row is compared with the others."
            )
        self._codes = ColumnCodes(table, column_names(self))
        values = self._codes.read(table)
        if np.isnan(values).all():
            raise ValueError("X has no observed value. Pass at least one row with values.")
        rng = np.random.default_rng(derive_seed(self.random_state))
        self._densities = NoisyDensities(values, self._codes.is_category, rng)
        keys = row_keys(values[:, self._densities.columns.observed]).numpy()
        self._keys, self._first = np.unique(keys, return_index=True)
        return self._kernel_scores(values)

    def _kernel_scores(self, values, keyed=None):
        """Scores (n,), each training row left out; ``keyed`` are the whole rows, if not values."""
        keyed = values if keyed is None else keyed
        keys = row_keys(keyed[:, self._densities.columns.observed]).numpy()
        place = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        found = self._keys[place] == keys
        return self._densities.score(values, np.where(found, self._first[place], -1))

    def _fit_density(self, X):
        """Fit the generator; return the scores for the threshold."""
        held_out = None
        if self.contamination == "auto" and np.shape(X)[0] >= _FEWEST_ROWS:
            X, held_out = train_test_split(X, test_size=_HELD_OUT, random_state=0)
        generator = self._new_generator()
        table = _numbers(X, _declared(generator, X)) if self._may_spread(generator) else None
        ties = None if table is None else SpreadTies(table.values)
        if ties is None or not len(ties.columns):
            ties = None
            generator.fit(X)
        else:
            # Equal rows get different spreads.
            generator.fit(table.with_spread(X, ties, distinct_keys(table.rows)))
        self.generator_, self._ties = generator, ties
        self.n_features_in_ = generator.n_features_in_
        vars(self).pop("feature_names_in_", None)
        if hasattr(generator, "feature_names_in_"):
            self.feature_names_in_ = generator.feature_names_in_
        if held_out is not None:
            return self._score(_whole_rows, held_out)
        return _scores(_whole_rows, generator, ties, X, table)

    def _may_spread(self, generator):
        """Whether ties are spread in columns that have them."""
        width = getattr(generator, "bin_width", None)
        binned = width is not None and not isinstance(width, str)
        images = getattr(generator, "shape", None) is not None
        return self.ties == "spread" and not binned and not images

    @isolated
    def score_samples(self, X: ArrayLike) -> Floats:
        """Score of each row; low for outliers.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples,)
            With "kernel" in the units of normal scores. With "density" log-likelihoods in
            nats.
        """
        check_is_fitted(self)
        if self.method_ == "kernel":
            return self._kernel_scores(self._codes.read(read_checked(self, X, reset=False)))
        return self._score(_whole_rows, X)

    @isolated
    def score_columns(self, X: ArrayLike, *, groups: Iterable[Any] | None = None) -> Any:
        """How usual each entry of a row is, given the others: low for the odd column of a row.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images
        groups : list or dict of columns, or None, default=None
            As in :meth:`GUDGenerator.score_columns <gudlearn.GUDGenerator.score_columns>`.

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, n_groups)
            With "kernel" the score of the row minus its score without the column: negative where
            the column makes the row unusual. With "density" the log-likelihood of the entry given
            all others, in nats. 0 where entries are missing.

        Raises
        ------
        TypeError
            If the generator is not a `GUDGenerator`.

        Notes
        -----
        It takes as long as one call of ``score_samples`` for each column or group. With "density"
        the generator should be fitted with a ``conditional_rate`` above 0, for example
        ``generator__conditional_rate=0.3``.

        Examples
        --------
        >>> import numpy as np
        >>> from gudlearn import GUDOutlierDetector
        >>> X = np.random.default_rng(0).normal(size=(200, 3))
        >>> detector = GUDOutlierDetector(random_state=0).fit(X)
        >>> int(detector.score_columns([[0.5, 9.0, 0.0]]).argmin())
        1
        """
        check_is_fitted(self)
        if self.method_ == "kernel":
            return self._kernel_columns(X, groups)

        def columns(generator, rows, reference):
            if not isinstance(generator, GUDGenerator):
                raise TypeError(
                    f"score_columns needs a GUDGenerator, but generator={self.generator!r}. Pass "
                    "one, or use score_samples."
                )
            return generator.score_columns_leave_one_out(rows, groups=groups, reference=reference)

        return self._score(columns, X)

    def _kernel_columns(self, X, groups):
        values = self._codes.read(read_checked(self, X, reset=False))
        masks = masks_of_groups(groups, column_names(self), (self.n_features_in_,))
        whole = self._kernel_scores(values)
        rest = [self._kernel_scores(np.where(mask, np.nan, values), values) for mask in masks]
        return whole[:, None] - np.stack(rest, axis=1)

    def _default_generator(self):
        return GUDGenerator()

    def _score(self, function, X):
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

    def decision_function(self, X: ArrayLike) -> Floats:
        """Score above the threshold; negative for outliers.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[Any]:
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
        of_table = self.generator is None or self.method == "kernel"
        generator = self._default_generator() if of_table else self.generator
        tags.input_tags.three_d_array = True
        of_generator = get_tags(generator).input_tags
        for name in ("allow_nan", "categorical", "string"):
            setattr(tags.input_tags, name, getattr(of_generator, name))
        return tags


def _threshold(scores, contamination):
    """Score below which rows are outliers, from held-out scores."""
    if contamination != "auto":
        return float(np.percentile(scores, 100 * contamination))
    low, high = np.percentile(scores, [25, 75])
    return float(low - 1.5 * (high - low))


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
