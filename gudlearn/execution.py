"""How a fit runs: checkpoints, and the schedules that it trains for."""

import os
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator

from gudlearn._versions import Versioned


class Training(Versioned, BaseEstimator):
    """How a fit runs: what it writes while it trains, and the schedules that it trains for.

    Parameters
    ----------
    checkpoint : None, str or path-like, default=None
        File to which training is written while it runs. The same ``fit`` with a file that exists
        goes on where that training was. None writes nothing.
    checkpoint_interval : float, default=30
        Seconds between checkpoints.
    schedule_family : None, dict or list of dict, default=None
        Schedules for which one network is trained, beside the estimator's own: parameters of a
        schedule with the range or the list of their values, such as ``{"softness": (0.05, 1.0)}``,
        ``{"softness": (0.1, np.inf), "window": (1, 8)}`` or ``{"order": [order_a, order_b]}``.
        A pair in a tuple is a range, of numbers of at least 0: values x of it are taken evenly in
        x/(1 + x), with both ends, so that the end may be infinite. Values of a list are taken as
        they are, in all combinations. Parameters that are not listed are those of the estimator's
        schedule, or the defaults of another kind: a name that the schedule lacks stands for the
        kind of schedule that has it, and two names that no kind has together (softness and window)
        stand for both kinds. An entry ``"schedule"`` says the kinds, and a list of dicts joins
        families. About 64 schedules, and all combinations of lists, are trained evenly: each group
        of rows of a batch has one of its own, or each batch if the paths have no windows (cosine
        and VP schedules). Weights are judged under the estimator's schedule. See
        :meth:`gudlearn.GUDGenerator.sweep`.

    Examples
    --------
    >>> from gudlearn import GUDGenerator, Training
    >>> gen = GUDGenerator(training=Training(checkpoint_interval=60))
    >>> gen.get_params()["training__checkpoint_interval"]
    60
    """

    def __init__(self, checkpoint=None, checkpoint_interval=30, schedule_family=None):
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval
        self.schedule_family = schedule_family

    def check_params(self):
        """Raise an error if a parameter has a bad value."""
        checkpoint, interval = self.checkpoint, self.checkpoint_interval
        if checkpoint is not None and not isinstance(checkpoint, str | os.PathLike):
            raise TypeError(
                f"checkpoint={checkpoint!r} must be None or the path of a file. Pass one."
            )
        number = isinstance(interval, Real) and not isinstance(interval, bool)
        if not (number and interval > 0 and np.isfinite(interval)):
            raise ValueError(
                f"checkpoint_interval={interval!r} must be a positive number of seconds. Pass one."
            )
        _check_family(self.schedule_family)


def _check_family(family):
    """Raise unless a family is a dict of ranges and lists by name, or a list of these, or None."""
    if family is None:
        return
    grids = family if isinstance(family, list | tuple) else [family]
    if not grids or not all(isinstance(grid, dict) for grid in grids):
        raise TypeError(
            f"schedule_family={family!r} must be a dict of parameters of schedules, such as "
            "{'softness': (0.1, 1.0)}, a list of these, or None. Pass one."
        )
    for name, values in ((name, values) for grid in grids for name, values in grid.items()):
        if name == "schedule":
            continue
        if not isinstance(values, list | tuple | np.ndarray) or len(values) == 0:
            raise TypeError(
                f"schedule_family[{name!r}]={values!r} must be a range (low, high) or a list of "
                "values. Pass one."
            )
        if is_range(values) and not 0 <= values[0] < values[1]:
            raise ValueError(
                f"schedule_family[{name!r}]={values!r} must be a range (low, high) with 0 <= low < "
                "high. Pass one, or a list of values."
            )


def is_range(values):
    """Whether the values of a parameter of a family are a range: a tuple of two numbers."""
    pair = isinstance(values, tuple) and len(values) == 2
    return pair and all(isinstance(v, Real) and not isinstance(v, bool) for v in values)
