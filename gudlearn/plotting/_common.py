"""Colours, axes and input checks that all displays share."""

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


def check_count(value, name):
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")
    return int(value)
