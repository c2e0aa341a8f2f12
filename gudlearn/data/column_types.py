"""What is decided about a column, and what is declared about it."""

from dataclasses import dataclass

import numpy as np

from gudlearn.data.grids import find_atoms

#: Types of columns.
FEATURE_TYPES = (
    "continuous", "whole", "decimal", "ordered", "category", "datetime", "duration",
)  # fmt: skip
#: Most distinct values of a column of numbers that may be levels of a category.
MOST_MASKED = 200
# Frequencies are rough beyond this divergence, in nats, from those of the neighbouring values. The
# sixteen columns of letters are below (0.01 to 0.22), categories coded as numbers mostly beyond
# (0.2 to 5). At equal seconds held-out bits are fewer on the line below, and by masking beyond.
_ROUGH = 0.25
# On a grid of more values than this for each distinct one most are never seen.
_SPARSE = 20
# Values are few if there are at least this many rows to each on average.
_ROWS_PER_LEVEL = 10
# Of fewer observed values nothing is found.
LEAST_ROWS = 20
# A whole number of this size and less is a float64.
EXACT = 2**53


def are_few(n_distinct, n):
    """Whether n values are so few distinct ones that they may be levels."""
    return n_distinct <= MOST_MASKED and _ROWS_PER_LEVEL * n_distinct <= n


def are_rough(places, counts):
    """Whether the frequencies of numbers on a grid differ much from those of their neighbours.

    Numbers with smooth frequencies are learned better on a line, others as levels of a category.

    Parameters
    ----------
    places : ndarray of shape (K,)
        Distinct numbers in units of the grid, ascending.
    counts : ndarray of shape (K,)

    Returns
    -------
    bool
        True for two numbers, which have no order to speak of.
    """
    places = np.rint(places - places[0]).astype(np.int64)
    if len(places) < 3 or places[-1] >= _SPARSE * len(places):
        return True
    frequency = np.bincount(places, weights=counts)
    inner = np.pad(frequency, 1)
    neighbours = (inner[:-2] + inner[2:]) / 2
    neighbours[0], neighbours[-1] = frequency[1], frequency[-2]
    expected = (neighbours + 0.5) / (neighbours + 0.5).sum()
    seen = frequency > 0
    p = frequency[seen] / frequency.sum()
    return bool(p @ np.log(p / expected[seen]) > _ROUGH)


@dataclass(frozen=True, eq=False)
class Column:
    """What was decided about one column of the user's.

    Parameters
    ----------
    name : str
    feature_type : {"continuous", "whole", "decimal", "ordered", "category", "datetime", "duration"}
    dtype : str
        The dtype of the data, as text.
    levels : ndarray or None
        Values of a category, of ordered levels, or of a number with few values.
    atoms : ndarray or None
        Values that have a probability of their own beside the rest of the column.
    low, high : number, numpy.datetime64, numpy.timedelta64 or None
        Smallest and largest observed value.
    bin_width : float
        Width of the grid, in seconds for times; 1 for categories and ordered levels; NaN where the
        column is continuous.
    found : bool
        Whether the grid was found, and not declared.
    rounded_to : float
        Width of a grid too fine to matter for the model, to which samples are rounded; NaN without.
    n_missing, n_distinct : int
        Of the rows of the first fit.
    evidence : str
        Why the column has this type.
    missing : {"ignore", "model"}
        Whether a missing value is unobserved, or a value of its own.
    kind : str
        Kind of the raw column, as in `RawColumn`.
    is_category : bool
        Whether its values are levels of a category, and not numbers on a line.
    unit, zone : str
        Unit and time zone of ticks of time.
    step : int
        Ticks in one unit of the resolution.
    offset : int
        Subtracted from whole numbers and ticks, so that a float64 holds them exactly.
    """

    name: str
    feature_type: str
    dtype: str
    levels: np.ndarray | None = None
    atoms: np.ndarray | None = None
    low: object = None
    high: object = None
    bin_width: float = np.nan
    found: bool = False
    rounded_to: float = np.nan
    n_missing: int = 0
    n_distinct: int = 0
    evidence: str = ""
    missing: str = "ignore"
    kind: str = "float"
    is_category: bool = False
    unit: str = ""
    zone: str | None = None
    step: int = 1
    offset: int = 0
    ordered: bool = False
    declared: bool = False

    @property
    def is_time(self):
        """Whether values are times, counted in units of the resolution."""
        return self.kind in ("datetime", "duration") and not self.is_category

    @property
    def n_codes(self):
        """Number of levels of the category field: of a category, or of a gate; 0 without."""
        extra = self.missing == "model"
        if self.is_category:
            return len(self.levels) + extra
        if self.atoms is None and not extra:
            return 0
        return (0 if self.atoms is None else len(self.atoms)) + extra + 1


@dataclass(frozen=True)
class Rules:
    """What is declared about a column.

    Parameters
    ----------
    feature_type : str or None
    bin_width : "auto", None or float
        "auto" looks for a grid.
    atoms : bool
    missing : {"ignore", "model"}
    plain : bool
        Whether numbers stay what they are: nothing is found in them.
    bounded : bool
        Whether a range of bins was passed for the column.
    """

    feature_type: str | None
    bin_width: object
    atoms: bool
    missing: str
    plain: bool
    bounded: bool = False

    @property
    def searches(self):
        """Whether grids, atoms and few values are looked for."""
        return not self.plain and isinstance(self.bin_width, str)


def wrong_type(column, rules, what, cure):
    """The error for a column that cannot have the type that was declared."""
    return ValueError(
        f"feature_types says that column {column.name!r} is {rules.feature_type!r}, but it holds "
        f"{what}. {cure}"
    )


def infinite_message(name, values, first_row=0):
    """The error for infinite values in a column (n,) of floats, from a number of the first."""
    infinite = np.isinf(values)
    return (
        f"Input X contains infinity: column {name!r}, row {first_row + int(np.argmax(infinite))}; "
        f"{int(infinite.sum())} entries are not finite. Drop these rows or fill them in, for "
        "instance with SimpleImputer."
    )


def constant_evidence(column, counts):
    """The sentence about a column of one value."""
    n = int(counts.sum())
    return f"All {n} observed values are {column.low}."


def column_atoms(column, distinct, counts, rules):
    """Mask of the atoms among distinct values, or None."""
    if not rules.atoms:
        return None
    atoms = find_atoms(distinct, counts)
    return atoms if atoms.any() else None
