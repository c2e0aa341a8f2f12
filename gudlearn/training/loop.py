"""The training loop: epochs within a budget, validation by the ELBO, the best weights kept."""

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from gudlearn._random import seeded_global_state
from gudlearn.nn.randomness import draws_from_global_state, use_generator
from gudlearn.training.ranks import OneRank
from gudlearn.training.reports import make_report

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
    ranks : OneRank or Ranks
        The processes that share the budget: the clock is the first one's.
    warm_up : int
        Steps in which the learning rate rises.
    """

    max_iter: int | None
    max_time: float | None
    start: float = field(default_factory=lambda: time.monotonic())
    ranks: object = field(default_factory=OneRank)
    warm_up: int = 100

    @property
    def seconds(self):
        """Seconds since ``start``."""
        return time.monotonic() - self.start

    def resume(self, seconds):
        """Count on from a number of seconds."""
        self.start = time.monotonic() - seconds

    def spent(self, epochs):
        """Fraction of the budget that is spent after a number of epochs, at least 0.

        Every rank must ask.
        """
        return self._fraction(epochs, self.ranks.agreed)

    def spent_here(self, epochs):
        """`spent` by the clock of this process."""
        return self._fraction(epochs, lambda fraction: fraction)

    def _fraction(self, epochs, agreed):
        fractions = [0.0]
        if self.max_iter is not None:
            fractions.append(epochs / self.max_iter if self.max_iter else 1.0)
        if self.max_time is not None:
            fractions.append(agreed(self.seconds / self.max_time))
        return max(fractions)


def learning_rate_factor(step, spent, warm_up=100):
    """Linear warm-up times a linear decay from 1 to 0 over the budget."""
    return min(1.0, (step + 1) / warm_up) * (1 - min(spent, 1.0))


@contextmanager
def private_randomness(trainer):
    """Let layers that draw random numbers, such as dropout, draw from a private generator.

    Layers of other packages, and compiled networks, draw from torch's global state: it is seeded
    for them, and restored. Yields a list of the generators in use.
    """
    generator, network = trainer.generator, trainer.denoiser.network
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    if not trainer.compiled and not draws_from_global_state(network):
        private = torch.Generator(generator.device).manual_seed(seed)
        use_generator(network, private)
        try:
            yield [private]
        finally:
            use_generator(network, None)
        return
    with seeded_global_state(seed, generator.device) as generators:
        yield generators


@dataclass
class Log:
    """Record of a run: losses by epoch, validation scores, the best state and the first.

    Few held-out rows often score the untrained state above all later ones by chance. It stays the
    best one only while each later one is worse by more than a standard error of the difference on
    the same rows; ``untrained_scores`` are those of the rows until then. With ``reset`` the next
    score is compared with that of the first state only, which is scored again.
    """

    losses: list = field(default_factory=list)
    validation_scores: list = field(default_factory=list)
    validation_epochs: list = field(default_factory=list)
    best_score: float | None = None
    best_state: dict | None = None
    first: tuple = (None, None)
    untrained_scores: object = None
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
    checkpoint : Checkpoint or None
        To which the run is written, and from which it goes on.
    """

    after_epoch: object = None
    impute: object = None
    extreme_column: object = None
    keep: object = None
    checkpoint: object = None


def run_epochs(
    trainer, source, budget, *, validation=None, patience=None, tol=0.0, verbose=0,
    hooks=None, units=(1.0, 0.0), continued=False,
):  # fmt: skip
    """Train until the budget is spent, patience runs out or a callback stops the run.

    Parameters
    ----------
    trainer : Trainer
    source : rows on the device
        Has a length, the methods ``start_at(epoch)``, ``begin_epoch(draw)`` and ``take(index,
        generator)``, and an attribute ``imputed``: whether missing values are imputed.
    budget : Budget
        Without limits the run is one epoch at the full learning rate.
    validation : Validation or None
    patience : int or None
        Evaluations without an improvement of tol after which to stop.
    tol : float
    verbose : int
        See `make_report`.
    hooks : Hooks or None
    units : (factor, offset)
        A loss is multiplied by the factor, and the offset is added, before it is recorded.
    continued : bool
        Whether the first weights are trained. Untrained ones are kept only if all later ones are
        worse by more than chance; see `Log`.

    Returns
    -------
    Log

    Raises
    ------
    FloatingPointError
        If the loss is not finite.
    """
    run = _Run(
        trainer, source, budget, validation, patience, tol, verbose, hooks or Hooks(), units,
        continued,
    )  # fmt: skip
    try:
        with private_randomness(trainer) as generators:
            trainer.layer_generators = generators
            run.start(generators)
            if not run.done:
                run.epochs()
                run.finish()
    finally:
        run.report.close()
        if run.hooks.keep is not None and run.log.best_state is not None:
            run.hooks.keep(run.log)
    return run.log


