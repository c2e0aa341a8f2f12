r"""Mixed tables as numbers: the columns of several frames, matched by name and coded alike.

A column is a number (also a datetime or a duration, in microseconds) or a category (text, booleans,
pandas' category dtype). Categories become the places of their values in the sorted union of the
levels of all frames, so that every metric sees the same codes whatever the dtypes. A missing value
of either kind is NaN.
"""

from dataclasses import dataclass
from numbers import Integral

import narwhals as nw
import numpy as np
import pandas as pd
from pandas.api import types

from gudlearn._random import derive_seed

# What `pandas.api.types.infer_dtype` calls a column of objects, and the kind of column it is.
_KINDS = {
    **dict.fromkeys(("integer", "floating", "mixed-integer-float", "decimal"), "numbers"),
    **dict.fromkeys(("datetime64", "datetime", "date"), "datetimes"),
    **dict.fromkeys(("timedelta64", "timedelta"), "durations"),
    "boolean": "categories",
    "categorical": "categories",
    "empty": "missing values",
}
# The kinds that two frames may give one column, and what it is then.
_TOGETHER = [
    *[({kind}, kind) for kind in ("numbers", "datetimes", "zoned datetimes", "durations")],
    ({"categories", "text"}, "categories"),
    ({"categories", "numbers"}, "categories"),
]
#: Largest number of different levels that scikit-learn's histogram trees take natively.
MOST_LEVELS = 255


@dataclass(frozen=True, eq=False)
class MixedTable:
    """The rows of one frame as numbers.

    Parameters
    ----------
    names : list
        Names of the columns, in the order of the first frame.
    is_category : ndarray of shape (F,), bool
    levels : list
        For each category its sorted levels, the same for all frames; None for a number.
    X : ndarray of shape (n, F), dtype float64
        Numbers, and codes of levels; NaN where a value is missing.
    n_rows : int
        Number of rows of the frame, of which X has the drawn ones.
    kinds : tuple of str
        What each column is: "numbers", "datetimes", "zoned datetimes", "durations" or "categories".
    """

    names: list
    is_category: np.ndarray
    levels: list
    X: np.ndarray
    n_rows: int
    kinds: tuple

    def __len__(self):
        return len(self.X)


def generator_of(random_state):
    """Random numbers of a metric from a `random_state` of scikit-learn."""
    return np.random.default_rng(derive_seed(random_state))


def read_tables(max_rows, rng, **frames):
    """Read frames of the same columns, each with at most `max_rows` rows drawn without replacement.

    Parameters
    ----------
    max_rows : int or None
    rng : numpy.random.Generator
    **frames : pandas, polars or pyarrow table, or array-like of shape (n, F)
        By the name that messages give them. Arrays have no names: their columns are taken by place.

    Returns
    -------
    list of MixedTable

    Raises
    ------
    ValueError
        If a frame has no rows, names or kinds of columns differ, a name occurs twice, or a number
        is infinite.
    TypeError
        If values cannot be compared.
    """
    if max_rows is not None:
        check_whole("max_rows", max_rows, 2)
    opened = {name: _open(name, frame, max_rows, rng) for name, frame in frames.items()}
    names = _common_names({name: columns for name, (columns, _) in opened.items()})
    coded = []
    for j, column in enumerate(names):
        parts = {
            name: columns[column] if column in columns else columns[j]
            for name, (columns, _) in opened.items()
        }
        coded.append(_coded(column, parts))
    kinds, levels = (tuple(part[k] for part in coded) for k in (0, 1))
    is_category = np.array([kind == "categories" for kind in kinds])
    parts = [np.column_stack([codes[k] for *_, codes in coded]) for k in range(len(opened))]
    return [
        MixedTable(names, is_category, list(levels), parts[k], n_rows, kinds)
        for k, (_, n_rows) in enumerate(opened.values())
    ]


