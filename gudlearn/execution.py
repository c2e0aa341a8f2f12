"""How a fit runs: checkpoints."""

import os
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator

from gudlearn._versions import Versioned


class Training(Versioned, BaseEstimator):
    """How a fit runs: what it writes while it trains.

    Parameters
    ----------
    checkpoint : None, str or path-like, default=None
        File to which training is written while it runs. The same ``fit`` with a file that exists
        goes on where that training was. None writes nothing.
    checkpoint_interval : float, default=30
        Seconds between checkpoints.

    Examples
    --------
    >>> from gudlearn import GUDGenerator, Training
    >>> gen = GUDGenerator(training=Training(checkpoint_interval=60))
    >>> gen.get_params()["training__checkpoint_interval"]
    60
    """

    def __init__(self, checkpoint=None, checkpoint_interval=30):
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval

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
