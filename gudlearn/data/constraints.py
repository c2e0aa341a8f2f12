"""What rows satisfy: linear constraints between columns, and combinations that must be seen."""

import operator
from dataclasses import dataclass

import numpy as np

from gudlearn.data.combinations import Seen
from gudlearn.data.fields import encode
from gudlearn.data.given import place_of
from gudlearn.data.linear import check_names, parse
from gudlearn.data.raw import SECONDS, RawColumn
from gudlearn.data.restoring import is_short

_COMPARE = {
    "==": operator.eq, "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
# Rounding of sums of floats, relative to the largest term, of float64 columns and of shorter ones.
_ROUNDING, _SHORT_ROUNDING = 1e-9, 1e-5
_MOST_LISTED = 5


@dataclass(frozen=True, eq=False)
class Constraints:
    """The constraints of a schema, found to hold in the rows of the first fit.

    Parameters
    ----------
    linear : list of Linear
    seen : list of Seen
    places : dict of str to int
        Position of each column that linear constraints name.
    """

    linear: list
    seen: list
    places: dict

    def sentences(self, schema):
        """What samples satisfy, a list of lines."""
        lines = [f"samples satisfy {text}" for text in dict.fromkeys(c.text for c in self.linear)]
        for seen in self.seen:
            names = ", ".join(schema.names[place] for place in seen.places)
            lines.append(f"samples have only combinations of {names} that were seen")
        return lines

    # Checks

    def violated(self, values, schema):
        """The first constraint that rows of fields violate, beyond rounding, and where.

        Returns
        -------
        str or None, and mask (n,)
        """
        columns = self._columns(values, schema)
        for linear in self.linear:
            wrong = ~self._holds(linear, columns, schema, exactly=False)
            if wrong.any():
                return f"{linear.text!r}", wrong
        for seen in self.seen:
            wrong = ~seen.allows([_values_of(schema, values, place) for place in seen.places])
            if wrong.any():
                names = tuple(schema.names[place] for place in seen.places)
                return f"forbid_unseen={names}", wrong
        return None, np.zeros(len(values), bool)

    def check(self, values, schema, first_row=0):
        """Raise if rows of fields (n, n_fields) violate a constraint; missing values do not.

        Rows are numbered from ``first_row`` on in messages.

        Raises
        ------
        ValueError
        """
        what, wrong = self.violated(values, schema)
        if what is None:
            return
        rows = first_row + np.flatnonzero(wrong)
        more = ", ..." if len(rows) > _MOST_LISTED else ""
        raise ValueError(
            f"{len(rows)} of {len(values)} rows violate {what}: rows "
            f"{', '.join(map(str, rows[:_MOST_LISTED]))}{more}. Correct or drop them, or leave "
            "the constraint out."
        )

    def accepts(self, values, schema):
        """Mask (n,) of rows of fields that satisfy all constraints."""
        columns = self._columns(values, schema)
        accepted = np.ones(len(values), bool)
        for linear in self.linear:
            accepted &= self._holds(linear, columns, schema, exactly=True)
        for seen in self.seen:
            accepted &= seen.allows([_values_of(schema, values, place) for place in seen.places])
        return accepted

    def _columns(self, values, schema):
        """The columns of linear constraints, a dict of `RawColumn` by name."""
        return {name: schema.column_of_rows(values, j) for name, j in self.places.items()}

    def _holds(self, linear, columns, schema, exactly):
        left, right, missing = _sides(linear, {name: columns[name] for name in linear.names})
        holds = _COMPARE[linear.comparison](left, right)
        if left.dtype.kind == "f" and (linear.comparison == "==" or not exactly):
            short = any(is_short(schema.table.dtypes[self.places[n]]) for n in linear.names)
            size = sum(
                np.abs(c) if name is None else np.abs(c * columns[name].values)
                for c, name in (*linear.left, *linear.right)
            )
            near = np.abs(left - right) <= (_SHORT_ROUNDING if short else _ROUNDING) * size
            holds = holds | near
        return holds | missing

    # Values that follow from others

    def propagated(self, values, schema):
        """Partially observed rows with the values that equalities determine.

        Raises
        ------
        ValueError
            If an observed row violates a constraint.
        """
        for _ in self.linear:
            changed = False
            for linear in self._equalities():
                for name in linear.names:
                    others = [self.places[n] for n in linear.names if n != name]
                    known = ~np.isnan(values[:, schema.first_field])
                    rows = known[:, others].all(1) & ~known[:, self.places[name]]
                    if rows.any():
                        values = values.copy()
                        values[rows] = self._solved(linear, name, values[rows], schema)[0]
                        changed = True
            if not changed:
                break
        what, wrong = self.violated(values, schema)
        if what is not None:
            raise ValueError(
                f"Row {int(np.argmax(wrong))} of given violates {what}. Pass values that satisfy "
                "it, or leave one of them out."
            )
        return values

    def completed(self, values, observed, schema):
        """Rows whose equalities hold, and which of them satisfy all constraints.

        One column of each equality that is not observed is computed from the others.

        Parameters
        ----------
        values : ndarray of shape (n, n_fields)
        observed : ndarray of shape (n, n_fields) of bool
        schema : TableSchema

        Returns
        -------
        values : ndarray of shape (n, n_fields)
        accepted : ndarray of shape (n,) of bool
        """
        values, accepted = values.copy(), np.ones(len(values), bool)
        if any(True for _ in self._equalities()):
            patterns, of_row = np.unique(
                observed[:, schema.first_field], axis=0, return_inverse=True
            )
            for k, pattern in enumerate(patterns):
                rows = np.flatnonzero(of_row.ravel() == k)
                for linear, name in self._plan(pattern, schema):
                    values[rows], known, inside = self._solved(linear, name, values[rows], schema)
                    free = not pattern[[self.places[n] for n in linear.names]].any()
                    accepted[rows] &= known & (inside | (not (free and schema.clip)))
        return values, accepted & self.accepts(values, schema)

    def _equalities(self):
        return (linear for linear in self.linear if linear.comparison == "==")

    def _plan(self, observed, schema):
        """The equalities in an order in which they can be solved, each with its column."""
        left, plan = list(self._equalities()), []
        while left:
            chosen = None
            for linear in left:
                others = {name for other in left if other is not linear for name in other.names}
                free = [n for n in linear.names if n not in others
                        and not observed[self.places[n]] and linear.coefficient(n)]  # fmt: skip
                if free:
                    chosen = linear, min(free, key=lambda n, of=linear: self._rank(of, n, schema))
                    break
            if chosen is None:
                # Nothing can be computed without touching another equality: rows must be accepted.
                break
            plan.append(chosen)
            left.remove(chosen[0])
        # What was found last is in no equality found before it, and is solved first.
        return plan[::-1]

    def _rank(self, linear, name, schema):
        column = schema.columns[self.places[name]]
        unit = abs(linear.coefficient(name)) == 1
        return column.is_category, not unit, linear.alone(name) is None

    def _solved(self, linear, name, values, schema):
        """Rows with one column computed from the others.

        Returns
        -------
        values : ndarray of shape (n, n_fields)
        known : ndarray of shape (n,) of bool
            False where the column has no level for the value, which is then left as it was.
        inside : ndarray of shape (n,) of bool
            Whether the value lies in the range that was seen.
        """
        place = self.places[name]
        column, fields = schema.columns[place], schema.fields_of_column(place)
        raw = {n: schema.column_of_rows(values, self.places[n]) for n in linear.names}
        own = raw[name]
        result, keep = _solution(linear, name, raw)
        if own.missing_mask() is not None:
            # A value that is missing, and not only unobserved, stays so.
            keep = keep | (own.missing_mask() & ~np.isnan(values[:, fields.start]))
        if own.kind == "float":
            computed = RawColumn("float", np.where(keep, np.nan, result))
        else:
            whole = np.rint(result).astype(np.int64) if result.dtype.kind == "f" else result
            computed = RawColumn(
                own.kind, np.where(keep, 0, whole), keep, unit=own.unit, zone=own.zone
            )
        parts = np.stack(encode(column, computed, True, "code"), axis=1)
        known = keep | (not column.is_category or parts[:, 0] < len(column.levels))
        out = values.copy()
        out[:, fields] = np.where((known & ~keep)[:, None], parts, values[:, fields])
        return out, known, _inside(column, computed) | keep


# Sums


def _sides(linear, columns):
    """Both sides of a comparison, (n,) of int64 or float64, and where a value is missing."""
    numbers, missing = _as_numbers(columns)
    whole = all(v.dtype.kind == "i" for v in numbers.values())
    whole &= all(isinstance(c, int) for c, _ in (*linear.left, *linear.right))
    n = len(missing)
    return _total(linear.left, numbers, whole, n), _total(linear.right, numbers, whole, n), missing


def _total(terms, numbers, whole, n):
    total = None
    for coefficient, name in terms:
        if name is None:
            term = np.full(n, coefficient, np.int64 if whole else np.float64)
        else:
            term = numbers[name] if whole else numbers[name].astype(np.float64)
            term = term if coefficient == 1 else coefficient * term
        total = term if total is None else total + term
    return total


def _solution(linear, name, columns):
    """Values of a column by an equality, in its own unit, and where a term is missing."""
    others = {n: column for n, column in columns.items() if n != name}
    own = columns[name]
    numbers, missing = _as_numbers(columns, {name})
    whole = all(v.dtype.kind == "i" for v in numbers.values())
    whole &= all(isinstance(c, int) for c, _ in (*linear.left, *linear.right))
    other_side, n = linear.alone(name), len(own.values)
    if other_side is not None:
        result = _total(other_side, numbers, whole, n)
    else:
        coefficient = linear.coefficient(name)
        left, right = (
            _total(tuple(t for t in side if t[1] != name) or ((0, None),), numbers, whole, n)
            for side in (linear.left, linear.right)
        )
        result = (right - left) if coefficient > 0 else (left - right)
        if abs(coefficient) != 1:
            result = result / abs(coefficient)
    factor = _factors(columns).get(name, 1)
    if others and factor != 1:
        result = result // factor if result.dtype.kind == "i" else result / factor
    return result, missing


def _as_numbers(columns, without=()):
    """Values of columns in a common unit, and where one of them is missing."""
    factors, numbers, missing = _factors(columns), {}, None
    for name, column in columns.items():
        gone = column.missing_mask()
        missing = np.zeros(len(column.values), bool) if missing is None else missing
        if gone is not None and name not in without:
            missing = missing | gone
        values = column.values
        if column.kind != "float":
            values = values.astype(np.int64) * factors.get(name, 1)
        numbers[name] = values
    return numbers, missing


def _factors(columns):
    """Ticks of the finest unit in a tick of each column of time, by name."""
    units = {name: column.unit for name, column in columns.items() if column.unit}
    if not units:
        return {}
    finest = min(SECONDS[unit] for unit in units.values())
    return {name: round(SECONDS[unit] / finest) for name, unit in units.items()}


def _inside(column, computed):
    """Whether computed values lie in the range that was seen."""
    low, high = column.low, column.high
    if low is None or not isinstance(low, int | float | np.number):
        if column.unit and low is not None:
            low, high = (np.asarray(v).astype(np.int64) for v in (low, high))
        else:
            return np.ones(len(computed.values), bool)
    with np.errstate(invalid="ignore"):
        return (computed.values >= low) & (computed.values <= high)


def _values_of(schema, values, place):
    """What tells the values of a column apart, (n,) of float64 with NaN where missing."""
    column, field = schema.columns[place], schema.first_field[place]
    if column.is_category or not column.n_codes:
        codes = values[:, field]
        missing = column.is_category & (codes == len(column.levels))
        return np.where(missing & (column.missing == "model"), np.nan, codes)
    raw = schema.column_of_rows(values, place)
    missing = raw.missing_mask()
    numbers = raw.values.astype(np.float64)
    return numbers if missing is None else np.where(missing, np.nan, numbers)


# From a specification


def make_constraints(texts, forbidden, schema, values):
    """The constraints of a schema, checked on its rows; None if there are none.

    Parameters
    ----------
    texts : list of str or None
    forbidden : list of tuple or None
    schema : TableSchema
    values : ndarray of shape (n, n_fields)
        Rows of the first fit.

    Raises
    ------
    ValueError
        If a column is unknown or has no numbers, or a row violates a constraint.
    """
    linear = [part for text in texts or () for part in parse(text)]
    for part in linear:
        check_names(part, schema.names)
        _check_types(part, schema)
    seen = []
    for columns in forbidden or ():
        places = [place_of("forbid_unseen", name, schema) for name in columns]
        _check_levels(columns, places, schema)
        seen.append(Seen.of([_values_of(schema, values, place) for place in places], places))
    if not linear and not seen:
        return None
    names = dict.fromkeys(name for part in linear for name in part.names)
    constraints = Constraints(linear, seen, {name: schema.names.index(name) for name in names})
    constraints.check(values, schema)
    return constraints


def _check_types(linear, schema):
    """Raise if the columns of a comparison cannot be added and compared."""
    columns = [schema.columns[schema.names.index(name)] for name in linear.names]
    bad = next((c for c in columns if c.feature_type in ("category", "ordered")), None)
    if bad is not None:
        raise ValueError(
            f"constraints holds {linear.text!r}, but column {bad.name!r} is {bad.feature_type!r}. "
            "Compare numbers or times; combinations of levels are forbidden by forbid_unseen."
        )
    times = [c for c in columns if c.kind in ("datetime", "duration")]
    if not times:
        return
    constant = sum(c for c, name in linear.left if name is None) - sum(
        c for c, name in linear.right if name is None
    )
    dates = sum(linear.coefficient(c.name) for c in times if c.kind == "datetime")
    whole = all(isinstance(c, int) for c, _ in (*linear.left, *linear.right))
    zones = {c.zone is None for c in times if c.kind == "datetime"}
    periods = {c.unit == "" for c in times}
    if len(times) < len(columns) or constant or dates or not whole or len(zones | periods) > 2 \
            or len(zones) > 1 or len(periods) > 1:  # fmt: skip
        raise ValueError(
            f"constraints holds {linear.text!r}, which mixes times with other values. Compare "
            "dates with dates and durations with durations, or state end == start + duration."
        )


def _check_levels(columns, places, schema):
    for place in places:
        column = schema.columns[place]
        if not column.is_category and np.isnan(column.bin_width):
            raise ValueError(
                f"forbid_unseen={tuple(columns)!r} holds column {column.name!r}, which is "
                "continuous: no combination occurs twice. Name columns of categories."
            )


def check_constraint_parameters(texts, forbidden):
    """Raise if the parameters of constraints are invalid, as far as no data are needed.

    Raises
    ------
    ValueError
    TypeError
    """
    if texts is not None and not isinstance(texts, list | tuple):
        raise TypeError(f"constraints={texts!r} must be a list of text, or None. Pass it so.")
    for text in texts or ():
        if not isinstance(text, str):
            raise TypeError(f"constraints holds {text!r}, which is no text. Pass 'a <= b'.")
        parse(text)
    if forbidden is not None and not isinstance(forbidden, list | tuple):
        raise TypeError(f"forbid_unseen={forbidden!r} must be a list of tuples of columns.")
    for columns in forbidden or ():
        if not isinstance(columns, list | tuple) or len(set(columns)) < 2:
            raise ValueError(
                f"forbid_unseen holds {columns!r}, which is no tuple of at least two columns. Pass "
                "for instance [('department', 'role')]."
            )
