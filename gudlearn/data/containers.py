"""Tables: container, names and dtypes of the user's data, and arrays put back into them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True, eq=False)
class Container:
    """The kind of table that a user passed.

    Parameters
    ----------
    columns : pandas.Index, list of str, or None
        Columns of a DataFrame, as an index in pandas and as names in polars; None for an array.
    dtypes : list of numpy.dtype
        One for each column.
    module : {"numpy", "pandas", "polars"}
    nullable : list or None
        The dtype of each column of a pandas DataFrame where it is one of pandas' own, else None.
    """

    columns: object
    dtypes: list
    module: str
    nullable: list | None = None

    is_image = False

    @classmethod
    def of(cls, X):
        """The container of X, which need not be validated.

        Raises
        ------
        ValueError
            If a name occurs twice, or a column is not numeric.
        """
        if not hasattr(X, "columns"):
            array = np.asarray(X)
            n_columns = array.shape[1] if array.ndim == 2 else 1
            return cls(None, [array.dtype] * n_columns, "numpy")
        module = "pandas" if isinstance(X, pd.DataFrame) else type(X).__module__.split(".")[0]
        index = pd.Index(X.columns)
        repeated = sorted({str(name) for name in index[index.duplicated()]})
        if repeated:
            raise ValueError(
                f"X has columns of the same name: {repeated}. Give every column its own name."
            )
        nullable = None
        if module == "pandas":
            nullable = [dtype if _is_nullable(dtype) else None for dtype in X.dtypes]
        columns = _first_values(X, nullable)
        other = [name for name, c in zip(index, columns, strict=True) if not _is_numeric(c)]
        if other:
            raise ValueError(
                f"X has non-numeric columns {other}. Encode them as numbers or drop them."
            )
        dtypes = [c.dtype if c.dtype != object else np.dtype(float) for c in columns]
        return cls(X.columns.copy(), dtypes, module, nullable)

    @property
    def sample_shape(self):
        """Shape of one row, (n_features,)."""
        return (len(self.dtypes),)

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
        values = [_cast(X[:, j], t) for j, t in enumerate(dtypes)]
        if self.module == "pandas":
            frame = pd.DataFrame(dict(enumerate(values)))
            columns = enumerate(zip(self.nullable, dtypes, self.dtypes, strict=True))
            # An integer column that is sampled as floats cannot be cast back to its dtype.
            kept = {j: t for j, (t, out, fitted) in columns if t is not None and out == fitted}
            return frame.astype(kept).set_axis(self.columns, axis=1)
        if self.module == "polars":
            import polars as pl

            return pl.DataFrame(dict(zip(self.columns, values, strict=True)))
        return np.column_stack(values) if len(set(dtypes)) > 1 else np.stack(values, 1)


def _first_values(X, nullable):
    """Columns of a frame as arrays; empty where the dtype alone shows that they are numeric."""
    if nullable is None:
        return [X[name].to_numpy() for name in X.columns]
    # A nullable column with pd.NA would become an array of objects.
    pairs = zip(nullable, X.dtypes, strict=True)
    dtypes = [plain if dtype is None else dtype.numpy_dtype for dtype, plain in pairs]
    return [
        np.empty(0, t) if isinstance(t, np.dtype) and t.kind != "O" else X.iloc[:, j].to_numpy()
        for j, t in enumerate(dtypes)
    ]


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
        return clip_to(dtype, values).astype(dtype)
    return clip_to(dtype, np.rint(values)).astype(dtype)


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
