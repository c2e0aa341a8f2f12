"""Paths of which each component has its own monotone curve, trained on the bound or on its noise.

Of a score by its best density over t the standard error is proportional to the mean over t of the
standard deviation of its integrand. That mean, or the bound itself, is the objective.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from gudlearn.diffusion.categories import Levels, corrupt, masked_fraction
from gudlearn.diffusion.gates import GatedPath
from gudlearn.diffusion.likelihood import nll_correction
from gudlearn.diffusion.losses import AdaptiveTimes, nll_integrand
from gudlearn.diffusion.paths import GammaPath
from gudlearn.schedules import Schedule
from gudlearn.training.optimizers import AdamW

PIECES = 16
# The least rate of a component, relative to that of the linear path.
LEAST = 0.01
# Neighbouring rows that share a time: the others are the baseline of the gradient of masks.
TOGETHER = 4
# Learning rate of the logits, and steps in which it rises.
RATE, WARM_UP = 0.15, 20


class LearnedPath(GammaPath):
    """Each component is linear in t in each of several pieces, with increments of its own.

    Parameters
    ----------
    gamma_0, gamma_1 : array-like of shape (D,)
    logits : Tensor of shape (D, pieces)
        The increments are their softmax, times the range of the component.
    """

    def __init__(self, gamma_0, gamma_1, logits):
        pieces = logits.shape[1]
        super().__init__(gamma_0, gamma_1, [k / pieces for k in range(1, pieces)])
        self.logits = logits

    def _fraction(self, t):
        """The fraction of its range that each component has covered, and its rate; (B, D)."""
        n_components, pieces = self.logits.shape
        steps = torch.softmax(self.logits.to(t), 1) * (1 - LEAST) + LEAST / pieces
        edges = torch.cat([torch.zeros_like(steps[:, :1]), steps.cumsum(1)], 1)
        edges = (edges / edges[:, -1:]).flatten()
        place = (t[:, None] if t.ndim == 1 else t).expand(-1, n_components) * pieces
        k = place.long().clamp(0, pieces - 1)
        index = k + torch.arange(n_components, device=k.device) * (pieces + 1)
        low, high = edges[index], edges[index + 1]
        return (low + (high - low) * (place - k)).clamp(0, 1), (high - low) * pieces

    def __call__(self, t):
        """Return gamma(t), of shape (B, D)."""
        return self.gamma_and_rate(t)[0]

    def gamma_and_rate(self, t):
        """Return gamma(t) and its derivative in t, each of shape (B, D)."""
        fraction, rate = self._fraction(t)
        low, high = self.gamma_0.to(t), self.gamma_1.to(t)
        return torch.lerp(low, high, fraction), rate * (high - low)


class PathSchedule(Schedule):
    """The schedule of a `LearnedPath`.

    Parameters
    ----------
    logits : ndarray of shape (D, pieces), or None
        None is the linear path.
    """

    def __init__(self, logits=None):
        self.logits = logits

    def build(self, components, end_points):
        """Make the path; see `Schedule.build`."""
        n_components = len(end_points.gamma_0)
        logits = np.zeros((n_components, PIECES)) if self.logits is None else self.logits
        return LearnedPath(end_points.gamma_0, end_points.gamma_1, torch.tensor(logits))


def without_gates(path):
    """The path of which gates and their numbers take parts, or the path itself."""
    return path.path if isinstance(path, GatedPath) else path


def logits_of(path):
    """The logits (D, pieces) of the learned path that is closest to another one."""
    path = without_gates(path)
    t = torch.linspace(0, 1, PIECES + 1, dtype=torch.float64)
    covered = (path(t) - path.gamma_0) / (path.gamma_1 - path.gamma_0)
    return np.log(covered.diff(dim=0).T.numpy().clip(0) + 0.002)


def log_prob_of_masks(path, x0, t, eps):
    """Log-probability of the masked states of each row's categories, (B,), for its gradient."""
    n = path.levels.n_columns
    gamma, _ = path.gamma_and_rate(t)
    _, seen = corrupt(x0, eps, gamma, path)
    masked = seen[:, -n:] > path.gamma_0[-n:].to(seen)
    fraction = masked_fraction(path, gamma).clamp(1e-6, 1 - 1e-6)
    log_prob = torch.where(masked, fraction.log(), (-fraction).log1p())
    if hasattr(path, "target"):
        log_prob = log_prob * path.target[:, -n:].repeat(len(x0) // len(path.target), 1)
    return log_prob.sum(1)


def with_score_function(values, log_prob):
    """Values (G, T) of which the gradient counts how the masks of a row depend on the path.

    Rows of a group are alike but for data and noise: the others are the baseline.

    Parameters
    ----------
    values, log_prob : Tensor of shape (G, T)
    """
    sums = values.detach().sum(1, keepdim=True)
    others = (sums - values.detach()) / (values.shape[1] - 1)
    return values + (values.detach() - others) * (log_prob - log_prob.detach())


def bound_objective(path, denoiser, batch, times, generator):
    """The diffusion term of the bound, in nats per row.

    Parameters
    ----------
    path : GammaPath
    denoiser : LabelledDenoiser, or another callable (x, gamma)
    batch : (Tensor of shape (B, D), object)
        B is a multiple of ``TOGETHER``.
    times : AdaptiveTimes
    generator : torch.Generator
    """
    x0, _ = batch
    u = torch.rand(len(x0) // TOGETHER, generator=generator)
    t, inverse_density, bins, _ = times.sample(u, len(x0))
    eps = torch.randn(x0.shape, generator=generator)
    terms = nll_integrand(denoiser, path, x0, t, eps)
    rows = (terms * path.target if hasattr(path, "target") else terms).sum(1)
    times.update(bins, rows.detach())
    values = (rows * inverse_density).view(-1, TOGETHER)
    if path.levels is not None:
        values = with_score_function(values, log_prob_of_masks(path, x0, t, eps).view(-1, TOGETHER))
    return values.mean()


def noise_objective(path, denoiser, batch, times, generator):
    """The mean over t of the standard deviation of a score's integrand, in nats.

    Parameters are those of `bound_objective`; the batch has the control variate, or None.
    """
    x0, control = batch
    n_bins = len(x0) // TOGETHER
    t = (torch.arange(n_bins) + torch.rand(n_bins, generator=generator)) / n_bins
    x0, t = x0.repeat(2, 1), t.repeat_interleave(TOGETHER).repeat(2)
    eps = torch.randn(x0.shape, generator=generator)
    change = nll_correction(denoiser.split, path, x0, t, eps, control).sum(1)
    squares = change.view(2, -1, TOGETHER).diff(dim=0)[0].square() / 2
    if path.levels is not None:
        log_prob = log_prob_of_masks(path, x0, t, eps).view(2, -1, TOGETHER).sum(0)
        squares = with_score_function(squares, log_prob)
    return squares.mean(1).clamp(min=1e-12).sqrt().mean()


class PathLearner:
    """An optimiser of a learned path.

    Parameters
    ----------
    path : LearnedPath, or one with gates around it
        In float32; changed in place.
    objective : callable, see `bound_objective`
    rate : float
        Learning rate of the logits.
    warm_up : int
        Steps in which it rises.
    """

    def __init__(self, path, objective=bound_objective, rate=RATE, warm_up=WARM_UP):
        self.path, self.objective, self.warm_up = path, objective, warm_up
        self.logits = without_gates(path).logits
        self.generator = torch.Generator().manual_seed(0)
        self.times, self.steps = AdaptiveTimes(), 0
        # An optimiser of torch imports its compiler first, for two seconds.
        self._optimizer = AdamW([self.logits], rate, weight_decay=0.0)
        self._optimizer.BETAS = (0.9, 0.99)

    def step(self, denoiser, batch, factor=1.0, path=None):
        """One step at a fraction of the learning rate; the value of the objective.

        Parameters
        ----------
        denoiser, batch : see the objective
        factor : float
        path : MaskedPath or None
            The path of rows of which components are missing.
        """
        self.logits.requires_grad_(True)
        path = self.path if path is None else path
        value = self.objective(path, denoiser, batch, self.times, self.generator)
        (self.logits.grad,) = torch.autograd.grad(value, [self.logits])
        self.logits.requires_grad_(False)
        self.steps += 1
        self._optimizer.step(factor * min(1.0, self.steps / self.warm_up))
        return float(value.detach())


# Denoisers whose bound depends on the path, by known amounts

CORRELATION, AGREEMENT = 0.9, 0.95
MIDPOINTS = (torch.arange(4096) + 0.5) / 4096


class OneSidedGaussian:
    """Two correlated normals; the first one is denoised as if there were no second one."""

    name = "Gaussian"
    # Where the second one moves only while the first one is observed.
    least_bound = sum(
        0.5 * math.log((1 + v * math.exp(9)) / (1 + v * math.exp(-9)))
        for v in (1, 1 - CORRELATION**2)
    )

    def path(self):
        """The linear path, in float32."""
        path = LearnedPath([-9.0] * 2, [9.0] * 2, torch.zeros(2, PIECES))
        return path.to(None, torch.float32)

    def rows(self, n, generator):
        """Rows (n, 2)."""
        x = torch.randn((n, 2), generator=generator)
        x[:, 1] = CORRELATION * x[:, 0] + math.sqrt(1 - CORRELATION**2) * x[:, 1]
        return x

    def __call__(self, x, gamma):
        """Denoise x (B, 2), the second one by both."""
        y, noise = x * torch.sigmoid(-gamma).rsqrt(), gamma.exp()
        # The posterior of the second one is that of its prior given the first one's noisy value.
        total = 1 + noise[:, 0]
        mean, variance = CORRELATION * y[:, 0] / total, 1 - CORRELATION**2 / total
        second = mean + variance * (y[:, 1] - mean) / (variance + noise[:, 1])
        return torch.stack([y[:, 0] / total, second], 1)

    def bound(self, path):
        """The diffusion term of the bound on a path, in nats, by quadrature."""
        gamma, rate = path.gamma_and_rate(MIDPOINTS)
        noise = gamma.exp()
        prior = torch.ones_like(noise)
        prior[:, 1] -= CORRELATION**2 / (1 + noise[:, 0])
        return float((0.5 * rate * prior / (prior + noise)).sum(1).mean())


class OneSidedCategories:
    """Two categories that mostly agree; the first is denoised as if there were no second one."""

    name = "categories"
    least_bound = math.log(2) - sum(p * math.log(p) for p in (AGREEMENT, 1 - AGREEMENT))

    def __init__(self):
        self.levels = Levels([2, 2], torch.full((2,), -20.0))

    def path(self):
        """The linear path, in float32."""
        path = LearnedPath([0.0] * 2, [1.0] * 2, torch.zeros(2, PIECES))
        return path.to(None, torch.float32).with_levels(self.levels)

    def rows(self, n, generator):
        """Codes (n, 2)."""
        first = torch.rand(n, generator=generator) < 0.5
        agrees = torch.rand(n, generator=generator) < AGREEMENT
        return torch.stack([first, first == agrees], 1).float()

    def __call__(self, x, gamma):
        """Log-probabilities (B, 4), those of the second one by both."""
        seen = gamma[:, 0] <= 0
        first_is_1 = torch.where(x[:, 0] > 0.5, AGREEMENT, 1 - AGREEMENT)
        second = torch.where(seen, first_is_1, 0.5)
        half = torch.full_like(second, 0.5)
        return torch.stack([half, half, 1 - second, second], 1).log()

    def bound(self, path):
        """The bound on a path, in nats, by quadrature."""
        masked, rate = path.gamma_and_rate(MIDPOINTS)
        given_first = self.least_bound - math.log(2)
        second = masked[:, 0] * math.log(2) + (1 - masked[:, 0]) * given_first
        return math.log(2) + float((rate[:, 1] * second).mean())


def control(denoiser, steps=400, n_rows=512):
    """The bound on the linear path and on the learned one, in nats."""
    learner = PathLearner(denoiser.path())
    generator = torch.Generator().manual_seed(0)
    before = denoiser.bound(learner.path)
    for step in range(steps):
        learner.step(denoiser, (denoiser.rows(n_rows, generator), None), 1 - step / steps)
    return before, denoiser.bound(learner.path)
