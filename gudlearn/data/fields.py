"""Columns of the user's as columns of numbers, and back."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gudlearn.data.grids import snap
from gudlearn.data.raw import SECONDS, RawColumn

# Beyond this difference of floats the exact difference of 64-bit integers may have wrapped.
_MAY_WRAP = 2.0**62
_MOST_LISTED = 10


@dataclass(frozen=True, eq=False)
class Field:
    """One internal column of numbers.

    Parameters
    ----------
    column : int
        Index of the user's column.
    name : str
        Name of the user's column.
    kind : {"category", "number"}
        Values of a category are its codes 0 to n_levels - 1; the code n_levels is a value that the
        first fit did not see.
    n_levels : int
        Of a category.
    gate : int
        Of a number of two natures: index of its gate, a category, else -1. The number is
        unobserved wherever the gate's code is not its last level.
    log_unit : float
        Subtracted from the log-probability of each observed entry.
    """

    column: int
    name: str
    kind: str
    n_levels: int = 0
    gate: int = -1
    log_unit: float = 0.0


def fields_of(columns):
    """The fields of columns, a tuple of `Field`.

    Parameters
    ----------
    columns : sequence of Column
    """
    fields = []
    for j, column in enumerate(columns):
        log_unit = float(np.log(column.bin_width)) if column.found else 0.0
        if column.is_category:
            fields.append(Field(j, column.name, "category", column.n_codes, log_unit=log_unit))
            continue
        gate = -1
        if column.n_codes:
            gate = len(fields)
            fields.append(Field(j, column.name, "category", column.n_codes))
        fields.append(Field(j, column.name, "number", gate=gate, log_unit=log_unit))
    return tuple(fields)


# Reading


def encode(column, raw, partial, unseen):
    """The fields of one column, a list of one or two arrays (n,) of float64.

    Parameters
    ----------
    column : Column
    raw : RawColumn
    partial : bool
        Whether a missing value is always unobserved.
    unseen : {"code", "raise"}
        What to do with levels that the first fit did not see.

    Raises
    ------
    ValueError
        If the column holds what its type does not, or an unseen level with ``unseen="raise"``.
    """
    modelled = column.missing == "model" and not partial
    if column.is_category:
        codes = _level_codes(column, raw, unseen)
        missing = codes < 0
        out = codes.astype(np.float64)
        out[codes == len(column.levels)] = column.n_codes
        out[missing] = len(column.levels) if modelled else np.nan
        return [out]
    numbers = _numbers(column, raw, unseen)
    if not column.n_codes:
        return [_on_grid(column, numbers)]
    last = column.n_codes - 1
    missing = np.isnan(numbers)
    gate = np.where(missing, last - 1 if modelled else np.nan, last)
    if column.atoms is not None:
        atoms = _shifted(column, np.asarray(column.atoms))
        order = np.minimum(np.searchsorted(atoms, numbers), len(atoms) - 1)
        is_atom = atoms[order] == numbers
        gate[is_atom] = order[is_atom]
    numbers = _on_grid(column, numbers)
    return [gate, np.where(gate == last, numbers, np.nan)]


def _on_grid(column, numbers):
    """Numbers at the nearest levels of a grid that was found: their density is the level's."""
    if not column.found:
        return numbers
    return np.rint(numbers) if column.is_time else snap(numbers, column.bin_width)


def _numbers(column, raw, unseen):
    """Values of a column on a line, float64 with NaN where missing."""
    if column.feature_type == "ordered":
        codes = _level_codes(column, raw, unseen)
        return np.where(codes < 0, np.nan, codes)
    if _is_empty(raw):
        return np.full(len(raw.values), np.nan)
    if column.kind in ("datetime", "duration"):
        raw = same_ticks(column, raw)
    else:
        raw = _as_numbers(column, raw)
    numbers = _shifted(column, raw.values)
    return numbers if raw.missing is None else np.where(raw.missing, np.nan, numbers)


def atom_numbers(column):
    """The values of a column that have a probability of their own, as numbers of its field."""
    return _shifted(column, np.asarray(column.atoms))


def _shifted(column, values):
    """Values minus the offset, in units of the step; exact where a float64 can be."""
    if values.dtype.kind in "mM":
        values = values.astype(np.int64)
    if values.dtype.kind == "f" or not (column.offset or column.is_time):
        numbers = values.astype(np.float64, copy=False)
        return numbers - float(column.offset) if column.offset else numbers
    about = values.astype(np.float64) - float(column.offset)
    # Differences modulo 2**64 are exact wherever the true ones are in the range of int64.
    offset = np.array(column.offset % 2**64, dtype=np.uint64)
    exact = (values.astype(np.uint64) - offset).view(np.int64)
    if column.step == 1:
        return np.where(np.abs(about) < _MAY_WRAP, exact.astype(np.float64), about)
    whole, rest = np.divmod(exact, column.step)
    exact = whole + rest / column.step
    return np.where(np.abs(about) < _MAY_WRAP, exact, about / column.step)


