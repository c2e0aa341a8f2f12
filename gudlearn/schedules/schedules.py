r"""Schedules: on which path each component travels between the end points of the data.

A schedule is a specification; `build` makes the path. It speaks of effective signal-to-noise
ratios,

.. math:: \mathrm{SNR}_i(t) = V_i e^{-\gamma_i(t)}, \qquad V_i = \Sigma_i / s_i^2

which do not depend on how the components are scaled.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator

from gudlearn.diffusion.paths import CosineGamma, VPGamma, WindowedGamma
from gudlearn.schedules.order import order_values

# No window of a soft schedule is shorter: below it nothing is left to separate.
_SHORTEST_WINDOW = 1e-6


@dataclass(frozen=True, eq=False)
class EndPoints:
    """Where every path begins and ends; fixed by the data, not by the schedule.

    Parameters
    ----------
    gamma_0, gamma_1 : array-like of shape (D,)
        Negative log-SNR of the kernel at t = 0 and t = 1, finite, gamma_0 < gamma_1.

    Raises
    ------
    ValueError
        If the shapes differ, or a component has no way to go.
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
        moves = np.isfinite(gamma_0) & np.isfinite(gamma_1) & (gamma_0 < gamma_1)
        if not moves.all():
            i = int(np.argmin(moves))
            raise ValueError(
                f"gamma_0 must be finite and below gamma_1, but component {i} goes from "
                f"{gamma_0[i]:g} to {gamma_1[i]:g}. Leave it out of the diffusion."
            )
        object.__setattr__(self, "gamma_0", gamma_0)
        object.__setattr__(self, "gamma_1", gamma_1)


class Schedule(BaseEstimator, ABC):
    """A specification of a path; see the module."""

    @abstractmethod
    def build(self, components, end_points):
        """Make the path of the given components.

        Parameters
        ----------
        components : Components
            What the fitted basis tells of its components, as `basis.describe()` returns it.
        end_points : EndPoints
            Where each component begins and ends.

        Returns
        -------
        GammaPath
        """


class LinearSchedule(Schedule):
    r"""Every component goes straight from its own gamma(0) to its own gamma(1).

    Notes
    -----
    .. math:: \gamma_i(t) = (1 - t)\,\gamma_i(0) + t\,\gamma_i(1)

    Where all components have the same effective end points this is one linear log-SNR curve for
    all, the same as ``SoftConditioningSchedule(softness=inf)``.

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
    r"""The cosine curve, common to all components and clipped to the end points.

    Notes
    -----
    .. math:: \alpha^2 = \cos^2\!\left(\frac{t + c}{1 + c}\frac\pi2\right) \Big/
              \cos^2\!\left(\frac{c}{1 + c}\frac\pi2\right), \qquad c = 0.008

    is that of a component of variance 1; the others have the same effective SNR.

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
    r"""The variance-preserving curve, common to all components and clipped to the end points.

    Parameters
    ----------
    b_min, b_max : float, default=0.1 and 20.0
        Noising rate of a component of variance 1 at t = 0 and t = 1, 0 <= b_min <= b_max,
        b_max > 0.

    Notes
    -----
    .. math:: \sigma^2 = 1 - \exp(-b_{min} t - \tfrac12 (b_{max} - b_{min}) t^2)

    Where the curve stops short of an end point, it is continued at its rate and squeezed into
    [0, 1].

    References
    ----------
    Song et al. (2021), https://arxiv.org/abs/2011.13456

    Examples
    --------
    >>> from gudlearn.schedules import VPSchedule
    >>> VPSchedule(b_max=10.0)
    VPSchedule(b_max=10.0)
    """

    def __init__(self, b_min=0.1, b_max=20.0):
        self.b_min = b_min
        self.b_max = b_max

    def _checked(self):
        """Both parameters, which need no components to be refused."""
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
        b_min, b_max = self._checked()
        _check_sizes(components, end_points)
        return VPGamma(
            end_points.gamma_0, end_points.gamma_1, _log_scaled(components), b_min, b_max
        )


