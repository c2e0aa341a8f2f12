"""Conditionals of the digits from one fit, next to the exact ones of a Gaussian mixture.

    python conditionals.py --seconds 120 --seeds 0

Discrete bits/dim of held-out digits: joint, lower half given the upper, upper half alone, and the
total of the halves by the chain rule. The gap between joint and chain rule measures how far the
network's conditionals are from consistent. With `--windows` the columns of the image are generated
one after another, a window of them at a time.

The mixture (full covariances, 1 to 40 components, chosen on a tenth of the training rows) is fitted
to digits that are dequantised uniformly. Its scores are the mean log-density of four draws, a lower
bound of its log-probability; its marginals and conditionals are exact.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
import torch
from _data import load, split
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from gudlearn import GUDGenerator, SequentialSchedule

UPPER = np.arange(32)
COLUMN = np.tile(np.arange(8), 8)


def of_gudlearn(X, X_test, options, seed):
    """Bits per scored entry of each part, and under sequential schedules."""
    gen = GUDGenerator(
        bin_width=1.0, conditional_rate=options.rate, max_time=options.seconds, random_state=seed
    ).fit(X)
    alone = X_test.copy()
    alone[:, 32:] = np.nan
    found = {
        "joint": gen.bits_per_dim(X_test),
        "lower | upper": gen.bits_per_dim(X_test, given_columns=UPPER),
        "upper": gen.bits_per_dim(alone),
    }
    if options.windows:
        for window in (8, 4, 2, 1):
            gen.schedule_ = SequentialSchedule(window=window, order=COLUMN)
            found[f"window {window}"] = gen.bits_per_dim(X_test)
    return found


def log_density(mixture, X, columns):
    """Log-density of some columns under a mixture of full Gaussians."""
    block = np.ix_(columns, columns)
    components = zip(mixture.weights_, mixture.means_, mixture.covariances_, strict=True)
    parts = [
        np.log(w) + multivariate_normal(m[columns], c[block]).logpdf(X[:, columns])
        for w, m, c in components
    ]
    return logsumexp(parts, axis=0)


def of_mixture(X, X_test, seed):
    """The same for the best Gaussian mixture."""
    rng = np.random.default_rng(seed)
    noisy = X + rng.uniform(-0.5, 0.5, X.shape)
    order = rng.permutation(len(X))
    held, train = order[: len(X) // 10], order[len(X) // 10 :]
    candidates = [
        GaussianMixture(k, reg_covar=reg, random_state=seed)
        for k in (1, 2, 5, 10, 20, 40)
        for reg in (0.05, 0.2, 1.0)
    ]
    best = max(candidates, key=lambda m: m.fit(noisy[train]).score(noisy[held]))
    best.fit(noisy)
    draws = [X_test + rng.uniform(-0.5, 0.5, X_test.shape) for _ in range(4)]
    joint = np.mean([log_density(best, d, np.arange(64)).mean() for d in draws])
    upper = np.mean([log_density(best, d, UPPER).mean() for d in draws])
    return {
        "joint": -joint / (64 * math.log(2)),
        "lower | upper": -(joint - upper) / (32 * math.log(2)),
        "upper": -upper / (32 * math.log(2)),
        "components": f"{best.n_components}, reg_covar {best.reg_covar:g}",
    }


def show(name, seed, found):
    """Print one line for a method."""
    chain = (found["lower | upper"] + found["upper"]) / 2
    found = {**found, "chain rule": chain, "gap": abs(chain - found["joint"])}
    values = (f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items())
    print(f"seed {seed} {name}: {', '.join(values)}", flush=True)


def main():
    """Measure every seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rate", type=float, default=0.3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--windows", action="store_true", help="sequential scores, too")
    parser.add_argument("--no-mixture", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for seed in options.seeds:
        X, X_test = split(load("digits"), seed)
        show("gudlearn", seed, of_gudlearn(X, X_test, options, seed))
        if not options.no_mixture:
            show("mixture", seed, of_mixture(X, X_test, seed))


if __name__ == "__main__":
    main()
