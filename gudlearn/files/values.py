"""Single values of Python and NumPy as JSON, and back: each is a dict of one key, its tag."""

import base64
import datetime
import decimal
import math
import re
import zoneinfo

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from gudlearn.storage.arrays import checked_dtype, is_stored
from gudlearn.storage.errors import ModelFileError

_BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
_TIMES = (datetime.datetime, datetime.date, datetime.time)
_MOST_DIGITS = 10_000
_ZONE = re.compile(r"[A-Za-z][\w+:-]*(/[A-Za-z][\w+-]*)*", re.ASCII)
# Numbers of words in the buffers of random states, into which they hold an index.
_BUFFERS = {"pos": 624, "buffer_pos": 4}


def encode(value):
    """JSON of a single value; None if it is of no known type.

    Parameters
    ----------
    value : object

    Returns
    -------
    dict or None
    """
    for tag, (kinds, write, _) in _CODECS.items():
        if type(value) in kinds:
            return {tag: write(value)}
    if isinstance(value, np.generic):
        return _of_numpy(value)
    if value is pd.NaT:
        return {"missing": "NaT"}
    if value is pd.NA:
        return {"missing": "NA"}
    return {"random_state": _state(value)} if _has_state(value) else None


def decode(tag, content):
    """The value of a tag and its content.

    Raises
    ------
    KeyError
        If the tag is not known here.
    ValueError
        If the content is none of its kind.
    """
    if tag in _CODECS:
        return _CODECS[tag][2](content)
    return {"numpy": _to_numpy, "missing": _missing, "random_state": _from_state}[tag](content)


def float_text(value):
    """Text of a float that is not finite."""
    return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")


def _float(text):
    if text not in ("nan", "inf", "-inf"):
        raise ModelFileError(f"{text!r} is no float")
    return float(text)


def _missing(name):
    return {"NaT": pd.NaT, "NA": pd.NA}[name]


# NumPy


def _of_numpy(value):
    array = np.asarray(value)
    if not is_stored(array.dtype):
        return None
    data = base64.b64encode(array.tobytes()).decode("ascii")
    return {"numpy": [array.dtype.str, data]}


def _to_numpy(content):
    text, data = content
    dtype, data = checked_dtype(text), base64.b64decode(data, validate=True)
    if dtype.kind == "O" or len(data) != dtype.itemsize:
        raise ModelFileError(f"{len(data)} bytes are no value of dtype {text}")
    if dtype.kind == "b" and data not in (b"\0", b"\1"):
        raise ModelFileError("a boolean is neither 0 nor 1")
    return np.frombuffer(data, dtype=dtype)[0]


# Times


def _time_text(value):
    zone = getattr(value.tzinfo, "key", None) if hasattr(value, "tzinfo") else None
    return [type(value).__name__, value.isoformat(), zone, getattr(value, "fold", 0)]


def _to_time(content):
    name, text, zone, fold = content
    kind = {kind.__name__: kind for kind in _TIMES}[name]
    value = kind.fromisoformat(text)
    value = value if zone is None else value.replace(tzinfo=zoneinfo.ZoneInfo(checked_zone(zone)))
    return value.replace(fold=fold) if fold else value


def _timestamp(value):
    zone = None if value.tz is None else str(value.tz)
    return [int(value.asm8.astype(np.int64)), value.unit, zone]


def _to_timestamp(content):
    ticks, unit, zone = content
    value = pd.Timestamp(np.datetime64(ticks, unit)).as_unit(unit)
    return value if zone is None else value.tz_localize("UTC").tz_convert(checked_zone(zone))


def checked_zone(zone):
    """The name of a time zone, which is no path: pandas would read a file of that name.

    Raises
    ------
    ModelFileError
    """
    if not isinstance(zone, str) or not _ZONE.fullmatch(zone) or zone.startswith("dateutil"):
        raise ModelFileError(f"{zone!r} is no time zone")
    return zone


def _to_timedelta(content):
    ticks, unit = content
    return pd.Timedelta(np.timedelta64(ticks, unit)).as_unit(unit)


def _interval(value):
    ends = [_plain_or_tagged(end) for end in (value.left, value.right)]
    return [*ends, value.closed]


def _to_interval(content):
    left, right, closed = content
    return pd.Interval(_from_plain(left), _from_plain(right), closed=closed)


def _plain_or_tagged(value):
    if type(value) is int or type(value) is float and math.isfinite(value):
        return value
    found = encode(value)
    if found is None:
        raise TypeError(f"an interval of {type(value).__name__}")
    return found


def _from_plain(content):
    return decode(*next(iter(content.items()))) if isinstance(content, dict) else content


def _to_decimal(text):
    if len(text) > _MOST_DIGITS:
        raise ModelFileError("a decimal has too many digits")
    return decimal.Decimal(text)


_CODECS = {
    "float": ((float,), float_text, _float),
    "bytes": (
        (bytes,), lambda v: base64.b64encode(v).decode("ascii"),
        lambda text: base64.b64decode(text, validate=True),
    ),
    "decimal": ((decimal.Decimal,), str, _to_decimal),
    "slice": (
        (slice,), lambda v: [v.start, v.stop, v.step], lambda parts: slice(*map(_whole, parts))
    ),
    "time": (_TIMES, _time_text, _to_time),
    "timedelta": (
        (datetime.timedelta,), lambda v: [v.days, v.seconds, v.microseconds],
        lambda parts: datetime.timedelta(*parts),
    ),
    "pandas.Timestamp": ((pd.Timestamp,), _timestamp, _to_timestamp),
    "pandas.Timedelta": (
        (pd.Timedelta,), lambda v: [int(v.asm8.astype(np.int64)), v.unit], _to_timedelta
    ),
    "pandas.Period": (
        (pd.Period,), lambda v: [int(v.ordinal), v.freqstr],
        lambda parts: pd.Period(ordinal=parts[0], freq=parts[1]),
    ),
    "pandas.Interval": ((pd.Interval,), _interval, _to_interval),
}  # fmt: skip


def _whole(value):
    if value is not None and type(value) is not int:
        raise ModelFileError(f"{value!r} is no end of a slice")
    return value


# Random states


def _has_state(value):
    if type(value) is np.random.Generator:
        return type(value.bit_generator).__name__ in _BIT_GENERATORS
    return type(value) is np.random.RandomState


def _state(value):
    if isinstance(value, np.random.RandomState):
        return ["RandomState", _lists(value.get_state(legacy=False))]
    return ["Generator", _lists(value.bit_generator.state)]


def _from_state(content):
    name, state = content
    if name == "RandomState" and state["bit_generator"] == "MT19937":
        made = check_random_state(0)
        made.set_state(_arrays(state))
        return made
    if name != "Generator" or state["bit_generator"] not in _BIT_GENERATORS:
        raise ModelFileError(f"{name!r} is no random state")
    bits = getattr(np.random, state["bit_generator"])(0)
    bits.state = _arrays(state)
    return np.random.Generator(bits)


def _lists(value):
    if isinstance(value, dict):
        return {key: _lists(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return {"array": value.dtype.str, "values": value.tolist()}
    return value.item() if isinstance(value, np.generic) else value


def _arrays(value):
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return np.array(value["values"], dtype=checked_dtype(value["array"]))
    for key, size in _BUFFERS.items():
        # NumPy does not check them, and reads what lies beyond the buffer.
        if key in value and not (type(value[key]) is int and 0 <= value[key] <= size):
            raise ModelFileError(f"{key}={value[key]!r} is no place in a buffer of {size}")
    return {key: _arrays(part) for key, part in value.items()}
