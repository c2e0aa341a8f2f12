"""Bins of discrete columns: value = origin + index * width."""

from dataclasses import dataclass

import numpy as np

from gudlearn.data.missing import extremes, row_batches

# A column with more bins has no table of them: it is treated as continuous inside its bins.
MAX_BINS = 1 << 16
# A value may be off its grid by this fraction of a bin: decimal fractions are not exact.
_OFF_GRID = 1e-3


@dataclass(frozen=True)
class Bins:
    """The bins of the discrete columns.

    Parameters
    ----------
    width : ndarray of shape (F,)
        Bin width, NaN where a column is continuous.
    origin : ndarray of shape (F,)
        Value of bin 0.
    low, high : ndarray of shape (F,)
        Bounds of the bin indices, NaN where there is none.
    names : list of str
        Names of the columns, for messages.
    """

    width: np.ndarray
    origin: np.ndarray
    low: np.ndarray
    high: np.ndarray
    names: list

    @property
    def discrete(self):
        """Mask of the discrete columns, (F,)."""
        return ~np.isnan(self.width)

    def indices(self, X, first_row=0):
        """Bin indices of the discrete columns, whole numbers or NaN; 0 in the others.

        Parameters
        ----------
        X : ndarray of shape (n, F)
        first_row : int
            Number of the first row, for messages.

        Returns
        -------
        ndarray of shape (n, F)

        Raises
        ------
        ValueError
            If a value is not on its grid, or outside ``bin_range``.
        """
        discrete = self.discrete
        position = (X[:, discrete] - self.origin[discrete]) / self.width[discrete]
        indices = np.zeros(X.shape)
        indices[:, discrete] = np.rint(position)
        off_grid = ~_on_grid(position).all(0)
        low, high = self.low[discrete], self.high[discrete]
        # A comparison with NaN, no bound, is False.
        outside = ((indices[:, discrete] < low) | (indices[:, discrete] > high)).any(0)
        for j in np.flatnonzero(discrete)[off_grid]:
            self._refuse(
                ~_on_grid((X[:, j] - self.origin[j]) / self.width[j]), X[:, j], j, first_row,
                f"is not a whole multiple of bin_width={self.width[j]:g}"
                + (f" from {self.origin[j]:g}" if self.origin[j] else ""),
                "Pass the width of the grid the column lies on, or None (or NaN for the column) "
                "if it is continuous.",
            )  # fmt: skip
        for j in np.flatnonzero(discrete)[outside]:
            wrong = (indices[:, j] < self.low[j]) | (indices[:, j] > self.high[j])
            self._refuse(
                wrong, X[:, j], j, first_row,
                f"lies outside bin_range={self._range(j)}",
                "Widen bin_range, or pass bin_range=None to allow any value.",
            )  # fmt: skip
        return indices

    def check(self, X):
        """Raise if rows X of any dtype are off their grids or out of bounds; see `indices`."""
        if _lies_on_integers(X, self.width) and not self.origin.any():
            try:
                # Integers lie on the grid of whole numbers: only their extremes need a check.
                self.indices(np.stack(extremes(X)))
                return
            except ValueError:
                pass
        for rows in row_batches(X):
            self.indices(X[rows], rows.start)

    def _range(self, j):
        bounds = np.array([self.low[j], self.high[j]])
        return tuple(float(v) for v in self.origin[j] + self.width[j] * bounds)

    def _refuse(self, wrong, column, j, first_row, rule, cure):
        """Raise for the first wrong row of column j, if there is any."""
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"Column {self.names[j]!r} holds {column[row]:g} in row {first_row + row}, which "
                f"{rule}. {cure}"
            )

    def values(self, indices, X):
        """Replace the discrete columns of X (n, F) by the values of bin indices (n, F)."""
        per_unit = 1 / self.width
        whole = np.abs(per_unit - np.rint(per_unit)) < 1e-9 * per_unit
        # 9978 / 10000 is the float that a user wrote, 9978 * 0.0001 is not. The quotient is used
        # only where the number of bins per unit is whole, and may be anything elsewhere.
        with np.errstate(invalid="ignore", divide="ignore"):
            step = np.where(whole, indices / np.rint(per_unit), indices * self.width)
        return np.where(self.discrete, self.origin + step, X)


