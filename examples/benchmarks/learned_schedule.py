"""A path for each component, trained through the bound, against the default and a sweep.

    python learned_schedule.py --data DIR --out FILE
    python learned_schedule.py --report --out FILE
    python learned_schedule.py --quick

Each component has a monotone curve of its own between its end points, in 16 pieces; the curve of a
category is the distribution of the time at which it is revealed. Gradients of the bound pass
through noise and network; those of masks are score functions. First two denoisers whose bound
depends on the path by a known amount show that the optimiser finds it. Then, by set and seed, each
fit has the same number of epochs:

- ``default``: the linear schedule; and ``joint``: network and path trained together;
- ``softness 1``, ``softness 0.4``: single fits, strong components or first columns first;
- ``for the bound``, ``for the noise``: the network of the default, its path trained afterwards on
  the bound, or on the standard deviation of scores;
- ``family``: a network for a family, of which the best of a sweep is fitted further; and
  ``family, learned``: the path is trained further from the best one before that.

Printed are bits/dim of test rows, paired differences from the default with standard errors, and
the standard error that the draws of a score leave, for equal draws. Lines of JSON; a run continues
where an earlier one stopped.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from _data import load
from _learned_paths import (
    RATE,
    TOGETHER,
    WARM_UP,
    OneSidedCategories,
    OneSidedGaussian,
    PathLearner,
    PathSchedule,
    bound_objective,
    control,
    logits_of,
    noise_objective,
    without_gates,
)
from _mixed import read_frame
from _results import append, read
from sklearn.model_selection import train_test_split

from gudlearn import GUDGenerator, SoftConditioningSchedule, Training
from gudlearn.model.state import TimeWeights
from gudlearn.model.user_data import UserData
from gudlearn.training.fit import measure_time_weights
from gudlearn.training.options import make_trainer
from gudlearn.training.sources import rows_on_device
from gudlearn.training.trainer import Batch, Trainer

# Epochs of a fit, and steps that train a path alone.
SETS = {
    "digits": (600, 200), "wine_quality": (110, 200), "adult": (50, 200), "letter": (90, 200),
}  # fmt: skip
# Steps of the network for each step of the path.
EVERY = 4
# Rows of a step that trains a path alone, on the bound; and groups, on the noise.
ROWS, GROUPS = 512, 32
SOFTNESS = (1.0, 0.4)
# The last fit of a set, and that of a short run.
LAST, SHORT = "family, learned, refined", "for the noise"


def rows_of(name, options):
    """Training, validation and test rows of a set, and parameters of the generator."""
    n, parameters = options.rows, {"basis": "identity"}
    if name == "adult":
        X = read_frame(options.data, name, False, options.most_rows + 2 * n).frame
    else:
        dataset = load(name, options.data)
        X, parameters["bin_width"] = dataset.X[: options.most_rows + 2 * n], dataset.bin_width
    if name == "digits":
        parameters |= {"basis": "pca", "bin_width": 1.0}
    rest, test = train_test_split(X, test_size=n, random_state=options.seed)
    train, validation = train_test_split(rest, test_size=n, random_state=options.seed)
    return train, validation, test, parameters


def grids_of(name, n_columns):
    """The grids of a sweep, and the family that holds them."""
    softness = np.geomspace(0.05, 5 if name == "digits" else 10, 5).tolist()
    soft = {"schedule": ["soft"], "schedule__softness": softness}
    family = {"schedule": "soft", "softness": (softness[0], softness[-1])}
    linear = {"schedule": ["linear"]}
    if name == "adult":
        windows = np.geomspace(1, 0.75 * n_columns, 5).tolist()
        order = {"order": ["natural"]}
        grids = [
            soft | {"schedule__order": ["natural"]},
            {"schedule": ["sequential"], "schedule__window": windows,
             "schedule__order": ["natural"]},
        ]  # fmt: skip
        sequential = {"schedule": "sequential", "window": (windows[0], windows[-1])}
        return [*grids, linear], [family | order, sequential | order, {"schedule": "linear"}]
    if name == "digits":
        orders = ["variance", np.linspace(8, 0, n_columns).tolist()]
    else:
        orders = ["natural", list(range(n_columns))[::-1]]
    grids = [soft | {"schedule__order": orders}, linear]
    return grids, [family | {"order": orders}, {"schedule": "linear"}]


def under(gen, schedule):
    """A copy of a fitted generator with another schedule."""
    other = copy.copy(gen)
    other.schedule = schedule
    other.schedule_ = schedule
    return other


def trainer_of(gen, X):
    """A trainer with the weights of a generator, and a source of its rows."""
    state = replace(gen.state_, schedule_family=None)
    rows = UserData(gen, state).rows(X)
    trainer = make_trainer(gen, state, len(rows), 0)
    weights = {name: torch.as_tensor(value) for name, value in state.weights.items()}
    trainer.averaged.network.load_state_dict(weights)
    source = rows_on_device(state, rows, trainer, False)
    source.begin_epoch(0)
    return trainer, source


def measured(gen, X):
    """The generator, with the best density over t for scores of its schedule as it is now."""
    trainer, source = trainer_of(gen, X)
    times = TimeWeights.measured(*measure_time_weights(trainer, source, False), gen.state_.schedule)
    gen.state_ = replace(gen.state_, time_weights=times)
    return gen


def new_learner(path, options, objective=bound_objective):
    """A learner of a path by the options."""
    return PathLearner(path, objective, options.rate, options.warm_up)


def path_step(learner, trainer, batch, factor, control=None):
    """A step of a path on the averaged network of a trainer."""
    some = batch.part(slice(min(len(batch.x0), ROWS) // TOGETHER * TOGETHER))
    denoiser = trainer.labelled(some.labels, some.self_index)
    path = trainer.path_without(some.missing)
    return learner.step(denoiser, (some.x0, control), factor, path)


def fitted_jointly(gen, X, options):
    """Fit a generator whose path is trained together with its network."""
    step, learners = Trainer.step, {}

    def step_both(trainer, batch, factor, imputed=False):
        learner = learners.setdefault(trainer, new_learner(trainer.path, options))
        if trainer.steps % EVERY == 0:
            path_step(learner, trainer, batch, factor)
        return step(trainer, batch, factor, imputed)

    gen.schedule = PathSchedule()
    with mock.patch.object(Trainer, "step", step_both):
        gen.fit(X)
    (learner,) = learners.values()
    return measured(under(gen, PathSchedule(learner.logits.numpy())), X)


def learned(gen, X, logits, objective, steps, options):
    """A copy of a generator whose path alone is trained, from given logits."""
    gen = under(gen, PathSchedule(logits))
    trainer, source = trainer_of(gen, X)
    learner = new_learner(trainer.path, options, objective)
    rng = np.random.default_rng(0)
    control, n_rows = None, ROWS
    if objective is noise_objective:
        n_rows = GROUPS * TOGETHER
        if gen.state_.time_weights.gaussian:
            control = trainer.denoiser.joint_gaussian.denoiser_on(trainer.path)
    for step in range(steps):
        index = torch.from_numpy(rng.integers(len(source), size=n_rows))
        parts = source.labels, source.missing, source.self_index
        batch = Batch(source.components(index), *(None if p is None else p[index] for p in parts))
        path_step(learner, trainer, batch, 1 - step / steps, control)
    return measured(under(gen, PathSchedule(learner.logits.numpy())), X)


def refined(gen, X, max_iter):
    """A copy of a generator that is fitted further, for its own schedule."""
    other = copy.copy(gen).set_params(warm_start=True, max_iter=max_iter, training="auto")
    return other.fit(X)


def models_of(name, options):
    """Names and generators of a set, and test rows."""
    train, validation, test, parameters = rows_of(name, options)
    epochs, steps = SETS[name] if options.epochs is None else (options.epochs, options.epochs)
    parameters["random_state"] = options.seed

    def new(max_iter, **more):
        return GUDGenerator(max_iter=max_iter, **parameters, **more)

    default = new(epochs).fit(train)
    yield "default", default, test
    yield "joint", fitted_jointly(new(epochs), train, options), test
    order = "variance" if name == "digits" else "natural"
    for softness in () if options.short else SOFTNESS:
        soft = SoftConditioningSchedule(softness, order)
        yield f"softness {softness:g}", new(epochs, schedule=soft).fit(train), test
    linear = logits_of(default.state_.path())
    for arm, objective in (("for the bound", bound_objective), (SHORT, noise_objective)):
        yield arm, learned(default, train, linear, objective, steps, options), test
    if options.short:
        return
    grids, family = grids_of(name, train.shape[1])
    trained = new(-(-2 * epochs // 5), training=Training(schedule_family=family)).fit(train)
    best = trained.sweep(validation, grids).best_estimator
    best = measured(under(best, best.schedule_), train)
    yield "family", best, test
    logits = logits_of(best.state_.path())
    path = learned(best, train, logits, bound_objective, steps, options)
    yield "family, learned", path, test
    yield "family, refined", refined(best, train, -(-3 * epochs // 5)), test
    yield LAST, refined(path, train, -(-3 * epochs // 5)), test


def measured_arms(name, options):
    """Results of the fits of one set and seed, dicts."""
    first = None
    for arm, gen, test in models_of(name, options):
        scores, noise = gen.score_samples(test, n_draws=options.draws, return_std=True)
        unit = math.log(2) * test.shape[1]
        bits, root = -scores / unit, math.sqrt(len(scores))
        first = bits if first is None else first
        yield {
            "set": name, "seed": options.seed, "arm": arm, "bits": bits.mean(),
            "difference": (bits - first).mean(),
            "std_error_difference": (bits - first).std(ddof=1) / root,
            "noise": math.sqrt(np.mean(noise**2)) / unit,
            "distance": distance_from_linear(gen.state_.path()),
        }  # fmt: skip


def distance_from_linear(path):
    """Mean absolute difference of the fractions of ranges that are covered, over t."""
    path, t = without_gates(path), torch.linspace(0, 1, 65, dtype=torch.float64)
    covered = (path(t) - path.gamma_0) / (path.gamma_1 - path.gamma_0)
    return float((covered - t[:, None]).abs().mean())


def controls(steps):
    """Print the known gaps of two denoisers, and what the optimiser closes of them."""
    for denoiser in (OneSidedGaussian(), OneSidedCategories()):
        linear, path = control(denoiser, steps)
        print(
            f"control, {denoiser.name}: {linear:.3f} nats on the linear path, {path:.3f} on the "
            f"learned one, {denoiser.least_bound:.3f} at best",
            flush=True,
        )


def report(results):
    """Print a line for each fit."""
    found = {(e["set"], e["seed"], e["arm"]): e for e in results}
    for (name, seed, arm), entry in found.items():
        least = found[name, seed, "default"]["noise"]
        ratio = f", {entry['noise'] / least:.2f} of the default's" if least else ""
        print(
            f"{name}, seed {seed}, {arm}: {entry['bits']:.4f} bits/dim, "
            f"{entry['difference']:+.4f} +- {entry['std_error_difference']:.4f}; noise of a "
            f"score {entry['noise']:.4f}{ratio}; {entry['distance']:.3f} from linear",
            flush=True,
        )


def main(argv=None):
    """Measure what the file does not have yet, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", help="folder with load.py and tabular/")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--epochs", type=int, help="of each fit, and steps of a path")
    parser.add_argument("--rows", type=int, default=300, help="of validation, and of the test")
    parser.add_argument("--most-rows", type=int, default=8000)
    parser.add_argument("--draws", type=int, default=128, help="of noise for each score")
    parser.add_argument("--rate", type=float, default=RATE, help="learning rate of paths")
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help="steps in which it rises")
    parser.add_argument("--short", action="store_true", help="without other schedules")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file of JSON lines")
    parser.add_argument("--report", action="store_true", help="print the results of the file")
    parser.add_argument("--quick", action="store_true", help="a smoke test on a few digits")
    options = parser.parse_args(argv)
    if options.quick:
        options.sets, options.epochs, options.draws = ("digits",), 4, 32
        options.rows, options.most_rows = 20, 200
    torch.set_num_threads(1)
    results = read(options.out)
    last = SHORT if options.short else LAST
    done = {(e["set"], e["seed"]) for e in results if e["arm"] == last}
    if not options.report and not options.short:
        controls(10 if options.quick else 400)
    for name in () if options.report else options.sets:
        for result in () if (name, options.seed) in done else measured_arms(name, options):
            print(json.dumps(result), flush=True)
            append(options.out, result)
            results.append(result)
    report(results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
