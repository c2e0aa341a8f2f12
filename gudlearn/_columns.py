"""What the columns of X are: container, dtypes, bins, constants; and the way back.

A discrete column holds whole multiples of its bin width: value = origin + level * width.
"""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils import gen_batches

from gudlearn.bases._base import has_nan

# Longer tables of levels are not kept: such a column is treated as continuous inside its bins.
MAX_LEVELS = 1 << 16
# A value may miss its grid point by this share of a bin: decimal fractions are not exact.
_OFF_GRID = 1e-3


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
    return not isinstance(dtype, np.dtype | pd.CategoricalDtype) and dtype.kind in "iufb"


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


@dataclass(frozen=True)
class Bins:
    """The grids of the discrete columns.

    Parameters
    ----------
    width : ndarray of shape (F,)
        Bin width, NaN where a column is continuous.
    origin : ndarray of shape (F,)
        Value of level 0.
    low, high : ndarray of shape (F,)
        Least and greatest level that can be, NaN where nothing bounds it.
    names : list of str
        For messages.
    """

    width: np.ndarray
    origin: np.ndarray
    low: np.ndarray
    high: np.ndarray
    names: list

    @property
    def discrete(self):
        """Which columns are discrete."""
        return ~np.isnan(self.width)

    def levels(self, X):
        """Levels of the discrete columns, whole numbers or NaN; others are 0. Shape (n, F).

        Raises
        ------
        ValueError
            If a value is not on its grid, or outside ``bin_range``.
        """
        discrete = self.discrete
        position = (X[:, discrete] - self.origin[discrete]) / self.width[discrete]
        found = np.zeros(X.shape)
        found[:, discrete] = np.rint(position)
        off_grid = ~_on_grid(position).all(0)
        low, high = self.low[discrete], self.high[discrete]
        # A comparison with NaN, no bound, is False.
        outside = ((found[:, discrete] < low) | (found[:, discrete] > high)).any(0)
        for j in np.flatnonzero(discrete)[off_grid]:
            self._refuse(
                ~_on_grid((X[:, j] - self.origin[j]) / self.width[j]), X[:, j], j,
                f"is not a whole multiple of bin_width={self.width[j]:g}"
                + (f" from {self.origin[j]:g}" if self.origin[j] else ""),
                "Pass the width of the grid the column lies on, or None (or NaN for the column) "
                "if it is continuous.",
            )  # fmt: skip
        for j in np.flatnonzero(discrete)[outside]:
            self._refuse(
                (found[:, j] < self.low[j]) | (found[:, j] > self.high[j]), X[:, j], j,
                f"lies outside bin_range={self._range(j)}",
                "Widen bin_range, or pass bin_range=None to allow any value.",
            )  # fmt: skip
        return found

    def check(self, X):
        """Raise where rows X do not lie on the grids, whatever their dtype; see `levels`."""
        if _lies_on_integers(X, self.width) and not self.origin.any():
            try:
                # Whole numbers lie on the grid of whole numbers: their extremes tell the rest.
                self.levels(np.stack(extremes(X)))
                return
            except ValueError:
                pass
        for rows in row_batches(X):
            self.levels(X[rows])

    def _range(self, j):
        return tuple(float(v) for v in self.origin[j] + self.width[j] * self._bounds(j))

    def _bounds(self, j):
        return np.array([self.low[j], self.high[j]])

    def _refuse(self, wrong, column, j, rule, cure):
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"Column {self.names[j]!r} holds {column[row]:g} in row {row}, which {rule}. {cure}"
            )

    def values(self, levels, X):
        """X with its discrete columns replaced by the values of levels."""
        per_unit = 1 / self.width
        whole = np.abs(per_unit - np.rint(per_unit)) < 1e-9 * per_unit
        # 9978 / 10000 is the float a user wrote, 9978 * 0.0001 is not.
        with np.errstate(invalid="ignore", divide="ignore"):
            step = np.where(whole, levels / np.rint(per_unit), levels * self.width)
        return np.where(self.discrete, self.origin + step, X)


