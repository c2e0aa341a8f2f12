"""Training of a network within a budget, and the states that result from it."""

import copy
import weakref
from contextlib import ExitStack, closing
from dataclasses import replace

import torch

from gudlearn._random import derive_seed
from gudlearn._specs import resolve
from gudlearn.model.build import make_component_model
from gudlearn.model.device import to_arrays
from gudlearn.model.fitted import FittedModel
from gudlearn.model.state import UNIFORM_TIMES, TimeWeights
from gudlearn.model.warnings import warn_user
from gudlearn.training.checkpoints import explained_interrupt, open_checkpoint, starting_seed
from gudlearn.training.imputation import Imputation
from gudlearn.training.loop import Budget, Hooks, run_epochs
from gudlearn.training.options import make_trainer, n_epochs, takes_small_steps, targets_of
from gudlearn.training.ranks import is_first, joins, make_fabric, run_on_ranks
from gudlearn.training.sources import rows_on_device
from gudlearn.training.split import n_held_out, split
from gudlearn.training.stream_source import StreamSource
from gudlearn.training.trainer import Batch
from gudlearn.training.validation import make_validation

# Trainers of `PartialFit`, by estimator. They are not attributes of it, so that none of them is
# pickled, cloned or compared.
_TRAINERS = weakref.WeakKeyDictionary()
# Rows, or images, on which the importance-sampling density of scores is measured.
_ROWS_FOR_TIMES, _IMAGES_FOR_TIMES = 128, 32
# Numbers of rows, or images, from which the units of a loss are computed, about, if there are more.
_ROWS_FOR_UNITS, _IMAGES_FOR_UNITS = 8192, 512


