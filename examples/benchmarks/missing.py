"""What missing values in training cost: 30 % of the entries, completely at random.

    python missing.py --data DIR --sets digits letter --seconds 120 --seeds 0 1

Bits/dim of complete test rows, for a model that was trained on complete rows and for one that was
trained on the same rows with missing entries, for the same time.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from _data import load, split

from gudlearn import GUDGenerator


def main():
    """Fit both and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR")
    parser.add_argument("--sets", nargs="+", default=["digits", "letter"])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--share", type=float, default=0.3, help="fraction of hidden entries")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.sets:
        dataset = load(name, options.data)
        for seed in options.seeds:
            X, X_test = split(dataset, seed)
            hidden = np.random.default_rng(seed).random(X.shape) < options.share
            bits = []
            for rows in (X, np.where(hidden, np.nan, X)):
                gen = GUDGenerator(
                    bin_width=dataset.bin_width, max_time=options.seconds, random_state=seed
                ).fit(rows)
                bits.append(gen.bits_per_dim(X_test))
            print(
                f"{name} seed {seed}: complete {bits[0]:.4f}, hidden {bits[1]:.4f}, "
                f"difference {bits[1] - bits[0]:+.4f} bits/dim",
                flush=True,
            )


if __name__ == "__main__":
    main()
