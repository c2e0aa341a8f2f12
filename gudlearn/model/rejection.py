"""Samples that satisfy a condition: candidates are drawn until enough of them are accepted.

The accepted rows have exactly the distribution of the model given the condition, and the k-th
accepted row does not depend on how many are asked for.
"""

import numpy as np

from gudlearn.model.warnings import warn_user

# Smallest and largest number of candidates of a round; and of all rounds, for each row asked for.
_LEAST, _MOST, _MOST_PER_ROW = 64, 16_384, 2_000
# Fraction of the candidates below which a warning tells how few are accepted.
_FEW = 0.01


def draw_accepted(draw, n_samples, n_rows=1):
    """The first n_samples accepted candidates for each of n_rows conditions.

    Parameters
    ----------
    draw : callable (n, start, rows) -> ndarray of shape (n * len(rows), F), mask of that length
        Candidates start, start + 1, ..., each for all conditions with the numbers ``rows``, and
        which of them are accepted.
    n_samples, n_rows : int

    Returns
    -------
    ndarray of shape (n_samples, n_rows, F)

    Raises
    ------
    ValueError
        If too few candidates are accepted.

    Warns
    -----
    UserWarning
        If fewer than one in a hundred is accepted.
    """
    accepted, start = [[] for _ in range(n_rows)], 0
    n_accepted = np.zeros(n_rows, dtype=int)
    while n_accepted.min() < n_samples:
        fewest = int(n_accepted.min())
        rows = np.flatnonzero(n_accepted < n_samples)
        n = _n_candidates(fewest, start, n_samples)
        n = max(1, min(n, _MOST // len(rows)))
        candidates, taken = draw(n, start, rows)
        candidates, taken = candidates.reshape(n, len(rows), -1), taken.reshape(n, len(rows))
        for k, row in enumerate(rows):
            accepted[row].append(candidates[taken[:, k], k])
        n_accepted[rows] += taken.sum(0)
        start += n
    _warn_of_few(int(n_accepted.min()), start)
    return np.stack([np.concatenate(blocks)[:n_samples] for blocks in accepted], axis=1)


def iter_accepted(draw, n_samples):
    """Yield the rows of `draw_accepted` for one condition as they are found, (m, F) each.

    Parameters, errors and warnings are those of `draw_accepted`.
    """
    n_accepted = start = 0
    while n_accepted < n_samples:
        n = _n_candidates(n_accepted, start, n_samples)
        candidates, taken = draw(n, start, np.arange(1))
        accepted = candidates[taken][: n_samples - n_accepted]
        n_accepted, start = n_accepted + len(accepted), start + n
        yield accepted
    _warn_of_few(n_accepted, start)


def _n_candidates(n_accepted, start, n_samples):
    """Number of candidates of the next round, after the acceptance so far."""
    if start >= _MOST_PER_ROW * max(n_samples, 10):
        raise ValueError(
            f"Only {n_accepted} of {start} candidates satisfy where= or the constraints; "
            f"{n_samples} were asked for. Widen the condition, or ask for fewer samples."
        )
    rate = (n_accepted + 1) / (start + 2)
    n = 1.2 * (n_samples - n_accepted) / rate
    return int(np.clip(n, min(_LEAST, 2 * n_samples), _MOST))


def _warn_of_few(n_accepted, start):
    if n_accepted < _FEW * start:
        warn_user(
            f"{n_accepted} of {start} candidates satisfy where= or the constraints: sampling takes "
            f"{start / n_accepted:.0f} times as long as without them."
        )
