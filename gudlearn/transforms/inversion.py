"""Samples of a pipeline: draws of its last step, inverted by the others."""

import copy
import inspect
import warnings
from numbers import Integral

import numpy as np

from gudlearn._random import derive_seed
from gudlearn.transforms.determinants import flatten_steps, in_image

# Samples that are no image of a row are drawn again up to this many times.
_ROUNDS = 100


def draw_through(steps, n_samples, random_state):
    """Draw from the last of some fitted steps and invert the others.

    Parameters
    ----------
    steps : list of (str, estimator)
    n_samples : int
    random_state : int, RandomState, numpy.random.Generator or None
        None: the last step's own.

    Returns
    -------
    ndarray of shape (n_samples, n_features)

    Raises
    ------
    RuntimeError
        If some samples are outside the range of the transformers in every round.
    """
    final = steps[-1][1]
    remaining = np.arange(n_samples)
    X = None
    for state in _random_states(final, random_state):
        rows, inside = _inverted(steps[:-1], _draw(final, len(remaining), state))
        X = np.empty((n_samples, rows.shape[1])) if X is None else X
        X[remaining[inside]] = rows
        remaining = remaining[~inside]
        if len(remaining) == 0:
            return X
    raise _outside(len(remaining), n_samples)


def draw_given(steps, X, Z, n_samples, random_state):
    """Draw rows given the observed values of some, through steps that act column by column.

    Parameters
    ----------
    steps : list of (str, estimator)
    X : ndarray of shape (n_rows, n_features)
        NaN where a value is to be drawn.
    Z : ndarray or frame of shape (n_rows, n_features)
        X as the last step receives it; anything where a value is to be drawn.
    n_samples : int
    random_state : int, RandomState, numpy.random.Generator or None

    Returns
    -------
    ndarray of shape (n_samples, n_rows, n_features)
        Observed values are those of X.

    Raises
    ------
    RuntimeError
        As `draw_through`.
    """
    final, missing = steps[-1][1], np.isnan(X)
    partial = np.where(missing, np.nan, np.asarray(Z, dtype=np.float64))
    partial = np.tile(partial, (n_samples, 1))
    out, remaining = np.empty(partial.shape), np.arange(len(partial))
    for state in _random_states(final, random_state):
        rows = partial[remaining]
        rows = type(Z)(rows, columns=Z.columns) if hasattr(Z, "iloc") else rows
        drawn = np.asarray(final.sample(given=rows, random_state=state), dtype=np.float64)
        rows, inside = _inverted(steps[:-1], drawn)
        out[remaining[inside]] = rows
        remaining = remaining[~inside]
        if len(remaining) == 0:
            return np.where(missing, out.reshape(n_samples, *X.shape), X)
    raise _outside(len(remaining), len(partial))


def _outside(n_left, n_samples):
    return RuntimeError(
        f"{n_left} of {n_samples} samples of the last step were outside the range of the "
        f"transformers in each of {_ROUNDS} draws. Use a last step that fits the transformed "
        "data better, or another scaler."
    )


def _draw(final, n_samples, random_state):
    """Draw from a density estimator, scikit-learn's or ours; ndarray of float64."""
    drawn = draw_final(final, n_samples, random_state)
    return np.asarray(drawn, dtype=np.float64)


def draw_final(final, n_samples, random_state):
    """Draw from a density estimator, scikit-learn's or ours."""
    if "random_state" in inspect.signature(final.sample).parameters:
        drawn = final.sample(n_samples, random_state=random_state)
    elif random_state is None:
        drawn = final.sample(n_samples)
    elif hasattr(final, "random_state"):
        final = copy.copy(final)
        final.random_state = random_state
        drawn = final.sample(n_samples)
    else:
        raise TypeError(f"{type(final).__name__}.sample takes no random_state; leave it at None.")
    return drawn[0] if isinstance(drawn, tuple) else drawn


def _random_states(final, random_state):
    """Yield the random_state of each round of drawing, the user's own first."""
    if isinstance(random_state, np.random.Generator):
        random_state = derive_seed(random_state) % 2**32
    yield random_state
    if random_state is None:
        random_state = getattr(final, "random_state", None)
    for k in range(1, _ROUNDS):
        if isinstance(random_state, Integral):
            # The same integer would repeat the same draws.
            yield derive_seed((int(random_state) + k) % 2**32) % 2**32
        else:
            yield random_state


def _inverted(steps, Z):
    """Rows that the steps map to Z, and for which rows of Z there is one."""
    inside = np.ones(len(Z), dtype=bool)
    for _, step in reversed(list(flatten_steps(steps))):
        keep = in_image(step, Z)
        if keep.any():
            with warnings.catch_warnings():
                # PowerTransformer warns of rows outside its image.
                warnings.filterwarnings("ignore", message="invalid value encountered in power")
                warnings.filterwarnings("ignore", message="Some values in column")
                X = np.asarray(step.inverse_transform(Z[keep]), dtype=np.float64)
            finite = np.isfinite(X).all(axis=1)
            Z, keep[keep] = X[finite], finite
        inside[inside] = keep
        if not inside.any():
            return np.empty((0, Z.shape[1])), inside
    return Z, inside
