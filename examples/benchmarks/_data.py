"""Data sets and splits of the benchmarks, the same for all methods."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.model_selection import GroupShuffleSplit, train_test_split

TABLES = ("letter", "magic", "california", "wine_quality")
SETS = ("digits", *TABLES)
# Tables of some hundred rows, for measuring `retrieval`.
FEW_ROWS = ("breast_cancer", "diabetes", "concrete", "letter_2000")
EXTRA_SETS = ("digits_scaled", "small", "small_density", *FEW_ROWS)

MOST_DECIMALS = 6
AGREEMENT = 0.999


@dataclass(frozen=True)
class Dataset:
    """Rows of one data set, the widths of its bins, and the strata of its split."""

    name: str
    X: np.ndarray  # (n, F)
    columns: tuple[str, ...]
    bin_width: np.ndarray | None  # (F,), None if the data are continuous
    labels: np.ndarray | None = None  # strata; None keeps groups of equal rows together


def decimals_of(column):
    """Number of decimals in which a column was recorded: the smallest that represents its values.

    That is, 99.9 % of the values that six decimals represent exactly. The rest are typing errors,
    or thirds (9.53333333333333 in `alcohol`), which are on no grid.
    """
    fractions = [
        np.mean(np.isclose(np.round(column, k), column, rtol=1e-9, atol=1e-9))
        for k in range(MOST_DECIMALS + 1)
    ]
    return next(k for k, f in enumerate(fractions) if f >= AGREEMENT * fractions[-1])


def to_decimal_grid(X):
    """Round each column to its own decimals; return the rounded rows and the steps (F,)."""
    decimals = [decimals_of(column) for column in X.T]
    rounded = np.column_stack([np.round(c, k) for c, k in zip(X.T, decimals, strict=True)])
    return rounded, np.array([float(f"1e-{k}") for k in decimals])


def read_table(directory, name):
    """Numeric columns without the target of `DIR/tabular/NAME.csv.gz`, rows with NaN dropped."""
    folder = Path(directory) / "tabular"
    schema = json.loads((folder / "schema.json").read_text(encoding="utf-8"))[name]
    frame = pd.read_csv(folder / f"{name}.csv.gz", low_memory=False)
    frame = frame[[c for c in schema["numeric"] if c != schema["target"]]].dropna()
    return frame.to_numpy(np.float64), tuple(frame.columns)


def load(name, directory=None):
    """Load one data set by name; the tables need the folder given with `--data`."""
    if name in (*TABLES, "concrete", "letter_2000"):
        if directory is None:
            raise SystemExit(f"{name} is read from a folder: pass --data DIR.")
        X, columns = read_table(directory, name.removesuffix("_2000"))
        if name.startswith("letter"):
            X = X[:2000] if name == "letter_2000" else X
            return Dataset(name, X, columns, np.ones(X.shape[1]))
        if name in ("wine_quality", "concrete"):
            X, width = to_decimal_grid(X)
            return Dataset(name, X, columns, width)
        return Dataset(name, X, columns, None)
    if name in ("digits", "digits_scaled"):
        X, y = load_digits(return_X_y=True)
        step = 1.0 if name == "digits" else 1 / 16
        columns = tuple(f"pixel{j}" for j in range(X.shape[1]))
        return Dataset(name, X * step, columns, np.full(X.shape[1], step), y)
    if name in ("small", "diabetes"):
        bunch = load_diabetes(scaled=False)
        X, width = to_decimal_grid(bunch.data[:200] if name == "small" else bunch.data)
        return Dataset(name, X, tuple(bunch.feature_names), width)
    if name in ("small_density", "breast_cancer"):
        bunch = load_breast_cancer()
        X = bunch.data[:200] if name == "small_density" else bunch.data
        return Dataset(name, X, tuple(bunch.feature_names), None)
    raise SystemExit(f"Unknown set {name!r}: choose from {', '.join(SETS + EXTRA_SETS)}.")


def groups_of_equal_rows(X):
    """Number of the distinct row that each row equals, shape (n,)."""
    return np.unique(X, axis=0, return_inverse=True)[1].ravel()


def group_split(X, fraction, seed):
    """Split indices in two; equal rows stay together, the second part has `fraction` of them."""
    splitter = GroupShuffleSplit(n_splits=1, test_size=fraction, random_state=seed)
    return next(splitter.split(X, groups=groups_of_equal_rows(X)))


def split(dataset, seed):
    """80 % of the rows for training and 20 % for testing, stratified if there are labels."""
    if dataset.labels is None:
        train, test = group_split(dataset.X, 0.2, seed)
    else:
        indices = np.arange(len(dataset.X))
        train, test = train_test_split(
            indices, test_size=0.2, random_state=seed, stratify=dataset.labels
        )
    return dataset.X[train], dataset.X[test]


def head(dataset, n_rows):
    """Return the data set with a fixed random choice of `n_rows` rows, for smoke runs."""
    if n_rows is None or n_rows >= len(dataset.X):
        return dataset
    kept = np.sort(np.random.default_rng(0).permutation(len(dataset.X))[:n_rows])
    labels = None if dataset.labels is None else dataset.labels[kept]
    return replace(dataset, X=dataset.X[kept], labels=labels)
