"""Errors of columns and of pairs of columns of fake rows beside held-out rows, worst first."""

from itertools import combinations

import numpy as np
import pandas as pd

from gudlearn.metrics.association import associations_of
from gudlearn.metrics.reporting.coverage import Coverage
from gudlearn.metrics.reporting.samples import FAKE, HELD_OUT

_KINDS = {
    "numbers": "number", "datetimes": "time", "zoned datetimes": "time", "durations": "duration",
    "categories": "category",
}  # fmt: skip


def column_errors(samples, estimates):
    """A line for each column, the worst first.

    Parameters
    ----------
    samples : Samples
    estimates : dict of (str, str) to Estimate
        By metric and sample.

    Returns
    -------
    DataFrame
        Columns ``kind``, ``excess`` (by how much shape and mean trend error exceed those of
        held-out rows), ``shape_error``, ``shape_error_held_out``, ``trend_error`` (mean over the
        pairs of the column), ``trend_error_held_out``, ``auc_fall`` (of the two-sample AUC if the
        column is shuffled), ``utility`` (global utility), ``wasserstein``, ``low_tail``,
        ``high_tail`` and ``rare_mass`` (relative to training rows), ``missing`` and
        ``missing_real`` (fractions). NaN where something is undefined.
    """
    reference, fake = samples.reference, samples.judged[FAKE]
    n = len(reference.names)
    found = {"kind": [_KINDS[kind] for kind in reference.kinds]}
    found["excess"] = np.zeros(n)
    for key, reduced in (("shape_error", lambda e: e), ("trend_error", _row_means)):
        for name, suffix in ((FAKE, ""), (HELD_OUT, "_held_out")):
            errors = _detail(estimates, key, name)
            found[key + suffix] = np.full(n, np.nan) if errors is None else reduced(errors)
        found["excess"] += np.nan_to_num(found[key] - found[f"{key}_held_out"])
    falls = _detail(estimates, "two_sample_auc", FAKE)
    found["auc_fall"] = np.full(n, np.nan)
    if falls is not None:
        found["auc_fall"] = falls.reindex(pd.Index(reference.names, tupleize_cols=False)).to_numpy()
    for key, column in (("global_utility", "utility"), ("wasserstein", "wasserstein")):
        detail = _detail(estimates, key, FAKE)
        found[column] = np.full(n, np.nan) if detail is None else detail
    found.update(_ends(samples))
    found["missing"], found["missing_real"] = (np.isnan(t.X).mean(0) for t in (fake, reference))
    index = pd.Index(reference.names, tupleize_cols=False, name="column")
    return pd.DataFrame(found, index=index).sort_values("excess", ascending=False, kind="stable")


def _detail(estimates, key, name):
    estimate = estimates.get((key, name))
    return None if estimate is None else estimate.detail


def _row_means(errors):
    """Mean of each row of a matrix without its NaN; NaN where there is nothing else."""
    known = ~np.isnan(errors)
    counts = known.sum(1)
    return np.where(counts, np.where(known, errors, 0.0).sum(1) / np.maximum(counts, 1), np.nan)


def _ends(samples):
    """Masses of tails and of rare levels relative to the training rows, by column."""
    coverage, fake = Coverage(samples.train), samples.judged[FAKE]
    found = {name: np.full(len(fake.names), np.nan) for name in ("low_tail", "high_tail",
                                                                 "rare_mass")}  # fmt: skip
    if coverage.tails:
        for (j, sign, *_), ratio in zip(coverage.tails, coverage.tail_ratios(fake), strict=True):
            found["low_tail" if sign < 0 else "high_tail"][j] = ratio
    for j, levels in coverage.rare.items():
        column = fake.X[:, j][~np.isnan(fake.X[:, j])]
        if len(column):
            found["rare_mass"][j] = np.isin(column, levels).mean() / coverage.frequencies[j]
    return found


def pair_errors(samples, estimates):
    """A line for each pair of columns, the worst first.

    Parameters
    ----------
    samples : Samples
    estimates : dict of (str, str) to Estimate

    Returns
    -------
    DataFrame
        Columns ``first``, ``second``, ``excess`` (by how much the trend error exceeds that of
        held-out rows), ``trend_error``, ``trend_error_held_out``, and the associations ``real`` and
        ``fake``: a correlation, or Cramér's V if one is a category.
    """
    errors, held_out = (_detail(estimates, "trend_error", name) for name in (FAKE, HELD_OUT))
    columns = ("first", "second", "excess", "trend_error", "trend_error_held_out", "real", "fake")
    if errors is None:
        return pd.DataFrame(columns=columns)
    real, fake = (a.to_numpy() for a in associations_of([samples.reference, samples.judged[FAKE]]))
    held_out = np.full_like(errors, np.nan) if held_out is None else held_out
    excess = errors - np.nan_to_num(held_out)
    names = samples.reference.names
    lines = [
        (names[j], names[k], excess[j, k], errors[j, k], held_out[j, k], real[j, k], fake[j, k])
        for j, k in combinations(range(len(names)), 2)
    ]
    found = pd.DataFrame(lines, columns=columns).dropna(subset="trend_error")
    # A row of whole numbers and floats would make floats of names.
    found = found.astype({"first": object, "second": object})
    return found.sort_values("excess", ascending=False, kind="stable", ignore_index=True)
