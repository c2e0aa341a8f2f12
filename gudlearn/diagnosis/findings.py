"""Findings in plain sentences, each with what it costs in nats per row and what to try next."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

# Standard errors from which a difference counts, and the probability of a false alarm among all
# columns together.
_ERRORS, _FALSE_ALARM = 4.0, 0.01
# Nats per entry that count, and those between training and test rows.
_LEAST, _GAP = 0.02, 0.1
# Distance of the mean PIT from 1/2 from which a column is shifted, whatever its intervals hold.
_SHIFT = 0.15
# Columns that are named.
_NAMED = 3
# A row is unusual if it is this many standard deviations below the mean of the reference, and this
# many nats below all of its rows: a Gaussian has one row in e among those a nat below.
_UNUSUAL, _NATS_BELOW = 6.0, 6.0


@dataclass(frozen=True)
class Finding:
    """One sentence or two.

    Parameters
    ----------
    nats : float
        What it costs, about, in nats per row; findings are sorted by it.
    text : str
        What was found, and what to try next.
    """

    nats: float
    text: str


def of_training(curves, n_entries, advice):
    """Findings from the `Curves` of a fit.

    Parameters
    ----------
    curves : Curves
    n_entries : float
        Entries of a row.
    advice : Advice

    Yields
    ------
    Finding
    """
    if curves.verdict == "untrained":
        yield Finding(
            0.0,
            f"The network is untrained: the model is the closed-form start. Try {advice.longer()}.",
        )
    elif curves.verdict == "start kept":
        yield Finding(
            0.0,
            f"In {curves.n_epochs} epochs training did not improve on the closed-form start, whose "
            "weights were kept: there are too few rows, or nothing is left to learn. Try more "
            f"rows, or {advice.regularised()}; max_iter=0 gives the same model at once.",
        )
    elif curves.verdict == "too short":
        yield Finding(
            curves.late_gain * n_entries,
            f"The fit is too short (underfitting): the score of held-out rows still rose by "
            f"{curves.late_gain:.3f} nats per entry in the last third of the epochs, of "
            f"{curves.gain:.3f} in all. Try {advice.longer()}.",
        )
    elif curves.verdict == "overfitting":
        yield Finding(
            0.5 * curves.fall * n_entries,
            f"The network overfits: held-out rows scored best after {curves.best_epoch} of "
            f"{curves.n_epochs} epochs, and {curves.fall:.3f} nats per entry less at the end. The "
            f"best weights were kept, at a high learning rate. Try {advice.regularised()}, "
            f"{advice.shorter(curves.best_epoch)}, or early_stopping=True.",
        )


def of_test_rows(bound, advice):
    """Findings from the likelihood of test rows beside those of the fit.

    Parameters
    ----------
    bound : dict
        See `Diagnosis`.
    advice : Advice

    Returns
    -------
    found : list of Finding
    is_shifted : bool
        Whether test rows come from another distribution than the held-out ones.
    """
    below, error, is_below = _below(bound, "held_out", _LEAST)
    if is_below:
        text = (
            f"Test rows are {below:.2f} nats per entry less likely (standard error {error:.2f}) "
            "than the held-out rows of the fit: they come from another distribution. Look at the "
            "worst columns and rows, at units and at codes of missing values, and fit to rows like "
            "these."
        )
        return [Finding(below * bound["n_entries"], text)], True
    below, error, is_below = _below(bound, "trained", _GAP)
    if is_below:
        text = (
            f"Test rows are {below:.2f} nats per entry less likely (standard error {error:.2f}) "
            "than the rows that were trained on, which the network remembers. Try "
            f"{advice.regularised()}, fewer epochs, or more rows."
        )
        return [Finding(below * bound["n_entries"], text)], False
    return [], False


def _below(bound, name, least):
    """How far test rows are below others, its error, both per entry, and whether that counts."""
    if bound[name] is None:
        return 0.0, 0.0, False
    below = (bound[name] - bound["mean"]) / bound["n_entries"]
    error = np.hypot(bound["std_error"], bound[f"{name}_std_error"]) / bound["n_entries"]
    return below, error, below > _ERRORS * error + least


def of_samples(bound, advice, verdict, conditional):
    """A finding if test rows are less, or more, likely than rows that the model draws itself.

    Parameters
    ----------
    bound : dict
    advice : Advice
    verdict : str
        Of the curves.
    conditional : bool
        Whether the network has learned conditional distributions.

    Yields
    ------
    Finding
    """
    if bound["samples"] is None:
        return
    below = bound["samples"] - bound["mean"]
    error = np.hypot(bound["std_error"], bound["samples_std_error"])
    if abs(below) <= _ERRORS * error + _LEAST * bound["n_entries"]:
        return
    size = f"(standard error {error:.2f})"
    if below > 0:
        text = (
            f"Test rows are {below:.2f} nats less likely than the rows that the model draws "
            f"{size}: the model is too narrow, or they come from another distribution. X_train "
            f"tells the two apart. Try {advice.wider(verdict)}."
        )
    else:
        text = (
            f"Test rows are {-below:.2f} nats more likely than the rows that the model draws "
            f"{size}: the model is too wide. Try {advice.closer(conditional)}."
        )
    yield Finding(abs(below), text)


def of_flow(flow, n_entries, advice):
    """A finding if the flow's density and the bound differ.

    Parameters
    ----------
    flow : dict or None
    n_entries : float
    advice : Advice

    Yields
    ------
    Finding
    """
    if flow is None:
        return
    size, error = flow["difference"], flow["std_error"]
    if abs(size) > _ERRORS * error + _LEAST * n_entries:
        above = size > 0
        yield Finding(
            abs(size),
            f"The density of the probability flow is {abs(size):.2f} nats per row "
            f"{'above' if above else 'below'} the bound (standard error {error:.2f}): the denoiser "
            "is not that of one distribution, and "
            + ("scores are too low" if above else "deterministic samplers draw worse rows")
            + f". Try {advice.longer()} or preconditioning='{advice.start()}'.",
        )


def of_paths(table, n_entries, advice):
    """Findings from the bounds along several paths.

    Parameters
    ----------
    table : DataFrame or None
        See `likelihoods.along_paths`; the first row is the schedule in use.
    n_entries : float
    advice : Advice

    Yields
    ------
    Finding
    """
    if table is None:
        return
    own, best = table.iloc[0], table["bound"].idxmax()
    behind = table["difference"] - own["difference"]
    worst = behind.idxmax()
    chain = [name for name in table.index[1:] if "rest" in name]
    if own["difference"] > _ERRORS * own["std_error_difference"] + _LEAST * n_entries:
        cure = (
            f"Try {advice.longer()}: the joint distribution is learned less well than its parts."
            if best in chain
            else f"Set schedule_={best}, or fit it further with sweep(..., refine=True)."
        )
        yield Finding(
            own["difference"],
            f"Along the path '{best}' the bound is {own['difference']:.2f} nats per row better "
            f"than along the one in use (standard error {own['std_error_difference']:.2f}). {cure}",
        )
    error = np.hypot(table.loc[worst, "std_error_difference"], own["std_error_difference"])
    if worst in chain and behind[worst] > _ERRORS * error + _LEAST * n_entries:
        yield Finding(
            behind[worst],
            f"Along the path '{worst}' the bound is {behind[worst]:.2f} nats per row worse than "
            "along the one in use: conditional distributions are learned less well than the joint "
            f"one. Try {advice.conditional_rate()} or {advice.longer()}.",
        )


def flagged(columns):
    """The columns of which the calibration is visibly wrong, a DataFrame, the worst first."""
    n = max(1, int(columns["p_value"].notna().sum()))
    wrong = columns[columns["p_value"] * n < _FALSE_ALARM]
    return wrong.sort_values(["nats_lost", "z"], ascending=False)


def of_columns(columns, calibrations, advice, verdict):
    """Findings from the calibration of columns.

    Parameters
    ----------
    columns : DataFrame
        See `Diagnosis`.
    calibrations : dict of str to Calibration
    advice : Advice
    verdict : str
        Of the curves.

    Yields
    ------
    Finding
    """
    if not len(columns):
        return
    wrong = flagged(columns)
    for label, row in wrong.iloc[:_NAMED].iterrows():
        conditional = row["given"] == "the others"
        text, cure = _shape(label, row, calibrations[label].levels, advice, verdict, conditional)
        size = f"(PIT {row['z']:.1f} standard errors from uniform, {row['nats_lost']:.2f} nats)"
        given = " given the others" if conditional else " by itself"
        yield Finding(float(row["nats_lost"]), f"Column '{label}'{given}: {text} {size}. {cure}")
    if len(wrong) > _NAMED:
        rest = wrong.iloc[_NAMED:]
        names = ", ".join(f"'{label}'" for label in rest.index[:8])
        more = f" and {len(rest) - 8} more" if len(rest) > 8 else ""
        yield Finding(float(rest["nats_lost"].max()), f"Also badly calibrated: {names}{more}.")


def _shape(label, row, levels, advice, verdict, conditional):
    """What is wrong with a column, and what to try, two texts."""
    if levels:
        name, (seen, expected, z) = max(levels.items(), key=lambda item: abs(item[1][2]))
        if abs(z) > _ERRORS:
            return (
                f"'{name}' is {100 * seen:.0f} % of the values and has a mean probability of "
                f"{100 * expected:.0f} %",
                f"Compare its frequency in the rows of the fit; if that is the same, try "
                f"{advice.longer()}.",
            )
    n = row["n"]
    gap = (row["coverage_50"] - 0.5) / np.sqrt(0.25 / n)
    tails = (row["coverage_90"] - 0.9) / np.sqrt(0.09 / n)
    shift = (row["mean_pit"] - 0.5) * np.sqrt(12 * n)
    widest, level = (gap, 50) if abs(gap) > abs(tails) else (tails, 90)
    inside = (
        f"the {level} % {'sets' if levels else 'intervals'} hold "
        f"{100 * row[f'coverage_{level}']:.0f} %"
    )
    if not levels and (abs(shift) > abs(widest) or abs(row["mean_pit"] - 0.5) > _SHIFT):
        side = "larger" if shift > 0 else "smaller"
        return (
            f"values are {side} than predicted, {100 * row['mean_pit']:.0f} % of the probability "
            "lies below them on average",
            f"Check its units, and that test rows come from the same source; else try "
            f"{advice.longer()}.",
        )
    if widest < -2:
        return (
            f"predictions are too narrow, {inside} of the values",
            f"Check that test rows come from the same source; else try {advice.wider(verdict)}.",
        )
    if widest > 2:
        return (
            f"predictions are too wide, {inside} of the values",
            f"Try {advice.closer(conditional)}.",
        )
    return f"the shape is off, {inside} of the values", f"Try {advice.closer(conditional)}."


def of_rows(rows, scores, reference, name):
    """A finding if some rows are far less likely than all rows that they are compared with.

    Parameters
    ----------
    rows : DataFrame
        See `Diagnosis`; the worst first.
    scores, reference : ndarray of shape (n,) and (m,)
        Log-likelihoods of all rows, and of those that they are compared with.
    name : str
        What these are.

    Yields
    ------
    Finding
    """
    unusual = is_unusual(scores, reference)
    n = int(unusual.sum())
    if not n:
        return
    first = rows.iloc[0]
    where = "" if first["column"] is None else f", most of all in column '{first['column']}'"
    labels = ", ".join(map(str, rows.index[: min(n, 5)]))
    yield Finding(
        float((reference.mean() - scores[unusual]).sum()) / len(scores),
        f"{n} of {len(scores)} rows {'is' if n == 1 else 'are'} far less likely than {name}: "
        f"{labels}{', ...' if n > 5 else ''}. Row {rows.index[0]} is {-first['z']:.0f} standard "
        f"deviations below the mean{where}. Look at such rows: errors in the data, or a kind of "
        "rows that the fit has not seen.",
    )


def is_unusual(scores, reference):
    """Mask (n,) of scores that are far below every one of a reference (m,)."""
    far = reference.mean() - _UNUSUAL * reference.std()
    return (scores < far) & (scores < reference.min() - _NATS_BELOW)


def worst_rows(scores, reference, positions, index, columns, n=10):
    """The least likely rows, a DataFrame.

    Parameters
    ----------
    scores : ndarray of shape (n,)
    reference : ndarray of shape (m,)
        Log-likelihoods of the rows that they are compared with.
    positions : ndarray of shape (n,) of int
        Positions of the rows in X.
    index : pandas.Index or None
        Labels of the rows of X.
    columns : list of n str or None
        The column that costs most, by row.
    n : int

    Returns
    -------
    DataFrame
        ``position``, ``log_likelihood``, ``z``, ``column``, ``unusual``; by the label of the row.
    """
    middle, std = reference.mean(), max(reference.std(), 1e-9)
    order = np.argsort(scores, kind="stable")[:n]
    z = (scores[order] - middle) / std
    with_index = positions[order] if index is None else index.take(positions[order])
    return pd.DataFrame(
        {
            "position": positions[order],
            "log_likelihood": scores[order],
            "z": z,
            "column": pd.Series([columns[i] for i in order], dtype=object).to_numpy(),
            "unusual": is_unusual(scores, reference)[order],
        },
        index=with_index,
    )
