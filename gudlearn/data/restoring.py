"""Columns put back into the kind of table that they came from, with its names and dtypes."""

import datetime
import decimal
from dataclasses import replace

import numpy as np
import pandas as pd

from gudlearn.data.containers import clip_to

_OF_TIME = ("datetime", "duration")
# Dtypes of floats shorter than float64, as numpy, pandas, polars and pyarrow name them.
_NARROW = {
    "float16": np.float16, "halffloat": np.float16, "float32": np.float32, "float": np.float32,
}  # fmt: skip


def to_table(kind, columns):
    """Put columns into a table.

    Parameters
    ----------
    kind : TableKind
    columns : list of RawColumn

    Returns
    -------
    ndarray of shape (n, F), or frame of pandas, polars or pyarrow
    """
    if kind.module == "numpy":
        return _to_array(kind, columns)
    if kind.module == "pandas":
        return _to_pandas(kind, columns)
    if kind.module == "polars":
        import polars as pl

        parts = zip(kind.labels, columns, kind.dtypes, kind.objects, strict=True)
        return pl.DataFrame([_to_polars(pl, *part) for part in parts])
    import pyarrow as pa

    parts = zip(columns, kind.dtypes, kind.objects, strict=True)
    return pa.table([_to_arrow(pa, *part) for part in parts], names=list(kind.labels))


def is_of_floats(kind):
    """Whether a table is an array, or a frame of pandas, of one dtype of floats."""
    first = kind.dtypes[0]
    floats = isinstance(first, np.dtype) and first.kind == "f"
    return floats and kind.module in ("numpy", "pandas") and set(kind.dtypes) == {first}


def to_floats(kind, values):
    """Put numbers (n, F) into a table of one dtype of floats."""
    values = cast(values, kind.dtypes[0])
    return values if kind.module == "numpy" else pd.DataFrame(values, columns=kind.labels)


def ticks(column):
    """A column of time as an array of dtype datetime64 or timedelta64, NaT where missing."""
    letter = "M" if column.kind == "datetime" else "m"
    values = column.values.astype(np.int64).view(f"{letter}8[{column.unit}]")
    if column.missing is not None:
        values = np.where(column.missing, np.array("NaT", values.dtype), values)
    return values


