"""Tables that are larger than memory, read block by block, and read again.

A stream gives its rows in a fixed order, from which each row has its number, and in a shuffled
one. What fits into memory is read into it, and is then no stream but rows like any others.
"""

import os
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

from gudlearn.data.frames import is_frame, labels_of
from gudlearn.data.row_blocks import joined, n_rows_of, slice_rows

#: Tables of at most this many entries, 200 MB of numbers, are read into memory.
MOST_IN_MEMORY = 25_000_000
# Attributes by which an object says that it is an array or a frame.
_TABLES = ("__array__", "__array_interface__", "__dataframe__", "columns", "shape")


def opened(X):
    """X, or what it stands for: rows in memory, or a `Stream` if there are too many.

    Parameters
    ----------
    X : object
        A path of Parquet files, a 2-D ``numpy.memmap``, an iterable of frames, or a
        ``torch.utils.data.Dataset``. Anything else is returned as it is.

    Raises
    ------
    FileNotFoundError
        If there is no file of that name.
    ImportError
        If Parquet files cannot be read without pyarrow.
    ValueError
        If a stream has no rows, or its parts differ.
    TypeError
        If it can be read only once.
    """
    stream = _stream_of(X)
    if stream is None:
        return X
    rows = stream.in_memory()
    return stream if rows is None else rows


def _stream_of(X):
    if isinstance(X, str | os.PathLike):
        from gudlearn.data.parquet import ParquetStream

        return ParquetStream(X)
    if isinstance(X, np.memmap):
        return ArrayStream(X) if X.ndim == 2 else None
    if isinstance(X, IterableDataset):
        raise TypeError(
            "X is an IterableDataset, whose rows have no numbers. Pass a Dataset with __len__ and "
            "__getitem__, or an object whose __iter__ yields frames."
        )
    if isinstance(X, Dataset):
        return DatasetStream(X)
    return _frames_of(X)


def _frames_of(X):
    """The `FrameStream` of an iterable of frames; None if X is anything else."""
    if not hasattr(X, "__iter__") or any(hasattr(X, name) for name in _TABLES):
        return None
    rows = iter(X)
    if rows is X or rows is iter(X):
        raise TypeError(
            f"X is a {type(X).__name__}, which can be read only once, but a fit reads its rows "
            "several times. Pass an object whose __iter__ starts at the first row at each call, "
            "such as a list of frames, or a class with a generator method __iter__."
        )
    first = next(rows, None)
    blocks = isinstance(first, np.ndarray) and first.ndim == 2 and not isinstance(X, list | tuple)
    if not (blocks or (is_frame(first) and not isinstance(first, np.ndarray))):
        return None
    return FrameStream(X, chain([first], rows))


def read_ahead(blocks):
    """Yield the blocks of an iterator, while a thread reads the next one."""
    with ThreadPoolExecutor(1, "gudlearn-read") as thread:
        following = thread.submit(next, blocks, None)
        while (block := following.result()) is not None:
            following = thread.submit(next, blocks, None)
            yield block


class Stream(ABC):
    """Rows that are read block by block, as often as needed.

    Attributes
    ----------
    n_rows : int or None
        None as long as it is not known.
    n_columns : int
    """

    n_rows, n_columns = None, 0

    @abstractmethod
    def blocks(self, size):
        """Yield (number of the first row, array or frame of at most about size rows), in order."""

    def shuffled(self, size, rng):
        """Yield the same, as far as possible in random order."""
        return self.blocks(size)

    def in_memory(self):
        """All rows as one table; None if they are more than `MOST_IN_MEMORY` entries."""
        if self.n_rows * self.n_columns > MOST_IN_MEMORY:
            return None
        return joined([frame for _, frame in self.blocks(max(self.n_rows, 1))])

    def complete(self, n_rows):
        """Note how many rows a whole pass had.

        Raises
        ------
        ValueError
            If an earlier pass had another number.
        """
        if self.n_rows is not None and n_rows != self.n_rows:
            raise ValueError(
                f"X had {self.n_rows} rows when it was first read, and {n_rows} when it was read "
                "again. Its __iter__ must start at the first row at each call and yield the "
                "same frames."
            )
        self.n_rows = n_rows


