"""Outlier detection: ROC AUC on the sets of ADBench, next to other detectors with their defaults.

    python outliers.py --data DIR --seeds 0 1 2 --out results.jsonl

`DIR` is a folder with a `load.py`: `load.anomaly(NAME)` returns rows and labels, 1 an anomaly. The
protocols are those of ADBench (Han et al. 2022, https://arxiv.org/abs/2206.09426):

- semi-supervised: half of the normal rows train, the others and all anomalies are ranked;
- unsupervised: all rows train, anomalies among them, and are ranked.

Sets of more than `--rows` rows are subsampled at random. All methods see the same rows, scaled
where they need it; no method sees labels. What `GUDOutlierDetector` does by default was first
chosen on the sets of `DEVELOPMENT` alone; that version ranked worse than kNN on the other ten sets,
and was revised with all twenty. `CHECKS` were used once, after that: sets made from classification
tables of `load.table` and of scikit-learn, in which the most frequent class is normal, and rows of
the other classes are the anomalies, 10 % of all rows.

A standard error is that of the mean over the sets of the difference to gudlearn, each set the mean
of its seeds. With `--out` each result is a JSON line, and a second run skips what the file has.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _mixed import loader
from _results import append, read
from _where import machine
from sklearn.datasets import load_digits, load_wine
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from threadpoolctl import threadpool_limits

from gudlearn import GUDOutlierDetector

SETS = (
    "annthyroid", "breastw", "cardio", "fault", "glass", "Hepatitis", "Ionosphere", "landsat",
    "letter", "mammography", "musk", "optdigits", "PageBlocks", "Pima", "Stamps", "thyroid",
    "vowels", "WDBC", "Wilt", "yeast",
)  # fmt: skip
DEVELOPMENT = SETS[1::2]
CHECKS = (
    "table:blood", "table:ecoli", "table:higgs", "table:magic", "table:phoneme", "table:seeds",
    "table:shoppers", "table:sonar", "table:vowel", "sklearn:digits", "sklearn:wine",
)  # fmt: skip
# Fraction of the rows of a check that are anomalies.
_ANOMALIES = 0.1
PROTOCOLS = ("semi-supervised", "unsupervised")
SMOKE = {"rows": 150, "seeds": [0]}


# ---------------------------------------------------------------- methods
# Each returns scores of the test rows, low for outliers; ``same``: these are the training rows.


def gudlearn(train, test, same, seed):
    """With default parameters."""
    return GUDOutlierDetector(random_state=seed).fit(train).score_samples(test)


def gudlearn_density(train, test, same, seed):
    """The density of a generator, with its default training."""
    detector = GUDOutlierDetector(method="density", random_state=seed)
    return detector.fit(train).score_samples(test)


def knn(scaler):
    """Mean distance to the five nearest training rows."""

    def score(train, test, same, seed):
        scaled = scaler().fit(train)
        neighbours = NearestNeighbors(n_neighbors=5).fit(scaled.transform(train))
        # Without rows each training row is left out of its own neighbours.
        distances, _ = neighbours.kneighbors(None if same else scaled.transform(test))
        return -distances.mean(1)

    return score


def isolation_forest(train, test, same, seed):
    """As in scikit-learn."""
    return IsolationForest(random_state=seed).fit(train).score_samples(test)


def local_outlier_factor(train, test, same, seed):
    """As in scikit-learn, of standardised rows."""
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    with warnings.catch_warnings():
        # It warns about many equal rows.
        warnings.simplefilter("ignore")
        if same:
            return LocalOutlierFactor().fit(train).negative_outlier_factor_
        return LocalOutlierFactor(novelty=True).fit(train).score_samples(test)


def gaussian_mixture(train, test, same, seed):
    """As in scikit-learn, a single Gaussian, of standardised rows."""
    scaler = StandardScaler().fit(train)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture = GaussianMixture(random_state=seed).fit(scaler.transform(train))
    return mixture.score_samples(scaler.transform(test))


def ecod(train, test, same, seed):
    """Li et al. (2022), https://arxiv.org/abs/2201.00382: log tail probabilities of columns."""
    rows = train if same else np.vstack([train, test])
    sides = np.zeros((3, len(test)))
    for column, x in zip(rows.T, test.T, strict=True):
        ordered = np.sort(column)
        left = np.searchsorted(ordered, x, "right") / len(ordered)
        right = 1 - np.searchsorted(ordered, x, "left") / len(ordered)
        skew = np.mean((column - column.mean()) ** 3)
        sides += np.log([left, right, left if skew < 0 else right])
    return sides.min(0)


def hbos(train, test, same, seed, n_bins=10):
    """Goldstein and Dengel (2012): the product of histograms, as in pyod."""
    total = np.zeros(len(test))
    for column, x in zip(train.T, test.T, strict=True):
        heights, edges = np.histogram(column, bins=n_bins, density=True)
        width = edges[1] - edges[0]
        inside = np.clip(np.searchsorted(edges, x, "right") - 1, 0, n_bins - 1)
        beyond = (x < edges[0] - 0.5 * width) | (x > edges[-1] + 0.5 * width)
        total += np.log(np.where(beyond, heights.min(), heights[inside]) + 0.1)
    return total


METHODS = {
    "gudlearn": gudlearn,
    "kNN": knn(StandardScaler),
    "kNN (min-max)": knn(MinMaxScaler),
    "IsolationForest": isolation_forest,
    "LocalOutlierFactor": local_outlier_factor,
    "GaussianMixture": gaussian_mixture,
    "ECOD": ecod,
    "HBOS": hbos,
    "gudlearn-density": gudlearn_density,
}
# The last trains a network for each set.
DEFAULT = list(METHODS)[:-1]


# ---------------------------------------------------------------- data


