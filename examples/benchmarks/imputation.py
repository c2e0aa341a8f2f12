"""Imputation of tables, by the protocol of ForestDiffusion (Jolicoeur-Martineau et al. 2024).

    python imputation.py --data DIR --seeds 0 1 2 --out FILE
    python imputation.py --report --out FILE

In 80 % of the rows a fifth of the entries are hidden, completely at random. Every method imputes
them five times by draws, and once by its best guess:

- MinMAE, AvgMAE: least and mean absolute error of the five draws of an entry;
- W1: Wasserstein distance, with absolute differences, between imputed and true rows, mean of five;
- downstream: macro F1 or R2 of a random forest that is trained on imputed rows, for the other 20 %
  of the rows, mean of five;
- MAE, RMSE: errors of the best guess.

Columns are scaled to [0, 1] by the training rows. miceforest and ForestDiffusion take part if they
are installed.
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
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.metrics import f1_score, r2_score
from sklearn.model_selection import train_test_split

from gudlearn import GUDImputer

SETS = (
    "iris", "wine", "breast_cancer", "ecoli", "glass", "seeds", "ionosphere", "sonar", "concrete",
    "blood", "wine_quality", "abalone", "letter",
)  # fmt: skip
N_DRAWS = 5
# The distance uses no more rows than this, because its cost is cubic.
MOST_FOR_DISTANCE = 1000


def read(name, directory):
    """Numeric columns, target, and whether the target is a class."""
    bundled = {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer}
    if name in bundled:
        X, y = bundled[name](return_X_y=True)
        return X, y, True
    folder = Path(directory) / "tabular"
    schema = json.loads((folder / "schema.json").read_text(encoding="utf-8"))[name]
    frame = pd.read_csv(folder / f"{name}.csv.gz", low_memory=False)
    y = frame[schema["target"]]
    columns = [c for c in schema["numeric"] if c != schema["target"]]
    frame = frame[columns].dropna()
    if name == "letter":
        frame = frame[:2000]
    y = y.loc[frame.index]
    is_class = schema["task"] != "regression"
    y = pd.factorize(y)[0] if is_class else y.to_numpy(float)
    return frame.to_numpy(float), y, is_class


def by_gudlearn(X, seed, options):
    """Draws (5, n, F) and the best guess (n, F)."""
    imputer = GUDImputer(random_state=seed).fit(X)
    return imputer.sample_imputations(X, N_DRAWS), imputer.transform(X)


def by_iterative(X, seed, options):
    """IterativeImputer with BayesianRidge: posterior draws, and means."""
    draws = [
        IterativeImputer(sample_posterior=True, random_state=seed + k).fit_transform(X)
        for k in range(N_DRAWS)
    ]
    return np.stack(draws), IterativeImputer(random_state=seed).fit_transform(X)


def by_neighbours(X, seed, options):
    """KNNImputer: one guess, used as the five draws as well."""
    found = KNNImputer().fit_transform(X)
    return np.repeat(found[None], N_DRAWS, 0), found


def by_miceforest(X, seed, options):
    """Predictive mean matching by LightGBM, five imputations; their mean as the guess."""
    import miceforest

    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
    kernel = miceforest.ImputationKernel(frame, num_datasets=N_DRAWS, random_state=seed)
    kernel.mice(5, verbose=False)
    draws = np.stack([kernel.complete_data(k).to_numpy(float) for k in range(N_DRAWS)])
    return draws, draws.mean(0)


def by_forest_diffusion(X, seed, options):
    """ForestDiffusion's variance preserving imputation; the mean of its draws as the guess."""
    from ForestDiffusion import ForestDiffusionModel

    model = ForestDiffusionModel(
        X, n_t=50, duplicate_K=options.duplicates, diffusion_type="vp", n_jobs=1, seed=seed
    )
    # RePaint goes back by a tenth of the steps, ten times.
    draws = np.asarray(model.impute(repaint=True, r=10, j=0.1, k=N_DRAWS))
    draws = draws.reshape(N_DRAWS, *X.shape)
    return draws, draws.mean(0)


