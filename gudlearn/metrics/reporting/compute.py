"""The computation of a report."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from gudlearn._random import derive_seed
from gudlearn._typing import RandomState
from gudlearn.metrics.mixed import check_whole
from gudlearn.metrics.reporting.details import column_errors, pair_errors
from gudlearn.metrics.reporting.grades import grade
from gudlearn.metrics.reporting.image_metrics import image_metrics, nearest_training_rows
from gudlearn.metrics.reporting.metrics import Context
from gudlearn.metrics.reporting.result import Report
from gudlearn.metrics.reporting.samples import (
    FAKE,
    HELD_OUT,
    INDEPENDENT,
    LEAST_ROWS,
    SAMPLES,
    array_samples,
    reason,
    table_samples,
)
from gudlearn.metrics.reporting.table_metrics import table_metrics
from gudlearn.metrics.reporting.verdict import verdict

# Fake images that are shown beside their nearest training image.
_N_SHOWN = 8


def report(
    train: ArrayLike, test: ArrayLike, fake: ArrayLike, *, model: Any = None,
    features: Callable[[Any], Any] | None = None, target: str | int | None = None,
    max_rows: int = 5_000, random_state: RandomState = 0,
) -> Report:  # fmt: skip
    r"""Judge fake rows by every metric at once, beside rows whose quality is known.

    Every number of a report stands beside that of *oracles*: held-out rows (what an ideal generator
    reaches), a copy of training rows (what copying gives away), independent columns (right margins,
    no dependence) and a shallow mixture model (what takes seconds). The test rows are divided into
    two halves. One is the reference that all samples are compared with, by equally many rows of
    each; the other is the held-out rows.

    Parameters
    ----------
    train, test, fake : pandas, polars or pyarrow table, or array-like of shape (n, F) or images
        Rows that the model was trained on, rows that it has not seen, and rows that it made, at
        least 10 of each. Columns are matched by name: numbers, datetimes, text, categories and
        booleans, with missing values in any of them. They are never changed.
    model : object with ``score_samples`` or None, default=None
        A fitted generator, or any other density: adds the log-likelihood of at most 500 rows of
        each of the three.
    features : callable or None, default=None
        Maps images (n, height, width[, channels]), or rows of an array, to an array of shape
        (n, d): the activations of a network, or another description. The report is then one of the
        features: Fréchet, kernel and energy distance, precision and coverage, memorization.
    target : hashable or None, default=None
        Name of a column to predict, or its index in arrays: adds ``train_on_synthetic``.
    max_rows : int, default=5000
        Each sample has at most this many rows, drawn at random, and at most half as many as there
        are test rows.
    random_state : int, RandomState, Generator or None, default=0
        Draws the rows and seeds all metrics.

    Returns
    -------
    Report
        ``print`` shows it as text, ``to_frame`` has all values, and ``save("report.html")`` writes
        a page with pictures.

    Raises
    ------
    ValueError
        If the columns or the shapes of images differ, a sample has fewer than 10 rows, images come
        without `features`, or `target` is no column.
    TypeError
        If `features` is not callable, `model` has no ``score_samples``, or values cannot be
        compared.

    Notes
    -----
    A metric that fails leaves the others as they are; ``Report.notes`` says why it did. Standard
    errors are by DeLong (two-sample AUC), jackknife over test rows (train on synthetic, global
    utility), bootstrap (shape, trend, Wasserstein, rare levels, tails), parts of the rows (energy,
    Fréchet and kernel distance), and binomial (copies). They do not contain the choice of the
    training rows.

    References
    ----------
    Jiang, Simidjievski, Jamnik (2025), TabStruct, https://arxiv.org/abs/2509.11950

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.metrics import report
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 1)) + 0.3 * rng.normal(size=(300, 2))
    >>> found = report(X[:100], X[100:200], X[200:])
    >>> list(found.values.columns)
    ['fake rows', 'held-out rows', 'training rows', 'independent columns', 'shallow mixture']
    >>> trends = found.values.loc["trend_error"]
    >>> bool(trends["independent columns"] > trends["fake rows"])
    True
    """
    started = time.perf_counter()
    check_whole("max_rows", max_rows, LEAST_ROWS)
    _check_parameters(train, model, features, target)
    seed = derive_seed(random_state) % 2**31
    rng = np.random.default_rng(seed)
    make = table_samples if features is None else array_samples
    samples = make(train, test, fake, max_rows, rng)
    if target is not None and target not in samples.reference.names:
        raise ValueError(
            f"target={target!r} is not a column. The columns are "
            f"{', '.join(map(repr, samples.reference.names[:10]))}."
        )
    frames = {"train": train, "test": test, "fake": fake}
    context = Context(samples, seed, model=model, features=features, target=target, frames=frames)
    metrics = table_metrics(target, model) if features is None else image_metrics(model)
    estimates, notes = _measured(metrics, context)
    columns = pairs = shown = None
    if features is None:
        columns, pairs = (errors(samples, estimates) for errors in (column_errors, pair_errors))
    elif ("memorization", FAKE) in estimates:
        shown = nearest_training_rows(context, _N_SHOWN)
    return _report(
        metrics, samples, estimates, notes, columns=columns, pairs=pairs, nearest=shown,
        seconds=time.perf_counter() - started,
    )  # fmt: skip


def _check_parameters(train, model, features, target):
    if features is not None and not callable(features):
        raise TypeError(f"features={features!r} must be a callable of images or rows, or None.")
    if features is not None and target is not None:
        raise ValueError(f"target={target!r} is for tables: leave it or features out.")
    if model is not None and not hasattr(model, "score_samples"):
        raise TypeError(f"model={model!r} has no score_samples. Pass a fitted density, or None.")
    # A frame is not converted for its shape.
    shape = np.shape(train) if isinstance(train, list | tuple) else getattr(train, "shape", ())
    if features is None and len(shape) > 2:
        raise ValueError(
            f"train has shape {tuple(shape)}: images need features, a callable that maps images "
            "to an array of shape (n, d). Pass one, or flatten the images to rows."
        )


def _measured(metrics, context):
    """Estimates by metric and sample, and why others are missing."""
    estimates, notes = {}, {}
    for metric in metrics:
        for name in context.samples.judged:
            try:
                estimates[metric.key, name] = metric.compute(context, name)
            except Exception as error:  # the others are still of use
                notes[metric.key, name] = reason(error)
    for name, why in context.samples.failures.items():
        notes["", name] = why
    return estimates, notes


def _report(metrics, samples, estimates, notes, columns, pairs, **more):
    """The report of what was measured."""
    values, errors = (
        pd.DataFrame(
            [[getattr(estimates.get((m.key, name)), what, np.nan) for name in SAMPLES]
             for m in metrics],
            index=pd.Index([m.key for m in metrics], name="metric"), columns=list(SAMPLES),
            dtype=float,
        )
        for what in ("value", "standard_error")
    )  # fmt: skip
    grades = pd.Series(
        [
            grade(m, *(frame.loc[m.key, name] for name in (FAKE, HELD_OUT)
                       for frame in (values, errors)), values.loc[m.key, INDEPENDENT])
            for m in metrics
        ],
        index=values.index, dtype=object, name="grade",
    )  # fmt: skip
    return Report(
        metrics=metrics, values=values, standard_errors=errors, grades=grades, notes=notes,
        columns=columns, pairs=pairs, samples=samples,
        verdict=verdict(metrics, values, errors, grades, columns, pairs), **more,
    )  # fmt: skip
