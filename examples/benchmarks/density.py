"""Test log-likelihood of gudlearn and other methods: same splits, same time, one thread each.

    python density.py --data DIR --out results.jsonl

Discrete sets (digits, letter, wine_quality) are scored by the log-probability, continuous sets
(magic, california) by the density in raw units, both in bits per column. Each result is appended to
the file as one JSON line; a second run skips results that the file has. The seconds include all
tuning, and every method takes its validation rows from the training rows.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _data import EXTRA_SETS, SETS, head, load, split
from _peers import PEERS
from _where import machine, versions
from threadpoolctl import threadpool_limits

# Parameters besides bin_width, max_time and random_state. None removes a parameter.
GUDLEARN = {
    "gudlearn": {},  # the defaults, with the budget as max_time
    "gudlearn-plain": {"max_time": None},  # the defaults and nothing else
    "gudlearn-retrieval": {"retrieval": "auto"},
    "gudlearn-conditional": {"conditional_rate": 0.3},
    # Behind a MarginalGaussianizer, whose columns are normal already; continuous sets only.
    "gudlearn-gaussianized": {"preconditioning": "gaussian"},
}
METHODS = ("gudlearn", "gudlearn-gaussianized", *PEERS)
CONTINUOUS_ONLY = {"gudlearn-gaussianized"}
# The same rows in other units: their bits must agree with those of the set named here.
SAME_AS = {"digits_scaled": "digits"}


def fit_gudlearn(method, train, bin_width, seconds, seed):
    """GUDGenerator with its defaults, or with the settings of a variant."""
    from gudlearn import GenerativePipeline, GUDGenerator, MarginalGaussianizer

    start = time.perf_counter()
    if bin_width is not None and np.ptp(bin_width) == 0:
        bin_width = float(bin_width[0])
    settings = {"max_time": seconds, "random_state": seed, **GUDLEARN[method]}
    settings = {name: value for name, value in settings.items() if value is not None}
    model = generator = GUDGenerator(bin_width=bin_width, **settings)
    if method in CONTINUOUS_ONLY:
        gaussianizer = MarginalGaussianizer().fit(train)
        gaussianizer.transform(train)
        # The pipeline fits and transforms once more; both count.
        generator.set_params(max_time=seconds - 2 * (time.perf_counter() - start))
        model = GenerativePipeline([("gaussianize", gaussianizer), ("gud", generator)])
    model.fit(train)
    return model.score_samples, {
        "n_iter": int(generator.n_iter_),
        "n_parameters": int(generator.n_parameters_),
    }


def fit(method, train, bin_width, seconds, seed):
    """Fit a method; return its scoring function and what it chose."""
    if method in GUDLEARN:
        return fit_gudlearn(method, train, bin_width, seconds, seed)
    return PEERS[method](train, bin_width, seconds, seed)


def measure(dataset, method, seconds, seed):
    """Fit one method on one split and score its test rows: one result line."""
    train, test = split(dataset, seed)
    start = time.perf_counter()
    score, extra = fit(method, train, dataset.bin_width, seconds, seed)
    fitted = time.perf_counter()
    log_likelihood = np.asarray(score(test), dtype=np.float64)
    scored = time.perf_counter()
    bits = -log_likelihood / (test.shape[1] * np.log(2))
    return {
        "set": dataset.name,
        "method": method,
        "seconds": seconds,
        "seed": seed,
        "bits_per_dim": float(bits.mean()),
        "standard_error": float(bits.std(ddof=1) / np.sqrt(len(bits))),
        "fit_seconds": round(fitted - start, 2),
        "score_seconds": round(scored - fitted, 2),
        "n_train": len(train),
        "n_test": len(test),
        "n_features": test.shape[1],
        "discrete": dataset.bin_width is not None,
        "machine": machine(),
        "date": date.today().isoformat(),
        "versions": versions("zuko"),
        "extra": extra,
    }


def key(result):
    """Return the identity of a run."""
    return result["set"], result["method"], float(result["seconds"]), result["seed"]


def read(path):
    """Read the results of a file; of several results of one run the last."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    results = [json.loads(line) for line in lines if line.strip()]
    return list({key(result): result for result in results}.values())


def jobs(options):
    """List the requested runs; methods to be compared run next to each other."""
    for name in options.sets:
        methods = options.methods
        if name in SAME_AS:
            methods = [method for method in methods if method in GUDLEARN]
        for seconds in options.seconds:
            for seed in options.seeds:
                for method in methods:
                    yield name, method, seconds, seed