def _is_empty(raw):
    missing = raw.missing_mask()
    return missing is not None and bool(missing.all())


def _as_numbers(column, raw):
    """A numeric column as it is; levels that are numbers or booleans, as their values."""
    if raw.kind in ("integer", "float"):
        return raw
    if raw.kind == "level":
        try:
            levels = np.array([_number(v) for v in raw.levels], dtype=np.float64)
        except TypeError:
            bad = np.array([not _is_number(v) for v in raw.levels] + [False])[raw.values]
            if bad.any():
                raise _not_a_number(column, raw, int(np.argmax(bad))) from None
            levels = np.array([v if _is_number(v) else np.nan for v in raw.levels], float)
        return RawColumn("float", np.append(levels, np.nan)[raw.values])
    raise ValueError(
        f"Column {column.name!r} holds {raw.kind}s, but it held numbers in fit. Convert it to the "
        "type that was fitted."
    )


def _is_number(value):
    return isinstance(value, bool | int | float | np.bool_ | np.integer | np.floating)


def _number(value):
    if not _is_number(value):
        raise TypeError
    return value


def _not_a_number(column, raw, row):
    value = raw.levels[raw.values[row]]
    return ValueError(
        f"Column {column.name!r} holds the non-numeric value {value!r} in row {row}, but it held "
        "numbers in fit. Convert it or leave the row out."
    )


def same_ticks(column, raw):
    """A column of times in the unit of another.

    Parameters
    ----------
    column : Column
        Says the unit, and whether there is a time zone.
    raw : RawColumn

    Raises
    ------
    ValueError
        If it holds no such times.
    """
    if raw.kind != column.kind:
        raise ValueError(
            f"Column {column.name!r} held {column.kind}s in fit, but holds "
            f"{'text or levels' if raw.kind == 'level' else raw.kind + 's'} here. Convert it, for "
            "instance by pd.to_datetime."
        )
    if (raw.zone is None) != (column.zone is None):
        raise ValueError(
            f"Column {column.name!r} has the time zone {raw.zone} here, but {column.zone} in fit. "
            "Convert it to that zone."
        )
    if raw.unit == column.unit:
        return raw
    if not (raw.unit and column.unit):
        raise ValueError(
            f"Column {column.name!r} mixes periods and times. Pass the type that was fitted."
        )
    scale = SECONDS[raw.unit] / SECONDS[column.unit]
    # Whole ticks stay whole; a finer unit than that of fit is rounded to it.
    if scale >= 1:
        values = raw.values * round(scale)
    else:
        values = np.rint(raw.values / round(1 / scale)).astype(np.int64)
    return RawColumn(raw.kind, values, raw.missing, unit=column.unit, zone=raw.zone)


# Levels


def _level_codes(column, raw, unseen):
    """Indices of a column's values among its levels (n,): -1 missing, n levels where unseen."""
    n = len(column.levels)
    if _is_empty(raw):
        return np.full(len(raw.values), -1)
    if raw.kind == "level":
        codes = np.append(_places(column, np.asarray(raw.levels)), -1)
        places = np.where(codes < 0, n, codes)[raw.values]
        places = np.where(raw.values < 0, -1, places)
    else:
        raw = same_ticks(column, raw) if column.kind in ("datetime", "duration") else raw
        missing = raw.missing_mask()
        places = _places(column, raw.values)
        places = np.where(places < 0, n, places)
        if missing is not None:
            places[missing] = -1
    if unseen == "raise" and (places == n).any():
        row = int(np.argmax(places == n))
        value = raw.levels[raw.values[row]] if raw.kind == "level" else raw.values[row].item()
        known = ", ".join(repr(v) for v in _plain(column.levels[:_MOST_LISTED]))
        more = f" and {n - _MOST_LISTED} more" if n > _MOST_LISTED else ""
        raise ValueError(
            f"Column {column.name!r} holds {value!r} in row {row}, which it did not hold in fit. "
            f"Pass one of its levels: {known}{more}."
        )
    return places


def _plain(levels):
    return levels.tolist()


