"""What the columns of X are: container, dtypes, extremes, holes; and the way back."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils import gen_batches

from gudlearn.bases.batches import has_nan


@dataclass(frozen=True)
class Container:
    """The kind of table that a user passed.

    Parameters
    ----------
    names : list of str or None
        Columns of a DataFrame; None for an array.
    dtypes : list of numpy.dtype
        One for each column.
    module : {"numpy", "pandas", "polars"}
    nullable : list or None
        The dtype of each column of a pandas DataFrame where it is one of pandas' own, else None.
    """

    names: list | None
    dtypes: list
    module: str
    nullable: list | None = None

    @classmethod
    def of(cls, X):
        """Look at X before it is validated.

        Raises
        ------
        ValueError
            If names occur twice, or a column is not numeric.
        """
        if not hasattr(X, "columns"):
            array = np.asarray(X)
            n_columns = array.shape[1] if array.ndim == 2 else 1
            return cls(None, [array.dtype] * n_columns, "numpy")
        names = list(X.columns)
        repeated = sorted({str(n) for n in names if names.count(n) > 1})
        if repeated:
            raise ValueError(
                f"X has columns of the same name: {repeated}. Give every column its own name."
            )
        module = "pandas" if isinstance(X, pd.DataFrame) else type(X).__module__.split(".")[0]
        own = [t if _is_nullable(t) else None for t in X.dtypes] if module == "pandas" else None
        # With pd.NA among them a column of pandas' own dtype becomes one of objects.
        columns = [
            X[n].to_numpy() if not own or own[j] is None else np.empty(0, own[j].numpy_dtype)
            for j, n in enumerate(names)
        ]
        other = [n for n, c in zip(names, columns, strict=True) if not _is_numeric(c)]
        if other:
            raise ValueError(
                f"X has non-numeric columns {other}. Encode them as numbers or drop them."
            )
        dtypes = [c.dtype if c.dtype != object else np.dtype(float) for c in columns]
        return cls(names, dtypes, module, own)

    def wrap(self, X, whole):
        """Give an array the container, the names and the dtypes of the data.

        Parameters
        ----------
        X : ndarray of shape (n, F), float64
        whole : ndarray of shape (F,), bool
            Columns whose values are whole numbers; others do not go back to integers.
        """
        dtypes = [
            t if t.kind == "f" or (t.kind in "iub" and is_whole) else np.dtype(float)
            for t, is_whole in zip(self.dtypes, whole, strict=True)
        ]
        columns = [_cast(X[:, j], t) for j, t in enumerate(dtypes)]
        if self.module == "pandas":
            frame = pd.DataFrame(dict(zip(self.names, columns, strict=True)), columns=self.names)
            own = zip(self.names, self.nullable, dtypes, self.dtypes, strict=True)
            # An integer column that is sampled as floats has no way back to its dtype.
            return frame.astype({n: t for n, t, out, was in own if t is not None and out == was})
        if self.module == "polars":
            import polars as pl

            return pl.DataFrame(dict(zip(self.names, columns, strict=True)))
        return np.column_stack(columns) if len(set(dtypes)) > 1 else np.stack(columns, 1)


def _is_nullable(dtype):
    return hasattr(dtype, "numpy_dtype") and dtype.kind in "iufb"


def _is_numeric(column):
    if column.dtype.kind in "iufb":
        return True
    if column.dtype != object:
        return False
    try:
        np.asarray(column, dtype=float)
    except (TypeError, ValueError):
        return False
    return not any(isinstance(v, str) for v in column)


def _cast(values, dtype):
    if dtype.kind not in "iub":
        return values.astype(dtype)
    return clip_to(dtype, np.rint(values)).astype(dtype)


def clip_to(dtype, values):
    """Values, float64, inside what an integer or boolean dtype can hold."""
    if dtype.kind == "b":
        return np.clip(values, 0, 1)
    limits = np.iinfo(dtype)
    # The largest int64 is no float64 and would wrap: the float below it does not.
    top = float(limits.max)
    top = np.nextafter(top, 0) if top > limits.max else top
    return np.clip(values, limits.min, top)


def _dtypes_of(kind):
    """The dtype of each column of a table."""
    return list(kind.dtypes) if hasattr(kind, "iloc") else [kind.dtype] * kind.shape[1]


def held_by(kind, X):
    """Which rows of numbers X (n, F) the dtypes of a table hold exactly; None if not numeric."""
    dtypes = [getattr(dtype, "numpy_dtype", dtype) for dtype in _dtypes_of(kind)]
    if not all(isinstance(dtype, np.dtype) and dtype.kind in "iufb" for dtype in dtypes):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        cast = [X[:, j].astype(dtype).astype(np.float64) for j, dtype in enumerate(dtypes)]
    return (np.column_stack(cast) == X).all(1)


def cast_like(kind, X):
    """Rows of numbers X (n, F) in the container and the dtypes of a table."""
    if not hasattr(kind, "iloc"):
        return X.astype(kind.dtype)
    frame = type(kind)(X).astype(dict(enumerate(kind.dtypes)))
    return frame.set_axis(kind.columns, axis=1)


def numbers(X):
    """A table as an array of numbers, float64 where its columns have dtypes of several kinds."""
    X = np.asarray(X)
    return X.astype(np.float64) if X.dtype.kind == "O" else X


def row_batches(X):
    """Slices of rows, of about four million entries each."""
    return gen_batches(len(X), max(1, 2**22 // X.shape[1]))


def extremes(X):
    """Least and greatest known value of each column."""
    return np.fmin.reduce(X, axis=0), np.fmax.reduce(X, axis=0)


def column_moments(X):
    """Mean and standard deviation of each column's known values, float64, for X of any dtype."""
    holes = missing_mask(X)
    n_observed_values = len(X) if holes is None else (~holes).sum(0)
    add = np.sum if holes is None else np.nansum
    mean = add(X, axis=0, dtype=np.float64) / n_observed_values
    squares = np.zeros(X.shape[1])
    for rows in row_batches(X):
        squares += add(np.square(X[rows] - mean), axis=0)
    return mean, np.sqrt(squares / n_observed_values)


