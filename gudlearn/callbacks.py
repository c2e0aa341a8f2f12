"""Callbacks for ``set_callbacks`` of scikit-learn."""

from numbers import Integral

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.callback import ScoringMonitor


def _log_likelihood(estimator, X, y=None):
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None and not hasattr(X, "columns"):
        # The rows that fit passes to callbacks have no column names.
        X = pd.DataFrame(X, columns=names)
    return estimator.score(X)


class LikelihoodMonitor(ScoringMonitor):
    """Log the mean log-likelihood of rows while an estimator is trained.

    ``ScoringMonitor`` of scikit-learn logs nothing without a target; this callback needs none. Read
    the log with ``get_logs()``: its column ``log_likelihood`` is in nats per row.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features) or None, default=None
        Rows to score, usually held out from training. None: the training rows.
    every : int, default=10
        Number of epochs from one score to the next. With few rows, scoring takes longer than an
        epoch.
    max_rows : int, default=256
        Largest number of rows to score; if X has more, rows at equal intervals are taken.

    Raises
    ------
    ValueError
        If ``every`` or ``max_rows`` is not an integer of at least 1.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from gudlearn import GUDGenerator, LikelihoodMonitor
    >>> X = load_iris().data
    >>> monitor = LikelihoodMonitor(every=2, max_rows=50)
    >>> gen = GUDGenerator(max_iter=4, random_state=0).set_callbacks(monitor).fit(X)
    >>> len(monitor.get_logs().data)
    2
    """

    def __init__(self, X: ArrayLike | None = None, *, every: int = 10, max_rows: int = 256) -> None:
        for name, value in (("every", every), ("max_rows", max_rows)):
            if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
                raise ValueError(f"{name}={value!r} must be a whole number of at least 1.")
        super().__init__(scoring={"log_likelihood": _log_likelihood})
        self.X, self.every, self.max_rows = X, every, max_rows

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        """Score the fitted estimator at the end of an epoch."""
        if context.task_name != "epoch" or (context.task_id + 1) % self.every:
            return
        rows = self.X if self.X is not None else X
        n_rows = len(rows)
        if n_rows > self.max_rows:
            index = np.linspace(0, n_rows - 1, self.max_rows).astype(int)
            rows = rows if hasattr(rows, "columns") else np.asarray(rows)
            rows = rows.iloc[index] if hasattr(rows, "iloc") else rows[index]
        # The parent class scores only if there is a target, which our scorer ignores.
        super().on_fit_task_end(
            estimator,
            context,
            X=rows,
            y=np.zeros(len(rows)),
            fitted_estimator=fitted_estimator,
        )
