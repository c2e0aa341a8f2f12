"""Few steps against many: 20 steps of DPM-Solver++ 2M and 500 ancestral steps, one fitted model.

    python samplers.py                                # a mixture of Gaussians in five dimensions
    python samplers.py --set letter --data DIR        # 16 whole-number columns

Both samples are compared with the same test rows: by a classifier (C2ST: cross-validated accuracy
of gradient-boosted trees; 0.5 is perfect) and by the sliced Wasserstein distance. A copy of the
ancestral sample with a planted error (the columns of 10 % of its rows are permuted) shows which
differences the comparison can detect. 300 steps of DPM-Solver++ separate the effect of the number
of steps from that of the process.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from pathlib import Path

import numpy as np
import torch
from _data import group_split, load
from sklearn.datasets import make_spd_matrix
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits

from gudlearn import GUDGenerator
from gudlearn.samplers import Ancestral, DPMSolver

PLANTED = 0.1


def toy(n, seed):
    """Rows of a mixture of five correlated Gaussians in five dimensions."""
    means = np.random.default_rng(0).normal(scale=3, size=(5, 5))
    roots = [np.linalg.cholesky(make_spd_matrix(5, random_state=k)) for k in range(5)]
    rng = np.random.default_rng(seed)
    component = rng.integers(5, size=n)
    noise = rng.normal(size=(n, 5))
    return means[component] + np.einsum("nij,nj->ni", np.array(roots)[component], noise)


def rows(options):
    """Training rows, held-out rows and the bin width."""
    if options.set == "toy":
        return toy(10_000, 1), toy(options.samples, 2), None
    X = load("letter", options.data).X
    train, held = group_split(X, 0.3, options.seed)
    return X[train], X[held][: options.samples], 1.0


def plant_error(X, rng):
    """Permute each column within a tenth of the rows: marginals remain, dependence is lost."""
    planted = X.copy()
    wrong = rng.permutation(len(X))[: int(PLANTED * len(X))]
    for j in range(X.shape[1]):
        planted[wrong, j] = X[rng.permutation(wrong), j]
    return planted


def c2st(held, sample, seed):
    """Whether a cross-validated classifier is right about each held-out and each sampled row."""
    X, y = np.concatenate([held, sample]), np.repeat([0, 1], [len(held), len(sample)])
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    guess = cross_val_predict(HistGradientBoostingClassifier(random_state=seed), X, y, cv=folds)
    return guess[: len(held)] == 0, guess[len(held) :] == 1


def c2st_error(right):
    """Accuracy and its standard error."""
    parts = [part.var() / len(part) for part in right]
    return np.mean([part.mean() for part in right]), 0.5 * np.sqrt(sum(parts))


def c2st_difference(right, other):
    """Difference of two accuracies against the same held-out rows, and its standard error."""
    held = right[0].astype(float) - other[0]
    parts = [held.var() / len(held), *(r[1].var() / len(r[1]) for r in (right, other))]
    return c2st_error(right)[0] - c2st_error(other)[0], 0.5 * np.sqrt(sum(parts))


def project(X, scale, directions):
    """Projections of the scaled rows, sorted in each direction."""
    return np.sort((X / scale) @ directions, axis=0)


def sliced_wasserstein(held, samples, seed, n_directions=100, n_bootstrap=30):
    """Distances of several samples to the held-out rows, first row, and their bootstrap draws."""
    rng = np.random.default_rng(seed)
    scale = held.std(axis=0)
    directions = rng.normal(size=(held.shape[1], n_directions))
    directions /= np.linalg.norm(directions, axis=0)
    n = len(held)
    distances = []
    for draw in range(n_bootstrap + 1):
        picks = rng.integers(n, size=(len(samples) + 1, n)) if draw else [np.arange(n)] * 9
        reference = project(held[picks[-1]], scale, directions)
        projected = [project(S[i], scale, directions) for S, i in zip(samples, picks, strict=False)]
        distances.append([np.abs(p - reference).mean() for p in projected])
    return np.array(distances)


def sample_with(generator, solver, n, seed):
    """Sample from a fitted model with another solver."""
    return copy.copy(generator).set_params(sampler=solver).sample(n, random_state=seed)


def draw_samples(generator, n, seed):
    """Sample with each solver; return the samples by name, and print the seconds."""
    solvers = {
        "DPM-Solver++ 2M, 20 steps": DPMSolver(steps=20),
        "ancestral, 500 steps": Ancestral(steps=500),
        "DPM-Solver++ 2M, 300 steps": DPMSolver(steps=300),
    }
    samples = {}
    for name, solver in solvers.items():
        start = time.perf_counter()
        samples[name] = sample_with(generator, solver, n, seed)
        print(f"{name}: {n} rows in {time.perf_counter() - start:.1f} s", flush=True)
    return samples


def verdict(difference, error):
    """Say whether a difference is within two standard errors."""
    return "within two" if difference <= 2 * error else "beyond two"


def compare(held, samples, reference, seed):
    """Print how each sample compares with the held-out rows and with the reference sample."""
    names = list(samples)
    right = {name: c2st(held, samples[name], seed) for name in names}
    distances = sliced_wasserstein(held, list(samples.values()), seed)
    errors = distances[1:].std(axis=0, ddof=1)
    k = names.index(reference)
    within = {}
    print("\n| sample | C2ST | minus ancestral | | sliced Wasserstein | minus ancestral | |")
    print("|---|---|---|---|---|---|---|")
    for i, name in enumerate(names):
        accuracy, error = c2st_error(right[name])
        cells = [f"{accuracy:.4f} ± {error:.4f}", "", ""]
        cells += [f"{distances[0, i]:.4f} ± {errors[i]:.4f}", "", ""]
        if i != k:
            d, e = c2st_difference(right[name], right[reference])
            cells[1:3] = f"{d:+.4f} ± {e:.4f}", verdict(d, e)
            differences = distances[:, i] - distances[:, k]
            sd, se = differences[0], differences[1:].std(ddof=1)
            cells[4:6] = f"{sd:+.4f} ± {se:.4f}", verdict(sd, se)
            within[name] = d <= 2 * e and sd <= 2 * se
        print(f"| {name} | " + " | ".join(cells) + " |")
    return within


def arguments():
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=("toy", "letter"), default="toy")
    parser.add_argument("--data", type=Path, help="folder with tabular/letter.csv.gz")
    parser.add_argument("--seconds", type=float, default=60, help="budget of the fit")
    parser.add_argument("--samples", type=int, default=5000, help="rows a side")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main():
    """Fit, sample with both solvers, compare; exit status 1 if a target is missed."""
    options = arguments()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        train, held, bin_width = rows(options)
        generator = GUDGenerator(
            bin_width=bin_width, max_time=options.seconds, random_state=options.seed
        ).fit(train)
        print(f"{options.set}: {len(train)} training rows, {generator.score(held):.4f} test nats")
        samples = draw_samples(generator, len(held), options.seed)
        few, many, fine = samples
        apart = np.abs(samples[few] - samples[fine]) / samples[fine].std(axis=0)
        print(
            f"{few} against {fine}, from the same noise: {np.mean(apart < 0.01):.1%} of entries "
            f"agree to 0.01 standard deviations; mean difference {apart.mean():.4f}"
        )
        rng = np.random.default_rng(options.seed)
        samples["ancestral, 10 % planted"] = plant_error(samples[many], rng)
        samples["training rows"] = rng.permutation(train)[: len(held)]
        within = compare(held, samples, many, options.seed)
    caught = not within["ancestral, 10 % planted"]
    print(f"\n{few}: {'within' if within[few] else 'beyond'} two standard errors of {many}.")
    print(f"The planted error is {'caught' if caught else 'MISSED: the comparison is blind'}.")
    return 0 if within[few] and caught else 1


if __name__ == "__main__":
    sys.exit(main())
