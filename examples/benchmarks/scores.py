"""The cost of scores: milliseconds a row, and the standard error that draws of noise leave.

    python scores.py                                  # 37 made columns, one thread
    python scores.py --data DIR --tables magic california

Each model is fitted for some seconds, and scores the same rows with different numbers of draws.
`DIR` is a folder with a `load.py`: `load.table(NAME)` returns a DataFrame and a dict with
`numeric`, the names of columns of numbers. With `--out` each result is a JSON line, and a second
run skips what the file has.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from _mixed import loader
from _results import append, read
from _where import machine
from threadpoolctl import threadpool_limits

from gudlearn import GUDGenerator, Schema

DRAWS = ("coarse", "auto", 64, 256, 1024)


def made(n, d=37):
    """Rows of correlated columns, of which some are skewed and some depend on others by curves."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(d, d)) / d**0.5
    Z = rng.normal(size=(n, d))
    X = Z @ mix + 0.5 * np.tanh(2 * Z @ mix.T) ** 2 + 0.3 * rng.normal(size=(n, d))
    X[:, ::5] = np.exp(X[:, ::5])
    return X


def rows_of(options, name):
    """Training rows and others, shuffled."""
    n = options.rows
    if name == "made":
        X = made(2 * n)
    else:
        frame, schema = loader(options.data).table(name)
        X = frame[schema["numeric"]].dropna().to_numpy(float)
        X = X[np.random.default_rng(0).permutation(len(X))][: 2 * n]
    return X[: len(X) // 2], X[len(X) // 2 :][: options.scored]


def measure(options, name):
    """Results for each number of draws."""
    train, test = rows_of(options, name)
    limit = {"max_time": options.seconds}
    if options.epochs is not None:
        limit = {"max_iter": options.epochs}
    model = GUDGenerator(random_state=0, schema=Schema(atoms=False), **limit).fit(train)
    model.score_samples(test[:10])
    for n_draws in DRAWS:
        start = time.perf_counter()
        scores, errors = model.score_samples(test, n_draws=n_draws, return_std=True)
        spent = time.perf_counter() - start
        yield {
            "table": name,
            "n_draws": n_draws,
            "columns": test.shape[1],
            "ms_per_row": 1000 * spent / len(test),
            "score": float(scores.mean()),
            "error_of_a_row": float(np.sqrt(np.mean(errors**2))),
            "machine": machine(),
        }


def arguments(argv=None):
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, help="folder with load.py")
    add("--tables", nargs="+", default=["made"], metavar="NAME", help="made, or names of tables")
    add("--rows", type=int, default=3000, help="training rows")
    add("--scored", type=int, default=1000, help="scored rows")
    add("--seconds", type=float, default=60.0, help="seconds of a fit")
    add("--epochs", type=int, help="epochs of a fit, in place of seconds")
    add("--out", type=Path, help="file of results to append to")
    options = parser.parse_args(argv)
    if options.data is None and set(options.tables) != {"made"}:
        parser.error("pass --data DIR, a folder with load.py")
    return options


def main(argv=None):
    """Run what the file does not have, and print all."""
    options = arguments(argv)
    results = read(options.out)
    done = {result["table"] for result in results}
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for name in options.tables:
            if name in done:
                continue
            found = list(measure(options, name))
            results += found
            append(options.out, *found)
    print("| table | columns | n_draws | ms a row | standard error of a row | mean score |")
    print("|---" * 6 + "|")
    for r in results:
        cells = [r["table"], r["columns"], r["n_draws"], f"{r['ms_per_row']:.2f}"]
        cells += [f"{r['error_of_a_row']:.3f}", f"{r['score']:.3f}"]
        print("| " + " | ".join(map(str, cells)) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
