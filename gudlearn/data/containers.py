"""Arrays of numbers put into the containers and dtypes of data."""

import numpy as np


def clip_to(dtype, values):
    """Clip values, float64, to the range of a dtype.

    Infinite values stay infinite in a floating dtype.
    """
    if dtype.kind == "b":
        return np.clip(values, 0, 1)
    if dtype.kind == "f":
        limit = np.finfo(dtype).max
        return np.where(np.isfinite(values), np.clip(values, -limit, limit), values)
    limits = np.iinfo(dtype)
    # The largest int64 is no float64 and would wrap: the float below it does not.
    top = float(limits.max)
    top = np.nextafter(top, 0) if top > limits.max else top
    return np.clip(values, limits.min, top)


def rows_held_by(template, X):
    """Mask (n,) of rows X (n, F) that the dtypes of a table hold exactly; None if not numeric."""
    dtypes = [getattr(dtype, "numpy_dtype", dtype) for dtype in _dtypes_of(template)]
    if not all(isinstance(dtype, np.dtype) and dtype.kind in "iufb" for dtype in dtypes):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        cast = [X[:, j].astype(dtype).astype(np.float64) for j, dtype in enumerate(dtypes)]
    return (np.column_stack(cast) == X).all(1)


def _dtypes_of(template):
    """The dtype of each column of a table."""
    if hasattr(template, "iloc"):
        return list(template.dtypes)
    return [template.dtype] * template.shape[1]


def cast_like(template, X):
    """Put rows X (n, F) into the container and the dtypes of a table."""
    if not hasattr(template, "iloc"):
        return X.astype(template.dtype)
    frame = type(template)(X).astype(dict(enumerate(template.dtypes)))
    return frame.set_axis(template.columns, axis=1)


def numbers(X):
    """A table as a numeric array, float64 if its columns have dtypes of several kinds."""
    X = np.asarray(X)
    return X.astype(np.float64) if X.dtype.kind == "O" else X


def mean_of_draws(draws):
    """Mean of draws (n_draws, n, F) over the first axis, exact where all draws are equal."""
    return np.where((draws == draws[0]).all(0), draws[0], draws.mean(0))
