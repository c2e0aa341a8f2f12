"""How a fit runs: checkpoints."""

import os
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator

from gudlearn._versions import Versioned
from gudlearn.storage import archive

#: Ways in which the processes of a training come about.
STRATEGIES = ("auto", "ddp", "ddp_spawn", "ddp_fork")


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
    devices : int, default=1
        Processes on this machine that train together, each on a GPU or a share of the cores (extra
        ``distributed``). Each has all rows and takes its part of every batch, so that the result is
        that of one process with ``accumulation_steps`` as large, up to rounding. ``partial_fit``,
        samples and scores run in one process.
    strategy : {"auto", "ddp", "ddp_spawn", "ddp_fork"}, default="auto"
        How processes come about, as in Lightning Fabric. "ddp": ``torchrun`` or SLURM has started
        them, on one machine or on several, and every one of them calls ``fit``. "ddp_spawn":
        ``fit`` starts them, in a script guarded by ``if __name__ == "__main__"``. "ddp_fork" works
        in notebooks. "auto" is "ddp" under ``torchrun`` and SLURM, and "ddp_spawn" elsewhere.

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

    def __init__(self, checkpoint=None, checkpoint_interval=30, devices=1, strategy="auto"):
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval
        self.devices = devices
        self.strategy = strategy

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
        self._check_devices()
        if checkpoint is not None:
            _check_writable(checkpoint)

    def _check_devices(self):
        whole = isinstance(self.devices, Integral) and not isinstance(self.devices, bool)
        if not (whole and self.devices >= 1):
            raise ValueError(
                f"devices={self.devices!r} must be a whole number of at least 1. Pass one."
            )
        if self.strategy not in STRATEGIES:
            raise ValueError(
                f"strategy={self.strategy!r} is not known. Known: "
                f"{', '.join(map(repr, STRATEGIES))}."
            )


def _check_writable(checkpoint):
    try:
        archive.check_writable(checkpoint)
    except OSError as error:
        raise OSError(
            f"checkpoint={os.fspath(checkpoint)!r} cannot be written: {error}. Pass the path of a "
            "file in a folder that exists and may be written to."
        ) from error
