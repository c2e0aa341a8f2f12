"""Colours, axes and checks of input that displays share."""

import math
from numbers import Integral

import numpy as np
from sklearn.utils import check_array

REAL_COLOR = "#9aa5b1"
FAKE_COLOR = "#d55e00"
LINE_COLOR = "#0072b2"


def import_pyplot(display):
    """Import matplotlib.pyplot, or raise an error that names the display and the extra."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__}.plot needs matplotlib. "
            "Install it with: pip install 'gudlearn[plot]'"
        ) from error
    return plt


def new_or_given_axes(display, ax, figsize):
    """Return the given axes, or those of a new figure."""
    plt = import_pyplot(display)
    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    return ax


def grid_of_axes(ax, n, cell_size=(2.3, 1.8), n_columns=None, wspace=0.15):
    """Make a grid of axes, in a new figure or in the place of given axes.

    Parameters
    ----------
    ax : matplotlib Axes or None
    n : int
        Number of axes.
    cell_size : (float, float)
        Width and height of one of them in inches, in a new figure.
    n_columns : int or None
        None: as many as rows, or one more.
    wspace : float
        Space between columns in the place of given axes, in widths of an axes.

    Returns
    -------
    figure : matplotlib Figure
    axes : ndarray of Axes of shape (n,)
    """
    import matplotlib.pyplot as plt

    n_columns = math.ceil(math.sqrt(n)) if n_columns is None else n_columns
    n_rows = math.ceil(n / n_columns)
    if ax is None:
        size = (cell_size[0] * n_columns + 0.4, cell_size[1] * n_rows + 0.5)
        figure = plt.figure(figsize=size, layout="constrained")
        grid = figure.add_gridspec(n_rows, n_columns)
    else:
        figure = ax.figure
        ax.set_axis_off()
        # Axes of `add_axes` have no subplotspec; the grid then covers the same rectangle.
        box, spec = ax.get_position(), ax.get_subplotspec()
        if spec is None:
            outer = figure.add_gridspec(1, 1, left=box.x0, right=box.x1, bottom=box.y0, top=box.y1)
            spec = outer[0]
        grid = spec.subgridspec(n_rows, n_columns, hspace=0.45, wspace=wspace)
    axes = np.empty(n, dtype=object)
    axes[:] = [figure.add_subplot(grid[divmod(j, n_columns)]) for j in range(n)]
    return figure, axes


def tidy(ax):
    """Remove the top and right spines, and draw a light grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.set_axisbelow(True)


def estimator_name(estimator, name):
    """Return the given name, or that of the estimator's class."""
    return type(estimator).__name__ if name is None else name


def check_rows(X, name):
    """Validate rows of finite numbers, and return them as float64."""
    return check_array(X, dtype=np.float64, input_name=name)


def check_real_and_fake(real, fake):
    """Validate two samples of rows with the same number of columns."""
    real, fake = check_rows(real, "real"), check_rows(fake, "fake")
    if real.shape[1] != fake.shape[1]:
        raise ValueError(
            f"real has {real.shape[1]} features but fake has {fake.shape[1]}. "
            "Pass rows of the same columns."
        )
    return real, fake


def check_images(X, name, shape=None):
    """Validate images, or flat rows of images.

    Parameters
    ----------
    X : array-like of shape (n, n_features), (n, height, width) or (n, height, width, channels)
    name : str
        Name of X in messages.
    shape : (height, width), (height, width, channels) or None
        Shape of one flattened row. None: square images of one channel.

    Returns
    -------
    ndarray of shape (n, height, width, channels), dtype float64

    Raises
    ------
    ValueError
        If shapes do not match.
    """
    X = check_array(X, dtype=np.float64, input_name=name, allow_nd=True)
    if X.ndim == 2:
        return X.reshape(-1, *_shape_of_rows(X.shape[1], shape))
    if X.ndim > 4 or X.size == 0:
        raise ValueError(
            f"{name} has shape {X.shape}. Pass images of shape (n, height, width) or (n, height, "
            "width, channels), or flat rows with shape=."
        )
    images = X if X.ndim == 4 else X[..., None]
    if shape is not None and tuple(shape) not in (X.shape[1:], images.shape[1:]):
        raise ValueError(
            f"shape={tuple(shape)} does not match {name} of shape {X.shape}. Leave shape out: "
            "images have a shape."
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
    if len(shape) not in (2, 3):
        raise ValueError(
            f"shape must be (height, width) or (height, width, channels), got {shape!r}."
        )
    if math.prod(shape) != n_features:
        raise ValueError(
            f"shape={shape} has {math.prod(shape)} entries but the rows have {n_features} "
            "features. Pass the shape of one flattened row."
        )
    return shape if len(shape) == 3 else (*shape, 1)


def check_real_and_fake_images(real, fake, shape=None):
    """Validate two samples of images of the same shape; see `check_images`."""
    if np.ndim(real) == np.ndim(fake) == 2:
        check_real_and_fake(real, fake)
    real, fake = check_images(real, "real", shape), check_images(fake, "fake", shape)
    if real.shape[1:] != fake.shape[1:]:
        raise ValueError(
            f"real has images of shape {real.shape[1:]} but fake has {fake.shape[1:]}, as (height, "
            "width, channels). Pass images of one shape."
        )
    return real, fake


def drawn_channels(images):
    """Select the channels that are drawn: the first three if there are more than four.

    Parameters
    ----------
    images : ndarray of shape (..., channels)

    Returns
    -------
    ndarray of shape (..., n_drawn), n_drawn <= 4
    """
    return images[..., :3] if images.shape[-1] > 4 else images


def colours(image, low, high):
    """Map an image of two to four channels to colours.

    Parameters
    ----------
    image : ndarray of shape (height, width, channels)
        Red, green, blue and alpha, or the first two or three of these. NaN is drawn white.
    low, high : float
        Values that are mapped to 0 and 1, in all channels alike.

    Returns
    -------
    ndarray of shape (height, width, 3 or 4)
        In [0, 1].
    """
    scaled = np.clip((image - low) / max(high - low, np.finfo(float).tiny), 0, 1)
    if image.shape[-1] == 2:
        scaled = np.concatenate([scaled, np.zeros_like(scaled[..., :1])], axis=-1)
    return np.where(np.isnan(image[..., :1]), 1.0, scaled)


def sample_arguments(y=None, guidance=None, **kwargs):
    """Arguments of ``sample``, without y and guidance if None: not all estimators have them."""
    optional = {"y": y, "guidance": guidance}
    return kwargs | {name: value for name, value in optional.items() if value is not None}


def row_shape(estimator, shape):
    """Return the given shape of a flattened row, or the estimator's parameter ``shape``."""
    return getattr(estimator, "shape", None) if shape is None else shape


def check_count(value, name):
    """Validate an integer of at least 1."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")
    return int(value)
