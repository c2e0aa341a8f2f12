"""Tables with one more column: a target beside its features."""

from dataclasses import replace

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

from gudlearn.data.frames import FloatColumns, is_frame, labels_of
from gudlearn.data.raw import empty_column


def free_label(X, name="y"):
    """A label for one more column of a table: a name that no column has.

    Parameters
    ----------
    X : array or frame
    name : str
        The name if it is free; underscores are appended until it is.

    Returns
    -------
    str or int
        An integer for an array, its index, and for frames whose labels are no text.
    """
    labels = labels_of(X)
    if labels is None:
        return X.shape[1]
    if not all(isinstance(label, str) for label in labels):
        whole = [label for label in labels if isinstance(label, int | np.integer)]
        return int(max(whole, default=-1)) + 1
    while name in labels:
        name += "_"
    return name


def with_column(X, label, values):
    """A table with one more column, the last.

    Parameters
    ----------
    X : array or frame of pandas, polars or pyarrow
    label : str or int
        From `free_label`; not used for an array.
    values : ndarray of shape (n,)
    """
    if isinstance(X, pd.DataFrame):
        out = X.copy(deep=False)
        out[label] = values
        return out
    if is_frame(X):
        frame = nw.from_native(X, eager_only=True)
        values = values.tolist() if values.dtype == object else values
        column = nw.new_series(str(label), values, backend=frame.implementation)
        return frame.with_columns(column).to_native()
    if X.dtype == object:
        values = values.astype(object)
    return np.column_stack([X, values])


def with_unknown(table, label):
    """A `Table` with one more column, of which nothing is known."""
    kind, block = table.kind, table.block
    labels = kind.labels
    if labels is not None:
        labels = pd.Index([*labels, label], dtype=object)
    kind = replace(
        kind, labels=labels, dtypes=[*kind.dtypes, np.dtype(float)],
        objects=(*kind.objects, None),
    )  # fmt: skip
    if block is not None:
        block = np.column_stack([block, np.full(len(block), np.nan)])
        return replace(table, kind=kind, columns=FloatColumns(block), block=block)
    return replace(table, kind=kind, columns=[*table.columns, empty_column(table.n_rows)])
