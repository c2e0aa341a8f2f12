"""Regression by a model of features and target: the distribution of y given each row."""

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state, column_or_1d, get_tags
from sklearn.utils.validation import check_array, check_is_fitted

from gudlearn._atomic import isolated, unchanged_on_error
from gudlearn._constraints import HasMethods
from gudlearn._specs import NestedGenerator
from gudlearn._typing import Floats, RandomState
from gudlearn.data.columns import check_n_samples
from gudlearn.generator import GUDGenerator
from gudlearn.model.calibration import best_factor
from gudlearn.model.conditional import ConditionalLevels, ConditionalQuantiles
from gudlearn.model.prediction import NODES
from gudlearn.model.target_table import TargetTable

# Whole numbers of at most this many values, each of this many rows in the mean, are levels.
_MOST_LEVELS, _ROWS_OF_LEVEL = 20, 10
_STATISTICS = ("mean", "median", "mode")


class GUDRegressor(NestedGenerator, RegressorMixin, BaseEstimator):
    r"""Regressor by a diffusion model of rows and their target: the whole distribution of y.

    Parameters
    ----------
    generator : GUDGenerator or None, default=None
        The model, not fitted; None is ``GUDGenerator()`` with its defaults. In the copy that is
        fitted, ``targets`` is the column of y. Its parameters can be set as
        ``generator__max_iter``.
    random_state : int, RandomState instance or None, default=None
        If not None, it is passed to the generator.

    Attributes
    ----------
    generator_ : GUDGenerator
        The fitted model of rows with y as the last column, in a frame under the name of y, or
        "y", with underscores if there is such a column. It samples, scores and completes them.
    is_whole_ : bool
        Whether all values of y in fit are whole numbers. Then so are medians, modes, quantiles and
        samples, and ``log_prob`` is a log-probability.
    factor_ : float
        Factor of the distance of each y from its median in a row, or for levels the temperature,
        under which the generator's held-out rows are most likely; 1 with fewer than 20 of them.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if they were strings.

    Notes
    -----
    X may be any table that the generator takes, with missing values in ``fit`` and later.

    Given the features, y is one number, and the probability flow from noise to data is an
    increasing function of it. Quantiles of the noise are carried to quantiles of y, and an
    increasing spline q through them has all that is asked for: the density of y is
    :math:`\phi(\xi) / q'(\xi)` with :math:`q(\xi) = y`, and is normalised.

    Whole numbers of many values have uniform noise of width 1 added in training, and the
    probability of a number is that of its interval. Those of at most 20 values are levels of a
    category. The density of y plus noise of width 1 is the probability of y.

    Means, quantiles and samples stay in the range of y in ``fit``, as the rows of ``sample`` do,
    unless the generator has ``schema=Schema(clip=False)``. Densities do not end there.

    References
    ----------
    Song et al. (2021), "Score-based generative modeling through stochastic differential
    equations", https://arxiv.org/abs/2011.13456

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn import GUDGenerator, GUDRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 2))
    >>> y = X[:, 0] + (1 + X[:, 1] ** 2) * rng.normal(size=100) / 5
    >>> model = GUDRegressor(GUDGenerator(max_iter=10), random_state=0).fit(X, y)
    >>> model.predict(X[:3]).shape, model.predict_quantile(X[:3], [0.05, 0.95]).shape
    ((3,), (3, 2))
    >>> model.log_prob(X[:3], y[:3]).shape
    (3,)
    """

    _NEEDS = "targets", "has no targets"
    _parameter_constraints = {
        "generator": [None, HasMethods("sample")],
        "random_state": ["random_state"],
    }

    def __init__(
        self, generator: GUDGenerator | None = None, *, random_state: RandomState = None,
    ) -> None:  # fmt: skip
        self.generator = generator
        self.random_state = random_state

    @isolated
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit the model of rows and target.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Numbers.

        Returns
        -------
        self : GUDRegressor

        Raises
        ------
        ValueError
            For bad parameters or data, if y has missing values, or all of its values are equal.
        """
        self._validate_params()
        generator = self._new_generator()
        if getattr(generator, "shape", None) is not None:
            raise ValueError("shape= says that X holds images, but a regressor takes a table.")
        with unchanged_on_error(self):

            def column(n_rows, is_frame):
                values = _checked_target(y, n_rows)
                if not np.ptp(values) > 0:
                    raise ValueError(
                        f"y is {values[0]} in all rows (n_samples={n_rows}): there is nothing to "
                        "predict. Pass a y that varies."
                    )
                self.is_whole_ = bool((values == np.rint(values)).all())
                if self.is_whole_ and _are_few(values):
                    return values, "category"
                if self.is_whole_:
                    rng = check_random_state(self.random_state)
                    values = values + rng.uniform(-0.5, 0.5, n_rows)
                return values, "continuous"

            self._table = TargetTable(generator)
            held_out = self._table.fit(self, X, column, getattr(y, "name", None))
            self.generator_ = generator
            self.factor_ = self._best_factor(held_out, _checked_target(y, None))
        return self

    def _best_factor(self, held_out, y):
        """The factor under which held-out rows are most likely."""
        y, n = y[held_out.index], len(held_out.index)
        if not n:
            return 1.0
        make = self._maker(held_out.prediction, held_out.rows)
        return best_factor(lambda factor: make(factor).log_prob(y), n)

    def _maker(self, prediction, rows):
        """A function of the factor that makes the distributions of rows."""
        levels = prediction.levels
        if levels is not None:
            p = prediction.probabilities(rows)[:, : len(levels)]
            return lambda factor: ConditionalLevels(levels, p, factor)
        values, column_map = prediction.quantiles(rows), prediction.column_map()
        whole, within = self.is_whole_, prediction.within()
        return lambda factor: ConditionalQuantiles(NODES, values, column_map, whole, factor, within)

    def _default_generator(self):
        return GUDGenerator()

    @isolated
    def predict_distribution(self, X: ArrayLike) -> Any:
        """The distribution of y given each row, which has all other answers.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            NaN marks a missing value.

        Returns
        -------
        ConditionalQuantiles or ConditionalLevels
            With the methods ``mean()``, ``median()``, ``mode()``, ``quantile(q)``, ``cdf(y)`` and
            ``log_prob(y)``, for all rows at once.

        Raises
        ------
        ValueError
            If X does not match the X that was fitted.
        """
        check_is_fitted(self)
        return self._maker(*self._table.prediction(self, X))(self.factor_)

    @isolated
    def predict(self, X: ArrayLike, statistic: Literal["mean", "median", "mode"] = "mean") -> Any:
        """Predict y by a statistic of its distribution given each row.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            NaN marks a missing value.
        statistic : {"mean", "median", "mode"}, default="mean"
            The mode is the middle of the shortest interval that holds a tenth of the
            probability, and of a column of levels the most probable one.

        Returns
        -------
        ndarray of shape (n_samples,)

        Raises
        ------
        ValueError
            If the statistic is unknown, or X does not match the X that was fitted.
        """
        if statistic not in _STATISTICS:
            known = ", ".join(map(repr, _STATISTICS))
            raise ValueError(f"statistic={statistic!r} must be one of {known}. Pass one.")
        return getattr(self.predict_distribution(X), statistic)()

    @isolated
    def predict_quantile(self, X: ArrayLike, q: ArrayLike) -> Any:
        """Quantiles of y given each row.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        q : float or array-like of shape (n_quantiles,)
            Probabilities between 0 and 1, both excluded.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_quantiles)

        Raises
        ------
        ValueError
            If q is no such probability.

        Examples
        --------
        >>> import numpy as np
        >>> from gudlearn import GUDGenerator, GUDRegressor
        >>> X = np.random.default_rng(0).normal(size=(100, 1))
        >>> model = GUDRegressor(GUDGenerator(max_iter=0)).fit(X, X[:, 0] ** 2)
        >>> low, high = model.predict_quantile(X[:5], [0.05, 0.95]).T
        >>> bool((low < high).all())
        True
        """
        levels = np.asarray(q, dtype=np.float64)
        if levels.ndim > 1 or not levels.size or not ((levels > 0) & (levels < 1)).all():
            raise ValueError(
                f"q={q!r} must be a probability between 0 and 1, both excluded, or a list of them."
            )
        found = self.predict_distribution(X).quantile(np.atleast_1d(levels))
        return found if levels.ndim else found[:, 0]

    @isolated
    def sample_y(self, X: ArrayLike, n_samples: int = 1, random_state: RandomState = None) -> Any:
        """Draw values of y given each row.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        n_samples : int, default=1
            Draws for each row.
        random_state : int, RandomState instance or None, default=None
            None uses the estimator's.

        Returns
        -------
        ndarray of shape (n_rows, n_samples)

        Raises
        ------
        ValueError
            If n_samples is not a positive whole number.
        """
        check_n_samples(n_samples)
        distribution = self.predict_distribution(X)
        rng = check_random_state(self.random_state if random_state is None else random_state)
        # Zero is no probability of a quantile.
        u = rng.uniform(size=(len(distribution), n_samples)).clip(1e-12)
        return distribution.quantile(u)

    @isolated
    def log_prob(self, X: ArrayLike, y: ArrayLike) -> Floats:
        """Log-density of y given each row, in nats and in the units of y.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)

        Returns
        -------
        ndarray of shape (n_samples,)
            Log-probability if y was whole in fit; minus infinity of what is no whole number then,
            or no level.
        """
        distribution = self.predict_distribution(X)
        return distribution.log_prob(_checked_target(y, len(distribution)))

    @isolated
    def cdf(self, X: ArrayLike, y: ArrayLike) -> Floats:
        """Probability of values of at most y given each row.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)

        Returns
        -------
        ndarray of shape (n_samples,)
            If the model is calibrated and y continuous, uniform over rows.
        """
        distribution = self.predict_distribution(X)
        return distribution.cdf(_checked_target(y, len(distribution)))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        generator = self._default_generator() if self.generator is None else self.generator
        of_generator = get_tags(generator).input_tags
        for name in ("allow_nan", "categorical", "string"):
            setattr(tags.input_tags, name, getattr(of_generator, name))
        return tags


def _checked_target(y, n_rows):
    """Target values, float64 of shape (n_rows,), or of any length if that is None.

    Raises
    ------
    ValueError
        If y is None, has several columns, another length, or a value that is missing or infinite.
    """
    if y is None:
        raise ValueError("GUDRegressor requires y to be passed, but the target y is None.")
    y = column_or_1d(y, warn=True)
    y = check_array(y, dtype=np.float64, ensure_2d=False, ensure_all_finite=False, input_name="y")
    bad = ~np.isfinite(y)
    if bad.any():
        rows = ", ".join(map(str, np.flatnonzero(bad)[:5]))
        more = ", ..." if bad.sum() > 5 else ""
        raise ValueError(
            f"y is NaN or infinity in {int(bad.sum())} rows: {rows}{more}. Drop these rows; "
            "GUDGenerator can learn from their features."
        )
    if n_rows is not None and len(y) != n_rows:
        raise ValueError(f"y has {len(y)} values for {n_rows} rows. Pass one for each row.")
    return y


def _are_few(values):
    """Whether whole numbers have so few values that they are levels."""
    n_levels = len(np.unique(values))
    return n_levels <= _MOST_LEVELS and len(values) >= _ROWS_OF_LEVEL * n_levels
