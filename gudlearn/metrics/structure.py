r"""Structure of fake rows: each column predicted from all others, after TabStruct."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from gudlearn._typing import RandomState
from gudlearn.metrics.mixed import (
    check_whole,
    generator_of,
    read_tables,
    rows_text,
    rows_used,
    tree_features,
)
from gudlearn.metrics.utility import jackknife, predictions

__all__ = ["GlobalUtility", "global_utility"]

# Classes of a target: multi-class trees cost as many trees as there are classes.
_MOST_CLASSES = 8
# Few and large steps: a third of the time of many small ones.
_TREES = {"max_iter": 20, "learning_rate": 0.25, "max_leaf_nodes": 16, "early_stopping": False}
# Errors of prediction below this fraction of a column's variance count as this: the ratio of two
# tiny ones says nothing.
_LEAST_ERROR = 0.01


@dataclass(frozen=True, repr=False)
class GlobalUtility:
    """Results of :func:`global_utility`.

    Parameters
    ----------
    mean : float
        Mean over the columns.
    standard_error : float
        Of ``mean``, from the test rows (jackknife); it knows nothing of other training rows.
    columns : pandas.Series
        Utility of each column; NaN if it is constant or missing in the real rows, or was not drawn.
    n_used, n_rows : dict of str to int
        Numbers of rows that were used and passed, for ``real_train``, ``real_test`` and ``fake``.
    """

    mean: float
    standard_error: float
    columns: pd.Series
    n_used: dict
    n_rows: dict

    def __repr__(self):
        lowest = self.columns.sort_values(kind="stable").dropna().head(5).items()
        return (
            f"GlobalUtility: {self.mean:.4f} ± {self.standard_error:.4f} "
            f"({rows_text(self.n_used, self.n_rows)})\n"
            "  lowest: " + ", ".join(f"{name}: {utility:.4f}" for name, utility in lowest)
        )


def global_utility(
    real_train: ArrayLike, real_test: ArrayLike, fake: ArrayLike, *, max_columns: int = 30,
    max_rows: int = 5_000, random_state: RandomState = 0,
) -> GlobalUtility:  # fmt: skip
    r"""How well each column is predicted from all others after training on fake rows.

    The utility of a column is the score of a model that was trained on fake rows divided by that of
    the same model trained on real rows, both on the real test rows. The score is the balanced
    accuracy of categories, and the inverse of the root mean squared error of numbers. The mean over
    the columns is 1 for rows of the right distribution, and smaller if dependences are lost. It can
    exceed 1 a little by chance. Columns without any dependence have 1 whatever the fake rows are:
    read it beside that of rows with independent columns.

    The models are histogram trees of 20 rounds, where TabStruct uses several kinds of models; of a
    category with more than 8 levels the rare ones are one class. Numbers have no outliers: beyond
    the 1 and 99 % quantiles of the training rows they are set to these, and errors of less than a
    tenth of a column's standard deviation count as that.

    Parameters
    ----------
    real_train, real_test, fake : pandas, polars or pyarrow table, or array-like of shape (n, F)
        Numbers, datetimes, text, categories and booleans, with missing values in any of them. At
        least two columns, matched by name.
    max_columns : int, default=30
        At most this many columns are predicted, drawn at random from those that vary.
    max_rows : int or None, default=5000
        At most this many rows of each sample are used, drawn at random.
    random_state : int, RandomState, Generator or None, default=0
        Draws the rows and columns, and seeds the models.

    Returns
    -------
    GlobalUtility

    Raises
    ------
    ValueError
        If columns differ, there is one only, or none varies in the real rows.
    TypeError
        If values of a column cannot be compared.

    References
    ----------
    Jiang, Simidjievski, Jamnik (2025), TabStruct, https://arxiv.org/abs/2509.11950

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.metrics import global_utility
    >>> def rows(seed):
    ...     x = np.random.default_rng(seed).normal(size=(400, 1))
    ...     return np.hstack([x, -x])
    >>> lost = np.random.default_rng(3).normal(size=(400, 2))
    >>> global_utility(rows(0), rows(1), rows(2)).mean > 0.9
    True
    >>> global_utility(rows(0), rows(1), lost).mean < 0.5
    True
    """
    check_whole("max_columns", max_columns, 1)
    rng = generator_of(random_state)
    frames = {"real_train": real_train, "real_test": real_test, "fake": fake}
    tables = read_tables(max_rows, rng, **frames)
    return Structure(*tables[:2], int(rng.integers(2**31)), max_columns).utility(tables[2])


class Structure:
    """Predictions of each column of real test rows by models of real rows, computed once.

    Parameters
    ----------
    train, test : MixedTable
    seed : int
    max_columns : int, default=30
        At most this many columns are predicted.
    """

    def __init__(self, train, test, seed, max_columns=30):
        if len(train.names) < 2:
            raise ValueError("The samples have one column, which nothing predicts. Pass more.")
        self.train = train
        self.test = test
        self.seed = seed
        self.errors = {}
        for j in np.random.default_rng(seed).permutation(len(train.names)):
            errors = self._errors(train, j) if len(self.errors) < max_columns else None
            if errors is not None:
                self.errors[j] = errors
        if not self.errors:
            raise ValueError(
                "No column varies in the real rows: nothing can be predicted. Pass other rows."
            )

    def utility(self, fake):
        """Utility of a table of fake rows."""
        found = {j: self._errors(fake, j) for j in self.errors}
        columns = np.full(len(self.train.names), np.nan)
        for j in found:
            columns[j] = self._column(j, found[j], np.ones(len(self.test), dtype=bool))

        def mean(rows):
            return np.nanmean([self._column(j, found[j], rows) for j in found])

        value, error = jackknife(mean, len(self.test))
        return GlobalUtility(
            mean=value,
            standard_error=error,
            columns=pd.Series(columns, index=pd.Index(self.train.names, tupleize_cols=False)),
            **rows_used(real_train=self.train, real_test=self.test, fake=fake),
        )

    def _column(self, j, fake, rows):
        """Ratio of the scores on some of the test rows; 0 if the fake rows have no value."""
        if fake is None:
            return 0.0
        real, classes = self.errors[j][0][rows], self.errors[j][1]
        fake = fake[0][rows]
        if classes is None:
            floor = _LEAST_ERROR * np.nanvar(self.test.X[:, j]) or 1.0
            means = [max(float(np.nanmean(e)), floor) for e in (real, fake)]
            return np.sqrt(means[0] / means[1])
        known = ~np.isnan(real)
        truth = classes[rows][known]
        # The weighted mean of hits is the balanced accuracy.
        scores = [_balanced(truth, 1 - e[known]) for e in (real, fake)]
        return scores[1] / scores[0] if scores[0] > 0 else np.nan

    def _errors(self, sample, j):
        """Errors of each test row by a model of the sample, and the classes of a category."""
        parts, is_category = tree_features(sample, self.test)
        ends = sample.X[:, j], self.train.X[:, j], self.test.X[:, j]
        if is_category[j]:
            kept = _frequent(ends[1])
            y, y_train, y_test = (_classes(column, kept) for column in ends)
        else:
            y, y_train, y_test = _without_outliers(ends)
        known, known_test = ~np.isnan(y), ~np.isnan(y_test)
        if len(np.unique(y_train[~np.isnan(y_train)])) < 2 or not known_test.any():
            return None
        if not known.any():
            return None
        X, X_test = (np.delete(part, j, axis=1) for part in parts)
        predicted = predictions(
            X[known], y[known], X_test, np.delete(is_category, j), bool(is_category[j]), self.seed,
            **_TREES,
        )  # fmt: skip
        if not is_category[j]:
            return np.where(known_test, np.square(predicted - y_test), np.nan), None
        classes = np.array(list(predicted))
        best = classes[np.argmax(np.column_stack(list(predicted.values())), axis=1)]
        return np.where(known_test, best != y_test, np.nan), y_test


def _balanced(truth, hits):
    """Mean over the classes of the fraction of hits."""
    if not len(truth):
        return np.nan
    return float(np.mean([hits[truth == c].mean() for c in np.unique(truth)]))


def _frequent(codes):
    """Codes of a category that are classes of their own."""
    known = codes[~np.isnan(codes)].astype(int)
    counts = np.bincount(known) if len(known) else np.zeros(1)
    n_classes = (counts > 0).sum()
    n_kept = n_classes if n_classes <= _MOST_CLASSES else _MOST_CLASSES - 1
    return np.argsort(-counts, kind="stable")[:n_kept]


def _classes(codes, kept):
    """Codes, with -1 for all that are not kept; NaN where missing."""
    return np.where(np.isnan(codes) | np.isin(codes, kept), codes, -1.0)


def _without_outliers(columns):
    """Numbers of several tables between the 1 and 99 % quantiles of the second."""
    known = columns[1][~np.isnan(columns[1])]
    if not len(known):
        return columns
    return [np.clip(column, *np.quantile(known, [0.01, 0.99])) for column in columns]
