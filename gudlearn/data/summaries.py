"""Summaries of columns that are read block by block, from which their types are decided.

Up to a number of distinct values a column is known exactly: its values and how often each occurs.
Of a column of numbers with more, what is exact are the number of missing values, the smallest and
the largest value, and the grids on which all values lie; the rest is that of a sample of rows.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gudlearn.data.column_types import infinite_message
from gudlearn.data.sketches import DistinctCount, Divisor, GridWitnesses

#: Columns with more distinct values than this are known by their summaries and a sample.
MOST_DISTINCT = 1 << 16
# Up to this many distinct values a hash table is faster than sorting.
_FEW = 2000


@dataclass(frozen=True, eq=False)
class StreamedColumn:
    """A column of all rows as a summary, in place of a `RawColumn`.

    Parameters
    ----------
    kind, levels, ordered, declared, unit, zone : see `RawColumn`
    values : ndarray of shape (m,)
        Distinct values, sorted; codes of levels. With more distinct values than are kept, those of
        a sample, the smallest and the largest, and witnesses of grids.
    counts : ndarray of shape (m,) of int
        How often each occurs; estimates, with the right sum, from a sample.
    gaps : int
        Number of missing values.
    n_distinct : int
        More than there are values where only some are listed.
    name : str
    """

    kind: str
    values: np.ndarray
    counts: np.ndarray
    gaps: int
    n_distinct: int
    name: str
    levels: np.ndarray | None = None
    ordered: bool = False
    declared: bool = False
    unit: str = ""
    zone: str | None = None

    def n_missing(self):
        """Number of missing values."""
        return self.gaps

    def distinct(self):
        """Distinct observed values, sorted, and their counts, as of `RawColumn`."""
        return self.values, self.counts

    def count(self, distinct):
        """Number of distinct values, of which some are listed."""
        return self.n_distinct

    def as_levels(self, distinct):
        """The distinct values, if all are listed.

        Raises
        ------
        ValueError
            If there are too many.
        """
        if self.n_distinct > MOST_DISTINCT:
            raise ValueError(
                f"feature_types makes levels of column {self.name!r}, but it holds about "
                f"{self.n_distinct} different values; the levels of a stream are at most "
                f"{MOST_DISTINCT}. Leave the type out, or drop the column."
            )
        return distinct


class ColumnSummary:
    """Summary of a column after some blocks of rows.

    Parameters
    ----------
    name : str
    """

    def __init__(self, name):
        self.name, self._raw, self._values, self._gaps = name, None, None, 0

    def add(self, raw, first_row):
        """Take a block of the column, a `RawColumn`.

        Raises
        ------
        ValueError
            If it holds infinity, or values of another kind than the blocks before.
        """
        missing = raw.missing_mask()
        values = raw.values if missing is None else raw.values[~missing]
        self._gaps += len(raw.values) - len(values)
        if not len(values):
            return
        ends = values[[values.argmin(), values.argmax()]]
        if raw.kind == "float" and not np.isfinite(ends).all():
            raise ValueError(infinite_message(self.name, raw.values, first_row))
        if self._raw is None:
            self._raw = raw
            self._values = _Levels(self.name, raw) if raw.kind == "level" else _Numbers(raw)
        same = (raw.kind, raw.unit, raw.zone) == (self._raw.kind, self._raw.unit, self._raw.zone)
        if not same:
            raise ValueError(
                f"Column {self.name!r} holds {_kind(raw)} from row {first_row} on, but "
                f"{_kind(self._raw)} before. Make them one type."
            )
        self._values.add(raw, values)

    def column(self, sample):
        """The `StreamedColumn`, given the column of a sample of the rows, a `RawColumn`."""
        if self._raw is None:
            none = np.zeros(0)
            return StreamedColumn("float", none, none, self._gaps, 0, self.name)
        first = self._raw
        values, counts, n_distinct, levels = self._values.finished(sample)
        return StreamedColumn(
            first.kind, values, counts, self._gaps, n_distinct, self.name, levels, first.ordered,
            first.declared, first.unit, first.zone,
        )  # fmt: skip


def _kind(raw):
    if raw.kind == "level":
        return "text or levels"
    unit = f" in {raw.unit}" if raw.unit else ""
    return f"{raw.kind}s{unit}" + (f" of the zone {raw.zone}" if raw.zone else "")


class _Levels:
    """Levels in their order of appearance, or as declared, and their counts."""

    def __init__(self, name, raw):
        self.name, self.counts = name, np.zeros(0, int)
        # The dtype, which all blocks share, lists declared levels.
        self.declared = raw.levels if raw.declared else None
        self.levels = pd.Index([], dtype=object)

    def add(self, raw, codes):
        if self.declared is not None:
            counts = np.bincount(codes, minlength=len(self.declared))
            self.counts = counts + (self.counts if len(self.counts) else 0)
            return
        levels = pd.Index(raw.levels, dtype=object)
        places = self.levels.get_indexer(levels)
        new = places < 0
        if new.any():
            places[new] = len(self.levels) + np.arange(new.sum())
            self.levels = self.levels.append(levels[new])
            if len(self.levels) > MOST_DISTINCT:
                raise ValueError(
                    f"Column {self.name!r} holds more than {MOST_DISTINCT} different texts, such "
                    f"as {self.levels[0]!r} and {self.levels[1]!r}: it looks like an identifier, "
                    "which has no distribution to learn. Drop it."
                )
        counts = np.bincount(places[codes], minlength=len(self.levels))
        counts[: len(self.counts)] += self.counts
        self.counts = counts

    def finished(self, sample):
        codes = np.flatnonzero(self.counts)
        levels = self.levels.to_numpy() if self.declared is None else self.declared
        return codes, self.counts[codes], len(codes), levels


class _Numbers:
    """Distinct numbers or ticks with their counts, or a summary of them if they are many."""

    def __init__(self, raw):
        dtype = raw.values.dtype
        self._kind, self._known, self._counts = raw.kind, np.zeros(0, dtype), np.zeros(0, int)
        self._many = False
        self.n, self.low, self.high = 0, None, None
        self._number, self._origin, self._divisor = DistinctCount(), None, Divisor()
        self._grids = GridWitnesses(dtype) if raw.kind == "float" else None
        self._witnesses = []

    def add(self, raw, values):
        self.n += len(values)
        low, high = values.min(), values.max()
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)
        if self._origin is None:
            self._origin = values[0]
        if not self._many:
            self._merge(*_distinct(values, len(self._known) <= _FEW))
            if len(self._known) <= MOST_DISTINCT:
                return
            # From now on summaries do, of the values so far as well.
            values, self._many = self._known, True
            self._known = self._counts = None
        self._number.add(values)
        if self._grids is not None:
            self._grids.add(values)
        elif self._kind != "integer":
            ticks = np.maximum(values, self._origin) - np.minimum(values, self._origin)
            self._witnesses += [values[k] for k in self._divisor.add(ticks.view(np.uint64))]

    def _merge(self, values, counts):
        if len(values) == len(self._known) and np.array_equal(values, self._known):
            self._counts += counts
            return
        dtype = np.uint64 if np.uint64 in (values.dtype, self._known.dtype) else values.dtype
        both = np.concatenate([self._known.astype(dtype), values.astype(dtype)])
        self._known, places = np.unique(both, return_inverse=True)
        self._counts = np.bincount(places, np.concatenate([self._counts, counts])).astype(np.int64)

    def finished(self, sample):
        if not self._many:
            return self._known, self._counts, len(self._known), None
        missing = sample.missing_mask()
        drawn = sample.values if missing is None else sample.values[~missing]
        found = self._witnesses if self._grids is None else self._grids.found
        dtypes = (drawn.dtype, self.low.dtype, self.high.dtype)
        dtype = np.dtype(np.uint64) if np.uint64 in dtypes else drawn.dtype
        drawn = drawn.astype(dtype, copy=False)
        certain = np.array([self.low, self.high, self._origin, *found], dtype=dtype)
        distinct = np.unique(np.concatenate([drawn, certain]))
        counts = np.bincount(np.searchsorted(distinct, drawn), minlength=len(distinct))
        # Rounded so that the sum is that of all rows.
        counts = np.diff(np.rint(counts.cumsum() * (self.n / max(len(drawn), 1))), prepend=0)
        counts = counts.astype(np.int64)
        return distinct, counts, self._estimate(distinct), None

    def _estimate(self, distinct):
        return max(self._number.estimate(), len(distinct), MOST_DISTINCT + 1)


def _distinct(values, few):
    """Distinct values, sorted, and their counts; with ``few`` by a hash table."""
    if few:
        codes, found = pd.factorize(values)
        order = np.argsort(found)
        return found[order], np.bincount(codes)[order]
    return np.unique(values, return_counts=True)
