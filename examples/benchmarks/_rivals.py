"""Rivals of gudlearn: environments of their own, processes of their own, and judges for all.

A rival is a name of `_rival_process.METHODS`, the packages it needs, and what tables it takes.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import venv
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from _data import decimals_of
from _mixed import as_types
from _rival_process import METHODS, Task, read

from gudlearn.metrics import (
    closest_record,
    shape_error,
    train_on_synthetic,
    trend_error,
    two_sample_auc,
)

HERE = Path(__file__).parent
UNKNOWN = "(missing)"
# One thread, no device, and no question to a hub of models.
ALONE = {
    **dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS",
         "NUMEXPR_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "1"
    ),
    "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
}  # fmt: skip
# Seconds that a process may take besides training and sampling: imports, reading, scoring. On
# a machine with other work these pass more slowly than the processor's own.
ALLOWANCE, BUSY = 600.0, 4.0
TORCH = "torch==2.13.0"
# Whole numbers and decimals are written as such if so many of their values agree.
AGREEMENT = 0.999


class RivalFailed(Exception):
    """A rival has no rows; the message says why."""


@dataclass(frozen=True)
class Rival:
    """One method: its packages, none if ours suffice, and what it asks of tables."""

    name: str
    packages: tuple = ()
    # Packages that are installed as dependencies, break the others without a GPU and are not used.
    without: tuple = ()
    takes_missing: bool = False
    # More rows than this take it hours.
    most_rows: int | None = None


RIVALS = {
    rival.name: rival
    for rival in (
        Rival("marginals", takes_missing=True),
        Rival("copula"),
        Rival("gaussian mixtures"),
        Rival("shallow mixture", takes_missing=True),
        Rival("gudlearn untrained", takes_missing=True),
        Rival(
            "TabularARGN",
            ("mostlyai-engine==2.7.3", TORCH),
            ("torchvision", "torchaudio"),
            takes_missing=True,
        ),
        Rival("CTGAN", ("ctgan==0.12.1", TORCH)),
        Rival("TVAE", ("ctgan==0.12.1", TORCH)),
        Rival("ORiGAMi", ("origami-ml[numba]==2.0.1", "pandas", TORCH), takes_missing=True),
        Rival("ForestDiffusion", ("ForestDiffusion==1.0.6",), most_rows=5000),
        Rival("NRGBoost", ("nrgboost==0.0.3",), most_rows=5000),
        Rival("gudlearn", takes_missing=True),
    )
}
if set(RIVALS) != set(METHODS):
    raise ImportError("Every rival needs a method of its process, and every method a rival.")


# ---------------------------------------------------------------- environments


def default_environments():
    """The user's folder for things that can be made again."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "gudlearn-rivals"


class Environments:
    """Virtual environments of the rivals in one folder, each made when it is first asked for."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.failed = {}

    def of(self, rival):
        """The interpreter of a rival, and the versions of its packages.

        Raises
        ------
        RivalFailed
            If the packages do not install. They are tried once in each run.
        """
        if not rival.packages:
            return sys.executable, {}
        key = hashlib.sha256(repr((rival.packages, rival.without, sys.version)).encode())
        root = self.folder / f"{bare(rival.packages[0])}-{key.hexdigest()[:8]}"
        note, python = root / "versions.json", root / "bin" / "python"
        if os.name == "nt":
            python = root / "Scripts" / "python.exe"
        if root in self.failed:
            raise RivalFailed(self.failed[root])
        if not note.exists():
            try:
                versions = self._make(root, python, rival)
            except (OSError, subprocess.CalledProcessError) as error:
                output = getattr(error, "stdout", None) or str(error)
                self.failed[root] = f"does not install: {last_line(output)}"
                raise RivalFailed(self.failed[root]) from error
            note.write_text(json.dumps(versions), encoding="utf-8")
        return str(python), json.loads(note.read_text(encoding="utf-8"))

    def _make(self, root, python, rival):
        """Make an environment, and return the versions of its packages."""

        def pip(*command):
            return subprocess.run(
                [python, "-m", "pip", *command], check=True, text=True, env=own_paths_only(),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            ).stdout  # fmt: skip

        venv.create(root, clear=True, with_pip=True)
        pip("install", *rival.packages)
        if rival.without:
            pip("uninstall", "--yes", *rival.without)
        listed = pip("list", "--format=freeze", "--disable-pip-version-check").splitlines()
        return dict(line.split("==") for line in listed if line.count("==") == 1)


def bare(requirement):
    """The name of a package, without extras and version."""
    return requirement.split("=")[0].split("[")[0]


def own_paths_only():
    """The environment variables without those that lead to our packages."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}


