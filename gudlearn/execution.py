"""How a fit runs: checkpoints."""

import os
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator

from gudlearn._versions import Versioned
from gudlearn.storage import archive


class Training(Versioned, BaseEstimator):
    """How a fit runs: what it writes while it trains.

    Parameters
    ----------
    checkpoint : None, str or path-like, default=None
        File to which ``fit`` writes training while it runs. If the process ends, the same call of
        ``fit`` (parameters, data, version of gudlearn) goes on from there, to the same bits with
        ``max_iter``, and with the seconds that were left of ``max_time``. After training the file
        stays, and the same call gives the result at once. ``fit`` refuses a file of another fit,
        and leaves it as it is. None writes nothing. ``partial_fit`` writes none.
    checkpoint_interval : float, default=30
        Seconds between checkpoints, also within an epoch. If writing one takes longer than a
        hundredth of that, they are fewer, so that they take a hundredth of the time.

    Notes
    -----
    With ``random_state=None`` the file keeps the seed that was drawn. Sampler, likelihood and other
    parameters that may be set after ``fit`` may differ.

    Examples
    --------
    >>> from gudlearn import GUDGenerator, Training
    >>> gen = GUDGenerator(training=Training(checkpoint_interval=60))
    >>> gen.get_params()["training__checkpoint_interval"]
    60

    The second call of ``fit`` reads the result of the first, or goes on if that was interrupted:

    >>> import os, tempfile
    >>> from sklearn.datasets import load_iris
    >>> X = load_iris().data
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     training = Training(checkpoint=os.path.join(folder, "iris.ckpt"))
    ...     gen = GUDGenerator(max_iter=2, training=training, random_state=0)
    ...     first, second = gen.fit(X).loss_curve_, gen.fit(X).loss_curve_
    >>> first == second
    True
    """

    def __init__(self, checkpoint=None, checkpoint_interval=30):
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval

    def check_params(self):
        """Raise an error if a parameter has a bad value, or the checkpoint cannot be written."""
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
        if checkpoint is not None:
            _check_writable(checkpoint)


def _check_writable(checkpoint):
    try:
        archive.check_writable(checkpoint)
    except OSError as error:
        raise OSError(
            f"checkpoint={os.fspath(checkpoint)!r} cannot be written: {error}. Pass the path of a "
            "file in a folder that exists and may be written to."
        ) from error