def _clock_times(column):
    """A column of nanoseconds since midnight as a list of times of day, None where missing."""
    micros = np.clip(column.values // 1000, 0, 86400 * 10**6 - 1)
    midnight = datetime.datetime(2000, 1, 1)
    times = [(midnight + datetime.timedelta(microseconds=int(k))).time() for k in micros]
    missing = column.missing_mask()
    if missing is None:
        return times
    return [None if gap else t for t, gap in zip(times, missing, strict=True)]


def _taken(column, null=None):
    """The levels of a column's codes, an array of objects."""
    levels = np.empty(len(column.levels) + 1, dtype=object)
    levels[:-1] = column.levels
    levels[-1] = null
    return levels[column.values]


def held_by(column, dtype):
    """A column whose floats are rounded to those of a table's dtype."""
    narrow = _narrow(dtype)
    if column.kind != "float" or narrow is None:
        return column
    return replace(column, values=cast(column.values, np.dtype(narrow)).astype(np.float64))


def is_short(dtype):
    """Whether a table's dtype is one of floats of less than 64 bits."""
    return _narrow(dtype) is not None


def _narrow(dtype):
    return _NARROW.get(str(dtype).lower().removesuffix("[pyarrow]"))


def cast(values, dtype):
    """Numbers in a numeric dtype, clipped to its range; whole numbers are rounded.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Integers or floats.
    dtype : numpy.dtype
    """
    if values.dtype.kind in "iu" and dtype.kind in "iub":
        limits = np.iinfo(dtype) if dtype.kind != "b" else None
        low, high = (0, 1) if limits is None else (limits.min, limits.max)
        of = np.iinfo(values.dtype)
        return np.clip(values, max(low, of.min), min(high, of.max)).astype(dtype)
    if values.dtype == dtype:
        return values
    whole = np.rint(values) if dtype.kind in "iub" else values
    return clip_to(dtype, whole).astype(dtype)


# Arrays


def _to_array(kind, columns):
    dtype = kind.dtypes[0]
    if dtype.kind in "OUS":
        parts = [_as_objects(c, o) for c, o in zip(columns, kind.objects, strict=True)]
        out = np.empty((len(parts[0]), len(parts)), dtype=object)
        for j, part in enumerate(parts):
            out[:, j] = part
        return out if dtype.kind == "O" else out.astype(dtype)
    parts = [_numpy_column(c, dtype, None) for c in columns]
    if len({part.dtype for part in parts}) > 1:
        return np.column_stack(parts)
    out = np.empty((len(parts[0]), len(parts)), dtype=parts[0].dtype)
    for j, part in enumerate(parts):
        out[:, j] = part
    return out


def _numpy_column(column, dtype, objects):
    """A column as an array of a dtype of numpy, or of the nearest that holds its values."""
    missing = column.missing_mask()
    if dtype.kind == "O":
        return _as_objects(column, objects)
    if column.kind in _OF_TIME:
        return ticks(column).astype(dtype)
    if column.kind == "level":
        return _numpy_levels(column, dtype, missing)
    if missing is None:
        whole = column.kind == "integer" or dtype.kind == "f"
        return cast(column.values, dtype) if whole else column.values.astype(np.float64)
    if dtype.kind == "f":
        values = np.where(missing, np.nan, column.values)
        return cast(values, dtype)
    return np.where(missing, np.nan, column.values.astype(np.float64))


def _numpy_levels(column, dtype, missing):
    """Levels as an array of a dtype of numbers, or as objects where a boolean is missing."""
    if missing is None:
        return np.asarray(column.levels).astype(dtype)[column.values]
    if dtype.kind == "b":
        return _taken(column)
    return _taken(column, np.nan).astype(dtype if dtype.kind == "f" else np.float64)


def _as_objects(column, objects):
    """A column as Python objects of the kind that was read."""
    kind, null = objects or ("", None)
    missing = column.missing_mask()
    if column.kind == "level":
        return _taken(column, null)
    if column.kind in _OF_TIME:
        values = ticks(column)
        if kind == "date":
            out = values.astype("M8[D]").astype(object)
        elif column.zone is not None:
            index = pd.DatetimeIndex(values).tz_localize("UTC").tz_convert(column.zone)
            out = index.astype(object).to_numpy()
        elif kind in ("datetime", "timedelta"):
            out = values.astype(f"{values.dtype.kind}8[us]").astype(object)
        else:
            out = pd.Series(values).astype(object).to_numpy()
        return out if missing is None else np.where(missing, null, out)
    if kind == "decimal":
        out = np.array([decimal.Decimal(repr(v)) for v in column.values.tolist()], dtype=object)
    else:
        # Python's own numbers, and not numpy's.
        out = column.values.astype(object)
    if missing is not None:
        out[missing] = null
    return out


# pandas


def _to_pandas(kind, columns):
    parts = zip(columns, kind.dtypes, kind.objects, strict=True)
    values = {j: _pandas_column(*part) for j, part in enumerate(parts)}
    frame = pd.DataFrame(values, copy=False)
    return frame.set_axis(kind.labels, axis=1)


def _pandas_column(column, dtype, objects):
    if isinstance(dtype, np.dtype):
        values = _numpy_column(column, dtype, objects)
        # pandas would look for another dtype of its objects.
        return pd.Series(values, dtype=object) if values.dtype == object else values
    if isinstance(dtype, pd.CategoricalDtype):
        places = dtype.categories.get_indexer(pd.Index(column.levels, dtype=dtype.categories.dtype))
        codes = np.append(places, -1)[column.values]
        return pd.Categorical.from_codes(codes, dtype=dtype)
    if isinstance(dtype, pd.DatetimeTZDtype):
        index = pd.DatetimeIndex(ticks(column)).tz_localize("UTC").tz_convert(dtype.tz)
        return index.astype(dtype)
    missing = column.missing_mask()
    if isinstance(dtype, pd.PeriodDtype):
        ordinals = column.values.astype(np.int64)
        out = pd.Series(pd.PeriodIndex.from_ordinals(ordinals, freq=dtype.freq))
        return out if missing is None else out.mask(missing)
    if column.kind == "level":
        if dtype.kind == "b" and not isinstance(dtype, pd.SparseDtype):
            values = _taken(column, False).astype(bool)
            out = pd.Series(values).astype(dtype)
            return out if missing is None else out.mask(missing)
        levels = pd.Series(np.asarray(column.levels)).astype(dtype)
        return levels.array.take(column.values, allow_fill=True)
    if isinstance(dtype, pd.ArrowDtype) and dtype.type is datetime.time:
        return pd.array(_clock_times(column), dtype=dtype)
    if column.kind in _OF_TIME:
        values = pd.DatetimeIndex(ticks(column)) if column.kind == "datetime" else ticks(column)
        if column.zone is not None:
            values = values.tz_localize("UTC").tz_convert(column.zone)
        return pd.Series(values).astype(dtype)
    return _pandas_numbers(column, dtype, missing)


def _pandas_numbers(column, dtype, missing):
    if isinstance(dtype, pd.SparseDtype):
        return pd.Series(_numpy_column(column, dtype.subtype, None)).astype(dtype)
    if dtype.kind in "iu" and column.kind == "float":
        return _numpy_column(column, np.dtype(float), None)
    values = column.values if missing is None else np.where(missing, 0, column.values)
    if isinstance(dtype, pd.ArrowDtype) and dtype.kind not in "iuf":
        # Decimals: their number of digits is the dtype's.
        digits = dtype.pyarrow_dtype.scale
        texts = [decimal.Decimal(f"{v:.{digits}f}") for v in values.tolist()]
        out = pd.Series(pd.array(texts, dtype=dtype))
    else:
        out = pd.Series(cast(values, np.dtype(dtype.numpy_dtype)), dtype=dtype)
    return out if missing is None else out.mask(missing)


# polars and pyarrow


def _to_polars(pl, name, column, dtype, objects):
    missing = column.missing_mask()
    if column.kind == "level":
        levels = pl.Series(name, list(column.levels))
        if not len(levels):
            levels = pl.Series(name, [None])
        codes = pl.Series(column.values)
        if missing is not None:
            codes = codes.set(pl.Series(missing), None)
        return _cast_levels(pl, levels, dtype).gather(codes)
    if column.kind == "float" and dtype.is_float():
        out = pl.Series(name, cast(column.values, np.dtype(str(dtype).lower())))
        return out if missing is None or objects else out.fill_nan(None)
    if column.kind == "float" and dtype.is_integer():
        out = pl.Series(name, column.values)
        return out if missing is None else out.fill_nan(None)
    values = column.values
    if dtype.is_integer():
        values = cast(values, np.dtype(str(dtype).lower()))
    out = pl.Series(name, values)
    if missing is not None:
        out = out.set(pl.Series(missing), None)
    if dtype == pl.Date:
        out = out.cast(pl.Int32)
    return out.cast(dtype)


def _cast_levels(pl, levels, dtype):
    return levels if levels.dtype == dtype else levels.cast(dtype)


def _to_arrow(pa, column, dtype, objects):
    missing = column.missing_mask()
    if column.kind == "level":
        levels = pa.array(list(column.levels))
        codes = pa.array(column.values, mask=missing)
        if pa.types.is_dictionary(dtype):
            levels = levels.cast(dtype.value_type)
            codes = codes.cast(dtype.index_type)
            return pa.DictionaryArray.from_arrays(codes, levels, ordered=dtype.ordered)
        return levels.cast(dtype).take(codes)
    if column.kind == "float":
        values = column.values
        if pa.types.is_decimal(dtype):
            values = np.where(np.isnan(values), 0.0, values)
            texts = [decimal.Decimal(f"{v:.{dtype.scale}f}") for v in values.tolist()]
            return pa.array(
                [None if missing is not None and missing[k] else t for k, t in enumerate(texts)],
                type=dtype,
            )
        mask = None if objects else missing
        if not pa.types.is_floating(dtype):
            return pa.array(values, mask=missing)
        return pa.array(cast(values, np.dtype(dtype.to_pandas_dtype())), mask=mask, type=dtype)
    values = column.values
    if pa.types.is_integer(dtype):
        values = cast(values, np.dtype(dtype.to_pandas_dtype()))
        return pa.array(values, mask=missing, type=dtype)
    if pa.types.is_time(dtype):
        return pa.array(_clock_times(column), type=dtype)
    if pa.types.is_date32(dtype):
        return pa.array(values.astype(np.int32), mask=missing).cast(dtype)
    return pa.array(values, mask=missing).cast(dtype)
