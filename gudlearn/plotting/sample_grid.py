"""Images, or rows drawn as images."""

import math

import numpy as np

from gudlearn.plotting.common import (
    asked,
    check_count,
    check_images,
    check_real_and_fake_images,
    estimator_name,
    new_or_given_axes,
    row_shape,
)


class SampleGridDisplay:
    """Images, or rows drawn as images, real ones next to generated ones.

    The shades span the range of the real images where there are any; ``vmin`` and ``vmax`` change
    it.

    It is recommended to use :meth:`from_estimator` or :meth:`from_samples`.

    Parameters
    ----------
    fake : ndarray of shape (n_fake, height, width[, channels]) or (n_fake, n_features)
        Generated images, with 1 or 3 channels, or flat rows.

    real : ndarray of shape (n_real, height, width[, channels]) or (n_real, n_features), \
            default=None
        Real ones. None: the generated ones are shown alone.

    shape : tuple of int, default=None
        Shape of one flattened row: (height, width) or (height, width, channels) with 1 or 3
        channels. None: square images of one channel, where the number of features is a square.
        Images need none.

    name : str, default=None
        Title above the generated images. None: "generated".

    Attributes
    ----------
    image_ : matplotlib AxesImage
        The picture of all images.

    ax_ : matplotlib Axes
        Axes with the picture.

    figure_ : matplotlib Figure
        Figure containing the picture.

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
        cls,
        estimator,
        X=None,
        *,
        n_samples=36,
        y=None,
        guidance=None,
        shape=None,
        random_state=None,
        name=None,
        ax=None,
        **kwargs,
    ):
        """Draw images that a fitted generator samples, next to real ones.

        Parameters
        ----------
        estimator : estimator with ``sample``
            A fitted generator.

        X : array-like of shape (n, height, width[, channels]) or (n, n_features), default=None
            Real images or rows; the first ``n_samples`` are shown. None: only generated ones.

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
        fake = estimator.sample(n_samples, **asked(y, guidance, random_state=random_state))
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
    def from_samples(cls, real, fake, *, n_samples=36, shape=None, name=None, ax=None, **kwargs):
        """Draw real images next to generated ones.

        Parameters
        ----------
        real : array-like of shape (n_real, height, width[, channels]), (n_real, n_features) or None
            Real images or rows; the first ``n_samples`` are shown.

        fake : array-like of shape (n_fake, height, width[, channels]) or (n_fake, n_features)
            Generated images or rows; the first ``n_samples`` are shown.

        n_samples : int, default=36
            Number of images of each kind, at most.

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

    def plot(self, ax=None, *, name=None, **kwargs):
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
            mosaics = [_mosaic(fake)]
        else:
            real, fake = check_real_and_fake_images(self.real, self.fake, self.shape)
            blocks.insert(0, "real")
            mosaics = [_mosaic(real), _mosaic(fake)]

        width, channels = fake.shape[2:]
        picture, starts = _side_by_side(mosaics, gap=width // 2 + 1)
        # A generated outlier must not change the shade of all the others.
        reference = fake if self.real is None else real
        low, high = kwargs.pop("vmin", reference.min()), kwargs.pop("vmax", reference.max())
        style = {"interpolation": "nearest"}
        if channels == 1:
            picture = picture[..., 0]
            style |= {"cmap": "gray_r", "vmin": low, "vmax": high}
        else:
            picture = np.clip((picture - low) / max(high - low, np.finfo(float).tiny), 0, 1)
            # A colour picture has no colour for "nothing here".
            picture = np.where(np.isnan(picture), 1.0, picture)

        n_rows, n_columns = picture.shape[:2]
        side = 3.2 * len(mosaics)
        ax = new_or_given_axes(self, ax, figsize=(side, side * n_rows / n_columns + 0.4))
        self.image_ = ax.imshow(picture, **(style | kwargs))
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
    """Lay images (n, height, width, channels) out in a near square, one blank pixel between."""
    n_images, height, width, channels = images.shape
    n_columns = math.ceil(math.sqrt(n_images))
    n_rows = math.ceil(n_images / n_columns)
    tiles = np.full((n_rows * n_columns, height + 1, width + 1, channels), np.nan)
    tiles[:n_images, :-1, :-1] = images
    grid = tiles.reshape(n_rows, n_columns, height + 1, width + 1, channels).swapaxes(1, 2)
    return grid.reshape(n_rows * (height + 1), n_columns * (width + 1), channels)[:-1, :-1]


def _side_by_side(mosaics, gap):
    """Join mosaics with blank columns between; return the picture and where each one starts."""
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
