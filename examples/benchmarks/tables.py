"""Real tables: how faithful samples are, bits of categories, densities, and rates.

    python tables.py --data DIR --only c2st --tables adult magic --seconds 120 900 --splits 0 1

`DIR` is a folder with a `load.py`: `load.table(NAME)` returns a DataFrame and a dict with
`categorical`, the names of its columns of categories, and `target`; `load.binary(NAME)` a dict of
`train`, `valid` and `test`, arrays of 0 and 1; `load.anomaly(NAME)` rows and labels, 1 an anomaly.
The parts are

- c2st: AUC of a classifier between held-out rows and as many fake ones, and the errors of columns
  and pairs, for gudlearn, independent marginals, a shallow mixture that is tuned in the same
  seconds, and training rows;
- categories: bits a column of categories alone, next to a Chow-Liu tree;
- binary: nats a row on all test rows of the suite, after training on its train and valid rows;
- anomaly: bits a column on held-out normal rows, duplicates dropped, next to a Gaussian mixture
  that is tuned on validation rows in the same seconds;
- tstr: AUC of a classifier of adult's income that is trained on fake rows;
- million: rates and peak memory for a million rows of 30 columns (run it alone).

Test rows are scored once and choose nothing. With `--out` each result is a JSON line, and a second
run skips what the file has.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _mixed import (
    as_types,
    categories_alone,
    chow_liu,
    loader,
    million,
    permuted,
    read_frame,
    shallow_mixture,
    split,
)
from _peers import tuned_gmm
from _results import append, read
from _where import machine
from threadpoolctl import threadpool_limits

import gudlearn
from gudlearn import GUDGenerator
from gudlearn.metrics import shape_error, train_on_synthetic, trend_error, two_sample_auc

ANOMALY = (
    "annthyroid", "breastw", "cardio", "fault", "glass", "Hepatitis", "Ionosphere", "landsat",
    "letter", "mammography", "musk", "optdigits", "PageBlocks", "Pima", "Stamps", "thyroid",
    "vowels", "WDBC", "Wilt", "yeast",
)  # fmt: skip
TABLES = {
    "c2st": ("adult", "default", "shoppers", "magic", "beijing", "bank"),
    "categories": ("mushroom", "adult", "tic_tac_toe", "congress", "german"),
    "binary": ("nltcs", "plants", "accidents", "pumsb_star", "dna", "mushrooms", "bbc"),
    "anomaly": ANOMALY,
    "tstr": ("adult",),
    "million": ("made",),
}
SECONDS = {
    "c2st": [120.0], "categories": [60.0], "binary": [300.0], "anomaly": [60.0], "tstr": [900.0],
    "million": [0.0],
}  # fmt: skip
# What to read first in each part.
FIGURE = {
    "c2st": "auc", "categories": "bits", "binary": "nats", "anomaly": "bits", "tstr": "auc",
    "million": "seconds_fit",
}  # fmt: skip
SMOKE = {"rows": 400, "seconds": [2.0], "splits": [0], "codes": True}


def schema(**settings):
    """The parameter `schema` of the generator, where this version has it."""
    kind = getattr(gudlearn, "Schema", None)
    return {} if kind is None or not settings else {"schema": kind(**settings)}


def fit(train, seconds, seed, **settings):
    """A generator that was trained for some seconds."""
    return GUDGenerator(max_time=seconds, random_state=seed, **settings).fit(train)


def missing_as_value(frame):
    """Fake rows have missing values where real ones do."""
    return schema(missing="model") if frame.isna().any(axis=None) else {}


# ---------------------------------------------------------------- parts


def c2st(options, name, seconds, seed):
    """AUC between held-out and fake rows, errors of columns and of pairs, for each method."""
    table = read_frame(options.data, name, options.codes, options.rows)
    train, test = split(table.frame, seed)
    n = len(test)
    methods = {
        "gudlearn": lambda: fit(train, seconds, seed, **missing_as_value(train)).sample(n),
        "mixture": lambda: shallow_mixture(train, table.categories, seconds, n, seed),
        "marginals": lambda: permuted(train, n, seed),
        "training rows": lambda: train.sample(n, random_state=seed, replace=n > len(train)),
    }
    for method, draw in methods.items():
        start = time.perf_counter()
        fake = draw()
        spent = time.perf_counter() - start
        real_and_fake = [as_types(f, table.categories) for f in (test, fake)]
        found = two_sample_auc(*real_and_fake, importance=options.importance)
        importance = {}
        if found.importance is not None:
            worst = found.importance.head(5).round(4)
            importance = {"importance": {str(k): v for k, v in worst.items()}}
        yield (
            method,
            {
                "auc": found.auc,
                "standard_error": found.standard_error,
                "shape": shape_error(*real_and_fake).mean,
                "trend": trend_error(*real_and_fake).mean,
                "spent": spent,
                **importance,
            },
        )


def categories(options, name, seconds, seed):
    """Bits a column on test rows."""
    table = read_frame(options.data, name, options.codes, options.rows, features=False)
    train, test = split(categories_alone(table, options.codes), seed)
    per_column = -1 / (test.shape[1] * np.log(2))
    yield "gudlearn", {"bits": fit(train, seconds, seed).score(test) * per_column}
    yield "Chow-Liu", {"bits": chow_liu(train, test, seed) * per_column}


def binary(options, name, seconds, seed):
    """Nats a row on the test rows of the suite; the seed is that of the fit."""
    parts = loader(options.data).binary(name)
    train, test = np.vstack([parts["train"], parts["valid"]]), parts["test"]
    if options.rows is not None:
        train, test = train[: options.rows], test[: options.rows]
    frames = [
        pd.DataFrame(part, columns=[f"x{j}" for j in range(part.shape[1])])
        for part in (train, test)
    ]
    if not options.codes:
        frames = [frame.astype(bool) for frame in frames]
    scores = fit(frames[0], seconds, seed).score_samples(frames[1])
    yield (
        "gudlearn",
        {
            "nats": float(np.mean(scores)),
            "standard_error": float(np.std(scores, ddof=1) / np.sqrt(len(scores))),
        },
    )


def anomaly(options, name, seconds, seed):
    """Bits a column of the density on held-out normal rows."""
    X, y = loader(options.data).anomaly(name)
    X = np.unique(X[y == 0], axis=0)
    if options.rows is not None and options.rows < len(X):
        X = X[np.random.default_rng(0).permutation(len(X))[: options.rows]]
    train, test = (part.to_numpy() for part in split(pd.DataFrame(X), seed))
    varies = np.ptp(train, axis=0) > 0
    train, test = train[:, varies], test[:, varies]
    per_column = -1 / (test.shape[1] * np.log(2))
    # Densities with respect to Lebesgue measure alone, as the mixture's.
    model = fit(train, seconds, seed, **schema(atoms=False))
    yield "gudlearn", {"bits": model.score(test) * per_column}
    score, settings = tuned_gmm(
        train, None, seconds, seed, types=("full", "tied", "diag"), reg_covars=(1e-6, 1e-4, 1e-2)
    )
    yield "GaussianMixture", {"bits": float(score(test).mean()) * per_column, **settings}


def tstr(options, name, seconds, seed):
    """Score on real test rows after training on fake and on real rows."""
    table = read_frame(options.data, name, options.codes, options.rows)
    train, test = split(table.frame, seed)
    fake = fit(train, seconds, seed, **missing_as_value(train)).sample(len(train))
    frames = [as_types(frame, table.categories) for frame in (train, test, fake)]
    found = train_on_synthetic(*frames, table.target)
    yield "gudlearn", {"auc": found.synthetic}
    yield "training rows", {"auc": found.real}


def million_rows(options, name, seconds, seed):
    """Seconds of one epoch, of a sample of as many rows and of scores of 100,000; peak memory."""
    frame = million(options.rows or 1_000_000, options.codes)
    timed = {}

    def run(what, call):
        start = time.perf_counter()
        result = call()
        timed[f"seconds_{what}"] = time.perf_counter() - start
        return result

    del seconds
    run("read", lambda: GUDGenerator(max_iter=0, random_state=seed).fit(frame))
    model = run("fit", lambda: GUDGenerator(max_iter=1, random_state=seed).fit(frame))
    run("sample", lambda: model.sample(len(frame)))
    part = frame.iloc[:100_000]
    run("score", lambda: model.score_samples(part))
    # Kilobytes on Linux, bytes on macOS.
    unit = 2**30 if sys.platform == "darwin" else 2**20
    yield (
        "gudlearn",
        {
            **timed,
            "rows": len(frame),
            "rows_scored": len(part),
            "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit,
        },
    )


PARTS = {
    "c2st": c2st, "categories": categories, "binary": binary, "anomaly": anomaly, "tstr": tstr,
    "million": million_rows,
}  # fmt: skip


# ---------------------------------------------------------------- results


def jobs(options):
    """List the requested fits."""
    for part in options.only:
        for name in options.tables or TABLES[part]:
            if name not in TABLES[part]:
                continue
            for seconds in options.seconds or SECONDS[part]:
                for seed in options.splits:
                    yield part, name, seconds, seed


def key(result):
    """Return the identity of a fit."""
    return result["part"], result["table"], float(result["seconds"]), result["split"]


def run(options):
    """Run what the file does not have; return all results and the number of failures."""
    results, failures = read(options.out), 0
    done = {key(result) for result in results}
    for part, name, seconds, seed in jobs(options):
        if (part, name, seconds, seed) in done:
            continue
        label, found = f"{part} {name} {seconds:g} s, split {seed}", []
        try:
            for method, values in PARTS[part](options, name, seconds, seed):
                identity = {"part": part, "table": name, "seconds": seconds, "split": seed}
                found.append({**identity, "method": method, **values, "machine": machine()})
                print(f"{label}, {method}: {text(values)}", flush=True)
        except Exception:  # one failure must not end a run of hours
            traceback.print_exc()
            print(f"{label}: failed", flush=True)
            failures += 1
            continue
        results += found
        append(options.out, *found)
    return results, failures


def text(values):
    """Names and values on one line."""
    return ", ".join(
        f"{k} {v:.5g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()
    )


def report(results, parts):
    """Print a table of means over the splits for each part and budget."""
    frame = pd.DataFrame(results)
    for part in parts:
        chosen = frame[frame["part"] == part] if len(frame) else frame
        for seconds, group in chosen.groupby("seconds") if len(chosen) else ():
            figure = FIGURE[part]
            means = group.pivot_table(
                index="table", columns="method", values=figure, aggfunc="mean", sort=False
            )
            n_splits = group["split"].nunique()
            print(f"\n**{part}, {seconds:g} s: {figure}, mean of {n_splits} splits**\n")
            print("| " + " | ".join(["table", *means.columns]) + " |")
            print("|---" * (1 + means.shape[1]) + "|")
            for name, row in means.iterrows():
                print("| " + " | ".join([name, *(f"{value:.4f}" for value in row)]) + " |")
            if part == "anomaly" and means.shape[1] > 1:
                differences = means["gudlearn"] - means["GaussianMixture"]
                print(
                    f"\ngudlearn is better on {(differences < 0).sum()} of {len(differences)}, at "
                    f"worst by {differences.max():+.4f} bits a column"
                )


def arguments(argv=None):
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, help="folder with load.py")
    add("--only", nargs="+", choices=PARTS, default=list(PARTS)[:-1], help="parts to run")
    add("--tables", nargs="+", metavar="NAME", help="of those of the parts; all by default")
    add("--seconds", nargs="+", type=float, help="budgets; by default 120 (c2st) to 900 (tstr)")
    add("--splits", nargs="+", type=int, default=[0, 1], help="seeds of splits and fits")
    add("--rows", type=int, help="use this many rows of each table")
    add("--codes", action="store_true", help="categories as integer codes, no missing values")
    add("--importance", action="store_true", help="name the columns that tell fake rows")
    add("--out", type=Path, help="file of results to append to")
    add("--smoke", action="store_true", help="few rows, two seconds, one split, codes")
    options = parser.parse_args(argv)
    if options.smoke:
        vars(options).update(SMOKE)
    if options.data is None and set(options.only) != {"million"}:
        parser.error("pass --data DIR, a folder with load.py")
    return options


def main(argv=None):
    """Run the parts and print their tables."""
    options = arguments(argv)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        results, failures = run(options)
    report(results, options.only)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