def last_line(text):
    """The last line of an output that says something, the reason of a failure as a rule."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return ([*lines[-1:], *errors[-1:]] or ["no output"])[-1][:300]


# ---------------------------------------------------------------- tables without missing values


class Complete:
    """Tables without missing values, and back.

    In categories a missing value is one more level. Numbers with missing values get a column of
    categories that says which are, and the values of other rows in their place.
    """

    def __init__(self, train, categories):
        self.columns, self.levels = list(train), list(categories)
        self.numbers = [c for c in train if c not in categories and train[c].isna().any()]
        self.marks = {c: f"{c} {UNKNOWN}" for c in self.numbers}
        self.categories = [*categories, *self.marks.values()]
        self.observed = {c: train[c].dropna() for c in self.numbers}

    def fill(self, frame, seed):
        """A frame without missing values."""
        frame = frame.assign(**{c: frame[c].astype(object).fillna(UNKNOWN) for c in self.levels})
        rng = np.random.default_rng(seed)
        for c in self.numbers:
            drawn = rng.choice(self.observed[c].to_numpy(), len(frame))
            missing = frame[c].isna()
            frame = frame.assign(**{c: frame[c].where(~missing, drawn)})
            frame[self.marks[c]] = np.where(missing, "yes", "no")
        return frame

    def empty(self, frame):
        """A frame with missing values where it says so."""
        frame = frame.assign(**{c: frame[c].where(frame[c] != UNKNOWN) for c in self.levels})
        for c, mark in self.marks.items():
            frame[c] = frame[c].where(frame[mark] != "yes")
        return frame[self.columns]


def settled(fake, train, categories):
    """Fake rows whose numbers are in the range of the training rows, with their decimals."""
    numbers = {}
    for c in train:
        if c in categories:
            continue
        seen = train[c].dropna().to_numpy(float)
        decimals = decimals_of(seen)
        column = pd.to_numeric(fake[c], errors="coerce").astype(float).clip(seen.min(), seen.max())
        grid = np.isclose(np.round(seen, decimals), seen, rtol=1e-9, atol=1e-9)
        numbers[c] = column.round(decimals) if grid.mean() >= AGREEMENT else column
    return fake.assign(**numbers)[list(train)]


# ---------------------------------------------------------------- a process


def run(rival, train, test, categories, target, *, environments, n_draws=1, **settings):
    """Fake rows of a rival, and what they cost.

    Parameters
    ----------
    rival : Rival
    train, test : DataFrame
        The test rows are for the log-likelihood.
    categories : list
        Columns of text; the others are numbers.
    target : str
    environments : Environments
    n_draws : int
        How many samples of the size of the training rows are drawn.
    **settings : dict
        `seconds`, `processor` (whether these are of the processor), and `seed`.

    Returns
    -------
    fake : DataFrame
        `n_draws` times as many rows as there are training rows, or fewer of slow methods.
    cost : dict

    Raises
    ------
    RivalFailed
        If there are no rows.
    """
    if rival.most_rows is not None and len(train) > rival.most_rows:
        raise RivalFailed(f"left out: more than {rival.most_rows:,} training rows")
    python, versions = environments.of(rival)
    complete = Complete(train, categories)
    task = Task(
        rival.name, list(categories), target, n_rows=len(train), n_draws=n_draws, **settings
    )
    parts = train, test
    if not rival.takes_missing:
        parts = [complete.fill(part, task.seed) for part in parts]
        task.categories = complete.categories
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, file in zip(parts, ("train.csv", "test.csv"), strict=True):
            part.to_csv(folder / file, index=False)
        (folder / "task.json").write_text(json.dumps(asdict(task)), encoding="utf-8")
        cost = execute(python, folder, task, own=not rival.packages)
        fake = read(folder / "fake.csv", task.categories)
    if not rival.takes_missing:
        fake = complete.empty(fake)
    named = map(bare, rival.packages)
    cost["versions"] = {p: versions[p] for p in named if p in versions}
    return settled(fake, train, categories), cost


def execute(python, folder, task, *, own):
    """Run the process of a rival in a folder; return its result."""
    limit = 2 * task.seconds + ALLOWANCE
    if task.processor:
        limit *= BUSY
    variables = own_paths_only() | ALONE
    if own:  # a checkout on the path stays on it
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        found = subprocess.run(
            [python, str(HERE / "_rival_process.py"), str(folder)], env=variables, cwd=folder,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise RivalFailed(f"no rows after {limit:.0f} s") from error
    result = folder / "result.json"
    if found.returncode or not result.exists():
        raise RivalFailed(f"fails with code {found.returncode}: {last_line(found.stdout)}")
    return json.loads(result.read_text(encoding="utf-8"))


# ---------------------------------------------------------------- judges


def judge(train, test, fake, categories, target, seed):
    """Metrics of fake rows beside test rows.

    Differences from the test rows are those of as many fake rows as there are test rows; models are
    trained on all fake rows.
    """
    train, test, fake = (as_types(part, categories) for part in (train, test, fake))
    n = min(len(test), len(fake))
    some = fake[:n]
    auc = two_sample_auc(test[:n], some, random_state=seed)
    utility = train_on_synthetic(train, test, fake, target, random_state=seed)
    closest = closest_record(train, test, some, random_state=seed)
    return {
        "auc": auc.auc,
        "auc_error": auc.standard_error,
        "shape": shape_error(test, some).mean,
        "trend": trend_error(test, some).mean,
        "utility": utility.synthetic,
        "utility_real": utility.real,
        "utility_error": utility.standard_error,
        "scoring": utility.scoring,
        "closest": closest.share,
        "copies": closest.fake_copies,
        "copies_held_out": closest.held_out_copies,
        "n_test": n,
        "n_fake": len(fake),
    }
