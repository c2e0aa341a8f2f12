"""Likelihoods of test rows: beside rows that they are compared with, by flow, and along paths."""

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from gudlearn.data.rows import Rows
from gudlearn.training.sweep import schedule_statistics

# Rows of which the flow's density is computed, and components up to which it is exact.
_FLOW_ROWS, _FLOW_COMPONENTS = 32, 16
# Members of a family of schedules that are compared.
_MEMBERS = 3


def mean_and_error(values):
    """Mean of values, and its standard error, a pair."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def like(rows, drawn, encoding, labels):
    """Rows that a model has drawn, with missing values where test rows have some.

    Parameters
    ----------
    rows : Rows
        Test rows.
    drawn : ndarray of shape (m, F)
        Numbers of columns of two natures are there even if their gate says that they do not exist.
    encoding : Encoding
    labels : LongTensor of shape (m,) or None

    Returns
    -------
    Rows
    """
    imputable, absent = encoding.imputable(rows), encoding.kinds.absent(drawn)
    drawn = drawn if absent is None else np.where(absent, np.nan, drawn)
    if imputable is not None:
        hidden = imputable[np.arange(len(drawn)) % len(rows)]
        drawn = np.where(hidden, np.nan, drawn)
    return Rows.of(drawn, labels)


def flow_against_bound(scoring, rows, scores):
    """The flow's density and the bound of the same rows, a dict; or why there is none, a text.

    Parameters
    ----------
    scoring : Scoring
        By the bound.
    rows : Rows
    scores : ndarray of shape (n,)
        Bounds of the rows.

    Returns
    -------
    dict or str
        ``flow``, ``bound``, ``difference``, their means in nats per row; ``std_error`` of the
        difference, over rows; ``n_rows``.
    """
    state, n_active = scoring.state, int(scoring.state.encoding.ends.active.sum())
    if state.encoding.masked.any():
        return "it is the density of numbers, and X has categories or point masses"
    if n_active > _FLOW_COMPONENTS:
        return (
            f"it takes random probes for {n_active} components (it is exact up to "
            f"{_FLOW_COMPONENTS}), or much time"
        )
    whole = np.arange(len(rows)) if rows.observed is None else np.flatnonzero(rows.observed.all(1))
    if len(whole) < 8:
        return f"it scores whole rows only, of which X has {len(whole)}"
    some = whole[:_FLOW_ROWS]
    flow = scoring.fitted.flow_log_prob(rows.take(some))
    difference, error = mean_and_error(flow - scores[some])
    return {
        "flow": float(flow.mean()), "bound": float(scores[some].mean()), "difference": difference,
        "std_error": error, "n_rows": len(some),
    }  # fmt: skip


def along_paths(estimator, scoring, rows, own, places):
    """Bounds of the same rows along several paths, which agree if the denoiser is exact.

    Parameters
    ----------
    estimator : GUDGenerator
    scoring : Scoring
    rows : Rows
    own : (ndarray of shape (n,), ndarray of shape (n,))
        Their bounds under the schedule in use, and the standard errors of these.
    places : ndarray of int
        The user's columns, in a random order, of which the first half comes first; empty where
        the network does not know conditional distributions.

    Returns
    -------
    DataFrame or None
        By path: ``bound`` in nats per row, ``std_error``, ``difference`` to the best,
        ``std_error_difference``, ``spread`` of single rows; None if there is no other path.
    """
    state, found = estimator.state_, {"the schedule in use": own}
    if state.schedule_family is not None:
        members = state.schedule_family.members()
        for k in np.unique(np.linspace(0, len(members) - 1, _MEMBERS).astype(int)):
            other = copy.copy(estimator)
            other.schedule = members[k]
            other.state_ = replace(state, schedule=members[k])
            # A copy: `scoring` of the estimator has the model of its own schedule.
            found[repr(members[k])] = _bounds(other.scoring(), rows)
    if len(places) > 1:
        half = places[: len(places) // 2]
        names = ", ".join(str(state.container.names[place]) for place in half[:3])
        names += " and others" if len(half) > 3 else ""
        first = np.isin(state.container.column_of, half)
        found[f"{names} first, then the rest"] = _in_turn(scoring, rows, first)
        found[f"{names} last, given the rest"] = _in_turn(scoring, rows, ~first)
    if len(found) < 2:
        return None
    bounds, errors = np.stack([np.stack(pair) for pair in found.values()], 1)
    table = pd.DataFrame(schedule_statistics(-bounds, errors), index=list(found))
    table.insert(0, "bound", -table.pop("bits_per_dim"))
    return table.drop(columns="rank")


def _bounds(scoring, rows):
    return scoring.fitted.log_likelihood_and_error(rows, None, None, scoring.n_draws).T


def _in_turn(scoring, rows, first):
    """Bounds of some columns (F,) by themselves, and of the others given these, in sum."""
    values = np.where(first, rows.values, np.nan)
    alone, alone_error = scoring.rows_and_errors(Rows.of(values, rows.labels))
    given, given_error = scoring.rows_and_errors(rows, first)
    return alone + given, np.hypot(alone_error, given_error)


def labels_of(labels):
    """Class indices of draws as a tensor; None without classes."""
    return None if labels is None else torch.from_numpy(np.array(labels, dtype=np.int64))
