"""What the image benchmark stands on: images, components' columns, interrupted fits, features."""

from __future__ import annotations

import importlib
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import joblib
import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

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

N_CHOICE = 2000
BASES = ("auto", "identity", "pca", "fourier", "haar", "haar3")
HAAR_LEVELS = 3
FEATURE_SIZE = 64
# What a fitted estimator needs to go on from: all else is fitted again, to the same result.
LEARNED = (
    "weights_",
    "time_weights_",
    "_measured_on",
    "n_iter_",
    "loss_curve_",
    "validation_scores_",
    "validation_iters_",
)


def load_images(folder, name):
    """Images to train on, to choose by, and to test on: uint8 (n, h, w[, c])."""
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
    """The basis of a name; colours are rotated together, as the estimator's own names do."""
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
    """The image column that each component of a basis lies in, (D,) whole numbers.

    Pixels have columns of their own; three-level Haar wavelets those of the coarsest cells.
    """
    height, width, n_channels = shape
    if basis == "identity":
        return np.tile(np.repeat(np.arange(width), n_channels), height)
    if basis == "haar3":
        return coarse_columns((height, width), HAAR_LEVELS, n_channels)
    raise ValueError(
        f"--softness columns needs components that lie in columns of the image, but those of "
        f"--basis {basis} spread over it. Pass --basis identity or haar3."
    )


def coarse_columns(shape, n_levels, n_channels):
    """Column, in the grid of coarsest cells, of the cell that holds each Haar coefficient.

    The coefficients lie as `WaveletBasis` lays them out: split k leaves on each axis the
    approximation first and the details after it, both in cells of side 2^(k + 1).
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


# ---------------------------------------------------------------- fits that may be interrupted


@contextmanager
def counted_steps():
    """Count the steps of AdamW, of which a training step makes one, in a list of one number."""
    count = [0]

    def after_step(optimizer, args, kwargs):
        count[0] += isinstance(optimizer, torch.optim.AdamW)

    handle = register_optimizer_step_post_hook(after_step)
    try:
        yield count
    finally:
        handle.remove()


class Checkpoint:
    """scikit-learn callback that saves a fit in progress at ends of passes.

    Parameters
    ----------
    path : Path
    every : float
        Seconds between saves, at least.
    state : dict
        What was used and learned before this fit, as `fresh_state` returns it.
    steps : list of one int
        Steps made in this fit, see `counted_steps`.
    """

    def __init__(self, path, every, state, steps):
        self.path, self.every, self.before, self.steps = path, every, state, steps
        self.start = self.saved = time.monotonic()
        self.iters = []

    def setup(self, estimator, context):
        """Nothing to set up."""

    def teardown(self, estimator, context):
        """Nothing to tear down."""

    def on_fit_task_begin(self, estimator, context):
        """Nothing to do."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Save at the end of a pass, if the last save is old enough."""
        if context.task_name != "pass":
            return
        # The estimator of a pass knows of this fit alone; earlier ones are added here.
        before = self.before["learned"]
        passes = before.get("n_iter_", 0) + fitted_estimator.n_iter_
        while len(self.iters) < len(fitted_estimator.validation_scores_):
            self.iters.append(passes if self.iters else before.get("n_iter_", 0))
        if time.monotonic() - self.saved < self.every:
            return
        learned = {name: getattr(fitted_estimator, name) for name in LEARNED}
        for name in ("loss_curve_", "validation_scores_"):
            learned[name] = before.get(name, []) + learned[name]
        learned["validation_iters_"] = before.get("validation_iters_", []) + self.iters
        learned["n_iter_"] = passes
        self.write(learned)
        self.saved = time.monotonic()

    def write(self, learned):
        """Write the state as it is now; a broken write leaves the old one."""
        state = {
            "learned": learned,
            "seconds": self.before["seconds"] + time.monotonic() - self.start,
            "steps": self.before["steps"] + self.steps[0],
            "starts": self.before["starts"],
        }
        unfinished = self.path.with_suffix(".tmp")
        joblib.dump(state, unfinished)
        os.replace(unfinished, self.path)
        return state


def fresh_state():
    """The state of a fit that has not begun."""
    return {"learned": {}, "seconds": 0.0, "steps": 0, "starts": 0}


def fit(generator, images, seconds, path=None, every=300.0):
    """Fit for these seconds, those of an earlier, interrupted call included.

    Parameters
    ----------
    generator : GUDGenerator, not fitted
    images : ndarray
    seconds : float
        0 fits basis and marginals alone.
    path : Path or None
        Where the fit in progress is kept; None keeps nothing.
    every : float
        Seconds between saves, at least.

    Returns
    -------
    dict
        `seconds` of all fits, `steps` and `starts`.
    """
    state = joblib.load(path) if path is not None and path.exists() else fresh_state()
    state["starts"] += 1
    if state["learned"] or not seconds:
        start = time.monotonic()
        generator.set_params(max_iter=0, max_time=None).fit(images)
        if not seconds:
            return state | {"seconds": time.monotonic() - start}
        for name, value in state["learned"].items():
            setattr(generator, name, value)
        generator.set_params(max_iter="auto", warm_start=True)
    left = seconds - state["seconds"]
    if left <= 0:
        return state
    with counted_steps() as steps:
        checkpoint = Checkpoint(path, every, state, steps)
        if path is not None:
            generator.set_callbacks(checkpoint)
        generator.set_params(max_time=left).fit(images)
    if path is not None:
        # Scores may take long: they too can be interrupted.
        return checkpoint.write({name: getattr(generator, name) for name in LEARNED})
    spent = time.monotonic() - checkpoint.start
    return state | {"seconds": state["seconds"] + spent, "steps": state["steps"] + steps[0]}


# ---------------------------------------------------------------- samples


def frechet_features(folder):
    """Features of images by the reader in `folder/featnet`; None where there is none."""
    featnet = Path(folder) / "featnet"
    if not (featnet / "effnet_lite0.py").exists():
        return None
    sys.path.insert(0, str(featnet))
    reader = importlib.import_module("effnet_lite0")
    network = reader.load()
    return lambda images: reader.features(network, images, size=FEATURE_SIZE)


def draw_pictures(generator, real, fake, shape, folder, name):
    """Write samples beside real images, and the learning curve if there is one."""
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


# ---------------------------------------------------------------- where it ran
