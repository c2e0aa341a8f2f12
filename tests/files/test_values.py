"""Values, arrays, dtypes and labels are written and read as they are; others are refused."""

import datetime
import decimal
import json
import zoneinfo

import numpy as np
import pandas as pd
import polars as pl
import pytest

from gudlearn.files.frames import same
from gudlearn.files.tree import Reader, Writer
from gudlearn.storage import arrays
from gudlearn.storage.archive import from_json, to_json

PARIS = zoneinfo.ZoneInfo("Europe/Paris")
INTERVALS = pd.interval_range(0, 3, closed="left")


def again(value):
    """A value that was written as JSON and tensors, and read."""
    writer = Writer()
    root = writer.value(value, "value")
    tree = from_json(to_json({"root": root, "objects": writer.objects}))
    return Reader(arrays.loads(arrays.dumps(writer.tensors)), writer.steps).root(tree)


VALUES = [
    None, True, 3, -(2**80), 0.1, -0.0, 1e-320, float("nan"), float("-inf"), "", "ä\ud7ff\0",
    b"\0\xff", (), (1, (2, [3])), [1, [2.5, None]], {}, {1: "a", "1": "b", None: 2, (1, 2): 3},
    {3, 1, 2}, frozenset(["a"]), slice(0, 4, None), np.float32(0.1), np.float64("nan"),
    np.int8(-3), np.uint64(2**64 - 1), np.bool_(True), np.str_("a"), np.complex128(1 + 2j),
    np.datetime64("2024-01-02", "D"), np.timedelta64(5, "ms"), np.datetime64("NaT"),
    decimal.Decimal("0.10"), datetime.date(2024, 1, 2), datetime.time(1, 2, 3, 4),
    datetime.datetime(2024, 1, 2, 3, 4, 5, 6), datetime.datetime(2024, 1, 2, tzinfo=PARIS),
    datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC), datetime.timedelta(1, 2, 3),
    pd.Timestamp("2024-01-02 03:04:05.123456789"), pd.Timestamp("2024-07-02", tz="Europe/Paris"),
    pd.Timedelta("3h"), pd.Period("2024-01", "M"), pd.Interval(0, 1.5, closed="both"),
    pd.Interval(pd.Timestamp("2024"), pd.Timestamp("2025")), pd.NaT, pd.NA,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back_with_their_type(value):
    found = again(value)
    assert type(found) is type(value) and repr(found) == repr(value)


def test_objects_in_arrays_come_back():
    objects = np.empty((2, 3), dtype=object)
    objects[:] = [["a", 1, 2.5], [None, True, pd.Timestamp("2024")]]
    found = again(objects)
    assert found.shape == (2, 3) and repr(found.tolist()) == repr(objects.tolist())


ARRAYS = [
    np.array(3.5), np.zeros((0, 3)), np.arange(6.0).reshape(2, 3).T, np.arange(8)[::2],
    np.array([True, False]), np.array(["a", "longer", ""]), np.array([], dtype="U5"),
    np.array([b"a", b"bc"]), np.array([1, 2], dtype=">i4"), np.array([1 + 2j, 3]),
    np.array(["2024-01-01", "NaT"], dtype="M8[s]"), np.array([5], dtype="m8[ms]"),
    np.array([np.nan, -0.0, np.inf], dtype=np.float16), np.broadcast_to(1.0, (3, 2)),
    np.array([2**64 - 1], dtype=np.uint64), np.array(["ä", "𝄞"], dtype=">U1"),
]  # fmt: skip


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype.str}{a.shape}")
def test_arrays_come_back_with_dtype_shape_and_order(array):
    found = again(array)
    assert found.dtype == array.dtype and found.shape == array.shape
    assert found.tobytes() == array.tobytes() and found.flags.writeable
    assert found.flags.f_contiguous >= (array.flags.f_contiguous and not array.flags.c_contiguous)


def test_one_array_in_two_places_is_one_array_again():
    array = np.arange(3.0)
    a, b, c = again([array, array, array.copy()])
    assert a is b and a is not c


