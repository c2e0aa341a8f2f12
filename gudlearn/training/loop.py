"""The training loop: epochs within a budget, validation by the ELBO, the best weights kept."""

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from gudlearn._random import seeded_global_state
from gudlearn.nn.randomness import draws_from_global_state, use_generator

# Number of validations in a budget, about.
_EVALUATIONS = 30
# Largest fraction of the work that they may be, unless one evaluates the network this often at
# most.
_VALIDATION, _CHEAP = 0.05, 1024


@dataclass
class Budget:
    """Epochs or seconds, whichever ends first.

    Parameters
    ----------
    max_iter : int or None
        Epochs.
    max_time : float or None
        Seconds since ``start``.
    warm_up : int
        Steps in which the learning rate rises.
    """

    max_iter: int | None
    max_time: float | None
    start: float = field(default_factory=time.monotonic)
    warm_up: int = 100

    def spent(self, epochs):
        """Fraction of the budget that is spent after a number of epochs, at least 0."""
        fractions = [0.0]
        if self.max_iter is not None:
            fractions.append(epochs / self.max_iter if self.max_iter else 1.0)
        if self.max_time is not None:
            fractions.append((time.monotonic() - self.start) / self.max_time)
        return max(fractions)


def learning_rate_factor(step, spent, warm_up=100):
    """Linear warm-up times a linear decay from 1 to 0 over the budget."""
    return min(1.0, (step + 1) / warm_up) * (1 - min(spent, 1.0))


@contextmanager
def private_randomness(trainer):
    """Let layers that draw random numbers, such as dropout, draw from a private generator.

    Layers of other packages, and compiled networks, draw from torch's global state: it is seeded
    for them, and restored.
    """
    generator, network = trainer.generator, trainer.denoiser.network
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    if not trainer.compiled and not draws_from_global_state(network):
        use_generator(network, torch.Generator(generator.device).manual_seed(seed))
        try:
            yield
        finally:
            use_generator(network, None)
        return
    with seeded_global_state(seed, generator.device):
        yield


@dataclass
class Log:
    """Record of a run: losses by epoch, validation scores, the best state and the first.

    With ``reset`` the next score is compared with that of the first state only, which is scored
    again.
    """

    losses: list = field(default_factory=list)
    validation_scores: list = field(default_factory=list)
    validation_epochs: list = field(default_factory=list)
    best_score: float | None = None
    best_state: dict | None = None
    first: tuple = (None, None)
    reset: bool = False
    stale: int = 0


@dataclass
class Hooks:
    """Functions that a run calls.

    Parameters
    ----------
    after_epoch : callable (n_epochs, averaged_state, log) -> bool, or None
        True stops the run.
    impute : Imputation or None
        Called before each epoch. After an imputation earlier scores do not count, except that of
        the state before the first epoch. A run does not stop early before the last imputation.
    extreme_column : callable (rows) -> str, or None
        Name of the column whose values are most extreme, for the message of a non-finite loss.
    keep : callable (log) -> None, or None
        Called when the run ends, also if it ends by an error.
    """

    after_epoch: object = None
    impute: object = None
    extreme_column: object = None
    keep: object = None


def run_epochs(
    trainer, source, budget, *, validation=None, patience=None, tol=0.0, verbose=0,
    hooks=None, units=(1.0, 0.0),
):  # fmt: skip
    """Train until the budget is spent, patience runs out or a callback stops the run.

    Parameters
    ----------
    trainer : Trainer
    source : rows on the device
        Has a length, the methods ``begin_epoch(draw)`` and ``take(index, generator)``, and an
        attribute ``imputed``: whether missing values are imputed.
    budget : Budget
        Without limits the run is one epoch at the full learning rate.
    validation : Validation or None
    patience : int or None
        Evaluations without an improvement of tol after which to stop.
    tol : float
    verbose : int
    hooks : Hooks or None
    units : (factor, offset)
        A loss is multiplied by the factor, and the offset is added, before it is recorded.

    Returns
    -------
    Log

    Raises
    ------
    FloatingPointError
        If the loss is not finite.
    """
    run = _Run(trainer, source, budget, validation, patience, tol, verbose, hooks or Hooks(), units)
    try:
        with private_randomness(trainer):
            run.evaluate()
            run.log.first = run.log.best_score, run.log.best_state
            run.epochs()
            if run.log.reset or run.log.validation_epochs[-1:] != [len(run.log.losses)]:
                run.evaluate()
    finally:
        if run.hooks.keep is not None and run.log.best_state is not None:
            run.hooks.keep(run.log)
    return run.log


