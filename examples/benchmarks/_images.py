"""Parts of the image benchmark: images, bases and networks by name, resumable fits, features."""

from __future__ import annotations

import importlib
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import joblib
import numpy as np

from gudlearn import (
    LinearSchedule,
    LossCurveDisplay,
    SampleGridDisplay,
    SequentialSchedule,
    SoftConditioningSchedule,
    Transformer,
    UNet,
    WaveletBasis,
)
from gudlearn.training.trainer import Trainer

N_CHOICE = 2000
BASES = ("auto", "identity", "pca", "fourier", "haar", "haar3")
HAAR_LEVELS = 3
FEATURE_SIZE = 64


def load_images(folder, name):
    """Images for training, for choosing settings and for testing: uint8 (n, h, w[, c])."""
    sys.path.insert(0, str(folder))
    source = importlib.import_module("load")
    if name == "cifar10":
        train, test = source.cifar10("train")[0], source.cifar10("test")[0]
    else:
        arrays = source.npz(name)
        train, test = arrays["x_train"], arrays["x_test"]
    n_choice = min(N_CHOICE, len(train) // 10)
    return train[:-n_choice], train[-n_choice:], test


# ---------------------------------------------------------------- parts of the estimator


def make_basis(name, n_channels):
    """The basis of a name; colours are rotated jointly, as the estimator's own names do."""
    if name == "haar3":
        return WaveletBasis(levels=HAAR_LEVELS, joint_channels=n_channels > 1)
    return {"haar": "wavelet"}.get(name, name)


def make_schedule(softness, basis, shape):
    """The schedule of "linear", "columns" or a number, for images (height, width, channels)."""
    if softness == "linear":
        return LinearSchedule()
    if softness == "columns":
        return SequentialSchedule(order=column_order(basis, shape))
    return SoftConditioningSchedule(softness=float(softness))


def make_network(text, mirror=False):
    """The network of "auto", "transformer", "unet", "unet:WIDTH" or "unet:WIDTH:BLOCKS"."""
    name, *sizes = text.split(":")
    if name in ("auto", "transformer", "unet") and not sizes:
        return Transformer(mirror=mirror) if name == "transformer" else UNet(mirror=mirror)
    blocks = sizes[1].split(",") if len(sizes) == 2 else []
    if name != "unet" or len(sizes) > 2 or not all(n.isdecimal() for n in [*sizes[:1], *blocks]):
        raise ValueError(
            f"--network {text} is unknown. Pass auto, transformer, unet:WIDTH or "
            "unet:WIDTH:BLOCKS, such as unet:64:2 or, a number for each resolution, unet:64:2,1."
        )
    width = int(sizes[0])
    if not blocks:
        return UNet(width=width, mirror=mirror)
    if len(blocks) == 1:
        return UNet(width=width, n_blocks=int(blocks[0]), mirror=mirror)
    multipliers, n_blocks = (1, 2, 2, 2, 2)[: len(blocks)], tuple(map(int, blocks))
    return UNet(width=width, multipliers=multipliers, n_blocks=n_blocks, mirror=mirror)


def column_order(basis, shape):
    """The image column in which each component of a basis lies, (D,) whole numbers.

    For pixels these are the columns of the image, for three-level Haar wavelets those of the
    coarsest cells.
    """
    height, width, n_channels = shape
    if basis == "identity":
        return np.tile(np.repeat(np.arange(width), n_channels), height)
    if basis == "haar3":
        return coarse_columns((height, width), HAAR_LEVELS, n_channels)
    raise ValueError(
        f"--softness columns needs components that lie in columns of the image, but those of "
        f"--basis {basis} extend over all of it. Pass --basis identity or haar3."
    )


def coarse_columns(shape, n_levels, n_channels):
    """Column, in the grid of the coarsest cells, of the cell that contains each Haar coefficient.

    Coefficients are in the layout of `WaveletBasis`: on each axis, split k puts the approximation
    first and the details after it, both in cells of side 2^(k + 1).
    """
    rows, columns = np.indices(shape)
    found = columns.copy()
    for split in range(n_levels):
        extent, inner = (np.ceil(np.divide(shape, 2**k)).astype(int) for k in (split, split + 1))
        inside = (rows < extent[0]) & (columns < extent[1])
        details = inside & ((rows >= inner[0]) | (columns >= inner[1]))
        cell = np.where(columns >= inner[1], columns - inner[1], columns)
        found[details] = cell[details] >> (n_levels - 1 - split)
    return np.repeat(found.ravel(), n_channels)


# ---------------------------------------------------------------- resumable fits


@contextmanager
def counted_steps():
    """Count the steps of training in a list of one number."""
    count, step = [0], Trainer.step

    def counted(trainer, *args, **kwargs):
        count[0] += 1
        return step(trainer, *args, **kwargs)

    Trainer.step = counted
    try:
        yield count
    finally:
        Trainer.step = step


class Checkpoint:
    """scikit-learn callback that saves a fit in progress at the end of epochs.

    Parameters
    ----------
    path : Path
    every : float
        Least number of seconds between saves.
    before : dict
        The progress of earlier fits, as `fresh` returns it.
    steps : list of one int
        Steps made in this fit, see `counted_steps`.
    """

    def __init__(self, path, every, before, steps):
        self.path, self.every, self.before, self.steps = path, every, before, steps
        self.start = self.saved = time.monotonic()

    def setup(self, estimator, context):
        """Nothing to set up."""

    def teardown(self, estimator, context):
        """Nothing to tear down."""

    def on_fit_task_begin(self, estimator, context):
        """Nothing to do."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Save at the end of an epoch if the last save is old enough."""
        if context.task_name == "epoch" and time.monotonic() - self.saved >= self.every:
            self.write(fitted_estimator)
            self.saved = time.monotonic()

    def write(self, generator):
        """Write a fitted generator and what it took; an interrupted write leaves the old file."""
        progress = {
            "generator": generator,
            "seconds": self.before["seconds"] + time.monotonic() - self.start,
            "steps": self.before["steps"] + self.steps[0],
            "starts": self.before["starts"],
        }
        unfinished = self.path.with_suffix(".tmp")
        joblib.dump(progress, unfinished)
        os.replace(unfinished, self.path)
        return progress


def fresh():
    """The progress of a fit that has not begun."""
    return {"generator": None, "seconds": 0.0, "steps": 0, "starts": 0}


def fit(generator, images, seconds, path=None, every=300.0):
    """Fit for some seconds, including those of earlier, interrupted calls.

    Parameters
    ----------
    generator : GUDGenerator, not fitted
    images : ndarray
    seconds : float
        0 fits the basis and the marginals only.
    path : Path or None
        Where the fit in progress is saved; None saves nothing.
    every : float
        Least number of seconds between saves.

    Returns
    -------
    dict
        The fitted `generator` (a saved one if an earlier call had begun), `seconds` of all fits,
        `steps` and `starts`.
    """
    progress = joblib.load(path) if path is not None and path.exists() else fresh()
    progress["starts"] += 1
    if not seconds:
        start = time.monotonic()
        generator.set_params(max_iter=0, max_time=None).fit(images)
        return progress | {"generator": generator, "seconds": time.monotonic() - start}
    if progress["generator"] is not None:
        generator = progress["generator"].set_params(warm_start=True)
    left = seconds - progress["seconds"]
    if left <= 0:
        return progress
    with counted_steps() as steps:
        checkpoint = Checkpoint(path, every, progress, steps)
        if path is not None:
            generator.set_callbacks(checkpoint)
        generator.set_params(max_time=left).fit(images)
    if path is not None:
        # Scoring may take long and can be interrupted, too.
        return checkpoint.write(generator)
    spent = time.monotonic() - checkpoint.start
    return {
        "generator": generator,
        "seconds": progress["seconds"] + spent,
        "steps": progress["steps"] + steps[0],
        "starts": progress["starts"],
    }


# ---------------------------------------------------------------- samples


def frechet_features(folder):
    """Features of images by the network in `folder/featnet`; None if there is none."""
    featnet = Path(folder) / "featnet"
    if not (featnet / "effnet_lite0.py").exists():
        return None
    sys.path.insert(0, str(featnet))
    reader = importlib.import_module("effnet_lite0")
    network = reader.load()
    return lambda images: reader.features(network, images, size=FEATURE_SIZE)


def draw_pictures(generator, real, fake, shape, folder, name):
    """Write samples next to real images, and the learning curve if there is one."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    real, fake = (images.reshape(len(images), -1) for images in (real, fake))
    n_samples = min(36, len(real), len(fake))
    display = SampleGridDisplay.from_samples(
        real, fake, n_samples=n_samples, shape=shape, vmin=0, vmax=255
    )
    display.figure_.savefig(folder / f"{name}.png", dpi=150)
    if generator.loss_curve_:
        curve = LossCurveDisplay.from_estimator(generator)
        curve.figure_.savefig(folder / f"{name}-curve.png", dpi=150)
