"""The split into training rows and held-out rows for validation."""

import numpy as np

# Largest number of held-out rows, or images: more would not choose better weights.
_MOST_ROWS, _MOST_IMAGES = 8192, 512


def n_held_out(n_rows, fraction, images):
    """Number of rows to hold out.

    Parameters
    ----------
    n_rows : int
    fraction : float in [0, 1)
    images : bool
        Whether rows are images.
    """
    return min(int(n_rows * fraction), _MOST_IMAGES if images else _MOST_ROWS)


def split(rows, n, seed):
    """Divide rows into those to train on and about n held-out ones.

    Parameters
    ----------
    rows : Rows or StreamedRows
        Of a stream they were chosen when it was read.
    n : int
    seed : int

    Returns
    -------
    index : ndarray of int
        Numbers of the held-out rows.
    train : Rows or StreamedRows
    held_out : Rows
    """
    if rows.in_memory is not rows:
        return rows.split()
    index = hold_out(rows, n, seed)
    return index, rows.take(np.delete(np.arange(len(rows)), index)), rows.take(index)


def hold_out(rows, n, seed):
    """Indices of about n of `Rows`; equal rows are held out together if most are unique.

    Otherwise the network would train on copies of held-out rows. If rows take few values, copies
    are part of the distribution: holding all of them out would remove a value from training.
    """
    if not n:
        return np.arange(0)
    _, first, group = np.unique(rows.keys.numpy(), return_index=True, return_inverse=True)
    # By first appearance, not by key: the same rows in other units are split the same way.
    group = np.argsort(np.argsort(first))[group]
    if 2 * (group.max() + 1) < len(rows):
        group = np.arange(len(rows))
    rank = np.random.default_rng(seed).permutation(group.max() + 1)[group]
    by_rank = np.argsort(rank, kind="stable")
    # The last group is taken as a whole: its other rows would be copies of held-out ones.
    held_out = by_rank[rank[by_rank] <= rank[by_rank[n - 1]]]
    return held_out if len(held_out) < len(rows) else held_out[:0]
