r"""Solvers: from noise to data in steps that depend on noise levels only, never on time.

A step moves x from noise levels gamma_t to lower levels gamma_s. Deterministic steps are exact for
a constant x0_hat. Every step leaves a component with a fixed noise level unchanged, to the bit.
Random numbers are arguments; the memory of a step is both an argument and a result.
"""

import heapq
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch

from gudlearn.diffusion.noise import alpha, sigma


def ddim_step(x, x0, gamma_t, gamma_s, eta=0.0, noise=None):
    r"""Move x from noise level gamma_t to the lower noise level gamma_s.

    Parameters
    ----------
    x, x0 : Tensor of shape (B, D)
        Noisy state and denoised state.
    gamma_t, gamma_s : Tensor of shape (B, D)
        Negative log-SNR, gamma_s <= gamma_t.
    eta : float in [0, 1]
        0 is deterministic, 1 is ancestral sampling.
    noise : Tensor of shape (B, D), optional
        Standard normal draw; not needed if eta is 0.

    Returns
    -------
    Tensor of shape (B, D)

    References
    ----------
    Song, Meng, Ermon (2021), https://arxiv.org/abs/2010.02502
    """
    change = (gamma_s - gamma_t).clamp(max=0.0)
    log_kept = torch.log1p(eta**2 * torch.expm1(change)) / 2
    # The coefficient of x0 is a difference of nearly equal scales; expm1 keeps its digits.
    x = (sigma(gamma_s) / sigma(gamma_t)) * log_kept.exp() * x
    x = x - alpha(gamma_s) * torch.expm1(log_kept + change / 2) * x0
    if eta == 0:
        return x
    return x + eta * sigma(gamma_s) * (-torch.expm1(change)).sqrt() * noise


def heun_step(x, x0_t, x0_s, gamma_t, gamma_s):
    r"""Correct a first-order step with x0_hat evaluated at both ends of the step (Heun).

    x0_hat is interpolated linearly in lambda = -gamma/2, and the linear part of the
    probability-flow ODE is solved exactly.

    Parameters
    ----------
    x : Tensor of shape (B, D)
        Noisy state at gamma_t.
    x0_t, x0_s : Tensor of shape (B, D)
        Denoised states at gamma_t, and at gamma_s after a first-order step.
    gamma_t, gamma_s : Tensor of shape (B, D)
        Negative log-SNR, gamma_s <= gamma_t.

    Returns
    -------
    Tensor of shape (B, D)

    References
    ----------
    Karras et al. (2022), https://arxiv.org/abs/2206.00364, for Heun's method in diffusion;
    Hochbruck, Ostermann (2010), Exponential integrators, Acta Numerica 19, for this form.
    """
    step = (gamma_t - gamma_s).clamp(min=0.0) / 2
    # 1 - (1 - exp(-h))/h cancels for small h.
    series = step / 2 * (1 - step / 3 * (1 - step / 4 * (1 - step / 5 * (1 - step / 6))))
    small = step < 0.02
    weight = torch.where(small, series, 1 + torch.expm1(-step) / torch.where(small, 1.0, step))
    return ddim_step(x, x0_t, gamma_t, gamma_s) + alpha(gamma_s) * weight * (x0_s - x0_t)


# If the step in lambda grows by more, the component has just become active and has no slope yet.
_LARGEST_GROWTH = 2.0


def dpm_solver_step(x, x0, x0_previous, gamma_t, gamma_s, step_previous):
    r"""DPM-Solver++ 2M: a first-order step with x0_hat extrapolated to the middle of the step.

    A component that was fixed during all or most of the previous step has no slope to extrapolate
    and takes a first-order step.

    Parameters
    ----------
    x, x0, x0_previous : Tensor of shape (B, D)
        Noisy state; denoised state now and one step ago.
    gamma_t, gamma_s : Tensor of shape (B, D)
        Negative log-SNR, gamma_s <= gamma_t.
    step_previous : Tensor of shape (B, D)
        Decrease of gamma in the previous step.

    Returns
    -------
    Tensor of shape (B, D)

    References
    ----------
    Lu et al. (2022), https://arxiv.org/abs/2211.01095
    """
    step = (gamma_t - gamma_s).clamp(min=0.0)
    was_fixed = step >= _LARGEST_GROWTH * step_previous
    growth = torch.where(was_fixed, 0.0, step / torch.where(was_fixed, 1.0, step_previous))
    return ddim_step(x, x0 + growth / 2 * (x0 - x0_previous), gamma_t, gamma_s)


