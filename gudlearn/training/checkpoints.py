"""Checkpoints: the file from which an interrupted fit goes on.

A checkpoint holds all that changes while a network is trained: weights and their moving average,
moments of the optimisers, states of random generators, the density of times, losses and scores,
the best weights so far, imputed values, the position in the epoch and the seconds that were spent.
What fit prepares before, from the data and the seed, is prepared again.
"""

import hashlib
import os
import time
import zipfile
from contextlib import contextmanager, suppress

import numpy as np

from gudlearn._random import derive_seed
from gudlearn._specs import resolve
from gudlearn._versions import library_versions, own_version
from gudlearn.model.device import sees_images
from gudlearn.model.warnings import warn_user
from gudlearn.storage import archive, arrays, trees
from gudlearn.storage.errors import ModelFileError
from gudlearn.training.fingerprints import differences, fingerprint

#: Layout of these files. A version of gudlearn reads its own only.
LAYOUT = archive.Layout("checkpoint", 1)
_STATE = "state.json"
# Rows, or images, whose components show that the data are encoded as before.
_ROWS, _IMAGES = 256, 8
# Least time between two checkpoints, in multiples of the time to write one.
_LEAST_WAIT = 99
_CURE = (
    "Nothing was changed. Make the call of fit that wrote it, pass another path, or delete the "
    "file to train from the start."
)


class Checkpoint:
    """The file of a fit.

    Parameters
    ----------
    path : str or path-like
    interval : float
        Seconds between checkpoints.
    identity : dict of str to str
        What the fit depends on, see `fingerprint`.
    seed : int
        Of the fit.
    shapes : dict of str to list of int
        Shapes of the weights.
    prepared : str
        Hash of what fit has prepared.
    writes : bool
        Whether this process writes; of several that train together one does.

    Attributes
    ----------
    run : dict or None
        State of the run in the file; None if there is none, or none has begun.
    """

    def __init__(self, path, interval, identity, seed, shapes, prepared, writes=True):
        self.path, self.interval, self.run = os.path.abspath(path), interval, None
        self._identity, self._seed, self._shapes, self._prepared = identity, seed, shapes, prepared
        self._written, self._cost, self._failed = time.monotonic(), 0.0, False
        self.writes = writes

    def open(self, content):
        """Read the file, or write the first one.

        Parameters
        ----------
        content : dict
            What the first file holds: nearly as much as later ones, so that there is room for them.

        Raises
        ------
        ValueError
            If the file is no checkpoint, damaged, or that of another fit; it is left as it is.
        OSError
            If there is none, and it cannot be written.
        """
        if self.writes:
            archive.remove_leftovers(self.path)
        found = _read(self.path)
        if found is None and not self.writes:
            return
        if found is None:
            try:
                self._write({"begun": content})
            except OSError as error:
                raise OSError(
                    f"checkpoint={self.path!r} cannot be written: {error}. Nothing was trained. "
                    "Make room, or pass the path of another file."
                ) from error
            return
        self._compare(found)
        self.run = found["run"].get("state")

    def _compare(self, found):
        """Raise if what was found is of another fit."""
        different = differences(self._identity, found["identity"])
        if not different and found["shapes"] != self._shapes:
            different = ["the network has weights of other shapes"]
        if different:
            raise ValueError(
                f"checkpoint={self.path!r} is that of another fit: {'; '.join(different)}. {_CURE}"
            )
        if found["prepared"] != self._prepared:
            warn_user(
                f"checkpoint={self.path!r}: what fit prepares from X is not what it was to the "
                "bit, on another machine, with another number of threads, or with other versions "
                "of libraries. Training goes on, to a result that differs by rounding."
            )

    def begin(self):
        """Start to count the seconds to the next checkpoint."""
        self._written = time.monotonic()

    def due(self):
        """Whether it is time for the next checkpoint: at most a hundredth of a fit writes them."""
        if not self.writes:
            return False
        wait = max(self.interval, _LEAST_WAIT * self._cost)
        return time.monotonic() - self._written >= wait

    def write(self, state):
        """Write the state of a run. If the disk refuses, warn once; the old file stays.

        Parameters
        ----------
        state : dict
            See `trees.pack`.
        """
        if not self.writes:
            return
        try:
            self._write({"state": state})
        except OSError as error:
            if not self._failed:
                warn_user(
                    f"checkpoint={self.path!r} could not be written: {error}. Training goes on in "
                    "memory and tries again; the last checkpoint is as it was."
                )
            self._failed = True
        self.begin()

    def _write(self, run):
        begin = time.monotonic()
        content, tensors = trees.pack(run)
        tree = {
            "identity": self._identity, "seed": self._seed, "shapes": self._shapes,
            "prepared": self._prepared, "run": content,
        }  # fmt: skip
        members = {_STATE: archive.to_json(tree), archive.TENSORS: arrays.dumps(tensors)}
        with archive.replaced(self.path) as file:
            archive.pack_into(file, "GUDGenerator", library_versions(), members, LAYOUT)
        self._cost = time.monotonic() - begin


