"""Oracles: rows without dependence, and rows of a mixture model that is fitted in seconds."""

from dataclasses import replace

import numpy as np
import pandas as pd

from gudlearn.data.schema import Schema
from gudlearn.generator import GUDGenerator
from gudlearn.samplers import DDIM

# Steps of the mixture's sampler: the oracle need not be exact.
_N_STEPS = 20
# Images of more numbers than this have no mixture: its matrices would take minutes.
_MOST_PIXELS = 4096
# Beyond this numbers are shifted before a fit: times in microseconds.
_FAR = 1e12


def independent(table, rng):
    """The rows of a table with each column permuted by itself."""
    return replace(table, X=rng.permuted(table.X, axis=0))


def mixture_rows(table, n, seed):
    """Draw rows of the mixture from which a fit of `GUDGenerator` starts.

    Parameters
    ----------
    table : MixedTable
        Training rows.
    n : int
    seed : int

    Returns
    -------
    MixedTable of n rows
    """
    columns, shifts = {}, {}
    for j, codes in enumerate(table.X.T):
        if np.isnan(codes).all():
            continue
        if table.is_category[j]:
            whole = pd.Series(codes).astype("Int64")
            columns[f"c{j}"] = pd.Categorical(whole, categories=sorted(whole.dropna().unique()))
        else:
            least = np.nanmin(codes)
            shifts[j] = least if np.nanmax(np.abs(codes)) > _FAR else 0.0
            columns[f"c{j}"] = codes - shifts[j]
    rows = _mixture(seed, schema=Schema(missing="model")).fit(pd.DataFrame(columns)).sample(n)
    X = np.full((n, len(table.names)), np.nan)
    for j in range(len(table.names)):
        if f"c{j}" in columns:
            drawn = rows[f"c{j}"].astype(object).where(rows[f"c{j}"].notna(), np.nan)
            X[:, j] = drawn.astype(np.float64) + shifts.get(j, 0.0)
    return replace(table, X=X, n_rows=n)


def mixture_images(X, n, seed):
    """Draw images of the mixture from which a fit of `GUDGenerator` starts.

    Parameters
    ----------
    X : ndarray of shape (n_train, ...)
    n : int
    seed : int

    Returns
    -------
    ndarray of shape (n, ...)

    Raises
    ------
    ValueError
        If the images are large.
    """
    if X[0].size > _MOST_PIXELS:
        raise ValueError(f"The images have {X[0].size} numbers, more than {_MOST_PIXELS}.")
    return np.asarray(_mixture(seed).fit(X).sample(n))


def _mixture(seed, **parameters):
    return GUDGenerator(
        preconditioning="mixture", max_iter=0, sampler=DDIM(steps=_N_STEPS), random_state=seed,
        **parameters,
    )  # fmt: skip
