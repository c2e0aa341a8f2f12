"""One rival, fitted in a process of its own: training rows in, fake rows and their cost out.

    python _rival_process.py FOLDER

`FOLDER/task.json` names the method, the columns of categories, the target, the seconds, whether
these are of the processor, the seed and the number of rows; `train.csv` has the training rows,
`test.csv` rows for the log-likelihood of methods that have one. Written are `fake.csv` and
`result.json`.

This file runs in the environment of a rival: it imports pandas, NumPy and, in the function of each
method, its package. Methods of ours import the files next to it.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

# Training that has no other end.
UNENDING = 10**6
# Batches by which the speed of training is measured, after those that compile.
TRIAL_BATCHES, FIRST_BATCHES = 20, 5


@dataclass
class Task:
    """What is asked for."""

    method: str
    categories: list
    target: str
    seconds: float
    processor: bool
    seed: int
    n_rows: int
    n_draws: int = 1

    def begin(self):
        """Start the clock: imports are over."""
        self.start = time.monotonic()

    def left(self):
        """Seconds left."""
        return self.seconds - (time.monotonic() - self.start)


@dataclass
class Fitted:
    """A function from a number of rows to a frame, one from rows to nats, and what was chosen."""

    sample: object
    score: object = None
    chosen: dict = field(default_factory=dict)
    # Rows drawn at a time. A slow method is stopped between two of these draws.
    most_rows: int = UNENDING


def read(path, categories):
    """A frame of a CSV file: text in columns of categories, numbers in the others."""
    texts = dict.fromkeys(categories, str)
    return pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=[""])


def while_left(task, epochs, *, stop_early=False):
    """Yield from an iterable as long as there is time, or as long as the next one fits."""
    done = 0
    for item in epochs:
        spent = task.seconds - task.left()
        if done and (task.left() <= 0 or (stop_early and task.left() < spent / done)):
            return
        yield item
        done += 1


# ---------------------------------------------------------------- ours, and simple models


def marginals(train, task):
    """Columns drawn from the training rows one by one."""
    from _mixed import permuted

    task.begin()
    return Fitted(lambda n: permuted(train, n, task.seed))


def copula(train, task):
    """Gaussian copula of ranks."""
    from _mixed import gaussian_copula

    task.begin()
    return Fitted(lambda n: gaussian_copula(train, task.categories, n, task.seed))


def mixtures(train, task):
    """Gaussian mixtures, one for each class."""
    from _mixed import mixture_per_class

    task.begin()
    n_rows = task.n_rows * task.n_draws
    rows, sizes = mixture_per_class(
        train, task.categories, task.target, task.seconds, n_rows, task.seed
    )
    return Fitted(lambda n: rows[:n], chosen={"components": sizes})


def shallow(train, task):
    """Mixture of products of histograms."""
    from _mixed import shallow_mixture

    task.begin()
    n_rows = task.n_rows * task.n_draws
    rows = shallow_mixture(train, task.categories, task.seconds, n_rows, task.seed)
    return Fitted(lambda n: rows[:n])


def ours(train, task, **settings):
    """The generator, with its defaults but for `settings`."""
    from tables import fit, missing_as_value

    task.begin()
    seconds = None if "max_iter" in settings else task.seconds
    model = fit(train, seconds, task.seed, **missing_as_value(train), **settings)
    return Fitted(model.sample, model.score, {"epochs": int(model.n_iter_)})


def gudlearn(train, task):
    """gudlearn with its defaults."""
    return ours(train, task)


def untrained(train, task):
    """gudlearn's own mixture, no network trained."""
    return ours(train, task, preconditioning="mixture", max_iter=0)


# ---------------------------------------------------------------- packages


def by_ctgan(train, task, name):
    """CTGAN or TVAE with their defaults, as many epochs as fit into the seconds."""
    import torch
    from ctgan import synthesizers

    module = importlib.import_module(f"ctgan.synthesizers.{name.lower()}")
    task.begin()
    done = []

    def epochs(iterable, **settings):
        for epoch in while_left(task, iterable):
            yield epoch
            done.append(epoch)

    module.tqdm = epochs
    model = getattr(synthesizers, name)(epochs=UNENDING, enable_gpu=False)
    model.set_random_state(task.seed)
    torch.set_num_threads(1)
    model.fit(train, [c for c in train if c in task.categories])
    return Fitted(model.sample, chosen={"epochs": len(done)})