METHODS = {
    "gudlearn": by_gudlearn,
    "IterativeImputer": by_iterative,
    "KNNImputer": by_neighbours,
    "miceforest": by_miceforest,
    "ForestDiffusion": by_forest_diffusion,
}


def wasserstein(A, B):
    """Distance of two samples of equal size; the cost sums absolute differences over columns."""
    cost = cdist(A, B, "cityblock")
    return cost[linear_sum_assignment(cost)].mean()


def downstream(completed, y, X_test, y_test, is_class, seed):
    """Score on complete rows of a forest that was trained on imputed rows."""
    if is_class:
        model = RandomForestClassifier(random_state=seed).fit(completed, y)
        return f1_score(y_test, model.predict(X_test), average="macro")
    model = RandomForestRegressor(random_state=seed).fit(completed, y)
    return r2_score(y_test, model.predict(X_test))


def measure(name, method, seed, options):
    """One result."""
    X, y, is_class = read(name, options.data)
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=0.2, random_state=seed, stratify=y if is_class else None
    )
    rng = np.random.default_rng(seed)
    hidden = rng.random(X.shape) < 0.2
    partial = np.where(hidden, np.nan, X)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        draws, guess = METHODS[method](partial, seed, options)
    seconds = time.perf_counter() - start
    low, reach = X.min(0), np.where(np.ptp(X, axis=0) > 0, np.ptp(X, axis=0), 1.0)
    X, X_test, guess = ((v - low) / reach for v in (X, X_test, guess))
    draws = (draws - low) / reach
    error = np.abs(draws - X)[:, hidden]
    some = rng.permutation(len(X))[:MOST_FOR_DISTANCE]
    return {
        "set": name,
        "method": method,
        "seed": seed,
        "MinMAE": float(error.min(0).mean()),
        "AvgMAE": float(error.mean()),
        "W1": float(np.mean([wasserstein(d[some], X[some]) for d in draws])),
        "downstream": float(
            np.mean([downstream(d, y, X_test, y_test, is_class, seed) for d in draws])
        ),
        "MAE": float(np.abs(guess - X)[hidden].mean()),
        "RMSE": float(np.sqrt(np.square(guess - X)[hidden].mean())),
        "seconds": round(seconds, 1),
    }


def report(path):
    """Print means and average ranks over the sets for which every method has results."""
    table = pd.DataFrame(read_results(path))
    metrics = ["MinMAE", "AvgMAE", "W1", "downstream", "MAE", "RMSE"]
    mean = table.groupby(["set", "method"])[metrics].mean()
    complete = mean.unstack("method").dropna().index
    mean = mean.loc[complete]
    signed = mean * [1, 1, 1, -1, 1, 1]
    ranks = signed.groupby("set").rank().groupby("method").mean()
    ranks["mean rank"] = ranks.mean(axis=1)
    print(f"{len(complete)} sets: {', '.join(complete)}")
    print(mean.groupby("method").mean().round(4).to_string())
    print("average ranks")
    print(ranks.sort_values("mean rank").round(2).to_string())


def main():
    """Measure what the file does not have yet, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--duplicates", type=int, default=50, help="for ForestDiffusion")
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines")
    parser.add_argument("--report", action="store_true", help="print the results of the file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    done = {(e["set"], e["method"], e["seed"]) for e in read_results(options.out)}
    for name in () if options.report else options.sets:
        for seed in options.seeds:
            for method in options.methods:
                if (name, method, seed) in done:
                    continue
                try:
                    result = measure(name, method, seed, options)
                except ImportError as error:
                    print(f"{method} is left out: {error}")
                    continue
                print(json.dumps(result), flush=True)
                append(options.out, result)
    report(options.out)


if __name__ == "__main__":
    main()
