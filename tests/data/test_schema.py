"""Frames become numbers and come back as they were; bad ones are refused by name."""

import datetime
import decimal
import pickle
import time

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.dummy import DummyClassifier

from gudlearn import Schema
from gudlearn.data.frames import read_table
from gudlearn.data.reading import read_first, read_more

N = 120
RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 4, N)
TEXT = np.array(["a", "b", "c", "d e"], dtype=object)[CODES]
GAPS = np.arange(N) % 7 == 0
REAL = RNG.normal(size=N)
OTHER = RNG.normal(size=N)
WHOLE = RNG.integers(-5, 50, N)
TIMES = np.datetime64("2021-03-01", "s") + 60 * RNG.integers(0, 10_000, N)


def with_gaps(values, null=None):
    out = np.array(values, dtype=object)
    out[GAPS] = null
    return out


def names_of(X):
    labels = getattr(X, "column_names", getattr(X, "columns", None))
    if labels is None:
        return [f"x{j}" for j in range(np.shape(X)[1])]
    return [str(label) for label in labels]


def build(X, spec=None, **parameters):
    return (spec or Schema()).build(X, names_of(X), **parameters)


def same(a, b):
    """Raise unless two tables are equal in container, names, dtypes and values."""
    assert type(a) is type(b)
    if isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b, check_exact=True, check_freq=False)
        pd.testing.assert_index_equal(a.columns, b.columns, exact=True)
        for x, y in zip(a.dtypes, b.dtypes, strict=True):
            assert x == y and repr(x) == repr(y)
        for j in np.flatnonzero([dtype.kind == "O" for dtype in a.dtypes]):
            for x, y in zip(a.iloc[:, j], b.iloc[:, j], strict=True):
                assert type(x) is type(y)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    else:
        assert a.schema == b.schema
        # Dictionaries of pyarrow may list their values in another order.
        assert a.equals(b) or a.to_pylist() == b.to_pylist()


