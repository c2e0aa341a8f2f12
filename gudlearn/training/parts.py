"""Samples and scores divided between processes: workers, or those that torchrun has started."""

import copy
import weakref
from contextlib import contextmanager
from datetime import timedelta

import torch.distributed as dist

from gudlearn._specs import resolve
from gudlearn.model.device import resolve_device
from gudlearn.model.divided import DividedModel, Workers, fingerprint, n_workers
from gudlearn.training.ranks import joins, make_fabric

# How long a process waits for the others to make the same call, and to end their parts.
_ARRIVAL, _WORK = timedelta(minutes=10), timedelta(days=7)
_ALONE = "After set_params(training='auto') a process computes alone."
# Groups that carry results, by torch's default group.
_GROUPS = weakref.WeakKeyDictionary()


def divided_model(estimator):
    """The fitted model of an estimator; it divides its work as ``training`` says.

    Parameters
    ----------
    estimator : fitted GUDGenerator

    Returns
    -------
    FittedModel
    """
    training = resolve("training", estimator.training)
    training.check_devices()
    if joins(training):
        device = resolve_device(estimator.device)
        fabric = make_fabric(device, training.devices, training.strategy)
        fabric.launch()
        own = copy.copy(estimator)
        own.device = str(fabric.device)
        own.verbose = estimator.verbose if fabric.global_rank == 0 else 0
        fitted = own.fitted_model()
        state = estimator.state_
        return DividedModel(fitted, Together(fitted, [state.weights, repr(state.schedule)]))
    fitted = estimator.fitted_model()
    n = n_workers(training.devices, fitted.components.device)
    if n == 1:
        return fitted
    return DividedModel(fitted, Workers(n, fitted, estimator.state_, estimator.precision))


class Together:
    """Processes that torchrun or SLURM has started: each makes every call, and gets all results.

    Parameters
    ----------
    fitted : FittedModel
    model : object
        What tells models apart, see `fingerprint`.
    """

    def __init__(self, fitted, model):
        self._fitted, self._model = fitted, model
        self.size, self.index = dist.get_world_size(), dist.get_rank()
        if dist.group.WORLD not in _GROUPS:
            with self._arrival("samples or scores"):
                # A group for long work would wait as long for processes that do not come.
                dist.new_group(backend="gloo", timeout=_ARRIVAL)
            # Results are arrays on CPUs, and parts may take hours.
            _GROUPS[dist.group.WORLD] = dist.new_group(backend="gloo", timeout=_WORK)
        self._group = _GROUPS[dist.group.WORLD]

    def agreed(self, seed):
        """The seed of the first process."""
        self._meet("rows to be sampled")
        return self._gathered(seed)[0]

    def n_parts(self, n_chunks, images):
        """Number of parts: one for each process, if there are as many chunks."""
        return min(n_chunks, self.size)

    def run(self, verb, asked, calls):
        """Results of calls of a method of the model, each made by one process, on all of them.

        Raises
        ------
        ValueError
            If processes ask for different rows.
        RuntimeError
            If a process does not come, or fails.
        """
        name, n, what = asked
        self._meet(f"rows to be {verb}")
        asked = name, n, fingerprint([self._model, what])
        everyone = self._gathered(asked)
        if any(other != asked for other in everyone):
            raise ValueError(
                "Processes that work together must make the same calls, but they ask for "
                f"{everyone} (what, number of rows, hash of rows, conditions, seed and model). "
                f"Pass the same to all of them. {_ALONE}"
            )
        result, error = None, None
        if self.index < len(calls):
            try:
                result = getattr(self._fitted, name)(*calls[self.index]())
            except Exception as caught:
                # The others wait for a result.
                error = caught
        outcomes = self._gathered((result, None if error is None else repr(error)))
        if error is not None:
            raise error
        for index, (_, message) in enumerate(outcomes):
            if message is not None:
                raise RuntimeError(
                    f"Process {index} of {self.size} failed with its part of {n} rows: {message}"
                )
        return [result for result, _ in outcomes[: len(calls)]]

    def _meet(self, what):
        """Wait until all processes make this call, of rows as they are called in errors."""
        with self._arrival(what):
            dist.monitored_barrier(self._group, _ARRIVAL)

    @contextmanager
    def _arrival(self, what):
        """Say what the others did not ask for, if they did not come."""
        try:
            yield
        except RuntimeError as error:
            raise RuntimeError(
                f"Some of {self.size} processes that work together did not ask for the {what} "
                f"within {_ARRIVAL.total_seconds():.0f} seconds, or ended. All of them must make "
                f"the call. {_ALONE}"
            ) from error

    def _gathered(self, value):
        """The values of all processes."""
        values = [None] * self.size
        try:
            dist.all_gather_object(values, value, group=self._group)
        except RuntimeError as error:
            raise RuntimeError(
                f"One of {self.size} processes that work together ended before its part was done: "
                f"{error}"
            ) from error
        return values
