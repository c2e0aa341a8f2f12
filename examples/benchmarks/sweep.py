"""A sweep over 24 schedules from one fit of their family, against 24 single fits.

    python sweep.py --data DIR --out FILE
    python sweep.py --report --out FILE
    python sweep.py --quick

For each set, the family is fitted once; every schedule is scored on validation rows, as the network
is and after a little training of its own (``adapt_iter="auto"``), and the best is fitted further.
The single fits, of as many seconds each, are scored on the same rows. Reported are the time of the
sweep in that of all single fits, Kendall's tau of the two rankings, and bits/dim of test rows of
the refined winner above those of the best single fit. Lines of JSON; a run continues where an
earlier one stopped. ``--thin 2`` takes every second value of the first parameter.

Sets: the digits in a PCA basis (softness, strong components first or last), letter (softness, from
left to right or back) and adult, a mixed table (softness and window in the order of the columns).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from _data import load
from _mixed import read_frame
from _results import append, read
from scipy.stats import kendalltau
from sklearn.model_selection import ParameterGrid, train_test_split

from gudlearn import GUDGenerator, SequentialSchedule, SoftConditioningSchedule, Training

SETS = ("digits", "letter", "adult")
# Targets: fraction of the time of the single fits, tau, and bits/dim.
MOST_TIME, LEAST_TAU, MOST_BITS = 0.12, 0.8, 0.01


def rows_of(name, options):
    """Training, validation and test rows of a set, and parameters of the generator."""
    parameters = {"basis": "identity"}
    if name == "adult":
        X = read_frame(options.data, name, False, options.most_rows).frame
    else:
        dataset = load(name, options.data)
        X = dataset.X[: options.most_rows]
        parameters["bin_width"] = 1.0
    if name == "digits":
        parameters["basis"] = "pca"
    rest, test = train_test_split(X, test_size=options.rows, random_state=options.seed)
    train, validation = train_test_split(rest, test_size=options.rows, random_state=options.seed)
    return train, validation, test, parameters


def grids_of(name, n_columns, thin):
    """Grids of 24 schedules, and the family that holds them."""
    if name == "adult":
        softness, window = np.geomspace(0.05, 10, 12), np.geomspace(1, 0.75 * n_columns, 12)
        pairs = [
            ("soft", "softness", softness.tolist()), ("sequential", "window", window.tolist()),
        ]  # fmt: skip
        grids = [
            {"schedule": [kind], f"schedule__{key}": values[::thin], "schedule__order": ["natural"]}
            for kind, key, values in pairs
        ]
        family = [
            {"schedule": kind, key: (values[0], values[-1]), "order": ["natural"]}
            for kind, key, values in pairs
        ]
        return grids, family
    if name == "digits":
        softness = np.geomspace(0.05, 5, 12).tolist()
        orders = ["variance", np.linspace(8, 0, n_columns).tolist()]
    else:
        softness = np.geomspace(0.05, 10, 12).tolist()
        orders = ["natural", list(range(n_columns))[::-1]]
    grids = [{"schedule": ["soft"], "schedule__softness": softness[::thin],
              "schedule__order": orders}]  # fmt: skip
    return grids, {"schedule": "soft", "softness": (softness[0], softness[-1]), "order": orders}


def label(schedule):
    """A short text for a schedule."""
    parameters = schedule.get_params()
    order = parameters.pop("order")
    values = ", ".join(f"{name} {value:.3g}" for name, value in parameters.items())
    return f"{values}, {order if isinstance(order, str) else 'reversed'}"


KINDS = {"soft": SoftConditioningSchedule, "sequential": SequentialSchedule}


def schedules_of(grids):
    """Schedules in the order of a sweep."""
    for point in ParameterGrid(grids):
        kind = KINDS[point.pop("schedule")]
        yield kind(**{key.removeprefix("schedule__"): value for key, value in point.items()})


def clocked(work):
    """The result of a call, and its seconds by the clock of ``max_time``."""
    start = time.monotonic()
    result = work()
    return result, time.monotonic() - start


def fitted(schedule, X, parameters, options, **more):
    """A generator, fitted within the seconds of the options."""
    return GUDGenerator(
        schedule=schedule, max_time=options.seconds, random_state=options.seed, **parameters, **more
    ).fit(X)


def bits(gen, X):
    """Bits per dimension of rows under the schedule of a generator, with few draws."""
    return float(gen.sweep(X, {}).results["bits_per_dim"].iloc[0])


def measure_family(name, rows, schedules, grids, family, options):
    """One fit of the family, its sweeps, and the refined winner."""
    train, validation, test, parameters = rows
    training = Training(schedule_family=family)
    middle = schedules[len(schedules) // 4]
    gen, seconds_fit = clocked(
        lambda: fitted(middle, train, parameters, options, training=training)
    )
    plain, seconds_plain = clocked(lambda: gen.sweep(validation, grids))
    swept, seconds = clocked(
        lambda: gen.sweep(validation, grids, X_train=train, adapt_iter="auto", refine=True)
    )
    _, seconds_adapted = clocked(
        lambda: gen.sweep(validation, grids, X_train=train, adapt_iter="auto")
    )
    return {
        "set": name, "part": "family", "seed": options.seed, "index": -1,
        "bits": plain.results["bits_per_dim"].tolist(),
        "spread": plain.results["spread"].tolist(),
        "adapted": swept.results["bits_per_dim"].tolist(),
        "std_error_difference": swept.results["std_error_difference"].tolist(),
        "best": label(swept.best_params["schedule"]), "refined": bits(swept.best_estimator, test),
        "seconds": [seconds_fit, seconds_plain, seconds_adapted, seconds - seconds_adapted],
    }  # fmt: skip


def measure_single(name, rows, schedule, index, options):
    """One fit of one schedule."""
    train, validation, test, parameters = rows
    gen, seconds = clocked(lambda: fitted(schedule, train, parameters, options))
    return {
        "set": name, "part": "single", "seed": options.seed, "index": index,
        "schedule": label(schedule), "bits": bits(gen, validation), "test": bits(gen, test),
        "seconds": seconds,
    }  # fmt: skip


def report(results):
    """Print a line for each set that is complete: times, rank correlations, bits."""
    for name in dict.fromkeys(entry["set"] for entry in results):
        for seed in sorted({entry["seed"] for entry in results}):
            mine = [e for e in results if e["set"] == name and e["seed"] == seed]
            family = [e for e in mine if e["part"] == "family"]
            singles = sorted((e for e in mine if e["part"] == "single"), key=lambda e: e["index"])
            if not family or len(singles) < len(family[0]["bits"]):
                continue
            family, found = family[0], [e["bits"] for e in singles]
            best = min(singles, key=lambda e: e["bits"])
            total = sum(e["seconds"] for e in singles)
            fit, plain, adapted, refine = family["seconds"]
            # All of the parts that do not grow with the number of schedules, as of 24.
            n = len(singles)
            of_24 = 24 * total / n
            times = [(fit + 24 / n * sweep + refine) / of_24 for sweep in (plain, adapted)]
            taus = [kendalltau(found, family[key]).statistic for key in ("bits", "adapted")]
            print(
                f"{name}, seed {seed}, {n} schedules, {total / n:.1f} s a fit: time "
                f"{times[0]:.3f}, {times[1]:.3f} adapted (target <= {MOST_TIME}); tau "
                f"{taus[0]:.2f}, {taus[1]:.2f} adapted (target >= {LEAST_TAU}); refined "
                f"{family['refined']:.4f} bits/dim ({family['best']}), best single fit "
                f"{best['test']:.4f} ({best['schedule']}), difference "
                f"{family['refined'] - best['test']:+.4f} (target <= {MOST_BITS})",
                flush=True,
            )


def main(argv=None):
    """Measure what the file does not have yet, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", help="folder with load.py and tabular/")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--seconds", type=float, default=60, help="of each fit")
    parser.add_argument("--rows", type=int, default=200, help="of validation, and of the test")
    parser.add_argument("--most-rows", type=int, default=20_000)
    parser.add_argument("--thin", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file of JSON lines")
    parser.add_argument("--report", action="store_true", help="print the results of the file")
    parser.add_argument("--quick", action="store_true", help="a smoke test on a few digits")
    options = parser.parse_args(argv)
    if options.quick:
        options.sets, options.seconds, options.thin = ("digits",), 2.0, 12
        options.rows, options.most_rows = 20, 200
    torch.set_num_threads(1)
    results = read(options.out)
    done = {(e["set"], e["part"], e["seed"], e["index"]) for e in results}
    for name in () if options.report else options.sets:
        rows = rows_of(name, options)
        grids, family = grids_of(name, rows[0].shape[1], options.thin)
        schedules = list(schedules_of(grids))
        for index in range(-1, len(schedules)):
            part = "family" if index < 0 else "single"
            if (name, part, options.seed, index) in done:
                continue
            if part == "family":
                result = measure_family(name, rows, schedules, grids, family, options)
            else:
                result = measure_single(name, rows, schedules[index], index, options)
            print(json.dumps(result), flush=True)
            append(options.out, result)
            results.append(result)
    report(results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
