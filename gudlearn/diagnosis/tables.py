"""Tables of columns, and which column costs a row most."""

import numpy as np
import pandas as pd

_COLUMNS = (
    "given", "n", "n_effective", "ks", "p_value", "z", "coverage_50", "coverage_90", "mean_pit",
    "nats_lost",
)  # fmt: skip


def columns_of(parts, calibrations):
    """Statistics of each column, a DataFrame, the worst first.

    Parameters
    ----------
    parts : list of Part
    calibrations : dict of str to Calibration
        By the label of the part.
    """
    lines = {}
    for part in parts:
        calibration = calibrations[part.label]
        given = "nothing" if calibration.surprise is None else "the others"
        lines[part.label] = {"given": given, **calibration.statistics()}
    table = pd.DataFrame.from_dict(lines, orient="index", columns=list(_COLUMNS))
    return table.sort_values(["nats_lost", "z"], ascending=False, kind="stable")


def costliest(calibrations, n_rows):
    """The label of the column whose value costs each row most, beyond what it costs typically.

    Parameters
    ----------
    calibrations : dict of str to Calibration
        With ``surprise``.
    n_rows : int

    Returns
    -------
    list of n_rows str, or None where no column is observed
    """
    costs = np.full((n_rows, len(calibrations)), -np.inf)
    for k, calibration in enumerate(calibrations.values()):
        if len(calibration.rows):
            surprise = calibration.surprise
            costs[calibration.rows, k] = surprise - np.median(surprise)
    labels = list(calibrations)
    return [labels[row.argmax()] if np.isfinite(row).any() else None for row in costs]


def component_columns(state):
    """The name of the column of each entry of `Scoring.components`; None if bases mix columns."""
    encoding = state.encoding
    if state.has_images or (encoding.columns < 0).any():
        return None
    names = state.container.names
    if encoding.masked.any():
        return names
    return [names[state.container.column_of[field]] for field in encoding.columns]
