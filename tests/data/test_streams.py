"""Tables that are read block by block: what is read, in which order, and what is refused."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from torch.utils.data import IterableDataset, TensorDataset

from gudlearn.data import streams
from gudlearn.data.row_blocks import in_blocks_of
from gudlearn.data.streams import ArrayStream, DatasetStream, FrameStream, opened, read_ahead
from small import continuous
from streams import Frames, Items, as_memmap, mixed_rows


@pytest.fixture
def nothing_fits(monkeypatch):
    """Let even small tables be streams."""
    monkeypatch.setattr(streams, "MOST_IN_MEMORY", 0)


def written(folder, frame, n_files=3, rows_per_group=300):
    """Parquet files of the rows of a frame."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder.mkdir(exist_ok=True)
    for k, index in enumerate(np.array_split(np.arange(len(frame)), n_files)):
        table = pa.Table.from_pandas(frame.iloc[index], preserve_index=False)
        pq.write_table(table, folder / f"{k}.parquet", row_group_size=rows_per_group)
    return folder


def kinds(tmp_path):
    """Streams of the same 2000 rows of three numbers, the first of which is the row's, by kind."""
    X = np.column_stack([np.arange(2000.0), continuous(2000)[:, :2]])
    frame = pd.DataFrame(X, columns=list("abc"))
    yield "memmap", as_memmap(X, tmp_path / "x.dat")
    yield "arrays", Frames(X)
    yield "pandas", Frames(frame)
    yield "polars", Frames(pl.from_pandas(frame))
    yield "list", [frame[:1500], frame[1500:]]
    yield "dataset", Items([torch.from_numpy(row) for row in X])
    yield "tensors", TensorDataset(torch.from_numpy(X))
    if find_spec("pyarrow") is not None:
        yield "parquet", written(tmp_path / "files", frame)
        yield "str", str(tmp_path / "files" / "1.parquet")


def first_column(frame):
    return np.asarray(frame[:, 0] if isinstance(frame, np.ndarray) else frame["a"])


def test_blocks_hold_every_row_once_in_order_and_shuffled(tmp_path, nothing_fits):
    for name, X in kinds(tmp_path):
        stream = opened(X)
        assert isinstance(stream, streams.Stream), name
        index = range(667, 1334) if name == "str" else range(2000)
        for blocks in (stream.blocks(128), stream.shuffled(128, np.random.default_rng(0))):
            rows = []
            for start, frame in blocks:
                column = first_column(frame)
                assert len(column) <= 128
                assert column[0] - index[0] == start
                rows += column.tolist()
            assert sorted(rows) == list(index), name
            if name in ("memmap", "dataset", "tensors", "parquet"):
                in_order = rows == sorted(rows)
        if name in ("memmap", "dataset", "tensors", "parquet"):
            assert not in_order, name
        assert stream.n_columns == 3
        stream.complete(len(index))


def test_what_fits_into_memory_is_read_into_it(tmp_path):
    for name, X in kinds(tmp_path):
        rows = opened(X)
        assert not isinstance(rows, streams.Stream)
        assert rows.shape == (667 if name == "str" else 2000, 3)
        assert np.array_equal(np.diff(first_column(rows)), np.ones(len(rows) - 1)), name


def test_row_groups_are_mixed(tmp_path, nothing_fits):
    frame = pd.DataFrame({"a": np.arange(2000.0)})
    stream = opened(written(tmp_path / "files", frame, 2, 100))
    blocks = list(stream.shuffled(50, np.random.default_rng(0)))
    groups = [start // 100 for start, _ in blocks[:4]]
    assert len(set(groups)) == 4
    other = list(stream.shuffled(50, np.random.default_rng(1)))
    assert [start for start, _ in other] != [start for start, _ in blocks]


def test_folders_are_columns_and_an_index_is_none(tmp_path, nothing_fits):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for year in (2025, 2026):
        folder = tmp_path / "files" / f"year={year}"
        folder.mkdir(parents=True)
        frame = pd.DataFrame({"x": np.arange(3.0) + year}, index=[7, 8, 10])
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=True), folder / "a.parquet")
    (start, table), (second, _) = opened(tmp_path / "files").blocks(10)
    assert table.column_names == ["x", "year"] and (start, second) == (0, 3)
    assert table["year"].to_pylist() == [2025] * 3
    rows = opened(tmp_path / "files").shuffled(10, np.random.default_rng(0))
    assert sum(table.num_rows for _, table in rows) == 6


