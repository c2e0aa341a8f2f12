"""Small tables by the protocol of ForestDiffusion, gudlearn beside its rivals.

    python small_tables.py --data DIR --seconds 60 --out small.jsonl
    python small_tables.py --print --out small.jsonl

Jolicoeur-Martineau, Fatras, Kachman (2024), https://arxiv.org/abs/2309.09968: 80 % of the rows
train (seeds 0, 1, 2, by class), every method draws five samples of as many rows, and of each are
measured

- w1_train, w1_test: Wasserstein-1 distance to training and to test rows; numbers are scaled to
  [0, 1] by the training rows, categories count 1 where they differ, columns are summed;
- coverage_train, coverage_test: fraction of real rows with a fake row within the distance of their
  k-th neighbour, k the smallest (and one) by which real rows cover 95 % of themselves;
- utility: macro F1 or R2 on test rows of models that were trained on fake rows, mean of a linear
  model, AdaBoost, a random forest and boosted trees. These are scikit-learn's, where the paper has
  XGBoost, and one seed is used where it has five.

The 15 tables are those of the paper's 27 that are bundled with scikit-learn or come with `DIR`,
prepared as there: vowel without speakers and with its classes as numbers, ionosphere without its
constant column, the red wines. The training rows themselves stand beside as an oracle, and the
published figures of ForestDiffusion. Methods and environments are those of `rivals.py`, where
`--cpu`, `--environments` and `--retry` are explained, too. Needs the package POT.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _mixed import loader
from _published import FOREST_FIGURES, FOREST_FLOW, FOREST_SOURCE
from _results import append, read
from _rivals import RIVALS, Environments, RivalFailed, default_environments, run
from _where import machine
from rivals import print_table
from scipy.spatial.distance import cdist
from sklearn import ensemble, linear_model
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import f1_score, r2_score
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

BUNDLED = {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer}
# Where a table lies under another name, and columns that the paper leaves out.
FILES = {"wine_quality_red": "wine_quality"}
LEFT_OUT = {"vowel": ["x0", "x1", "x2"], "ionosphere": ["x1"], "wine_quality_red": ["colour"]}
# The paper takes the classes of vowel as numbers when it measures distances.
CLASSES_AS_NUMBERS = ("vowel",)
ORACLE = "training rows"
N_DRAWS = 5
METHODS = (
    "marginals", "copula", "gaussian mixtures", "shallow mixture", "TabularARGN", "CTGAN", "TVAE",
    "ForestDiffusion", "NRGBoost", "gudlearn",
)  # fmt: skip
FIGURES = FOREST_FIGURES[:-1]
# Larger is better.
GAINS = ("coverage_train", "coverage_test", "utility")
KEY = ("table", "seed", "seconds", "clock", "method")


def read_small(name, directory):
    """A frame, its columns of categories (text), and the target."""
    if name in BUNDLED:
        X, y = BUNDLED[name](return_X_y=True)
        frame = pd.DataFrame(X).add_prefix("x").assign(target=y.astype(str))
        return frame, ["target"], "target"
    frame, schema = loader(directory).table(FILES.get(name, name))
    if name == "wine_quality_red":
        frame = frame[frame["colour"] == "red"]
    frame = frame.drop(columns=LEFT_OUT.get(name, [])).reset_index(drop=True)
    categories = [c for c in schema["categorical"] if c in frame]
    return frame.astype(dict.fromkeys(categories, str)), categories, schema["target"]


class Codes:
    """Numbers in [0, 1] by the training rows; categories one-hot, half for each of two levels."""

    def __init__(self, train, others, categories):
        self.numbers = [c for c in train if c not in categories]
        seen = pd.concat([train, *others])
        self.levels = {c: np.unique(seen[c]) for c in train if c in categories}
        self.low = train[self.numbers].min()
        reach = train[self.numbers].max() - self.low
        self.reach = reach.where(reach > 0, 1.0)

    def __call__(self, frame, half=0.5):
        """Rows of numbers (n, D); by the cityblock distance different levels are 2 `half` apart."""
        parts = [((frame[self.numbers] - self.low) / self.reach).to_numpy(float)]
        parts += [
            half * (frame[c].to_numpy()[:, None] == v).astype(float) for c, v in self.levels.items()
        ]
        return np.hstack(parts)


def transport(A, B):
    """Wasserstein-1 distance of two samples; the cost sums absolute differences over columns."""
    import ot

    return ot.emd2([], [], cdist(A, B, "cityblock"), numItermax=10**6)


def coverage(real, fake):
    """Fraction of real rows that have a fake row in the ball of their neighbours."""
    among, beside = np.sort(cdist(real, real, "cityblock"), axis=1), cdist(real, fake, "cityblock")
    k = 1
    # A row is its own closest neighbour, unless another is equal.
    while k < len(real) - 2 and (among[:, 0] < among[:, k]).mean() < 0.95:
        k += 1
    return float((beside.min(axis=1) < among[:, k + 1]).mean())


def utility(X, y, X_test, y_test, seed):
    """Macro F1 of four classifiers, or R2 of four regressions; 0 if a class is missing."""
    if y.dtype == float:
        models = (
            linear_model.LinearRegression(),
            ensemble.AdaBoostRegressor(random_state=seed),
            ensemble.RandomForestRegressor(max_depth=28, random_state=seed),
            ensemble.HistGradientBoostingRegressor(random_state=seed),
        )
        return np.mean([r2_score(y_test, model.fit(X, y).predict(X_test)) for model in models])
    if not np.isin(np.unique(y_test), np.unique(y)).all():
        return 0.0
    models = (
        linear_model.LogisticRegression(C=np.inf, max_iter=500),
        ensemble.AdaBoostClassifier(random_state=seed),
        ensemble.RandomForestClassifier(max_depth=28, random_state=seed),
        ensemble.HistGradientBoostingClassifier(random_state=seed),
    )
    scores = []
    for model in models:
        found = model.fit(X, y).predict(X_test)
        scores.append(f1_score(y_test, found, average="macro"))
    return np.mean(scores)


def judge_small(train, test, fakes, categories, target, seed, *, as_numbers=False):
    """Figures of the protocol, means over the samples."""
    distant = [c for c in categories if not (as_numbers and c == target)]
    frames = [train, test, *fakes]
    if as_numbers:
        frames = [frame.astype({target: float}) for frame in frames]
    codes = Codes(frames[0], frames[1:], distant)
    real, held_out, *drawn = map(codes, frames)
    inputs = Codes(
        train.drop(columns=target), [f.drop(columns=target) for f in (test, *fakes)],
        [c for c in categories if c != target],
    )  # fmt: skip
    kind = str if target in categories else float
    labels = [frame[target].astype(kind).to_numpy() for frame in (test, *fakes)]
    found = []
    for fake, frame, label in zip(drawn, fakes, labels[1:], strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            score = utility(inputs(frame, 1.0), label, inputs(test, 1.0), labels[0], seed)
        found.append([
            transport(real, fake), transport(held_out, fake),
            coverage(real, fake), coverage(held_out, fake), score,
        ])  # fmt: skip
    return dict(zip(FIGURES, np.mean(found, axis=0).tolist(), strict=True))


def samples_of(options, environments, method, train, test, categories, target, seed, seconds):
    """Samples of a method, and what they cost; of the oracle one copy of the training rows."""
    if method == ORACLE:
        return [train], {}
    fake, cost = run(
        RIVALS[method], train, test, categories, target, environments=environments,
        n_draws=N_DRAWS, seconds=seconds, processor=options.cpu, seed=seed,
    )  # fmt: skip
    n_whole = len(fake) // len(train)
    if n_whole == 0:
        raise RivalFailed(f"has {len(fake)} of {len(train)} rows after {seconds:g} s of sampling")
    n = len(train)
    return [fake[k * n : (k + 1) * n].reset_index(drop=True) for k in range(n_whole)], cost


def run_all(options):
    """Measure what the file does not have; return all results."""
    results = read(options.out)
    done = {
        tuple(line[k] for k in KEY)
        for line in results if not (options.retry and "failed" in line)
    }  # fmt: skip
    environments = Environments(options.environments)
    jobs = [(ORACLE, 0.0, ""), *((m, options.seconds, options.clock) for m in options.methods)]
    for name in options.tables:
        frame, categories, target = read_small(name, options.data)
        for seed in options.seeds:
            by_class = frame[target] if target in categories else None
            train, test = (
                part.reset_index(drop=True)
                for part in train_test_split(
                    frame, test_size=0.2, random_state=seed, stratify=by_class
                )
            )
            for method, seconds, clock in jobs:
                line = dict(zip(KEY, (name, seed, seconds, clock, method), strict=True))
                if tuple(line.values()) in done:
                    continue
                try:
                    fakes, cost = samples_of(
                        options, environments, method, train, test, categories, target, seed,
                        seconds,
                    )  # fmt: skip
                    found = judge_small(
                        train, test, fakes, categories, target, seed,
                        as_numbers=name in CLASSES_AS_NUMBERS,
                    )  # fmt: skip
                    line |= {**found, **cost, "draws": len(fakes)}
                except RivalFailed as failure:
                    line["failed"] = str(failure)
                line["machine"] = machine()
                append(options.out, line)
                results.append(line)
                shown = line.get("failed") or ", ".join(f"{k} {line[k]:.4f}" for k in FIGURES)
                print(f"{name}, seed {seed}, {method}: {shown}", flush=True)
    return results


def report(results):
    """Print figures of each table, then medians and mean ranks over those that all methods have."""
    frame = pd.DataFrame({tuple(line[k] for k in KEY): line for line in results}.values())
    for name in ("failed", *FIGURES):
        frame[name] = frame[name] if name in frame else np.nan
    for (seconds, clock), group in frame[frame["seconds"] > 0].groupby(["seconds", "clock"]):
        group = pd.concat([frame[frame["method"] == ORACLE], group])
        for method, lines in group[group["failed"].notna()].groupby("method"):
            print(f"{method}, {', '.join(sorted(set(lines['table'])))}: {lines['failed'].iloc[0]}")
        means = group.groupby(["table", "method"], sort=False)[list(FIGURES)].mean().dropna()
        published = pd.DataFrame(FOREST_FLOW, index=FOREST_FIGURES).T
        for name, lines in means.groupby("table", sort=False):
            print(f"\n**{name}, {seconds:g} s ({clock})**\n")
            rows = [[m, *(f"{v:.3f}" for v in v)] for m, v in lines.droplevel(0).iterrows()]
            if name in published.index:
                quoted = published.loc[name, list(FIGURES)]
                rows.append(["ForestDiffusion, as published", *(f"{v:.3f}" for v in quoted)])
            print_table([["method", *FIGURES], *rows])
        summarise(means, f"{seconds:g} s ({clock})")
    print(f"\nPublished figures: {FOREST_SOURCE}.")


def summarise(means, label):
    """Print the median of each figure over the tables, and the mean of the ranks."""
    wide = means.unstack("method").dropna(axis=0)
    signs = pd.Series({name: -1.0 if name in GAINS else 1.0 for name in FIGURES})
    methods = [m for m in means.index.unique("method") if m != ORACLE]
    if wide.empty or not methods:
        return
    ranks = sum(
        (wide[name][methods] * signs[name]).rank(axis=1) for name in FIGURES
    ).mean() / len(FIGURES)  # fmt: skip
    print(f"\n**median of {len(wide)} tables, {label}: {', '.join(wide.index)}**\n")
    rows = [
        [m, *(f"{wide[name][m].median():.3f}" for name in FIGURES),
         f"{ranks[m]:.2f}" if m in ranks else ""]
        for m in [ORACLE, *methods] if m in means.index.unique("method")
    ]  # fmt: skip
    print_table([["method", *FIGURES, "mean rank"], *rows])


def arguments(argv=None):
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, help="folder with load.py, for all but the bundled tables")
    add("--tables", nargs="+", choices=FOREST_FLOW, default=list(FOREST_FLOW), metavar="NAME")
    add("--methods", nargs="+", choices=RIVALS, default=list(METHODS), metavar="NAME")
    add("--seconds", type=float, default=60.0, help="budget of training")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of splits and fits")
    add("--cpu", action="store_true", help="count seconds of the processor")
    add("--environments", type=Path, default=default_environments(),
        help="folder for the environments of the rivals")  # fmt: skip
    add("--retry", action="store_true", help="try again what has failed")
    add("--out", type=Path, help="file of results to append to")
    add("--print", action="store_true", help="print the tables of the file only")
    options = parser.parse_args(argv)
    options.clock = "cpu" if options.cpu else "wall"
    needs = [name for name in options.tables if name not in BUNDLED]
    if options.data is None and needs and not options.print:
        parser.error(f"pass --data DIR, a folder with load.py, for {', '.join(needs)}")
    return options


def main(argv=None):
    """Measure and report."""
    options = arguments(argv)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        results = read(options.out) if options.print else run_all(options)
    report(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