PANDAS = {
    "float64": REAL,
    "float32": REAL.astype(np.float32),
    "float16": (RNG.random(N) * 65000).astype(np.float16),
    "float64 gaps": np.where(GAPS, np.nan, REAL),
    "cents": np.round(RNG.random(N), 2),
    "cents of float32": np.round(RNG.random(N), 2).astype(np.float32),
    "quarters after 2020": 1.7e9 + WHOLE * 0.25,
    "thirds": WHOLE / 3,
    "few floats": np.array([0.1, 0.3, 2 / 3, np.pi])[CODES],
    "few float32": np.array([0.1, 0.3, 2.5], dtype=np.float32)[CODES % 3],
    "zeros and floats": np.where(CODES == 0, 0.0, REAL),
    "caps": np.clip(RNG.normal(0.5, 0.5, N), 0, 1),
    "sentinels": np.where(CODES == 1, -9999.0, np.round(10 * REAL, 1)),
    "int64": WHOLE,
    "int8": WHOLE.astype(np.int8),
    "uint8": np.abs(WHOLE).astype(np.uint8),
    "zero-inflated integers": np.where(CODES == 0, 0, RNG.integers(1000, 70_000, N)),
    "2**60": 2**60 + WHOLE,
    "uint64 beyond int64": np.uint64(2**63 + 5) + np.abs(WHOLE).astype(np.uint64),
    "negative 2**62": -(2**62) - WHOLE,
    "constant 2**60 + 1": np.full(N, 2**60 + 1),
    "constant float": np.full(N, 0.1),
    "constant text": np.full(N, "same", dtype=object),
    "Int64": pd.array(WHOLE, dtype="Int64"),
    "Int64 gaps": pd.array(with_gaps(WHOLE, pd.NA), dtype="Int64"),
    "Int64 large gaps": pd.array(with_gaps(2**60 + WHOLE, pd.NA), dtype="Int64"),
    "UInt8 gaps": pd.array(with_gaps(np.abs(WHOLE), pd.NA), dtype="UInt8"),
    "Float64 gaps": pd.array(with_gaps(REAL, pd.NA), dtype="Float64"),
    "Float32": pd.array(REAL, dtype="Float32"),
    "boolean gaps": pd.array(with_gaps(REAL > 0, pd.NA), dtype="boolean"),
    "bool": REAL > 0,
    "objects of booleans": pd.Series(with_gaps(REAL > 0), dtype=object),
    "str": pd.Series(TEXT, dtype="str"),
    "str gaps": pd.Series(with_gaps(TEXT), dtype="str"),
    "string gaps": pd.Series(with_gaps(TEXT), dtype="string"),
    "objects of text": pd.Series(TEXT, dtype=object),
    "objects of text, None": pd.Series(with_gaps(TEXT), dtype=object),
    "objects of text, nan": pd.Series(with_gaps(TEXT, np.nan), dtype=object),
    "objects of integers": pd.Series(WHOLE.tolist(), dtype=object),
    "objects of integers, None": pd.Series(with_gaps(WHOLE.tolist()), dtype=object),
    "objects of floats": pd.Series(REAL.tolist(), dtype=object),
    "objects of Decimal": pd.Series(
        [decimal.Decimal(repr(round(v, 2))) for v in REAL.tolist()], dtype=object
    ),
    "objects of dates": pd.Series(
        [datetime.date(2020, 1, 1) + datetime.timedelta(int(k)) for k in WHOLE], dtype=object
    ),
    "objects of datetimes": pd.Series(list(TIMES.astype(object)), dtype=object),
    "objects of bytes": pd.Series([t.encode() for t in TEXT], dtype=object),
    "Categorical": pd.Categorical(TEXT, categories=["d e", "c", "never", "b", "a"]),
    "Categorical gaps": pd.Categorical(with_gaps(TEXT)),
    "Categorical ordered": pd.Categorical(TEXT, categories=["d e", "c", "b", "a"], ordered=True),
    "Categorical of integers": pd.Categorical(CODES),
    "Categorical of integers, gaps": pd.Categorical(np.where(GAPS, np.nan, CODES)),
    "Categorical of floats": pd.Categorical(CODES / 2),
    "Categorical of booleans": pd.Categorical(REAL > 0),
    "Categorical of dates": pd.Categorical(np.datetime64("2020-01-01") + CODES),
    "intervals": pd.cut(REAL, [-9, -1, 0, 1, 9]),
    "IntervalDtype": pd.arrays.IntervalArray(pd.cut(REAL, [-9, 0, 9])),
    "datetime64[ns]": TIMES.astype("M8[ns]"),
    "datetime64[us] gaps": np.where(GAPS, np.datetime64("NaT"), TIMES.astype("M8[us]")),
    "datetime64[s]": TIMES.astype("M8[s]"),
    "nanoseconds": np.datetime64("2020-01-01", "ns") + RNG.integers(0, 10**15, N),
    "time zone": pd.Series(TIMES).dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin"),
    "days in a time zone": pd.date_range("2020", periods=N, tz="America/New_York"),
    "timedelta64": (60 * WHOLE).astype("m8[s]").astype("m8[ns]"),
    "timedelta64 gaps": np.where(GAPS, np.timedelta64("NaT"), (1500 * WHOLE).astype("m8[ms]")),
    "period": pd.period_range("1990", periods=N, freq="M"),
    "sparse": pd.arrays.SparseArray(np.where(CODES == 0, WHOLE, 0)),
    "sparse floats": pd.arrays.SparseArray(np.where(CODES == 0, REAL, np.nan)),
}
POLARS = {
    **{str(t): pl.Series(WHOLE % 50, dtype=t) for t in (pl.Int8, pl.Int32, pl.Int64, pl.UInt64)},
    "Int64 null": pl.Series(with_gaps(WHOLE.tolist()).tolist(), dtype=pl.Int64),
    "UInt64 large": pl.Series((2**63 + CODES.astype(np.uint64)).tolist(), dtype=pl.UInt64),
    "Float64": pl.Series(REAL),
    "Float32 null": pl.Series(with_gaps(REAL.tolist()).tolist(), dtype=pl.Float32),
    "Float64 nan": pl.Series(np.where(GAPS, np.nan, REAL)),
    "Decimal": pl.Series([round(v, 2) for v in REAL.tolist()]).cast(pl.Decimal(10, 2)),
    "Boolean null": pl.Series(with_gaps((REAL > 0).tolist()).tolist(), dtype=pl.Boolean),
    "String null": pl.Series(with_gaps(TEXT).tolist(), dtype=pl.String),
    "Categorical null": pl.Series(with_gaps(TEXT).tolist(), dtype=pl.Categorical),
    "Enum": pl.Series(TEXT.tolist(), dtype=pl.Enum(["d e", "c", "b", "never", "a"])),
    "Binary": pl.Series([t.encode() for t in TEXT]),
    "Date null": pl.Series(with_gaps(TIMES.astype("M8[D]").astype(object)).tolist()),
    "Datetime ms": pl.Series(TIMES.astype("M8[ms]")),
    "Datetime ns": pl.Series(TIMES.astype("M8[ns]")),
    "Datetime zone null": pl.Series(
        with_gaps(TIMES.astype("M8[us]").astype(object)).tolist(), dtype=pl.Datetime("us")
    ).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo"),
    "Duration": pl.Series((1500 * WHOLE).astype("m8[ms]")),
    "Time": pl.Series([datetime.time(int(k) % 24, int(k) % 60) for k in CODES * 7]),
}  # fmt: skip
ARRAYS = {
    **{
        np.dtype(t).name: np.c_[WHOLE % 9, WHOLE % 7].astype(t)
        for t in (np.float64, np.float32, np.float16, np.int64, np.int8, np.uint8, bool)
    },
    "continuous": np.c_[REAL, OTHER],
    "gaps": np.c_[REAL, np.where(GAPS, np.nan, OTHER)],
    "objects": np.array([TEXT, with_gaps(WHOLE.tolist()), REAL.tolist()], dtype=object).T,
    "text": np.c_[TEXT, TEXT[::-1]].astype(str),
    "2**60": 2**60 + np.c_[WHOLE, WHOLE],
}


