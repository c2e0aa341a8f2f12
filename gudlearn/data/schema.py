"""The specification of a table's types, and how they are found."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator

from gudlearn._typing import FeatureType
from gudlearn._versions import Versioned
from gudlearn.data.bins import place_bins, resolve_bounds, resolve_width
from gudlearn.data.column_types import FEATURE_TYPES, Rules
from gudlearn.data.columns import nearest_name
from gudlearn.data.constraints import check_constraint_parameters, make_constraints
from gudlearn.data.feature_types import decide
from gudlearn.data.fields import encode, fields_of
from gudlearn.data.frames import read_table
from gudlearn.data.number_types import decide_floats
from gudlearn.data.table_schema import TableSchema

# Tables of more columns and fewer rows than these are looked at as a whole first.
_MANY, _MOST_ROWS_AT_ONCE = 100, 2000


class Schema(Versioned, BaseEstimator):
    """Types of a table's columns, and what is looked for in them.

    Parameters
    ----------
    feature_types : dict or None, default=None
        Types of columns by name (of an array, by index), where those that are found are not meant:
        "continuous", "whole", "decimal" (on a grid), "ordered" (levels in order), "category",
        "datetime" or "duration".
    missing : {"ignore", "model"}, default="ignore"
        Whether a missing value is a value that was not observed, about which nothing is learned,
        or one that is modelled: samples then have missing values where the data would.
    atoms : bool, default=True
        Whether values of numeric columns that repeat far more often than their neighbours, such as
        zero, caps and sentinels, have a probability of their own. Scores are then densities with
        respect to length plus these points.
    bin_width : dict or None, default=None
        Widths of grids by name of the column, with scores that are log-probabilities; None
        declares a column continuous. In columns that it names nothing is looked for.
    clip : bool, default=True
        Whether samples stay in the range of values that was seen.
    gaussianize : bool, default=True
        Whether continuous columns whose distribution is clearly not normal are mapped to normal
        ones inside the model, by a smooth distribution function that is fitted to each. The joint
        Gaussian that training starts from is then a Gaussian copula. Columns with clearly separate
        modes stay as they are, and so do all with ``preconditioning="gaussian"`` or "mixture".
    constraints : list of str or None, default=None
        Linear equalities and inequalities between columns of numbers, or of times, such as
        ``"casual + registered == count"``, ``"2*a - b >= 3"`` or ``"start <= end"``; names that
        are no identifiers stand in backticks. Training rows that violate one are an error, missing
        values violate none. Samples satisfy all: one column of an equality, if possible one that
        stands alone, is computed from the others, and rows that violate an inequality are drawn
        again. All columns stay part of the model: scores do not know the constraints.
    forbid_unseen : list of tuple or None, default=None
        Tuples of columns whose combinations of levels must have been seen in training; samples
        with others are drawn again.

    Examples
    --------
    >>> import pandas as pd
    >>> from gudlearn import Schema
    >>> frame = pd.DataFrame({"size": [1.5, 2.25, 3.0] * 20, "hour": [7, 8, 23] * 20})
    >>> schema = Schema(feature_types={"hour": "ordered"}).build(frame, ["size", "hour"])
    >>> [column.feature_type for column in schema.columns]
    ['decimal', 'ordered']
    """

    def __init__(
        self, feature_types: Mapping[Any, FeatureType] | None = None,
        missing: Literal["ignore", "model"] = "ignore", atoms: bool = True,
        bin_width: Mapping[Any, float | None] | None = None, clip: bool = True,
        gaussianize: bool = True, constraints: Sequence[str] | None = None,
        forbid_unseen: Sequence[tuple[Any, ...]] | None = None,
    ) -> None:  # fmt: skip
        self.feature_types = feature_types
        self.missing = missing
        self.atoms = atoms
        self.bin_width = bin_width
        self.clip = clip
        self.gaussianize = gaussianize
        self.constraints = constraints
        self.forbid_unseen = forbid_unseen

    def build(self, X, names, *, bin_width="auto", bin_range=None, on_line=False):
        """Decide about each column of a table.

        Parameters
        ----------
        X : ndarray of shape (n, F), frame of pandas, polars or pyarrow, or Table
            A table with a sample stands for more rows than memory holds.
        names : list of str
            Names of the columns, for messages.
        bin_width : "auto", None, number or array-like of shape (F,)
            Declares the grids of all numeric columns unless it is "auto".
        bin_range : None, pair of numbers, or array-like of shape (F, 2)
            Bounds of the values on grids.
        on_line : bool
            Whether numbers must stay single columns of numbers, because the basis mixes columns.

        Returns
        -------
        TableSchema

        Raises
        ------
        ValueError
            If a column is unknown, cannot have its type, or has values that no type describes.
        """
        self.check_params()
        table = read_table(X, names)
        _check_observed(table, names)
        rules = self._rules(table, names, bin_width, bin_range, on_line)
        columns = _decided(table, names, rules)
        if on_line and self.missing == "model":
            _refuse_missing(columns)
        fields = fields_of(columns)
        bins = _bins_of(table.in_memory, columns, fields, bin_range)
        schema = TableSchema(
            columns, fields, table.kind, bins, bool(self.clip), bool(self.gaussianize)
        )
        if not (self.constraints or self.forbid_unseen):
            return schema
        if self.forbid_unseen and table.in_memory is not table:
            raise ValueError(
                f"forbid_unseen={self.forbid_unseen!r} needs the combinations of all rows, but X "
                "is larger than memory. Leave it out, or pass rows in memory."
            )
        values = schema.read(table.in_memory)
        constraints = make_constraints(self.constraints, self.forbid_unseen, schema, values)
        return replace(schema, constraints=constraints)

    def check_params(self):
        """Raise if a parameter is invalid, as far as no data are needed.

        Raises
        ------
        ValueError
        TypeError
        """
        check_constraint_parameters(self.constraints, self.forbid_unseen)
        for name in ("feature_types", "bin_width"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, dict):
                raise TypeError(
                    f"{name}={value!r} must be a dict from names of columns, or None. Pass it so."
                )
        if self.missing not in ("ignore", "model"):
            raise ValueError(f"missing={self.missing!r} must be 'ignore' or 'model'. Pass one.")
        for name in ("atoms", "clip", "gaussianize"):
            if not isinstance(getattr(self, name), bool | np.bool_):
                raise TypeError(f"{name}={getattr(self, name)!r} must be True or False. Pass one.")
        for column, kind in (self.feature_types or {}).items():
            if kind not in FEATURE_TYPES:
                hint = nearest_name(str(kind), FEATURE_TYPES)
                raise ValueError(
                    f"feature_types={{{column!r}: {kind!r}}} is no known type. {hint}"
                    f"Known types: {', '.join(map(repr, FEATURE_TYPES))}."
                )
        for column, width in (self.bin_width or {}).items():
            number = isinstance(width, Real) and not isinstance(width, bool)
            if width is not None and not (number and width > 0 and np.isfinite(width)):
                raise ValueError(
                    f"bin_width={{{column!r}: {width!r}}} must be a positive, finite number, or "
                    "None for a continuous column. Pass one."
                )

    def _rules(self, table, names, bin_width, bin_range, on_line):
        """What is declared about each column, a list of `Rules`."""
        types = _by_place("feature_types", self.feature_types, table, names)
        own = _by_place("bin_width", self.bin_width, table, names)
        bounded = ~np.isnan(resolve_bounds(bin_range, len(names))).all(1)
        shared = ["auto"] * len(names)
        if not isinstance(bin_width, str):
            widths = resolve_width(bin_width, [], len(names))
            shared = [None if np.isnan(width) else float(width) for width in widths]
        elif bin_width != "auto":
            resolve_width(bin_width, [], len(names))
        rules, made = [], {}
        for j, raw in enumerate(table.columns):
            width = shared[j] if raw.kind in ("integer", "float") else "auto"
            width = own.get(j, width)
            width = float(width) if isinstance(width, Real) else width
            declared = (types.get(j), width, bool(bounded[j]))
            if declared not in made:
                made[declared] = Rules(
                    types.get(j), width, bool(self.atoms) and not on_line, self.missing, on_line,
                    bool(bounded[j]),
                )  # fmt: skip
            rules.append(made[declared])
        return rules


def _decided(table, names, rules):
    """A tuple of `Column`, decided together where a wide table has nothing to be found in it."""
    known = {dtype: str(dtype) for dtype in set(table.kind.dtypes)}
    dtypes = [known[dtype] for dtype in table.kind.dtypes]
    columns = [None] * len(names)
    if table.block is not None and len(names) > _MANY and table.n_rows < _MOST_ROWS_AT_ONCE:
        columns = decide_floats(table.block, names, dtypes, rules)
    return tuple(
        decide(raw, name, dtype, rule) if column is None else column
        for column, raw, name, dtype, rule in zip(
            columns, table.columns, names, dtypes, rules, strict=True
        )
    )


def _check_observed(table, names):
    """Raise if all values of a column are missing, or X holds no rows."""
    if table.n_rows == 0:
        raise ValueError("Found array with 0 sample(s): X has no rows. Pass at least one.")
    if table.block is not None:
        gaps = np.isnan(table.block).all(0)
    else:
        gaps = [raw.n_missing() == table.n_rows for raw in table.columns]
    empty = [name for name, gap in zip(names, gaps, strict=True) if gap]
    if empty:
        raise ValueError(f"Columns {empty[:5]} of X hold nothing but NaN. Drop them.")


def _by_place(parameter, declared, table, names):
    """What a dict by names, labels or indices declares, by position of the column."""
    if not declared:
        return {}
    places = {name: j for j, name in enumerate(names)}
    labels = table.kind.labels
    if labels is not None:
        places |= {label: j for j, label in enumerate(labels)}
    else:
        places |= {j: j for j in range(len(names))}
    out = {}
    for key, value in declared.items():
        if key not in places:
            hint = nearest_name(str(key), [str(place) for place in places])
            raise ValueError(
                f"{parameter} names column {key!r}, which X does not have. {hint}"
                f"Its columns are {', '.join(map(repr, names[:10]))}."
            )
        out[places[key]] = value
    return out


def _refuse_missing(columns):
    for column in columns:
        if column.missing == "model" and not column.is_category:
            raise ValueError(
                f"missing='model' cannot be had for the numeric column {column.name!r} in a basis "
                "that mixes columns. Pass basis='identity', or missing='ignore'."
            )


def _bins_of(table, columns, fields, bin_range):
    """The bins of the fields."""
    width = np.full(len(fields), np.nan)
    for k, field in enumerate(fields):
        column = columns[field.column]
        if field.kind == "number" and not np.isnan(column.bin_width):
            width[k] = 1.0 if column.is_time else column.bin_width
    names = [field.name for field in fields]
    bounds = _field_bounds(bin_range, columns, fields)
    # Whole numbers and grids that were found are multiples of their widths: the others are checked.
    values = np.zeros((1, len(fields)))
    declared = [
        k for k, field in enumerate(fields)
        if not np.isnan(width[k]) and field.gate < 0 and not columns[field.column].found
        and (columns[field.column].kind == "float" or bin_range is not None or width[k] != 1)
    ]  # fmt: skip
    if declared:
        values = np.zeros((table.n_rows, len(fields)))
    for k in declared:
        j = fields[k].column
        values[:, k] = encode(columns[j], table.columns[j], False, "code")[-1]
    return place_bins(width, bounds, values, names)


def _field_bounds(bin_range, columns, fields):
    """``bin_range`` of the numeric columns for each field, or None."""
    if bin_range is None:
        return None
    bounds = resolve_bounds(bin_range, len(columns))
    out = np.full((len(fields), 2), np.nan)
    for k, field in enumerate(fields):
        column = columns[field.column]
        if field.kind == "number" and column.kind in ("integer", "float"):
            out[k] = bounds[field.column] - column.offset
    return out