class _Run:
    """One run of the loop; see `run_epochs`."""

    def __init__(
        self, trainer, source, budget, validation, patience, tol, verbose, hooks, units, continued
    ):
        self.trainer, self.source, self.budget, self.hooks = trainer, source, budget, hooks
        self.validation, self.patience, self.tol = validation, patience, tol
        self.units, self.log, self.report = units, Log(), make_report(verbose, budget)
        self.continued = continued
        self.endless = budget.max_iter is None and budget.max_time is None
        self.done = False
        self._trained, self._validated, self._next_evaluation = 0, 0, 1 / _EVALUATIONS
        # Generators of layers; how the current epoch began, and losses of its steps so far.
        self._generators, self._epoch_start, self._losses = [], None, []
        self._n_begun = 0

    def start(self, generators):
        """Score the first state, or go on from a checkpoint.

        Parameters
        ----------
        generators : list of torch.Generator
            Those of the layers.
        """
        self._generators = generators
        checkpoint = self.hooks.checkpoint
        if checkpoint is not None and checkpoint.run is not None:
            state, checkpoint.run = checkpoint.run, None
            self.load_state_dict(state)
            self.report.resume(len(self.log.losses))
        else:
            self.evaluate()
            self.log.first = self.log.best_score, self.log.best_state
        if checkpoint is not None:
            checkpoint.begin()

    def finish(self):
        """Score the last state, and write that the run is done."""
        if self.log.reset or self.log.validation_epochs[-1:] != [len(self.log.losses)]:
            self.evaluate()
        self.done = True
        if self.hooks.checkpoint is not None:
            self.hooks.checkpoint.write(self.state_dict())

    def state_dict(self):
        """Everything that a run between two steps goes on from; tensors are not copied."""
        impute, validation = self.hooks.impute, self.validation
        return {
            "trainer": self.trainer.state_dict(),
            "generators": [generator.get_state() for generator in self._generators],
            "log": vars(self.log),
            "impute": None if impute is None else impute.state_dict(),
            "validation": None if validation is None else validation.state_dict(),
            "epoch": {
                "start": self._epoch_start,
                "n_begun": self._n_begun,
                "losses": torch.stack(self._losses) if self._losses else None,
            },
            "work": [self._trained, self._validated, self._next_evaluation],
            "seconds": self.budget.seconds,
            "done": self.done,
        }

    def load_state_dict(self, state):
        """Take what `state_dict` of the same run returned."""
        self.trainer.load_state_dict(state["trainer"])
        for generator, of_generator in zip(self._generators, state["generators"], strict=True):
            generator.set_state(of_generator)
        self.log = Log(**state["log"])
        # First: a validation encodes imputed rows again.
        if self.hooks.impute is not None:
            self.hooks.impute.load_state_dict(state["impute"])
        if self.validation is not None:
            self.validation.load_state_dict(state["validation"])
        self._epoch_start, losses = state["epoch"]["start"], state["epoch"]["losses"]
        self._n_begun = state["epoch"]["n_begun"]
        # An epoch that is under way begins again, with the same rows.
        self.source.start_at(self._n_begun - (self._epoch_start is not None))
        self._losses = [] if losses is None else list(losses.to(self.trainer.device))
        self._trained, self._validated, self._next_evaluation = state["work"]
        self.budget.resume(state["seconds"])
        self.done = state["done"]

    def epochs(self):
        """Train epoch by epoch while the budget lasts."""
        log, impute = self.log, self.hooks.impute
        spent = self.budget.spent(len(log.losses))
        while spent < 1:
            under_way = self._epoch_start is not None
            if not under_way and impute is not None and impute(spent, len(log.losses)):
                log.reset = True
            mean_loss = self._epoch()
            if mean_loss is None:
                break
            factor, offset = self.units
            log.losses.append(factor * float(mean_loss) + offset)
            spent = 1.0 if self.endless else self.budget.spent(len(log.losses))
            if spent >= self._next_evaluation and self._may_evaluate():
                self.evaluate()
                self._next_evaluation = spent + 1 / _EVALUATIONS
            if self._stopped():
                break

    def _epoch(self):
        """Mean loss of one epoch, or of its steps within the budget; None if there is none."""
        trainer, source, batch = self.trainer, self.source, None
        index, losses = self._begin_epoch(), self._losses
        for k in range(len(losses), len(index)):
            rows, epochs = index[k], len(self.log.losses) + k / len(index)
            self._record(epochs)
            spent = self.budget.spent(epochs)
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
        self._epoch_start, self._losses = None, []
        if not losses:
            return None
        mean_loss = torch.stack(losses).mean()
        # The last step may have made weights non-finite that no loss has been computed from yet.
        self._guard(mean_loss + 0 * trainer.weight_norm(), None if batch is None else batch.x0)
        return mean_loss

    def _begin_epoch(self):
        """Indices of the batches of an epoch, or again those of the epoch that is under way."""
        trainer, generator, now = self.trainer, self.trainer.generator, None
        if self._epoch_start is None:
            self._epoch_start = {"steps": trainer.steps, "generator": generator.get_state()}
            self._n_begun += 1
        else:
            now = generator.get_state()
            generator.set_state(self._epoch_start["generator"])
        self.source.begin_epoch(self._epoch_start["steps"])
        index = trainer.batches(len(self.source))
        if now is not None:
            generator.set_state(now)
        return index

    def _record(self, epochs):
        """Show progress, and write a checkpoint if it is time for one."""
        self.report.step(epochs)
        checkpoint = self.hooks.checkpoint
        if checkpoint is not None and checkpoint.due():
            checkpoint.write(self.state_dict())

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
            scores = self._scores_of(log.first[1])
            self._take(log.first[1], scores, untrained=not self.continued)
            log.stale, log.reset = 0, False
        if self.validation is None:
            log.best_state = state
            self.report.evaluation(log)
            return
        scores = self.validation.scores(self.trainer)
        score = float(scores.mean())
        self._validated += self.validation.n_evaluations
        log.validation_scores.append(score)
        log.validation_epochs.append(n_epochs)
        progress = log.best_score is None or score > log.best_score + self.tol
        log.stale = 0 if progress else log.stale + 1
        if log.best_score is None:
            self._take(state, scores, untrained=not self.continued)
        elif self._is_better(scores):
            self._take(state, scores, untrained=False)
        self.report.evaluation(log)

    def _take(self, state, scores, untrained):
        """Take weights as the best so far, with their scores of rows (n,) or None."""
        log = self.log
        log.best_state, log.untrained_scores = state, scores if untrained else None
        if scores is not None:
            log.best_score = float(scores.mean())

    def _is_better(self, scores):
        """Whether weights with these scores of rows (n,) are taken in place of the best so far."""
        untrained = self.log.untrained_scores
        if untrained is None:
            return float(scores.mean()) > self.log.best_score
        gain = scores - untrained
        error = float(gain.std()) / math.sqrt(len(gain)) if len(gain) > 1 else 0.0
        return float(gain.mean()) > -error

    def _scores_of(self, state):
        """Scores of rows under other weights than the averaged ones, which stay, or None."""
        if self.validation is None:
            return None
        network = self.trainer.averaged.network
        now = self.trainer.averaged_state()
        network.load_state_dict(state)
        scores = self.validation.scores(self.trainer)
        network.load_state_dict(now)
        return scores

    def _guard(self, loss, rows):
        """Raise if the loss is not finite."""
        if math.isfinite(loss):
            return
        cause = "see X"
        if self.hooks.extreme_column is not None and rows is not None:
            column = self.hooks.extreme_column(rows)
            cause = f"the values of column {column!r} are the most extreme"
        raise FloatingPointError(
            f"The training loss is not finite at step {self.trainer.steps}; {cause}. Rescale or "
            "clip them, lower learning_rate_init, or pass precision='float32'. The last good "
            "weights are kept."
        )