def of_arrow(pa):
    """Columns of pyarrow."""

    def column(values, dtype):
        return pa.array([None if v is None else v for v in values], type=dtype)

    days = [datetime.date(2020, 1, 1) + datetime.timedelta(int(k)) for k in WHOLE]
    cents = [decimal.Decimal(f"{v:.2f}") for v in REAL.tolist()]
    hours = [datetime.time(int(k)) for k in CODES * 5]
    micros = TIMES.astype("M8[us]").astype(object)
    return {
        "int64": column(WHOLE.tolist(), pa.int64()),
        "int8 null": column(with_gaps(WHOLE.tolist()), pa.int8()),
        "uint64": column([2**63 + k for k in CODES.tolist()], pa.uint64()),
        "double": column(REAL.tolist(), pa.float64()),
        "float null": column(with_gaps(REAL.tolist()), pa.float32()),
        "bool null": column(with_gaps((REAL > 0).tolist()), pa.bool_()),
        "string null": column(with_gaps(TEXT), pa.string()),
        "large_string": column(TEXT, pa.large_string()),
        "binary": column([t.encode() for t in TEXT], pa.binary()),
        "dictionary": column(with_gaps(TEXT), pa.string()).dictionary_encode(),
        "date32": column(with_gaps(days), pa.date32()),
        "timestamp null": column(with_gaps(micros), pa.timestamp("us")),
        "timestamp zone": column(micros, pa.timestamp("ms", tz="Europe/Berlin")),
        "duration": column((1500 * WHOLE).astype("m8[ms]").astype(object), pa.duration("ms")),
        "decimal null": column(with_gaps(cents), pa.decimal128(10, 2)),
        "time32": column(hours, pa.time32("s")),
        "time64 null": column(with_gaps(hours), pa.time64("us")),
    }


def registry():
    for name, values in PANDAS.items():
        yield f"pandas {name}", pd.DataFrame({"v": values, "x": REAL})
    for name, values in POLARS.items():
        yield f"polars {name}", pl.DataFrame({"v": values, "x": REAL})
    for name, values in ARRAYS.items():
        yield f"numpy {name}", values
    try:
        import pyarrow as pa
    except ImportError:
        return
    for name, values in of_arrow(pa).items():
        table = pa.table({"v": values, "x": pa.array(REAL)})
        yield f"pyarrow {name}", table
        yield f"pandas of pyarrow {name}", table.to_pandas(types_mapper=pd.ArrowDtype)


REGISTRY = dict(registry())
every_table = pytest.mark.parametrize("X", REGISTRY.values(), ids=REGISTRY.keys())
SPECS = {
    "default": Schema(),
    "missing a value": Schema(missing="model"),
    "no atoms": Schema(atoms=False),
}


# There and back


@every_table
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_what_is_read_comes_back(X, spec):
    schema = build(X, spec)
    Z = schema.read(X)
    assert Z.shape == (N, len(schema.fields)) and Z.dtype == np.float64
    same(schema.restore(Z), X)
    schema.bins.check(Z)


@every_table
def test_numbers_on_a_line_come_back(X):
    schema = build(X, on_line=True)
    Z = schema.read(X)
    same(schema.restore(Z), X)
    assert len(schema.fields) == len(schema.columns) and not (schema.gate >= 0).any()


@every_table
def test_a_category_of_any_values_comes_back(X):
    name = "v" if hasattr(X, "columns") else 0
    schema = build(X, Schema(feature_types={name: "category"}, missing="model"))
    Z = schema.read(X)
    assert schema.masked[0] and not np.isnan(Z[:, 0]).any() and Z[:, 0].max() < schema.n_levels[0]
    same(schema.restore(Z), X)


@every_table
def test_ordered_levels_of_any_values_come_back(X):
    name = "v" if hasattr(X, "columns") else 0
    schema = build(X, Schema(feature_types={name: "ordered"}))
    assert schema.columns[0].feature_type == "ordered" and schema.bin_width[0] == 1
    same(schema.restore(schema.read(X)), X)


@every_table
def test_a_schema_can_be_pickled_and_shows_itself(X):
    schema = build(X)
    again = pickle.loads(pickle.dumps(schema))
    same(again.restore(again.read(X)), X)
    text = repr(schema)
    assert text.count("\n") == len(schema.columns) and schema.columns[0].evidence in text
    assert schema.columns[0].feature_type in schema._repr_html_()


