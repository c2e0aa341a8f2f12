"""Checks of the interface: parameters, fits, copies, pipelines, and what is left alone."""

import gc
import os
import pickle
import tempfile
from contextlib import contextmanager
from pathlib import Path
from unittest import SkipTest, mock

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from gudlearn.testing.case import equal_rows, global_states
from gudlearn.testing.datasets import gaussian, rescale
from gudlearn.testing.running import refused, require

# Rounding errors of two ways to compute the same score, in nats.
SCORE_ATOL = 1e-6


def results(case, model, X):
    """Samples and scores of a fitted model; zeros where there are none that can be compared."""
    scores = model.score_samples(X) if case.capabilities["density"] else np.zeros(1)
    rows = case.draw(model, 20) if case.is_seeded else np.zeros((20, 1))
    return rows, np.asarray(scores)


def needs_results(case):
    """Skip the check if there is neither a score nor a sample that can be drawn again."""
    if not case.is_seeded and not case.capabilities["density"]:
        raise SkipTest("the same seed gives different rows, and there are no scores to compare")


def require_same(first, second, what):
    """Raise unless two pairs of samples and scores are equal."""
    require(equal_rows(first[0], second[0]), f"Samples with the same seed differ {what}.")
    require(
        np.allclose(first[1], second[1], rtol=SCORE_ATOL, atol=SCORE_ATOL),
        f"Scores of the same rows differ {what}, by up to "
        f"{np.max(np.abs(first[1] - second[1])):g} nats.",
    )


def check_clone(case):
    """A clone has the same parameters and is not fitted."""
    fitted = case.fitted("gaussian")
    copied = clone(fitted)
    require(
        repr(copied.get_params()) == repr(fitted.get_params()),
        f"clone() changes parameters: {fitted.get_params()} became {copied.get_params()}. "
        "Store the arguments of __init__ as they are, and do not set them in fit.",
    )
    require(
        refused(lambda: copied.sample(2), (Exception,)) is not None,
        "A clone of a fitted estimator can be sampled: what is learned must be set in fit only.",
    )


def check_fit_keeps_parameters(case):
    """fit returns the estimator itself and changes none of its parameters."""
    fit = case.observed_fit("gaussian")
    require(fit.returned is fit.model, f"fit must return self, but returned {fit.returned!r}.")
    before, after = fit.parameters
    changed = [name for name in before if before[name] != after.get(name)]
    require(
        not changed,
        f"fit changes the parameters {changed}. Keep them, and store what is used under other "
        "names, such as name_ with a trailing underscore.",
    )


def check_n_features_in(case):
    """A fitted estimator has n_features_in_, the number of columns of X."""
    found = getattr(case.fitted("gaussian"), "n_features_in_", None)
    require(found == 3, f"n_features_in_ must be 3 after a fit to 3 columns, but is {found!r}.")


def check_not_fitted(case):
    """sample and score_samples of an estimator that was not fitted raise NotFittedError."""
    calls = {"sample": lambda: case.new().sample(2)}
    if case.capabilities["density"]:
        calls["score_samples"] = lambda: case.new().score_samples(case.data("gaussian"))
    for name, call in calls.items():
        error = refused(call, (Exception,))
        require(
            isinstance(error, NotFittedError),
            f"{name} before fit must raise sklearn.exceptions.NotFittedError, but "
            + (f"raised {error!r}." if error else "was answered."),
        )


def check_fit_again(case):
    """A second fit forgets the first: with the same seed it equals the fit of a new clone."""
    needs_results(case)
    X = case.data("gaussian")
    model = case.fit(gaussian(case.seed + 1)[:100] - 5.0)
    case.fit(X, model)
    require_same(
        results(case, model, X[:20]), results(case, case.fitted("gaussian"), X[:20]),
        "between a second fit and the fit of a new clone to the same rows; fit must start from "
        "the beginning and take its random numbers from random_state only",
    )  # fmt: skip


def check_pickle(case):
    """A pickled copy gives the same rows and scores, and the original still does without it."""
    needs_results(case)
    try:
        _compare_pickled(case, case.fitted("gaussian"), case.data("gaussian")[:20])
    except Exception:
        # Other checks are not to meet what is left of the original.
        case.forget("gaussian")
        raise


def _compare_pickled(case, model, X):
    """Compare an estimator with its copy, and with itself after the copy is gone."""
    expected = results(case, model, X)
    restored = pickle.loads(pickle.dumps(model))
    require_same(results(case, restored, X), expected, "after pickling")
    del restored
    gc.collect()
    try:
        found = results(case, model, X)
    except Exception as error:
        raise AssertionError(
            "An estimator cannot be used any more after its pickled copy was deleted: "
            f"{error!r}. A copy must not delete, on its end, what belongs to the original."
        ) from error
    require_same(found, expected, "after a pickled copy was deleted")


def check_pipeline(case):
    """As the last step of scikit-learn's Pipeline it equals a fit to the transformed rows."""
    needs_results(case)
    X, Z = case.data("gaussian"), case.data("rescaled")
    steps = [("rescale", FunctionTransformer(rescale)), ("generate", case.new())]
    pipeline = case.fit(X, Pipeline(steps))
    alone = case.fitted("rescaled")
    require_same(
        results(case, pipeline[-1], Z[:20]), results(case, alone, Z[:20]),
        "between the last step of a Pipeline and a fit to the transformed rows",
    )  # fmt: skip
    if case.capabilities["density"]:
        through, expected = pipeline.score_samples(X[:20]), alone.score_samples(Z[:20])
        require(
            np.allclose(through, expected, rtol=SCORE_ATOL, atol=SCORE_ATOL),
            "score_samples of a Pipeline differs from that of its last step on transformed rows.",
        )


