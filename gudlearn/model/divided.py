"""A fitted model whose samples and scores are computed in parts, by several processes.

A part is a range of whole chunks of rows. Noise belongs to the place or the values of a row, and
all chunks are those of one process: results are the same to the bit.
"""

import os
import pickle
import threading
import uuid
from concurrent.futures.process import BrokenProcessPool
from dataclasses import fields, is_dataclass
from functools import partial

import joblib
import numpy as np
import torch
from sklearn.base import BaseEstimator

from gudlearn import _random
from gudlearn._atomic import isolated
from gudlearn.model.build import fitted_model
from gudlearn.model.fitted import FittedModel
from gudlearn.model.progress import Progress

# Chunks from which worker processes take less time than they need to start; of images two.
_LEAST = 32
# Parts for each worker: the more, the sooner the next one is ready, and the more data move.
_PARTS_OF_WORKER = 8
# What a worker has opened last, one by thread.
_LAST = threading.local()


class DividedModel(FittedModel):
    """A `FittedModel` that divides samples and scores between processes.

    Parameters
    ----------
    fitted : FittedModel
    processes : object
        ``n_parts(n_chunks, images)`` says into how many parts to divide some chunks,
        ``agreed(seed)`` is the seed of all processes, and ``run(verb, asked, calls)`` returns the
        results of calls of a method, from functions that return their arguments. ``asked`` is its
        name, the number of rows in all, and what results depend on.
    """

    def __init__(self, fitted, processes):
        super().__init__(
            fitted.encoding, fitted.preconditioner, fitted.components, fitted.key, fitted.verbose
        )
        self._alone, self._processes = fitted, processes

    def agreed(self, seed):
        """The seed of all processes that divide the work."""
        return self._processes.agreed(seed)

    def sample(self, n_samples, seed, sampler, labels=None, guidance=1.0, condition=None, start=0):
        """Rows in the units of the data, see `FittedModel.sample`."""

        def part(first, last):
            own = _some(labels, first, last)
            return last - first, seed, sampler, own, guidance, condition, start + first

        what = seed, sampler, labels, guidance, condition, start
        return self._of_samples("sample", n_samples, part, what)

    def conditional_means(self, n_samples, seed, labels, condition, start=0):
        """Estimates of mean rows given a condition, see `FittedModel.conditional_means`."""

        def part(first, last):
            own = _some(labels, first, last)
            return last - first, seed, own, condition, start + first

        what = seed, labels, condition, start
        return self._of_samples("conditional_means", n_samples, part, what)

    def probabilities(self, n_samples, seed, labels, guidance, condition, start=0):
        """Probabilities of levels, see `FittedModel.probabilities`."""

        def part(first, last):
            own = _some(labels, first, last)
            return last - first, seed, own, guidance, condition, start + first

        what = seed, labels, guidance, condition, start
        return self._of_samples("probabilities", n_samples, part, what)

    def log_likelihood_and_error(self, rows, given=None, excluded=None, n_draws="auto"):
        """ELBO of each row and its error, see `FittedModel.log_likelihood_and_error`."""

        def part(first, last):
            of_rows = (_some(values, first, last) for values in (given, excluded))
            return _rows(rows, first, last), *of_rows, n_draws

        return self._of_rows("log_likelihood_and_error", rows, part, given, excluded, n_draws)

    def log_likelihood_by_component(self, rows, given=None, n_draws="auto"):
        """ELBO of each row by component, see `FittedModel.log_likelihood_by_component`."""

        def part(first, last):
            return _rows(rows, first, last), _some(given, first, last), n_draws

        return self._of_rows("log_likelihood_by_component", rows, part, given, n_draws)

    def flow_log_prob(self, rows):
        """The flow's log-density of each row, see `FittedModel.flow_log_prob`."""
        return self._of_rows("flow_log_prob", rows, lambda *some: (_rows(rows, *some),))

    def _of_samples(self, name, n, part, what):
        return self._divided("sampled", name, n, self.samples_at_once, part, what)

    def _of_rows(self, name, rows, part, *more):
        what = rows.keys, rows.labels, *more
        return self._divided("scored", name, len(rows), self.scored_at_once, part, what)

    def _divided(self, verb, name, n, chunk, part, what):
        """Results of a method for n rows, of arguments part(first, last) for some of them.

        What results depend on, beside the model, tells whether processes ask for the same.
        """
        n_chunks = -(-n // chunk)
        n_parts = self._processes.n_parts(n_chunks, self.components.sees_images)
        if n_parts < 2:
            return getattr(self._alone, name)(*part(0, n))
        bounds = np.minimum(n_chunks * np.arange(n_parts + 1) // n_parts * chunk, n).tolist()
        calls = [partial(part, *some) for some in zip(bounds, bounds[1:], strict=False)]
        found = self._processes.run(verb, (name, n, what), calls)
        if isinstance(found[0], tuple):
            return tuple(map(np.concatenate, zip(*found, strict=True)))
        return np.concatenate(found)


def fingerprint(value):
    """A hash of numbers, texts, arrays, tensors, specifications, and of what is made of them."""
    return joblib.hash(_plain(value))


def _plain(value):
    if isinstance(value, torch.Tensor):
        return value.cpu().numpy()
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if is_dataclass(value):
        return [_plain(getattr(value, field.name)) for field in fields(value)]
    return repr(value) if isinstance(value, BaseEstimator) else value


def _rows(rows, first, last):
    return rows.take(np.arange(first, last))


def _some(values, first, last):
    """A part of an array or a tensor, or None of None."""
    if values is None:
        return None
    part = values[first:last]
    # A pickled view of a tensor takes its whole memory along.
    return part.clone() if isinstance(part, torch.Tensor) else part


class Workers:
    """Worker processes of joblib.

    They start with the first call, which takes seconds, and wait for the next one some minutes.

    Parameters
    ----------
    n_workers : int
    fitted : FittedModel
    state : ModelState
    precision : str
        Parameter of the estimator.
    """

    def __init__(self, n_workers, fitted, state, precision):
        self.n_workers, self._fitted, self._state = n_workers, fitted, state
        self._precision, self._shipped = precision, None

    def agreed(self, seed):
        """The seed: workers are told."""
        return seed

    def n_parts(self, n_chunks, images):
        """Number of parts into which to divide some chunks; 1 for few of them."""
        if n_chunks < (2 if images else _LEAST) or is_in_worker():
            return 1
        return min(n_chunks, self.n_workers * (1 if self._on_gpus else _PARTS_OF_WORKER))

    @property
    def _on_gpus(self):
        return self._fitted.components.device.type == "cuda"

    def run(self, verb, asked, calls):
        """Results of calls of a method of the model, see `DividedModel`.

        Raises
        ------
        RuntimeError
            If a worker dies.
        """
        if self._shipped is None:
            options = {"precision": self._precision, "key": self._fitted.key}
            self._shipped = Shipped(self._state, options)
        name, n, _ = asked
        device, results = str(self._fitted.components.device), []
        devices = (f"cuda:{k}" if self._on_gpus else device for k in range(len(calls)))
        tasks = (
            joblib.delayed(run_part)(self._shipped, where, name, arguments())
            for where, arguments in zip(devices, calls, strict=True)
        )
        try:
            parallel = joblib.Parallel(n_jobs=self.n_workers, return_as="generator")
            with Progress(verb, n, self._fitted.verbose) as progress:
                for result in parallel(tasks):
                    results.append(result)
                    progress(n * len(results) / len(calls))
        except BrokenProcessPool as error:
            raise RuntimeError(
                f"One of {self.n_workers} processes that divided {n} rows died: it ran out of "
                "memory or was killed. With training__devices=1 they come from this process."
            ) from error
        return results


class Shipped:
    """A model on its way to a worker.

    Parameters
    ----------
    state : ModelState
    options : dict
        Of `fitted_model`.
    """

    def __init__(self, state, options):
        # A network of the user's own may be defined in a script, which workers do not import.
        self._state = pickle.dumps(joblib.wrap_non_picklable_objects(state, keep_wrapper=False))
        self._options, self._salt, self._token = options, _random.SALT, uuid.uuid4().hex

    def opened(self, device):
        """The `FittedModel` on a device, which is built once."""
        key = self._token, device
        if getattr(_LAST, "key", None) != key:
            _random.SALT = self._salt
            state = pickle.loads(self._state)
            _LAST.key, _LAST.model = None, fitted_model(state, device=device, **self._options)
            _LAST.key = key
        return _LAST.model


@isolated
def run_part(shipped, device, name, arguments):
    """The result of a method of a `Shipped` model, in a worker."""
    return getattr(shipped.opened(device), name)(*arguments)


def is_in_worker():
    """Whether joblib would work with threads: it runs this in one of its workers, or was told to.

    Derivatives of the flow cannot be computed in two threads at once.
    """
    backend, _ = joblib.parallel.get_active_backend()
    return getattr(backend, "supports_sharedmem", False)


def n_workers(devices, device):
    """Number of workers: what was asked for, and not more than the cores or GPUs of the machine.

    Parameters
    ----------
    devices : int
    device : torch.device
    """
    there = torch.cuda.device_count() if device.type == "cuda" else os.cpu_count()
    return min(devices, there or 1)
