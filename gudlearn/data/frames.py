"""Tables of any kind, arrays or frames of pandas, polars and pyarrow, read column by column."""

from dataclasses import dataclass

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

from gudlearn.data.raw import (
    RawColumn,
    boolean_column,
    level_column,
    object_column,
    time_column,
)


@dataclass(frozen=True, eq=False)
class TableKind:
    """What is needed to put columns back into the kind of table that they came from.

    Parameters
    ----------
    module : {"numpy", "pandas", "polars", "pyarrow"}
    labels : pandas.Index, list of str, or None
        Labels of the columns; None for an array.
    dtypes : list
        The table's own dtype of each column.
    objects : tuple
        What the objects of a column of dtype object are, with the object that stands for a missing
        value; None for other columns.
    """

    module: str
    labels: object
    dtypes: list
    objects: tuple


@dataclass(frozen=True, eq=False)
class Table:
    """A table that was read.

    Parameters
    ----------
    kind : TableKind
    columns : sequence of RawColumn
    n_rows : int
    block : ndarray of shape (n, F) or None
        The array of floats that the table is, if it is one.
    sample : Table or None
        Some of the rows, where columns are summaries (`StreamedColumn`) of more than memory holds.
    """

    kind: TableKind
    columns: list
    n_rows: int
    block: np.ndarray | None = None
    sample: object = None

    @property
    def in_memory(self):
        """The rows that are in memory, a `Table`."""
        return self if self.sample is None else self.sample


class FloatColumns:
    """The columns of an array of floats (n, F) as a sequence, made when they are asked for.

    Parameters
    ----------
    block : ndarray of shape (n, F)
    """

    def __init__(self, block):
        self.block = block

    def __len__(self):
        return self.block.shape[1]

    def __getitem__(self, j):
        return RawColumn("float", self.block[:, j])

    def __iter__(self):
        return (RawColumn("float", column) for column in self.block.T)


def is_frame(X):
    """Whether X is a frame with columns of their own dtypes, and not an array."""
    return hasattr(X, "columns") and hasattr(X, "shape")


def read_table(X, names=None):
    """Read the columns of a table.

    Parameters
    ----------
    X : Table, ndarray of shape (n, F), or frame of pandas, polars or pyarrow
    names : list of str or None
        Names of the columns, for messages.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        If two columns have one name, or a column mixes types.
    TypeError
        If X is a lazy frame or no table, or a column holds what is no value.
    """
    if isinstance(X, Table):
        return X
    if isinstance(X, pd.DataFrame):
        return _read_pandas(X, names)
    if is_frame(X):
        return _read_frame(X, names)
    return _read_array(np.asarray(X), names)


def labels_of(X):
    """Labels of the columns of a frame as an index, each of them once; None for an array.

    Raises
    ------
    ValueError
    """
    if not is_frame(X):
        return None
    if isinstance(X, pd.DataFrame):
        index = X.columns
    else:
        index = pd.Index(getattr(X, "column_names", X.columns), dtype=object)
    if not index.is_unique:
        repeated = sorted({str(name) for name in index[index.duplicated()]})
        raise ValueError(
            f"X has columns of the same name: {repeated}. Give every column its own name."
        )
    return index


def in_order(X, names):
    """A frame with the columns of these names in this order, if it has just these; else X."""
    if not is_frame(X):
        return X
    labels = list(labels_of(X))
    if labels == list(names) or set(labels) != set(names):
        return X
    return X[list(names)] if isinstance(X, pd.DataFrame) else X.select(list(names))


def take_columns(X, mask):
    """The columns (F,) of a frame or an array that a mask selects."""
    if isinstance(X, pd.DataFrame):
        return X.loc[:, mask]
    if is_frame(X):
        return X.select([label for label, kept in zip(labels_of(X), mask, strict=True) if kept])
    return X[:, mask]


def with_columns(X, new):
    """A frame with other columns of numbers.

    Parameters
    ----------
    X : frame of pandas, polars or pyarrow
    new : dict of int to ndarray of shape (n,)
        New columns by position.
    """
    if isinstance(X, pd.DataFrame):
        out = X.copy(deep=False)
        for j, values in new.items():
            out.isetitem(j, values)
        return out
    frame, labels = nw.from_native(X, eager_only=True), list(labels_of(X))
    columns = [
        nw.new_series(labels[j], values, backend=frame.implementation) for j, values in new.items()
    ]
    return frame.with_columns(*columns).to_native()


# Arrays


