"""Parquet files, one or a folder of them, read block by block."""

from collections import deque
from pathlib import Path

from gudlearn.data.streams import Stream, difference

# Row groups that are open at once where they are read in random order, and bytes that are read
# from a file at once for each column.
_AT_ONCE, _BUFFER = 4, 1 << 18


class ParquetStream(Stream):
    """Rows of Parquet files as tables of pyarrow.

    Folders are read with all folders inside them; names of folders such as ``year=2026`` are
    columns. The index of a pandas frame that was written is no column.

    Parameters
    ----------
    path : str or path-like
        A file or a folder.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    ImportError
        Without pyarrow.
    ValueError
        If a folder holds no Parquet file, a file is none, or columns or types of files differ.
    """

    def __init__(self, path):
        self.path = Path(path)
        if not self.path.exists():
            raise FileNotFoundError(
                f"X={str(path)!r}: there is no file or folder of that name. Pass the path of a "
                "Parquet file, or of a folder of them; or rows as an array or a frame."
            )
        dataset = _dataset(self.path)
        fragments = list(dataset.get_fragments())
        if not fragments:
            raise ValueError(f"The folder {str(path)!r} holds no Parquet file. Pass another.")
        _check_alike(fragments)
        self._schema = _without_index(dataset.schema)
        self.n_columns = len(self._schema)
        self._units, start = [], 0
        for fragment in fragments:
            of_path = _keys(fragment)
            for group in fragment.row_groups:
                if group.num_rows:
                    self._units.append((start, fragment.path, group.id, of_path))
                start += group.num_rows
        self.n_rows = start
        if not self.n_rows:
            raise ValueError(f"{str(path)!r} holds no rows. Pass Parquet files with rows.")

    def blocks(self, size):
        """Yield blocks in the order of files and row groups; see `Stream.blocks`."""
        for unit in self._units:
            yield from self._read(unit, size)

    def shuffled(self, size, rng):
        """Yield blocks of some row groups by turns, row groups in random order."""
        waiting = deque(self._units[k] for k in rng.permutation(len(self._units)))
        active = deque()
        while waiting or active:
            while waiting and len(active) < _AT_ONCE:
                active.append(self._read(waiting.popleft(), size))
            block = next(active[0], None)
            if block is None:
                active.popleft()
                continue
            active.rotate(-1)
            yield block

    def _read(self, unit, size):
        """Yield the blocks of a row group."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        start, path, group, of_path = unit
        # Pages are read and decoded as they are needed: a row group may be larger than a block.
        with pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
            names = [name for name in self._schema.names if name not in of_path]
            for batch in file.iter_batches(size, [group], names, use_threads=False):
                table = pa.Table.from_batches([batch])
                for name, value in of_path.items():
                    kind = self._schema.field(name).type
                    table = table.append_column(name, pa.repeat(pa.scalar(value, kind), len(batch)))
                yield start, table.select(self._schema.names)
                start += len(batch)


def _dataset(path):
    try:
        import pyarrow.dataset as ds
    except ImportError as error:
        raise ImportError(
            f"X={str(path)!r} is the path of Parquet files, which pyarrow reads. Install it: "
            'pip install "gudlearn[stream]".'
        ) from error
    try:
        return ds.dataset(path, format="parquet", partitioning="hive")
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path, error):
    reason = str(error).splitlines()[0]
    return ValueError(
        f"X={str(path)!r} cannot be read as Parquet: {reason} Pass Parquet files only."
    )


def _check_alike(fragments):
    """Raise if a file is no Parquet file, or has other columns or types than the first."""
    first = None
    for fragment in fragments:
        try:
            schema = fragment.physical_schema
        except (OSError, ValueError) as error:
            raise _unreadable(fragment.path, error) from error
        columns = dict(sorted(zip(schema.names, schema.types, strict=True)))
        if first is None:
            first, of = columns, fragment.path
        elif columns != first:
            raise ValueError(difference(repr(fragment.path), columns, repr(of), first))


def _keys(fragment):
    """What the path of a file says about its rows, a dict of values by column."""
    import pyarrow.dataset as ds

    return ds.get_partition_keys(fragment.partition_expression)


def _without_index(schema):
    """A schema without the columns that were the index of a pandas frame."""
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    for name in index:
        if isinstance(name, str) and name in schema.names:
            schema = schema.remove(schema.get_field_index(name))
    return schema.remove_metadata()