class SoftConditioningSchedule(Schedule):
    r"""Components one after another, softly: the linear component-wise schedule of GUD.

    Parameters
    ----------
    softness : float in (0, inf], default=1.0
        Inverse of the slope a in the Notes. With order "variance", 1 is ordinary diffusion in the
        units of the data (and so depends on them). inf is one SNR curve for all; towards 0
        components follow one another.
    order : {"variance", "natural"}, array-like or list of str, default="variance"
        l, one number per component: higher is noised first and generated last.
        "variance": -log of the component's variance, strong components first. "natural": the order
        of the basis (coarse to fine, or the order of the columns). An array is l itself, with an
        entry for every component of the basis. A list of names of components or groups, each
        component covered once, means l = 0, 1, 2, ... in the order listed; names in a list of
        their own have one l.

    Notes
    -----
    .. math:: -\log\mathrm{SNR}_i(t) = a l_i + \tau(t)

    clipped to the component's end points, where :math:`\tau` grows linearly in t from the time at
    which the first component starts to the time at which the last one arrives. Below a softness at
    which a component moves for a millionth of the time, a grows no more.

    References
    ----------
    Gerdes, Welling, Cheng (2024), https://arxiv.org/abs/2410.02667

    Examples
    --------
    >>> from gudlearn.schedules import SoftConditioningSchedule
    >>> SoftConditioningSchedule(softness=0.5, order="natural")
    SoftConditioningSchedule(order='natural', softness=0.5)
    """

    def __init__(self, softness=1.0, order="variance"):
        self.softness = softness
        self.order = order

    def _checked(self):
        """The softness, which needs no components to be refused."""
        softness = _number("softness", self.softness)
        if not softness > 0:
            raise ValueError(
                f"softness={softness:g} must be above 0. Use a small one, or "
                "SequentialSchedule(), to generate one component after another."
            )
        return softness

    def build(self, components, end_points):
        """Make the path; see `Schedule.build`."""
        softness = self._checked()
        _check_sizes(components, end_points)
        order = order_values(self.order, components)
        log_variances = _log_scaled(components)
        begin = end_points.gamma_0 - log_variances
        end = end_points.gamma_1 - log_variances
        lead = _steepness(softness, order, end - begin) * order
        first, last = (begin - lead).min(), (end - lead).max()
        start = (begin - lead - first) / (last - first)
        width = (end - begin) / (last - first)
        return WindowedGamma(end_points.gamma_0, end_points.gamma_1, start, width)


class SequentialSchedule(Schedule):
    r"""Groups of components in turn, a given number of them at once.

    Parameters
    ----------
    window : float in [1, inf], default=1.0
        How many groups are under way at once, rounded up. 1 is autoregressive, inf all at once.
    order : {"natural", "variance"}, array-like or list of str, default="natural"
        As in `SoftConditioningSchedule`; components with an equal entry form a group, the
        lowest entry is generated first.

    Notes
    -----
    With groups g = 0, ..., G - 1 in the order of generation,

    .. math:: w = \frac{W}{G - 1 + W}, \qquad t_g = \frac{G - 1 - g}{G - 1 + W}

    group g goes straight from end point to end point in :math:`[t_g, t_g + w]`.

    References
    ----------
    Gerdes, Welling, Cheng (2024), https://arxiv.org/abs/2410.02667

    Examples
    --------
    >>> from gudlearn.schedules import SequentialSchedule
    >>> SequentialSchedule(window=2)
    SequentialSchedule(window=2)
    """

    def __init__(self, window=1.0, order="natural"):
        self.window = window
        self.order = order

    def _checked(self):
        """The window, which needs no components to be refused."""
        window = _number("window", self.window)
        if not window >= 1:
            raise ValueError(
                f"window={window:g} must be at least 1: at 1 one group moves at a time, at inf all."
            )
        return window

    def build(self, components, end_points):
        """Make the path; see `Schedule.build`."""
        window = self._checked()
        _check_sizes(components, end_points)
        values, group = np.unique(order_values(self.order, components), return_inverse=True)
        behind = len(values) - 1 - group
        if math.isinf(window):
            start, width = 0.0, 1.0
        else:
            start = behind / (len(values) - 1 + window)
            width = window / (len(values) - 1 + window)
        return WindowedGamma(end_points.gamma_0, end_points.gamma_1, start, width)


def _check_sizes(components, end_points):
    if end_points.gamma_0.shape != np.shape(components.variances):
        raise ValueError(
            f"end_points has {len(end_points.gamma_0)} entries but there are "
            f"{len(components.variances)} components. Pass one pair of end points for each."
        )


def _log_scaled(components):
    """log V_i, the variance of each component after scaling."""
    return np.log(components.variances) - 2 * np.log(components.scale)


def _number(name, value):
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}={value!r} must be a number, got {type(value).__name__}.")
    return float(value)


def _steepness(softness, order, reach):
    """a = 1/softness, held where the shortest window would pass below _SHORTEST_WINDOW."""
    spread = np.ptp(order)
    if spread == 0:
        return 0.0
    return min(1.0 / softness, reach.min() / _SHORTEST_WINDOW / spread)
