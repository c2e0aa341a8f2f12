"""Display of one sample on the way from noise to data."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from gudlearn._random import derive_seed
from gudlearn._typing import RandomState
from gudlearn.plotting.common import (
    check_images,
    colours,
    drawn_channels,
    new_or_given_axes,
    row_shape,
    sample_arguments,
)

# Height of times and title above each block, and gap between tiles, in widths of a tile.
_TITLE, _GAP = 0.6, 0.04


class ReverseTrajectoryDisplay:
    """One image on the way from noise to data, in data space and in component space.

    Columns are times. Rows are the expected clean image, the noisy state, its components, and the
    log-SNR of each component, which is blue if signal is stronger than noise and red if it is
    weaker. Components have the layout of the basis; constant ones are grey. Channels are drawn as
    in :class:`SampleGridDisplay`. The rows of another display can be drawn below.

    It is recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    t : ndarray of shape (n_states,)
        Times, from 1 (noise) to 0 (data).

    denoised, noisy : ndarray of shape (n_states, height, width[, channels]) or \
            (n_states, n_features)
        Expected clean images and states, in the units of the data.

    log_snr : ndarray of shape (n_states, n_components), default=None
        Effective log-SNR of each component in nats, NaN for components that do not diffuse. There
        are as many components as pixels times channels; their mean over channels is drawn. None:
        no such row.

    components : ndarray of shape (n_states, n_components), default=None
        Components of the states, each divided by its standard deviation over samples at that time.
        NaN and mean as for ``log_snr``. None: no such row.

    shape : tuple of int, default=None
        Shape of one flattened row: (height, width) or (height, width, channels). None: square
        images of one channel. Not needed for images.

    name : str, default=None
        Title of these rows.

    other : ReverseTrajectoryDisplay, default=None
        Display to draw below.

    Attributes
    ----------
    images_ : list of ndarray of matplotlib AxesImage of shape (n_rows, n_states)
        The images, one array for this display and one for ``other``.

    colorbar_ : matplotlib Colorbar or None
        Colour bar of log-SNR.

    ax_ : matplotlib Axes
        Axes with the images.

    figure_ : matplotlib Figure
        Figure containing the axes.

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.plotting import ReverseTrajectoryDisplay
    >>> noisy = np.random.default_rng(0).normal(size=(3, 4, 4))
    >>> display = ReverseTrajectoryDisplay(
    ...     t=[1.0, 0.5, 0.0], denoised=noisy / 2, noisy=noisy, log_snr=np.zeros((3, 16))
    ... )
    >>> display.plot().images_[0].shape
    (3, 3)
    """

    def __init__(
        self, *, t, denoised, noisy, log_snr=None, components=None, shape=None, name=None,
        other=None,
    ):  # fmt: skip
        self.t = t
        self.denoised = denoised
        self.noisy = noisy
        self.log_snr = log_snr
        self.components = components
        self.shape = shape
        self.name = name
        self.other = other

    @classmethod
    def from_estimator(
        cls, estimator: Any, other: Any = None, *, n_states: int = 9, y: ArrayLike | None = None,
        guidance: float | None = None, shape: Sequence[int] | None = None,
        random_state: RandomState = None, name: str | None = None, ax: Any = None, **kwargs: Any,
    ) -> Self:  # fmt: skip
        """Draw one sample of a fitted generator, or one of each of two from the same noise.

        Parameters
        ----------
        estimator : GUDGenerator
            A generator fitted to images.

        other : GUDGenerator, default=None
            A generator to compare with, for example ``copy.copy(estimator)`` with another
            ``schedule_``.

        n_states : int, default=9
            Number of states, at equal intervals among the steps of the sampler.

        y : array-like of shape (1,) or one label, default=None
            Class to draw from, with ``class_conditional``.

        guidance : float, default=None
            Classifier-free guidance, with ``class_conditional``.

        shape : tuple of int, default=None
            Shape of one flattened row, see :class:`ReverseTrajectoryDisplay`. None: the
            estimator's parameter ``shape``.

        random_state : int, RandomState instance or None, default=None
            Controls the noise. None uses the estimator's.

        name : str or pair of str, default=None
            Titles, a pair for two estimators. None: the schedules.

        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``imshow`` for states.

        Returns
        -------
        display : ReverseTrajectoryDisplay
        """
        check_is_fitted(estimator)
        estimators = [estimator] if other is None else [estimator, other]
        names = [name] if other is None else name
        if names is None:
            names = [repr(one.schedule_) for one in estimators]
        elif other is not None and (isinstance(name, str) or len(name) != 2):
            raise ValueError(f"name={name!r} must be a pair of names where two are drawn.")
        # One seed for both, since a RandomState advances when it is used.
        seed = estimator.random_state if random_state is None else random_state
        seed = seed if isinstance(seed, Integral) else derive_seed(seed) % 2**32
        display = None
        for one, title in reversed(list(zip(estimators, names, strict=True))):
            arguments = sample_arguments(y, guidance, n_states=n_states, random_state=seed)
            trajectory = one.sample_trajectory(**arguments)
            log_snr, components = _log_snr_and_components(one, trajectory)
            display = cls(
                t=trajectory.t,
                denoised=trajectory.denoised[:, 0],
                noisy=trajectory.noisy[:, 0],
                log_snr=log_snr,
                components=components,
                shape=row_shape(one, shape),
                name=title,
                other=display,
            )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the states.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``imshow`` for states.

        Returns
        -------
        display : ReverseTrajectoryDisplay
        """
        displays = [self] if self.other is None else [self, self.other]
        blocks = [_image_rows(display) for display in displays]
        n_columns = max(len(display.t) for display in displays)
        # Tiles are one unit wide; all of them have the height of the first.
        height = blocks[0]["noisy"].shape[1] / blocks[0]["noisy"].shape[2]
        lines = sum(height * len(block) + _TITLE for block in blocks)
        ax = new_or_given_axes(self, ax, figsize=(n_columns + 2.0, lines + 0.2))
        styles = {
            label: _signed_style([b[label] for b in blocks if label in b], colormap)
            for label, colormap in (("components", "PuOr"), ("log-SNR", "RdBu"))
        }
        self.images_, self.colorbar_, top, shaded = [], None, 0.0, []
        for display, block in zip(displays, blocks, strict=True):
            top += _TITLE if display.name is not None else _TITLE / 2
            _write_titles(ax, display, top)
            state_style = _state_style(block["noisy"][-1], kwargs)
            images = []
            for label, row in block.items():
                style = styles.get(label, state_style)
                images.append(
                    [
                        ax.imshow(**style(image, (j + _GAP, j + 1, top + height, top + _GAP)))
                        for j, image in enumerate(row)
                    ]
                )
                ax.text(-0.05, top + height / 2, label, ha="right", va="center", fontsize="small")
                top += height
                if label == "log-SNR":
                    shaded.append(images[-1][0])
            self.images_.append(np.array(images, dtype=object))
        ax.set(xlim=(0, n_columns), ylim=(top, 0), aspect="equal")
        ax.set_axis_off()
        if shaded:
            self.colorbar_ = ax.figure.colorbar(shaded[0], ax=ax, shrink=0.6, pad=0.01, aspect=30)
            self.colorbar_.set_label("log-SNR (nats)")
            self.colorbar_.outline.set_visible(False)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _image_rows(display):
    """Images of each row of a display by label, (n_states, height, width, channels)."""
    noisy = check_images(display.noisy, "noisy", display.shape)
    denoised = check_images(display.denoised, "denoised", display.shape)
    if not len(display.t) == len(noisy) == len(denoised) or noisy.shape != denoised.shape:
        raise ValueError(
            f"t has {len(display.t)} times, but noisy has images of shape {noisy.shape} and "
            f"denoised of {denoised.shape}. Pass one image of each kind for each time."
        )
    rows = {"denoised": drawn_channels(denoised), "noisy": drawn_channels(noisy)}
    for label, name in (("components", "components"), ("log-SNR", "log_snr")):
        if getattr(display, name) is None:
            continue
        values = np.ma.masked_invalid(getattr(display, name))
        if values.shape != (len(noisy), noisy[0].size):
            raise ValueError(
                f"{name} has shape {values.shape}, but the states have {len(noisy)} times of "
                f"{noisy[0].size} values. Pass one number for each time and component."
            )
        rows[label] = values.reshape(noisy.shape).mean(axis=3, keepdims=True)
    return rows