@every_table
def test_the_fields_keep_their_promises(X):
    schema = build(X, Schema(missing="model"))
    Z = schema.read(X)
    for k, field in enumerate(schema.fields):
        values = Z[:, k]
        if field.kind == "category":
            values = values[~np.isnan(values)]
            assert np.isin(values, np.arange(field.n_levels)).all()
            assert np.isnan(schema.bins.width[k]) and field.gate == -1
        elif field.gate >= 0:
            gate = Z[:, field.gate]
            assert field.gate == k - 1 and schema.fields[field.gate].column == field.column
            last = schema.n_levels[field.gate] - 1
            np.testing.assert_array_equal(np.isnan(values), gate != last)
    column_mask = np.arange(len(schema.columns)) % 2 == 0
    mask = schema.field_mask(column_mask)
    np.testing.assert_array_equal(schema.column_mask_of(mask), column_mask)
    sums = schema.column_sums(np.ones((3, len(schema.fields))))
    np.testing.assert_array_equal(sums, np.tile(np.bincount(schema.column_of), (3, 1)))


def test_a_continuous_array_is_read_to_the_bit():
    X = np.c_[REAL, OTHER]
    schema = build(X)
    assert schema.read(X) is X and schema.bin_width is None and schema.is_plain
    assert schema.sample_shape == (2,) and not schema.is_image


COLUMNS = [
    pd.MultiIndex.from_tuples([("size", "w"), ("size", "h"), ("mass", "kg")], names=["what", None]),
    pd.CategoricalIndex(["p", "q", "r"], ordered=True, name="kind"),
    pd.Index(list("abc"), name="variable"),
    pd.Index([3, 1, 2]),
    pd.date_range("2020-01-31", periods=3, freq="ME", tz="UTC"),
]


