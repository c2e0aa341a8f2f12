"""Tables for tests of streams: frames of all kinds of columns, and ways to pass them as streams."""

import numpy as np
import pandas as pd
from torch.utils.data import Dataset


def mixed_rows(n=3000, seed=0):
    """A frame of floats, a grid, whole numbers, levels, point masses, times and missing values."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 3))
    z[:, 2] += z[:, 0]
    return pd.DataFrame({
        "normal": z[:, 0],
        "skewed": np.exp(z[:, 1]),
        "price": np.round(50 + 10 * z[:, 2], 2),
        "count": rng.poisson(3, n),
        "shop": np.array(["a", "b", "c", "d"])[np.minimum(rng.geometric(0.5, n), 4) - 1],
        "zero": np.where(rng.random(n) < 0.3, 0.0, z[:, 2]),
        "time": np.datetime64("2026-01-01", "s") + rng.integers(0, 10**6, n),
        "gaps": np.where(rng.random(n) < 0.1, np.nan, z[:, 1] + rng.normal(size=n)),
    })  # fmt: skip


class Frames:
    """An iterable that yields a table in blocks of given numbers of rows, as often as asked."""

    def __init__(self, table, sizes=(700, 1, 900)):
        self.table, self.sizes, self.n_passes = table, sizes, 0

    def __iter__(self):
        self.n_passes += 1
        start, k = 0, 0
        while start < len(self.table):
            stop = start + self.sizes[k % len(self.sizes)]
            yield self.table[start:stop]
            start, k = stop, k + 1


class Items(Dataset):
    """A map-style dataset of the items of a list."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def as_memmap(X, path):
    """An array on disk."""
    disk = np.memmap(path, X.dtype, "w+", shape=X.shape)
    disk[:] = X
    disk.flush()
    return np.memmap(path, X.dtype, "r", shape=X.shape)
