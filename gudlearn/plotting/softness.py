"""Display of the times at which components are generated."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from gudlearn.plotting.common import check_count, estimator_name, new_or_given_axes
from gudlearn.plotting.schedule import schedule_curves
from gudlearn.schedules import Schedule

# Largest number of components that are named on the axis.
_MAX_NAMES = 20


class SoftnessDisplay:
    """How far each component is decided in the course of generation.

    Generation goes from noise at the left to data at the right. With a hard schedule, one row after
    the other turns from light to dark; with a soft schedule, all rows do so together.

    It is recommended to use :meth:`from_estimator` or :meth:`from_schedule`.

    Parameters
    ----------
    t : ndarray of shape (n_times,)
        Times in [0, 1], increasing; 0 is data, 1 is noise.

    decided : ndarray of shape (n_times, n_components)
        Log-SNR of each component, scaled from its range to [0, 1].

    names : array-like of str of shape (n_components,), default=None
        Names of the components.

    name : str, default=None
        Title of the plot.

    Attributes
    ----------
    mesh_ : matplotlib QuadMesh
        The image.

    colorbar_ : matplotlib Colorbar
        The colour bar.

    ax_ : matplotlib Axes
        Axes with the image.

    figure_ : matplotlib Figure
        Figure containing the axes.

    Examples
    --------
    >>> from gudlearn import SequentialSchedule
    >>> from gudlearn.plotting import SoftnessDisplay
    >>> display = SoftnessDisplay.from_schedule(SequentialSchedule(), [4.0, 1.0], n_times=11)
    >>> display.decided.shape
    (11, 2)
    """

    def __init__(self, *, t, decided, names=None, name=None):
        self.t = t
        self.decided = decided
        self.names = names
        self.name = name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, n_times: int = 201, name: str | None = None, ax: Any = None,
        **kwargs: Any,
    ) -> Self:  # fmt: skip
        """Draw the schedule of the components of a fitted generator that diffuse.

        Parameters
        ----------
        estimator : GUDGenerator
            A fitted generator.

        n_times : int, default=201
            Number of times in [0, 1].

        name : str, default=None
            Title. None: the name of the schedule's class.

        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``pcolormesh``.

        Returns
        -------
        display : SoftnessDisplay
        """
        check_is_fitted(estimator)
        t = np.linspace(0.0, 1.0, check_count(n_times, "n_times"))
        log_snr = np.asarray(estimator.log_snr(t))
        if log_snr.shape[1] == 0:
            raise ValueError("There is no schedule to draw: no component of the data varies.")
        names = estimator.state_.encoding.components.names
        title = estimator_name(estimator.schedule_, name)
        return cls(t=t, decided=_scaled(log_snr), names=names, name=title).plot(ax=ax, **kwargs)

    @classmethod
    def from_schedule(
        cls, schedule: Schedule, variances: ArrayLike, *, order: ArrayLike | None = None,
        names: Sequence[str] | None = None, log_snr_ends: tuple[float, float] = (9.0, -9.0),
        n_times: int = 201, name: str | None = None, ax: Any = None, **kwargs: Any,
    ) -> Self:  # fmt: skip
        """Draw a schedule for components with given variances, without data.

        Parameters
        ----------
        schedule, variances, order, names, log_snr_ends, n_times
            As in :meth:`ScheduleDisplay.from_schedule`.

        name : str, default=None
            Title. None: the schedule's representation.

        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``pcolormesh``.

        Returns
        -------
        display : SoftnessDisplay
        """
        t, log_snr, names = schedule_curves(
            schedule, variances, order, names, log_snr_ends, n_times
        )
        title = repr(schedule) if name is None else name
        return cls(t=t, decided=_scaled(log_snr), names=names, name=title).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the image.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        name : str, default=None
            Title. None: the ``name`` of the display.

        **kwargs : dict
            Passed to matplotlib's ``pcolormesh``.

        Returns
        -------
        display : SoftnessDisplay
        """
        ax = new_or_given_axes(self, ax, figsize=(6.4, 3.6))
        decided = np.asarray(self.decided)
        position = np.arange(decided.shape[1])
        style = {"cmap": "Blues", "vmin": 0, "vmax": 1, "shading": "nearest"} | kwargs
        self.mesh_ = ax.pcolormesh(self.t, position, decided.T, **style)
        self.colorbar_ = ax.figure.colorbar(self.mesh_, ax=ax, pad=0.02)
        self.colorbar_.set_label("decided")
        self.colorbar_.outline.set_visible(False)
        ax.set(xlabel="time t (1: noise, 0: data)", xlim=(1, 0), ylabel="component")
        # `invert_yaxis` would revert the inversion of axes that share their y axis.
        ax.set_ylim(len(position) - 0.5, -0.5)
        if self.names is not None and len(position) <= _MAX_NAMES:
            ax.set_yticks(position, [str(n) for n in self.names])
            ax.set_ylabel("")
        title = self.name if name is None else name
        if title is not None:
            ax.set_title(title)
        ax.spines[:].set_visible(False)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _scaled(log_snr):
    """Scale log-SNR (n_times, n_components) from the range of each component to [0, 1]."""
    low, high = log_snr.min(0), log_snr.max(0)
    return (log_snr - low) / np.where(high > low, high - low, 1.0)