def make_bins(bin_width, bin_range, dtypes, X, names, alike=False):
    """Resolve ``bin_width`` and ``bin_range`` for validated data.

    Parameters
    ----------
    bin_width : "auto", None, number or array-like of shape (F,)
    bin_range : None, pair of numbers, or array-like of shape (F, 2)
    dtypes : list of numpy.dtype
        One for each column.
    X : ndarray of shape (n, F)
    names : list of str
    alike : bool
        Whether all columns share one grid, as the pixels of an image do.

    Returns
    -------
    Bins

    Raises
    ------
    ValueError
        If a width is not positive or has the wrong length, or a value is off its grid.
    """
    width = resolve_width(bin_width, dtypes, X.shape[1])
    return place_bins(width, bin_range, X, names, alike)


def place_bins(width, bin_range, X, names, alike=False):
    """Bins of given widths (F,), NaN where there are none; see `make_bins`."""
    origin = _origins(X, width, alike)
    low, high = _resolve_range(bin_range, width, origin, X.shape[1])
    bins = Bins(width, origin, low, high, names)
    bins.check(X)
    return bins


def _origins(X, width, alike):
    """Origin of each column's grid, (F,): 0, or its smallest value if that fits more values."""
    if _lies_on_integers(X, width):
        return np.zeros(X.shape[1])
    low = extremes(X)[0].astype(np.float64)
    if alike:
        low = np.full_like(low, low.min())
    on_multiples, from_low = np.zeros(len(low)), np.zeros(len(low))
    for rows in row_batches(X):
        on_multiples += _on_grid(X[rows] / width).sum(0)
        from_low += _on_grid((X[rows] - low) / width).sum(0)
    if alike:
        on_multiples[:], from_low[:] = on_multiples.mean(), from_low.mean()
    # Where most values lie on neither grid, messages refer to the multiples of the width.
    return np.where(from_low > np.maximum(on_multiples, 0.5 * len(X)), low, 0.0)


def _lies_on_integers(X, width):
    """Whether all discrete columns hold integers and have bins of width 1."""
    return X.dtype.kind in "iub" and bool((np.isnan(width) | (width == 1)).all())


def _on_grid(position):
    """Whether positions are whole numbers; missing values are on any grid."""
    off = np.abs(position - np.rint(position))
    # Rounding of the value, of its origin and of the width.
    return ~(off > _OFF_GRID + 8 * np.finfo(np.float64).eps * np.abs(position))


def resolve_width(bin_width, dtypes, n_columns):
    """Validate ``bin_width``; bin widths (F,), NaN for continuous columns.

    Parameters
    ----------
    bin_width : "auto", None, number or array-like of shape (F,)
    dtypes : list of numpy.dtype
        With "auto" those of integers have bins of width 1.
    n_columns : int

    Raises
    ------
    ValueError
    TypeError
    """
    wrong = f"bin_width={bin_width!r} must be 'auto', None, a positive number, or one per column."
    if isinstance(bin_width, str):
        if bin_width != "auto":
            raise ValueError(wrong)
        whole = np.array([t.kind in "iub" for t in dtypes])
        return np.where(whole, 1.0, np.nan)
    if bin_width is None:
        return np.full(n_columns, np.nan)
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


def resolve_bounds(bin_range, n_columns):
    """Validate ``bin_range``; bounds of the values (F, 2), NaN where there is none.

    Parameters
    ----------
    bin_range : None, pair of numbers, or array-like of shape (F, 2)
    n_columns : int

    Raises
    ------
    ValueError
    TypeError
    """
    if bin_range is None:
        return np.full((n_columns, 2), np.nan)
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
    return bounds


def _resolve_range(bin_range, width, origin, n_columns):
    """Validate ``bin_range``; bounds of the bin indices, each (F,)."""
    bounds = resolve_bounds(bin_range, n_columns)
    if bin_range is not None and np.isnan(width).all():
        raise ValueError("bin_range needs discrete columns: pass bin_width too.")
    # Bounds need not lie on the grid: the bins between them are allowed.
    position = (bounds - origin[:, None]) / width[:, None]
    return np.ceil(position[:, 0] - _OFF_GRID), np.floor(position[:, 1] + _OFF_GRID)