@pytest.mark.parametrize("columns", COLUMNS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("mixed", [False, True])
def test_an_index_of_columns_comes_back(columns, mixed):
    X = pd.DataFrame(np.c_[REAL, OTHER, REAL[::-1]], columns=columns)
    if mixed:
        X = pd.concat([X.iloc[:, 0].astype(str).str[:2], X.iloc[:, 1:]], axis=1)
        X.columns = columns
    schema = build(X)
    same(schema.restore(schema.read(X)), X)
    order = [2, 0, 1]
    np.testing.assert_array_equal(schema.read(X.iloc[:, order]), schema.read(X))
    partial = schema.read(X.iloc[:, [2]], partial=True)
    np.testing.assert_array_equal(np.isnan(partial[0]), [True, True, False])


# What is found


def column(values, spec=None, **parameters):
    return build(pd.DataFrame({"v": values}), spec, **parameters).columns[0]


def test_types_are_found():
    expected = {
        "float64": "continuous", "cents": "decimal", "int64": "whole", "Int64 gaps": "whole",
        "objects of integers, None": "whole", "bool": "category", "objects of booleans": "category",
        "str": "category", "Categorical": "category", "Categorical ordered": "ordered",
        "time zone": "datetime", "timedelta64 gaps": "duration", "quarters after 2020": "decimal",
        "thirds": "decimal", "period": "datetime", "intervals": "ordered",
    }  # fmt: skip
    for name, feature_type in expected.items():
        assert column(PANDAS[name]).feature_type == feature_type, name
    for name, values in POLARS.items():
        found = build(pl.DataFrame({"v": values})).columns[0].feature_type
        if name.split()[0] in ("Boolean", "String", "Categorical", "Enum", "Binary"):
            assert found == "category"
        if name.split()[0] in ("Date", "Datetime"):
            assert found == "datetime"


@pytest.mark.parametrize(
    "width", [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 100.0, 1 / 3, 1 / 7, 1 / 255, 0.125, 1e-6]
)
@pytest.mark.parametrize("origin", [0, 1e3, 1.7e9])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_grid_is_found_where_values_repeat(width, origin, dtype):
    steps = np.random.default_rng(1).integers(0, 300, 1000) + round(origin / width)
    values = (steps / round(1 / width) if width < 1 else steps * width).astype(dtype)
    spacing = np.spacing(np.abs(values).max())
    found = column(values)
    if width < 1024 * spacing:
        # Such a grid is not told from rounding to the dtype.
        return
    assert found.feature_type == "decimal" and found.found
    assert found.bin_width == pytest.approx(width, rel=1e-12)
    schema = build(pd.DataFrame({"v": values}))
    assert schema.log_unit[-1] == pytest.approx(np.log(width))
    # A value between two levels counts for the nearer one: the density of the dequantised column.
    moved = pd.DataFrame({"v": (values + 0.3 * width).astype(dtype)})
    if width > 64 * spacing:
        np.testing.assert_allclose(
            schema.read(moved), schema.read(pd.DataFrame({"v": values})), rtol=1e-15
        )


@pytest.mark.parametrize("digits", [4, 6])
def test_written_digits_alone_are_no_grid(digits):
    values = np.round(np.random.default_rng(0).normal(size=2000), digits)
    found = column(values)
    assert found.feature_type == "continuous" and np.isnan(found.bin_width)
    assert "seldom repeat" in found.evidence


def test_few_floats_are_levels():
    rates = np.round(5.32 + np.random.default_rng(0).random(70) * 23, 2)
    values = np.random.default_rng(1).choice(rates, 3000)
    schema = build(values[:, None])
    assert schema.masked[0] and schema.n_levels[0] == len(np.unique(values))
    assert schema.columns[0].feature_type == "decimal"
    np.testing.assert_allclose(schema.log_unit, np.log(0.01))
    assert schema.bin_width[0] == pytest.approx(0.01)
    gap = np.setdiff1d(np.round(np.arange(600, 2800) / 100, 2), values)[:1, None]
    assert schema.read(gap)[0, 0] == schema.n_levels[0]
    with pytest.raises(ValueError, match="Column 'x0' holds .* which it did not hold in fit"):
        schema.read(gap, unseen="raise")


@pytest.mark.parametrize("dtype", ["int8", "Int64", "int64"])
def test_few_whole_numbers_are_levels_if_their_frequencies_are_rough(dtype):
    rough = np.resize(np.repeat([1, 2, 3, 7, 8], [40, 2, 30, 5, 50]), 50 * N)
    smooth = np.resize(np.repeat(np.arange(6), [3, 9, 14, 13, 8, 3]), 50 * N)
    X = pd.DataFrame({"rough": rough, "smooth": smooth}).astype(dtype)
    schema = build(X)
    assert schema.masked.tolist() == [True, False] and schema.bin_width.tolist() == [1, 1]
    assert {column.feature_type for column in schema.columns} == {"whole"}
    assert not schema.log_unit.any()
    same(schema.restore(schema.read(X)), X)
    assert not build(X, on_line=True).masked.any()
    assert not build(X, bin_width=1.0).masked.any()


def test_samples_have_as_many_digits_as_the_data():
    amounts = np.random.default_rng(0).permutation(np.arange(40_000, 90_000))[: 20 * N] / 100
    schema = build(pd.DataFrame({"amount": amounts[amounts > 500][: 5 * N]}))
    (column,) = schema.columns
    assert column.feature_type == "continuous" and column.rounded_to == pytest.approx(0.01)
    assert schema.bin_width is None and not schema.log_unit.any()
    assert schema.restore(np.array([[612.34567]])).iloc[0, 0] == 612.35
    assert "rounded to 0.01" in repr(schema)


@pytest.mark.parametrize("kind", ["decimal", "whole"])
def test_declared_grids_keep_their_point_masses(kind):
    amounts = np.random.default_rng(0).integers(100, 90_000, 20 * N).astype(float)
    amounts[: 8 * N] = 0.0
    schema = build(pd.DataFrame({"paid": amounts}), Schema(feature_types={"paid": kind}))
    assert schema.columns[0].feature_type == kind and schema.columns[0].atoms.tolist() == [0.0]


def test_a_midnight_is_shown_as_its_date():
    days = pd.DataFrame({"day": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(50), "D")})
    assert "2024-01-01 to 2024-02-19" in repr(build(days))


def test_ordered_levels_stay_on_a_line():
    X = pd.DataFrame({"v": pd.Categorical(np.resize(list("aab"), 60), ["a", "b"], ordered=True)})
    assert not build(X).masked.any()
    assert build(pd.DataFrame({"v": X["v"].cat.as_unordered()})).masked.all()


def test_point_masses_without_a_grid_have_no_unit():
    schema = build(np.array([0.1234567891, np.pi, np.e])[CODES % 3][:, None])
    assert schema.masked[0] and schema.log_unit[0] == 0 and schema.bin_width is None


ATOMS = {
    "zeros of a sum": (lambda r, x: np.where(r.random(2000) < 0.3, 0.0, np.exp(x)), [0.0]),
    "caps": (lambda r, x: np.clip(x, -1, 1.5), [-1, 1.5]),
    "a sentinel": (lambda r, x: np.where(r.random(2000) < 0.05, -9999, x), [-9999]),
    "three codes": (
        lambda r, x: np.where(r.random(2000) < 0.3, r.integers(-9, -6, 2000), np.exp(x)),
        [-9, -8, -7],
    ),
    "zeros of whole numbers": (
        lambda r, x: np.where(r.random(2000) < 0.3, 0, r.integers(1000, 70_000, 2000)), [0]
    ),
    "999 of cents": (lambda r, x: np.where(r.random(2000) < 0.1, 999, np.round(x, 2)), [999]),
    "sums in hundreds": (
        lambda r, x: np.where(
            r.random(2000) < 0.4, 500 * r.integers(1, 21, 2000), r.integers(1, 20_000, 2000)
        ),
        [*range(500, 10_500, 500)],
    ),
    "normal": (lambda r, x: x, []),
    "cents": (lambda r, x: np.round(x, 2), []),
    "Poisson": (lambda r, x: r.poisson(500, 2000), []),
    "geometric": (lambda r, x: r.geometric(0.02, 2000), []),
    "Zipf": (lambda r, x: r.zipf(1.8, 2000), []),
    "hundreds": (lambda r, x: 100 * np.rint(5 * np.exp(x)).astype(int), []),
}  # fmt: skip