def row_batches(X):
    """Slices of rows, of about four million entries each."""
    return gen_batches(len(X), max(1, 2**22 // X.shape[1]))


def extremes(X):
    """Least and greatest known value of each column."""
    return np.fmin.reduce(X, axis=0), np.fmax.reduce(X, axis=0)


def column_moments(X):
    """Mean and standard deviation of each column's known values, float64, for X of any dtype."""
    holes = holes_of(X)
    n_known = len(X) if holes is None else (~holes).sum(0)
    add = np.sum if holes is None else np.nansum
    mean = add(X, axis=0, dtype=np.float64) / n_known
    squares = np.zeros(X.shape[1])
    for rows in row_batches(X):
        squares += add(np.square(X[rows] - mean), axis=0)
    return mean, np.sqrt(squares / n_known)


def holes_of(X):
    """Where X is NaN, or None if it is nowhere."""
    return np.isnan(X) if has_nan(X) else None


def n_known(X):
    """How many values of X are not NaN."""
    holes = holes_of(X)
    return X.size if holes is None else int((~holes).sum())


def check_finite(X, names, holes=True):
    """Raise where X (n, F) holds infinity, or NaN where holes are not allowed.

    Raises
    ------
    ValueError
    """
    # The sum of finite numbers may overflow, but of others it is never finite.
    with np.errstate(over="ignore", invalid="ignore"):
        if X.dtype.kind in "iub" or np.isfinite(X.sum(dtype=np.float64)):
            return
    wrong = np.isinf(X) if holes else ~np.isfinite(X)
    if wrong.any():
        row, j = np.argwhere(wrong)[0]
        what = "NaN" if np.isnan(X[row, j]) else "infinity"
        raise ValueError(
            f"Input X contains {what}: column {names[j]!r}, row {row}; {int(wrong.sum())} entries "
            "are not finite. Drop these rows or fill them in, for instance with SimpleImputer."
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


def make_bins(bin_width, bin_range, container, X, names, alike=False):
    """Resolve ``bin_width`` and ``bin_range`` for validated data.

    Parameters
    ----------
    bin_width : "auto", None, number or array-like of shape (F,)
    bin_range : None, pair of numbers, or array-like of shape (F, 2)
    container : Container
    X : ndarray of shape (n, F)
    names : list of str
    alike : bool
        Whether all columns lie on one grid, as the pixels of an image do.

    Returns
    -------
    Bins

    Raises
    ------
    ValueError
        If a width is not positive, has the wrong length, or the data do not obey it.
    """
    n_columns = X.shape[1]
    width = _resolve_width(bin_width, container, n_columns)
    origin = _origins(X, width, alike)
    low, high = _resolve_range(bin_range, width, origin, n_columns)
    bins = Bins(width, origin, low, high, names)
    bins.check(X)
    return bins


def _origins(X, width, alike):
    """Where the grid of each column begins: at 0, or at its least value if that fits better."""
    if _lies_on_integers(X, width):
        return np.zeros(X.shape[1])
    low = extremes(X)[0].astype(np.float64)
    if alike:
        low = np.full_like(low, low.min())
    on_plain, on_own = np.zeros(len(low)), np.zeros(len(low))
    for rows in row_batches(X):
        on_plain += _on_grid(X[rows] / width).sum(0)
        on_own += _on_grid((X[rows] - low) / width).sum(0)
    if alike:
        on_plain[:], on_own[:] = on_plain.mean(), on_own.mean()
    # Where most values lie on neither grid, it is the plain one that they are told to miss.
    return np.where(on_own > np.maximum(on_plain, 0.5 * len(X)), low, 0.0)


def _lies_on_integers(X, width):
    """Whether all discrete columns hold integers and have bins of width 1."""
    return X.dtype.kind in "iub" and bool((np.isnan(width) | (width == 1)).all())


def _on_grid(position):
    """Whether positions are whole numbers; what is missing is on any grid."""
    off = np.abs(position - np.rint(position))
    return np.isnan(position) | (off <= _OFF_GRID + 1e-9 * np.abs(position))


def _resolve_width(bin_width, container, n_columns):
    if isinstance(bin_width, str):
        if bin_width != "auto":
            raise ValueError(
                f"bin_width={bin_width!r} must be 'auto', None, a positive number, or one per "
                "column."
            )
        whole = np.array([t.kind in "iub" for t in container.dtypes])
        return np.where(whole, 1.0, np.nan)
    if bin_width is None:
        return np.full(n_columns, np.nan)
    wrong = f"bin_width={bin_width!r} must be 'auto', None, a positive number, or one per column."
    if isinstance(bin_width, bool):
        raise TypeError(wrong)
    if np.ndim(bin_width) > 1:
        raise ValueError(f"bin_width has {np.ndim(bin_width)} dimensions. Pass one per column.")
    try:
        width = np.asarray([np.nan if w is None else w for w in np.ravel(bin_width)], dtype=float)
    except (TypeError, ValueError) as error:
        raise TypeError(wrong) from error
    if np.ndim(bin_width) == 0:
        width = np.full(n_columns, width[0])
    if width.shape != (n_columns,):
        raise ValueError(
            f"bin_width has {width.size} entries but X has {n_columns} features. Pass one number, "
            "or one per column."
        )
    if not (np.isnan(width) | ((width > 0) & np.isfinite(width))).all():
        raise ValueError(f"bin_width={bin_width!r} must be positive and finite.")
    return width


def _resolve_range(bin_range, width, origin, n_columns):
    if bin_range is None:
        return np.full(n_columns, np.nan), np.full(n_columns, np.nan)
    try:
        bounds = np.asarray(bin_range, dtype=float)
    except (TypeError, ValueError) as error:
        raise TypeError(f"bin_range={bin_range!r} must hold numbers: (low, high).") from error
    if bounds.shape not in ((2,), (n_columns, 2)):
        raise ValueError(
            f"bin_range has shape {bounds.shape}; pass (low, high), or one pair per column: "
            f"({n_columns}, 2)."
        )
    bounds = np.where(np.isfinite(bounds), bounds, np.nan)
    bounds = np.broadcast_to(bounds, (n_columns, 2))
    if (bounds[:, 0] > bounds[:, 1]).any():
        raise ValueError(f"bin_range={bin_range!r} must have low <= high.")
    if np.isnan(width).all():
        raise ValueError("bin_range needs discrete columns: pass bin_width too.")
    # Bounds need not lie on the grid: the levels inside them count.
    position = (bounds - origin[:, None]) / width[:, None]
    return np.ceil(position[:, 0] - _OFF_GRID), np.floor(position[:, 1] + _OFF_GRID)
