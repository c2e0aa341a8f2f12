"""The types that were decided for a table, and its way into numbers and back."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.utils import gen_batches

from gudlearn.data.bins import Bins
from gudlearn.data.fields import decode, encode
from gudlearn.data.frames import Table, TableKind, labels_of, read_table
from gudlearn.data.raw import empty_column
from gudlearn.data.restoring import held_by, is_of_floats, to_floats, to_table
from gudlearn.data.schema_display import html_of, text_of

# Columns that are copied between rows and columns at once, and rows: they fit into a cache.
_TOGETHER, _ROWS_TOGETHER = 8, 4096


@dataclass(frozen=True, eq=False, repr=False)
class TableSchema:
    """What was decided about a table's columns.

    Parameters
    ----------
    columns : tuple of Column
        One for each of the user's columns.
    fields : tuple of Field
        The internal columns of numbers, one or two for each of the user's.
    table : TableKind
    bins : Bins
        Of the fields: NaN for categories and continuous numbers.
    clip : bool
        Whether samples stay in the range that was seen.
    gaussianize : bool
        Whether continuous columns may be mapped to normal ones.
    constraints : Constraints or None
        What rows satisfy.

    Attributes
    ----------
    sample_shape : (n_columns,)
    bin_width : ndarray of shape (n_columns,) or None
        1 for categories and ordered levels, the width of grids, NaN for continuous columns; None
        if all are continuous.
    masked : ndarray of shape (n_fields,) of bool
        Fields that are categories.
    n_levels, gate : ndarray of shape (n_fields,) of int
    log_unit : ndarray of shape (n_fields,)
    column_of : ndarray of shape (n_fields,) of int
        The user's column of each field.
    first_field : ndarray of shape (n_columns,) of int
        The first field of each of the user's columns.
    is_plain : bool
        Whether the fields are the columns, unchanged numbers.
    """

    columns: tuple
    fields: tuple
    table: TableKind
    bins: Bins
    clip: bool = True
    gaussianize: bool = True
    constraints: object = None

    is_image = False

    def __post_init__(self):
        fields, columns = self.fields, self.columns
        widths = np.array([column.bin_width for column in columns], dtype=np.float64)
        arrays = {
            "sample_shape": (len(columns),),
            "bin_width": None if np.isnan(widths).all() else widths,
            "masked": np.array([field.kind == "category" for field in fields]),
            "n_levels": np.array([field.n_levels for field in fields]),
            "gate": np.array([field.gate for field in fields]),
            "log_unit": np.array([field.log_unit for field in fields]),
            "column_of": np.array([field.column for field in fields]),
        }
        for name, value in arrays.items():
            object.__setattr__(self, name, value)
        first = np.flatnonzero(np.diff(self.column_of, prepend=-1))
        object.__setattr__(self, "first_field", first)
        plain = len(fields) == len(columns) and not any(map(_is_changed, columns))
        object.__setattr__(self, "is_plain", plain)

    @property
    def names(self):
        """Names of the user's columns."""
        return [column.name for column in self.columns]

    # Values

    def read(self, X, *, partial=False, unseen="code"):
        """The fields of new rows.

        Parameters
        ----------
        X : array, frame or Table
            Columns of a frame are taken by name, in any order; those of an array by position.
        partial : bool, default=False
            Whether a frame may lack columns, which are then unobserved, and a missing value is
            always unobserved.
        unseen : {"code", "raise"}, default="code"
            Levels that the first fit did not see get the code n_levels, or are refused.

        Returns
        -------
        ndarray of shape (n, n_fields)
            NaN where unobserved.

        Raises
        ------
        ValueError
            If a column is missing or unknown, or holds what its type does not.
        """
        places = self.places(X, partial)
        table = read_table(X)
        if (
            table.block is not None
            and self.is_plain
            and np.array_equal(places, np.arange(len(places)))
        ):
            return table.block.astype(np.float64, copy=False)
        out, parts, first = np.empty((table.n_rows, len(self.fields))), [], 0
        for column, place in zip(self.columns, places, strict=True):
            raw = empty_column(table.n_rows) if place < 0 else table.columns[place]
            parts += encode(column, raw, partial, unseen)
            if len(parts) >= _TOGETHER or column is self.columns[-1]:
                for rows in _row_blocks(table.n_rows):
                    out[rows, first : first + len(parts)] = np.stack([p[rows] for p in parts], 1)
                first, parts = first + len(parts), []
        return out

    def places(self, X, partial=False):
        """Position in X of each column, (n_columns,) of int; -1 where X lacks it.

        Raises
        ------
        ValueError
            If X has other columns.
        """
        labels = X.kind.labels if isinstance(X, Table) else labels_of(X)
        n = len(self.columns)
        if labels is None or self.table.labels is None:
            width = len(X.columns) if hasattr(X, "columns") else np.shape(X)[1]
            if width != n:
                raise ValueError(f"X has {width} columns, but {n} were fitted. Pass these.")
            return np.arange(n)
        return match_labels(_index(self.table.labels), _index(labels), partial)

    def fields_of_column(self, place):
        """The fields of one of the user's columns, a slice."""
        first = self.first_field[place]
        return slice(first, first + 1 + (self.columns[place].n_codes > 0
                                         and not self.columns[place].is_category))  # fmt: skip

    def column_of_rows(self, values, place):
        """One of the user's columns of rows of fields (n, n_fields), a `RawColumn`.

        Floats are those that the column's dtype holds.
        """
        raw = decode(self.columns[place], values[:, self.fields_of_column(place)].T)
        return held_by(raw, self.table.dtypes[place])

    def restore(self, values):
        """Rows of fields as a table like the one that was fitted.

        Parameters
        ----------
        values : ndarray of shape (n, n_fields)
            Codes of categories and numbers, NaN where missing.

        Returns
        -------
        ndarray of shape (n, n_columns), or frame
            With the names and dtypes of the data. A missing value is the table's null.
        """
        values = np.asarray(values, dtype=np.float64)
        if self.is_plain and is_of_floats(self.table):
            return to_floats(self.table, values)
        bounds = np.append(self.first_field, len(self.fields))
        raw = []
        for first in range(0, len(self.columns), _TOGETHER):
            columns = self.columns[first : first + _TOGETHER]
            cuts = bounds[first : first + len(columns) + 1]
            block = np.empty((cuts[-1] - cuts[0], len(values)))
            for rows in _row_blocks(len(values)):
                block[:, rows] = values[rows, cuts[0] : cuts[-1]].T
            parts = np.split(block, cuts[1:-1] - cuts[0])
            raw += [decode(column, part) for column, part in zip(columns, parts, strict=True)]
        return to_table(self.table, raw)

    # Masks and sums

    def field_mask(self, column_mask):
        """A mask of columns (..., n_columns) as a mask of their fields (..., n_fields)."""
        return np.asarray(column_mask)[..., self.column_of]

    def column_mask_of(self, field_mask):
        """A mask of fields (..., n_fields) as one of columns: that of their first field."""
        return np.asarray(field_mask)[..., self.first_field]

    def column_sums(self, values):
        """Values of fields (..., n_fields), such as scores, summed over each column's fields."""
        return np.add.reduceat(np.asarray(values), self.first_field, axis=-1)

    # Display

    def __repr__(self):
        return text_of(self)

    def _repr_html_(self):
        return html_of(self)