@pytest.mark.parametrize(("make", "atoms"), ATOMS.values(), ids=ATOMS.keys())
@pytest.mark.parametrize("seed", range(5))
def test_atoms_are_found_and_nothing_else(make, atoms, seed):
    rng = np.random.default_rng(seed)
    values = make(rng, rng.normal(size=2000))
    found = column(values)
    assert list([] if found.atoms is None else found.atoms) == atoms
    assert column(values, Schema(atoms=False)).atoms is None
    assert column(values, Schema(bin_width={"v": None})).atoms is None
    assert column(values, bin_width=None).atoms is None
    assert column(values, on_line=True).atoms is None


def test_a_grid_is_found_beside_a_sentinel():
    rng = np.random.default_rng(0)
    values = np.where(rng.random(5000) < 0.1, -9999.123, np.round(rng.normal(size=5000), 2))
    found = column(values)
    assert found.feature_type == "decimal" and found.bin_width == pytest.approx(0.01)
    assert list(found.atoms) == [-9999.123]


def test_missing_values_are_levels_where_they_are_modelled():
    X = pd.DataFrame({"v": with_gaps(TEXT), "w": np.where(GAPS, np.nan, REAL), "x": OTHER})
    schema = build(X, Schema(missing="model"))
    assert [c.missing for c in schema.columns] == ["model", "model", "ignore"]
    assert schema.n_levels.tolist() == [5, 2, 0, 0] and schema.gate.tolist() == [-1, -1, 1, -1]
    Z = schema.read(X)
    assert (Z[GAPS, 0] == 4).all() and (Z[GAPS, 1] == 0).all() and (Z[~GAPS, 1] == 1).all()
    partial = schema.read(X, partial=True)
    assert np.isnan(partial[GAPS, :3]).all()
    ignored = build(X)
    assert np.isnan(ignored.read(X)[GAPS, :2]).all()
    with pytest.raises(ValueError, match="missing='model' cannot be had for .* 'w'"):
        build(X, Schema(missing="model"), on_line=True)


def test_widths_that_are_declared_are_log_probabilities():
    X = pd.DataFrame({"v": np.round(REAL, 1), "w": WHOLE, "x": REAL, "t": TEXT})
    schema = build(X, bin_width=[0.1, 1.0, None, None])
    np.testing.assert_array_equal(schema.bin_width, [0.1, 1, np.nan, 1])
    assert not schema.log_unit.any() and not any(c.found for c in schema.columns)
    own = build(X, Schema(bin_width={"v": 0.1}))
    assert not own.log_unit.any() and own.bin_width[0] == 0.1
    with pytest.raises(ValueError, match="'x' holds .* not a whole multiple of bin_width=1"):
        build(X, Schema(bin_width={"x": 1.0}))
    with pytest.raises(ValueError, match="'w' holds .* lies outside bin_range"):
        build(X, bin_range=(0, 3))


def test_integers_that_are_declared_continuous_come_back_as_floats():
    X = np.c_[WHOLE, WHOLE]
    assert build(X, bin_width=None).restore(X + 0.5).dtype == np.float64


# New data


def test_columns_are_taken_by_name():
    X = pd.DataFrame({"v": TEXT, "w": WHOLE, "x": REAL})
    schema = build(X)
    Z = schema.read(X)
    np.testing.assert_array_equal(schema.read(X[["x", "v", "w"]]), Z)
    np.testing.assert_array_equal(schema.read(pl.DataFrame(X.to_dict("list"))[["w", "x", "v"]]), Z)
    np.testing.assert_array_equal(schema.read(X.to_numpy()), Z)
    for bad, message in (
        (X[["v", "w"]], "seen at fit time, yet now missing:\n- x"),
        (X.assign(new=1), "unseen at fit time:\n- new"),
    ):
        with pytest.raises(ValueError, match=message):
            schema.read(bad)
    with pytest.raises(ValueError, match="unseen at fit time:\n- new"):
        schema.read(X[["v"]].assign(new=1), partial=True)
    partial = schema.read(X[["w"]], partial=True)
    np.testing.assert_array_equal(np.isnan(partial), np.tile([True, False, True], (N, 1)))


