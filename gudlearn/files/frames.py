"""Dtypes, labels and empty frames of pandas, polars and pyarrow as JSON, and back.

Each is described by names and plain values: what a name means is looked up here, and nothing is
imported or called because a file says so.
"""

import sys

import numpy as np
import pandas as pd

from gudlearn.files.values import checked_zone
from gudlearn.storage.arrays import checked_dtype
from gudlearn.storage.errors import ModelFileError

_NULLABLE = {
    str(dtype): dtype
    for dtype in (
        pd.BooleanDtype(), pd.Float32Dtype(), pd.Float64Dtype(), pd.Int8Dtype(), pd.Int16Dtype(),
        pd.Int32Dtype(), pd.Int64Dtype(), pd.UInt8Dtype(), pd.UInt16Dtype(), pd.UInt32Dtype(),
        pd.UInt64Dtype(),
    )
}  # fmt: skip
_POLARS = (
    "Binary", "Boolean", "Date", "Float32", "Float64", "Int8", "Int16", "Int32", "Int64", "Null",
    "String", "Time", "UInt8", "UInt16", "UInt32", "UInt64", "Int128", "Categorical",
)  # fmt: skip
_ARROW = (
    "null", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float", "halffloat", "double", "date32[day]", "date64[ms]", "string", "large_string",
    "string_view", "binary", "large_binary", "time32[s]", "time32[ms]", "time64[us]", "time64[ns]",
)  # fmt: skip
# Rows of a range are not stored, and may not be made.
_MOST_LABELS = 10_000_000