def missing_mask(X):
    """Where X is NaN, or None if it is nowhere."""
    return np.isnan(X) if has_nan(X) else None


def n_observed_values(X):
    """How many values of X are not NaN."""
    holes = missing_mask(X)
    return X.size if holes is None else int((~holes).sum())


def mean_of_draws(draws):
    """The mean of draws (n_draws, n, F) over the first axis; of equal numbers it is that number."""
    return np.where((draws == draws[0]).all(0), draws[0], draws.mean(0))


def check_finite(X, names):
    """Raise where X (n, F) holds infinity.

    Raises
    ------
    ValueError
    """
    # The sum of finite numbers may overflow, but of others it is never finite.
    with np.errstate(over="ignore", invalid="ignore"):
        if X.dtype.kind in "iub" or np.isfinite(X.sum(dtype=np.float64)):
            return
    wrong = np.isinf(X)
    if wrong.any():
        row, j = np.argwhere(wrong)[0]
        raise ValueError(
            f"Input X contains infinity: column {names[j]!r}, row {row}; {int(wrong.sum())} "
            "entries are not finite. Drop these rows or fill them in, for instance with "
            "SimpleImputer."
        )


def as_mask(parameter, columns, names, axes):
    """A boolean mask of columns, (F,), from names, indices or a mask.

    Parameters
    ----------
    parameter : str
        Its name, for messages.
    columns : list of str, list of int, or bool array
        A mask has the shape of one row, of one image, or of an image without its channels.
    names : list of str
    axes : tuple of int
        Shape of one image; (F,) of a row.

    Raises
    ------
    ValueError
        If a name is unknown, an index is out of range or a mask has another shape.
    TypeError
        If it holds something else.
    """
    n_columns, entries = len(names), np.atleast_1d(np.asarray(columns))
    if entries.dtype == bool:
        if entries.shape == axes[:2] and len(axes) == 3:
            entries = np.broadcast_to(entries[..., None], axes)
        if entries.shape not in (axes, (n_columns,)):
            raise ValueError(
                f"{parameter} is a mask of shape {entries.shape}, but one sample of X has shape "
                f"{axes}. Pass a mask of that shape."
            )
        return entries.reshape(-1)
    mask = np.zeros(n_columns, dtype=bool)
    if entries.size == 0:
        return mask
    if entries.dtype.kind in "UO" and all(isinstance(e, str) for e in entries.ravel()):
        unknown = [e for e in entries.ravel() if e not in names]
        if unknown:
            raise ValueError(
                f"{parameter} names column {str(unknown[0])!r}, which X does not have. Its "
                f"columns are {', '.join(map(repr, names[:10]))}."
            )
        mask[[names.index(e) for e in entries.ravel()]] = True
        return mask
    if entries.dtype.kind not in "iu" or entries.ndim != 1:
        raise TypeError(
            f"{parameter}={columns!r} must hold names of columns, their indices, or be a mask of "
            "booleans."
        )
    outside = (entries < -n_columns) | (entries >= n_columns)
    if outside.any():
        raise ValueError(
            f"{parameter} holds the index {entries[outside][0]}, but X has the columns 0 to "
            f"{n_columns - 1}."
        )
    mask[entries] = True
    return mask


def check_n_samples(n_samples, name="n_samples"):
    """Raise where a number of samples, or of what is named, is no positive whole number.

    Raises
    ------
    ValueError
    """
    if isinstance(n_samples, bool) or not isinstance(n_samples, Integral) or n_samples < 1:
        raise ValueError(
            f"{name}={n_samples!r} must be a whole number of at least 1. Pass how many you want."
        )
