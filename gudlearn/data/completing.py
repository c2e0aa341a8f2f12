"""Columns with missing values, completed by what a model says of them."""

from dataclasses import replace

import numpy as np
import pandas as pd

from gudlearn.data.fields import atom_numbers, decode, same_ticks
from gudlearn.data.frames import Table
from gudlearn.data.raw import RawColumn, boolean_column
from gudlearn.data.restoring import to_table


def missing_of(table):
    """Where values of a table are missing, (n, F) of bool."""
    out = np.zeros((table.n_rows, len(table.columns)), dtype=bool)
    for j, raw in enumerate(table.columns):
        mask = raw.missing_mask()
        if mask is not None:
            out[:, j] = mask
    return out


def is_numeric(raw, booleans=False):
    """Whether a column holds numbers; or booleans, where these count."""
    if booleans and raw.kind == "level":
        return len(raw.levels) > 0 and all(isinstance(v, bool | np.bool_) for v in raw.levels)
    return raw.kind in ("integer", "float")


def are_numbers(table):
    """Whether all columns of a table hold numbers."""
    return all(map(is_numeric, table.columns))


def with_marks(table, mark):
    """A table in which numbers that equal a mark are missing."""
    columns = []
    for raw in table.columns:
        if raw.kind in ("integer", "float") and (raw.values == mark).any():
            missing = raw.values == mark
            if raw.kind == "float":
                raw = replace(raw, values=np.where(missing, np.nan, raw.values))
            else:
                before = False if raw.missing is None else raw.missing
                raw = replace(raw, missing=missing | before)
        columns.append(raw)
    return replace(table, columns=columns, block=None)


def selected(table, mask):
    """The columns (F,) of a table that a mask selects."""
    if mask.all():
        return table
    kind, places = table.kind, np.flatnonzero(mask)
    labels = kind.labels
    if labels is not None:
        labels = labels[mask] if isinstance(labels, pd.Index) else [labels[j] for j in places]
    kind = replace(
        kind, labels=labels, dtypes=[kind.dtypes[j] for j in places],
        objects=tuple(kind.objects[j] for j in places),
    )  # fmt: skip
    return Table(kind, [table.columns[j] for j in places], table.n_rows)


# What a model says of missing values: a `RawColumn` for each column, of floats where it is a mean.


def drawn_columns(schema, fields):
    """Columns of one draw of fields (n, n_fields)."""
    return [decode(c, fields[:, s].T) for c, s in _slices(schema)]


def central_columns(schema, draws, mean):
    """Columns of the means or medians of draws (n_draws, n, n_fields); modes of categories."""
    m, n = draws.shape[:2]
    return [
        _central(c, decode(c, draws[:, :, s].reshape(m * n, -1).T), m, mean)
        for c, s in _slices(schema)
    ]


def _slices(schema):
    ends = np.append(schema.first_field, len(schema.fields))
    return [(column, slice(ends[j], ends[j + 1])) for j, column in enumerate(schema.columns)]


