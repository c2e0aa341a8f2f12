"""Outlier detection by density: ROC AUC, next to scikit-learn's detectors with their defaults.

    python outliers.py --data DIR --seeds 0 1 2

Every method is fitted to 60 % of the normal rows and ranks the other normal rows and all outliers.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor

from gudlearn import GUDGenerator, GUDOutlierDetector

# The normal class of each table; the rest are outliers.
NORMAL = {"mammography": "-1", "breast_cancer": "1", "ionosphere": "g", "credit_data": "good"}


def read(directory, name):
    """Numeric columns (n, F), NaN for missing values, and whether each row is normal."""
    if name == "breast_cancer":
        X, y = load_breast_cancer(return_X_y=True)
        return X, y == 1
    folder = Path(directory) / "tabular"
    schema = json.loads((folder / "schema.json").read_text(encoding="utf-8"))[name]
    frame = pd.read_csv(folder / f"{name}.csv.gz", low_memory=False)
    target = frame.pop(schema["target"]).astype(str)
    numeric = [c for c in schema["numeric"] if c != schema["target"]]
    normal = target.isin({NORMAL[name], NORMAL[name].strip("'")}).to_numpy()
    if not normal.any() or normal.all():
        raise SystemExit(f"{name}: no normal class {NORMAL[name]!r} in {target.unique()[:5]}.")
    return frame[numeric].to_numpy(np.float64), normal


def detectors(seconds, seed):
    """Name and detector of every method."""
    return {
        "gudlearn": GUDOutlierDetector(
            GUDGenerator(max_time=seconds) if seconds else None, random_state=seed
        ),
        "isolation forest": IsolationForest(random_state=seed),
        "local outlier factor": LocalOutlierFactor(novelty=True),
    }


def main():
    """Measure every set and seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", required=True)
    parser.add_argument("--sets", nargs="+", choices=sorted(NORMAL), default=sorted(NORMAL))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, help="of training; default: the estimator's own")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in options.sets:
        X, normal = read(options.data, name)
        complete = ~np.isnan(X).any(1)
        X, normal = X[complete], normal[complete]
        for seed in options.seeds:
            inside = np.random.default_rng(seed).permutation(np.flatnonzero(normal))
            train, rest = np.split(inside, [int(0.6 * len(inside))])
            test = np.concatenate([rest, np.flatnonzero(~normal)])
            for method, detector in detectors(options.seconds, seed).items():
                start = time.perf_counter()
                score = detector.fit(X[train]).decision_function(X[test])
                auc = roc_auc_score(normal[test], score)
                seconds = time.perf_counter() - start
                rows.append((name, method, seed, auc))
                print(f"{name} seed {seed} {method}: AUC {auc:.4f} ({seconds:.0f} s)", flush=True)
    table = pd.DataFrame(rows, columns=["set", "method", "seed", "auc"])
    mean = table.pivot_table(index="set", columns="method", values="auc")
    print(pd.concat([mean, mean.mean().to_frame("mean").T]).round(4).to_string())


if __name__ == "__main__":
    main()