def _read(path):
    """What a file holds, a dict; None if there is no file."""
    if not os.path.exists(path):
        return None
    with open(path, "rb") as file:
        try:
            version, tree = _unpacked(file)
        # Whatever is wrong inside is the file's fault.
        except Exception as error:
            known = isinstance(error, ModelFileError | zipfile.BadZipFile)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            raise ValueError(
                f"checkpoint={path!r} cannot be read: {reason[:300].rstrip('.')}. {_CURE}"
            ) from error
    if version != own_version():
        raise ValueError(
            f"checkpoint={path!r} was written by gudlearn {version}, and this is {own_version()}: "
            f"training would go on differently. {_CURE}"
        )
    return tree


def _unpacked(file):
    """The version of gudlearn that has written a file, and what it holds if it is this one."""
    manifest, members = archive.unpack(file, LAYOUT)
    version = manifest["versions"]["gudlearn"]
    if version != own_version():
        return version, None
    tree = archive.from_json(members[_STATE])
    tree["run"] = trees.unpack(tree["run"], arrays.loads(members[archive.TENSORS]))
    return version, tree


def starting_seed(estimator):
    """The seed of a fit: with ``random_state=None`` that of the checkpoint, if there is one.

    Parameters
    ----------
    estimator : GUDGenerator
    """
    path = resolve("training", estimator.training).checkpoint
    if estimator.random_state is None and path is not None and estimator.max_iter != 0:
        found = _read(os.path.abspath(path))
        if found is not None:
            return found["seed"]
    return derive_seed(estimator.random_state)


def open_checkpoint(estimator, state, rows, trainer, seed, continued, writes=True):
    """The `Checkpoint` of a fit, opened; None if it has none, or nothing to train.

    Parameters
    ----------
    estimator : GUDGenerator
    state : ModelState
        From which training starts.
    rows : Rows or StreamedRows
    trainer : Trainer or None
    seed : int
    continued : bool
        Whether training starts from the weights of an earlier fit.
    writes : bool
        Whether this process writes.
    """
    spec = resolve("training", estimator.training)
    if spec.checkpoint is None or trainer is None or estimator.max_iter == 0:
        return None
    weights = trainer.denoiser.network.state_dict()
    shapes = {name: list(value.shape) for name, value in weights.items()}
    most = _IMAGES if sees_images(trainer.denoiser) else _ROWS
    first = rows.in_memory.take(slice(0, most))
    z = estimator.fitted_model().encode(first).cpu().numpy()
    prepared = hashlib.sha256(np.ascontiguousarray(z).data)
    for value in state.weights.values():
        prepared.update(np.ascontiguousarray(value).data)
    checkpoint = Checkpoint(
        spec.checkpoint, spec.checkpoint_interval,
        fingerprint(estimator, state, rows, seed, trainer.device, continued), seed, shapes,
        prepared.hexdigest(), writes,
    )  # fmt: skip
    checkpoint.open(trainer.state_dict())
    return checkpoint


@contextmanager
def explained_interrupt(checkpoint, n_epochs):
    """Say what becomes of a fit that Ctrl-C ends in the block; the interrupt goes on.

    Parameters
    ----------
    checkpoint : Checkpoint or None
    n_epochs : callable () -> int
        Epochs that were trained.
    """
    try:
        yield
    except KeyboardInterrupt:
        cure = "Pass training=Training(checkpoint=...) to go on where a fit was interrupted."
        if checkpoint is not None:
            cure = f"The same call of fit goes on from checkpoint={checkpoint.path!r}."
        # An interrupt is one also where warnings are errors.
        with suppress(UserWarning):
            warn_user(
                f"fit was interrupted after {n_epochs()} epochs. This generator works, with the "
                f"best weights so far. {cure}"
            )
        raise
