"""What a GPU does: parity with the CPU, times of steps, images a second, memory, one short fit.

    python gpu.py                          # patches of a photograph stand in for CIFAR-10
    python gpu.py --data DIR --out gpu.jsonl
    python gpu.py --device cpu --quick     # the same script without a GPU

`DIR` is a folder with a `load.py`: `load.cifar10("train")` returns images, uint8 (n, 32, 32, 3),
and labels. The whole takes less than five minutes on a recent card. Without a CUDA device it says
so, and ends with exit status 0. With `--out` each result is a JSON line.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from _results import append
from _where import machine, versions
from overhead import patches, time_steps
from sklearn.datasets import load_digits

import gudlearn
from gudlearn import DPMSolver, GUDGenerator, UNet

# Width and blocks of the U-Nets, from small to large.
SIZES = ((64, 2), (128, 2), (192, 3))
# Nats per component by which scores of the same rows may differ between devices.
PARITY = 1e-4


def images_of(options):
    """Images, uint8 (n, 32, 32, 3): CIFAR-10, or patches of a photograph without a folder."""
    n = 8192
    if options.quick:
        return patches(64)[:, :8, :8]
    if options.data is None:
        return patches(n)
    sys.path.insert(0, str(options.data))
    return importlib.import_module("load").cifar10("train")[0][:n]


def parity(options):
    """Differences of scores of one model on the CPU and on the device, by kind of model."""
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    table = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6))
    small = UNet(width=16, n_blocks=1)
    fits = {
        "counts": (GUDGenerator(bin_width=1.0), X[:400]),
        "columns": (GUDGenerator(), table),
        "flow": (GUDGenerator(likelihood="flow"), table),
        "images": (GUDGenerator(network=small), X[:200].reshape(-1, 8, 8).astype(np.uint8)),
        "labels": (GUDGenerator(bin_width=1.0, class_conditional=True), X[:400]),
    }
    if options.quick:
        fits = {name: (fits[name][0], fits[name][1][:40]) for name in ("columns", "images")}
        for generator, _ in fits.values():
            generator.set_params(sampler=DPMSolver(steps=2), n_draws=4)
    for name, (generator, rows) in fits.items():
        generator.set_params(device="cpu", max_iter=3, precision="float32", random_state=0)
        labels = (y[: len(rows)],) if generator.class_conditional else ()
        generator.fit(rows, *labels)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.gud"
            gudlearn.save(generator, path)
            other = gudlearn.load(path).set_params(device=options.device)
        n = 2 if options.quick else 100
        here = generator.score_samples(rows[:n], *(part[:n] for part in labels))
        there = other.score_samples(rows[:n], *(part[:n] for part in labels))
        difference = float(np.abs(here - there).max() / rows[0].size)
        yield {"model": name, "difference": difference, "reached": difference <= PARITY}


def network(size):
    """A U-Net of one of the sizes."""
    width, n_blocks = size
    return UNet(width=width, n_blocks=n_blocks)


def generator_of(options, size, batch_size, **settings):
    """An untrained generator on the device."""
    return GUDGenerator(
        network=network(size), device=options.device, batch_size=batch_size, random_state=0,
        **settings,
    )  # fmt: skip


def steps(options):
    """Step against a bare loop, and images a second in training and in samples, by size."""
    images = images_of(options)
    batch_size, n_drawn = (16, 4) if options.quick else (128, 512)
    for size in ((16, 1),) if options.quick else SIZES:
        generator = generator_of(
            options, size, batch_size, max_iter=1, validation_fraction=0,
            sampler=DPMSolver(steps=2 if options.quick else 20),
        )  # fmt: skip
        n_images = min(len(images), 16 * batch_size)
        found = time_steps(generator, images[:n_images], 1, 1 if options.quick else 5)
        _, seconds, bare, ratio = found
        generator.sample(2)
        start = time.perf_counter()
        generator.sample(n_drawn)
        drawn = time.perf_counter() - start
        yield {
            "size": list(size), "n_parameters": generator.n_parameters_,
            "images_per_second": batch_size / seconds, "step_ms": 1e3 * seconds,
            "bare_ms": 1e3 * bare, "ratio": ratio, "sampled_per_second": n_drawn / drawn,
        }  # fmt: skip


def memory(options):
    """Peak memory of training against a straight line through two smaller batches."""
    if options.device == "cpu":
        return
    images = images_of(options)
    for size in SIZES:
        peaks = {}
        for batch_size in (32, 64, 256):
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            generator_of(options, size, batch_size, max_iter=2, validation_fraction=0).fit(
                images[: 2 * batch_size]
            )
            peaks[batch_size] = torch.cuda.max_memory_allocated() / 2**30
            gc.collect()
        slope = (peaks[64] - peaks[32]) / 32
        estimate = peaks[64] + slope * (256 - 64)
        yield {"size": list(size), "peak_gib": peaks[256], "estimate_gib": estimate}


def short_fit(options):
    """Bits per dimension of held-out images after a short fit."""
    images = images_of(options)
    n = len(images) // 8
    size, batch_size = ((16, 1), 16) if options.quick else (SIZES[1], 128)
    generator = generator_of(options, size, batch_size, max_time=options.seconds).fit(images[n:])
    bits = -generator.score(images[:n][: 8 if options.quick else 256])
    bits /= images[0].size * np.log(2)
    yield {"seconds": options.seconds, "epochs": generator.n_iter_, "bits_per_dim": float(bits)}


PARTS = {"parity": parity, "steps": steps, "memory": memory, "fit": short_fit}


def main(arguments=None):
    """Run the requested parts, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, help="file of JSON lines")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--seconds", type=float, default=60, help="of the short fit")
    parser.add_argument("--quick", action="store_true", help="few images, a tiny network")
    options = parser.parse_args(arguments)
    if options.device != "cpu" and not torch.cuda.is_available():
        print("no CUDA device")
        return 0
    where = machine() if options.device == "cpu" else torch.cuda.get_device_name()
    print(where, flush=True)
    failed = False
    for part in options.only:
        for found in PARTS[part](options):
            result = {"part": part, **found}
            failed |= result.get("reached") is False
            print(result, flush=True)
            append(options.out, {**result, "machine": where, "versions": versions()})
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
