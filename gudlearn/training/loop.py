"""The one optimiser loop: passes within a budget, validation on the bound, best weights kept."""

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch


@dataclass
class Budget:
    """Passes or seconds, whichever ends first.

    Parameters
    ----------
    max_iter : int or None
        Passes over the rows.
    max_time : float or None
        Seconds since ``start``.
    """

    max_iter: int | None
    max_time: float | None
    start: float = field(default_factory=time.monotonic)

    def spent(self, passes):
        """Share of the budget that is used up after this many passes, at least 0."""
        shares = [0.0]
        if self.max_iter is not None:
            shares.append(passes / self.max_iter if self.max_iter else 1.0)
        if self.max_time is not None:
            shares.append((time.monotonic() - self.start) / self.max_time)
        return max(shares)


def learning_rate_factor(step, spent, warm_up=100):
    """Linear warm-up, and a straight line from 1 to 0 over the budget."""
    return min(1.0, (step + 1) / warm_up) * (1 - min(spent, 1.0))


@contextmanager
def private_randomness(generator):
    """Layers that draw from torch's global state, as dropout does, draw from a copy of our own."""
    cuda = [generator.device] if generator.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        torch.random.default_generator.manual_seed(seed)
        for device in cuda:
            torch.cuda.default_generators[device.index or 0].manual_seed(seed)
        yield


@dataclass
class Log:
    """What came of a run: losses by pass, validation scores, the best state and the first.

    ``anew`` says that the next score is to be compared with that of the first state alone.
    """

    losses: list = field(default_factory=list)
    validation_scores: list = field(default_factory=list)
    validation_epochs: list = field(default_factory=list)
    best_score: float | None = None
    best_state: dict | None = None
    first: tuple = (None, None)
    anew: bool = False
    stale: int = 0


# Validation scores are taken at about this many moments of the budget.
_EVALUATIONS = 30


def run_epochs(
    trainer, data, budget, *, validation=None, patience=None, tol=0.0, verbose=0,
    after_pass=None, fill=None, blame=None, keep=None, units=(1.0, 0.0),
):  # fmt: skip
    """Make passes until the budget is spent, patience ends or a callback says stop.

    Parameters
    ----------
    trainer : Trainer
    data : rows on the device
        Has a length, ``renew(draw)`` before each pass, ``take(index, generator)``, and says
        whether what is missing is ``filled``.
    budget : Budget
        Without limits one pass is made, at the full learning rate.
    validation : Validation or None
    patience : int or None
        Evaluations without progress of tol after which to stop.
    tol : float
    verbose : int
    after_pass : callable (n_passes, averaged_state, log) -> bool, True to stop
    fill : Filling or None
        Called before each pass. Once rows were filled what was best before does not count, but
        for the state before the first pass. It is done before patience ends a run.
    blame : callable (rows) -> str
        Name of the column whose values are most extreme, for the message of a non-finite loss.
    keep : callable of the log
        Called when the run ends, also if it ends by an error.
    units : (factor, offset)
        What a loss is multiplied by, and what is added, before it is recorded.

    Returns
    -------
    Log

    Raises
    ------
    FloatingPointError
        If the loss is not finite.
    """
    log = Log()

    def evaluate():
        _evaluate(trainer, validation, log, tol, verbose)

    def stop():
        asked = after_pass and after_pass(len(log.losses), trainer.averaged_state, log)
        tired = patience is not None and log.stale >= patience
        if tired and fill is not None and not fill.done:
            fill.hurry()
            log.stale, tired = 0, False
        return asked or tired

    try:
        with private_randomness(trainer.generator):
            evaluate()
            log.first = log.best_score, log.best_state
            _passes(trainer, data, budget, log, fill, blame, units, evaluate, stop)
            if log.anew or log.validation_epochs[-1:] != [len(log.losses)]:
                evaluate()
    finally:
        if keep is not None and log.best_state is not None:
            keep(log)
    return log


def _passes(trainer, data, budget, log, fill, blame, units, evaluate, stop):
    """Pass after pass while the budget lasts."""
    endless = budget.max_iter is None and budget.max_time is None
    spent, next_evaluation = budget.spent(0), 1 / _EVALUATIONS
    while spent < 1:
        if fill is not None and fill(spent, len(log.losses)):
            log.anew = True
        data.renew(trainer.steps)
        index = trainer.batches(len(data))
        losses = []
        for k, rows in enumerate(index):
            spent = budget.spent(len(log.losses) + k / len(index))
            if spent >= 1:
                break
            decay = learning_rate_factor(trainer.steps, 0.0 if endless else spent)
            batch = data.take(rows, trainer.generator)
            losses.append(trainer.step(batch, decay, data.filled))
            # On a GPU only every 16th step waits for its loss, and the end of the pass.
            if trainer.device.type == "cpu" or trainer.steps % 16 == 0:
                _guard(trainer, losses[-1], batch.x0, blame)
        if not losses:
            break
        mean_loss = torch.stack(losses).mean()
        # The last step may have spoilt the weights that no loss has seen yet.
        _guard(trainer, mean_loss + 0 * trainer.weight_norm(), batch.x0, blame)
        factor, offset = units
        log.losses.append(factor * float(mean_loss) + offset)
        spent = 1.0 if endless else budget.spent(len(log.losses))
        if spent >= next_evaluation:
            evaluate()
            next_evaluation = spent + 1 / _EVALUATIONS
        if stop():
            break


def _evaluate(trainer, validation, log, tol, verbose):
    """Score the averaged weights, and keep them if they are the best so far."""
    n_passes = len(log.losses)
    state = trainer.averaged_state()
    if log.anew:
        (log.best_score, log.best_state), log.stale, log.anew = log.first, 0, False
    if validation is None:
        log.best_state = state
        return
    score = validation.score(trainer.given, trainer.observed, trainer.times)
    log.validation_scores.append(score)
    log.validation_epochs.append(n_passes)
    progress = log.best_score is None or score > log.best_score + tol
    log.stale = 0 if progress else log.stale + 1
    if log.best_score is None or score > log.best_score:
        log.best_score, log.best_state = score, state
    if verbose:
        print(f"pass {n_passes}: validation {score:.4f} nats/dim")


def _guard(trainer, loss, rows, blame):
    """Raise where the loss is not finite."""
    if not math.isfinite(loss):
        worst = f"the values of column {blame(rows)!r} are the most extreme" if blame else "see X"
        raise FloatingPointError(
            f"The training loss is not finite at step {trainer.steps}; {worst}. Rescale or clip "
            "them, lower learning_rate_init, or pass precision='float32'. The last good weights "
            "are kept."
        )
