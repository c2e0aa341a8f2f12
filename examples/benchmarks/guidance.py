"""Conditional draws by a conditionally trained network, by guidance and by replacement.

    python guidance.py --data DIR --seconds 60 --seeds 0

The first half of the columns of test rows is observed and the second is drawn; of the digits (also
as numbers without bins) the left half of the pixels is observed, in principal components. Printed
are the CRPS by column, in standard deviations of the training rows, the greatest distance of a
drawn value from the mean, and the seconds of sampling: for a network that was trained on partially
observed rows ("exact", where observed columns are whole components), and for one that was not.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from _data import load, split
from sklearn.datasets import load_digits

from gudlearn import GUDGenerator

ROWS, DRAWS = 100, 16
SETS = ("digits", "digits without bins", "magic", "california", "letter")


def halves(name, directory, seed):
    """Training rows, test rows, a mask of observed entries, and parameters of the generator."""
    if not name.startswith("digits"):
        dataset = load(name, directory)
        train, test = split(dataset, seed)
        observed = np.arange(train.shape[1]) < train.shape[1] // 2
        return train, test[:ROWS], observed, {"bin_width": dataset.bin_width}
    images = load_digits().images[np.random.default_rng(seed).permutation(1797)]
    width = 1.0 if name == "digits" else None
    observed = np.arange(8) < np.full((8, 1), 4)
    return images[ROWS:], images[:ROWS], observed, {"bin_width": width, "basis": "pca"}


def crps(draws, truth):
    """CRPS by column, from draws (m, n, F) of rows (n, F); unbiased."""
    m = len(draws)
    rank = (2 * np.arange(1, m + 1) - m - 1)[:, None, None]
    half_distance = (rank * np.sort(draws, axis=0)).sum(0) / (m * (m - 1))
    return (np.abs(draws - truth).mean(0) - half_distance).mean(0)


def measure(gen, conditioning, train, test, observed, seed):
    """The results of one way of conditioning, as text."""
    gen.conditioning = conditioning
    partial = np.where(observed, test, np.nan)
    start = time.perf_counter()
    draws = np.asarray(gen.sample(DRAWS, given=partial, random_state=seed), dtype=float)
    seconds = time.perf_counter() - start
    std = train.std(0)[~observed]
    # Columns that are constant in training have no scale.
    varies = std > 0
    drawn = draws[:, :, ~observed][:, :, varies]
    error = (crps(drawn, test[:, ~observed][:, varies]) / std[varies]).mean()
    far = np.abs((drawn - train.mean(0)[~observed][varies]) / std[varies]).max()
    return f"CRPS {error:.4f}, farthest {far:.1f}, {seconds:.0f} s"


def main():
    """Fit, draw and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.sets:
        for seed in options.seeds:
            train, test, observed, parameters = halves(name, options.data, seed)

            def fit(rate, train=train, parameters=parameters, seed=seed):
                return GUDGenerator(
                    conditional_rate=rate, max_time=options.seconds, random_state=seed, **parameters
                ).fit(train)

            models = [(fit(0.0), ("posterior", "repaint"))]
            if "basis" not in parameters:
                models.insert(0, (fit(0.3), ("exact",)))
            for gen, ways in models:
                for way in ways:
                    found = measure(gen, way, train, test, observed, seed)
                    print(f"{name} seed {seed} {way}: {found}", flush=True)


if __name__ == "__main__":
    main()