PANDAS = [
    pd.CategoricalDtype(["b", "a"], ordered=True), pd.CategoricalDtype(None),
    pd.CategoricalDtype([3, 1]), pd.CategoricalDtype(INTERVALS), pd.StringDtype("python"),
    pd.StringDtype("python", na_value=np.nan), pd.DatetimeTZDtype("us", "Europe/Paris"),
    pd.DatetimeTZDtype("ns", "UTC"), pd.PeriodDtype("M"), pd.IntervalDtype("float64", "left"),
    pd.SparseDtype("float64", 0.0), pd.SparseDtype(int, 3), pd.Int8Dtype(), pd.BooleanDtype(),
    pd.Float64Dtype(), np.dtype("O"), np.dtype("M8[ns]"), np.dtype("<U3"), np.dtype("g"),
]  # fmt: skip
LABELS = [
    pd.Index(["a", "b"], name="n"), pd.RangeIndex(2, 8, 2), pd.Index([1.5, np.nan]),
    pd.Index(["a", 1, (2, "b")]), pd.DatetimeIndex(["2024", None], tz="UTC"), INTERVALS,
    pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", None]),
    pd.CategoricalIndex(["a", "b", "a"]), pd.PeriodIndex(["2024-01"], freq="M"), pd.Index([]),
    pd.DataFrame({"a": [1], "b": pd.Categorical(["x"]), 3: [pd.Timestamp("2024", tz="UTC")]})[:0],
]  # fmt: skip
POLARS = [
    pl.Int64(), pl.String(), pl.Enum(["b", "a"]), pl.Datetime("us", "Europe/Paris"),
    pl.Datetime("ms"), pl.Duration("ns"), pl.Decimal(10, 2), pl.Boolean(), pl.Date(), pl.Time(),
    pl.Categorical(), pl.DataFrame(schema={"a": pl.Float32(), "b": pl.Enum(["x"])}),
]  # fmt: skip


@pytest.mark.parametrize("value", [*PANDAS, *LABELS, *POLARS], ids=lambda v: repr(v)[:60])
def test_dtypes_labels_and_empty_frames_come_back(value):
    found = again(value)
    if isinstance(value, pl.DataFrame):
        assert found.schema == value.schema
    else:
        assert same(found, value)


def test_types_of_pyarrow_come_back():
    pa = pytest.importorskip("pyarrow")
    types = [
        pa.int8(), pa.float32(), pa.float64(), pa.string(), pa.large_string(), pa.bool_(),
        pa.date32(), pa.timestamp("us", "UTC"), pa.timestamp("ns"), pa.duration("ms"),
        pa.decimal128(10, 2), pa.dictionary(pa.int32(), pa.string(), ordered=True), pa.time64("us"),
    ]  # fmt: skip
    assert again(types) == types
    table = pa.table({"a": [1], "b": ["x"]})[:0]
    assert again(table).schema == table.schema
    assert again(pd.ArrowDtype(pa.int64())) == pd.ArrowDtype(pa.int64())


class Own(dict):
    """A subclass, which is no dict of a file."""


REFUSED = [
    lambda: None, print, object(), Own(), np.zeros(2, dtype="f8,i4"), type("Own", (), {}),
    pd.Series([1]), pd.DataFrame({"a": [1]}), np.longdouble(1), np.zeros(2, np.longdouble), 1j,
    iter([]), np.ma.masked_array([1.0]), pl.Series([1]), pl.List(pl.Int64()),
]  # fmt: skip


@pytest.mark.parametrize("value", REFUSED, ids=lambda v: type(v).__name__)
def test_other_values_are_refused_with_their_place(value):
    with pytest.raises(TypeError, match="place is .*a file without code cannot hold.*pickle"):
        Writer().value(value, "place")


def test_a_value_that_holds_itself_is_refused():
    from gudlearn import BlockBasis

    basis = BlockBasis([])
    basis.blocks = [basis]
    with pytest.raises(TypeError, match="blocks/0 is a BlockBasis that holds itself"):
        Writer().value(basis)


def test_json_holds_no_nan():
    with pytest.raises(ValueError):
        to_json(float("nan"))
    assert json.loads(to_json(Writer().value(float("nan")))) == {"float": "nan"}
