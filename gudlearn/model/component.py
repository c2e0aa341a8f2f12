"""A fitted model on a device: the bound, the flow's density and the sampler's loop.

Rows come as clean scaled components z (B, D) and whole-number levels (B, F); noise is keyed by
row. Everything is in nats, in the units of z.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from gudlearn._random import keyed_normal, keyed_uniform
from gudlearn.conditioning.states import MISSING, OBSERVED, TARGET, MaskedPath, ObservedDenoiser
from gudlearn.diffusion.likelihood import (
    LOG_2PI,
    flow_log_prob,
    gaussian_kl,
    nll_correction,
    noised_divergence,
)
from gudlearn.diffusion.losses import TimeDensity
from gudlearn.diffusion.noise import alpha
from gudlearn.diffusion.paths import active_fraction
from gudlearn.diffusion.process import marginal_std, perturb
from gudlearn.diffusion.solvers import DPMSolverStep, integrate, start_near, time_grid
from gudlearn.nn.denoiser import LabelledDenoiser

# Rows times noise draws that go through the network at once, and at most so many of their values.
_BATCH, _IMAGE_BATCH, MOST_VALUES = 1024, 128, 2**20
_TIMES, _NOISE, _END, _PROBE, _START, _STEPS, _LEVELS = range(7)
# Steps half of the way from noise where components move all of the time, and the most of them.
_STEPS_HALFWAY, _MOST_HALFWAY = 8, 100
# Gauss-Hermite nodes for expectations over one normal.
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(20)


@dataclass(frozen=True)
class Ends:
    """What each of D components does at t = 0; learned, arrays of shape (D,).

    Parameters
    ----------
    variances : variance of the scaled component
    gamma_0, gamma_1 : end points
    active : components that diffuse
    blurred : components read through bins: all of their noise at gamma_0 is real
    own_levels : blurred components whose marginal knows the levels
    tolerance : deviation of a dead continuous component that costs one nat
    """

    variances: np.ndarray
    gamma_0: np.ndarray
    gamma_1: np.ndarray
    active: np.ndarray
    blurred: np.ndarray
    own_levels: np.ndarray
    tolerance: np.ndarray


class Model:
    """Denoiser, path and ends of one fitted estimator.

    Parameters
    ----------
    denoiser : Denoiser or None
    ends : Ends
    observation : BinnedObservation or None
        Of the columns that are read through bins.
    binned : LongTensor of shape (F',)
        The columns of X that are.
    time_weights : ndarray
        Relative height of the density of times, see ``TimeDensity``.
    device, dtype : of the tensors
    autocast : torch.dtype or None
        Type of the hidden layers' arithmetic.
    null : int
        The label that stands for none.
    """

    def __init__(
        self, denoiser, ends, observation, binned, time_weights, device, dtype,
        autocast=None, null=0,
    ):  # fmt: skip
        self.device, self.dtype, self.autocast, self.null = device, dtype, autocast, null
        # Where nothing diffuses there is neither, and no method asks for them.
        self.denoiser = None if denoiser is None else denoiser.to(device, dtype).eval()
        self.path = None
        self.observation = None if observation is None else observation.to(device, dtype)
        self.binned = binned
        self.times = TimeDensity(self._tensor(time_weights))
        self.active = self._index(ends.active)
        self.idle_blurred = self._index(~ends.active & ends.blurred)
        self.dead = self._index(~ends.active & ~ends.blurred)
        self.exact = self._index(ends.active & ~ends.blurred)
        self.ends = ends
        self.n_components = len(ends.active)

    @property
    def sees_images(self):
        """Whether the network is one of images: then rows go through it in small batches."""
        return self.denoiser is not None and getattr(self.denoiser.network, "sees_images", False)

    def given(self, labels=None, guidance=1.0, self_index=None):
        """The denoiser given labels, that is not to look up remembered rows `own`, if any."""
        return LabelledDenoiser(self.denoiser, labels, guidance=guidance, null=self.null, self_index=self_index)

    def arithmetic(self):
        """The context in which networks are called: inside one, weights are rounded once."""
        enabled = self.autocast is not None
        return torch.autocast(self.device.type, self.autocast or torch.bfloat16, enabled=enabled)

    def follow(self, path):
        """Take this gamma path of the active components; None if there are none."""
        self.path = None if path is None else path.to(self.device, self.dtype)

    def _tensor(self, array):
        return torch.as_tensor(array, device=self.device).to(self.dtype)

    def _index(self, mask):
        return torch.as_tensor(np.flatnonzero(mask), device=self.device)

    def _gamma_0(self, index):
        return self._tensor(self.ends.gamma_0)[index]

    # Likelihood

    def stated(self, given, missing):
        """The path of rows some of whose components, (B, D) bool, are given or missing."""
        state = torch.full(given.shape, TARGET, device=self.device)
        state = state.masked_fill(given, OBSERVED).masked_fill(missing, MISSING)
        log_variances = self._tensor(self.ends.variances)[self.active].log()
        return MaskedPath(self.path, state[:, self.active], log_variances)

    def correction(self, z, keys, strata, n_strata, labels=None, path=None, self_index=None):
        """What the network adds to the bound, from some of n_strata strata of time; (B, D').

        On a path of `stated` it is that of the wanted components.
        """
        path = self.path if path is None else path
        x0 = z[:, self.active]
        if not len(self.active) or not len(strata):
            return torch.zeros_like(x0)
        offset = keyed_uniform(keys, n_strata, _TIMES).to(self.dtype)
        total = torch.zeros_like(x0)
        many = min(_BATCH, MOST_VALUES // x0.shape[1])
        per_call = max(1, (_IMAGE_BATCH if self.sees_images else many) // len(x0))
        split = self.given(labels, self_index=self_index).split
        for first in range(0, len(strata), per_call):
            some = strata[first : first + per_call]
            u = ((some + offset[:, some]) / n_strata).T.flatten()
            t, inverse_density, _ = self.times(u)
            eps = torch.cat(
                [keyed_normal(keys, x0.shape[1], (int(k) << 3) + _NOISE) for k in some]
            ).to(self.dtype)
            x0_many = x0.repeat(len(some), 1)
            with self.arithmetic():
                terms = nll_correction(split, path, x0_many, t, eps)
            terms = terms * inverse_density[:, None]
            total += terms.view(len(some), *x0.shape).sum(0)
        return total / n_strata

    def marginal_bound(self, z):
        """The bound of the product of the marginals but for binned columns, exact; (B, D)."""
        out = self.fixed_cost(z)
        if len(self.active):
            x0, gamma_0 = z[:, self.active], self.path(z.new_zeros(1))
            total = torch.zeros_like(x0)
            for node, weight in zip(_NODES, _NODE_WEIGHTS, strict=True):
                eps = torch.full_like(x0, node)
                total += weight * noised_divergence(self.denoiser.marginals, gamma_0, x0, eps)
            out[:, self.active] += total / _NODE_WEIGHTS.sum()
        return out

    def fixed_cost(self, z):
        """The terms of the bound that neither network nor marginals enter; (B, D)."""
        out = torch.zeros(len(z), self.n_components, dtype=self.dtype, device=self.device)
        out[:, self.exact] = 0.5 * (LOG_2PI + self._gamma_0(self.exact) + 1)
        idle = self.idle_blurred
        variance = self._tensor(self.ends.variances)[idle]
        out[:, idle] = gaussian_kl(z[:, idle], variance, self._gamma_0(idle))
        out[:, self.dead] = z[:, self.dead].abs() / self._tensor(self.ends.tolerance)[self.dead]
        return out

    def level_cost(self, levels):
        """Expected negative log-probability of the levels given their blurred values; (B, F')."""
        return self.observation.expected_nll(levels[:, self.binned], _NODES, _NODE_WEIGHTS)

    def flow(self, z, levels, keys, n_steps, n_probes, n_draws, labels=None):
        """Log-density of the flow, with what bins and idle components add; (B,).

        Components read through bins are blurred first, and their density is corrected for the
        blur: log P >= E[log p(z_0) + log p(k | z_0) - log q(z_0 | k)].
        """
        bound = self.marginal_bound(z)
        idle = torch.cat([self.idle_blurred, self.dead])
        value = -bound[:, idle].sum(1)
        if self.observation is not None:
            value = value - self.level_cost(levels).sum(1)
        if not len(self.active):
            return value
        x0, gamma = z[:, self.active], self._gamma_0(self.active)
        blurred = self._tensor(self.ends.blurred)[self.active]
        noise_std = torch.exp(0.5 * gamma)
        draws = n_draws if bool(blurred.any()) else 1
        # Each component's draws are spread evenly over its normal: density and noise are nearly
        # sums over components, whose noise then cancels.
        d = x0.shape[1]
        u, order = (
            keyed_uniform(keys, draws * d, (k << 3) + _END).view(-1, draws, d) for k in range(2)
        )
        spread = torch.special.ndtri((order.argsort(1) + u) / draws).to(self.dtype)
        eps = (blurred * spread).flatten(0, 1)
        y = x0.repeat_interleave(draws, 0) + noise_std * eps
        probe = None
        if n_probes:
            u = keyed_uniform(keys, draws * n_probes * d, _PROBE)
            signs = torch.where(u < 0.5, -1.0, 1.0).to(self.dtype)
            probe = signs.view(len(y), n_probes, d).transpose(0, 1)
        labels = None if labels is None else labels.repeat_interleave(draws)
        denoise, marginals = self.given(labels), self.denoiser.marginals
        with self.arithmetic():
            log_p = flow_log_prob(denoise, self.path, marginals, y, n_steps, probe)
        # Near a level the flow's density is the bell of the noise: each draw cancels its own.
        own = self._tensor(self.ends.own_levels)[self.active]
        log_q = -0.5 * (blurred * (LOG_2PI + gamma + own * eps**2 + 1 - own)).sum(1)
        return value + (log_p - log_q).view(-1, draws).mean(1)

    # Samples

    def sample(self, keys, sampler, labels=None, guidance=1.0, record=None, known=None, guide=None):
        """Clean components for each key, (B, D): at t = 0, the noise of gamma(0) included.

        The states of the active components are recorded as `integrate` does. What is known, a
        pair of components z (B, D) and a mask (B, D), is given to the rest. A guide is called with
        the denoiser, the sampler's step, the components that do not diffuse and keys, and returns
        another denoiser, which has an `observation`, and another step.
        """
        z = torch.zeros(len(keys), self.n_components, dtype=self.dtype, device=self.device)
        idle = self.idle_blurred
        if len(idle):
            spread = self._tensor(self.ends.variances)[idle] + self._gamma_0(idle).exp()
            eps = keyed_normal(keys, len(idle), _END).to(self.dtype)
            z[:, idle] = spread.sqrt() * eps
        if known is not None:
            z = torch.where(known[1], known[0], z)
        if not len(self.active):
            return z
        x, denoise, step = self._outset(keys), self.given(labels, guidance), sampler.build()
        if guide is not None:
            denoise, step = guide(denoise, step, z, keys)
        times = time_grid(self.path, sampler.steps).to(x)
        with self.arithmetic():
            if known is not None:
                denoise, x = self._told(denoise, keys, known, x)
            elif guide is not None:
                x = self._nearer(denoise, x, denoise.observation.tells)
            x = integrate(
                denoise,
                self.path,
                x,
                times,
                step,
                lambda k: keyed_normal(keys, len(self.active), (k << 3) + _STEPS).to(self.dtype),
                record,
            )
        gamma = self.path(z.new_zeros(1))
        z[:, self.active] = x / alpha(gamma)
        return z if known is None else torch.where(known[1], known[0], z)

    def expect(self, keys, known, labels=None):
        """Expected components (B, D) given the known ones, on the way from the noise of each key.

        What is known is a pair as in `sample`. A solver's few steps lead from noise, and from its
        mirror image, to t = 1/2; there the denoiser says what is to be expected, and the mean of
        its answers over the states of keys is what is expected of all. At t = 1 one answer would
        do, were networks as good there.
        """
        z = torch.zeros(len(keys), self.n_components, dtype=self.dtype, device=self.device)
        if len(self.active):
            steps = min(math.ceil(_STEPS_HALFWAY / active_fraction(self.path)), _MOST_HALFWAY)
            times = torch.linspace(1, 0.5, steps + 1, dtype=torch.float64).to(z)
            for mirrored in (False, True):
                x, denoise = self._outset(keys, mirrored), self.given(labels)
                with self.arithmetic():
                    denoise, x = self._told(denoise, keys, known, x)
                    x = integrate(denoise, self.path, x, times, DPMSolverStep())
                    z[:, self.active] += 0.5 * denoise(x, self.path(times[-1:]).expand_as(x))
        return torch.where(known[1], known[0], z)

    def _outset(self, keys, mirrored=False):
        """The active components at t = 1, or the mirror images of their noise."""
        d = len(self.active)
        u = keyed_uniform(keys, d, _START).to(self.dtype)
        eps = keyed_normal(keys, d, _START).to(self.dtype)
        if mirrored:
            u, eps = 1 - u, -eps
        return self.denoiser.marginals.draw(u, eps, self._gamma_1().expand_as(u))

    def _told(self, denoise, keys, known, x):
        """A denoiser that knows components, see `sample`, and x at t = 1 moved by what is known."""
        z, given = known
        states = self.stated(given, torch.zeros_like(given))
        eps = keyed_normal(keys, len(self.active), (1 << 3) + _START).to(self.dtype)
        floor = perturb(z[:, self.active], eps, self.path(z.new_zeros(1)))
        denoise = ObservedDenoiser(denoise, states, floor)
        # A row of which nothing is known is one of all.
        return denoise, self._nearer(denoise, x, states.given.any(1, keepdim=True))

    def _nearer(self, denoise, x, moved):
        """Components at t = 1, of the moved rows, (B, 1) bool, moved by what is known."""
        return start_near(denoise, x, self._gamma_1(), self.denoiser.marginals.mean, moved)

    def _gamma_1(self):
        return self.path(torch.ones(1, dtype=self.dtype, device=self.device))

    def trajectory(self, keys, sampler, n_states, noise_std, labels=None, guidance=1.0):
        """What `sample` passes through, at n_states of its times; there are active components.

        Returns
        -------
        t : Tensor of shape (n_states,)
        states : Tensor of shape (3, n_states, B, D)
            The state x; x rescaled by component, from noise of noise_std to the components of the
            sample; and E[x0 given x]. Components that do not diffuse are those of the sample.
        """
        denoise, found = self.given(labels, guidance), []
        kept = np.rint(np.linspace(0, sampler.steps, n_states)).astype(int).tolist()
        variance = self._tensor(self.ends.variances)[self.active]
        gamma_0 = self.path(variance.new_zeros(1))

        def factor(gamma):
            signal = torch.sigmoid(variance.log() - gamma)
            wanted = (signal * variance + (1 - signal) * noise_std**2).sqrt()
            return wanted / marginal_std(variance, gamma)

        def record(k, x, gamma):
            if k in kept:
                noisy = x / alpha(gamma_0) * (factor(gamma) / factor(gamma_0))
                found.append(torch.stack([x, noisy, denoise(x, gamma.expand_as(x))]))

        z = self.sample(keys, sampler, labels, guidance, record)
        states = z.repeat(3, n_states, 1, 1)
        states[..., self.active] = torch.stack(found, 1)
        return time_grid(self.path, sampler.steps)[kept], states

    def draw_levels(self, y, keys):
        """Levels of the binned columns given their blurred values in bins; (B, F')."""
        u = keyed_uniform(keys, y.shape[1], _LEVELS).to(y.dtype)
        return self.observation.draw(y, u)
