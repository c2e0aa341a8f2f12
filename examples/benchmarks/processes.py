"""Rows a second on one process and on several, and what to expect of more.

    python processes.py --devices 1 2 --out FILE
    python processes.py --what sample score --devices 1 2
    python processes.py --expect --gradients 2.4e6 --work 0.05 --bandwidth 2e10

Rows are made: twenty columns that depend on each other. Each number of processes trains the same
network for few and for more epochs, and the difference counts, without the start of processes; or
draws or scores few rows, which starts workers, and then more, which count. Every process has one
thread. Seconds of the processors are those of all processes: where others use the cores as well,
they tell more than the clock. With `--expect` nothing runs: printed is the efficiency that a model
of a step expects of 1 to 1,024 devices, weak (each device keeps its rows) and strong (a batch is
divided). A step takes the work of its rows, and the sum of the gradients in a ring: twice their
bytes over the bandwidth, and two latencies for each other device.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import torch
from _results import append
from _where import machine

from gudlearn import MLP, GUDGenerator, Training

LATENCY = 2e-5


def rows(n):
    """Rows of twenty columns."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 20)) @ rng.normal(size=(20, 20))
    return X + np.sin(X[:, ::-1])


def seconds_of_fit(X, devices, epochs, options):
    """Seconds of a fit of some epochs."""
    generator = GUDGenerator(
        network=MLP(width=options.width), batch_size=options.batch_size, max_iter=epochs,
        validation_fraction=0, random_state=0, training=Training(devices=devices),
    )  # fmt: skip
    start = time.perf_counter()
    generator.fit(X)
    return time.perf_counter() - start, generator


def clock():
    """Number of a process, and the seconds of processors that it has used."""
    # Long enough for every worker to take its part of the calls.
    time.sleep(0.05)
    return os.getpid(), time.process_time()


def cpu_seconds(devices):
    """Seconds of processors that this process and its workers have used."""
    clocks = joblib.Parallel(n_jobs=devices, batch_size=1)(
        joblib.delayed(clock)() for _ in range(10 * devices)
    )
    return sum({**dict(clocks), os.getpid(): time.process_time()}.values())


def measure_parts(what, devices, options, results):
    """Rows a second that are drawn or scored on a number of processes."""
    torch.set_num_threads(1)
    generator = GUDGenerator(
        network=MLP(width=options.width), max_iter=1, validation_fraction=0, random_state=0
    ).fit(rows(1024))
    generator.set_params(training=Training(devices=devices))
    few, more = options.sampled if what == "sample" else options.scored
    compute = {"sample": generator.sample, "score": lambda n: generator.score_samples(rows(n))}
    start = time.perf_counter()
    compute[what](few)
    begin, used = time.perf_counter(), cpu_seconds(devices)
    begun = time.perf_counter()
    result = compute[what](more)
    seconds = time.perf_counter() - begun
    results.setdefault(what, result)
    return {
        "what": what, "devices": devices, "width": options.width,
        "rows_per_second": more / seconds,
        "cpu_seconds_of_1000_rows": 1000 * (cpu_seconds(devices) - used) / more,
        "start": begin - start, "same_bits": bool(np.array_equal(result, results[what])),
        "machine": machine(),
    }  # fmt: skip


def measure(devices, options):
    """Rows a second in training on a number of processes."""
    X = rows(options.rows)
    # Each process takes its share of the threads.
    torch.set_num_threads(devices)
    few, _ = seconds_of_fit(X, devices, options.epochs[0], options)
    more, generator = seconds_of_fit(X, devices, options.epochs[1], options)
    trained = (options.epochs[1] - options.epochs[0]) * len(X)
    return {
        "what": "fit", "devices": devices, "width": options.width,
        "batch_size": options.batch_size,
        "rows_per_second": trained / (more - few), "n_parameters": generator.n_parameters_,
        "start": few, "machine": machine(),
    }  # fmt: skip


def expected(devices, gradients, work, bandwidth, strong):
    """Efficiency of a step on a number of devices, next to one.

    Parameters
    ----------
    devices : int
    gradients : float
        Bytes that are summed in a step.
    work : float
        Seconds of the work of a step on one device.
    bandwidth : float
        Bytes a second between two devices.
    strong : bool
        Whether the batch is divided; otherwise every device has as many rows as one.
    """
    ring = 2 * (devices - 1) / devices * gradients / bandwidth + 2 * (devices - 1) * LATENCY
    alone = work / devices if strong else work
    return alone / (alone + ring)


def expectation(options):
    """Print the efficiency that the model expects of 1 to 1,024 devices."""
    given = options.gradients, options.work, options.bandwidth
    table = [
        [n, expected(n, *given, False), expected(n, *given, True)]
        for n in (1, 2, 4, 8, 16, 64, 256, 1024)
    ]
    table = pd.DataFrame(table, columns=["devices", "weak", "strong"])
    print(table.round(3).to_string(index=False))


def main(arguments=None):
    """Measure, or print what to expect."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--what", nargs="+", choices=["fit", "sample", "score"], default=["fit"])
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rows", type=int, default=20_480)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--epochs", type=int, nargs=2, default=[1, 9], help="few, and more")
    parser.add_argument("--sampled", type=int, nargs=2, default=[8192, 24_576], help="rows")
    parser.add_argument("--scored", type=int, nargs=2, default=[4096, 8192], help="rows")
    parser.add_argument("--out", type=Path, help="file of JSON lines")
    parser.add_argument("--expect", action="store_true")
    parser.add_argument("--gradients", type=float, default=1e7, help="bytes, with --expect")
    parser.add_argument("--work", type=float, default=0.1, help="seconds of a step")
    parser.add_argument("--bandwidth", type=float, default=1e10, help="bytes a second")
    options = parser.parse_args(arguments)
    if options.expect:
        expectation(options)
        return
    computed = {}
    for what in options.what:
        results = []
        for devices in options.devices:
            if what == "fit":
                results.append(measure(devices, options))
            else:
                results.append(measure_parts(what, devices, options, computed))
            append(options.out, results[-1])
            ratio = results[-1]["rows_per_second"] / results[0]["rows_per_second"]
            print({**results[-1], "ratio": round(ratio, 2)}, flush=True)


if __name__ == "__main__":
    main()
