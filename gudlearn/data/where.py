"""Conditions on columns: ranges and sets of values that rows must have."""

from dataclasses import dataclass
from numbers import Real

import numpy as np
import pandas as pd

from gudlearn.data.columns import nearest_name
from gudlearn.data.fields import encode
from gudlearn.data.given import place_of
from gudlearn.data.raw import RawColumn, object_column
from gudlearn.data.restoring import ticks

_MOST_LISTED = 10


@dataclass(frozen=True, eq=False)
class Condition:
    """What one column must hold.

    Parameters
    ----------
    place : int
        The user's column.
    low, high : number or numpy time, or None
        Closed range; of codes, where the column holds levels in order.
    values : ndarray or None
        The values that are allowed, instead of a range.
    """

    place: int
    low: object = None
    high: object = None
    values: np.ndarray | None = None

    def holds(self, raw):
        """Mask (n,) of the entries of a `RawColumn` that satisfy it; missing ones do not."""
        values = ticks(raw) if raw.kind in ("datetime", "duration") and raw.unit else raw.values
        missing = raw.missing_mask()
        return self.allows(values) if missing is None else self.allows(values) & ~missing

    def allows(self, values):
        """Mask (n,) of the values that satisfy it."""
        if self.values is not None:
            return np.isin(values, self.values)
        inside = np.ones(len(values), dtype=bool)
        if self.low is not None:
            inside &= values >= self.low
        if self.high is not None:
            inside &= values <= self.high
        return inside


