"""Display of images, or of rows as images."""

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from gudlearn._typing import RandomState
from gudlearn.plotting.common import (
    check_count,
    check_images,
    check_real_and_fake_images,
    colours,
    drawn_channels,
    estimator_name,
    new_or_given_axes,
    row_shape,
    sample_arguments,
)


class SampleGridDisplay:
    """Grid of generated images, or of rows as images, next to real ones.

    One channel is drawn in shades of grey. Two channels are drawn as red and green, three as red,
    green and blue, and four as red, green, blue and alpha. Of more than four channels, the first
    three are drawn as colours. Grey, colours and alpha share one scale, from the smallest to the
    largest real value (or generated value, if there are no real images); ``vmin`` and ``vmax``
    change it.

    It is recommended to use :meth:`from_estimator` or :meth:`from_samples`.

    Parameters
    ----------
    fake : ndarray of shape (n_fake, height, width[, channels]) or (n_fake, n_features)
        Generated images, or flat rows.

    real : ndarray of shape (n_real, height, width[, channels]) or (n_real, n_features), \
            default=None
        Real images or flat rows. None: only generated images are drawn.

    shape : tuple of int, default=None
        Shape of one flattened row: (height, width) or (height, width, channels). None: square
        images of one channel, if the number of features is a square. Not needed for images.

    name : str, default=None
        Title above the generated images. None: "generated".

    Attributes
    ----------
    image_ : matplotlib AxesImage
        All images as one.

    ax_ : matplotlib Axes
        Axes with the images.

    figure_ : matplotlib Figure
        Figure containing the axes.

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.plotting import SampleGridDisplay
    >>> images = np.arange(32.0).reshape(8, 2, 2)
    >>> display = SampleGridDisplay.from_samples(images[:4], images[4:])
    >>> display.image_.get_array().shape
    (5, 12)
    """

    def __init__(self, *, fake, real=None, shape=None, name=None):
        self.fake = fake
        self.real = real
        self.shape = shape
        self.name = name

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike | None = None, *, n_samples: int = 36,
        y: ArrayLike | None = None, guidance: float | None = None,
        shape: Sequence[int] | None = None, random_state: RandomState = None,
        name: str | None = None, ax: Any = None, **kwargs: Any,
    ) -> Self:  # fmt: skip
        """Draw samples of a fitted generator next to real images.

        Parameters
        ----------
        estimator : estimator with ``sample``
            A fitted generator.

        X : array-like of shape (n, height, width[, channels]) or (n, n_features), default=None
            Real images or rows; the first ``n_samples`` are drawn. None: only generated images.

        n_samples : int, default=36
            Number of images of each kind.

        y : array-like of shape (n_samples,) or one label, default=None
            Passed to ``estimator.sample`` if given: the classes to draw from.

        guidance : float, default=None
            Passed to ``estimator.sample`` if given.

        shape : tuple of int, default=None
            Shape of one flattened row, see :class:`SampleGridDisplay`. None: the estimator's
            parameter ``shape``, if it has one.

        random_state : int, RandomState instance or None, default=None
            Passed to ``estimator.sample``.

        name : str, default=None
            Title above the generated images. None: the name of the estimator's class.

        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``imshow``.

        Returns
        -------
        display : SampleGridDisplay
        """
        n_samples = check_count(n_samples, "n_samples")
        fake = estimator.sample(
            n_samples, **sample_arguments(y, guidance, random_state=random_state)
        )
        return cls.from_samples(
            X,
            fake,
            n_samples=n_samples,
            shape=row_shape(estimator, shape),
            name=estimator_name(estimator, name),
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_samples(
        cls, real: ArrayLike | None, fake: ArrayLike, *, n_samples: int = 36,
        shape: Sequence[int] | None = None, name: str | None = None, ax: Any = None, **kwargs: Any,
    ) -> Self:  # fmt: skip
        """Draw real images next to generated ones.

        Parameters
        ----------
        real : array-like of shape (n_real, height, width[, channels]), (n_real, n_features) or None
            Real images or rows; the first ``n_samples`` are drawn.

        fake : array-like of shape (n_fake, height, width[, channels]) or (n_fake, n_features)
            Generated images or rows; the first ``n_samples`` are drawn.

        n_samples : int, default=36
            Largest number of images of each kind.

        shape : tuple of int, default=None
            Shape of one flattened row, see :class:`SampleGridDisplay`.

        name : str, default=None
            Title above the generated images. None: "generated".

        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``imshow``.

        Returns
        -------
        display : SampleGridDisplay
        """
        n_samples = check_count(n_samples, "n_samples")
        real = None if real is None else np.asarray(real)[:n_samples]
        fake = np.asarray(fake)[:n_samples]
        return cls(fake=fake, real=real, shape=shape, name=name).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the images.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        name : str, default=None
            Title above the generated images. None: the ``name`` of the display.

        **kwargs : dict
            Passed to matplotlib's ``imshow``.

        Returns
        -------
        display : SampleGridDisplay
        """
        blocks = [("generated" if self.name is None else self.name) if name is None else name]
        if self.real is None:
            fake = check_images(self.fake, "fake", self.shape)
            samples = [drawn_channels(fake)]
        else:
            real, fake = check_real_and_fake_images(self.real, self.fake, self.shape)
            blocks.insert(0, "real")
            samples = [drawn_channels(real), drawn_channels(fake)]

        mosaics = [_mosaic(images) for images in samples]
        width, channels = samples[0].shape[2:]
        grid, starts = _side_by_side(mosaics, gap=width // 2 + 1)
        # The scale is that of the real images: a generated outlier must not change it.
        low, high = kwargs.pop("vmin", samples[0].min()), kwargs.pop("vmax", samples[0].max())
        style = {"interpolation": "nearest"}
        if channels == 1:
            grid = grid[..., 0]
            style |= {"cmap": "gray_r", "vmin": low, "vmax": high}
        else:
            grid = colours(grid, low, high)

        n_rows, n_columns = grid.shape[:2]
        side = 3.2 * len(mosaics)
        ax = new_or_given_axes(self, ax, figsize=(side, side * n_rows / n_columns + 0.4))
        self.image_ = ax.imshow(grid, **(style | kwargs))
        for title, mosaic, start in zip(blocks, mosaics, starts, strict=True):
            centre = start + (mosaic.shape[1] - 1) / 2
            ax.annotate(
                title,
                (centre, -0.5),
                xytext=(0, 4),
                textcoords="offset points",
                ha="center",
                va="bottom",
                annotation_clip=False,
            )
        ax.set_axis_off()
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _mosaic(images):
    """Arrange images (n, height, width, channels) in a near square, one NaN pixel apart."""
    n_images, height, width, channels = images.shape
    n_columns = math.ceil(math.sqrt(n_images))
    n_rows = math.ceil(n_images / n_columns)
    tiles = np.full((n_rows * n_columns, height + 1, width + 1, channels), np.nan)
    tiles[:n_images, :-1, :-1] = images
    grid = tiles.reshape(n_rows, n_columns, height + 1, width + 1, channels).swapaxes(1, 2)
    return grid.reshape(n_rows * (height + 1), n_columns * (width + 1), channels)[:-1, :-1]


def _side_by_side(mosaics, gap):
    """Join mosaics, `gap` NaN columns apart; return the image and the start of each mosaic."""
    n_rows = max(mosaic.shape[0] for mosaic in mosaics)
    starts, pieces, position = [], [], 0
    for mosaic in mosaics:
        if pieces:
            pieces.append(np.full((n_rows, gap, mosaic.shape[2]), np.nan))
            position += gap
        below = n_rows - mosaic.shape[0]
        pieces.append(np.pad(mosaic, ((0, below), (0, 0), (0, 0)), constant_values=np.nan))
        starts.append(position)
        position += mosaic.shape[1]
    return np.concatenate(pieces, axis=1), starts