@pytest.mark.parametrize("size", [1, 7, 256])
def test_blocks_get_another_size(size):
    frame = pd.DataFrame({"a": np.arange(600), "b": list("xyz") * 200})
    for table in (frame, frame[["a"]].to_numpy(), pl.from_pandas(frame)):
        blocks = list(in_blocks_of(Frames(table, (1, 250, 13)), size))
        lengths = [len(block) for block in blocks]
        assert set(lengths[:-1]) <= {size} and 0 < lengths[-1] <= size
        whole = np.concatenate([np.asarray(block) for block in blocks])
        assert np.array_equal(whole, np.asarray(table))


def test_reading_ahead_keeps_order_and_errors():
    assert list(read_ahead(iter(range(1, 9)))) == list(range(1, 9))

    def broken():
        yield 1
        raise OSError("disk")

    blocks = read_ahead(broken())
    assert next(blocks) == 1
    with pytest.raises(OSError, match="disk"):
        next(blocks)


# What is no stream


@pytest.mark.parametrize(
    "X",
    [
        continuous(), continuous().tolist(), pd.DataFrame(continuous()), 3.0, None, {"a": [1]}, [],
        [continuous(), continuous()], pd.Series([1.0]), continuous()[None], range(3),
    ],
    ids=lambda X: type(X).__name__,
)  # fmt: skip
def test_rows_in_memory_are_left_alone(X):
    assert opened(X) is X


def test_images_on_disk_are_no_stream(tmp_path, nothing_fits):
    images = as_memmap(np.zeros((3, 4, 4)), tmp_path / "x.dat")
    assert opened(images) is images


# Bad input


class Once:
    """An iterable whose frames can be read once only."""

    def __init__(self, frames):
        self.frames = iter(frames)

    def __iter__(self):
        yield from self.frames


class Endless(IterableDataset):
    """A dataset without numbers of rows."""

    def __iter__(self):
        return iter([])


class NoLength(torch.utils.data.Dataset):
    """A dataset without a length."""

    def __getitem__(self, index):
        return torch.zeros(3)


def blocks():
    """Three frames."""
    return [mixed_rows(100, seed)[["normal", "shop"]] for seed in range(3)]


def renamed():
    return blocks()[0].rename(columns={"shop": "store"})


def retyped():
    return blocks()[0].astype({"normal": np.float32})


ROWS = list(continuous())
BAD = {
    "no file": ("no/such.parquet", FileNotFoundError, "X='no/such.parquet': there is no file"),
    "no folder": (Path("nowhere"), FileNotFoundError, "or rows as an array or a frame"),
    "generator": ((f for f in blocks()), TypeError, "is a generator, which can be read only once"),
    "one iterator": (iter(blocks()), TypeError, "list_iterator, which can be read only once"),
    "one column less": (
        [blocks()[0], blocks()[1][["shop"]]], ValueError,
        "frame 1 of X has no column 'normal', but frame 0 has",
    ),
    "one more column": (
        [blocks()[0][["shop"]], blocks()[1]], ValueError,
        "frame 1 of X has a column 'normal', but frame 0 has none",
    ),
    "names": ([blocks()[0], renamed()], ValueError, "frame 1 of X has no column 'shop'"),
    "order": ([blocks()[0], blocks()[0].iloc[:, ::-1]], ValueError, "has the order .'shop', 'nor"),
    "types": (
        [blocks()[0], retyped()], ValueError,
        "column 'normal' is float32 in frame 1 of X, but float64 in frame 0",
    ),
    "no frame": ([blocks()[0], [1, 2]], TypeError, "Frame 1 of X is a list, but an iterable must"),
    "endless": (Endless(), TypeError, "IterableDataset, whose rows have no numbers"),
    "no length": (NoLength(), TypeError, "NoLength without __len__"),
    "no items": (Items([]), ValueError, "Dataset without items"),
    "labels": (
        Items([(row, 1) for row in ROWS]), ValueError,
        "Item 0 of the Dataset is a tuple of 2 parts, .* with the label as one of them",
    ),
    "images": (Items([np.zeros((3, 3))]), ValueError, r"Item 0 of the Dataset has shape \(3, 3\)"),
    "numbers": (Items([1.0, 2.0]), ValueError, r"Item 0 of the Dataset has shape \(\), but items"),
    "ragged": (
        Items([ROWS[0], ROWS[1][:2]]), ValueError,
        r"Item 1 of the Dataset has shape \(2,\), but items must be rows of shape \(3,\)",
    ),
    "words": (Items([np.array(["a", "b"])]), TypeError, "Item 0 of the Dataset has the dtype <U1"),
}  # fmt: skip


