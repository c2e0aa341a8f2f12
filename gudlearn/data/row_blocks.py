"""Rows of a table of any kind: some of them, several tables as one, blocks of another size."""

import numpy as np
import pandas as pd

from gudlearn.data.frames import is_frame


def n_rows_of(frame):
    """Number of rows of an array or a frame."""
    return frame.shape[0]


def take_rows(frame, index):
    """The rows of an index array (m,) of an array or a frame, a copy."""
    if isinstance(frame, pd.DataFrame):
        return frame.iloc[index]
    if hasattr(frame, "column_names"):
        return frame.take(index)
    return frame[index]


def slice_rows(frame, start, stop):
    """Rows start, ..., stop - 1 of an array or a frame."""
    if isinstance(frame, pd.DataFrame):
        return frame.iloc[start:stop]
    if hasattr(frame, "column_names"):
        return frame.slice(start, stop - start)
    return frame[start:stop]


def joined(frames):
    """One table of the rows of several of one kind, one after another."""
    first = frames[0]
    if len(frames) == 1:
        return first
    if isinstance(first, pd.DataFrame):
        return pd.concat(frames, ignore_index=True)
    if not is_frame(first):
        return np.concatenate(frames)
    if hasattr(first, "column_names"):
        import pyarrow as pa

        return pa.concat_tables(frames)
    import polars as pl

    return pl.concat(frames)


def in_blocks_of(frames, size):
    """Tables of exactly ``size`` rows, but for the last, from tables of any sizes.

    Parameters
    ----------
    frames : iterable of arrays or frames
    size : int
    """
    held, n_held = [], 0
    for frame in frames:
        first, n = 0, n_rows_of(frame)
        while n_held + n - first >= size:
            stop = first + size - n_held
            yield joined([*held, slice_rows(frame, first, stop)])
            held, n_held, first = [], 0, stop
        if first < n:
            held.append(slice_rows(frame, first, n))
            n_held += n - first
    if held:
        yield joined(held)
