"""Checks of samples: seeds, prefixes, refusals, moments, constant columns, dtypes and frames."""

import random
from contextlib import contextmanager
from unittest import SkipTest

import numpy as np
import pandas as pd

from gudlearn.testing.case import equal_rows
from gudlearn.testing.datasets import CONSTANT, LEVELS, N_ROWS
from gudlearn.testing.interface import SCORE_ATOL
from gudlearn.testing.running import refused, require

# Standard errors that every statistical tolerance allows.
ERRORS = 5
N_SAMPLES = 600


def check_sample_shape(case):
    """sample(n) returns n finite rows with the columns of X; n is 1 if it is not given."""
    model = case.fitted("gaussian")
    for n_rows in (1, 7):
        rows = case.draw(model, n_rows)
        require(
            rows.shape == (n_rows, 3),
            f"sample({n_rows}) must be of shape ({n_rows}, 3), but is of shape {rows.shape}.",
        )
    shape = np.shape(model.sample())
    require(shape == (1, 3), f"sample() must return one row, of shape (1, 3); got {shape}.")
    values = np.asarray(case.draw(model, 200), dtype=float)
    require(np.isfinite(values).all(), "Samples of a fit to finite rows must be finite.")


def check_sample_seed(case):
    """The same seed gives the same rows, whatever the global random state."""
    model = case.fitted("gaussian")
    first = np.array(case.draw(model, 20))
    with _other_global_states():
        second = case.draw(model, 20)
    require(
        equal_rows(first, second),
        "Two samples with the same seed differ. Take all random numbers from the random_state of "
        "sample, or of the estimator.",
    )


@contextmanager
def _other_global_states():
    """Global random generators in another state, and back."""
    before = np.random.get_state(), random.getstate()  # noqa: NPY002
    np.random.random(7)  # noqa: NPY002
    random.random()
    try:
        yield
    finally:
        np.random.set_state(before[0])  # noqa: NPY002
        random.setstate(before[1])


def check_sample_other_seed(case):
    """Different seeds give different rows, and the rows of a sample differ from each other."""
    model = case.fitted("gaussian")
    first, second = (np.asarray(case.draw(model, 20, seed)) for seed in (case.seed, case.seed + 1))
    require(not equal_rows(first, second), "Samples with different seeds are equal.")
    n_distinct = len(np.unique(first, axis=0))
    require(
        n_distinct > 10,
        f"Of 20 sampled rows only {n_distinct} are distinct, although the columns are continuous.",
    )


def check_sample_prefix(case):
    """The first k of n rows are the k rows that are sampled alone with the same seed (optional)."""
    if not case.is_seeded:
        raise SkipTest("the same seed gives different rows")
    model = case.fitted("gaussian")
    require(
        equal_rows(np.asarray(case.draw(model, 30))[:11], case.draw(model, 11)),
        "sample(30)[:11] differs from sample(11) with the same seed. Key the random numbers of a "
        "row by seed and position.",
    )


def check_sample_refuses(case):
    """A number of rows that is 0, negative or no whole number is refused with an error."""
    model = case.fitted("gaussian")
    for bad in (0, -1, 1.5, "3"):
        require(
            refused(lambda bad=bad: case.draw(model, bad)) is not None,
            f"sample({bad!r}) is accepted. Raise a ValueError: n_samples must be a whole number "
            "of at least 1.",
        )


def check_sample_moments(case):
    """Means, variances and correlations of a normal sample are those of the training rows."""
    X = case.data("gaussian")
    rows = np.asarray(case.draw(case.fitted("gaussian"), N_SAMPLES), dtype=float)
    both = 1 / N_ROWS + 1 / N_SAMPLES
    variance = X.var(axis=0)
    _require_within(
        "mean", X.mean(axis=0), rows.mean(axis=0), np.sqrt(np.maximum(variance, rows.var(0)) * both)
    )
    _require_within(
        "log-variance", np.log(variance), np.log(rows.var(axis=0)), np.full(3, np.sqrt(2 * both))
    )
    above = np.triu_indices(3, 1)
    # Fisher's transform of a correlation has a standard error that does not depend on it.
    turned = [np.arctanh(np.corrcoef(values.T)[above]) for values in (X, rows)]
    _require_within("correlation (arctanh)", *turned, np.full(3, np.sqrt(both)))