class FrameCodec:
    """Writes and reads what belongs to frames.

    Parameters
    ----------
    value : callable
        Writes, or reads, a single value or a list.
    """

    def __init__(self, value):
        self._value = value

    # Writing

    def encode(self, value):
        """JSON of a dtype, an index or an empty frame; None if it is none of these.

        Raises
        ------
        TypeError
            If it is one that cannot be described.
        """
        if isinstance(value, np.dtype):
            return {"dtype": value.str if value.kind != "O" else "O"}
        if isinstance(value, pd.api.extensions.ExtensionDtype):
            return {"pandas.dtype": self._pandas_dtype(value)}
        if isinstance(value, pd.Index):
            return {"pandas.Index": self._index(value)}
        if isinstance(value, pd.DataFrame) and not len(value):
            dtypes = [self.encode(dtype) for dtype in value.dtypes]
            return {"pandas.DataFrame": {"columns": self._index(value.columns), "dtypes": dtypes}}
        module = type(value).__module__.split(".")[0]
        if module == "polars":
            return self._of_polars(value)
        if module == "pyarrow":
            return self._of_arrow(value)
        return None

    def _pandas_dtype(self, dtype):
        if isinstance(dtype, pd.CategoricalDtype):
            labels = None if dtype.categories is None else self._index(dtype.categories)
            return ["category", labels, dtype.ordered]
        if isinstance(dtype, pd.DatetimeTZDtype):
            return ["datetime", dtype.unit, str(dtype.tz)]
        if isinstance(dtype, pd.StringDtype):
            return ["string", dtype.storage, dtype.na_value is pd.NA]
        if isinstance(dtype, pd.PeriodDtype):
            # Of a month: "M", where its offset is "ME".
            return ["period", str(dtype)[len("period[") : -1]]
        if isinstance(dtype, pd.IntervalDtype):
            return ["interval", self.encode(dtype.subtype), dtype.closed]
        if isinstance(dtype, pd.SparseDtype):
            return ["sparse", self.encode(dtype.subtype), self._value(dtype.fill_value)]
        if isinstance(dtype, pd.ArrowDtype):
            return ["arrow", *self._of_arrow(dtype.pyarrow_dtype).values()]
        if str(dtype) in _NULLABLE:
            return ["nullable", str(dtype)]
        raise TypeError(f"the dtype {dtype}")

    def _index(self, index):
        names = [self._value(name) for name in index.names]
        if isinstance(index, pd.RangeIndex):
            return {"range": [index.start, index.stop, index.step], "names": names}
        if isinstance(index, pd.MultiIndex):
            levels = [self._index(index.get_level_values(k)) for k in range(index.nlevels)]
            return {"levels": levels, "names": names}
        values = [self._value(label) for label in index]
        return {"dtype": self.encode(index.dtype), "values": values, "names": names}

    def _of_polars(self, value):
        import polars as pl

        if isinstance(value, pl.DataFrame) and not len(value):
            return {"polars.DataFrame": [[n, self._of_polars(d)] for n, d in value.schema.items()]}
        name = str(value.base_type()) if isinstance(value, pl.DataType) else None
        if name in _POLARS:
            return {"polars": [name]}
        parts = {
            "Enum": lambda: [value.categories.to_list()],
            "Datetime": lambda: [value.time_unit, value.time_zone],
            "Duration": lambda: [value.time_unit],
            "Decimal": lambda: [value.precision, value.scale],
        }
        if name in parts:
            return {"polars": [name, *parts[name]()]}
        raise TypeError(f"a {type(value).__name__} of polars")

    def _of_arrow(self, value):
        import pyarrow as pa

        if isinstance(value, pa.Table) and not len(value):
            fields = [[f.name, self._of_arrow(f.type), f.nullable] for f in value.schema]
            return {"pyarrow.Table": fields}
        if not isinstance(value, pa.DataType):
            raise TypeError(f"a {type(value).__name__} of pyarrow")
        types = pa.types
        if str(value) in _ARROW:
            return {"pyarrow": [str(value)]}
        if types.is_timestamp(value):
            return {"pyarrow": ["timestamp", value.unit, value.tz]}
        if types.is_duration(value):
            return {"pyarrow": ["duration", value.unit]}
        if types.is_decimal128(value):
            return {"pyarrow": ["decimal128", value.precision, value.scale]}
        if types.is_dictionary(value):
            parts = [self._of_arrow(part) for part in (value.index_type, value.value_type)]
            return {"pyarrow": ["dictionary", *parts, value.ordered]}
        raise TypeError(f"the type {value} of pyarrow")

    # Reading

    def decode(self, tag, content):
        """The dtype, index or empty frame of a tag and its content.

        Raises
        ------
        KeyError
            If the tag is not known here.
        ValueError
            If the content is none of its kind, or needs a package that is not installed.
        """
        if tag == "dtype":
            return _to_dtype(content)
        makers = {
            "pandas.dtype": self._to_pandas_dtype, "pandas.Index": self._to_index,
            "pandas.DataFrame": self._to_frame, "polars": self._to_polars,
            "polars.DataFrame": self._to_polars_frame, "pyarrow": self._to_arrow,
            "pyarrow.Table": self._to_arrow_table,
        }  # fmt: skip
        return makers[tag](content)

    def _part(self, content):
        (item,) = content.items()
        return self.decode(*item)

    def _to_pandas_dtype(self, content):
        kind, *parts = content
        makers = {
            "category": lambda labels, ordered: pd.CategoricalDtype(
                None if labels is None else self._to_index(labels), bool(ordered)
            ),
            "datetime": lambda unit, zone: pd.DatetimeTZDtype(unit, checked_zone(zone)),
            "string": lambda storage, is_na: pd.StringDtype(storage, pd.NA if is_na else np.nan),
            "period": lambda freq: pd.PeriodDtype(str(freq)),
            "interval": lambda subtype, closed: pd.IntervalDtype(self._part(subtype), closed),
            "sparse": lambda subtype, fill: pd.SparseDtype(self._part(subtype), self._value(fill)),
            "arrow": lambda parts: pd.ArrowDtype(self._to_arrow(parts)),
            "nullable": _NULLABLE.__getitem__,
        }
        return makers[kind](*parts)

    def _to_index(self, content):
        names = [self._value(name) for name in content["names"]]
        if "range" in content:
            labels = range(*content["range"])
            if len(labels) > _MOST_LABELS:
                raise ModelFileError(f"a range of {len(labels)} labels is too long")
            return pd.RangeIndex(labels, name=names[0])
        if "levels" in content:
            levels = [self._to_index(level) for level in content["levels"]]
            return pd.MultiIndex.from_arrays(levels, names=names)
        values = [self._value(label) for label in content["values"]]
        dtype = self._part(content["dtype"])
        return pd.Index(values, dtype=dtype, name=names[0], tupleize_cols=False)

    def _to_frame(self, content):
        columns = self._to_index(content["columns"])
        dtypes = [self._part(dtype) for dtype in content["dtypes"]]
        if len(dtypes) != len(columns):
            raise ModelFileError(f"{len(dtypes)} dtypes are given for {len(columns)} columns")
        frame = pd.DataFrame({j: pd.Series([], dtype=d) for j, d in enumerate(dtypes)})
        return frame.set_axis(columns, axis=1)

    def _to_polars(self, content):
        pl = _package("polars")
        name, *parts = content
        if name in _POLARS:
            return getattr(pl, name)()
        kinds = {"Enum": pl.Enum, "Datetime": pl.Datetime, "Duration": pl.Duration}
        return {**kinds, "Decimal": pl.Decimal}[name](*parts)

    def _to_polars_frame(self, content):
        return _package("polars").DataFrame(schema={name: self._part(d) for name, d in content})

    def _to_arrow(self, content):
        pa = _package("pyarrow")
        name, *parts = content
        if name in _ARROW:
            return pa.type_for_alias({"float": "float32", "double": "float64"}.get(name, name))
        if name == "dictionary":
            index, value, ordered = parts
            return pa.dictionary(self._part(index), self._part(value), ordered)
        kinds = {"timestamp": pa.timestamp, "duration": pa.duration}
        return {**kinds, "decimal128": pa.decimal128}[name](*parts)

    def _to_arrow_table(self, content):
        pa = _package("pyarrow")
        fields = [pa.field(name, self._part(kind), bool(null)) for name, kind, null in content]
        return pa.schema(fields).empty_table()


def _to_dtype(text):
    """A dtype of columns or images, of which a file may hold no arrays: long floats, too."""
    dtype = np.dtype(text) if isinstance(text, str) else np.dtype("V1")
    return dtype if dtype.kind in "fc" else checked_dtype(text)


def same(a, b):
    """Whether a value that was read is the one that was written."""
    if type(a) is not type(b):
        return False
    if isinstance(a, pd.Index):
        return a.dtype == b.dtype and a.equals(b) and list(a.names) == list(b.names)
    if isinstance(a, pd.DataFrame):
        return same(a.columns, b.columns) and list(a.dtypes) == list(b.dtypes)
    if hasattr(a, "schema"):
        return a.schema == b.schema
    return a is b or bool(a == b) or bool(a != a and b != b)


def _package(name):
    """An installed package, one of two that models may be made of frames of."""
    if name not in sys.modules:
        try:
            __import__(name)
        except ImportError as error:
            raise ModelFileError(
                f"the model was fitted to frames of {name}, which is not installed: install it "
                f"with pip install {name}"
            ) from error
    return sys.modules[name]
