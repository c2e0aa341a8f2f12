"""Grids that floats lie on, and values that repeat far more often than their neighbours."""

import numpy as np

# Bins per unit of the grids that are tried, the coarse ones first: decimals, and simple fractions.
_DECIMALS = tuple(10**digits for digits in range(7))
_FRACTIONS = (*(q for q in range(3, 65) if 1000 % q), 72, 96, 128, 255, 256, 360, 512, 1024)
# A float64 may be off its grid by this many units in its last place, as sums of decimals are;
# shorter floats are as they were rounded.
_ULPS = {8: 8.0}
# A grid is not told from rounding where its width is less than this many times the tolerance.
_RESOLVED = 64
_TRIAL = 64
#: Numbers of bins per unit of the grids that are tried, in the order in which they are.
GRIDS = (*_DECIMALS, *_FRACTIONS)

# An atom holds at least a fraction of the observed values, a number of rows, and a multiple of the
# rows that the values next to it have.
LEAST_FRACTION, LEAST_ROWS, RATIO = 0.002, 5, 10
MOST_ATOMS = 32
# Neighbours on each side that an atom is compared with, and the fewest distinct values to compare.
_NEIGHBOURS = 3
_LEAST_DISTINCT = 30


def find_width(distinct):
    """Width of the coarsest grid of multiples of the width that holds all values; None without.

    Parameters
    ----------
    distinct : ndarray of shape (m,)
        Sorted distinct finite values, of the float dtype in which they came.

    Notes
    -----
    A value x lies on the grid of 1/q if the fraction round(x q)/q is x up to a few units in the
    last place, of which the width must be many times: multiples of 0.25 near 1.7e9 are found.
    """
    tolerance = tolerance_of(distinct.dtype)
    values = distinct.astype(np.float64)
    least = _RESOLVED * tolerance * float(np.abs(values[[0, -1]]).max())
    trial = values[:: max(1, len(values) // _TRIAL)]
    for q in GRIDS:
        if on_grid(trial, q, tolerance).all() and on_grid(values, q, tolerance).all():
            width = _common_multiple(np.rint(values * q)) / q
            if width >= least and width > 0:
                return width
    return None


def _common_multiple(steps):
    """The largest number of which all whole numbers are multiples; 0 if float64 is too short."""
    if np.abs(steps[[0, -1]]).max() >= 2**53:
        return 0.0
    return float(np.gcd.reduce(steps.astype(np.int64)))


def tolerance_of(dtype):
    """Relative distance from a grid up to which floats of a dtype lie on it."""
    return _ULPS.get(dtype.itemsize, 1.0) * float(np.finfo(dtype).eps)


def on_grid(values, q, tolerance):
    """Mask (m,) of the values that are multiples of 1/q."""
    with np.errstate(over="ignore", invalid="ignore"):
        off = np.abs(np.rint(values * q) / q - values)
        return off <= tolerance * np.abs(values)


def snap(values, width):
    """The multiples of a width that are nearest to values; the decimals that a user would write."""
    steps = np.rint(values / width)
    per_unit = 1 / width
    if abs(per_unit - round(per_unit)) < 1e-9 * per_unit and round(per_unit) > 0:
        return steps / round(per_unit)
    q = next((q for q in _DECIMALS if abs(width * q - round(width * q)) < 1e-9 * width * q), None)
    return steps * width if q is None else steps * round(width * q) / q


def grid_rule(distinct, n, width, m):
    """Whether a grid is taken, and a sentence that says why.

    Written digits alone are no evidence: either values repeat, two rows to a value on average, or
    the grid has no more levels in the column's range than the column has rows.

    Parameters
    ----------
    distinct : ndarray
        Sorted distinct values; of a stream some, the smallest and the largest among them.
    n : int
        Number of observed values.
    width : float
    m : int
        Number of distinct values.

    Returns
    -------
    taken : bool
    evidence : str
    """
    n_levels = round((float(distinct[-1]) - float(distinct[0])) / width) + 1
    counts = f"{n} values are multiples of {width:g}, {m} of them distinct"
    levels = f"{n_levels} levels in their range"
    if 2 * m <= n:
        return True, f"All {counts}: they repeat."
    if n_levels <= n:
        return True, f"All {counts}, with {levels}."
    return False, f"All {counts}, but they seldom repeat and have {levels}."


def find_atoms(distinct, counts):
    """Mask (m,) of the values that repeat far more often than their neighbours; at most 32.

    Parameters
    ----------
    distinct : ndarray of shape (m,)
        Sorted distinct values.
    counts : ndarray of shape (m,)
        Number of rows of each.

    Notes
    -----
    The neighbours are the three distinct values on each side that are no atoms themselves, and a
    value must have ten times as many rows as the (upper) median of theirs. A steep but smooth
    distribution of counts has no such value.
    """
    atoms = np.zeros(len(distinct), dtype=bool)
    if len(distinct) < _LEAST_DISTINCT:
        return atoms
    n = counts.sum()
    candidates = np.flatnonzero(counts >= max(LEAST_ROWS, LEAST_FRACTION * n))
    candidates = candidates[np.argsort(-counts[candidates], kind="stable")]
    # One atom may hide the next, for instance the codes -9, -8 and -7: look again after each.
    found = len(candidates) > 0
    while found and atoms.sum() < MOST_ATOMS:
        found = False
        for j in candidates[~atoms[candidates]]:
            if counts[j] >= RATIO * _typical(counts, atoms, j):
                atoms[j] = found = True
                break
    return atoms


def _typical(counts, atoms, j):
    """Upper median of the counts of the values next to value j that are no atoms."""
    reach = _NEIGHBOURS + MOST_ATOMS
    first = max(0, j - reach)
    below = counts[first:j][~atoms[first:j]][-_NEIGHBOURS:]
    above = counts[j + 1 : j + 1 + reach][~atoms[j + 1 : j + 1 + reach]][:_NEIGHBOURS]
    near = np.sort(np.r_[below, above])
    return near[len(near) // 2]
