"""What a search found: ``cv_results_`` and the best trial."""

import numpy as np
from sklearn.exceptions import FitFailedWarning

from gudlearn.model.warnings import warn_user

_STATES = ("complete", "pruned", "failed")


def cv_results(trials):
    """Results of trials in the form of scikit-learn's searches.

    Parameters
    ----------
    trials : list of Trial

    Returns
    -------
    dict of str to array or list
        See ``OptunaSearchCV``.
    """
    scores = np.array([trial.scores for trial in trials])
    results = {}
    for name in ("fit_time", "score_time"):
        seconds = np.array([getattr(trial, f"{name}s") for trial in trials])
        results[f"mean_{name}"], results[f"std_{name}"] = seconds.mean(1), seconds.std(1)
    for name in trials[0].params:
        results[f"param_{name}"] = _column([trial.params[name] for trial in trials])
    results["params"] = [trial.params for trial in trials]
    for split in range(scores.shape[1]):
        results[f"split{split}_test_score"] = scores[:, split]
    # The standard deviation of infinite scores is NaN.
    with np.errstate(invalid="ignore"):
        results["mean_test_score"], results["std_test_score"] = scores.mean(1), scores.std(1)
    results["rank_test_score"] = _ranks(trials, results["mean_test_score"])
    results["state"] = np.array([trial.state for trial in trials], dtype=object)
    results["n_steps"] = np.array([trial.n_steps for trial in trials])
    return results


def _column(values):
    numbers = all(isinstance(value, bool | int | float | np.number) for value in values)
    column = np.empty(len(values), dtype=np.array(values).dtype if numbers else object)
    for index, value in enumerate(values):
        column[index] = value
    return np.ma.MaskedArray(column, mask=False)


def _ranks(trials, means):
    """Complete trials before pruned ones before failed ones, by score in each; 1 is the best."""
    keys = [
        (_STATES.index(trial.state), 0.0 if np.isnan(mean) else -mean)
        for trial, mean in zip(trials, means, strict=True)
    ]
    order = sorted(keys)
    return np.array([order.index(key) + 1 for key in keys], dtype=np.int32)


def best_index(trials, results):
    """Index of the complete trial with the highest score, the first of equal ones.

    Parameters
    ----------
    trials : list of Trial
    results : dict, see `cv_results`

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If no trial is complete.
    """
    errors = [trial.error for trial in trials if trial.error]
    if not any(trial.state == "complete" for trial in trials):
        raise ValueError(_none_complete(trials, errors))
    n_failed = sum(trial.state == "failed" for trial in trials)
    if n_failed:
        reason = f" The first error was:\n{errors[0]}" if errors else " Their scores were NaN."
        warn_user(
            f"{n_failed} of {len(trials)} trials failed and are ranked last; error_score='raise' "
            f"stops at the first.{reason}",
            FitFailedWarning,
        )
    return int(results["rank_test_score"].argmin())


def _none_complete(trials, errors):
    if errors:
        return (
            f"No trial is complete: {len(trials)} of {len(trials)} failed or were pruned. The "
            f"first error was:\n{errors[0]}"
        )
    if any(trial.state == "pruned" for trial in trials):
        return (
            f"No trial is complete: all {len(trials)} were pruned or failed. Pass a pruner that "
            "waits for some trials to end, such as "
            "optuna.pruners.MedianPruner(n_startup_trials=5)."
        )
    return (
        f"No trial is complete: the scores of all {len(trials)} were NaN. Pass another scoring, or "
        "error_score='raise' to see errors."
    )
