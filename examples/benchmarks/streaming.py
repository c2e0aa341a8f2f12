"""A fit to Parquet files that are larger than memory, against a fit to rows in memory.

    python streaming.py --rows 10000000 --seconds 60              # writes 1.5 GB, and deletes it
    python streaming.py --rows 200000 --seconds 5 --in-memory 100000 --network-width 64

Prints one line of JSON for each fit, which runs in a process of its own: its peak resident memory,
the seconds besides training and the rows per second of training. On a busy machine pass ``--cpu``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from _results import append, read
from threadpoolctl import threadpool_limits

if "--cpu" in sys.argv:
    # Budgets are measured by this clock, which is read when gudlearn is imported.
    time.monotonic = time.process_time

from gudlearn import MLP, GUDGenerator
from gudlearn.data import streams
from gudlearn.training import fit

ROWS_PER_FILE = 1_000_000


def frame(n, seed):
    """Rows of 20 columns: numbers of all kinds, times, levels, point masses and gaps."""
    import pyarrow as pa

    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 12)) @ np.linalg.cholesky(0.5 * np.eye(12) + 0.5)
    columns = {f"normal{j}": z[:, j] for j in range(6)}
    columns |= {f"skewed{j}": np.exp(z[:, 6 + j]) for j in range(3)}
    columns["modes"] = z[:, 9] + 6 * (z[:, 0] > 0)
    columns["price"] = np.round(20 * np.exp(0.5 * z[:, 9]), 2)
    columns["zero"] = np.where(rng.random(n) < 0.3, 0.0, z[:, 10])
    columns["gaps"] = np.where(rng.random(n) < 0.05, np.nan, z[:, 11])
    columns |= {f"count{j}": rng.poisson(np.exp(1 + 0.3 * z[:, j])) for j in range(2)}
    columns["time"] = np.datetime64("2026-01-01", "s") + rng.integers(0, 31_536_000, n)
    names = np.array([f"shop {k}" for k in range(40)])
    columns["shop"] = names[np.minimum(rng.geometric(0.15, n), 40) - 1]
    columns["kind"] = np.where(z[:, 1] + rng.normal(size=n) > 0, "new", "used")
    columns["grade"] = np.array(list("abcde"))[np.clip(np.rint(z[:, 2] + 2), 0, 4).astype(int)]
    columns["member"] = z[:, 3] > 1
    table = pa.table({name: pa.array(v) for name, v in columns.items()})
    gaps = pa.compute.if_else(pa.compute.is_nan(table["gaps"]), None, table["gaps"])
    return table.set_column(table.column_names.index("gaps"), "gaps", gaps)


def write(folder, n_rows):
    """Write files of a million rows at most."""
    import pyarrow.parquet as pq

    for k, start in enumerate(range(0, n_rows, ROWS_PER_FILE)):
        n = min(ROWS_PER_FILE, n_rows - start)
        pq.write_table(frame(n, seed=k), folder / f"part{k:04d}.parquet")


def fit_once(options):
    """Fit in this process, and print what it took."""
    import pyarrow.dataset as ds

    torch.set_num_threads(options.threads)
    if options.child == "memory":
        reading = {"batch_readahead": 0, "fragment_readahead": 0, "use_threads": False}
        X = ds.dataset(options.folder).head(options.in_memory, **reading)
    else:
        X = options.folder
        # Small files are streamed, too.
        streams.MOST_IN_MEMORY = 0
    done, original = {}, fit.run_epochs

    def timed(trainer, *args, **kwargs):
        start, cpu, before = time.perf_counter(), time.process_time(), trainer.steps
        log = original(trainer, *args, **kwargs)
        done["seconds"] = time.perf_counter() - start
        done["cpu_seconds"] = time.process_time() - cpu
        done["rows"] = (trainer.steps - before) * trainer.batch_size
        return log

    generator = GUDGenerator(
        network=MLP(width=options.network_width), max_time=options.seconds, random_state=0,
        max_iter="auto" if options.max_iter is None else options.max_iter,
    )  # fmt: skip
    start = time.perf_counter()
    with threadpool_limits(options.threads), mock.patch.object(fit, "run_epochs", timed):
        generator.fit(X)
    seconds = time.perf_counter() - start
    print(json.dumps({
        "fit": options.child, "rows": options.rows, "seconds": options.seconds,
        "rows_of_fit": options.in_memory if options.child == "memory" else options.rows,
        "rows_per_second": round(done["rows"] / done["seconds"]),
        "rows_per_cpu_second": round(done["rows"] / done["cpu_seconds"]),
        "rows_seen": done["rows"], "seconds_training": round(done["seconds"], 1),
        "seconds_besides": round(seconds - done["seconds"], 1),
        "nats_per_dim": round(generator.best_validation_score_, 4),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }))  # fmt: skip


def main():
    """Write files, fit to them and to what fits into memory, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--in-memory", type=int, default=200_000, help="rows of the other fit")
    parser.add_argument("--seconds", type=float, default=60, help="of each fit")
    parser.add_argument("--max-iter", type=int, default=None, help="epochs of each fit at most")
    parser.add_argument("--network-width", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu", action="store_true", help="count seconds of the CPU")
    parser.add_argument("--folder", type=Path, default=None, help="of files that exist already")
    parser.add_argument("--out", type=Path, default=None, help="file of results to continue")
    parser.add_argument("--child", choices=("memory", "stream"), default=None,
                        help="fit in this process")  # fmt: skip
    options = parser.parse_args()
    if options.child:
        fit_once(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder) if options.folder is None else options.folder
        done = {line["fit"]: line for line in read(options.out)}
        for name in ("memory", "stream"):
            if name in done:
                continue
            if not any(folder.glob("*.parquet")):
                folder.mkdir(parents=True, exist_ok=True)
                write(folder, options.rows)
            arguments = [
                "--child", name, "--folder", folder, "--rows", options.rows, "--in-memory",
                min(options.in_memory, options.rows), "--seconds", options.seconds,
                "--network-width", options.network_width, "--threads", options.threads,
                *(["--cpu"] if options.cpu else []),
                *([] if options.max_iter is None else ["--max-iter", options.max_iter]),
            ]  # fmt: skip
            command = [sys.executable, __file__, *map(str, arguments)]
            child = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            done[name] = json.loads(child.stdout)
            append(options.out, done[name])
            print(json.dumps(done[name]), flush=True)
    for unit in ("rows_per_second", "rows_per_cpu_second"):
        ratio = done["stream"][unit] / max(done["memory"][unit], 1)
        print(json.dumps({f"{unit}_of_stream_to_memory": round(ratio, 3)}))


if __name__ == "__main__":
    main()
