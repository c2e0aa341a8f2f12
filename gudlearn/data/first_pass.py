"""The first pass over a stream: a summary of each column, and a sample of the rows."""

import numpy as np

from gudlearn.data.columns import column_names
from gudlearn.data.frames import Table
from gudlearn.data.reading import first_table, next_table
from gudlearn.data.sketches import RowSample
from gudlearn.data.streams import read_ahead
from gudlearn.data.summaries import ColumnSummary

#: Rows of the sample, and fewer where they would have more entries. Marginals of more rows in
#: memory are fitted to no more of them, and the joint Gaussian to fewer.
MOST_SAMPLED = 1 << 16
_LEAST_SAMPLED, _MOST_ENTRIES = 1 << 13, 1 << 24
# Rows of a block, and fewer where these would have more entries.
_ROWS, _ENTRIES = 1 << 16, 1 << 21


def rows_per_block(n_columns):
    """Rows that are read at once of a stream with a number of columns."""
    return int(np.clip(_ENTRIES // max(n_columns, 1), 256, _ROWS))


def summarised(estimator, stream, seed):
    """Read a stream once.

    Sets ``n_features_in_`` and ``feature_names_in_`` of the estimator.

    Parameters
    ----------
    estimator : estimator to which the stream was passed
    stream : Stream
    seed : int
        Of the sample.

    Returns
    -------
    table : Table
        Of summaries, with the sample.
    index : ndarray of int
        Numbers of the rows of the sample, ascending.

    Raises
    ------
    ValueError
        If blocks differ, or a column holds infinity, or nothing.
    """
    names, summaries, sample = None, [], None
    for start, frame in read_ahead(stream.blocks(rows_per_block(stream.n_columns))):
        if names is None:
            table = first_table(estimator, frame)
            names = column_names(estimator)
            summaries = [ColumnSummary(name) for name in names]
            most = min(max(_MOST_ENTRIES // len(names), _LEAST_SAMPLED), MOST_SAMPLED)
            sample = RowSample(most, seed)
        else:
            table = next_table(estimator, frame)
        for summary, raw in zip(summaries, table.columns, strict=True):
            summary.add(raw, start)
        sample.add(start, table.n_rows, frame)
    index, rows = sample.rows()
    drawn = next_table(estimator, rows)
    columns = [summary.column(raw) for summary, raw in zip(summaries, drawn.columns, strict=True)]
    return Table(drawn.kind, columns, start + table.n_rows, sample=drawn), index
