"""Processes that train one network together: what they exchange, and how they are started.

Every process, a rank, holds all rows and all weights. A step divides its batch between the ranks,
sums the gradients, and takes the same step everywhere. Lightning Fabric starts the processes and
carries the sums (extra ``distributed``).
"""

import os
import pickle
import tempfile
from pathlib import Path

import torch

from gudlearn import _random

# Numbers of processes in all, and on this machine, as torchrun and SLURM tell them.
_SIZES = (("WORLD_SIZE", "LOCAL_WORLD_SIZE"), ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE"))


class OneRank:
    """The only process of a training."""

    size, index = 1, 0

    def total(self, vector):
        """Sum of a vector over ranks."""
        return vector

    def agreed(self, value):
        """The value of the first rank."""
        return value


class Ranks:
    """The processes of a training, seen from one of them.

    Parameters
    ----------
    fabric : lightning_fabric.Fabric
        Launched.
    """

    def __init__(self, fabric):
        self._fabric = fabric
        self.size, self.index = fabric.world_size, fabric.global_rank
        self.device = fabric.device

    def total(self, vector):
        """Sum of a vector over ranks, which is the same on all of them."""
        return self._fabric.all_reduce(vector, reduce_op="sum")

    def agreed(self, value):
        """The value of the first rank."""
        return self._fabric.broadcast(value)


def make_fabric(device, devices, strategy):
    """A Fabric with these processes, not launched; None for this process alone.

    Parameters
    ----------
    device : torch.device
    devices : int
        On this machine.
    strategy : {"auto", "ddp", "ddp_spawn", "ddp_fork"}
        See `Training`.

    Raises
    ------
    ImportError
        If Lightning Fabric is not installed.
    ValueError
        If there are fewer devices, or "ddp" finds no processes.
    """
    if devices == 1 and strategy != "ddp":
        return None
    together = _launched()
    _check_devices(device, devices, strategy, together)
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise ImportError(
            f"devices={devices} needs Lightning Fabric: pip install 'gudlearn[distributed]'."
        ) from error
    n_nodes = 1
    if together is not None and strategy in ("auto", "ddp"):
        n_processes, devices = together
        strategy, n_nodes = "ddp", n_processes // devices
    elif strategy == "auto":
        strategy = "ddp_spawn"
    accelerator = "cuda" if device.type == "cuda" else "cpu"
    return Fabric(accelerator=accelerator, devices=devices, strategy=strategy, num_nodes=n_nodes)


def _check_devices(device, devices, strategy, together):
    there = torch.cuda.device_count() if device.type == "cuda" else os.cpu_count()
    if devices > there:
        kind = "GPUs" if device.type == "cuda" else "cores"
        raise ValueError(
            f"devices={devices} is more than the {there} {kind} of this machine. Pass at most "
            f"{there}."
        )
    if strategy == "ddp" and together is None:
        raise ValueError(
            "strategy='ddp' takes processes that torchrun or SLURM has started, and this one was "
            "started alone. Start them, or pass strategy='auto' with devices=2 or more."
        )
    if together is not None and strategy in ("auto", "ddp") and devices not in (1, together[1]):
        raise ValueError(
            f"devices={devices}, but {together[1]} processes were started on this machine. Pass "
            f"{together[1]}, or start {devices}."
        )


def _launched():
    """Numbers of processes that were started together, in all and on this machine, or None."""
    for size, local in _SIZES:
        if size in os.environ and int(os.environ[size]) > 1:
            return int(os.environ[size]), int(os.environ.get(local, os.environ[size]))
    return None


def joins(training):
    """Whether this process works with others, which torchrun or SLURM has started.

    Parameters
    ----------
    training : Training
    """
    asked = training.strategy == "ddp" or (training.devices > 1 and training.strategy == "auto")
    return asked and _launched() is not None


def is_first(training):
    """Whether this process is the first of those that train together, or trains alone.

    Parameters
    ----------
    training : Training
    """
    if not joins(training):
        return True
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0


def run_on_ranks(fabric, together, function, *args):
    """Call function(ranks, *args) on every rank; return the result of the first.

    Parameters
    ----------
    fabric : lightning_fabric.Fabric
        From `make_fabric`.
    together : bool
        Whether the processes are there, see `joins`; else they are started.
    function : callable
    *args : object
        Its arguments, picklable.

    Raises
    ------
    RuntimeError
        If a process ends or raises an error: within seconds, and the others are ended.
    """
    if together:
        fabric.launch()
        return function(Ranks(fabric), *args)
    environment = dict(os.environ)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "result")
            fabric.launch(_Task(function, fabric.world_size, path, args))
            return pickle.loads(path.read_bytes())
    except (
        torch.multiprocessing.ProcessRaisedException,
        torch.multiprocessing.ProcessExitedException,
    ) as error:
        last = str(error).strip().splitlines()[-1]
        raise RuntimeError(
            f"One of the {fabric.world_size} processes of the training ended: {last} The generator "
            "is untrained. In a script, call fit below if __name__ == '__main__'. With "
            "training__devices=1 errors come from this process."
        ) from error
    finally:
        # Fabric tells its processes by the environment where they meet.
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]


class _Task:
    """A call with its arguments, of which Fabric moves no part, in a new process.

    The first rank writes the result to a file: Fabric would wait for the end of the process before
    it reads a result from it, and a process waits until a large one is read.
    """

    def __init__(self, function, n_processes, path, args):
        self._function, self._path, self._args = function, path, args
        self._salt, self._n_threads = _random.SALT, max(1, torch.get_num_threads() // n_processes)

    def __call__(self, fabric):
        torch.set_num_threads(self._n_threads)
        _random.SALT = self._salt
        ranks = Ranks(fabric)
        result = self._function(ranks, *self._args)
        if ranks.index == 0:
            self._path.write_bytes(pickle.dumps(result))
