"""Observed values as users write them, dicts, Series and frames of some columns, as tables."""

import numpy as np
import pandas as pd

from gudlearn.data.columns import nearest_name
from gudlearn.data.frames import is_frame, labels_of


def as_given(given, schema):
    """Partially observed rows as a frame or an array that a schema reads.

    Parameters
    ----------
    given : dict, Series, frame or array
        A dict of scalars and a Series are one row, a dict of lists several.
    schema : TableSchema

    Returns
    -------
    frame or array
        What `TableSchema.read` takes with ``partial=True``.

    Raises
    ------
    ValueError
        If a column is unknown, named twice, or lists have several lengths.
    TypeError
        If keys are no columns.
    """
    if isinstance(given, pd.Series):
        return _frame(dict(given.items()), schema, [given.name])
    if isinstance(given, dict):
        return _frame(given, schema, None)
    if is_frame(given) and schema.table.labels is not None:
        known = set(schema.table.labels)
        if all(map(_is_text, known)) and all(map(_is_text, labels_of(given))):
            for label in labels_of(given):
                if label not in known:
                    raise _unknown("given", label, schema)
    return given


def index_of(given):
    """The index of partially observed rows, a pandas.Index; None where they have none."""
    if isinstance(given, pd.DataFrame):
        return given.index
    if isinstance(given, pd.Series):
        return pd.Index([0 if given.name is None else given.name])
    return None


def place_of(parameter, key, schema):
    """Position of the user's column that a key names: its label, its name, or its index.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    labels = schema.table.labels
    if labels is not None and _is_in(key, labels):
        return list(labels).index(key)
    if _is_text(key) and key in schema.names:
        return schema.names.index(key)
    is_index = isinstance(key, int | np.integer) and not isinstance(key, bool)
    if labels is None and is_index and 0 <= key < len(schema.names):
        return int(key)
    raise _unknown(parameter, key, schema)


def _is_text(label):
    return isinstance(label, str)


def _is_in(key, labels):
    try:
        return key in labels
    except TypeError:
        return False


def _unknown(parameter, key, schema):
    names = schema.names
    return ValueError(
        f"{parameter} names column {key!r}, which X does not have. "
        f"{nearest_name(str(key), names)}Its columns are {', '.join(map(repr, names[:10]))}."
    )


def _frame(values, schema, index):
    """The table of the values of a dict by column; scalars are one row."""
    if not values:
        raise ValueError("given names no column. Pass the observed values by column, or None.")
    places = [place_of("given", key, schema) for key in values]
    if len(set(places)) < len(places):
        raise ValueError(f"given names a column twice: {list(values)}. Pass each once.")
    lists = [_as_list(v) for v in values.values()]
    lengths = {len(v) for v in lists if v is not None}
    if len(lengths) > 1 or lengths == {0}:
        raise ValueError(
            f"given holds lists of the lengths {sorted(lengths)}. Pass one value for each row, "
            "and at least one."
        )
    n = lengths.pop() if lengths else 1
    lists = [[v] * n if known is None else known
             for v, known in zip(values.values(), lists, strict=True)]  # fmt: skip
    columns = [
        _as_times(schema.columns[place], known) for place, known in zip(places, lists, strict=True)
    ]
    if schema.table.labels is None:
        return _array(columns, places, schema, n)
    frame = pd.DataFrame(dict(enumerate(columns)), index=index)
    labels = schema.table.labels
    labels = labels if isinstance(labels, pd.Index) else pd.Index(labels, dtype=object)
    return frame.set_axis(labels.take(places), axis=1)


def _as_list(value):
    """The entries of a list or an array; None for a scalar."""
    if isinstance(value, str | bytes) or np.ndim(value) == 0:
        return None
    return list(value)


def _as_times(column, values):
    """Values as an array of objects; text is read as times where the column holds times."""
    if column.is_time and any(map(_is_text, values)):
        convert = pd.to_datetime if column.kind == "datetime" else pd.to_timedelta
        values = [convert(v) if _is_text(v) else v for v in values]
        if column.zone is not None:
            values = [v.tz_localize(column.zone) if getattr(v, "tzinfo", 0) is None else v
                      for v in values]  # fmt: skip
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _array(columns, places, schema, n):
    """Observed values of an array that was fitted, among missing ones."""
    is_numeric = schema.table.dtypes[0].kind in "iufb"
    out = np.full((n, len(schema.names)), np.nan, dtype=float if is_numeric else object)
    for place, column in zip(places, columns, strict=True):
        try:
            out[:, place] = column
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"given holds {column[0]!r} for column {schema.names[place]!r}, which holds "
                "numbers. Pass numbers, or None where it is missing."
            ) from error
    return out
