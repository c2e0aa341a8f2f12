"""The rivals in one run: fake rows of every method, from the same splits in the same seconds.

    python rivals.py --data DIR --tables shoppers bank --seconds 120 900 --out rivals.jsonl
    python rivals.py --print --out rivals.jsonl

`DIR` is a folder with a `load.py` whose `load.table(NAME)` returns a DataFrame and a dict with
`categorical`, the names of its columns of categories, and `target`. Each method runs in a process
of its own with one thread. It gets 80 % of the rows, the kinds of the columns and the seconds, and
draws as many rows as it got. Packages of others are installed into environments of their own in the
folder after `--environments`, when they are first needed. A method that does not install, fails, or
has no rows in time has a row that says why.

| method | what it is, and how it fits the seconds |
|---|---|
| marginals | columns of the training rows, shuffled independently |
| copula | Gaussian copula of ranks |
| gaussian mixtures | scikit-learn's GaussianMixture, one for each class of the target; numbers by their normal scores, categories one-hot; 1 to 80 components, full or diagonal, chosen on validation rows in the time |
| shallow mixture | products of histograms, up to 1000 components, chosen on validation rows in the time |
| gudlearn untrained | `preconditioning="mixture"`, `max_iter=0` |
| TabularARGN | mostlyai-engine, default size, one order, no protection of rare values; `max_training_time` |
| CTGAN, TVAE | package ctgan, defaults; epochs begin until the time is over |
| ORiGAMi | package origami-ml, numbers by mixture densities; the number of epochs follows from the speed of 20 batches, training ends with the time |
| ForestDiffusion | up to 5,000 training rows; as many copies of each row as fit, at most the default of 100; if one does not, fewer trees |
| NRGBoost | up to 5,000 training rows; as many trees as fit, at most the default of 200 |
| gudlearn | defaults; `max_time` |

`--cpu` counts seconds of the processor instead of those of the clock, which is fair on a machine
that has other work. Imports are not counted. Sampling may take as long as training; of a method
that is slower the rows it has by then are judged, with their number beside. Of all methods numbers
are clipped to the range of the training rows and rounded to their decimals. For methods that do not
take missing values these are a level of categories, and a column of their own for numbers.

Beside them stand the training rows themselves, and the test rows: one half judged by the other.
The AUC is that of a classifier between test rows and as many fake ones (0.5 is perfect); shape and
trend are errors of columns and pairs; utility is the AUC or R2 on test rows of trees that were
trained on fake rows; closest is the fraction of fake rows that are closer to a training row than to
a test row (0.5 copies nothing); nats is the mean log-likelihood of a test row where the method
has one: gudlearn's is a density of numbers, TabularARGN's a probability of bins, and they cannot be
compared.
"""  # noqa: E501

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _mixed import read_frame, split
from _published import (
    DETECTION,
    SHAPE,
    TABPC_SOURCE,
    TABPC_TABLES,
    TREND,
    UTILITY,
)
from _results import append, read
from _rivals import RIVALS, Environments, RivalFailed, default_environments, judge, run
from _where import machine
from threadpoolctl import threadpool_limits

TABLES = ("adult", "default", "shoppers", "magic", "beijing", "bank")
SMOKE = {"rows": 300, "seconds": [1.0], "splits": [0], "methods": ["marginals"]}
# What a row is known by.
KEY = ("table", "rows", "split", "seconds", "clock", "method")
# Rows that are no method and need no time.
REFERENCES = ("training rows", "held-out rows")
COLUMNS = {
    "auc": ("AUC", "{:.3f}"), "shape": ("shape", "{:.2%}"), "trend": ("trend", "{:.2%}"),
    "utility": ("utility", "{:.3f}"), "closest": ("closest", "{:.3f}"),
    "nats": ("nats", "{:.2f}"), "seconds_fit": ("s, fit", "{:.0f}"),
    "seconds_sample": ("s, sample", "{:.0f}"), "peak_mib": ("MiB", "{:.0f}"),
    "n_fake": ("rows", "{:.0f}"),
}  # fmt: skip


def key(line):
    """The identity of a result."""
    return tuple(line[name] for name in KEY)


def references(train, test, table, seed):
    """Metrics of the training rows, and of one half of the test rows by the other."""
    shuffled = test.sample(frac=1.0, random_state=seed)
    half = len(shuffled) // 2
    pairs = [
        (test, train.sample(frac=1.0, random_state=seed)), (shuffled[half:], shuffled[:half])
    ]  # fmt: skip
    return [judge(train, real, fake, table.categories, table.target, seed) for real, fake in pairs]


def measure(options, environments, table, train, test, method, seconds, seed):
    """Figures of a method, or why there are none."""
    start = time.perf_counter()
    try:
        fake, cost = run(
            RIVALS[method], train, test, table.categories, table.target,
            environments=environments, seconds=seconds, processor=options.cpu, seed=seed,
        )  # fmt: skip
        found = {**judge(train, test, fake, table.categories, table.target, seed), **cost}
    except RivalFailed as failure:
        found = {"failed": str(failure)}
    return {**found, "wall": time.perf_counter() - start}


class Results:
    """Results of a file, and those that are added to it."""

    def __init__(self, path, retry):
        self.path, self.lines = path, read(path)
        self.done = {key(line) for line in self.lines if not (retry and "failed" in line)}

    def has(self, identity):
        """Whether a result needs not be measured."""
        return key(identity) in self.done

    def add(self, identity, found):
        """Keep a result, and print it."""
        line = {**identity, **found, "machine": machine()}
        append(self.path, line)
        self.lines.append(line)
        self.done.add(key(line))
        print(text(line), flush=True)


