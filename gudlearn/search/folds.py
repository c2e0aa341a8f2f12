"""One trial of a search: candidates fitted to every fold, whole or in steps, and their scores."""

import inspect
import time
import traceback
from dataclasses import dataclass

import numpy as np
from sklearn.base import clone
from sklearn.utils.parallel import Parallel, delayed

from gudlearn._constraints import _safe_split


@dataclass
class Outcome:
    """What one call of `advance` made: a score, seconds, and the traceback of an error or None."""

    score: float
    fit_time: float
    score_time: float
    error: str | None = None


@dataclass
class Trial:
    """The results of one trial.

    Parameters
    ----------
    params : dict of str to object
    state : {"complete", "pruned", "failed"}
    n_steps : int
    scores, fit_times, score_times : ndarray of shape (n_splits,)
        The scores after the last step, and the seconds of all steps.
    error : str or None
        The traceback, if a fit or a score failed.
    """

    params: dict
    state: str
    n_steps: int
    scores: np.ndarray
    fit_times: np.ndarray
    score_times: np.ndarray
    error: str | None


class Folds:
    """Data, their folds, and how candidates are fitted to them.

    Parameters
    ----------
    X, y : what the user passed; y may be None.
    splits : list of (train, test)
        Indices of rows.
    scorer : callable (estimator, X, y) -> float
    n_jobs : int or None
    error_score : float or "raise"
    """

    def __init__(self, X, y, splits, scorer, n_jobs, error_score):
        self.data, self.splits, self.scorer = (X, y), splits, scorer
        self.n_jobs, self.error_score = n_jobs, error_score

    def run(self, candidate, params, n_steps, n_epochs, prunes):
        """Fit a candidate to every fold, step by step.

        Parameters
        ----------
        candidate : estimator
            Not fitted, with its parameters.
        params : dict of str to object
            The parameters that were set.
        n_steps : int or None
            Steps of ``partial_fit``. None, or a candidate without ``partial_fit``: one ``fit``.
        n_epochs : int
            Calls of ``partial_fit`` in a step.
        prunes : callable (score, step) -> bool
            Receives the mean score after each step, from step 1; True ends the trial.

        Returns
        -------
        Trial
        """
        in_steps = n_steps is not None and hasattr(candidate, "partial_fit")
        last, n_epochs = (n_steps, n_epochs) if in_steps else (1, None)
        fitted = [clone(candidate) for _ in self.splits]
        # Steps continue from what is in memory: optimisers are not part of a pickled estimator.
        parallel = Parallel(n_jobs=self.n_jobs, require="sharedmem" if in_steps else None)
        fit_times, score_times = np.zeros((2, len(self.splits)))
        for step in range(1, last + 1):
            outcomes = parallel(
                delayed(advance)(model, self.data, *split, self.scorer, n_epochs, self.error_score)
                for model, split in zip(fitted, self.splits, strict=True)
            )
            fit_times += [outcome.fit_time for outcome in outcomes]
            score_times += [outcome.score_time for outcome in outcomes]
            scores = np.array([outcome.score for outcome in outcomes])
            error = next((outcome.error for outcome in outcomes if outcome.error), None)
            if error or np.isnan(scores).any():
                state = "failed"
            else:
                pruned = prunes(float(scores.mean()), step) and step < last
                state = "pruned" if pruned else "complete"
            if state != "complete":
                break
        return Trial(params, state, step, scores, fit_times, score_times, error)


def advance(estimator, data, train, test, scorer, n_epochs, error_score):
    """Fit an estimator to the training rows of a fold, or fit it further, and score the others.

    Parameters
    ----------
    estimator : estimator
        Changed in place.
    data : (X, y)
    train, test : ndarray of int
    scorer : callable
    n_epochs : int or None
        Calls of ``partial_fit``; None calls ``fit``.
    error_score : float or "raise"
        The score if an error is raised.

    Returns
    -------
    Outcome
    """
    X, y = data
    X_train, y_train = _safe_split(estimator, X, y, train)
    X_test, y_test = _safe_split(estimator, X, y, test, train)
    start = time.perf_counter()
    try:
        _fit(estimator, X_train, y_train, y, n_epochs)
        fitted = time.perf_counter()
        score = float(scorer(estimator, X_test, *_labels(y_test)))
    except Exception:
        if isinstance(error_score, str):
            raise
        seconds = time.perf_counter() - start
        return Outcome(float(error_score), seconds, 0.0, traceback.format_exc())
    return Outcome(score, fitted - start, time.perf_counter() - fitted)


def _fit(estimator, X, y, all_y, n_epochs):
    if n_epochs is None:
        estimator.fit(X, *_labels(y))
        return
    # Classifiers want to know in the first call the classes that later calls may bring.
    wants_classes = "classes" in inspect.signature(estimator.partial_fit).parameters
    classes = {"classes": np.unique(all_y)} if wants_classes and all_y is not None else {}
    for _ in range(n_epochs):
        estimator.partial_fit(X, *_labels(y), **classes)


def _labels(y):
    return () if y is None else (y,)
