"""Draws of one partially observed row of a table, as frames."""

import numpy as np
import pandas as pd

from gudlearn.data.frames import is_frame, labels_of
from gudlearn.plotting.columns import take


def is_mixed(estimator):
    """Whether an estimator was fitted to a frame with categories or times."""
    schema = getattr(estimator, "schema_", None)
    if schema is None or schema.table.labels is None:
        return False
    return any(column.kind not in ("integer", "float") for column in schema.columns)


def completions(estimator, row, truth, n_samples, random_state):
    """Draws of one row, and its observed values.

    Parameters
    ----------
    estimator : GUDGenerator
    row, truth : dict, Series, frame of one row, or array-like of shape (n_features,)
        ``truth`` may be None.
    n_samples : int
    random_state : int, RandomState instance or None

    Returns
    -------
    draws : frame of shape (n_samples, n_features)
    row : frame of one row, with the observed columns only; None without
    truth : frame of one row, or None

    Raises
    ------
    ValueError
        If there is not one row, or nothing is missing in it.
    """
    names = _names(estimator)
    row, truth = _one_row("row", row, names), _one_row("truth", truth, names)
    unknown = [name for name in row.columns if name not in set(names)]
    if unknown:
        raise ValueError(f"row names column {unknown[0]!r}, which X does not have.")
    observed = row.loc[:, row.notna().iloc[0]]
    if observed.shape[1] == len(names):
        raise ValueError("row has no missing value to draw. Leave out the columns to draw.")
    if observed.shape[1]:
        given = observed
        if not hasattr(estimator, "feature_names_in_"):
            given = row.reindex(columns=names).to_numpy(dtype=np.float64)
        draws = estimator.sample(n_samples, given=given, random_state=random_state)
    else:
        draws, observed = estimator.sample(n_samples, random_state=random_state), None
    if not is_frame(draws):
        draws = pd.DataFrame(np.reshape(draws, (n_samples, -1)), columns=names)
    if truth is not None:
        lacking = [name for name in labels_of(draws) if name not in truth.columns]
        if lacking:
            raise ValueError(f"truth lacks the columns {lacking}. Pass a complete row.")
        truth = truth[list(labels_of(draws))]
    return take(draws, list(range(len(names)))), observed, truth


def values_of(parameter, row, estimator):
    """Values of a dict, a Series or a frame of one row for all columns, (n_features,), else row."""
    if not isinstance(row, dict | pd.Series) and not is_frame(row):
        return row
    names = _names(estimator)
    return _one_row(parameter, row, names).reindex(columns=names).iloc[0].astype(float).to_numpy()


def _names(estimator):
    names = getattr(estimator, "feature_names_in_", None)
    return [f"x{j}" for j in range(estimator.n_features_in_)] if names is None else names


def _one_row(parameter, row, names):
    """One row as a frame of pandas; None stays None."""
    if row is None:
        return None
    if isinstance(row, pd.Series):
        row = row.to_dict()
    if isinstance(row, dict):
        row = pd.DataFrame({name: [value] for name, value in row.items()})
    elif not is_frame(row):
        row = np.asarray(row)
        if row.shape != (len(names),):
            raise ValueError(
                f"{parameter} must be one row of shape {(len(names),)}, got shape {row.shape}."
            )
        row = pd.DataFrame(row[None], columns=names).infer_objects()
    elif not isinstance(row, pd.DataFrame):
        columns = row.to_dict(as_series=False) if hasattr(row, "item") else row.to_pydict()
        row = pd.DataFrame(columns)
    if len(row) != 1:
        raise ValueError(f"{parameter} has {len(row)} rows. Pass one.")
    return row
