r"""Noise paths: the vector gamma(t) of negative log-SNRs, for t in [0, 1].

.. math:: \gamma_i(0) < \gamma_i(1), \qquad \gamma_i'(t) \ge 0

The end points are properties of the data. A path only determines when each component moves between
its two end points, and it meets both exactly.
"""

import copy
import functools
import math
import warnings
from abc import ABC, abstractmethod

import numpy as np
import torch

# Times closer than this are equal up to the rounding of sums of window edges.
_SAME_TIME = 1e-12
# Keeps logarithms finite at t = 0 and t = 1, also in float32: curves then reach -69 and 138.
_TINY = 1e-30


class GammaPath(ABC):
    """Noise levels of D components over time.

    Parameters
    ----------
    gamma_0, gamma_1 : array-like of shape (D,)
        Negative log-SNR at t = 0 and t = 1, gamma_0 < gamma_1.
    kinks : iterable of float
        Times at which the derivative of some component jumps; those outside (0, 1) are dropped.

    Attributes
    ----------
    gamma_0, gamma_1 : Tensor of shape (D,)
        The end points, in float64 unless `to` changed the dtype.
    kinks : tuple of float
        Strictly inside (0, 1), increasing.
    levels : Levels or None
        Levels of the categories, which are the last components; None if all are numbers.
    """

    levels = None

    def __init__(self, gamma_0, gamma_1, kinks):
        self.gamma_0 = _column(gamma_0)
        self.gamma_1 = _column(gamma_1)
        if self.gamma_0.shape != self.gamma_1.shape or not (self.gamma_0 < self.gamma_1).all():
            raise ValueError(
                "gamma_0 must be smaller than gamma_1 in every component, with one entry for each."
            )
        self.kinks = tuple(sorted({float(kink) for kink in kinks if 0.0 < kink < 1.0}))

    @abstractmethod
    def __call__(self, t):
        """Return gamma(t), of shape (B, D), in t's dtype.

        Times are of shape (B,), or (B, D) if each component has its own time.
        """

    def gamma_and_rate(self, t):
        """Return gamma(t) and its derivative in t, each of shape (B, D).

        On a kink the derivative is one of the two one-sided derivatives.
        """
        load_forward_mode()
        return torch.func.jvp(self, (t,), (torch.ones_like(t),))

    def speed(self, t):
        """Return the rate of each component's local time, see `MaskedPath`; here always 1."""
        return 1.0

    def missing_components(self, gamma):
        """Return which components are missing at noise levels gamma, see `MaskedPath`: none."""
        return None

    def to(self, device=None, dtype=None):
        """Return the same path with its tensors on `device` and in `dtype`."""
        path = copy.copy(self)
        for name, value in vars(self).items():
            if hasattr(value, "to"):
                setattr(path, name, value.to(device=device, dtype=dtype))
        return path

    def with_levels(self, levels):
        """Return the same path whose last components are categories with these levels."""
        path = copy.copy(self)
        path.levels = levels
        return path


def active_fraction(path):
    """Return the fraction of time in which a component is active; the median over components."""
    t = torch.linspace(0, 1, 257, device=path.gamma_0.device, dtype=path.gamma_0.dtype)
    is_active = path(t).diff(dim=0) > 1e-9
    return float(np.median(is_active.double().mean(0).cpu()))


