"""Several draws of rows, or several quantiles, in the container of the data."""

import numpy as np
import pandas as pd


def with_rows(flat, first, index, name):
    """Give rows that are repeated for several draws their place: a frame's index, an array's axis.

    Parameters
    ----------
    flat : ndarray of shape (m * n, ...), or frame
        Rows in the order of the draws.
    first : sequence of length m, or None
        Numbers of the draws, or their quantiles; None for a single draw, which gets no level.
    index : pandas.Index of length n, or None
        Of the rows; None counts them.
    name : str
        Name of the level of ``first``.

    Returns
    -------
    ndarray of shape (m, n, ...), or of shape (n, ...) without ``first``, or frame of m * n rows
        A frame of pandas has the index, or with ``first`` one of the levels (name, "row"); those of
        polars and pyarrow have none.
    """
    if isinstance(flat, np.ndarray):
        return flat if first is None else flat.reshape(len(first), -1, *flat.shape[1:])
    if not isinstance(flat, pd.DataFrame):
        return flat
    if first is None:
        return flat if index is None else flat.set_axis(index, axis=0)
    index = pd.RangeIndex(len(flat) // len(first)) if index is None else index
    levels = pd.MultiIndex.from_product([first, list(index)], names=[name, "row"])
    return flat.set_axis(levels, axis=0)