def _read_array(X, names):
    names = names or [f"x{j}" for j in range(X.shape[1])]
    kind = TableKind("numpy", None, [X.dtype] * len(names), (None,) * len(names))
    if X.dtype.kind == "f":
        return Table(kind, FloatColumns(X), len(X), X)
    if X.dtype.kind in "iub":
        return Table(kind, [_plain(column) for column in X.T], len(X))
    values = X if X.dtype == object else X.astype(object)
    columns = [object_column(values[:, j], name) for j, name in enumerate(names)]
    objects = tuple(_objects(values[:, j]) for j in range(len(names)))
    return Table(TableKind("numpy", None, [X.dtype] * len(names), objects), columns, len(X))


def _plain(values):
    """A column from a numeric array (n,)."""
    kind = values.dtype.kind
    if kind == "b":
        return boolean_column(values)
    if kind == "f":
        return RawColumn("float", values)
    wide = np.uint64 if values.dtype == np.uint64 and values.max(initial=0) >= 2**63 else np.int64
    return RawColumn("integer", values.astype(wide))


def _objects(values):
    """What the objects of a column are, and the one that stands for a missing value."""
    missing = pd.isna(values)
    null = values[np.argmax(missing)] if missing.any() else None
    observed = values[~missing]
    kind = pd.api.types.infer_dtype(observed, skipna=True) if len(observed) else "empty"
    if kind == "datetime" and isinstance(observed[0], pd.Timestamp):
        kind = "timestamp"
    if kind == "timedelta" and isinstance(observed[0], pd.Timedelta):
        kind = "timestamp"
    return kind, null


# pandas


def _read_pandas(X, names):
    labels = labels_of(X).copy()
    names = names or [str(label) for label in labels]
    dtypes = list(X.dtypes)
    columns, objects = [None] * len(dtypes), [None] * len(dtypes)
    groups = {}
    for j, dtype in enumerate(dtypes):
        if isinstance(dtype, np.dtype) and dtype.kind in "iufb":
            groups.setdefault(dtype, []).append(j)
    for dtype, places in groups.items():
        whole = len(places) == len(dtypes)
        values = X.to_numpy() if whole else X.iloc[:, places].to_numpy()
        if whole and dtype.kind == "f":
            kind = TableKind("pandas", labels, dtypes, tuple(objects))
            return Table(kind, FloatColumns(values), len(X), values)
        for k, j in enumerate(places):
            columns[j] = _plain(values[:, k])
    for j, dtype in enumerate(dtypes):
        if columns[j] is None:
            series = X.iloc[:, j]
            columns[j] = _pandas_column(series, dtype, names[j])
            if dtype.kind == "O" and isinstance(dtype, np.dtype):
                objects[j] = _objects(series.to_numpy())
    return Table(TableKind("pandas", labels, dtypes, tuple(objects)), columns, len(X))


def _pandas_column(series, dtype, name):
    if isinstance(dtype, pd.CategoricalDtype):
        levels = dtype.categories
        levels = levels.to_numpy() if levels.dtype.kind in "iuf" else levels.astype(object)
        return RawColumn(
            "level", series.cat.codes.to_numpy().astype(np.int64), levels=np.asarray(levels),
            ordered=dtype.ordered, declared=True,
        )  # fmt: skip
    if isinstance(dtype, pd.DatetimeTZDtype):
        plain = series.dt.tz_convert("UTC").dt.tz_localize(None)
        return time_column(plain.to_numpy(), str(dtype.tz))
    if isinstance(dtype, pd.PeriodDtype):
        missing = series.isna().to_numpy()
        ticks = np.where(missing, 0, series.array.asi8)
        return RawColumn("datetime", ticks, missing if missing.any() else None)
    if isinstance(dtype, pd.StringDtype | pd.IntervalDtype):
        return level_column(series)
    if isinstance(dtype, pd.SparseDtype):
        values = np.asarray(series)
        return _plain(values) if values.dtype.kind in "iufb" else object_column(values, name)
    if isinstance(dtype, pd.ArrowDtype):
        return _narwhals_column(nw.from_native(series, series_only=True), name)
    if hasattr(dtype, "numpy_dtype"):
        return _masked(series, dtype)
    if dtype.kind in "mM":
        return time_column(series.to_numpy())
    if dtype.kind == "O":
        return object_column(series.to_numpy(), name)
    raise TypeError(
        f"Column {name!r} has the dtype {dtype}, which is no type of a table's values. Convert it "
        "or drop it."
    )


def _masked(series, dtype):
    """A column of one of pandas' nullable dtypes."""
    missing = series.isna().to_numpy()
    if dtype.kind == "f":
        return RawColumn("float", series.to_numpy(dtype=dtype.numpy_dtype, na_value=np.nan))
    filled = series.to_numpy(dtype=dtype.numpy_dtype, na_value=0)
    if dtype.kind == "b":
        return boolean_column(filled, missing)
    return _with_missing(_plain(filled), missing)


