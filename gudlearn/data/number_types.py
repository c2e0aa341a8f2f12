"""The types of numeric columns, found from their values."""

from dataclasses import replace

import numpy as np

from gudlearn.data.column_types import (
    EXACT,
    LEAST_ROWS,
    Column,
    are_few,
    are_rough,
    column_atoms,
    constant_evidence,
    wrong_type,
)
from gudlearn.data.grids import find_width, grid_rule


def _bounds(column, distinct):
    return replace(column, low=distinct[0].item(), high=distinct[-1].item())


def decide_whole(column, distinct, counts, rules):
    column = _bounds(column, distinct)
    low, high = column.low, column.high
    if max(abs(low), abs(high)) > EXACT:
        if high - low > EXACT:
            raise ValueError(
                f"Column {column.name!r} holds whole numbers from {low} to {high}, which float64 "
                "does not tell apart. Subtract a constant, round them, or pass text if they are "
                "names."
            )
        column = replace(column, offset=low)
    declared = rules.feature_type
    width = 1.0 if isinstance(rules.bin_width, str) else rules.bin_width
    kind = {1.0: "whole", None: "continuous"}.get(width, "decimal")
    if declared == "continuous" and isinstance(rules.bin_width, str):
        width, kind = None, "continuous"
    evidence = "Its dtype holds whole numbers." if width == 1.0 else "Declared."
    column = replace(
        column, feature_type=declared or kind, bin_width=np.nan if width is None else width,
        evidence=evidence,
    )  # fmt: skip
    if len(distinct) == 1:
        return replace(column, evidence=constant_evidence(column, counts))
    if not rules.searches or rules.bounded:
        return column
    few = are_few(column.n_distinct, counts.sum()) and width == 1.0
    if few and declared is None and are_rough(distinct - distinct[0], counts):
        evidence += (
            f" {len(distinct)} distinct values in {counts.sum()} rows, unlike their neighbours in "
            "frequency: modelled as levels."
        )
        return replace(column, is_category=True, levels=distinct, evidence=evidence)
    atoms = column_atoms(column, distinct, counts, rules)
    return column if atoms is None else _with_atoms(column, distinct, counts, atoms)


def _with_atoms(column, distinct, counts, atoms):
    n = counts.sum()
    most = np.argsort(-counts * atoms, kind="stable")[: min(3, atoms.sum())]
    listed = ", ".join(f"{distinct[k].item():g} ({counts[k] / n:.1%})" for k in most)
    more = ", ..." if atoms.sum() > 3 else ""
    evidence = f"{column.evidence} Repeat far more often than their neighbours: {listed}{more}."
    return replace(column, atoms=distinct[atoms], evidence=evidence.strip())


def decide_float(column, distinct, counts, rules):
    column = _bounds(column, distinct)
    n = int(counts.sum())
    declared = rules.feature_type
    if not isinstance(rules.bin_width, str):
        return _declared_floats(column, rules)
    if declared in ("whole", "decimal"):
        column = _declared_grid(column, distinct, rules)
        atoms = column_atoms(column, distinct, counts, rules) if rules.searches else None
        return column if atoms is None else _with_atoms(column, distinct, counts, atoms)
    column = replace(column, feature_type="continuous", evidence="No grid holds all values.")
    if len(distinct) == 1:
        return replace(column, evidence=constant_evidence(column, counts))
    if rules.plain or rules.bounded or n < LEAST_ROWS:
        return replace(column, evidence="Floats.")
    if are_few(column.n_distinct, n) and declared is None:
        few = _few_floats(column, distinct, counts, rules)
        if few is not None:
            return few
    atoms = column_atoms(column, distinct, counts, rules)
    rest, rest_counts = distinct, counts
    if atoms is not None:
        rest, rest_counts = distinct[~atoms], counts[~atoms]
    if declared is None:
        n_rest = column.n_distinct - len(distinct) + len(rest)
        column = _gridded(column, rest, int(rest_counts.sum()), n_rest)
    else:
        column = replace(column, evidence="Declared 'continuous'.")
    return column if atoms is None else _with_atoms(column, distinct, counts, atoms)