def _central(column, raw, m, mean):
    values = raw.values.reshape(m, -1)
    if raw.kind == "level" and column.feature_type == "ordered":
        return replace(raw, values=np.sort(values, axis=0)[(m - 1) // 2])
    if column.feature_type == "category":
        counts = [(values == draw).sum(0) for draw in values]
        return replace(raw, values=values[np.argmax(counts, axis=0), np.arange(values.shape[1])])
    # Ticks of time are whole numbers that a float64 may not hold: differences are.
    first = values[0].copy()
    apart = (values - first).astype(np.float64)
    centre = apart.mean(0) if mean else np.median(apart, axis=0)
    if raw.kind in ("datetime", "duration"):
        return replace(raw, values=first + np.rint(centre).astype(np.int64), missing=None)
    same = (values == first).all(0)
    centre = np.where(same, first, values.mean(0) if mean else np.median(values, axis=0))
    return RawColumn("float", centre)


def expected_columns(schema, expectation):
    """Columns of means of numbers, and of the most probable levels of categories.

    Parameters
    ----------
    schema : TableSchema
    expectation : Expectation
    """
    return [_expected(c, s, expectation) for c, s in _slices(schema)]


def _expected(column, part, expectation):
    means = expectation.means[:, part].T
    probabilities = None
    if column.n_codes and expectation.categories is not None:
        probabilities = expectation.of_column(part.start)
    if column.is_category:
        if probabilities is None:
            return decode(column, np.zeros((1, means.shape[1])))
        if column.kind in ("integer", "float") and column.feature_type != "category":
            return RawColumn("float", probabilities @ column.levels.astype(np.float64))
        return decode(column, probabilities.argmax(1)[None].astype(np.float64))
    numbers = means[-1]
    if probabilities is not None and column.atoms is not None:
        numbers = probabilities[:, :-1] @ atom_numbers(column) + probabilities[:, -1] * numbers
    if column.kind in ("integer", "float") and column.feature_type != "ordered":
        return RawColumn("float", numbers + float(column.offset) if column.offset else numbers)
    rest = np.full(len(numbers), float(column.n_codes - 1))
    return decode(column, np.stack([rest, numbers] if column.n_codes else [numbers]))


# Back into the table


def complete(table, schema, missing, filled):
    """A table with values in place of those that are missing, of the kind of table that it was.

    Parameters
    ----------
    table : Table
    schema : TableSchema
        Of the same columns.
    missing : ndarray of shape (n, F) of bool
    filled : list of RawColumn
        One for each column, of the rows in which a value is missing.

    Returns
    -------
    Table
    """
    partial = missing.any(1)
    columns, dtypes, objects = [], list(table.kind.dtypes), list(table.kind.objects)
    for j, (raw, fill, column) in enumerate(
        zip(table.columns, filled, schema.columns, strict=True)
    ):
        mask = missing[:, j]
        if mask.any():
            if mask.all() and raw.kind != fill.kind:
                # Its dtype says nothing.
                dtypes[j], objects[j] = schema.table.dtypes[j], schema.table.objects[j]
                raw = _blank(fill, table.n_rows)
            raw, dtypes[j] = _completed(column, raw, fill, mask, partial, dtypes[j])
        columns.append(raw)
    kind = replace(table.kind, dtypes=dtypes, objects=tuple(objects))
    return Table(kind, columns, table.n_rows)


def _blank(fill, n):
    """A column like another, all missing."""
    if fill.kind == "level":
        return replace(fill, values=np.full(n, -1))
    if fill.kind == "float":
        return replace(fill, values=np.full(n, np.nan))
    return replace(fill, values=np.zeros(n, dtype=fill.values.dtype), missing=np.ones(n, bool))


def _completed(column, raw, fill, mask, partial, dtype):
    """A column whose missing values are filled, and its dtype, which may need more levels."""
    chosen = mask[partial]
    numeric = ("integer", "float")
    if raw.kind != fill.kind and not (raw.kind in numeric and fill.kind in numeric):
        raise ValueError(
            f"Column {column.name!r} holds {raw.kind}s, but its values were {fill.kind}s in fit. "
            "Convert it to the type that was fitted."
        )
    if raw.kind == "level":
        raw, codes = _with_levels(raw, fill, chosen)
        if isinstance(dtype, pd.CategoricalDtype):
            known = dtype.categories
            more = [v for v in raw.levels if v not in known]
            dtype = pd.CategoricalDtype([*known, *more], dtype.ordered) if more else dtype
        values = raw.values.copy()
        values[mask] = codes
        return replace(raw, values=values), dtype
    if raw.kind in ("datetime", "duration"):
        fill = same_ticks(replace(column, unit=raw.unit), fill)
    values = np.array(raw.values, dtype=np.float64 if raw.kind == "float" else None)
    new = fill.values[chosen]
    values[mask] = np.rint(new) if raw.kind == "integer" and fill.kind == "float" else new
    return replace(raw, values=values, missing=None), dtype


def _with_levels(raw, fill, chosen):
    """A column of levels with those that fill it, and the codes of these."""
    codes = fill.values[chosen]
    known = pd.Index(np.asarray(raw.levels, dtype=object))
    used = np.unique(codes)
    places = np.full(len(fill.levels), -1)
    places[used] = known.get_indexer(pd.Index(np.asarray(fill.levels, dtype=object)[used]))
    new = used[places[used] < 0]
    places[new] = len(known) + np.arange(len(new))
    levels = np.empty(len(known) + len(new), dtype=object)
    levels[: len(known)] = raw.levels
    levels[len(known) :] = [fill.levels[k] for k in new]
    return replace(raw, levels=levels), places[codes]


def with_indicators(table, flags, names):
    """A table with columns of booleans behind the others, of dtype float in an array of floats.

    Parameters
    ----------
    table : Table
    flags : ndarray of shape (n, n_flags) of bool
    names : list of str
    """
    kind = table.kind
    dtype = {"pandas": np.dtype(bool), "numpy": kind.dtypes[0] if kind.dtypes else np.dtype(float)}
    dtype = dtype[kind.module] if kind.module in dtype else _boolean(kind.module)
    labels = None if kind.labels is None else pd.Index([*kind.labels, *names], dtype=object)
    if kind.module != "pandas" and labels is not None:
        labels = list(labels)
    kind = replace(
        kind, labels=labels, dtypes=[*kind.dtypes, *[dtype] * len(names)],
        objects=(*kind.objects, *[None] * len(names)),
    )  # fmt: skip
    return Table(kind, [*table.columns, *map(boolean_column, flags.T)], table.n_rows)


def _boolean(module):
    if module == "polars":
        import polars as pl

        return pl.Boolean()
    import pyarrow as pa

    return pa.bool_()


def as_frame(table):
    """A table as an array or a frame."""
    if len(table.columns):
        return to_table(table.kind, list(table.columns))
    if table.kind.module == "numpy":
        return np.empty((table.n_rows, 0))
    if table.kind.module == "pandas":
        return pd.DataFrame(index=range(table.n_rows))
    return to_table(table.kind, [])