def euler_maruyama_step(x, x0, gamma_t, gamma_s, noise):
    r"""Integrate the reverse SDE over one step, with its coefficients frozen at gamma_t.

    .. math:: x_s = x + b\,(\tfrac12 x + \nabla\log p) + \sqrt{b}\,z, \qquad
              b = \sigma_t^2 (\gamma_t - \gamma_s)

    b is beta times the step, with dgamma/dt averaged over the step. It equals the usual beta(t) if
    gamma is linear in t, and is zero if the noise level is fixed.

    Parameters
    ----------
    x, x0, noise : Tensor of shape (B, D)
        Noisy state, denoised state, standard normal draw.
    gamma_t, gamma_s : Tensor of shape (B, D)
        Negative log-SNR, gamma_s <= gamma_t.

    Returns
    -------
    Tensor of shape (B, D)

    References
    ----------
    Song et al. (2021), https://arxiv.org/abs/2011.13456
    """
    step = (gamma_t - gamma_s).clamp(min=0.0)
    increment = torch.sigmoid(gamma_t) * step
    # b times the score is -step (x - alpha x0), without a division by sigma.
    drift = increment / 2 * x - step * (x - alpha(gamma_t) * x0)
    return x + drift + increment.sqrt() * noise


@dataclass(frozen=True)
class DDIMStep:
    """DDIM, from deterministic (eta = 0) to ancestral sampling (eta = 1).

    Parameters
    ----------
    eta : float in [0, 1]
        Fraction of the posterior standard deviation that is new noise.
    """

    eta: float = 0.0
    order: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1

    @property
    def stochastic(self):
        """Whether the step needs a normal draw."""
        return self.eta > 0

    def __call__(self, denoise, x, gamma_t, gamma_s, memory, noise):
        """Return the next state and no memory."""
        return ddim_step(x, denoise(x, gamma_t), gamma_t, gamma_s, self.eta, noise), None


@dataclass(frozen=True)
class HeunStep:
    """Heun's second-order method in exponential form; two evaluations a step."""

    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2
    stochastic: ClassVar[bool] = False

    def __call__(self, denoise, x, gamma_t, gamma_s, memory, noise):
        """Return the next state and no memory."""
        x0_t = denoise(x, gamma_t)
        x0_s = denoise(ddim_step(x, x0_t, gamma_t, gamma_s), gamma_s)
        return heun_step(x, x0_t, x0_s, gamma_t, gamma_s), None


@dataclass(frozen=True)
class DPMSolverStep:
    """DPM-Solver++ 2M; its memory is the last denoised state and the last decrease of gamma."""

    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def __call__(self, denoise, x, gamma_t, gamma_s, memory, noise):
        """Return the next state and the memory for the following step."""
        x0 = denoise(x, gamma_t)
        x0_previous, step_previous = memory or (x0, torch.zeros_like(gamma_t))
        x = dpm_solver_step(x, x0, x0_previous, gamma_t, gamma_s, step_previous)
        return x, (x0, (gamma_t - gamma_s).clamp(min=0.0))


@dataclass(frozen=True)
class EulerMaruyamaStep:
    """Euler-Maruyama on the reverse SDE, the baseline of the GUD paper."""

    order: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def __call__(self, denoise, x, gamma_t, gamma_s, memory, noise):
        """Return the next state and no memory."""
        return euler_maruyama_step(x, denoise(x, gamma_t), gamma_t, gamma_s, noise), None


