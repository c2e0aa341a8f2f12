r"""Marginals: the posterior of each component given its own noisy value, in closed form.

A component's marginal is a mixture :math:`\sum_k \pi_k N(m_k, v_k)`; point masses have
:math:`v_k = 0`. Given :math:`x = \alpha x_0 + \sigma \epsilon` the posterior of :math:`x_0` is

.. math::

    w_k \propto \pi_k N(x; \alpha m_k, \alpha^2 v_k + \sigma^2), \quad
    \mathrm{mean}_k = m_k + \frac{\alpha v_k (x - \alpha m_k)}{\alpha^2 v_k + \sigma^2}, \quad
    \mathrm{var}_k = \frac{v_k \sigma^2}{\alpha^2 v_k + \sigma^2}

Its variance is summed around its mean: the difference of second moments cancels in float32.
The same mixture with noise is the prior at t = 1.

Every class has ``mean`` and ``variance`` (D,), ``posterior``, ``log_prob``, ``draw`` and ``to``.
"""

import math

import torch

from gudlearn.diffusion.likelihood import LOG_2PI


def _moments(log_joint, means, variances):
    """Mean and variance of a mixture from unnormalised log-weights, all of shape (K, B, D)."""
    w = torch.softmax(log_joint, 0)
    mu = (w * means).sum(0)
    return mu, (w * (variances + (means - mu) ** 2)).sum(0)


class GaussianMarginals:
    """One Gaussian N(mean, variance) per component.

    Parameters
    ----------
    mean, variance : Tensor of shape (D,)
    """

    is_gaussian = True

    def __init__(self, mean, variance):
        self.mean, self.variance = mean, variance

    def to(self, device=None, dtype=None):
        """Return a copy on a device and with a dtype."""
        return GaussianMarginals(self.mean.to(device, dtype), self.variance.to(device, dtype))

    def posterior(self, x, gamma):
        """Mean and variance of x0 given x, each (B, D)."""
        a2, s2 = torch.sigmoid(-gamma), torch.sigmoid(gamma)
        total = a2 * self.variance + s2
        a = a2.sqrt()
        mu = self.mean + a * self.variance * (x - a * self.mean) / total
        return mu, self.variance * s2 / total

    def log_prob(self, x, gamma):
        """Log-density at x of the marginal with noise, (B, D)."""
        a2, s2 = torch.sigmoid(-gamma), torch.sigmoid(gamma)
        total = a2 * self.variance + s2
        return -0.5 * (LOG_2PI + total.log() + (x - a2.sqrt() * self.mean) ** 2 / total)

    def draw(self, u, eps, gamma):
        """A draw of the marginal with noise, from uniforms u and normals eps, both (B, D)."""
        a2, s2 = torch.sigmoid(-gamma), torch.sigmoid(gamma)
        return a2.sqrt() * self.mean + (a2 * self.variance + s2).sqrt() * eps


class MixtureMarginals:
    """A mixture of K Gaussians per component; point masses where the variances are zero.

    Parameters
    ----------
    weights, means, variances : Tensor of shape (D, K)
        Weights are >= 0 and sum to one along K; a mixture of fewer than K Gaussians is filled up
        with weights of zero.
    """

    is_gaussian = False

    def __init__(self, weights, means, variances):
        self.weights, self.means, self.variances = weights, means, variances
        self.mean = (weights * means).sum(1)
        self.variance = (weights * (variances + (means - self.mean[:, None]) ** 2)).sum(1)
        self._log_w, self._m, self._v = map(_along_first_axis, (weights.log(), means, variances))

    def to(self, device=None, dtype=None):
        """Return a copy on a device and with a dtype."""
        return MixtureMarginals(
            *(p.to(device, dtype) for p in (self.weights, self.means, self.variances))
        )

    def _log_joint(self, x, gamma):
        """Terms of the posterior: (x - alpha m, its variance, alpha, sigma^2, log-weights)."""
        a2, s2 = torch.sigmoid(-gamma), torch.sigmoid(gamma)
        a = a2.sqrt()
        total = a2 * self._v + s2
        off = x - a * self._m
        return off, total, a, s2, self._log_w - 0.5 * (total.log() + off * off / total)

    def posterior(self, x, gamma):
        """Mean and variance of x0 given x, each (B, D)."""
        off, total, a, s2, log_joint = self._log_joint(x, gamma)
        shrinkage = self._v / total
        return _moments(log_joint, self._m + a * shrinkage * off, shrinkage * s2)

    def log_prob(self, x, gamma):
        """Log-density at x of the marginal with noise, (B, D)."""
        return torch.logsumexp(self._log_joint(x, gamma)[-1], 0) - 0.5 * LOG_2PI

    def draw(self, u, eps, gamma):
        """A draw of the marginal with noise, from uniforms u and normals eps, both (B, D)."""
        a2, s2 = torch.sigmoid(-gamma), torch.sigmoid(gamma)
        k = (u[..., None] > self.weights.cumsum(1)).sum(-1).clamp(max=self.weights.shape[1] - 1)
        component = torch.arange(len(self.weights), device=u.device)
        m, v = self.means[component, k], self.variances[component, k]
        return a2.sqrt() * m + (a2 * v + s2).sqrt() * eps


