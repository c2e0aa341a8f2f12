"""Colours, axes and input checks that all displays share."""

import math
from numbers import Integral

import numpy as np
from sklearn.utils import check_array

REAL_COLOR = "#9aa5b1"
FAKE_COLOR = "#d55e00"
LINE_COLOR = "#0072b2"


def import_pyplot(display):
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__}.plot needs matplotlib. "
            "Install it with: pip install 'gudlearn[plot]'"
        ) from error
    return plt


def new_or_given_axes(display, ax, figsize):
    plt = import_pyplot(display)
    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    return ax


def tidy(ax):
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.set_axisbelow(True)


def estimator_name(estimator, name):
    return type(estimator).__name__ if name is None else name


def check_rows(X, name):
    return check_array(X, dtype=np.float64, input_name=name)


def check_real_and_fake(real, fake):
    real, fake = check_rows(real, "real"), check_rows(fake, "fake")
    if real.shape[1] != fake.shape[1]:
        raise ValueError(
            f"real has {real.shape[1]} features but fake has {fake.shape[1]}. "
            "Pass rows of the same columns."
        )
    return real, fake


def check_images(X, name, shape=None):
    """Images (n, height, width, channels), float64, from images or from flat rows.

    Parameters
    ----------
    X : array-like of shape (n, n_features), (n, height, width) or (n, height, width, channels)
    name : str
        What messages call X.
    shape : (height, width), (height, width, channels) or None
        Of one flattened row. None: square images of one channel.

    Raises
    ------
    ValueError
        If shapes do not fit, or there are neither 1 nor 3 channels.
    """
    X = check_array(X, dtype=np.float64, input_name=name, allow_nd=True)
    if X.ndim == 2:
        return X.reshape(-1, *_shape_of_rows(X.shape[1], shape))
    if X.ndim > 4 or (X.ndim == 4 and X.shape[3] not in (1, 3)):
        raise ValueError(
            f"{name} has shape {X.shape}. Pass images of shape (n, height, width) or (n, height, "
            "width, channels) with 1 or 3 channels, or flat rows with shape=."
        )
    images = X if X.ndim == 4 else X[..., None]
    if shape is not None and tuple(shape) not in (X.shape[1:], images.shape[1:]):
        raise ValueError(
            f"shape={tuple(shape)} does not match {name} of shape {X.shape}. Leave shape out: "
            "images tell their own."
        )
    return images


def _shape_of_rows(n_features, shape):
    if shape is None:
        side = math.isqrt(n_features)
        if side * side != n_features:
            raise ValueError(
                f"The rows have {n_features} features, which is not a square number. "
                "Pass shape=(height, width) or shape=(height, width, channels)."
            )
        return side, side, 1
    shape = tuple(shape)
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise ValueError(
            "shape must be (height, width) or (height, width, channels) with 1 or 3 channels, "
            f"got {shape!r}."
        )
    if math.prod(shape) != n_features:
        raise ValueError(
            f"shape={shape} has {math.prod(shape)} entries but the rows have {n_features} "
            "features. Pass the shape of one flattened row."
        )
    return shape if len(shape) == 3 else (*shape, 1)


def check_real_and_fake_images(real, fake, shape=None):
    if np.ndim(real) == np.ndim(fake) == 2:
        check_real_and_fake(real, fake)
    real, fake = check_images(real, "real", shape), check_images(fake, "fake", shape)
    if real.shape[1:] != fake.shape[1:]:
        raise ValueError(
            f"real has images of shape {real.shape[1:]} but fake has {fake.shape[1:]}, as (height, "
            "width, channels). Pass images of one shape."
        )
    return real, fake


def asked(y=None, guidance=None, **kwargs):
    """Arguments of ``sample``: y and guidance only if given, since not every estimator has them."""
    optional = {"y": y, "guidance": guidance}
    return kwargs | {name: value for name, value in optional.items() if value is not None}


def row_shape(estimator, shape):
    """The shape of one flattened row: the one given, else the one the estimator was given."""
    return getattr(estimator, "shape", None) if shape is None else shape


def check_count(value, name):
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")
    return int(value)