def _row_blocks(n):
    return gen_batches(n, _ROWS_TOGETHER)


def _is_changed(column):
    """Whether the numbers of a column differ from those of its fields."""
    return bool(
        column.is_category or column.levels is not None or column.offset or column.found
        or column.is_time or not np.isnan(column.rounded_to)
    )  # fmt: skip


def match_labels(fitted, labels, partial):
    """Position among labels of each fitted label, -1 where it is not there.

    Parameters
    ----------
    fitted, labels : pandas.Index
        Of unique labels.
    partial : bool
        Whether labels may lack some.

    Raises
    ------
    ValueError
        If a label is unknown, or one is missing and may not be.
    """
    if len(fitted) == len(labels) and fitted.equals(labels):
        return np.arange(len(fitted))
    places = labels.get_indexer(fitted)
    unknown = [label for label, place in zip(labels, fitted.get_indexer(labels), strict=True)
               if place < 0]  # fmt: skip
    lacking = [label for label, place in zip(fitted, places, strict=True) if place < 0]
    are_names = all(isinstance(label, str) for label in (*fitted, *labels))
    if not are_names and len(fitted) == len(labels) and not partial:
        # As scikit-learn does: only names that are text are compared.
        return np.arange(len(fitted)) if unknown else places
    if unknown or (lacking and not partial):
        lines = ["The feature names should match those that were passed during fit."]
        subjects = {"unseen at fit time": unknown}
        if not partial:
            subjects["seen at fit time, yet now missing"] = lacking
        for subject, found in subjects.items():
            if found:
                more = ["- ..."] if len(found) > 5 else []
                lines += [f"Feature names {subject}:", *(f"- {v}" for v in found[:5]), *more]
        raise ValueError("\n".join([*lines, ""]))
    return places


def _index(labels):
    return labels if isinstance(labels, pd.Index) else pd.Index(labels, dtype=object)