@pytest.mark.parametrize(("X", "error", "message"), BAD.values(), ids=BAD)
def test_a_bad_stream_is_refused(X, error, message):
    with pytest.raises(error, match=message):
        opened(X)


def test_arrays_of_other_widths_are_refused():
    class Blocks:
        def __iter__(self):
            return iter([continuous(), continuous()[:, :2]])

    with pytest.raises(ValueError, match="frame 1 of X has no column 2, but frame 0 has"):
        opened(Blocks())


def test_a_stream_that_is_read_twice_and_ends_early_is_refused(nothing_fits):
    stream = opened(Once(blocks()))
    n = sum(len(frame) for _, frame in stream.blocks(1000))
    assert n <= 300
    with pytest.raises(ValueError, match="and none when it was read again. Its __iter__ must"):
        list(stream.blocks(1000))

    class Shrinking(Frames):
        def __iter__(self):
            self.table = self.table[:-100]
            return super().__iter__()

    stream = FrameStream(Shrinking(mixed_rows(1000)))
    assert sum(len(frame) for _, frame in stream.blocks(1000)) == 900
    with pytest.raises(ValueError, match="X had 900 rows when it was first read, and 800 when"):
        list(stream.blocks(1000))


def test_an_iterable_without_rows_is_refused():
    with pytest.raises(ValueError, match="X yields no rows"):
        opened([blocks()[0][:0]])


def test_a_memmap_without_rows_is_refused(tmp_path):
    with pytest.raises(ValueError, match="memmap without rows"):
        ArrayStream(as_memmap(np.zeros((4, 3)), tmp_path / "x.dat")[:0])


def test_bad_parquet_files_are_refused(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty' holds no Parquet file. Pass another"):
        opened(tmp_path / "empty")
    folder = written(tmp_path / "files", mixed_rows(30))
    pq.write_table(pa.table({"a": [1]}), folder / "9.parquet")
    with pytest.raises(ValueError, match="9.parquet' has no column 'count', but '.*0.parquet' has"):
        opened(folder)
    other = pa.Table.from_pandas(mixed_rows(30).astype({"count": str}), preserve_index=False)
    pq.write_table(other, folder / "9.parquet")
    message = "column 'count' is (large_)?string in '.*9.parquet', but int64 in '.*0.parquet'"
    with pytest.raises(ValueError, match=message):
        opened(str(folder))
    (folder / "9.parquet").write_text("no Parquet")
    with pytest.raises(ValueError, match="9.parquet' cannot be read as Parquet: .* Pass Parq"):
        opened(folder)
    (folder / "0.parquet").write_text("no Parquet")
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        opened(folder)
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "none.parquet")
    with pytest.raises(ValueError, match="none.parquet' holds no rows"):
        opened(tmp_path / "none.parquet")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.dataset", None)
    with pytest.raises(ImportError, match=r'pip install "gudlearn\[stream\]"'):
        opened(tmp_path)


def test_rows_of_a_dataset_are_read_at_once_where_it_can(nothing_fits):
    class AtOnce(Items):
        def __getitems__(self, index):
            self.asked = index
            return [self.items[k] for k in index]

    dataset = AtOnce([np.full(2, k) for k in range(10)])
    stream = DatasetStream(dataset)
    assert stream.rows(3, 6).tolist() == [[3, 3], [4, 4], [5, 5]]
    assert dataset.asked == [3, 4, 5]
