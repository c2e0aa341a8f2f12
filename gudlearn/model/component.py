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
from gudlearn.diffusion.categories import corrupt
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
from gudlearn.diffusion.process import marginal_std
from gudlearn.diffusion.solvers import DPMSolverStep, integrate, start_near, time_grid
from gudlearn.model.device import sees_images
from gudlearn.model.draws import BLOCK, Draws
from gudlearn.model.reveal import NumericPath, RevealingDenoiser, evenly_spaced
from gudlearn.nn.denoiser import LabelledDenoiser

# Largest number of rows times noise draws in one call of the network, for tables and for images,
# and largest number of values in a call.
_BATCH, _IMAGE_BATCH, MOST_VALUES = 1024, 128, 2**20
# Streams of keyed noise.
_TIMES, _NOISE, _END, _PROBE, _START, _STEPS, _REVEAL = range(7)
# Solver steps from t = 1 to t = 1/2 if components are always active, and at most.
_STEPS_HALFWAY, _MOST_HALFWAY = 8, 100
# Gauss-Hermite nodes for expectations over one normal.
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(20)


class ComponentModel:
    """Denoiser, path and end points of a fitted model, on a device.

    Parameters
    ----------
    denoiser : Denoiser or None
        None if nothing diffuses.
    path : GammaPath or None
        Path of the active components.
    ends : Ends
    observation : BinnedObservation or None
        Observation model of the binned columns.
    binned : ndarray of shape (F,) of bool
        Mask of the binned columns of X.
    times : TimeWeights
        Where scores evaluate the network, and their control variate.
    device : torch.device
    dtype : torch.dtype
    autocast : torch.dtype or None
        Dtype of the hidden layers' arithmetic; None for dtype.
    null : int
        The null label, which stands for no class.
    """

    def __init__(
        self, denoiser, path, ends, observation, binned, times, device, dtype,
        autocast=None, null=0,
    ):  # fmt: skip
        self.device, self.dtype, self.null = device, dtype, null
        self.denoiser = None if denoiser is None else denoiser.to(device, dtype).eval()
        self.observation = None if observation is None else observation.to(device, dtype)
        self.binned = torch.from_numpy(np.flatnonzero(binned))
        self.active = self._index(ends.active)
        self._undiffused_binned = self._index(~ends.active & ends.noise_observed)
        self._constant = self._index(~ends.active & ~ends.noise_observed)
        self._continuous = self._index(ends.numeric & ~ends.noise_observed)
        self.numeric = self._index(ends.numeric)
        self._categories = self._index(ends.active & ends.category)
        self.ends = ends
        self.n_components = len(ends.active)
        self._of_scores = self.denoiser
        if dtype == torch.float64 and self.denoiser is not None:
            self._of_scores = self.denoiser.with_network_in(torch.float32)
        self.follow(path, times, autocast)

    def on_path(self, path, times, autocast=None):
        """A shallow copy with another path, density over t and autocast dtype."""
        other = copy.copy(self)
        other.follow(path, times, autocast)
        return other

    def follow(self, path, times, autocast=None):
        """Set path, times of scores and autocast dtype."""
        self.autocast = autocast
        self.path = None if path is None else path.to(self.device, self.dtype)
        self.density, self.variance_ratio = TimeDensity(self._tensor(times.weights)), times.ratio
        # The joint Gaussian whose bound is the control variate of scores, or None.
        self.gaussian = self.denoiser.joint_gaussian if times.gaussian else None

    @property
    def levels(self):
        """Levels of the categories, the last active components; None if there are none."""
        return None if self.path is None else self.path.levels

    @property
    def sees_images(self):
        """Whether the network works on images; rows then go through it in small batches."""
        return sees_images(self.denoiser)

    def labelled(self, labels=None, guidance=1.0, self_index=None):
        """The denoiser given labels; rows do not look up themselves in the reference set."""
        return LabelledDenoiser(
            self.denoiser, labels, guidance=guidance, null=self.null, self_index=self_index
        )

    def arithmetic(self):
        """Autocast context for calls of the network; within one context weights are cast once."""
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
        """The path of rows with observed and missing components, masks (B, D)."""
        state = torch.full(observed.shape, TARGET, device=self.device)
        state = state.masked_fill(observed, OBSERVED).masked_fill(missing, MISSING)
        log_variances = self._tensor(self.ends.variances)[self.active].log()
        return MaskedPath(self.path, state[:, self.active], log_variances)

    def nll_correction(self, z, keys, draws, labels=None, path=None, self_index=None, near=None):
        """Nll of the network minus that of the control variate, by a quadrature over t.

        On a `masked_path` it is the difference for the target components.

        Parameters
        ----------
        z : Tensor of shape (B, D)
        keys : Tensor of shape (B,)
            Keys of the noise.
        draws : Draws
        labels, path, self_index
            Of the rows; None for unknown labels, the path of whole rows, and no row excluded.
        near : BoolTensor of shape (B,) or None
            Rows whose control variate is the joint Gaussian; for the others, and with None, it is
            the product of the marginals.

        Returns
        -------
        by_component : Tensor of shape (B, D')
        by_node : Tensor of shape (n_nodes, B)
        """
        path = self.path if path is None else path
        x0 = z[:, self.active]
        by_component = torch.zeros_like(x0)
        if not len(self.active):
            return by_component, by_component.new_zeros(0, len(x0))
        batch = min(_BATCH, MOST_VALUES // x0.shape[1])
        at_once = max(1, (_IMAGE_BATCH if self.sees_images else batch) // len(x0))
        split = LabelledDenoiser(
            self._of_scores, labels, null=self.null, self_index=self_index
        ).split
        control = () if near is None else (self.gaussian.denoiser_on(path, near),)
        by_node = []
        for times, weights, eps in draws.blocks(max(1, at_once // BLOCK), keys, x0.shape[1]):
            for part in torch.arange(len(times), device=self.device).split(at_once):
                repeated = x0.repeat(len(part), 1)
                noise = eps[part].flatten(0, 1).to(self.dtype)
                with self.arithmetic():
                    terms = nll_correction(
                        split, path, repeated, times[part].flatten(), noise, *control
                    )
                terms = terms.view(len(part), *x0.shape) * weights[part, :, None]
                by_component += terms.sum(0)
                by_node.append(terms.sum(2))
        return by_component, torch.cat(by_node)

    def draws(self, n, part=0, n_parts=1):
        """About n nodes of a score, or every n_parts-th of them; see `Draws`."""
        at_once = self.path is None or active_fraction(self.path) > 1 - 1e-6
        shared = at_once and n >= len(self.density.probabilities)

        def stream(group):
            return _TIMES if group < 0 else (group << 3) + _NOISE

        return Draws(self.density, n, shared, part, n_parts, stream)

    def gaussian_nll(self, z, path=None):
        """Exact nll bound of the joint Gaussian on a path, and which rows are near it, each (B,).

        Without the prior's term.
        """
        path = self.path if path is None else path
        return self.gaussian.bound(z[:, self.numeric], path, shared=path is self.path)

    def marginal_nll(self, z, t=0.0):
        """Exact nll bound of the product of the marginals, without the bins' part; (B, D).

        For numbers, what it is from time t on: at t = 1 only the prior's term is left.
        """
        out = self.fixed_nll(z)
        if self.levels is not None:
            log_pmf = self.denoiser.categories.log_pmf[None]
            out[:, self._categories] = self.levels.nll(log_pmf, z[:, self._categories])
        if len(self.numeric):
            x0, gamma = z[:, self.numeric], self._gamma_at(t)
            total = torch.zeros_like(x0)
            for node, weight in zip(_NODES, _NODE_WEIGHTS, strict=True):
                eps = torch.full_like(x0, node)
                total += weight * noised_divergence(self.denoiser.marginals, gamma, x0, eps)
            out[:, self.numeric] += total / _NODE_WEIGHTS.sum()
        return out

    def fixed_nll(self, z):
        """Terms of the nll bound that depend on neither network nor marginals; (B, D)."""
        out = torch.zeros(len(z), self.n_components, dtype=self.dtype, device=self.device)
        continuous, undiffused, constant = self._continuous, self._undiffused_binned, self._constant
        out[:, continuous] = 0.5 * (LOG_2PI + self._gamma_0(continuous) + 1)
        variance = self._tensor(self.ends.variances)[undiffused]
        gamma_0 = self._gamma_0(undiffused)
        out[:, undiffused] = gaussian_kl(z[:, undiffused], variance, gamma_0)
        out[:, constant] = z[:, constant].abs() / self._tensor(self.ends.tolerance)[constant]
        return out

    def bin_nll(self, indices):
        """Expected nll of the bin indices (B, F) given their noisy values; (B, F')."""
        return self.observation.expected_nll(indices[:, self.binned], _NODES, _NODE_WEIGHTS)

    def flow_log_prob(self, z, indices, keys, n_steps, n_probes, n_draws, labels=None):
        """Log-density of the flow, plus the terms of bins and undiffused components; (B,).

        Noise is added to the components of binned columns first, and their density is corrected
        for it: log P >= E[log p(z_0) + log p(k | z_0) - log q(z_0 | k)].
        """
        nll = self.marginal_nll(z)
        undiffused = torch.cat([self._undiffused_binned, self._constant])
        value = -nll[:, undiffused].sum(1)
        if self.observation is not None:
            value = value - self.bin_nll(indices).sum(1)
        if not len(self.active):
            return value
        x0, gamma = z[:, self.active], self._gamma_0(self.active)
        noisy = self._tensor(self.ends.noise_observed)[self.active]
        noise_std = torch.exp(0.5 * gamma)
        draws = n_draws if bool(noisy.any()) else 1
        # The draws of each component are stratified. The density of the flow and that of the noise
        # are nearly sums over components, whose errors then cancel.
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
        # Near a point mass the flow's density is that of the noise: then log q of the same draw,
        # and not its mean, cancels the noise.
        masses = self._tensor(self.ends.point_masses)[self.active]
        log_q = -0.5 * (noisy * (LOG_2PI + gamma + masses * eps**2 + 1 - masses)).sum(1)
        return value + (log_p - log_q).view(-1, draws).mean(1)

    # Samples

    def sample(
        self, keys, sampler, labels=None, guidance=1.0, record=None, observed=None, guide=None
    ):
        """Components for each key, (B, D), at t = 0: they include the noise of gamma(0).

        Parameters
        ----------
        keys : Tensor of shape (B,)
        sampler : Sampler
        labels : LongTensor of shape (B,) or None
        guidance : float
        record : callable or None
            Called with the states of the active components, see `integrate`.
        observed : (Tensor, BoolTensor) of shape (B, D) or None
            Components z, and the mask of those that are observed; the others are drawn given these.
        guide : callable or None
            Called with the denoiser, the sampler's step, the components that do not diffuse and the
            keys; returns a guided denoiser, which has an `observation`, and a step.
        """
        z = torch.zeros(len(keys), self.n_components, dtype=self.dtype, device=self.device)
        undiffused = self._undiffused_binned
        if len(undiffused):
            noise_variance = self._gamma_0(undiffused).exp()
            variance = self._tensor(self.ends.variances)[undiffused] + noise_variance
            eps = keyed_normal(keys, len(undiffused), _END).to(self.dtype)
            z[:, undiffused] = variance.sqrt() * eps
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
                denoise, x = self._condition(denoise, keys, observed, x)
            elif self.levels is not None:
                denoise = self._revealing(denoise, keys)
            if guide is not None and observed is None:
                x = self._start_near(denoise, x, denoise.observation.tells)
            noise = self._step_noise(keys, x.shape[1])
            x, codes = self._integrate(denoise, x, times, step, noise, record)
        z[:, self.numeric] = x / alpha(self._gamma_at(0))
        if codes is not None:
            z[:, self._categories] = codes
        return z if observed is None else torch.where(observed[1], observed[0], z)

    def _step_noise(self, keys, n):
        return lambda k: keyed_normal(keys, n, (k << 3) + _STEPS).to(self.dtype)

    def _integrate(self, denoise, x, times, step, noise=None, record=None):
        """Integrate numeric components x; reveal categories meanwhile. Returns both."""
        if self.levels is None:
            return integrate(denoise, self.path, x, times, step, noise, record), None

        def record_and_reveal(k, x, gamma):
            denoise.reveal(times[k : k + 1])
            if record is not None:
                record(k, *denoise.state(x, gamma.expand_as(x)))

        path = NumericPath(self.path, x.shape[1])
        x = integrate(denoise, path, x, times, step, noise, record_and_reveal)
        return x, denoise.codes

    def _revealing(self, denoise, keys):
        """A denoiser of numbers that reveals categories by keyed uniforms."""
        n = self.levels.n_columns
        order, draws, shift = keyed_uniform(keys, 3 * n, _REVEAL).to(self.dtype).split(n, 1)
        reveal_at = evenly_spaced(order, shift, self.path)
        return RevealingDenoiser(denoise, self.path, reveal_at, draws)

    def conditional_mean(self, keys, observed, labels=None, drawn=False):
        """Estimates of the mean components given the observed ones, for each key.

        A few solver steps lead from noise, and from its mirror image, to t = 1/2. The expectation
        over keys of the denoiser's output there is the conditional mean, and its variance is less
        than that of a sample. At t = 1 the output would not vary, but networks are less accurate
        there.

        Parameters
        ----------
        keys : Tensor of shape (B,)
        observed : (Tensor, BoolTensor) of shape (B, D)
        labels : LongTensor of shape (B,) or None
        drawn : bool
            Whether to go on to t = 0: estimates are then a sample and its mirror image, whose
            expectations are means after any map, too.

        Returns
        -------
        estimates : list of Tensor of shape (B, D)
            One, or two if they are drawn. Categories that are not observed are 0.
        probabilities : Tensor of shape (B, L) or None
            Probabilities of the levels of categories; None without categories.
        """
        z = torch.zeros(len(keys), self.n_components, dtype=self.dtype, device=self.device)
        if not len(self.active):
            return [torch.where(observed[1], observed[0], z)], None
        steps = min(math.ceil(_STEPS_HALFWAY / active_fraction(self.path)), _MOST_HALFWAY)
        times = torch.linspace(1, 0.5, steps + 1, dtype=torch.float64).to(z)
        to_data = torch.linspace(0.5, 0, steps + 1, dtype=torch.float64).to(z)
        means, probabilities = [], []
        for mirrored in (False, True):
            x, denoise = self._noise(keys, mirrored), self.labelled(labels)
            with self.arithmetic():
                denoise, x = self._condition(denoise, keys, observed, x)
                x, _ = self._integrate(denoise, x, times, DPMSolverStep())
                gamma = self.path(times[-1:])[:, : x.shape[1]].expand_as(x)
                if self.levels is not None:
                    probabilities.append(denoise.probabilities(x, gamma))
                if drawn:
                    x, _ = self._integrate(denoise, x, to_data, DPMSolverStep())
                    means.append(x / alpha(self._gamma_at(0)))
                else:
                    means.append(denoise(x, gamma))
        means = means if drawn else [0.5 * means[0] + 0.5 * means[1]]
        estimates = []
        for mean in means:
            z[:, self.numeric] = mean
            estimates.append(torch.where(observed[1], observed[0], z))
        return estimates, 0.5 * sum(probabilities) if probabilities else None

    def probabilities(self, keys, observed, labels=None, guidance=1.0):
        """Probabilities of the levels (B, L) of all categories given the observed components.

        Nothing else is known at t = 1, where the denoiser is evaluated once.
        """
        x, denoise = self._noise(keys), self.labelled(labels, guidance)
        with self.arithmetic():
            denoise, x = self._condition(denoise, keys, observed, x)
            return denoise.probabilities(x, self._gamma_at(1).expand_as(x))

    def _noise(self, keys, mirrored=False):
        """Numeric components at t = 1, (B, D'), or with `mirrored` their antithetic draws."""
        d = len(self.numeric)
        u = keyed_uniform(keys, d, _START).to(self.dtype)
        eps = keyed_normal(keys, d, _START).to(self.dtype)
        if mirrored:
            u, eps = 1 - u, -eps
        if not d:
            return eps
        return self.denoiser.marginals.draw(u, eps, self._gamma_at(1).expand_as(u))

    def _condition(self, denoise, keys, observed, x):
        """The denoiser given observed components, see `sample`, and x at t = 1 adapted to them."""
        z, mask = observed
        path = self.masked_path(mask, torch.zeros_like(mask))
        eps = keyed_normal(keys, len(self.active), (1 << 3) + _START).to(self.dtype)
        floor, _ = corrupt(z[:, self.active], eps, self.path(z.new_zeros(1)), self.path)
        denoise = ObservedDenoiser(denoise, path, floor)
        if self.levels is not None:
            denoise = self._revealing(denoise, keys)
        # A row without observed components is drawn from the whole distribution.
        return denoise, self._start_near(denoise, x, path.observed.any(1, keepdim=True))

    def _start_near(self, denoise, x, rows):
        """Adapt components at t = 1 of rows, (B, 1) bool, to the observed ones."""
        if not x.shape[1]:
            return x
        return start_near(denoise, x, self._gamma_at(1), self.denoiser.marginals.mean, rows)

    def _gamma_at(self, t):
        """Noise levels of the numeric components at a time, (1, D')."""
        times = torch.full((1,), float(t), dtype=self.dtype, device=self.device)
        return self.path(times)[:, : len(self.numeric)]

    def trajectory(self, keys, sampler, n_states, noise_std, labels=None, guidance=1.0):
        """States of `sample` at n_states of its times; requires active components.

        Returns
        -------
        t : Tensor of shape (n_states,)
        states : Tensor of shape (3, n_states, B, D)
            The state x; x rescaled by component, from noise of noise_std to the sample; and
            E[x0 given x]. Components that do not diffuse are those of the sample throughout.
        """
        denoise, recorded = self.labelled(labels, guidance), []
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
                recorded.append(torch.stack([x, noisy, denoise(x, gamma.expand_as(x))]))

        z = self.sample(keys, sampler, labels, guidance, record)
        states = z.repeat(3, n_states, 1, 1)
        states[..., self.active] = torch.stack(recorded, 1)
        return time_grid(self.path, sampler.steps)[kept], states
