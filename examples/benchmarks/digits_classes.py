"""Accuracy of GUDClassifier on images of digits, and bits given the class and without it.

    python digits_classes.py --seconds 120 --seeds 0

Each seed has its own split of the digits, with 80 % for training. The class-conditional model and
the unconditional one have the same network and the same training time.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gudlearn import GUDClassifier, GUDGenerator, UNet


def measure(options, seed):
    """Fit both models on one split and print one line for it."""
    digits = load_digits()
    X, X_test, y, y_test = train_test_split(
        digits.images, digits.target, test_size=0.2, random_state=seed, stratify=digits.target
    )
    model = GUDGenerator(
        bin_width=1.0, network=UNet(width=options.width), max_time=options.seconds,
        random_state=seed,
    )  # fmt: skip
    classifier = GUDClassifier(clone(model)).fit(X, y)
    start = time.perf_counter()
    accuracy = classifier.score(X_test, y_test)
    seconds = time.perf_counter() - start
    given = classifier.generator_.score_samples(X_test, y_test)
    plain = model.fit(X).score_samples(X_test)
    given, plain = (-s / (64 * np.log(2)) for s in (given, plain))
    gain = plain - given
    print(
        f"seed {seed}: accuracy {accuracy:.4f} of {len(X_test)} ({seconds:.0f} s); bits/dim "
        f"{given.mean():.4f} given the class, {plain.mean():.4f} without, difference "
        f"{gain.mean():.4f} ± {gain.std(ddof=1) / np.sqrt(len(gain)):.4f}",
        flush=True,
    )


def main():
    """Measure every seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120, help="of training, for each model")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--width", type=int, default=48)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for seed in options.seeds:
        measure(options, seed)


if __name__ == "__main__":
    main()
