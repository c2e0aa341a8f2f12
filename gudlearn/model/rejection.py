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


def draw_accepted(draw, accept, n_samples, n_rows=1):
    """The first n_samples accepted candidates for each of n_rows conditions.

    Parameters
    ----------
    draw : callable (n, start) -> ndarray of shape (n * n_rows, F)
        Candidates start, start + 1, ..., each for all conditions.
    accept : callable (ndarray of shape (m, F)) -> bool ndarray of shape (m,)
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
    while min(map(len, accepted)) < n_samples:
        fewest = min(map(len, accepted))
        if start >= _MOST_PER_ROW * max(n_samples, 10):
            raise ValueError(
                f"Only {fewest} of {start} candidates satisfy where= or the constraints; "
                f"{n_samples} were asked for. Widen the condition, or ask for fewer samples."
            )
        rate = (fewest + 1) / (start + 2)
        n = int(np.clip(1.2 * (n_samples - fewest) / rate, min(_LEAST, 2 * n_samples), _MOST))
        n = max(1, n // n_rows) if n_rows > 1 else n
        candidates = draw(n, start)
        taken = accept(candidates).reshape(n, n_rows)
        candidates = candidates.reshape(n, n_rows, -1)
        for row, of_row in enumerate(accepted):
            of_row.extend(candidates[taken[:, row], row])
        start += n
    fewest = min(map(len, accepted))
    if fewest < _FEW * start:
        warn_user(
            f"{fewest} of {start} candidates satisfy where= or the constraints: sampling takes "
            f"{start / fewest:.0f} times as long as without them."
        )
    return np.stack([np.stack(of_row[:n_samples]) for of_row in accepted], axis=1)
