"""A field that is continued by ten times its training width, and its distribution.

    python extension.py --seconds 300

Columns of the field are an autoregressive process, x_c = rho x_(c-1) + noise, with noise that is
smooth along the height. The model is trained on crops of one width and continues strips by ten
widths. Printed are the variance and the autocorrelation of the last six widths, and those of fields
of the same size from the true distribution.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from gudlearn import GUDGenerator, UNet

HEIGHT, RHO = 8, 0.9
LAGS = (1, 2, 4, 8)


def field(n_rows, n_columns, rng):
    """Strips (n_rows, HEIGHT, n_columns) of a stationary field of variance 1."""
    distance = np.subtract.outer(np.arange(HEIGHT), np.arange(HEIGHT))
    covariance = np.exp(-0.5 * (distance / 1.5) ** 2) + 0.05 * np.eye(HEIGHT)
    root = np.linalg.cholesky(covariance / covariance[0, 0])
    noise = np.einsum("ij,njc->nic", root, rng.normal(size=(n_rows, HEIGHT, n_columns)))
    out = noise.copy()
    for c in range(1, n_columns):
        out[:, :, c] = RHO * out[:, :, c - 1] + np.sqrt(1 - RHO**2) * noise[:, :, c]
    return out


def statistics(strips):
    """Variance, autocorrelations along the width, and correlation of neighbours in a column."""
    variance = strips.var()
    along = [(strips[:, :, :-k] * strips[:, :, k:]).mean() / variance for k in LAGS]
    return variance, along, (strips[:, :-1] * strips[:, 1:]).mean() / variance


def show(name, found):
    """Print one line."""
    variance, along, across = found
    lags = ", ".join(f"lag {k} {r:.3f}" for k, r in zip(LAGS, along, strict=True))
    print(f"{name:>10}: variance {variance:.3f}, {lags}, across {across:.3f}", flush=True)


def main():
    """Fit, continue, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--width", type=int, default=12)
    parser.add_argument("--context", type=int, default=4)
    parser.add_argument("--active", type=int, default=4)
    parser.add_argument("--rows", type=int, default=128, help="strips that are continued")
    parser.add_argument("--rate", type=float, default=0.6)
    parser.add_argument("--network", choices=("mlp", "unet"), default="mlp")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(options.seed)
    long = field(60, 600, rng)
    windows = np.lib.stride_tricks.sliding_window_view(long, options.width, axis=2)
    crops = np.moveaxis(windows, 2, 1).reshape(-1, HEIGHT, options.width)
    crops = crops[rng.permutation(len(crops))[:20_000]]
    gen = GUDGenerator(
        conditional_rate=options.rate, max_time=options.seconds, random_state=options.seed,
        network=UNet(width=32) if options.network == "unet" else "mlp",
    ).fit(crops)  # fmt: skip
    start = time.perf_counter()
    longer = gen.extend(
        field(options.rows, options.width, rng), 10 * options.width,
        context=options.context, active=options.active,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    half = 6 * options.width
    show("truth", statistics(field(2000, half, rng)))
    show("one draw", statistics(field(options.rows, half, rng)))
    show("continued", statistics(longer[:, :, -half:]))
    print(f"{options.rows} strips by {10 * options.width} columns in {seconds:.0f} s")


if __name__ == "__main__":
    main()
