"""Training parameters whose value "auto" depends on the data, and the trainer."""

import math

import numpy as np
import torch

from gudlearn._random import torch_generator
from gudlearn._specs import resolve
from gudlearn.conditioning.missing_masks import MissingMasks
from gudlearn.conditioning.random_masks import RandomMasks
from gudlearn.data.given import place_of
from gudlearn.model.build import build_denoiser
from gudlearn.model.device import autocast_type, resolve_device, sees_images
from gudlearn.networks import ImageNetwork
from gudlearn.training.split import n_held_out
from gudlearn.training.trainer import Trainer

# With this many rows networks do not see a row often enough to memorise it.
_MANY_ROWS = 10_000
# Fraction of partially observed rows in training if values are missing, or numbers are mixed with
# categories.
_RATE_OF_PARTS = 0.3
# The same if some columns will be asked for given the others.
_RATE_OF_TARGETS = 0.8
# Limits of the default number of epochs.
_FEWEST_EPOCHS, _MOST_EPOCHS = 500, 700
# Rows of a table that are kept as the reference set with retrieval="auto".
_MOST_REFERENCE = 2048


def target_mask(targets, conditional_rate, encoding, container):
    """Mask (F,) of the columns that will be asked for given the others; None if there are none.

    Parameters
    ----------
    targets : None, str, int, or list of them
    conditional_rate : "auto" or float
    encoding : Encoding
    container : TableSchema or ImageContainer

    Raises
    ------
    ValueError
        If a column is unknown, none is left to be given, the basis mixes targets with others, X
        holds images, or no row is partially observed in training.
    """
    if targets is None:
        return None
    every = asks_for_all(targets)
    if container.is_image:
        raise ValueError(f"targets={targets!r} names columns of a table, but X holds images.")
    if conditional_rate == 0:
        raise ValueError(
            f"targets={targets!r} needs rows that are partially observed in training, but "
            "conditional_rate=0. Pass 'auto' or a fraction above 0."
        )
    keys = list(targets) if isinstance(targets, list | tuple | np.ndarray) else [targets]
    n_columns = len(container.columns)
    if every:
        each = container.field_mask(np.eye(n_columns, dtype=bool))
        if encoding.splits_block(each):
            raise ValueError(
                "targets='all' hides single columns, but the basis mixes them with others. Pass "
                "basis='identity', or name the columns of a whole block."
            )
        return each.any(0)
    places = [place_of("targets", key, container) for key in keys]
    if not 0 < len(set(places)) < n_columns:
        raise ValueError(
            f"targets={targets!r} names {len(set(places))} of the {n_columns} columns of X. Name "
            "at least one, and leave at least one that they can be given."
        )
    mask = container.field_mask(np.isin(np.arange(n_columns), places))
    if encoding.splits_block(mask[None]):
        raise ValueError(
            f"targets={targets!r}: the basis mixes these columns with others. Pass "
            "basis='identity', or a block of their own."
        )
    return mask


def asks_for_all(targets):
    """Whether ``targets`` says that any column may be asked for."""
    return isinstance(targets, str) and targets == "all"


def conditional_rate(rate, encoding, rows, targets=None):
    """Fraction of the rows that are partially observed in training.

    Parameters
    ----------
    rate : "auto" or float
    encoding : Encoding
    rows : Rows
    targets : object
        The estimator's parameter; None if no columns are favoured.
    """
    if rate != "auto":
        return float(rate)
    if targets is not None:
        return _RATE_OF_TARGETS
    # Rows with categories cannot be guided by observed values: the network must have seen such.
    mixed = encoding.categories is not None and bool(encoding.ends.numeric.any())
    return _RATE_OF_PARTS if mixed or encoding.imputable(rows) is not None else 0.0


def n_reference(retrieval, images):
    """Largest number of rows in the reference set.

    Parameters
    ----------
    retrieval : "auto" or int
    images : bool
        Whether rows are images.
    """
    if retrieval == "auto":
        return 0 if images else _MOST_REFERENCE
    return retrieval


