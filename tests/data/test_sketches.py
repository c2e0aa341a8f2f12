"""Summaries of rows that come in blocks agree with what all rows say at once."""

import numpy as np
import pandas as pd
import pytest

from gudlearn import Schema
from gudlearn.data import summaries
from gudlearn.data.frames import Table, read_table
from gudlearn.data.grids import find_width
from gudlearn.data.sketches import DistinctCount, Divisor, GridWitnesses, RowSample
from gudlearn.data.summaries import ColumnSummary
from streams import mixed_rows


def drawn(size, n, blocks, seed=0):
    """Numbers of the rows that are drawn of n rows in some blocks."""
    sample = RowSample(size, seed)
    for index in np.array_split(np.arange(n), blocks):
        sample.add(int(index[0]), len(index), index[:, None].astype(float))
    return sample


def test_a_sample_does_not_depend_on_the_blocks_in_which_rows_come():
    index, rows = drawn(50, 1000, 1).rows()
    assert len(index) == 50 and np.array_equal(rows[:, 0], index)
    for blocks in (3, 1000):
        sample = drawn(50, 1000, blocks)
        assert np.array_equal(sample.rows()[0], index)
        has = np.concatenate([sample.has(0, 400), sample.has(400, 600)])
        assert np.array_equal(np.flatnonzero(has), index)


def test_a_sample_of_few_rows_is_all_of_them():
    sample = drawn(50, 20, 4)
    assert np.array_equal(sample.rows()[0], np.arange(20))
    assert sample.has(0, 20).all()
    empty = drawn(0, 20, 4)
    assert empty.rows()[1] is None and not empty.has(0, 20).any()


def test_every_row_is_drawn_with_the_same_probability():
    counts = np.zeros(40)
    for seed in range(400):
        counts[drawn(10, 40, 3, seed).rows()[0]] += 1
    # 400 draws of probability 1/4.
    error = np.sqrt(400 * 0.25 * 0.75)
    assert np.abs(counts - 100).max() < 5 * error
    assert counts[:20].mean() == pytest.approx(100, abs=5 * error / np.sqrt(20))


@pytest.mark.parametrize("n_distinct", [1, 1000, 4000, 50_000])
def test_distinct_values_are_counted_to_some_percent(n_distinct):
    rng = np.random.default_rng(n_distinct)
    values = rng.permutation(np.arange(n_distinct) / 7 - 3)
    count = DistinctCount()
    for part in np.array_split(np.concatenate([values, values, [-0.0, 0.0]]), 13):
        count.add(part)
    exact = n_distinct + (0.0 not in values)
    # The relative standard error is 1 / sqrt(4096).
    error = 0 if exact <= DistinctCount.SIZE else 5 / 64 * exact
    assert abs(count.estimate() - exact) <= error


GRIDS = {
    "whole": lambda rng: rng.integers(-50, 50, 3000).astype(float),
    "even": lambda rng: 2.0 * rng.integers(-50, 50, 3000),
    "cents": lambda rng: rng.integers(-5000, 5000, 3000) / 100,
    "quarters": lambda rng: rng.integers(-500, 500, 3000) / 4,
    "thirds": lambda rng: rng.integers(-500, 500, 3000) / 3,
    "none": lambda rng: rng.normal(size=3000),
    "short": lambda rng: (rng.integers(0, 256, 3000) / 255).astype(np.float32),
    # What the first block says is not what the last says.
    "late": lambda rng: np.r_[10.0 * rng.integers(0, 90, 2999), 0.25],
    "late tens": lambda rng: np.r_[10.0 * rng.integers(0, 90, 2999), 5.0],
    "late none": lambda rng: np.r_[rng.integers(0, 90, 2999), np.pi],
}


@pytest.mark.parametrize("name", GRIDS)
def test_witnesses_have_the_grid_of_all_values(name):
    values = GRIDS[name](np.random.default_rng(0))
    witnesses = GridWitnesses(values.dtype)
    for part in np.array_split(values, 7):
        witnesses.add(part)
    certain = np.array([values.min(), values.max(), *witnesses.found], values.dtype)
    assert len(certain) < 200
    assert find_width(np.unique(certain)) == find_width(np.unique(values))


@pytest.mark.parametrize("values", [[0, 0], [0, 12, 18], [7], [5, 0, 3], [-6, 9]])
def test_the_divisor_of_witnesses_is_that_of_all_numbers(values):
    numbers = np.array(values)
    divisor = Divisor()
    index = [k for part in (numbers[:1], numbers[1:]) if len(part) for k in divisor.add(part)]
    assert divisor.value == np.gcd.reduce(np.abs(numbers))
    assert len(index) <= 3


def streamed(frame, sizes=7, sample=1000):
    """The summaries and a sample of a frame, as a table."""
    names = list(frame)
    columns, draw = [ColumnSummary(name) for name in names], RowSample(sample, 0)
    for index in np.array_split(np.arange(len(frame)), sizes):
        block = frame.iloc[index]
        draw.add(int(index[0]), len(index), block)
        for column, raw in zip(columns, read_table(block, names).columns, strict=True):
            column.add(raw, int(index[0]))
    some = read_table(draw.rows()[1], names)
    columns = [c.column(raw) for c, raw in zip(columns, some.columns, strict=True)]
    return Table(some.kind, columns, len(frame), sample=some)


