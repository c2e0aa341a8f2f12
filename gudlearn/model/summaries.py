"""Means, quantiles and probabilities of what is missing in rows, in the container of the data."""

from dataclasses import replace

import numpy as np
import pandas as pd

from gudlearn.conditioning.conditions import Completion
from gudlearn.data.columns import check_n_samples
from gudlearn.data.containers import mean_of_draws
from gudlearn.data.draws import with_rows
from gudlearn.data.fields import decode_mean
from gudlearn.data.given import place_of
from gudlearn.data.labels import no_labels
from gudlearn.data.raw import RawColumn
from gudlearn.data.restoring import to_table
from gudlearn.data.rows import Rows
from gudlearn.model.accepted import Candidates


class Summaries:
    """Summaries of the conditional distribution of partially observed rows of a table.

    Parameters
    ----------
    sampling : Sampling
    n_samples : int
        Draws of noise for each row.
    random_state : int, RandomState instance or None
    """

    def __init__(self, sampling, n_samples, random_state):
        self.sampling, self.state = sampling, sampling.state
        self.n_samples, self.random_state = n_samples, random_state
        self.schema = sampling.state.container

    # Means

    def mean(self, rows, index=None):
        """Expected rows in the container of the data: of numbers floats, of categories modes.

        Parameters
        ----------
        rows : Rows
        index : pandas.Index or None
        """
        expected = self.sampling.expect(self.n_samples, rows, self.random_state)
        values = expected.rows(rows.observed)
        if self.state.has_images:
            return values.reshape(-1, *self.schema.sample_shape)
        draws = self._draws(rows) if self._needs_draws(rows) else None
        raw = [
            self._mean(j, column, rows, expected, values, draws)
            for j, column in enumerate(self.schema.columns)
        ]
        return with_rows(self._table(raw), None, index, "draw")

    def _needs_draws(self, rows):
        """Whether a value is missing in a column of two natures."""
        if rows.observed is None:
            return False
        gates = np.unique(self.schema.gate[self.schema.gate >= 0])
        return not rows.observed[:, gates].all()

    def _mean(self, place, column, rows, expected, values, draws):
        field = self.schema.first_field[place]
        if column.is_category and _is_numeric(column):
            return self._mean_of_levels(place, column, rows, expected, values)
        if column.is_category:
            return self.schema.column_of_rows(values, place)
        if not column.n_codes:
            return decode_mean(column, values[:, field])
        if draws is None:
            return self.schema.column_of_rows(values, place)
        raw = self.schema.column_of_rows(draws.reshape(-1, draws.shape[2]), place)
        return aggregated(raw, len(draws), _mean_where_observed)

    def _mean_of_levels(self, place, column, rows, expected, values):
        """The mean of a number that is modelled by its levels."""
        out = self.schema.column_of_rows(values, place).values.astype(np.float64)
        field = self.schema.first_field[place]
        probabilities = expected.of_column(field)
        if rows.observed is None or probabilities is None:
            return RawColumn("float", out)
        levels = np.asarray(column.levels, dtype=np.float64)
        p = probabilities[:, : len(levels)]
        mean = p @ levels / np.maximum(p.sum(1), np.finfo(float).tiny)
        return RawColumn("float", np.where(rows.observed[:, field], out, mean))

    # Quantiles

    def quantile(self, rows, q, index=None):
        """Quantiles of rows, in the container of the data, of the probabilities q, () or (m,)."""
        if self.state.has_images:
            draws = self._draws(rows)
            return np.quantile(draws, q, axis=0).reshape(*q.shape, -1, *self.schema.sample_shape)
        self._check_order(rows)
        draws, levels = self._draws(rows), np.ravel(q)
        flat, raw = draws.reshape(-1, draws.shape[2]), []
        for place, column in enumerate(self.schema.columns):
            if column.is_category and not _is_numeric(column) and not column.ordered:
                of_first = self.schema.column_of_rows(draws[0], place)
                raw.append(replace(of_first, values=np.tile(of_first.values, len(levels))))
            else:
                of_draws = self.schema.column_of_rows(flat, place)
                raw.append(aggregated(of_draws, len(draws), _quantiles(levels)))
        first = [float(level) for level in levels] if q.ndim else None
        return with_rows(self._table(raw), first, index, "quantile")

    def _check_order(self, rows):
        """Raise if an entry without order is missing."""
        if rows.observed is None:
            return
        missing = ~self.schema.column_mask_of(rows.observed).all(0)
        for place in np.flatnonzero(missing):
            column = self.schema.columns[place]
            if column.is_category and not _is_numeric(column) and not column.ordered:
                raise ValueError(
                    f"Column {column.name!r} holds categories, which have no quantiles, and is "
                    "missing in some rows. Use conditional_proba for it, and pass its values here."
                )

    def _draws(self, rows):
        return self.sampling.answer(self.n_samples, rows, None, None, 1.0, self.random_state)[0]

    def _table(self, raw):
        kind = self.schema.table
        if kind.module == "numpy" and kind.dtypes[0].kind in "iufb":
            kind = replace(kind, dtypes=[np.dtype(np.float64)] * len(kind.dtypes))
        return to_table(kind, raw)

    # Probabilities

    def probabilities(self, rows, name, index=None):
        """Probabilities of the levels of a column, (n, K); see `conditional_proba`."""
        if self.state.has_images:
            raise ValueError("conditional_proba is of a column of a table, but X holds images.")
        place = place_of("column", name, self.schema)
        column, field = self.schema.columns[place], self.schema.first_field[place]
        if not column.n_codes:
            raise ValueError(
                f"column={name!r} has no levels and no point masses: it is {column.feature_type}. "
                "Use conditional_quantile, or sample(given=...)."
            )
        values = rows.values.copy()
        values[:, self.schema.fields_of_column(place)] = np.nan
        rows = Rows.of(values)
        check_n_samples(self.n_samples)
        self.sampling.check_values(rows)
        p = self._of_field(rows, field, place)
        labels = _labels_of(column)
        if self.schema.table.module == "numpy":
            return p
        if self.schema.table.module == "pandas":
            return pd.DataFrame(p, columns=pd.Index(labels), index=index)
        texts = [str(label) for label in labels]
        if self.schema.table.module == "polars":
            import polars as pl

            return pl.DataFrame(p, schema=texts, orient="row")
        import pyarrow as pa

        return pa.table(list(p.T), names=texts)

    def _of_field(self, rows, field, place):
        categories = self.state.encoding.categories
        if categories is None or field not in categories.columns:
            return np.ones((len(rows), 1))
        seed = self.sampling.seed(self.random_state)
        others = ~np.isin(np.arange(rows.n_features), self._fields(place))
        absent = self.state.encoding.kinds.absent(rows.values)
        known = rows.observed if absent is None else rows.observed | absent
        whole = known[:, others].all(1)
        out = np.empty((len(rows), self.schema.n_levels[field]))
        if whole.any():
            out[whole] = self._at_once(rows.take(np.flatnonzero(whole)), seed, field)
        if not whole.all():
            partial = rows.take(np.flatnonzero(~whole))
            expected = self.sampling.expect_by_value(partial, self.n_samples, seed, False)
            out[~whole] = expected.of_column(field)
        return out / out.sum(1, keepdims=True)

    def _fields(self, place):
        return np.arange(self.schema.n_levels.size)[self.schema.fields_of_column(place)]

    def _at_once(self, rows, seed, field):
        """Probabilities where all other columns are observed: one evaluation of the network."""
        completion = Completion(rows, self.sampling.method_of(rows))
        condition = Candidates(np.arange(len(rows)), seed, completion)
        labels = no_labels(len(rows), self.state.n_classes)
        p = self.sampling.fitted.probabilities(len(rows), seed, labels, 1.0, condition)
        return p[:, self.state.encoding.categories.part(field)]