def check_cross_validation(case):
    """cross_val_score returns finite scores, near the score of the training rows."""
    case.needs("density")
    X = case.data("gaussian")
    folds = cross_val_score(case.new(), X, cv=2, error_score="raise")
    per_row = np.asarray(case.fitted("gaussian").score_samples(X))
    require(np.isfinite(folds).all(), f"cross_val_score returns {folds}: scores must be finite.")
    # Half of the rows, and so twice the error of the fit: two nats are wide for three columns.
    allowed = 2.0 + 5 * per_row.std() / np.sqrt(len(X) / 2)
    require(
        np.abs(folds - per_row.mean()).max() < allowed,
        f"cross_val_score returns {folds}, but the mean score of the training rows is "
        f"{per_row.mean():g}. score must be a mean over rows, in nats.",
    )


@contextmanager
def _empty_folders(work, other):
    """Work in an empty folder, with another for temporary files and as the user's home."""
    before, temporary = Path.cwd(), tempfile.tempdir
    names = dict.fromkeys(("TMPDIR", "TEMP", "TMP", "HOME", "USERPROFILE"), str(other))
    with mock.patch.dict(os.environ, names):
        tempfile.tempdir = None
        os.chdir(work)
        try:
            yield
        finally:
            os.chdir(before)
            tempfile.tempdir = temporary


def check_no_files(case):
    """fit, sample and score leave no file in the working, temporary and home folders."""
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryDirectory() as other:
        with _empty_folders(work, other):
            model = case.fit(case.data("gaussian"))
            case.draw(model, 20)
            results(case, model, case.data("gaussian")[:20])
        left = [str(path.name) for folder in (work, other) for path in Path(folder).rglob("*")]
    require(not left, f"These files are left behind: {left}. Write a file only if asked to.")


def check_input_unchanged(case):
    """fit and score_samples do not change X."""
    for name in ("gaussian", *(["mixed"] if case.capabilities["frames"] else [])):
        fit, X = case.observed_fit(name), case.data(name)
        require(_unchanged(fit.X, X), "fit changes X in place. Work on a copy.")
        if case.capabilities["density"]:
            fit.model.score_samples(X)
            require(_unchanged(X, case.data(name)), "score_samples changes X. Work on a copy.")


def _unchanged(X, before):
    if hasattr(X, "equals"):
        return X.equals(before) and list(X.columns) == list(before.columns)
    return bool((X == before).all())


def check_global_random_state(case):
    """fit, sample and score_samples leave the global random generators as they are."""
    fit, X = case.observed_fit("gaussian"), case.data("gaussian")[:5]
    states = {"fit": fit.states}
    before = global_states()
    case.draw(fit.model, 5)
    states["sample"] = before, (before := global_states())
    if case.capabilities["density"]:
        fit.model.score_samples(X)
        states["score_samples"] = before, global_states()
    for what, (first, last) in states.items():
        # torch may be imported by the fit itself.
        changed = [name for name in first if first[name] != last[name]]
        require(
            not changed,
            f"{what} changes the global random state of {changed}. Make a generator of your own "
            "from random_state.",
        )


def check_bad_rows(case):
    """Rows with infinite values, another number of columns, or no rows at all raise ValueError."""
    X = case.data("gaussian")
    infinite = X.copy()
    infinite[3, 1] = np.inf
    for what, bad in {"infinite values": infinite, "no rows": X[:0], "one axis": X[:, 0]}.items():
        require(
            refused(lambda bad=bad: case.fit(bad)) is not None,
            f"fit accepts X with {what}. Raise a ValueError, as sklearn's validate_data does.",
        )
    if case.capabilities["density"]:
        model = case.fitted("gaussian")
        for what, bad in {"a column less": X[:, :2], "infinite values": infinite}.items():
            require(
                refused(lambda bad=bad: model.score_samples(bad)) is not None,
                f"score_samples accepts X with {what}. Raise a ValueError.",
            )


def check_missing_values(case):
    """Missing values are accepted, with finite results, or refused by an error that names them."""
    X = case.data("missing")
    if case.capabilities["missing"]:
        model = case.fit(X)
        rows, scores = case.draw(model, 20), results(case, model, X)[1]
        require(
            np.isfinite(scores).all(),
            f"{(~np.isfinite(scores)).sum()} of {len(X)} rows with missing values have no finite "
            "score. Score what is observed, or set the tag allow_nan to False and refuse NaN.",
        )
        whole = np.asarray(rows, dtype=float)
        require(not np.isinf(whole).any(), "Samples are infinite after a fit with missing values.")
        return
    error = refused(lambda: case.fit(X))
    require(
        error is not None,
        "fit accepts missing values although the tag input_tags.allow_nan is False. Raise a "
        "ValueError, or set the tag.",
    )
    require(
        any(word in str(error).lower() for word in ("nan", "missing")),
        f"fit refuses missing values, but the message names neither NaN nor missing values: "
        f"{error!r}.",
    )


CHECKS = [
    check_clone,
    check_fit_keeps_parameters,
    check_n_features_in,
    check_not_fitted,
    check_fit_again,
    check_pickle,
    check_pipeline,
    check_cross_validation,
    check_no_files,
    check_input_unchanged,
    check_global_random_state,
    check_bad_rows,
    check_missing_values,
]
