"""The contract of generative estimators, kept or not: gudlearn and others, check by check.

    python contract.py --out contract.jsonl
    python contract.py --print --out contract.jsonl

One line of JSON for each estimator, with versions and the message of each failure; then a table in
Markdown. Estimators whose package is not installed have a line that says so. Those that the file
has are left out.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import time
import warnings
from pathlib import Path

import torch
from _contract_peers import FromForestDiffusion, FromSDV, FromTabularARGN, FromZuko
from _results import append, read
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler

from gudlearn import GenerativePipeline, GUDGenerator
from gudlearn.testing import check_generator
from gudlearn.testing.adapters import FromGaussianMixture

MARKS = {"passed": "yes", "failed": "**no**", "skipped": "–", "xfail": "no, not promised"}
# Heads of the columns that fit on a page.
HEADS = {
    "GUDGenerator": "GUD", "GUDGenerator, pca": "pca", "GUDGenerator, mixture": "mix",
    "GenerativePipeline": "pipe", "GaussianMixture": "GMM", "KernelDensity": "KDE",
    "zuko NSF": "zuko", "SDV GaussianCopula": "copula", "SDV TVAE": "TVAE",
    "TabularARGN": "ARGN", "ForestDiffusion": "forest",
}  # fmt: skip
# The packages whose versions matter besides that of the model.
COMMON = ("gudlearn", "scikit-learn", "numpy", "pandas", "torch")


def subjects(max_iter):
    """The estimators: names, how to make them, packages, modules, and what they promise."""
    ours = {"prefix": True}

    def gud(**parameters):
        return GUDGenerator(max_iter=max_iter, random_state=0, **parameters)

    return {
        "GUDGenerator": (gud, "gudlearn", "gudlearn", ours),
        "GUDGenerator, pca": (lambda: gud(basis="pca"), "gudlearn", "gudlearn", ours),
        "GUDGenerator, mixture": (
            lambda: gud(preconditioning="mixture"), "gudlearn", "gudlearn", ours
        ),
        "GenerativePipeline": (
            lambda: GenerativePipeline([("scale", StandardScaler()), ("generate", gud())]),
            "gudlearn", "gudlearn", ours,
        ),
        "GaussianMixture": (
            lambda: FromGaussianMixture(GaussianMixture(2)), "scikit-learn", "sklearn", {}
        ),
        "KernelDensity": (
            lambda: KernelDensity(bandwidth=0.3), "scikit-learn", "sklearn", {}
        ),
        "zuko NSF": (FromZuko, "zuko", "zuko", {}),
        "SDV GaussianCopula": (FromSDV, "sdv", "sdv", {}),
        "SDV TVAE": (
            # Its batch of 500 rows is more than there are.
            lambda: FromSDV("TVAESynthesizer", {"batch_size": 50}, as_object=True),
            "sdv", "sdv", {},
        ),
        "TabularARGN": (FromTabularARGN, "mostlyai-engine", "mostlyai.engine", {}),
        "ForestDiffusion": (FromForestDiffusion, "ForestDiffusion", "ForestDiffusion", {}),
    }  # fmt: skip


def is_installed(module):
    """Whether a module can be imported."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def judge(name, estimator, package, capabilities, seed):
    """Run every check and return a line of the results."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_generator(
            estimator, capabilities=capabilities, on_fail=None, on_skip=None, random_state=seed
        )
    return {
        "estimator": name,
        "parameters": repr(estimator),
        "seed": seed,
        "versions": {p: importlib.metadata.version(p) for p in dict.fromkeys([package, *COMMON])},
        "checks": {r["check_name"]: r["status"] for r in results},
        "messages": {
            r["check_name"]: f"{type(r['exception']).__name__}: {r['exception']}"
            for r in results if r["exception"] is not None
        },
        "failed": sum(r["status"] == "failed" for r in results),
        "cpu_seconds": round(time.process_time() - start, 1),
    }  # fmt: skip


def table(lines):
    """The matrix in Markdown: a row for each check, a column for each estimator that was run."""
    lines = [line for line in lines if "checks" in line]
    head = ["check", *(HEADS[line["estimator"]] for line in lines)]
    rows = [head, ["---"] * len(head)]
    for check in lines[0]["checks"]:
        marks = (MARKS[line["checks"][check]] for line in lines)
        rows.append([f"`{check.removeprefix('check_')}`", *marks])
    rows.append(["failed", *(str(line["failed"]) for line in lines)])
    rows.append(["CPU s", *(str(line["cpu_seconds"]) for line in lines)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def arguments(argv):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="file of results, one JSON line each")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="estimators to run")
    parser.add_argument("--max-iter", type=int, default=5, help="epochs of gudlearn's networks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--print", action="store_true", help="print the table of the file only")
    return parser.parse_args(argv)


def main(argv=None):
    """Run the estimators that are installed and print the table."""
    options = arguments(argv)
    torch.set_num_threads(1)
    known = subjects(options.max_iter)
    lines = read(options.out)
    done = {line["estimator"] for line in lines if "checks" in line}
    names = [] if options.print else [n for n in options.only or known if n not in done]
    for name in names:
        make, package, module, capabilities = known[name]
        if is_installed(module):
            line = judge(name, make(), package, capabilities, options.seed)
            append(options.out, line)
        else:
            line = {"estimator": name, "not_installed": package}
        print(json.dumps(line), flush=True)
        lines.append(line)
    lines = sorted(lines, key=lambda line: list(known).index(line["estimator"]))
    if any("checks" in line for line in lines):
        print(table(lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