def test_new_data_may_come_in_other_dtypes():
    X = pd.DataFrame({"i": WHOLE, "f": REAL > 0, "t": TEXT, "d": TIMES})
    schema = build(X)
    Z = schema.read(X)
    other = pd.DataFrame(
        {
            "i": WHOLE.astype(float), "f": pd.array(REAL > 0, dtype="boolean"),
            "t": pd.Categorical(TEXT), "d": TIMES.astype("M8[ns]"),
        }
    )  # fmt: skip
    np.testing.assert_array_equal(schema.read(other), Z)
    np.testing.assert_array_equal(schema.read(X.assign(f=(REAL > 0).astype(float))), Z)
    hidden = X.astype(object)
    hidden[:] = None
    assert np.isnan(schema.read(hidden)).all()
    unseen = schema.read(X.assign(t="zz", i=1000))
    assert (unseen[:, 2] == 4).all() and (unseen[:, 0] == 1000).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"i": TEXT}, "Column 'i' holds the non-numeric value 'd e' in row 0"),
        ({"d": TEXT}, "Column 'd' held datetimes in fit, but holds text"),
        ({"d": WHOLE}, "Column 'd' held datetimes in fit, but holds integers"),
        ({"i": TIMES}, "Column 'i' holds datetimes, but it held numbers"),
        ({"d": pd.Series(TIMES).dt.tz_localize("UTC")}, "'d' has the time zone UTC here, but None"),
        ({"t": np.where(GAPS, "zz", TEXT)}, "Column 't' holds 'zz' in row 0.*levels: 'a', 'b'"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_new_data_of_another_type_are_refused(changes, message):
    X = pd.DataFrame({"i": WHOLE + 0.5, "t": TEXT, "d": TIMES})
    schema = build(X)
    with pytest.raises(ValueError, match=message):
        schema.read(X.assign(**changes), unseen="raise")


# Bad tables


def mixed_zones():
    zones = [datetime.UTC, datetime.timezone(datetime.timedelta(hours=2))]
    return pd.Series(
        [datetime.datetime(2020, 1, 1, tzinfo=zones[k % 2]) for k in range(N)], dtype=object
    )


BAD = {
    "mixed types": ({"v": [1, "a"] * 60}, {}, "Column 'v' mixes types: it holds 1 and 'a'"),
    "floats and text": ({"v": ["a", 1.5] * 60}, {}, "'v' mixes types: it holds 'a' and 1.5"),
    "mixed zones": ({"v": mixed_zones()}, {}, "Column 'v' mixes the time zones UTC and UTC.02:00"),
    "dates as text": (
        {"v": [f"{1 + k % 28}.{1 + k // 28}.2024 10:00" for k in range(N)]},
        {},
        r"'v' holds dates as text.*pd\.to_datetime\(X\['v'\]\)",
    ),
    "days as digits": ({"v": [str(20240101 + k) for k in range(N)]}, {}, "'v'.*different texts"),
    "identifier": ({"v": [f"id{k}" for k in range(N)]}, {}, "'v' holds 120 different texts.*Drop"),
    "infinite": ({"v": np.where(GAPS, np.inf, REAL)}, {}, "infinity: column 'v', row 0; 18 "),
    "all missing": ({"v": [np.nan] * N}, {}, r"Columns \['v'\] of X hold nothing but NaN"),
    "all None": ({"v": [None] * N}, {}, r"Columns \['v'\] of X hold nothing but NaN"),
    "wide integers": ({"v": [0, 2**60 + 1] * 60}, {}, "Column 'v' holds whole numbers from 0 to"),
    "huge integers": ({"v": [1, 2**70] * 60}, {}, "Column 'v' holds 1180591620717411303424"),
    "type of text": ({"v": TEXT}, {"feature_types": {"v": "continuous"}}, "'v' is 'continuous', b"),
    "type of times": ({"v": TIMES}, {"feature_types": {"v": "whole"}}, "'v' is 'whole', but it h"),
    "no times": ({"v": REAL}, {"feature_types": {"v": "datetime"}}, "'v' is 'datetime', but it h"),
    "no grid": ({"v": REAL}, {"feature_types": {"v": "decimal"}}, "'v' is 'decimal', but it hold"),
    "no whole": ({"v": REAL}, {"feature_types": {"v": "whole"}}, "'v' holds .* multiple of bin_w"),
    "column": ({"rate": REAL}, {"feature_types": {"rte": "whole"}}, "column 'rte'.*mean 'rate'"),
    "width": ({"rate": REAL}, {"bin_width": {"rte": 1}}, "column 'rte'.*mean 'rate'"),
    "no type": ({"v": REAL}, {"feature_types": {"v": "categry"}}, "Did you mean 'category'"),
    "bad width": ({"v": REAL}, {"bin_width": {"v": -1}}, "must be a positive, finite number"),
    "missing": ({"v": REAL}, {"missing": "drop"}, "missing='drop' must be 'ignore' or 'model'"),
    "no rows": ({"v": []}, {}, "X has no rows"),
}


@pytest.mark.parametrize(("data", "parameters", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_table_is_refused(data, parameters, message):
    with pytest.raises(ValueError, match=message):
        build(pd.DataFrame(data), Schema(**parameters))


def test_what_is_no_table_is_refused():
    for values in ([[1]] * N, [{"a": 1}] * N):
        with pytest.raises(TypeError, match="must be a string or a real number, not"):
            build(pd.DataFrame({"v": values}))
    with pytest.raises(TypeError, match="Column 'v' has the dtype List"):
        build(pl.DataFrame({"v": [[1.0]] * N}))
    with pytest.raises(TypeError, match="feature_types=.* must be a dict"):
        build(np.c_[REAL], Schema(feature_types=["whole"]))
    with pytest.raises(ValueError, match=r"columns of the same name: \['v'\]"):
        build(pd.DataFrame(np.c_[REAL, REAL], columns=["v", "v"]))


def test_an_identifier_can_be_declared():
    names = [f"id{k}" for k in range(N)]
    found = column(names, Schema(feature_types={"v": "category"}))
    assert found.feature_type == "category" and len(found.levels) == N


def test_the_specification_is_cloned():
    spec = Schema(feature_types={"v": "whole"}, missing="model", bin_width={"w": 1.0}, clip=False)
    assert clone(spec).get_params() == spec.get_params()


# Estimators


def read_by(X, **parameters):
    estimator = DummyClassifier()
    values, schema = read_first(estimator, X, None, Schema(), **parameters)
    return estimator, values, schema


def test_estimators_learn_the_names():
    X = pd.DataFrame({"v": TEXT, "x": REAL})
    for frame in (X, pl.DataFrame(X.to_dict("list"))):
        estimator, values, schema = read_by(frame)
        assert estimator.n_features_in_ == 2 and list(estimator.feature_names_in_) == ["v", "x"]
        np.testing.assert_array_equal(read_more(estimator, frame[["x", "v"]], schema), values)
        one = read_more(estimator, frame[["x"]], schema, partial=True)
        np.testing.assert_array_equal(one[:, 1], REAL)
        with pytest.warns(UserWarning, match="does not have valid feature names"):
            read_more(estimator, X.to_numpy(), schema)
        for bad, message in (
            (frame[["x"]], "now missing"), (frame[:0], "0 sample"),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=message):
                read_more(estimator, bad, schema)
    estimator, _, schema = read_by(X.to_numpy())
    with pytest.warns(UserWarning, match="was fitted without feature names"):
        read_more(estimator, X, schema)
    assert not hasattr(estimator, "feature_names_in_") and estimator.n_features_in_ == 2


def test_arrays_are_validated_by_scikit_learn():
    estimator, _, schema = read_by(np.c_[REAL, OTHER])
    for bad, message in (
        (REAL, "Expected 2D array, got 1D"),
        (REAL[:, None] + 1j, "Complex data not supported"),
        (np.zeros((0, 2)), "0 sample"),
        (np.zeros((5, 0)), "0 feature"),
        (np.full((3, 2), np.inf), "infinity: column 'x0', row 0"),
    ):
        with pytest.raises(ValueError, match=message):
            read_by(bad)
        if bad.ndim == 2 and bad.shape[1] == 2:
            with pytest.raises(ValueError, match=message):
                read_more(estimator, bad, schema)
    with pytest.raises(ValueError, match="X has 3 features, but DummyClassifier is expecting 2"):
        read_more(estimator, np.zeros((3, 3)), schema)


def test_lists_of_rows_may_mix_text_and_numbers():
    rows = [["a", 1], ["b", 2], ["a", 5]] * 10
    _, values, schema = read_by(rows)
    assert [c.feature_type for c in schema.columns] == ["category", "whole"]
    assert schema.restore(values).tolist() == rows


# Speed


def seconds(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def test_a_wide_frame_is_read_in_a_second():
    rng = np.random.default_rng(0)
    names = [f"g{j}" for j in range(40_000)]
    for block in (np.zeros((5, 40_000)), rng.normal(size=(5, 40_000))):
        X = pd.DataFrame(block, columns=names)
        estimator = DummyClassifier()
        # Three times the time it takes on an idle machine.
        assert seconds(lambda X=X, e=estimator: read_first(e, X, None, Schema())) < 3


def test_a_table_is_read_once():
    X = pd.DataFrame({"v": TEXT, "x": REAL})
    table = read_table(X)
    assert read_table(table) is table
    np.testing.assert_array_equal(build(table.kind and X).read(table), build(X).read(X))