def _declared_grid(column, distinct, rules):
    """A column of floats that is declared "whole" or "decimal"."""
    if rules.feature_type == "whole":
        return replace(column, feature_type="whole", bin_width=1.0, evidence="Declared 'whole'.")
    width = find_width(distinct)
    if width is None:
        cure = "Declare its width by Schema(bin_width=...), or declare it 'continuous'."
        raise wrong_type(column, rules, "values that lie on no grid that was found", cure)
    return replace(
        column, feature_type="decimal", bin_width=width, found=True,
        evidence=f"Declared 'decimal'; all values are multiples of {width:g}.",
    )  # fmt: skip


def _declared_floats(column, rules):
    width = rules.bin_width
    kind = {1.0: "whole", None: "continuous"}.get(width, "decimal")
    return replace(
        column, feature_type=rules.feature_type or kind, evidence="Declared by bin_width.",
        bin_width=np.nan if width is None else width,
    )  # fmt: skip


def _few_floats(column, distinct, counts, rules):
    """A column of few values as levels; None if they are better off on a line."""
    width, n = find_width(distinct), int(counts.sum())
    on_line = not rules.atoms if width is None else not are_rough(distinct / width, counts)
    if on_line:
        return None
    kind = "continuous" if width is None else "decimal"
    on_grid = "" if width is None else f", all multiples of {width:g}"
    return replace(
        column, feature_type=kind, is_category=True, levels=distinct, found=width is not None,
        bin_width=np.nan if width is None else width,
        evidence=f"{len(distinct)} distinct values in {n} rows{on_grid}: modelled as levels.",
    )  # fmt: skip


def _gridded(column, distinct, n, n_distinct):
    width = find_width(distinct) if len(distinct) > 1 else None
    if width is None:
        return column
    taken, evidence = grid_rule(distinct, n, width, n_distinct)
    column = replace(column, evidence=evidence)
    if not taken:
        # So fine a grid is a matter of digits: the model is one of a density.
        return replace(column, rounded_to=width)
    return replace(column, feature_type="decimal", bin_width=width, found=True)


def decide_floats(block, names, dtypes, rules):
    """Decide about the columns of a block of floats in which there is nothing to find.

    Parameters
    ----------
    block : ndarray of shape (n, F)
        Every column has an observed value.
    names, dtypes : list of str
    rules : list of Rules

    Returns
    -------
    list of Column or None
        None where `decide` has to look.
    """
    ordered = np.sort(block.T, axis=1)
    observed = ~np.isnan(ordered)
    n = observed.sum(1)
    new = observed[:, 1:] & (ordered[:, 1:] != ordered[:, :-1])
    n_distinct = 1 + new.sum(1)
    low, high = ordered[:, 0], ordered[np.arange(len(n)), n - 1]
    # Distinct values are no levels and no atoms. They are on a coarse grid if they fill it.
    with np.errstate(invalid="ignore"):
        step = np.where(new, np.diff(ordered, axis=1), np.inf).min(1, initial=np.inf)
        fills = step * (n_distinct - 1) >= 0.5 * (high - low)
    nothing = (n < LEAST_ROWS) | ((n_distinct == n) & ~fills) | (n_distinct == 1)
    nothing &= np.isfinite(low) & np.isfinite(high)
    return [
        Column(
            name, "continuous", dtype, low=float(low[j]), high=float(high[j]),
            n_missing=len(block) - int(n[j]), n_distinct=int(n_distinct[j]),
            missing=rule.missing if n[j] < len(block) else "ignore",
            evidence=(
                f"All {n[j]} observed values are {low[j]}." if n_distinct[j] == 1 else "Floats."
            ),
        )
        if nothing[j] and rule.searches and rule.feature_type is None else None
        for j, (name, dtype, rule) in enumerate(zip(names, dtypes, rules, strict=True))
    ]  # fmt: skip