def _places(column, values):
    """Index of each value among the levels of a column, -1 where it is none of them."""
    levels = column.levels
    if values.dtype.kind in "iuf" and levels.dtype.kind in "iuf":
        if levels.dtype.kind == "f" and column.found:
            steps = np.rint(values.astype(np.float64) / column.bin_width)
            return _search(np.rint(levels.astype(np.float64) / column.bin_width), steps)
        if levels.dtype.kind == "f":
            # float64 values of a float32 column are compared as float32.
            values = values.astype(levels.dtype)
        return _search(levels, values)
    if values.dtype.kind in "iuf":
        values = values.astype(object)
    try:
        return pd.Index(levels.astype(object)).get_indexer(pd.Index(values, dtype=object))
    except TypeError:
        return np.full(len(values), -1)


def _search(levels, values):
    order = np.argsort(levels, kind="stable")
    places = np.minimum(np.searchsorted(levels, values, sorter=order), len(levels) - 1)
    places = order[places]
    return np.where(levels[places] == values, places, -1)


# Back


def decode(column, parts):
    """One column of the user's from its fields, a `RawColumn`.

    Parameters
    ----------
    column : Column
    parts : ndarray of shape (n_parts, n)
        One field or two, NaN where missing.
    """
    if column.is_category or column.feature_type == "ordered" and len(parts) == 1:
        return _from_codes(column, parts[0])
    numbers = parts[-1]
    last = column.n_codes - 1
    is_gap = np.zeros(len(numbers), dtype=bool)
    if len(parts) == 2:
        gate = parts[0]
        numbers = np.where(gate == last, numbers, np.nan)
        is_gap = gate != last
    if column.feature_type == "ordered":
        return _from_codes(column, numbers)
    digits = column.bin_width if column.found else column.rounded_to
    if not (column.is_time or np.isnan(digits)):
        numbers = snap(numbers, digits)
    if column.atoms is not None:
        atoms = _shifted(column, np.asarray(column.atoms))
        is_atom = is_gap & (gate < len(atoms))
        numbers[is_atom] = atoms[gate[is_atom].astype(np.int64)]
    return _from_numbers(column, numbers)


def decode_mean(column, numbers):
    """A column of one field of numbers that are means: whole numbers and grids stay floats.

    Times are rounded to ticks, levels to the nearest.

    Parameters
    ----------
    column : Column
    numbers : ndarray of shape (n,)
    """
    if column.feature_type == "ordered":
        return _from_codes(column, numbers)
    if not column.is_time:
        return RawColumn("float", numbers + float(column.offset) if column.offset else numbers)
    ticks = np.rint(numbers * column.step).astype(np.int64) + column.offset
    return RawColumn(column.kind, ticks, unit=column.unit, zone=column.zone)


def _from_codes(column, codes):
    """The raw column of codes (n,) on a line or of a category."""
    n = len(column.levels)
    missing = np.isnan(codes)
    if column.is_category:
        missing |= codes >= n
    if missing.any():
        codes = np.where(missing, 0, codes)
    codes = np.clip(np.rint(codes).astype(np.int64), 0, n - 1)
    if column.kind == "level":
        codes[missing] = -1
        return RawColumn("level", codes, levels=column.levels)
    values = column.levels[codes]
    if column.kind == "float":
        return RawColumn("float", np.where(missing, np.nan, values))
    return RawColumn(
        column.kind, values, missing if missing.any() else None, unit=column.unit, zone=column.zone
    )


def _from_numbers(column, numbers):
    missing = np.isnan(numbers)
    any_missing = bool(missing.any())
    is_whole = column.kind == "integer" and column.bin_width % 1 == 0
    if column.kind == "float" or not (is_whole or column.is_time or column.n_distinct == 1):
        return RawColumn("float", numbers + float(column.offset) if column.offset else numbers)
    step, offset = column.step, column.offset
    units = np.rint(np.where(missing, 0.0, numbers))
    # A column that starts beyond int64 is of uint64.
    dtype = np.uint64 if offset + step * units.max(initial=0.0) >= 2.0**63 else np.int64
    limits = np.iinfo(dtype)
    # What is left of the dtype's range on both sides of the offset.
    low, high = -((offset - limits.min) // step), (limits.max - offset) // step
    units = np.clip(units, _inside(low), _inside(high)).astype(np.int64)
    # Sums modulo 2**64 are right wherever the true ones are in the range of the dtype.
    values = (units.view(np.uint64) * np.uint64(step) + np.uint64(offset % 2**64)).view(dtype)
    return RawColumn(
        column.kind, values, missing if any_missing else None, unit=column.unit, zone=column.zone
    )


def _inside(bound):
    """The float64 nearest to an integer, not beyond it nor beyond int64."""
    bound = max(min(bound, 2**63 - 1), -(2**63))
    about = float(bound)
    return about if abs(int(about)) <= abs(bound) else float(np.nextafter(about, 0.0))
