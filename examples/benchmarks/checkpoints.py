"""Kill fits that write checkpoints, and let them go on: do they end in the same bits?

    python examples/benchmarks/checkpoints.py --kills 50 --out FILE

Each fit runs in a process of its own, which is killed (SIGKILL) at a random moment and started
again, until it comes to its end. Its weights, curves and samples are then compared with those of a
fit that was left alone, and the next fit begins. Prints a line of JSON for each kind of fit, and
one for the time that checkpoints take. `--quick` is a smoke run.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _results import append
from _where import machine
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from gudlearn import GUDGenerator, Training, UNet
from gudlearn.training.checkpoints import Checkpoint

# Steps between checkpoints of fits that are killed. Without that they would take a hundredth of the
# time at most, and short fits would have none.
STEPS = 5


def table(n):
    """A frame of numbers, categories and missing values."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(n, 4)) @ rng.normal(size=(4, 4)), columns=list("abcd"))
    frame["kind"] = np.array(["x", "y", "z"])[np.digitize(frame["a"] + rng.normal(size=n), [-1, 1])]
    frame["a"] = frame["a"].where(rng.random(n) > 0.2)
    return frame


def kinds(quick):
    """Parameters and data of each kind of fit, by name."""
    images, network = load_digits().images, UNet(width=8 if quick else 16, n_blocks=1)
    epochs = (10, 2) if quick else (60, 3)
    n = 100 if quick else 500
    return {
        "table": ({"max_iter": epochs[0]}, table(n)),
        "images": ({"max_iter": epochs[1], "network": network, "random_flips": True}, images[:n]),
    }


def fitted(kind, quick, path):
    """Text of all that a fit has learned, a hash."""
    parameters, X = kinds(quick)[kind]
    training = "auto" if path is None else Training(path)
    gen = GUDGenerator(random_state=0, device="cpu", training=training, **parameters).fit(X)
    found = hashlib.sha256()
    for name in sorted(gen.weights_):
        found.update(np.ascontiguousarray(gen.weights_[name]).data)
    for curve in (gen.loss_curve_, gen.validation_scores_, gen.time_weights_):
        found.update(np.asarray(curve, dtype=np.float64).tobytes())
    found.update(repr(np.asarray(gen.sample(5)).tolist()).encode())
    return found.hexdigest()


def start(kind, quick, path):
    """Start a process that fits; it is ready when this returns."""
    command = [sys.executable, __file__, "--worker", kind, str(path)]
    command += ["--quick"] if quick else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    return process


def kill(kind, quick, n_kills, rng):
    """Kill fits of a kind n times, and compare what comes of them; a result."""
    begin = time.perf_counter()
    expected = fitted(kind, quick, None)
    seconds = time.perf_counter() - begin
    counts = {"kills": 0, "with_file": 0, "fits": 0, "identical": 0, "failed": 0}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fit.ckpt")
        while counts["kills"] < n_kills or path.exists():
            process = start(kind, quick, path)
            if counts["kills"] < n_kills:
                time.sleep(rng.uniform(0, seconds))
                process.kill()
            text = process.communicate()[0]
            if process.returncode == -signal.SIGKILL:
                counts["kills"] += 1
                counts["with_file"] += path.exists()
            else:
                counts["fits"] += 1
                counts["failed"] += process.returncode != 0
                counts["identical"] += text.strip() == expected
                path.unlink(missing_ok=True)
        left = len(list(Path(folder).iterdir()))
    return {
        "part": "kills", "kind": kind, **counts, "left_files": left, "seconds_of_a_fit": seconds,
        "machine": machine(),
    }  # fmt: skip


def cost(kind, quick, seconds, interval):
    """The fraction of a fit that writes checkpoints; a result."""
    writes, write = [], Checkpoint.write

    def timed(checkpoint, state):
        begin = time.perf_counter()
        write(checkpoint, state)
        writes.append(time.perf_counter() - begin)

    parameters, X = kinds(quick)[kind]
    parameters = {**parameters, "max_iter": "auto", "max_time": seconds}
    if not quick:
        # The network and the data as they come.
        X = load_digits().data if kind == "table" else load_digits().images
        parameters.pop("network", None)
    Checkpoint.write = timed
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "fit.ckpt")
            begin = time.perf_counter()
            GUDGenerator(random_state=0, training=Training(path, interval), **parameters).fit(X)
            spent, size = time.perf_counter() - begin, path.stat().st_size
    finally:
        Checkpoint.write = write
    return {
        "part": "cost", "kind": kind, "interval": interval, "seconds": spent,
        "checkpoints": len(writes), "megabytes": size / 1e6,
        "ms_of_one": 1000 * float(np.mean(writes)), "percent": 100 * sum(writes) / spent,
        "machine": machine(),
    }  # fmt: skip


def arguments(argv=None):
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--kills", type=int, default=50, help="kills, half of them of each kind of fit")
    add("--kinds", nargs="+", default=["table", "images"], choices=["table", "images"])
    add("--parts", nargs="+", default=["kills", "cost"], choices=["kills", "cost"])
    add("--seconds", type=float, default=60.0, help="seconds of the fits whose cost is measured")
    add("--interval", type=float, default=10.0, help="seconds between their checkpoints")
    add("--seed", type=int, default=0)
    add("--quick", action="store_true", help="few rows and epochs")
    add("--out", type=Path, help="file of results to append to")
    add("--worker", nargs=2, metavar=("KIND", "PATH"), help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv=None):
    """Measure, and print a line for each result."""
    options = arguments(argv)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        if options.worker is not None:
            print("ready", flush=True)
            kind, path = options.worker
            steps = itertools.count(1)
            Checkpoint.due = lambda checkpoint: next(steps) % STEPS == 0
            print(fitted(kind, options.quick, path))
            return 0
        bad, rng = 0, np.random.default_rng(options.seed)
        for part, kind in itertools.product(options.parts, options.kinds):
            if part == "kills":
                n = options.kills // len(options.kinds)
                result = kill(kind, options.quick, n, rng)
                bad += result["fits"] - result["identical"]
            else:
                result = cost(kind, options.quick, options.seconds, options.interval)
            print(json.dumps(result), flush=True)
            append(options.out, result)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