class _Numbered(Stream):
    """A stream any of whose rows can be read; a subclass has ``rows(start, stop)``."""

    @abstractmethod
    def rows(self, start, stop):
        """Rows start, ..., stop - 1 as an array."""

    def blocks(self, size):
        """Yield blocks in order; see `Stream.blocks`."""
        return self._at(range(0, self.n_rows, size), size)

    def shuffled(self, size, rng):
        """Yield blocks in random order; see `Stream.shuffled`."""
        return self._at(size * rng.permutation(-(-self.n_rows // size)), size)

    def _at(self, starts, size):
        for start in map(int, starts):
            yield start, self.rows(start, min(start + size, self.n_rows))


class ArrayStream(_Numbered):
    """Rows of an array on disk.

    Parameters
    ----------
    X : numpy.memmap of shape (n, F)
    """

    def __init__(self, X):
        self._X = X
        self.n_rows, self.n_columns = X.shape
        if not self.n_rows:
            raise ValueError("X is a memmap without rows. Pass one with rows.")

    def rows(self, start, stop):
        """Rows start, ..., stop - 1, a copy in memory."""
        return np.array(self._X[start:stop])

    def in_memory(self):
        """The array itself if it is small; see `Stream.in_memory`."""
        return self._X if self._X.size <= MOST_IN_MEMORY else None


class DatasetStream(_Numbered):
    """Rows of a map-style dataset, whose items are rows.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Items are arrays or tensors of one dimension, or tuples of one of them.

    Raises
    ------
    TypeError
        If it has no length, or items are no rows of numbers.
    ValueError
        If it is empty, or items have other shapes.
    """

    def __init__(self, dataset):
        self._dataset = dataset
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise TypeError(
                f"X is a {type(dataset).__name__} without __len__ or __getitem__. Pass a map-style "
                "Dataset whose items are rows."
            )
        self.n_rows = len(dataset)
        if not self.n_rows:
            raise ValueError("X is a Dataset without items. Pass one with rows.")
        self.n_columns = None
        self.n_columns = len(self._row(dataset[0], 0))

    def rows(self, start, stop):
        """Items start, ..., stop - 1 as an array (n, F)."""
        index = list(range(start, stop))
        if hasattr(self._dataset, "__getitems__"):
            items = self._dataset.__getitems__(index)
        else:
            items = map(self._dataset.__getitem__, index)
        return np.stack([self._row(item, i) for i, item in zip(index, items, strict=True)])

    def _row(self, item, i):
        """An item as an array (F,)."""
        if isinstance(item, list | tuple):
            if len(item) != 1:
                raise ValueError(
                    f"Item {i} of the Dataset is a {type(item).__name__} of {len(item)} parts, but "
                    "items must be rows. Pass a Dataset of the features, with the label as one "
                    "of them."
                )
            item = item[0]
        row = item.numpy(force=True) if isinstance(item, torch.Tensor) else np.asarray(item)
        if row.dtype.kind not in "iufb":
            raise TypeError(
                f"Item {i} of the Dataset has the dtype {row.dtype}, but rows of a Dataset hold "
                "numbers. Convert them, or pass an iterable of frames."
            )
        if row.ndim != 1 or self.n_columns not in (None, len(row)):
            expected = "(n_features,)" if self.n_columns is None else f"({self.n_columns},)"
            raise ValueError(
                f"Item {i} of the Dataset has shape {row.shape}, but items must be rows of shape "
                f"{expected}. Flatten them, or pass images as one array."
            )
        return row


class FrameStream(Stream):
    """Rows of an iterable of arrays or frames, in its own order.

    Parameters
    ----------
    frames : iterable
        Each ``iter(frames)`` yields the same frames.
    begun : iterator or None
        Has all frames, too; read first, where one of them has been looked at.
    """

    def __init__(self, frames, begun=None):
        self._frames, self._begun, self._first = frames, begun, None

    def blocks(self, size):
        """Yield blocks in the order of the iterable; see `Stream.blocks`."""
        start, begun = 0, self._begun
        self._begun = None
        for k, frame in enumerate(self._frames if begun is None else begun):
            self._check(k, frame)
            n = n_rows_of(frame)
            for first in range(0, n, size):
                yield start + first, slice_rows(frame, first, min(first + size, n))
            start += n
        if not start:
            raise ValueError(
                "X yields no rows. Its __iter__ must start at the first row at each call and yield "
                "frames."
                if self.n_rows is None else f"X yielded {self.n_rows} rows when it was first read, "
                "and none when it was read again. Its __iter__ must start at the first row at each "
                "call."
            )  # fmt: skip
        self.complete(start)

    def in_memory(self):
        """All frames as one; None as soon as they are too large. See `Stream.in_memory`."""
        held, n_entries = [], 0
        for _, frame in self.blocks(max(MOST_IN_MEMORY, 1)):
            n_entries += n_rows_of(frame) * self.n_columns
            if n_entries > MOST_IN_MEMORY:
                return None
            held.append(frame)
        return joined(held)

    def _check(self, k, frame):
        """Raise unless the k-th frame has the columns and dtypes of the first."""
        table = is_frame(frame) or isinstance(frame, np.ndarray)
        if not table or len(frame.shape) != 2:
            raise TypeError(
                f"Frame {k} of X is a {type(frame).__name__}, but an iterable must yield frames, "
                "or arrays of two dimensions. Convert it."
            )
        columns = _columns_of(frame)
        if self._first is None:
            self._first, self.n_columns = columns, len(columns)
        elif list(columns.items()) != list(self._first.items()):
            raise ValueError(difference(f"frame {k} of X", columns, "frame 0", self._first))


def _columns_of(frame):
    """Label and dtype of each column of an array or a frame, a dict in their order."""
    if not is_frame(frame):
        # The length of a text is no matter.
        dtype = frame.dtype.kind if frame.dtype.kind in "US" else frame.dtype
        return dict.fromkeys(range(frame.shape[1]), dtype)
    dtypes = frame.schema.types if hasattr(frame, "column_names") else frame.dtypes
    return dict(zip(labels_of(frame), dtypes, strict=True))


def difference(what, columns, other, first):
    """The message for columns, dtypes by label, that differ from those of the first part."""
    for name in [*first, *columns]:
        if name not in columns:
            return f"Columns differ: {what} has no column {name!r}, but {other} has. Add it."
        if name not in first:
            return f"Columns differ: {what} has a column {name!r}, but {other} has none. Drop it."
        if columns[name] != first[name]:
            return (
                f"Columns differ: column {name!r} is {columns[name]} in {what}, but {first[name]} "
                f"in {other}. Convert it to one type."
            )
    return (
        f"Columns differ: {what} has the order {list(columns)[:5]}, but {other} {list(first)[:5]}. "
        "Give all of them one order."
    )