def n_epochs(max_iter, max_time, n_rows, small_steps=False):
    """Number of epochs of a budget; None if only time limits it.

    Parameters
    ----------
    max_iter : "auto" or int
    max_time : float or None
    n_rows : int
    small_steps : bool
        See `takes_small_steps`.
    """
    if max_iter != "auto":
        return int(max_iter)
    if max_time is not None:
        return None
    # Up to some thousand rows an epoch has one or two steps.
    most = _FEWEST_EPOCHS if small_steps else _MOST_EPOCHS
    most = np.clip(1.5e6 / n_rows, _FEWEST_EPOCHS, most)
    return int(min(most, 100 + n_rows, math.ceil(6e6 / n_rows)))


def takes_small_steps(estimator, state):
    """Whether a fit keeps to many steps of few rows.

    With ``targets`` it is not known how few steps learn them. With a reference set the time of a
    step is that of its rows.
    """
    return estimator.targets is not None or state.preconditioner.reference is not None


def default_batch_size(n_train, images, small_steps=False):
    """Rows per step for a number of training rows.

    The optimiser and the calls of a step take as long as some hundred rows: all rows of a table of
    700 in each of 700 steps teach as much as quarters of them in 2000 steps, in half of the time.
    With few rows small batches give enough steps.
    """
    if images:
        return min(n_train, 32)
    size = n_train // 4 if small_steps else n_train**2 // 700
    return min(n_train, int(np.clip(size, 64, 1024)))


def resolve_network(network, n_rows, shape=None, predicts=False):
    """The network's specification for n_rows rows of a table, or images of a shape.

    With `predicts` some columns will be asked for given the others.
    """
    if isinstance(network, str) and network == "auto":
        network = "mlp" if shape is None else "unet"
    spec = resolve("network", network)
    if isinstance(spec, ImageNetwork) and shape is None:
        raise ValueError(
            f"network={spec!r} needs images, but X is a table. Pass X of shape (n, height, width[, "
            "channels]), or flat rows with shape=(height, width[, channels]), or network='mlp'."
        )
    if predicts and hasattr(spec, "for_targets"):
        spec = spec.for_targets()
    spec = spec.sized(n_rows) if hasattr(spec, "sized") else spec
    if hasattr(spec, "check_params"):
        spec.check_params(shape)
    return spec


def targets_of(estimator, state):
    """The mask (F,) of an estimator's ``targets``, see `target_mask`; None if there are none."""
    rate = estimator.conditional_rate
    return target_mask(estimator.targets, rate, state.encoding, state.container)


def make_trainer(estimator, state, n_rows, seed):
    """A trainer with an estimator's parameters; None if nothing diffuses.

    Parameters
    ----------
    estimator : GUDGenerator
        Its public parameters are read.
    state : ModelState
    n_rows : int
        Number of rows, including held-out ones.
    seed : int
    """
    denoiser = build_denoiser(state)
    if denoiser is None:
        return None
    device, images = resolve_device(estimator.device), sees_images(denoiser)
    targets = targets_of(estimator, state)
    kind = MissingMasks if asks_for_all(estimator.targets) else RandomMasks
    n_train = n_rows - n_held_out(n_rows, estimator.validation_fraction, state.has_images)
    weight_decay, batch_size = estimator.weight_decay, estimator.batch_size
    if weight_decay == "auto":
        weight_decay = float(np.clip(150 / n_train, 0.01, 0.1))
    if batch_size == "auto":
        batch_size = default_batch_size(n_train, images, takes_small_steps(estimator, state))
    learning_rate = estimator.learning_rate_init
    if learning_rate == "auto":
        learning_rate = 6e-3 if images else 4e-3
    return Trainer(
        denoiser.to(device, torch.float32),
        state.path().to(device, torch.float32),
        loss=estimator.loss_weighting,
        batch_size=batch_size,
        learning_rate=learning_rate,
        optimizer=estimator.optimizer,
        weight_decay=weight_decay,
        autocast=autocast_type(estimator.precision, device),
        generator=torch_generator(seed, device),
        compiled=estimator.compile,
        n_parts=estimator.accumulation_steps,
        masks=kind.of_encoding(state.encoding, state.conditional_rate, device, targets),
        # With few rows, partially observed rows add information; with many, they mostly add
        # gradient noise.
        loss_normalization=1.0 if n_rows < _MANY_ROWS else 0.5,
        family=[path.to(device, torch.float32) for path in state.family_paths()],
    )