class WindowedGamma(GammaPath):
    r"""Each component is linear in t inside its own window and fixed outside.

    .. math:: \gamma_i(t) = \gamma_i(0) + \mathrm{clip}((t - start_i)/width_i, 0, 1)
              (\gamma_i(1) - \gamma_i(0))

    Parameters
    ----------
    gamma_0, gamma_1 : array-like of shape (D,)
        Negative log-SNR at t = 0 and t = 1.
    start, width : array-like of shape (D,), or float
        Beginning and length of the window, which lies inside [0, 1]. Start 0 and width 1 is the
        linear path. A window shorter than the dtype resolves gets the shortest resolved length.

    Raises
    ------
    ValueError
        If a window is empty or leaves [0, 1].
    """

    def __init__(self, gamma_0, gamma_1, start, width):
        shape = np.shape(gamma_0)
        start = np.broadcast_to(np.asarray(start, dtype=np.float64), shape)
        width = np.broadcast_to(np.asarray(width, dtype=np.float64), shape)
        stop = start + width
        if not ((start >= -1e-9) & (width > 0) & (stop <= 1 + 1e-9)).all():
            raise ValueError(
                "Every window must have a width above 0 and lie inside [0, 1], but start goes from "
                f"{start.min():g}, start + width to {stop.max():g}, and the least width is "
                f"{width.min():g}."
            )
        start, stop = _snap(start, stop)
        super().__init__(gamma_0, gamma_1, np.concatenate([start, stop]))
        self.start = _column(start)
        self.stop = _column(stop)

    def _window(self, t):
        resolution = torch.finfo(t.dtype).eps
        start = self.start.to(t).clamp(max=1.0 - resolution)
        return start, torch.maximum(self.stop.to(t), start + resolution)

    def __call__(self, t):
        """Return gamma(t), of shape (B, D), for times t of shape (B,) or (B, D)."""
        start, stop = self._window(t)
        fraction = ((_by_component(t) - start) / (stop - start)).clamp(0.0, 1.0)
        # lerp is exact at both ends, gamma_0 + 1 * (gamma_1 - gamma_0) is not.
        return torch.lerp(self.gamma_0.to(t), self.gamma_1.to(t), fraction)

    def gamma_and_rate(self, t):
        """Return gamma(t) and its derivative in t, each of shape (B, D).

        In closed form: nearly every training step calls it, and torch differentiates clamp and
        lerp in Python, a hundred times slower.
        """
        start, stop = self._window(t)
        slope = (self.gamma_1 - self.gamma_0).to(t) / (stop - start)
        t_by_component = _by_component(t)
        is_active = (t_by_component >= start) & (t_by_component <= stop)
        return self(t), slope * is_active


class CosineGamma(GammaPath):
    r"""The cosine schedule of improved DDPM, with one effective SNR for all components.

    .. math:: \alpha^2 = \cos^2\theta(t)/\cos^2\theta(0), \qquad
              \theta(t) = \frac{t + c}{1 + c}\frac{\pi}{2}, \qquad
              \gamma_i = \log(\sigma^2/\alpha^2) + \log V_i

    clipped to the end points. c = 0.008.

    Parameters
    ----------
    gamma_0, gamma_1 : array-like of shape (D,)
        Negative log-SNR at t = 0 and t = 1.
    log_variances : array-like of shape (D,)
        log V_i, of the scaled components.

    References
    ----------
    Nichol, Dhariwal (2021), https://arxiv.org/abs/2102.09672
    """

    offset = 0.008

    def __init__(self, gamma_0, gamma_1, log_variances):
        levels = _effective_levels(gamma_0, gamma_1, log_variances)
        super().__init__(gamma_0, gamma_1, _merge(self._time_at(levels)))
        self.log_variances = _column(log_variances)

    def __call__(self, t):
        """Return gamma(t), of shape (B, D), for times t of shape (B,) or (B, D)."""
        return _clip(self._curve(t), self)

    def gamma_and_rate(self, t):
        """Return gamma(t) and its derivative in t, each of shape (B, D)."""
        return _clip_with_rate(self._curve, t, self)

    def _curve(self, t):
        # 1 - alpha^2 as a product of sines does not cancel at either end.
        angle_per_time = math.pi / 2 / (1 + self.offset)
        elapsed = angle_per_time * t.clamp(min=_TINY)
        remaining = angle_per_time * (1 - t).clamp(min=_TINY)
        shifted = (elapsed + 2 * self.offset * angle_per_time).sin()
        return elapsed.sin().log() + shifted.log() - 2 * remaining.sin().log()

    def _time_at(self, level):
        angle_per_time = math.pi / 2 / (1 + self.offset)
        signal = math.cos(self.offset * angle_per_time) * np.exp(-0.5 * np.logaddexp(0.0, level))
        return 1 - np.arcsin(signal) / angle_per_time


