"""What a report of a mixed table takes: seconds, peak memory, and the size of its page.

    python examples/benchmarks/report.py --rows 50000 --out FILE

The table has 15 columns: numbers with point masses, tails and grids, times, categories of 2 to 200
levels, and missing values. Fake rows are other draws of which two columns are spoilt. Prints a line
of JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from _results import append
from _where import machine
from threadpoolctl import threadpool_limits

from gudlearn.metrics import report


def mixed_table(n, seed):
    """A table of 15 dependent columns."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 3))
    columns = {}
    for k in range(5):
        columns[f"number {k}"] = z[:, k % 3] * (k + 1) + rng.standard_t(5, size=n)
    columns["income"] = np.round(np.exp(8 + z[:, 0] + 0.3 * rng.normal(size=n)), 2)
    columns["gain"] = np.where(rng.random(n) < 0.9, 0.0, np.exp(5 + z[:, 1]))
    columns["age"] = np.clip(40 + 12 * z[:, 2] + rng.normal(size=n), 17, 90).astype(int)
    days = (365 * rng.random(n)).astype(int)
    columns["date"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(days, unit="D")
    for n_levels in (2, 5, 8, 16, 40, 200):
        place = z[:, n_levels % 3] + rng.normal(size=n)
        codes = np.clip((np.exp(place / 2) * n_levels / 4).astype(int), 0, n_levels - 1)
        columns[f"category {n_levels}"] = pd.Series(codes).map("level {}".format)
    frame = pd.DataFrame(columns)
    for name in ("income", "category 5"):
        frame[name] = frame[name].mask(rng.random(n) < 0.05)
    return frame


def main(argv=None):
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--max-rows", type=int, default=5_000)
    parser.add_argument("--page", type=Path, help="keep the page here")
    parser.add_argument("--out", type=Path, help="append the result, a line of JSON")
    options = parser.parse_args(argv)
    train, test, fake = (mixed_table(options.rows, seed) for seed in range(3))
    rng = np.random.default_rng(3)
    fake["number 1"] += rng.normal(size=len(fake))
    fake["category 8"] = rng.permutation(fake["category 8"])
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        started, cpu = time.perf_counter(), time.process_time()
        found = report(train, test, fake, target="category 2", max_rows=options.max_rows)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        page = options.page or Path(folder) / "report.html"
        started = time.perf_counter()
        found.save(page)
        result = {
            "rows": options.rows, "columns": train.shape[1], "used": found.samples.n,
            "seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1),
            "page_seconds": round(time.perf_counter() - started, 1),
            "page_mb": round(page.stat().st_size / 1e6, 2),
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "machine": machine(),
        }  # fmt: skip
    print(json.dumps(result))
    append(options.out, result)


if __name__ == "__main__":
    main()