def check_whole(name, value, least):
    """Raise if a parameter is not an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name}={value!r} must be a whole number of at least {least}.")


def tree_features(*tables):
    """Rows (n, F) of each table for scikit-learn's histogram trees, and the mask of categories.

    Of a category with too many levels for these trees, the rare ones share one. Trees refuse a
    column of numbers that is all missing in what they draw from it: where few are known, a number
    below all others stands for the missing ones.
    """
    parts, is_category = [table.X.copy() for table in tables], tables[0].is_category
    for j in range(len(is_category)):
        columns = [X[:, j] for X in parts]
        if is_category[j]:
            _merge_rare_levels(columns, len(tables[0].levels[j]))
        elif any((~np.isnan(c)).sum() < max(30, len(c) / 1000) for c in columns):
            known = np.concatenate([c[~np.isnan(c)] for c in columns])
            low, width = (known.min(), np.ptp(known)) if len(known) else (0.0, 0.0)
            for column in columns:
                column[np.isnan(column)] = low - max(width, abs(low), 1.0)
    return parts, is_category


def _merge_rare_levels(columns, n_levels):
    """Give the rarest levels of a category one code, in place, if there are too many."""
    if n_levels <= MOST_LEVELS:
        return
    counts = np.zeros(n_levels)
    for column in columns:  # each table counts the same, however many rows it has
        known = column[~np.isnan(column)].astype(int)
        counts += np.bincount(known, minlength=n_levels) / max(len(known), 1)
    code = np.full(n_levels + 1, np.nan)
    code[np.argsort(-counts, kind="stable")] = np.minimum(np.arange(n_levels), MOST_LEVELS - 1)
    for column in columns:
        column[:] = code[np.where(np.isnan(column), n_levels, column).astype(int)]


def rows_used(**tables):
    """Numbers of rows of each frame that a metric used and of all it got, by the frame's name."""
    used = {name: len(table) for name, table in tables.items()}
    return {"n_used": used, "n_rows": {name: table.n_rows for name, table in tables.items()}}


def rows_text(n_used, n_rows):
    """Numbers of rows as text: '100 of 2000 real rows, 100 fake rows'."""
    parts = [
        f"{n} {name} rows" if n == n_rows[name] else f"{n} of {n_rows[name]} {name} rows"
        for name, n in n_used.items()
    ]
    return ", ".join(parts)


# Containers


def _open(name, frame, max_rows, rng):
    """Columns of a frame by name, as pandas Series, and its number of rows before the draw."""
    native = frame if isinstance(frame, pd.DataFrame) else None
    if native is None:
        wrapped = nw.from_native(frame, eager_only=True, pass_through=True)
        native = wrapped if isinstance(wrapped, nw.DataFrame) else np.asarray(frame)
        if isinstance(native, np.ndarray) and native.ndim != 2:
            raise ValueError(
                f"{name} has shape {native.shape}, not (n, F): one row for each record. Pass a "
                "table or a two-dimensional array."
            )
    n_rows, n_columns = native.shape
    if n_rows == 0 or n_columns == 0:
        raise ValueError(f"{name} has shape {native.shape}. Pass at least one row and one column.")
    chosen = None
    if max_rows is not None and n_rows > max_rows:
        chosen = np.sort(rng.choice(n_rows, max_rows, replace=False))
    if isinstance(native, np.ndarray):
        native = native if chosen is None else native[chosen]
        return {j: pd.Series(native[:, j]) for j in range(n_columns)}, n_rows
    if isinstance(native, pd.DataFrame):
        native = native if chosen is None else native.iloc[chosen]
        columns = [native.iloc[:, j] for j in range(n_columns)]
    else:
        native = native if chosen is None else native[chosen]
        columns = [_as_pandas(native[column]) for column in native.columns]
    index = pd.Index(native.columns)
    repeated = list(index[index.duplicated()].unique())
    if repeated:
        raise ValueError(f"{name} has columns of the same name: {repeated}. Rename them.")
    return dict(zip(index, columns, strict=True)), n_rows


def _as_pandas(series):
    """A column of polars or pyarrow as a pandas Series; pandas' own way needs pyarrow."""
    dtype = series.dtype
    if dtype == nw.Datetime and dtype.time_zone is not None:
        utc = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return pd.Series(utc.to_numpy()).dt.tz_localize("UTC")
    if (dtype.is_numeric() and dtype != nw.Decimal) or dtype in (nw.Datetime, nw.Date, nw.Duration):
        return pd.Series(series.to_numpy())
    values = pd.Series(series.to_list(), dtype=object)
    return values.astype("category") if dtype in (nw.Categorical, nw.Enum) else values


