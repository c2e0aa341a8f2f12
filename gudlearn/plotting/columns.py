"""Columns of tables as they are drawn: numbers, times and levels."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from gudlearn.data.frames import is_frame, labels_of, read_table
from gudlearn.data.grids import find_atoms
from gudlearn.data.raw import SECONDS
from gudlearn.plotting.common import check_real_and_fake

#: Categories of more levels than this have one bar for all rare levels.
MOST_LEVELS = 12
_MOST_LETTERS = 16
# Units in which durations are drawn, in seconds.
_UNITS = {"days": 86400.0, "hours": 3600.0, "minutes": 60.0, "seconds": 1.0}


@dataclass(frozen=True, eq=False)
class DrawnColumn:
    """One column of several tables.

    Parameters
    ----------
    name : str
    kind : {"number", "category", "datetime", "duration"}
    values : list of ndarray of shape (n,)
        Of each table: numbers, codes of levels, days since 1970, or durations in `unit`. NaN is a
        missing value.
    levels : list of str
        Texts of the levels of a category, in the order in which they are drawn.
    atoms : ndarray
        Values that repeat far more often than their neighbours in the first table.
    unit : str
        Unit of durations; empty for others.
    """

    name: str
    kind: str
    values: list
    levels: list
    atoms: np.ndarray
    unit: str = ""

    @property
    def missing(self):
        """Fraction of the values of each table that are missing."""
        return [float(np.isnan(values).mean()) for values in self.values]


def drawn_columns(*tables):
    """The columns of tables that have the same ones, a list of `DrawnColumn`.

    Parameters
    ----------
    *tables : frame, or array-like of shape (n, F)
        Columns of frames are matched by name, those of arrays by position.

    Raises
    ------
    ValueError
        If tables have other columns, one column has different kinds, or a value is infinite.
    """
    read = [read_table(X if is_frame(X) else np.asarray(X)) for X in tables]
    names = _names(tables, read)
    columns = []
    for j, name in enumerate(names):
        raw = [_column(table, j, name) for table in read]
        columns.append(_drawn(str(name), raw))
    return columns


def _names(tables, read):
    """Names of the columns of the first table that has names, the same in all."""
    labels = [labels_of(X) for X in tables]
    named = next((list(found) for found in labels if found is not None), None)
    names = [f"x{j}" for j in range(len(read[0].columns))] if named is None else named
    for found, table in zip(labels, read, strict=True):
        same = len(table.columns) == len(names) if found is None else set(found) == set(names)
        if not same:
            has = f"{len(table.columns)} columns" if found is None else f"the columns {list(found)}"
            raise ValueError(
                f"The tables have different columns: {names[:10]}, and {has}. Pass the same ones."
            )
    return names


def _column(table, place, name):
    labels = table.kind.labels
    return table.columns[place if labels is None else list(labels).index(name)]


def _drawn(name, raw):
    kinds = {column.kind for column in raw if not _is_empty(column)}
    if kinds <= {"integer", "float"}:
        values = [_numbers(column) for column in raw]
        if any(np.isinf(part).any() for part in values):
            raise ValueError(f"Column {name!r} contains infinity. Drop these rows first.")
        return DrawnColumn(name, "number", values, [], _atoms(values[0]))
    if kinds == {"datetime"}:
        values = [_numbers(column, SECONDS["D"]) for column in raw]
        return DrawnColumn(name, "datetime", values, [], _atoms(values[0]))
    if kinds == {"duration"}:
        seconds = [_numbers(column, 1.0) for column in raw]
        largest = np.nanmax(np.abs(np.concatenate(seconds)))
        unit = next((u for u, length in _UNITS.items() if largest >= 2 * length), "seconds")
        values = [part / _UNITS[unit] for part in seconds]
        return DrawnColumn(name, "duration", values, [], _atoms(values[0]), unit)
    if "level" in kinds and not kinds & {"datetime", "duration"}:
        return DrawnColumn(name, "category", *_codes(raw), np.array([]))
    raise ValueError(
        f"Column {name!r} holds {' and '.join(sorted(kinds))} in different tables. Convert them to "
        "one type."
    )


def _is_empty(column):
    missing = column.missing_mask()
    return missing is not None and bool(missing.all())


def _numbers(column, seconds=None):
    """Values as floats, NaN where missing; of times in a unit given in seconds."""
    missing, values = column.missing_mask(), column.values.astype(np.float64)
    if seconds is not None and column.unit:
        values = values * (SECONDS[column.unit] / seconds)
    return values if missing is None else np.where(missing, np.nan, values)


def _atoms(values):
    distinct, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    return distinct[find_atoms(distinct, counts)] if len(distinct) else distinct


def _codes(raw):
    """Codes of each table, and the texts of the levels: in their order, or frequent ones first."""
    found = [_levels(column) for column in raw]
    known = list(dict.fromkeys(text for _, texts in found for text in texts))
    place, counts, values = {text: k for k, text in enumerate(known)}, np.zeros(len(known)), []
    for codes, texts in found:
        # The code of a missing value is -1: the last entry.
        values.append(np.array([*(place[text] for text in texts), np.nan])[codes])
        seen = values[-1][codes >= 0].astype(int)
        counts += np.bincount(seen, minlength=len(known)) / max(len(codes), 1)
    n_seen = int((counts > 0).sum())
    n_kept = n_seen if n_seen <= MOST_LEVELS else MOST_LEVELS - 1
    kept = np.argsort(-counts, kind="stable")[:n_kept]
    if any(column.ordered for column in raw) or set(known) == {"False", "True"}:
        kept = np.sort(kept)
    new = np.full(len(known) + 1, float(n_kept))
    new[kept], new[-1] = np.arange(n_kept), np.nan
    values = [new[np.where(np.isnan(v), len(known), v).astype(int)] for v in values]
    rare = [f"{n_seen - n_kept} others"] if n_seen > n_kept else []
    return values, [_short(known[k]) for k in kept] + rare


def _levels(column):
    """Codes (n,), -1 where missing, and the texts of the levels."""
    if column.kind == "level":
        return column.values, [str(level) for level in column.levels]
    missing = column.missing_mask()
    values, codes = np.unique(column.values, return_inverse=True)
    if missing is not None:
        codes = np.where(missing, -1, codes)
    return codes, [str(value) for value in values.tolist()]


def _short(text):
    return text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 1] + "…"


def format_value(column, value):
    """A value of a column as short text."""
    if np.isnan(value):
        return "missing"
    if column.kind == "category":
        return column.levels[int(value)]
    if column.kind == "datetime":
        text = str(np.datetime64("1970-01-01T00:00:00") + np.timedelta64(round(value * 86400), "s"))
        return text.removesuffix("T00:00:00").replace("T", " ")
    if column.kind == "duration":
        return str(timedelta(seconds=round(value * _UNITS[column.unit])))
    return f"{value:.5g}"


def set_scale(cell, column):
    """Set the ticks of the horizontal axis of a column of numbers or times."""
    if column.kind == "datetime":
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator(maxticks=5)
        cell.xaxis.set_major_locator(locator)
        cell.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        return
    cell.locator_params(axis="x", nbins=4)


def take(X, places):
    """Columns of a table or an array by position, in this order."""
    if not is_frame(X):
        return X[:, places]
    labels = list(labels_of(X))
    if hasattr(X, "iloc"):
        return X.iloc[:, places]
    return X.select([labels[j] for j in places])


def checked(real, fake):
    """Two samples: frames as they are, arrays of finite numbers as float64."""
    if is_frame(real) or is_frame(fake):
        return real, fake
    return check_real_and_fake(real, fake)