class Fit:
    """The training of a network within a budget.

    Parameters
    ----------
    estimator : GUDGenerator
        Its public parameters are read, and its ``state_``, untrained or of an earlier fit.
    rows : Rows or StreamedRows
    seed : int or None
        None draws one from the estimator's ``random_state``.
    keep : callable (state) -> None
        Receives every new `ModelState`, also if an error ends training.
    continued : bool or None
        Whether training starts from the weights of an earlier fit; None: if there is no seed.
    writes : bool or None
        Whether this process writes checkpoints; None: if it is the first of those that torchrun or
        SLURM have started.
    """

    def __init__(self, estimator, rows, seed, keep, continued=None, writes=None):
        self.estimator, self.rows, self.keep = estimator, rows, keep
        self.state, self._open = estimator.state_, ExitStack()
        self.continued = seed is None if continued is None else continued
        self.seed = starting_seed(estimator) if seed is None else seed
        self.trainer = make_trainer(estimator, self.state, len(rows), self.seed)
        first = is_first(resolve("training", estimator.training))
        # Other processes open it when all have agreed on a seed, which is part of it.
        waits = writes is None and not first
        self.checkpoint = None if waits else open_checkpoint(
            estimator, self.state, rows, self.trainer, self.seed, self.continued,
            first if writes is None else writes,
        )  # fmt: skip

    def run(self, X, budget, make_context):
        """Train, and call scikit-learn's callbacks.

        Parameters
        ----------
        X : array or frame
            What the user passed, for the callbacks.
        budget : Budget
            Limit of seconds; the limit of epochs is set here.
        make_context : callable
            Creates the estimator's callback context.
        """
        estimator, rows = self.estimator, self.rows
        _TRAINERS.pop(estimator, None)
        small_steps = takes_small_steps(estimator, self.state)
        budget.max_iter = n_epochs(
            estimator.max_iter, estimator.max_time, rows.per_epoch, small_steps
        )
        if self.state.has_images:
            X = rows.values.reshape(len(rows), *self.state.container.sample_shape)
        context = make_context(max_subtasks=budget.max_iter)
        context.call_on_fit_task_begin(estimator=estimator, X=X)
        before = self.state.history.n_epochs
        if self.trainer is not None:
            with explained_interrupt(self.checkpoint, lambda: self.state.history.n_epochs - before):
                self._train_on_devices(budget, self._after_epoch(context, X))
        if self.trainer is not None and budget.max_iter != 0:
            self._warn_untrained(before)
        context.call_on_fit_task_end(estimator=estimator, X=X, reconstruction_attributes=dict)

    def _train_on_devices(self, budget, after_epoch):
        """Train in this process, or in several."""
        training = resolve("training", self.estimator.training)
        fabric = make_fabric(self.trainer.device, training.devices, training.strategy)
        if fabric is None:
            self.train(budget, after_epoch)
            return
        limits = budget.max_iter, budget.max_time, budget.seconds
        self.state = run_on_ranks(
            fabric, joins(training), train_on_rank, self.estimator, self.rows, self.seed,
            self.continued, limits,
        )  # fmt: skip
        self.keep(self.state)

    def _warn_untrained(self, before):
        if self.state.history.n_epochs == before:
            warn_user(
                f"max_time={self.estimator.max_time} seconds had passed before the first step of "
                "training: the network is untrained. Raise max_time."
            )

    def _after_epoch(self, context, X):
        """A function that calls callbacks after an epoch; it returns True if one asks to stop."""
        estimator = self.estimator

        def after_epoch(n_epochs, weights, log):
            epoch = context.subcontext(task_name="epoch")
            epoch.call_on_fit_task_begin(estimator=estimator, X=X)
            return epoch.call_on_fit_task_end(
                estimator=estimator,
                X=X,
                reconstruction_attributes=lambda: {
                    "state_": self.state.in_training(weights(), log)
                },
            )

        return after_epoch

    def train(self, budget, after_epoch=None):
        """Train in this process, alone or as one rank of several.

        Parameters
        ----------
        budget : Budget
        after_epoch : callable or None
            See `Hooks`.
        """
        with self._open:
            self._train(budget, after_epoch)

    def _train(self, budget, after_epoch):
        if budget.max_iter == 0:
            if self.state.preconditioner.joint() is not None:
                self._measure_times(self._source(self.rows))
            return
        estimator, state = self.estimator, self.state
        n = n_held_out(len(self.rows), estimator.validation_fraction, state.has_images)
        index, train, held_out = split(self.rows, n, self.seed)
        untrained = estimator.fitted_model()
        self.state = replace(self.state, held_out=index if len(index) else None)
        source = self._source(train)
        targets = targets_of(estimator, state)
        validation = make_validation(untrained, held_out, self.seed, targets)
        run_epochs(
            self.trainer,
            source,
            budget,
            validation=validation,
            patience=estimator.n_iter_no_change if estimator.early_stopping else None,
            tol=estimator.tol,
            verbose=estimator.verbose,
            hooks=Hooks(
                after_epoch, self._imputation(train, source, validation and (held_out, validation)),
                state.encoding.extreme_column, self._keep_log, self.checkpoint,
            ),
            units=loss_units(
                untrained, train.in_memory, estimator.loss_weighting, state.has_images
            ),
            continued=self.continued,
        )  # fmt: skip
        self._measure_times(source)

    def _keep_log(self, log):
        history = self.state.history.then(log)
        self.state = self.state.trained(to_arrays(log.best_state), history)
        self.keep(self.state)

    def _source(self, rows):
        if rows.in_memory is not rows:
            state, device = self.state, self.trainer.device
            source = StreamSource(state.encoding, state.preconditioner, rows, device)
            return self._open.enter_context(closing(source))
        return rows_on_device(self.state, rows, self.trainer, self.estimator.random_flips)

    def _imputation(self, rows, source, held_out):
        """The `Imputation` of missing values of training rows; None if there is none."""
        if rows.in_memory is not rows:
            return None
        imputable = self.state.encoding.imputable(rows)
        if imputable is None or not self.state.conditional_rate:
            return None
        model = model_in_training(self.state, self.trainer)
        return Imputation(model, rows, source, self.seed, held_out)

    def _measure_times(self, source):
        """Measure the importance-sampling density from which scores draw times."""
        times = TimeWeights.measured(
            *measure_time_weights(self.trainer, source, self.state.has_images), self.state.schedule
        )
        self.state = replace(self.state, time_weights=times)
        self.keep(self.state)