def ctgan(train, task):
    """CTGAN."""
    return by_ctgan(train, task, "CTGAN")


def tvae(train, task):
    """TVAE."""
    return by_ctgan(train, task, "TVAE")


def argn(train, task):
    """TabularARGN in one order and without its protection of rare values, which cost fidelity.

    The package ends the training by its time or by its validation loss.
    """
    import torch
    from mostlyai.engine import TabularARGN

    task.begin()
    torch.set_num_threads(1)
    model = TabularARGN(
        max_training_time=task.seconds / 60, enable_flexible_generation=False,
        value_protection=False, random_state=task.seed, device="cpu", verbose=0,
    ).fit(train)  # fmt: skip
    return Fitted(
        lambda n: model.sample(n_samples=n, device="cpu"), lambda test: model.log_prob(test).mean()
    )


def origami(train, task):
    """ORiGAMi with numbers by its mixture densities.

    Its learning rate falls with the epochs, whose number follows from the speed of some batches.
    The warm-up takes no more than a tenth of the steps.
    """
    import torch
    from origami import DataConfig, OrigamiConfig, OrigamiPipeline, TrainingConfig
    from origami.training.callbacks import TrainerCallback

    task.begin()

    class Stop(TrainerCallback):
        """End the training after some batches, or when the time is over."""

        def __init__(self, most_batches):
            self.most_batches, self.left = most_batches, [task.left()]

        def on_batch_end(self, trainer, state, payload):
            self.left.append(task.left())
            if len(self.left) > self.most_batches or self.left[-1] <= 0:
                raise KeyboardInterrupt

    def fit(rows, epochs, warm_up, callback):
        torch.manual_seed(task.seed)
        model = OrigamiPipeline(OrigamiConfig(
            training=TrainingConfig(
                num_epochs=epochs, warmup_steps=warm_up, eval_strategy="no", use_accelerate=False
            ),
            data=DataConfig(numeric_mode="scale"), device="cpu",
        ))  # fmt: skip
        return model.fit(rows, callbacks=[callback])

    torch.set_num_threads(1)
    rows = [
        {k: v.item() if hasattr(v, "item") else v for k, v in row.items() if not pd.isna(v)}
        for row in train.to_dict("records")
    ]
    trial = Stop(FIRST_BATCHES + TRIAL_BATCHES)
    fit(rows, trial.most_batches, 1000, trial)
    per_batch = -np.diff(trial.left)[-TRIAL_BATCHES:].mean()
    steps = max(1, int(task.left() / per_batch))
    per_epoch = -(-len(rows) // TrainingConfig().batch_size)
    stop = Stop(UNENDING)
    model = fit(rows, max(1, round(steps / per_epoch)), min(1000, steps // 10), stop)
    seeds = iter(range(task.seed, UNENDING))

    def sample(n):
        drawn = model.generate(n, seed=next(seeds), allow_complex_values=False, batch_size=256)
        return pd.DataFrame(drawn, columns=list(train))

    return Fitted(sample, chosen={"steps": len(stop.left) - 1}, most_rows=256)


def forest(train, task):
    """ForestDiffusion by flow matching, a model for each class.

    Each row has copies with noise of their own, 100 by default, and each of 50 noise levels 100
    trees. There are as many copies as fit by :func:`copies_and_trees`, or fewer trees.
    """
    from ForestDiffusion import ForestDiffusionModel

    task.begin()
    numbers = [c for c in train if c not in task.categories]
    levels = {c: np.unique(train[c].astype(str)) for c in train if c in task.categories}
    codes = train.assign(**{c: np.searchsorted(v, train[c].astype(str)) for c, v in levels.items()})
    by_class = task.target in levels
    columns = [c for c in train if not (by_class and c == task.target)]
    settings = {
        "label_y": codes[task.target].to_numpy() if by_class else None,
        "bin_indexes": [j for j, c in enumerate(columns) if c in levels and len(levels[c]) <= 2],
        "cat_indexes": [j for j, c in enumerate(columns) if c in levels and len(levels[c]) > 2],
        "int_indexes": [
            j for j, c in enumerate(columns) if c in numbers and (train[c] % 1 == 0).all()
        ],
        "n_jobs": 1, "seed": task.seed, "nthread": 1,
    }  # fmt: skip
    X = codes[columns].to_numpy(float)

    def fit(levels, copies, trees):
        return ForestDiffusionModel(
            X.copy(), n_t=levels, duplicate_K=copies, n_estimators=trees, **settings
        )

    copies, trees = copies_and_trees(fit, task)
    model = fit(50, copies, trees)

    def sample(n):
        drawn = pd.DataFrame(
            model.generate(batch_size=n), columns=[*columns, *([task.target] if by_class else [])]
        )
        for c, v in levels.items():
            drawn[c] = v[drawn[c].round().astype(int)]
        return drawn[list(train)]

    return Fitted(sample, chosen={"copies": copies, "trees": trees}, most_rows=1000)


def copies_and_trees(fit, task, n_levels=50, most_copies=100, most_trees=100):
    """The largest numbers of copies and trees that fit the time, by trials of three noise levels.

    No trial but the first starts if it would take more than a tenth of the time. The first and the
    last level cost less than the others, so that three quarters of the time are planned for.
    """
    most = task.seconds / 10

    def seconds_of(copies, trees):
        begun = task.left()
        fit(3, copies, trees)
        return (begun - task.left()) / 3

    def seconds_of_a_level():
        return 0.75 * max(task.left(), most) / n_levels

    cost = seconds_of(1, 10)
    if 30 * cost > most:
        left = seconds_of_a_level()
        return 1, int(np.clip(10 * left / cost, 1, most_trees))
    copies, cost = 1, seconds_of(1, most_trees)
    per_copy = cost
    while copies < 25 and 15 * cost < most:
        more = seconds_of(5 * copies, most_trees)
        per_copy = max((more - cost) / (4 * copies), 1e-9)
        copies, cost = 5 * copies, more
    left = seconds_of_a_level()
    if copies == 1 and left < cost:
        return 1, int(np.clip(most_trees * left / cost, 1, most_trees))
    return int(np.clip(copies + (left - cost) / per_copy, 1, most_copies)), most_trees


def nrgboost(train, task):
    """NRGBoost with its defaults, trees as long as there is time, at most the default of 200."""
    from nrgboost import Dataset, NRGBooster
    from nrgboost.tree import ensemble

    task.begin()
    ensemble.tqdm = lambda trees, **settings: while_left(task, trees, stop_early=True)
    frame = train.astype(dict.fromkeys((c for c in train if c in task.categories), "category"))
    model = NRGBooster.fit(Dataset(frame), {"num_threads": 1}, seed=task.seed)
    seeds = iter(range(task.seed, UNENDING))
    return Fitted(
        lambda n: model.sample(n, seed=next(seeds), num_threads=1),
        chosen={"trees": int(model.booster.num_trees)}, most_rows=200,
    )  # fmt: skip


METHODS = {
    "marginals": marginals, "copula": copula, "gaussian mixtures": mixtures,
    "shallow mixture": shallow, "gudlearn": gudlearn, "gudlearn untrained": untrained,
    "CTGAN": ctgan, "TVAE": tvae, "TabularARGN": argn, "ORiGAMi": origami,
    "ForestDiffusion": forest, "NRGBoost": nrgboost,
}  # fmt: skip


# ---------------------------------------------------------------- the process


def draw(fitted, n_rows, seconds):
    """Rows until there are enough, or, after the first draw, until the time is over."""
    begun, parts, n = time.monotonic(), [], 0
    while n < n_rows and not (parts and time.monotonic() - begun > seconds):
        parts.append(fitted.sample(min(fitted.most_rows, n_rows - n)))
        n += len(parts[-1])
    return pd.concat(parts, ignore_index=True)


def peak_mib():
    """Largest resident memory of this process."""
    status = Path("/proc/self/status")
    if status.exists():  # the operating system's own figure counts what the parent had
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    # Kilobytes, but bytes on macOS.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main(folder):
    """Fit, draw and score."""
    given = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    if given["processor"]:  # whatever asks for the time gets that of the processor
        time.time = time.monotonic = time.perf_counter = time.process_time
    train = read(folder / "train.csv", given["categories"])
    task = Task(**given)
    fitted = METHODS[task.method](train, task)
    end = time.monotonic()
    fake = draw(fitted, task.n_rows * task.n_draws, task.seconds)
    result = {
        "seconds_fit": end - task.start,
        "seconds_sample": time.monotonic() - end,
        "chosen": fitted.chosen,
    }
    fake.to_csv(folder / "fake.csv", index=False)
    if fitted.score is not None:
        result["nats"] = float(fitted.score(read(folder / "test.csv", task.categories)))
    result["peak_mib"] = peak_mib()
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