def check(directory, name, rng):
    """Rows, and labels, 1 an anomaly, of a table of classes."""
    source, _, table = name.partition(":")
    if source == "sklearn":
        X, classes = {"digits": load_digits, "wine": load_wine}[table](return_X_y=True)
    else:
        frame, schema = loader(directory).table(table)
        numeric = [c for c in schema["numeric"] if c != schema["target"]]
        X, classes = frame[numeric].to_numpy(np.float64), frame[schema["target"]].astype(str)
    complete = ~np.isnan(X).any(1)
    X, classes = X[complete], pd.Series(np.asarray(classes)[complete])
    normal = (classes == classes.mode()[0]).to_numpy()
    anomalies = rng.permutation(np.flatnonzero(~normal))
    most = int(normal.sum() * _ANOMALIES / (1 - _ANOMALIES))
    rows = np.concatenate([np.flatnonzero(normal), anomalies[:most]])
    return X[rows], (~normal[rows]).astype(int)


def split(directory, name, protocol, rows, seed):
    """Training rows, test rows, and whether each test row is an anomaly."""
    rng = np.random.default_rng(seed)
    X, y = check(directory, name, rng) if name in CHECKS else loader(directory).anomaly(name)
    chosen = rng.permutation(len(X))[:rows]
    X, y = X[chosen], y[chosen] == 1
    if protocol == "unsupervised":
        return X, X, y
    normal = rng.permutation(np.flatnonzero(~y))
    train = normal[: len(normal) // 2]
    test = np.setdiff1d(np.arange(len(X)), train)
    return X[train], X[test], y[test]


# ---------------------------------------------------------------- results


def key(result):
    """Return the identity of a result."""
    return tuple(result[k] for k in ("protocol", "set", "method", "seed", "rows"))


def run(options):
    """Run what the file does not have; return the requested results and the number of failures."""
    done, results, failures = {key(r): r for r in read(options.out)}, [], 0
    for protocol in options.protocols:
        for name in options.sets:
            for seed in options.seeds:
                train, test, anomaly = split(options.data, name, protocol, options.rows, seed)
                for method in options.methods:
                    result = {
                        "protocol": protocol, "set": name, "method": method, "seed": seed,
                        "rows": options.rows,
                    }  # fmt: skip
                    if key(result) in done:
                        results.append(done[key(result)])
                        continue
                    start = time.perf_counter()
                    try:
                        scores = METHODS[method](train, test, protocol == PROTOCOLS[1], seed)
                    except Exception:  # one failure must not end a run
                        traceback.print_exc()
                        failures += 1
                        continue
                    result |= {
                        "auc": float(roc_auc_score(anomaly, -scores)),
                        "seconds": time.perf_counter() - start, "machine": machine(),
                    }  # fmt: skip
                    label = f"{protocol}, {name}, seed {seed}, {method}"
                    figures = f"AUC {result['auc']:.4f}, {result['seconds']:.1f} s"
                    print(f"{label}: {figures}", flush=True)
                    results.append(result)
                    append(options.out, result)
    return results, failures


def report(results):
    """Print the means over the sets, for each protocol and part of the sets."""
    frame = pd.DataFrame(results)
    for protocol in PROTOCOLS:
        chosen = frame[frame["protocol"] == protocol] if len(frame) else frame
        if not len(chosen):
            continue
        aucs = chosen.pivot_table(index="set", columns="method", values="auc", sort=False)
        aucs = aucs.dropna()
        seconds = chosen.groupby("method")["seconds"].mean()
        print(f"\n**{protocol}, ROC AUC, mean of {chosen['seed'].nunique()} seeds**\n")
        print("| " + " | ".join(["set", *aucs.columns]) + " |")
        print("|---" * (1 + aucs.shape[1]) + "|")
        for name, row in aucs.iterrows():
            print("| " + " | ".join([name, *(f"{value:.3f}" for value in row)]) + " |")
        parts = {
            "ADBench": aucs[aucs.index.isin(SETS)],
            "of these development": aucs[aucs.index.isin(DEVELOPMENT)],
            "of these others": aucs[aucs.index.isin(SETS) & ~aucs.index.isin(DEVELOPMENT)],
            "tables of classes": aucs[aucs.index.isin(CHECKS)],
        }
        for title, part in parts.items():
            if len(part):
                print(f"\n{protocol}, {title} ({len(part)}):\n")
                print(_summary(part, seconds).round(4).to_string())


def _summary(aucs, seconds):
    """Mean AUC and rank of each method, and its difference to gudlearn with a standard error."""
    summary = pd.DataFrame({"mean AUC": aucs.mean()})
    summary["mean rank"] = aucs.rank(axis=1, ascending=False).mean()
    if "gudlearn" in aucs:
        behind = aucs.rsub(aucs["gudlearn"], axis=0)
        summary["gudlearn minus it"] = behind.mean()
        summary["standard error"] = behind.sem()
        summary["gudlearn wins"] = (behind > 0).sum()
    summary["seconds"] = seconds
    return summary.sort_values("mean AUC", ascending=False)


def arguments(argv=None):
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with load.py")
    add("--sets", nargs="+", choices=SETS + CHECKS, default=list(SETS + CHECKS))
    add("--methods", nargs="+", choices=METHODS, default=DEFAULT)
    add("--protocols", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS))
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of subsamples, splits and fits")
    add("--rows", type=int, default=3000, help="larger sets are subsampled to this many rows")
    add("--out", type=Path, help="file of results to append to")
    add("--smoke", action="store_true", help="150 rows, one seed")
    options = parser.parse_args(argv)
    if options.smoke:
        vars(options).update(SMOKE)
    return options


def main(argv=None):
    """Run the methods and print the tables."""
    options = arguments(argv)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        results, failures = run(options)
    report(results)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
