"""How a fit runs: checkpoints, processes, and the schedules that it trains for.

Samples and scores take from it on which processes they run.
"""

import os
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator

from gudlearn._versions import Versioned
from gudlearn.storage import archive

#: Ways in which the processes of a training come about.
STRATEGIES = ("auto", "ddp", "ddp_spawn", "ddp_fork")


class Training(Versioned, BaseEstimator):
    """How a fit runs: what it writes, on which devices, and for which schedules it trains.

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
        Processes on this machine that work together, each on a GPU or a share of the cores. In
        ``fit`` (extra ``distributed``) each has all rows and takes its part of every batch, so that
        the result is that of one process with ``accumulation_steps`` as large, up to rounding.
        Samples and scores are divided between as many processes (at most the cores or GPUs of the
        machine), and are those of one process, to the bit. Workers of joblib, which stay for some
        minutes, draw and score many rows (8,192 and 4,096 at a time, and any number of images from
        two chunks of 64 and 16 on); fewer come from this process. ``partial_fit`` runs in one.
    strategy : {"auto", "ddp", "ddp_spawn", "ddp_fork"}, default="auto"
        How processes come about, as in Lightning Fabric. "ddp": ``torchrun`` or SLURM has started
        them, on one machine or on several, and every one of them calls ``fit``, and whatever
        samples and scores afterwards: all of them get all rows. "ddp_spawn":
        ``fit`` starts them, in a script guarded by ``if __name__ == "__main__"``. "ddp_fork" works
        in notebooks. "auto" is "ddp" under ``torchrun`` and SLURM, and "ddp_spawn" elsewhere.
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

    def __init__(
        self, checkpoint: str | os.PathLike[str] | None = None, checkpoint_interval: float = 30,
        devices: int = 1, strategy: Literal["auto", "ddp", "ddp_spawn", "ddp_fork"] = "auto",
        schedule_family: Mapping[str, Any] | list[Mapping[str, Any]] | None = None,
    ) -> None:  # fmt: skip
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval
        self.devices = devices
        self.strategy = strategy
        self.schedule_family = schedule_family

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
        self.check_devices()
        _check_family(self.schedule_family)
        if checkpoint is not None:
            _check_writable(checkpoint)

    def check_devices(self):
        """Raise an error if ``devices`` or ``strategy`` has a bad value."""
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
