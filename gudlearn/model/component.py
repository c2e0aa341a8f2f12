"""A fitted model of components: its negative ELBO, the density of its flow, and its samples.

Rows are clean scaled components z (B, D) and bin indices (B, F); noise is keyed by row. Everything
is in nats, in the units of z. An ``nll`` is small where a row is likely.
"""

import copy
import math

import numpy as np
import torch

from gudlearn._random import keyed_normal, keyed_uniform
from gudlearn.conditioning.states import (
    MISSING,
    OBSERVED,
    TARGET,
    MaskedPath,
    ObservedDenoiser,
)
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

# Largest number of rows times noise draws in one call of the network, and of their values.
_BATCH, _IMAGE_BATCH, MOST_VALUES = 1024, 128, 2**20
# Streams of keyed noise.
_TIMES, _NOISE, _END, _PROBE, _START, _STEPS = range(6)
# Solver steps from noise to t = 1/2 where components are always active, and the most of them.
_STEPS_HALFWAY, _MOST_HALFWAY = 8, 100
# Gauss-Hermite nodes for expectations over one normal.
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(20)


class ComponentModel:
    """Denoiser, path and end points of a fitted model, on a device.

    Parameters
    ----------
    denoiser : Denoiser or None
        None where nothing diffuses.
    path : GammaPath or None
        Of the active components.
    ends : Ends
    observation : BinnedObservation or None
        Of the binned columns.
    binned : ndarray of shape (F,) of bool
        The columns of X that are binned.
    time_weights : ndarray
        Relative height of the importance-sampling density over t, see ``TimeDensity``.
    device, dtype : of the tensors
    autocast : torch.dtype or None
        Type of the hidden layers' arithmetic.
    null : int
        The label that stands for none.
    """

    def __init__(
        self, denoiser, path, ends, observation, binned, time_weights, device, dtype,
        autocast=None, null=0,
    ):  # fmt: skip
        self.device, self.dtype, self.null = device, dtype, null
        self.denoiser = None if denoiser is None else denoiser.to(device, dtype).eval()
        self.observation = None if observation is None else observation.to(device, dtype)
        self.binned = torch.from_numpy(np.flatnonzero(binned))
        self.active = self._index(ends.active)
        self._idle_binned = self._index(~ends.active & ends.noise_observed)
        self._constant = self._index(~ends.active & ~ends.noise_observed)
        self._continuous = self._index(ends.active & ~ends.noise_observed)
        self.ends = ends
        self.n_components = len(ends.active)
        self.follow(path, time_weights, autocast)

    def on_path(self, path, time_weights, autocast=None):
        """The same model on another path, with another density over t and arithmetic."""
        other = copy.copy(self)
        other.follow(path, time_weights, autocast)
        return other

    def follow(self, path, time_weights, autocast=None):
        """Take another path, density over t and arithmetic."""
        self.autocast = autocast
        self.path = None if path is None else path.to(self.device, self.dtype)
        self.times = TimeDensity(self._tensor(time_weights))

    @property
    def sees_images(self):
        """Whether the network is one of images: then rows go through it in small batches."""
        return self.denoiser is not None and getattr(self.denoiser.network, "sees_images", False)

    def labelled(self, labels=None, guidance=1.0, self_index=None):
        """The denoiser given labels, which does not look up the reference rows of an index."""
        return LabelledDenoiser(
            self.denoiser, labels, guidance=guidance, null=self.null, self_index=self_index
        )

    def arithmetic(self):
        """The context in which networks are called: inside one, weights are rounded once."""
        enabled = self.autocast is not None
        return torch.autocast(self.device.type, self.autocast or torch.bfloat16, enabled=enabled)

    def _tensor(self, array):
        return torch.as_tensor(array, device=self.device).to(self.dtype)

    def _index(self, mask):
        return torch.as_tensor(np.flatnonzero(mask), device=self.device)

    def _gamma_0(self, index):
        return self._tensor(self.ends.gamma_0)[index]

    # Likelihood

    def masked_path(self, observed, missing):
        """The path of rows some of whose components, (B, D) bool, are observed or missing."""
        state = torch.full(observed.shape, TARGET, device=self.device)
        state = state.masked_fill(observed, OBSERVED).masked_fill(missing, MISSING)
        log_variances = self._tensor(self.ends.variances)[self.active].log()
        return MaskedPath(self.path, state[:, self.active], log_variances)

    def nll_correction(
        self, z, keys, strata, n_strata, labels=None, path=None, self_index=None
    ):
        """What the network adds to the marginals' nll, from some of n_strata strata of t; (B, D').

        On a `masked_path` it is that of the target components.
        """
        path = self.path if path is None else path
        x0 = z[:, self.active]
        if not len(self.active) or not len(strata):
            return torch.zeros_like(x0)
        offset = keyed_uniform(keys, n_strata, _TIMES).to(self.dtype)
        total = torch.zeros_like(x0)
        many = min(_BATCH, MOST_VALUES // x0.shape[1])
        per_call = max(1, (_IMAGE_BATCH if self.sees_images else many) // len(x0))
        split = self.labelled(labels, self_index=self_index).split
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

    def marginal_nll(self, z):
        """Nll bound of the product of the marginals, without bins, exact; (B, D)."""
        out = self.fixed_nll(z)
        if len(self.active):
            x0, gamma_0 = z[:, self.active], self.path(z.new_zeros(1))
            total = torch.zeros_like(x0)
            for node, weight in zip(_NODES, _NODE_WEIGHTS, strict=True):
                eps = torch.full_like(x0, node)
                total += weight * noised_divergence(self.denoiser.marginals, gamma_0, x0, eps)
            out[:, self.active] += total / _NODE_WEIGHTS.sum()
        return out

    def fixed_nll(self, z):
        """The terms of the nll bound that neither network nor marginals enter; (B, D)."""
        out = torch.zeros(len(z), self.n_components, dtype=self.dtype, device=self.device)
        continuous, idle, constant = self._continuous, self._idle_binned, self._constant
        out[:, continuous] = 0.5 * (LOG_2PI + self._gamma_0(continuous) + 1)
        variance = self._tensor(self.ends.variances)[idle]
        out[:, idle] = gaussian_kl(z[:, idle], variance, self._gamma_0(idle))
        out[:, constant] = z[:, constant].abs() / self._tensor(self.ends.tolerance)[constant]
        return out

    def bin_nll(self, indices):
        """Expected nll of the bin indices (B, F) given their noisy values; (B, F')."""
        return self.observation.expected_nll(indices[:, self.binned], _NODES, _NODE_WEIGHTS)

    def flow_log_prob(self, z, indices, keys, n_steps, n_probes, n_draws, labels=None):
        """Log-density of the flow, with what bins and idle components add; (B,).

        Noise is added to the components of binned columns first, and their density is corrected
        for it: log P >= E[log p(z_0) + log p(k | z_0) - log q(z_0 | k)].
        """
        nll = self.marginal_nll(z)
        idle = torch.cat([self._idle_binned, self._constant])
        value = -nll[:, idle].sum(1)
        if self.observation is not None:
            value = value - self.bin_nll(indices).sum(1)
        if not len(self.active):
            return value
        x0, gamma = z[:, self.active], self._gamma_0(self.active)
        noisy = self._tensor(self.ends.noise_observed)[self.active]
        noise_std = torch.exp(0.5 * gamma)
        draws = n_draws if bool(noisy.any()) else 1
        # Each component's draws are spread evenly over its normal: density and noise are nearly
        # sums over components, whose errors then cancel.
        d = x0.shape[1]
        u, order = (
            keyed_uniform(keys, draws * d, (k << 3) + _END).view(-1, draws, d) for k in range(2)
        )
        normal = torch.special.ndtri((order.argsort(1) + u) / draws).to(self.dtype)
        eps = (noisy * normal).flatten(0, 1)
        y = x0.repeat_interleave(draws, 0) + noise_std * eps
        probe = None
        if n_probes:
            u = keyed_uniform(keys, draws * n_probes * d, _PROBE)
            signs = torch.where(u < 0.5, -1.0, 1.0).to(self.dtype)
            probe = signs.view(len(y), n_probes, d).transpose(0, 1)
        labels = None if labels is None else labels.repeat_interleave(draws)
        denoise, marginals = self.labelled(labels), self.denoiser.marginals
        with self.arithmetic():
            log_p = flow_log_prob(denoise, self.path, marginals, y, n_steps, probe)
        # Near a point mass the flow's density is that of the noise: each draw cancels its own.
        own = self._tensor(self.ends.point_masses)[self.active]
        log_q = -0.5 * (noisy * (LOG_2PI + gamma + own * eps**2 + 1 - own)).sum(1)
        return value + (log_p - log_q).view(-1, draws).mean(1)

    # Samples

    def sample(
        self, keys, sampler, labels=None, guidance=1.0, record=None, observed=None, guide=None
    ):
        """Clean components for each key, (B, D): at t = 0, the noise of gamma(0) included.

        Parameters
        ----------
        keys : Tensor of shape (B,)
        sampler : Sampler
        labels : LongTensor of shape (B,) or None
        guidance : float
        record : callable or None
            See `integrate`; it sees the states of the active components.
        observed : (Tensor, BoolTensor) of shape (B, D) or None
            Components z and which of them are observed: the others are drawn given these.
        guide : callable or None
            Called with the denoiser, the sampler's step, the components that do not diffuse and
            keys; returns another denoiser, which has an `observation`, and another step.
        """
        z = torch.zeros(len(keys), self.n_components, dtype=self.dtype, device=self.device)
        idle = self._idle_binned
        if len(idle):
            variance = self._tensor(self.ends.variances)[idle] + self._gamma_0(idle).exp()
            eps = keyed_normal(keys, len(idle), _END).to(self.dtype)
            z[:, idle] = variance.sqrt() * eps
        if observed is not None:
            z = torch.where(observed[1], observed[0], z)
        if not len(self.active):
            return z
        x, denoise, step = self._noise(keys), self.labelled(labels, guidance), sampler.build()
        if guide is not None:
            denoise, step = guide(denoise, step, z, keys)
        times = time_grid(self.path, sampler.steps).to(x)
        with self.arithmetic():
            if observed is not None:
                denoise, x = self._given(denoise, keys, observed, x)
            elif guide is not None:
                x = self._moved(denoise, x, denoise.observation.tells)
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
        return z if observed is None else torch.where(observed[1], observed[0], z)

    def conditional_mean(self, keys, observed, labels=None):
        """One estimate of the mean components (B, D) given the observed ones, for each key.

        A few solver steps lead from noise, and from its mirror image, to t = 1/2. The denoiser's
        answer there has the conditional mean as its expectation over keys, and less variance than
        a sample. At t = 1 one answer would do, if networks were as accurate there.
        """
        z = torch.zeros(len(keys), self.n_components, dtype=self.dtype, device=self.device)
        if len(self.active):
            steps = min(math.ceil(_STEPS_HALFWAY / active_fraction(self.path)), _MOST_HALFWAY)
            times = torch.linspace(1, 0.5, steps + 1, dtype=torch.float64).to(z)
            for mirrored in (False, True):
                x, denoise = self._noise(keys, mirrored), self.labelled(labels)
                with self.arithmetic():
                    denoise, x = self._given(denoise, keys, observed, x)
                    x = integrate(denoise, self.path, x, times, DPMSolverStep())
                    z[:, self.active] += 0.5 * denoise(x, self.path(times[-1:]).expand_as(x))
        return torch.where(observed[1], observed[0], z)

    def _noise(self, keys, mirrored=False):
        """The active components at t = 1, or the mirror images of their noise."""
        d = len(self.active)
        u = keyed_uniform(keys, d, _START).to(self.dtype)
        eps = keyed_normal(keys, d, _START).to(self.dtype)
        if mirrored:
            u, eps = 1 - u, -eps
        return self.denoiser.marginals.draw(u, eps, self._gamma_1().expand_as(u))

    def _given(self, denoise, keys, observed, x):
        """A denoiser given observed components, see `sample`, and x at t = 1 moved accordingly."""
        z, mask = observed
        path = self.masked_path(mask, torch.zeros_like(mask))
        eps = keyed_normal(keys, len(self.active), (1 << 3) + _START).to(self.dtype)
        floor = perturb(z[:, self.active], eps, self.path(z.new_zeros(1)))
        denoise = ObservedDenoiser(denoise, path, floor)
        # A row without observed components is drawn from the whole distribution.
        return denoise, self._moved(denoise, x, path.observed.any(1, keepdim=True))

    def _moved(self, denoise, x, rows):
        """Components at t = 1, of some rows, (B, 1) bool, moved by what is observed."""
        return start_near(denoise, x, self._gamma_1(), self.denoiser.marginals.mean, rows)

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
        denoise, found = self.labelled(labels, guidance), []
        kept = np.rint(np.linspace(0, sampler.steps, n_states)).astype(int).tolist()
        variance = self._tensor(self.ends.variances)[self.active]
        gamma_0 = self.path(variance.new_zeros(1))

        def factor(gamma):
            signal = torch.sigmoid(variance.log() - gamma)
            std = (signal * variance + (1 - signal) * noise_std**2).sqrt()
            return std / marginal_std(variance, gamma)

        def record(k, x, gamma):
            if k in kept:
                noisy = x / alpha(gamma_0) * (factor(gamma) / factor(gamma_0))
                found.append(torch.stack([x, noisy, denoise(x, gamma.expand_as(x))]))

        z = self.sample(keys, sampler, labels, guidance, record)
        states = z.repeat(3, n_states, 1, 1)
        states[..., self.active] = torch.stack(found, 1)
        return time_grid(self.path, sampler.steps)[kept], states
