r"""Usefulness of fake rows: a model trained on them is tested on real rows."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import r2_score, roc_auc_score

from gudlearn._typing import RandomState
from gudlearn.metrics.mixed import (
    generator_of,
    read_tables,
    rows_text,
    rows_used,
    tree_features,
)

__all__ = ["TrainOnSynthetic", "train_on_synthetic"]


@dataclass(frozen=True, repr=False)
class TrainOnSynthetic:
    """Results of :func:`train_on_synthetic`.

    Parameters
    ----------
    synthetic : float
        Score on the real test rows of the model that was trained on the fake rows.
    real : float
        Score on these rows of the model that was trained on the real training rows.
    standard_error : float
        Of ``synthetic``, from the test rows (jackknife); it knows nothing of other training rows.
    scoring : {"AUC", "R2"}
        What the scores are.
    target : hashable
        Name of the column that is predicted.
    n_used, n_rows : dict of str to int
        Numbers of rows that were used and passed, for ``real_train``, ``real_test`` and ``fake``.
        Rows whose target is missing are not used.
    """

    synthetic: float
    real: float
    standard_error: float
    scoring: str
    target: object
    n_used: dict
    n_rows: dict

    @property
    def loss(self):
        """Score after training on real rows minus score after training on fake rows."""
        return self.real - self.synthetic

    def __repr__(self):
        return (
            f"TrainOnSynthetic: {self.scoring} of {self.target} {self.synthetic:.4f} ± "
            f"{self.standard_error:.4f} after training on fake rows, {self.real:.4f} on real rows "
            f"({rows_text(self.n_used, self.n_rows)})"
        )


def train_on_synthetic(
    real_train: ArrayLike, real_test: ArrayLike, fake: ArrayLike, target: str | int, *,
    task: Literal["auto", "classification", "regression"] = "auto", max_rows: int = 100_000,
    random_state: RandomState = 0,
) -> TrainOnSynthetic:  # fmt: skip
    """Train on fake rows, test on real rows, beside the same model trained on real rows.

    The models are scikit-learn's ``HistGradientBoostingClassifier`` and
    ``HistGradientBoostingRegressor`` with their default parameters (but for smaller leaves below 80
    rows), native categories and missing
    values. A class that the fake rows lack gets the probability 0.

    Parameters
    ----------
    real_train, real_test, fake : pandas, polars or pyarrow table, or array-like of shape (n, F)
        Numbers, datetimes, text, categories and booleans, with missing values in any of them.
        Columns are matched by name.
    target : hashable
        Name of the column to predict, or its index in arrays.
    task : {"auto", "classification", "regression"}, default="auto"
        Classification is scored by the AUC, the mean over the classes in `real_test` of each
        against all others; regression by R2. "auto" classifies categories and numbers with two
        different values.
    max_rows : int or None, default=100000
        At most this many rows of each sample are used, drawn at random.
    random_state : int, RandomState, Generator or None, default=0
        Draws the rows and seeds the models.

    Returns
    -------
    TrainOnSynthetic

    Raises
    ------
    ValueError
        If columns differ, `target` is none of them or the only one, or it does not vary.
    TypeError
        If values of a column cannot be compared.

    References
    ----------
    Esteban, Hyland, Ratsch (2017), https://arxiv.org/abs/1706.02633

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from gudlearn.metrics import train_on_synthetic
    >>> def rows(seed):
    ...     x = np.random.default_rng(seed).normal(size=500)
    ...     return pd.DataFrame({"x": x, "sign": np.where(x > 0, "plus", "minus")})
    >>> train_on_synthetic(rows(0), rows(1), rows(2), "sign").synthetic > 0.95
    True
    """
    if task not in ("auto", "classification", "regression"):
        raise ValueError(f"task={task!r} must be 'auto', 'classification' or 'regression'.")
    rng = generator_of(random_state)
    frames = {"real_train": real_train, "real_test": real_test, "fake": fake}
    tables = read_tables(max_rows, rng, **frames)
    names = tables[0].names
    if target not in names or len(names) < 2:
        raise ValueError(
            f"target={target!r} must be one of several columns. The columns are "
            f"{', '.join(map(repr, names[:10]))}."
        )
    j = names.index(target)
    parts, is_category = tree_features(*tables)
    labels = [table.X[:, j] for table in tables]
    known = [~np.isnan(y) for y in labels]
    for name, mask in zip(frames, known, strict=True):
        if not mask.any():
            raise ValueError(f"target={target!r} is missing in all rows of {name}.")
    samples = [
        (np.delete(X, j, axis=1)[m], y[m]) for X, y, m in zip(parts, labels, known, strict=True)
    ]
    columns = np.delete(is_category, j)
    classify = task == "classification" or (
        task == "auto" and (is_category[j] or len(np.unique(samples[0][1])) <= 2)
    )
    _check_varies(target, samples[1][1])
    train, (X_test, y_test), synthetic = samples
    seed = int(rng.integers(2**31))
    (fake_score, error), (real_score, _) = (
        _score_and_error(classify, y_test, predictions(*rows, X_test, columns, classify, seed))
        for rows in (synthetic, train)
    )
    used = rows_used(**dict(zip(frames, tables, strict=True)))
    used["n_used"] = {name: int(mask.sum()) for name, mask in zip(frames, known, strict=True)}
    return TrainOnSynthetic(
        synthetic=fake_score,
        real=real_score,
        standard_error=error,
        scoring="AUC" if classify else "R2",
        target=target,
        **used,
    )


def _check_varies(target, y):
    """Raise if there is nothing to predict."""
    if len(np.unique(y)) < 2:
        raise ValueError(
            f"target={target!r} has one value in real_test: its score is undefined. Pass rows with "
            "several."
        )


def predictions(X, y, X_test, is_category, classify, seed, **parameters):
    """What histogram trees that are trained on X and y say about the test rows.

    Parameters
    ----------
    X, X_test : ndarray of shape (n, F), (n_test, F)
    y : ndarray of shape (n,)
    is_category : ndarray of shape (F,), bool
    classify : bool
    seed : int
    **parameters : dict
        Of scikit-learn's trees.

    Returns
    -------
    ndarray of shape (n_test,), or dict of such
        Expected values; or the probability of each class of y.
    """
    parameters = {
        "categorical_features": is_category, "random_state": seed,
        "min_samples_leaf": smallest_leaf(len(X)), **parameters,
    }  # fmt: skip
    if not classify:
        return HistGradientBoostingRegressor(**parameters).fit(X, y).predict(X_test)
    seen = np.unique(y)
    if len(seen) == 1:
        return {seen[0]: np.ones(len(X_test))}
    model = HistGradientBoostingClassifier(**parameters)
    return dict(zip(seen, model.fit(X, y).predict_proba(X_test).T, strict=True))


def smallest_leaf(n_rows):
    """Rows in a leaf: scikit-learn's 20, or fewer where trees could not be split otherwise."""
    return min(20, max(2, n_rows // 4))


def jackknife(score, n, n_groups=10):
    """Score of all of n rows, and its standard error from scores without one group of rows.

    Parameters
    ----------
    score : callable
        Maps a bool mask of the rows (n,) to a number.
    n : int
    n_groups : int, default=10

    Returns
    -------
    value, standard_error : float
        The error is NaN where a score without a group is undefined.
    """
    n_groups = min(n_groups, n)
    group = np.arange(n) % n_groups
    without = np.array([score(group != g) for g in range(n_groups)])
    deviations = without - without.mean()
    error = np.sqrt((n_groups - 1) / n_groups * np.square(deviations).sum())
    return float(score(np.ones(n, dtype=bool))), float(error)


def _score_and_error(classify, y, predicted):
    """AUC or R2 of the test rows, and its standard error."""
    score = _auc if classify else _r2
    return jackknife(lambda rows: score(y, predicted, rows), len(y))


def _auc(y, predicted, rows):
    """Mean over the classes of the test rows of the AUC of one against all others."""
    y = y[rows]
    classes, nothing = np.unique(y), np.zeros(len(y))
    if len(classes) < 2:
        return np.nan
    found = {c: p[rows] for c, p in predicted.items()}
    return np.mean([roc_auc_score(y == c, found.get(c, nothing)) for c in classes])


def _r2(y, predicted, rows):
    """Coefficient of determination on the test rows."""
    return r2_score(y[rows], predicted[rows]) if rows.sum() > 1 else np.nan