def run(options):
    """Run what the file does not have yet; return the number of failed runs."""
    done = {key(result) for result in read(options.out)}
    datasets, failures = {}, 0
    for name, method, seconds, seed in jobs(options):
        if (name, method, seconds, seed) in done:
            continue
        if name not in datasets:
            datasets[name] = head(load(name, options.data), options.rows)
            describe(datasets[name])
        if method in CONTINUOUS_ONLY and datasets[name].bin_width is not None:
            continue
        label = f"{name} {method} {seconds:g} s, seed {seed}"
        try:
            result = measure(datasets[name], method, seconds, seed)
        except Exception:  # one failure must not end a run of hours
            traceback.print_exc()
            print(f"{label}: failed", flush=True)
            failures += 1
            continue
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
        print(
            f"{label}: {result['bits_per_dim']:.4f} bits/dim, fit {result['fit_seconds']:.1f} s, "
            f"score {result['score_seconds']:.1f} s, {result['extra']}",
            flush=True,
        )
    return failures


def describe(dataset):
    """Print the size of a data set and the widths of its bins."""
    n, n_features = dataset.X.shape
    print(f"{dataset.name}: {n} rows, {n_features} columns", end="; ")
    if dataset.bin_width is None:
        print("continuous")
    elif np.ptp(dataset.bin_width) == 0:
        print(f"bin width {dataset.bin_width[0]:g}")
    else:
        widths = zip(dataset.columns, dataset.bin_width, strict=True)
        print("bin widths", ", ".join(f"{name} {width:g}" for name, width in widths))


def plus_minus(values):
    """Mean over seeds and its standard error, as text."""
    values = np.asarray(values, dtype=float)
    if len(values) == 0:
        return ""
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{values.mean():.4f} ± {values.std(ddof=1) / np.sqrt(len(values)):.4f}"


def table(results):
    """Markdown table of one set and budget: a row for each method."""
    bits = pd.DataFrame(results).pivot(index="method", columns="seed", values="bits_per_dim")
    fit_seconds = pd.DataFrame(results).groupby("method")["fit_seconds"].mean()
    lines = ["| method | bits/dim | minus gudlearn | seeds | fit, s |", "|---|---|---|---|---|"]
    for method in bits.mean(axis=1).sort_values().index:
        row, paired = bits.loc[method].dropna(), ""
        if "gudlearn" in bits.index and method != "gudlearn":
            paired = plus_minus((bits.loc[method] - bits.loc["gudlearn"]).dropna())
        lines.append(
            f"| {method} | {plus_minus(row)} | {paired} | {len(row)} | {fit_seconds[method]:.1f} |"
        )
    return "\n".join(lines)


def report(results, names):
    """Print a table for each set and budget, then the comparisons of units."""
    for name in names:
        for seconds in sorted({r["seconds"] for r in results if r["set"] == name}):
            chosen = [r for r in results if (r["set"], r["seconds"]) == (name, seconds)]
            kind = "discrete" if chosen[0]["discrete"] else "density in raw units"
            sizes = f"{chosen[0]['n_train']} training rows, {chosen[0]['n_test']} test rows"
            print(f"\n**{name}, {seconds:g} s** ({kind}; {sizes})\n\n{table(chosen)}")
    by_key = {key(result): result["bits_per_dim"] for result in results}
    for (name, method, seconds, seed), bits in by_key.items():
        other = by_key.get((SAME_AS.get(name), method, seconds, seed))
        if other is not None:
            print(
                f"\n{name} minus {SAME_AS[name]}, {method} {seconds:g} s, seed {seed}: "
                f"{bits - other:+.5f} bits/dim (target: within 0.005)"
            )
    for where in sorted({(r["machine"], r["date"]) for r in results}):
        print(f"\nMeasured on {where[0]}, {where[1]}.")


def arguments():
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with tabular/NAME.csv.gz, schema.json")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS + EXTRA_SETS, metavar="SET")
    parser.add_argument(
        "--methods",
        nargs="+",
        default=METHODS,
        choices=(*GUDLEARN, *PEERS),
        metavar="METHOD",
        help=f"of {', '.join((*GUDLEARN, *PEERS))}",
    )
    parser.add_argument("--seconds", nargs="+", type=float, default=[60.0, 180.0], help="budgets")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the splits")
    parser.add_argument("--out", type=Path, default=Path("results.jsonl"), help="file to append to")
    parser.add_argument("--rows", type=int, help="use this many rows of each set, for smoke runs")
    parser.add_argument(
        "--report", action="store_true", help="run nothing, print the tables of --out"
    )
    return parser.parse_args()


def main():
    """Run the benchmark and print its tables."""
    options = arguments()
    torch.set_num_threads(1)
    failures = 0
    if not options.report:
        with threadpool_limits(1):
            failures = run(options)
    report([r for r in read(options.out) if r["set"] in options.sets], options.sets)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