def _along_first_axis(parameters):
    """Parameters (D, K) as (K, 1, D): sums over K then run along contiguous memory."""
    return parameters.T[:, None, :].contiguous()


class PointMassMarginals:
    """K point masses per component: a mixture of Gaussians without variance, in less memory.

    Parameters
    ----------
    weights, means : Tensor of shape (D, K)
        Weights are >= 0 and sum to one along K.
    """

    is_gaussian = False

    def __init__(self, weights, means):
        self.weights, self.means = weights, means
        self._mixture = MixtureMarginals(weights, means, torch.zeros_like(means))
        self.mean, self.variance = self._mixture.mean, self._mixture.variance
        self._log_w, self._m = map(_along_first_axis, (weights.log(), means))

    def to(self, device=None, dtype=None):
        """Return a copy on a device and with a dtype."""
        return PointMassMarginals(self.weights.to(device, dtype), self.means.to(device, dtype))

    def posterior(self, x, gamma):
        """Mean and variance of x0 given x, each (B, D)."""
        # Memory traffic dominates: each operation reads and writes (K, B, D) once.
        off = torch.addcmul(x, torch.sigmoid(-gamma).sqrt(), self._m, value=-1)
        precision = 1 / torch.sigmoid(gamma)
        w = torch.softmax(torch.addcmul(self._log_w, off * off, precision, value=-0.5), 0)
        mu = (w * self._m).sum(0)
        off = self._m - mu
        return mu, (w * off * off).sum(0)

    def log_prob(self, x, gamma):
        """Log-density at x of the marginal with noise, (B, D)."""
        return self._mixture.log_prob(x, gamma)

    def draw(self, u, eps, gamma):
        """A draw of the marginal with noise, from uniforms u and normals eps, both (B, D)."""
        return self._mixture.draw(u, eps, gamma)


class GridMarginals:
    r"""Point masses on a long regular grid, summed over a window as wide as the noise.

    Where the noise has a standard deviation of r grid steps, point masses are merged into groups
    of :math:`2^j \le r`, each replaced by a Gaussian of its mean and variance. The groups within
    five standard deviations are summed over. The cost is that of a mixture of 2 * REACH + 1
    Gaussians, however many point masses there are; the error is below 1e-3 nats.

    Parameters
    ----------
    log_weights : list of D Tensors of shape (L_i,)
        Log-probability of each point mass, normalised.
    first, step : Tensor of shape (D,)
        Position of the first point mass and distance of neighbours, in units of the component.
    """

    is_gaussian = False
    REACH = 10

    def __init__(self, log_weights, first, step):
        self.log_weights, self.first, self.step = log_weights, first, step
        self._tabulate()

    def to(self, device=None, dtype=None):
        """Return a copy on a device and with a dtype."""
        return GridMarginals(
            [w.to(device, dtype) for w in self.log_weights],
            self.first.to(device, dtype),
            self.step.to(device, dtype),
        )

    def _tabulate(self):
        """Concatenate the groups of all resolutions j of all components into one table."""
        # At the coarsest resolution all groups are within reach: a long grid has 11 to 21 there.
        coarsest = [
            max(0, math.ceil(math.log2(len(w) / (2 * self.REACH + 1)))) for w in self.log_weights
        ]
        groups, starts, counts, moments, n_groups = [], [], [], [], 0
        for log_w, first, step in zip(self.log_weights, self.first, self.step, strict=True):
            w = log_w.double().exp()
            m = first.double() + step.double() * torch.arange(len(w), device=w.device)
            v = torch.zeros_like(w)
            mean = (w * m).sum() / w.sum()
            moments.append((mean, (w * (m - mean) ** 2).sum() / w.sum()))
            starts.append([])
            counts.append([])
            for _ in range(max(coarsest) + 1):
                starts[-1].append(n_groups)
                counts[-1].append(len(w))
                groups.append(torch.stack([w.clamp(min=1e-300).log(), m, v]))
                n_groups += len(w)
                w, m, v = _merge_pairs(w, m, v)
        dtype, device = self.first.dtype, self.first.device
        self._groups = torch.cat(groups, 1).to(dtype)
        self._start = torch.tensor(starts, device=device)
        self._count = torch.tensor(counts, device=device)
        self._coarsest = torch.tensor(coarsest, device=device)
        self.mean = torch.stack([m for m, _ in moments]).to(dtype)
        self.variance = torch.stack([v for _, v in moments]).to(dtype)
        self._offsets = torch.arange(-self.REACH, self.REACH + 1, device=device)[:, None, None]

    def _window(self, x, gamma):
        """Log-weights, means and variances of the groups within reach of x; (K, B, D)."""
        a2, s2 = torch.sigmoid(-gamma), torch.sigmoid(gamma)
        noise = (s2 / a2).sqrt() / self.step
        resolution = torch.minimum(noise.log2().floor().clamp(0, 60).long(), self._coarsest)
        size = torch.exp2(resolution.to(x.dtype))
        position = ((x / a2.sqrt() - self.first) / self.step).detach()
        component = torch.arange(len(self.first), device=x.device)
        start, count = self._start[component, resolution], self._count[component, resolution]
        nearest = torch.floor((position + 0.5) / size).nan_to_num(0.0)
        centre = torch.minimum(nearest.clamp(-1e9, 1e9).long(), count - 1 - self.REACH)
        centre = torch.maximum(centre, torch.full_like(centre, self.REACH))
        group = centre + self._offsets
        # Far faster than indexing by a tensor.
        index = (start + torch.minimum(group, count - 1)).flatten()
        log_w, m, v = self._groups.index_select(1, index).view(3, *group.shape)
        return log_w, m, v, group >= count

    def _log_joint(self, x, gamma):
        """Means, variances and terms of the posterior, as of `MixtureMarginals`."""
        log_w, m, v, outside = self._window(x, gamma)
        a2, s2 = torch.sigmoid(-gamma), torch.sigmoid(gamma)
        a = a2.sqrt()
        total = a2 * v + s2
        off = x - a * m
        log_joint = log_w - 0.5 * (total.log() + off * off / total)
        return m, v, off, total, a, s2, log_joint.masked_fill(outside, -torch.inf)

    def posterior(self, x, gamma):
        """Mean and variance of x0 given x, each (B, D)."""
        m, v, off, total, a, s2, log_joint = self._log_joint(x, gamma)
        shrinkage = v / total
        return _moments(log_joint, m + a * shrinkage * off, shrinkage * s2)

    def log_prob(self, x, gamma):
        """Log-density at x of the marginal with noise, (B, D)."""
        return torch.logsumexp(self._log_joint(x, gamma)[-1], 0) - 0.5 * LOG_2PI

    def draw(self, u, eps, gamma):
        """A draw of the marginal with noise, from uniforms u and normals eps, both (B, D)."""
        x0 = torch.empty_like(u)
        for i, log_w in enumerate(self.log_weights):
            cumulative = log_w.exp().cumsum(0).to(u.dtype)
            k = torch.searchsorted(cumulative, u[:, i].contiguous()).clamp(max=len(log_w) - 1)
            x0[:, i] = self.first[i] + self.step[i] * k
        return torch.sigmoid(-gamma).sqrt() * x0 + torch.sigmoid(gamma).sqrt() * eps


