r"""Distances of fake rows to the closest training record, beside those of held-out rows."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from gudlearn._random import row_keys
from gudlearn._typing import RandomState
from gudlearn.metrics.distances import MAX_ENTRIES
from gudlearn.metrics.mixed import check_whole, generator_of, read_tables, rows_text

__all__ = ["ClosestRecord", "closest_record"]


@dataclass(frozen=True, repr=False)
class ClosestRecord:
    """Results of :func:`closest_record`.

    Parameters
    ----------
    share : float
        Fraction of the fake rows that are closer to a training row than to a held-out row, out of
        equally many; ties count half. About 0.5 if nothing was copied.
    fake_median, held_out_median : float
        Median distance to the closest training row, of fake and of held-out rows.
    fake_copies, held_out_copies : float
        Fraction of the fake and of the held-out rows that equal a training row.
    distances : ndarray of shape (n_fake_used,)
        Distance of the fake rows that were used to the closest training row.
    n_used, n_rows : dict of str to int
        Numbers of rows that were used for distances and passed, for ``train``, ``held_out`` and
        ``fake``. Copies are searched for among all rows.
    """

    share: float
    fake_median: float
    held_out_median: float
    fake_copies: float
    held_out_copies: float
    distances: np.ndarray
    n_used: dict
    n_rows: dict

    def __repr__(self):
        return (
            f"ClosestRecord: {self.share:.1%} of the fake rows are closer to training rows than to "
            f"held-out rows ({rows_text(self.n_used, self.n_rows)})\n"
            f"  median distance to training rows: fake {self.fake_median:.4g}, held-out "
            f"{self.held_out_median:.4g}\n"
            f"  copies of training rows: fake {self.fake_copies:.2%}, held-out "
            f"{self.held_out_copies:.2%}"
        )


def closest_record(
    train: ArrayLike, held_out: ArrayLike, fake: ArrayLike, *, max_rows: int = 5_000,
    random_state: RandomState = 0,
) -> ClosestRecord:  # fmt: skip
    r"""Distance to the closest training record, of fake rows and of held-out rows.

    The distance is the mean over columns of :math:`|x - y| / w` for numbers and datetimes, with w
    the range between the 5 and 95 % quantiles of the training rows (or their whole range if these
    are equal), and of 0 or 1 for equal or different categories. A missing value is at distance 1
    from any value and 0 from a missing one.

    Fake rows that are as close to training rows as held-out rows are copy nothing. A smaller median
    or a ``share`` far above 0.5 shows overfitting. Neither proves privacy: one revealed record
    changes no median.

    Parameters
    ----------
    train, held_out, fake : pandas, polars or pyarrow table, or array-like of shape (n, F)
        Numbers, datetimes, text, categories and booleans, with missing values in any of them.
        Columns are matched by name.
    max_rows : int or None, default=5000
        Distances are those between at most this many rows of each sample, drawn at random.
    random_state : int, RandomState, Generator or None, default=0
        Draws the rows.

    Returns
    -------
    ClosestRecord

    Raises
    ------
    ValueError
        If the columns differ, a sample is empty or a number is infinite.
    TypeError
        If values of a column cannot be compared.

    References
    ----------
    Platzer, Reutterer (2021), https://arxiv.org/abs/2104.00635;
    Gower (1971), Biometrics 27

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.metrics import closest_record
    >>> train, held_out, fake = np.random.default_rng(0).normal(size=(3, 400, 3))
    >>> fake[:100] = train[:100]
    >>> found = closest_record(train, held_out, fake)
    >>> found.fake_copies, found.held_out_copies, found.share > 0.55
    (0.25, 0.0, True)
    """
    if max_rows is not None:
        check_whole("max_rows", max_rows, 2)
    rng = generator_of(random_state)
    tables = read_tables(None, rng, train=train, held_out=held_out, fake=fake)
    copies = _copies(*tables)
    scaled = [part[rng.permutation(len(part))[:max_rows]] for part in _scaled(tables)]
    train, held_out, fake = scaled
    is_category, n_equal = tables[0].is_category, min(len(train), len(held_out))
    to_train, near = _closest(fake, train, is_category, n_equal)
    near_held_out, _ = _closest(fake, held_out[:n_equal], is_category, n_equal)
    held_out_to_train, _ = _closest(held_out, train, is_category, n_equal)
    names = ("train", "held_out", "fake")
    return ClosestRecord(
        share=float(np.mean((near < near_held_out) + 0.5 * (near == near_held_out))),
        fake_median=float(np.median(to_train)),
        held_out_median=float(np.median(held_out_to_train)),
        fake_copies=copies[1],
        held_out_copies=copies[0],
        distances=to_train,
        n_used=dict(zip(names, map(len, scaled), strict=True)),
        n_rows=dict(zip(names, map(len, tables), strict=True)),
    )


def _copies(train, *others):
    """Fraction of the rows of each other table that equal a training row."""
    keys = [row_keys(table.X).numpy() for table in (train, *others)]
    return [float(pd.Index(other).isin(keys[0]).mean()) for other in keys[1:]]


def _scaled(tables):
    """Rows of the tables, numbers divided by the range between training quantiles."""
    train, numbers = tables[0], np.flatnonzero(~tables[0].is_category)
    parts = [table.X.copy() for table in tables]
    for j in numbers:
        known = train.X[:, j][~np.isnan(train.X[:, j])]
        if not len(known):
            known = np.zeros(1)
        low, high = np.quantile(known, [0.05, 0.95])
        width = high - low or np.ptp(known) or 1.0
        for X in parts:
            # A shift first: far from the origin differences would be lost.
            X[:, j] = (X[:, j] - low) / width
    return parts


def _closest(rows, reference, is_category, n_first):
    """Distances (n,) to the closest of all reference rows and of the first `n_first`."""
    every, first = np.empty(len(rows)), np.empty(len(rows))
    step = max(1, MAX_ENTRIES // len(reference))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        D = _distances(rows[part], reference, is_category)
        every[part], first[part] = D.min(1), D[:, :n_first].min(1)
    return every, first


def _distances(A, B, is_category):
    """Mean distances over the columns, (a, b), between scaled rows."""
    missing_A, missing_B = np.isnan(A), np.isnan(B)
    A, B = np.where(missing_A, -1.0, A), np.where(missing_B, -1.0, B)
    incomplete = ~is_category & (missing_A.any(0) | missing_B.any(0))
    numbers = ~is_category & ~incomplete
    D = np.zeros((len(A), len(B)))
    if numbers.any():
        D += cdist(A[:, numbers], B[:, numbers], "cityblock")
    if is_category.any():
        # The code of a missing category, -1, equals itself only.
        D += is_category.sum() * cdist(A[:, is_category], B[:, is_category], "hamming")
    for j in np.flatnonzero(incomplete):
        first, second = missing_A[:, j, None], missing_B[None, :, j]
        gap = np.abs(A[:, j, None] - B[None, :, j])
        D += np.where(first | second, first != second, gap)
    return D / A.shape[1]
