"""Single imputation of numeric tables under three patterns of missing values, against peers.

    python imputation_patterns.py --data DIR --seeds 0 --out FILE
    python imputation_patterns.py --report --out FILE

Patterns:

- cells: 15 % of the entries are missing completely at random;
- driven: one column is always observed, and with its value rises the probability that entries of
  the others are missing (at random), 30 % on average;
- spans: in some rows a run of a third of the columns is missing, more often where the values of the
  first of them are high (not at random), a third of the rows.

Every method imputes the table that it is fitted to. Errors are of columns scaled to [0, 1], over
the missing entries. Lines of JSON; a run continues where an earlier one stopped. Seconds are those
of the processor. miceforest takes part if it is installed.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _results import append
from _results import read as read_results
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gudlearn import GUDImputer

# The first four served to choose defaults.
SETS = (
    "letter", "magic", "wine_quality", "abalone", "california", "concrete", "vowel", "beijing",
    "higgs", "breast_cancer",
)  # fmt: skip


def read(name, directory, n_rows, seed):
    """Rows (n, F) of the numeric columns of a table that vary, drawn at random."""
    if name == "breast_cancer":
        frame = load_breast_cancer(as_frame=True).data
    else:
        folder = Path(directory) / "tabular"
        schema = json.loads((folder / "schema.json").read_text(encoding="utf-8"))[name]
        frame = pd.read_csv(folder / f"{name}.csv.gz", low_memory=False)[schema["numeric"]]
    X = frame.dropna().sample(frac=1, random_state=seed)[:n_rows].to_numpy(float)
    return X[:, X.std(0) > 0]


def cells(X, rng):
    """Entries that are missing completely at random."""
    return rng.random(X.shape) < 0.15


def driven(X, rng):
    """Entries that are missing at random, by the value of one column."""
    driver = rng.integers(X.shape[1])
    rank = X[:, driver].argsort().argsort() / len(X)
    hidden = rng.random(X.shape) < 0.6 * rank[:, None]
    hidden[:, driver] = False
    return hidden


def spans(X, rng):
    """Runs of columns that are missing not at random, by the value of the first of them."""
    n, d = X.shape
    ranks = X.argsort(0).argsort(0) / n
    first = rng.integers(d, size=n)
    chosen = rng.random(n) < 2 / 3 * ranks[np.arange(n), first]
    place = (np.arange(d) - first[:, None]) % d
    return chosen[:, None] & (place < max(1, round(d / 3)))


PATTERNS = {"cells": cells, "driven": driven, "spans": spans}


def by_gudlearn(seed):
    """The default imputer."""
    return GUDImputer(random_state=seed)


def by_trees(seed):
    """Chained equations with extremely randomised trees."""
    return IterativeImputer(ExtraTreesRegressor(100, random_state=seed), random_state=seed)


def by_boosting(seed):
    """Chained equations with boosted trees."""
    return IterativeImputer(HistGradientBoostingRegressor(random_state=seed), random_state=seed)


def by_ridge(seed):
    """Chained linear equations."""
    return IterativeImputer(random_state=seed)


def by_neighbours(seed):
    """Means of five neighbours, in standard deviations."""
    scaler = StandardScaler()
    return make_pipeline(scaler, KNNImputer()), scaler


class MiceForest:
    """Means of five imputations by predictive mean matching with LightGBM."""

    def __init__(self, seed):
        import miceforest

        self.kernel, self.seed = miceforest.ImputationKernel, seed

    def fit_transform(self, X):
        """Impute missing values of X (n, F)."""
        frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
        kernel = self.kernel(frame, num_datasets=5, random_state=self.seed)
        kernel.mice(5, verbose=False)
        return np.mean([kernel.complete_data(k).to_numpy(float) for k in range(5)], axis=0)


METHODS = {
    "gudlearn": by_gudlearn, "ExtraTrees": by_trees, "HistGradientBoosting": by_boosting,
    "BayesianRidge": by_ridge, "KNN": by_neighbours, "miceforest": MiceForest,
}  # fmt: skip


def measure(name, pattern, method, seed, options):
    """One result."""
    X = read(name, options.data, options.rows, seed)
    hidden = PATTERNS[pattern](X, np.random.default_rng(seed))
    partial = np.where(hidden, np.nan, X)
    imputer, scaler = METHODS[method](seed), None
    if isinstance(imputer, tuple):
        imputer, scaler = imputer
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = imputer.fit_transform(partial)
    seconds = time.process_time() - start
    found = found if scaler is None else scaler.inverse_transform(found)
    error = np.abs((found - X) / np.ptp(X, axis=0))[hidden]
    return {
        "set": name, "pattern": pattern, "method": method, "seed": seed, "rows": len(X),
        "missing": round(float(hidden.mean()), 3), "MAE": float(error.mean()),
        "RMSE": float(np.sqrt(np.square(error).mean())), "seconds": round(seconds, 1),
    }  # fmt: skip


def report(path):
    """Print errors, average ranks and seconds where every method has results."""
    table = pd.DataFrame(read_results(path))
    keys = ["set", "pattern"]
    mean = table.groupby([*keys, "method"])[["MAE", "RMSE", "seconds"]].mean().unstack("method")
    mean = mean.dropna()
    pd.set_option("display.width", 200)
    print(f"{len(mean)} sets and patterns")
    print(mean[["MAE", "RMSE"]].round(4).to_string())
    ranks = pd.concat([mean[metric].rank(axis=1) for metric in ("MAE", "RMSE")])
    out = pd.DataFrame({
        "rank": ranks.mean(), "standard error": ranks.std() / len(mean) ** 0.5,
        "MAE": mean["MAE"].mean(), "RMSE": mean["RMSE"].mean(), "seconds": mean["seconds"].mean(),
    })  # fmt: skip
    print(out.sort_values("rank").round(3).to_string())


def main():
    """Measure what the file does not have yet, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR")
    parser.add_argument("--rows", type=int, default=1000, help="at most, of each table")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--patterns", nargs="+", choices=PATTERNS, default=list(PATTERNS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines")
    parser.add_argument("--report", action="store_true", help="print the results of the file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keys = "set", "pattern", "method", "seed", "rows"
    done = {tuple(entry[key] for key in keys) for entry in read_results(options.out)}
    for name in () if options.report else options.sets:
        n_rows = len(read(name, options.data, options.rows, 0))
        for seed in options.seeds:
            for pattern in options.patterns:
                for method in options.methods:
                    if (name, pattern, method, seed, n_rows) in done:
                        continue
                    try:
                        result = measure(name, pattern, method, seed, options)
                    except ImportError as error:
                        print(f"{method} is left out: {error}")
                        continue
                    print(json.dumps(result), flush=True)
                    append(options.out, result)
    report(options.out)


if __name__ == "__main__":
    main()