class Where:
    """Conditions on columns of a schema.

    Parameters
    ----------
    where : dict
        Ranges (low, high), closed, an end None where it is open; or lists of values, by column.
    schema : TableSchema

    Attributes
    ----------
    fixed : ndarray of shape (n_fields,)
        The value of each field that the conditions determine; NaN for the others.
    allowed : dict of int to ndarray of bool
        For category fields that are neither free nor fixed, the codes that are allowed.

    Raises
    ------
    ValueError
        If a column or a level is unknown, or nothing that the column holds is allowed.
    TypeError
        If a condition is neither a range nor values of the column's type.
    """

    def __init__(self, where, schema):
        if not isinstance(where, dict):
            raise TypeError(
                f"where={where!r} must be a dict from columns to ranges or lists of values. Pass "
                "for instance {'age': (30, 40), 'sex': ['F']}."
            )
        self.schema = schema
        self.fixed, self.allowed = np.full(len(schema.fields), np.nan), {}
        self.conditions = [
            self._condition(place_of("where", key, schema), value) for key, value in where.items()
        ]
        places = [condition.place for condition in self.conditions]
        if len(set(places)) < len(places):
            raise ValueError(f"where names a column twice: {list(where)}. Pass each once.")

    @property
    def needs_given(self):
        """Whether a continuous value is fixed: rows that are drawn never have exactly it."""
        numbers = ~self.schema.masked & np.isnan(self.schema.bins.width)
        return bool((numbers & ~np.isnan(self.fixed)).any())

    def accepts(self, values):
        """Mask (n,) of rows of fields (n, n_fields) that satisfy all conditions."""
        accepted = np.ones(len(values), dtype=bool)
        for condition in self.conditions:
            accepted &= condition.holds(self.schema.column_of_rows(values, condition.place))
        return accepted

    def with_fixed(self, values):
        """Partially observed rows of fields, with what the conditions determine.

        Raises
        ------
        ValueError
            If an observed value violates a condition.
        """
        out = values.copy()
        for condition in self.conditions:
            fields = self.schema.fields_of_column(condition.place)
            free = np.isnan(values[:, fields]).all(1)
            holds = condition.holds(self.schema.column_of_rows(values, condition.place)) | free
            if not holds.all():
                row, name = int(np.argmin(holds)), self.schema.names[condition.place]
                raise ValueError(
                    f"Row {row} of given holds a value of column {name!r} that where= excludes. "
                    "Leave one of them out."
                )
            out[:, fields] = np.where(free[:, None], self.fixed[fields], values[:, fields])
        return out

    # One column

    def _condition(self, place, value):
        column = self.schema.columns[place]
        if isinstance(value, tuple):
            condition = self._range(place, column, value)
        else:
            condition = self._set(place, column, value)
        self._restrict(column, condition)
        return condition

    def _range(self, place, column, value):
        if len(value) != 2 or value[0] is None and value[1] is None:
            raise ValueError(
                f"where={{{column.name!r}: {value!r}}} must be a pair (low, high), of which one "
                "may be None. Pass values to choose from as a list."
            )
        if column.feature_type == "category" and not column.ordered:
            raise ValueError(
                f"where={{{column.name!r}: {value!r}}} is a range, but the levels of the column "
                "have no order. Pass a list of levels."
            )
        by_code = _is_by_code(column)
        low, high = (
            None if end is None
            else self._codes(column, [end])[0] if by_code else self._end(place, column, end)
            for end in value
        )  # fmt: skip
        if low is not None and high is not None and low > high:
            raise ValueError(
                f"where={{{column.name!r}: {value!r}}} is empty: it ends before it begins. Pass "
                "(low, high) with low <= high."
            )
        condition = Condition(place, low, high)
        if not by_code:
            self._check_range(column, condition, value)
        return condition

    def _check_range(self, column, condition, value):
        """Raise if the column holds no value in a range."""
        low, high, width = condition.low, condition.high, column.bin_width
        if column.is_category:
            empty = not condition.allows(_of_levels(column)).any()
        elif column.is_time:
            empty = False
        else:
            empty = low is not None and high is not None and not np.isnan(width) and (
                np.ceil(low / width - 1e-9) > np.floor(high / width + 1e-9)
                and not self.schema.bins.origin.any()
            )  # fmt: skip
        seen = [_of_time(column, end) for end in (column.low, column.high)]
        if self.schema.clip and not column.is_category and seen[0] is not None:
            empty |= (low is not None and low > seen[1]) or (high is not None and high < seen[0])
        if empty:
            raise ValueError(
                f"where={{{column.name!r}: {value!r}}} holds no value of the column, which goes "
                f"from {column.low} to {column.high}. Widen the range."
            )

    def _end(self, place, column, end):
        """One end of a range in the form of the column's values."""
        dtype = self.schema.table.dtypes[place]
        try:
            if isinstance(dtype, pd.PeriodDtype):
                return pd.Period(end, freq=dtype.freq).ordinal
            if column.kind == "datetime":
                time = pd.Timestamp(end)
                if (time.tzinfo is None) != (column.zone is None):
                    time = time.tz_localize(column.zone)
                time = time if time.tzinfo is None else time.tz_convert(None)
                return _known(time).to_datetime64()
            if column.kind == "duration":
                return _known(pd.Timedelta(end)).to_timedelta64()
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"where holds {end!r} for column {column.name!r}, which holds {column.kind}s. Pass "
                "one, or text that pandas reads as one."
            ) from error
        if not isinstance(end, Real) or isinstance(end, bool | np.bool_):
            raise TypeError(
                f"where holds {end!r} for column {column.name!r}, which holds numbers. Pass "
                "numbers."
            )
        if np.isnan(end):
            raise ValueError(f"where holds NaN for column {column.name!r}. Pass numbers, or None.")
        return end

    def _set(self, place, column, value):
        scalar = isinstance(value, str | bytes) or np.ndim(value) == 0
        is_list = isinstance(value, set | frozenset)
        values = list(value) if is_list or not scalar else [value]
        if isinstance(value, dict) or not values:
            raise ValueError(
                f"where={{{column.name!r}: {value!r}}} holds no value. Pass a range (low, high), "
                "or a list of at least one value."
            )
        if any(v is None or v is pd.NA or v is pd.NaT or v != v for v in values):
            raise ValueError(
                f"where={{{column.name!r}: {value!r}}} asks for missing values. Pass observed ones."
            )
        if _is_by_code(column):
            codes = self._codes(column, values)
            if len(set(codes)) == 1 and not column.is_category:
                self.fixed[self.schema.first_field[place]] = codes[0]
            return Condition(place, values=np.unique(codes))
        return self._numbers(place, column, values)

    def _codes(self, column, values):
        """Codes of levels of a column."""
        codes = encode(column, _raw(column, values), True, "code")[0]
        unseen = codes >= len(column.levels)
        if unseen.any():
            value, levels = values[int(np.argmax(unseen))], column.levels.tolist()
            listed = ", ".join(map(repr, levels[:_MOST_LISTED]))
            raise ValueError(
                f"where asks for {value!r} in column {column.name!r}, which it did not hold in "
                f"fit. {nearest_name(str(value), [str(v) for v in levels])}Its levels are {listed}"
                f"{', ...' if len(levels) > _MOST_LISTED else ''}."
            )
        return codes.astype(np.int64)

    def _numbers(self, place, column, values):
        """The condition of a list of values of a column of numbers or times."""
        values = [_listed(column, self._end(place, column, v)) for v in values]
        raw = _raw(column, values)
        parts = np.stack(encode(column, raw, True, "code"))
        fields = self.schema.fields_of_column(place)
        rows = np.full((len(values), len(self.fixed)), np.nan)
        rows[:, fields] = parts.T
        back = self.schema.column_of_rows(rows, place)
        condition = Condition(place, values=ticks(back) if back.unit else back.values)
        same = Condition(place, values=np.asarray(values)).holds(back)
        if column.kind == "float":
            same = np.isclose(back.values, np.asarray(values, float), rtol=1e-6, atol=0)
        if not same.all():
            raise ValueError(
                f"where asks for {values[int(np.argmin(same))]!r} in column {column.name!r}, which "
                "lies on a grid or has levels that do not hold it. Pass values of the column."
            )
        if len(set(condition.values.tolist())) == 1:
            self.fixed[fields] = parts[:, 0]
        elif _is_continuous(column) and not np.isnan(parts[-1]).all():
            raise ValueError(
                f"where asks for {len(values)} values of column {column.name!r}, which is "
                "continuous: each has probability zero. Pass a range (low, high), or one value."
            )
        return condition

    def _restrict(self, column, condition):
        """Note the codes that a condition leaves to the category field of its column."""
        if not column.n_codes:
            return
        field, allowed = self.schema.first_field[condition.place], np.zeros(column.n_codes, bool)
        if column.is_category:
            levels = _of_levels(column)
            codes = np.arange(len(levels)) if _is_by_code(column) else levels
            allowed[: len(levels)] = condition.allows(codes)
        else:
            n = 0
            if column.atoms is not None:
                n = len(column.atoms)
                allowed[:n] = condition.allows(_of_time(column, np.asarray(column.atoms)))
            atoms = () if column.atoms is None else _of_time(column, np.asarray(column.atoms))
            others = condition.values is None or ~np.isin(condition.values, atoms)
            allowed[-1] = np.any(others)
        if allowed.sum() == 1:
            self.fixed[field] = float(allowed.argmax())
        elif not allowed.all():
            self.allowed[int(field)] = allowed