class _Run:
    """One run of the loop; see `run_epochs`."""

    def __init__(
        self, trainer, source, budget, validation, patience, tol, verbose, hooks, units
    ):
        self.trainer, self.source, self.budget, self.hooks = trainer, source, budget, hooks
        self.validation, self.patience, self.tol = validation, patience, tol
        self.verbose, self.units, self.log = verbose, units, Log()
        self.endless = budget.max_iter is None and budget.max_time is None
        self._trained, self._validated = 0, 0

    def epochs(self):
        """Train epoch by epoch while the budget lasts."""
        log, impute = self.log, self.hooks.impute
        spent, next_evaluation = self.budget.spent(0), 1 / _EVALUATIONS
        while spent < 1:
            if impute is not None and impute(spent, len(log.losses)):
                log.reset = True
            mean_loss = self._epoch()
            if mean_loss is None:
                break
            factor, offset = self.units
            log.losses.append(factor * float(mean_loss) + offset)
            spent = 1.0 if self.endless else self.budget.spent(len(log.losses))
            if spent >= next_evaluation and self._may_evaluate():
                self.evaluate()
                next_evaluation = spent + 1 / _EVALUATIONS
            if self._stopped():
                break

    def _epoch(self):
        """Mean loss of one epoch, or of its steps within the budget; None if there is none."""
        trainer, source = self.trainer, self.source
        source.begin_epoch(trainer.steps)
        index, losses = trainer.batches(len(source)), []
        for k, rows in enumerate(index):
            spent = self.budget.spent(len(self.log.losses) + k / len(index))
            if spent >= 1:
                break
            spent, warm_up = 0.0 if self.endless else spent, self.budget.warm_up
            rate = learning_rate_factor(trainer.steps, spent, warm_up)
            batch = source.take(rows, trainer.generator)
            losses.append(trainer.step(batch, rate, source.imputed))
            self._trained += trainer.cost_of_step(len(rows))
            # On a GPU only every 16th step, and the end of the epoch, wait for a loss.
            if trainer.device.type == "cpu" or trainer.steps % 16 == 0:
                self._guard(losses[-1], batch.x0)
        if not losses:
            return None
        mean_loss = torch.stack(losses).mean()
        # The last step may have made weights non-finite that no loss has been computed from yet.
        self._guard(mean_loss + 0 * trainer.weight_norm(), batch.x0)
        return mean_loss

    def _may_evaluate(self):
        """Whether evaluations stay a small part of the work; small ones do, and patience counts."""
        if self.validation is None or self.patience is not None:
            return True
        cost = self.validation.n_evaluations
        return cost <= _CHEAP or self._validated + cost <= _VALIDATION * self._trained

    def _stopped(self):
        """Whether a callback asks to stop, or patience has run out."""
        log, after_epoch, impute = self.log, self.hooks.after_epoch, self.hooks.impute
        stop = after_epoch and after_epoch(len(log.losses), self.trainer.averaged_state, log)
        impatient = self.patience is not None and log.stale >= self.patience
        if impatient and impute is not None and not impute.done:
            impute.force()
            log.stale, impatient = 0, False
        return stop or impatient

    def evaluate(self):
        """Score the averaged weights, and keep them if they are the best so far."""
        log, n_epochs = self.log, len(self.log.losses)
        state = self.trainer.averaged_state()
        if log.reset:
            log.best_score, log.best_state = self._score_of(log.first[1]), log.first[1]
            log.stale, log.reset = 0, False
        if self.validation is None:
            log.best_state = state
            return
        score = self.validation.score(self.trainer)
        self._validated += self.validation.n_evaluations
        log.validation_scores.append(score)
        log.validation_epochs.append(n_epochs)
        progress = log.best_score is None or score > log.best_score + self.tol
        log.stale = 0 if progress else log.stale + 1
        if log.best_score is None or score > log.best_score:
            log.best_score, log.best_state = score, state
        if self.verbose:
            print(f"epoch {n_epochs}: validation {score:.4f} nats/dim")

    def _score_of(self, state):
        """Score of other weights than the averaged ones, which stay; None without validation."""
        if self.validation is None:
            return None
        network = self.trainer.averaged.network
        now = self.trainer.averaged_state()
        network.load_state_dict(state)
        score = self.validation.score(self.trainer)
        network.load_state_dict(now)
        return score

    def _guard(self, loss, rows):
        """Raise if the loss is not finite."""
        if math.isfinite(loss):
            return
        cause = "see X"
        if self.hooks.extreme_column is not None:
            column = self.hooks.extreme_column(rows)
            cause = f"the values of column {column!r} are the most extreme"
        raise FloatingPointError(
            f"The training loss is not finite at step {self.trainer.steps}; {cause}. Rescale or "
            "clip them, lower learning_rate_init, or pass precision='float32'. The last good "
            "weights are kept."
        )