def _is_numeric(column):
    """Whether the levels of a category are values of a numeric column."""
    return column.kind in ("float", "integer") and column.feature_type in (
        "continuous", "decimal", "whole",
    )  # fmt: skip


def _labels_of(column):
    """Names of the codes of a column: its levels or atoms, "missing", and "other" of atoms."""
    if column.is_category:
        labels = list(column.levels)
    else:
        labels = [] if column.atoms is None else list(column.atoms)
    labels += ["missing"] if column.missing == "model" else []
    return labels if column.is_category else [*labels, "other"]


def aggregated(raw, n_draws, function):
    """A function over the draws of a column of numbers, times or ordered levels.

    Parameters
    ----------
    raw : RawColumn
        Of n_draws * n entries.
    n_draws : int
    function : callable (ndarray of shape (n_draws, n)) -> ndarray
        NaN is missing.

    Returns
    -------
    RawColumn
    """
    missing = raw.missing_mask()
    if raw.kind in ("float", "integer"):
        values = raw.values.astype(np.float64)
        if missing is not None:
            values = np.where(missing, np.nan, values)
        return RawColumn("float", function(values.reshape(n_draws, -1)).ravel())
    # Ticks are counted from the first, so that a float64 holds them.
    low = raw.values.min() if raw.kind != "level" else 0
    values = (raw.values - low).astype(np.float64)
    if missing is not None:
        values = np.where(missing, np.nan, values)
    found = np.rint(function(values.reshape(n_draws, -1)).ravel())
    gone = np.isnan(found)
    ticks = np.where(gone, 0, found).astype(np.int64) + low
    if raw.kind == "level":
        return replace(raw, values=np.where(gone, -1, ticks))
    return replace(raw, values=ticks, missing=gone if gone.any() else None)


def _mean_where_observed(values):
    observed = ~np.isnan(values)
    if observed.all():
        return mean_of_draws(values)
    n = observed.sum(0)
    total = np.where(observed, values, 0.0).sum(0)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def _quantiles(levels):
    """A function that takes quantiles over draws, without those that are missing."""

    def function(values):
        gone = np.isnan(values).all(0)
        if not np.isnan(values).any():
            return np.quantile(values, levels, axis=0)
        found = np.nanquantile(np.where(gone, 0.0, values), levels, axis=0)
        return np.where(gone, np.nan, found)

    return function