def _is_continuous(column):
    return not column.is_category and np.isnan(column.bin_width)


def _is_by_code(column):
    """Whether a column is named by its levels, and not by numbers or times."""
    return column.feature_type in ("category", "ordered")


def _raw(column, values):
    """Values as a `RawColumn`."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    if column.kind in ("datetime", "duration") and not column.unit:
        return RawColumn("datetime", np.asarray(values, dtype=np.int64))
    try:
        raw = object_column(array, column.name)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"where holds {values!r} for column {column.name!r}. Pass values of one type."
        ) from error
    if raw.kind in ("datetime", "duration") and column.zone is not None and raw.zone is None:
        return RawColumn(raw.kind, raw.values, raw.missing, unit=raw.unit, zone=column.zone)
    return raw


def _of_levels(column):
    """The levels of a category as numbers or times, or as they are."""
    return _of_time(column, column.levels)


def _of_time(column, value):
    """Ticks of a column as times of numpy; other values as they are."""
    if value is None or column.kind not in ("datetime", "duration") or not column.unit:
        return value
    value = np.asarray(value)
    if value.dtype.kind in "mM":
        return value
    letter = "M" if column.kind == "datetime" else "m"
    return value.astype(np.int64).view(f"{letter}8[{column.unit}]")


def _listed(column, value):
    """One of several values in a form that `object_column` reads."""
    if column.kind == "datetime" and column.unit:
        return pd.Timestamp(value)
    return pd.Timedelta(value) if column.kind == "duration" and column.unit else value


def _known(time):
    if time is pd.NaT:
        raise ValueError("NaT")
    return time
