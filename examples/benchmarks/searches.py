"""Seconds of a grid search of twelve fits in one process and in several, and whether they agree.

    python searches.py --n-jobs 1 2 --out FILE

Six settings on two folds of the digits, in 4 x 4 pixels. Every process has one thread. They are
started again for each search, which takes some seconds (`start`: an untrained search of two fits)
and counts in `seconds`; `warm` is the same search again in processes that run already.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import joblib
import numpy as np
import torch
from _results import append
from _where import machine
from joblib.externals.loky import get_reusable_executor
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from gudlearn import MLP, GUDGenerator, PCABasis

GRID = {"basis": ["identity", PCABasis()], "schedule__softness": [0.3, 1.0, 3.0]}


def data(n):
    """Images of 4 x 4 pixels as rows."""
    return load_digits().images[:n].reshape(-1, 4, 2, 4, 2).sum((2, 4)).reshape(-1, 16)


def search(X, n_jobs, options, grid=GRID, **others):
    """Seconds of a search, and its scores."""
    generator = GUDGenerator(
        network=MLP(width=options.width), bin_width=1.0, n_draws="coarse", random_state=0,
        **{"max_iter": options.epochs, **others},
    )  # fmt: skip
    grid_search = GridSearchCV(generator, grid, cv=2, n_jobs=n_jobs, refit=False)
    start = time.perf_counter()
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        results = grid_search.fit(X).cv_results_
    seconds = time.perf_counter() - start
    return seconds, np.stack([results[f"split{fold}_test_score"] for fold in range(2)])


def measure(n_jobs, options):
    """Seconds of the searches with a number of processes, and the scores."""
    X = data(options.rows)
    get_reusable_executor().shutdown(wait=True)
    start, _ = search(X, n_jobs, options, {"basis": ["identity"]}, max_iter=0)
    get_reusable_executor().shutdown(wait=True)
    seconds, scores = search(X, n_jobs, options)
    warm, again = search(X, n_jobs, options)
    if not np.array_equal(scores, again):
        raise RuntimeError("Two searches with the same seed have different scores.")
    return {
        "n_jobs": n_jobs, "fits": scores.size, "epochs": options.epochs, "rows": len(X),
        "seconds": seconds, "warm": warm, "start": start, "machine": machine(),
    }, scores  # fmt: skip


def main(arguments=None):
    """Measure, and compare with the first number of processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rows", type=int, default=1797)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--out", type=Path, help="file of JSON lines")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    first = None
    for n_jobs in options.n_jobs:
        result, scores = measure(n_jobs, options)
        first = first or (result, scores)
        result["ratio"], result["warm_ratio"] = (
            first[0][name] / result[name] for name in ("seconds", "warm")
        )
        result["identical"] = bool(np.array_equal(scores, first[1]))
        append(options.out, result)
        shown = {k: round(v, 2) if isinstance(v, float) else v for k, v in result.items()}
        print(shown, flush=True)


if __name__ == "__main__":
    main()