def _require_within(what, expected, found, error):
    distance = np.abs(found - expected) / error
    worst = int(distance.argmax())
    require(
        distance[worst] < ERRORS,
        f"A {what} of {N_SAMPLES} sampled rows is {found[worst]:.3g}, that of the training rows "
        f"{expected[worst]:.3g}: {distance[worst]:.1f} standard errors apart.",
    )


def check_constant_column(case):
    """A constant column is fitted, comes back exactly, and leaves scores finite."""
    model, X = case.fitted("constant"), case.data("constant")
    column = np.asarray(case.draw(model, 50))[:, 1].astype(float)
    require(
        np.abs(column - CONSTANT).max() <= 1e-9,
        f"A column that is {CONSTANT} in all training rows is between {column.min():.9g} and "
        f"{column.max():.9g} in samples.",
    )
    if case.capabilities["density"]:
        scores = np.asarray(model.score_samples(X[:20]))
        require(np.isfinite(scores).all(), "Scores are not finite if a column is constant.")


def check_array_dtype(case):
    """Samples have the dtype of X: float64 for float64, float32 for float32."""
    for name, dtype in (("gaussian", np.float64), ("single", np.float32)):
        found = np.asarray(case.draw(case.fitted(name), 5)).dtype
        require(
            found == dtype,
            f"Samples of a fit to {np.dtype(dtype)} are of dtype {found}. Return X's own.",
        )


def check_frame_returned(case):
    """Samples of a fit to a frame are a frame with the same columns and dtypes."""
    case.needs("frames")
    X, model = case.data("mixed"), case.fitted("mixed")
    rows = case.draw(model, 30)
    require(
        isinstance(rows, pd.DataFrame),
        f"Samples of a fit to a DataFrame must be a DataFrame, but are a {type(rows).__name__}.",
    )
    require(
        list(rows.columns) == list(X.columns),
        f"The columns of X are {list(X.columns)}, those of samples {list(rows.columns)}.",
    )
    wrong = {
        name: f"{rows[name].dtype} in place of {X[name].dtype}"
        for name in X if rows[name].dtype != X[name].dtype
    }  # fmt: skip
    require(not wrong, f"Columns of samples have other dtypes: {wrong}.")


def check_frame_values(case):
    """Sampled categories were seen in training, all of them come up, and nothing is missing."""
    case.needs("frames")
    rows = pd.DataFrame(case.draw(case.fitted("mixed"), 300))
    require(not rows.isna().to_numpy().any(), "Samples have missing values, and X has none.")
    for name, levels in zip(("colour", "answer"), LEVELS, strict=True):
        found = set(rows[name])
        # The rarest level has a probability of 0.2; it is absent from 300 rows with one of 1e-29.
        require(
            found == set(levels),
            f"Column {name!r} has the levels {levels} in X, and {sorted(map(str, found))} in 300 "
            "sampled rows.",
        )


def check_frame_columns(case):
    """Names are kept, a missing column is refused, and another order changes no score."""
    case.needs("frames")
    model, X = case.fitted("mixed"), case.data("mixed")
    names = getattr(model, "feature_names_in_", None)
    require(
        names is not None and list(names) == list(X.columns),
        f"feature_names_in_ must be {list(X.columns)} after a fit to a frame, but is {names}.",
    )
    if not case.capabilities["density"]:
        return
    require(
        refused(lambda: model.score_samples(X.drop(columns="length"))) is not None,
        "score_samples accepts a frame without the column 'length', which was there in fit.",
    )
    scores, turned = model.score_samples(X[:20]), None
    try:
        turned = model.score_samples(X[:20][X.columns[::-1]])
    except ValueError:
        return
    require(
        np.allclose(scores, turned, rtol=SCORE_ATOL, atol=SCORE_ATOL),
        "Scores change with the order of the columns of a frame. Use names, or refuse the frame.",
    )


CHECKS = [
    check_sample_shape,
    check_sample_seed,
    check_sample_other_seed,
    check_sample_prefix,
    check_sample_refuses,
    check_sample_moments,
    check_constant_column,
    check_array_dtype,
    check_frame_returned,
    check_frame_values,
    check_frame_columns,
]