def integrate(denoise, path, x, times, step, noise=None, record=None):
    """Integrate x along a path from times[0] to times[-1].

    Parameters
    ----------
    denoise : callable
        Maps (x, gamma), both of shape (B, D), to the posterior mean of x0.
    path : callable
        Maps one time, of shape (1,), to gamma of shape (1, D), or (B, D) if rows have masks.
    x : Tensor of shape (B, D)
        State at times[0].
    times : Tensor of shape (K + 1,)
        Decreasing times, as from `time_grid`.
    step : callable
        A step of this module: maps (denoise, x, gamma_t, gamma_s, memory, noise) to (x, memory).
    noise : callable, optional
        Maps k to the k-th standard normal draw of x's shape; called for stochastic steps only.
    record : callable, optional
        Called for every state, including the first and the last, with k, the state at times[k] and
        its gamma.

    Returns
    -------
    Tensor of shape (B, D)
        State at times[-1]; at t = 0 it still carries the noise of gamma(0).

    Raises
    ------
    ValueError
        If the step is stochastic and no noise is given.
    """
    if step.stochastic and noise is None:
        raise ValueError(f"{step!r} needs noise: pass a callable k -> standard normal draw.")
    # A gamma of shape (1, D) has its coefficients computed once instead of for each row.
    gammas = (path(t[None]).to(x) for t in times)
    gamma_t, memory = next(gammas), None

    def denoise_rows(x, gamma):
        return denoise(x, gamma.expand_as(x))

    if record is not None:
        record(0, x, gamma_t)
    for k, gamma_s in enumerate(gammas):
        draw = noise(k) if step.stochastic else None
        x, memory = step(denoise_rows, x, gamma_t, gamma_s, memory, draw)
        gamma_t = gamma_s
        if record is not None:
            record(k + 1, x, gamma_s)
    return x


def start_near(denoise, x, gamma, mean, moved):
    r"""Shift a draw of the prior towards the conditional mean, by :math:`\alpha (\hat x_0 - mean)`.

    At t = 1 a component still has the signal scale alpha. The prior centres it on its unconditional
    mean. A deterministic solver would keep that error: conditional means would be off in proportion
    to alpha.

    Parameters
    ----------
    denoise : callable (x, gamma) -> x0_hat
    x : Tensor of shape (B, D)
        A draw of the prior, with observed components at gamma(0).
    gamma : Tensor of shape (1, D) or (B, D)
    mean : Tensor of shape (D,)
        Means of the prior's marginals.
    moved : BoolTensor of shape (D,) or (B, D)
        Components to shift.

    Returns
    -------
    Tensor of shape (B, D)
    """
    gamma = gamma.to(x).expand_as(x)
    return torch.where(moved, x + alpha(gamma) * (denoise(x, gamma) - mean), x)


def time_grid(path, steps):
    """Return times from 1 to 0 in `steps` steps, with nodes on the path's kinks if they are few.

    Parameters
    ----------
    path : object with `kinks`
        Times in (0, 1) at which the derivative of some component jumps.
    steps : int
        Number of steps, at least 1.

    Returns
    -------
    Tensor of shape (steps + 1,)
        Decreasing, on the device of path.gamma_0 and in its dtype.

    Notes
    -----
    Each interval between kinks is divided evenly. Its number of steps is proportional to its length
    and at least one. A kink less than a quarter of a step from an end point or from the previous
    node gets no node. With more than steps/2 intervals the grid is uniform.
    """
    min_gap = 0.25 / steps
    edges = [0.0]
    for kink in path.kinks:
        if kink - edges[-1] >= min_gap and 1.0 - kink >= min_gap:
            edges.append(kink)
    edges.append(1.0)
    if len(edges) - 1 > max(1, steps // 2):
        edges = [0.0, 1.0]
    intervals = list(pairwise(edges))
    counts = _apportion([end - begin for begin, end in intervals], steps)
    nodes = [
        torch.linspace(begin, end, count + 1, dtype=torch.float64)[:-1]
        for (begin, end), count in zip(intervals, counts, strict=True)
    ]
    times = torch.cat([*nodes, torch.ones(1, dtype=torch.float64)]).flip(0)
    return times.to(path.gamma_0)


def _apportion(lengths, steps):
    """Distribute steps over intervals, at least one each, to minimise the longest step."""
    counts = [1] * len(lengths)
    longest = [(-length, k) for k, length in enumerate(lengths)]
    heapq.heapify(longest)
    for _ in range(steps - len(lengths)):
        k = longest[0][1]
        counts[k] += 1
        heapq.heapreplace(longest, (-lengths[k] / counts[k], k))
    return counts