def _with_missing(column, missing):
    if not missing.any():
        return column
    return RawColumn(column.kind, column.values, missing)


# Everything that narwhals reads


def _read_frame(X, names):
    try:
        frame = nw.from_native(X, eager_only=True)
    except TypeError as error:
        raise TypeError(
            f"X is a {type(X).__name__}, which is no table that is in memory. Collect it, or pass "
            "a frame of pandas, polars or pyarrow, or an array."
        ) from error
    labels = list(labels_of(X))
    names = names or [str(label) for label in labels]
    columns = [
        _narwhals_column(frame[label], name) for label, name in zip(labels, names, strict=True)
    ]
    native = frame.implementation
    if not (native.is_polars() or native.is_pyarrow()):
        raise TypeError(
            f"X is a {type(X).__name__} of {native}. Convert it to a frame of pandas, polars or "
            "pyarrow."
        )
    if native.is_polars():
        dtypes = list(X.dtypes)
        module = "polars"
    else:
        dtypes = list(X.schema.types)
        module = "pyarrow"
    nan_is_missing = tuple(
        ("nan", None) if dtype.is_float() and not frame[label].null_count() else None
        for label, dtype in frame.schema.items()
    )
    return Table(TableKind(module, labels, dtypes, nan_is_missing), columns, len(frame))


def _narwhals_column(series, name):
    dtype = series.dtype
    missing = series.is_null().to_numpy().astype(bool) if series.null_count() else None
    if dtype.is_float() or dtype.is_decimal():
        series = series if dtype.is_float() else series.cast(nw.Float64)
        filled = series if missing is None else series.fill_null(float("nan"))
        return RawColumn("float", np.asarray(filled.to_numpy()))
    if dtype.is_integer():
        filled = series if missing is None else series.fill_null(0)
        column = _plain(np.asarray(filled.to_numpy()))
        return column if missing is None else _with_missing(column, missing)
    if dtype == nw.Boolean:
        filled = series if missing is None else series.fill_null(False)
        return boolean_column(np.asarray(filled.to_numpy()).astype(bool), missing)
    if dtype in (nw.String, nw.Categorical, nw.Enum, nw.Binary):
        return _narwhals_levels(series, dtype)
    if dtype in (nw.Datetime, nw.Duration, nw.Date):
        return _narwhals_times(series, dtype)
    if dtype == nw.Time:
        return RawColumn("duration", _clock_ticks(series.to_list(), missing), missing, unit="ns")
    if dtype == nw.Unknown and series.null_count() == len(series):
        return RawColumn("float", np.full(len(series), np.nan))
    if dtype == nw.Object:
        return object_column(np.array(series.to_list(), dtype=object), name)
    raise TypeError(
        f"Column {name!r} has the dtype {dtype}, which is no type of a table's values. Convert it "
        "or drop it."
    )


def _clock_ticks(times, missing):
    """Nanoseconds since midnight of times of day, (n,) of int64; 0 where missing."""
    if missing is not None:
        times = [None if gap else t for t, gap in zip(times, missing, strict=True)]
    seconds = [0 if t is None else 3600 * t.hour + 60 * t.minute + t.second for t in times]
    micros = [0 if t is None else t.microsecond for t in times]
    return 10**9 * np.array(seconds, dtype=np.int64) + 1000 * np.array(micros, dtype=np.int64)


def _narwhals_levels(series, dtype):
    declared = None
    if dtype == nw.Enum:
        declared = np.array(dtype.categories, dtype=object)
    if dtype != nw.Binary:
        series = series.cast(nw.String)
    column = level_column(np.array(series.to_numpy(), dtype=object))
    if declared is None:
        return column
    places = pd.Index(declared).get_indexer(column.levels)
    codes = np.append(places, -1)[column.values]
    return RawColumn("level", codes, levels=declared, declared=True)


def _narwhals_times(series, dtype):
    zone = dtype.time_zone if dtype == nw.Datetime else None
    if dtype == nw.Date:
        values = np.asarray(series.to_numpy())
        if values.dtype.kind == "O":
            values = np.where(pd.isna(values), None, values)
        values = values.astype("M8[D]")
    else:
        kind = "M" if dtype == nw.Datetime else "m"
        if zone is not None:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        values = np.asarray(series.to_numpy()).astype(f"{kind}8[{dtype.time_unit}]")
    return time_column(values, zone)
