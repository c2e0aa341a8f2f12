"""The type of each column, found from its values or declared."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd

from gudlearn.data.column_types import (
    EXACT,
    LEAST_ROWS,
    Column,
    column_atoms,
    constant_evidence,
    infinite_message,
    wrong_type,
)
from gudlearn.data.number_types import decide_float, decide_whole
from gudlearn.data.raw import SECONDS

_DATE = re.compile(r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?!\d)")
# Ticks of these lengths in seconds are the resolutions that are looked for.
_RESOLUTIONS = (86400.0, 3600.0, 60.0, 1.0, 1e-3, 1e-6, 1e-9)


def decide(raw, name, dtype, rules):
    """Decide about one column.

    Parameters
    ----------
    raw : RawColumn or StreamedColumn
        With at least one observed value.
    name, dtype : str
    rules : Rules

    Returns
    -------
    Column

    Raises
    ------
    ValueError
        If the column cannot have the declared type, has infinite values, is an identifier, or has
        whole numbers that a float64 does not hold.
    """
    n_missing = raw.n_missing()
    distinct, counts = raw.distinct()
    if raw.kind == "float" and not np.isfinite(distinct[[0, -1]]).all():
        raise ValueError(infinite_message(name, raw.values))
    column = Column(
        name, "", str(dtype), n_missing=n_missing, n_distinct=raw.count(distinct), kind=raw.kind,
        unit=raw.unit, zone=raw.zone, ordered=raw.ordered, declared=raw.declared,
        missing=rules.missing if n_missing else "ignore",
    )  # fmt: skip
    if rules.feature_type in ("category", "ordered"):
        return _levels(column, raw, distinct, rules, f"Declared {rules.feature_type!r}.")
    if raw.kind == "level":
        return _level_column(column, raw, distinct, counts, rules)
    if raw.kind in ("datetime", "duration"):
        return _times(column, distinct, counts, rules)
    if rules.feature_type in ("datetime", "duration"):
        raise wrong_type(column, rules, "numbers", "Convert them, for instance by pd.to_datetime.")
    if raw.kind == "integer":
        return decide_whole(column, distinct, counts, rules)
    return decide_float(column, distinct, counts, rules)


# Levels


def _are_dates(texts):
    """Whether all texts begin as 31.12.2024, 12/31/2024 or 2024-12-31 do, and are times."""
    if not all(_DATE.match(text) for text in texts):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        times = pd.to_datetime(pd.Series(texts), format="mixed", errors="coerce", utc=True)
    return bool(times.notna().all())


def _level_column(column, raw, distinct, counts, rules):
    if rules.feature_type is not None:
        cure = "Declare it 'category' or 'ordered', or convert it to numbers or times."
        raise wrong_type(column, rules, f"{raw.levels[distinct[0]]!r}", cure)
    n = int(counts.sum())
    textual = not raw.declared and isinstance(raw.levels[distinct[0]], str)
    if textual and len(distinct) == n >= LEAST_ROWS:
        examples = ", ".join(repr(raw.levels[k]) for k in distinct[:2])
        if _are_dates([raw.levels[k] for k in distinct[:20]]):
            raise ValueError(
                f"Column {column.name!r} holds dates as text, such as {examples}. Convert them, "
                f"for instance by pd.to_datetime(X[{column.name!r}])."
            )
        raise ValueError(
            f"Column {column.name!r} holds {n} different texts, such as {examples}: it looks like "
            "an identifier, which has no distribution to learn. Drop it, or pass "
            f"Schema(feature_types={{{column.name!r}: 'category'}})."
        )
    what = "Its dtype lists its levels" if raw.declared else "It holds text"
    if raw.ordered:
        what += " in their order"
    return _levels(column, raw, distinct, rules, f"{what}: {len(distinct)} occur.")


def _levels(column, raw, distinct, rules, evidence):
    """A column of categories or of ordered levels, from levels or any other values."""
    ordered = rules.feature_type == "ordered" or (rules.feature_type is None and raw.ordered)
    if raw.kind != "level":
        levels = raw.as_levels(distinct)
    elif ordered and raw.declared:
        levels = raw.levels
    else:
        seen = [raw.levels[k] for k in distinct]
        # Declared levels have an order of their own; others are sorted, if they can be.
        levels = seen if raw.declared else _sorted(seen)
        levels = np.asarray(levels) if raw.levels.dtype != object else _objects(levels)
    return replace(
        column, feature_type="ordered" if ordered else "category", levels=levels, bin_width=1.0,
        is_category=not ordered, evidence=evidence,
    )  # fmt: skip


def _sorted(values):
    try:
        return sorted(values)
    except TypeError:
        return values


def _objects(values):
    """A list as an array of objects, not of what numpy makes of them."""
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


# Times


def _times(column, distinct, counts, rules):
    if rules.feature_type not in (None, column.kind):
        cure = f"Leave it out, declare it {column.kind!r}, or convert it to numbers."
        raise wrong_type(column, rules, f"{column.kind}s", cure)
    if not isinstance(rules.bin_width, str) and rules.bin_width is not None:
        raise ValueError(
            f"bin_width names column {column.name!r}, which holds times: their resolution is "
            "found. Leave it out."
        )
    step, length, note = _resolution(column.unit, distinct)
    offset = int(distinct[0])
    column = replace(
        column, feature_type=column.kind, low=_as_time(column, distinct[:1])[0],
        high=_as_time(column, distinct[-1:])[0], offset=offset, step=step, bin_width=length,
        found=True, evidence=note,
    )  # fmt: skip
    if len(distinct) == 1:
        return replace(column, evidence=constant_evidence(column, counts))
    atoms = None
    if rules.searches:
        atoms = column_atoms(column, distinct, counts, rules)
    if atoms is None:
        return column
    return replace(
        column, atoms=_as_time(column, distinct[atoms]),
        evidence=f"{note} {int(atoms.sum())} of them repeat far more often than their neighbours.",
    )  # fmt: skip


def _as_time(column, values):
    """Ticks as dates or durations; periods stay numbers."""
    if not column.unit:
        return values
    letter = "M" if column.kind == "datetime" else "m"
    return values.astype(np.int64).view(f"{letter}8[{column.unit}]")


def _resolution(unit, distinct):
    """Ticks in a unit of the resolution, its length in seconds, and a sentence about it."""
    if not unit:
        return 1, 1.0, "Periods, counted one by one."
    tick = SECONDS[unit]
    # Differences of int64 may wrap; those from the smallest value are taken without sign.
    apart = (distinct - distinct[0]).view(np.uint64)
    common = int(np.gcd.reduce(apart))
    for length in _RESOLUTIONS:
        step = round(length / tick)
        if step >= 1 and common % step == 0 and length / tick > 0.5:
            break
    if int(apart[-1]) // step > EXACT:
        step, length = round(1e-6 / tick), 1e-6
        note = "Times over a long range, kept to the nearest microsecond."
        return step, length, note
    name = {86400.0: "day", 3600.0: "hour", 60.0: "minute", 1.0: "second", 1e-3: "millisecond"}
    name |= {1e-6: "microsecond", 1e-9: "nanosecond"}
    return step, length, f"All times are whole {name[length]}s apart."