def _merge_pairs(w, m, v):
    """Weight, mean and variance of each pair of neighbouring groups."""
    if len(w) % 2:
        w, m, v = torch.cat([w, w[:1] * 0]), torch.cat([m, m[-1:]]), torch.cat([v, v[-1:]])
    w, m, v = w.view(-1, 2), m.view(-1, 2), v.view(-1, 2)
    total = w.sum(1)
    fraction = w / total.clamp(min=1e-300)[:, None]
    mean = torch.where(total > 0, (fraction * m).sum(1), m.mean(1))
    variance = (fraction * (v + (m - mean[:, None]) ** 2)).sum(1)
    return total, mean, variance


class JoinedMarginals:
    """Marginals of different kinds side by side.

    Parameters
    ----------
    parts : list of marginals
    columns : list of LongTensors
        The components of each part; together they are 0..D-1, each once.
    """

    is_gaussian = False

    def __init__(self, parts, columns):
        self.parts, self.columns = parts, columns
        self._back = torch.argsort(torch.cat(columns))
        self.mean = torch.cat([p.mean for p in parts])[self._back]
        self.variance = torch.cat([p.variance for p in parts])[self._back]

    def to(self, device=None, dtype=None):
        """Return a copy on a device and with a dtype."""
        return JoinedMarginals(
            [p.to(device, dtype) for p in self.parts], [c.to(device) for c in self.columns]
        )

    def _each(self, method, *tensors):
        """Call a method of every part with its components of the tensors."""
        return [
            getattr(p, method)(*(v.expand(v.shape[0], len(self._back))[:, c] for v in tensors))
            for p, c in zip(self.parts, self.columns, strict=True)
        ]

    def posterior(self, x, gamma):
        """Mean and variance of x0 given x, each (B, D)."""
        means, variances = zip(*self._each("posterior", x, gamma), strict=True)
        return torch.cat(means, 1)[:, self._back], torch.cat(variances, 1)[:, self._back]

    def log_prob(self, x, gamma):
        """Log-density at x of the marginal with noise, (B, D)."""
        return torch.cat(self._each("log_prob", x, gamma), 1)[:, self._back]

    def draw(self, u, eps, gamma):
        """A draw of the marginal with noise, from uniforms u and normals eps, both (B, D)."""
        return torch.cat(self._each("draw", u, eps, gamma), 1)[:, self._back]
