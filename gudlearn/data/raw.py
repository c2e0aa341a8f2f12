"""Columns of a table as plain arrays, whatever frame they came from."""

import datetime
import decimal
from dataclasses import dataclass

import numpy as np
import pandas as pd

# Seconds in one tick of a unit of time. Periods count in their own unit, which has no seconds.
SECONDS = {
    "D": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class RawColumn:
    """One column of a table.

    Parameters
    ----------
    kind : {"level", "integer", "float", "datetime", "duration"}
    values : ndarray of shape (n,)
        Codes of levels, -1 where missing; int64 or uint64; floats with NaN where missing; or ticks
        of time, int64.
    missing : ndarray of shape (n,) of bool, or None
        Where whole numbers and ticks are missing. None means nowhere.
    levels : ndarray or None
        The values that codes stand for.
    ordered : bool
        Whether the dtype says that the levels are ordered.
    declared : bool
        Whether the dtype lists the levels, as a categorical does.
    unit : str
        Unit of the ticks: a key of `SECONDS`, or "" for periods.
    zone : str or None
        Time zone of aware datetimes.
    """

    kind: str
    values: np.ndarray
    missing: np.ndarray | None = None
    levels: np.ndarray | None = None
    ordered: bool = False
    declared: bool = False
    unit: str = ""
    zone: str | None = None

    def missing_mask(self):
        """Where the column is missing, (n,) of bool; None if nowhere."""
        if self.kind == "level":
            mask = self.values < 0
        elif self.kind == "float":
            mask = np.isnan(self.values)
        else:
            mask = self.missing
        return mask if mask is not None and mask.any() else None

    def n_missing(self):
        """Number of missing values."""
        mask = self.missing_mask()
        return 0 if mask is None else int(mask.sum())

    def count(self, distinct):
        """Number of distinct values, given all of them."""
        return len(distinct)

    def as_levels(self, distinct):
        """The distinct values as levels of a category."""
        return distinct

    def distinct(self):
        """Distinct observed values, sorted, and their counts; codes of a column of levels."""
        missing = self.missing_mask()
        values = self.values if missing is None else self.values[~missing]
        if self.kind == "level":
            counts = np.bincount(values, minlength=len(self.levels))
            return np.flatnonzero(counts), counts[counts > 0]
        values = np.sort(values)
        ends = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)
        return values[ends], np.diff(ends, prepend=-1)


def empty_column(n):
    """A column of n missing values of any type."""
    return RawColumn("float", np.full(n, np.nan))


def level_column(values, ordered=False):
    """A column of levels, in their order of appearance, from an array of hashable values.

    Raises
    ------
    TypeError
        If a value cannot be a level, such as a list.
    """
    codes, levels = pd.factorize(values)
    return RawColumn("level", codes, levels=np.asarray(levels, dtype=object), ordered=ordered)


def boolean_column(values, missing=None):
    """A column of the levels False and True from an array of booleans (n,)."""
    codes = values.astype(np.int64)
    if missing is not None:
        codes[missing] = -1
    return RawColumn("level", codes, levels=np.array([False, True], dtype=object), declared=True)


def time_column(values, zone=None):
    """A column of ticks from an array of dtype datetime64 or timedelta64."""
    kind = "datetime" if values.dtype.kind == "M" else "duration"
    unit, count = np.datetime_data(values.dtype)
    if unit not in SECONDS or count != 1:
        values = values.astype(f"{values.dtype.kind}8[{'D' if unit in 'YMW' else 'ns'}]")
        unit = np.datetime_data(values.dtype)[0]
    missing = np.isnat(values)
    ticks = values.astype(np.int64)
    if missing.any():
        ticks = np.where(missing, 0, ticks)
    return RawColumn(kind, ticks, missing if missing.any() else None, unit=unit, zone=zone)


def object_column(values, name):
    """A column from an array of Python objects (n,).

    Raises
    ------
    ValueError
        If it mixes types or time zones.
    TypeError
        If it holds objects that are no values of a table.
    """
    kind = pd.api.types.infer_dtype(values, skipna=True)
    missing = pd.isna(values)
    if kind == "empty":
        return empty_column(len(values))
    if kind == "boolean":
        return boolean_column(np.where(missing, False, values).astype(bool), missing)
    if kind == "integer":
        return _integers(values, missing, name)
    if kind in ("floating", "mixed-integer-float", "decimal"):
        return RawColumn("float", np.where(missing, np.nan, values).astype(np.float64))
    if kind in ("datetime", "datetime64", "date"):
        return _datetimes(values, kind, name)
    if kind in ("timedelta", "timedelta64"):
        return time_column(pd.to_timedelta(values).to_numpy())
    if kind in ("string", "bytes", "time", "interval", "categorical"):
        return level_column(values)
    raise _mixed(values[~missing], name)


# Types of the values that a table may hold.
_VALUES = (
    str, bytes, bool, int, float, decimal.Decimal, np.generic, datetime.date, datetime.time,
    datetime.timedelta, pd.Interval,
)  # fmt: skip


def _integers(values, missing, name):
    whole = np.where(missing, 0, values)
    for dtype in (np.int64, np.uint64):
        try:
            return RawColumn("integer", whole.astype(dtype), missing if missing.any() else None)
        except OverflowError:
            continue
    raise ValueError(
        f"Column {name!r} holds {max(values[~missing], key=abs)}, which no integer of 64 bits can "
        "hold. Pass it as floats, or as text if it is a name."
    )


def _datetimes(values, kind, name):
    if kind == "date":
        return time_column(np.array(values, dtype="M8[D]"))
    zones = {str(v.tzinfo) for v in values if getattr(v, "tzinfo", None) is not None}
    aware = sum(getattr(v, "tzinfo", None) is not None for v in values)
    observed = int((~pd.isna(values)).sum())
    if len(zones) > 1 or 0 < aware < observed:
        other = sorted(zones) if len(zones) > 1 else [*zones, "none"]
        raise ValueError(
            f"Column {name!r} mixes the time zones {other[0]} and {other[1]}. Convert them to one, "
            "for instance with pd.to_datetime(..., utc=True)."
        )
    index = pd.DatetimeIndex(values)
    zone = str(index.tz) if index.tz is not None else None
    if zone is not None:
        index = index.tz_convert("UTC").tz_localize(None)
    return time_column(index.to_numpy(), zone)


def _mixed(observed, name):
    """The error for a column whose values are of several types, or of none that is known."""
    types = [_type(value) for value in observed]
    strange = next((v for v in observed if not isinstance(v, _VALUES)), None)
    if strange is not None:
        return TypeError(
            f"Column {name!r} holds {strange!r}: an argument must be a string or a real number, "
            f"not {type(strange).__name__!r}. Convert it or drop it."
        )
    other = next((v for v, t in zip(observed, types, strict=True) if t != types[0]), observed[-1])
    return ValueError(
        f"Column {name!r} mixes types: it holds {observed[0]!r} and {other!r}. Make them all text "
        "or all numbers."
    )


def _type(value):
    for kind in (str, (bool, np.bool_), (int, float, np.integer, np.floating)):
        if isinstance(value, kind):
            return str(kind)
    return type(value)
