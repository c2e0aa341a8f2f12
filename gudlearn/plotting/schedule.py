"""Display of the log-SNR of each component over time."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from gudlearn.bases.base import Components
from gudlearn.plotting.common import (
    LINE_COLOR,
    check_count,
    estimator_name,
    new_or_given_axes,
    tidy,
)
from gudlearn.schedules import EndPoints, Schedule

#: Up to this number of components each curve has a legend entry; for more there is a colour bar.
N_LABELLED = 8


def schedule_curves(schedule, variances, order, names, log_snr_ends, n_times):
    """Compute the log-SNR curves of components with given variances.

    Parameters
    ----------
    schedule, variances, order, names, log_snr_ends, n_times
        As in :meth:`ScheduleDisplay.from_schedule`.

    Returns
    -------
    t : ndarray of shape (n_times,)
    log_snr : ndarray of shape (n_times, n_components)
        Effective log-SNR in nats.
    names : ndarray of str of shape (n_components,)
    """
    variances = np.asarray(variances, dtype=np.float64)
    if variances.ndim != 1 or not (np.isfinite(variances) & (variances > 0)).all():
        raise ValueError("variances must be a vector of finite numbers above 0.")
    if names is None:
        names = [f"component{i}" for i in range(len(variances))]
    names = np.asarray(names, dtype=str)
    components = Components(
        variances=variances,
        scale=np.ones_like(variances),
        order=-np.log(variances) if order is None else np.asarray(order, dtype=np.float64),
        names=names,
        groups=names,
        columns=None,
    )
    clean, noisy = log_snr_ends
    log_variances = np.log(variances)
    path = schedule.build(components, EndPoints(log_variances - clean, log_variances - noisy))
    t = np.linspace(0.0, 1.0, check_count(n_times, "n_times"))
    return t, log_variances - path(torch.as_tensor(t)).numpy(), names


class ScheduleDisplay:
    """Signal-to-noise ratio of each component over time.

    It is recommended to use :meth:`from_estimator` or :meth:`from_schedule`.

    Parameters
    ----------
    t : ndarray of shape (n_times,)
        Times in [0, 1]; 0 is data, 1 is noise.

    log_snr : ndarray of shape (n_times, n_components)
        Effective log-SNR of each component in nats: the logarithm of the component's variance
        times exp(-gamma).

    variances : ndarray of shape (n_components,), default=None
        Variances of the components, by which the curves are coloured. None: they are coloured by
        the index of the component.

    names : array-like of str of shape (n_components,), default=None
        Names of the components, in the legend if there are few.

    name : str, default=None
        Title of the plot.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The curves, one for each component.

    colorbar_ : matplotlib Colorbar or None
        The colour bar, if there are too many components for a legend.

    ax_ : matplotlib Axes
        Axes with the curves.

    figure_ : matplotlib Figure
        Figure containing the axes.

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.plotting import ScheduleDisplay
    >>> t = np.linspace(0, 1, 5)
    >>> display = ScheduleDisplay(t=t, log_snr=np.stack([9 - 18 * t, 5 - 14 * t], axis=1))
    >>> display.plot().ax_.get_xlabel()
    'time t (0: data, 1: noise)'
    """

    def __init__(self, *, t, log_snr, variances=None, names=None, name=None):
        self.t = t
        self.log_snr = log_snr
        self.variances = variances
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
            Number of times in [0, 1] at which the curves are computed.

        name : str, default=None
            Title. None: the name of the schedule's class.

        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``plot`` for every curve.

        Returns
        -------
        display : ScheduleDisplay
        """
        check_is_fitted(estimator)
        t = np.linspace(0.0, 1.0, check_count(n_times, "n_times"))
        log_snr = np.asarray(estimator.log_snr(t))
        if log_snr.shape[1] == 0:
            raise ValueError("There is no schedule to draw: no component of the data varies.")
        components = estimator.state_.encoding.components
        display = cls(
            t=t,
            log_snr=log_snr,
            variances=components.variances,
            names=components.names,
            name=estimator_name(estimator.schedule_, name),
        )
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def from_schedule(
        cls, schedule: Schedule, variances: ArrayLike, *, order: ArrayLike | None = None,
        names: Sequence[str] | None = None, log_snr_ends: tuple[float, float] = (9.0, -9.0),
        n_times: int = 201, name: str | None = None, ax: Any = None, **kwargs: Any,
    ) -> Self:  # fmt: skip
        """Draw a schedule for components with given variances, without data.

        Parameters
        ----------
        schedule : schedule
            A specification such as ``SoftConditioningSchedule(softness=0.5)``.

        variances : array-like of shape (n_components,)
            Variance of each component, above 0.

        order : array-like of shape (n_components,), default=None
            Natural order of the components; higher is generated last. None: -log of the variance.

        names : list of str of shape (n_components,), default=None
            Names of the components. None: "component0", "component1", ...

        log_snr_ends : tuple of two floats, default=(9.0, -9.0)
            Effective log-SNR of every component at t = 0 and t = 1.

        n_times : int, default=201
            Number of times in [0, 1] at which the curves are computed.

        name : str, default=None
            Title. None: the schedule's representation.

        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``plot`` for every curve.

        Returns
        -------
        display : ScheduleDisplay
        """
        t, log_snr, names = schedule_curves(
            schedule, variances, order, names, log_snr_ends, n_times
        )
        display = cls(
            t=t,
            log_snr=log_snr,
            variances=np.asarray(variances, dtype=np.float64),
            names=names,
            name=repr(schedule) if name is None else name,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        name : str, default=None
            Title. None: the ``name`` of the display.

        **kwargs : dict
            Passed to matplotlib's ``plot`` for every curve.

        Returns
        -------
        display : ScheduleDisplay
        """
        ax = new_or_given_axes(self, ax, figsize=(6.4, 4.2))
        log_snr = np.asarray(self.log_snr, dtype=float)
        n_components = log_snr.shape[1]
        shades, mappable = self._shades(n_components)
        coincide = np.allclose(log_snr, log_snr[:, :1], rtol=0, atol=1e-2)
        if coincide:
            shades = [LINE_COLOR] * n_components
        style = {"linewidth": 1.8 if n_components <= N_LABELLED else 0.9} | kwargs

        self.lines_ = []
        for i in range(n_components):
            (line,) = ax.plot(self.t, log_snr[:, i], **({"color": shades[i]} | style))
            self.lines_.append(line)

        self.colorbar_ = None
        if coincide and n_components > 1:
            self.lines_[0].set_label(f"all {n_components} components")
            ax.legend(frameon=False)
        elif n_components > N_LABELLED:
            self.colorbar_ = ax.figure.colorbar(mappable, ax=ax, pad=0.02)
            label = "index of the component" if self.variances is None else "variance"
            self.colorbar_.set_label(label)
            self.colorbar_.outline.set_visible(False)
        elif self.names is not None:
            for line, label in zip(self.lines_, self.names, strict=True):
                line.set_label(str(label))
            ax.legend(frameon=False)

        ax.set(xlabel="time t (0: data, 1: noise)", ylabel="log-SNR (nats)", xlim=(0, 1))
        title = self.name if name is None else name
        if title is not None:
            ax.set_title(title)
        tidy(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _shades(self, n_components):
        import matplotlib
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import LogNorm, Normalize

        values = np.arange(n_components) if self.variances is None else np.asarray(self.variances)
        low, high = values.min(), values.max()
        scale = Normalize if self.variances is None else LogNorm
        norm = scale(low, high) if low < high else Normalize(low - 1, low + 1)
        # The light end of the colour map is hard to see on white.
        full_map = matplotlib.colormaps["viridis"]
        colormap = full_map.resampled(256)(np.linspace(0.0, 0.9, 256))
        mappable = ScalarMappable(norm, matplotlib.colors.ListedColormap(colormap))
        return mappable.to_rgba(values), mappable
