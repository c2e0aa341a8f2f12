"""Display of the power spectra of images."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import fft

from gudlearn._typing import RandomState
from gudlearn.plotting.common import (
    FAKE_COLOR,
    REAL_COLOR,
    check_count,
    check_real_and_fake_images,
    estimator_name,
    new_or_given_axes,
    row_shape,
    sample_arguments,
    tidy,
)


class PowerSpectrumDisplay:
    """Radially averaged power spectra of real and generated images.

    It is recommended to use :meth:`from_estimator` or :meth:`from_samples`.

    Parameters
    ----------
    frequencies : ndarray of shape (n_shells,)
        Frequency of each shell in cycles per pixel. 0 is the mean of an image, and is not drawn.

    real_power, fake_power : ndarray of shape (n_shells,)
        Mean power in each shell, in squared units of the pixels.

    name : str, default=None
        Name of the generated images in the legend. None: "generated".

    Attributes
    ----------
    real_line_, fake_line_ : matplotlib Line2D
        The spectra.

    ax_ : matplotlib Axes
        Axes with the curves.

    figure_ : matplotlib Figure
        Figure containing the curves.

    Notes
    -----
    The power of a mode is the squared modulus of the unitary Fourier transform, averaged over
    images and over channels, of which there may be any number. White noise of standard deviation s
    has power s^2 at all frequencies, and the sum over all modes is the sum of the squared pixels.
    Shell j contains the modes whose ``|k|`` is nearest to j cycles per longer side.

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.plotting import PowerSpectrumDisplay
    >>> noise = np.random.default_rng(0).normal(size=(50, 8, 8))
    >>> display = PowerSpectrumDisplay.from_samples(noise, 2 * noise)
    >>> (display.fake_power / display.real_power).round(6)
    array([4., 4., 4., 4., 4., 4., 4.])
    """

    def __init__(self, *, frequencies, real_power, fake_power, name=None):
        self.frequencies = frequencies
        self.real_power = real_power
        self.fake_power = fake_power
        self.name = name

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike, *, n_samples: int = 256, y: ArrayLike | None = None,
        guidance: float | None = None, shape: Sequence[int] | None = None,
        random_state: RandomState = None, name: str | None = None, ax: Any = None, **kwargs: Any,
    ) -> Self:  # fmt: skip
        """Draw the spectra of ``X`` and of samples of a fitted generator.

        Parameters
        ----------
        estimator : estimator with ``sample``
            A fitted generator.

        X : array-like of shape (n, height, width[, channels]) or (n, n_features)
            Real images or rows, all of which are used.

        n_samples : int, default=256
            Number of images to sample.

        y : array-like of shape (n_samples,) or one label, default=None
            Passed to ``estimator.sample`` if given: the classes to draw from.

        guidance : float, default=None
            Passed to ``estimator.sample`` if given.

        shape : tuple of int, default=None
            Shape of one flattened row, see :meth:`from_samples`. None: the estimator's parameter
            ``shape``, if it has one.

        random_state : int, RandomState instance or None, default=None
            Passed to ``estimator.sample``.

        name : str, default=None
            Name of the generated images in the legend. None: the name of the estimator's class.

        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``plot`` for both curves.

        Returns
        -------
        display : PowerSpectrumDisplay
        """
        n_samples = check_count(n_samples, "n_samples")
        fake = estimator.sample(
            n_samples, **sample_arguments(y, guidance, random_state=random_state)
        )
        return cls.from_samples(
            X,
            fake,
            shape=row_shape(estimator, shape),
            name=estimator_name(estimator, name),
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_samples(
        cls, real: ArrayLike, fake: ArrayLike, *, shape: Sequence[int] | None = None,
        name: str | None = None, ax: Any = None, **kwargs: Any,
    ) -> Self:  # fmt: skip
        """Draw the spectra of real and generated images.

        Parameters
        ----------
        real : array-like of shape (n_real, height, width[, channels]) or (n_real, n_features)
            Real images, or flat rows.

        fake : array-like of shape (n_fake, height, width[, channels]) or (n_fake, n_features)
            Generated images of the same shape.

        shape : tuple of int, default=None
            Shape of one flattened row: (height, width) or (height, width, channels). None: square
            images of one channel. Not needed for images.

        name : str, default=None
            Name of the generated images in the legend. None: "generated".

        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``plot`` for both curves.

        Returns
        -------
        display : PowerSpectrumDisplay
        """
        real, fake = check_real_and_fake_images(real, fake, shape)
        if real.shape[1:3] == (1, 1):
            raise ValueError(
                "The images have one pixel and no spectrum. Pass images of at least two."
            )
        frequencies, real_power = radial_power(real)
        display = cls(
            frequencies=frequencies,
            real_power=real_power,
            fake_power=radial_power(fake)[1],
            name=name,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the spectra.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        name : str, default=None
            Name of the generated images in the legend. None: the ``name`` of the display.

        **kwargs : dict
            Passed to matplotlib's ``plot`` for both curves.

        Returns
        -------
        display : PowerSpectrumDisplay
        """
        ax = new_or_given_axes(self, ax, figsize=(5.2, 3.8))
        generated = ("generated" if self.name is None else self.name) if name is None else name
        # Zero cannot be drawn on a logarithmic axis.
        drawn = np.asarray(self.frequencies) > 0
        frequencies = np.asarray(self.frequencies)[drawn]
        lines = []
        for power, color, label, width in (
            (self.real_power, REAL_COLOR, "real", 3.2),
            (self.fake_power, FAKE_COLOR, generated, 1.6),
        ):
            style = {"color": color, "linewidth": width, "label": label} | kwargs
            lines += ax.plot(frequencies, np.asarray(power)[drawn], **style)
        self.real_line_, self.fake_line_ = lines
        ax.set(xscale="log", yscale="log", xlabel="frequency (cycles per pixel)", ylabel="power")
        # Octaves below the highest frequency of a row of pixels.
        octaves = 2 ** np.arange(1, int(np.log2(1 / frequencies[0]) + 1e-9) + 1)
        ax.set_xticks(1 / octaves, labels=[f"1/{n}" for n in octaves])
        ax.set_xticks([], minor=True)
        ax.legend(frameon=False)
        tidy(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def shells(height, width):
    """Compute the shell of each mode: ``|k|`` in cycles per longer side, rounded."""
    k = np.hypot(fft.fftfreq(height)[:, None], fft.fftfreq(width)) * max(height, width)
    return np.rint(k).astype(int)


def radial_power(images):
    """Compute frequencies and mean power of shells of images (n, height, width, channels)."""
    power = np.square(np.abs(fft.fft2(images, axes=(1, 2), norm="ortho"))).mean(axis=(0, 3))
    shell = shells(*power.shape).ravel()
    n_modes = np.bincount(shell)
    total = np.bincount(shell, weights=power.ravel())
    occupied = np.flatnonzero(n_modes)
    return occupied / max(power.shape), total[occupied] / n_modes[occupied]
