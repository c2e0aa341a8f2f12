"""The fit of a network: epochs within a budget, and the state that comes of them."""

from dataclasses import replace

import numpy as np
import torch

from gudlearn.model.build import fitted_model, make_component_model
from gudlearn.model.device import to_arrays
from gudlearn.model.fitted import FittedModel
from gudlearn.model.state import TimeWeights
from gudlearn.training.imputation import Imputation
from gudlearn.training.loop import Budget, Hooks, run_epochs
from gudlearn.training.sources import rows_on_device
from gudlearn.training.split import hold_out, n_held_out
from gudlearn.training.trainer import Batch
from gudlearn.training.validation import make_validation

# Rows, or images, on which the importance-sampling density of scores is measured.
_ROWS_FOR_TIMES, _IMAGES_FOR_TIMES = 256, 32
# Images, at most, from which the units of a loss are taken.
_IMAGES_FOR_UNITS = 512


class Fit:
    """The training of a network.

    Parameters
    ----------
    estimator : GUDGenerator
        Its public parameters are read.
    state : ModelState
        Untrained, or of an earlier fit.
    rows : Rows
    trainer : Trainer or None
        None where nothing diffuses.
    budget : Budget
    seed : int
    after_epoch : callable (n_epochs, averaged_state, log) -> bool
        True stops training.
    """

    def __init__(self, estimator, state, rows, trainer, budget, seed, after_epoch):
        self.estimator, self.state, self.rows = estimator, state, rows
        self.trainer, self.budget, self.seed = trainer, budget, seed
        self.after_epoch = after_epoch

    def run(self, keep):
        """Train, and hand every new state to a callable, also if an error ends training.

        Parameters
        ----------
        keep : callable of a ModelState
        """
        if self.trainer is None:
            return
        if self.budget.max_iter == 0:
            if self.state.preconditioner.joint() is not None:
                keep(self._with_time_weights(self._source(self.rows)))
            return
        estimator, state = self.estimator, self.state
        n = n_held_out(len(self.rows), estimator.validation_fraction, state.has_images)
        held_out = hold_out(self.rows, n, self.seed)
        train = self.rows.take(np.delete(np.arange(len(self.rows)), held_out))
        untrained = fitted_model(state, device=estimator.device, precision=estimator.precision)
        source = self._source(train)

        def keep_log(log):
            self.state = self.state.trained(to_arrays(log.best_state), state.history.then(log))
            keep(self.state)

        run_epochs(
            self.trainer,
            source,
            self.budget,
            validation=make_validation(untrained, self.rows.take(held_out), self.seed),
            patience=estimator.n_iter_no_change if estimator.early_stopping else None,
            tol=estimator.tol,
            verbose=estimator.verbose,
            hooks=Hooks(
                self.after_epoch, self._imputation(train, source),
                state.encoding.extreme_column, keep_log,
            ),
            units=loss_units(untrained, train, estimator.loss_weighting, state.has_images),
        )  # fmt: skip
        keep(self._with_time_weights(source))

    def _source(self, rows):
        return rows_on_device(self.state, rows, self.trainer, self.estimator.random_flips)

    def _imputation(self, rows, source):
        """What imputes the missing values of training rows; None if nothing does."""
        if source.missing is None or not self.state.conditional_rate:
            return None
        return Imputation(model_in_training(self.state, self.trainer), rows, source, self.seed)

    def _with_time_weights(self, source):
        """The state with the importance-sampling density that scores draw times from."""
        weights = measure_time_weights(self.trainer, source, self.state.has_images)
        return replace(
            self.state, time_weights=TimeWeights.measured(weights, self.state.schedule)
        )


def partial_fit(estimator, state, rows, trainer):
    """Make one epoch over rows at the full learning rate; the state after it.

    Parameters
    ----------
    estimator : GUDGenerator
        Its public parameters are read.
    state : ModelState
    rows : Rows
    trainer : Trainer or None
        None where nothing diffuses.
    """
    if trainer is None:
        history = replace(state.history, n_epochs=state.history.n_epochs + 1)
        return replace(state, history=history)
    untrained = fitted_model(state, device=estimator.device, precision=estimator.precision)
    log = run_epochs(
        trainer,
        rows_on_device(state, rows, trainer, estimator.random_flips),
        Budget(None, None),
        hooks=Hooks(extreme_column=state.encoding.extreme_column),
        units=loss_units(untrained, rows, estimator.loss_weighting, state.has_images),
    )
    return state.trained(to_arrays(log.best_state), state.history.then(log))


def model_in_training(state, trainer):
    """The fitted model of a trainer's averaged weights as they change, in its arithmetic."""
    components = make_component_model(
        state, trainer.averaged, trainer.path, np.ones(1), trainer.device, torch.float32,
        trainer.autocast,
    )  # fmt: skip
    return FittedModel(state.encoding, state.preconditioner, components)


def measure_time_weights(trainer, source, images):
    """Relative heights of the density from which scores draw times."""
    n_rows = _IMAGES_FOR_TIMES if images else _ROWS_FOR_TIMES
    source.begin_epoch(0)
    some = torch.arange(0, len(source), max(1, len(source) // n_rows), device=trainer.device)
    missing = None if source.imputed else source.missing
    others = (
        None if v is None else v[some] for v in (source.labels, missing, source.self_index)
    )
    batch = Batch(source.components(some), *others)
    return trainer.time_weights(batch, n_pairs=1 if images else 2)


def loss_units(fitted, rows, loss_weighting, images):
    """Factor and offset that turn a training loss into an nll per dimension.

    The prior's term is left out: at the highest noise level it is below a thousandth of a nat.
    """
    if images:
        rows = rows.take(slice(None, None, max(1, len(rows) // _IMAGES_FOR_UNITS)))
    if loss_weighting != "likelihood":
        return 1.0, 0.0
    fixed = fitted.each_chunk(rows, lambda chunk: fitted.fixed_log_likelihood(chunk).sum(1)).mean()
    n_dimensions = rows.n_observed / len(rows)
    n_active = len(fitted.components.active)
    return n_active / rows.n_features, -float(fixed) / n_dimensions