def train_on_rank(ranks, estimator, rows, seed, continued, limits):
    """Train as one rank of several, and return the `ModelState`.

    Parameters
    ----------
    ranks : Ranks
    estimator : GUDGenerator
        Prepared, not trained.
    rows : Rows
    seed : int
    continued : bool
        Whether training starts from the weights of an earlier fit.
    limits : (max_iter, max_time, seconds)
        The budget, and the seconds of it that were spent.
    """
    max_iter, max_time, seconds = limits
    # Under torchrun it is the user's.
    estimator = copy.copy(estimator)
    if ranks.device.type == "cuda":
        estimator.set_params(device=str(ranks.device))
    if ranks.index > 0:
        estimator.set_params(verbose=0)
    # Processes that were started together may have drawn other seeds.
    seed, estimator.state_ = ranks.agreed((seed, estimator.state_))
    writes = ranks.index == 0
    fit = Fit(estimator, rows, seed, lambda state: None, continued, writes)
    fit.trainer.join(ranks)
    # All ranks have read a checkpoint before one writes the next.
    ranks.agreed(0.0)
    budget = Budget(max_iter, max_time, ranks=ranks)
    budget.resume(seconds)
    fit.train(budget)
    return fit.state


class PartialFit:
    """One epoch over rows at the full learning rate.

    Parameters
    ----------
    estimator, rows, seed, keep : see `Fit`
    continued : bool
        Whether an earlier call is continued, with its optimiser if it is still in memory.
    """

    def __init__(self, estimator, rows, seed, keep, continued):
        self.estimator, self.rows, self.keep = estimator, rows, keep
        state = estimator.state_
        self.trainer = _TRAINERS.get(estimator) if continued else None
        if self.trainer is not None:
            self.trainer.follow(state.path(), state.family_paths(), state.conditional_rate)
            return
        seed = derive_seed(estimator.random_state) if seed is None else seed
        self.trainer = make_trainer(estimator, state, len(rows), seed)

    def run(self):
        """Train for one epoch."""
        estimator, rows, trainer = self.estimator, self.rows, self.trainer
        # A trainer that fails is not used again: its weights are spoilt.
        _TRAINERS.pop(estimator, None)
        state = estimator.state_
        if trainer is None:
            history = replace(state.history, n_epochs=state.history.n_epochs + 1)
            self.keep(replace(state, history=history))
            return
        weighting = estimator.loss_weighting
        log = run_epochs(
            trainer,
            rows_on_device(state, rows, trainer, estimator.random_flips),
            Budget(None, None),
            hooks=Hooks(extreme_column=state.encoding.extreme_column),
            units=loss_units(estimator.fitted_model(), rows, weighting, state.has_images),
        )
        self.keep(state.trained(to_arrays(log.best_state), state.history.then(log)))
        _TRAINERS[estimator] = trainer


def model_in_training(state, trainer):
    """A `FittedModel` of a trainer's averaged weights, which follows them, in its precision."""
    components = make_component_model(
        state, trainer.averaged, trainer.path, UNIFORM_TIMES, trainer.device, torch.float32,
        trainer.autocast,
    )  # fmt: skip
    return FittedModel(state.encoding, state.preconditioner, components)


def measure_time_weights(trainer, source, images):
    """Relative heights of the density of scores' times, with each control variate, or None."""
    n_rows = _IMAGES_FOR_TIMES if images else _ROWS_FOR_TIMES
    source.begin_epoch(0)
    index = torch.arange(0, len(source), max(1, len(source) // n_rows), device=trainer.device)
    missing = None if source.imputed else source.missing
    others = (None if v is None else v[index] for v in (source.labels, missing, source.self_index))
    batch = Batch(source.components(index), *others)
    n_pairs = 1 if images else 2
    weights = trainer.time_weights(batch, n_pairs=n_pairs)
    if trainer.denoiser.joint_gaussian is None:
        return weights, None
    return weights, trainer.time_weights(batch, n_pairs=n_pairs, gaussian=True)


def loss_units(fitted, rows, loss_weighting, images):
    """Factor and offset that convert a training loss to an nll per dimension.

    The prior's term is left out: at the highest noise level it is below a thousandth of a nat.
    """
    if loss_weighting != "likelihood":
        return 1.0, 0.0
    most = _IMAGES_FOR_UNITS if images else _ROWS_FOR_UNITS
    rows = rows.take(slice(None, None, max(1, len(rows) // most)))
    fixed = fitted.each_chunk(rows, lambda chunk: fitted.fixed_log_likelihood(chunk).sum(1)).mean()
    n_dimensions = rows.n_observed / len(rows)
    n_active = len(fitted.components.active)
    return n_active / rows.n_features, -float(fixed) / n_dimensions
