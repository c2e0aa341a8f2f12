"""Classes and numbers predicted from the joint model of a table, next to gradient boosting.

    python prediction.py --data DIR --only classify regress --seconds 60 --splits 0 --out FILE

`DIR` is a folder with a `load.py`: `load.table(NAME)` returns a DataFrame and a dict with
`categorical`, the names of its columns of categories, and `target`; `load.regression(NAME)` rows X,
targets y, and a list of arrays of the test rows, the canonical splits. The parts are

- classify: accuracy and log loss of `GUDClassifier` and `HistGradientBoostingClassifier`, both with
  default parameters, on up to 3,000 test rows after training on up to `--rows` others; the expected
  calibration error in ten bins of the highest probability;
- regress: test negative log-likelihood in nats, root mean squared error, CRPS and the coverage of
  90 % intervals of `GUDRegressor`, and of normal errors around `HistGradientBoostingRegressor` with
  the standard deviation of a tenth of the rows that it is not trained on; and, where these packages
  are installed, of `NGBRegressor` (ngboost) and of `RandomForestQuantileRegressor`
  (quantile-forest), which has no density, both with default parameters; up to 1,000 test rows.

Test rows are scored once and choose nothing. With `--out` each result is a JSON line, and a second
run skips what the file has.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _mixed import loader, read_frame
from _results import append, read
from _where import machine
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from gudlearn import GUDClassifier, GUDRegressor, Schema

SETS = {
    "classify": (
        "letter", "magic", "phoneme", "vowel", "adult", "german", "pima_diabetes", "mushroom",
    ),
    "regress": (
        "concrete", "kin8nm", "power-plant", "protein-tertiary-structure", "wine-quality-red",
    ),
}  # fmt: skip
MOST_TEST_ROWS = 3000
MOST_REGRESSION_ROWS = 1000
LEVELS = np.arange(1, 100) / 100


def calibration_error(proba, correct, n_bins=10):
    """Mean distance of accuracy and confidence over bins of the highest probability."""
    confidence = proba.max(1)
    place = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gaps = [abs((correct[place == k] - confidence[place == k]).sum()) for k in np.unique(place)]
    return sum(gaps) / len(proba)


def timed(function, *args):
    """The result of a function, and the seconds that it took."""
    start = time.perf_counter()
    result = function(*args)
    return result, time.perf_counter() - start


# ---------------------------------------------------------------- classification


def classify(options, name, seed):
    """Accuracy and log loss of each method on one split."""
    table = read_frame(options.data, name, True, None)
    frame, target = table.frame, table.target
    categories = [c for c in table.categories if c != target]
    n_train = min(options.rows or 3000, int(0.7 * len(frame)))
    train, test = train_test_split(
        frame, train_size=n_train, test_size=min(MOST_TEST_ROWS, len(frame) - n_train),
        random_state=seed,
    )  # fmt: skip
    # A class without a training row has no probability in either method.
    test = test[test[target].isin(train[target].unique())]
    X, y = train.drop(columns=target), train[target].to_numpy()
    X_test, y_test = test.drop(columns=target), test[target].to_numpy()
    schema = Schema(feature_types=dict.fromkeys(categories, "category"))
    ours = GUDClassifier(random_state=seed).set_params(
        generator__schema=schema, generator__max_time=options.seconds
    )
    # Boosting takes up to 255 levels of a category.
    few = [c for c in categories if frame[c].nunique() < 255]
    types = {c: pd.CategoricalDtype(np.unique(frame[c])) for c in few}
    boosting = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=seed)
    for method, model, convert in (
        ("gudlearn", ours, lambda rows: rows),
        ("boosting", boosting, lambda rows: rows.astype(types)),
    ):
        _, spent = timed(model.fit, convert(X), y)
        proba, seconds = timed(model.predict_proba, convert(X_test))
        correct = model.classes_[proba.argmax(1)] == y_test
        yield method, {
            "accuracy": correct.mean(),
            "log_loss": log_loss(y_test, proba, labels=model.classes_),
            "calibration_error": calibration_error(proba, correct),
            "n_train": len(X), "n_test": len(X_test), "seconds_fit": spent,
            "ms_per_row": 1e3 * seconds / len(X_test),
        }  # fmt: skip


# ---------------------------------------------------------------- regression


def regress(options, name, split):
    """Negative log-likelihood, errors and coverage of each method on one split."""
    X, y, tests = loader(options.data).regression(name)
    test = tests[split]
    train = np.delete(np.arange(len(y)), test)
    rng = np.random.default_rng(split)
    train = rng.permutation(train)[: options.rows]
    test = rng.permutation(test)[:MOST_REGRESSION_ROWS]
    fits = {
        "gudlearn": ours_of, "boosting": boosting_of, "ngboost": ngboost_of,
        "quantile_forest": forest_of,
    }  # fmt: skip
    for method in METHODS["regress"]:
        fit = fits[method]
        answer, spent = timed(fit, X[train], y[train], options.seconds, split)
        (log_prob, mean, quantiles), seconds = timed(answer, X[test], y[test])
        error = y[test][:, None] - quantiles
        inside = (y[test] >= quantiles[:, 4]) & (y[test] <= quantiles[:, 94])
        yield method, {
            "nll": -log_prob.mean(),
            "standard_error": log_prob.std(ddof=1) / len(test) ** 0.5,
            "rmse": np.sqrt(np.square(mean - y[test]).mean()),
            "crps": 2 * np.maximum(LEVELS * error, (LEVELS - 1) * error).mean(),
            "coverage": inside.mean(), "n_train": len(train), "n_test": len(test),
            "seconds_fit": spent, "ms_per_row": 1e3 * seconds / len(test),
        }  # fmt: skip


def ours_of(X, y, seconds, seed):
    """`GUDRegressor` as a function from rows to log-density, mean and quantiles."""
    model = GUDRegressor(random_state=seed).set_params(generator__max_time=seconds).fit(X, y)

    def answer(rows, y):
        found = model.predict_distribution(rows)
        return found.log_prob(y), found.mean(), found.quantile(LEVELS)

    return answer


def boosting_of(X, y, seconds, seed):
    """Boosting with normal errors; log-probabilities of bins of width 1 if y is whole."""
    rows, held_out, y_rows, y_held_out = train_test_split(X, y, test_size=0.1, random_state=seed)
    model = HistGradientBoostingRegressor(random_state=seed)
    std = (y_held_out - model.fit(rows, y_rows).predict(held_out)).std()
    whole = bool((y == np.rint(y)).all())
    model.fit(X, y)
    return lambda rows, y: normal_answers(model.predict(rows), std, y, whole)


def normal_answers(mean, std, y, whole):
    """Log-densities, or log-probabilities of bins of width 1, means and quantiles."""
    if whole:
        log_prob = np.log(norm.cdf(y + 0.5, mean, std) - norm.cdf(y - 0.5, mean, std))
    else:
        log_prob = norm.logpdf(y, mean, std)
    return log_prob, mean, mean[:, None] + np.reshape(std, (-1, 1)) * norm.ppf(LEVELS)


def ngboost_of(X, y, seconds, seed):
    """Natural gradient boosting of a normal distribution."""
    from ngboost import NGBRegressor

    model = NGBRegressor(random_state=seed, verbose=False).fit(X, y)
    whole = bool((y == np.rint(y)).all())

    def answer(rows, y):
        found = model.pred_dist(rows)
        return normal_answers(found.params["loc"], found.params["scale"], y, whole)

    return answer


def forest_of(X, y, seconds, seed):
    """A quantile regression forest; it has no density."""
    from quantile_forest import RandomForestQuantileRegressor

    model = RandomForestQuantileRegressor(random_state=seed).fit(X, y)

    def answer(rows, y):
        mean = model.predict(rows, quantiles="mean")
        return np.full(len(y), np.nan), mean, model.predict(rows, quantiles=list(LEVELS))

    return answer


# ---------------------------------------------------------------- runs


PARTS = {"classify": classify, "regress": regress}
# Methods named as the packages that they need.
OTHERS = tuple(p for p in ("ngboost", "quantile_forest") if importlib.util.find_spec(p))
METHODS = {
    "classify": ("gudlearn", "boosting"), "regress": ("gudlearn", "boosting", *OTHERS),
}  # fmt: skip
FIGURES = {
    "classify": ("accuracy", "log_loss", "calibration_error", "ms_per_row"),
    "regress": ("nll", "rmse", "crps", "coverage", "ms_per_row"),
}


def run(options):
    """Run what is not in the file of results yet; all results, and the number of failures."""
    results, failures = read(options.out), 0
    done = {(r["part"], r["set"], r["split"], r["method"]) for r in results}
    for part in options.only:
        for name in options.sets or SETS[part]:
            if name not in SETS[part]:
                continue
            for split in options.splits:
                if all((part, name, split, method) in done for method in METHODS[part]):
                    continue
                try:
                    found = list(PARTS[part](options, name, split))
                except Exception:
                    traceback.print_exc()
                    failures += 1
                    continue
                for method, figures in found:
                    figures = {k: float(v) for k, v in figures.items()}
                    line = {"part": part, "set": name, "split": split, "method": method}
                    line |= {"budget": options.seconds, **figures, "machine": machine()}
                    results.append(line)
                    print_line(line)
                    append(options.out, line)
    return results, failures


def print_line(line):
    """Print the figures of one result."""
    figures = "  ".join(f"{key} {line[key]:.4g}" for key in FIGURES[line["part"]])
    print(f"{line['set']:28s} split {line['split']}  {line['method']:15s} {figures}", flush=True)


def report(results):
    """Print the means over splits."""
    for part in FIGURES:
        frame = pd.DataFrame([r for r in results if r["part"] == part])
        if len(frame):
            figures = list(FIGURES[part])
            means = frame.groupby(["set", "method"], sort=False)[figures].mean()
            print(f"\n{part}\n{means.round(4).to_string()}")


def arguments(argv):
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with load.py")
    add("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run")
    add("--sets", nargs="+", metavar="NAME", help="of those of the parts; all by default")
    add("--splits", nargs="+", type=int, default=[0], help="seeds, or canonical splits")
    add("--rows", type=int, help="most training rows; 3,000 of tables, all of regressions")
    add("--seconds", type=float, help="budget of a fit; by default the default number of epochs")
    add("--out", type=Path, help="file of results to append to")
    add("--smoke", action="store_true", help="few rows, two seconds, one split")
    options = parser.parse_args(argv)
    if options.smoke:
        vars(options).update(rows=200, seconds=2.0, splits=[0])
    return options


def main(argv=None):
    """Run the parts and print their tables."""
    options = arguments(argv)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        results, failures = run(options)
    report(results)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