class VPGamma(GammaPath):
    r"""The variance-preserving schedule, with one effective SNR for all components.

    .. math:: \sigma^2 = 1 - e^{-B(t)}, \qquad
              B(t) = b_{min} t + \tfrac12 (b_{max} - b_{min}) t^2, \qquad
              \gamma_i = \log(\sigma^2/\alpha^2) + \log V_i

    clipped to the end points. If the curve would end below one of them, it is continued at its own
    rate up to a time `duration` > 1, and that longer time is rescaled to [0, 1].

    Parameters
    ----------
    gamma_0, gamma_1 : array-like of shape (D,)
        Negative log-SNR at t = 0 and t = 1.
    log_variances : array-like of shape (D,)
        log V_i, of the scaled components.
    b_min, b_max : float
        Noising rate at t = 0 and t = 1, 0 <= b_min <= b_max and b_max > 0.

    References
    ----------
    Song et al. (2021), https://arxiv.org/abs/2011.13456
    """

    def __init__(self, gamma_0, gamma_1, log_variances, b_min=0.1, b_max=20.0):
        self.b_min = float(b_min)
        self.b_max = float(b_max)
        levels = _effective_levels(gamma_0, gamma_1, log_variances)
        # The margin takes the curve beyond the last end point, also in float32.
        self.duration = max(1.0, float(self._time_at(levels.max() + 1e-3)))
        super().__init__(gamma_0, gamma_1, _merge(self._time_at(levels) / self.duration))
        self.log_variances = _column(log_variances)

    def __call__(self, t):
        """Return gamma(t), of shape (B, D), for times t of shape (B,) or (B, D)."""
        return _clip(self._curve(t), self)

    def gamma_and_rate(self, t):
        """Return gamma(t) and its derivative in t, each of shape (B, D)."""
        return _clip_with_rate(self._curve, t, self)

    def _curve(self, t):
        time = self.duration * t
        B = (self.b_min + 0.5 * (self.b_max - self.b_min) * time) * time
        B = B.clamp(min=_TINY)
        # log(exp(B) - 1), written so that exp(B) cannot overflow.
        return B + (-torch.expm1(-B)).log()

    def _time_at(self, level):
        B = np.logaddexp(0.0, level)
        slope = self.b_max - self.b_min
        return 2 * B / (self.b_min + np.sqrt(self.b_min**2 + 2 * slope * B))


@functools.cache
def load_forward_mode():
    """Load forward-mode differentiation without the deprecation warnings of torch's own code."""
    zero = torch.zeros((), dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.func.jvp(torch.sin, (zero,), (torch.ones_like(zero),))


def _clip(curve, path):
    """Add log V_i to a curve shared by all components and clip it to the path's end points."""
    levels = _by_component(curve) + path.log_variances.to(curve)
    return levels.clamp(path.gamma_0.to(curve), path.gamma_1.to(curve))


def _clip_with_rate(curve, t, path):
    """Return the result of `_clip` and its derivative, which is zero where it is clipped."""
    load_forward_mode()
    value, rate = torch.func.jvp(curve, (t,), (torch.ones_like(t),))
    levels = _clip(value, path)
    between = (levels > path.gamma_0.to(t)) & (levels < path.gamma_1.to(t))
    return levels, _by_component(rate) * between


def _by_component(t):
    """Return times (B,) as (B, 1), and times (B, D) unchanged."""
    return t[:, None] if t.ndim == 1 else t


def _column(values):
    return torch.tensor(np.atleast_1d(np.asarray(values, dtype=np.float64)))


def _effective_levels(gamma_0, gamma_1, log_variances):
    """Return the negative effective log-SNR of every end point, shape (2, D)."""
    return np.stack([gamma_0, gamma_1]).astype(np.float64) - np.asarray(log_variances)


def _snap(*edges):
    """Replace times that differ by rounding only, also from 0 and 1, by one representative."""
    values, inverse = np.unique(np.concatenate([*edges, [0.0, 1.0]]), return_inverse=True)
    is_first = np.concatenate([[True], np.diff(values) > _SAME_TIME])
    representative = values[is_first]
    representative[0], representative[-1] = 0.0, 1.0
    snapped = representative[np.cumsum(is_first) - 1][inverse]
    return np.split(snapped[:-2], len(edges))


def _merge(times):
    """Clip times to [0, 1] and replace those that differ by rounding by one representative."""
    (snapped,) = _snap(np.clip(np.ravel(times), 0.0, 1.0))
    return snapped
