"""Sweeps: one fit scored under many schedules, and trained further for the best of them."""

import copy
import math
from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.base import clone

from gudlearn._specs import resolve, same, snapshot
from gudlearn.data.labels import check_labels
from gudlearn.model.device import to_arrays
from gudlearn.model.schedule_family import check_inside, schedules_of
from gudlearn.training.loop import Budget, run_epochs
from gudlearn.training.options import make_trainer
from gudlearn.training.sources import rows_on_device

# Fractions of the epochs of a fit, for each schedule and for the best.
_ADAPTATION, _REFINEMENT = 0.04, 0.75
# Steps in which the learning rate rises where they are few.
_WARM_UP = 10


@dataclass(frozen=True, eq=False)
class Sweep:
    """Scores of one fit under several schedules, in the order of the grid.

    Parameters
    ----------
    results : DataFrame
        One row for each schedule, with the columns:

        - ``schedule``: the schedule; and one column for each parameter of the grid;
        - ``bits_per_dim``: the bound on the negative log-likelihood, in bits per entry: small is
          good; and ``std_error``: its standard error, over rows and noise;
        - ``difference`` to the best schedule, in bits per entry, and its standard error
          ``std_error_difference``: both are scored on the same rows with the same noise, so that
          it is far smaller than the other one;
        - ``spread``: how far the bounds of single rows are from their mean over the schedules,
          the root mean square in bits per entry, without the part of the noise; 0 where it cannot
          be told from the noise. For a denoiser that is the exact one of some distribution it is
          zero: the bound does not depend on the path;
        - ``rank``: 1 is the best.
    best_index : int
        Row of the best schedule.
    best_params : dict
        ``{"schedule": ...}``, for ``set_params``.
    best_estimator : GUDGenerator
        The fitted generator with the best schedule, with ``refine=True`` trained further for it.
    """

    results: pd.DataFrame
    best_index: int
    best_params: dict
    best_estimator: object


class Further:
    """Further training of a fitted generator, for single schedules.

    Parameters
    ----------
    estimator : GUDGenerator
        It stays as it is.
    X, y : as in ``fit``, or None
    rows : Rows or None
        Those of X and y.
    adapt_iter, refine_iter : int or "auto"
        Epochs for each schedule, and for the best.
    refine : bool
    """

    def __init__(self, estimator, X, y, rows, adapt_iter, refine, refine_iter):
        adapt_iter = _n_epochs("adapt_iter", adapt_iter, 0, _ADAPTATION, estimator)
        self.refine_iter = _n_epochs("refine_iter", refine_iter, 1, _REFINEMENT, estimator)
        if X is None and (adapt_iter or refine):
            cause = "refine=True" if refine else f"adapt_iter={adapt_iter}"
            raise ValueError(
                f"{cause} trains on rows that a generator does not keep. Pass X_train, the rows "
                "that it was fitted to, or do without."
            )
        if X is not None and estimator.state_.classes is not None:
            check_labels(y, len(rows))
        self.X, self.y, self.rows, self.refine = X, y, rows, refine
        self.adapt_iter, self._source = adapt_iter, None
        # Processes that work together adapt alike.
        self._seed = estimator.sampling().seed(estimator.random_state) if adapt_iter else None

    def adapt(self, estimator):
        """Train an estimator for its schedule alone; in place, and without held-out rows."""
        state, rows = replace(estimator.state_, schedule_family=None), self.rows
        trainer = make_trainer(estimator, state, len(rows), self._seed) if self.adapt_iter else None
        if trainer is None:
            return
        if self._source is None:
            self._source = rows_on_device(state, rows, trainer, estimator.random_flips)
        log = run_epochs(trainer, self._source, Budget(self.adapt_iter, None, warm_up=_WARM_UP))
        estimator.state_ = state.trained(to_arrays(log.best_state), state.history)

    def finish(self, estimator):
        """Fit an estimator further, with ``refine``, for its schedule alone; in place."""
        if not self.refine:
            return
        before = estimator.get_params(deep=False)
        training = resolve("training", estimator.training).set_params(schedule_family=None)
        estimator.set_params(
            warm_start=True, max_iter=self.refine_iter, max_time=None, training=training
        )
        estimator.fit(self.X, self.y)
        estimator.set_params(**{k: before[k] for k in ("warm_start", "max_iter", "max_time")})


def _n_epochs(name, value, least, fraction, estimator):
    """A number of epochs; "auto" is a fraction of those of the fit."""
    if isinstance(value, str) and value == "auto":
        return max(1, round(fraction * estimator.n_iter_))
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(
            f"{name}={value!r} must be 'auto' or a number of epochs of at least {least}. Pass one."
        )
    return int(value)


def run_sweep(estimator, rows, param_grid, n_draws, further):
    """Score a fitted generator under every schedule of a grid.

    Parameters
    ----------
    estimator : GUDGenerator
    rows : Rows
    param_grid : dict of str to sequence, or list of these
    n_draws : int or {"auto", "coarse"}
    further : Further

    Returns
    -------
    Sweep
    """
    state = estimator.state_
    schedules, values = schedules_of(param_grid, state.schedule)
    for schedule in schedules:
        check_inside(state.schedule_family, schedule, state.schedule)
    unit = -math.log(2) * max(estimator.scoring().n_scored(rows), 1) / len(rows)
    models, found = [_under(estimator, schedule) for schedule in schedules], []
    for model in models:
        further.adapt(model)
        found.append(model.scoring(n_draws).rows_and_errors(rows) / unit)
    results = pd.DataFrame({"schedule": schedules}).join(pd.DataFrame(values))
    results = results.join(pd.DataFrame(schedule_statistics(*np.stack(found, 1))))
    best = int(results["bits_per_dim"].argmin())
    further.finish(models[best])
    return Sweep(results, best, {"schedule": clone(schedules[best], safe=False)}, models[best])


def _under(estimator, schedule):
    """A copy of a fitted generator with another schedule."""
    other = copy.copy(estimator)
    other.schedule = clone(schedule, safe=False)
    if not same(snapshot(schedule), snapshot(estimator.state_.schedule)):
        other.state_ = replace(estimator.state_, schedule=schedule)
    return other


def schedule_statistics(bits, errors):
    """Columns of the results, a dict, from bits and their noise, each (n_schedules, n_rows)."""
    n_schedules = len(bits)
    mean = bits.mean(1)
    with np.errstate(invalid="ignore"):
        difference = bits - bits[mean.argmin()]
        from_mean = np.square(bits - bits.mean(0)).mean(1)
    # Of independent noise: that of a schedule, and that of the mean over all of them.
    noise = np.square(np.nan_to_num(errors)).mean(1)
    noise = (1 - 2 / n_schedules) * noise + noise.mean() / n_schedules
    return {
        "bits_per_dim": mean,
        "std_error": _standard_error(bits),
        "difference": difference.mean(1),
        "std_error_difference": _standard_error(difference),
        "spread": np.sqrt(np.maximum(from_mean - noise, 0.0)),
        "rank": mean.argsort(kind="stable").argsort() + 1,
    }


def _standard_error(values):
    """Standard errors of means over rows, (n_schedules,), NaN of a single row."""
    n_rows = values.shape[1]
    if n_rows < 2:
        return np.full(len(values), np.nan)
    with np.errstate(invalid="ignore"):
        return values.std(1, ddof=1) / math.sqrt(n_rows)