def run_all(options):
    """Measure what the file does not have; return all results."""
    results, environments = Results(options.out, options.retry), Environments(options.environments)
    clock = "cpu" if options.cpu else "wall"
    for name in options.tables:
        table = read_frame(options.data, name, False, options.rows)
        for seed in options.splits:
            train, test = split(table.frame, seed)
            place = {"table": name, "rows": options.rows, "split": seed}
            beside = [{**place, "seconds": 0.0, "clock": "", "method": m} for m in REFERENCES]
            if not all(map(results.has, beside)):
                found = references(train, test, table, seed)
                for identity, values in zip(beside, found, strict=True):
                    results.add(identity, values)
            for seconds in options.seconds:
                for method in options.methods:
                    identity = {**place, "seconds": seconds, "clock": clock, "method": method}
                    if not results.has(identity):
                        job = options, environments, table, train, test, method, seconds, seed
                        results.add(identity, measure(*job))
    return results.lines


def text(line):
    """A result on one line."""
    head = f"{line['table']}, {line['seconds']:g} s, split {line['split']}, {line['method']}: "
    if "failed" in line:
        return head + line["failed"]
    return head + ", ".join(
        f"{name} {form.format(line[k])}" for k, (name, form) in COLUMNS.items() if k in line
    )


# ---------------------------------------------------------------- tables


def print_table(rows):
    """Print rows of text as a table in Markdown."""
    print("| " + " | ".join(rows[0]) + " |")
    print("|---" * len(rows[0]) + "|")
    for row in rows[1:]:
        print("| " + " | ".join(row) + " |")


def report(results):
    """Print a table for each table, clock and budget, who is first, and published figures."""
    frame = pd.DataFrame({key(line): line for line in results}.values())
    frame["rows"] = frame["rows"].astype(object).where(frame["rows"].notna(), "all")
    if "failed" not in frame:
        frame["failed"] = np.nan
    timed, first = frame[frame["seconds"] > 0], {}
    for (clock, seconds, rows), budget in timed.groupby(["clock", "seconds", "rows"], sort=False):
        for name, group in budget.groupby("table", sort=False):
            beside = frame[
                (frame["table"] == name) & (frame["rows"] == rows) & (frame["seconds"] == 0)
            ]
            n_splits = group["split"].nunique()
            print(
                f"\n**{name}, {seconds:g} s ({clock}), rows: {rows}, "
                f"mean of {n_splits} split{'s' * (n_splits > 1)}**\n"
            )
            lines = [["method", *(head for head, _ in COLUMNS.values())]]
            for method, found in pd.concat([beside, group]).groupby("method", sort=False):
                lines.append([method, *cells(found)])
            print_table(lines)
            means = group.groupby("method")["auc"].mean()
            if means.notna().any():
                first.setdefault((clock, seconds, rows), []).append(means.idxmin())
    for (clock, seconds, rows), names in first.items():
        counts = pd.Series(names).value_counts().items()
        print(
            f"\nFirst by AUC, {seconds:g} s ({clock}), rows: {rows}: "
            + ", ".join(f"{name} on {n} of {len(names)}" for name, n in counts)
        )


def cells(found):
    """Means of a method over the splits, as text; one cell of words if it has failed."""
    if found["failed"].notna().all():
        return [found["failed"].iloc[0], *[""] * (len(COLUMNS) - 1)]
    means = {k: found[k].mean() if k in found else np.nan for k in COLUMNS}
    return [form.format(means[k]) if np.isfinite(means[k]) else "" for k, (_, form) in
            COLUMNS.items()]  # fmt: skip


def report_published():
    """Print figures that others have published."""
    print(f"\nAs published ({TABPC_SOURCE}), on GPUs, by their own splits and classifiers:")
    parts = {
        "detection score of XGBoost, 1 is perfect": DETECTION, "shape, 1 is perfect": SHAPE,
        "trend, 1 is perfect": TREND, "utility, AUC (beijing: RMSE)": UTILITY,
    }  # fmt: skip
    for name, figures in parts.items():
        print(f"\n**{name}**\n")
        rows = [[method, *(f"{v:.4f}" for v in values)] for method, values in figures.items()]
        print_table([["method", *TABPC_TABLES], *rows])


def arguments(argv=None):
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, help="folder with load.py")
    add("--tables", nargs="+", metavar="NAME", default=list(TABLES))
    add("--methods", nargs="+", choices=RIVALS, default=list(RIVALS), metavar="NAME",
        help=f"of {', '.join(RIVALS)}")  # fmt: skip
    add("--seconds", nargs="+", type=float, default=[120.0, 900.0], help="budgets of training")
    add("--splits", nargs="+", type=int, default=[0], help="seeds of splits and fits")
    add("--rows", type=int, help="use this many rows of each table")
    add("--cpu", action="store_true", help="count seconds of the processor")
    add("--environments", type=Path, default=default_environments(),
        help="folder for the environments of the rivals")  # fmt: skip
    add("--retry", action="store_true", help="try again what has failed")
    add("--out", type=Path, help="file of results to append to")
    add("--print", action="store_true", help="print the tables of the file only")
    add("--smoke", action="store_true", help="few rows, one second, one method of ours")
    options = parser.parse_args(argv)
    if options.smoke:
        vars(options).update(SMOKE)
    if options.data is None and not options.print:
        parser.error("pass --data DIR, a folder with load.py")
    if options.print and options.out is None:
        parser.error("pass --out, the file whose tables are printed")
    return options


def main(argv=None):
    """Run the methods and print their tables."""
    options = arguments(argv)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        results = read(options.out) if options.print else run_all(options)
    if not results:
        print("There are no results.")
        return 1
    report(results)
    report_published()
    return 0


if __name__ == "__main__":
    sys.exit(main())