def _write_titles(ax, display, top):
    for j, t in enumerate(display.t):
        ax.text(j + 0.5, top, f"t = {t:.2f}", ha="center", va="bottom", fontsize="small")
    if display.name is not None:
        ax.text(0, top - 0.25, display.name, ha="left", va="bottom")


def _state_style(reference, kwargs):
    """Arguments of ``imshow`` for states, on the scale of the reference unless it is given."""
    kwargs = dict(kwargs)
    low, high = kwargs.pop("vmin", reference.min()), kwargs.pop("vmax", reference.max())

    def style(image, extent):
        if image.shape[2] == 1:
            shades = {"X": image[..., 0], "cmap": "gray_r", "vmin": low, "vmax": high}
        else:
            shades = {"X": colours(image, low, high)}
        return shades | {"extent": extent, "interpolation": "nearest"} | kwargs

    return style


def _log_snr_and_components(estimator, trajectory):
    """Log-SNR and standardised components of a trajectory, NaN where components do not diffuse."""
    encoding = estimator.state_.encoding
    diffusing = encoding.components.positions
    shape = (2, len(trajectory.t), encoding.components.n_total)
    log_snr, components = np.full(shape, np.nan)
    log_snr[:, diffusing] = estimator.log_snr(trajectory.t)
    log_variances = np.log(encoding.ends.variances[diffusing])
    gamma = log_variances - log_snr[:, diffusing]
    # log(alpha^2 V + sigma^2), the log-variance of the noisy component.
    log_total = np.logaddexp(log_variances - gamma, 0) - np.logaddexp(-gamma, 0)
    scale = np.exp(-0.5 * log_total)
    components[:, diffusing] = trajectory.components[:, 0, diffusing] * scale
    return log_snr, components


def _signed_style(blocks, name):
    """Arguments of ``imshow`` for numbers of both signs: zero in the middle, one scale for all."""
    limit = max((float(np.abs(rows).max()) for rows in blocks), default=0.0)

    def style(image, extent):
        import matplotlib

        colormap = matplotlib.colormaps[name].with_extremes(bad="0.8")
        return {
            "X": image[..., 0],
            "cmap": colormap,
            "vmin": -limit,
            "vmax": limit,
            "extent": extent,
            "interpolation": "nearest",
        }

    return style
