"""Coverage of intervals by Rubin's rules after multiple imputation, in a simulation.

    python multiple_imputation.py --repeats 200 --out FILE
    python multiple_imputation.py --report --out FILE

Rows of two features and a response, y = 1 + x1 - x2 + noise, with x2 = .6 x1 + noise. x2 is
missing in about 30 % of the rows, more often where y is large. The regression of y on both is
estimated from each of ten imputations and pooled by the rules of Rubin (1987), with the degrees of
freedom of Barnard and Rubin (1999). Printed: the fraction of 90 % intervals that cover the true
coefficient of x2 and of x1, the mean estimate, and the mean width, also for complete rows only and
for single imputation by means. Lines of JSON; a run continues where an earlier one stopped.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _results import append
from _results import read as read_results
from scipy.stats import t as student

from gudlearn import GUDImputer

COEFFICIENTS = np.array([1.0, 1.0, -1.0])
LEVEL = 0.9


def data(n, rng):
    """Rows (n, 3) of x1, x2 and y, and the same with missing values of x2."""
    x1 = rng.normal(size=n)
    x2 = 0.6 * x1 + 0.8 * rng.normal(size=n)
    y = COEFFICIENTS[0] + COEFFICIENTS[1] * x1 + COEFFICIENTS[2] * x2 + rng.normal(size=n)
    X = np.column_stack([x1, x2, y])
    partial = X.copy()
    hidden = rng.random(n) < 1 / (1 + np.exp(1.1 - 0.8 * (y - 1)))
    partial[hidden, 1] = np.nan
    return X, partial


def regression(X):
    """Estimates and squared standard errors of the coefficients of x1 and x2."""
    A = np.column_stack([np.ones(len(X)), X[:, :2]])
    inverse = np.linalg.inv(A.T @ A)
    estimate = inverse @ A.T @ X[:, 2]
    residual = X[:, 2] - A @ estimate
    variance = residual @ residual / (len(X) - 3) * inverse.diagonal()
    return estimate[1:], variance[1:]


def pooled(found, n):
    """Estimates and half-widths of intervals from those of m imputations."""
    estimates, variances = (np.stack(part) for part in zip(*found, strict=True))
    m, within = len(estimates), variances.mean(0)
    complete = n - 3
    if m == 1:
        return estimates[0], student.ppf(0.5 + LEVEL / 2, complete) * np.sqrt(within)
    between = estimates.var(0, ddof=1)
    total = within + (1 + 1 / m) * between
    fraction = (1 + 1 / m) * between / total
    observed = (complete + 1) / (complete + 3) * complete * (1 - fraction)
    freedom = 1 / (fraction**2 / (m - 1) + 1 / observed)
    return estimates.mean(0), student.ppf(0.5 + LEVEL / 2, freedom) * np.sqrt(total)


def measure(repeat, options):
    """Estimates and half-widths of one repeat, by method."""
    X, partial = data(options.rows, np.random.default_rng(repeat))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        imputer = GUDImputer(random_state=repeat)
        if options.max_iter:
            imputer.set_params(generator__max_iter=options.max_iter)
        imputer.fit(partial)
        draws = imputer.sample_imputations(partial, options.imputations)
        means = imputer.transform(partial)
    tables = {
        "all values": [X], "complete rows": [partial[~np.isnan(partial).any(1)]],
        "means": [means], "gudlearn": list(draws),
    }  # fmt: skip
    out = {"repeat": repeat, "missing": float(np.isnan(partial[:, 1]).mean())}
    for name, some in tables.items():
        estimate, half = pooled([regression(table) for table in some], len(some[0]))
        out[name] = {"estimate": estimate.tolist(), "half": half.tolist()}
    return out


def report(path):
    """Print coverage, mean estimate and mean width by method."""
    lines, table = read_results(path), []
    for name in ("all values", "complete rows", "means", "gudlearn"):
        estimate = np.array([line[name]["estimate"] for line in lines])
        half = np.array([line[name]["half"] for line in lines])
        covered = (np.abs(estimate - COEFFICIENTS[1:]) <= half).mean(0)
        table.append([name, *covered, *estimate.mean(0), *half.mean(0)])
    columns = ["method", "covers x1", "x2", "estimate x1", "x2", "half-width x1", "x2"]
    error = (LEVEL * (1 - LEVEL) / len(lines)) ** 0.5
    print(f"{len(lines)} repeats; the standard error of a coverage is {error:.3f}")
    print(pd.DataFrame(table, columns=columns).round(3).to_string(index=False))


def main():
    """Measure what the file does not have yet, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="first repeat, for several processes")
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--imputations", type=int, default=10)
    parser.add_argument("--max-iter", type=int, help="epochs; by default those of GUDGenerator")
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines")
    parser.add_argument("--report", action="store_true", help="print the results of the file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    done = {result["repeat"] for result in read_results(options.out)}
    for repeat in () if options.report else range(options.first, options.first + options.repeats):
        if repeat in done:
            continue
        append(options.out, measure(repeat, options))
    report(options.out)


if __name__ == "__main__":
    main()