def _common_names(columns):
    """Names of the columns of the first frame that has names, the same in all."""
    named = {name: list(c) for name, c in columns.items() if list(c) != list(range(len(c)))}
    widths = {name: len(c) for name, c in columns.items()}
    if not named:
        first = list(next(iter(columns.values())))
        if len(set(widths.values())) > 1:
            raise ValueError(f"The samples differ in their number of columns: {widths}.")
        return first
    (first, names), *others = named.items()
    for name, other in others:
        lacking = [c for c in names if c not in set(other)]
        added = [c for c in other if c not in set(names)]
        if lacking or added:
            parts = [f"lacks the columns {lacking} of {first}"] if lacking else []
            parts += [f"has the columns {added} that {first} lacks"] if added else []
            raise ValueError(f"{name} {', and '.join(parts)}. Pass the same columns.")
    if len(set(widths.values())) > 1:
        raise ValueError(
            f"The samples differ in their number of columns: {widths}. Pass the same columns."
        )
    return names


# Columns


def _kind(column):
    """What the values of a pandas Series are."""
    dtype = column.dtype
    if column.isna().all():
        return "missing values"
    if isinstance(dtype, pd.CategoricalDtype) or types.is_bool_dtype(dtype):
        return "categories"
    if types.is_complex_dtype(dtype):
        return "complex numbers"
    if types.is_numeric_dtype(dtype):
        return "numbers"
    if isinstance(dtype, pd.DatetimeTZDtype):
        return "zoned datetimes"
    kind = _KINDS.get(types.infer_dtype(column, skipna=True), "text")
    if kind == "datetimes" and types.is_object_dtype(dtype):
        zoned = {getattr(value, "tzinfo", None) is not None for value in column.dropna()}
        return {(True,): "zoned datetimes", (False,): kind}.get(tuple(zoned), "mixed time zones")
    return kind


def _coded(name, parts):
    """Kind of a column, its levels, None for numbers, and its numbers or codes in each frame."""
    kinds = {frame: _kind(column) for frame, column in parts.items()}
    found = set(kinds.values()) - {"missing values"} or {"numbers"}
    kind = next((kind for allowed, kind in _TOGETHER if found <= allowed), None)
    if kind is None:
        raise ValueError(
            f"Column {name!r} has values of different or unknown kinds: {kinds}. Convert them to "
            "one of numbers, datetimes, durations, text and categories."
        )
    if kind == "categories":
        return kind, *_levels_and_codes(name, parts)
    return (
        kind,
        None,
        [
            _as_numbers(name, frame, column, kind if kinds[frame] == kind else None)
            for frame, column in parts.items()
        ],
    )


def _as_numbers(name, frame, column, kind):
    """Numbers of a column, NaN where missing; all are missing if kind is None."""
    if kind is None:
        return np.full(len(column), np.nan)
    if kind == "numbers":
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        if np.isinf(values).any():
            raise ValueError(
                f"Column {name!r} of {frame} contains infinity. Drop these rows or set them to "
                "missing."
            )
        return values
    if kind == "durations":
        ticks = pd.to_timedelta(column).to_numpy("timedelta64[us]")
    elif kind == "zoned datetimes":
        ticks = pd.to_datetime(column, utc=True).dt.tz_localize(None).to_numpy("datetime64[us]")
    else:
        ticks = pd.to_datetime(column).to_numpy("datetime64[us]")
    return np.where(np.isnat(ticks), np.nan, ticks.astype(np.int64).astype(np.float64))


def _levels_and_codes(name, parts):
    """Sorted levels of a category in all frames, and its codes in each of them."""
    values = [column.astype(object).to_numpy() for column in parts.values()]
    try:
        codes, levels = pd.factorize(np.concatenate(values))
    except TypeError as error:
        raise TypeError(
            f"Column {name!r} has values that cannot be compared ({error}). Pass numbers, text or "
            "categories."
        ) from error
    try:
        order = sorted(range(len(levels)), key=levels.__getitem__)
    except TypeError:  # numbers beside text
        order = sorted(range(len(levels)), key=lambda k: (type(levels[k]).__name__, levels[k]))
    place = np.full(len(levels) + 1, np.nan)
    place[order] = np.arange(len(levels))
    # The code of a missing value is -1: the last entry.
    ends = np.cumsum([len(v) for v in values])[:-1]
    return [levels[k] for k in order], np.split(place[codes], ends)
