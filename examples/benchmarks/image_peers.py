"""Test bits/dim of other libraries' models on images.

    python image_peers.py --data DIR --peer azula --minutes 30 --weights 1000000 --out FILE
    python image_peers.py --data DIR --peer nsf --set mnist --minutes 5 --out FILE

`DIR` is a folder with a `load.py` whose `cifar10("train")` and `cifar10("test")` return images,
uint8 (n, 32, 32, 3), and labels. The peers are

- `azula`: the U-Net, preconditioning, schedule and training of its CIFAR-10 tutorial;
- `ddpm`: those of the README of denoising-diffusion-pytorch (`Unet`, `GaussianDiffusion`);
- `nsf` and `marginals`: zuko's neural spline flow and independent histograms on flat images, as
  `density.py` fits them to tables; `load.npz("mnist")` and `load.npz("fashion_mnist")` return a
  dict with `x_train` and `x_test`.

The first two are trained on all but the last 2,000 training images, for a wall-clock time that does
not include building the model and choosing the faster of float32 and bfloat16. The width is the one
with the number of weights nearest to `--weights`. The score is the bound of
`_image_peers.denoiser_bits` on the first test images; the noise tau at which the diffusion ends is
the best one for the first of the 2,000 held-back images. One JSON line is appended to the file.

`--batch` and `--lr` replace a library's own batch size and learning rate.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from _image_peers import PEERS, denoiser_bits
from _peers import PEERS as TABLE_PEERS

N_HELD = 2000
FLAT = ("nsf", "marginals")


def load(folder, name):
    """Images for training, held back, and for testing."""
    sys.path.insert(0, str(folder))
    import load

    if name == "cifar10":
        train, test = load.cifar10("train")[0], load.cifar10("test")[0]
    else:
        data = load.npz(name)
        train, test = data["x_train"][..., None], data["x_test"][..., None]
    return train[:-N_HELD], train[-N_HELD:], test


def best_tau(denoise, images, seed):
    """Return the tau with the fewest bits on some images, and the bits for every tau."""
    bits = {tau: float(b.mean()) for tau, b in denoiser_bits(denoise, images, seed=seed).items()}
    return min(bits, key=bits.get), bits


def measure(options):
    """Train a peer and score it; return the result line."""
    train, held, test = load(options.data, options.set)
    if options.peer in FLAT:
        return measure_flat(options, train, test[: options.n_test])
    changes = {"batch_size": options.batch, "lr": options.lr}
    changes = {name: value for name, value in changes.items() if value is not None}
    denoise, info = PEERS[options.peer](
        train,
        60 * options.minutes,
        options.weights,
        options.seed,
        threads=options.threads,
        probe_seconds=options.probe_seconds,
        **changes,
    )
    start = time.perf_counter()
    tau, validation = best_tau(denoise, held[: options.n_validation], options.seed)
    test = test[: options.n_test]
    bits = denoiser_bits(denoise, test, tau=(tau,), seed=options.seed, n_times=options.times)[tau]
    return {
        "peer": options.peer,
        "minutes": options.minutes,
        "bits_per_dim": float(bits.mean()),
        "standard_error": float(bits.std(ddof=1) / np.sqrt(len(bits))),
        "tau": tau,
        "n_test": len(test),
        "seed": options.seed,
        "threads": options.threads,
        "score_seconds": round(time.perf_counter() - start, 1),
        "validation": {str(t): round(b, 4) for t, b in validation.items()},
        **info,
    }


def measure_flat(options, train, test):
    """Fit a peer for tables to flat images and score it; return the result line."""
    train, test = (X.reshape(len(X), -1).astype(np.float64) for X in (train, test))
    width = np.ones(train.shape[1])
    start = time.perf_counter()
    score, info = TABLE_PEERS[options.peer](train, width, 60 * options.minutes, options.seed)
    fitted = time.perf_counter()
    bits = -np.asarray(score(test)) / (test.shape[1] * np.log(2))
    return {
        "peer": options.peer,
        "set": options.set,
        "minutes": options.minutes,
        "bits_per_dim": float(bits.mean()),
        "standard_error": float(bits.std(ddof=1) / np.sqrt(len(bits))),
        "n_test": len(test),
        "seed": options.seed,
        "threads": options.threads,
        "fit_seconds": round(fitted - start, 1),
        "score_seconds": round(time.perf_counter() - fitted, 1),
        **info,
    }


def arguments():
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with load.py")
    parser.add_argument("--peer", choices=(*PEERS, *FLAT), required=True)
    sets = ("cifar10", "mnist", "fashion_mnist")
    parser.add_argument("--set", choices=sets, default="cifar10")
    parser.add_argument("--minutes", type=float, required=True, help="of training")
    parser.add_argument("--weights", type=int, default=1_000_000, help="number to approximate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="file to append to")
    parser.add_argument("--n-test", type=int, default=2000, help="test images")
    parser.add_argument("--n-validation", type=int, default=256, help="images to choose tau on")
    parser.add_argument("--times", type=int, default=32, help="noise levels for each test image")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--probe-seconds", type=float, default=10.0, help="for each precision")
    parser.add_argument("--batch", type=int, help="instead of the library's own")
    parser.add_argument("--lr", type=float, help="instead of the library's own")
    options = parser.parse_args()
    if options.set != "cifar10" and options.peer not in FLAT:
        parser.error(f"--peer {options.peer} is made for cifar10. Pass --peer nsf or marginals.")
    return options


def main():
    """Measure one peer, print a line and append one."""
    options = arguments()
    torch.set_num_threads(options.threads)
    result = measure(options)
    with options.out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
    print(
        f"{result['peer']} {options.set} {result['minutes']:g} min, seed {result['seed']}: "
        f"{result['bits_per_dim']:.4f} ± {result['standard_error']:.4f} bits/dim of "
        f"{result['n_test']} test images"
    )
    details = ("tau", "n_weights", "steps", "images", "precision", "fit_seconds")
    print(", ".join(f"{name} {result[name]}" for name in details if name in result))


if __name__ == "__main__":
    main()
