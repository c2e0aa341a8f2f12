"""Tables of more than numbers in a pipeline, and generators behind transformers."""

from contextlib import contextmanager

import pandas as pd

from gudlearn.data.completing import is_numeric
from gudlearn.data.frames import is_frame, read_table

_CURE = "GUDGenerator takes such columns as they are"


def is_mixed(X):
    """Whether X is a frame of more than numbers and booleans."""
    if not is_frame(X):
        return False
    return not all(is_numeric(raw, booleans=True) for raw in read_table(X).columns)


def check_takes_mixed(table, names, step, bin_width):
    """Raise if a table that holds more than numbers meets what takes numbers.

    Parameters
    ----------
    table : Table
    names : list of str
        Names of the columns.
    step : str or None
        Name of the first transformer, if there is any.
    bin_width : object
        The bin width of the pipeline.

    Raises
    ------
    ValueError
    """
    column = next((j for j, raw in enumerate(table.columns) if not is_numeric(raw)), 0)
    text = f"Column {names[column]!r} holds no numbers"
    if step is not None:
        raise ValueError(f"{text}, but step {step!r} takes numbers. Leave it out: {_CURE}.")
    if bin_width is not None:
        raise ValueError(f"{text}, but bin_width={bin_width!r} declares grids. Pass None: {_CURE}.")


def named_like_fit(given, names):
    """The columns of a fit of a frame of partially observed rows, NaN where it lacks them.

    Raises
    ------
    ValueError
        If the frame has other columns.
    """
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(
            f"given has the column {unknown[0]!r}, which X did not have in fit. Its columns were "
            f"{', '.join(map(repr, names[:10]))}."
        )
    return given.reindex(columns=names)


def with_draws(rows, index, n_samples):
    """A frame of draws (n_samples * n_rows, F) with an index of rows, or of (draw, row)."""
    if n_samples > 1:
        index = pd.MultiIndex.from_product([range(n_samples), index], names=["draw", "row"])
    return rows.set_axis(index, axis=0)


@contextmanager
def without_search(final):
    """Let the generators in an estimator be fitted as to continuous columns.

    Those whose ``bin_width`` and ``schema`` are "auto" would look for grids and point masses.
    """
    found = _searching(final.get_params()) if hasattr(final, "get_params") else {}
    if found:
        final.set_params(**dict.fromkeys(found))
    try:
        yield
    finally:
        if found:
            final.set_params(**found)


def _searching(parameters):
    """The bin widths among parameters with which a generator looks for grids and atoms."""
    found = {}
    for name, value in parameters.items():
        prefix, separator, last = name.rpartition("__")
        automatic = isinstance(value, str) and value == "auto"
        if last == "bin_width" and automatic:
            schema = parameters.get(f"{prefix}{separator}schema", "auto")
            if isinstance(schema, str):
                found[name] = value
    return found
