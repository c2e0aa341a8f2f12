"""What a fit shows while it runs, by ``verbose``."""

import math
import time

from gudlearn.model.progress import Line, duration


def make_report(verbose, budget):
    """The report of a run: silent for 0, one line for 1, a line for each evaluation above.

    Parameters
    ----------
    verbose : int
    budget : Budget
    """
    return Report(budget, verbose < 2) if verbose else Silence()


class Silence:
    """A report that shows nothing."""

    def resume(self, n_epochs):
        """A run goes on after a number of epochs."""

    def step(self, epochs):
        """A number of epochs is done, perhaps not whole."""

    def evaluation(self, log):
        """The weights were scored."""

    def close(self):
        """The run has ended."""


class Report:
    """Epochs or seconds, loss, held-out bits and the time that is left.

    Parameters
    ----------
    budget : Budget
    one_line : bool
        Whether a line is rewritten, if standard output is a terminal.
    """

    def __init__(self, budget, one_line):
        self.budget, self._line = budget, Line()
        self._rewrites = one_line and self._line.is_rewritten
        self._log, self._begin, self._spent_before = None, time.monotonic(), budget.spent_here(0)

    def resume(self, n_epochs):
        """A run goes on after a number of epochs, or has ended after them."""
        self._begin, self._spent_before = time.monotonic(), self.budget.spent_here(n_epochs)
        self._line.add(f"goes on from a checkpoint after {n_epochs} epochs")

    def step(self, epochs):
        """A number of epochs is done, perhaps not whole."""
        if self._rewrites and self._line.due():
            self._line.rewrite(self._text(epochs))

    def evaluation(self, log):
        """The weights were scored."""
        self._log = log
        text = self._text(len(log.losses))
        if self._rewrites:
            self._line.rewrite(text)
        else:
            self._line.add(text)

    def close(self):
        """The run has ended."""
        self._line.close()

    def _text(self, epochs):
        budget, log = self.budget, self._log
        parts = [f"epoch {epochs:.3g}" if epochs < 10 else f"epoch {epochs:.0f}"]
        if budget.max_iter is not None:
            parts[0] += f" of {budget.max_iter}"
        if budget.max_time is not None:
            parts.append(f"{duration(budget.seconds)} of {duration(budget.max_time)}")
        if log is not None and log.losses:
            parts.append(f"loss {log.losses[-1]:.4f}")
        if log is not None and log.validation_scores:
            bits = -log.validation_scores[-1] / math.log(2)
            parts.append(f"held-out {bits:.4f} bits/dim")
        spent = budget.spent_here(epochs)
        if self._spent_before < spent < 1:
            rate = (time.monotonic() - self._begin) / (spent - self._spent_before)
            parts.append(f"{duration((1 - spent) * rate)} left")
        return ", ".join(parts)
