"""Summaries of rows that are seen block by block, and small whatever the number of rows."""

import numpy as np

from gudlearn._random import mix, seed_keys
from gudlearn.data.grids import GRIDS, on_grid, tolerance_of
from gudlearn.data.row_blocks import joined, take_rows

# Stream of the keys by which rows are drawn.
_DRAWN = 41
# Values that are tried before all are.
_TRIAL = 64
# Shifts and factors of a hash of 64 bits.
_ROUNDS = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)  # fmt: skip


def row_ranks(seed, start, n):
    """Uniformly distributed numbers of rows start, ..., start + n - 1, (n,) of int64."""
    return mix(seed_keys(seed, n, start), _DRAWN).numpy()


class RowSample:
    """A uniform random sample of rows, without replacement: the rows of least rank.

    Whether a row is drawn depends on the seed, its number and the number of rows, and not on the
    blocks in which rows come.

    Parameters
    ----------
    size : int
        Number of rows to keep.
    seed : int

    Attributes
    ----------
    limit : int
        Largest rank of the rows that are kept, once there are more rows than these.
    """

    def __init__(self, size, seed):
        self.size, self.seed, self.limit = size, seed, np.iinfo(np.int64).max
        self._ranks, self._index, self._frames, self._n = [], [], [], 0

    def add(self, start, n, frame):
        """Take rows start, ..., start + n - 1 of all, an array or a frame."""
        ranks = row_ranks(self.seed, start, n)
        chosen = np.flatnonzero(ranks <= self.limit)
        if len(chosen) and self.size:
            self._ranks.append(ranks[chosen])
            self._index.append(start + chosen)
            self._frames.append(take_rows(frame, chosen))
            self._n += len(chosen)
            if self._n > 2 * self.size:
                self._reduce()

    def rows(self):
        """Numbers of the rows that were drawn, ascending, and the rows as one table or None."""
        if not self._n:
            return np.arange(0), None
        self._reduce()
        return self._index[0], self._frames[0]

    def has(self, start, n):
        """Mask (n,) of rows start, ..., start + n - 1 that were drawn, after all were added."""
        return (row_ranks(self.seed, start, n) <= self.limit) & (self.size > 0)

    def _reduce(self):
        ranks, index = np.concatenate(self._ranks), np.concatenate(self._index)
        frame = joined(self._frames)
        if self._n > self.size:
            kept = np.sort(np.argpartition(ranks, self.size - 1)[: self.size])
            ranks, index, frame = ranks[kept], index[kept], take_rows(frame, kept)
            self.limit = ranks.max()
        self._ranks, self._index, self._frames, self._n = [ranks], [index], [frame], len(ranks)


class DistinctCount:
    """An estimate of the number of distinct values, from the least of their hashes.

    References
    ----------
    Bar-Yossef et al. (2002), Counting distinct elements in a data stream.
    """

    SIZE = 4096

    def __init__(self):
        self._least = np.zeros(0)

    def add(self, values):
        """Take values (n,) of numbers."""
        u = _hashed(values)
        if len(self._least) == self.SIZE:
            u = u[u < self._least[-1]]
        self._least = np.unique(np.concatenate([self._least, u]))[: self.SIZE]

    def estimate(self):
        """Number of distinct values; exact while there are few, else to about 2 %."""
        if len(self._least) < self.SIZE:
            return len(self._least)
        return round((self.SIZE - 1) / self._least[-1])


def _hashed(values):
    """Numbers in [0, 1) that depend on values (n,), and look random, by SplitMix64."""
    # Zero has two signs.
    bits = (values.astype(np.float64) + 0.0).view(np.uint64)
    for shift, factor in _ROUNDS:
        bits ^= bits >> shift
        bits *= factor
    bits ^= bits >> np.uint64(31)
    return (bits >> np.uint64(11)) / 2.0**53


class GridWitnesses:
    """Values that prove of each grid what all values prove: which hold all, and how coarse.

    A grid that does not hold all values has a witness that it does not hold. Of the others, the
    greatest common divisor of the witnesses is that of all values. ``grids.find_width`` of the
    witnesses is therefore that of all values.

    Parameters
    ----------
    dtype : numpy.dtype
        Of the values, a float.
    """

    def __init__(self, dtype):
        self._tolerance, self._possible = tolerance_of(dtype), list(GRIDS)
        self._divisors, self.found = {}, []

    def add(self, values):
        """Take values (n,), finite."""
        values = values.astype(np.float64)
        tested = set()
        while self._possible:
            # A grid that holds all values is part of its refinements.
            coarsest = [
                q for q in self._possible
                if q not in tested and not any(q % p == 0 and p != q for p in self._possible)
            ]  # fmt: skip
            if not coarsest:
                return
            for q in coarsest:
                self._test(q, values)
                tested.add(q)

    def _test(self, q, values):
        for some in (values[:_TRIAL], values):
            off = ~on_grid(some, q, self._tolerance)
            if off.any():
                self.found.append(some[np.argmax(off)])
                self._possible.remove(q)
                return
        with np.errstate(over="ignore", invalid="ignore"):
            steps = np.rint(values * q)
        if np.abs(steps).max(initial=0.0) < 2.0**53:
            divisor = Divisor(self._divisors.get(q, 0))
            self.found += [values[k] for k in divisor.add(steps.astype(np.int64))]
            self._divisors[q] = divisor.value


class Divisor:
    """Greatest common divisor of whole numbers, and numbers that prove it.

    Parameters
    ----------
    value : int
        That of the numbers so far; 0 before the first that is not 0.
    """

    def __init__(self, value=0):
        self.value = value

    def add(self, numbers):
        """Take numbers (n,) of int64 or uint64; indices of those that prove a smaller divisor."""
        witnesses = []
        while self.value != 1:
            off = numbers != 0 if not self.value else numbers % numbers.dtype.type(self.value) != 0
            if not off.any():
                break
            witnesses.append(int(np.argmax(off)))
            self.value = int(np.gcd(abs(int(numbers[witnesses[-1]])), self.value))
        return witnesses
