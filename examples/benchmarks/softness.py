"""From column by column to all at once: one fit, scored and sampled for every window.

    python softness.py --seconds 120
    python softness.py --set ecg --data DIR --seconds 120

A field of 8 x 12 values whose columns are an autoregressive process, or heart beats of 32 time
steps (`DIR/load.py`: `load.npz("ecg_mitdb100_beats")["x"]`, (n, 2, 128); the first lead, every
fourth step). Columns are generated in order, `window` of them active at a time. Printed are the
bits/dim of held-out rows (densities of standardised values), and the variance and the correlations
of neighbours of at least 1000 samples, next to those of the held-out rows. The chain rule scores
each column given all columns before it, with the same network, so a window of 1 has to agree.
"""

from __future__ import annotations

import argparse
import math
import sys

import numpy as np
import torch
from extension import field

from gudlearn import GUDGenerator, SequentialSchedule

LAGS = (1, 2, 4, 8)


def rows_of(options):
    """Training rows, held-out rows, and the column of each entry."""
    rng = np.random.default_rng(options.seed)
    if options.set == "field":
        X = field(6000, 12, rng).reshape(6000, -1)
        order = np.tile(np.arange(12), 8)
    else:
        sys.path.insert(0, options.data)
        import load

        X = rng.permutation(load.npz("ecg_mitdb100_beats")["x"][:, 0, ::4]).astype(np.float64)
        order = np.arange(X.shape[1])
    n_test = min(options.rows, len(X) // 5)
    train = X[n_test:]
    mean, std = train.mean(0), train.std(0)
    X = (X - mean) / std
    return X[n_test:], X[:n_test], order


def statistics(X, order):
    """Variance, and mean correlations of columns at each lag."""
    columns = np.stack([X[:, order == c] for c in range(order.max() + 1)], 1)
    found = [X.var()]
    for lag in LAGS:
        a, b = columns[:, :-lag], columns[:, lag:]
        a, b = a - a.mean(0), b - b.mean(0)
        found.append(np.mean((a * b).mean(0) / np.sqrt((a**2).mean(0) * (b**2).mean(0))))
    return found


def chain_rule(gen, X, order):
    """Bits/dim of columns one after another, each given all columns before it."""
    total = 0.0
    for c in range(order.max() + 1):
        rows = np.where(order <= c, X, np.nan)
        given = np.flatnonzero(order < c)
        total += gen.score_samples(rows, given_columns=given if len(given) else None).mean()
    return -total / (X.shape[1] * math.log(2))


def as_text(found):
    """Statistics as text."""
    lags = ", ".join(f"{k}: {r:.3f}" for k, r in zip(LAGS, found[1:], strict=True))
    return f"variance {found[0]:.3f}, correlation at lags {lags}"


def main():
    """Fit once, then score and sample for every window."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=("field", "ecg"), default="field")
    parser.add_argument("--data", metavar="DIR", help="folder with load.py")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--rate", type=float, default=0.5)
    parser.add_argument("--rows", type=int, default=200, help="held-out rows that are scored")
    parser.add_argument("--steps", type=int, default=12, help="sampler steps for each column")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    X, X_test, order = rows_of(options)
    gen = GUDGenerator(
        conditional_rate=options.rate, max_time=options.seconds, random_state=options.seed
    ).fit(X)
    n_columns = int(order.max()) + 1
    print(f"held out: {as_text(statistics(X_test, order))}", flush=True)
    print(f"chain rule: {chain_rule(gen, X_test, order):.4f} bits/dim", flush=True)
    windows = [2**k for k in range(int(math.log2(n_columns)) + 1)]
    for window in dict.fromkeys((*windows, n_columns)):
        gen.schedule_ = SequentialSchedule(window=window, order=order)
        gen.set_params(sampler="dpm-solver", sampler__steps=options.steps * n_columns)
        drawn = gen.sample(max(1000, len(X_test)), random_state=options.seed)
        print(
            f"window {window}: {gen.bits_per_dim(X_test):.4f} bits/dim; "
            f"{as_text(statistics(drawn, order))}",
            flush=True,
        )


if __name__ == "__main__":
    main()
