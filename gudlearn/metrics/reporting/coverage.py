"""Rare levels of categories, tails of numbers and distances of columns."""

import numpy as np

#: Levels with a smaller fraction of the training rows are rare.
RARE = 0.02
#: The tails of a number lie beyond this quantile of the training rows, and beyond one minus it.
TAIL = 0.01


class Coverage:
    """Where the training rows have rare levels and tails.

    Parameters
    ----------
    train : MixedTable

    Attributes
    ----------
    rare : dict of int to ndarray of int
        Codes of the rare levels of each category that has some.
    tails : list of (int, int, float, float)
        Column, sign (-1 below, 1 above), threshold, and fraction of the training rows beyond it.
    widths : dict of int to float
        Range between the 5 and 95 % quantiles of each number, or the whole range if it is 0.
    """

    def __init__(self, train):
        self.rare, self.tails, self.widths, self.frequencies = {}, [], {}, {}
        for j, column in enumerate(train.X.T):
            known = column[~np.isnan(column)]
            if not len(known):
                continue
            if train.is_category[j]:
                frequency = np.bincount(known.astype(int)) / len(known)
                rare = np.flatnonzero((frequency > 0) & (frequency < RARE))
                if len(rare):
                    self.rare[j] = rare
                    self.frequencies[j] = frequency[rare].sum()
            else:
                self._add_number(j, known)

    def _add_number(self, j, known):
        low, start, end, high = np.quantile(known, [TAIL, 0.05, 0.95, 1 - TAIL])
        self.widths[j] = (end - start) or np.ptp(known) or 1.0
        for sign, threshold in ((-1, low), (1, high)):
            fraction = np.mean(sign * (known - threshold) > 0)
            # A point mass at the end of a column is no tail.
            if fraction > 0:
                self.tails.append((j, sign, threshold, float(fraction)))

    def rare_levels(self, table, rows=None):
        """Fraction of the rare levels that occur in (some rows of) a table."""
        self._check_rare()
        found = total = 0
        for j, levels in self.rare.items():
            column = _known(table, j, rows)
            found += np.isin(levels, column).sum()
            total += len(levels)
        return found / total

    def rare_mass(self, table, rows=None):
        """How often rare levels occur in a table, relative to the training rows."""
        self._check_rare()
        shares = [np.isin(_known(table, j, rows), levels).mean()
                  for j, levels in self.rare.items() if len(_known(table, j, rows))]  # fmt: skip
        return float(np.sum(shares) / sum(self.frequencies.values()))

    def tail_ratios(self, table, rows=None):
        """Mass beyond each threshold in a table, relative to the training rows."""
        if not self.tails:
            raise ValueError("No column of numbers has tails.")
        ratios = []
        for j, sign, threshold, fraction in self.tails:
            column = _known(table, j, rows)
            beyond = np.mean(sign * (column - threshold) > 0) if len(column) else 0.0
            ratios.append(beyond / fraction)
        return np.array(ratios)

    def tail_coverage(self, table, rows=None):
        """Mean over the tails of the smaller of the two masses divided by the larger one."""
        ratios = self.tail_ratios(table, rows)
        return float(np.mean(np.minimum(ratios, 1 / np.maximum(ratios, 1e-12))))

    def distances(self, reference, table, rows=None, other_rows=None):
        """Wasserstein-1 distance of each column of numbers (F,), in units of its width."""
        found = np.full(len(table.names), np.nan)
        for j, width in self.widths.items():
            real, fake = _known(reference, j, rows), _known(table, j, other_rows)
            if len(real) and len(fake):
                found[j] = wasserstein(real / width, fake / width)
        return found

    def _check_rare(self):
        if not self.rare:
            raise ValueError(f"No category has a level of less than {RARE:.0%} of the rows.")


def wasserstein(first, second):
    """Mean distance between the quantiles of two samples of numbers."""
    first, second = np.sort(first), np.sort(second)
    if len(first) == len(second):
        return float(np.abs(first - second).mean())
    every = np.sort(np.concatenate([first, second]))
    cdfs = [np.searchsorted(x, every[:-1], side="right") / len(x) for x in (first, second)]
    return float(np.sum(np.abs(cdfs[0] - cdfs[1]) * np.diff(every)))


def _known(table, j, rows):
    """Values of a column that are not missing."""
    column = table.X[:, j] if rows is None else table.X[rows, j]
    return column[~np.isnan(column)]
