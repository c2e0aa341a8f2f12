r"""Schedules: the path of each component between the end points of the data.

A schedule is a specification; `build` makes the path. Schedules are defined by effective
signal-to-noise ratios,

.. math:: \mathrm{SNR}_i(t) = V_i e^{-\gamma_i(t)}, \qquad V_i = \Sigma_i / s_i^2

which do not depend on the scaling of the components.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from gudlearn._versions import Versioned
from gudlearn.diffusion.paths import CosineGamma, VPGamma, WindowedGamma
from gudlearn.schedules.order import order_values

# No component of a soft schedule is active for a shorter time: in it, all are separated.
_SHORTEST_WINDOW = 1e-6


@dataclass(frozen=True, eq=False)
class EndPoints:
    """End points of the paths, which are fixed by the data and not by the schedule.

    Parameters
    ----------
    gamma_0, gamma_1 : array-like of shape (D,)
        Negative log-SNR of the kernel at t = 0 and t = 1; finite, gamma_0 < gamma_1.

    Raises
    ------
    ValueError
        If the shapes differ, a number is not finite, or gamma_0 is not below gamma_1.
    """

    gamma_0: np.ndarray
    gamma_1: np.ndarray

    def __post_init__(self):
        gamma_0 = np.array(self.gamma_0, dtype=np.float64)
        gamma_1 = np.array(self.gamma_1, dtype=np.float64)
        if gamma_0.ndim != 1 or gamma_0.shape != gamma_1.shape:
            raise ValueError(
                f"gamma_0 and gamma_1 must be one-dimensional and of one shape, got "
                f"{gamma_0.shape} and {gamma_1.shape}."
            )
        increasing = np.isfinite(gamma_0) & np.isfinite(gamma_1) & (gamma_0 < gamma_1)
        if not increasing.all():
            i = int(np.argmin(increasing))
            raise ValueError(
                f"gamma_0 must be finite and below gamma_1, but component {i} goes from "
                f"{gamma_0[i]:g} to {gamma_1[i]:g}. Leave it out of the diffusion."
            )
        object.__setattr__(self, "gamma_0", gamma_0)
        object.__setattr__(self, "gamma_1", gamma_1)


class Schedule(Versioned, BaseEstimator, ABC):
    """Abstract base class of schedules, the specifications of paths."""

    def check_params(self):
        """Validate the parameters that can be validated without data.

        Raises
        ------
        ValueError
            If a parameter is out of range.
        TypeError
            If a parameter is of the wrong type.
        """

    @abstractmethod
    def build(self, components, end_points):
        """Make the path of the given components.

        Parameters
        ----------
        components : Components
            Components of the fitted basis, as returned by `basis.describe()`.
        end_points : EndPoints
            End points of each component.

        Returns
        -------
        GammaPath

        Raises
        ------
        ValueError
            If a parameter is out of range or does not match the components.
        TypeError
            If a parameter is of the wrong type.
        """


class LinearSchedule(Schedule):
    r"""Linear schedule: gamma of every component is linear between its end points.

    Notes
    -----
    .. math:: \gamma_i(t) = (1 - t)\,\gamma_i(0) + t\,\gamma_i(1)

    If all components have the same effective end points, they share one linear log-SNR curve, as
    with ``SoftConditioningSchedule(softness=inf)``.

    Examples
    --------
    >>> from gudlearn.schedules import LinearSchedule
    >>> LinearSchedule()
    LinearSchedule()
    """

    def build(self, components, end_points):
        """Make the path; see `Schedule.build`."""
        _check_sizes(components, end_points)
        return WindowedGamma(end_points.gamma_0, end_points.gamma_1, 0.0, 1.0)


class CosineSchedule(Schedule):
    r"""Cosine schedule, common to all components and clipped to the end points.

    Notes
    -----
    .. math:: \alpha^2 = \cos^2\!\left(\frac{t + c}{1 + c}\frac\pi2\right) \Big/
              \cos^2\!\left(\frac{c}{1 + c}\frac\pi2\right), \qquad c = 0.008

    is the curve of a component of variance 1. The others have the same effective SNR.

    References
    ----------
    Nichol, Dhariwal (2021), https://arxiv.org/abs/2102.09672

    Examples
    --------
    >>> from gudlearn.schedules import CosineSchedule
    >>> CosineSchedule()
    CosineSchedule()
    """

    def build(self, components, end_points):
        """Make the path; see `Schedule.build`."""
        _check_sizes(components, end_points)
        return CosineGamma(end_points.gamma_0, end_points.gamma_1, _log_scaled(components))


class VPSchedule(Schedule):
    r"""Variance-preserving schedule, common to all components and clipped to the end points.

    Parameters
    ----------
    b_min, b_max : float, default=0.1 and 20.0
        Noising rate of a component of variance 1 at t = 0 and t = 1, 0 <= b_min <= b_max,
        b_max > 0.

    Notes
    -----
    .. math:: \sigma^2 = 1 - \exp(-b_{min} t - \tfrac12 (b_{max} - b_{min}) t^2)

    If the curve does not reach an end point, it is extrapolated at its rate, and time is rescaled
    to [0, 1].

    References
    ----------
    Song et al. (2021), https://arxiv.org/abs/2011.13456

    Examples
    --------
    >>> from gudlearn.schedules import VPSchedule
    >>> VPSchedule(b_max=10.0)
    VPSchedule(b_max=10.0)
    """

    def __init__(self, b_min: float = 0.1, b_max: float = 20.0) -> None:
        self.b_min = b_min
        self.b_max = b_max

    def check_params(self):
        """Validate both parameters; see `Schedule.check_params`."""
        self._rates()

    def _rates(self):
        """Return b_min and b_max, validated."""
        b_min = _number("b_min", self.b_min)
        b_max = _number("b_max", self.b_max)
        if not (0 <= b_min <= b_max < math.inf and b_max > 0):
            raise ValueError(
                f"b_min={b_min:g} and b_max={b_max:g} must obey 0 <= b_min <= b_max, with b_max "
                "finite and above 0. Song et al. use 0.1 and 20."
            )
        return b_min, b_max

    def build(self, components, end_points):
        """Make the path; see `Schedule.build`."""
        b_min, b_max = self._rates()
        _check_sizes(components, end_points)
        return VPGamma(
            end_points.gamma_0, end_points.gamma_1, _log_scaled(components), b_min, b_max
        )


class SoftConditioningSchedule(Schedule):
    r"""Soft conditioning: the linear component-wise schedule of GUD.

    Parameters
    ----------
    softness : float in (0, inf], default=1.0
        Inverse of the slope a in the Notes. With order "variance", 1 is ordinary diffusion in the
        units of the data (and therefore depends on the units). inf is one SNR curve for all
        components; towards 0 components are generated one after another.
    order : {"variance", "natural"}, array-like or list of str, default="variance"
        l, one number per component: a higher component is noised first and generated last.
        "variance": -log of the component's variance, so that strong components are generated
        first. "natural": the order of the basis (coarse to fine, or the order of the columns). An
        array is l itself, with an entry for every component of the basis. A list of names of
        components or groups, which covers each component once, means l = 0, 1, 2, ... in the order
        listed; names in a nested list share one l.

    Notes
    -----
    .. math:: -\log\mathrm{SNR}_i(t) = a l_i + \tau(t)

    clipped to the end points of the component, where :math:`\tau` is linear in t. The first
    component starts at t = 0, and the last one ends at t = 1. The slope a is bounded, so that each
    component is active for at least about a millionth of the time.

    References
    ----------
    Gerdes, Welling, Cheng (2024), https://arxiv.org/abs/2410.02667

    Examples
    --------
    >>> from gudlearn.schedules import SoftConditioningSchedule
    >>> SoftConditioningSchedule(softness=0.5, order="natural")
    SoftConditioningSchedule(order='natural', softness=0.5)
    """

    def __init__(self, softness: float = 1.0, order: ArrayLike = "variance") -> None:
        self.softness = softness
        self.order = order

    def check_params(self):
        """Validate the softness; see `Schedule.check_params`."""
        self._softness()

    def _softness(self):
        """Return the softness, validated."""
        softness = _number("softness", self.softness)
        if not softness > 0:
            raise ValueError(
                f"softness={softness:g} must be above 0. Use a small one, or "
                "SequentialSchedule(), to generate one component after another."
            )
        return softness

    def build(self, components, end_points):
        """Make the path; see `Schedule.build`."""
        softness = self._softness()
        _check_sizes(components, end_points)
        order = order_values(self.order, components)
        log_variances = _log_scaled(components)
        begin = end_points.gamma_0 - log_variances
        end = end_points.gamma_1 - log_variances
        lead = _slope(softness, order, end - begin) * order
        first, last = (begin - lead).min(), (end - lead).max()
        start = (begin - lead - first) / (last - first)
        width = (end - begin) / (last - first)
        return WindowedGamma(end_points.gamma_0, end_points.gamma_1, start, width)


class SequentialSchedule(Schedule):
    r"""Sequential schedule: groups of components, of which a given number is active at once.

    Parameters
    ----------
    window : float in [1, inf], default=1.0
        Number of groups that are active at once, rounded up. 1 is autoregressive, inf is all at
        once.
    order : {"natural", "variance"}, array-like or list of str, default="natural"
        As in `SoftConditioningSchedule`. Components with equal entries form a group, and the group
        with the lowest entry is generated first.

    Notes
    -----
    With groups g = 0, ..., G - 1 in the order of generation,

    .. math:: w = \frac{W}{G - 1 + W}, \qquad t_g = \frac{G - 1 - g}{G - 1 + W}

    gamma of group g is linear between its end points in :math:`[t_g, t_g + w]`, constant outside.

    References
    ----------
    Gerdes, Welling, Cheng (2024), https://arxiv.org/abs/2410.02667

    Examples
    --------
    >>> from gudlearn.schedules import SequentialSchedule
    >>> SequentialSchedule(window=2)
    SequentialSchedule(window=2)
    """

    def __init__(self, window: float = 1.0, order: ArrayLike = "natural") -> None:
        self.window = window
        self.order = order

    def check_params(self):
        """Validate the window; see `Schedule.check_params`."""
        self._window()

    def _window(self):
        """Return the window, validated."""
        window = _number("window", self.window)
        if not window >= 1:
            raise ValueError(
                f"window={window:g} must be at least 1. At 1 one group is active at a time, at inf "
                "all are."
            )
        return window

    def build(self, components, end_points):
        """Make the path; see `Schedule.build`."""
        window = self._window()
        _check_sizes(components, end_points)
        values, group = np.unique(order_values(self.order, components), return_inverse=True)
        n_later = len(values) - 1 - group
        if math.isinf(window):
            start, width = 0.0, 1.0
        else:
            start = n_later / (len(values) - 1 + window)
            width = window / (len(values) - 1 + window)
        return WindowedGamma(end_points.gamma_0, end_points.gamma_1, start, width)


def _check_sizes(components, end_points):
    if end_points.gamma_0.shape != np.shape(components.variances):
        raise ValueError(
            f"end_points has {len(end_points.gamma_0)} entries but there are "
            f"{len(components.variances)} components. Pass one pair of end points for each."
        )


def _log_scaled(components):
    """log V_i: log-variance of each component after scaling."""
    return np.log(components.variances) - 2 * np.log(components.scale)


def _number(name, value):
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}={value!r} must be a number, got {type(value).__name__}.")
    return float(value)


def _slope(softness, order, gamma_range):
    """a = 1/softness, bounded so that no window is shorter than _SHORTEST_WINDOW."""
    order_range = np.ptp(order)
    if order_range == 0:
        return 0.0
    # The bound is infinite if the entries of the order are nearly equal.
    with np.errstate(over="ignore"):
        return min(1.0 / softness, gamma_range.min() / _SHORTEST_WINDOW / order_range)