def decided(schema):
    """What a schema says about its columns, as text."""
    return [
        {name: str(getattr(column, name)) for name in column.__dataclass_fields__}
        for column in schema.columns
    ]


DECLARED = {
    "found": {}, "declared": {"feature_types": {"count": "category", "price": "continuous"}},
    "modelled": {"missing": "model"}, "plain": {"atoms": False},
    "constraints": {"constraints": ["count >= 0"]},
}  # fmt: skip


@pytest.mark.parametrize("parameters", DECLARED.values(), ids=DECLARED)
def test_a_schema_of_few_distinct_values_is_that_of_all_rows(parameters):
    frame, schema = mixed_rows(), Schema(**parameters)
    inside = schema.build(frame, list(frame))
    assert decided(schema.build(streamed(frame), list(frame))) == decided(inside)


# Counts of distinct values, and in sentences about them, are estimates there.
ESTIMATED = ("evidence", "n_distinct")


def test_a_schema_of_many_distinct_values_is_that_of_all_rows(monkeypatch):
    monkeypatch.setattr(summaries, "MOST_DISTINCT", 50)
    frame = mixed_rows(20_000)
    frame["rare"] = np.where(np.arange(len(frame)) == 19_000, -1e6, frame["normal"])
    frame["late"] = np.r_[np.arange(19_999.0), 0.5]
    inside = decided(Schema().build(frame, list(frame)))
    outside = decided(Schema().build(streamed(frame), list(frame)))
    for known, found in zip(inside, outside, strict=True):
        # Five of its standard errors, and what is beyond the values of a sample.
        estimate, exact = int(found["n_distinct"]), int(known["n_distinct"])
        assert abs(estimate - exact) <= 5 / 64 * exact
        for name in ESTIMATED:
            del known[name], found[name]
        assert found == known


def test_sparse_values_among_zeros_are_no_levels(monkeypatch):
    monkeypatch.setattr(summaries, "MOST_DISTINCT", 500)
    x = np.zeros(40_000)
    x[::10] = np.random.default_rng(0).normal(size=4000)
    frame = pd.DataFrame({"x": x, "y": np.arange(40_000.0)})
    column = Schema().build(streamed(frame), list(frame)).columns[0]
    assert not column.is_category and column.atoms.tolist() == [0.0]
    assert not Schema().build(frame, list(frame)).columns[0].is_category


def test_too_many_levels_are_refused(monkeypatch):
    monkeypatch.setattr(summaries, "MOST_DISTINCT", 50)
    frame = pd.DataFrame({"name": [f"n{k}" for k in range(99)] * 2, "x": np.arange(198.0)})
    with pytest.raises(ValueError, match="'name' holds more than 50 different texts.*Drop it"):
        streamed(frame)
    with pytest.raises(ValueError, match="levels of column 'x', but it holds about 198 .* at most"):
        Schema(feature_types={"x": "ordered"}).build(streamed(frame[["x"]]), ["x"])


def test_unseen_combinations_cannot_be_known_of_a_stream():
    frame = mixed_rows(100)
    schema = Schema(forbid_unseen=[("shop", "count")])
    with pytest.raises(ValueError, match="forbid_unseen=.*larger than memory. Leave it out"):
        schema.build(streamed(frame), list(frame))


BLOCKS = {
    "kinds": ([["a"], [1]], "'x' holds integers from row 1 on, but text or levels before"),
    "units": (
        [np.array(["2026"], "M8[s]"), np.array(["2026"], "M8[ms]")],
        "'x' holds datetimes in ms from row 1 on, but datetimes in s before",
    ),
    "infinity": ([[1.0], [2.0, np.inf]], "infinity: column 'x', row 2; 1 entries"),
}  # fmt: skip


@pytest.mark.parametrize(("blocks", "message"), BLOCKS.values(), ids=BLOCKS)
def test_blocks_of_a_column_must_agree(blocks, message):
    summary, row = ColumnSummary("x"), 0
    with pytest.raises(ValueError, match=message):
        for block in blocks:
            summary.add(read_table(pd.DataFrame({"x": block})).columns[0], row)
            row += len(block)


def test_missing_values_come_in_any_block():
    summary = ColumnSummary("x")
    for block in ([None, None], ["b", "a"], [None, "a"]):
        raw = read_table(pd.DataFrame({"x": pd.Series(block, dtype=object)})).columns[0]
        summary.add(raw, 0)
    column = summary.column(None)
    assert column.n_missing() == 3 and column.counts.tolist() == [1, 2]
    assert column.levels.tolist() == ["b", "a"]


def test_large_unsigned_numbers_stay_exact(monkeypatch):
    monkeypatch.setattr(summaries, "MOST_DISTINCT", 3)
    values = np.array([5, 9, 2**63 + 4, 2**63 + 11, 2**64 - 1], dtype=np.uint64)
    for blocks in (1, 5):
        summary = ColumnSummary("x")
        for part in np.array_split(values, blocks):
            summary.add(read_table(part[:, None]).columns[0], 0)
        sample = read_table(values[:2, None]).columns[0]
        found = summary.column(sample).values
        assert {5, 2**64 - 1} <= set(found.tolist()) <= set(values.tolist())
